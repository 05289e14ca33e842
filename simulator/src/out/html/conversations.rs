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
            let sent = packet.sent_head(entries).unwrap_or(head);
            let part = all.read(&sent, &head, packet.payload(entries));
            if let Some(part) = part {
                all.parts.insert(packet.id, part);
            }
        }
        all
    }

    /// Reads a packet by its headers as it was sent and as it arrived: addresses may have been
    /// translated on the way.
    fn read(&mut self, sent: &Head, head: &Head, payload: &[u8]) -> Option<Part> {
        let ends = (head.source, head.destination);
        match head.carries {
            Carries::Udp => self.datagrams.read(ends, payload).map(Part::Datagram),
            Carries::Icmp(_) | Carries::Raw => None,
            Carries::Tcp { flags, offset, .. } => {
                if flags.syn && !flags.ack {
                    let number = self.dialogues.len();
                    self.open.insert((sent.source, sent.destination), number);
                    self.open.insert(ends, number);
                    self.dialogues.push(Dialogue::default());
                }
                let (dialogue, side) = self.find(sent, head)?;
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

    /// The connection of a packet, and who sent it. Outside of translators addresses are unique,
    /// inside of them two hosts may have the same: those that an acceptor sees come first.
    fn find(&self, sent: &Head, arrived: &Head) -> Option<(usize, Side)> {
        let there = |head: &Head| self.open.get(&(head.source, head.destination)).copied();
        let back = |head: &Head| self.open.get(&(head.destination, head.source)).copied();
        let by_dialer = there(arrived).or_else(|| there(sent));
        let by_acceptor = || back(sent).or_else(|| back(arrived));
        by_dialer
            .map(|at| (at, Side::Dialer))
            .or_else(|| by_acceptor().map(|at| (at, Side::Acceptor)))
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
