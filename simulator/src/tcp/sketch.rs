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
use core::net::{IpAddr, SocketAddr};
use sansbox_core::Refusal;

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
        unkept: 0,
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
        let packet = core.new_packet_id();
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

    /// The request for the connection leaves.
    pub(super) fn sketch_request(&mut self, core: &mut Core) {
        self.request = Some(self.sketch_sent(core, Side::Dialer, (Flags::SYN, 0), &[]));
    }

    /// It arrives, and is granted.
    pub(super) fn sketch_grant(&mut self, core: &mut Core) {
        if let Some(packet) = self.request {
            self.sketch_arrived(core, Side::Dialer, packet, &[]);
        }
        self.request = Some(self.sketch_sent(core, Side::Acceptor, (Flags::SYN_ACK, 0), &[]));
    }

    /// The grant arrives.
    pub(super) fn sketch_granted(&self, core: &mut Core) {
        if let Some(packet) = self.request {
            self.sketch_arrived(core, Side::Acceptor, packet, &[]);
        }
    }

    /// A segment of `from` finds nobody.
    pub(super) fn sketch_unheard(&self, core: &mut Core, from: Side, packet: PacketId) {
        let host = self.end(from.other()).host;
        let why = b"the host is gone";
        core.sketch(host, (Tag::PacketLost, packet.0), None, why);
    }
}

/// A connection request that no connection follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    ends: (SocketAddr, SocketAddr),
    packet: PacketId,
}

impl Request {
    /// It leaves `host`.
    pub(super) fn new(core: &mut Core, host: HostId, (from, to): (IpAddr, SocketAddr)) -> Self {
        let packet = core.new_packet_id();
        let ends = (SocketAddr::new(from, core.last_port(host)), to);
        let head = segment(ends, (Flags::SYN, 0, 0));
        core.sketch(host, (Tag::PacketSent, packet.0), Some(head), &[]);
        Self { ends, packet }
    }

    /// How it ends: answered with RST, or for another reason.
    pub(super) fn sketch_end(self, core: &mut Core, host: HostId, why: Refusal) {
        let (from, to) = self.ends;
        if why == Refusal::ConnectionRefused {
            let answer = core.new_packet_id();
            let head = segment((to, from), (RST_ACK, 0, 0));
            core.sketch(host, (Tag::PacketArrived, answer.0), Some(head), &[]);
        } else {
            let lost = (Tag::PacketLost, self.packet.0);
            core.sketch_text(host, lost, None, format_args!("{why}"));
        }
    }
}
