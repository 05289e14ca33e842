//! Records in a row, and the chunks that a ring is made of.
use super::{Cursor, Entry, Malformed, put_number};
use sansbox_core::Instant;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// When.
    pub at: Instant,
    /// Which machine of the worker, counted from 0.
    pub number: u64,
    /// What.
    pub entry: Entry<'a>,
}

impl<'a> Record<'a> {
    /// Appends it; `last` is when the record before it was.
    pub fn emit(&self, last: Instant, out: &mut Vec<u8>) {
        put(out, self.at, last, self.number, &self.entry);
    }

    fn parse(last: Instant, from: &mut Cursor<'a>) -> Result<Self, Malformed> {
        let kind = from.byte("record")?;
        let shift = from.number("time")?;
        let at = last.as_nanos().wrapping_add(unfold(shift));
        let number = from.number("number of a machine")?;
        let entry = Entry::parse(kind, from)?;
        let at = Instant::from_nanos(at);
        Ok(Self { at, number, entry })
    }
}

/// Appends a record.
pub(crate) fn put(out: &mut Vec<u8>, at: Instant, last: Instant, number: u64, entry: &Entry<'_>) {
    entry.emit_kind(out);
    put_number(out, fold(at.as_nanos().wrapping_sub(last.as_nanos())));
    put_number(out, number);
    entry.emit(out);
}

/// Small numbers of either sign to small ones: time hardly ever goes back, but a recording says
/// exactly what was.
const fn fold(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    ((signed << 1) ^ (signed >> 63)).cast_unsigned()
}

const fn unfold(folded: u64) -> u64 {
    (folded >> 1) ^ (folded & 1).wrapping_neg()
}

/// Records of one worker in a row. Each chunk can be read without those before it.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// Whose.
    pub worker: u16,
    base: Instant,
    records: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// Appends the front of a chunk whose first record is relative to `base`.
    pub fn emit_front(worker: u16, base: Instant, out: &mut Vec<u8>) {
        put_number(out, worker.into());
        put_number(out, base.as_nanos());
    }

    /// Parses the front.
    ///
    /// # Errors
    /// When it is cut off.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut from = Cursor::new(bytes);
        let worker = from.number_as("worker")?;
        let base = Instant::from_nanos(from.number("time")?);
        let records = from.take(from.len() as u64, "records")?;
        Ok(Self {
            worker,
            base,
            records,
        })
    }

    /// The records in order; the first that is malformed is the last.
    #[must_use]
    pub const fn records(&self) -> Records<'a> {
        Records {
            from: Cursor::new(self.records),
            last: self.base,
        }
    }
}

/// The records of a [`Chunk`].
#[derive(Clone, Debug)]
pub struct Records<'a> {
    from: Cursor<'a>,
    last: Instant,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.from.is_empty() {
            return None;
        }
        let record = Record::parse(self.last, &mut self.from);
        match &record {
            Ok(record) => self.last = record.at,
            Err(_) => self.from = Cursor::new(&[]),
        }
        Some(record)
    }
}
