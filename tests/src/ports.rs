//! Ports for servers that cannot choose their own.
use std::{
    net::{Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

/// Below the range from which Linux takes the source ports of connections, so that a port found
/// free here is not taken by a client of another test before its server binds it.
const FIRST: u32 = 10_000;
const COUNT: u32 = 20_000;
/// Ports set apart for each test process: two that run side by side do not meet at once.
const STRIDE: u32 = 400;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A port that was free a moment ago for TCP and UDP on both loopback addresses.
///
/// # Panics
/// When none of the range is free.
#[must_use]
pub fn free_port() -> u16 {
    let start = process::id().wrapping_mul(STRIDE);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + start.wrapping_add(step) % COUNT;
        let port = u16::try_from(port).expect("the range ends below 65536");
        if is_free(port) {
            return port;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT);
}

/// Whether nothing is bound to `port` on loopback.
#[must_use]
pub fn is_free(port: u16) -> bool {
    let v6 = (Ipv6Addr::LOCALHOST, port);
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        && (!has_ipv6() || (TcpListener::bind(v6).is_ok() && UdpSocket::bind(v6).is_ok()))
}

/// Whether this machine has an IPv6 loopback.
#[must_use]
pub fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// A loopback port on which nothing listens: connecting to it is refused.
#[must_use]
pub fn closed_port() -> u16 {
    free_port()
}
