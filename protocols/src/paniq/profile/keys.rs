//! The server's X25519 keys, and the digest of its certificate's key.
use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use std::fmt;
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Standard base64 with padding that, as Go's decoder, does not look at the bits left over.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// Why a text or a byte string is no key and no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BadKey {
    /// The text is not standard base64 with padding.
    #[error("not standard base64 with padding")]
    Base64,
    /// It holds this many bytes.
    #[error("{0} bytes, where there must be 32")]
    Length(usize),
}

/// An X25519 private key, as written (clamping is done when it is used). Wiped when dropped,
/// compared in constant time, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PrivateKey([u8; 32]);

/// An X25519 public key. Whoever knows it and the rest of a profile can connect, so it is wiped
/// and never printed, too.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PublicKey([u8; 32]);

/// SHA-256 of the `SubjectPublicKeyInfo` of a server's certificate (RFC 7469 section 2.4): its
/// clients take no other key. It is no secret, but treated as the keys beside it are.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ServerPin([u8; 32]);

macro_rules! key {
    ($name:ident) => {
        impl $name {
            /// Wraps the 32 bytes.
            #[must_use]
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Reads 32 bytes.
            ///
            /// # Errors
            /// [`BadKey::Length`].
            pub fn from_slice(bytes: &[u8]) -> Result<Self, BadKey> {
                let bytes = bytes.try_into().map_err(|_| BadKey::Length(bytes.len()))?;
                Ok(Self(bytes))
            }

            /// Reads standard base64 with padding; line breaks in it are ignored, as Go does.
            ///
            /// # Errors
            /// [`BadKey`].
            pub fn from_base64(text: &str) -> Result<Self, BadKey> {
                let kept = text.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n'));
                let mut clean = Zeroizing::new(Vec::with_capacity(text.len()));
                clean.extend(kept);
                let mut bytes = Zeroizing::new(Vec::with_capacity(clean.len()));
                let decoded = BASE64.decode_vec(&*clean, &mut bytes);
                decoded.map_err(|_| BadKey::Base64)?;
                Self::from_slice(&bytes)
            }

            /// Standard base64 with padding.
            #[must_use]
            pub fn to_base64(&self) -> Zeroizing<String> {
                let mut text = Zeroizing::new(String::with_capacity(44));
                BASE64.encode_string(self.0, &mut text);
                text
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&other.0).into()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

key!(PrivateKey);
key!(PublicKey);
key!(ServerPin);

impl PrivateKey {
    /// The public key that belongs to it (RFC 7748 section 6.1).
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let secret = StaticSecret::from(self.0);
        PublicKey(x25519_dalek::PublicKey::from(&secret).to_bytes())
    }
}

impl PublicKey {
    /// Is this a point of low order, with which every shared secret is zero (RFC 7748
    /// section 6.1)? No handshake with such a key succeeds.
    #[must_use]
    pub fn is_low_order(&self) -> bool {
        let any = StaticSecret::from([0x42; 32]);
        let shared = any.diffie_hellman(&x25519_dalek::PublicKey::from(self.0));
        !shared.was_contributory()
    }
}
