//! Preambles of several clients, from several sources, as they are and spoiled.
use crate::input::Input;
use bytes::BytesMut;
use sansbox_core::{Instant, Seed};
use sansbox_protocols::paniq::{
    Draws,
    obf::{Framer, Kind, Params, Spec},
    preamble::{
        Client, ClientAuth, ClientConfig, ClientEvent, RateLimit, Rules, Server, ServerConfig,
        SourcePort, Taken, Window,
    },
    timestamp::{ServerKey, UnixTime},
    transport::{Budget, Codec, Counting, Padding, Sizes},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

const STARTED: Duration = Duration::from_secs(1_700_000_000);
const SKEW: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(5);
const HALF_OPEN_MAX: usize = 4;
const READY_MAX: usize = 3;
const REPLAYS_MAX: usize = 3;

/// Octet 0 chooses the server's keys, checks and signatures, 1 its prefixes and rate limit. Then
/// come steps: a client makes a preamble; a datagram of one arrives from some source, as it is,
/// with an octet changed or cut; the fuzzer's own arrives; time passes; a tunnel is forgotten.
///
/// Only an Initiation as its client made it is answered, with no more than its source sent; one
/// that proves its time opens one tunnel ever; tables stay in their bounds.
pub fn paniq_preamble(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new(input.byte(), input.byte());
    for _ in 0..100 {
        if input.is_empty() {
            return;
        }
        world.step(&mut input);
    }
}

struct Sent {
    datagram: BytesMut,
    is_initiation: bool,
    /// Which preamble it is from.
    preamble: usize,
}

struct World {
    server: Server,
    framer: Framer,
    auth: ClientAuth,
    proves_time: bool,
    is_bounded: bool,
    now: Duration,
    sent: Vec<Sent>,
    preambles: usize,
    opened: BTreeSet<usize>,
    /// Octets received from and sent to a source.
    octets: BTreeMap<SocketAddr, (usize, usize)>,
}

impl World {
    fn new(choice: u8, sizes: u8) -> Self {
        let signature = ["", "<t>", "<b 0x01ff><rd 3><t>", "<r 2>"][usize::from(choice >> 4) % 4];
        let spec = Spec {
            jc: i64::from(choice >> 6),
            jmin: 5,
            jmax: 40,
            s: [sizes & 15, sizes >> 4, 0, 3].map(i64::from),
            h: ["10-900", "1000-1900", "2000", "3000-3900"],
            i: [signature, "", "", "", ""],
        };
        let framer = Framer::new(Params::parse(&spec).expect("parameters").into());
        let key = ServerKey::new([7; 32]);
        let auth = match choice & 3 {
            0 => ClientAuth::Keyless,
            1 => ClientAuth::Mac(key.public()),
            _ => ClientAuth::EncryptedTimestamp(key.public()),
        };
        let is_keyed = auth != ClientAuth::Keyless;
        let proves_time = choice & 3 >= 2;
        let padding = Padding::default();
        let sizes_of = Sizes {
            prefix: 3,
            ..Sizes::default()
        };
        let budget = Budget::new(&sizes_of, &padding).expect("a budget");
        let config = ServerConfig {
            codec: Codec::new(framer.clone(), budget, padding, Counting::default()),
            key: is_keyed.then_some(key),
            draws: Draws::new(Seed::from_u64(1)),
            encrypted_timestamp: is_keyed,
            require_encrypted_timestamp: choice & 3 == 3,
            require_timestamp: choice & 4 != 0,
            legacy_until: (choice & 8 != 0).then_some(STARTED.as_secs() + 3),
            signature_validate: true,
            timestamp_window: Window {
                past: SKEW,
                future: SKEW,
            },
            timeout: TIMEOUT,
            replays_max: REPLAYS_MAX,
            rate_limit: (sizes == 0x77).then_some(RateLimit {
                per_second: 3,
                burst: 4,
            }),
        };
        let rules = Rules {
            half_open_max: HALF_OPEN_MAX,
            ready_max: READY_MAX,
            limited_max: 2,
            ..Rules::default()
        };
        let params = framer.params();
        let shortest = params.jc() * params.jmin()
            + params.signatures().map(|chain| chain.len()).sum::<usize>()
            + framer.head_len(Kind::Initiation)
            + [0, 16, 16, 101][usize::from(choice & 3)];
        Self {
            is_bounded: framer.head_len(Kind::Response) <= shortest,
            server: Server::new(config, rules),
            framer,
            auth,
            proves_time,
            now: Duration::ZERO,
            sent: Vec::new(),
            preambles: 0,
            opened: BTreeSet::new(),
            octets: BTreeMap::new(),
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let port = 1 + u16::from(input.byte() % 6);
        let source = SocketAddr::from(([192, 0, 2, port as u8 % 3], port));
        match input.below(8) {
            // Keys are slow; a few will do.
            0 if self.preambles < 6 => self.preamble(),
            0..=3 => {
                if let Some((datagram, initiation)) = self.pick(input) {
                    self.deliver(source, &datagram, initiation);
                }
            }
            4 => {
                if let Some((mut datagram, _)) = self.pick(input) {
                    let at = usize::from(input.byte()) % datagram.len();
                    datagram[at] ^= 1 + input.byte() % 255;
                    self.deliver(source, &datagram, None);
                }
            }
            5 => {
                let n = input.below(80);
                let datagram = input.take(n).to_vec();
                self.deliver(source, &datagram, None);
            }
            6 => {
                self.now += Duration::from_millis(u64::from(input.u16()));
                let now = Instant::ZERO + self.now;
                if self.server.poll_timeout().is_some_and(|at| at <= now) {
                    self.server.handle_timeout(now);
                    let next = self.server.poll_timeout();
                    assert!(next.is_none_or(|at| at > now), "a deadline that stays");
                }
            }
            _ => {
                self.server.forget(source);
                assert!(!self.server.is_ready(source));
            }
        }
    }

    fn wall(&self) -> UnixTime {
        (STARTED + self.now).into()
    }

    fn preamble(&mut self) {
        let config = ClientConfig {
            framer: self.framer.clone(),
            auth: self.auth.clone(),
            attempts: 1,
            timeout: TIMEOUT,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            source_port: SourcePort::Fresh,
        };
        let (now, wall) = (Instant::ZERO + self.now, self.wall());
        let seed = Seed::from_u64(self.preambles as u64);
        let mut client = Client::new(now, config, seed).expect("a client");
        let mut buf = BytesMut::new();
        while client.poll_transmit(now, wall, &mut buf).is_some() {
            self.sent.push(Sent {
                datagram: buf.split(),
                is_initiation: false,
                preamble: self.preambles,
            });
        }
        self.sent.last_mut().expect("an Initiation").is_initiation = true;
        self.preambles += 1;
        // What a server would answer.
        let mut response = BytesMut::new();
        let mut draws = Draws::new(seed);
        self.framer
            .encode(&mut draws, Kind::Response, &[], &mut response);
        client.handle_datagram(&response);
        assert_eq!(client.poll_event(), Some(ClientEvent::Ready));
        assert_eq!(client.poll_timeout(), None);
    }

    /// A datagram, and which preamble's Initiation it is.
    fn pick(&self, input: &mut Input<'_>) -> Option<(BytesMut, Option<usize>)> {
        let nth = usize::from(input.byte());
        let sent = self.sent.get(nth % self.sent.len().max(1))?;
        let initiation = sent.is_initiation.then_some(sent.preamble);
        Some((sent.datagram.clone(), initiation))
    }

    fn deliver(&mut self, source: SocketAddr, datagram: &[u8], initiation: Option<usize>) {
        let (now, wall) = (Instant::ZERO + self.now, self.wall());
        let mut out = BytesMut::new();
        let taken = self
            .server
            .handle_datagram(now, wall, source, datagram, &mut out);
        let octets = self.octets.entry(source).or_default();
        octets.0 += datagram.len();
        octets.1 += out.len();
        assert!(
            !self.is_bounded || octets.1 <= octets.0,
            "more sent than received"
        );
        let [half_open, ready, limited, replays] = self.server.occupancy();
        assert!(half_open <= HALF_OPEN_MAX && ready <= READY_MAX);
        assert!(limited <= 2 && replays <= REPLAYS_MAX);
        let Ok(Taken::Answered { is_new }) = taken else {
            return assert!(out.is_empty(), "said without saying so");
        };
        assert_eq!(out.len(), self.framer.head_len(Kind::Response));
        assert!(self.server.is_ready(source));
        // Without a key there is nothing in an Initiation that could be spoiled.
        if self.auth == ClientAuth::Keyless {
            return;
        }
        let preamble = initiation.expect("a spoiled datagram is answered");
        if is_new && self.proves_time {
            assert!(
                self.opened.insert(preamble),
                "a preamble opens a second tunnel"
            );
        }
    }
}
