//! The sockets of one machine.
use crate::{association::Face, udp::UdpEndpoint};
use core::net::SocketAddr;
use sansbox_core::End;
use sansbox_engine::ids::{ActionId, Slot};
use socket2::SockRef;
use std::{
    io,
    pin::pin,
    task::{Context, Poll, ready},
    time::Duration,
};
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

/// Has a connection on its way been decided? Its local address if it stands.
pub(crate) fn poll_connected(
    tcp: &TcpStream,
    cx: &mut Context<'_>,
) -> Poll<io::Result<SocketAddr>> {
    ready!(tcp.poll_write_ready(cx))?;
    // What made it ready; a failed connection is closed, and only then has an error to fetch.
    let ready = ready!(pin!(tcp.ready(Interest::WRITABLE)).poll(cx))?;
    if ready.is_write_closed() {
        let error = tcp.take_error()?;
        let error = error.unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
        return Poll::Ready(Err(error));
    }
    Poll::Ready(tcp.local_addr())
}

/// Worth asking tokio again, which waits if there is nothing to be had.
pub(crate) fn is_retry(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
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

/// Sockets beyond those. Behind one pointer, because hardly any machine has more.
#[derive(Debug, Default)]
struct More {
    sockets: Vec<(Slot, Socket)>,
}

/// The sockets of one machine by slot. Few, so they are searched.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    inline: [Option<(Slot, Socket)>; INLINE],
    more: Option<Box<More>>,
}

impl Slots {
    /// Adds a slot.
    pub(crate) fn insert(&mut self, slot: Slot, socket: Socket) {
        match self.inline.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some((slot, socket)),
            None => {
                let more = self.more.get_or_insert_default();
                more.sockets.push((slot, socket));
            }
        }
    }

    /// Removes a slot.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Socket> {
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
        let found = self.iter_mut().find(|(s, _)| *s == slot)?;
        Some(&mut found.1)
    }

    /// Two connections at once.
    pub(crate) fn pair_mut(&mut self, a: Slot, b: Slot) -> Option<(&mut Stream, &mut Stream)> {
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

    fn iter(&self) -> impl Iterator<Item = &(Slot, Socket)> {
        let more = self.more.iter().flat_map(|more| &more.sockets);
        self.inline.iter().flatten().chain(more)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut (Slot, Socket)> {
        let more = self.more.iter_mut().flat_map(|more| &mut more.sockets);
        self.inline.iter_mut().flatten().chain(more)
    }
}
