//! Socket options that listeners and dials share.
use core::net::{IpAddr, SocketAddr};
use sansbox_engine::drive::KeepAlive;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::io;

/// Controllers that cost little, the cheapest first.
const CHEAP_CONTROLLERS: [&[u8]; 2] = [b"reno", b"cubic"];

/// A cheap congestion controller that this process may use: a place in [`CHEAP_CONTROLLERS`], so
/// that every connection can afford to remember one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CheapController(u8);

impl CheapController {
    /// Asks the kernel; `None` when it allows none of them.
    pub(crate) fn find() -> Option<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).ok()?;
        let mut numbered = CHEAP_CONTROLLERS.into_iter().zip(0..);
        let found = numbered.find(|(name, _)| socket.set_tcp_congestion(name).is_ok());
        found.map(|(_, number)| Self(number))
    }

    /// Gives it to a socket. Without it the socket works as well, only slower.
    pub(crate) fn apply<'s>(self, socket: impl Into<SockRef<'s>>) {
        if let Some(name) = CHEAP_CONTROLLERS.get(usize::from(self.0)) {
            let _slower = socket.into().set_tcp_congestion(name);
        }
    }
}

/// Is this address on this machine? The same kernel holds both ends then.
pub(crate) const fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// Where a socket is bound.
pub(crate) fn local(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.map_or_else(|| Err(io::ErrorKind::AddrNotAvailable.into()), Ok)
}

/// The address as a socket of the IPv6 family takes it.
pub(crate) fn mapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    }
}

/// `NODELAY` and keep-alive, which an accepted socket inherits from its listener.
pub(crate) fn set_tcp_options(socket: &Socket, keep_alive: KeepAlive) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(keep_alive.idle)
            .with_interval(keep_alive.interval),
    )
}

/// `SO_BINDTODEVICE` and `SO_MARK`.
pub(crate) fn set_route_options(
    socket: &Socket,
    interface: Option<&str>,
    mark: Option<u32>,
) -> io::Result<()> {
    if let Some(name) = interface {
        socket.bind_device(Some(name.as_bytes()))?;
    }
    if let Some(mark) = mark {
        socket.set_mark(mark)?;
    }
    Ok(())
}
