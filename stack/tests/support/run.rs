//! One seeded world: clients, wire, stack, caller.
use std::collections::BTreeMap;

use sansbox_core::{Instant, Seed};
use sansbox_stack::{Config, Congestion, Handshake, RxPacket, Stack, TxBatch, Usage};
use smoltcp::socket::tcp;
use smoltcp::wire::{Ipv4Packet, Ipv6Packet, TcpPacket};

use super::Rng;
use super::app::{App, Pace};
use super::client::Client;
use super::link::{Faults, Link, To};

pub struct World {
    pub stack: Stack,
    pub client: Client,
    pub link: Link,
    pub app: App,
    pub now: u64,
    pub largest: usize,
    pub watch: Watch,
}

/// Whether clients do their part: by port, what they were told to send next, and when they did.
#[derive(Default)]
pub struct Watch {
    told: BTreeMap<u16, (u32, u16)>,
    sent: BTreeMap<u16, u64>,
}

impl Watch {
    fn down(&mut self, tcp: &TcpPacket<&[u8]>) {
        let told = (tcp.ack_number().0.cast_unsigned(), tcp.window_len());
        self.told.insert(tcp.dst_port(), told);
    }

    fn up(&mut self, now: u64, tcp: &TcpPacket<&[u8]>) {
        let port = tcp.src_port();
        let (seq, len) = (tcp.seq_number().0.cast_unsigned(), tcp.segment_len() as u32);
        let wanted = self.told.get(&port).map_or(seq, |told| told.0);
        if wanted.wrapping_sub(seq) < len {
            self.sent.insert(port, now);
        }
    }

    /// Was nothing sent for ten minutes of what was asked for, with a window that allowed it?
    fn idle(&self, now: u64, port: u16) -> bool {
        let open = self.told.get(&port).is_some_and(|told| told.1 > 0);
        let sent = self.sent.get(&port).copied().unwrap_or_default();
        open && now > sent + 600_000_000
    }
}

fn tcp_of(packet: &[u8]) -> TcpPacket<&[u8]> {
    TcpPacket::new_unchecked(if packet[0] >> 4 == 4 {
        Ipv4Packet::new_unchecked(packet).payload()
    } else {
        Ipv6Packet::new_unchecked(packet).payload()
    })
}

/// How a world ended that did not fail.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    Done(Summary),
    /// smoltcp's socket owes bytes that it was asked for with an open window, and never sends
    /// them: it has lost its timer, or probes a window that is open. A fault of the oracle's.
    Stalled,
    /// The wire lost all four SYN-ACKs or the answers to them.
    HandshakeLost,
}

/// What a world did, to compare two runs.
#[derive(Debug, PartialEq, Eq)]
pub struct Summary {
    pub now: u64,
    pub packets_in: u64,
    pub packets_out: u64,
    pub retransmitted: u64,
    pub fast_recoveries: u64,
    pub out_of_order: u64,
}

pub fn instant(micros: u64) -> Instant {
    Instant::from_nanos(micros * 1000)
}

/// A world of `seed`: everything that may vary does.
pub fn world(seed: u64) -> World {
    let mut rng = Rng(seed);
    let mtu = rng.pick(&[1280, 1500, 1500, 4096, 9000, 65_535]);
    let config = Config {
        tun_mtu: mtu,
        handshake: rng.pick(&[Handshake::Fast, Handshake::Consistent]),
        congestion: rng.pick(&[Congestion::Local, Congestion::Reno]),
        segmentation_max: rng.pick(&[0, 0, 20_000, 65_535]),
        window_max: rng.pick(&[4096, 65_536, 1 << 20]),
        window_budget: rng.pick(&[1, 100_000, 64 << 20]),
        send_max: rng.pick(&[16 << 10, 1 << 20]),
        send_budget: rng.pick(&[1, 64 << 20]),
        ..Config::default()
    };
    let faults = Faults {
        lost: rng.pick(&[0, 10, 50, 150]),
        doubled: rng.pick(&[0, 20, 200]),
        reordered: rng.pick(&[0, 50, 500]),
        delay: rng.pick(&[20, 500, 20_000]),
        until: 90_000_000,
    };
    let pace = Pace {
        reads: rng.pick(&[100, 500, 1000]),
        appetite: rng.pick(&[1, 700, 10_000, 1 << 20]),
        chunk: rng.pick(&[10, 3000, 65_536]),
    };
    // What takes one byte at a time, or a window of a few bytes, gets less to carry.
    let size_max = if pace.appetite == 1 || pace.chunk == 10 {
        3000
    } else {
        60_000
    };
    let mut client = Client::new(usize::from(mtu), rng.next());
    let mut app = App {
        flows: Default::default(),
        plans: Default::default(),
        pace,
        rng: Rng(rng.next()),
        events: Vec::new(),
    };
    for n in 0..=rng.below(3) {
        let buffers = [100, 1000, 5000, 65_535, 200_000];
        let buffers = (rng.pick(&buffers), rng.pick(&buffers));
        let most = if buffers.0.min(buffers.1) == 100 {
            3000
        } else {
            size_max
        };
        let size =
            |rng: &mut Rng| (rng.below(most) * rng.below(2)) as usize + rng.below(50) as usize;
        let sizes = (size(&mut rng), size(&mut rng));
        let stream = rng.next() >> 1;
        client.connect(rng.chance(500), stream, sizes, buffers);
        let port = 49152 + u16::try_from(n).unwrap();
        app.plans.insert(port, (stream, sizes.1));
    }
    World {
        stack: Stack::new(config, Seed::from_u64(seed)),
        client,
        link: Link::new(faults, Rng(rng.next())),
        app,
        now: 1,
        largest: 0,
        watch: Watch::default(),
    }
}

impl World {
    /// One step: everything that happens at this time; then time moves to the next thing.
    pub fn step(&mut self, batch: &mut TxBatch) {
        let now = instant(self.now);
        let (to_stack, to_client) = self.link.arrived(self.now);
        let packets: Vec<RxPacket<'_>> = to_stack.iter().map(|data| RxPacket::new(data)).collect();
        self.stack.recv_batch(now, &packets);
        self.app.events(&mut self.stack, now, &packets);
        self.stack.retain(&packets);
        self.stack.handle_timeout(now);
        self.app.events(&mut self.stack, now, &[]);
        self.app.turn(&mut self.stack, now);
        while self.stack.poll_transmit(now, batch) {
            for packet in batch.packets() {
                self.largest = self.largest.max(packet.len());
                let mut bytes = Vec::new();
                packet.copy_to(&mut bytes);
                self.watch.down(&tcp_of(&bytes));
                trace(self.now, "down", &bytes);
                self.link.send(self.now, To::Client, bytes);
            }
            batch.clear();
        }
        self.client.port.rx.extend(to_client);
        self.client.poll(self.now);
        self.client.turn();
        self.client.poll(self.now);
        for packet in std::mem::take(&mut self.client.port.tx) {
            self.watch.up(self.now, &tcp_of(&packet));
            trace(self.now, "up", &packet);
            self.link.send(self.now, To::Stack, packet);
        }
        let next = [
            self.link.next(),
            self.stack
                .poll_timeout()
                .map(|at| at.as_nanos().div_ceil(1000)),
            self.client
                .iface
                .poll_at(super::client::time(self.now), &self.client.sockets)
                .map(|at| u64::try_from(at.total_micros()).unwrap()),
            // The caller goes on by itself while it has something to do.
            self.app.is_busy(&self.stack).then_some(self.now + 2000),
        ];
        let next = next
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.now + 1_000_000);
        self.now = next.max(self.now + 1);
    }

    pub fn done(&self) -> bool {
        self.client
            .connections
            .iter()
            .enumerate()
            .all(|(at, connection)| {
                let over = matches!(
                    self.client.state(at),
                    tcp::State::Closed | tcp::State::TimeWait
                );
                over && connection.received == connection.download && connection.saw_end
            })
            && self.app.flows.values().all(|served| served.closed)
    }

    /// Runs to the end and checks that every byte arrived once, in order, both ways.
    pub fn run(&mut self) -> Outcome {
        let mut batch = TxBatch::new(16);
        let mut steps = 0_u64;
        while !self.done() {
            if self.client_stalled() {
                return Outcome::Stalled;
            }
            if self.stack.counters().expired > 0 && self.link.faults.lost > 0 {
                return Outcome::HandshakeLost;
            }
            self.step(&mut batch);
            steps += 1;
            if self.now > 3_000_000_000 || steps > 2_000_000 {
                self.describe();
                panic!(
                    "not done after {} s and {steps} steps",
                    self.now / 1_000_000
                );
            }
        }
        assert_eq!(self.app.flows.len(), self.client.connections.len());
        for served in self.app.flows.values() {
            assert!(served.fin);
        }
        let ports: Vec<(u64, usize)> = self
            .client
            .connections
            .iter()
            .map(|connection| (connection.stream, connection.upload))
            .collect();
        for served in self.app.flows.values() {
            let upload = ports
                .iter()
                .find(|(stream, _)| *stream == served.stream)
                .unwrap()
                .1;
            assert_eq!(served.read, upload);
        }
        assert_eq!(self.stack.open_flows(), 0);
        assert_eq!(self.stack.usage(), Usage::default());
        // A SYN that the wire doubled may come last; nobody answers it.
        let end = self.now + 20_000_000;
        while self.now < end && self.stack.half_open_flows() > 0 {
            self.step(&mut batch);
        }
        assert_eq!(self.stack.half_open_flows(), 0);
        let counters = self.stack.counters();
        Outcome::Done(Summary {
            now: self.now,
            packets_in: counters.packets_in,
            packets_out: counters.packets_out,
            retransmitted: counters.retransmitted,
            fast_recoveries: counters.fast_recoveries,
            out_of_order: counters.copied_out_of_order,
        })
    }

    /// Does a client owe bytes, and has not sent them for ten minutes?
    fn client_stalled(&self) -> bool {
        self.client
            .connections
            .iter()
            .enumerate()
            .any(|(at, connection)| {
                let socket = self
                    .client
                    .sockets
                    .get::<tcp::Socket<'_>>(connection.handle);
                let owes_fin = matches!(
                    socket.state(),
                    tcp::State::FinWait1 | tcp::State::Closing | tcp::State::LastAck
                );
                let port = 49152 + u16::try_from(at).unwrap();
                (socket.send_queue() > 0 || owes_fin) && self.watch.idle(self.now, port)
            })
    }

    fn describe(&self) {
        for (at, connection) in self.client.connections.iter().enumerate() {
            eprintln!(
                "client {at}: {:?} sent {}/{} received {}/{} end {}",
                self.client.state(at),
                connection.sent,
                connection.upload,
                connection.received,
                connection.download,
                connection.saw_end
            );
        }
        for (flow, served) in &self.app.flows {
            eprintln!(
                "caller {flow:?}: read {} written {}/{} fin {} shut {} closed {}",
                served.read,
                served.written,
                served.download,
                served.fin,
                served.shut,
                served.closed
            );
        }
        eprintln!("{:?} {:?}", self.stack.config(), self.stack.counters());
    }
}

/// Prints a packet where `STACK_TRACE` is set.
fn trace(now: u64, way: &str, packet: &[u8]) {
    if std::env::var_os("STACK_TRACE").is_none() {
        return;
    }
    eprintln!("{now} {way} {}", tcp_of(packet));
}
