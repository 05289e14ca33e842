//! Signature chains: what a signature datagram is made of, as a row of tags in angle brackets.
use super::params::UDP_PAYLOAD_LEN_MAX;
use crate::paniq::random::Draws;
use bytes::{BufMut as _, BytesMut};
use thiserror::Error;

/// One tag. Signatures carry no payload, so `<d>` and `<ds>` take no octets and `<dz N>`, the
/// payload's length, is N zeros.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Tag {
    /// `<b HEX>`: these octets.
    Bytes(Box<[u8]>),
    /// `<t>`: Unix seconds in 4 octets, the highest first.
    Timestamp,
    /// `<r N>`: random octets.
    Random(usize),
    /// `<rc N>`: random ASCII letters.
    Letters(usize),
    /// `<rd N>`: random ASCII digits.
    Digits(usize),
    /// `<d>`: the payload.
    Data,
    /// `<ds>`: the payload in unpadded base64.
    DataText,
    /// `<dz N>`: the length of the payload in N octets.
    DataLen(usize),
}

/// A signature datagram as its tags, such as `<b 0x0102><t><r 5>` (`docs/protocols/paniq.md`, The
/// profile).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Chain {
    tags: Box<[Tag]>,
    len: usize,
}

/// What a signature datagram said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// Unix seconds of its last `<t>`.
    pub timestamp: Option<u32>,
}

/// Why a text is no chain, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{problem} (at octet {at})")]
pub struct ChainError {
    /// Where the tag begins that is wrong, in octets of the text.
    pub at: usize,
    /// What is wrong with it.
    pub problem: ChainProblem,
}

/// What is wrong with a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ChainProblem {
    /// `<` without `>`. Reported before anything else.
    #[error("missing enclosing >")]
    MissingEnd,
    /// Nothing, or nothing but blanks, between the brackets.
    #[error("empty tag")]
    EmptyTag,
    /// None of `b`, `t`, `r`, `rc`, `rd`, `d`, `ds`, `dz`.
    #[error("unknown tag")]
    UnknownTag,
    /// `<b>` without hexadecimal digits.
    #[error("<b> without octets")]
    NoOctets,
    /// `<b>` with half an octet.
    #[error("<b> with an odd amount of digits")]
    OddDigits,
    /// `<b>` with a character that is no hexadecimal digit.
    #[error("<b> with a character that is no hexadecimal digit")]
    NotHex,
    /// A length that is missing or no decimal number.
    #[error("the length is no decimal number")]
    NotANumber,
    /// A length below zero.
    #[error("the length is negative")]
    Negative,
    /// The datagram would be longer than UDP carries.
    #[error("the datagram would be longer than {UDP_PAYLOAD_LEN_MAX} octets")]
    TooLong,
}

impl Chain {
    /// Reads a chain. Text outside of brackets means nothing, as in the Go programs; a chain
    /// without a tag is one of length 0, which [`Params`](super::Params) refuses.
    ///
    /// # Errors
    /// [`ChainError`] for the first tag that is wrong.
    pub fn parse(text: &str) -> Result<Self, ChainError> {
        let places = places(text)?;
        let mut tags = Vec::with_capacity(places.len());
        let mut len = 0_usize;
        for (at, inside) in places {
            let wrong = |problem| ChainError { at, problem };
            let tag = Tag::parse(inside).map_err(wrong)?;
            len += tag.len();
            if len > UDP_PAYLOAD_LEN_MAX {
                return Err(wrong(ChainProblem::TooLong));
            }
            tags.push(tag);
        }
        let tags = tags.into();
        Ok(Self { tags, len })
    }

    /// Octets of the datagram.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Would the datagram be empty?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many tags there are.
    #[must_use]
    pub const fn tags(&self) -> usize {
        self.tags.len()
    }

    /// Appends a datagram of this chain; `unix_seconds` is what `<t>` says.
    pub fn emit(&self, draws: &mut Draws, unix_seconds: u32, out: &mut BytesMut) {
        for tag in &self.tags {
            tag.emit(draws, unix_seconds, out);
        }
    }

    /// Reads a datagram; `None` when it is not one of this chain.
    #[must_use]
    pub fn read(&self, datagram: &[u8]) -> Option<Signature> {
        let mut signature = Signature::default();
        let mut rest = datagram;
        for tag in &self.tags {
            let octets;
            (octets, rest) = rest.split_at_checked(tag.len())?;
            if !tag.fits(octets) {
                return None;
            }
            if let (Tag::Timestamp, Some(seconds)) = (tag, octets.first_chunk()) {
                signature.timestamp = Some(u32::from_be_bytes(*seconds));
            }
        }
        rest.is_empty().then_some(signature)
    }

    /// Does a datagram of this chain carry the time?
    #[must_use]
    pub fn has_timestamp(&self) -> bool {
        self.tags.contains(&Tag::Timestamp)
    }

    /// Has the chain a tag `<d>` or `<ds>`? They have no meaning in a signature, and a Go client
    /// dies of them beside a tag of fixed length.
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.tags
            .iter()
            .any(|tag| matches!(tag, Tag::Data | Tag::DataText))
    }
}

impl Tag {
    fn parse(inside: &str) -> Result<Self, ChainProblem> {
        let mut fields = inside.split_whitespace();
        let key = fields.next().ok_or(ChainProblem::EmptyTag)?;
        let argument = fields.next().unwrap_or_default();
        Ok(match key {
            "b" => Self::Bytes(octets(argument)?),
            "t" => Self::Timestamp,
            "r" => Self::Random(length(argument)?),
            "rc" => Self::Letters(length(argument)?),
            "rd" => Self::Digits(length(argument)?),
            "d" => Self::Data,
            "ds" => Self::DataText,
            "dz" => Self::DataLen(length(argument)?),
            _ => return Err(ChainProblem::UnknownTag),
        })
    }

    /// Octets in a signature.
    const fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Timestamp => 4,
            Self::Random(n) | Self::Letters(n) | Self::Digits(n) | Self::DataLen(n) => *n,
            Self::Data | Self::DataText => 0,
        }
    }
}

impl Tag {
    fn emit(&self, draws: &mut Draws, unix_seconds: u32, out: &mut BytesMut) {
        let at = out.len();
        let mut map = |n: usize, octet: fn(u8) -> u8| {
            draws.append(n, out);
            let new = out.iter_mut().skip(at);
            new.for_each(|random| *random = octet(*random));
        };
        match self {
            Self::Bytes(bytes) => out.put_slice(bytes),
            Self::Timestamp => out.put_u32(unix_seconds),
            Self::Random(n) => draws.append(*n, out),
            Self::Letters(n) => map(*n, letter),
            Self::Digits(n) => map(*n, |random| b'0' + random % 10),
            Self::Data | Self::DataText => {}
            Self::DataLen(n) => out.put_bytes(0, *n),
        }
    }

    /// Can `octets`, as many as the tag has, be from it?
    fn fits(&self, octets: &[u8]) -> bool {
        match self {
            Self::Bytes(bytes) => **bytes == *octets,
            Self::Letters(_) => octets.iter().all(u8::is_ascii_alphabetic),
            Self::Digits(_) => octets.iter().all(u8::is_ascii_digit),
            Self::Timestamp | Self::Random(_) | Self::Data | Self::DataText | Self::DataLen(_) => {
                true
            }
        }
    }
}

const fn letter(random: u8) -> u8 {
    match random % 52 {
        n @ 0..26 => b'a' + n,
        n => b'A' + n - 26,
    }
}

/// Where each `<` is that opens a tag, and what stands up to its `>`.
fn places(text: &str) -> Result<Vec<(usize, &str)>, ChainError> {
    let mut places = Vec::new();
    let mut from = 0;
    while let Some(open) = text.get(from..).and_then(|rest| rest.find('<')) {
        let at = from + open;
        let missing = ChainError {
            at,
            problem: ChainProblem::MissingEnd,
        };
        let inside = text.get(at + 1..).and_then(|rest| rest.split_once('>'));
        let (inside, _) = inside.ok_or(missing)?;
        places.push((at, inside));
        from = at + 1 + inside.len() + 1;
    }
    Ok(places)
}

/// The octets of `<b>`: hexadecimal, after `0x` or not.
fn octets(argument: &str) -> Result<Box<[u8]>, ChainProblem> {
    let digits = argument.strip_prefix("0x").unwrap_or(argument);
    if digits.is_empty() {
        return Err(ChainProblem::NoOctets);
    }
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(ChainProblem::OddDigits);
    }
    let digit = |b: u8| char::from(b).to_digit(16);
    let octet = |[high, low]: &[u8; 2]| {
        let value = digit(*high)? * 16 + digit(*low)?;
        u8::try_from(value).ok()
    };
    let octets: Option<_> = pairs.iter().map(octet).collect();
    octets.ok_or(ChainProblem::NotHex)
}

/// A length as Go's `Atoi` reads it, but never negative and never more than a datagram holds.
fn length(argument: &str) -> Result<usize, ChainProblem> {
    let (is_negative, digits) = match argument.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, argument.strip_prefix('+').unwrap_or(argument)),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ChainProblem::NotANumber);
    }
    match digits.parse() {
        Ok(0) => Ok(0),
        _ if is_negative => Err(ChainProblem::Negative),
        Ok(n) if n <= UDP_PAYLOAD_LEN_MAX => Ok(n),
        _ => Err(ChainProblem::TooLong),
    }
}
