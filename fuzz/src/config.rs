//! Configurations: read, formatted, merged.
use sansbox_engine::config::{
    ConfigError, ErrorKind, ReadOptions, Sources, format, merge,
    model::{Condition, Config, OutboundKind, RuleAction, Span, Spanned},
    read,
};

const STRICT: ReadOptions = ReadOptions { lenient: false };
const LENIENT: ReadOptions = ReadOptions { lenient: true };
/// Stands between the first file and the second.
const SEPARATOR: &[u8] = b"\n%%\n";

/// One file, or two with a line of `%%` between them. What is formatted or merged reads as the same
/// configuration and stays as it is when formatted again; every error and warning points into its
/// file and can be shown.
pub fn config_reader(data: &[u8]) {
    let at = data.windows(SEPARATOR.len()).position(|w| w == SEPARATOR);
    match at {
        None => one(data),
        Some(at) => two(&data[..at], &data[at + SEPARATOR.len()..]),
    }
}

fn show(sources: &Sources, errors: &[ConfigError]) {
    assert!(!errors.is_empty(), "refused without a reason");
    for error in errors {
        let is_whole = matches!(error.kind, ErrorKind::NoInput);
        check_span(sources, error.span, is_whole);
        assert!(error.render(sources).ends_with('\n') && !error.to_string().is_empty());
    }
}

fn check_span(sources: &Sources, span: Span, is_whole: bool) {
    let len = sources.file(span).map_or(0, |file| file.bytes().len());
    let is_inside = span.start <= span.end && usize::try_from(span.end).is_ok_and(|n| n <= len);
    assert!(is_inside || is_whole, "{span:?} of {len} bytes");
}

/// The configuration without places, read in both modes.
fn read_bare(sources: &Sources) -> Option<Config> {
    let lenient = read(sources, &LENIENT);
    let strict = read(sources, &STRICT);
    if let Err(errors) = &strict {
        show(sources, errors);
    }
    let (config, warnings) = match (lenient, strict) {
        (Ok((lenient, warnings)), Ok((strict, _))) => {
            assert_eq!(lenient, strict, "the modes read the same");
            (lenient, warnings)
        }
        (Ok(read), Err(_)) => read,
        (Err(_), Ok((strict, _))) => panic!("lenient refuses what strict reads: {strict:?}"),
        (Err(errors), Err(_)) => {
            show(sources, &errors);
            return None;
        }
    };
    for warning in &warnings {
        check_span(sources, warning.span, false);
        assert!(warning.render(sources).ends_with('\n'));
    }
    Some(bare(config))
}

fn one(data: &[u8]) {
    let sources = Sources::single("config.json", data);
    let config = read_bare(&sources);
    match format(&sources.files()[0]) {
        Err(errors) => {
            show(&sources, &errors);
            assert!(
                config.is_none() || is_unformattable(&errors),
                "read, but not formatted: {errors:?}"
            );
        }
        Ok(text) => check_text(&text, config.as_ref(), "format"),
    }
    match merge(&sources) {
        Err(errors) => {
            show(&sources, &errors);
            assert!(
                config.is_none() || is_unformattable(&errors),
                "read, but not merged: {errors:?}"
            );
        }
        Ok(text) => check_text(&text, config.as_ref(), "merge"),
    }
}

/// What `format` cannot write although it can be read.
fn is_unformattable(_errors: &[ConfigError]) -> bool {
    false
}

/// `text` came of `format` or `merge`: it reads as `config`, and `format` leaves it alone once it
/// has had it.
fn check_text(text: &str, config: Option<&Config>, by: &str) {
    let sources = Sources::single("again.json", text);
    assert_eq!(
        read_bare(&sources).as_ref(),
        config,
        "what {by} wrote reads as something else:\n{text}"
    );
    let first = format(&sources.files()[0]);
    let first = first.unwrap_or_else(|errors| panic!("{by} wrote {text}: {errors:?}"));
    if by == "format" {
        assert_eq!(first, text, "format is no fixed point");
    }
    let second = format(&Sources::single("twice.json", first.as_str()).files()[0]);
    assert_eq!(second.as_ref(), Ok(&first), "format is no fixed point");
}

fn two(first: &[u8], second: &[u8]) {
    let files = vec![
        ("1.json".to_owned(), first.to_vec()),
        ("2.json".to_owned(), second.to_vec()),
    ];
    let sources = Sources::new(files);
    let config = read_bare(&sources);
    match merge(&sources) {
        Ok(text) => check_text(&text, config.as_ref(), "merge"),
        Err(errors) => {
            show(&sources, &errors);
            assert!(config.is_none(), "read, but not merged: {errors:?}");
        }
    }
    for file in sources.files() {
        one(file.bytes());
    }
}

/// Without places, which formatting moves.
fn bare(mut config: Config) -> Config {
    for inbound in &mut config.inbounds {
        inbound.span = Span::default();
    }
    for outbound in &mut config.outbounds {
        outbound.span = Span::default();
        strip(&mut outbound.dial.detour);
        if let OutboundKind::Selector {
            outbounds, default, ..
        } = &mut outbound.kind
        {
            strip(outbounds);
            strip(default);
        }
        // A map in sing-box, whose order says nothing; `format` sorts it.
        if let OutboundKind::Http { headers, .. } = &mut outbound.kind {
            headers.sort_by(|a, b| a.0.cmp(&b.0));
        }
    }
    for rule in &mut config.route.rules {
        rule.span = Span::default();
        strip_condition(&mut rule.condition);
        if let RuleAction::Route { outbound } = &mut rule.action {
            outbound.span = Span::default();
        }
    }
    strip(&mut config.route.final_outbound);
    config
}

fn strip<'a>(values: impl IntoIterator<Item = &'a mut Spanned<String>>) {
    for value in values {
        value.span = Span::default();
    }
}

fn strip_condition(condition: &mut Condition) {
    match condition {
        Condition::Default(fields) => {
            strip(fields.inbound.iter_mut().flatten());
            strip(fields.domain_regex.iter_mut().flatten());
        }
        Condition::Logical { rules, .. } => rules.iter_mut().for_each(strip_condition),
    }
}
