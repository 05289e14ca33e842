//! In the steady state the stack allocates nothing, and an idle flow costs little.
mod support;

use bytes::{Bytes, BytesMut};
use sansbox_heap::{Counting, heap};
use sansbox_stack::{Config, Event, FlowId, RxPacket, TxBatch};
use support::raw::{Bench, Peer, at};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const FLOWS: usize = 50;

/// Connections, the packets that they repeat, and chunks to send.
struct Load {
    bench: Bench,
    peers: Vec<(Peer, FlowId)>,
    packets: Vec<Vec<u8>>,
    acks: Vec<Vec<u8>>,
    chunk: Bytes,
    batch: TxBatch,
}

impl Load {
    fn new() -> Self {
        let mut bench = Bench::new(Config::default());
        let mut peers = Vec::new();
        for n in 0..FLOWS {
            let mut peer = Peer::new(&format!("10.0.0.2:{}", 4000 + n), "192.0.2.9:80");
            let flow = peer.connect(&mut bench);
            peers.push((peer, flow));
        }
        // Split from a shared buffer, as pooled chunks are: cloning such a chunk is free.
        let chunk = BytesMut::zeroed(1500).split().freeze();
        let _shared = chunk.clone();
        Self {
            bench,
            packets: peers
                .iter()
                .map(|(peer, _)| peer.segment("A", &[1; 1400]))
                .collect(),
            acks: peers
                .iter()
                .map(|(peer, _)| peer.segment("A", &[]))
                .collect(),
            peers,
            chunk,
            batch: TxBatch::new(64),
        }
    }

    /// A segment up and two down on every flow: made outside of the count, handled inside.
    fn round(&mut self) -> u64 {
        for ((peer, _), packet) in self.peers.iter_mut().zip(&mut self.packets) {
            *packet = peer.segment("A", &[1; 1400]);
            peer.seq = peer.seq.wrapping_add(1400);
        }
        let up: Vec<RxPacket<'_>> = self
            .packets
            .iter()
            .map(|data| RxPacket::new(data))
            .collect();
        self.bench.now += 1;
        let now = at(self.bench.now);
        let stack = &mut self.bench.stack;
        let before = heap();
        stack.recv_batch(now, &up);
        let mut events = 0;
        while let Some(event) = stack.poll_event() {
            if let Event::Data(flow) = event {
                events += 1;
                let taken = stack.pieces(flow).map(|piece| piece.bytes(&up).len()).sum();
                stack.consumed(now, flow, taken);
            }
        }
        stack.retain(&up);
        for (_, flow) in &self.peers {
            assert!(stack.write(*flow, self.chunk.clone()).is_ok());
        }
        stack.handle_timeout(now);
        while stack.poll_transmit(now, &mut self.batch) {
            self.batch.clear();
        }
        let _ = stack.poll_timeout();
        let count = heap().since(before).allocations;
        assert_eq!(events, FLOWS);
        for ((peer, _), ack) in self.peers.iter_mut().zip(&mut self.acks) {
            peer.ack = peer.ack.wrapping_add(1500);
            *ack = peer.segment("A", &[]);
        }
        let acks: Vec<RxPacket<'_>> = self.acks.iter().map(|data| RxPacket::new(data)).collect();
        let before = heap();
        self.bench.stack.recv_batch(now, &acks);
        self.bench.stack.retain(&acks);
        count + heap().since(before).allocations
    }
}

#[test]
fn nothing_is_allocated_per_packet() {
    let mut load = Load::new();
    for _ in 0..50 {
        load.round();
    }
    let packets = load.bench.stack.counters().packets_in;
    let count: u64 = (0..1000).map(|_| load.round()).sum();
    let counters = load.bench.stack.counters();
    assert!(counters.packets_in - packets >= 1000 * 2 * FLOWS as u64);
    assert_eq!(
        (counters.copied_retained, counters.copied_out_of_order),
        (0, 0)
    );
    assert_eq!(count, 0);
}

#[test]
fn an_idle_flow_costs_at_most_400_bytes() {
    let before = heap();
    let mut bench = Bench::new(Config::default());
    // A power of two fills tables that double: what is measured is what a flow needs.
    let flows = 16_384;
    for n in 0..flows {
        let source = format!("10.0.{}.{}:{}", n >> 8, n & 255, 4000);
        Peer::new(&source, "192.0.2.9:80").connect(&mut bench);
        bench.events.clear();
    }
    let per_flow = heap().since(before).bytes / flows;
    assert!(per_flow <= 400, "{per_flow} bytes");
}

/// Clients, each with an address of its own. Nearly a power of two, for the reason above.
fn clients() -> impl ExactSizeIterator<Item = Peer> {
    (0..16_000_u16).map(|n| Peer::new(&format!("10.0.{}.{}:4000", n >> 8, n & 255), "192.0.2.9:80"))
}

/// With all that finds it, counts it and ends it.
#[test]
fn a_half_open_connection_costs_at_most_128_bytes() {
    let clients = clients();
    let count = clients.len();
    let before = heap();
    let mut bench = Bench::new(Config {
        half_open_max: count as u32,
        ..Config::default()
    });
    for mut client in clients {
        client.begin(&mut bench);
    }
    assert_eq!(bench.stack.half_open_flows() as usize, count);
    let each = heap().since(before).bytes / count as i64;
    assert!(each <= 128, "{each} bytes");
}

#[test]
fn a_connection_in_time_wait_costs_at_most_128_bytes() {
    let clients = clients();
    let count = clients.len();
    let before = heap();
    let mut bench = Bench::new(Config::default());
    for mut client in clients {
        let flow = client.connect(&mut bench);
        bench.stack.shutdown(at(bench.now), flow);
        client.ack = bench.sent()[0].seq.wrapping_add(1);
        bench.say(&[client.segment("FA", &[])]);
        bench.events.clear();
    }
    assert_eq!(bench.stack.open_flows(), 0);
    let each = heap().since(before).bytes / count as i64;
    assert!(each <= 128, "{each} bytes");
    // The first one is still known.
    let first = Peer::new("10.0.0.0:4000", "192.0.2.9:80");
    assert_eq!(bench.say(&[first.segment("FA", &[])])[0].flags, "A");
}
