//! Names and passwords: wiped when dropped, compared in constant time, never printed.
use super::wire::Short;
use std::{fmt, sync::Arc};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A user name or password. Dropping it wipes the memory, `Debug` prints nothing of it, and
/// equality takes the same time for every content of one length.
#[derive(Clone)]
pub struct Secret(Zeroizing<Box<[u8]>>);

impl Secret {
    /// Copies `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The content.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Is this `expected`? Only the length can be told from how long the answer takes.
    #[must_use]
    pub fn matches(&self, expected: &[u8]) -> bool {
        self.0.ct_eq(expected).into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

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
