//! The parser.
use super::{
    comments::{Stripped, strip},
    tree::{Json, Member, Node},
};
use crate::config::{
    error::{ErrorKind, Found},
    model::Span,
    source::Source,
};

/// Deepest nesting of objects and arrays; reading recurses, so this bounds the stack. sing-box
/// stops at 10,000; configurations that mean something stay below 20.
pub const DEPTH_MAX: usize = 128;
/// Longest file in bytes.
pub const FILE_BYTES_MAX: usize = 256 << 20;

/// An error and where it stood; its path is found later.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) kind: ErrorKind,
    pub(crate) span: Span,
}

/// Reads the first value of a file; what follows it is ignored.
///
/// # Errors
/// The first syntax error, as nothing after it can be trusted.
pub(crate) fn parse(source: &Source) -> Result<Node, Problem> {
    if source.bytes().len() > FILE_BYTES_MAX {
        let limit = FILE_BYTES_MAX;
        return Err(Problem {
            kind: ErrorKind::TooLong { limit },
            span: source.span(0, 0),
        });
    }
    let text = strip(source.bytes());
    let mut parser = Parser {
        source,
        text: &text,
        at: 0,
        depth: 0,
    };
    parser.skip_space();
    if parser.peek().is_none() {
        return Err(Problem {
            kind: ErrorKind::EmptyFile,
            span: source.span(0, 0),
        });
    }
    parser.value()
}

struct Parser<'a> {
    source: &'a Source,
    text: &'a Stripped,
    at: usize,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// The span of what was read since `start`.
    fn span_from(&self, start: usize) -> Span {
        let last = self.at.saturating_sub(1).max(start);
        self.source
            .span(self.text.original(start), self.text.original(last) + 1)
    }

    fn unexpected(&self, wanted: &'static str) -> Problem {
        let rest = self.text.bytes.get(self.at..).unwrap_or_default();
        let Some(&first) = rest.first() else {
            let end = self.source.bytes().len();
            return Problem {
                kind: ErrorKind::Syntax {
                    found: Found::End,
                    wanted,
                },
                span: self.source.span(end, end),
            };
        };
        let head = rest.get(..rest.len().min(4)).unwrap_or_default();
        let valid = head
            .utf8_chunks()
            .next()
            .and_then(|c| c.valid().chars().next());
        let found = valid.map_or(Found::Byte(first), Found::Char);
        let start = self.text.original(self.at);
        Problem {
            kind: ErrorKind::Syntax { found, wanted },
            span: self
                .source
                .span(start, start + valid.map_or(1, char::len_utf8)),
        }
    }

    fn value(&mut self) -> Result<Node, Problem> {
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => self.nested(Self::object)?,
            Some(b'[') => self.nested(Self::array)?,
            Some(b'"') => Json::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => Json::Number(self.number()?),
            Some(b't') => self.word(b"true", Json::Bool(true))?,
            Some(b'f') => self.word(b"false", Json::Bool(false))?,
            Some(b'n') => self.word(b"null", Json::Null)?,
            _ => return Err(self.unexpected("a value")),
        };
        Ok(Node {
            value,
            span: self.span_from(start),
        })
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Json, Problem>) -> Result<Json, Problem> {
        if self.depth == DEPTH_MAX {
            return Err(Problem {
                kind: ErrorKind::TooDeep { limit: DEPTH_MAX },
                span: self.span_from(self.at),
            });
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn object(&mut self) -> Result<Json, Problem> {
        let mut members = Vec::new();
        loop {
            self.skip_space();
            if self.eat(b'}') {
                return Ok(Json::Object(members));
            }
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a key in double quotes or `}`"));
            }
            let key = self.string()?;
            let key_span = self.span_from(start);
            self.skip_space();
            if !self.eat(b':') {
                return Err(self.unexpected("`:` after the key"));
            }
            self.skip_space();
            let value = self.value()?;
            members.push(Member {
                key,
                key_span,
                value,
            });
            self.skip_space();
            if !self.eat(b',') && self.peek() != Some(b'}') {
                return Err(self.unexpected("`,` or `}` after the value"));
            }
        }
    }

    fn array(&mut self) -> Result<Json, Problem> {
        let mut items = Vec::new();
        let mut trailing_comma = None;
        loop {
            self.skip_space();
            if self.eat(b']') {
                return Ok(Json::Array {
                    items,
                    trailing_comma,
                });
            }
            items.push(self.value()?);
            self.skip_space();
            let comma = self.at;
            trailing_comma = self.eat(b',').then(|| self.span_from(comma));
            if trailing_comma.is_none() && self.peek() != Some(b']') {
                return Err(self.unexpected("`,` or `]` after the item"));
            }
        }
    }

    fn word(&mut self, word: &'static [u8], value: Json) -> Result<Json, Problem> {
        for byte in word {
            if !self.eat(*byte) {
                return Err(self.unexpected("`true`, `false` or `null`"));
            }
        }
        Ok(value)
    }

    fn digits(&mut self, wanted: &'static str) -> Result<(), Problem> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.unexpected(wanted));
        }
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<String, Problem> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits("a digit")?;
        }
        if self.eat(b'.') {
            self.digits("a digit after the decimal point")?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits("a digit in the exponent")?;
        }
        let text = self.text.bytes.get(start..self.at).unwrap_or_default();
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// A string. Bytes that are no UTF-8 and surrogates that stand alone become U+FFFD, one each.
    fn string(&mut self) -> Result<String, Problem> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let start = self.at;
            while matches!(self.peek(), Some(b) if b >= 0x20 && b != b'"' && b != b'\\') {
                self.at += 1;
            }
            for chunk in self
                .text
                .bytes
                .get(start..self.at)
                .unwrap_or_default()
                .utf8_chunks()
            {
                out.push_str(chunk.valid());
                out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape(&mut out)?;
                }
                _ => {
                    return Err(self.unexpected(
                        "more of the string (with control characters escaped) or `\"`",
                    ));
                }
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), Problem> {
        let plain = match self.peek() {
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape(out);
            }
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            _ => return Err(self.unexpected("an escape: one of `\"\\/bfnrtu`")),
        };
        self.at += 1;
        out.push(plain);
        Ok(())
    }

    fn unicode_escape(&mut self, out: &mut String) -> Result<(), Problem> {
        let high = self.hex4()?;
        let rest = self.text.bytes.get(self.at..).unwrap_or_default();
        if (0xd800..0xdc00).contains(&high) && rest.starts_with(b"\\u") {
            let before = self.at;
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                return Ok(());
            }
            self.at = before;
        }
        out.push(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        Ok(())
    }

    fn hex4(&mut self) -> Result<u32, Problem> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|b| char::from(b).to_digit(16));
            let Some(digit) = digit else {
                return Err(self.unexpected("a hexadecimal digit"));
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::source::Sources;

    fn read(text: &[u8]) -> Result<Node, Problem> {
        parse(&Sources::single("a", text).files()[0])
    }

    #[test]
    fn what_sing_box_reads_is_read() {
        for text in [
            "{}",
            " \t\r\n{ } trailing",
            "{}}",
            "{\"a\":1,}",
            "[1,2,]",
            "{\"a\": /* c */ tr/**/ue} // end",
            "1/**/2",
            "-0.5e+10",
            "1E400",
            "\"\\u0061\\/\\b\\f\\n\\r\\t\\\\\\\"\"",
            "null /* open",
            "\"\u{7f}\u{2028}'//#\"",
        ] {
            assert!(read(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_sing_box_refuses_is_refused() {
        for text in [
            "",
            " ",
            "// x",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{,}",
            "{\"a\" 1}",
            "{a:1}",
            "{'a':1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":1,,}",
            "[",
            "[,]",
            "[1,,]",
            "[1 2]",
            "tru",
            "nul",
            "True",
            "+1",
            "-",
            "1.",
            ".5",
            "1e",
            "1e+",
            "\"",
            "\"\\",
            "\"\\q\"",
            "\"\\u12g4\"",
            "\"a\nb\"",
            "\"a\tb\"",
            "\u{feff}{}",
            "/",
            "{/}",
            "<!-- -->",
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        // A leading zero ends the number; inside an object that is an error.
        assert!(read(b"{\"a\":01}").is_err());
        assert!(read(b"\xff\xfe{\0}\0").is_err());
    }

    #[test]
    fn strings_are_unescaped_and_mended() {
        for (text, want) in [
            (&b"\"\\u0061\\ud83d\\ude00\\/\""[..], "a\u{1f600}/"),
            (b"\"a\\ud83d.\"", "a\u{fffd}."),
            (b"\"\\ude00\\ud83d\\u0061\"", "\u{fffd}\u{fffd}a"),
            (b"\"a\xffb\xe2\x82c\"", "a\u{fffd}b\u{fffd}\u{fffd}c"),
            (b"\"\\u0000\"", "\0"),
        ] {
            assert_eq!(read(text).unwrap().text(), Some(want));
        }
    }

    #[test]
    fn places_are_those_of_the_text_with_its_comments() {
        let text = "/* x */ {\"a\" : [1/**/2, \"b\"]}";
        let sources = Sources::single("a", text);
        let root = parse(&sources.files()[0]).unwrap();
        let at = |span: Span| &text[span.start as usize..span.end as usize];
        assert_eq!(at(root.span), "{\"a\" : [1/**/2, \"b\"]}");
        let member = &root.members().unwrap()[0];
        assert_eq!(at(member.key_span), "\"a\"");
        let items = member.value.items().unwrap();
        assert_eq!(at(items[0].span), "1/**/2");
        assert_eq!(at(items[1].span), "\"b\"");
        assert!(matches!(&items[0].value, Json::Number(literal) if literal == "12"));
    }

    #[test]
    fn equal_keys_are_all_kept() {
        let root = read(b"{\"a\":1,\"a\":2}").unwrap();
        assert_eq!(root.members().unwrap().len(), 2);
    }
}
