//! When an Initiation was made: wall clock, TAI64N, and the encrypted timestamp
//! (`docs/protocols/paniq.md`, Initiation).
use super::mac::MacKey;
use blake2::{Blake2s256, Digest as _, digest::Update as _};
use chacha20poly1305::{AeadInOut as _, KeyInit as _, XChaCha20Poly1305, aead::inout::InOutBuf};
use sansbox_core::Instant;
use std::{fmt, time::Duration};
use thiserror::Error;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{ZeroizeOnDrop, Zeroizing};

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

/// A server's key pair and what is made from it. Wiped when dropped.
#[derive(Clone, ZeroizeOnDrop)]
pub struct ServerKey {
    private: StaticSecret,
    mac: MacKey,
}

impl ServerKey {
    /// From the 32 octets of `server_private_key`.
    #[must_use]
    pub fn new(private: [u8; 32]) -> Self {
        let octets = Zeroizing::new(private);
        let private = StaticSecret::from(*octets);
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
    /// Its nonce and 8 octets of its tag: no two timestamps share them, and nobody can change them.
    /// The ephemeral key would not do, as X25519 takes several spellings of one.
    pub id: [u8; 32],
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
    let mut id = [0; 32];
    for (to, from) in id.iter_mut().zip(nonce.iter().chain(&tag)) {
        *to = *from;
    }
    Ok(Some(Opened {
        time: Tai64N::from_octets(text),
        id,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(server: &ServerKey) -> [u8; ENCRYPTED_LEN] {
        let time = UnixTime {
            secs: 1_700_000_000,
            nanos: 5,
        };
        let ephemeral = Zeroizing::new([9; 32]);
        seal(&server.public(), &ephemeral, [3; 24], Tai64N::new(time)).unwrap()
    }

    #[test]
    fn only_the_server_reads_a_timestamp_and_only_whole() {
        let server = ServerKey::new([7; 32]);
        let sealed = sealed(&server);
        let opened = open(&server, &sealed).unwrap().unwrap();
        assert_eq!(opened.time.unix_seconds(), Some(1_700_000_000));
        let other = open(&ServerKey::new([8; 32]), &sealed);
        assert_eq!(other, Err(BadTimestamp::NotAuthentic));
        for n in 0..sealed.len() {
            assert_eq!(open(&server, &sealed[..n]), Ok(None), "{n} octets");
            let mut tampered = sealed;
            tampered[n] ^= 0x40;
            assert!(
                !matches!(open(&server, &tampered), Ok(Some(_))),
                "octet {n}"
            );
        }
    }

    #[test]
    fn another_spelling_of_the_ephemeral_key_is_the_same_timestamp() {
        let server = ServerKey::new([7; 32]);
        let sealed = sealed(&server);
        let mut spelled = sealed;
        spelled[32] ^= 0x80;
        assert_eq!(open(&server, &spelled), open(&server, &sealed));
    }

    #[test]
    fn keys_of_low_order_are_refused_at_both_ends() {
        // RFC 7748 section 6.1: with these the shared secret is zero whatever the private key.
        let one = std::array::from_fn(|n| u8::from(n == 0));
        for low in [[0; 32], one] {
            let time = Tai64N::new(UnixTime::default());
            let refused = seal(&low, &Zeroizing::new([9; 32]), [3; 24], time);
            assert_eq!(refused, Err(LowOrder));
            let server = ServerKey::new([7; 32]);
            let mut sealed = sealed(&server);
            sealed[1..33].copy_from_slice(&low);
            assert_eq!(open(&server, &sealed), Err(LowOrder.into()));
        }
    }

    #[test]
    fn the_wall_clock_goes_on_with_the_machine() {
        let clock = WallClock::new(Instant::from_nanos(500), Duration::new(1_700_000_000, 7));
        let earlier = clock.at(Instant::ZERO);
        assert_eq!((earlier.secs, earlier.nanos), (1_700_000_000, 7));
        let later = clock.at(Instant::from_nanos(2_000_000_500));
        assert_eq!((later.secs, later.nanos), (1_700_000_002, 7));
    }

    #[test]
    fn times_before_1970_have_no_seconds() {
        let epoch = Tai64N::new(UnixTime::default());
        assert_eq!(epoch.unix_seconds(), Some(0));
        assert_eq!(Tai64N::from_octets([0; 12]).unix_seconds(), None);
    }

    /// What a key is made of is wiped by who made it, and goes on being so.
    #[test]
    fn keys_are_wiped() {
        const fn wiped<T: ZeroizeOnDrop>() {}
        wiped::<ServerKey>();
        wiped::<MacKey>();
        wiped::<StaticSecret>();
        wiped::<x25519_dalek::SharedSecret>();
        wiped::<XChaCha20Poly1305>();
        wiped::<blake2::Blake2sMac<blake2::digest::consts::U16>>();
        wiped::<crate::paniq::preamble::ClientAuth>();
        wiped::<crate::paniq::profile::PrivateKey>();
        wiped::<crate::paniq::profile::PublicKey>();
    }

    #[test]
    fn keys_are_not_shown() {
        let server = ServerKey::new([7; 32]);
        assert_eq!(
            format!("{server:?} {:?}", server.mac()),
            "ServerKey(..) MacKey(..)"
        );
    }
}
