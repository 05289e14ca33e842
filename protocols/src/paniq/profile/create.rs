//! New profiles (`docs/protocols/paniq.md`, Commands), from randomness that is given.
use super::{
    keys::PrivateKey,
    model::{Obfuscation, Padding, Profile, Quic, default},
};
use crate::paniq::{obf::UDP_PAYLOAD_LEN_MAX, transport::INNER_LEN_MIN};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sansbox_core::Seed;
use std::ops::RangeInclusive;
use thiserror::Error;
use zeroize::Zeroizing;

/// Least path budget of a new profile, in bytes.
pub const MTU_MIN: u32 = 1280;
/// Greatest path budget: what UDP carries, in bytes.
pub const MTU_MAX: u32 = UDP_PAYLOAD_LEN_MAX as u32;

/// What a new profile is drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewProfile<'a> {
    /// Its name, for people.
    pub name: &'a str,
    /// Where the server will be, `host:port`; may be empty for now.
    pub proxy_addr: &'a str,
    /// Largest UDP payload that the path carries, in bytes.
    pub mtu: u32,
}

/// The path budget is none that a profile can be drawn for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("mtu must be from {MTU_MIN} to {MTU_MAX}")]
pub struct BadMtu;

/// Header and inner length of a Transport frame, in bytes.
const OVERHEAD: i64 = 6;
const PAYLOAD: i64 = INNER_LEN_MIN as i64;

impl NewProfile<'_> {
    /// Draws a profile with a new pair of keys: that of the server, whose clients get
    /// [`Profile::for_clients`]. The seed is key material: it must come from the system's
    /// randomness, and be used once.
    ///
    /// # Errors
    /// [`BadMtu`].
    pub fn draw(&self, seed: Seed) -> Result<Profile, BadMtu> {
        if !(MTU_MIN..=MTU_MAX).contains(&self.mtu) {
            return Err(BadMtu);
        }
        let mut draw = Draw(ChaCha20Rng::from_seed(seed.bytes()));
        let mtu = i64::from(self.mtu);
        let obfuscation = draw.obfuscation(mtu);
        let [.., s4] = obfuscation.s;
        Ok(Profile {
            name: self.name.to_owned(),
            proxy_addr: self.proxy_addr.to_owned(),
            handshake_timeout: default::HANDSHAKE_TIMEOUT,
            handshake_attempts: default::HANDSHAKE_ATTEMPTS,
            preamble_delay_ms: 5,
            preamble_jitter_ms: 5,
            quic: Quic {
                max_packet_size: mtu,
                max_payload: PAYLOAD,
                keepalive: default::KEEPALIVE,
                idle_timeout: default::IDLE_TIMEOUT,
                max_streams: default::MAX_STREAMS,
            },
            obfuscation,
            transport_padding: padding(mtu - s4 - OVERHEAD - PAYLOAD),
            server_pin: None,
            sansbox_udp: false,
        })
    }
}

struct Draw(ChaCha20Rng);

impl Draw {
    /// Uniform, but for a bias below 2^-31.
    fn from(&mut self, range: RangeInclusive<i64>) -> i64 {
        let span = (range.end() - range.start() + 1).unsigned_abs().max(1);
        range.start() + (self.0.next_u64() % span).cast_signed()
    }

    fn private_key(&mut self) -> PrivateKey {
        let mut bytes = Zeroizing::new([0; 32]);
        self.0.fill_bytes(&mut *bytes);
        PrivateKey::new(*bytes)
    }

    fn obfuscation(&mut self, mtu: i64) -> Obfuscation {
        let private = self.private_key();
        let jmax = (mtu - 100).clamp(900, 1400);
        let s4_max = mtu - PAYLOAD - OVERHEAD;
        Obfuscation {
            jc: self.from(3..=5),
            jmin: self.from(200..=600),
            jmax: self.from(900..=jmax),
            s: [
                self.from(200..=520),
                self.from(260..=640),
                self.from(120..=360),
                self.from(20..=80).min(s4_max),
            ],
            h: self.headers(),
            i: ["<t>", "", "", "", ""].map(str::to_owned),
            server_public_key: Some(private.public()),
            server_private_key: Some(private),
            signature_validate: Some(true),
            require_timestamp: Some(true),
            encrypted_timestamp: Some(true),
            require_encrypted_timestamp: Some(true),
            skew_soft_seconds: 15,
            skew_hard_seconds: 30,
            replay_window_seconds: 30,
            replay_cache_size: 4096,
            rate_limit_pps: 50,
            rate_limit_burst: 20,
            ..Obfuscation::default()
        }
    }

    /// Four ranges of one width, ascending, none with the highest byte of another.
    fn headers(&mut self) -> [String; 4] {
        let width = self.from(512..=2048);
        let mut bytes: Vec<i64> = (0..=0xff).collect();
        let mut starts = [(); 4].map(|()| {
            let last = i64::try_from(bytes.len()).unwrap_or(1) - 1;
            let at = usize::try_from(self.from(0..=last)).unwrap_or_default();
            let low = bytes.swap_remove(at) << 24;
            self.from(low..=low + 0xff_ffff - width)
        });
        starts.sort_unstable();
        starts.map(|start| format!("{start}-{}", start + width))
    }
}

/// As much padding as there is room for, up to 96 bytes, and 128 in a burst.
fn padding(headroom: i64) -> Padding {
    let has_bursts = headroom >= 96;
    let burst = |most: i64| if has_bursts { most.min(headroom) } else { 0 };
    Padding {
        pad_min: Some(if headroom < 16 { 0 } else { 16 }),
        pad_max: Some(headroom.clamp(0, 96)),
        pad_burst_min: Some(burst(96)),
        pad_burst_max: Some(burst(128)),
        pad_burst_prob: Some(if has_bursts { 0.02 } else { 0.0 }),
    }
}
