//! Regular expressions in Go's syntax (package `regexp/syntax`), rewritten for a Rust engine.
//!
//! The two agree on most of the language. This rewrites what Go reads differently, and refuses what
//! Rust has beyond Go, so that an expression means here what it means in sing-box:
//!
//! | Go | Rust |
//! |---|---|
//! | `\Q..\E` quotes | unknown |
//! | `[`, `&&`, `--`, `~~` in a class are characters | nested classes and set operations |
//! | `{` that starts no `{n}`, `{n,}`, `{n,m}` is a character | an error, or `{,m}` |
//! | `\d \s \w \b` are ASCII | Unicode |
//! | `\012`, `\<`, `\>` are characters | refused, word boundaries |
//! | `\p{^Greek}` | `\P{Greek}` |
//! | `a**` and counts above 1000 are errors | accepted |
//! | flags `imsU` | also `u`, `x`, `R` |
//!
//! Names are ASCII, so restricting `\w` and its kind to ASCII changes no answer and keeps automata
//! small. Class names that only Rust knows are not told apart.
use core::{iter::Peekable, str::Chars};

/// Largest count in `{n,m}`.
const REPEAT_MAX: u32 = 1000;
/// `\d`, `\s` and `\w` as ranges of a class.
const DIGIT: &str = "0-9";
const SPACE: &str = r"\t\n\x0C\r ";
const WORD: &str = "0-9A-Za-z_";
/// What may stand in `[[:name:]]`.
const CLASS_NAMES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// Rewrites `expression`. Mistakes that Rust finds too are left to it.
///
/// # Errors
/// A message for what only Go refuses, in Go's words where it has them.
pub(super) fn translate(expression: &str) -> Result<String, String> {
    let mut translator = Translator {
        rest: expression.chars().peekable(),
        out: String::with_capacity(expression.len()),
        after: After::Nothing,
    };
    while let Some(c) = translator.rest.next() {
        translator.element(c)?;
    }
    Ok(translator.out)
}

/// What stood before: whether a repetition may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    Repeat,
}

struct Translator<'a> {
    rest: Peekable<Chars<'a>>,
    out: String,
    after: After,
}

impl Translator<'_> {
    fn element(&mut self, c: char) -> Result<(), String> {
        let is_repeat = match c {
            '*' | '+' | '?' => Some(c.to_string()),
            '{' => self.counted_repeat()?,
            _ => None,
        };
        if let Some(repeat) = is_repeat {
            return self.repeat(&repeat);
        }
        self.after = After::Nothing;
        match c {
            '\\' => self.escape(),
            '[' => self.class(),
            '(' => self.group(),
            '|' | ')' | '^' | '$' | '.' => {
                self.out.push(c);
                Ok(())
            }
            literal => {
                self.literal(literal);
                Ok(())
            }
        }
    }

    /// One character that stands for itself.
    fn literal(&mut self, c: char) {
        if c.is_ascii_punctuation() && c != '<' && c != '>' {
            self.out.push('\\');
        }
        self.out.push(c);
    }

    fn repeat(&mut self, repeat: &str) -> Result<(), String> {
        if self.after == After::Repeat {
            return Err(format!("invalid nested repetition operator: `{repeat}`"));
        }
        self.out.push_str(repeat);
        if self.rest.next_if_eq(&'?').is_some() {
            self.out.push('?');
        }
        self.after = After::Repeat;
        Ok(())
    }

    /// The rest of `{n}`, `{n,}` or `{n,m}`; `None`, and nothing consumed, when it is none.
    fn counted_repeat(&mut self) -> Result<Option<String>, String> {
        let mut ahead = self.rest.clone();
        let Some(min) = number(&mut ahead) else {
            return Ok(None);
        };
        let (text, max) = match ahead.next_if_eq(&',') {
            None => (format!("{{{min}}}"), Some(min)),
            Some(_) if ahead.peek() == Some(&'}') => (format!("{{{min},}}"), None),
            Some(_) => match number(&mut ahead) {
                Some(max) => (format!("{{{min},{max}}}"), Some(max)),
                None => return Ok(None),
            },
        };
        if ahead.next() != Some('}') {
            return Ok(None);
        }
        if min > REPEAT_MAX || max.is_some_and(|max| max > REPEAT_MAX || max < min) {
            return Err(format!("invalid repeat count: `{text}`"));
        }
        self.rest = ahead;
        Ok(Some(text))
    }

    /// After `(`.
    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        self.out.push('?');
        // `(?P<name>` and `(?<name>` are the same in both.
        if matches!(self.rest.peek(), Some('P' | '<')) {
            for c in self.rest.by_ref() {
                self.out.push(c);
                if c == '>' {
                    return Ok(());
                }
            }
        }
        for c in self.rest.by_ref() {
            match c {
                'i' | 'm' | 's' | 'U' | '-' => self.out.push(c),
                ':' | ')' => {
                    self.out.push(c);
                    return Ok(());
                }
                _ => return Err("invalid or unsupported Perl syntax: `(?`".to_owned()),
            }
        }
        Err("missing closing )".to_owned())
    }

    /// After `\`, outside a class.
    fn escape(&mut self) -> Result<(), String> {
        match self.rest.next() {
            None => return Err("trailing backslash at end of expression".to_owned()),
            Some('Q') => self.quoted(),
            Some(c @ ('A' | 'z')) => self.out.extend(['\\', c]),
            Some(c @ ('b' | 'B')) => {
                self.out.push_str(r"(?-u:\");
                self.out.extend([c, ')']);
            }
            Some(c) => match self.escaped_class(c)? {
                Some(class) => self.out.push_str(&class.bracketed()),
                None => {
                    let c = self.escaped_char(c)?;
                    self.literal(c);
                }
            },
        }
        Ok(())
    }

    /// After `\Q`: characters up to `\E` or the end.
    fn quoted(&mut self) {
        while let Some(c) = self.rest.next() {
            if c == '\\' && self.rest.next_if_eq(&'E').is_some() {
                return;
            }
            self.literal(c);
        }
    }

    /// `\d`, `\p{..}` and their kind, `c` being what follows the backslash.
    fn escaped_class(&mut self, c: char) -> Result<Option<Class>, String> {
        let ascii = |ranges: &str, is_negated| {
            Some(Class {
                inner: ranges.to_owned(),
                is_negated,
            })
        };
        Ok(match c {
            'd' | 'D' => ascii(DIGIT, c == 'D'),
            's' | 'S' => ascii(SPACE, c == 'S'),
            'w' | 'W' => ascii(WORD, c == 'W'),
            'p' | 'P' => Some(self.unicode_class(c == 'P')?),
            _ => None,
        })
    }

    fn unicode_class(&mut self, is_negated: bool) -> Result<Class, String> {
        let bad = || "invalid character class range".to_owned();
        let mut name = String::new();
        match self.rest.next().ok_or_else(bad)? {
            '{' => loop {
                match self.rest.next().ok_or_else(bad)? {
                    '}' => break,
                    c => name.push(c),
                }
            },
            c => name.push(c),
        }
        let (name, is_flipped) = match name.strip_prefix('^') {
            Some(name) => (name, true),
            None => (name.as_str(), false),
        };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(bad());
        }
        Ok(Class {
            inner: format!(r"\p{{{name}}}"),
            is_negated: is_negated != is_flipped,
        })
    }

    /// One escaped character, `c` being what follows the backslash.
    fn escaped_char(&mut self, c: char) -> Result<char, String> {
        let bad = || format!(r"invalid escape sequence: `\{c}`");
        let code = match c {
            // A single digit from 1 on would be a reference to a group, which Go does not have.
            '1'..='7' if !matches!(self.rest.peek(), Some('0'..='7')) => return Err(bad()),
            '0'..='7' => {
                let mut code = digit(c, 8);
                for _ in 0..2 {
                    let next = self.rest.next_if(|c| c.is_digit(8));
                    code = next.map_or(code, |d| code * 8 + digit(d, 8));
                }
                code
            }
            'x' => self.hex().ok_or_else(bad)?,
            'a' => 7,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            'v' => 11,
            c if c.is_ascii_punctuation() => return Ok(c),
            _ => return Err(bad()),
        };
        char::from_u32(code).ok_or_else(bad)
    }

    /// `7F` or `{10FFFF}`.
    fn hex(&mut self) -> Option<u32> {
        let mut code: u32 = 0;
        if self.rest.next_if_eq(&'{').is_none() {
            for _ in 0..2 {
                code = code * 16 + self.rest.next()?.to_digit(16)?;
            }
            return Some(code);
        }
        let mut is_empty = true;
        loop {
            match self.rest.next()? {
                '}' => return (!is_empty).then_some(code),
                c => code = code.checked_mul(16)?.checked_add(c.to_digit(16)?)?,
            }
            is_empty = false;
        }
    }

    /// After `[`.
    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut is_first = true;
        loop {
            match self.rest.next().ok_or("missing closing ]")? {
                ']' if !is_first => break,
                '[' if self.rest.peek() == Some(&':') && self.named_class()? => {}
                c => self.class_item(c)?,
            }
            is_first = false;
        }
        self.out.push(']');
        Ok(())
    }

    /// After `[` in a class, before `:`: whether `:alpha:]` and its kind stood there.
    fn named_class(&mut self) -> Result<bool, String> {
        let mut ahead = self.rest.clone();
        ahead.next();
        let mut name = String::new();
        while let Some(c) = ahead.next() {
            if c == ':' && ahead.next_if_eq(&']').is_some() {
                if !CLASS_NAMES.contains(&name.strip_prefix('^').unwrap_or(&name)) {
                    return Err(format!("invalid character class range: `[:{name}:]`"));
                }
                self.out.extend(["[:", &name, ":]"]);
                self.rest = ahead;
                return Ok(true);
            }
            name.push(c);
        }
        Ok(false)
    }

    /// A character, a range, or an escaped class.
    fn class_item(&mut self, c: char) -> Result<(), String> {
        let low = match c {
            '\\' => {
                let c = self.rest.next().ok_or("missing closing ]")?;
                if let Some(class) = self.escaped_class(c)? {
                    self.out.push_str(&class.bracketed());
                    return Ok(());
                }
                self.escaped_char(c)?
            }
            c => c,
        };
        let mut ahead = self.rest.clone();
        let high = if ahead.next() == Some('-') && ahead.peek().is_some_and(|&c| c != ']') {
            self.rest = ahead;
            self.class_char()?
        } else {
            low
        };
        if high < low {
            return Err(format!("invalid character class range: `{low}-{high}`"));
        }
        self.literal(low);
        if high != low {
            self.out.push('-');
            self.literal(high);
        }
        Ok(())
    }

    fn class_char(&mut self) -> Result<char, String> {
        match self.rest.next().ok_or("missing closing ]")? {
            '\\' => {
                let c = self.rest.next().ok_or("missing closing ]")?;
                self.escaped_char(c)
            }
            c => Ok(c),
        }
    }
}

struct Class {
    inner: String,
    is_negated: bool,
}

impl Class {
    /// A class of its own, which may stand in another one.
    fn bracketed(&self) -> String {
        let caret = if self.is_negated { "^" } else { "" };
        format!("[{caret}{}]", self.inner)
    }
}

fn digit(c: char, radix: u32) -> u32 {
    c.to_digit(radix).unwrap_or_default()
}

/// A decimal number without a needless zero in front, as Go reads counts.
fn number(chars: &mut Peekable<Chars<'_>>) -> Option<u32> {
    let first = chars.next_if(char::is_ascii_digit)?;
    let mut value = digit(first, 10);
    while let Some(c) = chars.next_if(char::is_ascii_digit) {
        if first == '0' {
            return None;
        }
        value = value.saturating_mul(10).saturating_add(digit(c, 10));
    }
    Some(value)
}

#[cfg(test)]
#[path = "go_regex_tests.rs"]
mod tests;
