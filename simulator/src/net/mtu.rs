//! What becomes of packets that are too long for what follows.
use super::{
    hop::{HopCx, Lost, Way},
    packet::{Body, Ecn, Icmp, IcmpKind, Packet},
};
use core::net::SocketAddr;

/// What a router does with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLong {
    /// Cuts them where the packet allows it (RFC 791); the rest is answered as in
    /// [`Self::Answer`].
    Fragment,
    /// Drops them in silence: a black hole (RFC 2923).
    Drop,
    /// Drops them and says so (RFC 1191, RFC 8201).
    Answer,
}

/// The longest packet that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtu {
    /// Octets with all headers.
    pub octets: usize,
    /// What becomes of longer ones.
    pub too_long: TooLong,
}

/// Into how many pieces a packet is cut that passes: 1, if it fits.
pub(super) enum Fit {
    Pieces(u64),
    /// It was lost, and perhaps answered.
    No,
}

impl Mtu {
    /// Lets a packet through, or not. A packet in pieces still travels as one: each piece may be
    /// lost, and one that is takes the others with it.
    pub(super) fn pass(
        self,
        cx: &mut HopCx<'_>,
        way: Way,
        packet: Packet,
    ) -> (Fit, Option<Packet>) {
        if packet.len() <= self.octets {
            return (Fit::Pieces(1), Some(packet));
        }
        // Only IPv4 is cut on the way (RFC 8200 section 5).
        let may_cut = packet.may_fragment && packet.destination.is_ipv4();
        match self.too_long {
            TooLong::Fragment if may_cut => {
                let header = super::packet::IPV4_HEADER_LEN;
                let room = self.octets.saturating_sub(header).max(8) / 8 * 8;
                let pieces = (packet.len() - header).div_ceil(room) as u64;
                cx.note(packet.id, format!("cut into {pieces}"));
                (Fit::Pieces(pieces), Some(packet))
            }
            TooLong::Drop => {
                cx.lose(packet, Lost::TooLong);
                (Fit::No, None)
            }
            TooLong::Fragment | TooLong::Answer => {
                if !matches!(packet.body, Body::Icmp(_)) {
                    let answer = too_big(cx, &packet, self.octets);
                    cx.forward(way.back(), answer);
                }
                cx.lose(packet, Lost::TooLong);
                (Fit::No, None)
            }
        }
    }
}

fn too_big(cx: &mut HopCx<'_>, about: &Packet, mtu: usize) -> Packet {
    Packet {
        id: cx.new_packet_id(),
        // The router has no address of its own in the world: its message bears that of the target.
        source: SocketAddr::new(about.destination.ip(), 0),
        destination: about.source,
        ecn: Ecn::NotEct,
        may_fragment: true,
        body: Body::Icmp(Icmp {
            kind: IcmpKind::PacketTooBig { mtu },
            transport: about.transport(),
            about_source: about.source,
            about_destination: about.destination,
        }),
    }
}
