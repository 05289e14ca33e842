//! The message that opens a handshake.
use crate::paniq::{
    mac::{MAC1_LEN, MacKey},
    obf::{Framer, Kind},
    random::Draws,
    timestamp::{self, ENCRYPTED_LEN, LowOrder, Tai64N, UnixTime},
};
use bytes::{BufMut as _, BytesMut};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};
use sansbox_core::Seed;
use std::fmt;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// What a client has of the server's key. To know it is all that a server asks of its clients, so
/// it is wiped when dropped, compared in constant time, and not shown by `Debug`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub enum ClientAuth {
    /// Nothing: the Initiation has no payload.
    Keyless,
    /// The server's public key, for MAC1.
    Mac([u8; 32]),
    /// The server's public key, for an encrypted timestamp and MAC1.
    EncryptedTimestamp([u8; 32]),
}

impl ClientAuth {
    /// Octets of the Initiation's payload.
    #[must_use]
    pub const fn payload_len(&self) -> usize {
        match self {
            Self::Keyless => 0,
            Self::Mac(_) => MAC1_LEN,
            Self::EncryptedTimestamp(_) => ENCRYPTED_LEN + MAC1_LEN,
        }
    }
}

impl PartialEq for ClientAuth {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keyless, Self::Keyless) => true,
            (Self::Mac(one), Self::Mac(other))
            | (Self::EncryptedTimestamp(one), Self::EncryptedTimestamp(other)) => {
                one.ct_eq(other).into()
            }
            (Self::Keyless | Self::Mac(_) | Self::EncryptedTimestamp(_), _) => false,
        }
    }
}

impl Eq for ClientAuth {}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keyless => "Keyless",
            Self::Mac(_) => "Mac(..)",
            Self::EncryptedTimestamp(_) => "EncryptedTimestamp(..)",
        })
    }
}

/// Makes Initiations.
#[derive(Clone, Debug)]
pub(super) struct Maker {
    auth: ClientAuth,
    mac: Option<MacKey>,
    keys: ChaCha20Rng,
}

impl Maker {
    pub(super) fn new(auth: ClientAuth, seed: Seed) -> Self {
        let mac = match &auth {
            ClientAuth::Keyless => None,
            ClientAuth::Mac(public) | ClientAuth::EncryptedTimestamp(public) => {
                Some(MacKey::new(public))
            }
        };
        let keys = ChaCha20Rng::from_seed(seed.bytes());
        Self { auth, mac, keys }
    }

    /// Appends an Initiation made at `time` to `out`.
    pub(super) fn make(
        &mut self,
        framer: &Framer,
        draws: &mut Draws,
        time: UnixTime,
        out: &mut BytesMut,
    ) -> Result<(), LowOrder> {
        let timestamp = match &self.auth {
            ClientAuth::Keyless | ClientAuth::Mac(_) => None,
            ClientAuth::EncryptedTimestamp(public) => {
                let mut ephemeral = Zeroizing::new([0; 32]);
                let mut nonce = [0; 24];
                self.keys.fill_bytes(&mut *ephemeral);
                self.keys.fill_bytes(&mut nonce);
                let time = Tai64N::new(time);
                Some(timestamp::seal(public, &ephemeral, nonce, time)?)
            }
        };
        framer.encode_with(draws, Kind::Initiation, out, |_, out, begin| {
            if let Some(timestamp) = &timestamp {
                out.put_slice(timestamp);
            }
            if let Some(mac) = &self.mac {
                let tag = mac.tag(out.get(begin..).unwrap_or_default());
                out.put_slice(&tag);
            }
        });
        Ok(())
    }
}
