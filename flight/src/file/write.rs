//! Writing a file.
use super::{
    CONFIGURATION_BYTES_MAX, Header, Mode, Preamble, Sealing,
    frame::{self, Kind, Place},
};
use crate::{
    build::Build,
    keys::{PublicKey, Sealer},
    ring::Snapshot,
};

/// To whom a file is encrypted.
#[derive(Clone, Copy)]
pub struct Key<'a> {
    /// Who can read it.
    pub public: &'a PublicKey,
    /// Randomness for this file and nothing else; secret.
    pub random: [u8; 32],
}

impl core::fmt::Debug for Key<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Key")
            .field("public", self.public)
            .finish_non_exhaustive()
    }
}

/// Why no file was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The public key is not one that can be encrypted to.
    #[error("the public key cannot be encrypted to")]
    Key,
    /// One piece is longer than a file can hold.
    #[error("{0} bytes in one piece are more than a recording can hold")]
    TooLong(usize),
    /// The configuration is longer than a file can hold.
    #[error("a configuration of {0} bytes is more than a recording can hold")]
    Configuration(usize),
}

/// A whole file.
///
/// # Errors
/// When the key is no good or a record too long.
pub fn write(
    mode: Mode,
    preamble: &Preamble,
    snapshots: &[Snapshot],
    key: Option<Key<'_>>,
) -> Result<Vec<u8>, WriteError> {
    let configuration = preamble.configuration.as_ref();
    if let Some(text) = configuration
        .map(|c| &c.text)
        .filter(|t| t.len() > CONFIGURATION_BYTES_MAX)
    {
        return Err(WriteError::Configuration(text.len()));
    }
    let mut header = Header {
        mode,
        sealing: Sealing::Open,
        build: Build::this(),
    };
    let mut sealer = None;
    if let Some(Key { public, random }) = key {
        let key_id = public.id();
        let half = [0; 32];
        header.sealing = Sealing::Sealed { key_id, half };
        let (half, begun) =
            Sealer::new(public, &header.front(), random).map_err(|_| WriteError::Key)?;
        header.sealing = Sealing::Sealed { key_id, half };
        sealer = Some(begun);
    }
    let mut out = Vec::new();
    header.emit(&mut out);
    frame::put(&mut out, Kind::Preamble, &preamble.emit(), sealer.as_mut())?;
    let mut places = Vec::new();
    for snapshot in snapshots {
        for chunk in &snapshot.chunks {
            places.push(Place::of(chunk, snapshot.worker, out.len()));
            frame::put(&mut out, Kind::Chunk, &chunk.data, sealer.as_mut())?;
        }
    }
    let index = out.len();
    frame::put(
        &mut out,
        Kind::Index,
        &frame::put_index(&places),
        sealer.as_mut(),
    )?;
    frame::put_trailer(&mut out, index);
    Ok(out)
}
