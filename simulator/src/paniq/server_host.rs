//! A program with a tunnel's server and the targets behind it.
use super::{
    client_host::{judge, target_name},
    dial,
    facts::{Seen, Shared, since_start},
    lab::Lab,
    load::{Ended, Ends, Party},
    machine::{ServerMachine, ServerTold},
};
use crate::{
    check::Invariant,
    host::{Cx, Host, HostInput, UdpId},
    transcript::Tag,
};
use bytes::BytesMut;
use core::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use sansbox_core::{Instant, Refusal, Target};
use std::{collections::BTreeMap, rc::Rc};

/// What the server tells of the addresses it dials from.
const BOUND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A target with the stream that leads to it.
struct Far {
    talk: usize,
    ends: Ends,
    party: Party,
    accepted: Duration,
}

/// A tunnel's server, its socket and its targets.
pub(crate) struct ServerHost {
    lab: Rc<Lab>,
    facts: Shared,
    machine: Option<Box<dyn ServerMachine>>,
    socket: Option<UdpId>,
    /// Dials that end at a time: the stream, its talk, and how.
    dials: BTreeMap<(Instant, u64), (usize, Result<(), Refusal>)>,
    fars: BTreeMap<u64, Far>,
    /// Restarts to come, the next one last.
    restarts: Vec<Duration>,
    /// How often the program has begun.
    begun: u64,
    buffer: BytesMut,
    crossed: u64,
}

impl ServerHost {
    pub(crate) fn new(lab: &Rc<Lab>, facts: &Shared) -> Self {
        let mut restarts = lab.server_restarts.clone();
        restarts.sort_by(|a, b| b.cmp(a));
        Self {
            lab: Rc::clone(lab),
            facts: Rc::clone(facts),
            machine: None,
            socket: None,
            dials: BTreeMap::new(),
            fars: BTreeMap::new(),
            restarts,
            begun: 0,
            buffer: BytesMut::new(),
            crossed: 0,
        }
    }

    fn begin(&mut self, cx: &mut Cx<'_>) {
        if self.socket.is_none() {
            match cx.bind(self.lab.server_address) {
                Ok((socket, _)) => self.socket = Some(socket),
                Err(why) => return cx.violate(Invariant::ScriptHolds, format!("bind: {why}")),
            }
        }
        let name = format!("{}/tunnel", cx.name());
        let seed = cx.streams().seed(&name, self.begun);
        self.begun += 1;
        self.machine = Some(self.lab.server_machine(cx.now(), seed));
    }

    /// The program ends; its kernel closes its connections to targets.
    fn end(&mut self, cx: &mut Cx<'_>) {
        self.machine = None;
        self.dials.clear();
        for (_, mut far) in core::mem::take(&mut self.fars) {
            if !far.party.is_over() {
                far.party.ended = Ended::Broken;
            }
            self.note_end(cx, &far);
        }
    }

    fn restart_when_due(&mut self, cx: &mut Cx<'_>) {
        let now = since_start(cx.now());
        while self.restarts.pop_if(|at| *at <= now).is_some() {
            cx.note(Tag::Input, 0, format_args!("restarts"));
            self.end(cx);
            self.begin(cx);
        }
    }

    fn drain(&mut self, cx: &mut Cx<'_>) {
        loop {
            let mut has_moved = self.events(cx);
            has_moved |= self.end_dials(cx);
            has_moved |= self.turns(cx);
            has_moved |= self.transmit(cx);
            if !has_moved {
                return;
            }
        }
    }

    fn events(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut has_moved = false;
        while let Some(told) = self.machine.as_mut().and_then(|m| m.poll_event()) {
            has_moved = true;
            if let Some(words) = told.words() {
                cx.note(Tag::Input, 0, format_args!("{words}"));
            }
            let now = since_start(cx.now());
            match told {
                ServerTold::Up(_) => {}
                ServerTold::Down(_, why) => {
                    self.facts.borrow_mut().server_downs.push((now, why));
                }
                ServerTold::Request(stream, target) => self.dial(cx, stream, &target),
                ServerTold::Cancelled(stream) => {
                    self.facts.borrow_mut().cancelled += 1;
                    self.dials.retain(|(_, of), _| *of != stream);
                }
                ServerTold::Exited(why) => {
                    self.facts.borrow_mut().exit = Some((now, why));
                    self.end(cx);
                    if let Some(socket) = self.socket.take() {
                        cx.unbind(socket);
                    }
                }
            }
        }
        has_moved
    }

    fn dial(&mut self, cx: &mut Cx<'_>, stream: u64, target: &Target) {
        let asked = target.to_string();
        let name = |n: usize| format!("{}:", target_name(n));
        let known = (0..self.lab.load.len()).find(|n| asked.starts_with(&name(*n)));
        let found = known.and_then(|n| Some((n, self.lab.load.get(n)?)));
        let now = since_start(cx.now());
        let asked = found.map_or(asked, |(_, talk)| talk.name.clone());
        cx.note(Tag::Input, stream, format_args!("dials for {asked}"));
        self.facts.borrow_mut().requests.push((now, asked));
        let Some((n, talk)) = found else {
            // Whatever a persona made of other octets.
            let unknown = (usize::MAX, Err(Refusal::NameNotFound));
            self.dials.insert((cx.now(), stream), unknown);
            return;
        };
        let (after, result) = dial::outcome(
            self.lab.server.dialling,
            &talk.reach,
            self.lab.profile.dial_timeout,
        );
        self.dials.insert((cx.now() + after, stream), (n, result));
    }

    fn end_dials(&mut self, cx: &Cx<'_>) -> bool {
        let mut has_moved = false;
        while let Some(entry) = self.dials.first_entry()
            && entry.key().0 <= cx.now()
            && let Some(machine) = &mut self.machine
        {
            has_moved = true;
            let ((_, stream), (n, result)) = entry.remove_entry();
            let talk = self.lab.load.get(n);
            match (result, talk) {
                (Ok(()), Some(talk)) => {
                    machine.accept(cx.now(), stream, BOUND);
                    let far = Far {
                        talk: n,
                        ends: Ends::new(),
                        party: Party::far(talk),
                        accepted: since_start(cx.now()),
                    };
                    self.fars.insert(stream, far);
                }
                (Err(why), _) => machine.refuse(cx.now(), stream, why),
                (Ok(()), None) => machine.refuse(cx.now(), stream, Refusal::NameNotFound),
            }
        }
        has_moved
    }

    fn turns(&mut self, cx: &mut Cx<'_>) -> bool {
        let Some(machine) = &mut self.machine else {
            return false;
        };
        let (now, mut has_moved) = (cx.now(), false);
        for (stream, far) in &mut self.fars {
            let Ends { received, to_send } = &mut far.ends;
            has_moved |= machine.exchange(now, *stream, received, to_send).0;
            far.party.turn(now, received, to_send);
            if far.party.is_over() {
                let _ = received.reset_if_open();
                let _ = to_send.reset_if_open();
            }
            has_moved |= machine.exchange(now, *stream, received, to_send).0;
        }
        let is_over = |stream: &u64, far: &mut Far| {
            if !machine.is_open(*stream) && !far.party.is_over() {
                let Ends { received, to_send } = &mut far.ends;
                far.party.turn(now, received, to_send);
            }
            far.party.is_over() && !machine.is_open(*stream)
        };
        let over: Vec<(u64, Far)> = self.fars.extract_if(.., is_over).collect();
        for (_, far) in over {
            has_moved = true;
            self.note_end(cx, &far);
        }
        has_moved
    }

    fn note_end(&self, cx: &mut Cx<'_>, far: &Far) {
        let Some(talk) = self.lab.load.get(far.talk) else {
            return;
        };
        judge(cx, &self.lab, talk, &far.party.ended);
        let seen = Seen {
            accepted: Some(far.accepted),
            ended: far.party.ended.clone(),
            at: since_start(cx.now()),
            octets: far.party.taken,
        };
        let mut facts = self.facts.borrow_mut();
        facts.far.entry(talk.name.clone()).or_default().push(seen);
    }

    fn transmit(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut has_moved = false;
        while let (Some(machine), Some(socket)) = (&mut self.machine, self.socket) {
            let Some(sending) = machine.poll_transmit(cx.now(), &mut self.buffer) else {
                break;
            };
            has_moved = true;
            for datagram in self.buffer.split().chunks(sending.segment.max(1)) {
                if self.machine.is_none() {
                    break;
                }
                self.facts.borrow_mut().down.note(cx.now(), datagram.len());
                cx.send_to(socket, sending.to, datagram);
                self.crossed(cx);
            }
        }
        has_moved
    }

    fn crossed(&mut self, cx: &mut Cx<'_>) {
        self.crossed += 1;
        if self.lab.server_vanishes_after == Some(self.crossed) {
            self.end(cx);
            if let Some(socket) = self.socket.take() {
                cx.unbind(socket);
            }
        }
    }

    fn receive(&mut self, cx: &mut Cx<'_>, from: SocketAddr, data: BytesMut) {
        let Some(machine) = &mut self.machine else {
            return;
        };
        if let Err(why) = machine.handle_datagram(cx.now(), from, data) {
            cx.note(Tag::Input, 0, format_args!("drops a datagram: {why}"));
            *self.facts.borrow_mut().server_drops.entry(why).or_default() += 1;
        }
        self.crossed(cx);
    }
}

impl Host for ServerHost {
    fn handle(&mut self, cx: &mut Cx<'_>, input: HostInput) {
        match input {
            HostInput::Start => self.begin(cx),
            HostInput::Timer => {
                self.restart_when_due(cx);
                if let Some(machine) = &mut self.machine {
                    machine.handle_timeout(cx.now());
                }
            }
            HostInput::Datagram { from, data, .. } => self.receive(cx, from, data),
            HostInput::Command(_)
            | HostInput::Packet(_)
            | HostInput::Icmp { .. }
            | HostInput::Accepted { .. }
            | HostInput::Dialed(..)
            | HostInput::Readable(_)
            | HostInput::Writable(_)
            | HostInput::Resolved(..) => return,
        }
        self.drain(cx);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let machine = self.machine.as_ref()?;
        let restart = self.restarts.last().map(|at| Instant::ZERO + *at);
        let dial = self.dials.first_key_value().map(|((at, _), _)| *at);
        let pauses = self.fars.values().filter_map(|far| far.party.wake());
        let timers = machine.poll_timeout().into_iter();
        timers.chain(restart).chain(dial).chain(pauses).min()
    }

    fn waiting(&self) -> Option<String> {
        let waits = !self.fars.is_empty() && !self.lab.may_hang;
        waits.then(|| format!("{} targets are connected", self.fars.len()))
    }

    fn residue(&self) -> Option<String> {
        self.machine.as_ref().and_then(|machine| machine.residue())
    }

    fn serves(&self) -> bool {
        true
    }
}
