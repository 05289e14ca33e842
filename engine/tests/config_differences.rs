//! Where configurations differ.
use sansbox_engine::config::{Sources, differences};

fn between(one: &str, other: &str) -> Vec<String> {
    let sources = |text: &str| Sources::single("c.json", text);
    let there = differences(&sources(one), &sources(other)).expect("both are read");
    let back = differences(&sources(other), &sources(one)).expect("both are read");
    let sorted = |mut paths: Vec<String>| {
        paths.sort();
        paths
    };
    assert_eq!(sorted(there.clone()), sorted(back), "the same both ways");
    there
}

#[test]
fn what_means_the_same_is_no_difference() {
    for (one, other) in [
        ("{}", r#"{"inbounds": [], "log": {}, "route": null}"#),
        (
            r#"{"route": {"rules": [{"domain": "a", "outbound": "o"}]}, "outbounds": []}"#,
            r#"{"route": {"rules": [{"outbound": "o", "domain": ["a"]}]}} // a comment"#,
        ),
        (
            r#"{"inbounds": [{"type": "socks", "listen_port": 80}]}"#,
            r#"{"inbounds": [{"listen_port": 8e1, "type": "socks", "users": []}]}"#,
        ),
    ] {
        assert_eq!(between(one, other), [""; 0], "{one} {other}");
    }
}

#[test]
fn differences_are_named_where_they_are() {
    let socks = r#"{"type": "socks", "tag": "a", "listen_port": 1}"#;
    for (one, other, paths) in [
        (
            "{}".to_owned(),
            r#"{"log": {"level": "warn", "timestamp": true}}"#.to_owned(),
            &["log.level", "log.timestamp"][..],
        ),
        (
            format!(r#"{{"inbounds": [{socks}]}}"#),
            r#"{"inbounds": [{"type": "http", "tag": "a", "listen_port": 2}]}"#.to_owned(),
            &["inbounds[0].type", "inbounds[0].listen_port"],
        ),
        (
            format!(r#"{{"inbounds": [{socks}]}}"#),
            format!(r#"{{"inbounds": [{socks}, {{"type": "mixed"}}]}}"#),
            &["inbounds[1]"],
        ),
        (
            r#"{"route": {"rules": [{"port": [1, 2], "outbound": "o"}]}}"#.to_owned(),
            r#"{"route": {"rules": [{"port": [1, 3], "outbound": "o"}]}}"#.to_owned(),
            &["route.rules[0].port"],
        ),
    ] {
        assert_eq!(between(&one, &other), paths, "{one} {other}");
    }
}

#[test]
fn files_are_merged_first() {
    let file = |name: &str, text: &str| (name.to_owned(), text.as_bytes().to_vec());
    let two = Sources::new(vec![
        file("a.json", r#"{"inbounds": [{"type": "mixed", "tag": "a"}]}"#),
        file("b.json", r#"{"inbounds": [{"type": "mixed", "tag": "b"}]}"#),
    ]);
    let text = r#"{"inbounds": [{"type": "mixed", "tag": "a"}, {"type": "mixed", "tag": "c"}]}"#;
    let one = Sources::single("c.json", text);
    let paths = differences(&two, &one).expect("both are read");
    assert_eq!(paths, ["inbounds[1].tag"]);
    let bad = Sources::single("c.json", "{");
    let errors = differences(&two, &bad).expect_err("the second cannot be read");
    assert_eq!(errors.len(), 1);
}
