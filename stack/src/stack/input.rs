//! Packets in.
use sansbox_core::Instant;

use super::{AHEAD, Stack};
use crate::batch::{Faulty, Other, RxPacket};
use crate::config::TIME_WAIT;
use crate::counters::DropReason;
use crate::table::Entry;
use crate::tcp::flow::{Bare, flag};
use crate::tcp::refuse::Control;
use crate::tcp::time_wait::TimeWait;
use crate::wire::parse::{ACK, FIN, Parsed, RST, SYN, Segment, Wrong, parse};

/// A segment, and where the table has its connection.
type Hashed<'a> = (Segment<'a>, u64);

impl Stack {
    /// Takes a batch of packets. Payload is not copied: until [`Stack::retain`] the caller finds
    /// it in `packets` through [`Stack::pieces`].
    ///
    /// # Panics
    /// When [`Stack::retain`] was not called after the batch before: its payload would be lost.
    pub fn recv_batch(&mut self, now: Instant, packets: &[RxPacket<'_>]) {
        assert!(
            self.in_batch.is_empty(),
            "retain() must come between two batches, or payload that was acknowledged is lost"
        );
        self.others.clear();
        self.faulty.clear();
        let mut index = 0;
        for packets in packets.chunks(AHEAD) {
            let mut segments = [const { None }; AHEAD];
            for (packet, segment) in packets.iter().zip(&mut segments) {
                *segment = self.parse(index, packet);
                index += 1;
            }
            let found = segments.iter().flatten();
            self.touch(found.filter_map(|(segment, hash)| self.table.find(&segment.key, *hash)));
            for (packet, segment) in packets.iter().zip(&segments) {
                if let Some((segment, hash)) = segment {
                    self.handle_segment(now, segment, *hash, packet.segment_size);
                }
            }
        }
    }

    /// Reads one packet, and counts it.
    fn parse<'a>(&mut self, index: u32, packet: &RxPacket<'a>) -> Option<Hashed<'a>> {
        self.context.counters.packets_in += 1;
        match parse(index, packet) {
            Ok(Parsed::Tcp(segment)) => Some((segment, self.table.hash(&segment.key))),
            Ok(Parsed::Other(other)) => {
                self.context.counters.others += 1;
                self.others.push(other);
                None
            }
            Err(Wrong::Tcp(reason)) => {
                self.context.counters.drop(reason);
                None
            }
            Err(Wrong::Ip(refused)) => {
                self.context.counters.ip.count(refused.reason);
                if let Some(problem) = refused.problem {
                    let packet = index;
                    self.faulty.push(Faulty { packet, problem });
                }
                None
            }
        }
    }

    /// The packets of the last batch that are not TCP, or are fragments. They are left to
    /// whoever serves datagrams and joins fragments.
    #[must_use]
    pub fn others(&self) -> &[Other] {
        &self.others
    }

    /// The packets of the last batch that were refused and whose senders are to hear of it, as an
    /// ICMP parameter problem, from whoever sends ICMP.
    #[must_use]
    pub fn faulty(&self) -> &[Faulty] {
        &self.faulty
    }

    /// Exchanges the lists of both for other ones, so as to walk them and use the stack meanwhile.
    pub(crate) const fn swap_others(&mut self, others: &mut Vec<Other>, faulty: &mut Vec<Faulty>) {
        core::mem::swap(&mut self.others, others);
        core::mem::swap(&mut self.faulty, faulty);
    }

    fn handle_segment(&mut self, now: Instant, segment: &Segment<'_>, hash: u64, size: u16) {
        let Some(index) = self.table.find(&segment.key, hash) else {
            self.handle_stray(now, segment);
            return;
        };
        match self.table.get(index).map(|place| &place.entry) {
            Some(Entry::Open(..)) => self.handle_open(now, index, segment, size),
            Some(Entry::HalfOpen(_)) => self.handle_half_open(now, index, segment, size),
            Some(Entry::TimeWait(wait)) => {
                let wait = *wait;
                self.handle_wait(now, index, segment, wait);
            }
            Some(Entry::Vacant) | None => self.handle_stray(now, segment),
        }
    }

    pub(super) fn handle_open(
        &mut self,
        now: Instant,
        index: u32,
        segment: &Segment<'_>,
        size: u16,
    ) {
        let Some((flow, context)) = self.flow_mut(index) else {
            return;
        };
        let before = flow.has(flag::IN_BATCH);
        let after = flow.handle_segment(context, now, segment, size);
        if !before && flow.has(flag::IN_BATCH) {
            self.in_batch.push(index);
        }
        self.conclude(now, index, after);
    }

    /// A segment of no known connection (RFC 9293 section 3.10.7.1), or a SYN.
    pub(super) fn handle_stray(&mut self, now: Instant, segment: &Segment<'_>) {
        if segment.has(RST) {
            self.context.counters.drop(DropReason::StrayReset);
            return;
        }
        if segment.has(SYN) && !segment.has(ACK) {
            self.handle_syn(now, segment);
            return;
        }
        self.context.counters.drop(DropReason::NoFlow);
        self.refuse_stray(segment);
    }

    /// RST to a segment that makes no sense to us.
    pub(super) fn refuse_stray(&mut self, segment: &Segment<'_>) {
        let bare = if segment.has(ACK) {
            Bare {
                key: segment.key,
                seq: segment.ack,
                ack: 0,
                flags: RST,
                window: 0,
            }
        } else {
            Bare {
                key: segment.key,
                seq: 0,
                ack: segment.seq.wrapping_add(segment.sequence_len()),
                flags: RST | ACK,
                window: 0,
            }
        };
        self.push_control(Control::Segment(bare));
    }

    /// A segment of a connection in TIME-WAIT (RFC 9293 section 3.10.7.4). A RST is ignored:
    /// RFC 1337 tells what else could happen.
    fn handle_wait(&mut self, now: Instant, index: u32, segment: &Segment<'_>, wait: TimeWait) {
        if segment.has(SYN) && !segment.has(ACK) && wait.gives_way(segment) {
            self.remove_wait(index);
            self.handle_syn_after(now, segment, Some(wait.snd_nxt));
            return;
        }
        self.context.counters.drop(DropReason::TimeWait);
        if segment.has(RST) {
            return;
        }
        if segment.has(FIN) {
            self.wheel.set(index, now + TIME_WAIT);
        }
        if segment.sequence_len() > 0 {
            self.push_control(Control::Segment(wait.answer()));
        }
    }

    /// Remembers a closed connection, and forgets the oldest of too many.
    pub(super) fn begin_wait(&mut self, now: Instant, wait: TimeWait) {
        let max = self.context.config.time_wait_max;
        while self.waiting.len() >= max.max(1) {
            let Some(oldest) = self.waiting.oldest() else {
                break;
            };
            self.remove_wait(oldest);
        }
        if max == 0 {
            return;
        }
        let index = self.table.insert(Entry::TimeWait(wait));
        self.waiting.push(index);
        self.wheel.set(index, now + TIME_WAIT);
    }

    pub(super) fn remove_wait(&mut self, index: u32) {
        self.waiting.remove(index);
        self.wheel.clear(index);
        self.table.remove(index);
    }
}
