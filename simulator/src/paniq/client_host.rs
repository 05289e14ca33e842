//! A program with a tunnel's client and the applications behind it.
use super::{
    facts::{Seen, Shared, since_start},
    lab::Lab,
    load::{Ended, Ends, Party, Talk},
    machine::{ClientMachine, ClientTold},
};
use crate::{
    check::Invariant,
    host::{Cx, Host, HostInput, QueryId, UdpId},
    transcript::Tag,
};
use bytes::BytesMut;
use core::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use sansbox_core::{Host as Name, Instant, Target};
use sansbox_engine::machine::Families;
use std::{collections::BTreeMap, rc::Rc};

/// How long the program stays when all its applications are done: acknowledgements go out.
const LINGER: Duration = Duration::from_secs(2);

/// An application with its stream.
struct App {
    talk: usize,
    stream: u64,
    ends: Ends,
    party: Party,
    accepted: Option<Duration>,
}

/// A tunnel's client, its sockets and its applications.
pub(crate) struct ClientHost {
    lab: Rc<Lab>,
    facts: Shared,
    machine: Option<Box<dyn ClientMachine>>,
    server: Option<SocketAddr>,
    lookup: Option<QueryId>,
    sockets: BTreeMap<u64, UdpId>,
    /// Talks that have not begun, the next one last.
    planned: Vec<(Duration, usize)>,
    apps: Vec<App>,
    leave_at: Option<Instant>,
    has_left: bool,
    buffer: BytesMut,
    /// Datagrams that went either way.
    crossed: u64,
    /// When it was told something last.
    now: Instant,
}

impl ClientHost {
    pub(crate) fn new(lab: &Rc<Lab>, facts: &Shared) -> Self {
        let talks = lab.load.iter().enumerate();
        let mut planned: Vec<(Duration, usize)> = talks.map(|(n, talk)| (talk.at, n)).collect();
        planned.sort_by(|a, b| b.cmp(a));
        Self {
            lab: Rc::clone(lab),
            facts: Rc::clone(facts),
            machine: None,
            server: None,
            lookup: None,
            sockets: BTreeMap::new(),
            planned,
            apps: Vec::new(),
            leave_at: None,
            has_left: false,
            buffer: BytesMut::new(),
            crossed: 0,
            now: Instant::ZERO,
        }
    }

    /// Finds the server, and makes the machine.
    fn start(&mut self, cx: &mut Cx<'_>) {
        let address = &self.lab.proxy_addr;
        if let Ok(server) = address.parse() {
            return self.begin(cx, server);
        }
        let name = address.rsplit_once(':').map(|(name, _)| name.to_owned());
        match name {
            Some(name) if self.lab.client.resolves_server => {
                self.lookup = Some(cx.resolve(&name, Families::Any));
            }
            Some(_) | None => self.refuse_all(cx, "invalid socket address syntax"),
        }
    }

    fn resolved(&mut self, cx: &mut Cx<'_>, found: Option<IpAddr>) {
        let port = self.lab.proxy_addr.rsplit_once(':');
        let port = port.and_then(|(_, port)| port.parse().ok());
        match (found, port) {
            (Some(ip), Some(port)) => self.begin(cx, SocketAddr::new(ip, port)),
            _ => self.refuse_all(cx, "no such host"),
        }
    }

    fn begin(&mut self, cx: &mut Cx<'_>, server: SocketAddr) {
        self.server = Some(server);
        let name = format!("{}/tunnel", cx.name());
        let seed = cx.streams().seed(&name, 0);
        self.machine = Some(self.lab.client_machine(cx.now(), server, seed));
    }

    /// There will never be a tunnel.
    fn refuse_all(&mut self, cx: &Cx<'_>, why: &str) {
        let now = since_start(cx.now());
        for (_, talk) in core::mem::take(&mut self.planned) {
            if let Some(talk) = self.lab.load.get(talk) {
                let seen = Seen {
                    accepted: None,
                    ended: Ended::Refused(why.into()),
                    at: now,
                    octets: 0,
                };
                self.facts.borrow_mut().near.insert(talk.name.clone(), seen);
            }
        }
        self.has_left = true;
    }

    /// Does everything that can be done now.
    fn drain(&mut self, cx: &mut Cx<'_>) {
        loop {
            let mut has_moved = self.begin_talks(cx);
            has_moved |= self.events(cx);
            has_moved |= self.turns(cx);
            has_moved |= self.transmit(cx);
            if !has_moved {
                break;
            }
        }
        self.leave_when_done(cx);
    }

    /// Is everybody who serves streams busy?
    fn is_full(&self) -> bool {
        let workers = self.lab.client.workers;
        workers.is_some_and(|most| self.apps.len() >= most)
    }

    fn begin_talks(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut has_moved = false;
        while !self.is_full()
            && let Some(machine) = &mut self.machine
            && let Some((_, n)) = self.planned.pop_if(|(at, _)| *at <= since_start(cx.now()))
        {
            let Some(talk) = self.lab.load.get(n) else {
                continue;
            };
            let name = Name::parse(target_name(n).as_bytes());
            let target = Target::new(name.expect("a short name"), 443);
            let stream = machine.open(cx.now(), target);
            cx.note(Tag::Action, stream, format_args!("wants {}", talk.name));
            self.apps.push(App {
                talk: n,
                stream,
                ends: Ends::new(),
                party: Party::near(talk),
                accepted: None,
            });
            has_moved = true;
        }
        has_moved
    }

    fn events(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut has_moved = false;
        while let Some(told) = self.machine.as_mut().and_then(|m| m.poll_event()) {
            has_moved = true;
            if let Some(words) = told.words() {
                cx.note(Tag::Input, 0, format_args!("{words}"));
            }
            match told {
                ClientTold::Socket(path) => self.open_socket(cx, path),
                ClientTold::Up(_) => {
                    let now = since_start(cx.now());
                    let mut facts = self.facts.borrow_mut();
                    facts.ups.push(now);
                    if facts.ups.len() > 1 {
                        cx.mark("a tunnel is replaced");
                    }
                }
                ClientTold::Down(_, why) => {
                    let down = (since_start(cx.now()), why);
                    self.facts.borrow_mut().downs.push(down);
                }
                ClientTold::Closed(path) => {
                    if let Some(socket) = self.sockets.remove(&path) {
                        cx.unbind(socket);
                    }
                }
                ClientTold::Accepted(stream) => {
                    let now = since_start(cx.now());
                    if let Some(app) = self.app(stream) {
                        app.accepted = Some(now);
                    }
                }
                ClientTold::Refused(stream, why) => {
                    if let Some(app) = self.app(stream) {
                        app.party.ended = Ended::Refused(why);
                    }
                }
            }
        }
        has_moved
    }

    fn app(&mut self, stream: u64) -> Option<&mut App> {
        self.apps.iter_mut().find(|app| app.stream == stream)
    }

    fn open_socket(&mut self, cx: &mut Cx<'_>, path: u64) {
        if let Some(old) = self.sockets.remove(&path) {
            cx.unbind(old);
        }
        let any = match self.lab.client.binds_loopback {
            true => IpAddr::V4(Ipv4Addr::LOCALHOST),
            false => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        let bound = cx.bind(SocketAddr::new(any, 0));
        if let Ok((socket, _)) = bound {
            self.sockets.insert(path, socket);
            self.facts.borrow_mut().sockets += 1;
        }
        if let Some(machine) = &mut self.machine {
            machine.socket(cx.now(), path, bound.is_ok());
        }
    }

    fn turns(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(machine) = &mut self.machine else {
            return false;
        };
        let (now, mut has_moved) = (cx.now(), false);
        for app in &mut self.apps {
            let Ends { received, to_send } = &mut app.ends;
            if app.accepted.is_some() {
                app.party.turn(now, received, to_send);
                if app.party.is_over() {
                    // A program that has ended holds nothing open.
                    let _ = received.reset_if_open();
                    let _ = to_send.reset_if_open();
                }
                has_moved |= machine.exchange(now, app.stream, received, to_send).0;
            }
        }
        let is_over = |app: &mut App| app.party.is_over() && !machine.is_open(app.stream);
        let over: Vec<App> = self.apps.extract_if(.., is_over).collect();
        for app in over {
            has_moved = true;
            self.note_end(cx, &app);
        }
        has_moved
    }

    fn note_end(&self, cx: &mut Cx<'_>, app: &App) {
        let Some(talk) = self.lab.load.get(app.talk) else {
            return;
        };
        cx.note(
            Tag::Finished,
            app.stream,
            format_args!("{}: {:?}", talk.name, app.party.ended),
        );
        judge(cx, &self.lab, talk, &app.party.ended);
        let seen = Seen {
            accepted: app.accepted,
            ended: app.party.ended.clone(),
            at: since_start(cx.now()),
            octets: app.party.taken,
        };
        self.facts.borrow_mut().near.insert(talk.name.clone(), seen);
    }

    fn transmit(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut has_moved = false;
        while let Some(machine) = &mut self.machine {
            let Some((path, sending)) = machine.poll_transmit(cx.now(), &mut self.buffer) else {
                break;
            };
            has_moved = true;
            let Some(socket) = self.sockets.get(&path).copied() else {
                continue;
            };
            for datagram in self.buffer.split().chunks(sending.segment.max(1)) {
                if self.machine.is_none() {
                    break;
                }
                self.facts.borrow_mut().up.note(cx.now(), datagram.len());
                cx.send_to(socket, sending.to, datagram);
                self.crossed(cx);
            }
        }
        has_moved
    }

    /// A datagram went either way: the program may be meant to vanish with it.
    fn crossed(&mut self, cx: &mut Cx<'_>) {
        self.crossed += 1;
        if self.lab.client_vanishes_after == Some(self.crossed) {
            self.leave(cx);
        }
    }

    fn receive(&mut self, cx: &mut Cx<'_>, socket: UdpId, from: SocketAddr, data: BytesMut) {
        let path = self.sockets.iter().find(|(_, s)| **s == socket);
        let (Some((&path, _)), Some(machine)) = (path, &mut self.machine) else {
            return;
        };
        if let Err(why) = machine.handle_datagram(cx.now(), path, from, data) {
            cx.note(Tag::Input, path, format_args!("drops a datagram: {why}"));
            *self.facts.borrow_mut().client_drops.entry(why).or_default() += 1;
        }
        self.crossed(cx);
    }

    fn leave_when_done(&mut self, cx: &mut Cx<'_>) {
        let is_idle = self.planned.is_empty() && self.apps.is_empty();
        if !is_idle || self.machine.is_none() {
            return;
        }
        let now = cx.now();
        let leave_at = *self.leave_at.get_or_insert_with(|| now + LINGER);
        if leave_at <= now {
            self.leave(cx);
        }
    }

    /// The program ends, without a word to anybody.
    fn leave(&mut self, cx: &mut Cx<'_>) {
        for app in core::mem::take(&mut self.apps) {
            self.note_end(cx, &app);
        }
        for socket in core::mem::take(&mut self.sockets).into_values() {
            cx.unbind(socket);
        }
        self.planned.clear();
        self.machine = None;
        self.has_left = true;
    }
}

/// What came must be what was sent, between programs that understand each other; between ours, a
/// direction that ended well must have ended well at its other end.
pub(crate) fn judge(cx: &mut Cx<'_>, lab: &Lab, talk: &Talk, ended: &Ended) {
    let ends = [&lab.client, &lab.server];
    match ended {
        Ended::Wrong(what) if ends.iter().all(|end| end.is_compatible()) => {
            cx.violate(Invariant::PrefixDelivered, format!("{}: {what}", talk.name));
        }
        Ended::Short if ends.iter().all(|end| end.is_product) => {
            let what = format!("{} ended well before it should", talk.name);
            cx.violate(Invariant::EndsDelivered, what);
        }
        Ended::Whole => cx.mark("a stream is whole"),
        Ended::Broken => cx.mark("a stream breaks"),
        Ended::Refused(_) => cx.mark("a stream is refused"),
        Ended::Wrong(_) | Ended::Short | Ended::Pending => {}
    }
}

/// What the n-th talk's target is called.
pub(crate) fn target_name(n: usize) -> String {
    format!("t{n}.example")
}

impl Host for ClientHost {
    fn handle(&mut self, cx: &mut Cx<'_>, input: HostInput) {
        if self.has_left {
            return;
        }
        self.now = cx.now();
        match input {
            HostInput::Start => self.start(cx),
            HostInput::Timer => {
                if let Some(machine) = &mut self.machine {
                    machine.handle_timeout(cx.now());
                }
            }
            HostInput::Datagram { socket, from, data } => self.receive(cx, socket, from, data),
            HostInput::Resolved(_, found) => {
                let found = found.ok().and_then(|all| all.first().copied());
                self.resolved(cx, found);
            }
            HostInput::Command(_)
            | HostInput::Packet(_)
            | HostInput::Icmp { .. }
            | HostInput::Accepted { .. }
            | HostInput::Dialed(..)
            | HostInput::Readable(_)
            | HostInput::Writable(_) => return,
        }
        self.drain(cx);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let machine = self.machine.as_ref()?;
        let planned = self.planned.last().filter(|_| !self.is_full());
        let planned = planned.map(|(at, _)| Instant::ZERO + *at);
        let pauses = self.apps.iter().filter_map(|app| app.party.wake());
        let timers = machine.poll_timeout(self.now);
        let all = timers.into_iter().chain(planned).chain(self.leave_at);
        all.chain(pauses).min()
    }

    fn waiting(&self) -> Option<String> {
        if self.has_left || self.lab.may_hang {
            return None;
        }
        Some(format!(
            "{} of {} streams; {} are to come",
            self.apps.len(),
            self.lab.load.len(),
            self.planned.len()
        ))
    }

    fn serves(&self) -> bool {
        true
    }
}
