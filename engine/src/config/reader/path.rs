//! From a place in the text to a JSON path.
use super::tree::{Json, Node};
use crate::config::model::Span;

enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// The JSON path of the value or key that has exactly this span; empty when there is none.
pub(crate) fn path_of(root: &Node, span: Span) -> String {
    let mut steps = Vec::new();
    if !search(root, span, &mut steps) {
        return String::new();
    }
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Key(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Step::Index(index) => path += &format!("[{index}]"),
        }
    }
    path
}

fn search<'a>(node: &'a Node, span: Span, steps: &mut Vec<Step<'a>>) -> bool {
    if node.span == span {
        return true;
    }
    match &node.value {
        Json::Array {
            items,
            trailing_comma,
        } => {
            for (index, item) in items.iter().enumerate() {
                steps.push(Step::Index(index));
                if search(item, span, steps) {
                    return true;
                }
                steps.pop();
            }
            *trailing_comma == Some(span)
        }
        Json::Object(members) => {
            for member in members {
                steps.push(Step::Key(&member.key));
                if member.key_span == span || search(&member.value, span, steps) {
                    return true;
                }
                steps.pop();
            }
            false
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    }
}
