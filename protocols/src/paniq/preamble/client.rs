//! The client's side: preambles, one datagram at a time, until one is answered.
use super::initiation::{ClientAuth, Maker};
use crate::paniq::{
    obf::{FrameError, Framer, Kind},
    random::Draws,
    timestamp::{LowOrder, UnixTime},
};
use bytes::{Bytes, BytesMut};
use sansbox_core::{Blame, Closing, Instant, ProtocolError, Seed};
use std::{collections::VecDeque, time::Duration};
use thiserror::Error;

/// Attempts of a profile that says nothing.
pub const ATTEMPTS_DEFAULT: u32 = 3;

/// How long an attempt lasts in a profile that says nothing, sending included.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// From which port each attempt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourcePort {
    /// From a new one, with a new Initiation. To a Go server each attempt is then a client of its
    /// own, and no loss, duplicate or reordering of the one before is in its way
    /// (`docs/protocols/paniq.md`, Preamble).
    Fresh,
    /// From the first one, with the same Initiation, as the Go client does.
    Kept,
}

/// What a client needs to know.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The profile's frames.
    pub framer: Framer,
    /// What it has of the server's key.
    pub auth: ClientAuth,
    /// Attempts; 0 for [`ATTEMPTS_DEFAULT`].
    pub attempts: u32,
    /// How long each lasts; 0 for [`TIMEOUT_DEFAULT`].
    pub timeout: Duration,
    /// Pause behind each datagram but the Initiation.
    pub delay: Duration,
    /// What is added to the pause: anything from 0 to below this.
    pub jitter: Duration,
    /// From which port.
    pub source_port: SourcePort,
}

impl ClientConfig {
    /// How many attempts there are.
    pub(crate) const fn attempts(&self) -> u32 {
        match self.attempts {
            0 => ATTEMPTS_DEFAULT,
            attempts => attempts,
        }
    }

    /// How long each of them lasts.
    pub(crate) const fn timeout(&self) -> Duration {
        match self.timeout {
            Duration::ZERO => TIMEOUT_DEFAULT,
            timeout => timeout,
        }
    }
}

/// What ends or prevents a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The server's public key is none.
    #[error("server_public_key: {0}")]
    ServerKey(#[from] LowOrder),
    /// The pauses alone take an attempt's time.
    #[error("preamble_delay_ms: the pauses of a preamble take longer than handshake_timeout")]
    TooSlow,
    /// No attempt was answered.
    #[error("handshake timeout")]
    TimedOut,
}

impl ProtocolError for ClientError {
    fn blame(&self) -> Blame {
        match self {
            Self::ServerKey(_) | Self::TooSlow => Blame::Local,
            Self::TimedOut => Blame::Path,
        }
    }

    fn closing(&self) -> Closing {
        Closing::Silent
    }
}

/// What the owner of a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The next attempt wants a socket with another source port. Nothing is sent before
    /// [`Client::source_port_changed`].
    NewSourcePort,
    /// The server answered: QUIC may begin on this socket.
    Ready,
    /// Over.
    Failed(ClientError),
}

/// What a datagram was to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The answer.
    Response,
    /// A frame of another kind, or a Response to nothing: ignored.
    Unexpected(Kind),
    /// No frame: ignored.
    NoFrame(FrameError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The `nth` datagram of the preamble is due at `at`; the Initiation is the last.
    Sending { nth: usize, at: Instant },
    /// All is out that will be.
    AwaitResponse,
    /// The owner was asked for another port.
    AwaitSourcePort,
    /// Ready or failed.
    Done,
}

/// One handshake: sends preambles until the server answers.
///
/// The owner shows it only datagrams from the server's address.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    maker: Maker,
    draws: Draws,
    state: State,
    attempts_left: u32,
    deadline: Instant,
    /// What went out from this port.
    initiation: Option<Bytes>,
    events: VecDeque<ClientEvent>,
}

impl Client {
    /// A client whose first preamble begins at `now`, from a socket that the owner has opened.
    /// `seed` must be uniformly random: the ephemeral key comes from it.
    ///
    /// # Errors
    /// [`ClientError::ServerKey`] and [`ClientError::TooSlow`], when it could never succeed.
    pub fn new(now: Instant, mut config: ClientConfig, seed: Seed) -> Result<Self, ClientError> {
        (config.attempts, config.timeout) = (config.attempts(), config.timeout());
        let pauses = config.framer.params().preamble_len() - 1;
        let pauses = u32::try_from(pauses).unwrap_or(u32::MAX);
        if config.delay.saturating_mul(pauses) >= config.timeout {
            return Err(ClientError::TooSlow);
        }
        let mut draws = Draws::new(seed.derive("paniq/preamble"));
        let mut maker = Maker::new(config.auth.clone(), seed.derive("paniq/ephemeral"));
        // The server's key is tried once, so that making an Initiation cannot fail later.
        let time = UnixTime::default();
        maker.make(&config.framer, &mut draws, time, &mut BytesMut::new())?;
        Ok(Self {
            maker,
            draws,
            state: State::Sending { nth: 0, at: now },
            attempts_left: config.attempts - 1,
            deadline: now + config.timeout,
            initiation: None,
            events: VecDeque::new(),
            config,
        })
    }

    /// Appends the next datagram to `buf` when one is due; the number is how many octets it has.
    /// `wall` is what the wall clock says now.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        wall: UnixTime,
        buf: &mut BytesMut,
    ) -> Option<usize> {
        let State::Sending { nth, at } = self.state else {
            return None;
        };
        if now < at {
            return None;
        }
        let begin = buf.len();
        let params = self.config.framer.params();
        if nth < params.jc() {
            self.config.framer.junk(&mut self.draws, buf);
        } else if let Some(chain) = params.signatures().nth(nth - params.jc()) {
            // The field has 32 bits, which wrap in 2106 as in the Go programs.
            let seconds = wall.secs & u64::from(u32::MAX);
            let seconds = u32::try_from(seconds).unwrap_or_default();
            chain.emit(&mut self.draws, seconds, buf);
        } else {
            self.append_initiation(wall, buf);
            self.state = State::AwaitResponse;
            return Some(buf.len() - begin);
        }
        let jitter = u64::try_from(self.config.jitter.as_nanos()).unwrap_or(u64::MAX);
        let jitter = Duration::from_nanos(self.draws.below(jitter));
        self.state = State::Sending {
            nth: nth + 1,
            at: now + self.config.delay + jitter,
        };
        Some(buf.len() - begin)
    }

    fn append_initiation(&mut self, wall: UnixTime, buf: &mut BytesMut) {
        if let Some(initiation) = &self.initiation {
            buf.extend_from_slice(initiation);
            return;
        }
        let begin = buf.len();
        let framer = &self.config.framer;
        if self.maker.make(framer, &mut self.draws, wall, buf).is_ok() {
            let initiation = buf.get(begin..).unwrap_or_default();
            self.initiation = Some(Bytes::copy_from_slice(initiation));
        }
    }

    /// Takes a datagram of the server's.
    pub fn handle_datagram(&mut self, datagram: &[u8]) -> Heard {
        let kind = match self.config.framer.decode(datagram) {
            Ok((kind, _)) => kind,
            Err(error) => return Heard::NoFrame(error),
        };
        let is_open = matches!(self.state, State::Sending { .. } | State::AwaitResponse);
        if kind != Kind::Response || !is_open || self.initiation.is_none() {
            return Heard::Unexpected(kind);
        }
        self.state = State::Done;
        self.events.push_back(ClientEvent::Ready);
        Heard::Response
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// What was sent did not arrive: no more is sent in this attempt. An answer still counts.
    pub fn mute(&mut self) {
        if let State::Sending { .. } = self.state {
            self.state = State::AwaitResponse;
        }
    }

    /// The owner has another socket: the next attempt begins.
    pub fn source_port_changed(&mut self, now: Instant) {
        if self.state == State::AwaitSourcePort {
            self.initiation = None;
            self.begin(now);
        }
    }

    fn begin(&mut self, now: Instant) {
        self.state = State::Sending { nth: 0, at: now };
        self.deadline = now + self.config.timeout;
    }

    /// When the next datagram is due, or the attempt's time over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Sending { at, .. } => Some(at.min(self.deadline)),
            State::AwaitResponse => Some(self.deadline),
            State::AwaitSourcePort | State::Done => None,
        }
    }

    /// Handles the deadline, if `now` is not before it. A datagram that is due goes out by
    /// [`Self::poll_transmit`].
    pub fn handle_timeout(&mut self, now: Instant) {
        let is_running = matches!(self.state, State::Sending { .. } | State::AwaitResponse);
        if !is_running || now < self.deadline {
            return;
        }
        let Some(left) = self.attempts_left.checked_sub(1) else {
            self.state = State::Done;
            let failed = ClientEvent::Failed(ClientError::TimedOut);
            self.events.push_back(failed);
            return;
        };
        self.attempts_left = left;
        match self.config.source_port {
            SourcePort::Kept => self.begin(now),
            SourcePort::Fresh => {
                self.state = State::AwaitSourcePort;
                self.events.push_back(ClientEvent::NewSourcePort);
            }
        }
    }
}
