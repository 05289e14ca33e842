//! Segments of connections without hops, for pictures: nothing here changes what happens.
use super::{Side, conn::Conn};
use crate::{
    host::HostId,
    net::{
        Core,
        packet::{Flags, PacketId},
    },
    transcript::{Carries, Detail, Head, Tag},
};
use core::net::SocketAddr;

pub(super) const FIN: Flags = Flags {
    fin: true,
    ..Flags::ACK
};
const RST_ACK: Flags = Flags {
    ack: true,
    ..Flags::RST
};

/// A segment between these addresses: its control bits, its offset, what it acknowledges.
const fn segment(
    (source, destination): (SocketAddr, SocketAddr),
    (flags, offset, ack): (Flags, u64, u64),
) -> Detail {
    Detail::Packet(Head {
        source,
        destination,
        carries: Carries::Tcp { flags, offset, ack },
    })
}

impl Conn {
    /// A segment leaves `from`.
    pub(super) fn sketch_sent(
        &self,
        core: &mut Core,
        from: Side,
        (flags, offset): (Flags, u64),
        data: &[u8],
    ) -> PacketId {
        let packet = core.new_packet();
        let (end, to) = (self.end(from), self.end(from.other()));
        let head = segment((end.addr, to.addr), (flags, offset, to.acknowledged()));
        core.sketch(end.host, (Tag::PacketSent, packet.0), Some(head), data);
        packet
    }

    /// A segment of `from` reaches the other side.
    pub(super) fn sketch_arrived(
        &self,
        core: &mut Core,
        from: Side,
        packet: PacketId,
        data: &[u8],
    ) {
        let host = self.end(from.other()).host;
        core.sketch(host, (Tag::PacketArrived, packet.0), None, data);
    }

    /// A segment of `from` finds nobody.
    pub(super) fn sketch_unheard(&self, core: &mut Core, from: Side, packet: PacketId) {
        let host = self.end(from.other()).host;
        let why = b"the host is gone";
        core.sketch(host, (Tag::PacketLost, packet.0), None, why);
    }
}

/// A connection request of `host` that no connection follows.
pub(super) fn request(
    core: &mut Core,
    host: HostId,
    (from, to): (SocketAddr, SocketAddr),
) -> PacketId {
    let packet = core.new_packet();
    let head = segment((from, to), (Flags::SYN, 0, 0));
    core.sketch(host, (Tag::PacketSent, packet.0), Some(head), &[]);
    packet
}

/// How it ended: answered with RST, or for another reason.
pub(super) fn refusal(
    core: &mut Core,
    host: HostId,
    (from, to): (SocketAddr, SocketAddr),
    packet: PacketId,
    lost_because: Option<&str>,
) {
    let answer = core.new_packet();
    if let Some(why) = lost_because {
        core.sketch(host, (Tag::PacketLost, packet.0), None, why.as_bytes());
        return;
    }
    let head = segment((to, from), (RST_ACK, 0, 0));
    core.sketch(host, (Tag::PacketArrived, answer.0), Some(head), &[]);
}
