//! The timeline's data: columns of numbers and a table of strings, so that 50,000 events stay a
//! few megabytes.
use super::{
    Story,
    conversations::Conversations,
    embedded,
    items::{Item, KINDS, items},
};
use crate::{
    out::{decode::Message, packets},
    transcript::hex,
};
use core::fmt::Write as _;
use std::collections::BTreeMap;

/// Strings by number, each once; number 0 is the empty one.
#[derive(Debug)]
struct Strings {
    numbers: BTreeMap<String, i64>,
    all: Vec<String>,
}

impl Strings {
    fn new() -> Self {
        Self {
            numbers: BTreeMap::from([(String::new(), 0)]),
            all: vec![String::new()],
        }
    }

    fn number(&mut self, text: &str) -> i64 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.all.len() as i64;
        self.numbers.insert(text.into(), number);
        self.all.push(text.into());
        number
    }
}

/// Everything the script needs, as JSON that may stand inside a script element.
pub(super) fn json(story: &Story<'_>) -> String {
    let entries = story.entries;
    let packets = packets::gather(entries);
    let conversations = Conversations::of(&packets, entries);
    let items = items(story, &packets, &conversations);
    let mut strings = Strings::new();
    let columns = columns(&items, &conversations, &mut strings);
    let mut out = head(story);
    let _ = write!(out, ",\"count\":{},\"columns\":{{", items.len());
    for (nth, (name, values)) in columns.iter().enumerate() {
        let comma = if nth > 0 { "," } else { "" };
        let _ = write!(out, "{comma}\"{name}\":[");
        for (nth, value) in values.iter().enumerate() {
            let comma = if nth > 0 { "," } else { "" };
            let _ = write!(out, "{comma}{value}");
        }
        out.push(']');
    }
    let _ = write!(out, "}},\"strings\":{}}}", list(strings.all.iter()));
    out
}

fn list<'a>(all: impl Iterator<Item = &'a String>) -> String {
    let all: Vec<String> = all.map(|text| embedded(text)).collect();
    format!("[{}]", all.join(","))
}

/// What stands above the timeline, without the closing brace.
fn head(story: &Story<'_>) -> String {
    let about = |(name, addresses): (&String, &Vec<core::net::IpAddr>)| {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        format!("[{},{}]", embedded(name), embedded(&addresses.join(", ")))
    };
    let hosts = story.hosts.iter().zip(story.addresses).map(about);
    let kinds = KINDS.map(|(name, is_shown)| format!("[\"{name}\",{is_shown}]"));
    // What has no seed is a recording: its clock was real, and its events are inputs.
    let (time, events) = match story.seed {
        Some(_) => ("virtual time", "events"),
        None => ("recorded until", "inputs"),
    };
    let facts = [
        ("seed", story.seed.map(|seed| seed.to_string())),
        (time, Some(story.virtual_time.to_string())),
        (events, Some(story.events.to_string())),
        ("decisions", story.seed.map(|_| story.decisions.to_string())),
        ("digest", hex(&story.digest).get(..16).map(str::to_owned)),
    ];
    let facts = facts.into_iter().filter_map(|(name, value)| {
        let value = embedded(&value?);
        Some(format!("[\"{name}\",{value}]"))
    });
    format!(
        "{{\"title\":{},\"passed\":{},\"verdict\":{},\"replay\":{},\"minimised\":{},\
         \"facts\":[{}],\"hosts\":[{}],\"kinds\":[{}]",
        embedded(story.title),
        story.outcome.is_ok(),
        embedded(&story.verdict()),
        embedded(story.replay),
        list(story.minimised.iter()),
        facts.collect::<Vec<_>>().join(","),
        hosts.collect::<Vec<_>>().join(","),
        kinds.join(","),
    )
}

/// Columns over all items. `step` is the time since the item before; `messages` is the number of a
/// string that lists the numbers of strings that are messages.
fn columns(
    items: &[Item],
    conversations: &Conversations,
    strings: &mut Strings,
) -> Vec<(&'static str, Vec<i64>)> {
    let of = |value: fn(&Item) -> i64| items.iter().map(value).collect::<Vec<i64>>();
    let mut out = vec![
        ("kind", of(|item| i64::from(item.kind as u8))),
        ("lane", of(|item| item.lane)),
        ("toLane", of(|item| item.to_lane)),
        ("entry", of(|item| item.entries.0 as i64)),
        ("span", of(|item| (item.entries.1 - item.entries.0) as i64)),
        ("duration", of(|item| (item.end - item.at) as i64)),
        ("number", of(|item| item.number as i64)),
        ("offset", of(|item| item.offset as i64)),
        ("ack", of(|item| item.ack)),
        ("draw", of(|item| item.draws.0 as i64)),
        ("draws", of(|item| item.draws.1 as i64)),
        ("len", of(|item| item.len as i64)),
        ("fill", of(|item| item.fill)),
    ];
    let mut before = 0;
    let step = |item: &Item| item.at as i64 - core::mem::replace(&mut before, item.at as i64);
    out.push(("step", items.iter().map(step).collect()));
    type Text = fn(&Item) -> &str;
    let texts: [(&'static str, Text); 4] = [
        ("label", |item| &item.label),
        ("facts", |item| &item.facts),
        ("flow", |item| &item.flow),
        ("preview", |item| &item.preview),
    ];
    for (name, text) in texts {
        let numbers = items.iter().map(|item| strings.number(text(item)));
        out.push((name, numbers.collect()));
    }
    let messages = items.iter().map(|item| {
        let all = item.packet.map(|id| conversations.messages(id));
        let all = all.unwrap_or_default().iter();
        let numbers = all.map(|message| strings.number(&told(message)).to_string());
        let numbers: Vec<String> = numbers.collect();
        strings.number(&numbers.join(" "))
    });
    out.push(("messages", messages.collect()));
    out
}

/// A message as lines: its name, where it stands, its fields.
fn told(message: &Message) -> String {
    let Message {
        name,
        fields,
        from,
        to,
    } = message;
    let mut out = format!("{name}\n{from}\t{to}");
    for (name, value) in fields {
        let value = value.replace(['\n', '\t'], " ");
        let _ = write!(out, "\n{name}\t{value}");
    }
    out
}
