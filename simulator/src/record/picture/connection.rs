//! One recorded machine: its sockets, and what the records say crossed on them.
use super::ink::{Far, Ink, Moment, OURS};
use crate::{
    host::HostId,
    net::packet::Flags,
    record::{Event, EventKind, Verdict, replay},
    transcript::{Carries, Head, Tag},
};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use sansbox_core::{End, Instant};
use sansbox_engine::{
    ids::{ActionId, Slot},
    machine::{self, Action},
};
use sansbox_flight::{
    Track,
    wire::{Answer, Asked, Entry, MachineKind},
};
use std::collections::BTreeMap;

/// Stand for addresses that were not recorded (RFC 5737): ours, a client's, an upstream's.
const PLACEHOLDERS: [Ipv4Addr; 3] = [
    Ipv4Addr::new(192, 0, 2, 1),
    Ipv4Addr::new(192, 0, 2, 2),
    Ipv4Addr::new(192, 0, 2, 3),
];

const FIN: Flags = Flags {
    fin: true,
    ..Flags::ACK
};
const RST: Flags = Flags {
    ack: true,
    ..Flags::RST
};

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    In,
    Out,
}

/// Payload: what it is, or how long it was.
#[derive(Clone, Copy, Debug)]
enum Load<'a> {
    Bytes(&'a [u8]),
    Unkept(u64),
}

/// A socket of the machine.
#[derive(Clone, Copy, Debug)]
struct Socket {
    number: u64,
    near: SocketAddr,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Stream(Stream),
    /// Whether clients are at the other end.
    Datagrams(bool),
}

#[derive(Clone, Copy, Debug)]
struct Stream {
    lane: HostId,
    far: SocketAddr,
    /// Offsets behind what came in and went out; a FIN counts as one.
    offsets: [u64; 2],
    /// Which directions have ended.
    ended: [bool; 2],
}

/// What an answer is awaited for.
#[derive(Clone, Debug)]
enum Wanted {
    Name(String),
    Dial(Slot, Option<SocketAddr>, Moment),
    Bind(Slot, bool),
}

/// One connection while it is drawn.
#[derive(Debug)]
pub struct Connection<'p> {
    pub(super) ink: &'p mut Ink,
    number: u64,
    names: BTreeMap<IpAddr, String>,
    wanted: BTreeMap<ActionId, Wanted>,
    sockets: BTreeMap<Slot, Socket>,
    /// Slots in passthrough, and where their bytes go.
    relays: BTreeMap<Slot, Slot>,
    has_begun: bool,
    /// Are events of a replay drawn, and not records alone?
    is_replayed: bool,
    /// Octets in front of each frame of a device.
    pub(super) front: usize,
}

impl<'p> Connection<'p> {
    pub(super) fn new(ink: &'p mut Ink, number: u64, track: &Track<'_>) -> Self {
        let mut new = Self {
            ink,
            number,
            names: BTreeMap::new(),
            wanted: BTreeMap::new(),
            sockets: BTreeMap::new(),
            relays: BTreeMap::new(),
            has_begun: false,
            is_replayed: false,
            front: 0,
        };
        new.begin(track);
        new
    }

    fn begin(&mut self, track: &Track<'_>) {
        let first = track.entries.first().map(|(at, _)| *at);
        let at = track.begin.as_ref().map(|(at, _)| *at).or(first);
        let begin = track.begin.as_ref().map(|(_, begin)| begin);
        let at = at.unwrap_or_default();
        if let Some(MachineKind::Device(facts)) = begin.map(|begin| begin.kind) {
            self.begin_device(at, facts);
            return;
        }
        let peer = begin.and_then(|b| b.content.as_ref()).map(|c| c.peer);
        let [_, client, _] = PLACEHOLDERS;
        let far = peer.map_or_else(|| self.placeholder(client), |peer| peer.remote);
        let near = peer.map_or_else(|| self.placeholder_near(Slot::CLIENT), |peer| peer.local);
        self.ink.owns(OURS, near.ip());
        let lane = self.ink.lane(Far::Client(far.ip()), None);
        let number = self.ink.socket();
        let is_stream = begin.is_none_or(|begin| begin.kind == MachineKind::Session);
        let kind = if is_stream {
            Kind::Stream(Stream::new(lane, far))
        } else {
            Kind::Datagrams(true)
        };
        let socket = Socket { number, near, kind };
        self.sockets.insert(Slot::CLIENT, socket);
        match begin {
            Some(begin) if is_stream => {
                let (there, back) = (self.ink.moment(at), self.ink.moment(at));
                self.handshake(Slot::CLIENT, Way::In, [there, back]);
                let who = format!("{far}, {} in the log", begin.log_id);
                self.note(at, Tag::MachineBorn, who.as_bytes());
            }
            Some(begin) => {
                let who = format!("{far}, {} in the log", begin.log_id);
                self.note(at, Tag::MachineBorn, who.as_bytes());
            }
            None => self.note(at, Tag::MachineBorn, b"its beginning was dropped"),
        }
    }

    /// Draws what happens in a replay.
    pub fn event(&mut self, event: &Event<'_>) {
        self.is_replayed = true;
        match &event.kind {
            EventKind::Input(entry) => self.record(event.at, entry),
            EventKind::Action(action) => self.action(event.at, action),
            EventKind::Sent(slot, segments) => {
                let bytes = segments.concat();
                let number = self.sockets.get(slot).map_or(0, |socket| socket.number);
                self.ink.note(event.at, (Tag::Written, number), &bytes);
                let load = Load::Bytes(&bytes);
                self.segment(event.at, *slot, Way::Out, (Flags::ACK, load));
            }
            EventKind::Told(told) => {
                self.note(event.at, Tag::Action, format!("{told:?}").as_bytes());
            }
            EventKind::Packet(packet) => self.device_packet(event.at, Way::Out, packet),
            EventKind::Received(stream, segments) => {
                let len: usize = segments.iter().map(|segment| segment.len()).sum();
                let text = format!("{len} bytes for the session of stream {:#x}", stream.0);
                self.note(event.at, Tag::Action, text.as_bytes());
            }
        }
    }

    /// Draws what follows a replay, whose events were all drawn: sizes, where a recording keeps no
    /// more than them from some point on, and the end, unless the replay went another way.
    pub fn finish(mut self, track: &Track<'_>, verdict: Option<&Verdict>) {
        match verdict {
            Some(Verdict::Identical(_)) => self.ended(track),
            Some(Verdict::IdenticalUntilCut(_)) => {
                self.is_replayed = false;
                let is_before = |(_, entry): &&(Instant, Entry<'_>)| !matches!(entry, Entry::Cut);
                for (at, entry) in track.entries.iter().skip_while(is_before) {
                    self.record(*at, entry);
                }
                self.ended(track);
            }
            Some(Verdict::Partial | Verdict::NoContent | Verdict::Diverged(_)) | None => {}
        }
    }

    /// Draws the end, where it was recorded.
    pub(super) fn ended(mut self, track: &Track<'_>) {
        let Some((at, entry)) = track.entries.last() else {
            return;
        };
        if let Entry::End {
            closed,
            bytes_up,
            bytes_down,
            ..
        } = entry
        {
            let why = closed.map_or("dropped while it ran", |closed| closed.reason());
            let text = format!("{why}; {bytes_up} bytes up, {bytes_down} down");
            self.note(*at, Tag::Finished, text.as_bytes());
        }
    }

    /// Draws one record.
    pub(super) fn record(&mut self, at: Instant, entry: &Entry<'_>) {
        match entry {
            Entry::Tick if self.has_begun => self.note(at, Tag::TimerFired, b""),
            Entry::Received { slot, len, bytes } => {
                let load = bytes.map_or(Load::Unkept(*len), Load::Bytes);
                self.segment(at, *slot, Way::In, (Flags::ACK, load));
                if let Some(bytes) = bytes {
                    let number = self.sockets.get(slot).map_or(0, |socket| socket.number);
                    self.ink.note(at, (Tag::Read, number), bytes);
                }
            }
            // A replay tells the bytes apart.
            Entry::Drained(slot, n) if !self.is_replayed => {
                self.segment(at, *slot, Way::Out, (Flags::ACK, Load::Unkept(*n)));
            }
            Entry::Ended(slot, end) => {
                let is_reset = *end == End::Reset;
                self.end(at, *slot, Way::In, if is_reset { RST } else { FIN });
                if let (Some(to), false) = (self.relays.get(slot).copied(), is_reset) {
                    self.end(at, to, Way::Out, FIN);
                }
                self.told(at, entry);
            }
            Entry::Datagram { slot, len, content } => {
                let far = content.map(|(from, _)| from);
                let load = content.map_or(Load::Unkept(*len), |(_, bytes)| Load::Bytes(bytes));
                self.datagram(at, *slot, (Way::In, far), load);
            }
            Entry::Done(id, answer) => {
                self.done(at, *id, answer);
                self.told(at, entry);
            }
            Entry::Relayed(slot, n) => {
                let load = Load::Unkept(*n);
                self.segment(at, *slot, Way::In, (Flags::ACK, load));
                if let Some(to) = self.relays.get(slot).copied() {
                    self.segment(at, to, Way::Out, (Flags::ACK, load));
                }
                self.told(at, entry);
            }
            Entry::DatagramError(..) | Entry::Stop => self.told(at, entry),
            Entry::Cut => self.note(at, Tag::Input, b"from here on only sizes were recorded"),
            Entry::Asked(asked) => self.asked(at, *asked),
            Entry::Device(entry) => self.device_record(at, *entry),
            Entry::Tick
            | Entry::Drained(..)
            | Entry::Begin(_)
            | Entry::Produced { .. }
            | Entry::End { .. } => {}
        }
        self.has_begun = true;
    }

    pub(super) fn note(&mut self, at: Instant, tag: Tag, text: &[u8]) {
        self.ink.note(at, (tag, self.number), text);
    }

    /// An input as the machine sees it; as it was recorded, where that has no content.
    fn told(&mut self, at: Instant, entry: &Entry<'_>) {
        let input = replay::input(entry);
        let text = input.map_or_else(|| format!("{entry:?}"), |input| format!("{input:?}"));
        self.note(at, Tag::Input, text.as_bytes());
    }

    fn action(&mut self, at: Instant, action: &Action) {
        self.note(at, Tag::Action, replay::name(action).as_bytes());
        match action {
            Action::Resolve { id, name, .. } => {
                let name = name.as_str().to_owned();
                self.wanted.insert(*id, Wanted::Name(name));
            }
            Action::Dial { id, slot, to, .. } => {
                let moment = self.ink.moment(at);
                let dial = Wanted::Dial(*slot, Some(*to), moment);
                self.wanted.insert(*id, dial);
            }
            Action::OpenStream {
                id, slot, wanted, ..
            } => {
                let moment = self.ink.moment(at);
                let to = match wanted {
                    machine::Wanted::Connection(target) => target.socket_addr(),
                    machine::Wanted::Datagrams => None,
                };
                let dial = Wanted::Dial(*slot, to, moment);
                self.wanted.insert(*id, dial);
            }
            Action::Bind {
                id, slot, outbound, ..
            } => {
                let bind = Wanted::Bind(*slot, outbound.is_none());
                self.wanted.insert(*id, bind);
            }
            Action::Cancel(id) => {
                self.wanted.remove(id);
            }
            Action::Send { slot, to, data } => {
                self.datagram(at, *slot, (Way::Out, Some(*to)), Load::Bytes(data));
            }
            Action::Close(slot, end) => self.close(at, *slot, *end),
            Action::Passthrough(a, b) => self.relays.extend([(*a, *b), (*b, *a)]),
            Action::DatagramError { .. } | Action::Log(_) | Action::Answer(_) => {}
        }
    }

    /// An action of which only the kind was recorded.
    fn asked(&mut self, at: Instant, asked: Asked) {
        self.note(at, Tag::Action, format!("{asked:?}").as_bytes());
        match asked {
            Asked::Resolve(_) => {}
            Asked::Dial(id, slot) | Asked::OpenStream(id, slot) => {
                let moment = self.ink.moment(at);
                self.wanted.insert(id, Wanted::Dial(slot, None, moment));
            }
            Asked::Bind(id, slot) => {
                self.wanted.insert(id, Wanted::Bind(slot, false));
            }
            Asked::Cancel(id) => {
                self.wanted.remove(&id);
            }
            Asked::Close(slot, end) => self.close(at, slot, end),
            Asked::Passthrough(a, b) => self.relays.extend([(a, b), (b, a)]),
        }
    }

    fn done(&mut self, at: Instant, id: ActionId, answer: &Answer<'_>) {
        match (self.wanted.remove(&id), answer) {
            (Some(Wanted::Name(name)), Answer::Resolved(_, Some(all))) => {
                let all = all.iter().map(|ip| (*ip, name.clone()));
                self.names.extend(all);
            }
            (Some(Wanted::Dial(slot, to, begun)), Answer::Connected(local)) => {
                let [_, _, upstream] = PLACEHOLDERS;
                let far = to.unwrap_or_else(|| self.placeholder(upstream));
                let near = local.unwrap_or_else(|| self.placeholder_near(slot));
                let name = self.names.get(&far.ip()).map(String::as_str);
                let lane = self.ink.lane(Far::Upstream(far), name);
                let kind = Kind::Stream(Stream::new(lane, far));
                self.live(slot, near, kind);
                let connected = self.ink.moment(at);
                self.handshake(slot, Way::Out, [begun, connected]);
            }
            (Some(Wanted::Bind(slot, faces_client)), Answer::Bound(local)) => {
                let near = local.unwrap_or_else(|| self.placeholder_near(slot));
                self.live(slot, near, Kind::Datagrams(faces_client));
            }
            // What failed has no socket, and what is not wanted does not matter.
            (Some(Wanted::Name(_) | Wanted::Dial(..) | Wanted::Bind(..)) | None, _) => {}
        }
    }

    fn live(&mut self, slot: Slot, near: SocketAddr, kind: Kind) {
        self.ink.owns(OURS, near.ip());
        let number = self.ink.socket();
        self.sockets.insert(slot, Socket { number, near, kind });
    }

    fn close(&mut self, at: Instant, slot: Slot, end: End) {
        let flags = if end == End::Reset { RST } else { FIN };
        self.end(at, slot, Way::Out, flags);
        self.sockets.remove(&slot);
        self.relays.remove(&slot);
    }

    /// The address of somebody whose address was not recorded.
    fn placeholder(&self, ip: Ipv4Addr) -> SocketAddr {
        SocketAddr::from((ip, port(self.number)))
    }

    /// Our end of a socket whose address was not recorded.
    fn placeholder_near(&self, slot: Slot) -> SocketAddr {
        let [ours, ..] = PLACEHOLDERS;
        SocketAddr::from((ours, port(u64::from(slot.0) + 1)))
    }

    fn handshake(&mut self, slot: Slot, dialled: Way, [there, back]: [Moment; 2]) {
        let answered = match dialled {
            Way::In => Way::Out,
            Way::Out => Way::In,
        };
        self.put(there, slot, dialled, (Flags::SYN, Load::Bytes(&[])));
        self.put(back, slot, answered, (Flags::SYN_ACK, Load::Bytes(&[])));
    }

    /// A direction ends, unless it has ended before.
    fn end(&mut self, at: Instant, slot: Slot, way: Way, flags: Flags) {
        if let Some(Kind::Stream(stream)) = self.sockets.get_mut(&slot).map(|s| &mut s.kind) {
            let [inward, outward] = &mut stream.ended;
            let ended = match way {
                Way::In => inward,
                Way::Out => outward,
            };
            if core::mem::replace(ended, true) && !flags.rst {
                return;
            }
            self.segment(at, slot, way, (flags, Load::Bytes(&[])));
        }
    }

    fn segment(&mut self, at: Instant, slot: Slot, way: Way, what: (Flags, Load<'_>)) {
        let moment = self.ink.moment(at);
        self.put(moment, slot, way, what);
    }

    /// A segment of a slot's connection.
    fn put(&mut self, moment: Moment, slot: Slot, way: Way, (flags, load): (Flags, Load<'_>)) {
        let Some(socket) = self.sockets.get_mut(&slot) else {
            return;
        };
        let Kind::Stream(stream) = &mut socket.kind else {
            return;
        };
        let [inward, outward] = &mut stream.offsets;
        let (own, other) = match way {
            Way::In => (inward, outward),
            Way::Out => (outward, inward),
        };
        let (offset, ack) = (*own, if flags.ack { *other } else { 0 });
        let (payload, unkept) = load.parts();
        *own += payload.len() as u64 + unkept + u64::from(flags.fin);
        let carries = Carries::Tcp { flags, offset, ack };
        let (lane, far, near) = (stream.lane, stream.far, socket.near);
        self.packet(moment, (way, lane), [near, far], (carries, load));
    }

    fn datagram(
        &mut self,
        at: Instant,
        slot: Slot,
        (way, far): (Way, Option<SocketAddr>),
        load: Load<'_>,
    ) {
        let Some(Socket { near, kind, .. }) = self.sockets.get(&slot).copied() else {
            return;
        };
        let Kind::Datagrams(faces_client) = kind else {
            return;
        };
        let [_, client, upstream] = PLACEHOLDERS;
        let unknown = if faces_client { client } else { upstream };
        let far = far.unwrap_or_else(|| self.placeholder(unknown));
        let name = self.names.get(&far.ip()).map(String::as_str);
        let lane = if faces_client {
            self.ink.lane(Far::Client(far.ip()), None)
        } else {
            self.ink.lane(Far::Upstream(far), name)
        };
        let moment = self.ink.moment(at);
        self.packet(moment, (way, lane), [near, far], (Carries::Udp, load));
    }

    fn packet(
        &mut self,
        moment: Moment,
        (way, lane): (Way, HostId),
        [near, far]: [SocketAddr; 2],
        (carries, load): (Carries, Load<'_>),
    ) {
        let (source, destination, lanes) = match way {
            Way::In => (far, near, (lane, OURS)),
            Way::Out => (near, far, (OURS, lane)),
        };
        let (payload, unkept) = load.parts();
        let head = Head {
            source,
            destination,
            carries,
            unkept,
        };
        self.ink.packet(moment, lanes, head, payload);
    }
}

impl Stream {
    const fn new(lane: HostId, far: SocketAddr) -> Self {
        Self {
            lane,
            far,
            offsets: [0; 2],
            ended: [false; 2],
        }
    }
}

impl<'a> Load<'a> {
    const fn parts(self) -> (&'a [u8], u64) {
        match self {
            Self::Bytes(bytes) => (bytes, 0),
            Self::Unkept(len) => (&[], len),
        }
    }
}

/// A port for a number; none is 0.
fn port(number: u64) -> u16 {
    u16::try_from(number % u64::from(u16::MAX))
        .unwrap_or_default()
        .max(1)
}
