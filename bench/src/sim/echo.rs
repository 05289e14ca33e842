//! Datagrams there and back, at a pace.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use anyhow::{Result, anyhow};
use sansbox_core::Instant;
use sansbox_simulator::World;
use sansbox_simulator::host::{Cx, Host, HostInput, UdpId};
use sansbox_simulator::net::UdpPath;

struct Pinger {
    to: SocketAddr,
    every: Duration,
    next: Instant,
    count: u64,
    left: u64,
    back: u64,
    socket: Option<UdpId>,
}

impl Host for Pinger {
    fn handle(&mut self, cx: &mut Cx<'_>, input: HostInput) {
        match input {
            HostInput::Start => {
                let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
                self.socket = cx.bind(any).ok().map(|(socket, _)| socket);
                self.next = cx.now() + self.every;
            }
            HostInput::Timer => {
                self.next += self.every;
                self.left -= 1;
                if let Some(socket) = self.socket {
                    cx.send_to(socket, self.to, &self.left.to_be_bytes());
                }
            }
            HostInput::Datagram { .. } => {
                self.back += 1;
                if self.back == self.count
                    && let Some(socket) = self.socket.take()
                {
                    cx.unbind(socket);
                }
            }
            HostInput::Command(_)
            | HostInput::Accepted { .. }
            | HostInput::Dialed(..)
            | HostInput::Readable(_)
            | HostInput::Writable(_)
            | HostInput::Icmp { .. }
            | HostInput::Packet(_)
            | HostInput::Resolved(..) => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        (self.left > 0).then_some(self.next)
    }

    fn waiting(&self) -> Option<String> {
        self.socket
            .is_some()
            .then(|| format!("{} of {} back", self.back, self.count))
    }
}

struct Echo {
    at: SocketAddr,
}

impl Host for Echo {
    fn handle(&mut self, cx: &mut Cx<'_>, input: HostInput) {
        match input {
            HostInput::Start => {
                let _ = cx.bind(self.at);
            }
            HostInput::Datagram { socket, from, data } => cx.send_to(socket, from, &data),
            HostInput::Timer
            | HostInput::Command(_)
            | HostInput::Accepted { .. }
            | HostInput::Dialed(..)
            | HostInput::Readable(_)
            | HostInput::Writable(_)
            | HostInput::Icmp { .. }
            | HostInput::Packet(_)
            | HostInput::Resolved(..) => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn waiting(&self) -> Option<String> {
        None
    }
}

/// `count` pairs exchange a datagram every so many milliseconds for so many virtual seconds;
/// returns the virtual seconds.
///
/// Errors when a packet does not come back: then it was another load.
pub(crate) fn pairs(count: u8, every: u64, seconds: u64) -> Result<f64> {
    let path = UdpPath {
        latency: Duration::from_millis(2),
        jitter: Duration::ZERO,
        ..UdpPath::default()
    };
    pairs_over(path, count, every, seconds)
}

fn pairs_over(path: UdpPath, count: u8, every: u64, seconds: u64) -> Result<f64> {
    let mut world = World::new(1);
    world.default_udp_path(path);
    let every = Duration::from_millis(every);
    for n in 0..count {
        let ip = |last| IpAddr::V4(Ipv4Addr::new(10, 0, n, last));
        let at = SocketAddr::new(ip(2), 7);
        let packets = seconds * 1000 / every.as_millis() as u64;
        let pinger = Pinger {
            to: at,
            every,
            next: Instant::ZERO,
            count: packets,
            left: packets,
            back: 0,
            socket: None,
        };
        world.host(&format!("pinger {n}"), &[ip(1)], pinger);
        world.host(&format!("echo {n}"), &[ip(2)], Echo { at });
    }
    let run = world.run(Duration::from_secs(seconds + 10));
    run.map_err(|broken| anyhow!("{broken}"))?;
    Ok(seconds as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_that_is_lost_fails_the_run() {
        assert_eq!(pairs(3, 10, 2).unwrap(), 2.0);
        // Of every thousand.
        let lossy = UdpPath {
            loss: 100,
            ..UdpPath::default()
        };
        let failure = pairs_over(lossy, 1, 10, 2).unwrap_err().to_string();
        assert!(failure.contains("of 200 back"), "{failure}");
    }
}
