//! A timeline in one HTML file: template, style and script are files beside this one.
mod conversations;
mod data;
mod items;

use super::{Story, jsonl::quoted};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
/// The script in its parts, in the order they build on each other.
const SCRIPT: &str = concat!(
    include_str!("model.js"),
    include_str!("draw.js"),
    include_str!("panel.js"),
    include_str!("controls.js"),
);

/// A timeline to look at in a browser: a lane for each host, packets between them, what machines
/// were told and asked for, timers, pipe fill, faults in red. It loads nothing from anywhere.
#[must_use]
pub fn html(story: &Story<'_>) -> String {
    let data = data::json(story);
    let mut out = String::with_capacity(PAGE.len() + STYLE.len() + SCRIPT.len() + data.len());
    // Each place holder stands once, in this order.
    let mut rest = PAGE;
    for (place, value) in [
        ("{{TITLE}}", escaped(story.title)),
        ("{{STYLE}}", STYLE.to_owned()),
        ("{{DATA}}", data),
        ("{{SCRIPT}}", SCRIPT.to_owned()),
    ] {
        if let Some((before, after)) = rest.split_once(place) {
            out += before;
            out += &value;
            rest = after;
        }
    }
    out + rest
}

/// Text for HTML.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

/// A JSON string that may stand inside a script element.
fn embedded(text: &str) -> String {
    quoted(text).replace('<', "\\u003c")
}
