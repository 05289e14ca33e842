//! TCP servers: each hands every connection to a function on a thread of its own.
use crate::body;
use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::{self, Receiver},
    },
    thread,
};

/// A server on a free port; stops accepting on drop.
#[derive(Debug)]
pub struct TcpServer {
    addr: SocketAddr,
    accepted: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl TcpServer {
    /// Serves `listener` with `handle`.
    ///
    /// # Panics
    /// When the listener has no address.
    #[must_use]
    pub fn serve(
        listener: TcpListener,
        handle: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let addr = listener.local_addr().expect("a listener has an address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let server = Self {
            addr,
            accepted: Arc::clone(&accepted),
            stop: Arc::clone(&stop),
        };
        let handle = Arc::new(handle);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                accepted.fetch_add(1, Ordering::Relaxed);
                let handle = Arc::clone(&handle);
                thread::spawn(move || handle(stream));
            }
        });
        server
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the listener if it can be reached from here; otherwise it ends with the process.
        let _ = TcpStream::connect_timeout(&self.addr, std::time::Duration::from_millis(100));
    }
}

/// A listener on a free port of 127.0.0.1.
///
/// # Panics
/// When the system has none left.
#[must_use]
pub fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind a listener")
}

/// Sends everything back; its FIN follows the client's.
#[must_use]
pub fn echo(listener: TcpListener) -> TcpServer {
    TcpServer::serve(listener, |mut stream| {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(n) = stream.read(&mut buffer) {
            if n == 0 || stream.write_all(&buffer[..n]).is_err() {
                break;
            }
        }
        let _ = stream.shutdown(Shutdown::Write);
    })
}

/// Reads until the client's FIN, then answers with the length and digest of what came, so an
/// answer proves that the client's half-close got through and the way back stayed open.
#[must_use]
pub fn answer_after_fin() -> TcpServer {
    TcpServer::serve(listener(), |mut stream| {
        if let Ok(digest) = body::digest_of(&mut stream) {
            let _ = stream.write_all(digest.to_string().as_bytes());
        }
    })
}

/// Sends `greeting` and FIN at once, then reads until the client's FIN; the receiver gets the
/// digest of what came, which proves that the way in stayed open.
#[must_use]
pub fn fin_first(greeting: &'static [u8]) -> (TcpServer, Receiver<body::Digest>) {
    let (sender, receiver) = mpsc::channel();
    let server = TcpServer::serve(listener(), move |mut stream| {
        let _ = stream.write_all(greeting);
        let _ = stream.shutdown(Shutdown::Write);
        if let Ok(digest) = body::digest_of(&mut stream) {
            let _ = sender.send(digest);
        }
    });
    (server, receiver)
}
