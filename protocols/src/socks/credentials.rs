//! What a client logs in with (RFC 1929).
use super::wire::Short;
use crate::Secret;
use std::sync::Arc;

/// What a client logs in with. Cheap to clone: sessions share one copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials(Arc<Pair>);

#[derive(Debug, PartialEq, Eq)]
struct Pair {
    username: Secret,
    password: Secret,
}

/// A user name or password is longer than the 255 octets that RFC 1929 can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("user name or password longer than {} octets", Short::LEN_MAX)]
pub struct CredentialsTooLong;

impl Credentials {
    /// Copies both.
    ///
    /// # Errors
    /// [`CredentialsTooLong`].
    pub fn new(username: &[u8], password: &[u8]) -> Result<Self, CredentialsTooLong> {
        if username.len().max(password.len()) > Short::LEN_MAX {
            return Err(CredentialsTooLong);
        }
        Ok(Self(Arc::new(Pair {
            username: Secret::new(username),
            password: Secret::new(password),
        })))
    }

    /// The user name; USERID in SOCKS4.
    #[must_use]
    pub fn username(&self) -> &[u8] {
        self.0.username.as_bytes()
    }

    /// The password; SOCKS4 has none.
    #[must_use]
    pub fn password(&self) -> &[u8] {
        self.0.password.as_bytes()
    }
}
