//! Errors and warnings with the line that they are about.
use super::{
    model::Span,
    source::{Source, Sources},
};
use core::fmt;

/// Most characters of a source line that are shown.
const EXCERPT_CHARS_MAX: usize = 96;

/// What is said of a place, with file, line, column, path and the line itself.
pub(super) fn render(
    level: &str,
    kind: &dyn fmt::Display,
    path: &str,
    span: Span,
    sources: &Sources,
) -> String {
    let mut out = format!("{level}: {kind}\n");
    let Some(source) = sources.file(span) else {
        return out;
    };
    let place = source.locate(span.start);
    let gutter = place.line.to_string();
    let pad = " ".repeat(gutter.len());
    out += &format!("{pad}--> {}:{}:{}", source.path(), place.line, place.column);
    if !path.is_empty() {
        out += &format!(", at {path}");
    }
    let (text, caret, width) = excerpt(source, span);
    out += &format!("\n{pad} |\n{gutter} | {text}\n");
    out += &format!("{pad} | {}{}\n", " ".repeat(caret), "^".repeat(width));
    out
}

/// The source line around a span, where the caret goes and how wide it is, all in characters.
fn excerpt(source: &Source, span: Span) -> (String, usize, usize) {
    let place = source.locate(span.start);
    let line = source
        .bytes()
        .get(place.line_start..place.line_end)
        .unwrap_or_default();
    let mut shown: Vec<char> = String::from_utf8_lossy(line)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    while shown.last().is_some_and(|c| *c == ' ') {
        shown.pop();
    }
    hide_secrets(&mut shown);
    let caret = place.column - 1;
    let end = usize::try_from(span.end).unwrap_or(usize::MAX);
    let marked = source
        .bytes()
        .get(usize::try_from(span.start).unwrap_or(usize::MAX)..end.min(place.line_end))
        .map_or(0, |bytes| String::from_utf8_lossy(bytes).chars().count());
    let first = caret.saturating_sub(EXCERPT_CHARS_MAX / 2);
    let first = if shown.len() <= EXCERPT_CHARS_MAX {
        0
    } else {
        first
    };
    let mut text = String::new();
    if first > 0 {
        text.push('…');
    }
    text.extend(shown.iter().skip(first).take(EXCERPT_CHARS_MAX));
    if shown.len() > first + EXCERPT_CHARS_MAX {
        text.push('…');
    }
    let caret = caret - first + usize::from(first > 0);
    let room = text.chars().count().saturating_sub(caret);
    (text, caret, marked.clamp(1, room.max(1)))
}

/// Keys whose values nobody may read over a shoulder or in a log.
const SECRETS: [&str; 4] = [
    "\"password\"",
    "\"link\"",
    "\"server_private_key\"",
    "\"server_public_key\"",
];

/// Overwrites the value after every key of [`SECRETS`] with `*`, keeping the length.
fn hide_secrets(line: &mut [char]) {
    let lower: Vec<char> = line.iter().map(char::to_ascii_lowercase).collect();
    for key in SECRETS {
        let key: Vec<char> = key.chars().collect();
        let mut at = 0;
        while let Some(found) = lower
            .get(at..)
            .and_then(|rest| rest.windows(key.len()).position(|w| w == key))
        {
            at = hide_value(line, at + found + key.len());
        }
    }
}

/// Overwrites the value behind a key that ends at `at`; returns where it ends.
fn hide_value(line: &mut [char], mut at: usize) -> usize {
    let gap = |c: &&char| matches!(c, ' ' | ':');
    at += line.iter().skip(at).take_while(gap).count();
    let quoted = line.get(at) == Some(&'"');
    at += usize::from(quoted);
    let mut escaped = false;
    while let Some(c) = line.get_mut(at) {
        let ends = match quoted {
            true => *c == '"' && !escaped,
            false => matches!(c, ',' | '}' | ']'),
        };
        if ends {
            break;
        }
        escaped = *c == '\\' && !escaped;
        *c = '*';
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::error::{ConfigError, ErrorKind};

    fn error(kind: ErrorKind, path: &str, start: u32, end: u32) -> ConfigError {
        let path = path.to_owned();
        let span = Span {
            file: 0,
            start,
            end,
        };
        ConfigError { kind, path, span }
    }

    #[test]
    fn the_source_line_is_shown_with_a_caret() {
        let sources = Sources::single("a.json", "{\n\t\"inbounds\": [{\"typ\": 1}]\n}");
        let kind = ErrorKind::UnknownKey {
            key: "typ".into(),
            nearest: Some("type".into()),
        };
        let error = error(kind, "inbounds[0].typ", 17, 22);
        assert_eq!(
            error.render(&sources),
            "error: unknown key \"typ\"; did you mean \"type\"?\n \
             --> a.json:2:16, at inbounds[0].typ\n  |\n\
             2 |  \"inbounds\": [{\"typ\": 1}]\n  |                \
             ^^^^^\n"
        );
        assert_eq!(
            error.to_string(),
            "inbounds[0].typ: unknown key \"typ\"; did you mean \"type\"?"
        );
    }

    #[test]
    fn long_lines_are_cut_and_passwords_hidden() {
        let text = format!(
            "{{\"password\" : \"s3\\\"cret\", \"x\": \"{}\", \"y\": 1}}",
            "z".repeat(500)
        );
        let at = u32::try_from(text.find("\"x\"").unwrap()).unwrap();
        let sources = Sources::single("a", text.clone());
        let shown = error(ErrorKind::EmptyFile, "", at, at + 3).render(&sources);
        assert!(!shown.contains("s3"), "{shown}");
        assert!(!shown.contains("cret"), "{shown}");
        assert!(shown.contains("\"********\", \"x\""), "{shown}");
        assert!(shown.contains('…'), "{shown}");
        let at = u32::try_from(text.find("\"y\"").unwrap()).unwrap();
        let shown = error(ErrorKind::EmptyFile, "", at, at + 3).render(&sources);
        let lines: Vec<_> = shown.lines().collect();
        let caret = lines[4].chars().position(|c| c == '^').unwrap();
        let marked: String = lines[3].chars().skip(caret).take(3).collect();
        assert_eq!(marked, "\"y\"");
    }

    #[test]
    fn every_form_of_secret_is_hidden() {
        for (line, want) in [
            (r#""password": 1234, "x": 1"#, r#""password": ****, "x": 1"#),
            (r#""Password":"a" }"#, r#""Password":"*" }"#),
            (r#""password": ["a"]}"#, r#""password": ****]}"#),
            (r#""password": "open"#, r#""password": "****"#),
            (r#""password""#, r#""password""#),
            (
                r#""link": "pnq://ab", "Server_Private_Key": "x=", "server_public_key": "y"}"#,
                r#""link": "********", "Server_Private_Key": "**", "server_public_key": "*"}"#,
            ),
            (r#""password", "a""#, r#""password", "a""#),
        ] {
            let mut shown: Vec<char> = line.chars().collect();
            hide_secrets(&mut shown);
            assert_eq!(shown.iter().collect::<String>(), want);
        }
    }

    #[test]
    fn a_place_beyond_the_file_is_no_panic() {
        let sources = Sources::single("a", "");
        let text = error(ErrorKind::EmptyFile, "", 7, 9).render(&sources);
        assert_eq!(
            text,
            "error: the file holds no value\n --> a:1:1\n  |\n1 | \n  | ^\n"
        );
        let nowhere = error(ErrorKind::NoInput, "", 0, 0).render(&Sources::default());
        assert_eq!(nowhere, "error: no configuration file was given\n");
    }
}
