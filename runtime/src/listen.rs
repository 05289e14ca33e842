//! Binding.
use crate::{
    runtime::StartError,
    sockets::{CheapController, is_loopback, local, set_route_options, set_tcp_options},
};
use core::net::SocketAddr;
use sansbox_engine::{
    config::model::Listen,
    drive::{InboundSockets, KeepAlive, Network},
    ids::InboundId,
};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;

/// Connections that may wait to be accepted, for each worker.
const BACKLOG: i32 = 4096;
/// A bound socket for one worker.
#[derive(Debug)]
pub(crate) struct BoundSocket {
    pub(crate) inbound: InboundId,
    pub(crate) local: SocketAddr,
    pub(crate) socket: Socket,
    /// Options of a UDP socket; `None` for a TCP listener.
    pub(crate) udp: Option<UdpOptions>,
}

/// Options of a UDP socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UdpOptions {
    pub(crate) may_fragment: Option<bool>,
    /// A carrier receives all datagrams.
    pub(crate) is_carrier: bool,
}

/// All sockets of one worker.
pub(crate) type BoundSockets = Vec<BoundSocket>;

/// How one network of one inbound is bound.
struct Binding<'l> {
    inbound: InboundId,
    listen: &'l Listen,
    network: Network,
    cheap: Option<CheapController>,
    is_carrier: bool,
}

/// Binds every listener once for each of `cpus`; the outer list has one entry for each.
pub(crate) fn bind_all(
    inbounds: &[InboundSockets],
    cpus: &[Option<usize>],
    cheap: Option<CheapController>,
) -> Result<Vec<BoundSockets>, StartError> {
    let mut workers: Vec<BoundSockets> = cpus.iter().map(|_| Vec::new()).collect();
    for InboundSockets {
        inbound,
        listen,
        tcp,
        udp,
        carrier,
    } in inbounds
    {
        let networks = [(Network::Tcp, *tcp), (Network::Udp, *udp)];
        for (network, _) in networks.into_iter().filter(|(_, wanted)| *wanted) {
            let binding = Binding {
                inbound: *inbound,
                listen,
                network,
                cheap,
                is_carrier: *carrier,
            };
            // A carrier receives all datagrams, so one worker has the socket alone.
            let cpus = match carrier {
                true => cpus.get(..1).unwrap_or(cpus),
                false => cpus,
            };
            let sockets = binding.bind(cpus).map_err(|source| StartError::Bind {
                inbound: *inbound,
                network,
                address: SocketAddr::new(listen.listen, listen.listen_port),
                source,
            })?;
            for (worker, socket) in workers.iter_mut().zip(sockets) {
                worker.push(socket);
            }
        }
    }
    Ok(workers)
}

impl Binding<'_> {
    fn bind(&self, cpus: &[Option<usize>]) -> io::Result<BoundSockets> {
        let mut port = self.listen.listen_port;
        let is_shared = cpus.len() > 1;
        if is_shared {
            // Workers share the port, and so would silently another process of the same user:
            // a socket that shares with nobody finds out, and finds a free port where 0 is asked.
            let probe = self.open()?;
            probe.bind(&self.at(port).into())?;
            port = local(&probe)?.port();
        }
        let mut sockets = Vec::with_capacity(cpus.len());
        for cpu in cpus {
            let socket = self.open()?;
            if is_shared {
                socket.set_reuse_port(true)?;
            }
            socket.bind(&self.at(port).into())?;
            // Not for UDP: a client that changes its CPU would change its worker.
            if let (Network::Tcp, Some(cpu)) = (self.network, cpu) {
                socket.set_cpu_affinity(*cpu)?;
            }
            sockets.push(BoundSocket {
                inbound: self.inbound,
                local: local(&socket)?,
                socket,
                udp: (self.network == Network::Udp).then_some(UdpOptions {
                    may_fragment: self.listen.udp_fragment,
                    is_carrier: self.is_carrier,
                }),
            });
        }
        if self.network == Network::Tcp {
            // Once all are bound, so that none gets connections meant for others.
            for bound in &sockets {
                bound.socket.listen(BACKLOG)?;
            }
        }
        Ok(sockets)
    }

    fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.listen.listen, port)
    }

    fn open(&self) -> io::Result<Socket> {
        let listen = self.listen;
        let at = self.at(0);
        let (kind, protocol) = match self.network {
            Network::Tcp => (Type::STREAM, Protocol::TCP),
            Network::Udp => (Type::DGRAM, Protocol::UDP),
        };
        let socket = Socket::new(Domain::for_address(at), kind.nonblocking(), Some(protocol))?;
        if at.is_ipv6() {
            // As in Go: `::` serves both families.
            socket.set_only_v6(!at.ip().is_unspecified())?;
        }
        set_route_options(
            &socket,
            listen.bind_interface.as_deref(),
            listen.routing_mark,
        )?;
        // A TCP port with connections that linger can be bound again; one that listens cannot.
        if self.network == Network::Tcp || listen.reuse_addr {
            socket.set_reuse_address(true)?;
        }
        if self.network == Network::Tcp {
            set_tcp_options(&socket, KeepAlive::of(listen))?;
            if let Some(cheap) = self.cheap.filter(|_| is_loopback(at)) {
                cheap.apply(&socket);
            }
        }
        Ok(socket)
    }
}
