//! A host that makes packets of its own, octet by octet, and looks at what comes back.
use crate::{
    check::Invariant,
    host::{Cx, Host, HostInput},
    net::packet::Body,
};
use bytes::BytesMut;
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use sansbox_core::Instant;

/// Nobody speaks before everybody listens.
const BOOT: Duration = Duration::from_millis(1);

type IsIt = Box<dyn Fn(&[u8]) -> bool>;
type Make = Box<dyn Fn(&mut Cx<'_>) -> Vec<u8>>;

struct Planned {
    at: Instant,
    make: Make,
}

struct Wanted {
    name: &'static str,
    is_it: IsIt,
    left: usize,
    /// The host waits for it.
    is_awaited: bool,
}

/// Packets to send, and packets that must come.
#[derive(Default)]
pub struct PacketHost {
    planned: Vec<Planned>,
    wanted: Vec<Wanted>,
    is_strict: bool,
}

impl PacketHost {
    /// A host that does nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends a packet at a time after the start.
    #[must_use]
    pub fn send(self, after: Duration, packet: Vec<u8>) -> Self {
        self.make(after, move |_| packet.clone())
    }

    /// Makes a packet at a time after the start, and sends it.
    #[must_use]
    pub fn make(
        mut self,
        after: Duration,
        make: impl Fn(&mut Cx<'_>) -> Vec<u8> + 'static,
    ) -> Self {
        self.planned.push(Planned {
            at: Instant::ZERO + after + BOOT,
            make: Box::new(make),
        });
        self
    }

    /// So many packets of which `is_it` holds must come; the host waits for them.
    #[must_use]
    pub fn expect(
        self,
        name: &'static str,
        left: usize,
        is_it: impl Fn(&[u8]) -> bool + 'static,
    ) -> Self {
        self.want(name, left, true, Box::new(is_it))
    }

    /// At most so many packets of which `is_it` holds may come where nothing else may; after those
    /// that are expected.
    #[must_use]
    pub fn allow(
        self,
        name: &'static str,
        most: usize,
        is_it: impl Fn(&[u8]) -> bool + 'static,
    ) -> Self {
        self.want(name, most, false, Box::new(is_it))
    }

    fn want(mut self, name: &'static str, left: usize, is_awaited: bool, is_it: IsIt) -> Self {
        self.wanted.push(Wanted {
            name,
            is_it,
            left,
            is_awaited,
        });
        self
    }

    /// Nothing else may come.
    #[must_use]
    pub const fn strict(mut self) -> Self {
        self.is_strict = true;
        self
    }

    fn fire(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let planned = core::mem::take(&mut self.planned);
        let (due, later): (Vec<_>, _) = planned.into_iter().partition(|p| p.at <= now);
        self.planned = later;
        for planned in due {
            let packet = (planned.make)(cx);
            let (source, destination) = addresses(&packet);
            let body = Body::Raw(BytesMut::from(&packet[..]));
            cx.send_packet(source, destination, body);
        }
    }

    fn hear(&mut self, cx: &mut Cx<'_>, packet: &[u8]) {
        let mut wanted = self.wanted.iter_mut().filter(|wanted| wanted.left > 0);
        match wanted.find(|wanted| (wanted.is_it)(packet)) {
            Some(wanted) => wanted.left -= 1,
            None if self.is_strict => {
                let head = packet.get(..60).unwrap_or(packet);
                cx.violate(Invariant::ScriptHolds, format!("nobody wanted {head:02x?}"));
            }
            None => {}
        }
    }
}

/// The addresses of a packet; of one that has none, such that it is from nobody to nobody.
fn addresses(packet: &[u8]) -> (SocketAddr, SocketAddr) {
    let of = |at: usize, len: usize| packet.get(at..at + len);
    let v4 = |at| Some(IpAddr::from(<[u8; 4]>::try_from(of(at, 4)?).ok()?));
    let v6 = |at| Some(IpAddr::from(<[u8; 16]>::try_from(of(at, 16)?).ok()?));
    let found = match packet.first().map(|first| first >> 4) {
        Some(6) => v6(8).zip(v6(24)),
        _ => v4(12).zip(v4(16)),
    };
    let nobody = IpAddr::from([0, 0, 0, 0]);
    let (from, to) = found.unwrap_or((nobody, nobody));
    (SocketAddr::new(from, 0), SocketAddr::new(to, 0))
}

impl Host for PacketHost {
    fn handle(&mut self, cx: &mut Cx<'_>, input: HostInput) {
        match input {
            HostInput::Start => {
                if !cx.is_exact() {
                    // Where faults strike, nothing is sure to come back.
                    self.wanted.clear();
                    self.is_strict = false;
                }
                self.fire(cx);
            }
            HostInput::Timer => self.fire(cx),
            HostInput::Packet(packet) => self.hear(cx, packet.payload()),
            HostInput::Command(_)
            | HostInput::Accepted { .. }
            | HostInput::Dialed(..)
            | HostInput::Readable(_)
            | HostInput::Writable(_)
            | HostInput::Datagram { .. }
            | HostInput::Icmp { .. }
            | HostInput::Resolved(..) => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.planned.iter().map(|planned| planned.at).min()
    }

    fn crashed(&mut self, _: &mut Cx<'_>) {
        self.planned.clear();
        self.wanted.clear();
    }

    fn is_done(&self) -> bool {
        self.planned.is_empty() && self.waiting().is_none()
    }

    fn waiting(&self) -> Option<String> {
        let mut awaited = self.wanted.iter().filter(|wanted| wanted.is_awaited);
        let wanted = awaited.find(|wanted| wanted.left > 0)?;
        Some(format!("{} more of {}", wanted.left, wanted.name))
    }
}
