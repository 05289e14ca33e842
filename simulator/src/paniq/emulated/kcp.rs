//! The Rust programs with KCP, as far as others meet them: preamble, conversation, and the first
//! segments. Two of them talking to each other is not simulated.
use crate::paniq::{
    machine::{ClientMachine, ClientTold, Sending, ServerMachine, ServerTold},
    profile::Profile,
};
use bytes::{BufMut as _, BytesMut};
use core::{net::SocketAddr, time::Duration};
use sansbox_core::{Instant, Pipe, Progress, Refusal, Seed, Target};
use sansbox_protocols::paniq::{
    Draws,
    obf::Kind,
    preamble::{self, ClientAuth, ClientEvent, SourcePort},
    timestamp::WallClock,
    transport::{Codec, Opener, Sealer},
};
use std::collections::{BTreeMap, VecDeque};

/// Octets of a conversation's number.
const CONVERSATION_LEN: usize = 4;
/// Octets of a segment's head.
const HEAD_LEN: usize = 24;
/// A segment with octets of the stream.
const PUSH: u8 = 81;
/// How often a segment without an answer is sent again, and for how long.
const RESEND: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(10);

/// Which conversation the octets of a segment claim to be of.
fn conversation(segment: &[u8]) -> Option<u32> {
    let head = segment.get(..HEAD_LEN)?;
    let number = head.first_chunk::<CONVERSATION_LEN>()?;
    Some(u32::from_le_bytes(*number))
}

/// The client: every request is refused when nobody answers its first segment.
pub(crate) struct KcpClient {
    server: SocketAddr,
    wall: WallClock,
    codec: Codec,
    config: preamble::ClientConfig,
    seed: Seed,
    draws: Draws,
    sealer: Sealer,
    opener: Opener,
    preamble: Option<preamble::Client>,
    /// The conversation, when its next segment is due, and when it is given up.
    talk: Option<(u32, Instant, Instant)>,
    is_dialing: bool,
    waiting: Vec<u64>,
    made: u64,
    told: VecDeque<ClientTold>,
}

impl KcpClient {
    pub(crate) fn new(
        now: Instant,
        since_1970: Duration,
        profile: &Profile,
        server: SocketAddr,
        seed: Seed,
    ) -> Self {
        let mut config = profile.client_preamble(SourcePort::Kept);
        config.auth = ClientAuth::Keyless;
        Self {
            server,
            wall: WallClock::new(now, since_1970),
            codec: profile.codec(),
            config,
            draws: Draws::new(seed.derive("kcp")),
            seed,
            sealer: Sealer::default(),
            opener: Opener::default(),
            preamble: None,
            talk: None,
            is_dialing: false,
            waiting: Vec::new(),
            made: 0,
            told: VecDeque::new(),
        }
    }

    fn fail(&mut self, why: &str) {
        (self.preamble, self.talk, self.is_dialing) = (None, None, false);
        self.told.push_back(ClientTold::Down(0, why.to_owned()));
        self.told.push_back(ClientTold::Closed(0));
        for stream in core::mem::take(&mut self.waiting) {
            self.told
                .push_back(ClientTold::Refused(stream, why.to_owned()));
        }
    }
}

impl ClientMachine for KcpClient {
    fn open(&mut self, _: Instant, _: Target) -> u64 {
        let stream = self.made;
        self.made += 1;
        self.waiting.push(stream);
        if !core::mem::replace(&mut self.is_dialing, true) {
            self.told.push_back(ClientTold::Socket(0));
        }
        stream
    }

    fn is_open(&self, stream: u64) -> bool {
        self.waiting.contains(&stream)
    }

    fn exchange(&mut self, _: Instant, _: u64, _: &mut Pipe, _: &mut Pipe) -> Progress {
        Progress::NONE
    }

    fn socket(&mut self, now: Instant, _: u64, is_there: bool) {
        let seed = self.seed.derive("preamble");
        match preamble::Client::new(now, self.config.clone(), seed) {
            Ok(preamble) if is_there => self.preamble = Some(preamble),
            Ok(_) => self.fail("no socket"),
            Err(why) => self.fail(&why.to_string()),
        }
    }

    fn handle_datagram(
        &mut self,
        now: Instant,
        _: u64,
        from: SocketAddr,
        data: BytesMut,
    ) -> Result<(), String> {
        if from != self.server {
            return Ok(());
        }
        if let Some(preamble) = &mut self.preamble {
            let heard = preamble.handle_datagram(&data);
            let decoded = self.codec.framer().decode(&data);
            if heard == preamble::Heard::Response
                && let Ok((Kind::Response, at)) = decoded
            {
                let payload = data.get(at..).unwrap_or_default();
                match payload.first_chunk::<CONVERSATION_LEN>() {
                    Some(number) => {
                        let number = u32::from_le_bytes(*number);
                        self.preamble = None;
                        self.talk = Some((number, now, now + PATIENCE));
                    }
                    None => self.fail("a Response without a conversation"),
                }
            }
            return Ok(());
        }
        let inner = self.codec.open(&mut self.opener, &data);
        let inner = inner.map_err(|why| why.to_string())?;
        let segment = data.get(inner).unwrap_or_default();
        match conversation(segment) == self.talk.map(|(number, ..)| number) {
            true => Ok(()),
            false => Err("unknown session".to_owned()),
        }
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut BytesMut) -> Option<(u64, Sending)> {
        out.clear();
        let to = self.server;
        if let Some(preamble) = &mut self.preamble {
            let segment = preamble.poll_transmit(now, self.wall.at(now), out)?;
            return Some((0, Sending { to, segment }));
        }
        let (number, at, _) = self.talk.as_mut()?;
        if now < *at {
            return None;
        }
        *at = now + RESEND;
        let mut segment = BytesMut::new();
        segment.put_u32_le(*number);
        segment.put_u8(PUSH);
        segment.put_bytes(0, HEAD_LEN - CONVERSATION_LEN - 1);
        // The first frame of the multiplexer: version 1, SYN, no octets, stream 1.
        segment.put_slice(&[1, 0, 0, 0, 1, 0, 0, 0]);
        let (draws, sealer) = (&mut self.draws, &mut self.sealer);
        self.codec.seal(draws, sealer, &segment, out).ok()?;
        let segment = out.len();
        Some((0, Sending { to, segment }))
    }

    fn poll_event(&mut self) -> Option<ClientTold> {
        self.told.pop_front()
    }

    fn poll_timeout(&self, _: Instant) -> Option<Instant> {
        let preamble = self.preamble.as_ref().and_then(|p| p.poll_timeout());
        preamble.or_else(|| self.talk.map(|(_, at, end)| at.min(end)))
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(preamble) = &mut self.preamble {
            preamble.handle_timeout(now);
            if let Some(ClientEvent::Failed(why)) = preamble.poll_event() {
                self.fail(&why.to_string());
            }
        }
        if self.talk.is_some_and(|(_, _, end)| end <= now) {
            self.fail("nobody answers the first segment");
        }
    }
}

/// The server: any Initiation begins a session, and only KCP of a session is heard.
pub(crate) struct KcpServer {
    codec: Codec,
    draws: Draws,
    sessions: BTreeMap<SocketAddr, (u32, Opener)>,
    answers: VecDeque<(SocketAddr, BytesMut)>,
}

impl KcpServer {
    pub(crate) fn new(profile: &Profile, seed: Seed) -> Self {
        Self {
            codec: profile.codec(),
            draws: Draws::new(seed.derive("kcp")),
            sessions: BTreeMap::new(),
            answers: VecDeque::new(),
        }
    }
}

impl ServerMachine for KcpServer {
    fn accept(&mut self, _: Instant, _: u64, _: SocketAddr) {}

    fn refuse(&mut self, _: Instant, _: u64, _: Refusal) {}

    fn is_open(&self, _: u64) -> bool {
        false
    }

    fn exchange(&mut self, _: Instant, _: u64, _: &mut Pipe, _: &mut Pipe) -> Progress {
        Progress::NONE
    }

    fn handle_datagram(
        &mut self,
        _: Instant,
        from: SocketAddr,
        data: BytesMut,
    ) -> Result<(), String> {
        let framer = self.codec.framer().clone();
        match framer.decode(&data) {
            Ok((Kind::Initiation, _)) => {
                let number = self.draws.bits();
                self.sessions.insert(from, (number, Opener::default()));
                let mut answer = BytesMut::new();
                let payload = number.to_le_bytes();
                framer.encode(&mut self.draws, Kind::Response, &payload, &mut answer);
                self.answers.push_back((from, answer));
                Ok(())
            }
            Ok((Kind::Transport, _)) => {
                let Some((number, opener)) = self.sessions.get_mut(&from) else {
                    return Err("no session".to_owned());
                };
                let inner = self.codec.open(opener, &data);
                let inner = inner.map_err(|why| why.to_string())?;
                match conversation(data.get(inner).unwrap_or_default()) {
                    Some(of) if of == *number => Ok(()),
                    Some(_) | None => Err("unknown session".to_owned()),
                }
            }
            // Junk and signatures.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn poll_transmit(&mut self, _: Instant, out: &mut BytesMut) -> Option<Sending> {
        let (to, answer) = self.answers.pop_front()?;
        out.clear();
        out.extend_from_slice(&answer);
        let segment = out.len();
        Some(Sending { to, segment })
    }

    fn poll_event(&mut self) -> Option<ServerTold> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn residue(&self) -> Option<String> {
        None
    }
}
