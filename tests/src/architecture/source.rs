//! Source text with what the rules do not look at taken out.

/// One source file.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Path from the root of the workspace.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// The text with comments, and the insides of string and character literals if `strings` is
/// false, replaced by spaces. Line breaks stay, so lines keep their numbers.
#[must_use]
pub fn code_only(text: &str, strings: bool) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let (kind, end) = token(&bytes, at);
        let keep = match kind {
            Token::Comment => false,
            Token::Literal => strings,
            Token::Code => true,
        };
        for &c in &bytes[at..end] {
            out.push(if keep || c == '\n' { c } else { ' ' });
        }
        at = end;
    }
    out
}

enum Token {
    Comment,
    Literal,
    Code,
}

/// Kind and end of what starts at `at`.
fn token(text: &[char], at: usize) -> (Token, usize) {
    let next = text.get(at + 1).copied();
    match text[at] {
        '/' if next == Some('/') => {
            let end = text[at..].iter().position(|&c| c == '\n');
            (Token::Comment, end.map_or(text.len(), |n| at + n))
        }
        '/' if next == Some('*') => (Token::Comment, block_comment(text, at)),
        '"' => (Token::Literal, string(text, at + 1)),
        'r' if !follows_word(text, at) => match raw_string(text, at + 1) {
            Some(end) => (Token::Literal, end),
            None => (Token::Code, at + 1),
        },
        '\'' => match character(text, at) {
            Some(end) => (Token::Literal, end),
            None => (Token::Code, at + 1),
        },
        _ => (Token::Code, at + 1),
    }
}

fn follows_word(text: &[char], at: usize) -> bool {
    // `br"..."` is one literal; `bar"` cannot be.
    let before = at.checked_sub(1).map(|n| text[n]);
    before.is_some_and(|c| (c.is_alphanumeric() && c != 'b') || c == '_')
}

fn block_comment(text: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    text.len()
}

fn string(text: &[char], start: usize) -> usize {
    let mut at = start;
    while at < text.len() {
        match text[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

fn raw_string(text: &[char], start: usize) -> Option<usize> {
    let hashes = text[start..].iter().take_while(|&&c| c == '#').count();
    let open = start + hashes;
    if text.get(open) != Some(&'"') {
        return None;
    }
    let mut at = open + 1;
    while at < text.len() {
        let closes = text[at] == '"'
            && text[at + 1..]
                .iter()
                .take(hashes)
                .filter(|&&c| c == '#')
                .count()
                == hashes;
        if closes {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(text.len())
}

/// The end of a character literal; none when the quote starts a lifetime.
fn character(text: &[char], at: usize) -> Option<usize> {
    if text.get(at + 1) == Some(&'\\') {
        let close = text[at + 3..].iter().position(|&c| c == '\'')?;
        return Some(at + 3 + close + 1);
    }
    (text.get(at + 2) == Some(&'\'')).then_some(at + 3)
}

/// The text with items under `#[cfg(test)]` replaced by empty lines.
#[must_use]
pub fn without_tests(text: &str) -> String {
    let blank = code_only(text, false);
    let mut out: Vec<char> = text.chars().collect();
    let blank: Vec<char> = blank.chars().collect();
    let mark: Vec<char> = "#[cfg(test)]".chars().collect();
    let mut at = 0;
    while let Some(found) = find(&blank, &mark, at) {
        let end = item_end(&blank, found + mark.len());
        for c in &mut out[found..end] {
            if *c != '\n' {
                *c = ' ';
            }
        }
        at = end;
    }
    out.into_iter().collect()
}

fn find(text: &[char], mark: &[char], from: usize) -> Option<usize> {
    let windows = text.get(from..)?.windows(mark.len());
    windows
        .enumerate()
        .find(|(_, window)| *window == mark)
        .map(|(n, _)| from + n)
}

/// The end of the item that starts at `from`: its `;`, or the brace that closes its first.
fn item_end(text: &[char], from: usize) -> usize {
    let mut depth = 0;
    for (n, &c) in text.iter().enumerate().skip(from) {
        match c {
            ';' if depth == 0 => return n + 1,
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return n + 1;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// Line number, from 1, and text of every identifier.
pub fn identifiers(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().flat_map(|(n, line)| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| word.starts_with(|c: char| c.is_alphabetic() || c == '_'))
            .map(move |word| (n + 1, word))
    })
}
