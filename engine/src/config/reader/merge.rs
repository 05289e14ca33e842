//! Several files into one tree, by the rules of sing-box's `-c` and `-C`.
use super::{
    parse::Problem,
    tree::{Json, Member, Node},
};
use crate::config::error::{ErrorKind, Found};
use std::collections::{BTreeMap, BTreeSet};

/// Merges trees in order. Keys of objects merge; arrays append, also a lone value to an array; in
/// every other conflict the earlier file wins, `null` included. Within each file the last of equal
/// keys counts, and what holds nothing is dropped, both only when there are several files.
///
/// # Errors
/// A trailing comma in an array, which this part of sing-box does not accept, and a value that is
/// no object where an earlier file has one.
pub(crate) fn merge(trees: Vec<Node>) -> Result<Option<Node>, Problem> {
    let several = trees.len() > 1;
    let mut merged: Option<Node> = None;
    for tree in trees {
        let tree = if several { reduced(tree)? } else { tree };
        merged = Some(match merged {
            None => tree,
            Some(earlier) => match (&earlier.value, &tree.value) {
                (_, Json::Null) => earlier,
                (Json::Null, _) => tree,
                _ => merge_into(earlier, tree)?,
            },
        });
    }
    if several && let Some(root) = &mut merged {
        drop_empty(root);
    }
    Ok(merged)
}

fn reduced(tree: Node) -> Result<Node, Problem> {
    if let Some(span) = tree.trailing_comma() {
        let found = Found::Char(',');
        let wanted = "the array to end without `,` (sing-box takes none when it merges)";
        return Err(Problem {
            kind: ErrorKind::Syntax { found, wanted },
            span,
        });
    }
    Ok(last_keys(tree))
}

fn last_keys(node: Node) -> Node {
    let Node { value, span } = node;
    let value = match value {
        Json::Object(members) => {
            let mut seen = BTreeSet::new();
            let mut kept: Vec<Member> = members
                .into_iter()
                .rev()
                .filter(|member| seen.insert(member.key.clone()))
                .map(|member| Member {
                    value: last_keys(member.value),
                    ..member
                })
                .collect();
            kept.reverse();
            Json::Object(kept)
        }
        Json::Array {
            items,
            trailing_comma,
        } => Json::Array {
            items: items.into_iter().map(last_keys).collect(),
            trailing_comma,
        },
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => value,
    };
    Node { value, span }
}

fn merge_into(earlier: Node, later: Node) -> Result<Node, Problem> {
    let span = earlier.span;
    let value = match (earlier.value, later.value) {
        (
            Json::Array {
                mut items,
                trailing_comma,
            },
            later_value,
        ) => {
            if let Json::Array { items: more, .. } = later_value {
                items.extend(more);
            } else {
                items.push(Node {
                    value: later_value,
                    span: later.span,
                });
            }
            Json::Array {
                items,
                trailing_comma,
            }
        }
        (Json::Object(members), Json::Object(more)) => Json::Object(merge_members(members, more)?),
        (Json::Object(_), value) => {
            let node = Node {
                value,
                span: later.span,
            };
            let found = node.type_name();
            return Err(Problem {
                kind: ErrorKind::CannotMerge { found },
                span: later.span,
            });
        }
        (value, _) => value,
    };
    Ok(Node { value, span })
}

fn merge_members(members: Vec<Member>, more: Vec<Member>) -> Result<Vec<Member>, Problem> {
    let mut place = BTreeMap::new();
    let mut merged: Vec<Option<Member>> = Vec::with_capacity(members.len());
    for member in members {
        place.insert(member.key.clone(), merged.len());
        merged.push(Some(member));
    }
    for member in more {
        let same = place.get(&member.key).and_then(|at| merged.get_mut(*at));
        let Some(slot) = same else {
            merged.push(Some(member));
            continue;
        };
        if let Some(earlier) = slot.take() {
            *slot = Some(Member {
                value: merge_into(earlier.value, member.value)?,
                ..earlier
            });
        }
    }
    Ok(merged.into_iter().flatten().collect())
}

fn drop_empty(node: &mut Node) {
    match &mut node.value {
        Json::Object(members) => {
            members.retain(|m| !m.value.is_empty());
            members.iter_mut().for_each(|m| drop_empty(&mut m.value));
        }
        Json::Array { items, .. } => items.iter_mut().for_each(drop_empty),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{reader::parse, source::Sources};

    /// The tree as JSON without spaces.
    fn print(node: &Node) -> String {
        match &node.value {
            Json::Null => "null".to_owned(),
            Json::Bool(value) => value.to_string(),
            Json::Number(literal) => literal.clone(),
            Json::String(text) => format!("{text:?}"),
            Json::Array { items, .. } => {
                format!(
                    "[{}]",
                    items.iter().map(print).collect::<Vec<_>>().join(",")
                )
            }
            Json::Object(members) => {
                let member = |m: &Member| format!("{:?}:{}", m.key, print(&m.value));
                format!(
                    "{{{}}}",
                    members.iter().map(member).collect::<Vec<_>>().join(",")
                )
            }
        }
    }

    fn merged(texts: &[&str]) -> Result<String, ErrorKind> {
        let files = texts.iter().enumerate();
        let files = files.map(|(i, text)| (i.to_string(), text.as_bytes().to_vec()));
        let sources = Sources::new(files.collect());
        let trees = sources.files().iter().map(|file| parse(file).unwrap());
        let root = merge(trees.collect()).map_err(|problem| problem.kind)?;
        Ok(root.as_ref().map_or_else(|| "nothing".to_owned(), print))
    }

    #[test]
    fn objects_merge_arrays_append_and_the_earlier_file_wins() {
        for (texts, want) in [
            (&[][..], "nothing"),
            (&[r#"{"a":[{}]}"#], r#"{"a":[{}]}"#),
            (&[r#"{"a":1}"#, r#"{"a":2,"b":3}"#], r#"{"a":1,"b":3}"#),
            (
                &[r#"{"a":{"x":1}}"#, r#"{"a":{"y":2}}"#],
                r#"{"a":{"x":1,"y":2}}"#,
            ),
            (&[r#"{"a":[1]}"#, r#"{"a":[2,3]}"#], r#"{"a":[1,2,3]}"#),
            (&[r#"{"a":[1]}"#, r#"{"a":2}"#], r#"{"a":[1,2]}"#),
            (
                &[r#"{"a":[1]}"#, r#"{"a":{"b":1}}"#],
                r#"{"a":[1,{"b":1}]}"#,
            ),
            (&[r#"{"a":1}"#, r#"{"a":[2]}"#], r#"{"a":1}"#),
            (&[r#"{"a":null}"#, r#"{"a":{"b":1}}"#], r#"{"a":null}"#),
            (&[r#"{"a":""}"#, r#"{"a":"b"}"#], r#"{"a":""}"#),
            (&[r#"{"a":1}"#, r#"{"A":2}"#], r#"{"a":1,"A":2}"#),
            (&[r#"{"a":1,"a":2}"#, "{}"], r#"{"a":2}"#),
            (&[r#"{"a":{"b":[[]]},"c":1}"#, "{}"], r#"{"c":1}"#),
            (&["null", r#"{"a":1}"#], r#"{"a":1}"#),
            (&[r#"{"a":1}"#, "null", r#"{"b":1}"#], r#"{"a":1,"b":1}"#),
        ] {
            assert_eq!(merged(texts).as_deref(), Ok(want), "{texts:?}");
        }
    }

    #[test]
    fn an_object_takes_only_objects_and_lists_may_not_end_with_a_comma() {
        for later in ["1", "null", "[]", "\"x\""] {
            let result = merged(&[r#"{"a":{"b":1}}"#, &format!(r#"{{"a":{later}}}"#)]);
            assert!(
                matches!(result, Err(ErrorKind::CannotMerge { .. })),
                "{later}"
            );
        }
        let comma = merged(&[r#"{"a":[1,]}"#, "{}"]);
        assert!(matches!(comma, Err(ErrorKind::Syntax { .. })));
        assert_eq!(merged(&[r#"{"a":[1,]}"#]).as_deref(), Ok(r#"{"a":[1]}"#));
    }
}
