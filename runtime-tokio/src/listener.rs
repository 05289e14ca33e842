//! Binding, and accepting connections.
use crate::{
    observer::RuntimeEvent,
    runtime::StartError,
    service::{InboundSockets, Network, Service},
    session::Drive,
    slots::{Slots, Socket as SlotSocket},
    sockets::{CheapController, is_loopback, set_route_options, set_tcp_options},
    worker::Worker,
};
use core::net::SocketAddr;
use rustix::io::Errno;
use sansbox_engine::{
    Peer,
    config::model::Listen,
    ids::{InboundId, Slot},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{io, rc::Rc, time::Duration};
use tokio::net::{TcpListener, TcpStream};

/// Connections that may wait to be accepted, for each worker.
const BACKLOG: i32 = 4096;
/// First pause after accept failed for want of something; doubles with each failure.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

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
}

/// All sockets of one worker.
pub(crate) type BoundSockets = Vec<BoundSocket>;

/// How one network of one inbound is bound.
struct Binding<'l> {
    inbound: InboundId,
    listen: &'l Listen,
    network: Network,
    cheap: Option<CheapController>,
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
    } in inbounds
    {
        let networks = [(Network::Tcp, *tcp), (Network::Udp, *udp)];
        for (network, _) in networks.into_iter().filter(|(_, wanted)| *wanted) {
            let binding = Binding {
                inbound: *inbound,
                listen,
                network,
                cheap,
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
            set_tcp_options(
                &socket,
                listen.tcp_keep_alive,
                listen.tcp_keep_alive_interval,
            )?;
            if let Some(cheap) = self.cheap.filter(|_| is_loopback(at)) {
                cheap.apply(&socket);
            }
        }
        Ok(socket)
    }
}

fn local(socket: &Socket) -> io::Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.map_or_else(|| Err(io::ErrorKind::AddrNotAvailable.into()), Ok)
}

/// Accepts the connections of one listener.
pub(crate) struct Acceptor<S: Service> {
    pub(crate) worker: Rc<Worker<S>>,
    pub(crate) inbound: InboundId,
    pub(crate) listener: TcpListener,
    pub(crate) local: SocketAddr,
}

impl<S: Service> Acceptor<S> {
    /// Never done; dropping it closes the listener.
    pub(crate) async fn run(self) {
        let mut pause = PAUSE_MIN;
        loop {
            match self.listener.accept().await {
                Ok((tcp, remote)) => {
                    pause = PAUSE_MIN;
                    self.admit().await;
                    self.serve(tcp, remote);
                }
                Err(error) if is_about_one_connection(&error) => {}
                Err(error) => {
                    self.worker.tally.accept_pauses.add(1);
                    self.tell(&RuntimeEvent::AcceptPaused {
                        inbound: self.inbound,
                        error: &error,
                        pause,
                    });
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Waits while there are as many sessions as there may be. The connection at hand waits too.
    async fn admit(&self) {
        let shared = &self.worker.shared;
        if shared.try_admit() {
            return;
        }
        self.tell(&RuntimeEvent::ConnectionLimit {
            inbound: self.inbound,
            limit: shared.options.max_connections.unwrap_or_default(),
        });
        shared.admit().await;
    }

    fn serve(&self, tcp: TcpStream, remote: SocketAddr) {
        let worker = &self.worker;
        let mut local = self.local;
        if local.ip().is_unspecified() {
            // Gone already if the peer has reset the connection; then the session will see that.
            local = tcp.local_addr().unwrap_or(local);
            if let Some(cheap) = worker
                .shared
                .cheap_controller
                .filter(|_| is_loopback(remote))
            {
                cheap.apply(&tcp);
            }
        }
        let (seed, now) = (worker.seed(), worker.shared.clock.now());
        let peer = Peer { remote, local };
        let service = &worker.shared.service;
        let machine = service.session(self.inbound, peer, seed, now);
        let mut slots = Slots::default();
        slots.insert(Slot::CLIENT, SlotSocket::Stream(tcp.into()));
        worker.tally.accepted.add(1);
        Drive::spawn(worker, machine, slots);
    }

    fn tell(&self, event: &RuntimeEvent<'_>) {
        self.worker.shared.observer.runtime(event);
    }
}

/// The connection at hand failed before it was accepted; the next one may be fine. Anything else
/// is about this process or this machine and will be the same for the next one.
fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::INTR
                | Errno::PROTO
                | Errno::NOPROTOOPT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::TIMEDOUT
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_of_one_connection_are_skipped() {
        for (errno, expected) in [
            (Errno::CONNABORTED, true),
            (Errno::INTR, true),
            (Errno::MFILE, false),
            (Errno::NFILE, false),
            (Errno::NOBUFS, false),
            (Errno::NOMEM, false),
            (Errno::INVAL, false),
        ] {
            assert_eq!(
                is_about_one_connection(&errno.into()),
                expected,
                "{errno:?}"
            );
        }
    }
}
