//! The upstream of every subject: a SOCKS5 server (RFC 1928) that serves what it is asked for
//! itself. It never is the narrow place: what arrives is thrown away, what leaves comes from memory.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::Result;
use socket2::SockRef;

use super::net::Namespace;
use crate::load::bulk::{drain, fill};
use crate::load::listen_on;

/// A destination with this port takes all that comes.
pub(super) const PORT_TAKE: u16 = 5001;
/// One with this port sends as much as goes.
pub(super) const PORT_GIVE: u16 = 5002;
/// One with this port sends back the first byte that comes and then waits for the end.
pub(super) const PORT_ANSWER: u16 = 5003;

/// Connections at a time: 16 clients that visit, each with a few that are not quite over.
const WORKERS: usize = 64;
const WORKER_STACK_BYTES: usize = 128 * 1024;

const VERSION: u8 = 5;
const METHOD_NONE: u8 = 0;
const COMMAND_CONNECT: u8 = 1;
const REPLY_DONE: u8 = 0;
const REPLY_COMMAND: u8 = 7;
const REPLY_ADDRESS: u8 = 8;
const ADDRESS_IPV4: u8 = 1;
const ADDRESS_DOMAIN: u8 = 3;
const ADDRESS_IPV6: u8 = 4;

/// What the server's threads share.
#[derive(Debug)]
struct Shared {
    listener: TcpListener,
    received: AtomicU64,
    stop: AtomicBool,
}

/// The running server. Ends when dropped; connections must have ended, as they have when the
/// subject's process is gone.
#[derive(Debug)]
pub(super) struct Sink {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl Sink {
    /// Listens on `address` of a namespace.
    pub(super) fn start(namespace: &Namespace, address: SocketAddrV4) -> Result<Self> {
        let (listener, _) = namespace.inside(|| Ok(listen_on(address)?))?;
        let shared = Arc::new(Shared {
            listener,
            received: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let mut this = Self {
            shared: Arc::clone(&shared),
            workers: Vec::new(),
        };
        for _ in 0..WORKERS {
            let shared = Arc::clone(&shared);
            let builder = thread::Builder::new().stack_size(WORKER_STACK_BYTES);
            this.workers.push(builder.spawn(move || shared.work())?);
        }
        Ok(this)
    }

    /// Bytes that connections to [`PORT_TAKE`] brought.
    pub(super) fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let _ = SockRef::from(&self.shared.listener).shutdown(Shutdown::Both);
        for worker in self.workers.drain(..) {
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn work(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((stream, _)) = self.listener.accept() else {
                continue;
            };
            if let Ok(port) = handshake(&stream) {
                self.serve(&stream, port);
            }
        }
    }

    fn serve(&self, mut stream: &TcpStream, port: u16) {
        match port {
            PORT_TAKE => drain(stream, &self.received),
            PORT_GIVE => fill(stream),
            PORT_ANSWER => {
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {
                    while matches!(stream.read(&mut byte), Ok(1..)) {}
                }
            }
            // Nothing is there: the connection ends.
            _ => {}
        }
    }
}

/// The server's half of SOCKS5, without authentication. Returns the port that is asked for.
fn handshake(mut stream: &TcpStream) -> io::Result<u16> {
    let [version, methods] = read(stream)?;
    io::copy(&mut stream.take(methods.into()), &mut io::sink())?;
    if version != VERSION {
        return Err(io::Error::other(format!("version {version}")));
    }
    stream.write_all(&[VERSION, METHOD_NONE])?;
    let [_, command, _, kind] = read(stream)?;
    let length = match kind {
        ADDRESS_IPV4 => 4,
        ADDRESS_IPV6 => 16,
        ADDRESS_DOMAIN => {
            let [length] = read(stream)?;
            length
        }
        _ => return refuse(stream, REPLY_ADDRESS),
    };
    io::copy(&mut stream.take(length.into()), &mut io::sink())?;
    let port = u16::from_be_bytes(read(stream)?);
    if command != COMMAND_CONNECT {
        return refuse(stream, REPLY_COMMAND);
    }
    stream.write_all(&reply(REPLY_DONE))?;
    Ok(port)
}

fn read<const N: usize>(mut stream: &TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).map(|()| bytes)
}

const fn reply(code: u8) -> [u8; 10] {
    [VERSION, code, 0, ADDRESS_IPV4, 0, 0, 0, 0, 0, 0]
}

fn refuse(mut stream: &TcpStream, code: u8) -> io::Result<u16> {
    stream.write_all(&reply(code))?;
    Err(io::Error::other(format!("refused with {code}")))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Duration;

    use super::*;
    use crate::socks::Way;

    /// A server in this thread's own namespace.
    fn served() -> (Arc<Shared>, Way) {
        let (listener, address) = listen_on(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let shared = Arc::new(Shared {
            listener,
            received: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let way = Way {
            proxy: SocketAddr::V4(address),
            credentials: None,
            patience: Duration::from_secs(5),
        };
        (shared, way)
    }

    #[test]
    fn ports_take_give_and_answer() {
        let (shared, way) = served();
        let worker = Arc::clone(&shared);
        let working = thread::spawn(move || worker.work());
        let to = |port| {
            way.connect(SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 1), port))
                .unwrap()
        };
        let mut answer = to(PORT_ANSWER);
        answer.write_all(&[7]).unwrap();
        assert_eq!(read::<1>(&answer).unwrap(), [7]);
        drop(answer);
        let give = to(PORT_GIVE);
        assert_eq!(read::<70_000>(&give).unwrap()[69_999], 0x5a);
        drop(give);
        let mut take = to(PORT_TAKE);
        take.write_all(&[1; 70_000]).unwrap();
        while shared.received.load(Ordering::Relaxed) < 70_000 {
            thread::sleep(Duration::from_millis(1));
        }
        drop(take);
        shared.stop.store(true, Ordering::Relaxed);
        let _ = SockRef::from(&shared.listener).shutdown(Shutdown::Both);
        working.join().unwrap();
    }

    #[test]
    fn what_is_no_connect_is_refused() {
        let (shared, way) = served();
        let working = thread::spawn(move || {
            let (stream, _) = shared.listener.accept().unwrap();
            handshake(&stream).unwrap_err()
        });
        let mut stream = TcpStream::connect(way.proxy).unwrap();
        stream.write_all(&[5, 1, 0]).unwrap();
        assert_eq!(read::<2>(&stream).unwrap(), [5, 0]);
        stream.write_all(&[5, 2, 0, 1, 10, 0, 0, 1, 0, 80]).unwrap();
        assert_eq!(read::<10>(&stream).unwrap()[1], REPLY_COMMAND);
        assert!(working.join().unwrap().to_string().contains("refused"));
    }
}
