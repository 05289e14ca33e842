//! Takes comments out of a text and remembers where the rest stood.

/// A text without comments.
pub(super) struct Stripped {
    /// The bytes that are left. Newlines of comments are kept.
    pub(super) bytes: Vec<u8>,
    /// From which byte of the text left on (first) the original continues at which byte (second).
    jumps: Vec<(usize, usize)>,
}

impl Stripped {
    /// Where byte `at` of what is left stood in the original.
    pub(super) fn original(&self, at: usize) -> usize {
        let after = self.jumps.partition_point(|(kept, _)| *kept <= at);
        let last = after.checked_sub(1).and_then(|i| self.jumps.get(i));
        last.map_or(at, |(kept, original)| original + (at - kept))
    }
}

enum State {
    Content,
    String,
    StringEscape,
    Line,
    Block,
    BlockStar,
}

/// Strips `#` and `//` comments up to their newline, and `/* */`, closed or not. Inside
/// double-quoted strings nothing is a comment.
///
/// sing-box also looks for no comments between single quotes; a single quote outside a string is
/// a syntax error anyway, so that makes no difference.
pub(super) fn strip(text: &[u8]) -> Stripped {
    let mut out = Stripped {
        bytes: Vec::with_capacity(text.len()),
        jumps: vec![(0, 0)],
    };
    let mut state = State::Content;
    let mut bytes = text.iter().copied().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        let kept = match state {
            State::Content => {
                let next = bytes.peek().map(|(_, next)| *next);
                state = match (byte, next) {
                    (b'"', _) => State::String,
                    (b'#', _) => State::Line,
                    (b'/', Some(b'/')) => State::Line,
                    (b'/', Some(b'*')) => {
                        bytes.next();
                        State::Block
                    }
                    _ => State::Content,
                };
                matches!(state, State::Content | State::String)
            }
            State::String => {
                state = match byte {
                    b'"' => State::Content,
                    b'\\' => State::StringEscape,
                    _ => State::String,
                };
                true
            }
            State::StringEscape => {
                state = State::String;
                true
            }
            State::Line => {
                if byte == b'\n' {
                    state = State::Content;
                }
                byte == b'\n'
            }
            State::Block | State::BlockStar => {
                state = match (byte, state) {
                    (b'/', State::BlockStar) => State::Content,
                    (b'*', _) => State::BlockStar,
                    _ => State::Block,
                };
                byte == b'\n'
            }
        };
        if kept {
            if out.original(out.bytes.len()) != at {
                out.jumps.push((out.bytes.len(), at));
            }
            out.bytes.push(byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_vanish_and_places_stay() {
        for (text, want) in [
            ("{} // end", "{} "),
            ("{} # x\n1", "{} \n1"),
            ("tr/**/ue", "true"),
            ("/***/ /* * / **/x", " x"),
            ("/* a\n b */c", "\nc"),
            ("\"a // b # c /* d\\\" */\"", "\"a // b # c /* d\\\" */\""),
            ("1 /* open", "1 "),
            ("/", "/"),
            ("a/b", "a/b"),
        ] {
            let left = strip(text.as_bytes());
            assert_eq!(String::from_utf8_lossy(&left.bytes), want, "{text}");
            for (at, byte) in left.bytes.iter().enumerate() {
                assert_eq!(text.as_bytes()[left.original(at)], *byte, "{text} {at}");
            }
        }
    }
}
