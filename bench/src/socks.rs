//! The client half of SOCKS5 (RFC 1928, RFC 1929) as the load generator needs it: IPv4, blocking,
//! bounded in time. Apart from the product's own codec, so that one fault cannot hide in both.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

const VERSION: u8 = 5;
const METHOD_NONE: u8 = 0;
const METHOD_PASSWORD: u8 = 2;
const PASSWORD_VERSION: u8 = 1;
const COMMAND_CONNECT: u8 = 1;
const ADDRESS_IPV4: u8 = 1;
const ADDRESS_IPV6: u8 = 4;
/// What an IPv6 reply is longer than an IPv4 one.
const IPV6_EXTRA: usize = 12;

/// A user of the proxy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credentials {
    /// At most 255 bytes.
    pub(crate) username: &'static str,
    /// At most 255 bytes.
    pub(crate) password: &'static str,
}

/// Where the load goes: through `proxy` to `target`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// The proxy's listener.
    pub(crate) proxy: SocketAddr,
    /// Authenticates as this user; without one, offers no authentication only.
    pub(crate) credentials: Option<Credentials>,
    /// Longest wait of any one read, write or connect.
    pub(crate) patience: Duration,
}

impl Way {
    /// A connection through the proxy to `target`, its handshake finished.
    pub(crate) fn connect(&self, target: SocketAddrV4) -> io::Result<TcpStream> {
        let mut stream = dial(self.proxy, self.patience)?;
        self.authenticate(&mut stream)?;
        request(&mut stream, target)?;
        Ok(stream)
    }

    fn authenticate(&self, stream: &mut TcpStream) -> io::Result<()> {
        let method = if self.credentials.is_some() {
            METHOD_PASSWORD
        } else {
            METHOD_NONE
        };
        stream.write_all(&[VERSION, 1, method])?;
        let mut choice = [0; 2];
        stream.read_exact(&mut choice)?;
        if choice != [VERSION, method] {
            return Err(io::Error::other(format!("the proxy chose {choice:?}")));
        }
        let Some(Credentials { username, password }) = self.credentials else {
            return Ok(());
        };
        let mut message = vec![PASSWORD_VERSION];
        for field in [username, password] {
            message.push(u8::try_from(field.len()).map_err(io::Error::other)?);
            message.extend_from_slice(field.as_bytes());
        }
        stream.write_all(&message)?;
        let mut status = [0; 2];
        stream.read_exact(&mut status)?;
        match status {
            [_, 0] => Ok(()),
            [_, code] => Err(io::Error::other(format!(
                "authentication refused with {code}"
            ))),
        }
    }
}

/// A connection on which no wait is longer than `patience`. `NODELAY` is set and closing it sends
/// RST, so that no port is held by TIME_WAIT.
pub(crate) fn dial(address: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_read_timeout(Some(patience))?;
    socket.set_write_timeout(Some(patience))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    socket.connect(&address.into())?;
    Ok(TcpStream::from(socket))
}

fn request(stream: &mut TcpStream, target: SocketAddrV4) -> io::Result<()> {
    let [a, b, c, d] = target.ip().octets();
    let [high, low] = target.port().to_be_bytes();
    stream.write_all(&[
        VERSION,
        COMMAND_CONNECT,
        0,
        ADDRESS_IPV4,
        a,
        b,
        c,
        d,
        high,
        low,
    ])?;
    let mut reply = [0; 10];
    stream.read_exact(&mut reply)?;
    let [_, code, _, kind, ..] = reply;
    if code != 0 {
        return Err(io::Error::other(format!(
            "the proxy refused with reply {code}"
        )));
    }
    match kind {
        ADDRESS_IPV4 => Ok(()),
        ADDRESS_IPV6 => stream.read_exact(&mut [0; IPV6_EXTRA]),
        other => Err(io::Error::other(format!(
            "bound address of type {other} in the reply"
        ))),
    }
}
