//! When an Initiation was made: wall clock, TAI64N, and the encrypted timestamp
//! (`spec/paniq.md` 2.2).
use super::mac::MacKey;
use blake2::{Blake2s256, Digest as _, digest::Update as _};
use chacha20poly1305::{AeadInOut as _, KeyInit as _, XChaCha20Poly1305, aead::inout::InOutBuf};
use sansbox_core::Instant;
use std::{fmt, time::Duration};
use thiserror::Error;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// A time of the wall clock. Whoever drives a machine reads the clock; none is read here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime {
    /// Seconds since 1970.
    pub secs: u64,
    /// Nanoseconds of the second, below 1,000,000,000.
    pub nanos: u32,
}

impl From<Duration> for UnixTime {
    /// The time this long after the beginning of 1970.
    fn from(since_1970: Duration) -> Self {
        Self {
            secs: since_1970.as_secs(),
            nanos: since_1970.subsec_nanos(),
        }
    }
}

/// The wall clock as it was at one instant, for machines whose calls carry an [`Instant`] alone.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    read_at: Instant,
    since_1970: Duration,
}

impl WallClock {
    /// The wall clock says `since_1970` now.
    #[must_use]
    pub const fn new(now: Instant, since_1970: Duration) -> Self {
        Self {
            read_at: now,
            since_1970,
        }
    }

    /// What it says at `now`.
    #[must_use]
    pub fn at(&self, now: Instant) -> UnixTime {
        let elapsed = now.saturating_duration_since(self.read_at);
        self.since_1970.saturating_add(elapsed).into()
    }
}

/// Octets of a [`Tai64N`].
pub const TAI64N_LEN: usize = 12;

/// A time as 8 octets of seconds and 4 of nanoseconds, the highest first, in which later is
/// greater. Its lowest 24 bits are always 0, so that it tells little about the sender's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tai64N([u8; TAI64N_LEN]);

impl Tai64N {
    /// The label of the first second of 1970.
    const EPOCH: u64 = 0x4000_0000_0000_000a;
    const NANOS_MASK: u32 = !0x00ff_ffff;

    /// The octets of `time`.
    #[must_use]
    pub fn new(time: UnixTime) -> Self {
        let secs = Self::EPOCH.saturating_add(time.secs).to_be_bytes();
        let nanos = (time.nanos & Self::NANOS_MASK).to_be_bytes();
        let mut octets = [0; TAI64N_LEN];
        for (to, from) in octets.iter_mut().zip(secs.into_iter().chain(nanos)) {
            *to = from;
        }
        Self(octets)
    }

    /// The octets as received.
    #[must_use]
    pub const fn from_octets(octets: [u8; TAI64N_LEN]) -> Self {
        Self(octets)
    }

    /// The octets.
    #[must_use]
    pub const fn octets(&self) -> &[u8; TAI64N_LEN] {
        &self.0
    }

    /// Seconds since 1970; `None` for a time before it.
    #[must_use]
    pub fn unix_seconds(&self) -> Option<u64> {
        let secs = u64::from_be_bytes(*self.0.first_chunk()?);
        secs.checked_sub(Self::EPOCH)
    }
}

/// A server's key pair and what is made from it. The private key is wiped when dropped.
#[derive(Clone)]
pub struct ServerKey {
    private: StaticSecret,
    mac: MacKey,
}

impl ServerKey {
    /// From the 32 octets of `server_private_key`.
    #[must_use]
    pub fn new(private: [u8; 32]) -> Self {
        let private = StaticSecret::from(private);
        let mac = MacKey::new(PublicKey::from(&private).as_bytes());
        Self { private, mac }
    }

    /// The public key: what clients have as `server_public_key`.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        PublicKey::from(&self.private).to_bytes()
    }

    /// The key of MAC1.
    #[must_use]
    pub const fn mac(&self) -> &MacKey {
        &self.mac
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerKey(..)")
    }
}

/// Octets of an encrypted timestamp: version, ephemeral public key, nonce, ciphertext, tag.
pub const ENCRYPTED_LEN: usize = 1 + 32 + NONCE_LEN + TAI64N_LEN + TAG_LEN;

const VERSION: u8 = 1;
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;
const LABEL: &[u8; 10] = b"ts-encrypt";

/// The public key is one of the few with which every secret gives the same result (RFC 7748
/// section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("low order point")]
pub struct LowOrder;

/// Encrypts `time` for the server. `ephemeral` and `nonce` must be random and used once.
///
/// # Errors
/// [`LowOrder`] when `server_public` is no key of a server.
pub fn seal(
    server_public: &[u8; 32],
    ephemeral: &Zeroizing<[u8; 32]>,
    nonce: [u8; NONCE_LEN],
    time: Tai64N,
) -> Result<[u8; ENCRYPTED_LEN], LowOrder> {
    let ephemeral = StaticSecret::from(**ephemeral);
    let cipher = cipher(&ephemeral, *server_public)?;
    let mut text = *time.octets();
    let tag = cipher
        .encrypt_inout_detached(&nonce.into(), &[], InOutBuf::from(&mut text[..]))
        .expect("12 octets are far from the cipher's 256 GiB");
    let public = PublicKey::from(&ephemeral);
    let parts = [VERSION]
        .into_iter()
        .chain(public.to_bytes())
        .chain(nonce)
        .chain(text)
        .chain(tag);
    let mut sealed = [0; ENCRYPTED_LEN];
    for (to, from) in sealed.iter_mut().zip(parts) {
        *to = from;
    }
    Ok(sealed)
}

/// What an encrypted timestamp says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// When the sender made it.
    pub time: Tai64N,
    /// The sender's ephemeral public key: no two timestamps share one.
    pub ephemeral: [u8; 32],
}

/// Why an encrypted timestamp is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadTimestamp {
    /// The ephemeral key is of low order.
    #[error(transparent)]
    LowOrder(#[from] LowOrder),
    /// Tampered with, made for another server, or followed by more octets.
    #[error("message authentication failed")]
    NotAuthentic,
}

/// Reads the encrypted timestamp that `payload`, an Initiation's without its MAC1, is. `Ok(None)`
/// when there is none: too short, or of another version.
///
/// # Errors
/// [`BadTimestamp`] when there is one and it is not authentic.
pub fn open(key: &ServerKey, payload: &[u8]) -> Result<Option<Opened>, BadTimestamp> {
    if payload.len() < ENCRYPTED_LEN {
        return Ok(None);
    }
    let Some(([VERSION], rest)) = payload.split_first_chunk::<1>() else {
        return Ok(None);
    };
    let parts = || {
        let (ephemeral, rest) = rest.split_first_chunk::<32>()?;
        let (nonce, rest) = rest.split_first_chunk::<NONCE_LEN>()?;
        let (text, tag) = rest.split_first_chunk::<TAI64N_LEN>()?;
        Some((ephemeral, nonce, text, tag))
    };
    let (ephemeral, nonce, text, tag) = parts().ok_or(BadTimestamp::NotAuthentic)?;
    let cipher = cipher(&key.private, *ephemeral)?;
    let tag: &[u8; TAG_LEN] = tag.try_into().map_err(|_| BadTimestamp::NotAuthentic)?;
    let mut text = *text;
    let tag = (*tag).into();
    cipher
        .decrypt_inout_detached(&(*nonce).into(), &[], InOutBuf::from(&mut text[..]), &tag)
        .map_err(|_| BadTimestamp::NotAuthentic)?;
    Ok(Some(Opened {
        time: Tai64N::from_octets(text),
        ephemeral: *ephemeral,
    }))
}

fn cipher(private: &StaticSecret, public: [u8; 32]) -> Result<XChaCha20Poly1305, LowOrder> {
    let shared = private.diffie_hellman(&public.into());
    if !shared.was_contributory() {
        return Err(LowOrder);
    }
    let hash = Blake2s256::new().chain(LABEL).chain(shared.as_bytes());
    let key = Zeroizing::new(<[u8; 32]>::from(hash.finalize()));
    let key: &[u8; 32] = &key;
    Ok(XChaCha20Poly1305::new(key.into()))
}
