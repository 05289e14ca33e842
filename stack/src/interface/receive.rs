//! Packets of clients that are not TCP, or are fragments.
use core::net::SocketAddr;

use bytes::Bytes;
use sansbox_core::Instant;

use super::{Drop, EchoRequest, Interface, InterfaceEvent, QueryId, Received, Refused};
use crate::batch::{RxPacket, Verified};
use crate::icmp::{Echo, Handled, Kind, Report, Transport};
use crate::ip::{Checksum, Datagram, Header, Problem, is_many, protocol};
use crate::mtu::{Carrier, Verdict};
use crate::nat::Class;

/// What a packet came in: its batch, and who takes datagrams.
struct Context<'a, 'b> {
    now: Instant,
    packets: &'a [RxPacket<'b>],
    datagram: &'a mut dyn FnMut(Received<'_>),
}

/// A packet of a client, whole.
struct Source<'a> {
    packet: &'a [u8],
    header: &'a Header,
    checksum: Checksum,
    /// See [`RxPacket::segment_size`].
    segment_size: u16,
    /// It came in fragments: the way out may cut it again.
    was_cut: bool,
}

impl Interface {
    /// Handles packets. Datagrams of clients are handed to `datagram` at once. What TCP brought is
    /// in [`crate::Stack::pieces`] until [`Self::retain`], which must be called with the same batch
    /// before the next one.
    pub fn recv_batch(
        &mut self,
        now: Instant,
        packets: &[RxPacket<'_>],
        datagram: &mut dyn FnMut(Received<'_>),
    ) {
        self.stack.recv_batch(now, packets);
        self.stack.swap_others(&mut self.others, &mut self.faulty);
        for at in 0..self.faulty.len() {
            let faulty = self.faulty.get(at).copied();
            let packet = faulty.and_then(|faulty| packets.get(faulty.packet as usize));
            if let (Some(faulty), Some(packet)) = (faulty, packet) {
                self.tell_problem(now, packet.data, faulty.problem);
            }
        }
        let mut context = Context {
            now,
            packets,
            datagram,
        };
        for at in 0..self.others.len() {
            let other = self.others.get(at).copied();
            let packet = other.and_then(|other| packets.get(other.packet as usize));
            if let (Some(other), Some(packet)) = (other, packet) {
                self.handle_other(&mut context, packet, &other.header);
            }
        }
    }

    fn handle_other(
        &mut self,
        context: &mut Context<'_, '_>,
        packet: &RxPacket<'_>,
        header: &Header,
    ) {
        if header.fragment.is_some() {
            self.handle_fragment(context, packet.data, header);
            return;
        }
        let source = Source {
            packet: packet.data,
            header,
            checksum: match packet.verified {
                Verified::No => Checksum::Verify,
                Verified::Trusted => Checksum::Trusted,
            },
            segment_size: packet.segment_size,
            was_cut: false,
        };
        self.handle_whole(context, &source);
    }

    /// A fragment; with the last one the whole packet.
    fn handle_fragment(&mut self, context: &mut Context<'_, '_>, packet: &[u8], header: &Header) {
        let mut whole = core::mem::take(&mut self.whole);
        whole.clear();
        let made = self
            .fragments
            .handle_fragment(context.now, packet, header, &mut whole);
        if let Ok(Some(_)) = made {
            match Header::parse(&whole) {
                Ok(header) if header.protocol == protocol::TCP => {
                    self.handle_segment(context, &whole);
                }
                Ok(header) => {
                    let source = Source {
                        packet: &whole,
                        header: &header,
                        // What was verified of a fragment says nothing about the whole.
                        checksum: Checksum::Verify,
                        segment_size: 0,
                        was_cut: true,
                    };
                    self.handle_whole(context, &source);
                }
                Err(refused) => {
                    self.ip_drops.count(refused.reason);
                    if let Some(problem) = refused.problem {
                        self.tell_problem(context.now, &whole, problem);
                    }
                }
            }
        }
        self.whole = whole;
    }

    /// A TCP segment that came in fragments. It is a batch of its own: what came in the one at
    /// hand, and the segment, which lies in no batch of the caller's, are copied.
    fn handle_segment(&mut self, context: &Context<'_, '_>, whole: &[u8]) {
        self.stack.retain(context.packets);
        let batch = [RxPacket::new(whole)];
        self.stack.recv_batch(context.now, &batch);
        self.stack.retain(&batch);
    }

    fn handle_whole(&mut self, context: &mut Context<'_, '_>, source: &Source<'_>) {
        let (packet, header) = (source.packet, source.header);
        match header.protocol {
            protocol::UDP => self.handle_udp(context, source),
            protocol::ICMP | protocol::ICMPV6 => self.handle_icmp(context.now, packet, header),
            other => {
                self.drops.count(Drop::OtherProtocol);
                if other != protocol::NONE {
                    self.tell(context.now, Kind::ProtocolUnreachable, packet, header);
                }
            }
        }
    }

    fn handle_udp(&mut self, context: &mut Context<'_, '_>, source: &Source<'_>) {
        let (packet, header) = (source.packet, source.header);
        if is_many(header.destination) {
            self.drops.count(Drop::ToMany);
            return;
        }
        let datagram = match Datagram::parse(packet, header, source.checksum) {
            Ok(datagram) => datagram,
            Err(reason) => {
                self.ip_drops.count(reason);
                return;
            }
        };
        if datagram.source_port == 0 || datagram.destination_port == 0 {
            self.drops.count(Drop::PortZero);
            return;
        }
        if !self.passes(context.now, packet, header) {
            return;
        }
        let ends = (
            SocketAddr::new(header.source, datagram.source_port),
            SocketAddr::new(header.destination, datagram.destination_port),
        );
        let data = packet.get(datagram.payload).unwrap_or_default();
        // A device that segments UDP hands over several datagrams of one length as one.
        let size = match usize::from(source.segment_size) {
            0 => data.len().max(1),
            size => size,
        };
        if !self.fits(context.now, source, size.min(data.len())) {
            return;
        }
        if data.is_empty() {
            self.hand_over(context, ends, data);
        }
        for data in data.chunks(size) {
            self.hand_over(context, ends, data);
        }
    }

    /// Whether a datagram of `len` bytes can be carried; otherwise its sender is told.
    fn fits(&mut self, now: Instant, source: &Source<'_>, len: usize) -> bool {
        let (packet, header) = (source.packet, source.header);
        let mut carrier = self.config.carrier;
        if source.was_cut && carrier == Carrier::Packets {
            carrier = Carrier::Fragmenting;
        }
        match self.budget.datagram(carrier, header, len) {
            // Whoever carries it cuts it, too.
            Verdict::Carry | Verdict::Fragment | Verdict::Split { .. } => true,
            Verdict::TooBig { mtu, reason } => {
                self.mtu_drops.count(reason);
                self.tell(now, Kind::TooBig { mtu }, packet, header);
                false
            }
        }
    }

    /// Gives the caller a datagram with its mapping, which is made if there is none.
    fn hand_over(
        &mut self,
        context: &mut Context<'_, '_>,
        (client, destination): (SocketAddr, SocketAddr),
        data: &[u8],
    ) {
        // A new mapping is an event, and so is the end of the one that makes room for it.
        if !self.has_room_for_events(2) && self.table.find(client).is_none() {
            self.drops.count(Drop::EventsFull);
            return;
        }
        let class = Class::of_datagram(destination.port(), data);
        let Ok(outbound) = self.table.outbound(context.now, client, destination, class) else {
            // Counted by the table.
            return;
        };
        if let Some(closed) = outbound.evicted {
            self.events.push_back(InterfaceEvent::Unmapped(closed));
        }
        let mapping = outbound.id;
        if outbound.is_new {
            self.events
                .push_back(InterfaceEvent::Mapped(mapping, client));
        }
        (context.datagram)(Received {
            mapping,
            destination,
            data,
        });
    }

    /// Whether the packet may go one hop further; otherwise its sender is told, as by any router.
    fn passes(&mut self, now: Instant, packet: &[u8], header: &Header) -> bool {
        if header.hop_limit > 1 {
            return true;
        }
        self.drops.count(Drop::HopLimit);
        self.tell(now, Kind::HopLimitExceeded, packet, header);
        false
    }

    fn handle_icmp(&mut self, now: Instant, packet: &[u8], header: &Header) {
        self.made.clear();
        match self.icmp.handle(now, packet, header, &mut self.made) {
            Ok(Handled::Answered(_)) => {
                self.send_made();
            }
            Ok(Handled::Echo(echo)) => {
                if self.passes(now, packet, header) {
                    self.relay_echo(now, packet, header, echo);
                }
            }
            Ok(Handled::Report(report)) => self.handle_report(&report),
            // Counted by the module.
            Err(_) => {}
        }
    }

    fn relay_echo(&mut self, now: Instant, packet: &[u8], header: &Header, echo: Echo) {
        let client = SocketAddr::new(header.source, echo.identifier);
        let remote = SocketAddr::new(header.destination, 0);
        let data = packet.get(echo.data).unwrap_or_default();
        let bytes = self.event_bytes + data.len();
        if !self.has_room_for_events(2) || bytes > self.config.queue_bytes_max {
            self.drops.count(Drop::EventsFull);
            return;
        }
        let Ok(outbound) = self.queries.outbound(now, client, remote, Class::Echo) else {
            return;
        };
        if let Some(closed) = outbound.evicted {
            self.events
                .push_back(InterfaceEvent::EchoEnded(QueryId(closed.id)));
        }
        self.event_bytes = bytes;
        self.events.push_back(InterfaceEvent::Echo(EchoRequest {
            query: QueryId(outbound.id),
            client: header.source,
            remote: header.destination,
            sequence: echo.sequence,
            hop_limit: header.hop_limit.saturating_sub(1),
            data: Bytes::copy_from_slice(data),
        }));
    }

    /// A client's host refuses what was sent to it.
    fn handle_report(&mut self, report: &Report) {
        let is_udp = matches!(report.quoted.transport, Transport::Udp { .. });
        let session = report.session().filter(|_| is_udp);
        let found = session.and_then(|(client, remote)| Some((self.table.find(client)?, remote)));
        let Some((mapping, remote)) = found else {
            self.drops.count(Drop::NoSession);
            return;
        };
        if !self.has_room_for_events(1) {
            self.drops.count(Drop::EventsFull);
            return;
        }
        let refused = Refused {
            remote,
            kind: report.kind,
            code: report.code,
        };
        self.events
            .push_back(InterfaceEvent::Refused(mapping, refused));
    }

    /// Gives up packets whose fragments are missing; the sender is told if the first is there.
    pub(super) fn give_up_fragments(&mut self, now: Instant) {
        let mut first = core::mem::take(&mut self.whole);
        loop {
            first.clear();
            let Some(len) = self.fragments.expire(now, &mut first) else {
                break;
            };
            if len == 0 {
                continue;
            }
            if let Ok(header) = Header::parse(&first) {
                self.tell(now, Kind::ReassemblyTimeExceeded, &first, &header);
            }
        }
        self.whole = first;
    }

    /// Tells a client which byte of its packet was refused.
    fn tell_problem(&mut self, now: Instant, packet: &[u8], problem: Problem) {
        if let Some(header) = Header::of_faulty(packet) {
            self.tell(now, Kind::ParameterProblem(problem), packet, &header);
        }
    }

    /// Tells a client by ICMP what is wrong with its packet, as far as the limits allow.
    fn tell(&mut self, now: Instant, kind: Kind, packet: &[u8], header: &Header) -> bool {
        self.made.clear();
        let told = self.icmp.error(now, kind, packet, header, &mut self.made);
        told.is_ok() && self.send_made()
    }
}
