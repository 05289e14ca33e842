//! The front of a file.
use super::{TEXT_BYTES_MAX, VERSION, read::ReadError};
use crate::{
    build::Build,
    keys::KEY_LEN,
    wire::{Cursor, Malformed, no, put_bytes},
};
use bytes::BufMut as _;
use sha2::{Digest as _, Sha256};

/// What a file begins with: no text, changed by whatever changes the ends of lines, and the name.
pub(super) const MAGIC: [u8; 8] = *b"\x89SBX\r\n\x1a\n";
const WHAT: &str = "the header";

/// How much a recording holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Times, sizes and kinds: no bytes, no addresses, no names.
    Shape,
    /// Everything until a machine has had [`HEAD_BYTES_MAX`](crate::HEAD_BYTES_MAX) bytes,
    /// sizes after that.
    Head,
    /// Everything.
    Full,
}

impl Mode {
    /// Whether it holds bytes, addresses and seeds.
    #[must_use]
    pub const fn has_content(self) -> bool {
        match self {
            Self::Shape => false,
            Self::Head | Self::Full => true,
        }
    }
}

/// Who can read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// Everybody.
    Open,
    /// Who has the private key.
    Sealed {
        /// [`PublicKey::id`](crate::PublicKey::id) of the key.
        key_id: [u8; 8],
        /// The writer's half of the exchange of keys.
        half: [u8; KEY_LEN],
    },
}

/// What everybody can see of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// How much it holds.
    pub mode: Mode,
    /// Who can read the rest.
    pub sealing: Sealing,
    /// Which build recorded it.
    pub build: Build,
}

/// The header of a file, without looking at the rest.
///
/// # Errors
/// When the bytes are no recording, one of another version, or damaged.
pub fn header(bytes: &[u8]) -> Result<Header, ReadError> {
    Header::parse(&mut Cursor::new(bytes))
}

impl Header {
    /// The header without its check.
    pub(super) fn body(&self) -> Vec<u8> {
        let mut out = self.front();
        if let Sealing::Sealed { half, .. } = &self.sealing {
            out.put_slice(half);
        }
        out
    }

    /// What seals are tied to: all but the half of the exchange, which they depend on anyway.
    pub(super) fn front(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.put_slice(&MAGIC);
        out.put_u16_le(VERSION);
        out.put_u8(match self.mode {
            Mode::Shape => 0,
            Mode::Head => 1,
            Mode::Full => 2,
        });
        let Build {
            version,
            commit,
            machines,
            target,
        } = &self.build;
        for text in [version, commit, machines, target] {
            let len = text.len().min(TEXT_BYTES_MAX);
            put_bytes(&mut out, text.as_bytes().get(..len).unwrap_or_default());
        }
        match &self.sealing {
            Sealing::Open => out.put_u8(0),
            Sealing::Sealed { key_id, .. } => {
                out.put_u8(1);
                out.put_slice(key_id);
            }
        }
        out
    }

    /// Appends it.
    pub(super) fn emit(&self, out: &mut Vec<u8>) {
        let body = self.body();
        out.put_slice(&body);
        out.put_slice(&check(&body));
    }

    pub(super) fn parse(from: &mut Cursor<'_>) -> Result<Self, ReadError> {
        let whole = *from;
        let magic = from
            .fixed::<8>(WHAT)
            .map_err(|_| ReadError::NotARecording)?;
        if magic != MAGIC {
            return Err(ReadError::NotARecording);
        }
        let malformed = ReadError::Header;
        let version = u16::from_le_bytes(from.fixed(WHAT).map_err(malformed)?);
        if version != VERSION {
            return Err(ReadError::Version(version));
        }
        let header = Self::parse_body(from).map_err(malformed)?;
        let len = whole.len() - from.len();
        let mut whole = whole;
        let body = whole.take(len as u64, WHAT).map_err(malformed)?;
        if from.fixed(WHAT).map_err(malformed)? != check(body) {
            return Err(ReadError::Damaged {
                what: WHAT,
                offset: 0,
            });
        }
        Ok(header)
    }

    fn parse_body(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let mode = match from.byte(WHAT)? {
            0 => Mode::Shape,
            1 => Mode::Head,
            2 => Mode::Full,
            value => return Err(no("mode", value)),
        };
        let mut text = || {
            let text = from.text(WHAT)?;
            match text.len() {
                0..=TEXT_BYTES_MAX => Ok(text.to_owned()),
                long => Err(Malformed::Value {
                    what: "length of a text",
                    value: long as u64,
                }),
            }
        };
        let build = Build {
            version: text()?,
            commit: text()?,
            machines: text()?,
            target: text()?,
        };
        let sealing = match from.byte(WHAT)? {
            0 => Sealing::Open,
            1 => Sealing::Sealed {
                key_id: from.fixed(WHAT)?,
                half: from.fixed(WHAT)?,
            },
            value => return Err(no("sealing", value)),
        };
        Ok(Self {
            mode,
            sealing,
            build,
        })
    }
}

/// The check of some bytes: against damage, not against people.
pub(super) fn check(bytes: &[u8]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(Sha256::digest(bytes));
    [a, b, c, d, e, f, g, h]
}
