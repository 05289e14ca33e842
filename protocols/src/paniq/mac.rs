//! MAC1: proof that an Initiation's sender knows the server's public key
//! (`docs/protocols/paniq.md`, Initiation).
use blake2::{
    Blake2s256, Blake2sMac, Digest as _,
    digest::{FixedOutput as _, KeyInit as _, Update as _, consts::U16},
};
use std::fmt;
use subtle::ConstantTimeEq as _;
use zeroize::{ZeroizeOnDrop, Zeroizing};

/// Octets of a MAC1.
pub const MAC1_LEN: usize = 16;

const LABEL: &[u8; 8] = b"mac1----";

/// The key of MAC1, wiped when dropped.
#[derive(Clone, ZeroizeOnDrop)]
pub struct MacKey(Zeroizing<[u8; 32]>);

impl MacKey {
    /// The key for a server: BLAKE2s-256 of a label and the server's public key.
    #[must_use]
    pub fn new(server_public: &[u8; 32]) -> Self {
        let hash = Blake2s256::new().chain(LABEL).chain(server_public);
        Self(Zeroizing::new(hash.finalize().into()))
    }

    /// MAC1 of a datagram whose last 16 octets, which are the MAC's place, are not in
    /// `without_mac`: keyed BLAKE2s with 16 octets of output over it and 16 zeros.
    #[must_use]
    pub fn tag(&self, without_mac: &[u8]) -> [u8; MAC1_LEN] {
        let key: &[u8; 32] = &self.0;
        Blake2sMac::<U16>::new(key.into())
            .chain(without_mac)
            .chain([0; MAC1_LEN])
            .finalize_fixed()
            .into()
    }

    /// Does `datagram` end with its MAC1? The comparison takes the same time for every content.
    #[must_use]
    pub fn verifies(&self, datagram: &[u8]) -> bool {
        datagram
            .split_last_chunk::<MAC1_LEN>()
            .is_some_and(|(without_mac, mac)| self.tag(without_mac).ct_eq(mac).into())
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(..)")
    }
}
