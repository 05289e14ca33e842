//! The digest of what a machine does.
use crate::wire::{put_action, put_end, put_event};
use sansbox_core::Pipe;
use sansbox_engine::{
    carrier::{Event, Stream},
    ids::Slot,
    machine::{Action, SlotPipes},
};
use sansbox_stack::{Checksum, TxPacket};
use sha2::{Digest as _, Sha256};

/// In front of a packet of a carrier, and of an exchange, among the bytes that are hashed.
const PACKET: u8 = 1;
const EXCHANGE: u8 = 2;

/// A running digest of all that came out of one machine: actions as they were polled, and bytes
/// as they were drained.
///
/// The two are hashed apart, because a driver may poll actions sooner or later without the
/// machine noticing; each of the two has one order only.
#[derive(Clone)]
pub struct Outputs {
    actions: Sha256,
    bytes: Sha256,
    counts: Counts,
    scratch: Vec<u8>,
}

/// How much came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Actions, or events of a carrier.
    pub actions: u64,
    /// Bytes drained from transmit pipes; those of a carrier's packets, and what it had for
    /// sessions.
    pub bytes: u64,
}

/// How many bytes the two pipes of a carrier's stream hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// What the session has not taken.
    pub received: usize,
    /// What the carrier has not taken.
    pub to_send: usize,
}

impl Levels {
    /// Those of two pipes.
    #[must_use]
    pub const fn of(received: &Pipe, to_send: &Pipe) -> Self {
        Self {
            received: received.len(),
            to_send: to_send.len(),
        }
    }

    /// Bytes that a carrier put into `received` and took out of `to_send` since they were so.
    #[must_use]
    pub const fn moved(self, received: &Pipe, to_send: &Pipe) -> [u64; 2] {
        let put = received.len().saturating_sub(self.received);
        let taken = self.to_send.saturating_sub(to_send.len());
        [put as u64, taken as u64]
    }

    /// What came into `received` since it was so.
    pub fn come(self, received: &Pipe) -> impl Iterator<Item = &[u8]> {
        behind(received, self.received)
    }
}

/// What a pipe holds behind its first `n` bytes.
pub(crate) fn behind(pipe: &Pipe, n: usize) -> impl Iterator<Item = &[u8]> {
    let mut skip = n;
    pipe.segments().filter_map(move |segment| {
        let from = skip.min(segment.len());
        skip -= from;
        segment.get(from..).filter(|rest| !rest.is_empty())
    })
}

/// A machine's transmit pipe holds less than was taken from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} bytes were sent, the machine had {held} to send")]
pub struct TooFew {
    /// What was taken.
    pub wanted: u64,
    /// What there was.
    pub held: u64,
}

impl core::fmt::Debug for Outputs {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Outputs")
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

impl Default for Outputs {
    fn default() -> Self {
        Self {
            actions: Sha256::new_with_prefix("sansbox actions 1"),
            bytes: Sha256::new_with_prefix("sansbox bytes 1"),
            counts: Counts::default(),
            scratch: Vec::new(),
        }
    }
}

impl Outputs {
    /// Adds an action.
    pub fn action(&mut self, action: &Action) {
        self.scratch.clear();
        put_action(&mut self.scratch, action);
        let encoded = core::mem::take(&mut self.scratch);
        self.encoded(&encoded);
        self.scratch = encoded;
    }

    /// Adds an action that [`put_action`] encoded.
    pub fn encoded(&mut self, action: &[u8]) {
        self.actions.update((action.len() as u64).to_le_bytes());
        self.actions.update(action);
        self.counts.actions += 1;
    }

    /// Adds the first `n` bytes of a slot's transmit pipe, before the machine drops them.
    ///
    /// # Errors
    /// When there are not as many; nothing is added then.
    pub fn drained(
        &mut self,
        slot: Slot,
        n: u64,
        pipes: Option<SlotPipes<'_>>,
    ) -> Result<(), TooFew> {
        let held = pipes.map_or(0, |pipes| pipes.tx.len() as u64);
        if held < n {
            return Err(TooFew { wanted: n, held });
        }
        self.bytes.update(slot.0.to_le_bytes());
        self.bytes.update(n.to_le_bytes());
        let mut left = usize::try_from(n).unwrap_or(usize::MAX);
        for segment in pipes.iter().flat_map(|pipes| pipes.tx.segments()) {
            let front = segment.get(..left).unwrap_or(segment);
            self.bytes.update(front);
            left -= front.len();
        }
        self.counts.bytes += n;
        Ok(())
    }

    /// Adds an event of a carrier, as if it were an action.
    pub fn event(&mut self, event: &Event) {
        self.scratch.clear();
        put_event(&mut self.scratch, event);
        let encoded = core::mem::take(&mut self.scratch);
        self.encoded(&encoded);
        self.scratch = encoded;
    }

    /// Adds packets that a carrier has for its device.
    pub fn packets(&mut self, packets: &[TxPacket]) {
        for packet in packets {
            let (partial, start, offset) = match packet.checksum() {
                Checksum::Full => (0_u8, 0, 0),
                Checksum::Partial { start, offset } => (1, start, offset),
            };
            let len = packet.len() as u64;
            self.bytes.update([PACKET, partial]);
            self.bytes.update(len.to_le_bytes());
            for number in [packet.segment_size(), start, offset] {
                self.bytes.update(number.to_le_bytes());
            }
            self.bytes.update(packet.header());
            for piece in packet.payload() {
                self.bytes.update(piece);
            }
            self.counts.bytes += len;
        }
    }

    /// Adds what an exchange of a carrier's did: `before` is how its pipes were, and `is_open`
    /// whether the stream is not over. Says how many bytes were moved to the session, and from it.
    pub fn exchanged(
        &mut self,
        stream: Stream,
        before: Levels,
        received: &Pipe,
        to_send: &Pipe,
        is_open: bool,
    ) -> [u64; 2] {
        let moved = before.moved(received, to_send);
        self.scratch.clear();
        self.scratch.push(EXCHANGE);
        put_end(&mut self.scratch, received.end());
        put_end(&mut self.scratch, to_send.end());
        self.scratch.push(is_open.into());
        for number in [stream.0, moved[0], moved[1]] {
            self.scratch.extend_from_slice(&number.to_le_bytes());
        }
        self.bytes.update(&self.scratch);
        for piece in before.come(received) {
            self.bytes.update(piece);
        }
        self.counts.bytes += moved[0];
        moved
    }

    /// How much came out so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// The digest of all so far.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut whole = Sha256::new();
        whole.update(self.actions.clone().finalize());
        whole.update(self.bytes.clone().finalize());
        whole.finalize().into()
    }

    /// The first bytes of [`Self::digest`].
    #[must_use]
    pub fn short_digest(&self) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = self.digest();
        [a, b, c, d, e, f, g, h]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansbox_core::{End, Pipe};

    fn drain(outputs: &mut Outputs, tx: &Pipe, n: u64) -> Result<(), TooFew> {
        let rx = Pipe::new(1);
        outputs.drained(Slot::CLIENT, n, Some(SlotPipes { rx: &rx, tx }))
    }

    #[test]
    fn segments_do_not_matter_and_bytes_do() {
        let digest_of = |segments: &[&str], n| {
            let mut pipe = Pipe::new(100);
            for segment in segments {
                pipe.push(segment.as_bytes().into());
            }
            let mut outputs = Outputs::default();
            drain(&mut outputs, &pipe, n).expect("enough bytes");
            outputs.digest()
        };
        assert_eq!(digest_of(&["abc", "def"], 4), digest_of(&["a", "bcde"], 4));
        assert_ne!(digest_of(&["abcd"], 4), digest_of(&["abce"], 4));
        assert_ne!(digest_of(&["abcd"], 4), digest_of(&["abcd"], 3));
    }

    #[test]
    fn more_than_there_is_cannot_be_drained() {
        let mut pipe = Pipe::new(100);
        pipe.push_slice(b"abc");
        let mut outputs = Outputs::default();
        let before = outputs.digest();
        let error = TooFew { wanted: 4, held: 3 };
        assert_eq!(drain(&mut outputs, &pipe, 4), Err(error));
        assert_eq!(
            outputs.drained(Slot(7), 1, None).map_err(|e| e.held),
            Err(0)
        );
        assert_eq!(outputs.digest(), before);
    }

    #[test]
    fn actions_and_bytes_may_interleave_in_any_way() {
        let close = Action::Close(Slot::CLIENT, End::Fin);
        let mut pipe = Pipe::new(100);
        pipe.push_slice(b"abc");
        let (mut a, mut b) = (Outputs::default(), Outputs::default());
        a.action(&close);
        drain(&mut a, &pipe, 3).expect("enough bytes");
        drain(&mut b, &pipe, 3).expect("enough bytes");
        assert_ne!(a.digest(), b.digest());
        b.action(&close);
        assert_eq!((a.digest(), a.counts()), (b.digest(), b.counts()));
    }
}
