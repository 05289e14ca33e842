//! Lanes, entries and packets of a picture: what does not know of machines.
use crate::{
    host::HostId,
    transcript::{Detail, Entry, Head, Place, Tag},
};
use core::net::{IpAddr, SocketAddr};
use sansbox_core::Instant;
use std::collections::BTreeMap;

/// Most lanes of clients, and of upstreams; the others share one more.
const LANES_MAX: usize = 12;

/// The lane of the recorded machines.
pub(super) const OURS: HostId = HostId(0);

/// When, and behind what else at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    at: Instant,
    order: u64,
}

/// Whose lane it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Far {
    Client(IpAddr),
    Upstream(SocketAddr),
}

/// What was drawn.
#[derive(Debug)]
pub(super) struct Ink {
    pub(super) hosts: Vec<String>,
    pub(super) addresses: Vec<Vec<IpAddr>>,
    entries: Vec<(Moment, Entry)>,
    lanes: BTreeMap<Far, HostId>,
    /// The lanes of clients and upstreams that have none of their own.
    others: [Option<HostId>; 2],
    order: u64,
    packets: u64,
    sockets: u64,
}

impl Ink {
    pub(super) fn new() -> Self {
        Self {
            hosts: vec!["sansbox".into()],
            addresses: vec![Vec::new()],
            entries: Vec::new(),
            lanes: BTreeMap::new(),
            others: [None; 2],
            order: 0,
            packets: 0,
            sockets: 0,
        }
    }

    /// A moment behind all others at this time.
    pub(super) const fn moment(&mut self, at: Instant) -> Moment {
        self.order += 1;
        let order = self.order;
        Moment { at, order }
    }

    /// A number for a socket.
    pub(super) const fn socket(&mut self) -> u64 {
        self.sockets += 1;
        self.sockets
    }

    /// The lane of somebody; `name` is what an upstream was resolved from.
    pub(super) fn lane(&mut self, far: Far, name: Option<&str>) -> HostId {
        if let Some(lane) = self.lanes.get(&far) {
            return *lane;
        }
        let is_alike = |known: &&Far| {
            matches!((known, far), (Far::Client(_), Far::Client(_)))
                || matches!((known, far), (Far::Upstream(_), Far::Upstream(_)))
        };
        let nth = self.lanes.keys().filter(is_alike).count();
        let (ip, own, shared, kind) = match far {
            Far::Client(ip) if nth == 0 => (ip, "client".to_owned(), "other clients", 0),
            Far::Client(ip) => (ip, format!("client {}", nth + 1), "other clients", 0),
            Far::Upstream(to) => {
                let name = name.map(|name| format!("{name}:{}", to.port()));
                let own = name.unwrap_or_else(|| to.to_string());
                (to.ip(), own, "other upstreams", 1)
            }
        };
        let lane = if nth < LANES_MAX {
            self.host(own)
        } else if let Some(lane) = self.others.get(kind).copied().flatten() {
            lane
        } else {
            let lane = self.host(shared.to_owned());
            if let Some(place) = self.others.get_mut(kind) {
                *place = Some(lane);
            }
            lane
        };
        self.lanes.insert(far, lane);
        self.owns(lane, ip);
        lane
    }

    fn host(&mut self, name: String) -> HostId {
        let id = HostId(u32::try_from(self.hosts.len()).unwrap_or(u32::MAX));
        self.hosts.push(name);
        self.addresses.push(Vec::new());
        id
    }

    /// A lane has this address.
    pub(super) fn owns(&mut self, lane: HostId, ip: IpAddr) {
        let Some(all) = self.addresses.get_mut(lane.0 as usize) else {
            return;
        };
        if !all.contains(&ip) {
            all.push(ip);
        }
    }

    /// Something on the lane of the machines.
    pub(super) fn note(&mut self, at: Instant, (tag, number): (Tag, u64), bytes: &[u8]) {
        let moment = self.moment(at);
        self.push(moment, (OURS, tag, number), None, bytes);
    }

    /// A packet, as it was seen on the machines' host: it leaves and arrives in the same moment.
    pub(super) fn packet(
        &mut self,
        moment: Moment,
        (from, to): (HostId, HostId),
        head: Head,
        payload: &[u8],
    ) {
        self.packets += 1;
        let id = self.packets;
        let detail = |head| Some(Box::new(Detail::Packet(head)));
        self.push(moment, (from, Tag::PacketSent, id), detail(head), payload);
        self.push(moment, (to, Tag::PacketArrived, id), detail(head), payload);
    }

    fn push(
        &mut self,
        moment: Moment,
        (host, tag, number): (HostId, Tag, u64),
        detail: Option<Box<Detail>>,
        bytes: &[u8],
    ) {
        let entry = Entry {
            at: moment.at,
            place: Place::Host(host),
            tag,
            number,
            decisions: 0,
            bytes: bytes.into(),
            detail,
            is_sketch: true,
        };
        self.entries.push((moment, entry));
    }

    /// All that was drawn, in order of time.
    pub(super) fn entries(&mut self) -> Vec<Entry> {
        let mut all = core::mem::take(&mut self.entries);
        all.sort_by_key(|(moment, _)| *moment);
        all.into_iter().map(|(_, entry)| entry).collect()
    }
}
