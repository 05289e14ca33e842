//! Reading a file.
use super::{
    Header, PLAIN_BYTES_MAX, Preamble, Sealing, VERSION,
    frame::{self, Kind, Place},
};
use crate::{
    keys::{Opener, PrivateKey},
    ring::Kept,
    wire::{Chunk, Cursor, Malformed},
};

/// A recording, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// What everybody can see.
    pub header: Header,
    /// Why and when.
    pub preamble: Preamble,
    chunks: Vec<Kept>,
}

/// Why a file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It does not begin as a recording does.
    #[error("this is no recording: it does not begin as an .sbx file does")]
    NotARecording,
    /// Another version of the format.
    #[error("the recording has version {0} of the format, and this build reads version {VERSION}")]
    Version(u16),
    /// The header cannot be understood.
    #[error("the header is damaged: {0}")]
    Header(#[source] Malformed),
    /// Bytes were changed.
    #[error("{what} at byte {offset} is damaged")]
    Damaged {
        /// What.
        what: &'static str,
        /// Where.
        offset: usize,
    },
    /// Bytes are missing.
    #[error("the recording is cut off: it ends in what begins at byte {offset}")]
    Truncated {
        /// Where the last piece begins.
        offset: usize,
    },
    /// Frames are missing, or stand where they should not.
    #[error("the recording is not whole: {0}")]
    Incomplete(&'static str),
    /// More than a recording may hold.
    #[error("the frame at byte {offset} goes beyond the limit of {limit} bytes")]
    TooLong {
        /// Where.
        offset: usize,
        /// The limit.
        limit: u64,
    },
    /// A frame cannot be understood.
    #[error("the frame at byte {offset} makes no sense: {source}")]
    Malformed {
        /// Where.
        offset: usize,
        /// Why.
        source: Malformed,
    },
    /// It is encrypted, and there is no key.
    #[error("the recording is encrypted: the private key is needed")]
    KeyNeeded,
    /// It is encrypted to another key.
    #[error("the recording is encrypted to another key")]
    WrongKey,
    /// A seal does not hold.
    #[error("the seal of the frame at byte {offset} does not hold: it was changed or moved")]
    Sealed {
        /// Where.
        offset: usize,
    },
}

impl Recording {
    /// Reads a whole file; `key` is needed when it is encrypted.
    ///
    /// # Errors
    /// Whatever is wrong with it: a recording that is not whole is not read.
    pub fn read(bytes: &[u8], key: Option<&PrivateKey>) -> Result<Self, ReadError> {
        let mut from = Cursor::new(bytes);
        let header = Header::parse(&mut from)?;
        let mut opener = opener(&header, key)?;
        let mut offset = bytes.len() - from.len();
        let (kind, plain) = frame::take(&mut from, offset, opener.as_mut())?;
        let malformed = |offset| move |source| ReadError::Malformed { offset, source };
        if kind != Kind::Preamble {
            return Err(ReadError::Incomplete("it does not begin with a preamble"));
        }
        let preamble = Preamble::parse(&plain).map_err(malformed(offset))?;
        let mut chunks = Vec::new();
        let mut places = Vec::new();
        let mut total = plain.len();
        let index = loop {
            offset = bytes.len() - from.len();
            let (kind, plain) = frame::take(&mut from, offset, opener.as_mut())?;
            total += plain.len();
            if total > PLAIN_BYTES_MAX {
                let limit = PLAIN_BYTES_MAX as u64;
                return Err(ReadError::TooLong { offset, limit });
            }
            match kind {
                Kind::Preamble => return Err(ReadError::Incomplete("it has two preambles")),
                Kind::Index => break frame::parse_index(&plain).map_err(malformed(offset))?,
                Kind::Chunk => {
                    let (chunk, place) = chunk(plain, offset).map_err(malformed(offset))?;
                    chunks.push(chunk);
                    places.push(place);
                }
            }
        };
        if index != places {
            return Err(ReadError::Incomplete("its index lists other chunks"));
        }
        let trailer = bytes.len() - from.len();
        if frame::take_trailer(&mut from, trailer)? != offset as u64 {
            return Err(ReadError::Incomplete("its index stands elsewhere"));
        }
        Ok(Self {
            header,
            preamble,
            chunks,
        })
    }

    /// The chunks: those of one worker in order, oldest first.
    ///
    /// # Panics
    /// Never: all were parsed when the file was read.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk<'_>> {
        let chunks = self.chunks.iter();
        chunks.map(|kept| Chunk::parse(&kept.data).expect("parsed before"))
    }
}

fn opener(header: &Header, key: Option<&PrivateKey>) -> Result<Option<Opener>, ReadError> {
    let Sealing::Sealed { key_id, half } = &header.sealing else {
        return Ok(None);
    };
    let key = key.ok_or(ReadError::KeyNeeded)?;
    let public = key.public().map_err(|_| ReadError::WrongKey)?;
    if public.id() != *key_id {
        return Err(ReadError::WrongKey);
    }
    let opener = Opener::new(key, &header.front(), half);
    opener.map(Some).map_err(|_| ReadError::WrongKey)
}

/// A chunk all of whose records can be read, and its entry of the index.
fn chunk(plain: Vec<u8>, offset: usize) -> Result<(Kept, Place), Malformed> {
    let parsed = Chunk::parse(&plain)?;
    let worker = parsed.worker;
    let mut span = crate::ring::Span::default();
    for record in parsed.records() {
        let at = record?.at;
        if span.records == 0 {
            span.first = at;
        }
        span.last = at;
        span.records += 1;
    }
    let data = plain.into();
    let chunk = Kept { span, data };
    let place = Place::of(&chunk, worker, offset);
    Ok((chunk, place))
}
