//! Middleboxes: what stands on the way and does more to a packet than carry it.
//!
//! | module | is |
//! |---|---|
//! | [`nat`] | address and port translation with every behaviour that RFC 4787 names |
//! | [`firewall`] | a stateful packet filter |
//! | [`censor`] | looks into flows and breaks those that it dislikes |
//! | [`prober`] | a host that tries what a censor saw against the servers |
//!
//! None of them keeps a timer to forget something: what is too old is forgotten when the next
//! packet comes, so a quiet box never keeps a world from ending.
#[cfg(test)]
mod bench;
pub mod censor;
#[cfg(test)]
mod conserve;
mod craft;
pub mod firewall;
pub mod nat;
pub mod prober;
mod track;
