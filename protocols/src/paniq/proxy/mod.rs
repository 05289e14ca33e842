//! What a client asks a server for on a stream (`docs/protocols/paniq.md`, Streams).
//!
//! ```text
//! request = 1 | ATYP | address | u16 port          then bytes of both directions,
//! reply   = 1 | status | ATYP | address | u16 port    in a packet of the same or a later one
//! ```
//!
//! ATYP, address and port are written as in SOCKS5, and read by its parser.
//!
//! Where both ends are of sansbox and say so in their profiles, a client may ask for datagrams:
//!
//! ```text
//! request = 2 | 3                                  then records of both directions
//! record  = u16 length | ATYP | address | u16 port | data
//! ```
pub mod record;
#[cfg(test)]
mod tests;
pub mod wire;
