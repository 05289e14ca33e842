//! The parameters of the framer, checked when they are made, so that nothing later can go wrong.
use super::{Chain, ChainError, HeaderError, HeaderRange};
use std::fmt;
use thiserror::Error;

/// Longest UDP payload over IPv4, in octets.
pub const UDP_PAYLOAD_LEN_MAX: usize = 65_507;

/// Longest random prefix in octets: header and the longest handshake payload fit behind it.
pub const PREFIX_LEN_MAX: usize = UDP_PAYLOAD_LEN_MAX - 4 - 101;

/// Most junk datagrams in front of an Initiation.
pub const JUNK_COUNT_MAX: usize = 1024;

/// The kinds of message. The number itself is never on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Opens a handshake, from the client.
    Initiation,
    /// The server's answer.
    Response,
    /// Never sent, but a candidate when a datagram is decoded.
    CookieReply,
    /// Carries one QUIC datagram.
    Transport,
}

impl Kind {
    /// All four, in the order of `s1`..`s4` and `h1`..`h4`.
    pub const ALL: [Self; 4] = [
        Self::Initiation,
        Self::Response,
        Self::CookieReply,
        Self::Transport,
    ];
}

/// A key of a profile's `obfuscation`. `Display` gives its name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// `jc`
    Jc,
    /// `jmin`
    Jmin,
    /// `jmax`
    Jmax,
    /// `s1`..`s4`, counted from 1.
    S(u8),
    /// `h1`..`h4`, counted from 1.
    H(u8),
    /// `i1`..`i5`, counted from 1.
    I(u8),
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jc => f.write_str("jc"),
            Self::Jmin => f.write_str("jmin"),
            Self::Jmax => f.write_str("jmax"),
            Self::S(n) => write!(f, "s{n}"),
            Self::H(n) => write!(f, "h{n}"),
            Self::I(n) => write!(f, "i{n}"),
        }
    }
}

/// Why parameters are refused, and which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct ParamsError {
    /// The key to change.
    pub field: Field,
    /// What is wrong with it.
    pub problem: ParamsProblem,
}

/// What is wrong with a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParamsProblem {
    /// Below zero.
    #[error("must not be negative")]
    Negative,
    /// More than can work.
    #[error("must be at most {max}")]
    TooLarge {
        /// The most that can.
        max: usize,
    },
    /// `jmin` above `jmax`.
    #[error("must be <= jmax")]
    AboveJmax,
    /// Junk is announced by `jc`, and without both lengths a client sends none: the server would
    /// wait for it forever.
    #[error("must be above 0 when jc is: else no junk is sent and the server waits for it")]
    NoJunkLength,
    /// Not `N` or `A-B`.
    #[error(transparent)]
    Header(HeaderError),
    /// Shares values with another range; `h1`..`h4` that are empty are 1, 2, 3 and 4.
    #[error("must not overlap {other}")]
    Overlap {
        /// The other range.
        other: Field,
    },
    /// No chain.
    #[error(transparent)]
    Chain(ChainError),
    /// The datagram would be empty, which no server counts.
    #[error("the signature has no octets: the handshake could never finish")]
    EmptyChain,
    /// `<d>` or `<ds>`.
    #[error("<d> and <ds> have no meaning in a signature, and a Go client dies of them")]
    DataInSignature,
}

/// The parameters as a profile writes them: numbers may be anything, empty texts are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spec<'a> {
    /// Number of junk datagrams.
    pub jc: i64,
    /// Shortest junk in octets.
    pub jmin: i64,
    /// Longest junk in octets.
    pub jmax: i64,
    /// Length of the random prefix of each [`Kind`], in octets.
    pub s: [i64; 4],
    /// Header range of each [`Kind`]; empty for the default: 1, 2, 3, 4.
    pub h: [&'a str; 4],
    /// Signature chains; empty for none.
    pub i: [&'a str; 5],
}

/// The framer's parameters. Both ends have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    pub(super) jc: usize,
    pub(super) jmin: usize,
    pub(super) jmax: usize,
    pub(super) s: [usize; 4],
    pub(super) h: [HeaderRange; 4],
    pub(super) signatures: [Option<Chain>; 5],
}

impl Params {
    /// Checks `spec`: what the Go programs check, and what they do not but die or hang of
    /// (`docs/protocols/paniq.md`, What is refused although the Go programs take it).
    ///
    /// # Errors
    /// [`ParamsError`] with the first key that is wrong.
    pub fn parse(spec: &Spec<'_>) -> Result<Self, ParamsError> {
        let jc = bounded(Field::Jc, spec.jc, JUNK_COUNT_MAX)?;
        let jmin = bounded(Field::Jmin, spec.jmin, UDP_PAYLOAD_LEN_MAX)?;
        let jmax = bounded(Field::Jmax, spec.jmax, UDP_PAYLOAD_LEN_MAX)?;
        if jmax > 0 && jmin > jmax {
            return Err(wrong(Field::Jmin, ParamsProblem::AboveJmax));
        }
        for (field, length) in [(Field::Jmin, jmin), (Field::Jmax, jmax)] {
            if jc > 0 && length == 0 {
                return Err(wrong(field, ParamsProblem::NoJunkLength));
            }
        }
        let mut s = [0; 4];
        for ((n, prefix), length) in (1..).zip(&mut s).zip(spec.s) {
            *prefix = bounded(Field::S(n), length, PREFIX_LEN_MAX)?;
        }
        let mut signatures = [const { None }; 5];
        let h = headers(spec.h)?;
        for ((n, signature), text) in (1..).zip(&mut signatures).zip(spec.i) {
            *signature = chain(text).map_err(|problem| wrong(Field::I(n), problem))?;
        }
        Ok(Self {
            jc,
            jmin,
            jmax,
            s,
            h,
            signatures,
        })
    }

    /// Number of junk datagrams in front of the signatures.
    #[must_use]
    pub const fn jc(&self) -> usize {
        self.jc
    }

    /// Shortest junk in octets; above 0 when there is junk.
    #[must_use]
    pub const fn jmin(&self) -> usize {
        self.jmin
    }

    /// Longest junk in octets; no less than [`Self::jmin`] when there is junk.
    #[must_use]
    pub const fn jmax(&self) -> usize {
        self.jmax
    }

    /// Octets of the random prefix of messages of this kind.
    #[must_use]
    pub const fn prefix_len(&self, kind: Kind) -> usize {
        let [s1, s2, s3, s4] = self.s;
        match kind {
            Kind::Initiation => s1,
            Kind::Response => s2,
            Kind::CookieReply => s3,
            Kind::Transport => s4,
        }
    }

    /// Header values of messages of this kind.
    #[must_use]
    pub const fn header(&self, kind: Kind) -> HeaderRange {
        let [h1, h2, h3, h4] = self.h;
        match kind {
            Kind::Initiation => h1,
            Kind::Response => h2,
            Kind::CookieReply => h3,
            Kind::Transport => h4,
        }
    }

    /// The signature datagrams, in the order of sending.
    pub fn signatures(&self) -> impl Iterator<Item = &Chain> {
        self.signatures.iter().flatten()
    }

    /// Datagrams of a whole preamble: junk, signatures and the Initiation.
    #[must_use]
    pub fn preamble_len(&self) -> usize {
        self.jc + self.signatures().count() + 1
    }
}

impl Default for Params {
    /// No junk, no prefixes, no signatures, headers 1, 2, 3 and 4.
    fn default() -> Self {
        let fixed = |n| HeaderRange::single(n);
        Self {
            jc: 0,
            jmin: 0,
            jmax: 0,
            s: [0; 4],
            h: [fixed(1), fixed(2), fixed(3), fixed(4)],
            signatures: [const { None }; 5],
        }
    }
}

const fn wrong(field: Field, problem: ParamsProblem) -> ParamsError {
    ParamsError { field, problem }
}

fn bounded(field: Field, value: i64, max: usize) -> Result<usize, ParamsError> {
    if value < 0 {
        return Err(wrong(field, ParamsProblem::Negative));
    }
    match usize::try_from(value) {
        Ok(value) if value <= max => Ok(value),
        _ => Err(wrong(field, ParamsProblem::TooLarge { max })),
    }
}

fn headers(texts: [&str; 4]) -> Result<[HeaderRange; 4], ParamsError> {
    let mut ranges = Params::default().h;
    for ((n, range), text) in (1..).zip(&mut ranges).zip(texts) {
        if !text.is_empty() {
            *range = HeaderRange::parse(text)
                .map_err(|error| wrong(Field::H(n), ParamsProblem::Header(error)))?;
        }
    }
    for (n, range) in (1..).zip(&ranges) {
        let mut before = (1..n).zip(&ranges);
        if let Some((other, _)) = before.find(|(_, other)| range.overlaps(**other)) {
            let other = Field::H(other);
            return Err(wrong(Field::H(n), ParamsProblem::Overlap { other }));
        }
    }
    Ok(ranges)
}

fn chain(text: &str) -> Result<Option<Chain>, ParamsProblem> {
    if text.is_empty() {
        return Ok(None);
    }
    let chain = Chain::parse(text).map_err(ParamsProblem::Chain)?;
    if chain.has_data() {
        return Err(ParamsProblem::DataInSignature);
    }
    if chain.is_empty() {
        return Err(ParamsProblem::EmptyChain);
    }
    Ok(Some(chain))
}
