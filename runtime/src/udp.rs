//! UDP sockets: received in batches, sent in runs of equal datagrams where the kernel can.
use crate::{
    devices::Port,
    errors::{self, ErrorBuffer, Watch, Watched},
    reactor::{Done, Interest, Io, Reactor},
    sockets::{self, mapped},
};
use bytes::BytesMut;
use core::{
    cell::RefCell,
    net::{IpAddr, SocketAddr},
};
use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use sansbox_engine::{drive::datagrams, machine::Undelivered, session::canonical};
use socket2::Socket;
use std::{
    io::{self, IoSliceMut},
    rc::Rc,
    task::{Context, Poll, Waker},
};

/// Messages received in one system call; each may hold many datagrams that the kernel merged.
const BATCH: usize = 16;
/// Largest message.
const MESSAGE_MAX: usize = 64 * 1024;
/// Errors that one socket tells before others get their turn.
const ERRORS_MAX: usize = 64;
/// Datagrams that could not be sent, of which nobody has heard.
const FAILED_MAX: usize = 16;

/// What became of datagrams that a socket sent.
struct Errors<R: Reactor> {
    /// Those that left and did not arrive.
    watched: Watched<R>,
    /// Those that could not be sent.
    failed: RefCell<Vec<(SocketAddr, Undelivered)>>,
}

/// A UDP socket.
pub(crate) struct UdpEndpoint<R: Reactor> {
    socket: R::Io,
    state: UdpSocketState,
    local: SocketAddr,
    is_ipv6: bool,
    errors: Option<Box<Errors<R>>>,
    /// Its port is known to be of this process, as long as it has it.
    _port: Option<Port>,
}

impl<R: Reactor> UdpEndpoint<R> {
    /// `may_fragment`: datagrams larger than the path's MTU go out in fragments, which is the
    /// default, as in sing-box.
    pub(crate) fn new(socket: Socket, may_fragment: Option<bool>) -> io::Result<Self> {
        let local = sockets::local(&socket)?;
        let state = UdpSocketState::new((&socket).into())?;
        // The line above forbade fragments.
        if may_fragment.unwrap_or(true) {
            if local.is_ipv6() {
                set_ipv6_mtu_discover(&socket, Ipv6PathMtuDiscovery::WANT)?;
                setsockopt(&socket, sockopt::Ipv6DontFrag, &false)?;
            }
            set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::WANT)?;
        }
        Ok(Self {
            socket: Io::new(socket.into(), true)?,
            state,
            local: canonical(local),
            is_ipv6: local.is_ipv6(),
            errors: None,
            _port: None,
        })
    }

    /// Has its port known to be of this process.
    pub(crate) fn hold(&mut self, port: Option<Port>) {
        self._port = port;
    }

    /// From now on [`Self::poll_errors`] has something to tell, and `waker` is woken then. Without
    /// it the socket works as well.
    pub(crate) fn watch_errors(&mut self, watch: &Rc<Watch<R>>, waker: &Waker) {
        let watched = watch.add(&self.socket, self.is_ipv6, waker).ok();
        self.errors = watched.map(|watched| {
            let failed = RefCell::default();
            Box::new(Errors { watched, failed })
        });
    }

    /// Hands what is said of datagrams that did not arrive to `each`, with where they were sent.
    pub(crate) fn poll_errors(
        &self,
        buffer: &RefCell<ErrorBuffer>,
        mut each: impl FnMut(SocketAddr, Undelivered),
    ) -> Poll<()> {
        let Some(errors) = &self.errors else {
            return Poll::Pending;
        };
        let mut told = Poll::Pending;
        for (to, error) in errors.failed.borrow_mut().drain(..) {
            each(to, error);
            told = Poll::Ready(());
        }
        if !errors.watched.has_errors() {
            return told;
        }
        let mut buffer = buffer.borrow_mut();
        buffer.prepare();
        for _ in 0..ERRORS_MAX {
            let Some((to, error)) = errors.watched.next(&self.socket, &mut buffer) else {
                break;
            };
            each(to, error);
            told = Poll::Ready(());
        }
        told
    }

    /// Where it is bound.
    pub(crate) const fn local(&self) -> SocketAddr {
        self.local
    }

    /// Receives what is there, up to a batch.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        batch: &mut Batch,
    ) -> Poll<io::Result<()>> {
        self.socket.poll_io(cx, Interest::Read, || {
            let socket = (&self.socket).into();
            batch.fill(|buffers, metas| self.state.recv(socket, buffers, metas))?;
            Ok(Done {
                value: (),
                is_drained: !batch.is_full(),
            })
        })
    }

    /// Sends `bytes` as datagrams of `segment` bytes each, the last maybe shorter; no bytes are
    /// one empty datagram. Returns how many could not be sent.
    pub(crate) fn send(
        &self,
        to: SocketAddr,
        bytes: &[u8],
        segment: usize,
        from: Option<IpAddr>,
    ) -> u64 {
        let most = (segment * self.state.max_gso_segments().max(1)).max(1);
        let parts = datagrams(bytes, most);
        parts
            .map(|part| self.send_at_once(to, part, segment, from))
            .sum()
    }

    /// Sends what fits in one system call.
    fn send_at_once(
        &self,
        to: SocketAddr,
        bytes: &[u8],
        segment: usize,
        from: Option<IpAddr>,
    ) -> u64 {
        let socket = &self.socket;
        let mut transmit = Transmit {
            destination: if self.is_ipv6 { mapped(to) } else { to },
            ecn: None,
            contents: bytes,
            segment_size: (bytes.len() > segment).then_some(segment),
            src_ip: from,
        };
        // Past the reactor: a fresh socket is writable before its first event says so.
        let Err(error) = self.state.try_send(socket.into(), &transmit) else {
            return 0;
        };
        if transmit.segment_size.take().is_none() {
            return u64::from(!self.send_again(&transmit, to, error));
        }
        // Maybe the interface cannot split runs.
        let mut lost = 0;
        for datagram in datagrams(bytes, segment) {
            transmit.contents = datagram;
            if let Err(error) = self.state.try_send(socket.into(), &transmit) {
                lost += u64::from(!self.send_again(&transmit, to, error));
            }
        }
        lost
    }

    /// A datagram could not be sent. Where errors are watched that may be for an earlier one, which
    /// is told of once, and the second try is for its own.
    fn send_again(&self, transmit: &Transmit<'_>, to: SocketAddr, error: io::Error) -> bool {
        let Some(errors) = &self.errors else {
            return false;
        };
        if error.kind() == io::ErrorKind::WouldBlock {
            return false;
        }
        let Err(error) = self.state.try_send((&self.socket).into(), transmit) else {
            return true;
        };
        let mut failed = errors.failed.borrow_mut();
        if failed.len() < FAILED_MAX
            && let Some(said) = errors::of_send(&error)
        {
            failed.push((to, said));
        }
        false
    }
}

/// What one system call received. The buffers are made at the first use.
#[derive(Debug)]
pub(crate) struct Batch {
    storage: Vec<u8>,
    metas: [RecvMeta; BATCH],
    count: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            storage: Vec::new(),
            metas: [RecvMeta::default(); BATCH],
            count: 0,
        }
    }
}

impl Batch {
    fn fill(
        &mut self,
        receive: impl FnOnce(&mut [IoSliceMut<'_>], &mut [RecvMeta]) -> io::Result<usize>,
    ) -> io::Result<()> {
        self.count = 0;
        if self.storage.is_empty() {
            self.storage = vec![0; BATCH * MESSAGE_MAX];
        }
        let mut chunks = self.storage.chunks_exact_mut(MESSAGE_MAX);
        let mut buffers: [IoSliceMut<'_>; BATCH] =
            core::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        self.count = receive(&mut buffers, &mut self.metas)?;
        Ok(())
    }

    /// There may be more where these came from.
    pub(crate) const fn is_full(&self) -> bool {
        self.count >= BATCH
    }

    /// Every datagram: who sent it, to which local address, its payload.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, Option<IpAddr>, BytesMut)> {
        let messages = self.storage.chunks_exact(MESSAGE_MAX).zip(&self.metas);
        messages.take(self.count).flat_map(|(bytes, meta)| {
            // One allocation for all that the kernel merged.
            let mut rest = Some(BytesMut::from(bytes.get(..meta.len).unwrap_or_default()));
            let stride = meta.stride.max(1);
            core::iter::from_fn(move || {
                let mut datagram = rest.take()?;
                if datagram.len() > stride {
                    rest = Some(datagram.split_off(stride));
                }
                let to = meta.dst_ip.map(|ip| ip.to_canonical());
                Some((canonical(meta.addr), to, datagram))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn merged_datagrams_come_apart() {
        let mut batch = Batch::default();
        batch
            .fill(|buffers, metas| {
                buffers[0][..5].copy_from_slice(b"aabbc");
                (metas[0].len, metas[0].stride, metas[0].addr) = (5, 2, to(7));
                (metas[1].len, metas[1].stride, metas[1].addr) = (0, 0, to(8));
                Ok(2)
            })
            .expect("filled");
        let all: Vec<_> = batch
            .datagrams()
            .map(|(from, _, data)| (from.port(), data.to_vec()))
            .collect();
        let expected: [(u16, &[u8]); 4] = [(7, b"aa"), (7, b"bb"), (7, b"c"), (8, b"")];
        assert_eq!(all, expected.map(|(port, data)| (port, data.to_vec())));
    }
}
