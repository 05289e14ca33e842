//! Sockets for echo requests: ICMP datagram sockets, which need no privilege where
//! `net.ipv4.ping_group_range` has the group, or raw ones.
use crate::{
    devices::Uplink,
    dial::{self, refusal, refusal_on_the_way},
    errors::{self, ErrorBuffer},
    reactor::{Done, Interest, Io, Reactor},
};
use bytes::BytesMut;
use core::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU16, Ordering},
    task::{Context, Poll},
};
use nix::errno::Errno;
use rustix::{
    event::epoll,
    io::ioctl_fionbio,
    net::{RecvFlags, recvfrom},
};
use sansbox_core::Refusal;
use sansbox_engine::{
    carrier::{EchoAnswer, EchoRequest},
    config::model::Dial,
    ids::OutboundId,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{
    io,
    time::{Duration, Instant},
};

/// Type, code, checksum, identifier, number.
const HEADER_LEN: usize = 8;
/// How long a route is taken for one that leads into no device of this process.
const ROUTE_AGE_MAX: Duration = Duration::from_secs(1);

/// The identifier of the next raw socket of this process.
static IDENTIFIER: AtomicU16 = AtomicU16::new(0);

/// One socket.
pub(crate) struct EchoSocket<R: Reactor> {
    socket: Socket,
    /// A set of this one socket, readable when that has a message or an error. An executor may not
    /// tell who reads of errors alone, or take them for an end.
    watch: R::Io,
    kind: Kind,
    outbound: OutboundId,
    hop_limit: u8,
    /// Whose route was looked at, and when.
    checked: Option<(IpAddr, Instant)>,
}

/// What the socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    is_ipv6: bool,
    /// The identifier of a raw socket, which gets everybody's messages. One for datagrams gets its
    /// own alone, and the kernel numbers them.
    raw: Option<u16>,
}

impl<R: Reactor> EchoSocket<R> {
    /// Opens a socket for addresses of the family of `to`.
    pub(crate) fn open(
        to: IpAddr,
        outbound: OutboundId,
        options: &Dial,
        uplink: &Uplink,
    ) -> Result<Self, Refusal> {
        let (socket, kind) = open(to).map_err(|e| match e.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EPERM | Errno::EACCES) => Refusal::Policy,
            _ => refusal(&e),
        })?;
        let prepared = dial::prepare_echo(&socket, to, options, uplink).and_then(|()| {
            errors::enable(&socket, kind.is_ipv6)?;
            let watch = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            // As executors want all that they watch, though nobody waits in it.
            ioctl_fionbio(&watch, true)?;
            let interest = epoll::EventFlags::IN | epoll::EventFlags::ERR;
            epoll::add(&watch, &socket, epoll::EventData::new_u64(0), interest)?;
            R::Io::new(watch, false)
        });
        Ok(Self {
            watch: prepared.map_err(|e| refusal(&e))?,
            socket,
            kind,
            outbound,
            hop_limit: 0,
            checked: None,
        })
    }

    /// Whose dial options it has.
    pub(crate) const fn outbound(&self) -> OutboundId {
        self.outbound
    }

    /// Whether it is time to see where packets for `to` leave.
    pub(crate) fn is_unknown(&mut self, to: IpAddr) -> bool {
        let is_known = |(at, when): &(IpAddr, Instant)| *at == to && when.elapsed() < ROUTE_AGE_MAX;
        if self.checked.as_ref().is_some_and(is_known) {
            return false;
        }
        self.checked = Some((to, Instant::now()));
        true
    }

    /// What was found is not to be remembered.
    pub(crate) const fn forget(&mut self) {
        self.checked = None;
    }

    /// Sends a request.
    pub(crate) fn send(&mut self, request: &EchoRequest) -> Result<(), Refusal> {
        if self.hop_limit != request.hop_limit {
            let hops = u32::from(request.hop_limit);
            let set = if self.kind.is_ipv6 {
                self.socket.set_unicast_hops_v6(hops)
            } else {
                self.socket.set_ttl_v4(hops)
            };
            set.map_err(|e| refusal(&e))?;
            self.hop_limit = request.hop_limit;
        }
        let message = self.kind.request(request);
        let to = SocketAddr::new(request.to, 0).into();
        let sent = self.socket.send_to(&message, &to);
        // The first may tell of an earlier one, once; that comes by its own way.
        let sent = sent.or_else(|_| self.socket.send_to(&message, &to));
        match sent {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(Refusal::Dropped),
            Err(e) => Err(refusal_on_the_way(&e)),
        }
    }

    /// What became of a request.
    pub(crate) fn poll(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ErrorBuffer,
    ) -> Poll<io::Result<EchoAnswer>> {
        buffer.prepare();
        self.watch
            .poll_io(cx, Interest::Read, || self.receive(buffer).map(Done::more))
    }

    fn receive(&self, buffer: &mut ErrorBuffer) -> io::Result<EchoAnswer> {
        loop {
            // Errors first: who reads messages is told of them once, and takes them away.
            match self.receive_error(buffer) {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) | Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => {}
                Err(e) => return Err(e.into()),
            }
            let received = recvfrom(&self.socket, &mut buffer.message[..], RecvFlags::DONTWAIT);
            match received {
                Ok((n, _, Some(from))) => {
                    let from = SocketAddr::try_from(from).map(|from| from.ip());
                    let message = buffer.message.get(..n).unwrap_or_default();
                    let reply = from.ok().and_then(|from| self.kind.reply(from, message));
                    if let Some(reply) = reply {
                        return Ok(reply);
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return Err(io::ErrorKind::WouldBlock.into()),
                // An error that is in the queue as well, and is gone now that it was told.
                Ok((_, _, None)) | Err(_) => {}
            }
        }
    }

    /// The next error; `None` for one that says nothing.
    fn receive_error(&self, buffer: &mut ErrorBuffer) -> nix::Result<Option<EchoAnswer>> {
        let queued = errors::next(&self.socket, buffer)?;
        let Some(queued) = queued.filter(errors::Queued::is_message) else {
            return Ok(None);
        };
        let about = buffer.message.get(..queued.len).unwrap_or_default();
        let sequence = self.kind.sequence_of(about, self.kind.request_type());
        Ok(sequence.map(|sequence| EchoAnswer::Error {
            to: queued.to.ip(),
            sequence,
            reporter: queued.reporter,
            kind: queued.error.ee_type,
            code: queued.error.ee_code,
            mtu: queued.error.ee_info,
        }))
    }
}

/// Opens a socket for datagrams, or else a raw one.
fn open(to: IpAddr) -> io::Result<(Socket, Kind)> {
    let (domain, protocol) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let open = |kind: Type| Socket::new(domain, kind.nonblocking(), Some(protocol));
    let is_ipv6 = to.is_ipv6();
    if let Ok(socket) = open(Type::DGRAM) {
        return Ok((socket, Kind { is_ipv6, raw: None }));
    }
    let socket = open(Type::RAW)?;
    let raw = Some(next_identifier());
    Ok((socket, Kind { is_ipv6, raw }))
}

/// An identifier that no raw socket of this process has had lately. They begin anywhere, so that
/// they are hardly those of another process.
fn next_identifier() -> u16 {
    if IDENTIFIER.load(Ordering::Relaxed) == 0 {
        let mut anywhere = [0; 2];
        // Without entropy they begin at 0.
        let _ = getrandom::fill(&mut anywhere);
        let anywhere = u16::from_ne_bytes(anywhere);
        let _set_by_another =
            IDENTIFIER.compare_exchange(0, anywhere, Ordering::Relaxed, Ordering::Relaxed);
    }
    IDENTIFIER.fetch_add(1, Ordering::Relaxed)
}

impl Kind {
    const fn request_type(self) -> u8 {
        if self.is_ipv6 { 128 } else { 8 }
    }

    const fn reply_type(self) -> u8 {
        if self.is_ipv6 { 129 } else { 0 }
    }

    /// The message for a request.
    fn request(self, request: &EchoRequest) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEADER_LEN + request.data.len());
        message.extend_from_slice(&[self.request_type(), 0, 0, 0]);
        message.extend_from_slice(&self.raw.unwrap_or_default().to_be_bytes());
        message.extend_from_slice(&request.sequence.to_be_bytes());
        message.extend_from_slice(&request.data);
        // The kernel completes all others.
        if self.raw.is_some() && !self.is_ipv6 {
            let sum = !sansbox_stack::ip::sum(&message);
            if let Some(place) = message.get_mut(2..4) {
                place.copy_from_slice(&sum.to_be_bytes());
            }
        }
        message
    }

    /// What a received message says, if it is a reply to a request of this socket.
    fn reply(self, from: IpAddr, message: &[u8]) -> Option<EchoAnswer> {
        let mut message = message;
        // Raw sockets of IPv4 give the header of the packet, too.
        if self.raw.is_some() && !self.is_ipv6 {
            let header_len = usize::from(message.first()? & 0xf) * 4;
            message = message.get(header_len..)?;
        }
        let sequence = self.sequence_of(message, self.reply_type())?;
        Some(EchoAnswer::Reply {
            from,
            sequence,
            data: BytesMut::from(message.get(HEADER_LEN..)?),
        })
    }

    /// The number in an echo message of type `kind` that belongs to this socket.
    fn sequence_of(self, message: &[u8], kind: u8) -> Option<u16> {
        let &[is, 0, _, _, a, b, c, d] = message.get(..HEADER_LEN)? else {
            return None;
        };
        let is_mine = self.raw.is_none_or(|id| id == u16::from_be_bytes([a, b]));
        (is == kind && is_mine).then(|| u16::from_be_bytes([c, d]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(data: &'static [u8]) -> EchoRequest {
        EchoRequest {
            to: IpAddr::from([127, 0, 0, 1]),
            sequence: 0x0506,
            hop_limit: 9,
            data: data.into(),
        }
    }

    #[test]
    fn a_raw_socket_completes_its_messages_and_takes_only_its_own_replies() {
        let raw = Kind {
            is_ipv6: false,
            raw: Some(0x0304),
        };
        let message = raw.request(&request(b"odd"));
        assert_eq!(message[..2], [8, 0]);
        assert_eq!(message[4..], *b"\x03\x04\x05\x06odd");
        assert_eq!(sansbox_stack::ip::sum(&message), 0xffff, "it sums up");
        let from = IpAddr::from([192, 0, 2, 1]);
        // A header with options of four bytes.
        let packet = |id: u8, kind: u8| {
            let mut packet = vec![0; 24];
            packet[0] = 0x46;
            packet.extend_from_slice(&[kind, 0, 1, 2, 3, id, 5, 6, b'x']);
            packet
        };
        let expected = EchoAnswer::Reply {
            from,
            sequence: 0x0506,
            data: BytesMut::from(&b"x"[..]),
        };
        assert_eq!(raw.reply(from, &packet(4, 0)), Some(expected));
        for not_mine in [packet(5, 0), packet(4, 8), packet(4, 3), vec![0x4f; 30]] {
            assert_eq!(raw.reply(from, &not_mine), None, "{not_mine:?}");
        }
        for len in 0..32 {
            assert_eq!(raw.reply(from, &packet(4, 0)[..len]), None, "{len} bytes");
        }
    }

    #[test]
    fn the_kernel_completes_messages_of_datagram_sockets() {
        let v6 = Kind {
            is_ipv6: true,
            raw: None,
        };
        let message = v6.request(&request(b"data"));
        assert_eq!(message, *b"\x80\0\0\0\0\0\x05\x06data");
        let from = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]);
        let reply = v6.reply(from, b"\x81\0\x12\x34\xab\xcd\x05\x06");
        let expected = EchoAnswer::Reply {
            from,
            sequence: 0x0506,
            data: BytesMut::new(),
        };
        assert_eq!(reply, Some(expected));
    }

    #[test]
    fn raw_sockets_have_identifiers_of_their_own() {
        let (a, b) = (next_identifier(), next_identifier());
        assert_ne!(a, b);
    }
}
