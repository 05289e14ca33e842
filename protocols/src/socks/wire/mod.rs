//! The bytes of SOCKS: parsing and emitting, without state.
//!
//! Stream messages have `X::parse(&[u8]) -> Result<Option<(X, usize)>, Malformed>`, where `None`
//! asks for more bytes and the number says how many the message took; datagrams are whole, so
//! their `parse` has no `None`. `X::buffer_len` is exactly what `X::emit` appends. Parsed messages
//! borrow their input; nothing here allocates.
mod address;
#[cfg(test)]
mod tests;
pub mod udp;
pub mod v4;
pub mod v5;

pub use address::{Address, Name, Short};

/// Why bytes are no SOCKS message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The version octet is not the one of this message.
    #[error("wrong version octet")]
    Version,
    /// The address type is none of IPv4 (1), domain (3) and IPv6 (4).
    #[error("unknown address type")]
    AddressType,
    /// A SOCKS4 string has no NUL within [`v4::Text::LEN_MAX`] octets.
    #[error("string without an end")]
    Unterminated,
    /// A datagram is shorter than its header says.
    #[error("datagram shorter than its header")]
    Truncated,
}

/// What follows the version octet; `None` when there is no octet yet.
fn after_version(input: &[u8], version: u8) -> Result<Option<&[u8]>, Malformed> {
    match input {
        [] => Ok(None),
        [first, rest @ ..] if *first == version => Ok(Some(rest)),
        [..] => Err(Malformed::Version),
    }
}
