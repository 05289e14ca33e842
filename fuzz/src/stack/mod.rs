//! Packets of a TUN: what is not TCP, the terminator of TCP, and offload.
mod client;
mod packet;
mod segment;
mod sequence;
mod vnet;

pub use packet::stack_packet;
pub use sequence::stack_sequence;
pub use vnet::vnet_hdr;

/// The sum of `bytes` as words of 16 bits, the last one filled up with zero; not folded.
fn sum(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| {
        let high = u64::from(*pair.first().unwrap_or(&0));
        high * 256 + u64::from(*pair.get(1).unwrap_or(&0))
    };
    bytes.chunks(2).map(word).sum()
}
