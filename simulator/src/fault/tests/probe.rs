//! The hosts of the standard world, which never mind what happens and remember it.
use crate::{
    host::{Cx, DialId, Host, HostInput, Read, SocketId, UdpId},
    net::packet::{Ecn, IcmpKind},
    transcript::Tag,
};
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{Instant, Refusal};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// Bytes that are echoed.
const PAYLOAD_LEN: usize = 60_000;
/// Datagrams that are sent.
pub(super) const DATAGRAMS: u32 = 40;
/// Time between two.
const EVERY: Duration = Duration::from_millis(25);
/// When the client's clock is looked at.
const TICK: Duration = Duration::from_secs(10);
/// When the client opens two more sockets.
const LATE: Duration = Duration::from_millis(500);
/// When the client gives up.
const PATIENCE: Duration = Duration::from_secs(1500);

/// What the client heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// The proxy's reply code.
    pub(super) reply: Option<u8>,
    pub(super) dial_failed: Option<Refusal>,
    pub(super) bind_failed: Option<Refusal>,
    /// When the echo was complete, and its FIN.
    pub(super) done_at: Option<Duration>,
    pub(super) echoed: usize,
    pub(super) has_wrong_bytes: bool,
    pub(super) was_reset: bool,
    /// Number, length and mark of each datagram that came back.
    pub(super) datagrams: Vec<(u32, usize, Ecn)>,
    pub(super) datagrams_damaged: usize,
    pub(super) icmp: Vec<IcmpKind>,
    /// Largest read.
    pub(super) read_max: usize,
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn pattern(at: usize) -> u8 {
    (at * 31 % 251) as u8
}

/// A datagram; odd ones are long, so that limits hit some and not all.
fn datagram(n: u32) -> Vec<u8> {
    let len = if n % 2 == 1 { 1200 } else { 100 };
    let mut out = n.to_be_bytes().to_vec();
    out.resize(len, n as u8);
    out
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Dialing,
    Greeting,
    Request,
    Payload,
    Over,
}

pub(super) struct Client {
    heard: Rc<RefCell<Heard>>,
    at: At,
    dial: Option<DialId>,
    socket: Option<SocketId>,
    udp: Option<UdpId>,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    sent: usize,
    has_shut: bool,
    datagrams_sent: u32,
    began: bool,
    was_late: bool,
    late_dial: Option<DialId>,
    has_ticked: bool,
    started: Instant,
}

impl Client {
    pub(super) fn new(heard: Rc<RefCell<Heard>>) -> Self {
        Self {
            heard,
            at: At::Dialing,
            dial: None,
            socket: None,
            udp: None,
            inbox: Vec::new(),
            outbox: Vec::new(),
            sent: 0,
            has_shut: false,
            datagrams_sent: 0,
            began: false,
            was_late: false,
            late_dial: None,
            has_ticked: false,
            started: Instant::ZERO,
        }
    }

    fn begin(&mut self, cx: &mut Cx<'_>) {
        self.began = true;
        match cx.bind(addr("10.0.0.1:0")) {
            Ok((udp, _)) => self.udp = Some(udp),
            Err(why) => self.heard.borrow_mut().bind_failed = Some(why),
        }
        self.dial = Some(cx.dial(addr("10.0.0.2:1080")));
    }

    fn write(&mut self, cx: &mut Cx<'_>, socket: SocketId) {
        while !self.outbox.is_empty() {
            match cx.write(socket, &self.outbox) {
                Ok(0) => return,
                Ok(n) => drop(self.outbox.drain(..n)),
                Err(_) => return self.reset(cx),
            }
        }
        while self.at == At::Payload && self.sent < PAYLOAD_LEN {
            let end = (self.sent + 4096).min(PAYLOAD_LEN);
            let chunk: Vec<u8> = (self.sent..end).map(pattern).collect();
            match cx.write(socket, &chunk) {
                Ok(0) => return,
                Ok(n) => self.sent += n,
                Err(_) => return self.reset(cx),
            }
        }
        if self.sent == PAYLOAD_LEN && !self.has_shut {
            self.has_shut = true;
            cx.shutdown(socket);
        }
    }

    fn reset(&mut self, cx: &mut Cx<'_>) {
        self.heard.borrow_mut().was_reset = true;
        self.leave(cx);
    }

    fn leave(&mut self, cx: &mut Cx<'_>) {
        self.at = At::Over;
        if let Some(socket) = self.socket.take() {
            cx.close(socket);
        }
    }

    fn read(&mut self, cx: &mut Cx<'_>, socket: SocketId) {
        while self.at != At::Over {
            match cx.read(socket, 64 << 10) {
                Read::Bytes(bytes) => {
                    let mut heard = self.heard.borrow_mut();
                    heard.read_max = heard.read_max.max(bytes.len());
                    drop(heard);
                    self.take(&bytes);
                    self.write(cx, socket);
                }
                Read::WouldBlock => return,
                Read::Fin => {
                    let mut heard = self.heard.borrow_mut();
                    if heard.echoed == PAYLOAD_LEN {
                        heard.done_at = Some(Duration::from_nanos(cx.now().as_nanos()));
                    }
                    drop(heard);
                    self.leave(cx);
                }
                Read::Reset => self.reset(cx),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
        if self.at == At::Greeting && self.inbox.len() >= 2 {
            self.inbox.drain(..2);
            self.outbox.extend([5, 1, 0, 3, 11]);
            self.outbox.extend(b"origin.test");
            self.outbox.extend([0, 80]);
            self.at = At::Request;
        }
        if self.at == At::Request && self.inbox.len() >= 10 {
            let reply = self.inbox[1];
            self.heard.borrow_mut().reply = Some(reply);
            self.inbox.drain(..10);
            self.at = At::Payload;
        }
        if self.at == At::Payload {
            let mut heard = self.heard.borrow_mut();
            for byte in self.inbox.drain(..) {
                heard.has_wrong_bytes |= byte != pattern(heard.echoed);
                heard.echoed += 1;
            }
        }
    }

    fn timer(&mut self, cx: &mut Cx<'_>) {
        if !self.began {
            self.begin(cx);
        }
        if !self.was_late && cx.now() >= self.started + LATE {
            self.was_late = true;
            match cx.bind(addr("10.0.0.1:0")) {
                Ok((udp, _)) => cx.unbind(udp),
                Err(why) => self.heard.borrow_mut().bind_failed = Some(why),
            }
            self.late_dial = Some(cx.dial(addr("10.0.0.3:80")));
        }
        if !self.has_ticked && cx.now() >= self.started + TICK {
            self.has_ticked = true;
            cx.note(Tag::Input, 0, format_args!("tick"));
        }
        while self.datagrams_sent < DATAGRAMS && cx.now() >= self.next_datagram() {
            let n = self.datagrams_sent;
            self.datagrams_sent += 1;
            if let Some(udp) = self.udp {
                cx.send_marked(udp, addr("10.0.0.3:7"), &datagram(n), Ecn::Ect0);
            }
        }
        if cx.now() >= self.started + PATIENCE {
            for dial in [self.dial.take(), self.late_dial.take()] {
                dial.into_iter().for_each(|dial| cx.cancel_dial(dial));
            }
            self.leave(cx);
        }
        if self.is_over()
            && let Some(udp) = self.udp.take()
        {
            cx.unbind(udp);
        }
    }

    fn next_datagram(&self) -> Instant {
        self.started + EVERY * (self.datagrams_sent + 1)
    }

    fn is_over(&self) -> bool {
        self.at == At::Over
            && self.has_ticked
            && self.late_dial.is_none()
            && self.datagrams_sent == DATAGRAMS
    }

    fn heard_datagram(&self, cx: &Cx<'_>, data: &[u8]) {
        let mut heard = self.heard.borrow_mut();
        let number = data.get(..4).and_then(|n| n.try_into().ok());
        let number = number.map_or(u32::MAX, u32::from_be_bytes);
        if number < DATAGRAMS && data == datagram(number) {
            heard.datagrams.push((number, data.len(), cx.ecn()));
        } else {
            heard.datagrams_damaged += 1;
        }
    }
}

impl Host for Client {
    fn handle(&mut self, cx: &mut Cx<'_>, input: HostInput) {
        match input {
            HostInput::Start => self.started = cx.now(),
            HostInput::Timer => self.timer(cx),
            HostInput::Dialed(dial, Ok((socket, _))) if self.late_dial == Some(dial) => {
                self.late_dial = None;
                cx.close(socket);
            }
            HostInput::Dialed(dial, Err(why)) if self.late_dial == Some(dial) => {
                self.late_dial = None;
                self.heard.borrow_mut().dial_failed = Some(why);
            }
            HostInput::Dialed(_, Ok((socket, _))) => {
                self.dial = None;
                self.socket = Some(socket);
                self.at = At::Greeting;
                self.outbox.extend([5, 1, 0]);
                self.write(cx, socket);
            }
            HostInput::Dialed(_, Err(why)) => {
                self.dial = None;
                self.heard.borrow_mut().dial_failed = Some(why);
                self.at = At::Over;
            }
            HostInput::Readable(socket) => self.read(cx, socket),
            HostInput::Writable(socket) => {
                if self.at != At::Over {
                    self.write(cx, socket);
                }
            }
            HostInput::Datagram { data, .. } => self.heard_datagram(cx, &data),
            HostInput::Icmp { icmp, .. } => self.heard.borrow_mut().icmp.push(icmp.kind),
            HostInput::Command(_)
            | HostInput::Packet(_)
            | HostInput::Accepted { .. }
            | HostInput::Resolved(..) => {}
        }
        if self.is_over()
            && let Some(udp) = self.udp.take()
        {
            cx.unbind(udp);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.is_over() {
            return None;
        }
        if !self.began {
            return Some(self.started + Duration::from_millis(1));
        }
        let tick = (!self.has_ticked).then_some(self.started + TICK);
        let late = (!self.was_late).then_some(self.started + LATE);
        let datagram = (self.datagrams_sent < DATAGRAMS).then(|| self.next_datagram());
        let patience = (self.at != At::Over).then_some(self.started + PATIENCE);
        [tick, late, datagram, patience].into_iter().flatten().min()
    }

    fn waiting(&self) -> Option<String> {
        (!self.is_over()).then(|| format!("the client at {:?}", self.at))
    }
}

/// Echoes bytes on port 80 of its IPv4 address, and datagrams on port 7.
#[derive(Default)]
pub(super) struct Origin {
    outboxes: BTreeMap<SocketId, (Vec<u8>, bool)>,
}

impl Origin {
    fn go_on(&mut self, cx: &mut Cx<'_>, socket: SocketId) {
        let Some((outbox, fin)) = self.outboxes.get_mut(&socket) else {
            return;
        };
        let mut is_dead = false;
        loop {
            while !outbox.is_empty() && !is_dead {
                match cx.write(socket, outbox) {
                    Ok(0) => return,
                    Ok(n) => drop(outbox.drain(..n)),
                    Err(_) => is_dead = true,
                }
            }
            if is_dead || *fin {
                break;
            }
            match cx.read(socket, 16 << 10) {
                Read::Bytes(bytes) => outbox.extend_from_slice(&bytes),
                Read::WouldBlock => return,
                Read::Fin => *fin = true,
                Read::Reset => is_dead = true,
            }
        }
        self.outboxes.remove(&socket);
        cx.close(socket);
    }
}

impl Host for Origin {
    fn handle(&mut self, cx: &mut Cx<'_>, input: HostInput) {
        match input {
            HostInput::Start => {
                cx.listen(addr("10.0.0.3:80"));
                let _ = cx.bind(addr("10.0.0.3:7"));
            }
            HostInput::Accepted { socket, .. } => {
                self.outboxes.insert(socket, (Vec::new(), false));
                self.go_on(cx, socket);
            }
            HostInput::Readable(socket) | HostInput::Writable(socket) => self.go_on(cx, socket),
            HostInput::Datagram { socket, from, data } => {
                cx.send_marked(socket, from, &data, cx.ecn());
            }
            HostInput::Timer
            | HostInput::Command(_)
            | HostInput::Dialed(..)
            | HostInput::Resolved(..)
            | HostInput::Packet(_)
            | HostInput::Icmp { .. } => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn waiting(&self) -> Option<String> {
        (!self.outboxes.is_empty()).then(|| format!("{} echoes", self.outboxes.len()))
    }

    fn crashed(&mut self, _cx: &mut Cx<'_>) {
        self.outboxes.clear();
    }
}
