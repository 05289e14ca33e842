use super::*;
use crate::router::name::NameHash;

fn record(atom: Atom, key: &str) -> Record<'_> {
    Record {
        hash: NameHash::of(key.as_bytes()).finish(),
        atom,
        kind: ITSELF | BELOW,
        key,
    }
}

fn pack(mut records: Vec<Record<'_>>) -> Lines {
    records.sort_by_key(|r| (r.hash, r.key, r.atom));
    Lines::pack(&records).unwrap()
}

/// The atoms of `key`, ascending.
fn atoms(lines: &Lines, hash: u64, key: &str, kind: u8) -> Vec<Atom> {
    let mut atoms = Vec::new();
    lines.search(hash, key.as_bytes(), kind, &mut |atom| atoms.push(atom));
    assert!(lines.may_have(hash) || atoms.is_empty());
    atoms.sort_unstable();
    atoms
}

/// Names of `min` to `max` octets, all different.
fn keys(count: usize, min: usize, max: usize) -> Vec<String> {
    let key = |n: usize| format!("{n:x}.{}", "x".repeat(max));
    let len = |n: usize| min + n * 7 % (max - min + 1);
    (0..count).map(|n| key(n)[..len(n)].to_owned()).collect()
}

#[test]
fn every_record_is_found_and_nothing_else() {
    for (count, min, max) in [
        (1, 10, 10),
        (10, 8, 20),
        (3_000, 8, 24),
        (3_000, 6, 9),
        (3_000, 40, 254),
        (300, 62, 62),
    ] {
        let keys = keys(count, min, max);
        let records = (0..).zip(&keys).map(|(n, key)| record(n, key));
        let lines = pack(records.collect());
        for (n, key) in (0..).zip(&keys) {
            let hash = record(0, key).hash;
            for kind in [ITSELF, BELOW] {
                assert_eq!(atoms(&lines, hash, key, kind), [n], "{key}");
            }
            assert!(atoms(&lines, hash, &key[1..], BELOW).is_empty(), "another");
            let other = format!("{key}-");
            let hash = record(0, &other).hash;
            assert!(atoms(&lines, hash, &other, BELOW).is_empty());
        }
    }
}

#[test]
fn a_name_of_many_rules_and_names_of_one_hash_are_all_found() {
    let keys = keys(200, 10, 30);
    let mut records: Vec<_> = (0..200).map(|n| record(n, &keys[0])).collect();
    records.extend((0..).zip(&keys).skip(1).map(|(n, key)| Record {
        hash: 0x1234_5678_9abc_def0,
        ..record(n, key)
    }));
    let lines = pack(records);
    let all: Vec<_> = (0..200).collect();
    assert_eq!(
        atoms(&lines, record(0, &keys[0]).hash, &keys[0], BELOW),
        all
    );
    for (n, key) in (0..).zip(&keys).skip(1) {
        assert_eq!(atoms(&lines, 0x1234_5678_9abc_def0, key, ITSELF), [n]);
    }
}

#[test]
fn a_record_is_found_by_its_kinds_only() {
    let lines = pack(vec![Record {
        kind: BELOW,
        ..record(7, "a.b")
    }]);
    let hash = record(0, "a.b").hash;
    assert!(atoms(&lines, hash, "a.b", ITSELF).is_empty());
    assert_eq!(atoms(&lines, hash, "a.b", BELOW), [7]);
}

#[test]
fn most_absent_names_are_refused_by_tags_alone_and_few_records_have_no_place() {
    let keys = keys(20_000, 10, 20);
    let lines = pack(keys.iter().map(|key| record(0, key)).collect());
    let absent = (0..20_000).map(|n| record(0, &format!("absent-{n}.test")).hash);
    let passing = absent.filter(|&hash| lines.may_have(hash)).count();
    assert!(passing < 20_000 / 20, "{passing} of 20,000 pass");
    let others = lines.others.len();
    assert!(others < 20_000 / 100, "{others} of 20,000 have no place");
}

#[test]
fn a_line_of_ours_is_one_of_the_processor() {
    assert_eq!(
        (size_of::<Line>(), align_of::<Line>()),
        (LINE_LEN, LINE_LEN)
    );
}
