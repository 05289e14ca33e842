//! What makes datagrams look like nothing: a random prefix and a header out of a range for every
//! kind of message, junk, and signature datagrams (`docs/protocols/paniq.md`, Frames).
//!
//! | part | holds |
//! |---|---|
//! | [`Params`] | the numbers and strings of a profile's `obfuscation`, checked |
//! | [`HeaderRange`] | `N` or `A-B`: the 4 octets that mark a kind of message |
//! | [`Framer`] | frames, junk and signatures as octets |
//! | [`Chain`] | a signature datagram as tags: `<b 0x0102><t><r 5>` |
mod chain;
mod framer;
mod header;
mod params;
#[cfg(test)]
mod tests;

pub use chain::{Chain, ChainError, ChainProblem, Signature};
pub use framer::{FrameError, Framer, HEADER_LEN, REDRAWS_MAX};
pub use header::{HeaderError, HeaderRange};
pub use params::{
    Field, JUNK_COUNT_MAX, Kind, PREFIX_LEN_MAX, Params, ParamsError, ParamsProblem, Spec,
    UDP_PAYLOAD_LEN_MAX,
};
