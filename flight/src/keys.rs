//! To whom a recording is encrypted: HPKE (RFC 9180) in base mode with X25519, HKDF-SHA256 and
//! ChaCha20-Poly1305. One exchange of keys for each file; each frame is sealed under the next
//! nonce, so that a frame that was changed, moved, left out or added is found.
use base64::{Engine as _, engine::general_purpose::STANDARD};
use core::{fmt, str::FromStr};
use hpke::{
    Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _,
    aead::{AeadCtxR, AeadCtxS, ChaCha20Poly1305},
    kdf::HkdfSha256,
    kem::X25519HkdfSha256,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

type Kem = X25519HkdfSha256;
type HpkePublic = <Kem as hpke::Kem>::PublicKey;
type HpkePrivate = <Kem as hpke::Kem>::PrivateKey;

/// Bytes of a key, and of the sender's half of the exchange.
pub const KEY_LEN: usize = 32;
/// Bytes that sealing adds to a frame.
pub const TAG_LEN: usize = 16;

/// An operator's public key. Text: base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; KEY_LEN]);

/// An operator's private key. Wiped when dropped, and never printed by `Debug`.
pub struct PrivateKey(Zeroizing<[u8; KEY_LEN]>);

/// Both.
#[derive(Debug)]
pub struct KeyPair {
    /// For whoever records.
    pub public: PublicKey,
    /// For whoever replays.
    pub private: PrivateKey,
}

/// Text or bytes that are no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key: 32 bytes in base64 are wanted")]
pub struct BadKey;

/// A key that the cipher cannot work with, or bytes that this key did not seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key does not fit")]
pub struct WrongKey;

impl KeyPair {
    /// The pair that `random` leads to, which must be uniformly random and secret.
    #[must_use]
    pub fn from_random(random: &[u8; KEY_LEN]) -> Self {
        let (private, public) = Kem::derive_keypair(random);
        Self {
            public: PublicKey(public.to_bytes().into()),
            private: PrivateKey(Zeroizing::new(private.to_bytes().into())),
        }
    }
}

impl PublicKey {
    /// A name for the key, in the header of what is encrypted to it.
    #[must_use]
    pub fn id(&self) -> [u8; 8] {
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(Sha256::digest(self.0));
        [a, b, c, d, e, f, g, h]
    }
}

impl From<[u8; KEY_LEN]> for PublicKey {
    fn from(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }
}

impl From<PublicKey> for [u8; KEY_LEN] {
    fn from(key: PublicKey) -> Self {
        key.0
    }
}

impl FromStr for PublicKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        decode(text).map(|bytes| Self(*bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PrivateKey {
    /// The key as base64, to be stored.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(*self.0))
    }

    /// The public key that belongs to it.
    ///
    /// # Errors
    /// [`WrongKey`] when it is no key of the cipher.
    pub fn public(&self) -> Result<PublicKey, WrongKey> {
        let private = self.hpke()?;
        let public = Kem::sk_to_pk(&private);
        Ok(PublicKey(public.to_bytes().into()))
    }

    fn hpke(&self) -> Result<HpkePrivate, WrongKey> {
        HpkePrivate::from_bytes(&*self.0).map_err(|_| WrongKey)
    }
}

impl FromStr for PrivateKey {
    type Err = BadKey;

    /// The key alone, or what `generate recorder-keypair` printed.
    fn from_str(text: &str) -> Result<Self, BadKey> {
        let labelled = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("PrivateKey:"));
        decode(labelled.unwrap_or(text)).map(Self)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

fn decode(text: &str) -> Result<Zeroizing<[u8; KEY_LEN]>, BadKey> {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    // As much room as the longest text of a key needs, whatever is given.
    let mut room = Zeroizing::new([0; KEY_LEN + 3]);
    let n = STANDARD
        .decode_slice(text.trim(), &mut *room)
        .map_err(|_| BadKey)?;
    let bytes = room.get(..n).ok_or(BadKey)?;
    if n != KEY_LEN {
        return Err(BadKey);
    }
    key.copy_from_slice(bytes);
    Ok(key)
}

/// Seals the frames of one file.
pub(crate) struct Sealer {
    context: AeadCtxS<ChaCha20Poly1305, HkdfSha256, Kem>,
}

impl Sealer {
    /// Begins a file: the sender's half of the exchange, and what seals with it. `random` is used
    /// for this file and nothing else.
    pub(crate) fn new(
        to: &PublicKey,
        info: &[u8],
        random: [u8; 32],
    ) -> Result<([u8; KEY_LEN], Self), WrongKey> {
        let public = HpkePublic::from_bytes(&to.0).map_err(|_| WrongKey)?;
        let mut rng = ChaCha20Rng::from_seed(random);
        let mode = OpModeS::Base;
        let (half, context) =
            hpke::setup_sender_with_rng::<_, _, Kem>(&mode, &public, info, &mut rng)
                .map_err(|_| WrongKey)?;
        Ok((half.to_bytes().into(), Self { context }))
    }

    pub(crate) fn seal(&mut self, plain: &[u8], tied_to: &[u8]) -> Result<Vec<u8>, WrongKey> {
        self.context.seal(plain, tied_to).map_err(|_| WrongKey)
    }
}

/// Opens the frames of one file.
pub(crate) struct Opener {
    context: AeadCtxR<ChaCha20Poly1305, HkdfSha256, Kem>,
}

impl Opener {
    pub(crate) fn new(
        key: &PrivateKey,
        info: &[u8],
        half: &[u8; KEY_LEN],
    ) -> Result<Self, WrongKey> {
        let half = <Kem as hpke::Kem>::EncappedKey::from_bytes(half).map_err(|_| WrongKey)?;
        let context = hpke::setup_receiver(&OpModeR::Base, &key.hpke()?, &half, info);
        context
            .map(|context| Self { context })
            .map_err(|_| WrongKey)
    }

    pub(crate) fn open(&mut self, sealed: &[u8], tied_to: &[u8]) -> Result<Vec<u8>, WrongKey> {
        self.context.open(sealed, tied_to).map_err(|_| WrongKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_from_text() {
        let pair = KeyPair::from_random(&[7; 32]);
        let text = pair.private.to_text();
        let again: PrivateKey = text.parse().expect("a key");
        assert_eq!(again.public(), Ok(pair.public));
        let printed = format!("PrivateKey: {}\nPublicKey: {}\n", *text, pair.public);
        let again: PrivateKey = printed.parse().expect("a key");
        assert_eq!(again.public(), Ok(pair.public));
        assert_eq!(pair.public.to_string().parse(), Ok(pair.public));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = STANDARD.encode([1; 33]);
        let short = STANDARD.encode([1; 31]);
        let endless = "A".repeat(4000);
        for text in ["", "?", &long, &short, &endless, "PrivateKey: "] {
            assert!(text.parse::<PublicKey>().is_err(), "{text}");
            assert!(text.parse::<PrivateKey>().is_err(), "{text}");
        }
    }

    #[test]
    fn debug_shows_no_private_key() {
        let pair = KeyPair::from_random(&[7; 32]);
        let shown = format!("{pair:?}");
        assert!(!shown.contains(&**pair.private.to_text()), "{shown}");
    }

    #[test]
    fn only_the_key_that_it_was_sealed_to_opens_it() {
        let (right, wrong) = (
            KeyPair::from_random(&[1; 32]),
            KeyPair::from_random(&[2; 32]),
        );
        let (half, mut sealer) = Sealer::new(&right.public, b"i", [3; 32]).expect("a key");
        let first = sealer.seal(b"one", b"a").expect("sealed");
        let second = sealer.seal(b"two", b"a").expect("sealed");
        let opener = |pair: &KeyPair, info| Opener::new(&pair.private, info, &half).expect("a key");
        let mut open = opener(&right, b"i");
        assert_eq!(open.open(&first, b"a").as_deref(), Ok(&b"one"[..]));
        assert_eq!(open.open(&second, b"a").as_deref(), Ok(&b"two"[..]));
        assert_eq!(
            opener(&right, b"i").open(&second, b"a"),
            Err(WrongKey),
            "order"
        );
        assert_eq!(
            opener(&right, b"i").open(&first, b"b"),
            Err(WrongKey),
            "frame"
        );
        assert_eq!(
            opener(&right, b"j").open(&first, b"a"),
            Err(WrongKey),
            "header"
        );
        assert_eq!(
            opener(&wrong, b"i").open(&first, b"a"),
            Err(WrongKey),
            "key"
        );
    }
}
