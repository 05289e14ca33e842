//! UDP sockets: received in batches, sent in runs of equal datagrams where the kernel can.
use crate::{
    devices::Port,
    reactor::{Done, Interest, Io, Reactor},
    sockets::{self, mapped},
};
use bytes::BytesMut;
use core::net::{IpAddr, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use sansbox_engine::{drive::datagrams, session::canonical};
use socket2::Socket;
use std::{
    io::{self, IoSliceMut},
    task::{Context, Poll},
};

/// Messages received in one system call; each may hold many datagrams that the kernel merged.
const BATCH: usize = 16;
/// Largest message.
const MESSAGE_MAX: usize = 64 * 1024;

/// A UDP socket.
pub(crate) struct UdpEndpoint<R: Reactor> {
    socket: R::Io,
    state: UdpSocketState,
    local: SocketAddr,
    is_ipv6: bool,
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
            _port: None,
        })
    }

    /// Has its port known to be of this process.
    pub(crate) fn hold(&mut self, port: Option<Port>) {
        self._port = port;
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
        let Err(_) = self.state.try_send(socket.into(), &transmit) else {
            return 0;
        };
        if transmit.segment_size.take().is_none() {
            return 1;
        }
        // Maybe the interface cannot split runs.
        let mut lost = 0;
        for datagram in datagrams(bytes, segment) {
            transmit.contents = datagram;
            let sent = self.state.try_send(socket.into(), &transmit);
            lost += u64::from(sent.is_err());
        }
        lost
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
