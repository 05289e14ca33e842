//! Two proxies talk to each other through byte vectors: no socket, no clock, no thread.
//!
//! ```text
//!   app ──► entry: direct in, SOCKS5 out ──► proxy: SOCKS5 in, direct out ──► echo
//! ```
//!
//! Both are sessions of the engine, made from a configuration each. This program is the network
//! between them, and prints what passes. It prints the same every time.
//!
//! `cargo run -p sansbox-examples --bin in_memory`
use bytes::BytesMut;
use sansbox_core::{End, Instant, Seed};
use sansbox_engine::{
    Peer, Plan, Session,
    config::{ReadOptions, Sources, read},
    ids::{InboundId, Slot},
    machine::{Action, Input, Machine as _, Outcome},
};
use std::{collections::VecDeque, sync::Arc};

const ENTRY: &str = r#"{
  "inbounds": [{"type": "direct", "override_address": "echo.example", "override_port": 7}],
  "outbounds": [{"type": "socks", "server": "192.0.2.1", "server_port": 1080}]
}"#;
const PROXY: &str = r#"{"inbounds": [{"type": "socks"}]}"#;

/// One end of a connection: a session's slot, or a program that knows of no proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    App,
    Echo,
    Session(usize, Slot),
}

/// A session, and which of its slots it has handed over to be joined.
struct Side {
    name: &'static str,
    session: Session,
    joined: Option<(Slot, Slot)>,
}

/// What travels.
enum Load {
    Bytes(BytesMut),
    End(End),
}

struct World {
    now: Instant,
    sides: [Side; 2],
    /// Which place is connected to which.
    wires: Vec<(Place, Place)>,
    travelling: VecDeque<(Place, Load)>,
    /// Places that have said all.
    ended: Vec<Place>,
}

fn side(name: &'static str, config: &str, now: Instant) -> Side {
    let sources = Sources::single(name, config);
    let (config, _) = read(&sources, &ReadOptions::default()).expect("a good configuration");
    let plan = Arc::new(Plan::build(&config).expect("a good configuration"));
    let peer = Peer {
        remote: "127.0.0.1:40000".parse().expect("an address"),
        local: "127.0.0.1:1080".parse().expect("an address"),
    };
    let mut session = Session::new(plan, InboundId(0), peer, Seed::from_u64(1), now);
    session.apply(now, Input::Tick);
    Side {
        name,
        session,
        joined: None,
    }
}

impl World {
    /// The other end of a connection.
    fn other_end(&self, place: Place) -> Place {
        let wires = self.wires.iter();
        let mut ends = wires.flat_map(|(a, b)| [(*a, *b), (*b, *a)]);
        let found = ends.find(|(end, _)| *end == place);
        found.expect("every place is connected").1
    }

    fn name(&self, place: Place) -> &'static str {
        match place {
            Place::App => "app",
            Place::Echo => "echo",
            Place::Session(n, _) => self.sides[n].name,
        }
    }

    /// Something leaves a place for the other end.
    fn send(&mut self, from: Place, load: Load) {
        let to = self.other_end(from);
        let (from, name) = (self.name(from), self.name(to));
        match &load {
            Load::Bytes(bytes) => println!("{from} -> {name}: {}", bytes.escape_ascii()),
            Load::End(end) => println!("{from} -> {name}: {end:?}"),
        }
        self.travelling.push_back((to, load));
    }

    /// Something arrives.
    fn receive(&mut self, at: Place, load: Load) {
        let Place::Session(n, slot) = at else {
            if at == Place::Echo {
                self.send(at, load);
            }
            return;
        };
        let side = &mut self.sides[n];
        if let Some((a, b)) = side.joined {
            // The session does not want to see these bytes, only to know how many there were.
            let onward = Place::Session(n, if slot == a { b } else { a });
            let input = match &load {
                Load::Bytes(bytes) => Input::Relayed(slot, bytes.len() as u64),
                Load::End(end) => Input::Ended(slot, *end),
            };
            side.session.apply(self.now, input);
            self.send(onward, load);
        } else {
            let input = match load {
                Load::Bytes(bytes) => Input::Received(slot, bytes),
                Load::End(end) => Input::Ended(slot, end),
            };
            side.session.apply(self.now, input);
        }
        self.settle(n);
    }

    /// Does what a session asks for, and takes what it has to send.
    fn settle(&mut self, n: usize) {
        while let Some(action) = self.sides[n].session.poll_action() {
            let side = &mut self.sides[n];
            println!("    {} asks: {action:?}", side.name);
            let done = match action {
                Action::Dial { id, slot, .. } => {
                    let to = if n == 0 {
                        Place::Session(1, Slot::CLIENT)
                    } else {
                        Place::Echo
                    };
                    self.wires.push((Place::Session(n, slot), to));
                    let local = "192.0.2.9:50000".parse().expect("an address");
                    Input::Done(id, Outcome::Connected(local))
                }
                Action::Resolve { id, .. } => {
                    let found = ["192.0.2.7".parse().expect("an address")];
                    side.session
                        .apply(self.now, Input::Done(id, Outcome::Resolved(&found)));
                    continue;
                }
                Action::Passthrough(a, b) => {
                    side.joined = Some((a, b));
                    continue;
                }
                Action::Close(..) | Action::Cancel(_) | Action::Log(_) => continue,
                Action::Bind { .. } | Action::Send { .. } => unreachable!("no UDP is asked for"),
                Action::OpenStream { .. } | Action::Answer(_) | Action::DatagramError { .. } => {
                    unreachable!("the plan has no carriers")
                }
            };
            side.session.apply(self.now, done);
        }
        self.transmit(n);
    }

    /// Takes what a session has to send on the slots that live.
    fn transmit(&mut self, n: usize) {
        let mut slots = Vec::new();
        for end in self.wires.iter().flat_map(|(a, b)| [*a, *b]) {
            if let Place::Session(side, slot) = end
                && side == n
            {
                slots.push(slot);
            }
        }
        for slot in slots {
            let session = &mut self.sides[n].session;
            let Some(pipes) = session.pipes(slot) else {
                continue;
            };
            let bytes: BytesMut = pipes.tx.segments().flatten().copied().collect();
            let (place, end) = (Place::Session(n, slot), pipes.tx.end());
            if !bytes.is_empty() {
                session.apply(self.now, Input::Drained(slot, bytes.len()));
                self.send(place, Load::Bytes(bytes));
                self.settle(n);
            } else if end == End::Fin && !self.ended.contains(&place) {
                self.ended.push(place);
                self.send(place, Load::End(end));
            }
        }
    }
}

fn main() {
    let now = Instant::ZERO;
    let mut world = World {
        now,
        sides: [side("entry", ENTRY, now), side("proxy", PROXY, now)],
        wires: vec![(Place::App, Place::Session(0, Slot::CLIENT))],
        travelling: VecDeque::new(),
        ended: Vec::new(),
    };
    world.send(Place::App, Load::Bytes(BytesMut::from("hello")));
    world.send(Place::App, Load::End(End::Fin));
    world.settle(0);
    while let Some((at, load)) = world.travelling.pop_front() {
        world.receive(at, load);
    }
    for side in &world.sides {
        let record = side.session.record();
        let (up, down) = (record.bytes_up, record.bytes_down);
        println!("{}: {up} up, {down} down, {:?}", side.name, record.closed);
    }
}
