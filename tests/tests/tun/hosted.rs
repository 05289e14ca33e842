//! Servers of the test's own in a namespace.
use sansbox_tests::{
    namespace::Namespace,
    origin::{tcp::TcpServer, udp::UdpServer},
};
use std::{
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    ops::Deref,
};

/// Something that must be dropped in its namespace, because it speaks to itself at its end.
pub(crate) struct Hosted<'a, T: Send> {
    inner: Option<T>,
    place: &'a Namespace,
}

impl<'a, T: Send> Hosted<'a, T> {
    pub(crate) fn new(place: &'a Namespace, make: impl FnOnce() -> T + Send) -> Self {
        Self {
            inner: Some(place.enter(make)),
            place,
        }
    }
}

impl<T: Send> Deref for Hosted<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.inner.as_ref().expect("only a drop takes it")
    }
}

impl<T: Send> Drop for Hosted<'_, T> {
    fn drop(&mut self) {
        let inner = self.inner.take();
        self.place.enter(|| drop(inner));
    }
}

/// A TCP server on a free port of `ip`.
pub(crate) fn tcp(
    place: &Namespace,
    ip: IpAddr,
    handle: impl Fn(TcpStream) + Send + Sync + 'static,
) -> Hosted<'_, TcpServer> {
    Hosted::new(place, || TcpServer::serve(listener(ip), handle))
}

pub(crate) fn listener(ip: IpAddr) -> TcpListener {
    TcpListener::bind((ip, 0)).unwrap_or_else(|e| panic!("listen on {ip}: {e}"))
}

/// A UDP server on a free port of `ip`.
pub(crate) fn udp(
    place: &Namespace,
    ip: IpAddr,
    answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
) -> Hosted<'_, UdpServer> {
    let bind = || UdpSocket::bind((ip, 0)).unwrap_or_else(|e| panic!("bind to {ip}: {e}"));
    Hosted::new(place, || UdpServer::serve(bind(), answer))
}

/// A port of `ip` on which nothing listens.
pub(crate) fn closed(place: &Namespace, ip: IpAddr) -> SocketAddr {
    place.enter(|| {
        listener(ip)
            .local_addr()
            .expect("a listener has an address")
    })
}
