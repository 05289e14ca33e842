//! Outbound sockets, and what their errors mean.
use crate::{
    devices::Uplink,
    sockets::{CheapController, is_loopback, local, set_route_options, set_tcp_options},
};
use core::net::{IpAddr, SocketAddr};
use rustix::io::Errno;
use sansbox_core::Refusal;
use sansbox_engine::{config::model::Dial, drive::KeepAlive};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::{io, os::fd::AsFd};

/// Begins to connect; the stream is writable once it is connected or has failed.
pub(crate) fn connect(
    to: SocketAddr,
    options: &Dial,
    cheap: Option<CheapController>,
    uplink: &Uplink,
) -> Result<Socket, Refusal> {
    let prepared = prepared(to, options, cheap, uplink);
    let socket = prepared.map_err(|e| refusal(&e))?;
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if is_in_progress(&error) => {}
        Err(error) => return Err(refusal_on_the_way(&error)),
    }
    Ok(socket)
}

fn prepared(
    to: SocketAddr,
    options: &Dial,
    cheap: Option<CheapController>,
    uplink: &Uplink,
) -> io::Result<Socket> {
    let socket = open(to, Type::STREAM, Protocol::TCP, options, uplink)?;
    if is_loopback(to) {
        socket.set_tcp_nodelay(true)?;
        // Before the connection exists: a controller that paces leaves its timers behind.
        if let Some(cheap) = cheap {
            cheap.apply(&socket);
        }
        // No keep-alive: the kernel that holds both ends cannot vanish without both.
    } else {
        set_tcp_options(&socket, KeepAlive::default())?;
    }
    if let Some(source) = source(to.ip(), options) {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    Ok(socket)
}

/// The local address of a connection that has just begun and is there already. On loopback the
/// handshake is over before `connect` returns, and knowing that saves a turn through the event
/// loop.
pub(crate) fn connected(tcp: &Socket, to: SocketAddr) -> Option<SocketAddr> {
    if !is_loopback(to) || tcp.peer_addr().is_err() {
        return None;
    }
    local(tcp).ok()
}

/// How a connection on its way was decided: its local address. `WouldBlock` when it was not.
pub(crate) fn decided(tcp: &impl AsFd) -> io::Result<SocketAddr> {
    let tcp = SockRef::from(tcp);
    if let Some(error) = tcp.take_error()? {
        return Err(error);
    }
    match tcp.peer_addr() {
        Err(e) if Errno::from_io_error(&e) == Some(Errno::NOTCONN) => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        Err(e) => Err(e),
        Ok(_) => local(&tcp),
    }
}

/// Opens a UDP socket bound to `local`; an outbound's `options` may choose the source address.
pub(crate) fn bind(
    local: SocketAddr,
    options: Option<&Dial>,
    uplink: &Uplink,
) -> io::Result<Socket> {
    let default = Dial::default();
    let options = options.unwrap_or(&default);
    let socket = open(local, Type::DGRAM, Protocol::UDP, options, uplink)?;
    let ip = match source(local.ip(), options) {
        Some(source) if local.ip().is_unspecified() => source,
        Some(_) | None => local.ip(),
    };
    socket.bind(&SocketAddr::new(ip, local.port()).into())?;
    Ok(socket)
}

/// The address that packets of a connection to `to` would leave from, where that is a TUN device of
/// this process: known before the first packet, which would come in as another connection.
pub(crate) fn reentry(to: SocketAddr, options: &Dial, uplink: &Uplink) -> Option<IpAddr> {
    let is_bound = options.bind_interface.is_some() || source(to.ip(), options).is_some();
    if is_bound || is_loopback(to) || !uplink.has_devices() {
        return None;
    }
    // UDP sends nothing to be connected.
    let probe = open(to, Type::DGRAM, Protocol::UDP, options, uplink).ok()?;
    probe.connect(&to.into()).ok()?;
    let local = local(&probe).ok()?.ip();
    uplink.reenters(local).then_some(local)
}

fn open(
    at: SocketAddr,
    kind: Type,
    protocol: Protocol,
    options: &Dial,
    uplink: &Uplink,
) -> io::Result<Socket> {
    let kind = kind.nonblocking();
    let socket = Socket::new(Domain::for_address(at), kind, Some(protocol))?;
    prepare(&socket, at, options, uplink)?;
    Ok(socket)
}

/// Sets a socket for echo requests up.
pub(crate) fn prepare_echo(
    socket: &Socket,
    to: IpAddr,
    options: &Dial,
    uplink: &Uplink,
) -> io::Result<()> {
    prepare(socket, SocketAddr::new(to, 0), options, uplink)?;
    source(to, options).map_or(Ok(()), |source| {
        socket.bind(&SocketAddr::new(source, 0).into())
    })
}

fn prepare(socket: &Socket, at: SocketAddr, options: &Dial, uplink: &Uplink) -> io::Result<()> {
    // What is on this machine is never behind the default route.
    let detected = (options.auto_detect_interface && !is_loopback(at))
        .then(|| uplink.interface(at.ip()))
        .flatten();
    let interface = options.bind_interface.as_deref().or(detected.as_deref());
    set_route_options(socket, interface, options.routing_mark)?;
    if options.reuse_addr {
        socket.set_reuse_address(true)?;
    }
    Ok(())
}

fn source(to: IpAddr, options: &Dial) -> Option<IpAddr> {
    match to {
        IpAddr::V4(_) => options.inet4_bind_address.map(IpAddr::V4),
        IpAddr::V6(_) => options.inet6_bind_address.map(IpAddr::V6),
    }
}

fn is_in_progress(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::INPROGRESS)
}

/// What an error means that a packet on its way caused: what a firewall of this machine forbids,
/// or a router's ICMPv6 message says, comes as missing rights.
pub(crate) fn refusal_on_the_way(error: &io::Error) -> Refusal {
    match Errno::from_io_error(error) {
        Some(Errno::PERM | Errno::ACCESS) => Refusal::Prohibited,
        Some(_) | None => refusal(error),
    }
}

/// What an error of a socket means for a request.
pub(crate) fn refusal(error: &io::Error) -> Refusal {
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED | Errno::CONNRESET) => Refusal::ConnectionRefused,
        Some(Errno::NETUNREACH | Errno::NETDOWN | Errno::NODEV) => Refusal::NetworkUnreachable,
        Some(Errno::HOSTUNREACH | Errno::HOSTDOWN) => Refusal::HostUnreachable,
        Some(Errno::TIMEDOUT) => Refusal::TimedOut,
        Some(Errno::AFNOSUPPORT) => Refusal::AddressUnsupported,
        // ADDRNOTAVAIL from connect: all source ports towards that target are taken.
        Some(
            Errno::MFILE
            | Errno::NFILE
            | Errno::NOBUFS
            | Errno::NOMEM
            | Errno::NOSPC
            | Errno::AGAIN
            | Errno::ADDRNOTAVAIL,
        ) => Refusal::Exhausted,
        Some(_) | None => Refusal::General,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_refusals() {
        for (errno, expected) in [
            (Errno::CONNREFUSED, Refusal::ConnectionRefused),
            (Errno::NETUNREACH, Refusal::NetworkUnreachable),
            (Errno::HOSTUNREACH, Refusal::HostUnreachable),
            (Errno::TIMEDOUT, Refusal::TimedOut),
            (Errno::MFILE, Refusal::Exhausted),
            (Errno::NFILE, Refusal::Exhausted),
            (Errno::ADDRNOTAVAIL, Refusal::Exhausted),
            (Errno::AFNOSUPPORT, Refusal::AddressUnsupported),
            (Errno::PERM, Refusal::General),
        ] {
            assert_eq!(refusal(&errno.into()), expected, "{errno:?}");
        }
        let other = io::Error::other("no number");
        assert_eq!(refusal(&other), Refusal::General);
    }

    #[test]
    fn missing_rights_are_a_firewalls_word_only_of_what_was_sent() {
        for errno in [Errno::PERM, Errno::ACCESS] {
            let error = errno.into();
            assert_eq!(refusal(&error), Refusal::General, "a mark, or a device");
            assert_eq!(refusal_on_the_way(&error), Refusal::Prohibited);
        }
        let refused = Errno::CONNREFUSED.into();
        assert_eq!(refusal_on_the_way(&refused), Refusal::ConnectionRefused);
    }

    #[test]
    fn the_source_address_is_of_the_targets_family() {
        let options = Dial {
            inet4_bind_address: Some([127, 0, 0, 9].into()),
            ..Dial::default()
        };
        let v4: IpAddr = [127, 0, 0, 1].into();
        assert_eq!(source(v4, &options), Some([127, 0, 0, 9].into()));
        assert_eq!(source("::1".parse().expect("an address"), &options), None);
    }
}
