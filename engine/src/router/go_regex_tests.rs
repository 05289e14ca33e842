use super::*;
use crate::router::{
    name::{Lowered, Name},
    pattern::Regexes,
};
use proptest::prelude::*;
use sansbox_core::Domain;

fn is_match(expression: &str, name: &str) -> bool {
    let domain = Domain::parse(name.as_bytes()).unwrap();
    let mut lowered = Lowered::default();
    let name = Name::new(&domain, &mut lowered);
    let compiled = Regexes::new([expression].into_iter());
    compiled
        .unwrap_or_else(|e| panic!("{expression}: {e:?}"))
        .is_match(name)
}

#[test]
fn expressions_mean_what_they_mean_in_go() {
    for (expression, matching, other) in [
        (r"^\Qa.b\E$", "a.b", "axb"),
        (r"\Q.co", "x.com", "xcom"),
        (r"^[[a]b$", "ab", "b1"),
        (r"^[a&&b]$", "b", "c"),
        (r"^[a~~b]$", "b", "c"),
        (r"^[a-c-]$", "b", "d"),
        (r"^[^[:digit:]x]+$", "ab", "a1"),
        (r"^[[:alpha:]]+$", "ab", "a1"),
        (r"^[\d_]a$", "_a", "ba"),
        (r"^[^\D]a$", "1a", "ba"),
        (r"^[]a]+$", "aa", "b"),
        (r"^\w{2,3}$", "ab", "a.b"),
        (r"^a{2,}$", "aaa", "a"),
        (r"\bads\b", "x.ads.y", "x.adsy"),
        (r"^\x61\x{62}\143$", "abc", "abd"),
        (r"^a\_b$", "a_b", "aab"),
        (r"^\p{^Lu}+$", "ab", ""),
        (r"^\pL+$", "ab", "a1"),
        (r"^\P{Greek}{2}$", "ab", "abc"),
        (r"(?i)^AB$", "ab", "b"),
        (r"(?i:AB)|(?P<n>cd)|(?<m>ef)", "ef", "ee"),
        (r"^(?:a|b)+?$", "ab", "c"),
        (r"^x|(?s-i:.y)$", "ay", "b"),
        ("", "anything", ""),
    ] {
        assert!(is_match(expression, matching), "{expression}");
        if !other.is_empty() {
            assert!(!is_match(expression, other), "{expression}");
        }
    }
}

#[test]
fn a_brace_that_starts_no_count_is_a_character() {
    for (expression, translated) in [
        ("a{", r"a\{"),
        ("a{,5}", r"a\{\,5\}"),
        ("a{01}", r"a\{01\}"),
        ("{x}", r"\{x\}"),
        ("a{2}", "a{2}"),
        ("a{2,7}?", "a{2,7}?"),
        (r"a\<b\>", "a<b>"),
    ] {
        assert_eq!(translate(expression).as_deref(), Ok(translated));
    }
}

#[test]
fn what_go_refuses_is_refused() {
    for expression in [
        "a**",
        "a+?*",
        "a{2}{3}",
        "a{1001}",
        "a{3,2}",
        r"\1",
        r"\8",
        r"\C",
        r"\Z",
        r"\u0061",
        r"\x{110000}",
        r"\x{}",
        r"a\",
        "(?x)a",
        "(?u:a)",
        "(?=a)",
        "(?!a)",
        "(?<!a)",
        "(a",
        "a)",
        "*",
        "[a",
        "[b-a]",
        "[[:nosuch:]]",
        r"\p{Nosuch}",
        r"\p{}",
    ] {
        assert!(
            Regexes::new([expression].into_iter()).is_err(),
            "{expression}"
        );
    }
}

proptest! {
    #[test]
    fn no_expression_panics(expression in r"[\\\[\](){}*+?|^$.a-c0-9:,&~<>QEpPxdwb -]{0,24}") {
        let _ = Regexes::new([expression.as_str()].into_iter());
    }

    #[test]
    fn quoted_text_matches_itself(name in "[a-z_]{1,8}(\\.[a-z]{1,5}){0,3}") {
        let quoted = format!(r"^\Q{name}\E$");
        prop_assert!(is_match(&quoted, &name));
    }
}
