//! UDP sockets: received in batches, sent in runs of equal datagrams where the kernel can.
use crate::sockets::mapped;
use bytes::BytesMut;
use core::net::{IpAddr, SocketAddr};
use nix::sys::socket::{setsockopt, sockopt};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::net::sockopt::{
    Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
};
use sansbox_engine::{ids::Slot, session::canonical};
use std::{
    cell::RefCell,
    io::{self, IoSliceMut},
    task::{Context, Poll, ready},
};
use tokio::{io::Interest, net::UdpSocket};

/// Messages received in one system call; each may hold many datagrams that the kernel merged.
const BATCH: usize = 16;
/// Largest message.
const MESSAGE_MAX: usize = 64 * 1024;
/// Most bytes sent in one system call as equal datagrams.
const RUN_MAX: usize = 60 * 1024;

/// A UDP socket.
#[derive(Debug)]
pub(crate) struct UdpEndpoint {
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    is_ipv6: bool,
}

impl UdpEndpoint {
    /// `may_fragment`: datagrams larger than the path's MTU go out in fragments, which is the
    /// default, as in sing-box.
    pub(crate) fn new(socket: UdpSocket, may_fragment: Option<bool>) -> io::Result<Self> {
        let local = socket.local_addr()?;
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
            socket,
            state,
            local: canonical(local),
            is_ipv6: local.is_ipv6(),
        })
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
        loop {
            ready!(self.socket.poll_recv_ready(cx))?;
            let received = self.socket.try_io(Interest::READABLE, || {
                batch.fill(|buffers, metas| self.state.recv((&self.socket).into(), buffers, metas))
            });
            match received {
                Ok(()) => {
                    if batch.count < BATCH {
                        let would_block = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                        let _drained = self.socket.try_io(Interest::READABLE, would_block);
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    /// Sends `bytes` as datagrams of `segment` bytes each, the last maybe shorter. Returns how
    /// many could not be sent.
    pub(crate) fn send(
        &self,
        to: SocketAddr,
        bytes: &[u8],
        segment: usize,
        from: Option<IpAddr>,
    ) -> u64 {
        let mut transmit = Transmit {
            destination: if self.is_ipv6 { mapped(to) } else { to },
            ecn: None,
            contents: bytes,
            segment_size: (bytes.len() > segment).then_some(segment),
            src_ip: from,
        };
        // Past tokio: a fresh socket is writable before its first event says so.
        let Err(_) = self.state.try_send((&self.socket).into(), &transmit) else {
            return 0;
        };
        if transmit.segment_size.take().is_none() {
            return 1;
        }
        // Maybe the interface cannot split runs.
        let mut lost = 0;
        for datagram in bytes.chunks(segment.max(1)) {
            transmit.contents = datagram;
            let sent = self.state.try_send((&self.socket).into(), &transmit);
            lost += u64::from(sent.is_err());
        }
        lost
    }

    fn run_segments(&self) -> usize {
        self.state.max_gso_segments()
    }
}

/// A worker's place for datagrams on their way.
#[derive(Debug, Default)]
pub(crate) struct Datagrams {
    pub(crate) batch: RefCell<Batch>,
    pub(crate) run: RefCell<Run>,
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

/// Datagrams of equal size from one slot to one destination, gathered to be sent at once.
#[derive(Debug, Default)]
pub(crate) struct Run {
    place: Option<(Slot, SocketAddr)>,
    segment: usize,
    /// A shorter datagram ends the run.
    closed: bool,
    bytes: Vec<u8>,
}

impl Run {
    /// Adds a datagram; false when it does not fit in this run.
    pub(crate) fn push(&mut self, slot: Slot, to: SocketAddr, data: &[u8]) -> bool {
        if self.place.is_none() {
            self.place = Some((slot, to));
            self.segment = data.len();
            self.closed = data.is_empty();
        } else if self.place == Some((slot, to))
            && !self.closed
            && (1..=self.segment).contains(&data.len())
            && self.bytes.len() + data.len() <= RUN_MAX
        {
            self.closed = data.len() < self.segment;
        } else {
            return false;
        }
        self.bytes.extend_from_slice(data);
        true
    }

    /// From which slot the run goes; `None` when it is empty.
    pub(crate) fn slot(&self) -> Option<Slot> {
        self.place.map(|(slot, _)| slot)
    }

    /// Sends the run and empties it. Returns how many datagrams could not be sent.
    pub(crate) fn send(&mut self, endpoint: &UdpEndpoint, from: Option<IpAddr>) -> u64 {
        let mut lost = 0;
        if let Some((_, to)) = self.place {
            let most = (self.segment * endpoint.run_segments().max(1)).max(1);
            if self.bytes.is_empty() {
                lost = endpoint.send(to, &[], 1, from);
            }
            for part in self.bytes.chunks(most) {
                lost += endpoint.send(to, part, self.segment, from);
            }
        }
        self.clear();
        lost
    }

    /// Drops the run.
    pub(crate) fn clear(&mut self) {
        self.place = None;
        self.bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn a_run_takes_equal_datagrams_and_one_shorter_last() {
        let mut run = Run::default();
        let (a, b) = (Slot(1), Slot(2));
        assert!(run.push(a, to(1), &[1; 100]));
        assert!(run.push(a, to(1), &[2; 100]));
        assert!(!run.push(a, to(2), &[2; 100]), "another destination");
        assert!(!run.push(b, to(1), &[2; 100]), "another slot");
        assert!(!run.push(a, to(1), &[2; 101]), "longer");
        assert!(!run.push(a, to(1), &[]), "empty");
        assert!(run.push(a, to(1), &[3; 99]));
        assert!(!run.push(a, to(1), &[4; 99]), "after a shorter one");
        assert_eq!((run.slot(), run.bytes.len()), (Some(a), 299));
        run.clear();
        assert!(run.push(b, to(2), &[]), "an empty datagram is a run alone");
        assert!(!run.push(b, to(2), &[]));
    }

    #[test]
    fn a_run_is_bounded() {
        let mut run = Run::default();
        let pushed = (0..1000)
            .take_while(|_| run.push(Slot(0), to(1), &[0; 1000]))
            .count();
        assert_eq!(pushed, RUN_MAX / 1000);
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
