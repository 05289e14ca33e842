//! IP packets of smoltcp to segments of the world, and back.
//!
//! Segments count bytes from the start of their direction, windows in bytes; on the wire of
//! smoltcp there are sequence numbers from a random start, and scaled windows. Each end knows
//! its own start, and counts the other direction from one that it draws: what hops see, cut and
//! make up means the same to every stack.
use crate::net::packet::{Flags, Segment, TcpOptions};
use bytes::BytesMut;
use core::net::{IpAddr, SocketAddr};
use smoltcp::{
    phy::ChecksumCapabilities,
    wire::{
        IPV4_HEADER_LEN, IPV6_HEADER_LEN, IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet,
        TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
    },
};

/// Hops an IP packet may pass.
const HOP_LIMIT: u8 = 64;

/// How one end counts.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// Sequence number of the own SYN, once it was seen, and of the other end's.
    own_first: u32,
    their_first: u32,
    /// Offsets seen last, to which those that follow are near.
    sent: u64,
    acked: u64,
    own_scale: Option<u8>,
    their_scale: Option<u8>,
}

/// The 64-bit offset nearest to `near` whose low half is `low`.
const fn widen(near: u64, low: u32) -> u64 {
    let away = low.wrapping_sub(near as u32) as i32;
    near.wrapping_add_signed(away as i64)
}

const fn raw(number: TcpSeqNumber) -> u32 {
    number.0 as u32
}

impl Numbers {
    pub(crate) const fn new(their_first: u32) -> Self {
        Self {
            own_first: 0,
            their_first,
            sent: 0,
            acked: 0,
            own_scale: None,
            their_scale: None,
        }
    }

    /// How far windows are shifted: both ends must have asked for it (RFC 7323).
    fn shift(&self, scale: Option<u8>) -> u32 {
        let both = self.own_scale.is_some() && self.their_scale.is_some();
        scale.filter(|_| both).map_or(0, u32::from)
    }

    /// A packet of smoltcp's as a segment; `None` for what is no whole TCP segment.
    pub(crate) fn leave(&mut self, packet: &[u8]) -> Option<Segment> {
        let (source, destination, transport): (IpAddress, IpAddress, &[u8]) =
            match packet.first()? >> 4 {
                4 => {
                    let ip = Ipv4Packet::new_checked(packet).ok()?;
                    (ip.src_addr().into(), ip.dst_addr().into(), ip.payload())
                }
                _ => {
                    let ip = Ipv6Packet::new_checked(packet).ok()?;
                    (ip.src_addr().into(), ip.dst_addr().into(), ip.payload())
                }
            };
        let tcp = TcpPacket::new_checked(transport).ok()?;
        let sums = ChecksumCapabilities::default();
        let repr = TcpRepr::parse(&tcp, &source, &destination, &sums).ok()?;
        Some(self.segment(&repr))
    }

    fn segment(&mut self, repr: &TcpRepr<'_>) -> Segment {
        let syn = repr.control == TcpControl::Syn;
        if syn {
            self.own_first = raw(repr.seq_number);
            self.own_scale = repr.window_scale;
        } else {
            let low = raw(repr.seq_number).wrapping_sub(self.own_first.wrapping_add(1));
            self.sent = widen(self.sent, low);
        }
        let first = self.their_first.wrapping_add(1);
        if let Some(number) = repr.ack_number {
            self.acked = widen(self.acked, raw(number).wrapping_sub(first));
        }
        let acked = self.acked;
        let of = |edge: u32| widen(acked, edge.wrapping_sub(first));
        let ranges = repr.sack_ranges.iter().flatten();
        let shift = if syn { 0 } else { self.shift(self.own_scale) };
        // A keep-alive's byte that nobody ever sent would look like one before the first.
        let is_before_first = (self.sent as i64) < 0;
        let data = if is_before_first { &[] } else { repr.payload };
        Segment {
            flags: Flags {
                syn,
                ack: repr.ack_number.is_some(),
                fin: repr.control == TcpControl::Fin,
                rst: repr.control == TcpControl::Rst,
            },
            offset: if syn { 0 } else { self.sent },
            ack: repr.ack_number.map_or(0, |_| acked),
            window: u64::from(repr.window_len) << shift,
            data: BytesMut::from(data),
            options: TcpOptions {
                segment_len_max: repr.max_seg_size,
                window_scale: repr.window_scale,
                sack_permitted: repr.sack_permitted,
                sack: ranges
                    .map(|(left, right)| (of(*left), of(*right)))
                    .collect(),
            },
        }
    }

    /// A segment as an IP packet with fresh checksums, for smoltcp.
    pub(crate) fn arrive(
        &mut self,
        segment: &Segment,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Vec<u8> {
        let options = &segment.options;
        let flags = segment.flags;
        if flags.syn {
            self.their_scale = options.window_scale;
        }
        let first = self.their_first.wrapping_add(1);
        let theirs = |offset: u64| first.wrapping_add(offset as u32);
        let own_first = self.own_first.wrapping_add(1);
        let own = |offset: u64| own_first.wrapping_add(offset as u32);
        let shift = if flags.syn {
            0
        } else {
            self.shift(self.their_scale)
        };
        let seq = if flags.syn {
            self.their_first
        } else {
            theirs(segment.offset)
        };
        let ack = own(segment.ack);
        let repr = TcpRepr {
            src_port: from.port(),
            dst_port: to.port(),
            control: match (flags.rst, flags.syn, flags.fin) {
                (true, ..) => TcpControl::Rst,
                (false, true, _) => TcpControl::Syn,
                (false, false, true) => TcpControl::Fin,
                (false, false, false) => TcpControl::None,
            },
            seq_number: TcpSeqNumber(seq as i32),
            ack_number: flags.ack.then_some(TcpSeqNumber(ack as i32)),
            window_len: u16::try_from(segment.window >> shift).unwrap_or(u16::MAX),
            window_scale: options.window_scale,
            max_seg_size: options.segment_len_max,
            sack_permitted: options.sack_permitted,
            sack_ranges: core::array::from_fn(|n| {
                let range = options.sack.get(n);
                range.map(|(left, right)| (own(*left), own(*right)))
            }),
            timestamp: None,
            payload: &segment.data,
        };
        build(&repr, from.ip(), to.ip())
    }
}

fn build(repr: &TcpRepr<'_>, from: IpAddr, to: IpAddr) -> Vec<u8> {
    let (from, to): (IpAddress, IpAddress) = (from.into(), to.into());
    let ip = IpRepr::new(from, to, IpProtocol::Tcp, repr.buffer_len(), HOP_LIMIT);
    let sums = ChecksumCapabilities::default();
    let mut packet = vec![0; ip.buffer_len()];
    let header_len = ip.header_len();
    debug_assert!(matches!(header_len, IPV4_HEADER_LEN | IPV6_HEADER_LEN));
    let (header, transport) = packet.split_at_mut(header_len);
    ip.emit(header, &sums);
    repr.emit(&mut TcpPacket::new_unchecked(transport), &from, &to, &sums);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn options() -> impl Strategy<Value = TcpOptions> {
        (
            proptest::option::of(1_u16..),
            proptest::option::of(0_u8..15),
            any::<bool>(),
            proptest::collection::vec((0_u64..1 << 20, 0_u64..1 << 20), 0..=3),
        )
            .prop_map(
                |(segment_len_max, window_scale, sack_permitted, sack)| TcpOptions {
                    segment_len_max,
                    window_scale,
                    sack_permitted,
                    // Permission stands in SYNs, ranges in what follows.
                    sack: sack.into_iter().filter(|_| !sack_permitted).collect(),
                },
            )
    }

    proptest! {
        /// What one end sends and another takes in is the same to the two, whatever numbers they
        /// count with.
        #[test]
        fn segments_survive_the_way(
            (own, theirs) in any::<(u32, u32)>(),
            v6 in any::<bool>(),
            (offset, ack, window) in (0_u64..1 << 30, 0_u64..1 << 30, 0_u16..),
            (fin, data) in (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40)),
            options in options(),
        ) {
            let ip = |n: u16| if v6 {
                IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n])
            } else {
                IpAddr::from([10, 0, 0, n as u8])
            };
            let ends = (SocketAddr::new(ip(1), 4000), SocketAddr::new(ip(2), 80));
            let mut receiver = Numbers { own_first: own, ..Numbers::new(theirs) };
            let segment = Segment {
                flags: Flags { fin, ..Flags::ACK },
                offset,
                ack,
                window: window.into(),
                data: BytesMut::from(&data[..]),
                options,
            };
            let packet = receiver.arrive(&segment, ends.0, ends.1);
            prop_assert_eq!(packet.len(), if v6 { 60 } else { 40 } + segment.options.len() + data.len());
            // Whoever counts as the sender of these numbers does reads the same again.
            let mut reader = Numbers { own_first: theirs, ..Numbers::new(own) };
            prop_assert_eq!(reader.leave(&packet), Some(segment));
        }

        /// A damaged packet is no segment.
        #[test]
        fn checksums_are_looked_at(at in 20_usize..44, bit in 0_u8..8) {
            let ends = ("10.0.0.1:1".parse().unwrap(), "10.0.0.2:2".parse().unwrap());
            let segment = Segment {
                flags: Flags::ACK,
                data: BytesMut::from(&b"data"[..]),
                ..Segment::default()
            };
            let mut packet = Numbers::new(0).arrive(&segment, ends.0, ends.1);
            packet[at] ^= 1 << bit;
            prop_assert_eq!(Numbers::new(0).leave(&packet), None);
        }
    }

    #[test]
    fn offsets_go_on_beyond_the_numbers_of_the_wire() {
        assert_eq!(widen(0, 5), 5);
        assert_eq!(widen(0, u32::MAX), u64::MAX);
        assert_eq!(widen((1 << 32) - 2, 3), (1 << 32) + 3);
        assert_eq!(widen((7 << 32) + 3, u32::MAX), (7 << 32) - 1);
    }
}
