//! What the virtual network does for a drive that has its turn.
use super::{
    account::{Account, Kind},
    device::Device,
    sockets::{Conduit, Datagrams, Graves, Held, Lookup, Stream, Virtual, Ways},
};
use crate::{
    check::Invariant,
    drive::Rules,
    host::{Cx, Read, SocketId, UdpId},
    rng::StreamId,
    transcript::{Detail, Tag},
};
use bytes::BytesMut;
use core::{
    net::{IpAddr, SocketAddr},
    task::{Poll, Waker},
    time::Duration,
};
use sansbox_core::{Domain, End, Instant, Refusal};
use sansbox_engine::{
    carrier::{Note, Whose},
    counters::Counters,
    drive::{Dialled, Driver, Tally, datagrams},
    ids::{OutboundId, Slot},
    machine::{Families, Stage, Undelivered},
    record::Record,
};
use std::{
    collections::BTreeSet,
    io::{self, IoSlice},
};

/// What the clocks of walls say when a world begins: the beginning of 2026.
const EPOCH: Duration = Duration::from_secs(1_767_225_600);
/// Conduits that a host has.
const CONDUITS: usize = 8;
/// Bytes that a conduit holds.
const CONDUIT_LEN: usize = 64 << 10;
/// Datagrams that are read at once.
const BATCH: usize = 16;

/// What all drives of a host share of the network.
pub(super) struct Net {
    pub(super) rules: Rules,
    pub(super) ways: Ways,
    pub(super) graves: Graves,
    /// Stream that read lengths are drawn from.
    pub(super) reads: StreamId,
    /// What machines logged.
    pub(super) served: Counters,
    /// Outbounds that had a carrier.
    pub(super) carriers: BTreeSet<OutboundId>,
}

/// What a host's wall clock says, since 1970.
pub(super) fn wall_clock(cx: &Cx<'_>) -> Duration {
    EPOCH + cx.now().saturating_duration_since(Instant::ZERO)
}

/// One turn of one drive.
pub(super) struct OneTurn<'t, 'c> {
    pub(super) cx: &'t mut Cx<'c>,
    pub(super) net: &'t mut Net,
    pub(super) account: &'t mut Account,
    pub(super) tally: &'t Tally,
    pub(super) number: usize,
    /// Whom a listener wakes for a client's datagrams.
    pub(super) waker: &'t Waker,
}

impl OneTurn<'_, '_> {
    /// Something happens that others see, or that they did.
    const fn effect(&mut self, what: &'static str) {
        self.net.ways.effects += 1;
        self.net.ways.last_effect = what;
    }

    fn fails(&mut self, why: Refusal) -> Refusal {
        self.account.failures.insert(why);
        why
    }

    fn read(&mut self, stream: &Stream, max: usize) -> Poll<io::Result<BytesMut>> {
        let Some(socket) = stream.socket() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if !self.conn_flag(socket, |conn| conn.readable) {
            return Poll::Pending;
        }
        let max = max.min(self.net.rules.read_max);
        let max = match self.net.rules.short_reads {
            true => self.cx.streams().len_up_to(self.net.reads, max),
            false => max,
        };
        let read = self.cx.read(socket, max);
        if read == Read::WouldBlock {
            if let Some(conn) = self.net.ways.conn(socket) {
                conn.readable = false;
            }
            return Poll::Pending;
        }
        self.effect("read");
        Poll::Ready(match read {
            Read::Bytes(bytes) => Ok(bytes),
            Read::Fin | Read::WouldBlock => Ok(BytesMut::new()),
            Read::Reset => Err(io::ErrorKind::ConnectionReset.into()),
        })
    }

    fn conn_flag(&mut self, socket: SocketId, flag: fn(&super::sockets::Conn) -> bool) -> bool {
        self.net.ways.conn(socket).is_some_and(|conn| flag(conn))
    }

    fn write(&mut self, stream: &Stream, bytes: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Some(socket) = stream.socket() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if !self.conn_flag(socket, |conn| conn.writable) {
            return Poll::Pending;
        }
        let mut written = 0;
        for slice in bytes {
            match self.cx.write(socket, slice) {
                Ok(n) => {
                    written += n;
                    if n < slice.len() {
                        if let Some(conn) = self.net.ways.conn(socket) {
                            conn.writable = false;
                        }
                        break;
                    }
                }
                Err(_) if written > 0 => break,
                Err(_) => {
                    self.effect("write");
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
            }
        }
        if written == 0 {
            return Poll::Pending;
        }
        self.effect("write");
        Poll::Ready(Ok(written))
    }

    /// Which slot of the model a UDP socket is; the client's is the listener's, or the first.
    fn slot(socket: UdpId, is_face: bool) -> Slot {
        match is_face {
            true => Slot::CLIENT,
            false => Slot(socket.0.saturating_add(1)),
        }
    }

    /// Datagrams that a machine received or sends go through its model. Carriers make their own,
    /// and records are no datagrams yet.
    fn has_model(&self) -> bool {
        !matches!(self.account.kind, Kind::Carrier | Kind::Records)
    }

    fn receive_own(
        &mut self,
        socket: UdpId,
        each: &mut impl FnMut(SocketAddr, BytesMut),
    ) -> Poll<io::Result<()>> {
        let has_model = self.has_model();
        let model = &mut self.account.model;
        let Some(mailbox) = self.net.ways.mailbox(socket) else {
            return Poll::Pending;
        };
        if core::mem::take(&mut mailbox.has_error) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        if mailbox.received.is_empty() {
            return Poll::Pending;
        }
        let batch = mailbox.received.len().min(BATCH);
        for (from, data) in mailbox.received.drain(..batch) {
            if has_model {
                model.received(Self::slot(socket, false), &data);
            }
            each(from, data);
        }
        self.effect("receive_own");
        Poll::Ready(Ok(()))
    }
}

impl Driver<Virtual> for OneTurn<'_, '_> {
    fn resolve(&mut self, name: Domain, families: Families) -> Result<Lookup, Refusal> {
        self.effect("resolve");
        self.tally.lookups.add(1);
        let query = self.cx.resolve(name.as_str(), families);
        self.net.ways.asks(query, self.number);
        Ok(Lookup::new(query, self.net.graves.clone()))
    }

    fn poll_lookup(&mut self, lookup: &mut Lookup) -> Poll<Result<Vec<IpAddr>, Refusal>> {
        let Some(found) = self.net.ways.take_found(lookup.query) else {
            return Poll::Pending;
        };
        self.effect("lookup");
        Poll::Ready(found.map_err(|why| self.fails(why)))
    }

    fn dial(&mut self, to: SocketAddr, _: OutboundId) -> Result<Dialled<Stream>, Refusal> {
        self.effect("dial");
        self.net.ways.bury(self.cx, &self.net.graves);
        let dial = self.cx.dial(to);
        self.net.ways.dials(dial, self.number);
        let stream = Stream::new(Held::Dial(dial), self.net.graves.clone());
        Ok(Dialled::Connecting(stream))
    }

    fn poll_dial(&mut self, stream: &mut Stream) -> Poll<Result<SocketAddr, Refusal>> {
        let Some(Held::Dial(dial)) = stream.held else {
            return Poll::Pending;
        };
        let Some(dialed) = self.net.ways.take_dialed(dial) else {
            return Poll::Pending;
        };
        self.effect("dial");
        Poll::Ready(match dialed {
            Ok((socket, local)) => {
                stream.held = Some(Held::Socket(socket));
                let detail = Some(Detail::Socket(Some(socket.number())));
                let what = format_args!("dialled socket #{}", socket.number());
                let serial = self.account.serial;
                self.cx.sketch(Tag::SlotOpened, serial, detail, what);
                Ok(local)
            }
            Err(why) => {
                stream.held = None;
                Err(self.fails(why))
            }
        })
    }

    fn bind(
        &mut self,
        local: SocketAddr,
        _: Option<OutboundId>,
    ) -> Result<(Datagrams, SocketAddr), Refusal> {
        self.effect("bind");
        self.net.ways.bury(self.cx, &self.net.graves);
        match self.cx.bind(local) {
            Ok((socket, at)) => {
                self.net.ways.bound(socket, self.number);
                Ok((Datagrams::own(socket, self.net.graves.clone()), at))
            }
            Err(why) => Err(self.fails(why)),
        }
    }

    fn poll_read(&mut self, stream: &mut Stream, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = self.read(stream, into.len());
        read.map_ok(|bytes| {
            if let Some(into) = into.get_mut(..bytes.len()) {
                into.copy_from_slice(&bytes);
            }
            bytes.len()
        })
    }

    fn poll_readable(&mut self, stream: &mut Stream) -> Poll<io::Result<()>> {
        let socket = stream.socket();
        match socket.is_some_and(|socket| self.conn_flag(socket, |conn| conn.readable)) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn poll_write(
        &mut self,
        stream: &mut Stream,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(stream, bytes)
    }

    fn poll_writable(&mut self, stream: &mut Stream) -> Poll<io::Result<()>> {
        let socket = stream.socket();
        match socket.is_some_and(|socket| self.conn_flag(socket, |conn| conn.writable)) {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn shut(&mut self, stream: &mut Stream) -> io::Result<()> {
        self.effect("shut");
        let socket = stream.socket().ok_or(io::ErrorKind::NotConnected)?;
        self.cx.shutdown(socket);
        Ok(())
    }

    fn close(&mut self, mut stream: Stream, end: End) {
        self.effect("close");
        if end == End::Reset
            && let Some(Held::Socket(socket)) = stream.held
        {
            stream.held = None;
            self.net.ways.abort(self.cx, socket);
        }
    }

    fn poll_receive(
        &mut self,
        socket: &mut Datagrams,
        mut each: impl FnMut(SocketAddr, BytesMut),
    ) -> Poll<io::Result<()>> {
        match socket {
            Datagrams::Own(own) => self.receive_own(own.socket, &mut each),
            Datagrams::Face(listener, face) => {
                let mut received = Poll::Pending;
                while let Some(data) = face.receive(self.waker) {
                    let slot = Self::slot(*listener, true);
                    self.account.model.received(slot, &data);
                    each(face.client(), data);
                    self.effect("receive");
                    received = Poll::Ready(Ok(()));
                }
                received
            }
        }
    }

    fn watch_errors(&mut self, socket: &mut Datagrams) {
        if let Datagrams::Own(own) = socket
            && let Some(mailbox) = self.net.ways.mailbox(own.socket)
        {
            mailbox.is_watched = true;
        }
    }

    fn poll_errors(
        &mut self,
        socket: &mut Datagrams,
        mut each: impl FnMut(SocketAddr, Undelivered),
    ) -> Poll<()> {
        let Datagrams::Own(own) = socket else {
            return Poll::Pending;
        };
        let errors = self.net.ways.mailbox(own.socket).map(|mailbox| {
            let batch = mailbox.errors.len().min(BATCH);
            mailbox.errors.drain(..batch).collect::<Vec<_>>()
        });
        let errors = errors.filter(|errors| !errors.is_empty());
        let Some(errors) = errors else {
            return Poll::Pending;
        };
        for (to, error) in errors {
            each(to, error);
        }
        self.effect("poll_errors");
        Poll::Ready(())
    }

    fn send(
        &mut self,
        socket: &mut Datagrams,
        to: SocketAddr,
        bytes: &[u8],
        segment: usize,
    ) -> u64 {
        let (id, is_face) = match socket {
            Datagrams::Own(own) => (own.socket, false),
            Datagrams::Face(listener, _) => (*listener, true),
        };
        for data in datagrams(bytes, segment) {
            self.effect("send");
            if self.has_model()
                && let Err(what) = self.account.model.sent(Self::slot(id, is_face), to, data)
            {
                let what = self.account.describe(&what);
                self.cx.violate(Invariant::MatchesModel, what);
            }
            self.cx.send_to(id, to, data);
        }
        0
    }

    fn poll_read_frame(&mut self, device: &mut Device, into: &mut [u8]) -> Poll<io::Result<usize>> {
        match device.read(into) {
            Some(n) => {
                self.effect("read_frame");
                Poll::Ready(Ok(n))
            }
            None => Poll::Pending,
        }
    }

    fn write_frame(&mut self, device: &mut Device, frame: &[IoSlice<'_>]) -> io::Result<()> {
        self.effect("write_frame");
        device.write(self.cx, frame);
        Ok(())
    }

    fn log(&mut self, record: &Record, stage: Stage, _: Instant) {
        self.effect("log");
        self.net.served.count(record, stage);
        self.account.log(self.cx, record, stage);
    }

    fn note(&mut self, whose: Whose, note: &Note, _: Instant) {
        self.effect("note");
        let serial = self.account.serial;
        let text = format_args!("{whose:?} {:?} {}", note.peer, note.text);
        self.cx.note(Tag::Action, serial, text);
        if note.text.ends_with("is up") {
            self.cx.mark("tunnel up");
        } else if note.text.contains("is down") {
            self.cx.mark("tunnel down");
        }
    }

    fn wall_clock(&mut self) -> Duration {
        wall_clock(self.cx)
    }

    fn lease_conduit(&mut self) -> Option<Conduit> {
        if self.net.ways.conduits == CONDUITS {
            return None;
        }
        self.net.ways.conduits += 1;
        self.cx.mark("spliced");
        Some(Conduit::default())
    }

    fn return_conduit(&mut self, _: Conduit) {
        self.net.ways.conduits = self.net.ways.conduits.saturating_sub(1);
    }

    fn poll_splice_in(&mut self, from: &mut Stream, into: &mut Conduit) -> Poll<io::Result<usize>> {
        let read = self.read(from, CONDUIT_LEN);
        read.map_ok(|bytes| {
            into.0 = bytes;
            into.0.len()
        })
    }

    fn poll_splice_out(&mut self, from: &mut Conduit, to: &mut Stream) -> Poll<io::Result<usize>> {
        let written = self.write(to, &[IoSlice::new(&from.0)]);
        if let Poll::Ready(Ok(n)) = &written {
            drop(from.0.split_to((*n).min(from.0.len())));
        }
        written
    }
}
