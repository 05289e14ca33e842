//! What the kernel keeps of a device.
use super::{
    TunSettings,
    wire::{self, Datagram, Heard, Part},
};
use crate::{
    host::Cx,
    net::packet::{Body, Packet},
    rng::StreamId,
    tcp::packet::Numbers,
};
use bytes::BytesMut;
use core::net::{IpAddr, SocketAddr};
use sansbox_core::Instant;
use sansbox_stack::{
    ip,
    vnet::{self, Coalescer, Gso},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Super-packets of one batch.
const SLOTS: usize = 64;
/// Every other connection begins so near to where sequence numbers wrap.
const NEAR_WRAP: u64 = 1 << 16;

/// What has come of a datagram in parts.
#[derive(Debug, Default)]
struct Parts {
    data: BTreeMap<usize, Vec<u8>>,
    /// How long all of them are, once that is known.
    whole_len: Option<usize>,
}

/// The device, and the connections that go through it as far as their numbers matter: those of the
/// world begin at 0, those on the wire anywhere.
#[derive(Debug)]
pub(super) struct Kernel {
    settings: TunSettings,
    mtu: usize,
    owner: usize,
    /// Stream that initial sequence numbers are drawn from.
    stream: StreamId,
    /// By the ends of a client and of whom it talks to.
    numbers: BTreeMap<(SocketAddr, SocketAddr), Numbers>,
    /// Clients that make packets of their own, and get all of them so.
    raw: BTreeSet<IpAddr>,
    /// Parts of datagrams to clients, by their ends and number.
    parts: BTreeMap<(IpAddr, IpAddr, u32), Parts>,
    /// What came and is not told yet.
    pub(super) packets: VecDeque<Vec<u8>>,
    /// What can be read.
    pub(super) frames: VecDeque<Vec<u8>>,
    pub(super) readable_at: Option<Instant>,
}

impl Kernel {
    pub(super) const fn new(
        settings: TunSettings,
        mtu: u16,
        owner: usize,
        stream: StreamId,
    ) -> Self {
        Self {
            settings,
            mtu: mtu as usize,
            owner,
            stream,
            numbers: BTreeMap::new(),
            raw: BTreeSet::new(),
            parts: BTreeMap::new(),
            packets: VecDeque::new(),
            frames: VecDeque::new(),
            readable_at: None,
        }
    }

    /// Queues a packet of the site. An error says why it is lost.
    pub(super) fn take(&mut self, cx: &mut Cx<'_>, packet: &Packet) -> Result<(), &'static str> {
        if self.packets.len() + self.frames.len() >= self.settings.queue_len {
            return Err("the queue of the device is full");
        }
        let ends = (packet.source, packet.destination);
        let made = match &packet.body {
            Body::Raw(bytes) => {
                // Not those in whose name somebody else speaks.
                let ip = packet.source.ip();
                if !self.numbers.keys().any(|(client, _)| client.ip() == ip) {
                    self.raw.insert(ip);
                }
                vec![bytes.to_vec()]
            }
            Body::Tcp(segment) => {
                let stream = self.stream;
                let numbers = self.numbers.entry(ends);
                let numbers = numbers.or_insert_with(|| Numbers::new(first(cx, stream)));
                vec![numbers.arrive(segment, ends.0, ends.1)]
            }
            Body::Udp(data) => wire::datagram(ends, data, self.mtu, packet.id.0 as u32),
            Body::Icmp(icmp) => wire::error(ends, icmp).into_iter().collect(),
        };
        if made.iter().any(Vec::is_empty) {
            return Err("a packet of no bytes, which a kernel does not have");
        }
        if made.iter().any(|bytes| bytes.len() > self.mtu) {
            return Err("longer than the device's MTU");
        }
        self.packets.extend(made);
        if self.readable_at.is_none() {
            self.readable_at = Some(cx.now() + self.settings.lag);
        }
        Ok(())
    }

    /// Makes frames of what came, once it is time; then the owner is told.
    pub(super) fn poll(&mut self, now: Instant) -> Option<usize> {
        self.readable_at.filter(|at| *at <= now)?;
        self.readable_at = None;
        if !self.settings.offload {
            self.frames.append(&mut self.packets);
            return Some(self.owner);
        }
        let mut joined = Coalescer::new(SLOTS, false);
        while !self.packets.is_empty() {
            while let Some(packet) = self.packets.front()
                && joined.push(packet, ip::Checksum::Verify).is_ok()
            {
                self.packets.pop_front();
            }
            for (header, packet) in joined.packets() {
                self.frames.push_back([&header.emit()[..], packet].concat());
            }
            joined.clear();
        }
        Some(self.owner)
    }

    /// Takes a frame that the process wrote. An error says what is wrong with it.
    pub(super) fn write(&mut self, cx: &mut Cx<'_>, frame: &[u8]) -> Result<(), String> {
        let (header, packet) = match self.settings.offload {
            true => vnet::Header::parse(frame).map_err(|why| format!("{why:?}"))?,
            false => (vnet::Header::default(), frame),
        };
        let ip = ip::Header::parse(packet).map_err(|why| format!("{why:?}"))?;
        if ip.total_len != packet.len() || ip.hop_limit == 0 {
            return Err("its length or hop limit is wrong".into());
        }
        if header.gso != Gso::None {
            let is_open =
                header.needs_checksum && usize::from(header.checksum_start) == ip.payload_at;
            let longest = usize::from(header.header_len) + usize::from(header.segment_size);
            if !is_open || longest > self.mtu {
                return Err(format!("a bad super-packet: {header:?}"));
            }
            cx.mark("super-packet written");
        }
        let mut segments = vnet::split(packet, &ip, &header).map_err(|why| format!("{why:?}"))?;
        let mut bytes = BytesMut::new();
        while segments.next_into(&mut bytes).is_some() {
            if bytes.len() > self.mtu {
                return Err(format!("{} bytes are longer than the MTU", bytes.len()));
            }
            self.deliver(cx, &bytes)?;
            bytes.clear();
        }
        Ok(())
    }

    /// A packet as a wire carries it goes into the site.
    fn deliver(&mut self, cx: &mut Cx<'_>, packet: &[u8]) -> Result<(), String> {
        let heard = wire::hear(packet)?;
        let (source, destination) = heard.ends();
        let raw = |ends: (SocketAddr, SocketAddr)| {
            let ends = [ends.0, ends.1].map(|end| SocketAddr::new(end.ip(), 0));
            (ends[0], ends[1], Body::Raw(BytesMut::from(packet)))
        };
        let is_raw = self.raw.contains(&destination.ip());
        let (source, destination, body) = match heard {
            _ if is_raw => raw((source, destination)),
            Heard::Tcp(..) => match self.numbers.get_mut(&(destination, source)) {
                Some(numbers) => {
                    let segment = numbers.leave(packet).ok_or("a bad TCP segment")?;
                    (source, destination, Body::Tcp(segment))
                }
                None => return Err("a segment that nobody asked for".into()),
            },
            Heard::Udp(_, data) => (source, destination, Body::Udp(BytesMut::from(data))),
            Heard::Error(_, icmp, name) => {
                cx.mark(name);
                (source, destination, Body::Icmp(icmp))
            }
            Heard::Fragment(ends, part) => match self.put_together(ends, part)? {
                Some((ends, data)) => (ends.0, ends.1, Body::Udp(data)),
                None => return Ok(()),
            },
            Heard::Other(_) => raw((source, destination)),
        };
        cx.send_packet(source, destination, body);
        Ok(())
    }
}

impl Kernel {
    /// Adds a part of a datagram; gives all of it when it is the last that was missing.
    fn put_together(
        &mut self,
        ends: (SocketAddr, SocketAddr),
        part: Part<'_>,
    ) -> Result<Option<Datagram>, String> {
        let key = (ends.0.ip(), ends.1.ip(), part.id);
        let parts = self.parts.entry(key).or_default();
        parts.data.insert(part.offset, part.data.to_vec());
        if part.is_last {
            parts.whole_len = Some(part.offset + part.data.len());
        }
        let len: usize = parts.data.values().map(Vec::len).sum();
        if parts.whole_len != Some(len) {
            return Ok(None);
        }
        let parts = self.parts.remove(&key).unwrap_or_default();
        wire::join(ends, &parts.data).map(Some)
    }
}

/// An initial sequence number: anywhere, and often where numbers wrap soon.
fn first(cx: &mut Cx<'_>, stream: StreamId) -> u32 {
    let streams = cx.streams();
    match streams.below(stream, 2) {
        0 => streams.below(stream, 1 << 32) as u32,
        _ => 0_u32.wrapping_sub(streams.below(stream, NEAR_WRAP) as u32),
    }
}
