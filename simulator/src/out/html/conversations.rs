//! Which protocol messages each packet carries.
use crate::{
    out::{
        decode::{Datagrams, Dialogue, Message},
        packets::Packet,
    },
    tcp::Side,
    transcript::{Carries, Entry, Head},
};
use core::{net::SocketAddr, ops::Range};
use std::collections::BTreeMap;

/// Where the payload of a packet belongs.
#[derive(Clone, Debug)]
enum Part {
    /// To a direction of a connection, from an offset on.
    Stream {
        dialogue: usize,
        side: Side,
        bytes: Range<u64>,
    },
    /// To nothing else.
    Datagram(Message),
}

/// All messages of a run.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    dialogues: Vec<Dialogue>,
    /// The newest connection between these ends: who dialled, who accepted.
    open: BTreeMap<(SocketAddr, SocketAddr), usize>,
    datagrams: Datagrams,
    parts: BTreeMap<u64, Part>,
}

impl Conversations {
    /// Reads all packets in the order they were sent.
    pub(super) fn of(packets: &[Packet], entries: &[Entry]) -> Self {
        let mut all = Self::default();
        for packet in packets {
            // What appeared on the way belongs to no sender.
            let (Some(_), Some(head)) = (packet.sent, packet.head(entries)) else {
                continue;
            };
            let part = all.read(&head, packet.payload(entries));
            if let Some(part) = part {
                all.parts.insert(packet.id, part);
            }
        }
        all
    }

    fn read(&mut self, head: &Head, payload: &[u8]) -> Option<Part> {
        let ends = (head.source, head.destination);
        let back = (head.destination, head.source);
        match head.carries {
            Carries::Udp => self.datagrams.read(ends, payload).map(Part::Datagram),
            Carries::Icmp(_) => None,
            Carries::Tcp { flags, offset, .. } => {
                if flags.syn && !flags.ack {
                    self.open.insert(ends, self.dialogues.len());
                    self.dialogues.push(Dialogue::default());
                }
                let (dialogue, side) = match (self.open.get(&ends), self.open.get(&back)) {
                    (Some(at), _) => (*at, Side::Dialer),
                    (None, Some(at)) => (*at, Side::Acceptor),
                    (None, None) => return None,
                };
                if payload.is_empty() {
                    return None;
                }
                self.dialogues
                    .get_mut(dialogue)?
                    .feed(side, offset, payload);
                let bytes = offset..offset + payload.len() as u64;
                Some(Part::Stream {
                    dialogue,
                    side,
                    bytes,
                })
            }
        }
    }

    /// The messages of which a packet carries bytes.
    pub(super) fn messages(&self, packet: u64) -> &[Message] {
        match self.parts.get(&packet) {
            None => &[],
            Some(Part::Datagram(message)) => core::slice::from_ref(message),
            Some(Part::Stream {
                dialogue,
                side,
                bytes,
            }) => {
                let Some(dialogue) = self.dialogues.get(*dialogue) else {
                    return &[];
                };
                let all = dialogue.messages(*side);
                let from = all.partition_point(|message| message.to <= bytes.start);
                let to = all.partition_point(|message| message.from < bytes.end);
                all.get(from..to).unwrap_or_default()
            }
        }
    }
}
