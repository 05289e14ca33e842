//! What payload says, read with the parsers of the protocols.
mod datagram;
mod dialogue;
mod http;
mod ip;
mod socks;
#[cfg(test)]
mod tests;
mod tls;

pub(super) use datagram::Datagrams;
pub(super) use dialogue::Dialogue;
pub use ip::Packet as IpPacket;

/// One protocol message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// What it is, with what matters most.
    pub(super) name: String,
    /// Its fields in order. Names of users and passwords are not shown, their lengths are.
    pub(super) fields: Vec<(&'static str, String)>,
    /// Offset of its first byte in its direction.
    pub(super) from: u64,
    /// Offset behind its last byte.
    pub(super) to: u64,
}

/// Text for people from bytes of a peer.
fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
