//! Single datagrams between a client and its server, lost, doubled, late or made up.
use crate::net::{
    hop::{Hop, HopCx, Lost, Way},
    packet::{Body, Packet},
};
use bytes::BytesMut;
use core::time::Duration;

/// What becomes of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// It is lost.
    Lose,
    /// It comes twice.
    Double,
    /// It comes so much later.
    Delay(Duration),
    /// Behind it comes another one from the same address, with these octets.
    Forge(Vec<u8>),
}

/// A hop that edits datagrams by their number in each way, from 0.
#[derive(Debug, Default)]
pub struct Edits {
    edits: Vec<(Way, u64, Edit)>,
    out: u64,
    into: u64,
}

impl Edits {
    /// Leaves everything as it is.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Edits the `nth` datagram that passes in `way`.
    #[must_use]
    pub fn edit(mut self, way: Way, nth: u64, edit: Edit) -> Self {
        self.edits.push((way, nth, edit));
        self
    }

    /// As the hops of a site.
    #[must_use]
    pub fn hops(self) -> Vec<Box<dyn Hop>> {
        vec![Box::new(self)]
    }
}

impl Hop for Edits {
    fn kind(&self) -> &'static str {
        "edits"
    }

    fn pass(&mut self, cx: &mut HopCx<'_>, way: Way, packet: Packet) {
        if !matches!(packet.body, Body::Udp(_)) {
            return cx.forward(way, packet);
        }
        let count = match way {
            Way::Out => &mut self.out,
            Way::In => &mut self.into,
        };
        let nth = core::mem::replace(count, *count + 1);
        let found = self.edits.iter().find(|(w, n, _)| (*w, *n) == (way, nth));
        match found.map(|(_, _, edit)| edit) {
            None => cx.forward(way, packet),
            Some(Edit::Lose) => cx.lose(packet, Lost::Chance),
            Some(Edit::Double) => {
                let mut copy = packet.clone();
                copy.id = cx.new_packet_id();
                cx.forward(way, packet);
                cx.forward(way, copy);
            }
            Some(Edit::Delay(time)) => cx.forward_at(cx.now() + *time, way, packet),
            Some(Edit::Forge(octets)) => {
                let mut forged = packet.clone();
                forged.id = cx.new_packet_id();
                forged.body = Body::Udp(BytesMut::from(&octets[..]));
                cx.forward(way, packet);
                cx.forward(way, forged);
            }
        }
    }
}
