//! TCP segments by hand.
use core::net::SocketAddr;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};

use crate::bench::ip;

/// A segment with the flags `S` or `A`.
pub(crate) fn segment(
    from: SocketAddr,
    to: SocketAddr,
    flags: &str,
    seq: u32,
    ack: u32,
    payload: &[u8],
) -> Vec<u8> {
    let repr = TcpRepr {
        src_port: from.port(),
        dst_port: to.port(),
        control: if flags == "S" {
            TcpControl::Syn
        } else {
            TcpControl::None
        },
        seq_number: TcpSeqNumber(seq.cast_signed()),
        ack_number: (flags == "A").then_some(TcpSeqNumber(ack.cast_signed())),
        window_len: 65_535,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload,
    };
    let mut bytes = vec![0; repr.buffer_len()];
    repr.emit(
        &mut TcpPacket::new_unchecked(&mut bytes),
        &from.ip().into(),
        &to.ip().into(),
        &ChecksumCapabilities::default(),
    );
    ip(from.ip(), to.ip(), 6, &bytes)
}
