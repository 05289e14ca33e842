//! The sockets of one machine.
use crate::{association::Face, udp::UdpEndpoint};
use sansbox_core::End;
use sansbox_engine::ids::{ActionId, Slot};
use socket2::SockRef;
use std::{io, time::Duration};
use tokio::{io::Interest, net::TcpStream};

/// What a slot is.
#[derive(Debug)]
pub(crate) enum Socket {
    /// A connection.
    Stream(Stream),
    /// A connection on its way, and who asked for it.
    Connecting(TcpStream, ActionId),
    /// A UDP socket of its own.
    Udp(Box<UdpEndpoint>),
    /// The part of a listener's UDP socket that faces one client.
    Face(Box<Face>),
    /// Nothing: failed, and not yet closed by the machine.
    Dead,
}

/// A connection and which of its directions are over.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) tcp: TcpStream,
    /// The peer's FIN was read.
    pub(crate) ended: bool,
    /// Our FIN was sent.
    pub(crate) shut: bool,
}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self {
            tcp,
            ended: false,
            shut: false,
        }
    }
}

impl Stream {
    /// Sends our FIN, once.
    pub(crate) fn shut(&mut self) -> io::Result<()> {
        if self.shut {
            return Ok(());
        }
        self.shut = true;
        SockRef::from(&self.tcp).shutdown(std::net::Shutdown::Write)
    }
}

/// Tells tokio that a socket has nothing more to read without asking the kernel, after a read that
/// returned less than it could. The next byte makes an event; an end that was seen stays seen.
pub(crate) fn mark_drained(tcp: &TcpStream) {
    let would_block = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
    let _would_block = tcp.try_io(Interest::READABLE, would_block);
}

/// Closes a socket, with RST after [`End::Reset`].
pub(crate) fn close(socket: Socket, end: End) {
    let tcp = match &socket {
        Socket::Stream(stream) => &stream.tcp,
        Socket::Connecting(tcp, _) => tcp,
        Socket::Udp(_) | Socket::Face(_) | Socket::Dead => return,
    };
    if end == End::Reset {
        let _closed_either_way = SockRef::from(tcp).set_linger(Some(Duration::ZERO));
    }
}

/// Places without a heap allocation: the client and the upstream.
const INLINE: usize = 2;

/// The sockets of one machine by slot. Few, so they are searched.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    inline: [Option<(Slot, Socket)>; INLINE],
    more: Vec<(Slot, Socket)>,
}

impl Slots {
    /// Adds a slot.
    pub(crate) fn insert(&mut self, slot: Slot, socket: Socket) {
        match self.inline.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some((slot, socket)),
            None => self.more.push((slot, socket)),
        }
    }

    /// Removes a slot.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Socket> {
        for place in &mut self.inline {
            if place.as_ref().is_some_and(|(s, _)| *s == slot) {
                return place.take().map(|(_, socket)| socket);
            }
        }
        let at = self.more.iter().position(|(s, _)| *s == slot)?;
        let (_, socket) = self.more.swap_remove(at);
        if self.more.is_empty() {
            self.more = Vec::new();
        }
        Some(socket)
    }

    /// Removes the connection that `id` asked for.
    pub(crate) fn remove_connecting(&mut self, id: ActionId) -> Option<Socket> {
        let slot = self.iter().find_map(|(slot, socket)| match socket {
            Socket::Connecting(_, asked) if *asked == id => Some(*slot),
            Socket::Connecting(..)
            | Socket::Stream(_)
            | Socket::Udp(_)
            | Socket::Face(_)
            | Socket::Dead => None,
        })?;
        self.remove(slot)
    }

    /// A slot's socket.
    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Socket> {
        let inline = self.inline.iter_mut().flatten();
        inline
            .chain(&mut self.more)
            .find(|(s, _)| *s == slot)
            .map(|(_, socket)| socket)
    }

    /// Two connections at once.
    pub(crate) fn pair_mut(&mut self, a: Slot, b: Slot) -> Option<(&mut Stream, &mut Stream)> {
        let (mut first, mut second) = (None, None);
        for (slot, socket) in self.inline.iter_mut().flatten().chain(&mut self.more) {
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

    fn iter(&self) -> impl Iterator<Item = &(Slot, Socket)> {
        self.inline.iter().flatten().chain(&self.more)
    }
}
