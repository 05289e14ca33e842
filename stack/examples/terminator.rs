//! How fast the stack terminates TCP in memory, without a kernel: 1400-byte packets, checksums in
//! software both ways, per second of one core.
//!
//! ```text
//! cargo run --release -p sansbox-stack --example terminator
//! ```
//! `up` takes packets from clients, verifies them, hands their payload to a caller who consumes
//! it at once, and acknowledges; `down` sends chunks of a caller as packets and takes the
//! acknowledgements. What making the clients' packets costs is measured apart and not counted.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "it is a program that measures"
)]
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sansbox_core::{Instant, Seed};
use sansbox_stack::{Config, Event, FlowId, RxPacket, Stack, TxBatch};

const PAYLOAD: usize = 1400;
const PACKET: usize = 40 + PAYLOAD;
const BATCH: usize = 64;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// The time that this thread had a core, where the system tells; else time that passed.
fn core_time(start: std::time::Instant) -> Duration {
    // The system brings its account up to date when a thread yields, and else only now and then.
    std::thread::yield_now();
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = told.and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// What changes of a client: little, so that the cache misses at many flows are the stack's.
struct Client {
    flow: Option<FlowId>,
    seq: u32,
    ack: u32,
}

fn sum(bytes: &[u8]) -> u64 {
    bytes
        .chunks_exact(2)
        .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap()
}

impl Client {
    const fn new() -> Self {
        Self {
            flow: None,
            seq: 1000,
            ack: 0,
        }
    }

    /// Writes the headers of a packet of client `n` with `len` bytes of zeros behind them.
    fn packet(&self, n: usize, to: &mut [u8], flags: u8, len: usize) {
        let header: &mut [u8; 40] = (&mut to[..40]).try_into().unwrap();
        let n = u32::try_from(n).unwrap();
        let port = u16::try_from(1024 + n % 60_000).unwrap();
        header[..10].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6]);
        header[2..4].copy_from_slice(&u16::try_from(40 + len).unwrap().to_be_bytes());
        header[10..12].copy_from_slice(&[0, 0]);
        header[12..16].copy_from_slice(&(0x0a00_0001 + n / 60_000).to_be_bytes());
        header[16..20].copy_from_slice(&[192, 0, 2, 9]);
        let ip = fold(sum(&header[..20]));
        header[10..12].copy_from_slice(&ip.to_be_bytes());
        header[20..22].copy_from_slice(&port.to_be_bytes());
        header[22..24].copy_from_slice(&[1, 187]);
        header[24..28].copy_from_slice(&self.seq.to_be_bytes());
        header[28..32].copy_from_slice(&self.ack.to_be_bytes());
        header[32..].copy_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        let tcp = fold(sum(&header[12..40]) + 6 + 20 + len as u64);
        header[36..38].copy_from_slice(&tcp.to_be_bytes());
    }

    /// A SYN whose one option says that segments of 1400 bytes are welcome.
    fn syn(&self, n: usize) -> [u8; 44] {
        let mut packet = [0; 44];
        self.packet(n, &mut packet, SYN, 4);
        packet[32] = 0x60;
        packet[36..38].copy_from_slice(&[0, 0]);
        packet[40..42].copy_from_slice(&[2, 4]);
        packet[42..44].copy_from_slice(&(PAYLOAD as u16).to_be_bytes());
        let tcp = fold(sum(&packet[12..]) + 6 + 24);
        packet[36..38].copy_from_slice(&tcp.to_be_bytes());
        packet
    }
}

struct World {
    stack: Stack,
    clients: Vec<Client>,
    buffers: Vec<[u8; PACKET]>,
    batch: TxBatch,
    /// Nanoseconds.
    now: u64,
    load: Load,
}

/// Who sends when.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    flows: usize,
    /// From the client of one packet to that of the next; prime, so that all have their turn.
    stride: usize,
    /// Time between two batches of 64 packets, in nanoseconds.
    step: u64,
}

/// Packets of few flows; of few flows, each as rare as with many: alone in its batch, with an
/// acknowledgement for itself after the delay; and of many flows, one after the other as they
/// were opened, and in no order that a cache could guess.
const LOADS: [Load; 4] = [
    Load {
        name: "10 flows",
        flows: 10,
        stride: 1,
        step: 50_000,
    },
    Load {
        name: "64 flows, rare packets",
        flows: 64,
        stride: 1,
        step: 39_000_000,
    },
    Load {
        name: "50,000 flows, in turn",
        flows: 50_000,
        stride: 1,
        step: 50_000,
    },
    Load {
        name: "50,000 flows, scattered",
        flows: 50_000,
        stride: 19_597,
        step: 50_000,
    },
];

impl Load {
    /// The client whose turn it is.
    const fn client(self, turn: usize) -> usize {
        turn * self.stride % self.flows
    }
}

impl World {
    fn new(load: Load) -> Self {
        let config = Config {
            window_budget: 8 << 30,
            ..Config::default()
        };
        let mut world = Self {
            stack: Stack::new(config, Seed::from_u64(1)),
            clients: (0..load.flows).map(|_| Client::new()).collect(),
            buffers: vec![[0; PACKET]; BATCH],
            batch: TxBatch::new(BATCH),
            now: 1,
            load,
        };
        for n in 0..load.flows {
            world.connect(n);
        }
        world
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(self.now)
    }

    fn connect(&mut self, n: usize) {
        let now = self.now();
        let client = &mut self.clients[n];
        self.stack.recv_batch(now, &[RxPacket::new(&client.syn(n))]);
        self.stack.poll_transmit(now, &mut self.batch);
        let header = self.batch.packets()[0].header();
        let iss = u32::from_be_bytes(header[24..28].try_into().unwrap());
        self.batch.clear();
        client.seq += 1;
        client.ack = iss.wrapping_add(1);
        client.packet(n, &mut self.buffers[0], ACK, 0);
        self.stack
            .recv_batch(now, &[RxPacket::new(&self.buffers[0][..40])]);
        let Some(Event::Open { flow, .. }) = self.stack.poll_event() else {
            panic!("the handshake failed");
        };
        client.flow = Some(flow);
    }

    /// One batch up, from the clients that begin at `first`. Without `serve` it is only made.
    fn up(&mut self, first: usize, serve: bool) {
        for (turn, buffer) in (first..).zip(&mut self.buffers) {
            let n = self.load.client(turn);
            let client = &mut self.clients[n];
            client.packet(n, buffer, ACK, PAYLOAD);
            client.seq = client.seq.wrapping_add(PAYLOAD as u32);
        }
        if !serve {
            return;
        }
        self.now += self.load.step;
        let now = self.now();
        let packets: [RxPacket<'_>; BATCH] =
            std::array::from_fn(|n| RxPacket::new(&self.buffers[n][..]));
        self.stack.recv_batch(now, &packets);
        while let Some(event) = self.stack.poll_event() {
            if let Event::Data(flow) = event {
                let len = self
                    .stack
                    .pieces(flow)
                    .map(|piece| piece.bytes(&packets).len())
                    .sum();
                self.stack.consumed(now, flow, len);
            }
        }
        self.stack.retain(&packets);
        self.finish();
    }

    /// One batch down, to the clients that begin at `first`, and their acknowledgements.
    fn down(&mut self, first: usize, chunk: &Bytes, serve: bool) {
        self.now += self.load.step;
        let now = self.now();
        if serve {
            for turn in first..first + BATCH {
                let flow = self.clients[self.load.client(turn)].flow.unwrap();
                assert!(self.stack.write(flow, chunk.clone()).is_ok());
            }
            let mut sent = 0;
            while self.stack.poll_transmit(now, &mut self.batch) {
                sent += self.batch.packets().len();
                self.batch.clear();
            }
            assert_eq!(sent, BATCH);
        }
        for (turn, buffer) in (first..).zip(&mut self.buffers) {
            let n = self.load.client(turn);
            let client = &mut self.clients[n];
            client.ack = client.ack.wrapping_add(PAYLOAD as u32);
            client.packet(n, buffer, ACK, 0);
        }
        if serve {
            let packets: [RxPacket<'_>; BATCH] =
                std::array::from_fn(|n| RxPacket::new(&self.buffers[n][..40]));
            self.stack.recv_batch(now, &packets);
            while self.stack.poll_event().is_some() {}
            self.stack.retain(&packets);
            self.finish();
        }
    }

    fn finish(&mut self) {
        let now = self.now();
        if self.stack.poll_timeout().is_some_and(|at| at <= now) {
            self.stack.handle_timeout(now);
        }
        while self.stack.poll_transmit(now, &mut self.batch) {
            self.batch.clear();
        }
    }
}

/// Rounds, of which the fastest counts: others use the machine as well.
const ROUNDS: usize = 5;

fn measure(name: &str, load: Load, mut turn: impl FnMut(usize, bool)) {
    let start = std::time::Instant::now();
    let batches = 8_000;
    let mut spent = [Duration::MAX; 2];
    let mut first = [0; 2];
    for round in 0..=ROUNDS {
        for (serve, (spent, first)) in [false, true]
            .into_iter()
            .zip(spent.iter_mut().zip(&mut first))
        {
            let before = core_time(start);
            for _ in 0..batches {
                turn(*first, serve);
                *first += BATCH;
            }
            // The first round fills caches and stores.
            if round > 0 {
                *spent = (*spent).min(core_time(start) - before);
            }
        }
    }
    let packets = (batches * BATCH) as f64;
    let net = spent[1].saturating_sub(spent[0]).as_secs_f64();
    println!(
        "{name:>5} {:>24}: {:>5.1} Gbit per core-second, {:>4.0} ns per packet ({:.0} ns to make it)",
        load.name,
        packets * PAYLOAD as f64 * 8.0 / net / 1e9,
        net * 1e9 / packets,
        spent[0].as_secs_f64() * 1e9 / packets,
    );
}

fn main() {
    let chunk = BytesMut::zeroed(PAYLOAD).split().freeze();
    // A part of a name: only the loads that have it, for a profile.
    let only = std::env::args().nth(1).unwrap_or_default();
    for load in LOADS.into_iter().filter(|load| load.name.contains(&only)) {
        let (mut made, mut world) = (World::new(load), World::new(load));
        measure("up", load, |first, serve| {
            let world = if serve { &mut world } else { &mut made };
            world.up(first, serve);
        });
        assert_eq!(world.stack.counters().copied_retained, 0);
        let (mut made, mut world) = (World::new(load), World::new(load));
        measure("down", load, |first, serve| {
            let world = if serve { &mut world } else { &mut made };
            world.down(first, &chunk, serve);
        });
        assert_eq!(world.stack.counters().retransmitted, 0);
    }
}
