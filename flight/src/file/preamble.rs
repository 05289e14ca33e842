//! The first frame: why and when a recording was made, and with which configuration.
use crate::wire::{Cursor, Malformed, no, put_bytes, put_number};
use bytes::BufMut as _;
use core::fmt;
use sansbox_core::Instant;
use sha2::{Digest as _, Sha256};

/// Why a recording was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Somebody asked for it with a signal.
    Signal,
    /// A thread panicked.
    Panic,
    /// Connections did not end when they were told to, and were cut.
    Cut,
    /// The daemon stopped, and is configured to leave a recording.
    Stop,
    /// One machine was picked out of another recording.
    Promoted,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signal => "asked for by a signal",
            Self::Panic => "a thread panicked",
            Self::Cut => "connections were cut at the end",
            Self::Stop => "the daemon stopped",
            Self::Promoted => "picked out of another recording",
        })
    }
}

/// The configuration that the machines ran on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Its text: of several files, merged.
    pub text: Vec<u8>,
}

impl Configuration {
    /// SHA-256 of the text, by which two recordings can be seen to have the same.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(&self.text).into()
    }
}

/// Why and when a recording was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// Why.
    pub reason: Reason,
    /// When, in nanoseconds since 1970.
    pub unix_nanos: u64,
    /// The same moment on the clock of the machines.
    pub now: Instant,
    /// Records that rings had dropped before.
    pub dropped: u64,
    /// What the machines ran on; none without content.
    pub configuration: Option<Configuration>,
}

impl Preamble {
    pub(super) fn emit(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u8(match self.reason {
            Reason::Signal => 0,
            Reason::Panic => 1,
            Reason::Cut => 2,
            Reason::Stop => 3,
            Reason::Promoted => 4,
        });
        put_number(&mut out, self.unix_nanos);
        put_number(&mut out, self.now.as_nanos());
        put_number(&mut out, self.dropped);
        out.put_u8(u8::from(self.configuration.is_some()));
        if let Some(configuration) = &self.configuration {
            out.put_slice(&configuration.hash());
            put_bytes(&mut out, &configuration.text);
        }
        out
    }

    pub(super) fn parse(plain: &[u8]) -> Result<Self, Malformed> {
        let mut from = Cursor::new(plain);
        let reason = match from.byte("reason")? {
            0 => Reason::Signal,
            1 => Reason::Panic,
            2 => Reason::Cut,
            3 => Reason::Stop,
            4 => Reason::Promoted,
            value => return Err(no("reason", value)),
        };
        let unix_nanos = from.number("time")?;
        let now = Instant::from_nanos(from.number("time")?);
        let dropped = from.number("count")?;
        let configuration = match from.byte("configuration")? {
            0 => None,
            1 => {
                let hash = from.fixed::<32>("configuration")?;
                let text = from.bytes("configuration")?.to_vec();
                let configuration = Configuration { text };
                if configuration.hash() != hash {
                    return Err(Malformed::Value {
                        what: "hash of the configuration",
                        value: u64::from(hash[0]),
                    });
                }
                Some(configuration)
            }
            value => return Err(no("configuration", value)),
        };
        Ok(Self {
            reason,
            unix_nanos,
            now,
            dropped,
            configuration,
        })
    }
}
