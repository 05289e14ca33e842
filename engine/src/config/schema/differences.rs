//! Where two configurations differ.
use super::{
    record::Record,
    write::{Out, tree},
};

/// Paths of values that are not alike in both, in the order of the reference. What is written in
/// another way and means the same is no difference.
pub(crate) fn differences(one: &Record, other: &Record) -> Vec<String> {
    let mut paths = Vec::new();
    compare("", Some(&tree(one)), Some(&tree(other)), &mut paths);
    paths
}

fn compare(path: &str, one: Option<&Out>, other: Option<&Out>, paths: &mut Vec<String>) {
    // What holds nothing is as good as absent.
    let one = one.filter(|value| !value.is_empty());
    let other = other.filter(|value| !value.is_empty());
    if one == other {
        return;
    }
    match (one, other) {
        (Some(Out::Object(one)), Some(Out::Object(other))) => members(path, one, other, paths),
        (Some(Out::Object(one)), None) => members(path, one, &[], paths),
        (None, Some(Out::Object(other))) => members(path, &[], other, paths),
        (Some(Out::Array(one)), Some(Out::Array(other))) if has_objects(one) => {
            for at in 0..one.len().max(other.len()) {
                let path = format!("{path}[{at}]");
                match (one.get(at), other.get(at)) {
                    (Some(one), Some(other)) => compare(&path, Some(one), Some(other), paths),
                    _ => paths.push(path),
                }
            }
        }
        _ => paths.push(path.to_owned()),
    }
}

fn members(path: &str, one: &[(String, Out)], other: &[(String, Out)], paths: &mut Vec<String>) {
    let path_of = |key: &str| match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    };
    for (key, value) in one {
        compare(&path_of(key), Some(value), member(other, key), paths);
    }
    for (key, value) in other {
        if member(one, key).is_none() {
            compare(&path_of(key), None, Some(value), paths);
        }
    }
}

fn member<'a>(members: &'a [(String, Out)], key: &str) -> Option<&'a Out> {
    let found = members.iter().find(|(name, _)| name == key);
    found.map(|(_, value)| value)
}

fn has_objects(items: &[Out]) -> bool {
    items.iter().any(|item| matches!(item, Out::Object(_)))
}
