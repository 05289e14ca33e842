//! A client made by hand: segments as values, one at a time.
use std::net::SocketAddr;

use sansbox_core::{Instant, Seed};
use sansbox_stack::{
    Checksum, Config, Event, FlowId, RxPacket, Stack, TxBatch, TxPacket, Verified,
};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, TcpControl, TcpPacket,
    TcpRepr, TcpSeqNumber,
};

pub const MS: u64 = 1_000_000;

pub fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * MS)
}

/// A segment that the stack sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub to: SocketAddr,
    pub from: SocketAddr,
    /// `S`, `F`, `R`, `P`, `A`, in this order.
    pub flags: String,
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    pub payload: Vec<u8>,
    pub mss: Option<u16>,
    pub shift: Option<u8>,
    pub sack_ok: bool,
    pub sacks: Vec<(u32, u32)>,
    pub segment_size: u16,
}

/// A stack and what it said.
pub struct Bench {
    pub stack: Stack,
    pub now: u64,
    pub events: Vec<Event>,
}

impl Bench {
    pub fn new(config: Config) -> Self {
        Self {
            stack: Stack::new(config, Seed::from_u64(7)),
            now: 1,
            events: Vec::new(),
        }
    }

    pub fn now(&self) -> Instant {
        at(self.now)
    }

    /// Gives a batch; what the caller does not take is retained. The events are returned.
    pub fn give(&mut self, packets: &[Vec<u8>]) -> Vec<Event> {
        let packets: Vec<RxPacket<'_>> = packets.iter().map(|data| RxPacket::new(data)).collect();
        self.stack.recv_batch(self.now(), &packets);
        let events: Vec<Event> = std::iter::from_fn(|| self.stack.poll_event()).collect();
        self.stack.retain(&packets);
        self.events.extend(&events);
        events
    }

    /// All packets that the stack sends now.
    pub fn packets(&mut self) -> Vec<TxPacket> {
        let mut batch = TxBatch::new(64);
        let mut all = Vec::new();
        while self.stack.poll_transmit(self.now(), &mut batch) {
            all.extend_from_slice(batch.packets());
            batch.clear();
        }
        all
    }

    /// All segments that the stack sends now.
    pub fn sent(&mut self) -> Vec<Seen> {
        self.packets().iter().map(read).collect()
    }

    /// A batch, and what comes back at once.
    pub fn say(&mut self, packets: &[Vec<u8>]) -> Vec<Seen> {
        self.give(packets);
        self.sent()
    }

    /// Time passes until `ms`, in the steps that the stack asks for; what it sent meanwhile, with
    /// the time.
    pub fn wait_until(&mut self, ms: u64) -> Vec<(u64, Seen)> {
        let mut all = Vec::new();
        let mut steps = 0;
        while let Some(next) = self.stack.poll_timeout() {
            let next = next.as_nanos().div_ceil(MS);
            if next > ms {
                break;
            }
            steps += 1;
            assert!(steps < 100_000, "timers that fire for ever");
            self.now = next.max(self.now);
            self.stack.handle_timeout(self.now());
            self.events
                .extend(std::iter::from_fn(|| self.stack.poll_event()));
            let now = self.now;
            all.extend(self.sent().into_iter().map(|seen| (now, seen)));
        }
        self.now = ms;
        self.stack.handle_timeout(self.now());
        self.events
            .extend(std::iter::from_fn(|| self.stack.poll_event()));
        all
    }

    /// Takes all that can be read of a flow.
    pub fn read(&mut self, flow: FlowId) -> Vec<u8> {
        let mut all = Vec::new();
        for piece in self.stack.pieces(flow) {
            all.extend_from_slice(piece.bytes(&[]));
        }
        self.stack.consumed(self.now(), flow, all.len());
        self.events
            .extend(std::iter::from_fn(|| self.stack.poll_event()));
        all
    }

    pub fn write(&mut self, flow: FlowId, bytes: &[u8]) -> bool {
        let chunk = bytes::Bytes::copy_from_slice(bytes);
        self.stack.write(flow, chunk).is_ok()
    }
}

/// One end of one connection, which knows where both directions stand.
#[derive(Clone, Debug)]
pub struct Peer {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub seq: u32,
    pub ack: u32,
    pub window: u16,
    pub mss: Option<u16>,
    pub shift: Option<u8>,
    pub sack: bool,
}

impl Peer {
    pub fn new(source: &str, destination: &str) -> Self {
        Self {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            seq: 1000,
            ack: 0,
            window: 65_535,
            mss: Some(1000),
            shift: Some(0),
            sack: true,
        }
    }

    pub fn v4() -> Self {
        Self::new("10.0.0.2:4000", "192.0.2.9:80")
    }

    pub fn syn(&self) -> Vec<u8> {
        let mut repr = self.repr("S", self.seq.wrapping_sub(1), 0, &[]);
        repr.max_seg_size = self.mss;
        repr.window_scale = self.shift;
        repr.sack_permitted = self.sack;
        self.packet(&repr)
    }

    /// A segment with these flags where this end stands.
    pub fn segment(&self, flags: &str, payload: &[u8]) -> Vec<u8> {
        self.packet(&self.repr(flags, self.seq, self.ack, payload))
    }

    pub fn segment_at(&self, flags: &str, seq: u32, ack: u32, payload: &[u8]) -> Vec<u8> {
        self.packet(&self.repr(flags, seq, ack, payload))
    }

    /// An acknowledgement with ranges.
    pub fn sack(&self, ack: u32, ranges: &[(u32, u32)]) -> Vec<u8> {
        let mut repr = self.repr("A", self.seq, ack, &[]);
        for (to, from) in repr.sack_ranges.iter_mut().zip(ranges) {
            *to = Some(*from);
        }
        self.packet(&repr)
    }

    fn repr<'a>(&self, flags: &str, seq: u32, ack: u32, payload: &'a [u8]) -> TcpRepr<'a> {
        let control = match flags.trim_end_matches('A') {
            "S" => TcpControl::Syn,
            "F" => TcpControl::Fin,
            "R" => TcpControl::Rst,
            "P" => TcpControl::Psh,
            _ => TcpControl::None,
        };
        TcpRepr {
            src_port: self.source.port(),
            dst_port: self.destination.port(),
            control,
            seq_number: TcpSeqNumber(seq.cast_signed()),
            ack_number: flags
                .ends_with('A')
                .then_some(TcpSeqNumber(ack.cast_signed())),
            window_len: self.window,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload,
        }
    }

    pub fn packet(&self, repr: &TcpRepr<'_>) -> Vec<u8> {
        let len = repr.buffer_len();
        let checksums = ChecksumCapabilities::default();
        let ends: (IpAddress, IpAddress) = (self.source.ip().into(), self.destination.ip().into());
        let (mut bytes, head) = match ends {
            (IpAddress::Ipv4(src_addr), IpAddress::Ipv4(dst_addr)) => {
                let mut bytes = vec![0; 20 + len];
                let ip = Ipv4Repr {
                    src_addr,
                    dst_addr,
                    next_header: IpProtocol::Tcp,
                    payload_len: len,
                    hop_limit: 64,
                };
                ip.emit(&mut Ipv4Packet::new_unchecked(&mut bytes), &checksums);
                (bytes, 20)
            }
            (IpAddress::Ipv6(src_addr), IpAddress::Ipv6(dst_addr)) => {
                let mut bytes = vec![0; 40 + len];
                let ip = Ipv6Repr {
                    src_addr,
                    dst_addr,
                    next_header: IpProtocol::Tcp,
                    payload_len: len,
                    hop_limit: 64,
                };
                ip.emit(&mut Ipv6Packet::new_unchecked(&mut bytes));
                (bytes, 40)
            }
            _ => panic!("two families"),
        };
        let mut tcp = TcpPacket::new_unchecked(&mut bytes[head..]);
        repr.emit(&mut tcp, &ends.0, &ends.1, &checksums);
        bytes
    }

    /// SYN, and the SYN-ACK that comes back; this end then stands behind both.
    pub fn begin(&mut self, bench: &mut Bench) -> Seen {
        let sent = bench.say(&[self.syn()]);
        let answer = sent.last().expect("a SYN-ACK").clone();
        assert_eq!(answer.flags, "SA");
        self.ack = answer.seq.wrapping_add(1);
        answer
    }

    /// The whole handshake with a stack that answers at once.
    pub fn connect(&mut self, bench: &mut Bench) -> FlowId {
        self.begin(bench);
        let events = bench.give(&[self.segment("A", &[])]);
        bench.sent();
        match events[..] {
            [Event::Open { flow, .. }] => flow,
            _ => panic!("{events:?}"),
        }
    }
}

/// Reads a packet of the stack, and checks all that can be checked about it.
pub fn read(packet: &TxPacket) -> Seen {
    let mut bytes = Vec::new();
    packet.copy_to(&mut bytes);
    assert_eq!(bytes.len(), packet.len());
    let (from, to, head): (IpAddress, IpAddress, usize) = if bytes[0] >> 4 == 4 {
        let ip = Ipv4Packet::new_checked(&bytes[..]).unwrap();
        assert!(ip.verify_checksum() && ip.dont_frag());
        assert_eq!(usize::from(ip.total_len()), bytes.len());
        (ip.src_addr().into(), ip.dst_addr().into(), 20)
    } else {
        let ip = Ipv6Packet::new_checked(&bytes[..]).unwrap();
        assert_eq!(ip.total_len(), bytes.len());
        (ip.src_addr().into(), ip.dst_addr().into(), 40)
    };
    let tcp = TcpPacket::new_checked(&bytes[head..]).unwrap();
    match packet.checksum() {
        Checksum::Full => assert!(tcp.verify_checksum(&from, &to), "a wrong checksum"),
        Checksum::Partial { start, offset } => {
            assert_eq!((usize::from(start), offset), (head, 16));
            assert!(tcp.verify_partial_checksum(&from, &to), "a wrong sum");
        }
    }
    let repr = TcpRepr::parse(&tcp, &from, &to, &ChecksumCapabilities::ignored()).unwrap();
    let mut flags = String::new();
    for (set, name) in [
        (tcp.syn(), 'S'),
        (tcp.fin(), 'F'),
        (tcp.rst(), 'R'),
        (tcp.psh(), 'P'),
        (tcp.ack(), 'A'),
    ] {
        if set {
            flags.push(name);
        }
    }
    Seen {
        to: SocketAddr::new(to.into(), tcp.dst_port()),
        from: SocketAddr::new(from.into(), tcp.src_port()),
        flags,
        seq: tcp.seq_number().0.cast_unsigned(),
        ack: tcp.ack_number().0.cast_unsigned(),
        window: tcp.window_len(),
        payload: repr.payload.to_vec(),
        mss: repr.max_seg_size,
        shift: repr.window_scale,
        sack_ok: repr.sack_permitted,
        sacks: repr.sack_ranges.iter().flatten().copied().collect(),
        segment_size: packet.segment_size(),
    }
}

/// A packet whose checksums the device vouches for.
pub fn trusted(data: &[u8]) -> RxPacket<'_> {
    RxPacket {
        data,
        verified: Verified::Trusted,
        segment_size: 0,
    }
}
