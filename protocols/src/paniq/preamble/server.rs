//! The server's side: judges the preambles of every source and keeps the tunnels they lead to.
//!
//! Nothing is answered but an Initiation that passes every check, and that only once. What a
//! source sent before its Initiation is remembered only where the judgement needs it.
mod judge;

use super::{
    limiter::Limiter,
    outcome::{Dropped, Taken, UnknownPeer, in_tunnel},
    replay::{Recent, Replays},
    rules::{Memory, Rules, Sequence, ServerConfig},
    source::Source,
    table::Table,
};
use crate::paniq::{
    mac::MAC1_LEN,
    obf::{Chain, FrameError, Kind, Signature},
    timestamp::{ENCRYPTED_LEN, UnixTime},
    transport::{OpenError, Opener, Sealed, Sealer},
};
use blake2::{Blake2s128, Digest as _, digest::Update as _};
use bytes::BytesMut;
use sansbox_core::Instant;
use std::{net::SocketAddr, time::Duration};

/// What tells an Initiation that was answered from all others: its hash.
type Answered = [u8; 16];

/// How exactly it is known when a tunnel was last used.
const GRAIN: Duration = Duration::from_secs(1);

/// What a source sent before its Initiation.
#[derive(Clone, Copy, Debug, Default)]
struct HalfOpen {
    last_seen: Instant,
    octets: usize,
    /// Datagrams that were junk, where they are counted.
    junk: usize,
    /// One bit for each signature chain, in their order.
    signatures: u8,
    timestamp: Option<u32>,
}

#[derive(Debug)]
struct Ready {
    /// What was answered.
    initiation: Answered,
    sealer: Sealer,
    opener: Opener,
}

/// Judges preambles and keeps tunnels, by source address.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    rules: Rules,
    half_open: Table<Source, HalfOpen>,
    ready: Table<Source, Ready>,
    replays: Replays,
    /// MAC1 of Initiations without a time of their own. The `<t>` that came with one is anybody's
    /// word, so it is remembered whatever that says, until so many came after it.
    initiations: Table<[u8; MAC1_LEN], ()>,
    /// Where those with a `<t>` are remembered otherwise.
    recent: Option<Recent>,
    limiter: Option<Limiter>,
    /// Octets that must come before an answer.
    octets_needed: usize,
    /// Need earlier octets of a source be counted?
    counts_octets: bool,
}

impl Server {
    /// A server without tunnels.
    #[must_use]
    pub fn new(config: ServerConfig, rules: Rules) -> Self {
        let framer = config.codec.framer();
        let params = framer.params();
        // The shortest that could pass.
        let payload_len = match &config.key {
            Some(_) if config.require_encrypted_timestamp => ENCRYPTED_LEN + MAC1_LEN,
            Some(_) => MAC1_LEN,
            None => 0,
        };
        let initiation = framer.head_len(Kind::Initiation) + payload_len;
        let signatures: usize = params.signatures().map(|chain| chain.len()).sum();
        let preamble = params.jc() * params.jmin() + signatures + initiation;
        let octets_needed = match rules.bounded_answers {
            true => framer.head_len(Kind::Response).min(preamble),
            false => 0,
        };
        Self {
            half_open: Table::new(rules.half_open_max, Duration::ZERO),
            ready: Table::new(rules.ready_max, GRAIN),
            replays: Replays::new(config.replays_max),
            initiations: Table::new(config.replays_max, Duration::ZERO),
            recent: match rules.memory {
                Memory::ByTime => None,
                Memory::Recent { forgets_after } => {
                    Some(Recent::new(config.replays_max, forgets_after))
                }
            },
            limiter: config
                .rate_limit
                .and_then(|limit| Limiter::new(limit, rules.limited_max, rules.strict_limit)),
            octets_needed,
            counts_octets: initiation < octets_needed,
            config,
            rules,
        }
    }

    /// Takes no preamble that was made before `wall`: this server may have taken it in an earlier
    /// life. Clients whose clocks are slow wait until theirs says the same. Nothing changes by the
    /// rules of the Go server.
    pub fn begin(&mut self, wall: UnixTime) {
        if self.remembers_all() {
            self.replays.begin(wall.secs);
        }
    }

    /// Is a preamble taken only once?
    const fn remembers_all(&self) -> bool {
        self.rules.encrypted_window.is_some()
    }

    /// Takes a datagram from `source`. What is to be sent back is appended to `out`; `wall` is
    /// what the wall clock says now.
    ///
    /// # Errors
    /// [`Dropped`], to be counted and never answered.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        wall: UnixTime,
        source: SocketAddr,
        datagram: &[u8],
        out: &mut BytesMut,
    ) -> Result<Taken, Dropped> {
        if datagram.is_empty() {
            return Err(Dropped::Empty);
        }
        let frame = self.config.codec.framer().decode(datagram);
        if let Ok((Kind::Transport, at)) = frame
            && let Some(ready) = self.ready.touch(now, source)
        {
            let codec = &self.config.codec;
            let inner = codec.open_payload(&mut ready.opener, datagram, at)?;
            return Ok(Taken::Inner(inner));
        }
        if !self.rules.rearms && self.ready.get(source).is_some() {
            return Err(in_tunnel(frame).into());
        }
        let limiter = self.limiter.as_mut();
        let is_limited = limiter.is_some_and(|limiter| !limiter.allows(now, source.ip()));
        if self.rules.sequence == Sequence::Exact {
            let taken = match is_limited {
                true => Err(Dropped::RateLimited),
                false => self.in_sequence(now, wall, source, datagram, frame, out),
            };
            if taken.is_err() {
                self.half_open.remove(source);
            }
            return taken;
        }
        if is_limited {
            return Err(Dropped::RateLimited);
        }
        match frame {
            Ok((Kind::Initiation, at)) => self.initiation(now, wall, source, datagram, at, out),
            other => self.before_initiation(now, source, datagram, other),
        }
    }

    /// The next datagram of a preamble whose order is exact.
    fn in_sequence(
        &mut self,
        now: Instant,
        wall: UnixTime,
        source: SocketAddr,
        datagram: &[u8],
        frame: Result<(Kind, usize), FrameError>,
        out: &mut BytesMut,
    ) -> Result<Taken, Dropped> {
        let framer = self.config.codec.framer().clone();
        let params = framer.params();
        let validates = self.config.signature_validate;
        let half = self.half_open(now, source);
        if half.junk < params.jc() {
            half.junk += 1;
            return Ok(Taken::Junk {
                is_signature: false,
            });
        }
        let nth = half.signatures.trailing_ones();
        let due = usize::try_from(nth).ok();
        if let Some(chain) = due.and_then(|nth| params.signatures().nth(nth)) {
            let signature = read(chain, datagram, validates).ok_or(Dropped::OutOfSequence)?;
            half.signatures |= 1 << nth;
            half.timestamp = signature.timestamp.or(half.timestamp);
            return Ok(Taken::Junk { is_signature: true });
        }
        match frame {
            Ok((Kind::Initiation, at)) => self.initiation(now, wall, source, datagram, at, out),
            _ => Err(Dropped::OutOfSequence),
        }
    }

    /// Junk, a signature, or a frame that is neither.
    fn before_initiation(
        &mut self,
        now: Instant,
        source: SocketAddr,
        datagram: &[u8],
        frame: Result<(Kind, usize), FrameError>,
    ) -> Result<Taken, Dropped> {
        let validates = self.config.signature_validate;
        let (mut signatures, mut timestamp) = (0, None);
        let params = self.config.codec.framer().params();
        for (nth, chain) in params.signatures().enumerate() {
            if let Some(signature) = read(chain, datagram, validates) {
                signatures |= 1 << nth;
                timestamp = signature.timestamp.or(timestamp);
            }
        }
        let is_signature = signatures != 0;
        if self.counts_octets || is_signature && self.needs_signatures() {
            let half = self.half_open(now, source);
            half.octets = half.octets.saturating_add(datagram.len());
            half.signatures |= signatures;
            half.timestamp = timestamp.or(half.timestamp);
        }
        match frame {
            Ok((kind, _)) if !is_signature => self.without_tunnel(source, kind),
            _ if !is_signature && self.ready.get(source).is_some() => Err(in_tunnel(frame).into()),
            _ => Ok(Taken::Junk { is_signature }),
        }
    }

    fn without_tunnel(&self, source: SocketAddr, kind: Kind) -> Result<Taken, Dropped> {
        match self.ready.get(source) {
            Some(_) => Err(OpenError::Unexpected(kind).into()),
            None => Err(Dropped::NoTunnel(kind)),
        }
    }

    /// Does an Initiation's fate depend on signatures? Not when it must prove its time by itself.
    const fn needs_signatures(&self) -> bool {
        self.config.key.is_none() || !self.config.require_encrypted_timestamp
    }

    /// What is known of a source, anew if it was silent for too long.
    fn half_open(&mut self, now: Instant, source: SocketAddr) -> &mut HalfOpen {
        let fresh = HalfOpen {
            last_seen: now,
            ..HalfOpen::default()
        };
        if self.half_open.touch(now, source).is_none() {
            self.half_open.insert(now, source, fresh);
        }
        let half = self.half_open.touch(now, source);
        let half = half.expect("it was just inserted");
        if now > half.last_seen + self.config.timeout {
            *half = fresh;
        }
        half.last_seen = now;
        half
    }

    fn initiation(
        &mut self,
        now: Instant,
        wall: UnixTime,
        source: SocketAddr,
        datagram: &[u8],
        at: usize,
        out: &mut BytesMut,
    ) -> Result<Taken, Dropped> {
        let payload = datagram.get(at..).unwrap_or_default();
        let half = self.half_open.get(source).copied();
        let half = half
            .filter(|half| now <= half.last_seen + self.config.timeout)
            .unwrap_or_default();
        match &self.config.key {
            Some(key) if payload.len() < MAC1_LEN || !key.mac().verifies(datagram) => {
                return Err(Dropped::Mac);
            }
            Some(_) => {}
            None => self.has_all_signatures(&half)?,
        }
        if half.octets + datagram.len() < self.octets_needed {
            let half = self.half_open(now, source);
            half.octets += datagram.len();
            return Err(Dropped::TooShortToAnswer);
        }
        let initiation = Answered::from(Blake2s128::new().chain(datagram).finalize());
        let known = self.ready.get(source);
        let is_new = known.is_none_or(|ready| ready.initiation != initiation);
        if is_new {
            let judge::Judged { passed, mac } =
                self.judge(wall, source, datagram, payload, half.timestamp)?;
            self.remember(now, passed)?;
            if let Some(mac) = mac {
                self.initiations.insert(now, mac, ());
            }
            let ready = Ready {
                initiation,
                sealer: Sealer::default(),
                opener: Opener::default(),
            };
            self.ready.insert(now, source, ready);
        } else {
            self.ready.touch(now, source);
        }
        self.half_open.remove(source);
        let framer = self.config.codec.framer();
        framer.encode(&mut self.config.draws, Kind::Response, &[], out);
        Ok(Taken::Answered { is_new })
    }

    fn remember(&mut self, now: Instant, passed: Option<judge::Passed>) -> Result<(), Dropped> {
        let Some(passed) = passed else {
            return Ok(());
        };
        let Some(recent) = &mut self.recent else {
            let judge::Passed {
                made_at,
                key,
                oldest,
            } = passed;
            self.replays.insert(made_at, &key, oldest);
            return Ok(());
        };
        match recent.sees_again(now, passed.key) {
            true => Err(Dropped::Replayed),
            false => Ok(()),
        }
    }

    fn has_all_signatures(&self, half: &HalfOpen) -> Result<(), Dropped> {
        let params = self.config.codec.framer().params();
        let all = (1_u8 << params.signatures().count()) - 1;
        match half.signatures == all {
            true => Ok(()),
            false => Err(Dropped::NoSignatures),
        }
    }

    /// Appends the frame of a QUIC datagram for `peer` to `out`.
    ///
    /// # Errors
    /// [`UnknownPeer`]; `out` is as before then.
    pub fn seal(
        &mut self,
        peer: SocketAddr,
        inner: &[u8],
        padding: Option<usize>,
        out: &mut BytesMut,
    ) -> Result<Sealed, UnknownPeer> {
        let ready = self.ready.get_mut(peer).ok_or(UnknownPeer::NoTunnel)?;
        let ServerConfig { codec, draws, .. } = &mut self.config;
        Ok(codec.seal_padded(draws, &mut ready.sealer, inner, padding, out)?)
    }

    /// QUIC found the datagram authentic and new that came last from `peer`
    /// ([`Codec::prove`](crate::paniq::transport::Codec::prove)).
    pub fn prove(&mut self, peer: SocketAddr) {
        if let Some(ready) = self.ready.get_mut(peer) {
            self.config.codec.prove(&mut ready.opener);
        }
    }

    /// Forgets a tunnel: its QUIC connection has ended.
    pub fn forget(&mut self, peer: SocketAddr) {
        self.ready.remove(peer);
    }

    /// Has `peer` a tunnel?
    #[must_use]
    pub fn is_ready(&self, peer: SocketAddr) -> bool {
        self.ready.get(peer).is_some()
    }

    /// How many sources are in a preamble, have a tunnel, and are limited, and how many preambles
    /// are remembered by their time.
    #[must_use]
    pub fn occupancy(&self) -> [usize; 4] {
        let limited = self.limiter.as_ref().map_or(0, Limiter::len);
        [
            self.half_open.len(),
            self.ready.len(),
            limited,
            self.replays.len() + self.recent.as_ref().map_or(0, Recent::len),
        ]
    }

    /// A source that is silent for so long begins anew: its timeout must have passed.
    const fn silence_max(&self) -> Duration {
        self.config.timeout.saturating_add(Duration::from_nanos(1))
    }

    /// When something is to be forgotten.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let half_open = self.half_open.expiry(self.silence_max());
        let ready = self.ready.expiry(self.rules.idle);
        let limited = self.limiter.as_ref().and_then(Limiter::expiry);
        let all = [half_open, ready, limited].into_iter().flatten();
        all.min().filter(|at| *at < Instant::FAR)
    }

    /// Forgets who was silent for too long.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.half_open.expire(now, self.silence_max());
        self.ready.expire(now, self.rules.idle);
        if let Some(limiter) = &mut self.limiter {
            limiter.expire(now);
        }
    }
}

/// A signature; of one that is not validated, its length is enough.
fn read(chain: &Chain, datagram: &[u8], validates: bool) -> Option<Signature> {
    match validates {
        true => chain.read(datagram),
        false => (datagram.len() == chain.len()).then(Signature::default),
    }
}
