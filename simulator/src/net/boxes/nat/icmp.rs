//! ICMP errors through a NAT (RFC 5508 section 4): the packet that an error is about is
//! translated as well as the error's own address. An error keeps nothing alive and ends nothing.
use super::Nat;
use crate::net::{
    hop::{HopCx, Lost, Way},
    packet::{Body, Packet},
};

impl Nat {
    /// About a packet that this NAT sent out.
    pub(super) fn icmp_inward(&self, cx: &mut HopCx<'_>, mut packet: Packet) {
        let Body::Icmp(icmp) = &mut packet.body else {
            return;
        };
        let found = self.table.by_external(icmp.transport, icmp.about_source);
        let about = icmp.about_destination;
        let Some((key, _)) = found.filter(|(_, b)| b.sessions.contains_key(&about)) else {
            return cx.lose(packet, Lost::NoMapping);
        };
        icmp.about_source = key.inside;
        packet.destination = key.inside;
        cx.forward(Way::In, packet);
    }

    /// About a packet that this NAT let in.
    pub(super) fn icmp_outward(&self, cx: &mut HopCx<'_>, mut packet: Packet) {
        let Body::Icmp(icmp) = &mut packet.body else {
            return;
        };
        let (inside, remote) = (icmp.about_destination, icmp.about_source);
        let Some(external) = self.table.external_of(icmp.transport, inside, remote) else {
            return cx.lose(packet, Lost::NoMapping);
        };
        icmp.about_destination = external;
        packet.source = external;
        cx.forward(Way::Out, packet);
    }
}
