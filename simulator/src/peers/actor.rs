//! One connection of a scripted peer, while its script runs.
use super::script::{Exchange, Script, Step};
use crate::{
    check::{Invariant, payload},
    explore::swarm,
    host::{Cx, Read, SocketId, UdpId},
};
use bytes::BytesMut;
use core::{net::SocketAddr, time::Duration};
use sansbox_core::Instant;
use std::collections::{BTreeMap, VecDeque};

/// Most payload bytes read at once.
const CHUNK_LEN: u64 = 16 << 10;
/// Most payload bytes made at once.
const SEND_LEN: u64 = 2 << 10;
/// Longest head that [`Step::ExpectHead`] reads.
const HEAD_LEN_MAX: usize = 64 << 10;

/// Where a step stands.
pub(super) enum Now {
    /// Complete.
    Next,
    /// Waits for the network or for time.
    Wait,
    /// Not as written.
    Failed(String),
    /// The connection ended before the script.
    Ended(&'static str),
    /// The script ends here, as written.
    Over,
}

/// A script at work.
pub(super) struct Actor {
    pub(super) name: String,
    pub(super) socket: Option<SocketId>,
    pub(super) udp: Option<UdpId>,
    pub(super) relay: Option<SocketAddr>,
    pub(super) datagrams: VecDeque<BytesMut>,
    steps: VecDeque<Step>,
    flows: Vec<String>,
    is_tolerant: bool,
    pub(super) is_over: bool,
    /// Bytes received and not yet consumed by the current step.
    inbox: BytesMut,
    /// The FIN was received by an earlier step.
    saw_fin: bool,
    /// Bytes to send before anything else.
    outbox: BytesMut,
    /// Bytes of the current step: sent, received.
    sent: u64,
    pub(super) received: u64,
    /// Where the next byte is of flows that it sends.
    uploaded: BTreeMap<String, u64>,
    /// The current step's own deadline.
    pub(super) until: Option<Instant>,
    /// Gives up what it waits for: set where faults strike.
    gives_up_at: Option<Instant>,
    /// How often the current step's timer was set.
    pub(super) rounds: usize,
}

impl Actor {
    pub(super) fn new(name: String, script: Script) -> Self {
        Self {
            name,
            socket: None,
            udp: None,
            relay: None,
            datagrams: VecDeque::new(),
            flows: script.flows(),
            steps: script.steps.into(),
            is_tolerant: script.is_tolerant,
            is_over: false,
            inbox: BytesMut::new(),
            saw_fin: false,
            outbox: BytesMut::new(),
            sent: 0,
            received: 0,
            uploaded: BTreeMap::new(),
            until: None,
            gives_up_at: None,
            rounds: 0,
        }
    }

    /// When it wants to run again, whatever the network does.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        [self.until, self.gives_up_at].into_iter().flatten().min()
    }

    /// It has waited long enough for something that faults may have eaten.
    fn gives_up(&mut self, cx: &Cx<'_>) -> bool {
        if cx.is_exact() {
            return false;
        }
        let now = cx.now();
        let is_over = self.gives_up_at.is_some_and(|at| at <= now);
        let from = self.until.unwrap_or(now).max(now).max(cx.heals_at());
        self.gives_up_at = Some(from + swarm::PATIENCE);
        is_over
    }

    pub(super) fn describe(&self) -> String {
        format!("{} at {:?}", self.name, self.steps.front())
    }

    /// Runs as far as possible.
    pub(super) fn run(&mut self, cx: &mut Cx<'_>) {
        while !self.is_over && !cx.is_broken() {
            let now = match self.steps.pop_front() {
                Some(step) => {
                    let now = self.step(cx, &step);
                    if matches!(now, Now::Wait | Now::Failed(_) | Now::Ended(_)) {
                        self.steps.push_front(step);
                    }
                    now
                }
                None => self.leave(cx),
            };
            match now {
                Now::Next => self.begin_next(),
                Now::Wait => {
                    // A deadline that has come is none to wait for.
                    self.until = self.until.filter(|until| *until > cx.now());
                    if self.gives_up(cx) {
                        self.give_up(cx);
                    }
                    return;
                }
                Now::Over => self.end(cx),
                Now::Ended(_) if self.is_tolerant => self.give_up(cx),
                Now::Ended(_) | Now::Failed(_) if !cx.is_exact() => self.give_up(cx),
                Now::Ended(how) => {
                    let what = format!("{} saw {how}", self.describe());
                    cx.violate(Invariant::ScriptHolds, what);
                }
                Now::Failed(how) => {
                    cx.violate(
                        Invariant::ScriptHolds,
                        format!("{}: {how}", self.describe()),
                    );
                }
            }
        }
    }

    fn begin_next(&mut self) {
        self.sent = 0;
        self.received = 0;
        self.until = None;
        self.rounds = 0;
    }

    pub(super) fn fail_flows(&self, cx: &mut Cx<'_>) {
        for flow in &self.flows {
            cx.flows().failed(flow);
        }
    }

    fn give_up(&mut self, cx: &mut Cx<'_>) {
        self.fail_flows(cx);
        // A program that could not do what it wanted does not make it look like an end.
        if !cx.is_exact()
            && let Some(socket) = self.socket.take()
        {
            cx.abort(socket);
        }
        let _ = self.leave(cx);
        self.end(cx);
    }

    fn end(&mut self, cx: &mut Cx<'_>) {
        self.is_over = true;
        self.until = None;
        self.gives_up_at = None;
        if let Some(udp) = self.udp.take() {
            cx.unbind(udp);
        }
    }

    /// Closes behind the last step, once everything is sent.
    fn leave(&mut self, cx: &mut Cx<'_>) -> Now {
        if let Some(socket) = self.socket.take() {
            cx.close(socket);
        }
        Now::Over
    }

    fn step(&mut self, cx: &mut Cx<'_>, step: &Step) -> Now {
        match step {
            Step::Send(bytes) => self.send(cx, bytes),
            Step::SendSlowly(bytes, every) => self.send_slowly(cx, bytes, *every),
            Step::Expect(bytes) => self.expect(cx, bytes),
            Step::ExpectHead(end, holds) => self.expect_head(cx, end, holds),
            Step::Skip(n) => match self.fill(cx, *n) {
                Ok(_) => Now::Next,
                Err(now) => now,
            },
            Step::Exchange(exchange) => self.exchange(cx, exchange),
            Step::Echo => self.echo(cx),
            Step::Fin(flow) => self.fin(cx, flow.as_deref()),
            Step::ExpectFin(flow) => self.expect_fin(cx, flow.as_deref()),
            Step::ExpectReset => self.expect_end(cx, false),
            Step::ExpectEnd => self.expect_end(cx, true),
            Step::Close => self.leave(cx),
            Step::Reset => {
                self.fail_flows(cx);
                if let Some(socket) = self.socket.take() {
                    cx.abort(socket);
                }
                Now::Over
            }
            Step::Vanish => {
                self.fail_flows(cx);
                if let Some(socket) = self.socket.take() {
                    cx.vanish(socket);
                }
                Now::Over
            }
            Step::Sleep(time) => self.sleep(cx, *time),
            Step::Bind => self.bind(cx),
            Step::LearnRelay => self.learn_relay(cx),
            Step::ToRelay(data) => self.send_to_relay(cx, data),
            Step::ToAddr(to, data) => self.send_datagram(cx, *to, data),
            Step::ExpectDatagram(data) => self.expect_datagram(data),
            Step::ExpectNoDatagram(time) => self.expect_no_datagram(cx, *time),
            Step::Ping(all, every, least) => self.ping(cx, all, *every, *least),
        }
    }

    /// Waits for the step's own deadline, set at its first call.
    pub(super) fn sleep(&mut self, cx: &Cx<'_>, time: Duration) -> Now {
        let until = *self.until.get_or_insert_with(|| cx.now() + time);
        if cx.now() >= until {
            Now::Next
        } else {
            Now::Wait
        }
    }

    /// Writes the outbox; true when it is empty.
    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<bool, Now> {
        let Some(socket) = self.socket else {
            return Err(Now::Failed("no connection".into()));
        };
        while !self.outbox.is_empty() {
            match cx.write(socket, &self.outbox) {
                Ok(0) => return Ok(false),
                Ok(n) => drop(self.outbox.split_to(n)),
                Err(_) => return Err(Now::Ended("a reset while sending")),
            }
        }
        Ok(true)
    }

    fn send(&mut self, cx: &mut Cx<'_>, bytes: &[u8]) -> Now {
        if self.sent == 0 {
            self.outbox.extend_from_slice(bytes);
            self.sent = bytes.len() as u64;
        }
        match self.flush(cx) {
            Ok(true) => Now::Next,
            Ok(false) => Now::Wait,
            Err(now) => now,
        }
    }

    fn send_slowly(&mut self, cx: &mut Cx<'_>, bytes: &[u8], every: Duration) -> Now {
        if self.until.is_some_and(|until| cx.now() < until) {
            return Now::Wait;
        }
        let Some(byte) = bytes.get(self.sent as usize) else {
            return Now::Next;
        };
        // Somebody who has hung up is noticed without a byte to send.
        self.outbox.extend_from_slice(&[*byte]);
        self.sent += 1;
        self.until = Some(cx.now() + every);
        match self.flush(cx) {
            Ok(_) => Now::Wait,
            Err(now) => now,
        }
    }

    /// Reads until the inbox holds `n` bytes, and takes them.
    pub(super) fn fill(&mut self, cx: &mut Cx<'_>, n: usize) -> Result<BytesMut, Now> {
        while self.inbox.len() < n {
            let bytes = self.receive(cx, n - self.inbox.len())?;
            self.inbox.extend_from_slice(&bytes);
        }
        Ok(self.inbox.split_to(n))
    }

    fn receive(&self, cx: &mut Cx<'_>, max: usize) -> Result<BytesMut, Now> {
        let Some(socket) = self.socket else {
            return Err(Now::Failed("no connection".into()));
        };
        match cx.read(socket, max) {
            Read::Bytes(bytes) => Ok(bytes),
            Read::WouldBlock => Err(Now::Wait),
            Read::Fin => Err(Now::Ended("FIN")),
            Read::Reset => Err(Now::Ended("a reset")),
        }
    }

    fn expect(&mut self, cx: &mut Cx<'_>, bytes: &[u8]) -> Now {
        loop {
            let so_far = self.inbox.len();
            if bytes.get(..so_far) != Some(&self.inbox[..]) {
                let got = self.inbox.escape_ascii();
                return Now::Failed(format!("got \"{got}\""));
            }
            if so_far == bytes.len() {
                self.inbox.clear();
                return Now::Next;
            }
            match self.receive(cx, bytes.len() - so_far) {
                Ok(more) => self.inbox.extend_from_slice(&more),
                Err(now) => return now,
            }
        }
    }

    fn expect_head(&mut self, cx: &mut Cx<'_>, end: &[u8], holds: &[u8]) -> Now {
        while !self.inbox.ends_with(end) {
            if self.inbox.len() > HEAD_LEN_MAX {
                return Now::Failed("the head does not end".into());
            }
            match self.receive(cx, 1) {
                Ok(more) => self.inbox.extend_from_slice(&more),
                Err(now) => return now,
            }
        }
        let head = core::mem::take(&mut self.inbox);
        if holds.is_empty() || head.windows(holds.len()).any(|w| w == holds) {
            Now::Next
        } else {
            Now::Failed(format!("got \"{}\"", head.escape_ascii()))
        }
    }

    fn exchange(&mut self, cx: &mut Cx<'_>, exchange: &Exchange) -> Now {
        let up = exchange
            .up
            .as_ref()
            .map(|(flow, len)| self.upload(cx, flow, *len));
        let down = exchange.down.as_ref();
        let down = down.map(|(flow, len)| self.download(cx, flow, *len, exchange));
        let mut now = Now::Next;
        for half in [up, down].into_iter().flatten() {
            now = match (now, half) {
                (Now::Next, half) => half,
                (Now::Wait, Now::Next) => Now::Wait,
                (Now::Wait, half) => half,
                (first, _) => first,
            };
        }
        now
    }

    fn upload(&mut self, cx: &mut Cx<'_>, flow: &str, len: u64) -> Now {
        let Some(socket) = self.socket else {
            return Now::Failed("no connection".into());
        };
        while self.sent < len {
            let first = match self.uploaded.get(flow) {
                Some(end) => *end,
                None => cx.flows().begin(flow),
            };
            let n = (len - self.sent).min(SEND_LEN);
            let chunk = payload(flow, first, n as usize);
            match cx.write(socket, &chunk) {
                Ok(0) => return Now::Wait,
                Ok(n) => {
                    self.sent += n as u64;
                    let end = first + n as u64;
                    self.uploaded.insert(flow.to_owned(), end);
                    cx.flows().sent_until(flow, end);
                }
                Err(_) => return Now::Ended("a reset while sending"),
            }
        }
        Now::Next
    }

    fn download(&mut self, cx: &mut Cx<'_>, flow: &str, len: u64, exchange: &Exchange) -> Now {
        let pace = exchange.pace;
        while self.received < len {
            if pace.is_some() && self.until.is_some_and(|until| cx.now() < until) {
                return Now::Wait;
            }
            let most = pace.map_or(CHUNK_LEN, |(n, _)| n as u64);
            let max = (len - self.received).min(most) as usize;
            let bytes = match self.receive(cx, max) {
                Ok(bytes) => bytes,
                Err(Now::Ended("FIN")) if exchange.is_framed => {
                    cx.flows().failed(flow);
                    return Now::Ended("FIN");
                }
                Err(Now::Ended("FIN")) => {
                    if let Err((invariant, what)) = cx.flows().fin_delivered(flow) {
                        cx.violate(invariant, format!("{}: {what}", self.name));
                    }
                    return Now::Ended("FIN");
                }
                Err(now) => return now,
            };
            self.received += bytes.len() as u64;
            self.until = pace.map(|(_, every)| cx.now() + every);
            if let Err((invariant, what)) = cx.flows().delivered(flow, &bytes) {
                cx.violate(invariant, format!("{}: {what}", self.name));
                return Now::Wait;
            }
        }
        Now::Next
    }

    fn echo(&mut self, cx: &mut Cx<'_>) -> Now {
        loop {
            match self.flush(cx) {
                Ok(true) => {}
                Ok(false) => return Now::Wait,
                Err(now) => return now,
            }
            match self.receive(cx, CHUNK_LEN as usize) {
                Ok(bytes) => self.outbox = bytes,
                Err(Now::Ended("FIN")) => return self.fin(cx, None),
                Err(now) => return now,
            }
        }
    }

    fn fin(&self, cx: &mut Cx<'_>, flow: Option<&str>) -> Now {
        if let Some(socket) = self.socket {
            cx.shutdown(socket);
        }
        if let Some(flow) = flow {
            cx.flows().fin_sent(flow);
        }
        Now::Next
    }

    fn expect_fin(&mut self, cx: &mut Cx<'_>, flow: Option<&str>) -> Now {
        match self.receive(cx, 1) {
            Ok(bytes) => Now::Failed(format!("got \"{}\"", bytes.escape_ascii())),
            Err(Now::Ended("FIN")) => {
                self.saw_fin = true;
                let Some(flow) = flow else {
                    return Now::Next;
                };
                if let Err((invariant, what)) = cx.flows().fin_delivered(flow) {
                    cx.violate(invariant, format!("{}: {what}", self.name));
                }
                Now::Next
            }
            Err(now) => now,
        }
    }

    fn expect_end(&self, cx: &mut Cx<'_>, may_be_fin: bool) -> Now {
        loop {
            match self.receive(cx, CHUNK_LEN as usize) {
                Ok(_) => {}
                Err(Now::Ended("FIN")) if self.saw_fin => return Now::Wait,
                Err(Now::Ended("FIN")) if !may_be_fin => {
                    return Now::Failed("got FIN".into());
                }
                Err(Now::Ended("FIN")) => return Now::Next,
                Err(Now::Ended(_)) => {
                    // Expected or not, a FIN that was on its way will not come any more.
                    self.fail_flows(cx);
                    return Now::Next;
                }
                Err(now) => return now,
            }
        }
    }
}
