//! The terminator of TCP against clients and callers that do anything.
use super::client::{Client, up};
use super::segment::{FIN, Host, RST, SYN, Segment};
use crate::input::Input;
use bytes::Bytes;
use core::time::Duration;
use sansbox_core::{Instant, Seed};
use sansbox_stack::{
    Checksum, Config, Congestion, Event, FlowId, Handshake, Reject, RxPacket, Stack, TxBatch,
    TxPacket, Usage,
};
use std::collections::BTreeMap;

/// How the stack is set up (6 octets), then what six clients and the caller do, one after the
/// other. Judged by what the clients sent: bytes are delivered once, in order and as they were,
/// none that was acknowledged is lost, a FIN comes behind the last one; what is sent is what was
/// written and fits window and MSS; handles are void after their end; timers that fired move;
/// nothing is left when all are gone.
pub fn stack_sequence(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(&mut input);
    for _ in 0..400 {
        if input.is_empty() {
            break;
        }
        world.act(&mut input);
        world.bounds();
    }
    world.end();
}

const SLOTS: usize = 6;
const HANDSHAKES: [Handshake; 3] = [Handshake::Fast, Handshake::Consistent, Handshake::Auto];
const WINDOW_BUDGET: u64 = 200_000;
const SEND_BUDGET: u64 = 100_000;
const CHUNK_MAX: usize = 255 * 60;

/// One connection that the caller heard of.
#[derive(Debug, Default)]
struct Flow {
    slot: usize,
    /// The client's and the stack's initial numbers, when the handshake is done.
    numbers: Option<(u32, u32)>,
    delivered: u32,
    written: u32,
    shut: bool,
    finished: bool,
}

struct World {
    stack: Stack,
    now: Instant,
    clients: Vec<Client>,
    hosts: Vec<Host>,
    flows: BTreeMap<FlowId, Flow>,
    void: Vec<FlowId>,
    pending: Vec<Vec<u8>>,
    batch: TxBatch,
    /// The caller consumes what comes at once.
    eager: bool,
    mtu: usize,
    segmentation_max: usize,
}

impl World {
    fn new(input: &mut Input<'_>) -> Self {
        let [mode, mtu, limits, seed, batch, start] = input.bytes();
        let config = Config {
            tun_mtu: [1280, 1500, 9000, 65_535][usize::from(mtu) % 4],
            handshake: HANDSHAKES[usize::from(mode) % 3],
            congestion: [Congestion::Local, Congestion::Reno][usize::from(mode >> 2) % 2],
            segmentation_max: [0, 0, 16_384, 65_535][usize::from(mode >> 3) % 4],
            checksum_offload: mode & 0x20 != 0,
            half_open_max: 1 + u32::from(limits % 8),
            half_open_per_source: 3,
            flows_max: 4 + u32::from(limits % 4),
            time_wait_max: u32::from(limits % 3),
            window_max: 8192 << (limits % 8),
            window_budget: WINDOW_BUDGET,
            send_max: 16_384 << (limits % 4),
            send_budget: SEND_BUDGET,
            ..Config::default()
        };
        let clients: Vec<_> = (0..SLOTS).map(Client::new).collect();
        Self {
            mtu: config.tun_mtu.into(),
            segmentation_max: config.segmentation_max.into(),
            stack: Stack::new(config, Seed::from_u64(seed.into())),
            now: Instant::from_nanos(u64::from(start) << 40),
            hosts: clients.iter().map(|client| client.host).collect(),
            clients,
            flows: BTreeMap::new(),
            void: Vec::new(),
            pending: Vec::new(),
            batch: TxBatch::new(usize::from(batch % 64) + 1),
            eager: mode & 0x40 == 0,
        }
    }

    fn act(&mut self, input: &mut Input<'_>) {
        let op = input.byte();
        let slot = usize::from(op >> 4) % SLOTS;
        let client = &mut self.clients[slot];
        let segment = match op & 15 {
            0 => client.syn(input),
            1..=3 => client.data(input),
            4 | 5 => client.ack(input),
            6 => client.reset(input),
            7 => client.any(input),
            _ => {
                self.receive();
                return self.call(op, slot, input);
            }
        };
        self.pending.push(client.host.packet(&segment));
        // A SYN ends a batch, so that its answer is known before it is acknowledged: two SYNs at
        // one time are answered with one number. Else more may wait than the stack takes at once.
        if segment.flags & SYN != 0 || self.pending.len() > 20 {
            self.receive();
        }
    }

    /// What the caller does.
    fn call(&mut self, op: u8, slot: usize, input: &mut Input<'_>) {
        let by = input.byte();
        let at = usize::from(by) % self.flows.len().max(1);
        let flow = self.flows.keys().nth(at).copied();
        match (op & 15, flow) {
            (8, Some(flow)) => self.answer(flow, input),
            (9, Some(flow)) => self.write(flow, input),
            (10, Some(flow)) => self.consume(flow, usize::from(input.byte()) * 40),
            (11, Some(flow)) if by >= 0x80 => self.abort(flow),
            (11, Some(flow)) => {
                self.stack.shutdown(self.now, flow);
                self.flows.entry(flow).or_default().shut = true;
            }
            (12, _) => {
                let far = [1, 10, 40, 200, 1000, 3000, 15_000, 1_200_000];
                self.wait(Duration::from_millis(far[usize::from(by) % 8]));
            }
            (13, _) => self.eager = !self.eager,
            (14, _) => self.clients[slot].deaf = !self.clients[slot].deaf,
            (15, _) => self.stack.set_handshake(HANDSHAKES[usize::from(by) % 3]),
            _ => {}
        }
        self.events();
        self.stack.retain(&[]);
        self.transmit();
    }

    fn answer(&mut self, flow: FlowId, input: &mut Input<'_>) {
        const REJECTS: [Reject; 6] = [
            Reject::Refused,
            Reject::HostUnreachable,
            Reject::NoRoute,
            Reject::Policy,
            Reject::PolicyReset,
            Reject::Silent,
        ];
        match input.byte() {
            by @ 0..6 => {
                self.stack.reject(flow, REJECTS[usize::from(by)]);
                self.gone(flow);
            }
            6..40 => drop(self.stack.sniff(self.now, flow)),
            _ => self.stack.accept(self.now, flow),
        }
    }

    fn abort(&mut self, flow: FlowId) {
        self.stack.abort(flow);
        self.gone(flow);
    }

    /// The handle is void from now on.
    fn gone(&mut self, flow: FlowId) {
        self.flows.remove(&flow).expect("a live handle ends once");
        self.void.push(flow);
    }

    fn write(&mut self, flow: FlowId, input: &mut Input<'_>) {
        let [len, scale] = input.bytes();
        let len = usize::from(len) * if scale & 3 == 0 { 60 } else { 3 };
        let known = self.flows.entry(flow).or_default();
        let bytes = (0..len as u32).map(|at| down(flow, known.written + at));
        let chunk: Bytes = bytes.collect::<Vec<_>>().into();
        match self.stack.write(flow, chunk.clone()) {
            Ok(()) => {
                assert!(
                    known.numbers.is_some() && !known.shut,
                    "taken too soon or late"
                );
                known.written += len as u32;
            }
            Err(back) => assert_eq!(back, chunk),
        }
    }

    /// Takes up to `n` bytes, which must be those that the client sent.
    fn consume(&mut self, flow: FlowId, n: usize) {
        self.check(flow, &[]);
        let unread: usize = self.stack.pieces(flow).map(|p| p.bytes(&[]).len()).sum();
        self.stack.consumed(self.now, flow, n);
        if let Some(known) = self.flows.get_mut(&flow) {
            known.delivered += n.min(unread) as u32;
        }
    }

    /// Compares all that can be read with what the client sent.
    fn check(&self, flow: FlowId, packets: &[RxPacket<'_>]) -> usize {
        let known = self.flows.get(&flow).expect("a live handle");
        let pieces = || self.stack.pieces(flow).map(|piece| piece.bytes(packets));
        let Some((irs, _)) = known.numbers else {
            assert_eq!(pieces().count(), 0);
            return 0;
        };
        let client = &self.clients[known.slot];
        let start = irs.wrapping_add(1);
        let mut at = start.wrapping_add(known.delivered);
        for byte in pieces().flatten() {
            assert_eq!(*byte, up(known.slot, at), "not what was sent");
            at = at.wrapping_add(1);
        }
        let len = at.wrapping_sub(start);
        assert!(
            len <= client.sent_until(start).wrapping_sub(start),
            "bytes out of nowhere"
        );
        (len - known.delivered) as usize
    }

    /// Gives what waits to the stack.
    fn receive(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        let packets: Vec<_> = pending.iter().map(|packet| RxPacket::new(packet)).collect();
        self.stack.recv_batch(self.now, &packets);
        while let Some(event) = self.stack.poll_event() {
            let data = self.heard(event);
            if let Some(flow) = data {
                let len = self.check(flow, &packets);
                assert!(len > 0, "news of nothing");
                if self.eager {
                    self.stack.consumed(self.now, flow, len);
                    self.flows.entry(flow).or_default().delivered += len as u32;
                }
            }
        }
        self.stack.retain(&packets);
        self.transmit();
    }

    fn events(&mut self) {
        while let Some(event) = self.stack.poll_event() {
            if let Some(flow) = self.heard(event)
                && self.eager
            {
                self.consume(flow, usize::MAX);
            }
        }
    }

    /// Notes an event. What has bytes is handed back.
    fn heard(&mut self, event: Event) -> Option<FlowId> {
        if let Event::Open { flow, source, .. } = event {
            let of = |host: &Host| host.port == source.port();
            let slot = self.hosts.iter().position(of).expect("a client");
            let old = self.flows.insert(
                flow,
                Flow {
                    slot,
                    ..Flow::default()
                },
            );
            assert!(
                old.is_none() && !self.void.contains(&flow),
                "a handle twice"
            );
        }
        let (Event::Open { flow, .. }
        | Event::Data(flow)
        | Event::Writable(flow)
        | Event::Fin(flow)
        | Event::Reset(flow, _)
        | Event::Cancelled(flow, _)
        | Event::Closed(flow)) = event;
        let known = self.flows.get_mut(&flow).expect("news of a void handle");
        let client = &self.clients[known.slot];
        let waits = matches!(
            event,
            Event::Open {
                answered: false,
                ..
            } | Event::Cancelled(..)
        );
        if known.numbers.is_none() && !waits {
            known.numbers = Some(client.answer.expect("a handshake"));
        }
        let start = known.numbers.map_or(0, |(irs, _)| irs.wrapping_add(1));
        let end = start.wrapping_add(known.delivered);
        match event {
            Event::Data(flow) => return Some(flow),
            Event::Fin(_) => {
                assert!(
                    !known.finished && client.fins.contains(&end),
                    "no FIN there"
                );
                known.finished = true;
            }
            Event::Closed(_) => {
                assert!(known.finished && known.shut, "closed before both ended");
                self.gone(flow);
            }
            Event::Reset(..) | Event::Cancelled(..) => self.gone(flow),
            Event::Open { .. } | Event::Writable(_) => {}
        }
        None
    }

    fn transmit(&mut self) {
        let mut batch = std::mem::replace(&mut self.batch, TxBatch::new(0));
        let mut bytes = Vec::new();
        let mut count = 0;
        while self.stack.poll_transmit(self.now, &mut batch) {
            for packet in batch.packets() {
                bytes.clear();
                packet.copy_to(&mut bytes);
                self.sent(packet, &bytes);
                count += 1;
            }
            batch.clear();
            assert!(count < 20_000, "it never rests");
        }
        self.batch = batch;
    }

    /// Looks at one packet from the stack, and hands it to its client.
    fn sent(&mut self, packet: &TxPacket, bytes: &[u8]) {
        let partial = packet.checksum() != Checksum::Full;
        let Some((slot, segment)) = Host::read(&self.hosts, bytes, partial) else {
            return;
        };
        let most = self.mtu.max(self.segmentation_max);
        assert!(bytes.len() <= most, "a packet of {} bytes", bytes.len());
        let client = &mut self.clients[slot];
        if segment.flags & SYN != 0 {
            client.answered(&segment);
            return;
        }
        let unit = match packet.segment_size() {
            0 => segment.payload.len(),
            size => size.into(),
        };
        assert!(unit <= client.mss(), "segments of {unit} bytes");
        if segment.flags & RST != 0 {
            return;
        }
        let Some(numbers) = client.answer else {
            return assert!(segment.payload.is_empty());
        };
        let of = |(_, flow): &(&FlowId, &Flow)| flow.slot == slot && flow.numbers == Some(numbers);
        let found = self.flows.iter().find(of).map(|(id, flow)| (*id, flow));
        match found {
            Some((id, flow)) => {
                let (written, shut) = (flow.written, flow.shut);
                self.acknowledged(id, &segment);
                self.payload(id, (written, shut), slot, numbers.1, &segment);
            }
            None => assert!(segment.payload.is_empty(), "payload of nobody"),
        }
    }

    /// What is acknowledged was sent, and was delivered or can be read.
    fn acknowledged(&self, id: FlowId, segment: &Segment) {
        let Some(flow) = self.flows.get(&id) else {
            return;
        };
        let Some((irs, _)) = flow.numbers else {
            return;
        };
        let client = &self.clients[flow.slot];
        let start = irs.wrapping_add(1);
        let unread: usize = self.stack.pieces(id).map(|p| p.bytes(&[]).len()).sum();
        let kept = flow.delivered + unread as u32;
        let acked = segment.ack.wrapping_sub(start);
        let with_fin = client.fins.contains(&start.wrapping_add(kept));
        assert!(
            acked <= kept + u32::from(with_fin),
            "acknowledged and lost: {acked} of {kept}, {flow:?}, {segment:?}"
        );
    }

    fn payload(
        &mut self,
        id: FlowId,
        (written, shut): (u32, bool),
        slot: usize,
        iss: u32,
        segment: &Segment,
    ) {
        let offset = segment.seq.wrapping_sub(iss.wrapping_add(1));
        let len = segment.payload.len();
        let fin = segment.flags & FIN != 0;
        if len == 0 && !fin {
            return;
        }
        let end = offset.wrapping_add(len as u32);
        assert!(end <= written && offset <= end, "more than was written");
        for (at, byte) in (offset..).zip(&segment.payload) {
            assert_eq!(*byte, down(id, at), "not what was written");
        }
        assert!(!fin || shut && end == written, "a FIN too soon");
        let client = &mut self.clients[slot];
        assert!(
            end <= client.edge,
            "beyond the window: {end} of {}",
            client.edge
        );
        client.take(offset, len + usize::from(fin));
    }

    fn wait(&mut self, far: Duration) {
        let end = self.now + far;
        let mut steps = 0;
        while let Some(due) = self.stack.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.stack.handle_timeout(self.now);
            let next = self.stack.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now),
                "a timer that fired stays"
            );
            self.events();
            self.stack.retain(&[]);
            self.transmit();
            steps += 1;
            assert!(steps < 50_000, "timers without end");
        }
        self.now = end;
    }

    fn bounds(&mut self) {
        let usage = self.stack.usage();
        let flows = u64::from(self.stack.open_flows());
        assert!(usage.windows <= WINDOW_BUDGET + flows * 65_535, "{usage:?}");
        assert!(
            usage.queued <= SEND_BUDGET + flows * (16_384 + CHUNK_MAX as u64),
            "{usage:?}"
        );
        assert!(usage.held <= usage.windows + flows * 32 * 128, "{usage:?}");
        if let Some(flow) = self.void.last() {
            assert_eq!(self.stack.key(*flow), None);
            assert!(
                self.stack
                    .write(*flow, Bytes::from_static(b"void"))
                    .is_err()
            );
        }
    }

    /// Ends all that is left; then nothing may be.
    fn end(&mut self) {
        self.receive();
        for flow in self.flows.keys().copied().collect::<Vec<_>>() {
            self.abort(flow);
        }
        self.wait(Duration::from_secs(60));
        assert!(self.flows.is_empty());
        assert_eq!(self.stack.usage(), Usage::default());
        let left = (self.stack.open_flows(), self.stack.half_open_flows());
        assert_eq!((left, self.stack.poll_timeout()), ((0, 0), None));
    }
}

/// The byte that the caller sends at an offset.
const fn down(flow: FlowId, at: u32) -> u8 {
    let mixed = flow
        .to_bits()
        .wrapping_add(at as u64)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}
