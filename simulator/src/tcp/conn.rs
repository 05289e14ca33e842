//! One TCP connection: two ends and two directions.
use super::{Path, Segments, Side, sketch};
use crate::{
    event::Event,
    host::{HostId, Read, SocketId, WasReset},
    net::{
        Core,
        packet::{Flags, PacketId},
    },
    rng::StreamId,
};
use bytes::BytesMut;
use core::{net::SocketAddr, time::Duration};
use sansbox_core::Instant;
use std::collections::VecDeque;

/// Longest random delay between readiness and the host's wake-up.
const WAKE_JITTER: Duration = Duration::from_micros(200);

/// What an end of a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The connection request is on its way.
    Opening,
    /// The host owns a socket.
    Open,
    /// The host has closed its socket; the kernel finishes on its own.
    Closed,
    /// The host is gone without a word.
    Vanished,
}

#[derive(Debug)]
pub(crate) struct EndPoint {
    pub(crate) host: HostId,
    pub(crate) addr: SocketAddr,
    pub(crate) state: State,
    /// The connection is dead as far as this end knows.
    reset: bool,
    readable_due: bool,
    writable_due: bool,
    wants_write: bool,
    /// Bytes written by this end, and where they are.
    out: Direction,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    packet: PacketId,
    bytes: BytesMut,
    fin: bool,
}

/// The bytes that one end sends.
#[derive(Debug, Default)]
struct Direction {
    send_buf: BytesMut,
    /// The writer has ended the direction; the FIN goes behind `send_buf`.
    fin_queued: bool,
    fin_sent: bool,
    flight: VecDeque<Segment>,
    in_flight: usize,
    next_number: u64,
    /// Bytes put on the line so far.
    next_offset: u64,
    /// Bytes that arrived.
    arrived: u64,
    recv_buf: BytesMut,
    fin_received: bool,
    line_free_at: Instant,
    last_arrival: Instant,
    pump_due: bool,
}

impl EndPoint {
    fn new(host: HostId, addr: SocketAddr, state: State) -> Self {
        Self {
            host,
            addr,
            state,
            reset: false,
            readable_due: false,
            writable_due: false,
            wants_write: false,
            out: Direction::default(),
        }
    }

    /// What the other side knows to have arrived of what this end sent; a FIN counts as a byte.
    pub(super) fn acknowledged(&self) -> u64 {
        self.out.arrived + u64::from(self.out.fin_received)
    }
}

#[derive(Debug)]
pub(crate) struct Conn {
    number: u32,
    pub(crate) path: Path,
    stream: StreamId,
    /// The connection request on its way, then its answer.
    pub(super) request: Option<PacketId>,
    /// Longest segment of this connection.
    segment_max: usize,
    /// Nothing passes any more.
    is_cut: bool,
    dialer: EndPoint,
    acceptor: EndPoint,
}

impl Conn {
    pub(crate) fn new(
        core: &mut Core,
        number: u32,
        (path, stream): (Path, StreamId),
        (dialer, from): (HostId, SocketAddr),
        (acceptor, to): (HostId, SocketAddr),
    ) -> Self {
        let segment_max = match path.segments {
            Segments::UpTo(n) => n.max(1),
            Segments::Any => match core.streams.below(stream, 5) {
                0 => 1,
                1 => 7,
                2 => 100,
                3 => 1460,
                _ => 64 << 10,
            },
        };
        Self {
            number,
            path,
            stream,
            request: None,
            segment_max,
            is_cut: false,
            dialer: EndPoint::new(dialer, from, State::Opening),
            acceptor: EndPoint::new(acceptor, to, State::Opening),
        }
    }

    pub(crate) const fn end(&self, side: Side) -> &EndPoint {
        match side {
            Side::Dialer => &self.dialer,
            Side::Acceptor => &self.acceptor,
        }
    }

    pub(crate) const fn end_mut(&mut self, side: Side) -> &mut EndPoint {
        match side {
            Side::Dialer => &mut self.dialer,
            Side::Acceptor => &mut self.acceptor,
        }
    }

    const fn socket(&self, side: Side) -> SocketId {
        SocketId {
            conn: self.number,
            side,
        }
    }

    /// Nobody owns a socket of it any more.
    pub(crate) fn is_over(&self) -> bool {
        let gone = |end: &EndPoint| matches!(end.state, State::Closed | State::Vanished);
        gone(&self.dialer) && gone(&self.acceptor)
    }

    /// A one-way delay, drawn.
    pub(crate) fn delay(&self, core: &mut Core) -> Duration {
        let jitter = u64::try_from(self.path.jitter.as_nanos()).unwrap_or(u64::MAX - 1);
        self.path.latency + Duration::from_nanos(core.streams.below(self.stream, jitter + 1))
    }

    /// Nothing that this side sends arrives before `at`.
    pub(crate) fn hold_until(&mut self, side: Side, at: Instant) {
        self.end_mut(side).out.last_arrival = at;
    }

    fn wake_at(&self, core: &mut Core) -> Instant {
        let jitter = WAKE_JITTER.as_nanos() as u64;
        if core.streams.one_in(self.stream, 4) {
            core.now + Duration::from_nanos(core.streams.below(self.stream, jitter))
        } else {
            core.now
        }
    }

    fn tell_readable(&mut self, core: &mut Core, side: Side) {
        let end = self.end_mut(side);
        if end.readable_due {
            return;
        }
        end.readable_due = true;
        let at = self.wake_at(core);
        core.queue.push(at, Event::Readable(self.socket(side)));
    }

    fn tell_writable(&mut self, core: &mut Core, side: Side) {
        let end = self.end_mut(side);
        if end.writable_due || !end.wants_write {
            return;
        }
        end.writable_due = true;
        let at = self.wake_at(core);
        core.queue.push(at, Event::Writable(self.socket(side)));
    }

    /// The host hears of it now; returns who, if a host still owns the socket.
    pub(crate) fn wake(&mut self, side: Side, to_read: bool) -> Option<HostId> {
        let end = self.end_mut(side);
        if to_read {
            end.readable_due = false;
        } else {
            end.writable_due = false;
            end.wants_write = false;
        }
        (end.state == State::Open).then_some(end.host)
    }

    pub(crate) fn write(
        &mut self,
        core: &mut Core,
        side: Side,
        bytes: &[u8],
    ) -> Result<usize, WasReset> {
        let (limit, stream) = (self.path.send_buffer, self.stream);
        let end = self.end_mut(side);
        if end.reset || end.state != State::Open {
            return Err(WasReset);
        }
        let mut taken = bytes
            .len()
            .min(limit.saturating_sub(end.out.send_buf.len()));
        if taken > 1 && core.streams.one_in(stream, 8) {
            taken = core.streams.len_up_to(stream, taken);
        }
        let end = self.end_mut(side);
        end.out
            .send_buf
            .extend_from_slice(bytes.get(..taken).unwrap_or_default());
        end.wants_write = taken < bytes.len();
        self.pump(core, side);
        // A short write by chance leaves room: the host is woken at once.
        if self.end(side).out.send_buf.len() < limit {
            self.tell_writable(core, side);
        }
        Ok(taken)
    }

    pub(crate) fn shutdown(&mut self, core: &mut Core, side: Side) {
        self.end_mut(side).out.fin_queued = true;
        self.pump(core, side);
    }

    /// Puts on the line what the receiver's window allows.
    pub(crate) fn pump(&mut self, core: &mut Core, side: Side) {
        loop {
            let socket = self.socket(side);
            let (window, segment_max) = (self.path.window, self.segment_max);
            let end = self.end(side);
            if self.is_cut || end.state == State::Vanished || end.reset {
                return;
            }
            let out = &self.end(side).out;
            let room = window.saturating_sub(out.in_flight + out.recv_buf.len());
            let want = out.send_buf.len().min(room).min(segment_max);
            let fin = out.send_buf.is_empty() && out.fin_queued && !out.fin_sent;
            if want == 0 && !fin {
                return;
            }
            let n = core.streams.len_up_to(self.stream, want);
            self.bad_weather(core, side);
            let at = self.arrival(core, side, n);
            let out = &mut self.end_mut(side).out;
            let number = out.next_number;
            out.next_number += 1;
            out.in_flight += n;
            out.fin_sent |= fin;
            let offset = out.next_offset;
            out.next_offset += n as u64;
            let bytes = out.send_buf.split_to(n);
            let flags = if fin { sketch::FIN } else { Flags::ACK };
            let packet = self.sketch_sent(core, side, (flags, offset), &bytes);
            self.end_mut(side).out.flight.push_back(Segment {
                number,
                packet,
                bytes,
                fin,
            });
            core.queue.push(at, Event::Arrive(socket, number));
            self.tell_writable(core, side);
        }
    }

    /// What the weather makes of a segment that goes on the line now.
    fn bad_weather(&mut self, core: &mut Core, side: Side) {
        let weather = core.weather;
        if weather.segment_stalled + weather.connection_reset == 0 {
            return;
        }
        let name = core.streams.name(self.stream).to_owned();
        let what = format_args!("{name}");
        if core.strikes(weather.segment_stalled, "segment-stalled", what) {
            let longer = core.slower("segment-stalled", what);
            let out = &mut self.end_mut(side).out;
            out.last_arrival = out.last_arrival.max(core.now + longer);
        }
        if core.strikes(weather.connection_reset, "connection-reset", what) {
            self.send_reset(core, Side::Dialer);
            self.send_reset(core, Side::Acceptor);
        }
    }

    fn arrival(&mut self, core: &mut Core, side: Side, n: usize) -> Instant {
        let delay = self.delay(core);
        let on_line = match self.path.rate {
            Some(rate) => Duration::from_nanos(n as u64 * 1_000_000_000 / rate.max(1)),
            None => Duration::ZERO,
        };
        let out = &mut self.end_mut(side).out;
        out.line_free_at = out.line_free_at.max(core.now) + on_line;
        out.last_arrival = out.last_arrival.max(out.line_free_at + delay);
        out.last_arrival
    }

    /// A segment of `from` arrives. False: it was dropped on the way.
    pub(crate) fn arrive(&mut self, core: &mut Core, from: Side, number: u64) {
        let to = self.socket(from).peer().side;
        let receiver = self.end(to).state;
        if self.is_cut {
            return;
        }
        let out = &mut self.end_mut(from).out;
        if out.flight.front().is_none_or(|s| s.number != number) {
            return;
        }
        let Some(segment) = out.flight.pop_front() else {
            return;
        };
        if receiver == State::Vanished {
            self.sketch_unheard(core, from, segment.packet);
        } else {
            self.sketch_arrived(core, from, segment.packet, &segment.bytes);
        }
        let out = &mut self.end_mut(from).out;
        match receiver {
            State::Opening | State::Open => {
                out.in_flight -= segment.bytes.len();
                out.recv_buf.extend_from_slice(&segment.bytes);
                out.arrived += segment.bytes.len() as u64;
                out.fin_received |= segment.fin;
                self.tell_readable(core, to);
            }
            // Bytes for a socket that is closed are answered with a reset.
            State::Closed if !segment.bytes.is_empty() => self.send_reset(core, from),
            // A vanished host acknowledges nothing: the window stays used up.
            State::Closed | State::Vanished => {}
        }
    }

    pub(crate) fn read(&mut self, core: &mut Core, side: Side, max: usize) -> Read {
        let from = self.socket(side).peer().side;
        let was_reset = self.end(side).reset;
        let latency = self.path.latency;
        let sender = self.socket(from);
        let out = &mut self.end_mut(from).out;
        if out.recv_buf.is_empty() {
            return match (was_reset, out.fin_received) {
                (true, _) => Read::Reset,
                (false, true) => Read::Fin,
                (false, false) => Read::WouldBlock,
            };
        }
        let n = out.recv_buf.len().min(max);
        let bytes = out.recv_buf.split_to(n);
        let is_blocked = !out.send_buf.is_empty() || (out.fin_queued && !out.fin_sent);
        if is_blocked && !out.pump_due {
            out.pump_due = true;
            core.queue.push(core.now + latency, Event::Pump(sender));
        }
        if n == 0 {
            return Read::WouldBlock;
        }
        Read::Bytes(bytes)
    }

    pub(crate) fn pump_now(&mut self, core: &mut Core, side: Side) {
        self.end_mut(side).out.pump_due = false;
        self.pump(core, side);
    }

    /// The host gives its socket up.
    pub(crate) fn close(&mut self, core: &mut Core, side: Side) {
        let from = self.socket(side).peer().side;
        let has_unread = !self.end(from).out.recv_buf.is_empty();
        if has_unread && !self.end(side).reset {
            self.abort(core, side);
            return;
        }
        self.end_mut(side).state = State::Closed;
        self.shutdown(core, side);
    }

    /// The host resets the connection.
    pub(crate) fn abort(&mut self, core: &mut Core, side: Side) {
        self.end_mut(side).state = State::Closed;
        if !self.end(side).reset {
            self.send_reset(core, self.socket(side).peer().side);
        }
    }

    /// Nothing passes any more: both ends hear of it from their keep-alive alone.
    pub(crate) fn cut(&mut self, core: &mut Core) {
        if core::mem::replace(&mut self.is_cut, true) {
            return;
        }
        for side in [Side::Dialer, Side::Acceptor] {
            let at = core.now + self.path.keep_alive;
            core.queue.push(at, Event::Reset(self.socket(side), None));
        }
    }

    /// A reset on its way to `to`. It may overtake what is in flight, which is lost then.
    fn send_reset(&self, core: &mut Core, to: Side) {
        if self.is_cut {
            return;
        }
        let from = self.socket(to).peer().side;
        let mut at = core.now + self.delay(core);
        if !core.streams.one_in(self.stream, 4) {
            at = at.max(self.end(from).out.last_arrival);
        }
        let offset = self.end(from).out.next_offset;
        let packet = self.sketch_sent(core, from, (Flags::RST, offset), &[]);
        core.queue
            .push(at, Event::Reset(self.socket(to), Some(packet)));
    }

    /// A reset, or the kernel's own verdict, reaches `side`.
    pub(crate) fn reset(&mut self, core: &mut Core, side: Side, packet: Option<PacketId>) {
        if let Some(packet) = packet {
            self.sketch_arrived(core, side.other(), packet, &[]);
        }
        let end = self.end(side);
        if end.reset || !matches!(end.state, State::Open | State::Opening) {
            return;
        }
        let from = self.socket(side).peer().side;
        // Linux keeps what was received, other systems drop it.
        let drops_received = core.streams.one_in(self.stream, 4);
        let incoming = &mut self.end_mut(from).out;
        incoming.flight.clear();
        incoming.send_buf.clear();
        if drops_received {
            incoming.recv_buf.clear();
        }
        let end = self.end_mut(side);
        end.reset = true;
        end.out.send_buf.clear();
        end.out.flight.clear();
        end.wants_write = true;
        self.tell_readable(core, side);
        self.tell_writable(core, side);
    }

    /// The host is gone; what is in flight still arrives.
    pub(crate) fn vanish(&mut self, core: &mut Core, side: Side) {
        self.end_mut(side).state = State::Vanished;
        let keep_alive = self.path.keep_alive;
        let peer = self.socket(side).peer();
        core.queue
            .push(core.now + keep_alive, Event::Reset(peer, None));
    }
}
