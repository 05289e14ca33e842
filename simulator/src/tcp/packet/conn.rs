//! One end of a connection on smoltcp.
use super::{
    acks::Acks,
    device::{Device, interface, micros, span},
    wire::Numbers,
};
use crate::{
    host::{Read, WasReset},
    net::packet::Segment,
    rng::StreamId,
    tcp::{
        Path, Segments,
        stack::{ConnId, StackCx, StackEvent},
        table::{Entry, Owner, Pair},
    },
};
use bytes::BytesMut;
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{Instant, Refusal};
use smoltcp::{
    iface::{Interface, SocketHandle, SocketSet},
    socket::tcp::{CongestionControl, Socket, SocketBuffer, State},
};

/// Longest IP packet of an Ethernet.
const MTU: usize = 1500;
/// A router cannot ask for less (RFC 791 gives 68 octets; below this, headers are most of it).
const MTU_MIN: usize = 128;
/// How long a dial is tried (Linux, `tcp_syn_retries` 6).
const SYN_TIMEOUT: Duration = Duration::from_secs(127);
/// How long bytes are sent again that nobody acknowledges (Linux, `tcp_retries2` 15). smoltcp
/// alone would go on for as long as anything is heard.
const PROGRESS_TIMEOUT: Duration = Duration::from_millis(924_600);
/// How long a closed end waits for the other side's FIN (Linux, `tcp_fin_timeout`).
const FIN_WAIT: Duration = Duration::from_secs(60);
/// Keep-alive probes until a vanished peer is given up.
const PROBES: u32 = 3;
/// When a deadline is looked at again that smoltcp names though it has passed.
const STEP: Duration = Duration::from_millis(1);
/// What a SYN without the option allows (RFC 9293).
const SEGMENT_LEN_DEFAULT: u16 = 536;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A dial.
    Asking,
    /// Somebody's dial.
    Granting,
    Open,
    /// Reset, or given up.
    Dead,
}

pub(super) struct Conn {
    id: ConnId,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) phase: Phase,
    pub(super) owner: Owner,
    path: Path,
    seed: u64,
    iface: Interface,
    device: Device,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    numbers: Numbers,
    line_free_at: Instant,
    wants_write: bool,
    has_ended: bool,
    /// The other side's FIN is behind what can be read.
    has_fin: bool,
    /// What was not read when smoltcp began to forget the connection: it throws it away with the
    /// end of TIME-WAIT, a kernel keeps it.
    rest: BytesMut,
    acks: Acks,
    /// When the other side last took bytes or had no room.
    progress_at: Instant,
    forget_at: Option<Instant>,
    deadline: Option<Instant>,
}

impl Conn {
    pub(super) fn new(
        cx: &mut StackCx<'_>,
        id: ConnId,
        (local, remote): (SocketAddr, SocketAddr),
        stream: StreamId,
        phase: Phase,
    ) -> Self {
        let path = cx.path(local, remote);
        let seed = cx.streams().below(stream, 1 << 32);
        let their_first = cx.streams().below(stream, 1 << 32) as u32;
        let mut device = Device::new(MTU);
        let iface = interface(&mut device, seed, local, cx.now());
        let buffer = |len: usize| SocketBuffer::new(vec![0; len.max(1)]);
        let mut socket = Socket::new(buffer(path.window), buffer(path.send_buffer));
        socket.set_congestion_control(CongestionControl::Cubic);
        // Proxies send what they have.
        socket.set_nagle_enabled(false);
        socket.set_timeout(Some(span(SYN_TIMEOUT)));
        // A vanished peer leaves some probes unanswered within the path's time.
        socket.set_keep_alive(Some(span(path.keep_alive / PROBES)));
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        Self {
            id,
            local,
            remote,
            phase,
            owner: Owner::Host,
            path,
            seed,
            iface,
            device,
            sockets,
            handle,
            numbers: Numbers::new(their_first),
            line_free_at: cx.now(),
            wants_write: false,
            has_ended: false,
            has_fin: false,
            rest: BytesMut::new(),
            acks: Acks::default(),
            progress_at: cx.now(),
            forget_at: None,
            deadline: None,
        }
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Sends the request; false: the addresses are none that TCP can connect.
    pub(super) fn dial(&mut self, cx: &mut StackCx<'_>) -> bool {
        let (local, remote) = (self.local, self.remote);
        let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
        let dialled = socket.connect(self.iface.context(), remote, local).is_ok();
        if dialled {
            self.poll(cx, None);
        }
        dialled
    }

    /// Answers a request.
    pub(super) fn grant(&mut self, cx: &mut StackCx<'_>, request: Segment) {
        let local = self.local;
        if self.socket().listen(local).is_ok() {
            self.poll(cx, Some(request));
        }
    }

    /// When a segment of `len` payload bytes is on the line.
    fn line(&mut self, now: Instant, len: usize) -> Instant {
        let on_line = match self.path.rate {
            Some(rate) => Duration::from_nanos(len as u64 * 1_000_000_000 / rate.max(1)),
            None => Duration::ZERO,
        };
        self.line_free_at = self.line_free_at.max(now) + on_line;
        self.line_free_at
    }

    /// The path's limit of segments reaches the sender as the other side's MSS.
    fn limit(&self, segment: &mut Segment) {
        if let Segments::UpTo(len) = self.path.segments
            && segment.flags.syn
        {
            let len = u16::try_from(len.max(1)).unwrap_or(u16::MAX);
            let said = segment.options.segment_len_max;
            let said = said.unwrap_or(SEGMENT_LEN_DEFAULT);
            segment.options.segment_len_max = Some(said.min(len));
        }
    }

    /// Takes a segment in, sends what is due, and tells the host what has changed.
    pub(super) fn poll(&mut self, cx: &mut StackCx<'_>, segment: Option<Segment>) {
        if self.owner == Owner::Vanished {
            return;
        }
        let had = self.unread();
        let was = self.socket().state();
        let heard = segment.as_ref().map(|segment| segment.flags);
        let mut is_owed = false;
        if let Some(mut segment) = segment {
            self.limit(&mut segment);
            if self.acks.arrive(&mut segment) {
                self.progress_at = cx.now();
            }
            is_owed = self.acks.is_owed(&segment);
            let packet = self.numbers.arrive(&segment, self.remote, self.local);
            self.device.put(packet);
        }
        if self.give_up_at().is_some_and(|at| at <= cx.now()) {
            self.socket().abort();
        }
        let has_spoken = self.exchange(cx);
        if is_owed && !has_spoken && self.knows_the_other() {
            cx.send(cx.now(), self.local, self.remote, self.acks.repeated());
        }
        let orderly = match was {
            State::TimeWait | State::Closed => true,
            State::LastAck => heard.is_some_and(|flags| !flags.rst),
            State::Listen
            | State::SynSent
            | State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing => false,
        };
        let why = match heard {
            Some(flags) if flags.rst => Refusal::ConnectionRefused,
            _ => Refusal::TimedOut,
        };
        self.advance(cx, why);
        self.notice(cx, had, orderly);
        self.settle(cx);
        self.arm(cx.now());
    }

    /// Both ends know each other's numbers (RFC 9293 section 3.3.2).
    fn knows_the_other(&mut self) -> bool {
        match self.socket().state() {
            State::Closed | State::Listen | State::SynSent | State::SynReceived => false,
            State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck
            | State::TimeWait => true,
        }
    }

    /// Nothing waited for an acknowledgement until now.
    fn begin(&mut self, now: Instant) {
        if self.socket().send_queue() == 0 {
            self.progress_at = now;
        }
    }

    /// When the other side has taken nothing for too long.
    fn give_up_at(&self) -> Option<Instant> {
        let socket = self.sockets.get::<Socket<'_>>(self.handle);
        let ends = matches!(
            socket.state(),
            State::FinWait1 | State::Closing | State::LastAck
        );
        let waits = socket.is_active() && (socket.send_queue() > 0 || ends);
        let is_open = self.phase == Phase::Open;
        (is_open && waits).then(|| self.progress_at + PROGRESS_TIMEOUT)
    }

    /// Has smoltcp do what is due; returns whether something left.
    fn exchange(&mut self, cx: &mut StackCx<'_>) -> bool {
        let now = micros(cx.now());
        self.iface.poll(now, &mut self.device, &mut self.sockets);
        let packets = self.device.take();
        let has_spoken = !packets.is_empty();
        for packet in packets {
            let segment = self.numbers.leave(&packet);
            let segment = segment.expect("smoltcp sends nothing here but TCP");
            self.acks.leave(&segment);
            let at = self.line(cx.now(), segment.data.len());
            cx.send(at, self.local, self.remote, segment);
        }
        has_spoken
    }

    /// Asks smoltcp for its next deadline.
    fn arm(&mut self, now: Instant) {
        let wanted = self.iface.poll_at(micros(now), &self.sockets);
        self.deadline = wanted.map(|at| {
            let micros = u64::try_from(at.total_micros()).unwrap_or_default();
            let at = Instant::from_nanos(micros.saturating_mul(1000));
            if at > now { at } else { now + STEP }
        });
    }

    /// Follows smoltcp through the handshake.
    fn advance(&mut self, cx: &mut StackCx<'_>, why: Refusal) {
        let is_up = match self.socket().state() {
            State::Established | State::CloseWait => true,
            State::Closed | State::Listen => false,
            State::SynSent
            | State::SynReceived
            | State::FinWait1
            | State::FinWait2
            | State::Closing
            | State::LastAck
            | State::TimeWait => return,
        };
        match (self.phase, is_up) {
            (Phase::Asking, true) => {
                self.opened();
                cx.tell(cx.now(), StackEvent::Connected(self.id));
            }
            (Phase::Granting, true) => {
                self.opened();
                let event = StackEvent::Accepted {
                    conn: self.id,
                    local: self.local,
                    remote: self.remote,
                };
                cx.tell(cx.now(), event);
            }
            (Phase::Asking, false) => {
                let asks = self.owner == Owner::Host;
                self.phase = Phase::Dead;
                self.owner = Owner::Closed;
                if asks {
                    cx.tell(cx.now(), StackEvent::Failed(self.id, why));
                }
            }
            // Nobody has heard of it.
            (Phase::Granting, false) => {
                self.phase = Phase::Dead;
                self.owner = Owner::Closed;
            }
            (Phase::Open | Phase::Dead, _) => {}
        }
    }

    /// From now on the path says how long silence may last.
    fn opened(&mut self) {
        let whole = self.path.keep_alive;
        self.socket().set_timeout(Some(span(whole)));
        self.phase = Phase::Open;
    }

    fn unread(&self) -> usize {
        let socket = self.sockets.get::<Socket<'_>>(self.handle);
        self.rest.len() + socket.recv_queue()
    }

    /// Takes what was not read out of a socket that will be reset.
    fn keep(&mut self) {
        let socket = self.socket();
        let len = socket.recv_queue();
        if socket.state() == State::TimeWait && len > 0 {
            let mut bytes = vec![0; len];
            let read = socket.recv_slice(&mut bytes).unwrap_or_default();
            let bytes = bytes.get(..read).unwrap_or_default();
            self.rest.extend_from_slice(bytes);
        }
    }

    /// Tells the host what it can do now.
    fn notice(&mut self, cx: &mut StackCx<'_>, had: usize, orderly: bool) {
        if self.phase != Phase::Open {
            return;
        }
        self.keep();
        let has = self.unread();
        let socket = self.socket();
        let (state, room) = (socket.state(), socket.can_send());
        let has_fin = match state {
            State::CloseWait | State::Closing | State::LastAck | State::TimeWait => true,
            State::Closed => self.has_fin,
            State::Listen
            | State::SynSent
            | State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2 => false,
        };
        if state == State::Closed && !orderly {
            self.phase = Phase::Dead;
        }
        if self.owner != Owner::Host {
            return;
        }
        let is_dead = self.phase == Phase::Dead;
        if has > had || (has_fin && !self.has_fin) || is_dead {
            cx.tell(cx.now(), StackEvent::Readable(self.id));
        }
        self.has_fin = has_fin;
        if (self.wants_write && room) || is_dead {
            self.wants_write = false;
            cx.tell(cx.now(), StackEvent::Writable(self.id));
        }
    }

    /// What a kernel does with an end that nobody has any more.
    fn settle(&mut self, cx: &mut StackCx<'_>) {
        if self.owner != Owner::Closed {
            return;
        }
        let socket = self.socket();
        if socket.recv_queue() > 0 && socket.is_open() {
            // Bytes for a socket that is closed are answered with a reset.
            socket.abort();
            self.phase = Phase::Dead;
            self.exchange(cx);
        } else if socket.state() == State::FinWait2 && self.forget_at.is_none() {
            self.forget_at = Some(cx.now() + FIN_WAIT);
        }
    }

    pub(super) fn read(&mut self, cx: &mut StackCx<'_>, max: usize) -> Read {
        if !self.rest.is_empty() && max > 0 {
            let len = self.rest.len().min(max);
            return Read::Bytes(self.rest.split_to(len));
        }
        let socket = self.socket();
        let len = socket.recv_queue().min(max);
        if socket.recv_queue() == 0 {
            return match (self.phase, self.has_fin) {
                (Phase::Dead, _) => Read::Reset,
                (Phase::Asking | Phase::Granting | Phase::Open, true) => Read::Fin,
                (Phase::Asking | Phase::Granting | Phase::Open, false) => Read::WouldBlock,
            };
        }
        let mut bytes = BytesMut::zeroed(len);
        let read = socket.recv_slice(&mut bytes).unwrap_or_default();
        bytes.truncate(read);
        // The window may have opened enough to say so.
        self.poll(cx, None);
        if bytes.is_empty() {
            return Read::WouldBlock;
        }
        Read::Bytes(bytes)
    }

    pub(super) fn write(&mut self, cx: &mut StackCx<'_>, bytes: &[u8]) -> Result<usize, WasReset> {
        if self.phase != Phase::Open || self.owner != Owner::Host || self.has_ended {
            return Err(WasReset);
        }
        self.begin(cx.now());
        let taken = self.socket().send_slice(bytes).map_err(|_| WasReset)?;
        self.wants_write = taken < bytes.len();
        self.poll(cx, None);
        Ok(taken)
    }

    pub(super) fn shutdown(&mut self, cx: &mut StackCx<'_>) {
        if !self.has_ended && self.phase == Phase::Open {
            self.has_ended = true;
            self.begin(cx.now());
            self.socket().close();
            self.poll(cx, None);
        }
    }

    pub(super) fn close(&mut self, cx: &mut StackCx<'_>) {
        if self.phase != Phase::Open || self.unread() > 0 {
            self.abort(cx);
            return;
        }
        self.owner = Owner::Closed;
        self.shutdown(cx);
        self.poll(cx, None);
    }

    pub(super) fn abort(&mut self, cx: &mut StackCx<'_>) {
        self.owner = Owner::Closed;
        let was_alive = self.phase != Phase::Dead;
        self.phase = Phase::Dead;
        if was_alive {
            self.socket().abort();
            self.exchange(cx);
        }
    }
}

impl Entry for Conn {
    fn pair(&self) -> Pair {
        (self.local, self.remote)
    }

    fn is_gone(&self, now: Instant) -> bool {
        let socket = self.sockets.get::<Socket<'_>>(self.handle);
        let is_over = socket.state() == State::Closed || self.phase == Phase::Dead;
        let is_late = self.forget_at.is_some_and(|at| at <= now);
        self.owner == Owner::Closed && (is_over || is_late)
    }

    fn is_asking(&self) -> bool {
        self.phase == Phase::Asking
    }

    // What was lost comes again with the timer.
    fn shrink(&mut self, cx: &mut StackCx<'_>, mtu: usize) {
        let mtu = mtu.max(MTU_MIN);
        if mtu < self.device.mtu() && self.owner != Owner::Vanished {
            self.device = Device::new(mtu);
            self.iface = interface(&mut self.device, self.seed, self.local, cx.now());
            self.poll(cx, None);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.owner == Owner::Vanished {
            return None;
        }
        let times = [self.deadline, self.forget_at, self.give_up_at()];
        times.into_iter().flatten().min()
    }
}
