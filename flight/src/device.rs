//! The carrier of a TUN device whose inputs are written down before it sees them.
use crate::{
    file::Mode,
    outputs::{Levels, behind},
    tap::{Origin, Tape},
    whole::Whole,
    wire::{DeviceEntry, Entry, MachineKind, Way},
};
use bytes::BytesMut;
use core::{
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use sansbox_core::{End, Instant, Pipe, Progress, Refusal, Seed};
use sansbox_engine::{
    Peer,
    carrier::{
        Carrier, EchoAnswer, Event, Path, Stream, StreamLimits, Transmit,
        tun::{Device, Settings},
    },
    ids::InboundId,
    machine::{Undelivered, Wanted},
    record::CloseReason,
};
use sansbox_stack::{Interface, TxBatch};
use std::collections::BTreeMap;

impl Origin {
    /// The carrier of a device, or of one of its queues, which serves an inbound.
    #[must_use]
    pub fn of_device(inbound: InboundId, device: Device, seed: Seed, now: Instant) -> Self {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            kind: MachineKind::Device(device),
            inbound,
            peer: Peer {
                remote: nobody,
                local: nobody,
            },
            seed,
            target: None,
            now,
        }
    }
}

/// A carrier of a device whose inputs are written down, and whose outputs are hashed where a replay
/// can have them.
///
/// Its packets and answers are inputs, and so is what a session did to the pipes of a stream since
/// their last exchange. Not written down is what such a carrier has no use for: the wall clock,
/// lookups, sockets, and streams that are asked of it. A pipe is expected to have the limits that
/// [`Carrier::stream_limits`] says, and to be written to a segment at a time.
pub struct TappedDevice<T: Tape> {
    machine: Box<dyn Carrier>,
    tape: T,
    number: u64,
    last: Instant,
    /// With content; `None`: sizes only.
    whole: Option<Box<Whole>>,
    /// How the last exchange left the pipes of each stream. Only with content.
    streams: BTreeMap<Stream, Pipes>,
    /// Bytes of payload to sessions, and from them.
    moved: [u64; 2],
    /// Were not all events polled?
    has_events: bool,
    is_closed: bool,
}

/// Both pipes of a stream.
#[derive(Clone, Copy, Debug)]
struct Pipes {
    levels: Levels,
    /// Of the way to the session, and of the other.
    ends: [End; 2],
}

impl Pipes {
    /// Before the first exchange.
    const NEW: Self = Self {
        levels: Levels {
            received: 0,
            to_send: 0,
        },
        ends: [End::Open; 2],
    };

    const fn of(received: &Pipe, to_send: &Pipe) -> Self {
        Self {
            levels: Levels::of(received, to_send),
            ends: [received.end(), to_send.end()],
        }
    }
}

impl<T: Tape> fmt::Debug for TappedDevice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TappedDevice")
            .field("machine", &self.machine)
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl<T: Tape> TappedDevice<T> {
    /// Wraps a carrier that was just made from `origin`: see [`Origin::of_device`].
    pub fn new(machine: Box<dyn Carrier>, tape: T, mode: Mode, origin: Origin) -> Self {
        let (number, now) = (tape.next_number(), origin.now);
        // A device has no lines in the log.
        tape.write(now, number, &Entry::Begin(origin.begin(0, mode)));
        Self {
            machine,
            tape,
            number,
            last: now,
            whole: Whole::of(mode),
            streams: BTreeMap::new(),
            moved: [0; 2],
            has_events: false,
            is_closed: false,
        }
    }

    fn write(&self, entry: &Entry<'_>) {
        self.tape.write(self.last, self.number, entry);
    }

    fn tell(&self, entry: DeviceEntry<'_>) {
        self.write(&Entry::Device(entry));
    }

    /// A call comes, with so many bytes of input. Is its content to be kept?
    fn begin(&mut self, now: Instant, bytes: usize) -> bool {
        self.last = now;
        self.has_events = true;
        let Some(whole) = &mut self.whole else {
            return false;
        };
        if whole.spend(bytes) {
            return true;
        }
        self.cut();
        false
    }

    /// What comes from here on is not recorded as a whole.
    fn cut(&mut self) {
        if self.whole.take().is_some() {
            self.streams = BTreeMap::new();
            self.write(&Entry::Cut);
        }
    }

    /// What a session did to a stream, and that it is exchanged now.
    fn exchanging(&mut self, now: Instant, stream: Stream, received: &Pipe, to_send: &Pipe) {
        if self.whole.is_none() {
            self.last = now;
            return;
        }
        let seen = self.streams.get(&stream).copied().unwrap_or(Pipes::NEW);
        let Levels {
            received: left,
            to_send: had,
        } = seen.levels;
        if !self.begin(now, to_send.len().saturating_sub(had)) {
            return;
        }
        let taken = left.saturating_sub(received.len());
        if taken > 0 {
            self.tell(DeviceEntry::Taken(stream, taken as u64));
        }
        for segment in behind(to_send, had) {
            self.tell(DeviceEntry::Written(stream, segment));
        }
        let now_ended = [(Way::Received, received), (Way::ToSend, to_send)];
        for ((way, pipe), before) in now_ended.into_iter().zip(seen.ends) {
            if pipe.end() != before {
                self.tell(DeviceEntry::Ended(stream, way, pipe.end()));
            }
        }
        self.tell(DeviceEntry::Exchanged(stream));
    }

    /// Everything that the carrier wanted so far is done.
    fn checkpoint(&mut self) {
        if let Some(entry) = self.whole.as_mut().and_then(|whole| whole.checkpoint()) {
            self.write(&entry);
        }
    }
}

impl<T: Tape> Carrier for TappedDevice<T> {
    fn set_wall_clock(&mut self, now: Instant, since_1970: Duration) {
        self.machine.set_wall_clock(now, since_1970);
    }

    fn resolved(&mut self, now: Instant, answer: Result<&[IpAddr], Refusal>) {
        self.machine.resolved(now, answer);
    }

    fn bound(&mut self, now: Instant, path: Path, result: Result<(), Refusal>) {
        self.machine.bound(now, path, result);
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        path: Path,
        from: SocketAddr,
        data: BytesMut,
    ) -> bool {
        self.machine.handle_datagram(now, path, from, data)
    }

    fn datagram_error(&mut self, now: Instant, stream: Stream, to: SocketAddr, error: Undelivered) {
        let has_content = self.begin(now, 0);
        self.tell(DeviceEntry::DatagramError(
            stream,
            has_content.then_some((to, error)),
        ));
        self.machine.datagram_error(now, stream, to, error);
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        segments_max: usize,
        out: &mut BytesMut,
    ) -> Option<Transmit> {
        self.machine.poll_transmit(now, segments_max, out)
    }

    fn handle_packets(&mut self, now: Instant, frames: &mut Vec<BytesMut>) {
        let bytes = frames.iter().map(BytesMut::len).sum();
        if self.begin(now, bytes) {
            for frame in frames.iter() {
                self.tell(DeviceEntry::Frame(frame));
            }
        }
        self.tell(DeviceEntry::Batch {
            frames: frames.len() as u64,
            bytes: bytes as u64,
        });
        self.machine.handle_packets(now, frames);
    }

    fn poll_packets(&mut self, now: Instant, out: &mut TxBatch) -> bool {
        self.last = now;
        if self.whole.is_some() {
            self.tell(DeviceEntry::Polled);
        }
        let before = out.packets().len();
        let is_any = self.machine.poll_packets(now, out);
        let packets = out.packets().get(before..).unwrap_or_default();
        if let Some(whole) = &mut self.whole {
            whole.outputs.packets(packets);
            whole.is_changed |= !packets.is_empty();
            if !is_any && !self.has_events {
                self.checkpoint();
            }
        } else if !packets.is_empty() {
            self.tell(DeviceEntry::Sent {
                packets: packets.len() as u64,
                bytes: packets.iter().map(|packet| packet.len() as u64).sum(),
            });
        }
        is_any
    }

    /// Not recorded: what follows cannot be had by a replay.
    fn handle_echo(&mut self, now: Instant, path: Path, answer: EchoAnswer) {
        self.last = now;
        self.has_events = true;
        self.cut();
        self.machine.handle_echo(now, path, answer);
    }

    /// Not recorded: what follows cannot be had by a replay.
    fn set_device(&mut self, now: Instant, settings: &Settings) {
        self.last = now;
        self.has_events = true;
        self.cut();
        self.machine.set_device(now, settings);
    }

    fn take_lost(&mut self) -> u64 {
        self.machine.take_lost()
    }

    fn interface(&self) -> Option<&Interface> {
        self.machine.interface()
    }

    fn poll_event(&mut self) -> Option<Event> {
        let event = self.machine.poll_event();
        match (&event, &mut self.whole) {
            (None, _) => self.has_events = false,
            (Some(event), Some(whole)) => {
                whole.outputs.event(event);
                whole.is_changed = true;
                if let Event::Cancelled(stream) = event {
                    self.streams.remove(stream);
                }
            }
            (Some(_), None) => {}
        }
        event
    }

    fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        self.machine.poll_timeout(now)
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.begin(now, 0) {
            self.write(&Entry::Tick);
        }
        self.machine.handle_timeout(now);
    }

    fn stream_limits(&self) -> StreamLimits {
        self.machine.stream_limits()
    }

    fn open(&mut self, now: Instant, wanted: Wanted) -> Stream {
        self.machine.open(now, wanted)
    }

    fn answer(&mut self, now: Instant, stream: Stream, answer: Result<SocketAddr, Refusal>) {
        let has_content = self.begin(now, 0);
        let told = answer.map(|bound| has_content.then_some(bound));
        if answer.is_err() {
            self.streams.remove(&stream);
        }
        self.tell(DeviceEntry::Answered(stream, told));
        self.machine.answer(now, stream, answer);
    }

    fn exchange(
        &mut self,
        now: Instant,
        stream: Stream,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        self.exchanging(now, stream, received, to_send);
        let before = Levels::of(received, to_send);
        let progress = self.machine.exchange(now, stream, received, to_send);
        let moved = if let Some(whole) = &mut self.whole {
            let is_open = self.machine.is_open(stream);
            if is_open {
                let pipes = Pipes::of(received, to_send);
                self.streams.insert(stream, pipes);
            } else {
                self.streams.remove(&stream);
            }
            whole.is_changed = true;
            whole
                .outputs
                .exchanged(stream, before, received, to_send, is_open)
        } else {
            before.moved(received, to_send)
        };
        for (sum, n) in self.moved.iter_mut().zip(moved) {
            *sum += n;
        }
        progress
    }

    fn is_open(&self, stream: Stream) -> bool {
        self.machine.is_open(stream)
    }

    fn abandon(&mut self, now: Instant, stream: Stream) {
        self.begin(now, 0);
        self.streams.remove(&stream);
        self.tell(DeviceEntry::Abandoned(stream));
        self.machine.abandon(now, stream);
    }

    fn close(&mut self, now: Instant) {
        self.begin(now, 0);
        self.is_closed = true;
        self.write(&Entry::Stop);
        self.machine.close(now);
    }
}

impl<T: Tape> Drop for TappedDevice<T> {
    fn drop(&mut self) {
        self.checkpoint();
        let [bytes_up, bytes_down] = self.moved;
        self.write(&Entry::End {
            closed: self.is_closed.then_some(CloseReason::Stopped),
            bytes_up,
            bytes_down,
            digest: self.whole.as_ref().map(|whole| whole.outputs.digest()),
        });
    }
}
