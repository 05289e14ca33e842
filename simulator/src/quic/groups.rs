//! Key exchange groups that note what they were asked for.
use super::note;
use rustls::{
    Error, NamedGroup,
    crypto::{ActiveKeyExchange, SupportedKxGroup},
};
use sansbox_quic::groups;

/// X25519 (RFC 7748).
pub static X25519: Noted = Noted(&groups::X25519);
/// ECDH over P-256.
pub static P256: Noted = Noted(&groups::P256);

/// A group of the product whose key shares are counted.
#[derive(Debug)]
pub struct Noted(&'static dyn SupportedKxGroup);

impl SupportedKxGroup for Noted {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        note(|facts| facts.key_shares.push(self.name()));
        self.0.start()
    }

    fn name(&self) -> NamedGroup {
        self.0.name()
    }
}
