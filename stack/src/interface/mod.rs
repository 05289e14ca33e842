//! All packets of one TUN device, or of one of its queues: TCP is terminated, UDP and echo
//! requests are mapped to associations, the rest is answered or counted.
//!
//! ```text
//! loop:
//!     recv_batch(now, packets, |datagram| ...)    or handle_timeout(now)
//!     poll_event() until None                     answered through stack_mut()
//!     retain(packets)
//!     poll_transmit(now, batch) until false       written to the device, then cleared
//!     poll_timeout()
//! ```
//!
//! Bounded queues: [`InterfaceConfig::queue_max`] packets and
//! [`InterfaceConfig::queue_bytes_max`] bytes wait for the device, as many events to be polled
//! (with as many bytes of echo requests).
//! Datagrams of clients do not wait here: they are handed over at once, and who opens the
//! association keeps them until it stands.
mod config;
mod outbox;
mod receive;
mod send;

pub use config::{InterfaceConfig, QUEUE_BYTES_MAX};

use core::net::{IpAddr, SocketAddr};
use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use sansbox_core::{Instant, Seed};

use crate::batch::{Faulty, Other, RxPacket, TxBatch};
use crate::config::Handshake;
use crate::drops::{Dropped, drop_reasons};
use crate::event::Event;
use crate::fragment::{Identification, Reassembler};
use crate::icmp::{EchoMode, Icmp, Kind};
use crate::ip;
use crate::mtu::{self, BadMtu, Budget, Carrier};
use crate::nat::{self, Closed, MappingId, Table};
use crate::stack::Stack;

use outbox::Outbox;

/// Most queries (clients and their identifiers) whose echo requests are carried at a time: each has
/// a socket upstream.
pub const QUERIES_MAX: usize = 256;

drop_reasons! {
    "interface";
    /// Why a packet is dropped where the parts meet.
    pub enum Drop, Drops {
        ToMany => "to_many": "A datagram to a multicast or broadcast address; those are for the device's own network.",
        PortZero => "port_zero": "A datagram from or to port 0.",
        HopLimit => "hop_limit": "A datagram, or an echo request to carry, whose hop limit ends here; the sender is told.",
        OtherProtocol => "other_protocol": "Neither TCP, UDP nor ICMP; the sender is told.",
        EchoRefused => "echo_refused": "An echo request that may not, or cannot, be carried; the sender is told, unless a rule wants silence.",
        NoSession => "no_session": "An ICMP error of a client about no mapping.",
        EventsFull => "events_full": "News of a client, with its packet, while too many events wait to be polled.",
        QueueFull => "queue_full": "A packet for the device while too many wait.",
        WrongFamily => "wrong_family": "A reply of another family than the client's.",
        TooLong => "too_long": "A reply longer than a packet.",
    }
}

/// The client and identifier of echo requests that are carried upstream, never used again for
/// others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(MappingId);

/// An echo request to carry upstream ([`EchoMode::Relay`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchoRequest {
    /// Who asks, with the identifier that the reply needs: one socket upstream for each.
    pub query: QueryId,
    /// Who asks.
    pub client: IpAddr,
    /// Whom it asks.
    pub remote: IpAddr,
    /// Its number, which the reply repeats.
    pub sequence: u16,
    /// Hops that it may still go, at least 1: this one is taken off.
    pub hop_limit: u8,
    /// What the reply repeats.
    pub data: Bytes,
}

/// Datagrams of a client do not arrive: see [`Interface::udp_error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpError {
    /// Where they went.
    pub remote: SocketAddr,
    /// What is said of them.
    pub kind: Kind,
    /// Who says it, where that is known: a router on the way, or the destination.
    pub reporter: Option<IpAddr>,
}

/// What became of an echo request that was carried upstream, when it was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoError {
    /// Whom it asked.
    pub remote: IpAddr,
    /// Its number.
    pub sequence: u16,
    /// What is said of it.
    pub kind: Kind,
    /// Who says it, where that is known: a router on the way.
    pub reporter: Option<IpAddr>,
}

/// What happened on an [`Interface`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceEvent {
    /// News of a TCP connection; [`Interface::stack_mut`] takes the answers.
    Tcp(Event),
    /// A client's socket has a mapping: its datagrams, of which the first was handed over with the
    /// batch, are to go through an association of their own.
    Mapped(MappingId, SocketAddr),
    /// A mapping ended.
    Unmapped(Closed),
    /// A client's host refused a datagram that was sent to it. The mapping goes on, because what
    /// it says is about one remote only (RFC 4787 REQ-12).
    Refused(MappingId, Refused),
    /// An echo request to carry; [`Interface::send_echo_reply`] takes the answer.
    Echo(EchoRequest),
    /// No more requests of this client and identifier came for 60 s, or too many others did: the
    /// socket upstream is to be closed.
    EchoEnded(QueryId),
}

/// An ICMP error of a client about a datagram that was sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Whose datagram it was.
    pub remote: SocketAddr,
    /// Type of the message: 3 (IPv4) and 1 (IPv6) are unreachable.
    pub kind: u8,
    /// Code of the message: 3 (IPv4) and 4 (IPv6) are the port.
    pub code: u8,
}

/// A datagram of a client.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Its mapping.
    pub mapping: MappingId,
    /// Where it is to go.
    pub destination: SocketAddr,
    /// The payload.
    pub data: &'a [u8],
}

/// The machine for all packets of one device or queue.
pub struct Interface {
    config: InterfaceConfig,
    stack: Stack,
    table: Table,
    /// Clients' echo requests that are carried upstream; the port is the identifier.
    queries: Table,
    icmp: Icmp,
    fragments: Reassembler,
    ids: Identification,
    budget: Budget,
    events: VecDeque<InterfaceEvent>,
    /// Bytes of echo requests among the events.
    event_bytes: usize,
    out: Outbox,
    /// What the terminator left of the batch.
    others: Vec<Other>,
    /// What it refused and the sender is to be told of.
    faulty: Vec<Faulty>,
    /// A packet that was put together.
    whole: BytesMut,
    /// A packet that is made.
    made: BytesMut,
    /// A fragment of it.
    part: BytesMut,
    ip_drops: ip::Drops,
    mtu_drops: mtu::Drops,
    drops: Drops,
}

impl Interface {
    /// An interface that knows no client. `seed` must be uniformly random.
    ///
    /// # Errors
    /// [`BadMtu`].
    pub fn new(config: InterfaceConfig, seed: &Seed) -> Result<Self, BadMtu> {
        let budget = Budget::new(config.stack.tun_mtu, config.egress_mtu, config.overhead)?;
        let queries = nat::Config {
            sessions_max: config.nat.sessions_max.min(QUERIES_MAX),
            filtering: nat::Filtering::AddressDependent,
            ..config.nat
        };
        Ok(Self {
            stack: Stack::new(config.stack.clone(), seed.derive("stack/tcp")),
            table: Table::new(config.nat),
            queries: Table::new(queries),
            icmp: Icmp::new(config.echo, config.gateway_v4, config.gateway_v6),
            fragments: Reassembler::new(config.fragments),
            ids: Identification::new(seed.derive("stack/interface")),
            budget,
            events: VecDeque::new(),
            event_bytes: 0,
            out: Outbox::new(config.queue_max, config.queue_bytes_max, config.pool_max),
            others: Vec::new(),
            faulty: Vec::new(),
            whole: BytesMut::new(),
            made: BytesMut::new(),
            part: BytesMut::new(),
            ip_drops: ip::Drops::new(),
            mtu_drops: mtu::Drops::new(),
            drops: Drops::new(),
            config,
        })
    }

    /// The terminator of TCP.
    #[must_use]
    pub const fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The terminator of TCP, for all that concerns a connection.
    pub const fn stack_mut(&mut self) -> &mut Stack {
        &mut self.stack
    }

    /// Answers SYNs in another way from now on. Connections that began keep theirs.
    pub const fn set_handshake(&mut self, handshake: Handshake) {
        self.stack.set_handshake(handshake);
    }

    /// Changes the MTU of the way to the Internet, from the next datagram on.
    ///
    /// # Errors
    /// [`BadMtu`], and nothing has changed.
    pub fn set_egress_mtu(&mut self, egress_mtu: u16) -> Result<(), BadMtu> {
        self.budget.set_egress_mtu(egress_mtu)
    }

    /// Changes how datagrams go on, from the next one on.
    pub const fn set_carrier(&mut self, carrier: Carrier) {
        self.config.carrier = carrier;
    }

    /// Changes what becomes of echo requests, from the next one on.
    pub const fn set_echo(&mut self, echo: EchoMode) {
        self.icmp.set_echo(echo);
    }

    /// The MTUs on both sides.
    #[must_use]
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Mappings of clients' sockets there are.
    #[must_use]
    pub fn mappings(&self) -> usize {
        self.table.len()
    }

    /// Whose mapping it is; `None` if it ended.
    #[must_use]
    pub fn client(&self, mapping: MappingId) -> Option<SocketAddr> {
        self.table.client(mapping)
    }

    /// Everything that was dropped so far: each reason of each module with its count. A reason's
    /// name is unique in its module.
    pub fn drops(&self) -> impl Iterator<Item = Dropped> + '_ {
        let counters = self.stack.counters();
        // The terminator reads most headers; what is put together of fragments is read here.
        let ip = counters.ip.rows().zip(self.ip_drops.rows());
        let ip = ip.map(|(theirs, ours)| Dropped {
            count: theirs.count.saturating_add(ours.count),
            ..ours
        });
        let nat = self.table.drops().rows().zip(self.queries.drops().rows());
        let nat = nat.map(|(sockets, queries)| Dropped {
            count: sockets.count.saturating_add(queries.count),
            ..sockets
        });
        let tcp = counters.drops.rows();
        tcp.chain(ip)
            .chain(self.fragments.drops().rows())
            .chain(self.icmp.drops().rows())
            .chain(nat)
            .chain(self.mtu_drops.rows())
            .chain(self.drops.rows())
    }

    /// Packets made here that wait for [`Self::poll_transmit`]; TCP's do not count.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.out.len()
    }

    /// A batch of the configured size for [`Self::poll_transmit`].
    #[must_use]
    pub fn tx_batch(&self) -> TxBatch {
        TxBatch::new(self.config.batch_size.max(1))
    }

    /// Copies what TCP brought and the caller did not take; see [`Stack::retain`].
    pub fn retain(&mut self, packets: &[RxPacket<'_>]) {
        self.stack.retain(packets);
    }

    /// The next event: those of mappings and echo in order, then those of TCP in order. To be
    /// polled until there is none after each batch and each timeout.
    pub fn poll_event(&mut self) -> Option<InterfaceEvent> {
        let Some(event) = self.events.pop_front() else {
            return self.stack.poll_event().map(InterfaceEvent::Tcp);
        };
        if let InterfaceEvent::Echo(request) = &event {
            self.event_bytes = self.event_bytes.saturating_sub(request.data.len());
        }
        Some(event)
    }

    /// When [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadlines = [
            self.stack.poll_timeout(),
            self.table.poll_timeout(),
            self.queries.poll_timeout(),
            self.fragments.poll_timeout(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Acts on all deadlines until `now`. Events may follow.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.stack.handle_timeout(now);
        while self.has_room_for_events(1)
            && let Some(closed) = self.table.expire(now)
        {
            self.events.push_back(InterfaceEvent::Unmapped(closed));
        }
        while self.has_room_for_events(1)
            && let Some(closed) = self.queries.expire(now)
        {
            self.events
                .push_back(InterfaceEvent::EchoEnded(QueryId(closed.id)));
        }
        self.give_up_fragments(now);
    }

    fn has_room_for_events(&self, count: usize) -> bool {
        self.events.len() + count <= self.config.queue_max.max(2)
    }
}

// A worker owns its interface, and workers are started on threads of their own.
const _: fn() = || {
    fn movable<T: Send>() {}
    movable::<Interface>();
};
