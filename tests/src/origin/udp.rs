//! UDP servers.
use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// How often a server looks whether it shall stop.
const TICK: Duration = Duration::from_millis(50);

/// A server on a free port; stops on drop.
#[derive(Debug)]
pub struct UdpServer {
    addr: SocketAddr,
    received: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl UdpServer {
    /// Answers each datagram on `socket` with what `answer` makes of it, if anything.
    ///
    /// # Panics
    /// When the socket has no address.
    #[must_use]
    pub fn serve(
        socket: UdpSocket,
        answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        let addr = socket.local_addr().expect("a socket has an address");
        let received = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let server = Self {
            addr,
            received: Arc::clone(&received),
            stop: Arc::clone(&stop),
        };
        socket
            .set_read_timeout(Some(TICK))
            .expect("a timeout can be set");
        thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while !stop.load(Ordering::Relaxed) {
                let Ok((n, from)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                received.fetch_add(1, Ordering::Relaxed);
                if let Some(bytes) = answer(&buffer[..n]) {
                    let _ = socket.send_to(&bytes, from);
                }
            }
        });
        server
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many datagrams came.
    #[must_use]
    pub fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }
}

impl Drop for UdpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A socket on a free port of 127.0.0.1.
///
/// # Panics
/// When the system has none left.
#[must_use]
pub fn socket() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a UDP socket")
}

/// Sends every datagram back.
#[must_use]
pub fn echo(socket: UdpSocket) -> UdpServer {
    UdpServer::serve(socket, |datagram| Some(datagram.to_vec()))
}
