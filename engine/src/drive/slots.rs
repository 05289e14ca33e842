//! The sockets of one machine.
use super::{Sockets, link::Link, stream::Stream};
use crate::ids::{ActionId, Slot};

/// What a slot is.
#[derive(Debug)]
pub(crate) enum Socket<K: Sockets> {
    /// A connection.
    Stream(Stream<K::Stream>),
    /// A connection on its way, and who asked for it.
    Connecting(Link<K::Stream>, ActionId),
    /// A UDP socket, or one client's part of it.
    Datagrams(K::Datagrams),
    /// Nothing: failed, and not yet closed by the machine.
    Dead,
}

/// Places without a heap allocation: the client and the upstream.
const INLINE: usize = 2;

/// Sockets beyond those. Behind one pointer, because hardly any machine has more.
struct More<K: Sockets> {
    sockets: Vec<(Slot, Socket<K>)>,
}

/// The sockets of one machine by slot. Few, so they are searched.
pub(crate) struct Slots<K: Sockets> {
    inline: [Option<(Slot, Socket<K>)>; INLINE],
    more: Option<Box<More<K>>>,
}

impl<K: Sockets> Slots<K> {
    /// The client's slot alone.
    pub(crate) fn new(client: Socket<K>) -> Self {
        Self {
            inline: [Some((Slot::CLIENT, client)), None],
            more: None,
        }
    }

    /// Adds a slot.
    pub(crate) fn insert(&mut self, slot: Slot, socket: Socket<K>) {
        match self.inline.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some((slot, socket)),
            None => {
                let empty = || {
                    Box::new(More {
                        sockets: Vec::new(),
                    })
                };
                let more = self.more.get_or_insert_with(empty);
                more.sockets.push((slot, socket));
            }
        }
    }

    /// Removes a slot.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Socket<K>> {
        for place in &mut self.inline {
            if place.as_ref().is_some_and(|(s, _)| *s == slot) {
                return place.take().map(|(_, socket)| socket);
            }
        }
        let more = &mut self.more.as_mut()?.sockets;
        let at = more.iter().position(|(s, _)| *s == slot)?;
        let (_, socket) = more.swap_remove(at);
        if more.is_empty() {
            self.more = None;
        }
        Some(socket)
    }

    /// Removes the connection that `id` asked for.
    pub(crate) fn remove_connecting(&mut self, id: ActionId) -> Option<Socket<K>> {
        let slot = self.iter().find_map(|(slot, socket)| match socket {
            Socket::Connecting(_, asked) if *asked == id => Some(*slot),
            Socket::Connecting(..) | Socket::Stream(_) | Socket::Datagrams(_) | Socket::Dead => {
                None
            }
        })?;
        self.remove(slot)
    }

    /// A slot's socket.
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Socket<K>> {
        let found = self.iter_mut().find(|(s, _)| *s == slot)?;
        Some(&mut found.1)
    }

    /// Whether there are more than two.
    pub(crate) const fn are_many(&self) -> bool {
        self.more.is_some()
    }

    /// Two connections at once.
    pub(crate) fn pair_mut(&mut self, a: Slot, b: Slot) -> Option<Pair<'_, K::Stream>> {
        let (mut first, mut second) = (None, None);
        for (slot, socket) in self.iter_mut() {
            let Socket::Stream(stream) = socket else {
                continue;
            };
            if *slot == a {
                first = Some(stream);
            } else if *slot == b {
                second = Some(stream);
            }
        }
        Some((first?, second?))
    }

    /// The slot at a position, in an order that lasts until the next insertion or removal.
    pub(crate) fn nth(&self, n: usize) -> Option<Slot> {
        self.iter().nth(n).map(|(slot, _)| *slot)
    }

    fn iter(&self) -> impl Iterator<Item = &(Slot, Socket<K>)> {
        let more = self.more.iter().flat_map(|more| &more.sockets);
        self.inline.iter().flatten().chain(more)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut (Slot, Socket<K>)> {
        let more = self.more.iter_mut().flat_map(|more| &mut more.sockets);
        self.inline.iter_mut().flatten().chain(more)
    }
}

/// Two connections.
pub(crate) type Pair<'s, T> = (&'s mut Stream<T>, &'s mut Stream<T>);
