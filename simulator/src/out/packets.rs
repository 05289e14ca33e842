//! The packets of a run, put together from their entries.
use crate::transcript::{Detail, Entry, Head, Tag};
use std::collections::BTreeMap;

/// What became of one packet. Numbers are places in the list of entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Packet {
    /// Its name in the world.
    pub(super) id: u64,
    /// The entry that says it was sent; none for one that appeared on the way.
    pub(super) sent: Option<usize>,
    /// The entry that says it arrived.
    pub(super) arrived: Option<usize>,
    /// The entry that says it was lost.
    pub(super) lost: Option<usize>,
    /// Entries that say what happened to it on its way.
    pub(super) notes: Vec<usize>,
}

/// All packets, in the order of their first entries.
pub(super) fn gather(entries: &[Entry]) -> Vec<Packet> {
    let mut all: Vec<Packet> = Vec::new();
    let mut by_id: BTreeMap<u64, usize> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        if !is_of_packet(entry.tag) {
            continue;
        }
        let at = *by_id.entry(entry.number).or_insert_with(|| {
            all.push(Packet {
                id: entry.number,
                ..Packet::default()
            });
            all.len() - 1
        });
        let Some(packet) = all.get_mut(at) else {
            continue;
        };
        if entry.tag == Tag::PacketSent {
            packet.sent.get_or_insert(index);
        } else if entry.tag == Tag::PacketArrived {
            packet.arrived.get_or_insert(index);
        } else if entry.tag == Tag::PacketLost {
            packet.lost.get_or_insert(index);
        } else {
            packet.notes.push(index);
        }
    }
    all
}

/// Do entries of this kind tell of a packet on its way?
pub(super) const fn is_of_packet(tag: Tag) -> bool {
    matches!(
        tag,
        Tag::PacketSent | Tag::PacketArrived | Tag::PacketLost | Tag::PacketNote
    )
}

impl Packet {
    /// Its first entry that says where it was.
    pub(super) fn first(&self) -> Option<usize> {
        let known = [self.sent, self.arrived, self.lost];
        known.into_iter().flatten().min()
    }

    /// Its headers: as it arrived, else as it was sent.
    pub(super) fn head(&self, entries: &[Entry]) -> Option<Head> {
        head_of(entries, self.arrived).or_else(|| head_of(entries, self.sent))
    }

    /// Its headers as it was sent.
    pub(super) fn sent_head(&self, entries: &[Entry]) -> Option<Head> {
        head_of(entries, self.sent)
    }

    /// Its payload: as it arrived, else as it was sent.
    pub(super) fn payload<'a>(&self, entries: &'a [Entry]) -> &'a [u8] {
        let entry = self.arrived.or(self.sent).and_then(|at| entries.get(at));
        entry.map_or(&[], |entry| &entry.bytes)
    }
}

fn head_of(entries: &[Entry], index: Option<usize>) -> Option<Head> {
    match entries.get(index?)?.detail.as_deref() {
        Some(Detail::Packet(head)) => Some(*head),
        Some(Detail::Socket(_) | Detail::Deadline(_) | Detail::Fill(_)) | None => None,
    }
}
