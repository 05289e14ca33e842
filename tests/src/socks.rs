//! A SOCKS client that shows what the server answered (RFC 1928, RFC 1929).
use crate::wire::{SILENCE, connect, read_exact};
use std::{
    io::{ErrorKind, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

/// Reply codes of SOCKS5 (RFC 1928 section 6).
#[expect(missing_docs, reason = "the names are the RFC's")]
pub mod reply {
    pub const SUCCEEDED: u8 = 0;
    pub const GENERAL_FAILURE: u8 = 1;
    pub const NOT_ALLOWED: u8 = 2;
    pub const NETWORK_UNREACHABLE: u8 = 3;
    pub const HOST_UNREACHABLE: u8 = 4;
    pub const CONNECTION_REFUSED: u8 = 5;
    pub const COMMAND_NOT_SUPPORTED: u8 = 7;
    pub const ADDRESS_TYPE_NOT_SUPPORTED: u8 = 8;
}

/// A destination as it goes into a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// ATYP 1 or 4.
    Addr(SocketAddr),
    /// ATYP 3.
    Name(String, u16),
}

impl From<SocketAddr> for Destination {
    fn from(addr: SocketAddr) -> Self {
        Self::Addr(addr)
    }
}

impl From<(&str, u16)> for Destination {
    fn from((name, port): (&str, u16)) -> Self {
        Self::Name(name.to_owned(), port)
    }
}

impl Destination {
    /// ATYP, address, port.
    ///
    /// # Panics
    /// When the name is longer than 255 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let port = match self {
            Self::Addr(addr) => {
                match addr.ip() {
                    IpAddr::V4(ip) => {
                        out.push(1);
                        out.extend(ip.octets());
                    }
                    IpAddr::V6(ip) => {
                        out.push(4);
                        out.extend(ip.octets());
                    }
                }
                addr.port()
            }
            Self::Name(name, port) => {
                out.push(3);
                out.push(u8::try_from(name.len()).expect("a name fits 255 bytes"));
                out.extend(name.as_bytes());
                *port
            }
        };
        out.extend(port.to_be_bytes());
        out
    }
}

/// Connects to a SOCKS5 server and agrees on a method, with a password if `user` is given.
///
/// # Panics
/// When the server refuses or answers nonsense.
#[must_use]
pub fn greet(server: SocketAddr, user: Option<(&str, &str)>) -> TcpStream {
    let mut stream = connect(server);
    let method = if user.is_some() { 2 } else { 0 };
    stream.write_all(&[5, 1, method]).expect("send methods");
    let chosen = read_exact(&mut stream, 2, "the chosen method");
    assert_eq!(chosen, [5, method], "method selection");
    if let Some((name, password)) = user {
        let mut login = vec![1, u8::try_from(name.len()).expect("a short name")];
        login.extend(name.as_bytes());
        login.push(u8::try_from(password.len()).expect("a short password"));
        login.extend(password.as_bytes());
        stream.write_all(&login).expect("send user and password");
        let verdict = read_exact(&mut stream, 2, "the verdict on the password");
        assert_eq!(verdict, [1, 0], "user and password are accepted");
    }
    stream
}

/// Sends a request and returns the reply code and the bound address.
///
/// # Panics
/// When the server answers nonsense.
pub fn request(stream: &mut TcpStream, command: u8, to: &Destination) -> (u8, SocketAddr) {
    let mut bytes = vec![5, command, 0];
    bytes.extend(to.encode());
    stream.write_all(&bytes).expect("send a request");
    let head = read_exact(stream, 4, "a SOCKS5 reply");
    assert_eq!((head[0], head[2]), (5, 0), "version and reserved byte");
    let ip = match head[3] {
        1 => {
            let octets: [u8; 4] = read_exact(stream, 4, "an IPv4 address")
                .try_into()
                .expect("4 bytes");
            IpAddr::from(octets)
        }
        4 => {
            let octets: [u8; 16] = read_exact(stream, 16, "an IPv6 address")
                .try_into()
                .expect("16 bytes");
            IpAddr::from(octets)
        }
        other => panic!("address type {other} in a reply"),
    };
    let port = read_exact(stream, 2, "a port");
    (head[1], (ip, u16::from_be_bytes([port[0], port[1]])).into())
}

/// Opens a connection to `to` through the SOCKS5 server.
///
/// # Errors
/// The reply code, when it is not 0.
///
/// # Panics
/// When the server answers nonsense.
pub fn open(
    server: SocketAddr,
    user: Option<(&str, &str)>,
    to: impl Into<Destination>,
) -> Result<TcpStream, u8> {
    let mut stream = greet(server, user);
    match request(&mut stream, 1, &to.into()).0 {
        reply::SUCCEEDED => Ok(stream),
        code => Err(code),
    }
}

/// One UDP association (RFC 1928 section 7).
#[derive(Debug)]
pub struct Association {
    /// The connection that holds it up; dropping it ends the association.
    pub control: TcpStream,
    /// Where datagrams go.
    pub relay: SocketAddr,
    /// Where they come from.
    pub socket: UdpSocket,
}

impl Association {
    /// Asks for an association without saying where datagrams will come from.
    ///
    /// # Panics
    /// When the server refuses.
    #[must_use]
    pub fn open(server: SocketAddr, user: Option<(&str, &str)>) -> Self {
        let mut control = greet(server, user);
        let unknown: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let (code, mut relay) = request(&mut control, 3, &unknown.into());
        assert_eq!(code, reply::SUCCEEDED, "UDP ASSOCIATE");
        if relay.ip().is_unspecified() {
            relay.set_ip(server.ip());
        }
        Self {
            control,
            relay,
            socket: bind_like(server),
        }
    }

    /// Sends `payload` to `to` through the relay.
    ///
    /// # Panics
    /// When the system refuses to send.
    pub fn send(&self, to: &Destination, payload: &[u8]) {
        self.send_raw(&seal(0, to, payload));
    }

    /// Sends bytes to the relay as they are.
    ///
    /// # Panics
    /// When the system refuses to send.
    pub fn send_raw(&self, datagram: &[u8]) {
        self.socket
            .send_to(datagram, self.relay)
            .expect("send to the relay");
    }

    /// The next datagram from the relay: its source and payload; none when nothing comes for
    /// `patience`.
    ///
    /// # Panics
    /// When the relay's header is nonsense.
    #[must_use]
    pub fn receive(&self, patience: Duration) -> Option<(Destination, Vec<u8>)> {
        let (from, datagram) = receive(&self.socket, patience)?;
        assert_eq!(from, self.relay, "the relay answers from its own address");
        Some(unseal(&datagram))
    }

    /// Sends `payload` to `to` and returns what comes back, trying again as UDP users do.
    ///
    /// # Panics
    /// When nothing comes back.
    #[must_use]
    pub fn ask(&self, to: &Destination, payload: &[u8]) -> (Destination, Vec<u8>) {
        for _ in 0..5 {
            self.send(to, payload);
            if let Some(answer) = self.receive(SILENCE / 5) {
                return answer;
            }
        }
        panic!("no answer to {} bytes for {to:?}", payload.len());
    }
}

/// A UDP socket on the loopback address of the family of `addr`.
///
/// # Panics
/// When the system has none left.
#[must_use]
pub fn bind_like(addr: SocketAddr) -> UdpSocket {
    let local: SocketAddr = match addr {
        SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
    };
    UdpSocket::bind(local).expect("bind a UDP socket")
}

/// The next datagram on `socket`; none when nothing comes for `patience`.
///
/// # Panics
/// When the system reports an error that is not a timeout.
#[must_use]
pub fn receive(socket: &UdpSocket, patience: Duration) -> Option<(SocketAddr, Vec<u8>)> {
    socket
        .set_read_timeout(Some(patience))
        .expect("a timeout can be set");
    let mut buffer = vec![0; 65_536];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok((n, from)) => {
                buffer.truncate(n);
                return Some((from, buffer));
            }
            Err(e) => match e.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => return None,
                // What the system says about an earlier datagram to a closed port.
                ErrorKind::ConnectionRefused | ErrorKind::Interrupted => {}
                _ => panic!("receive: {e}"),
            },
        }
    }
}

/// A datagram with the header of RFC 1928 section 7.
#[must_use]
pub fn seal(fragment: u8, to: &Destination, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 0, fragment];
    out.extend(to.encode());
    out.extend(payload);
    out
}

fn unseal(datagram: &[u8]) -> (Destination, Vec<u8>) {
    assert_eq!(&datagram[..3], [0, 0, 0], "reserved bytes and FRAG");
    let port = |rest: &[u8]| u16::from_be_bytes([rest[0], rest[1]]);
    match datagram[3] {
        1 => {
            let octets: [u8; 4] = datagram[4..8].try_into().expect("4 bytes");
            let addr = SocketAddr::from((octets, port(&datagram[8..])));
            (addr.into(), datagram[10..].to_vec())
        }
        3 => {
            let end = 5 + usize::from(datagram[4]);
            let name = String::from_utf8_lossy(&datagram[5..end]).into_owned();
            let from = Destination::Name(name, port(&datagram[end..]));
            (from, datagram[end + 2..].to_vec())
        }
        4 => {
            let octets: [u8; 16] = datagram[4..20].try_into().expect("16 bytes");
            let addr = SocketAddr::from((octets, port(&datagram[20..])));
            (addr.into(), datagram[22..].to_vec())
        }
        other => panic!("address type {other} in a datagram"),
    }
}
