//! Finds the end of a message head, looking at each byte once.
use super::Malformed;
use crate::http::HEAD_LEN_MAX;
use sansbox_core::Pipe;

/// How far the search for the empty line behind a head went.
///
/// Checks on the way what httparse would let pass: bare LF, bare CR, control characters, folded
/// lines. These are reported as soon as they are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScanner {
    searched: usize,
    /// Bytes of `CR LF CR LF` that the searched part ends in.
    matched: u8,
}

impl HeadScanner {
    /// Goes on with `bytes`, which start at the head's first byte and include what earlier calls
    /// saw. The length of the head with its empty line, or `None` when more is needed.
    ///
    /// # Errors
    /// [`Malformed`] on a forbidden byte or when the head is longer than [`HEAD_LEN_MAX`].
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, Malformed> {
        let window = bytes.get(..bytes.len().min(HEAD_LEN_MAX));
        let fresh = window.and_then(|w| w.get(self.searched..));
        for &byte in fresh.unwrap_or_default() {
            self.matched = match (byte, self.matched) {
                (b'\r', 0) => 1,
                (b'\r', 2) => 3,
                (b'\n', 1) => 2,
                (b'\n', 3) => return Ok(Some(self.searched + 1)),
                (b'\n', _) => return Err(Malformed::BareLf),
                (_, 1 | 3) => return Err(Malformed::BareCr),
                (b' ' | b'\t', 2) => return Err(Malformed::ObsoleteFold),
                (b'\t', _) => 0,
                (0..=0x1f | 0x7f, _) => return Err(Malformed::Control(byte)),
                _ => 0,
            };
            self.searched += 1;
        }
        match self.searched < HEAD_LEN_MAX {
            true => Ok(None),
            false => Err(Malformed::HeadTooLarge),
        }
    }

    /// [`advance`](Self::advance) over what waits in `pipe`, whose segments are joined only when
    /// the head does not end in the first.
    ///
    /// # Errors
    /// As `advance`.
    pub fn find(&mut self, pipe: &mut Pipe) -> Result<Option<usize>, Malformed> {
        let found = self.advance(pipe.first())?;
        match pipe.first().len() < pipe.len() && found.is_none() {
            true => self.advance(pipe.peek(HEAD_LEN_MAX)),
            false => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forbidden_bytes_are_reported_where_they_stand() {
        let rows: &[(&[u8], Malformed)] = &[
            (b"GET / HTTP/1.1\n", Malformed::BareLf),
            (b"GET / HTTP/1.1\r\nA: b\n", Malformed::BareLf),
            (b"\n", Malformed::BareLf),
            (b"GET\rx", Malformed::BareCr),
            (b"GET\r\r", Malformed::BareCr),
            (b"A\r\n\rb", Malformed::BareCr),
            (b"A\r\n ", Malformed::ObsoleteFold),
            (b"A\r\n\t", Malformed::ObsoleteFold),
            (b"A\0", Malformed::Control(0)),
            (b"A\x0b", Malformed::Control(0x0b)),
            (b"A\x7f", Malformed::Control(0x7f)),
        ];
        for (bytes, expected) in rows {
            assert_eq!(HeadScanner::default().advance(bytes), Err(*expected));
            let before = &bytes[..bytes.len() - 1];
            assert_eq!(HeadScanner::default().advance(before), Ok(None));
        }
    }

    #[test]
    fn the_limit_counts_the_empty_line() {
        let mut head = vec![b'a'; HEAD_LEN_MAX - 4];
        head.extend_from_slice(b"\r\n\r\n");
        assert_eq!(
            HeadScanner::default().advance(&head),
            Ok(Some(HEAD_LEN_MAX))
        );
        head.insert(0, b'a');
        assert_eq!(
            HeadScanner::default().advance(&head),
            Err(Malformed::HeadTooLarge)
        );
    }

    #[test]
    fn bytes_behind_the_head_are_not_looked_at() {
        let mut scanner = HeadScanner::default();
        assert_eq!(scanner.advance(b"A\r\n"), Ok(None));
        assert_eq!(scanner.advance(b"A\r\n\r\n\n\0"), Ok(Some(5)));
    }
}
