//! smoltcp's sockets as clients.
use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

use super::pattern;

/// What comes in and goes out of the client's network interface.
pub struct Port {
    pub rx: VecDeque<Vec<u8>>,
    pub tx: Vec<Vec<u8>>,
    pub mtu: usize,
}

pub struct Rx(Vec<u8>);
pub struct Tx<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}

impl Device for Port {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Rx, Tx<'_>)> {
        let packet = self.rx.pop_front()?;
        Some((Rx(packet), Tx(&mut self.tx)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Tx<'_>> {
        Some(Tx(&mut self.tx))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

/// One connection's plan and progress at the client.
pub struct Connection {
    pub handle: SocketHandle,
    pub stream: u64,
    pub upload: usize,
    pub download: usize,
    pub sent: usize,
    pub received: usize,
    pub saw_end: bool,
    /// Bytes that the application takes per turn.
    pub appetite: usize,
}

pub struct Client {
    pub iface: Interface,
    pub sockets: SocketSet<'static>,
    pub port: Port,
    pub connections: Vec<Connection>,
}

pub fn time(micros: u64) -> Instant {
    Instant::from_micros(i64::try_from(micros).unwrap())
}

impl Client {
    pub fn new(mtu: usize, seed: u64) -> Self {
        let mut port = Port {
            rx: VecDeque::new(),
            tx: Vec::new(),
            mtu,
        };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut iface = Interface::new(config, &mut port, time(0));
        iface.update_ip_addrs(|addrs| {
            addrs
                .push(IpCidr::new(IpAddress::v4(10, 0, 0, 2), 24))
                .unwrap();
            addrs
                .push(IpCidr::new(IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0, 2), 64))
                .unwrap();
        });
        let gateway = "10.0.0.1".parse().unwrap();
        iface.routes_mut().add_default_ipv4_route(gateway).unwrap();
        let gateway = "fd00::1".parse().unwrap();
        iface.routes_mut().add_default_ipv6_route(gateway).unwrap();
        Self {
            iface,
            sockets: SocketSet::new(Vec::new()),
            port,
            connections: Vec::new(),
        }
    }

    /// Begins a connection whose both directions are patterns of `stream`.
    pub fn connect(
        &mut self,
        v6: bool,
        stream: u64,
        sizes: (usize, usize),
        buffers: (usize, usize),
    ) {
        let rx = tcp::SocketBuffer::new(vec![0; buffers.0]);
        let tx = tcp::SocketBuffer::new(vec![0; buffers.1]);
        let mut socket = tcp::Socket::new(rx, tx);
        socket.set_nagle_enabled(stream.is_multiple_of(3));
        let to: (IpAddress, u16) = if v6 {
            (IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9), 443)
        } else {
            (IpAddress::v4(192, 0, 2, 9), 80)
        };
        let port = 49152 + u16::try_from(self.connections.len()).unwrap();
        socket.connect(self.iface.context(), to, port).unwrap();
        self.connections.push(Connection {
            handle: self.sockets.add(socket),
            stream,
            upload: sizes.0,
            download: sizes.1,
            sent: 0,
            received: 0,
            saw_end: false,
            appetite: usize::MAX,
        });
    }

    /// One turn of the applications: write what fits, read and check what came.
    pub fn turn(&mut self) {
        for connection in &mut self.connections {
            let socket = self.sockets.get_mut::<tcp::Socket<'_>>(connection.handle);
            while connection.sent < connection.upload && socket.can_send() {
                let rest = (connection.upload - connection.sent).min(4096);
                let bytes: Vec<u8> = (connection.sent..connection.sent + rest)
                    .map(|at| pattern(connection.stream, at))
                    .collect();
                let n = socket.send_slice(&bytes).unwrap();
                connection.sent += n;
                if n < rest {
                    break;
                }
            }
            if connection.sent == connection.upload && socket.may_send() {
                socket.close();
            }
            let mut appetite = connection.appetite;
            while socket.can_recv() && appetite > 0 {
                let (at, stream) = (connection.received, !connection.stream);
                let n = socket
                    .recv(|bytes| {
                        let n = bytes.len().min(appetite);
                        for (i, byte) in bytes[..n].iter().enumerate() {
                            assert_eq!(*byte, pattern(stream, at + i), "byte {} down", at + i);
                        }
                        (n, n)
                    })
                    .unwrap();
                connection.received += n;
                appetite -= n;
            }
            connection.saw_end |=
                matches!(socket.recv_slice(&mut []), Err(tcp::RecvError::Finished));
        }
    }

    pub fn poll(&mut self, now: u64) {
        self.iface
            .poll(time(now), &mut self.port, &mut self.sockets);
    }

    pub fn state(&self, at: usize) -> tcp::State {
        let handle = self.connections[at].handle;
        self.sockets.get::<tcp::Socket<'_>>(handle).state()
    }
}
