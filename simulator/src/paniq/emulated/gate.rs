//! What stands before a persona's QUIC server.
use super::wrap::{Wrap, trusting};
use crate::paniq::{
    persona::{Persona, Preamble},
    profile::Profile,
};
use bytes::{Buf as _, BytesMut};
use core::net::SocketAddr;
use sansbox_core::{Instant, Seed};
use sansbox_protocols::paniq::{
    Draws,
    obf::{Framer, Kind},
    preamble::{self, Dropped, Rules, Taken},
    timestamp::UnixTime,
    transport::OpenError,
};
use std::collections::BTreeMap;

/// Octets of a cookie, as the first Rust library had it.
const COOKIE_LEN: usize = 8;

/// What a datagram was.
pub(super) enum Passed {
    /// To be answered with this.
    Answer(BytesMut),
    /// QUIC.
    Inner(BytesMut),
    /// Part of a preamble.
    Nothing,
    /// Dropped; the text says why.
    Dropped(String),
    /// More QUIC than the program can hold.
    TooLong,
}

/// What a server does with datagrams before QUIC.
pub(super) enum Gate {
    /// Judges preambles.
    Judged(Box<preamble::Server>),
    /// Takes Transport frames from everybody.
    Open(Box<Wraps>),
    /// Wants a cookie back before it answers.
    Cookie(Box<Cookies>),
}

/// What a server that wants cookies knows.
pub(super) struct Cookies {
    framer: Framer,
    draws: Draws,
    of: BTreeMap<SocketAddr, [u8; COOKIE_LEN]>,
    wraps: Wraps,
}

/// Tunnels by their client's address.
pub(super) struct Wraps {
    persona: Persona,
    profile: Profile,
    seed: Seed,
    of: BTreeMap<SocketAddr, Wrap>,
}

impl Wraps {
    fn of(&mut self, peer: SocketAddr) -> &mut Wrap {
        let made = self.of.len() as u64;
        let make = || {
            let seed = self.seed.derive_nth("wrap", made);
            Wrap::new(&self.persona, &self.profile, seed)
        };
        self.of.entry(peer).or_insert_with(make)
    }

    fn open(&mut self, from: SocketAddr, mut data: BytesMut) -> Passed {
        match self.of(from).open(&data) {
            Ok(inner) => {
                data.truncate(inner.end);
                data.advance(inner.start);
                Passed::Inner(data)
            }
            Err(OpenError::TooLong { .. }) => Passed::TooLong,
            Err(why) => Passed::Dropped(why.to_string()),
        }
    }
}

impl Cookies {
    fn pass(&mut self, from: SocketAddr, data: BytesMut) -> Passed {
        let Ok((Kind::Initiation, at)) = self.framer.decode(&data) else {
            return self.wraps.open(from, data);
        };
        let mut answer = BytesMut::new();
        let draws = &mut self.draws;
        let cookie = *self.of.entry(from).or_insert_with(|| {
            let mut cookie = [0; COOKIE_LEN];
            draws.fill(&mut cookie);
            cookie
        });
        if data.get(at..).unwrap_or_default().ends_with(&cookie) {
            self.framer.encode(draws, Kind::Response, &[], &mut answer);
        } else {
            let kind = Kind::CookieReply;
            self.framer.encode(draws, kind, &cookie, &mut answer);
        }
        Passed::Answer(answer)
    }
}

impl Gate {
    pub(super) fn new(persona: &Persona, profile: &Profile, seed: Seed) -> Self {
        let wraps = Wraps {
            persona: *persona,
            profile: profile.clone(),
            seed,
            of: BTreeMap::new(),
        };
        if persona.wants_cookie {
            return Self::Cookie(Box::new(Cookies {
                framer: profile.codec().framer().clone(),
                draws: Draws::new(seed.derive("gate")),
                of: BTreeMap::new(),
                wraps,
            }));
        }
        let profile = trusting(persona, profile);
        let config = profile.server_preamble(seed.derive("gate"));
        match persona.preamble {
            Preamble::None | Preamble::Unchecked => Self::Open(Box::new(wraps)),
            Preamble::Fresh => {
                let rules = profile.server(seed).rules;
                Self::Judged(Box::new(preamble::Server::new(config, rules)))
            }
            Preamble::Go => Self::Judged(Box::new(preamble::Server::new(config, Rules::go()))),
        }
    }

    pub(super) fn pass(
        &mut self,
        now: Instant,
        wall: UnixTime,
        from: SocketAddr,
        mut data: BytesMut,
    ) -> Passed {
        match self {
            Self::Open(wraps) => wraps.open(from, data),
            Self::Judged(server) => {
                let mut answer = BytesMut::new();
                match server.handle_datagram(now, wall, from, &data, &mut answer) {
                    Ok(Taken::Junk { .. }) => Passed::Nothing,
                    Ok(Taken::Answered { .. }) => Passed::Answer(answer),
                    Ok(Taken::Inner(inner)) => {
                        data.truncate(inner.end);
                        data.advance(inner.start);
                        Passed::Inner(data)
                    }
                    Err(Dropped::Open(OpenError::TooLong { .. })) => Passed::TooLong,
                    Err(why) => Passed::Dropped(why.to_string()),
                }
            }
            Self::Cookie(cookies) => cookies.pass(from, data),
        }
    }

    /// Appends the frame of `inner` to `out`; what cannot be sent is lost.
    pub(super) fn seal(&mut self, to: SocketAddr, inner: &[u8], out: &mut BytesMut) {
        match self {
            Self::Open(wraps) => wraps.of(to).seal(inner, out),
            Self::Cookie(cookies) => cookies.wraps.of(to).seal(inner, out),
            Self::Judged(server) => {
                let _ = server.seal(to, inner, None, out);
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Judged(server) => server.poll_timeout(),
            Self::Open(_) | Self::Cookie(_) => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Judged(server) => server.handle_timeout(now),
            Self::Open(_) | Self::Cookie(_) => {}
        }
    }
}
