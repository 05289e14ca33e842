//! Raw bytes over TCP: what a well-behaved client would never send.
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

/// How long a peer may keep silent before a test calls it stuck.
pub const SILENCE: Duration = Duration::from_secs(10);

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// FIN.
    Closed,
    /// RST.
    Reset,
    /// Nothing came for the time the caller was willing to wait.
    StillOpen,
}

/// What came back on a connection, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// How it ended.
    pub ending: Ending,
}

impl Answer {
    /// The bytes as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// A connection whose reads give up after [`SILENCE`].
///
/// # Panics
/// When nothing listens at `addr`.
#[must_use]
pub fn connect(addr: impl Into<SocketAddr>) -> TcpStream {
    let addr = addr.into();
    let stream = TcpStream::connect_timeout(&addr, SILENCE)
        .unwrap_or_else(|e| panic!("connect to {addr}: {e}"));
    stream
        .set_read_timeout(Some(SILENCE))
        .expect("a timeout can be set");
    stream.set_nodelay(true).expect("no delay can be set");
    stream
}

/// Sends `bytes`, then FIN if `finish`, and reads until the connection ends or is silent for
/// `patience`.
#[must_use]
pub fn exchange(addr: SocketAddr, bytes: &[u8], finish: bool, patience: Duration) -> Answer {
    let mut stream = connect(addr);
    let mut writer = stream.try_clone().expect("a socket can be shared");
    thread::scope(|scope| {
        scope.spawn(move || {
            // The peer may refuse, and close, before it has read everything.
            let _ = writer.write_all(bytes);
            if finish {
                let _ = writer.shutdown(Shutdown::Write);
            }
        });
        let answer = read_all(&mut stream, patience);
        // A peer that neither reads nor closes must not hold the writer.
        let _ = stream.shutdown(Shutdown::Both);
        answer
    })
}

/// Reads until the connection ends or is silent for `patience`.
///
/// # Panics
/// When the system reports an error that is no way of ending.
pub fn read_all(stream: &mut TcpStream, patience: Duration) -> Answer {
    stream
        .set_read_timeout(Some(patience))
        .expect("a timeout can be set");
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    let ending = loop {
        match stream.read(&mut buffer) {
            Ok(0) => break Ending::Closed,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(e) => match e.kind() {
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => break Ending::Reset,
                ErrorKind::WouldBlock | ErrorKind::TimedOut => break Ending::StillOpen,
                ErrorKind::Interrupted => {}
                _ => panic!("read: {e}"),
            },
        }
    };
    Answer { bytes, ending }
}

/// Reads exactly `n` bytes.
///
/// # Panics
/// When they do not come; the message says what was awaited.
pub fn read_exact(stream: &mut impl Read, n: usize, what: &str) -> Vec<u8> {
    let mut bytes = vec![0; n];
    stream
        .read_exact(&mut bytes)
        .unwrap_or_else(|e| panic!("{n} bytes of {what} did not come: {e}"));
    bytes
}

/// Reads one head of HTTP/1.1, up to and with its empty line, and not a byte more.
///
/// # Panics
/// When the stream ends before.
pub fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        let n = stream.read(&mut byte).expect("read a head");
        assert_ne!(n, 0, "ended in a head: {}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("a head is text")
}
