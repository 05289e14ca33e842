//! What the compiler refuses.
use super::*;

#[test]
fn every_mistake_is_reported_where_it_stands() {
    let regexes = ["ok", "(", "a**"].map(str::to_owned);
    let regexes = (20u32..)
        .zip(regexes)
        .map(|(start, r)| at(r, start))
        .collect();
    let deep = (0..=LOGICAL_DEPTH_MAX).fold(fields!(), |c, _| logical(true, false, vec![c]));
    let route = Route {
        rules: vec![
            rule(fields!(port: Some(vec![1])), route_to("nosuch")),
            rule(fields!(domain_regex: Some(regexes)), route_to("t0")),
            rule(fields!(domain: texts(&["a", ""])), route_to("t0")),
            rule(logical(true, false, vec![]), route_to("t0")),
            rule(deep, route_to("t0")),
        ],
        final_outbound: Some(at("nofinal".to_owned(), 40)),
        ..Route::default()
    };
    let errors = Router::compile(&route, &[], &tags(1), OutboundId(0)).unwrap_err();
    let shown: Vec<_> = errors
        .iter()
        .map(|e| (e.span.start, e.to_string()))
        .collect();
    let expected = [
        (7, "outbound not found: nosuch"),
        (21, "bad regular expression: unclosed group"),
        (
            22,
            "bad regular expression: invalid nested repetition operator: `*`",
        ),
        (0, "empty item is not allowed"),
        (0, "missing conditions"),
        (0, "logical rules nested deeper than 64"),
        (40, "outbound not found: nofinal"),
    ];
    assert_eq!(
        shown,
        expected.map(|(start, text)| (start, text.to_owned()))
    );
}

#[test]
fn too_large_expressions_are_refused_and_large_ones_still_match() {
    let regex = |text: &str| fields!(domain_regex: Some(vec![at(text.to_owned(), 0)]));
    // Exponential as an automaton built ahead of time.
    let large = regex("a.{18}[bc]$");
    assert!(
        Request::to("a_________._______b")
            .rule(&compile(vec![large.clone()]).unwrap())
            .is_none()
    );
    assert!(Request::to("a_________.________b").is_match(&large));
    let errors = compile(vec![regex(r"(((a{100}){100}){100}){100}")]).unwrap_err();
    assert_eq!(errors[0].kind, CompileErrorKind::RegexTooLarge);
}

#[test]
fn more_rules_than_an_index_holds_are_refused() {
    let one = rule(fields!(port: Some(vec![1])), route_to("t0"));
    let route = Route {
        rules: vec![one; RULES_MAX + 1],
        final_outbound: None,
        ..Route::default()
    };
    let errors = Router::compile(&route, &[], &tags(1), OutboundId(0)).unwrap_err();
    assert_eq!(errors[0].kind, CompileErrorKind::TooManyRules);
}
