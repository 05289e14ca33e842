//! Which of several rules decides.
use super::*;
use proptest::prelude::*;

#[test]
fn the_first_rule_that_matches_decides() {
    let router = compile(vec![
        fields!(domain: texts(&["b.c"])),
        fields!(domain_suffix: texts(&["c"]), port: Some(vec![80])),
        fields!(port: Some(vec![443]), domain_suffix: texts(&["a.b.c"])),
        logical(
            true,
            false,
            vec![
                fields!(port: Some(vec![443])),
                fields!(domain_suffix: texts(&["b.c"])),
            ],
        ),
        fields!(domain_keyword: texts(&["c"])),
        fields!(domain_suffix: texts(&["c"])),
    ])
    .unwrap();
    for (host, port, expected) in [
        ("b.c", 80, Some(0)),
        ("x.b.c", 80, Some(1)),
        ("a.b.c", 443, Some(2)),
        ("x.b.c", 443, Some(3)),
        ("x.b.c", 1, Some(4)),
        ("x.d", 443, None),
        ("1.2.3.4", 443, None),
    ] {
        let request = Request {
            port,
            ..Request::to(host)
        };
        assert_eq!(request.rule(&router), expected, "{host}:{port}");
    }
}

/// Conditions over few names and ports, so that they match often.
fn condition() -> impl Strategy<Value = Condition> {
    let name = || prop::sample::select(vec!["a", "b", "a.b", "b.b", "a.a.b", ".b", ".a.b", "c"]);
    let names =
        move || prop::option::of(prop::collection::vec(name().prop_map(str::to_owned), 0..4));
    let leaf = (
        names(),
        names(),
        prop::option::of(prop::collection::vec(
            prop::sample::select(vec![80, 443]),
            0..2,
        )),
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.2),
    );
    let leaf = leaf.prop_map(
        |(domain, domain_suffix, port, is_private, is_tcp, invert)| {
            plain(Fields {
                domain,
                domain_suffix,
                port,
                ip_is_private: is_private && invert,
                network: is_tcp.then(|| vec![Network::Tcp]),
                invert,
                ..Fields::default()
            })
        },
    );
    leaf.prop_recursive(2, 6, 3, |inner| {
        (
            any::<bool>(),
            prop::collection::vec(inner, 1..4),
            prop::bool::weighted(0.2),
        )
            .prop_map(|(all, rules, invert)| Condition::Logical { all, rules, invert })
    })
}

proptest! {
    /// Rules skipped for lack of a hit, and windows of hits, must not show.
    #[test]
    fn many_rules_decide_as_each_rule_by_itself(
        conditions in prop::collection::vec(condition(), 1..90),
        hosts in prop::collection::vec(
            prop::sample::select(vec!["a", "b", "a.b", "b.b", "a.a.b", "c.b", "c", "10.0.0.1"]), 1..4),
        port in prop::sample::select(vec![80u16, 443, 1]),
        start in 0usize..90,
    ) {
        let conditions = conditions.split_at(start.min(conditions.len() - 1)).1.to_vec();
        let single: Vec<_> = conditions.iter().map(|c| compile(vec![c.clone()]).unwrap()).collect();
        let router = compile(conditions).unwrap();
        for host in hosts {
            let request = Request { port, ..Request::to(host) };
            let first = single.iter().position(|s| request.rule(s).is_some());
            prop_assert_eq!(request.rule(&router).map(usize::from), first);
        }
    }

    /// Sixty rules that are hit but fail on the port come before one that does not.
    #[test]
    fn rules_beyond_the_first_window_of_hits_are_reached(count in 1usize..120, inner in 1usize..90) {
        let hit_only = || fields!(domain_suffix: texts(&["b"]), port: Some(vec![1]));
        let wide = logical(false, false, (0..inner).map(|_| hit_only()).chain([
            fields!(domain: texts(&["a.b"]))
        ]).collect());
        let mut conditions: Vec<_> = (0..count).map(|_| hit_only()).collect();
        conditions.push(wide);
        conditions.extend((0..3).map(|_| fields!(domain_suffix: texts(&["b"]))));
        let router = compile(conditions).unwrap();
        prop_assert_eq!(Request::to("a.b").rule(&router).map(usize::from), Some(count));
        prop_assert_eq!(Request::to("c.b").rule(&router).map(usize::from), Some(count + 1));
    }
}
