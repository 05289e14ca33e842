use super::{
    super::{lines::ATOM_MAX, name::Lowered},
    *,
};
use proptest::prelude::*;
use sansbox_core::Domain;
use std::collections::BTreeSet;

fn with_name<T>(text: &str, look: impl FnOnce(Name<'_>) -> T) -> T {
    let domain = Domain::parse(text.as_bytes()).unwrap();
    look(Name::new(&domain, &mut Lowered::default()))
}

fn hits(table: &DomainTable, text: &str, from: Atom) -> Hits {
    let mut hits = Hits::starting_at(from);
    with_name(text, |name| table.look_up(name, &mut hits));
    hits
}

fn contains(table: &DomainTable, text: &str, atom: Atom) -> bool {
    with_name(text, |name| table.contains(name, atom))
}

/// Atom 0 holds `domains` and `suffixes`.
fn table(domains: &[&str], suffixes: &[&str]) -> DomainTable {
    let mut builder = Builder::default();
    for domain in domains {
        builder.insert_domain(0, domain);
    }
    for suffix in suffixes {
        builder.insert_suffix(0, suffix);
    }
    builder.build().unwrap()
}

#[test]
fn forms_of_names_and_suffixes() {
    for (domains, suffixes, matching, others) in [
        (
            &["a.b"][..],
            &[][..],
            &["a.b", "A.B"][..],
            &["x.a.b", "b", "a.b."][..],
        ),
        (
            &[],
            &["a.b"],
            &["a.b", "x.a.b", "y.x.A.b"],
            &["xa.b", "b", "a.b.c", "a.b."],
        ),
        (&[], &[".a.b"], &["x.a.b", "y.x.a.b"], &["a.b", "xa.b"]),
        (&[], &["b"], &["b", "a.b"], &["ab"]),
        (&[], &["a.b."], &["a.b.", "x.a.b."], &["a.b"]),
        (&[], &["."], &["a.b.", "a."], &["a.b", "a"]),
        (&["A.b"], &["C.d"], &[], &["a.b", "c.d", "A.b", "C.d"]),
        (&["ä.b"], &["ä.b"], &[], &["a.b", "b"]),
        (&["a.b"], &[".a.b"], &["a.b", "x.a.b"], &["b"]),
        (&[], &[], &[], &["a.b"]),
    ] {
        let table = table(domains, suffixes);
        for text in matching {
            assert!(contains(&table, text, 0), "{domains:?} {suffixes:?} {text}");
        }
        for text in others {
            assert!(
                !contains(&table, text, 0),
                "{domains:?} {suffixes:?} {text}"
            );
        }
    }
}

#[test]
fn the_longest_name_is_found_and_longer_keys_are_dropped() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
    let too_long = format!("x.{longest}.");
    let table = table(&[&longest], &[&too_long]);
    assert_eq!(table.len(), 1);
    assert!(contains(&table, &longest, 0));
}

#[test]
fn a_name_of_the_most_labels_is_found_once_per_suffix() {
    let table = table(&[], &["a.a.a", "a", ".a", "a.b"]);
    let many = vec!["a"; 127].join(".");
    let mut found = 0;
    with_name(&many, |name| table.scan(name, |_| found += 1));
    assert_eq!(found, 2);
}

#[test]
fn atoms_of_every_width_come_back() {
    for top in [0, 63, 64, 16_383, 16_384, (1 << 22) - 1, 1 << 22, ATOM_MAX] {
        let mut builder = Builder::default();
        for atom in [top, 0, top / 2] {
            builder.insert_suffix(atom, "x.y");
        }
        let hits = hits(&builder.build().unwrap(), "a.x.y", 0);
        let expected: BTreeSet<_> = [0, top / 2, top].into();
        assert_eq!(hits.atoms(), expected.into_iter().collect::<Vec<_>>());
    }
    let mut builder = Builder::default();
    builder.insert_suffix(ATOM_MAX + 1, "x.y");
    assert_eq!(builder.build().unwrap_err(), TooLarge);
}

#[test]
fn windows_together_hold_every_atom_once() {
    let mut builder = Builder::default();
    let count = 3 * HITS_MAX as Atom + 5;
    for atom in (0..count).rev() {
        builder.insert_suffix(atom, if atom % 2 == 0 { "y" } else { "x.y" });
    }
    let table = builder.build().unwrap();
    let (mut seen, mut from) = (Vec::new(), Some(0));
    while let Some(start) = from {
        let hits = hits(&table, "x.y", start);
        for atom in 0..count {
            let is_inside = hits.atoms().contains(&atom);
            assert_eq!(hits.contains(atom), is_inside.then_some(true));
        }
        seen.extend_from_slice(hits.atoms());
        from = hits.next_from();
    }
    assert_eq!(seen, (0..count).collect::<Vec<_>>());
}

#[test]
fn a_window_knows_what_is_missing_when_it_is_complete() {
    let table = table(&["a.b"], &[]);
    let hits_from = |from| hits(&table, "a.b", from);
    let hits = hits_from(0);
    assert_eq!(hits.contains(0), Some(true));
    assert_eq!(hits.contains(7), Some(false));
    assert_eq!(hits_from(1).contains(0), None);
}

/// Names made of few letters, so that keys and names meet often.
fn text() -> impl Strategy<Value = String> {
    "[ab-]?[abAB](\\.[ab]{1,2}){0,3}\\.?"
}

fn naive(domains: &[String], suffixes: &[String], text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    domains.contains(&text)
        || suffixes.iter().any(|suffix| {
            if suffix.starts_with('.') {
                text.ends_with(suffix.as_str())
            } else {
                text == *suffix || text.ends_with(&format!(".{suffix}"))
            }
        })
}

proptest! {
    #[test]
    fn agrees_with_comparing_strings(
        lists in prop::collection::vec(
            (
                prop::collection::vec(text(), 0..6),
                prop::collection::vec("\\.?[ab-]?[abAB](\\.[ab]{1,2}){0,3}\\.?", 0..6),
            ),
            1..45,
        ),
        names in prop::collection::vec(text(), 1..20),
    ) {
        let mut builder = Builder::default();
        for (atom, (domains, suffixes)) in (0..).zip(&lists) {
            domains.iter().for_each(|d| builder.insert_domain(atom, d));
            suffixes.iter().for_each(|s| builder.insert_suffix(atom, s));
        }
        let table = builder.build().unwrap();
        for text in names {
            let Ok(domain) = Domain::parse(text.as_bytes()) else { continue };
            let hits = hits(&table, domain.as_str(), 0);
            for (atom, (domains, suffixes)) in (0..).zip(&lists) {
                let expected = naive(domains, suffixes, &text);
                prop_assert_eq!(contains(&table, domain.as_str(), atom), expected);
                prop_assert!(hits.contains(atom).is_none_or(|is| is == expected));
            }
        }
    }
}
