//! Names and passwords: wiped when dropped, compared in constant time, never printed.
use std::fmt;
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
