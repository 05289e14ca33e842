//! Entries as lines of JSON.
use super::Story;
use crate::{
    net::packet::{Flags, Icmp},
    transcript::{Carries, Detail, Entry, Fill, Head, Place, hex},
};
use core::fmt::Write as _;

/// Number of the format, raised whenever a field changes its meaning or goes away.
pub const FORMAT: u32 = 1;

/// One JSON object for each line: first one that tells of the run, then one for each entry.
///
/// | field of the first line | holds |
/// |---|---|
/// | `format` | [`FORMAT`] |
/// | `scenario`, `seed` | what ran; a seed that is not there is `null` |
/// | `replay` | the command that runs it again |
/// | `outcome`, `digest`, `virtual_ns`, `events`, `decisions` | how it went |
/// | `hosts`, `hops` | names and addresses; names |
///
/// | field of an entry | holds |
/// |---|---|
/// | `id` | place in the list of entries, from 0; the same in every run of the seed |
/// | `at` | virtual nanoseconds |
/// | `host` or `hop` | where: a name; neither for what happens to the world |
/// | `tag` | what kind, a name of [`Tag`](crate::transcript::Tag) |
/// | `number` | the socket, dial, lookup, machine or packet |
/// | `decisions` | random choices made before it |
/// | `sketch` | `true`: for pictures, the digest does not know of it |
/// | `text`, or `len` and `hex` | what it says, or payload |
/// | `packet` | headers: `source`, `destination`, `transport`, and of TCP `flags`, `offset`, `ack`; `unkept` payload bytes that were only counted |
/// | `socket`, `deadline`, `fill` | what else is known, with `null` for none |
#[must_use]
pub fn jsonl(story: &Story<'_>) -> String {
    let mut out = String::new();
    first(&mut out, story);
    for (id, entry) in story.entries.iter().enumerate() {
        line(&mut out, story, id, entry);
    }
    out
}

/// A JSON string.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

// Writing to a string cannot fail: results of `write!` are dropped in this file.

fn first(out: &mut String, story: &Story<'_>) {
    let hosts = story.hosts.iter().zip(story.addresses);
    let hosts = list(hosts.map(|(name, addresses)| {
        let addresses = list(addresses.iter().map(|ip| quoted(&ip.to_string())));
        format!("{{\"name\":{},\"addresses\":{addresses}}}", quoted(name))
    }));
    let hops = list(story.hops.iter().map(|name| quoted(name)));
    let seed = story
        .seed
        .map_or_else(|| "null".to_owned(), |s| s.to_string());
    let _ = writeln!(
        out,
        "{{\"format\":{FORMAT},\"scenario\":{},\"seed\":{seed},\"replay\":{},\"outcome\":{},\
         \"digest\":\"{}\",\"virtual_ns\":{},\"events\":{},\"decisions\":{},\"hosts\":{hosts},\"hops\":{hops}}}",
        quoted(story.title),
        quoted(story.replay),
        quoted(&story.verdict()),
        hex(&story.digest),
        story.virtual_time.as_nanos(),
        story.events,
        story.decisions,
    );
}

fn line(out: &mut String, story: &Story<'_>, id: usize, entry: &Entry) {
    let at = entry.at.as_nanos();
    let _ = write!(out, "{{\"id\":{id},\"at\":{at}");
    match entry.place {
        Place::Host(_) => {
            let _ = write!(out, ",\"host\":{}", quoted(&story.place(entry.place)));
        }
        Place::World => {}
        Place::Hop(_) => {
            let _ = write!(out, ",\"hop\":{}", quoted(&story.place(entry.place)));
        }
    }
    let Entry {
        tag,
        number,
        decisions,
        ..
    } = entry;
    let _ = write!(
        out,
        ",\"tag\":\"{tag:?}\",\"number\":{number},\"decisions\":{decisions}"
    );
    if entry.is_sketch {
        *out += ",\"sketch\":true";
    }
    if entry.is_payload() {
        let _ = write!(
            out,
            ",\"len\":{},\"hex\":\"{}\"",
            entry.bytes.len(),
            hex(&entry.bytes)
        );
    } else if !entry.bytes.is_empty() {
        let text = String::from_utf8_lossy(&entry.bytes);
        let _ = write!(out, ",\"text\":{}", quoted(&text));
    }
    if let Some(detail) = entry.detail.as_deref() {
        add_detail(out, detail);
    }
    *out += "}\n";
}

fn add_detail(out: &mut String, detail: &Detail) {
    let _ = match detail {
        Detail::Packet(head) => write!(out, ",\"packet\":{}", packet(head)),
        Detail::Socket(None) => write!(out, ",\"socket\":null"),
        Detail::Socket(Some(number)) => write!(out, ",\"socket\":{number}"),
        Detail::Deadline(None) => write!(out, ",\"deadline\":null"),
        Detail::Deadline(Some(at)) => write!(out, ",\"deadline\":{}", at.as_nanos()),
        Detail::Fill(all) => {
            let slot = |fill: &Fill| {
                let Fill {
                    slot,
                    received,
                    to_send,
                } = fill;
                format!("{{\"slot\":{slot},\"received\":{received},\"to_send\":{to_send}}}")
            };
            write!(out, ",\"fill\":{}", list(all.iter().map(slot)))
        }
    };
}

fn packet(head: &Head) -> String {
    let Head {
        source,
        destination,
        carries,
        unkept,
    } = head;
    let mut ends = format!("{{\"source\":\"{source}\",\"destination\":\"{destination}\"");
    if *unkept > 0 {
        let _ = write!(ends, ",\"unkept\":{unkept}");
    }
    match carries {
        Carries::Udp => format!("{ends},\"transport\":\"udp\"}}"),
        Carries::Raw => format!("{ends},\"transport\":\"raw\"}}"),
        Carries::Tcp { flags, offset, ack } => format!(
            "{ends},\"transport\":\"tcp\",\"flags\":\"{}\",\"offset\":{offset},\"ack\":{ack}}}",
            names(*flags)
        ),
        Carries::Icmp(Icmp {
            kind,
            about_source,
            about_destination,
            ..
        }) => format!(
            "{ends},\"transport\":\"icmp\",\"kind\":{},\"about_source\":\"{about_source}\",\
             \"about_destination\":\"{about_destination}\"}}",
            quoted(&format!("{kind:?}"))
        ),
    }
}

/// The control bits that are set, by name.
pub(super) fn names(flags: Flags) -> String {
    let all = [
        (flags.syn, "SYN"),
        (flags.fin, "FIN"),
        (flags.rst, "RST"),
        (flags.ack, "ACK"),
    ];
    let set = all.iter().filter(|(is_set, _)| *is_set);
    set.map(|(_, name)| *name).collect::<Vec<_>>().join(",")
}
