//! The replay window: which counters were seen, after RFC 6479.
use thiserror::Error;

/// The least counter that is never accepted, unless a profile says less.
pub const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);

/// How far below the greatest counter another one may be.
pub const WINDOW_LEN: u64 = (BLOCKS as u64 - 1) * 64;

/// How far above the greatest counter the next one may be. Counters are not authenticated: without
/// a bound one spoofed frame would move the window to the end, and no later one would be accepted.
/// More datagrams than this are never lost in a row: QUIC stops sending without acknowledgements.
/// Still more than a window: where QUIC is at hand, a counter is noted
/// only with its proof ([`Codec::needing_proof`](super::Codec::needing_proof)).
pub const FORWARD_JUMP_MAX: u64 = 1 << 16;

/// 64 counters each.
const BLOCKS: usize = 128;

/// Which counters are acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counting {
    /// Counters from here on are refused: `transport_replay_limit`, with
    /// [`REJECT_AFTER_MESSAGES`] for 0.
    pub limit: u64,
    /// How far a counter may be above the greatest so far. `u64::MAX` is what the Go programs do:
    /// whatever it is, and whoever sent it, it counts at once.
    pub forward_jump_max: u64,
}

impl Default for Counting {
    fn default() -> Self {
        Self {
            limit: REJECT_AFTER_MESSAGES,
            forward_jump_max: FORWARD_JUMP_MAX,
        }
    }
}

/// Why a counter is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WindowError {
    /// Seen before.
    #[error("counter seen before")]
    Replayed,
    /// Too far below the greatest one to know.
    #[error("counter too old")]
    TooOld,
    /// At the limit or above.
    #[error("counter at its limit")]
    Limit,
    /// So far ahead that it must be made up.
    #[error("counter too far ahead")]
    TooFarAhead,
}

/// The counters seen in one direction of one tunnel. 1 KiB.
#[derive(Clone, Debug)]
pub struct Window {
    greatest: u64,
    blocks: [u64; BLOCKS],
}

impl Default for Window {
    fn default() -> Self {
        Self {
            greatest: 0,
            blocks: [0; BLOCKS],
        }
    }
}

impl Window {
    /// Notes `counter`, which is refused unless it is new.
    ///
    /// # Errors
    /// [`WindowError`]; the window is as before then.
    pub fn accept(&mut self, counter: u64, counting: &Counting) -> Result<(), WindowError> {
        if counter >= counting.limit {
            return Err(WindowError::Limit);
        }
        match counter.checked_sub(self.greatest) {
            Some(ahead) if ahead > counting.forward_jump_max => {
                return Err(WindowError::TooFarAhead);
            }
            Some(_) => self.advance(counter),
            None if self.greatest - counter > WINDOW_LEN => return Err(WindowError::TooOld),
            None => {}
        }
        let bit = 1_u64 << (counter % 64);
        let block = self.block(counter / 64);
        if *block & bit != 0 {
            return Err(WindowError::Replayed);
        }
        *block |= bit;
        Ok(())
    }

    /// Is nothing known against `counter`? One that is too far away to be known is left to QUIC,
    /// which takes no packet twice either.
    ///
    /// # Errors
    /// [`WindowError::Limit`], or [`WindowError::Replayed`].
    pub fn check(&self, counter: u64, counting: &Counting) -> Result<(), WindowError> {
        if counter >= counting.limit {
            return Err(WindowError::Limit);
        }
        let is_known = self
            .greatest
            .checked_sub(counter)
            .filter(|behind| *behind <= WINDOW_LEN)
            .and_then(|_| self.blocks.get(index(counter / 64)))
            .is_some_and(|block| block & 1_u64 << (counter % 64) != 0);
        match is_known {
            true => Err(WindowError::Replayed),
            false => Ok(()),
        }
    }

    /// Forgets what falls out of the window when `counter` becomes the greatest.
    fn advance(&mut self, counter: u64) {
        let (from, to) = (self.greatest / 64, counter / 64);
        let fresh = (to - from).min(BLOCKS as u64);
        for nth in 0..fresh {
            *self.block(to - nth) = 0;
        }
        self.greatest = counter;
    }

    fn block(&mut self, nth: u64) -> &mut u64 {
        let block = self.blocks.get_mut(index(nth));
        block.expect("a remainder is below the length")
    }
}

fn index(nth: u64) -> usize {
    usize::try_from(nth % BLOCKS as u64).expect("a remainder is small")
}
