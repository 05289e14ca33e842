//! When attempts at a tunnel begin, and when they are over.
//!
//! A dial takes as long as all attempts of the profile. In it each attempt is a generation, with a
//! source port, a key and a time of its own, so that whatever became of one is not in the way of
//! the next. One that was not answered yet still may be while the next begins: the first answer
//! ends the dial.
use super::{Client, Event, Failure, Path, Stream, generation::Generation};
use crate::paniq::preamble::{self, ClientError};
use sansbox_core::Instant;
use std::{net::SocketAddr, time::Duration};

/// Pause after the first dial that failed; it doubles with each that follows.
const BACKOFF_MIN: Duration = Duration::from_millis(500);

/// The longest pause.
const BACKOFF_MAX: Duration = Duration::from_secs(15);

/// Pause after the first attempt that did not arrive; it doubles with each that follows.
const REFUSED_MIN: Duration = Duration::from_millis(100);

/// The longest pause after one that did not arrive: with what is drawn, a second.
const REFUSED_MAX: Duration = Duration::from_millis(800);

/// How long the first attempt of a dial is left alone at least, as TCP leaves a SYN (RFC 6298
/// section 2.1). Preambles closer together would look the same to a Go server where a profile has
/// no key, which tells them apart by the second.
const UNANSWERED_MIN: Duration = Duration::from_secs(1);

/// What a datagram of the preamble costs where the server limits them, which clients are not told:
/// at 50 each second, as new profiles say. Two attempts never are more than one burst.
const DATAGRAM_COST: Duration = Duration::from_millis(20);

/// How long attempts and dials are apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pauses {
    /// All of a preamble's own.
    preamble: Duration,
    /// The first after an attempt that is not answered; it doubles with each that follows.
    first: Duration,
    /// The longest: `handshake_timeout`.
    longest: Duration,
    /// All attempts of the profile.
    dial: Duration,
}

impl Pauses {
    pub(super) fn new(config: &preamble::ClientConfig) -> Self {
        let datagrams = config.framer.params().preamble_len();
        let datagrams = u32::try_from(datagrams).unwrap_or(u32::MAX);
        let longest = config.timeout();
        let first = UNANSWERED_MIN.max(DATAGRAM_COST.saturating_mul(datagrams));
        let pause = config.delay.saturating_add(config.jitter);
        Self {
            preamble: pause.saturating_mul(datagrams - 1),
            first: first.min(longest),
            longest,
            dial: longest.saturating_mul(config.attempts()),
        }
    }
}

/// Attempts until one is answered.
#[derive(Debug)]
pub(super) struct Dial {
    /// Its last attempt.
    newest: Path,
    /// When it fails; known once the first attempt has a socket.
    ends_at: Option<Instant>,
    /// When the next attempt begins, unless there is an answer; known once the last has a socket.
    next_at: Option<Instant>,
    /// The pause after an attempt that is not answered.
    unanswered: Duration,
    /// The pause after one that did not arrive.
    refused: Duration,
    /// The last attempt but one did not arrive.
    is_refused: bool,
}

impl Client {
    /// The system says that a datagram did not arrive which was sent to `to` from the socket of
    /// `path`. Unlike silence that ends an attempt: it sends no more, and the next begins after a
    /// short pause. Anybody may forge such a message, so an answer still counts during the pause,
    /// and a tunnel that stands is left alone.
    pub fn path_unreachable(&mut self, now: Instant, path: Path, to: SocketAddr) {
        let dial = self.dial.as_mut().filter(|dial| dial.newest == path);
        let generation = self.generations.get_mut(&path);
        let (Some(dial), Some(generation)) = (dial, generation) else {
            return;
        };
        if generation.server == to && generation.mute() {
            let pause = self.draws.stretch(dial.refused);
            dial.next_at = Some(now + pause);
            dial.refused = (dial.refused * 2).min(REFUSED_MAX);
        }
        self.drive(now);
    }

    /// An attempt has its socket.
    pub(super) fn expect_answer(&mut self, now: Instant, path: Path) {
        let Some(dial) = self.dial.as_mut().filter(|dial| dial.newest == path) else {
            return;
        };
        dial.ends_at.get_or_insert(now + self.pauses.dial);
        let pause = self.draws.stretch(dial.unanswered);
        dial.next_at = Some(now + self.pauses.preamble + pause);
    }

    /// Is there somebody whom the tunnels that stand do not serve?
    fn wants_dial(&self, now: Instant) -> bool {
        let mut generations = self.generations.values();
        self.usable(now).is_none()
            && (!self.waiting.is_empty() || generations.any(|g| g.streams > 0 && g.is_silent(now)))
    }

    fn is_handshaking(&self) -> bool {
        self.generations.values().any(Generation::is_handshaking)
    }

    /// When [`Self::go_on_dialing`] has something to do.
    pub(super) fn dials_at(&self, now: Instant) -> Option<Instant> {
        let wants_dial = self.wants_dial(now);
        match &self.dial {
            Some(dial) => {
                let next_at = dial.next_at.filter(|_| wants_dial);
                [dial.ends_at, next_at].into_iter().flatten().min()
            }
            None => (wants_dial && !self.is_handshaking()).then_some(self.retry_at),
        }
    }

    /// Begins what is due: a dial or its next attempt, or its end.
    pub(super) fn go_on_dialing(&mut self, now: Instant) {
        if self.dials_at(now).is_none_or(|at| now < at) {
            return;
        }
        match &self.dial {
            None => self.begin_dial(now),
            Some(dial) if dial.ends_at.is_some_and(|at| at <= now) => {
                let path = dial.newest;
                let why = Failure::Preamble(ClientError::TimedOut);
                self.fail_dial(now, &why);
                self.events.push_back(Event::Down(path, why));
            }
            Some(_) => self.next_attempt(now),
        }
    }

    fn begin_dial(&mut self, now: Instant) {
        // Where a whole dial was in vain, its attempts are as far apart as Go's from then on.
        let unanswered = match self.failures {
            0 => self.pauses.first,
            _ => self.pauses.longest,
        };
        self.dialed_at = now;
        self.dial = Some(Dial {
            newest: self.attempt(),
            ends_at: None,
            next_at: None,
            unanswered,
            refused: REFUSED_MIN,
            is_refused: false,
        });
    }

    fn next_attempt(&mut self, now: Instant) {
        let newest = self.attempt();
        let Some(dial) = &mut self.dial else {
            return;
        };
        let last = core::mem::replace(&mut dial.newest, newest);
        let last = self.generations.get_mut(&last);
        dial.next_at = None;
        dial.is_refused = last.as_ref().is_some_and(|last| last.is_muted);
        match last.filter(|last| last.is_muted) {
            Some(refused) => refused.close(now),
            None => dial.unanswered = (dial.unanswered * 2).min(self.pauses.longest),
        }
    }

    fn attempt(&mut self) -> Path {
        let path = Path(self.paths_made);
        let seed = self.seed.derive_nth("paniq/generation", self.paths_made);
        self.paths_made += 1;
        let generation = Generation::new(path, &self.config, seed);
        self.generations.insert(path, generation);
        self.events.push_back(Event::NewSourcePort(path));
        path
    }

    /// An attempt failed: does its dial go on without it?
    pub(super) fn survives(&mut self, now: Instant, path: Path, why: &Failure) -> bool {
        let Some(dial) = &mut self.dial else {
            return false;
        };
        match why {
            Failure::Preamble(ClientError::TimedOut) => true,
            Failure::NoSocket => {
                if dial.newest == path {
                    dial.next_at = Some(now + self.pauses.first);
                }
                self.generations.values().any(Generation::is_before_quic)
            }
            Failure::Preamble(ClientError::ServerKey(_) | ClientError::TooSlow)
            | Failure::HandshakeTimedOut
            | Failure::Quic(_)
            | Failure::WrongKey
            | Failure::Silent
            | Failure::Exhausted
            | Failure::Settings(_) => false,
        }
    }

    /// An attempt was answered, or all have failed: those that are left are over.
    pub(super) fn end_dial(&mut self, now: Instant) -> Option<Dial> {
        let dial = self.dial.take()?;
        let attempts = self.generations.values_mut();
        for attempt in attempts.filter(|g| g.is_before_quic()) {
            attempt.close(now);
        }
        Some(dial)
    }

    /// There is no tunnel. Who waited for it since the dial began learns that; who came later
    /// waits for the next one, unless that must fail as well.
    pub(super) fn fail_dial(&mut self, now: Instant, why: &Failure) {
        let dial = self.end_dial(now);
        // No server is there: to ask again costs no more than the attempts did.
        let longest = match dial {
            Some(dial) if dial.is_refused => REFUSED_MAX,
            _ => BACKOFF_MAX,
        };
        let pause = BACKOFF_MIN.saturating_mul(1 << self.failures.min(16));
        let pause = self.draws.stretch(pause.min(longest));
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now + pause;
        let had_all = self.dialed_at + self.config.open_timeout;
        let waiting = self.waiting.iter().copied();
        let vain: Vec<Stream> = waiting
            .filter(|stream| why.is_lasting() || self.waits_until(*stream) <= Some(had_all))
            .collect();
        for stream in vain {
            self.refuse(stream, why.refusal());
        }
    }
}
