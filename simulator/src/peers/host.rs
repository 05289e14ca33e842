//! A host that runs scripts: on connections it dials, and on connections it accepts.
use super::{actor::Actor, script::Script};
use crate::{
    check::Invariant,
    host::{Cx, DialId, Host, HostInput, SocketId, UdpId},
};
use bytes::BytesMut;
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{Instant, Refusal};
use std::collections::BTreeMap;

/// Nobody dials before everybody listens.
const BOOT: Duration = Duration::from_millis(1);

/// Purpose of the stream that says which scripts stay away.
pub(crate) const ABSENT: &str = "absent";

type Serve = Box<dyn Fn(u64) -> Script>;

struct Listener {
    addr: SocketAddr,
    serve: Serve,
    served: u64,
}

struct Planned {
    at: Instant,
    to: Option<SocketAddr>,
    script: Script,
    fails: Option<Refusal>,
    patience: Option<Duration>,
}

/// Scripted clients and servers on one host.
#[derive(Default)]
pub struct ScriptHost {
    planned: Vec<Planned>,
    listeners: Vec<Listener>,
    echoes: Vec<SocketAddr>,
    echo_sockets: Vec<UdpId>,
    /// When dials are given up.
    given_up: Vec<(Instant, DialId)>,
    actors: BTreeMap<usize, Actor>,
    next_actor: usize,
    dials: BTreeMap<DialId, (usize, Option<Refusal>)>,
    sockets: BTreeMap<SocketId, usize>,
    udp: BTreeMap<UdpId, usize>,
}

impl ScriptHost {
    /// A host that does nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Dials `to` at the start and runs a script on the connection.
    #[must_use]
    pub fn dial(self, to: SocketAddr, script: Script) -> Self {
        self.dial_at(Duration::ZERO, to, script)
    }

    /// Dials `to` at a time after the start.
    #[must_use]
    pub fn dial_at(mut self, after: Duration, to: SocketAddr, script: Script) -> Self {
        self.planned.push(Planned {
            at: Instant::ZERO + after + BOOT,
            to: Some(to),
            script,
            fails: None,
            patience: None,
        });
        self
    }

    /// Dials `to` at a time after the start, which must fail so.
    #[must_use]
    pub fn dial_fails(mut self, after: Duration, to: SocketAddr, why: Refusal) -> Self {
        self.planned.push(Planned {
            at: Instant::ZERO + after + BOOT,
            to: Some(to),
            script: Script::new(),
            fails: Some(why),
            patience: None,
        });
        self
    }

    /// Dials `to` at a time after the start, and gives up when `patience` is over.
    #[must_use]
    pub fn dial_given_up(mut self, after: Duration, to: SocketAddr, patience: Duration) -> Self {
        self.planned.push(Planned {
            at: Instant::ZERO + after + BOOT,
            to: Some(to),
            script: Script::new(),
            fails: None,
            patience: Some(patience),
        });
        self
    }

    /// Runs a script without a connection, for datagrams alone.
    #[must_use]
    pub fn offline(mut self, after: Duration, script: Script) -> Self {
        self.planned.push(Planned {
            at: Instant::ZERO + after + BOOT,
            to: None,
            script,
            fails: None,
            patience: None,
        });
        self
    }

    /// Accepts connections to `addr`; the n-th is served by the n-th script.
    #[must_use]
    pub fn serve(mut self, addr: SocketAddr, serve: impl Fn(u64) -> Script + 'static) -> Self {
        self.listeners.push(Listener {
            addr,
            serve: Box::new(serve),
            served: 0,
        });
        self
    }

    /// Sends every datagram to `addr` back.
    #[must_use]
    pub fn echo_datagrams(mut self, addr: SocketAddr) -> Self {
        self.echoes.push(addr);
        self
    }

    /// Drops scripts that stay away: none by itself, some when a run is made small. Each bit of
    /// the choice is a script, the first the lowest.
    fn leave_away(&mut self, cx: &mut Cx<'_>) {
        let stream = cx.stream(ABSENT);
        let absent = cx.streams().chosen(stream, self.planned.len() as u64);
        let mut bit = 0;
        self.planned.retain(|_| {
            bit += 1;
            absent.checked_shr(bit - 1).unwrap_or_default() & 1 == 0
        });
    }

    fn start(&mut self, cx: &mut Cx<'_>) {
        self.leave_away(cx);
        for listener in &self.listeners {
            cx.listen(listener.addr);
        }
        for addr in &self.echoes {
            match cx.bind(*addr) {
                Ok((socket, _)) => self.echo_sockets.push(socket),
                Err(why) => cx.violate(Invariant::ScriptHolds, format!("bind {addr}: {why}")),
            }
        }
        self.begin_due(cx);
    }

    fn begin_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let (due, later) = core::mem::take(&mut self.planned)
            .into_iter()
            .partition(|planned| planned.at <= now);
        self.planned = later;
        let due: Vec<Planned> = due;
        for planned in due {
            let actor = self.admit("client", planned.script);
            match planned.to {
                Some(to) => {
                    let dial = cx.dial(to);
                    self.dials.insert(dial, (actor, planned.fails));
                    if let Some(patience) = planned.patience {
                        self.given_up.push((now + patience, dial));
                    }
                }
                None => self.run(cx, actor),
            }
        }
    }

    fn admit(&mut self, role: &str, script: Script) -> usize {
        let number = self.next_actor;
        self.next_actor += 1;
        let actor = Actor::new(format!("{role} {number}"), script);
        self.actors.insert(number, actor);
        number
    }

    fn run(&mut self, cx: &mut Cx<'_>, number: usize) {
        let Some(actor) = self.actors.get_mut(&number) else {
            return;
        };
        actor.run(cx);
        if let Some(udp) = actor.udp {
            self.udp.insert(udp, number);
        }
        if actor.is_over {
            self.actors.remove(&number);
            self.sockets.retain(|_, of| *of != number);
            self.udp.retain(|_, of| *of != number);
        }
    }

    fn accept(&mut self, cx: &mut Cx<'_>, socket: SocketId, local: SocketAddr) {
        let Some(listener) = self.listeners.iter_mut().find(|l| l.addr == local) else {
            cx.abort(socket);
            return;
        };
        let script = (listener.serve)(listener.served);
        listener.served += 1;
        let number = self.admit("server", script);
        self.connected(cx, number, socket);
    }

    fn connected(&mut self, cx: &mut Cx<'_>, number: usize, socket: SocketId) {
        if let Some(actor) = self.actors.get_mut(&number) {
            actor.socket = Some(socket);
        }
        self.sockets.insert(socket, number);
        self.run(cx, number);
    }

    fn dialed(
        &mut self,
        cx: &mut Cx<'_>,
        number: usize,
        outcome: Result<SocketId, Refusal>,
        fails: Option<Refusal>,
    ) {
        match outcome {
            Ok(socket) => {
                if let Some(why) = fails {
                    let what = format!("client {number} connected in spite of {why}");
                    cx.violate(Invariant::ScriptHolds, what);
                }
                self.connected(cx, number, socket);
            }
            Err(why) if cx.is_exact() && fails != Some(why) => {
                let what = format!("client {number} could not connect: {why}");
                cx.violate(Invariant::ScriptHolds, what);
            }
            Err(_) => {
                self.actors.remove(&number);
            }
        }
    }

    /// Gives up the dials that took too long.
    fn give_up(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let dials = &mut self.dials;
        self.given_up.retain(|(at, dial)| {
            let is_due = *at <= now;
            if is_due && let Some((actor, _)) = dials.remove(dial) {
                cx.cancel_dial(*dial);
                self.actors.remove(&actor);
            }
            !is_due
        });
    }

    fn fire(&mut self, cx: &mut Cx<'_>) {
        self.begin_due(cx);
        self.give_up(cx);
        let now = cx.now();
        let is_due = |actor: &Actor| actor.poll_timeout().is_some_and(|at| at <= now);
        let due: Vec<usize> = self
            .actors
            .iter()
            .filter(|(_, actor)| is_due(actor))
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            self.run(cx, number);
        }
    }

    fn datagram(&mut self, cx: &mut Cx<'_>, socket: UdpId, from: SocketAddr, data: BytesMut) {
        if self.echo_sockets.contains(&socket) {
            cx.send_to(socket, from, &data);
            return;
        }
        let Some(number) = self.udp.get(&socket).copied() else {
            return;
        };
        if let Some(actor) = self.actors.get_mut(&number) {
            actor.datagrams.push_back(data);
        }
        self.run(cx, number);
    }
}

impl Host for ScriptHost {
    fn handle(&mut self, cx: &mut Cx<'_>, input: HostInput) {
        match input {
            HostInput::Start => self.start(cx),
            HostInput::Timer => self.fire(cx),
            HostInput::Command(_)
            | HostInput::Resolved(..)
            | HostInput::Packet(_)
            | HostInput::Icmp { .. } => {}
            HostInput::Accepted { socket, local, .. } => self.accept(cx, socket, local),
            HostInput::Dialed(dial, outcome) => {
                if let Some((number, fails)) = self.dials.remove(&dial) {
                    self.dialed(cx, number, outcome.map(|(socket, _)| socket), fails);
                }
            }
            HostInput::Readable(socket) | HostInput::Writable(socket) => {
                if let Some(number) = self.sockets.get(&socket).copied() {
                    self.run(cx, number);
                }
            }
            HostInput::Datagram { socket, from, data } => self.datagram(cx, socket, from, data),
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let planned = self.planned.iter().map(|planned| planned.at);
        let actors = self.actors.values().filter_map(Actor::poll_timeout);
        let given_up = self.given_up.iter().map(|(at, _)| *at);
        planned.chain(actors).chain(given_up).min()
    }

    fn crashed(&mut self, cx: &mut Cx<'_>) {
        for actor in self.actors.values() {
            actor.fail_flows(cx);
        }
        self.actors.clear();
        self.planned.clear();
    }

    fn is_done(&self) -> bool {
        self.actors.is_empty() && self.planned.is_empty()
    }

    fn waiting(&self) -> Option<String> {
        let first = self.actors.values().next()?;
        Some(format!(
            "{} scripts left; {}",
            self.actors.len(),
            first.describe()
        ))
    }
}
