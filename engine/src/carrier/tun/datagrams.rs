//! UDP mappings of a device: each is a stream of records.
use super::super::{Event, Stream};
use bytes::{Buf as _, BytesMut};
use core::net::SocketAddr;
use sansbox_core::{End, Instant, Pipe, Progress};
use sansbox_protocols::{
    paniq::proxy::record::Record,
    socks::wire::{Address, Name},
};
use sansbox_stack::{Interface, interface::Received, nat::MappingId};
use std::collections::{BTreeMap, VecDeque};

/// Octets of records of one mapping that wait for its session.
const QUEUE_MAX: usize = 128 * 1024;
/// Set in the numbers of these streams, and in none of a connection's: there are not so many.
const MARK: u64 = 1 << 31;

/// Is it the stream of a mapping?
pub(super) const fn is(stream: Stream) -> bool {
    stream.0 & MARK != 0
}

/// One mapping.
#[derive(Debug)]
struct Mapping {
    stream: Stream,
    /// Records that the session has not got.
    queue: BytesMut,
    is_connected: bool,
}

/// All mappings.
#[derive(Debug, Default)]
pub(super) struct Mappings {
    mappings: BTreeMap<MappingId, Mapping>,
    streams: BTreeMap<Stream, MappingId>,
    streams_given: u64,
    /// Datagrams of clients that found the queue of their mapping full.
    overflowed: u64,
}

impl Mappings {
    /// Datagrams of clients that were dropped because their session did not take them, since the
    /// last call.
    pub(super) const fn take_overflowed(&mut self) -> u64 {
        core::mem::replace(&mut self.overflowed, 0)
    }

    fn get_or_begin(&mut self, id: MappingId) -> &mut Mapping {
        let (streams, given) = (&mut self.streams, &mut self.streams_given);
        self.mappings.entry(id).or_insert_with(|| {
            let stream = Stream(*given << 32 | MARK);
            *given += 1;
            streams.insert(stream, id);
            Mapping {
                stream,
                queue: BytesMut::new(),
                is_connected: false,
            }
        })
    }

    /// A client sent a datagram.
    pub(super) fn received(&mut self, datagram: Received<'_>, events: &mut VecDeque<Event>) {
        let record = Record {
            address: Address {
                name: Name::Ip(datagram.destination.ip()),
                port: datagram.destination.port(),
            },
            data: datagram.data,
        };
        let mapping = self.get_or_begin(datagram.mapping);
        let (len, was_empty) = (record.buffer_len(), mapping.queue.is_empty());
        let mut lost = 0;
        while mapping.queue.len() + len > QUEUE_MAX {
            // The oldest goes first: what is new is worth more.
            match Record::len_of(&mapping.queue) {
                Ok(Some(n)) if n <= mapping.queue.len() => mapping.queue.advance(n),
                Ok(_) | Err(_) => mapping.queue.clear(),
            }
            lost += 1;
        }
        if !record.emit(&mut mapping.queue) {
            lost += 1;
        }
        if was_empty && mapping.is_connected {
            events.push_back(Event::Ready(mapping.stream));
        }
        self.overflowed += lost;
    }

    /// A mapping is new: its session is asked for.
    pub(super) fn offer(
        &mut self,
        id: MappingId,
        source: SocketAddr,
        events: &mut VecDeque<Event>,
    ) {
        let stream = self.get_or_begin(id).stream;
        let wanted = crate::machine::Wanted::Datagrams;
        events.push_back(Event::Request(stream, source, wanted));
    }

    /// A mapping ended.
    pub(super) fn end(&mut self, id: MappingId, events: &mut VecDeque<Event>) {
        let Some(mapping) = self.mappings.remove(&id) else {
            return;
        };
        self.streams.remove(&mapping.stream);
        events.push_back(if mapping.is_connected {
            Event::Ready(mapping.stream)
        } else {
            Event::Cancelled(mapping.stream)
        });
    }

    /// The session is there, or it is not: then the mapping is returned, to be given up.
    pub(super) fn answer(&mut self, stream: Stream, is_yes: bool) -> Option<MappingId> {
        if !is_yes {
            return self.remove(stream);
        }
        let id = self.streams.get(&stream)?;
        self.mappings.get_mut(id)?.is_connected = true;
        None
    }

    pub(super) fn remove(&mut self, stream: Stream) -> Option<MappingId> {
        let id = self.streams.remove(&stream)?;
        self.mappings.remove(&id);
        Some(id)
    }

    /// Whose stream it is.
    pub(super) fn of(&self, stream: Stream) -> Option<MappingId> {
        self.streams.get(&stream).copied()
    }

    pub(super) fn is_open(&self, stream: Stream) -> bool {
        self.streams.contains_key(&stream)
    }

    pub(super) fn exchange(
        &mut self,
        now: Instant,
        interface: &mut Interface,
        stream: Stream,
        received: &mut Pipe,
        to_send: &mut Pipe,
    ) -> Progress {
        let id = self.streams.get(&stream).copied();
        let Some((id, mapping)) = id.and_then(|id| Some((id, self.mappings.get_mut(&id)?))) else {
            return over(received, to_send);
        };
        if !mapping.is_connected {
            return Progress::NONE;
        }
        let mut progress = Progress::NONE;
        let is_sent = send(now, interface, id, to_send, &mut progress);
        if !is_sent || to_send.end() != End::Open || received.end() != End::Open {
            self.remove(stream);
            interface.unmap(id);
            return over(received, to_send);
        }
        // All or nothing: a pipe above its limit is one whose reader tells when it has read.
        if !mapping.queue.is_empty() && received.room() > 0 {
            received.push_slice(&mapping.queue);
            mapping.queue.clear();
            progress = Progress::MADE;
        }
        progress
    }
}

/// What is left of a stream whose mapping is gone.
fn over(received: &mut Pipe, to_send: &mut Pipe) -> Progress {
    let mut progress = to_send.reset();
    if received.end() == End::Open {
        progress |= received.finish();
    }
    progress
}

/// Sends the client what the session has for it. False when that says nothing that is understood.
fn send(
    now: Instant,
    interface: &mut Interface,
    id: MappingId,
    to_send: &mut Pipe,
    progress: &mut Progress,
) -> bool {
    loop {
        let Ok(len) = Record::len_of(to_send.peek(2)) else {
            return false;
        };
        let Some(octets) = len.and_then(|len| to_send.front(len)) else {
            return true;
        };
        let Ok(Some((record, len))) = Record::parse(octets) else {
            return false;
        };
        if let Name::Ip(ip) = record.address.name {
            let from = SocketAddr::new(ip, record.address.port);
            // One that was dropped is counted by the interface.
            let _ = interface.send_datagram(now, id, from, record.data);
        }
        to_send.skip(len);
        *progress = Progress::MADE;
    }
}
