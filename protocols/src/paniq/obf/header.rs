//! Header ranges: which values of a datagram's 4 header octets mean a kind of message.
use std::fmt;
use thiserror::Error;

/// An inclusive range of header values. `Display` gives its canonical form: `N`, or `A-B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeaderRange {
    start: u32,
    end: u32,
}

/// Why a text is no header range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HeaderError {
    /// More than two parts around `-`.
    #[error("bad format: want N or A-B")]
    BadFormat,
    /// A part is empty or has a character that is no decimal digit.
    #[error("not a decimal number")]
    NotANumber,
    /// A part does not fit 32 bits.
    #[error("number above 4294967295")]
    OutOfRange,
    /// The end is below the start.
    #[error("wrong range: the end is below the start")]
    Reversed,
}

impl HeaderRange {
    /// The range from `start` to `end`, both in it; `None` when `end` is below `start`.
    #[must_use]
    pub const fn new(start: u32, end: u32) -> Option<Self> {
        if end < start {
            return None;
        }
        Some(Self { start, end })
    }

    /// The range of one value.
    #[must_use]
    pub const fn single(value: u32) -> Self {
        Self {
            start: value,
            end: value,
        }
    }

    /// Reads `N` or `A-B`: decimal digits, leading zeros allowed, no sign and no
    /// blank.
    ///
    /// # Errors
    /// [`HeaderError`] when the text is neither.
    pub fn parse(text: &str) -> Result<Self, HeaderError> {
        let (start, end) = match text.split_once('-') {
            None => (text, text),
            Some((_, end)) if end.contains('-') => return Err(HeaderError::BadFormat),
            Some(parts) => parts,
        };
        let (start, end) = (number(start)?, number(end)?);
        Self::new(start, end).ok_or(HeaderError::Reversed)
    }

    /// The lowest value.
    #[must_use]
    pub const fn start(self) -> u32 {
        self.start
    }

    /// The highest value.
    #[must_use]
    pub const fn end(self) -> u32 {
        self.end
    }

    /// Is `value` in the range?
    #[must_use]
    pub const fn contains(self, value: u32) -> bool {
        self.start <= value && value <= self.end
    }

    /// Do the two share a value?
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }

    /// How many values there are.
    #[must_use]
    pub fn width(self) -> u64 {
        u64::from(self.end - self.start) + 1
    }
}

impl fmt::Display for HeaderRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.start == self.end {
            return write!(f, "{}", self.start);
        }
        write!(f, "{}-{}", self.start, self.end)
    }
}

fn number(digits: &str) -> Result<u32, HeaderError> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(HeaderError::NotANumber);
    }
    digits.parse().map_err(|_| HeaderError::OutOfRange)
}
