//! Other implementations of what is fuzzed, written from the documents alone and for clarity: slow,
//! in one pass over whole inputs, sharing no code with the product.
pub(crate) mod http;
pub(crate) mod paniq;
pub(crate) mod router;
pub(crate) mod socks;
