//! Profiles: what both ends know.
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sansbox_core::Seed;
use sansbox_protocols::paniq::{
    Draws,
    obf::{Framer, Kind, Params, Spec},
    preamble::Rules,
    profile::{ClientSettings, PrivateKey, ServerSettings, Shared},
    transport::{Budget, Codec, Counting, Padding, PaddingSpec, Sizes},
    tunnel::{ClientConfig, Limits, ServerConfig, Settings},
};
use serde_json::Value;
use std::{net::SocketAddr, time::Duration};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
const SKEW: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct Profile {
    pub(crate) params: Params,
    pub(crate) sizes: Sizes,
    pub(crate) padding: Padding,
    pub(crate) counting: Counting,
    pub(crate) settings: Settings,
    pub(crate) key: Option<[u8; 32]>,
    pub(crate) encrypted_timestamp: bool,
    pub(crate) require_encrypted: bool,
    pub(crate) limits: Limits,
    /// Does the server judge preambles as the Go server does?
    pub(crate) has_go_server: bool,
    pub(crate) has_datagrams: bool,
}

impl Profile {
    /// Like the one in the documents of the Go programs.
    pub(crate) fn new() -> Self {
        let params = Params::parse(&Spec {
            jc: 4,
            jmin: 500,
            jmax: 1202,
            s: [339, 432, 215, 37],
            h: ["100-611", "1000-1511", "2000-2511", "3000-3511"],
            i: ["<t>", "", "", "", ""],
        })
        .unwrap();
        Self::with(params, 1350, 0, false, PaddingSpec::default())
    }

    pub(crate) fn with(
        params: Params,
        packet: i64,
        payload: i64,
        has_counter: bool,
        padding: PaddingSpec,
    ) -> Self {
        let sizes = Sizes {
            max_packet_size: packet,
            max_payload: payload,
            prefix: params.prefix_len(Kind::Transport),
            has_counter,
        };
        Self {
            params,
            sizes,
            padding: Padding::resolve(&padding).unwrap(),
            counting: Counting::default(),
            settings: Settings::default(),
            key: Some([7; 32]),
            encrypted_timestamp: true,
            require_encrypted: false,
            limits: Limits::default(),
            has_go_server: false,
            has_datagrams: false,
        }
    }

    /// No key, no obfuscation but a time.
    pub(crate) fn keyless() -> Self {
        let params = Params::parse(&Spec {
            jc: 2,
            jmin: 10,
            jmax: 20,
            s: [20, 20, 0, 0],
            i: ["<t><r 10>", "<b 0x0102>", "", "", ""],
            ..Spec::default()
        })
        .unwrap();
        let mut profile = Self::with(params, 1300, 0, false, PaddingSpec::default());
        profile.key = None;
        profile.encrypted_timestamp = false;
        profile
    }

    /// Anything that is allowed, with its extremes.
    pub(crate) fn random(seed: u64) -> Self {
        let mut draws = Draws::new(Seed::from_u64(seed));
        let mut pick = |min: u64, max: u64| min + draws.below(max - min + 1);
        let mut int = |min: u64, max: u64| i64::try_from(pick(min, max)).unwrap();
        let s4 = int(0, 80);
        let has_counter = int(0, 1) == 1;
        let packet = 1214 + s4 + int(0, 400);
        let payload = [0, 1200][usize::try_from(int(0, 1)).unwrap()];
        let top = int(16, 60);
        let h = [3, 1, 4, 2].map(|n| {
            let start = (top * n) << 24;
            format!("{start}-{}", start + 2000)
        });
        let params = Params::parse(&Spec {
            jc: int(0, 6),
            jmin: int(1, 300),
            jmax: int(300, 1200),
            s: [int(0, 600), int(0, 600), int(0, 300), s4],
            h: [&h[0], &h[1], &h[2], &h[3]],
            i: ["<t>", "", "<r 9><rc 3>", "", "<b 0xabcd><rd 4>"],
        })
        .unwrap();
        let burst = int(0, 2000);
        let padding = [
            PaddingSpec::default(),
            PaddingSpec {
                pad_min: Some(0),
                ..PaddingSpec::default()
            },
            PaddingSpec {
                pad_max: Some(2000),
                ..PaddingSpec::default()
            },
            PaddingSpec {
                pad_burst_min: Some(burst),
                pad_burst_max: Some(burst + 10),
                pad_burst_prob: Some(1.0),
                ..PaddingSpec::default()
            },
            PaddingSpec {
                pad_max: Some(3),
                pad_burst_max: Some(burst + 1),
                pad_burst_prob: Some(0.5),
                ..PaddingSpec::default()
            },
        ][usize::try_from(seed % 5).unwrap()];
        let mut profile = Self::with(params, packet, payload, has_counter, padding);
        profile.encrypted_timestamp = int(0, 3) > 0;
        profile
    }

    /// A profile of the Go programs, as it is written.
    pub(crate) fn written(profile: &Value) -> Self {
        let obfuscation = &profile["obfuscation"];
        let number = |key: &str| obfuscation[key].as_i64().unwrap();
        let text = |key: &str| obfuscation[key].as_str().unwrap();
        let params = Params::parse(&Spec {
            jc: number("jc"),
            jmin: number("jmin"),
            jmax: number("jmax"),
            s: ["s1", "s2", "s3", "s4"].map(number),
            h: ["h1", "h2", "h3", "h4"].map(text),
            i: ["i1", "i2", "i3", "i4", "i5"].map(text),
        })
        .unwrap();
        let given = &profile["transport_padding"];
        let padding = PaddingSpec {
            pad_min: given["pad_min"].as_i64(),
            pad_max: given["pad_max"].as_i64(),
            pad_burst_min: given["pad_burst_min"].as_i64(),
            pad_burst_max: given["pad_burst_max"].as_i64(),
            pad_burst_prob: given["pad_burst_prob"].as_f64(),
        };
        let quic = |key: &str| profile["quic"][key].as_i64().unwrap();
        let flag = |key: &str| obfuscation[key].as_bool().unwrap();
        let (packet, payload) = (quic("max_packet_size"), quic("max_payload"));
        let mut written = Self::with(params, packet, payload, flag("transport_replay"), padding);
        let key = STANDARD.decode(text("server_private_key")).unwrap();
        written.key = Some(key.try_into().unwrap());
        written.encrypted_timestamp = flag("encrypted_timestamp");
        written.require_encrypted = flag("require_encrypted_timestamp");
        written
    }

    /// The one in the documents of the Go programs, and the random ones they were recorded with.
    pub(crate) fn all_written() -> Vec<Self> {
        let vectors = |name: &str| -> Value {
            let path = format!("{}/tests/vectors/paniq/{name}", env!("CARGO_MANIFEST_DIR"));
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
        };
        let recorded = vectors("transcripts_random_profiles.json");
        let cases = recorded["cases"].as_array().unwrap().iter();
        let random = cases.map(|case| Self::written(&case["profile"]));
        let docs = Self::written(&vectors("docs_profile.json"));
        std::iter::once(docs).chain(random).collect()
    }

    pub(crate) fn codec(&self) -> Codec {
        let budget = Budget::new(&self.sizes, &self.padding).unwrap();
        let framer = Framer::new(self.params.clone().into());
        Codec::new(framer, budget, self.padding, self.counting)
    }

    pub(crate) fn budget(&self) -> Budget {
        *self.codec().budget()
    }

    /// What the settings of a profile with all this are.
    fn shared(&self) -> Shared {
        Shared {
            params: self.params.clone().into(),
            handshake_timeout: TIMEOUT,
            budget: self.budget(),
            padding: self.padding,
            counting: self.counting,
            keepalive: self.settings.keepalive,
            idle_timeout: self.settings.idle_timeout,
            max_streams: self.settings.streams_max,
            has_datagrams: self.has_datagrams,
        }
    }

    pub(crate) fn client(&self, server: SocketAddr) -> ClientConfig {
        let key = self.key.map(PrivateKey::new);
        let settings = ClientSettings {
            shared: self.shared(),
            server: server.into(),
            encrypted_timestamp: self.encrypted_timestamp,
            server_key: key.map(|key| key.public()),
            pin: None,
            attempts: 3,
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(5),
        };
        ClientConfig {
            open_timeout: Duration::from_secs(20),
            ..ClientConfig::new(&settings, server)
        }
    }

    pub(crate) fn server(&self, seed: u64) -> ServerConfig {
        let settings = ServerSettings {
            shared: self.shared(),
            private_key: self.key.map(PrivateKey::new),
            signature_validate: true,
            require_timestamp: true,
            encrypted_timestamp: self.key.is_some(),
            require_encrypted_timestamp: self.require_encrypted,
            legacy_until: None,
            skew_soft: SKEW / 2,
            skew_hard: SKEW,
            replay_window: SKEW,
            replays_max: 4096,
            attempts: 3,
            rate_limit: None,
        };
        let mut config = ServerConfig::new(&settings, Draws::new(Seed::from_u64(seed)));
        if self.has_go_server {
            config.rules = Rules::go();
        }
        config.limits = self.limits;
        config
    }
}
