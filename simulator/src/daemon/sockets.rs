//! What drives hold of the virtual network: handles that close what they stand for when dropped,
//! and the table of who is to be woken for what.
use crate::{
    host::{Cx, DialId, QueryId, SocketId, UdpId},
    net::packet::{Icmp, IcmpKind},
};
use bytes::BytesMut;
use core::{
    cell::RefCell,
    net::{IpAddr, SocketAddr},
};
use sansbox_core::Refusal;
use sansbox_engine::{
    drive::{self, Face, Sockets},
    machine::{Cause, Undelivered},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

/// Datagrams that a socket of a drive's own holds until they are read; more are lost, as in a
/// kernel.
const RECEIVED_MAX: usize = 4096;

/// The sockets of the virtual network.
#[derive(Debug)]
pub(super) struct Virtual;

impl Sockets for Virtual {
    type Stream = Stream;
    type Datagrams = Datagrams;
    type Lookup = Lookup;
    type Conduit = Conduit;
    type Device = super::device::Device;
    /// Echo requests are prohibited.
    type Echo = core::convert::Infallible;
}

/// What a dropped handle stood for, to be closed as soon as somebody has the network at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grave {
    Dial(DialId),
    Socket(SocketId),
    Udp(UdpId),
    Query(QueryId),
}

/// What is to be closed.
#[derive(Clone, Debug, Default)]
pub(super) struct Graves(Rc<RefCell<Vec<Grave>>>);

impl Graves {
    fn push(&self, grave: Grave) {
        self.0.borrow_mut().push(grave);
    }

    /// All of it, in the order in which it was dropped.
    pub(super) fn take(&self) -> Vec<Grave> {
        self.0.take()
    }
}

/// How a dial ended.
pub(super) type Dialed = Result<(SocketId, SocketAddr), Refusal>;

/// What a lookup found.
pub(super) type Found = Result<Vec<IpAddr>, Refusal>;

/// A connection, made or on its way.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) held: Option<Held>,
    graves: Graves,
}

/// What a connection is now.
#[derive(Clone, Copy, Debug)]
pub(super) enum Held {
    Dial(DialId),
    Socket(SocketId),
}

impl Stream {
    pub(super) const fn new(held: Held, graves: Graves) -> Self {
        let held = Some(held);
        Self { held, graves }
    }

    pub(super) const fn socket(&self) -> Option<SocketId> {
        match self.held {
            Some(Held::Socket(socket)) => Some(socket),
            Some(Held::Dial(_)) | None => None,
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        match self.held {
            Some(Held::Dial(dial)) => self.graves.push(Grave::Dial(dial)),
            Some(Held::Socket(socket)) => self.graves.push(Grave::Socket(socket)),
            None => {}
        }
    }
}

/// A UDP slot.
#[derive(Debug)]
pub(super) enum Datagrams {
    /// A socket of its own.
    Own(Own),
    /// The part of a listener's socket that faces one client.
    Face(UdpId, Face),
}

impl Datagrams {
    pub(super) const fn own(socket: UdpId, graves: Graves) -> Self {
        Self::Own(Own { socket, graves })
    }
}

/// A UDP socket that nobody shares.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) socket: UdpId,
    graves: Graves,
}

impl Drop for Own {
    fn drop(&mut self) {
        self.graves.push(Grave::Udp(self.socket));
    }
}

/// A lookup that runs.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) query: QueryId,
    graves: Graves,
}

impl Lookup {
    pub(super) const fn new(query: QueryId, graves: Graves) -> Self {
        Self { query, graves }
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.graves.push(Grave::Query(self.query));
    }
}

/// Bytes that are spliced from one connection to another.
#[derive(Debug, Default)]
pub(super) struct Conduit(pub(super) BytesMut);

impl drive::Conduit for Conduit {
    fn filled(&self) -> usize {
        self.0.len()
    }
}

/// What is known of an open connection.
#[derive(Debug)]
pub(super) struct Conn {
    owner: usize,
    /// A read may give something.
    pub(super) readable: bool,
    /// A write may take something.
    pub(super) writable: bool,
}

/// What came to a UDP socket and was not read yet.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    owner: usize,
    pub(super) received: VecDeque<(SocketAddr, BytesMut)>,
    /// An earlier datagram could not be delivered.
    pub(super) has_error: bool,
    /// Errors are told of one by one.
    pub(super) is_watched: bool,
    /// Where datagrams went that could not be delivered, and what is said of them.
    pub(super) errors: VecDeque<(SocketAddr, Undelivered)>,
}

/// What a kernel would say: unreachable by the destination itself is its port.
fn undelivered(from: IpAddr, icmp: &Icmp) -> Undelivered {
    let cause = match icmp.kind {
        IcmpKind::PacketTooBig { mtu } => Cause::TooBig {
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
        },
        IcmpKind::Unreachable if from == icmp.about_destination.ip() => Cause::PortUnreachable,
        IcmpKind::Unreachable => Cause::HostUnreachable,
        IcmpKind::Prohibited => Cause::AdminProhibited,
    };
    Undelivered {
        cause,
        reporter: Some(from),
    }
}

/// Something on its way, and how it ended once it has.
#[derive(Debug)]
struct Pending<T> {
    owner: usize,
    outcome: Option<T>,
}

/// Who waits for what. What is told here says who is to have a turn.
#[derive(Debug, Default)]
pub(super) struct Ways {
    conns: BTreeMap<SocketId, Conn>,
    dials: BTreeMap<DialId, Pending<Dialed>>,
    queries: BTreeMap<QueryId, Pending<Found>>,
    mailboxes: BTreeMap<UdpId, Mailbox>,
    /// Conduits that drives hold.
    pub(super) conduits: usize,
    /// How often anything was done to the network or heard of it.
    pub(super) effects: u64,
    /// What was done last.
    pub(super) last_effect: &'static str,
    /// Who is to have a turn, each once.
    ready: VecDeque<usize>,
    is_ready: BTreeSet<usize>,
}

impl Ways {
    /// Somebody is to have a turn.
    pub(super) fn wake(&mut self, number: usize) {
        if self.is_ready.insert(number) {
            self.ready.push_back(number);
        }
    }

    /// How many wait for a turn.
    pub(super) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Takes one of those who wait for a turn.
    pub(super) fn take_ready(&mut self, at: usize) -> Option<usize> {
        let number = self.ready.remove(at)?;
        self.is_ready.remove(&number);
        Some(number)
    }

    pub(super) fn connected(&mut self, socket: SocketId, owner: usize) {
        let conn = Conn {
            owner,
            readable: true,
            writable: true,
        };
        self.conns.insert(socket, conn);
    }

    pub(super) fn conn(&mut self, socket: SocketId) -> Option<&mut Conn> {
        self.conns.get_mut(&socket)
    }

    pub(super) fn dials(&mut self, dial: DialId, owner: usize) {
        let outcome = None;
        self.dials.insert(dial, Pending { owner, outcome });
    }

    /// How a dial ended, once.
    pub(super) fn take_dialed(&mut self, dial: DialId) -> Option<Dialed> {
        let outcome = self.dials.get_mut(&dial)?.outcome.take()?;
        self.dials.remove(&dial);
        Some(outcome)
    }

    pub(super) fn asks(&mut self, query: QueryId, owner: usize) {
        let outcome = None;
        self.queries.insert(query, Pending { owner, outcome });
    }

    /// What a lookup found, once.
    pub(super) fn take_found(&mut self, query: QueryId) -> Option<Found> {
        let outcome = self.queries.get_mut(&query)?.outcome.take()?;
        self.queries.remove(&query);
        Some(outcome)
    }

    pub(super) fn bound(&mut self, socket: UdpId, owner: usize) {
        let mailbox = Mailbox {
            owner,
            ..Mailbox::default()
        };
        self.mailboxes.insert(socket, mailbox);
    }

    pub(super) fn mailbox(&mut self, socket: UdpId) -> Option<&mut Mailbox> {
        self.mailboxes.get_mut(&socket)
    }

    /// A connection can be read; as with a poller, that may mean that it is dead, so it can be
    /// written as well.
    pub(super) fn on_readable(&mut self, socket: SocketId) {
        if let Some(conn) = self.conns.get_mut(&socket) {
            (conn.readable, conn.writable) = (true, true);
            let owner = conn.owner;
            self.wake(owner);
        }
    }

    pub(super) fn on_writable(&mut self, socket: SocketId) {
        if let Some(conn) = self.conns.get_mut(&socket) {
            conn.writable = true;
            let owner = conn.owner;
            self.wake(owner);
        }
    }

    pub(super) fn on_dialed(&mut self, dial: DialId, outcome: Dialed) {
        let Some(pending) = self.dials.get_mut(&dial) else {
            return;
        };
        let owner = pending.owner;
        if let Ok((socket, _)) = &outcome {
            let socket = *socket;
            pending.outcome = Some(outcome);
            self.connected(socket, owner);
        } else {
            pending.outcome = Some(outcome);
        }
        self.wake(owner);
    }

    pub(super) fn on_found(&mut self, query: QueryId, found: Found) {
        if let Some(pending) = self.queries.get_mut(&query) {
            pending.outcome = Some(found);
            let owner = pending.owner;
            self.wake(owner);
        }
    }

    /// A datagram came to a socket of a drive's own; false when there is none.
    pub(super) fn on_datagram(&mut self, socket: UdpId, from: SocketAddr, data: BytesMut) -> bool {
        let Some(mailbox) = self.mailboxes.get_mut(&socket) else {
            return false;
        };
        if mailbox.received.len() < RECEIVED_MAX {
            mailbox.received.push_back((from, data));
        }
        let owner = mailbox.owner;
        self.wake(owner);
        true
    }

    /// A router, or the destination, says what became of a datagram.
    pub(super) fn on_error(&mut self, socket: UdpId, from: IpAddr, icmp: &Icmp) {
        if let Some(mailbox) = self.mailboxes.get_mut(&socket) {
            mailbox.has_error = true;
            if mailbox.is_watched && mailbox.errors.len() < RECEIVED_MAX {
                let to = icmp.about_destination;
                mailbox.errors.push_back((to, undelivered(from, icmp)));
            }
            let owner = mailbox.owner;
            self.wake(owner);
        }
    }

    /// Closes what was dropped.
    pub(super) fn bury(&mut self, cx: &mut Cx<'_>, graves: &Graves) {
        for grave in graves.take() {
            match grave {
                Grave::Dial(dial) => match self.dials.remove(&dial).map(|dial| dial.outcome) {
                    Some(Some(Ok((socket, _)))) => self.close(cx, socket),
                    Some(None) => cx.cancel_dial(dial),
                    Some(Some(Err(_))) | None => {}
                },
                Grave::Socket(socket) => self.close(cx, socket),
                Grave::Udp(socket) => {
                    self.mailboxes.remove(&socket);
                    cx.unbind(socket);
                }
                Grave::Query(query) => {
                    if let Some(Pending { outcome: None, .. }) = self.queries.remove(&query) {
                        cx.cancel_resolve(query);
                    }
                }
            }
        }
    }

    fn close(&mut self, cx: &mut Cx<'_>, socket: SocketId) {
        self.conns.remove(&socket);
        cx.close(socket);
    }

    /// Resets a connection.
    pub(super) fn abort(&mut self, cx: &mut Cx<'_>, socket: SocketId) {
        self.conns.remove(&socket);
        cx.abort(socket);
    }

    /// What is still known: connections, dials, lookups, sockets, conduits, and who is to have a
    /// turn.
    pub(super) fn left(&self) -> [usize; 6] {
        [
            self.conns.len(),
            self.dials.len(),
            self.queries.len(),
            self.mailboxes.len(),
            self.conduits,
            self.ready.len(),
        ]
    }
}
