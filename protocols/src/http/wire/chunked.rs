//! The chunked transfer coding (RFC 9112 7.1), walked without decoding.
use super::Malformed;
use crate::http::{CHUNK_EXTENSION_LEN_MAX, TRAILERS_LEN_MAX};

/// Most digits of a chunk size: 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

/// What a run of bytes in a chunked body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// This many bytes of sizes, extensions, line ends or trailers.
    Framing(usize),
    /// This many bytes of content.
    Data(usize),
}

impl Span {
    /// Bytes in the run.
    #[must_use]
    pub const fn len(self) -> usize {
        match self {
            Self::Framing(n) | Self::Data(n) => n,
        }
    }

    /// No bytes.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the size, with the digits so far.
    Size {
        value: u64,
        digits: u8,
    },
    /// In white space behind the size: an extension must follow.
    BeforeExtension {
        value: u64,
        len: usize,
    },
    /// In an extension, `len` bytes after its start.
    Extension {
        value: u64,
        len: usize,
    },
    /// The CR of a size line was seen.
    SizeLf {
        value: u64,
    },
    /// In content, with the bytes left; 0 expects the CR behind it.
    Data {
        left: u64,
    },
    /// The CR behind content was seen.
    DataLf,
    /// At the start of a trailer line; `len` bytes of trailers so far.
    TrailerStart {
        len: usize,
    },
    TrailerName {
        len: usize,
    },
    TrailerValue {
        len: usize,
    },
    TrailerLf {
        len: usize,
    },
    /// The CR of the last empty line was seen.
    LastLf,
    Done,
}

/// Finds the end of a chunked body, trailers included, from any cuts of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkScanner {
    state: State,
}

impl Default for ChunkScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkScanner {
    /// At the first byte of a body.
    #[must_use]
    pub const fn new() -> Self {
        let state = State::Size {
            value: 0,
            digits: 0,
        };
        Self { state }
    }

    /// The whole body was seen.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Walks over `bytes`: how many of them belong to the body. Fewer than all only at its end or
    /// before a malformed byte.
    ///
    /// # Errors
    /// [`Malformed`] when the first of `bytes` is wrong.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            match self.next_span(rest) {
                Ok(span) if span.is_empty() => break,
                Ok(span) => used += span.len(),
                Err(_) if used > 0 => break,
                Err(malformed) => return Err(malformed),
            }
        }
        Ok(used)
    }

    /// The run at the start of `bytes`; empty when `bytes` is or the body is done.
    ///
    /// # Errors
    /// [`Malformed`] when the first of `bytes` is wrong.
    pub fn next_span(&mut self, bytes: &[u8]) -> Result<Span, Malformed> {
        if let State::Data { left } = &mut self.state
            && *left > 0
        {
            let n = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
            *left -= n as u64;
            return Ok(Span::Data(n));
        }
        let mut used = 0;
        for &byte in bytes {
            if matches!(self.state, State::Done | State::Data { left: 1.. }) {
                break;
            }
            match self.state.after(byte) {
                Ok(state) => self.state = state,
                Err(_) if used > 0 => break,
                Err(malformed) => return Err(malformed),
            }
            used += 1;
        }
        Ok(Span::Framing(used))
    }
}

impl State {
    /// The state behind `byte`, which is not content.
    fn after(self, byte: u8) -> Result<Self, Malformed> {
        match self {
            Self::Size { value, digits } => size_byte(value, digits, byte),
            Self::BeforeExtension { value, len } => match byte {
                b' ' | b'\t' if len < CHUNK_EXTENSION_LEN_MAX => Ok(Self::BeforeExtension {
                    value,
                    len: len + 1,
                }),
                b';' => Ok(Self::Extension { value, len }),
                _ => Err(Malformed::ChunkSize),
            },
            Self::Extension { value, len } => match byte {
                b'\r' => Ok(Self::SizeLf { value }),
                b'\t' | b' '..=b'~' | 0x80.. if len < CHUNK_EXTENSION_LEN_MAX => {
                    Ok(Self::Extension {
                        value,
                        len: len + 1,
                    })
                }
                _ => Err(Malformed::ChunkExtension),
            },
            Self::SizeLf { value } => match (byte, value) {
                (b'\n', 0) => Ok(Self::TrailerStart { len: 0 }),
                (b'\n', left) => Ok(Self::Data { left }),
                _ => Err(Malformed::BareCr),
            },
            Self::Data { .. } => match byte {
                b'\r' => Ok(Self::DataLf),
                _ => Err(Malformed::ChunkEnd),
            },
            Self::DataLf => match byte {
                b'\n' => Ok(ChunkScanner::new().state),
                _ => Err(Malformed::ChunkEnd),
            },
            Self::LastLf => match byte {
                b'\n' => Ok(Self::Done),
                _ => Err(Malformed::BareCr),
            },
            Self::TrailerStart { len }
            | Self::TrailerName { len }
            | Self::TrailerValue { len }
            | Self::TrailerLf { len } => match len < TRAILERS_LEN_MAX {
                true => self.after_in_trailer(byte, len + 1),
                false => Err(Malformed::TrailersTooLong),
            },
            Self::Done => Err(Malformed::ChunkEnd),
        }
    }

    /// Like [`State::after`] in a trailer section that is now `len` bytes long.
    fn after_in_trailer(self, byte: u8, len: usize) -> Result<Self, Malformed> {
        let at_start = matches!(self, Self::TrailerStart { .. });
        let in_value = matches!(self, Self::TrailerValue { .. });
        let after_cr = matches!(self, Self::TrailerLf { .. });
        match byte {
            b'\n' if after_cr => Ok(Self::TrailerStart { len }),
            _ if after_cr => Err(Malformed::BareCr),
            b'\r' if at_start => Ok(Self::LastLf),
            b'\r' if in_value => Ok(Self::TrailerLf { len }),
            b'\t' | b' '..=b'~' | 0x80.. if in_value => Ok(Self::TrailerValue { len }),
            b':' if !at_start => Ok(Self::TrailerValue { len }),
            _ if !in_value && is_token_byte(byte) => Ok(Self::TrailerName { len }),
            _ => Err(Malformed::Trailer),
        }
    }
}

fn size_byte(value: u64, digits: u8, byte: u8) -> Result<State, Malformed> {
    let digit = char::from(byte).to_digit(16).map(u64::from);
    match (byte, digit, digits) {
        (_, Some(digit), 0..SIZE_DIGITS_MAX) => Ok(State::Size {
            value: value << 4 | digit,
            digits: digits + 1,
        }),
        (_, Some(_), _) | (_, None, 0) => Err(Malformed::ChunkSize),
        (b'\r', ..) => Ok(State::SizeLf { value }),
        (b';', ..) => Ok(State::Extension { value, len: 0 }),
        (b' ' | b'\t', ..) => Ok(State::BeforeExtension { value, len: 0 }),
        _ => Err(Malformed::ChunkSize),
    }
}

/// `tchar` (RFC 9110 5.6.2).
pub(in crate::http) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`'
        | b'|' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Length of the body in `bytes` and its content, by looking at whole lines.
    fn naive(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
        let mut content = Vec::new();
        let mut at = 0;
        let line_end = |from: usize| {
            let rest = bytes.get(from..)?;
            rest.windows(2).position(|w| w == b"\r\n").map(|n| from + n)
        };
        loop {
            let end = line_end(at)?;
            let line = std::str::from_utf8(&bytes[at..end]).ok()?;
            let size = line.split(';').next()?.trim_end();
            let size = usize::from_str_radix(size, 16).ok()?;
            at = end + 2;
            if size == 0 {
                break;
            }
            content.extend_from_slice(bytes.get(at..at + size)?);
            at += size + 2;
        }
        loop {
            let end = line_end(at)?;
            let is_last = end == at;
            at = end + 2;
            if is_last {
                return Some((at, content));
            }
        }
    }

    fn first_error(bytes: &[u8]) -> Option<(usize, Malformed)> {
        let mut scanner = ChunkScanner::new();
        for (at, byte) in bytes.iter().enumerate() {
            match scanner.scan(&[*byte]) {
                Ok(1) => {}
                Ok(_) => return None,
                Err(malformed) => return Some((at, malformed)),
            }
        }
        None
    }

    #[test]
    fn the_last_byte_of_each_row_is_wrong() {
        let long_extension = format!("1;{}", "x".repeat(CHUNK_EXTENSION_LEN_MAX + 1));
        let long_blank = format!("1{}", " ".repeat(CHUNK_EXTENSION_LEN_MAX + 2));
        let long_trailer = format!("0\r\nA:{}", "x".repeat(TRAILERS_LEN_MAX - 1));
        let rows = [
            ("\r", Malformed::ChunkSize),
            (";", Malformed::ChunkSize),
            ("g", Malformed::ChunkSize),
            ("-", Malformed::ChunkSize),
            ("+", Malformed::ChunkSize),
            ("0x", Malformed::ChunkSize),
            ("5\n", Malformed::ChunkSize),
            ("5 \r", Malformed::ChunkSize),
            ("5 5", Malformed::ChunkSize),
            ("00000000000000001", Malformed::ChunkSize),
            ("5\rx", Malformed::BareCr),
            ("5;a\n", Malformed::ChunkExtension),
            ("5;a\0", Malformed::ChunkExtension),
            ("1\r\nab", Malformed::ChunkEnd),
            ("1\r\na\n", Malformed::ChunkEnd),
            ("1\r\na\rb", Malformed::ChunkEnd),
            ("0\r\n\n", Malformed::Trailer),
            ("0\r\n\rx", Malformed::BareCr),
            ("0\r\n:", Malformed::Trailer),
            ("0\r\nA\r", Malformed::Trailer),
            ("0\r\nA ", Malformed::Trailer),
            ("0\r\nA: b\n", Malformed::Trailer),
            ("0\r\nA: b\rx", Malformed::BareCr),
            ("0\r\nA: b\r\n ", Malformed::Trailer),
            (&long_extension, Malformed::ChunkExtension),
            (&long_blank, Malformed::ChunkSize),
            (&long_trailer, Malformed::TrailersTooLong),
        ];
        for (bytes, expected) in rows {
            let at = bytes.len() - 1;
            assert_eq!(
                first_error(bytes.as_bytes()),
                Some((at, expected)),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn good_bodies_end_where_they_end() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "000A;x=\"y\"\r\n0123456789\r\n00\r\nA: b\r\nC:\r\n\r\n",
            "1 ; x\r\na\r\n0\r\n\r\n",
        ] {
            let mut scanner = ChunkScanner::new();
            let with_more = format!("{body}GET");
            assert_eq!(scanner.scan(with_more.as_bytes()), Ok(body.len()));
            assert!(scanner.is_done());
            assert_eq!(scanner.scan(b"GET"), Ok(0));
            for n in 0..body.len() {
                let mut scanner = ChunkScanner::new();
                assert_eq!(scanner.scan(&body.as_bytes()[..n]), Ok(n));
                assert!(!scanner.is_done());
            }
        }
        let mut scanner = ChunkScanner::new();
        assert_eq!(scanner.scan(b"ffffffffffffffff\r\nabc"), Ok(21));
    }

    /// A chunked body of random chunks, extensions and trailers.
    fn body() -> impl Strategy<Value = Vec<u8>> {
        let chunk = (
            proptest::collection::vec(any::<u8>(), 1..40),
            "(;[a-z]{1,5}(=[a-z]{1,4})?)?",
        );
        let trailer = "[a-zA-Z-]{1,8}: [ -~]{0,10}\r\n";
        (
            proptest::collection::vec(chunk, 0..6),
            proptest::collection::vec(trailer, 0..3),
        )
            .prop_map(|(chunks, trailers)| {
                let mut out = Vec::new();
                for (data, extension) in chunks {
                    out.extend_from_slice(format!("{:x}{extension}\r\n", data.len()).as_bytes());
                    out.extend_from_slice(&data);
                    out.extend_from_slice(b"\r\n");
                }
                out.extend_from_slice(format!("0\r\n{}\r\n", trailers.concat()).as_bytes());
                out
            })
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_decoder(
            body in body(),
            tail in proptest::collection::vec(any::<u8>(), 0..20),
            cuts in proptest::collection::vec(1..12_usize, 1..80),
        ) {
            let mut bytes = body.clone();
            bytes.extend_from_slice(&tail);
            let (len, content) = naive(&bytes).unwrap();
            prop_assert_eq!(len, body.len());

            let (mut scanner, mut spans) = (ChunkScanner::new(), ChunkScanner::new());
            let (mut at, mut decoded) = (0, Vec::new());
            for cut in cuts.iter().cycle() {
                let piece = &bytes[at..bytes.len().min(at + cut)];
                let used = scanner.scan(piece).unwrap();
                let mut walked = 0;
                while walked < used {
                    let span = spans.next_span(&piece[walked..]).unwrap();
                    if let Span::Data(n) = span {
                        decoded.extend_from_slice(&piece[walked..walked + n]);
                    }
                    walked += span.len();
                }
                prop_assert_eq!(walked, used);
                prop_assert_eq!(scanner, spans);
                at += used;
                if scanner.is_done() {
                    break;
                }
                prop_assert_eq!(used, piece.len());
            }
            prop_assert_eq!((at, decoded), (len, content));
        }

        #[test]
        fn errors_do_not_depend_on_cuts(
            mut body in body(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in 1..9_usize,
        ) {
            let at = at.index(body.len());
            body[at] = byte;
            let mut whole = ChunkScanner::new();
            let mut used = 0;
            let outcome = loop {
                match whole.scan(&body[used..]) {
                    Ok(0) => break Ok(used),
                    Ok(n) => used += n,
                    Err(malformed) => break Err((used, malformed)),
                }
            };
            let mut cut_up = ChunkScanner::new();
            let mut used = 0;
            let cut_outcome = loop {
                match cut_up.scan(&body[used..body.len().min(used + cut)]) {
                    Ok(0) => break Ok(used),
                    Ok(n) => used += n,
                    Err(malformed) => break Err((used, malformed)),
                }
            };
            prop_assert_eq!(outcome, cut_outcome);
        }
    }
}
