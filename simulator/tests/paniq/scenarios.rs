//! The list of scenarios in `docs/interop.md` is complete, and names tests that are there.
use super::pictures::docs;
use std::fs;

const SOURCES: [&str; 4] = [
    include_str!("codecs.rs"),
    include_str!("defects.rs"),
    include_str!("old_rust.rs"),
    include_str!("old_streams.rs"),
];

#[test]
fn every_scenario_has_its_test_and_its_line() {
    let page = fs::read_to_string(docs().join("interop.md")).unwrap();
    let mut named = 0;
    for n in 1..=34 {
        let begin = format!("| S{n} |");
        let mut lines = page.lines().filter(|line| line.starts_with(&begin));
        let (line, more) = (lines.next().expect(&begin), lines.next());
        assert_eq!(more, None, "S{n} comes twice");
        let tests = line.split('`').skip(1).step_by(2);
        for test in tests {
            named += 1;
            assert!(test.starts_with(&format!("s{n:02}_")), "{test} of S{n}");
            let function = format!("#[test]\nfn {test}()");
            let has = |source: &&str| source.replace("\r\n", "\n").contains(&function);
            assert!(SOURCES.iter().any(has), "no test {test}");
        }
    }
    let is_scenario =
        |line: &&str| line.starts_with("fn s") && line.contains("_") && line.ends_with("() {");
    let all = SOURCES
        .iter()
        .flat_map(|source| source.lines())
        .filter(is_scenario);
    let numbered = all.filter(|line| line[4..6].bytes().all(|byte| byte.is_ascii_digit()));
    assert_eq!(numbered.count(), named, "a test is not on the page");
}
