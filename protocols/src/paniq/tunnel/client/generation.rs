//! One attempt at a tunnel, and the tunnel that comes of it: socket, preamble, QUIC connection.
use super::{ClientConfig, Failure, Path, Stream, liveness::Liveness};
use crate::paniq::{
    Draws,
    preamble::{self, ClientEvent},
    timestamp::WallClock,
    transport::{OpenError, Opener, SealError, Sealer},
    tunnel::{
        HANDSHAKE_TIMEOUT,
        batch::{Batch, Lengths},
        settings::WINDOWS,
    },
};
use bytes::{Buf as _, BytesMut};
use sansbox_core::{Instant, Seed};
use sansbox_quic::{ConnectionId, Endpoint, Event, Lost, Outgoing, Sources, StreamId};
use std::{collections::VecDeque, net::SocketAddr, time::Duration};

/// How often a suspected tunnel is asked. Where one datagram in ten is lost, one trial in fifty
/// thousand is unjust.
const QUESTIONS: u32 = 6;

/// Counters that are left when a tunnel takes no more streams.
const COUNTERS_LEFT: u64 = 1 << 20;

/// What a generation tells the carrier.
#[derive(Debug)]
pub(super) enum Told {
    /// The server answered the preamble: there is a way to it.
    Answered,
    Ready,
    Failed(Failure),
    /// Something came over a stream, or it has room.
    Stream(Stream),
    /// More streams may be opened.
    Available,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Waits for its first socket.
    Port,
    Preamble,
    Handshake {
        deadline: Instant,
    },
    Ready,
    /// Failed or closed; what is left to be sent is.
    Over,
}

/// A suspected tunnel is asked when there is a way to the server, and has half a probe timeout for
/// each answer: after a long outage its own probes are far apart. From the second on, questions
/// are answered at once, whether or not the one before was lost (RFC 9000 section 13.2.1).
#[derive(Clone, Copy, Debug)]
struct Trial {
    /// Questions that are still to be asked.
    left: u32,
    /// When the next one is due, or when the last one's time is over.
    next_at: Instant,
}

pub(super) struct Generation {
    pub(super) path: Path,
    pub(super) server: SocketAddr,
    pub(super) stage: Stage,
    seed: Seed,
    preamble: Option<preamble::Client>,
    quic: Option<(Endpoint, ConnectionId)>,
    lengths: Lengths,
    sealer: Sealer,
    opener: Opener,
    draws: Draws,
    /// Datagrams sealed: the next counter.
    sealed: u64,
    batch: Batch,
    liveness: Liveness,
    trial: Option<Trial>,
    told: VecDeque<Told>,
    /// Streams of the carrier that use it.
    pub(super) streams: usize,
    /// The tunnel stood.
    pub(super) was_up: bool,
    /// The preamble sends no more.
    pub(super) is_muted: bool,
}

impl Generation {
    pub(super) fn new(path: Path, config: &ClientConfig, seed: Seed) -> Self {
        Self {
            path,
            server: config.server,
            stage: Stage::Port,
            preamble: None,
            quic: None,
            lengths: Lengths::new(config.codec.budget(), config.codec.padding()),
            sealer: Sealer::default(),
            opener: Opener::default(),
            draws: Draws::new(seed.derive("paniq/envelope")),
            sealed: 0,
            batch: Batch::new(),
            liveness: Liveness::default(),
            trial: None,
            told: VecDeque::new(),
            streams: 0,
            was_up: false,
            is_muted: false,
            seed,
        }
    }

    pub(super) const fn is_dialing(&self) -> bool {
        matches!(
            self.stage,
            Stage::Port | Stage::Preamble | Stage::Handshake { .. }
        )
    }

    /// Was its preamble answered, and nothing more yet?
    pub(super) const fn is_handshaking(&self) -> bool {
        matches!(self.stage, Stage::Handshake { .. })
    }

    /// Is the server's address not fixed yet?
    pub(super) const fn is_before_quic(&self) -> bool {
        matches!(self.stage, Stage::Port | Stage::Preamble)
    }

    /// What its preamble sent did not arrive: it sends no more, and an answer still counts. Was
    /// that news?
    pub(super) fn mute(&mut self) -> bool {
        let Some(preamble) = &mut self.preamble else {
            return false;
        };
        preamble.mute();
        !core::mem::replace(&mut self.is_muted, true)
    }

    /// Has nothing answered for too long?
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.liveness.silent_at().is_some_and(|at| at <= now)
    }

    /// There is a way to the server: does it lead here as well?
    pub(super) fn suspect(&mut self, now: Instant) {
        if self.stage != Stage::Ready || self.trial.is_some() || !self.is_silent(now) {
            return;
        }
        let left = QUESTIONS;
        self.trial = Some(Trial { left, next_at: now });
        self.ask(now);
    }

    /// Asks the next question of a trial, when it is due.
    fn ask(&mut self, now: Instant) {
        let wait = self.liveness.probe() / 2;
        let Some(trial) = self
            .trial
            .as_mut()
            .filter(|trial| trial.left > 0 && trial.next_at <= now)
        else {
            return;
        };
        trial.left -= 1;
        trial.next_at = now + wait;
        if let Some((endpoint, connection)) = &mut self.quic {
            endpoint.ping(now, *connection);
        }
    }

    /// Was it asked, and did it not answer?
    pub(super) fn is_condemned(&self, now: Instant) -> bool {
        let trial = self.trial.filter(|trial| trial.left == 0);
        trial.is_some_and(|trial| trial.next_at <= now)
            && self.liveness.dead_at().is_some_and(|at| at <= now)
    }

    /// May new streams begin here?
    pub(super) fn is_usable(&self, now: Instant, config: &ClientConfig) -> bool {
        self.stage == Stage::Ready && !self.is_silent(now) && !self.is_worn(config)
    }

    fn is_worn(&self, config: &ClientConfig) -> bool {
        let limit = config.codec.counting().limit;
        let left = COUNTERS_LEFT.min(limit / 4);
        config.codec.budget().has_counter() && self.sealed >= limit - left
    }

    pub(super) fn endpoint(&mut self) -> Option<&mut Endpoint> {
        self.quic.as_mut().map(|(endpoint, _)| endpoint)
    }

    /// Is the connection, which streams use, there?
    pub(super) fn is_alive(&self) -> bool {
        let quic = self.quic.as_ref();
        quic.is_some_and(|(endpoint, connection)| endpoint.is_alive(*connection))
    }

    pub(super) fn open(&mut self, now: Instant, stream: Stream) -> Option<StreamId> {
        let (endpoint, connection) = self.quic.as_mut()?;
        endpoint.open_labelled(now, *connection, stream.0)
    }

    pub(super) fn source_port_changed(&mut self, now: Instant, config: &ClientConfig) {
        if self.stage != Stage::Port {
            return;
        }
        let seed = self.seed.derive("paniq/handshake");
        // Each attempt is a generation, with a port of its own.
        let once = preamble::ClientConfig {
            attempts: 1,
            ..config.preamble.clone()
        };
        match preamble::Client::new(now, once, seed) {
            Ok(preamble) => {
                self.preamble = Some(preamble);
                self.stage = Stage::Preamble;
            }
            Err(error) => self.fail(now, Failure::Preamble(error)),
        }
    }

    /// # Errors
    /// Why the datagram is none of the server's.
    pub(super) fn handle_datagram(
        &mut self,
        now: Instant,
        config: &ClientConfig,
        wall: &WallClock,
        mut data: BytesMut,
    ) -> Result<(), OpenError> {
        if let Some(preamble) = &mut self.preamble {
            let _ = preamble.handle_datagram(&data);
            self.follow_preamble(now, config, wall);
            return Ok(());
        }
        let Some((endpoint, _)) = &mut self.quic else {
            return Ok(());
        };
        let inner = config.codec.open(&mut self.opener, &data)?;
        data.truncate(inner.end);
        data.advance(inner.start);
        if !config.codec.needs_proof() {
            endpoint.handle_datagram(now, self.server, 0, data);
        } else if endpoint.judge_datagram(now, self.server, 0, data) {
            config.codec.prove(&mut self.opener);
        }
        self.follow_quic(now);
        Ok(())
    }

    fn follow_preamble(&mut self, now: Instant, config: &ClientConfig, wall: &WallClock) {
        while let Some(event) = self.preamble.as_mut().and_then(|p| p.poll_event()) {
            match event {
                // There is one attempt.
                ClientEvent::NewSourcePort => {}
                ClientEvent::Ready => {
                    self.preamble = None;
                    self.told.push_back(Told::Answered);
                    self.begin_quic(now, config, wall);
                }
                ClientEvent::Failed(error) => self.fail(now, Failure::Preamble(error)),
            }
        }
    }

    fn begin_quic(&mut self, now: Instant, config: &ClientConfig, wall: &WallClock) {
        // What the wall clock would have said at zero.
        let time = wall.at(now);
        let epoch = Duration::new(time.secs, time.nanos);
        let epoch = epoch.saturating_sub(Duration::from_nanos(now.as_nanos()));
        let sources = Sources::new(self.seed.derive("paniq/quic"), epoch, false);
        let budget = config.codec.budget();
        let (endpoint, client) = match config.settings.client(&sources, budget, config.pin) {
            Ok(configs) => configs,
            Err(error) => return self.fail(now, Failure::Settings(error.to_string())),
        };
        let mut endpoint = Endpoint::client(sources, endpoint, client)
            .with_windows(WINDOWS)
            .without_answers_to_strangers();
        // As an address it is not told to the server (no SNI).
        let name = self.server.ip().to_string();
        match endpoint.connect(now, self.server, &name) {
            Ok(connection) => {
                let deadline = now + HANDSHAKE_TIMEOUT;
                self.stage = Stage::Handshake { deadline };
                self.quic = Some((endpoint, connection));
            }
            Err(error) => self.fail(now, Failure::Settings(error.to_string())),
        }
    }

    /// Takes what QUIC tells after anything that a datagram or a timer has done.
    fn follow_quic(&mut self, now: Instant) {
        self.follow_events(now);
        self.look(now);
    }

    /// Takes what QUIC tells.
    pub(super) fn follow_events(&mut self, now: Instant) {
        while let Some(event) = self.endpoint().and_then(Endpoint::poll_event) {
            match event {
                Event::Connected(_) => {
                    self.stage = Stage::Ready;
                    self.was_up = true;
                    self.told.push_back(Told::Ready);
                }
                Event::Lost(_, _, why) => self.lost(why),
                Event::LabelReady(label) => self.told.push_back(Told::Stream(Stream(label))),
                Event::Available(_) => self.told.push_back(Told::Available),
                // The server opens no streams in this protocol.
                Event::Opened(stream) => {
                    if let Some(endpoint) = self.endpoint() {
                        endpoint.abandon(now, stream);
                    }
                }
                // A client accepts nothing, and `is_gone` asks for what is forgotten.
                Event::Incoming(_) | Event::Forgotten(..) | Event::Ready(_) | _ => {}
            }
        }
    }

    fn look(&mut self, now: Instant) {
        let activity = self.quic.as_ref().and_then(|(endpoint, connection)| {
            endpoint
                .activity(*connection)
                .filter(|_| self.stage == Stage::Ready)
        });
        match activity {
            Some(activity) => self.liveness.update(now, activity),
            None => self.liveness.asked_at = None,
        }
        if self.liveness.asked_at.is_none() {
            self.trial = None;
        }
    }

    fn lost(&mut self, why: Lost) {
        if self.stage != Stage::Over {
            self.stage = Stage::Over;
            let failure = if why == Lost::WrongKey {
                Failure::WrongKey
            } else {
                Failure::Quic(why)
            };
            self.told.push_back(Told::Failed(failure));
        }
    }

    /// Ends the generation for a reason of this side's.
    pub(super) fn fail(&mut self, now: Instant, why: Failure) {
        self.close(now);
        self.told.push_back(Told::Failed(why));
    }

    /// Does anything of the carrier's streams, or of those it has forgotten, still lie here?
    pub(super) fn is_needed(&mut self) -> bool {
        self.streams > 0
            || self
                .quic
                .as_mut()
                .is_some_and(|(endpoint, connection)| endpoint.has_unacknowledged(*connection))
    }

    /// Ends the generation, which nobody needs.
    pub(super) fn close(&mut self, now: Instant) {
        self.stage = Stage::Over;
        self.preamble = None;
        if let Some((endpoint, connection)) = &mut self.quic {
            // The words that the Go client has for it.
            endpoint.close(now, *connection, 0, "reconnect");
        }
        self.follow_quic(now);
    }

    /// Is nothing left to do?
    pub(super) fn is_gone(&self) -> bool {
        self.stage == Stage::Over
            && self.told.is_empty()
            && self.quic.as_ref().is_none_or(|(quic, _)| quic.is_empty())
    }

    /// Has it something to tell?
    pub(super) fn has_told(&self) -> bool {
        !self.told.is_empty()
    }

    pub(super) fn poll(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    pub(super) fn poll_transmit(
        &mut self,
        now: Instant,
        config: &ClientConfig,
        wall: &WallClock,
        segments_max: usize,
        out: &mut BytesMut,
    ) -> Option<Outgoing> {
        if let Some(preamble) = &mut self.preamble {
            out.clear();
            let segment = preamble.poll_transmit(now, wall.at(now), out)?;
            let to = self.server;
            return Some(Outgoing {
                to,
                ecn: 0,
                segment,
            });
        }
        let (endpoint, _) = self.quic.as_mut()?;
        let mut is_exhausted = false;
        let (draws, sealer, sealed) = (&mut self.draws, &mut self.sealer, &mut self.sealed);
        let seal = |_, inner: &[u8], padding, out: &mut BytesMut| {
            let result = config.codec.seal_padded(draws, sealer, inner, padding, out);
            is_exhausted |= result == Err(SealError::Exhausted);
            *sealed += u64::from(result.is_ok());
            result
        };
        let outgoing = self
            .batch
            .poll(now, &self.lengths, endpoint, segments_max, out, seal);
        if is_exhausted && self.stage != Stage::Over {
            self.fail(now, Failure::Exhausted);
        }
        self.look(now);
        outgoing
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let preamble = self.preamble.as_ref().and_then(|p| p.poll_timeout());
        let quic = self.quic.as_ref().and_then(|(quic, _)| quic.poll_timeout());
        let handshake = match self.stage {
            Stage::Handshake { deadline } => Some(deadline),
            Stage::Port | Stage::Preamble | Stage::Ready | Stage::Over => None,
        };
        [preamble, quic, handshake].into_iter().flatten().min()
    }

    /// When it will be suspected, asked again or condemned, whichever of them comes next.
    pub(super) fn silent_after(&self, now: Instant) -> Option<Instant> {
        let trial = self.trial.map(|trial| trial.next_at);
        let dead = self.liveness.dead_at().filter(|_| trial.is_some());
        let all = [self.liveness.silent_at(), trial, dead];
        all.into_iter().flatten().filter(|at| *at > now).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, config: &ClientConfig, wall: &WallClock) {
        if let Some(preamble) = &mut self.preamble {
            preamble.handle_timeout(now);
            return self.follow_preamble(now, config, wall);
        }
        if let Some((endpoint, _)) = &mut self.quic {
            endpoint.handle_timeout(now);
        }
        self.ask(now);
        self.follow_quic(now);
        if let Stage::Handshake { deadline } = self.stage
            && deadline <= now
        {
            self.fail(now, Failure::HandshakeTimedOut);
        }
    }
}
