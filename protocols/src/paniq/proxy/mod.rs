//! What a client asks a server for on a stream (`docs/protocols/paniq.md`, Streams).
//!
//! ```text
//! request = 1 | ATYP | address | u16 port          then bytes of both directions,
//! reply   = 1 | status | ATYP | address | u16 port    in a packet of the same or a later one
//! ```
//!
//! ATYP, address and port are written as in SOCKS5, and read by its parser.
#[cfg(test)]
mod tests;
pub mod wire;
