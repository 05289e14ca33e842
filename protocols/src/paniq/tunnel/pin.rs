//! The key of a server's certificate (`docs/protocols/paniq.md`, The server's certificate).
use super::{Pin, Server, SettingsError};
use crate::paniq::profile::{PrivateKey, ServerPin, ServerSettings};
use blake2::{
    Blake2sMac,
    digest::{FixedOutput as _, KeyInit as _, Update as _, consts::U32},
};
use sansbox_core::Seed;
use sansbox_quic::{Identity, Key};
use std::time::Duration;
use zeroize::Zeroizing;

/// What sets this use of a server's private key apart from all others.
const LABEL: &[u8; 31] = b"sansbox paniq certificate P-256";

/// The key of the certificate that a server with this private key has. It is the same at each
/// start, so that clients may pin it, and tells nothing of the private key.
///
/// Candidates are BLAKE2s-256 with the private key as its key, of a label and the candidate's
/// number in 8 octets, the highest first.
#[must_use]
pub fn certificate_key(private: &PrivateKey) -> Key {
    Key::first_of(|n| {
        let mac = Blake2sMac::<U32>::new(private.as_bytes().into())
            .chain(LABEL)
            .chain(n.to_be_bytes());
        let mut candidate = Zeroizing::new([0; 32]);
        mac.finalize_into((&mut *candidate).into());
        candidate
    })
}

impl PrivateKey {
    /// What clients of a server with this private key may pin: SHA-256 of the
    /// `SubjectPublicKeyInfo` of its certificate (see [`certificate_key`]).
    #[must_use]
    pub fn pin(&self) -> ServerPin {
        ServerPin::new(certificate_key(self).pin().0)
    }
}

impl From<&ServerPin> for Pin {
    fn from(pin: &ServerPin) -> Self {
        Self(*pin.as_bytes())
    }
}

impl Server {
    /// A certificate that is made anew, self-signed, on P-256, without any name. Its key is that of
    /// [`certificate_key`]; without a private key it is drawn from `seed`, which must be uniformly
    /// random. `since_1970` is the wall clock's time.
    ///
    /// # Errors
    /// [`SettingsError::Certificate`].
    pub fn identity_of(
        settings: &ServerSettings,
        seed: &Seed,
        since_1970: Duration,
    ) -> Result<Identity, SettingsError> {
        let Some(private) = &settings.private_key else {
            return Self::identity(seed, since_1970);
        };
        Identity::of_key(certificate_key(private), since_1970)
            .map_err(|error| SettingsError::Certificate(error.to_string()))
    }
}
