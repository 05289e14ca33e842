//! The recorded carrier of a TUN device, made again and told the same.
use super::{
    heard::{Heard, Listener, play},
    replay::{Difference, Ending, Event, EventKind, Verdict},
};
use bytes::BytesMut;
use sansbox_core::{End, Instant, Pipe};
use sansbox_engine::{
    Plan,
    carrier::{self, Carrier, Stream, tun},
    drive::Service as _,
    record::CloseReason,
};
use sansbox_flight::{
    outputs::{Levels, TooFew},
    wire::{Begin, DeviceEntry, Entry, Way, put_event},
};
use sansbox_stack::{TxBatch, TxPacket, config::BATCH_SIZE};
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

/// The recorded carrier as it was in the beginning; `None` without content, and when the plan has
/// no such inbound.
pub(super) fn machine(
    plan: &Arc<Plan>,
    begin: &Begin,
    facts: tun::Device,
    at: Instant,
) -> Option<Box<dyn Carrier>> {
    let seed = begin.content.as_ref()?.seed;
    plan.device(begin.inbound, facts, seed, at)
}

/// What comes out of a carrier.
pub(super) enum Out<'o> {
    Event(carrier::Event),
    Packets(&'o [TxPacket]),
    /// Both pipes after an exchange, how they were before, and whether the stream is not over.
    Exchanged(Stream, Levels, &'o Pipe, &'o Pipe, bool),
}

/// A carrier, and the pipes of its streams: told what a recording says.
pub(super) struct Feed {
    machine: Box<dyn Carrier>,
    streams: BTreeMap<Stream, [Pipe; 2]>,
    frames: Vec<BytesMut>,
    /// Frames of a batch that are too many to be given to a carrier.
    excess: u64,
    batch: TxBatch,
}

impl Feed {
    pub(super) fn new(machine: Box<dyn Carrier>) -> Self {
        Self {
            machine,
            streams: BTreeMap::new(),
            frames: Vec::new(),
            excess: 0,
            batch: TxBatch::default(),
        }
    }

    /// Tells the carrier what an entry says, and `out` of what comes of it. False: only sizes were
    /// recorded.
    pub(super) fn tell(
        &mut self,
        at: Instant,
        entry: &Entry<'_>,
        out: &mut dyn FnMut(Out<'_>),
    ) -> Result<bool, Difference> {
        match entry {
            Entry::Tick => self.machine.handle_timeout(at),
            Entry::Stop => self.machine.close(at),
            Entry::Device(entry) => {
                if !self.tell_device(at, *entry, out)? {
                    return Ok(false);
                }
            }
            Entry::Begin(_)
            | Entry::Received { .. }
            | Entry::Drained(..)
            | Entry::Ended(..)
            | Entry::Datagram { .. }
            | Entry::DatagramError(..)
            | Entry::Done(..)
            | Entry::Relayed(..)
            | Entry::Asked(_)
            | Entry::Produced { .. }
            | Entry::Cut
            | Entry::End { .. } => return Ok(true),
        }
        while let Some(event) = self.machine.poll_event() {
            out(Out::Event(event));
        }
        Ok(true)
    }

    fn tell_device(
        &mut self,
        at: Instant,
        entry: DeviceEntry<'_>,
        out: &mut dyn FnMut(Out<'_>),
    ) -> Result<bool, Difference> {
        match entry {
            DeviceEntry::Frame(_) if self.frames.len() >= BATCH_SIZE => self.excess += 1,
            DeviceEntry::Frame(frame) => self.frames.push(BytesMut::from(frame)),
            DeviceEntry::Batch { frames, .. } => self.batch(at, frames)?,
            DeviceEntry::Polled => {
                self.batch.clear();
                self.machine.poll_packets(at, &mut self.batch);
                out(Out::Packets(self.batch.packets()));
            }
            DeviceEntry::Sent { .. } => return Ok(false),
            DeviceEntry::Answered(stream, answer) => {
                // Which address it was is for the session's client, not for the carrier's.
                let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
                let answer = answer.map(|bound| bound.unwrap_or(nowhere));
                if answer.is_err() {
                    self.streams.remove(&stream);
                }
                self.machine.answer(at, stream, answer);
            }
            DeviceEntry::Abandoned(stream) => self.machine.abandon(at, stream),
            DeviceEntry::Taken(stream, n) => {
                let [received, _] = self.pipes(stream);
                let held = received.len() as u64;
                if held < n {
                    let source = TooFew { wanted: n, held };
                    return Err(Difference::Stream { stream, source });
                }
                received.skip(usize::try_from(n).unwrap_or(usize::MAX));
            }
            DeviceEntry::Written(stream, segment) => {
                let [_, to_send] = self.pipes(stream);
                if to_send.end() != End::Open {
                    return Err(Difference::StreamOver(stream));
                }
                to_send.push(BytesMut::from(segment));
            }
            DeviceEntry::Ended(stream, way, end) => {
                let [received, to_send] = self.pipes(stream);
                let pipe = match way {
                    Way::Received => received,
                    Way::ToSend => to_send,
                };
                let _ = match end {
                    End::Open => return Err(Difference::StreamOver(stream)),
                    End::Fin => pipe.finish(),
                    End::Reset => pipe.reset(),
                };
            }
            DeviceEntry::Exchanged(stream) => self.exchange(at, stream, out),
            DeviceEntry::DatagramError(_, None) => return Ok(false),
            DeviceEntry::DatagramError(stream, Some((to, error))) => {
                self.machine.datagram_error(at, stream, to, error);
            }
        }
        Ok(true)
    }

    fn batch(&mut self, at: Instant, recorded: u64) -> Result<(), Difference> {
        let found = self.frames.len() as u64 + core::mem::take(&mut self.excess);
        if found != recorded || found > BATCH_SIZE as u64 {
            return Err(Difference::Batch { recorded, found });
        }
        self.machine.handle_packets(at, &mut self.frames);
        self.frames.clear();
        Ok(())
    }

    fn pipes(&mut self, stream: Stream) -> &mut [Pipe; 2] {
        let machine = &self.machine;
        self.streams.entry(stream).or_insert_with(|| {
            let limits = machine.stream_limits();
            [Pipe::new(limits.received), Pipe::new(limits.to_send)]
        })
    }

    fn exchange(&mut self, at: Instant, stream: Stream, out: &mut dyn FnMut(Out<'_>)) {
        self.pipes(stream);
        let Some([received, to_send]) = self.streams.get_mut(&stream) else {
            return;
        };
        let before = Levels::of(received, to_send);
        let _ = self.machine.exchange(at, stream, received, to_send);
        let is_open = self.machine.is_open(stream);
        out(Out::Exchanged(stream, before, received, to_send, is_open));
        if !is_open {
            self.streams.remove(&stream);
        }
    }
}

/// A carrier that is replayed.
struct Ears<'w> {
    feed: Feed,
    told: Told<'w>,
    is_closed: bool,
}

/// What it tells.
struct Told<'w> {
    heard: Heard<'w>,
    /// Bytes to sessions, and from them.
    moved: [u64; 2],
}

/// Replays one carrier on `plan`: what it was made from, and what came after that.
pub(super) fn replay(
    plan: &Arc<Plan>,
    (at, begin, facts): (Instant, &Begin, tun::Device),
    entries: &[(Instant, Entry<'_>)],
    watch: &mut dyn FnMut(Event<'_>),
) -> Verdict {
    let Some(machine) = machine(plan, begin, facts, at) else {
        return Verdict::NoContent;
    };
    let mut ears = Ears {
        feed: Feed::new(machine),
        told: Told {
            heard: Heard::new("event", at, watch),
            moved: [0; 2],
        },
        is_closed: false,
    };
    play(&mut ears, entries)
}

impl<'w> Listener<'w> for Ears<'w> {
    fn heard(&mut self) -> &mut Heard<'w> {
        &mut self.told.heard
    }

    fn step(&mut self, entry: &Entry<'_>, is_last: bool) -> Result<bool, Difference> {
        let Told { heard, moved } = &mut self.told;
        match entry {
            Entry::Cut => return Ok(false),
            // Where a carrier was dropped, events may be left that nobody asked for.
            Entry::Produced { actions, digest } => heard.compare(*actions, *digest, is_last)?,
            Entry::End {
                closed,
                bytes_up,
                bytes_down,
                digest,
            } => {
                let recorded = Ending {
                    closed: *closed,
                    bytes_up: *bytes_up,
                    bytes_down: *bytes_down,
                };
                let replayed = Ending {
                    closed: self.is_closed.then_some(CloseReason::Stopped),
                    bytes_up: moved[0],
                    bytes_down: moved[1],
                };
                heard.compare_end(recorded, replayed, *digest)?;
            }
            Entry::Begin(_)
            | Entry::Received { .. }
            | Entry::Drained(..)
            | Entry::Ended(..)
            | Entry::Datagram { .. }
            | Entry::DatagramError(..)
            | Entry::Done(..)
            | Entry::Relayed(..)
            | Entry::Asked(_)
            | Entry::Tick
            | Entry::Stop
            | Entry::Device(_) => {
                heard.inputs += u64::from(entry.is_input());
                self.is_closed |= matches!(entry, Entry::Stop);
                heard.show(EventKind::Input(entry));
                let (at, told) = (heard.at, &mut self.told);
                return self.feed.tell(at, entry, &mut |out| told.hear(out));
            }
        }
        Ok(true)
    }
}

impl Told<'_> {
    fn hear(&mut self, out: Out<'_>) {
        let heard = &mut self.heard;
        match out {
            Out::Event(event) => {
                heard.show(EventKind::Told(&event));
                let mut encoded = Vec::new();
                put_event(&mut encoded, &event);
                heard.told(encoded, format!("{event:?}"));
            }
            Out::Packets(packets) => {
                heard.outputs.packets(packets);
                let mut whole = Vec::new();
                for packet in packets {
                    whole.clear();
                    packet.copy_to(&mut whole);
                    heard.show(EventKind::Packet(&whole));
                }
            }
            Out::Exchanged(stream, before, received, to_send, is_open) => {
                let moved = heard
                    .outputs
                    .exchanged(stream, before, received, to_send, is_open);
                for (sum, n) in self.moved.iter_mut().zip(moved) {
                    *sum += n;
                }
                let come: Vec<&[u8]> = before.come(received).collect();
                if !come.is_empty() {
                    heard.show(EventKind::Received(stream, &come));
                }
            }
        }
    }
}
