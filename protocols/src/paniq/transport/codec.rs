//! Writing and reading Transport frames.
use super::{
    Budget, Counting, Padding, Window, WindowError,
    budget::{COUNTER_LEN, INNER_LEN_MAX, LEN_LEN},
};
use crate::paniq::{
    obf::{FrameError, Framer, Kind},
    random::Draws,
};
use bytes::{Buf as _, BufMut as _, BytesMut};
use sansbox_core::{Blame, Closing, DatagramLayer, Instant, Overhead, ProtocolError};
use std::{num::NonZero, ops::Range};
use thiserror::Error;

/// Why a QUIC datagram cannot be sent. Only a wrong size of the layer above leads to one of the
/// first two; the datagram is lost, as on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SealError {
    /// Nothing to send.
    #[error("empty datagram")]
    Empty,
    /// Longer than [`Budget::inner_len_max`].
    #[error("datagram of more than {max} octets")]
    TooLong {
        /// The longest there may be.
        max: usize,
    },
    /// The counter has reached the limit, from which on the other end takes nothing.
    #[error("counter exhausted: the tunnel needs a new preamble")]
    Exhausted,
}

impl ProtocolError for SealError {
    fn blame(&self) -> Blame {
        Blame::Local
    }

    fn closing(&self) -> Closing {
        Closing::Silent
    }
}

/// Why a datagram is dropped. Nothing answers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// No frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame of a kind that has no place in an open tunnel.
    #[error("unexpected {0:?}")]
    Unexpected(Kind),
    /// Shorter than counter and length.
    #[error("payload shorter than its header")]
    TooShort,
    /// The length is 0.
    #[error("the inner length is 0")]
    Empty,
    /// The length goes beyond the end.
    #[error("the inner length is beyond the end")]
    Truncated,
    /// More than QUIC ever sends here.
    #[error("the inner length is above {max}")]
    TooLong {
        /// The most there may be.
        max: usize,
    },
    /// The counter is refused.
    #[error(transparent)]
    Counter(#[from] WindowError),
}

impl ProtocolError for OpenError {
    fn blame(&self) -> Blame {
        Blame::Peer
    }

    fn closing(&self) -> Closing {
        Closing::Silent
    }
}

/// Why an [`Envelope`] dropped a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// One to be sent.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// One received.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl ProtocolError for EnvelopeError {
    fn blame(&self) -> Blame {
        match self {
            Self::Seal(error) => error.blame(),
            Self::Open(error) => error.blame(),
        }
    }

    fn closing(&self) -> Closing {
        Closing::Silent
    }
}

/// What was added to a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Octets of padding.
    pub padding: usize,
    /// Had the padding to be shorter than drawn?
    pub is_clamped: bool,
}

/// The sending direction of a tunnel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealer {
    pub(super) counter: u64,
}

/// The receiving direction of a tunnel.
#[derive(Clone, Debug, Default)]
pub struct Opener {
    window: Option<Box<Window>>,
    /// One more than the counter of the datagram opened last, which nothing speaks for yet.
    unproven: Option<NonZero<u64>>,
}

/// What both ends of a tunnel agree on.
#[derive(Clone, Debug)]
pub struct Codec {
    framer: Framer,
    budget: Budget,
    padding: Padding,
    pub(super) counting: Counting,
    needs_proof: bool,
}

impl Codec {
    /// A codec for a profile.
    ///
    /// # Panics
    /// When `budget` was made for another `s4` than `framer` has.
    #[must_use]
    pub fn new(framer: Framer, budget: Budget, padding: Padding, counting: Counting) -> Self {
        assert_eq!(
            budget.prefix,
            framer.params().prefix_len(Kind::Transport),
            "the budget is for another s4"
        );
        Self {
            framer,
            budget,
            padding,
            counting,
            needs_proof: false,
        }
    }

    /// The same for who asks QUIC what it made of each datagram, and tells it by
    /// [`Self::prove`]: only then is a counter noted, as anybody can write one. Nothing changes
    /// where forward jumps have no bound, as with the Go programs.
    #[must_use]
    pub const fn needing_proof(mut self) -> Self {
        self.needs_proof = self.counting.forward_jump_max < u64::MAX;
        self
    }

    /// Does [`Self::prove`] do anything?
    #[must_use]
    pub const fn needs_proof(&self) -> bool {
        self.needs_proof && self.budget.has_counter
    }

    /// What was opened last was authentic and new: its counter is noted.
    pub fn prove(&self, opener: &mut Opener) {
        if let Some(next) = opener.unproven.take() {
            let counter = next.get() - 1;
            let window = opener.window.get_or_insert_default();
            // Too far away to be known: it proves nothing of others.
            let _ = window.accept(counter, &self.counting);
        }
    }

    /// Nobody gets a window who has proven nothing.
    fn check(&self, opener: &Opener, counter: u64) -> Result<(), WindowError> {
        match &opener.window {
            Some(window) => window.check(counter, &self.counting),
            None if counter >= self.counting.limit => Err(WindowError::Limit),
            None => Ok(()),
        }
    }

    /// Sizes.
    #[must_use]
    pub const fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What tells frames apart.
    #[must_use]
    pub const fn framer(&self) -> &Framer {
        &self.framer
    }

    /// Random bytes behind QUIC packets.
    #[must_use]
    pub const fn padding(&self) -> &Padding {
        &self.padding
    }

    /// Which counters are taken, if there are any.
    #[must_use]
    pub const fn counting(&self) -> &Counting {
        &self.counting
    }

    /// Appends the frame of `inner`, one QUIC datagram, to `out`. In one pass: nothing is copied
    /// twice, and nothing allocated while `out` has room.
    ///
    /// # Errors
    /// [`SealError`]; `out` is as before then, and no counter used.
    pub fn seal(
        &self,
        draws: &mut Draws,
        sealer: &mut Sealer,
        inner: &[u8],
        out: &mut BytesMut,
    ) -> Result<Sealed, SealError> {
        self.seal_padded(draws, sealer, inner, None, out)
    }

    /// As [`Self::seal`], with this much padding, where the frame has room for it, in place of a
    /// draw.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_padded(
        &self,
        draws: &mut Draws,
        sealer: &mut Sealer,
        inner: &[u8],
        padding: Option<usize>,
        out: &mut BytesMut,
    ) -> Result<Sealed, SealError> {
        let max = self.budget.inner;
        let inner_len = match u16::try_from(inner.len()) {
            Ok(0) => return Err(SealError::Empty),
            Ok(len) if usize::from(len) <= max => len,
            _ => return Err(SealError::TooLong { max }),
        };
        let has_counter = self.budget.has_counter;
        if has_counter && sealer.counter >= self.counting.limit {
            return Err(SealError::Exhausted);
        }
        let drawn = padding.unwrap_or_else(|| self.padding.draw(draws));
        let base = self.budget.head_len() + inner.len();
        let padding = drawn.min(self.budget.packet.saturating_sub(base));
        out.reserve(base + padding);
        let counter = sealer.counter;
        self.framer
            .encode_with(draws, Kind::Transport, out, |draws, out, _| {
                if has_counter {
                    out.put_u64(counter);
                }
                out.put_u16(inner_len);
                out.put_slice(inner);
                draws.append(padding, out);
            });
        sealer.counter += u64::from(has_counter);
        Ok(Sealed {
            padding,
            is_clamped: padding < drawn,
        })
    }

    /// Where in `datagram`, as received, the QUIC datagram is.
    ///
    /// # Errors
    /// [`OpenError`]; no counter is noted then, or ever without [`Self::prove`] where that is
    /// needed.
    pub fn open(&self, opener: &mut Opener, datagram: &[u8]) -> Result<Range<usize>, OpenError> {
        match self.framer.decode(datagram)? {
            (Kind::Transport, at) => self.open_payload(opener, datagram, at),
            (kind, _) => Err(OpenError::Unexpected(kind)),
        }
    }

    /// As [`Self::open`], of a Transport frame whose payload begins at `at`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_payload(
        &self,
        opener: &mut Opener,
        datagram: &[u8],
        at: usize,
    ) -> Result<Range<usize>, OpenError> {
        let payload = datagram.get(at..).unwrap_or_default();
        let (counter, rest) = match self.budget.has_counter {
            true => {
                let (counter, rest) = payload
                    .split_first_chunk::<COUNTER_LEN>()
                    .ok_or(OpenError::TooShort)?;
                (Some(u64::from_be_bytes(*counter)), rest)
            }
            false => (None, payload),
        };
        let (inner_len, rest) = rest
            .split_first_chunk::<LEN_LEN>()
            .ok_or(OpenError::TooShort)?;
        let inner_len = usize::from(u16::from_be_bytes(*inner_len));
        if inner_len == 0 {
            return Err(OpenError::Empty);
        }
        if inner_len > rest.len() {
            return Err(OpenError::Truncated);
        }
        if inner_len > INNER_LEN_MAX {
            return Err(OpenError::TooLong { max: INNER_LEN_MAX });
        }
        if let Some(counter) = counter {
            if self.needs_proof {
                opener.unproven = None;
                self.check(opener, counter)?;
                // It is below a limit, so there is one more.
                opener.unproven = NonZero::new(counter.wrapping_add(1));
            } else {
                let window = opener.window.get_or_insert_default();
                window.accept(counter, &self.counting)?;
            }
        }
        let from = datagram.len() - rest.len();
        Ok(from..from + inner_len)
    }
}

/// Both directions of one tunnel as a layer under QUIC: the client's side. Its overhead leaves
/// QUIC exactly [`Budget::inner_len_max`] octets of a path of [`Budget::packet_len_max`].
#[derive(Clone, Debug)]
pub struct Envelope {
    codec: Codec,
    draws: Draws,
    sealer: Sealer,
    opener: Opener,
}

impl Envelope {
    /// A fresh tunnel: both counters at 0.
    #[must_use]
    pub fn new(codec: Codec, draws: Draws) -> Self {
        Self {
            codec,
            draws,
            sealer: Sealer::default(),
            opener: Opener::default(),
        }
    }

    /// What the ends agree on.
    #[must_use]
    pub const fn codec(&self) -> &Codec {
        &self.codec
    }
}

impl DatagramLayer for Envelope {
    type Error = EnvelopeError;

    fn overhead(&self) -> Overhead {
        let budget = &self.codec.budget;
        let head = budget.head_len();
        Overhead {
            head,
            tail_max: budget.packet - head - budget.inner,
        }
    }

    fn seal(&mut self, _: Instant, plain: &[u8], out: &mut BytesMut) -> Result<(), Self::Error> {
        self.codec
            .seal(&mut self.draws, &mut self.sealer, plain, out)?;
        Ok(())
    }

    fn open(&mut self, _: Instant, datagram: &mut BytesMut) -> Result<bool, Self::Error> {
        let inner = self.codec.open(&mut self.opener, datagram)?;
        datagram.truncate(inner.end);
        datagram.advance(inner.start);
        Ok(true)
    }
}
