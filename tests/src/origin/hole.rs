//! A server that never answers.
use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream},
    os::fd::OwnedFd,
    time::Duration,
};

/// A port whose connections are never answered: its queue is full.
#[derive(Debug)]
pub struct BlackHole {
    /// Where it is.
    pub addr: SocketAddr,
    _listener: OwnedFd,
    _queued: Vec<TcpStream>,
}

impl BlackHole {
    /// On loopback.
    ///
    /// # Panics
    /// When the system gives no socket, or its queue never fills.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another port")]
    pub fn new() -> Self {
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).expect("bind");
        listen(&listener, 0).expect("listen");
        let name = getsockname(&listener).expect("a name");
        let addr = SocketAddr::try_from(name).expect("an address");
        let mut queued = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&addr, Duration::from_millis(300)) {
            queued.push(stream);
            assert!(queued.len() < 10, "the queue has no end");
        }
        Self {
            addr,
            _listener: listener,
            _queued: queued,
        }
    }
}
