//! What both ends of a simulated tunnel know.
use sansbox_core::Seed;
use sansbox_protocols::paniq::{
    Draws,
    obf::{Framer, Kind, Params, Spec},
    preamble::{self, ClientAuth, RateLimit, Rules, SourcePort, Window},
    timestamp::ServerKey,
    transport::{Budget, Codec, Counting, Padding, PaddingSpec, Sizes},
    tunnel::{ClientConfig, Limits, ServerConfig, Settings},
};
use std::{net::SocketAddr, time::Duration};

/// `skew_hard_seconds` of all profiles here.
const SKEW: Duration = Duration::from_secs(30);

/// A profile. `Default` is the one in the documents of the Go programs, with a key of its own.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The obfuscation.
    pub params: Params,
    /// Sizes of datagrams.
    pub sizes: Sizes,
    /// Padding of Transport frames.
    pub padding: Padding,
    /// Counters, where `sizes` has them.
    pub counting: Counting,
    /// QUIC.
    pub settings: Settings,
    /// The server's private key, if it has one.
    pub key: Option<[u8; 32]>,
    /// Does the client send an encrypted timestamp? Needs the key.
    pub encrypted_timestamp: bool,
    /// `rate_limit_*`.
    pub rate_limit: Option<RateLimit>,
    /// `handshake_timeout`.
    pub timeout: Duration,
    /// `handshake_attempts`.
    pub attempts: u32,
    /// How long a server tries to reach a target.
    pub dial_timeout: Duration,
    /// How long a relay may say nothing.
    pub relay_idle: Duration,
}

/// `obfuscation` as in the documents of the Go programs.
#[must_use]
pub fn documented() -> Spec<'static> {
    Spec {
        jc: 4,
        jmin: 500,
        jmax: 1202,
        s: [339, 432, 215, 37],
        h: ["100-611", "1000-1511", "2000-2511", "3000-3511"],
        i: ["<t>", "", "", "", ""],
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::new(&documented(), 1350, PaddingSpec::default())
    }
}

impl Profile {
    /// A profile with a key, and datagrams of at most `packet` octets.
    ///
    /// # Panics
    /// When the parts do not fit together.
    #[must_use]
    pub fn new(spec: &Spec<'_>, packet: i64, padding: PaddingSpec) -> Self {
        let params = Params::parse(spec).expect("a valid obfuscation");
        let sizes = Sizes {
            max_packet_size: packet,
            max_payload: 0,
            prefix: params.prefix_len(Kind::Transport),
            has_counter: false,
        };
        Self {
            params,
            sizes,
            padding: Padding::resolve(&padding).expect("valid padding"),
            counting: Counting::default(),
            settings: Settings::default(),
            key: Some([7; 32]),
            encrypted_timestamp: true,
            rate_limit: None,
            timeout: Duration::from_secs(5),
            attempts: 3,
            dial_timeout: Duration::from_secs(5),
            relay_idle: Duration::from_secs(120),
        }
    }

    /// Without keys: nothing but a `<t>` tells a preamble from another.
    #[must_use]
    pub fn keyless() -> Self {
        let spec = Spec {
            jc: 2,
            jmin: 10,
            jmax: 20,
            s: [0, 20, 0, 0],
            i: ["<t>", "", "", "", ""],
            ..Spec::default()
        };
        Self {
            key: None,
            encrypted_timestamp: false,
            ..Self::new(&spec, 1300, PaddingSpec::default())
        }
    }

    /// Drawn from `draws`: everything that changes the wire.
    #[must_use]
    pub fn drawn(draws: &mut Draws) -> Self {
        let mut int = |min: u64, max: u64| {
            i64::try_from(min + draws.below(max - min + 1)).unwrap_or_default()
        };
        let s4 = int(0, 80);
        let spec = Spec {
            jc: int(0, 6),
            jmin: int(1, 300),
            jmax: int(300, 1200),
            s: [int(0, 520), int(0, 640), int(0, 360), s4],
            i: [
                "<t>",
                "",
                if int(0, 1) == 1 { "<r 9><rc 3>" } else { "" },
                "",
                "",
            ],
            ..documented()
        };
        let has_counter = int(0, 2) == 0;
        let payload = if int(0, 1) == 1 { 1200 } else { 0 };
        let packet = 1214 + s4 + int(0, 200);
        let padding = PaddingSpec {
            pad_max: (int(0, 1) == 1).then_some(96),
            ..PaddingSpec::default()
        };
        let encrypted_timestamp = int(0, 3) > 0;
        let mut profile = Self::new(&spec, packet, padding);
        profile.sizes.has_counter = has_counter;
        profile.sizes.max_payload = payload;
        profile.encrypted_timestamp = encrypted_timestamp;
        profile
    }

    /// How frames are written and read.
    ///
    /// # Panics
    /// When the sizes do not fit together.
    #[must_use]
    pub fn codec(&self) -> Codec {
        let budget = Budget::new(&self.sizes, &self.padding).expect("sizes that fit");
        let framer = Framer::new(self.params.clone().into());
        Codec::new(framer, budget, self.padding, self.counting)
    }

    /// What a client knows of the key.
    #[must_use]
    pub fn auth(&self) -> ClientAuth {
        match self.key.map(|key| ServerKey::new(key).public()) {
            None => ClientAuth::Keyless,
            Some(public) if self.encrypted_timestamp => ClientAuth::EncryptedTimestamp(public),
            Some(public) => ClientAuth::Mac(public),
        }
    }

    /// The client's side of preambles.
    #[must_use]
    pub fn client_preamble(&self, source_port: SourcePort) -> preamble::ClientConfig {
        preamble::ClientConfig {
            framer: self.codec().framer().clone(),
            auth: self.auth(),
            attempts: self.attempts,
            timeout: self.timeout,
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(5),
            source_port,
        }
    }

    /// The server's side of preambles.
    #[must_use]
    pub fn server_preamble(&self, seed: Seed) -> preamble::ServerConfig {
        preamble::ServerConfig {
            codec: self.codec(),
            key: self.key.map(ServerKey::new),
            draws: Draws::new(seed),
            encrypted_timestamp: self.key.is_some(),
            require_encrypted_timestamp: false,
            require_timestamp: true,
            legacy_until: None,
            signature_validate: true,
            timestamp_window: Window {
                past: SKEW,
                future: SKEW,
            },
            timeout: self.timeout,
            replays_max: 4096,
            rate_limit: self.rate_limit,
        }
    }

    /// Our client.
    #[must_use]
    pub fn client(&self, server: SocketAddr) -> ClientConfig {
        ClientConfig {
            server,
            preamble: self.client_preamble(SourcePort::Fresh),
            codec: self.codec(),
            settings: self.settings,
            pin: None,
            dial_timeout: self.dial_timeout,
            open_timeout: Duration::from_secs(20),
            waiting_max: 1000,
        }
    }

    /// Our server.
    #[must_use]
    pub fn server(&self, seed: Seed) -> ServerConfig {
        ServerConfig {
            preamble: self.server_preamble(seed),
            rules: Rules::new(Window::new(SKEW, self.timeout, self.attempts)),
            settings: self.settings,
            limits: Limits::default(),
            has_datagrams: false,
        }
    }
}
