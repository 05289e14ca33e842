//! Frames: compressed, sealed, checked.
use super::{
    FRAME_BYTES_MAX,
    header::{MAGIC, check},
    read::ReadError,
    write::WriteError,
};
use crate::{
    keys::{Opener, Sealer},
    ring::{Kept, Span},
    wire::{Cursor, Malformed, put_number},
};
use bytes::BufMut as _;
use ruzstd::{
    decoding::StreamingDecoder,
    encoding::{CompressionLevel, compress_to_vec},
};
use sansbox_core::Instant;
use std::io::Read as _;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Preamble = 1,
    Chunk = 2,
    Index = 3,
}

/// Kind and plain length of a frame: what its seal is tied to.
fn tie(kind: Kind, plain_len: u32) -> [u8; 5] {
    let [a, b, c, d] = plain_len.to_le_bytes();
    [kind as u8, a, b, c, d]
}

/// Appends a frame.
pub(super) fn put(
    out: &mut Vec<u8>,
    kind: Kind,
    plain: &[u8],
    sealer: Option<&mut Sealer>,
) -> Result<(), WriteError> {
    let plain_len = u32::try_from(plain.len())
        .ok()
        .filter(|_| plain.len() <= FRAME_BYTES_MAX)
        .ok_or(WriteError::TooLong(plain.len()))?;
    let tie = tie(kind, plain_len);
    let mut stored = compress_to_vec(plain, CompressionLevel::Fastest);
    if let Some(sealer) = sealer {
        stored = sealer.seal(&stored, &tie).map_err(|_| WriteError::Key)?;
    }
    let stored_len = u32::try_from(stored.len()).map_err(|_| WriteError::TooLong(plain.len()))?;
    out.put_slice(&tie);
    out.put_u32_le(stored_len);
    out.put_slice(&check(&stored));
    out.put_slice(&stored);
    Ok(())
}

/// Takes one frame and gives its kind and plain bytes.
pub(super) fn take(
    from: &mut Cursor<'_>,
    offset: usize,
    opener: Option<&mut Opener>,
) -> Result<(Kind, Vec<u8>), ReadError> {
    let what = "a frame";
    let short = |_: Malformed| ReadError::Truncated { offset };
    let kind = match from.byte(what).map_err(short)? {
        1 => Kind::Preamble,
        2 => Kind::Chunk,
        3 => Kind::Index,
        _ => return Err(ReadError::Damaged { what, offset }),
    };
    let plain_len = u32::from_le_bytes(from.fixed(what).map_err(short)?);
    let stored_len = u32::from_le_bytes(from.fixed(what).map_err(short)?);
    let expected = from.fixed::<8>(what).map_err(short)?;
    let limit = FRAME_BYTES_MAX as u64;
    if u64::from(plain_len.max(stored_len)) > limit + limit / 2 {
        return Err(ReadError::TooLong { offset, limit });
    }
    let stored = from.take(stored_len.into(), what).map_err(short)?;
    if check(stored) != expected {
        return Err(ReadError::Damaged { what, offset });
    }
    let plain = match opener {
        Some(opener) => {
            let tie = tie(kind, plain_len);
            let opened = opener.open(stored, &tie);
            decompress(
                &opened.map_err(|_| ReadError::Sealed { offset })?,
                plain_len,
            )
        }
        None => decompress(stored, plain_len),
    };
    match plain {
        Some(plain) => Ok((kind, plain)),
        None => Err(ReadError::Damaged { what, offset }),
    }
}

/// The plain bytes; `None` when they are not as many as they should be.
fn decompress(stored: &[u8], plain_len: u32) -> Option<Vec<u8>> {
    let window = FRAME_BYTES_MAX as u64;
    let decoder = StreamingDecoder::new_with_max_window_size(stored, window).ok()?;
    let mut plain = Vec::new();
    // One more than there should be shows that there are too many.
    let wanted = u64::from(plain_len) + 1;
    let n = decoder.take(wanted).read_to_end(&mut plain).ok()?;
    (n as u64 == u64::from(plain_len)).then_some(plain)
}

/// Where a chunk stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) worker: u16,
    pub(super) span: Span,
}

impl Place {
    pub(super) const fn of(chunk: &Kept, worker: u16, offset: usize) -> Self {
        Self {
            offset: offset as u64,
            worker,
            span: chunk.span,
        }
    }
}

pub(super) fn put_index(places: &[Place]) -> Vec<u8> {
    let mut out = Vec::new();
    put_number(&mut out, places.len() as u64);
    for place in places {
        let Span {
            first,
            last,
            records,
        } = place.span;
        put_number(&mut out, place.offset);
        put_number(&mut out, place.worker.into());
        put_number(&mut out, first.as_nanos());
        put_number(&mut out, last.as_nanos());
        put_number(&mut out, records);
    }
    out
}

pub(super) fn parse_index(plain: &[u8]) -> Result<Vec<Place>, Malformed> {
    let what = "the index";
    let mut from = Cursor::new(plain);
    let count = from.number(what)?;
    let mut places = Vec::new();
    for _ in 0..count {
        places.push(Place {
            offset: from.number(what)?,
            worker: from.number_as(what)?,
            span: Span {
                first: Instant::from_nanos(from.number(what)?),
                last: Instant::from_nanos(from.number(what)?),
                records: from.number(what)?,
            },
        });
    }
    if from.is_empty() {
        Ok(places)
    } else {
        let value = from.len() as u64;
        Err(Malformed::Value { what, value })
    }
}

/// Appends the end of a file whose index stands at `offset`.
pub(super) fn put_trailer(out: &mut Vec<u8>, offset: usize) {
    out.put_u64_le(offset as u64);
    out.put_slice(&MAGIC);
}

/// Takes the end of a file; the place of its index.
pub(super) fn take_trailer(from: &mut Cursor<'_>, offset: usize) -> Result<u64, ReadError> {
    let short = |_: Malformed| ReadError::Truncated { offset };
    let what = "the trailer";
    let place = u64::from_le_bytes(from.fixed(what).map_err(short)?);
    if from.fixed::<8>(what).map_err(short)? != MAGIC || !from.is_empty() {
        return Err(ReadError::Damaged { what, offset });
    }
    Ok(place)
}
