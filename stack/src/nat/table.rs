//! The mappings.
use super::list::{Links, List};
use super::types::{Closed, Config, Filtering, Inbound, MappingId, Outbound, Why};
use super::{Class, Drop, Drops, PEERS_MAX};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use sansbox_core::Instant;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug)]
struct Entry {
    generation: u32,
    is_live: bool,
    client: SocketAddr,
    deadline: Instant,
    /// What the client's latest datagram asked for.
    idle: Duration,
    /// When its timer fires: never after the deadline.
    armed: Instant,
    /// By recent use, among all and among those of its client.
    all: Links,
    own: Links,
    /// Whom the client wrote to, the latest last; empty unless filtering asks.
    peers: Vec<IpAddr>,
    /// The one server that was asked, while there was nothing but DNS, and how many of its answers
    /// are missing.
    questions: Option<(SocketAddr, u32)>,
    is_answered: bool,
}

#[derive(Debug)]
struct Client {
    mappings: List,
    len: usize,
}

/// Mappings by client address and port.
#[derive(Debug)]
pub struct Table {
    config: Config,
    entries: Vec<Entry>,
    free: Vec<u32>,
    by_client: BTreeMap<SocketAddr, u32>,
    clients: BTreeMap<IpAddr, Client>,
    recent: List,
    timers: BTreeSet<(Instant, u32)>,
    drops: Drops,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            entries: Vec::new(),
            free: Vec::new(),
            by_client: BTreeMap::new(),
            clients: BTreeMap::new(),
            recent: List::EMPTY,
            timers: BTreeSet::new(),
            drops: Drops::new(),
        }
    }

    /// What was dropped so far.
    #[must_use]
    pub const fn drops(&self) -> &Drops {
        &self.drops
    }

    /// Mappings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_client.len()
    }

    /// Whether there is no mapping.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_client.is_empty()
    }

    /// Mappings of one client address.
    #[must_use]
    pub fn len_of(&self, client: IpAddr) -> usize {
        self.clients.get(&client).map_or(0, |client| client.len)
    }

    /// Whose mapping it is, if it is not gone.
    #[must_use]
    pub fn client(&self, id: MappingId) -> Option<SocketAddr> {
        self.entry(id).map(|entry| entry.client)
    }

    /// The mapping of a client's address and port: whom an ICMP error of or for it concerns.
    #[must_use]
    pub fn find(&self, client: SocketAddr) -> Option<MappingId> {
        let index = *self.by_client.get(&client)?;
        let entry = self.entries.get(usize::try_from(index).ok()?)?;
        let generation = entry.generation;
        Some(MappingId { index, generation })
    }

    /// Takes a datagram of `client` to `remote`: finds its mapping or makes one, and keeps it
    /// alive.
    ///
    /// # Errors
    /// [`Drop::NoRoom`] if the limits allow no mapping at all.
    pub fn outbound(
        &mut self,
        now: Instant,
        client: SocketAddr,
        remote: SocketAddr,
        class: Class,
    ) -> Result<Outbound, Drop> {
        let found = self.by_client.get(&client).copied();
        let (index, is_new, evicted) = match found {
            Some(index) => {
                self.touch(index);
                (index, false, None)
            }
            None => {
                let evicted = self.make_room(client.ip())?;
                (self.open(now, client)?, true, evicted)
            }
        };
        let idle = class.idle(self.config.udp_timeout);
        let deadline = now + idle;
        let remembers = self.config.filtering == Filtering::AddressDependent;
        let entry = get(&mut self.entries, index).ok_or(Drop::NoRoom)?;
        entry.deadline = if entry.is_answered {
            deadline
        } else {
            entry.deadline.max(deadline)
        };
        (entry.idle, entry.is_answered) = (idle, false);
        entry.questions = match entry.questions {
            _ if class != Class::Dns => None,
            Some((server, count)) if server == remote => Some((server, count.saturating_add(1))),
            Some((_, 0)) => Some((remote, 1)),
            Some(_) => None,
            None => is_new.then_some((remote, 1)),
        };
        if remembers {
            remember(&mut entry.peers, remote.ip());
        }
        let id = MappingId {
            index,
            generation: entry.generation,
        };
        if is_new {
            self.arm(index, deadline);
        }
        Ok(Outbound {
            id,
            is_new,
            evicted,
        })
    }

    /// Takes a datagram of `remote` that came to the association of a mapping.
    ///
    /// # Errors
    /// [`Drop::Stale`] or [`Drop::Filtered`], counted already.
    pub fn inbound(
        &mut self,
        now: Instant,
        id: MappingId,
        remote: SocketAddr,
    ) -> Result<Inbound, Drop> {
        let (filtering, wins) = (self.config.filtering, self.config.udp_timeout.is_some());
        let Some(entry) = live(&mut self.entries, id) else {
            self.drops.count(Drop::Stale);
            return Err(Drop::Stale);
        };
        let is_known = || entry.peers.contains(&remote.ip());
        if filtering == Filtering::AddressDependent && !is_known() {
            self.drops.count(Drop::Filtered);
            return Err(Drop::Filtered);
        }
        let client = entry.client;
        let mut is_last = false;
        // Of nobody else: a stranger's datagram must not end the wait for the answer.
        if let Some((_, count)) = entry
            .questions
            .as_mut()
            .filter(|(server, _)| *server == remote)
            && *count > 0
        {
            *count -= 1;
            // A configured time is the user's word: then it is not cut short.
            is_last = *count == 0 && !wins;
        }
        if is_last {
            entry.is_answered = true;
            entry.deadline = now;
            self.arm(id.index, now);
        } else if self.config.refreshes_on_inbound && !entry.is_answered {
            entry.deadline = entry.deadline.max(now + entry.idle);
            self.touch(id.index);
        }
        Ok(Inbound { client, is_last })
    }

    /// Ends a mapping, because its association did. `None` if it is gone already.
    pub fn close(&mut self, id: MappingId) -> Option<Closed> {
        live(&mut self.entries, id)?;
        self.remove(id.index, Why::Closed)
    }

    /// When [`Self::expire`] is to be called: when the next mapping ends, or earlier.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Ends one mapping whose time is over; call it until `None`.
    pub fn expire(&mut self, now: Instant) -> Option<Closed> {
        loop {
            let (at, index) = self.timers.first().copied()?;
            if at > now {
                return None;
            }
            let entry = get(&mut self.entries, index)?;
            if entry.deadline <= now {
                let why = if entry.is_answered {
                    Why::Answered
                } else {
                    Why::Idle
                };
                return self.remove(index, why);
            }
            // It was used since: a packet moves the deadline only, not the timer.
            let deadline = entry.deadline;
            self.arm(index, deadline);
        }
    }

    fn entry(&self, id: MappingId) -> Option<&Entry> {
        let entry = self.entries.get(usize::try_from(id.index).ok()?)?;
        (entry.is_live && entry.generation == id.generation).then_some(entry)
    }

    /// Makes the mapping the most recently used.
    fn touch(&mut self, index: u32) {
        let Some(client) = get(&mut self.entries, index).map(|entry| entry.client.ip()) else {
            return;
        };
        self.recent
            .remove(&mut self.entries, index, |entry| &mut entry.all);
        self.recent
            .push(&mut self.entries, index, |entry| &mut entry.all);
        if let Some(client) = self.clients.get_mut(&client) {
            client
                .mappings
                .remove(&mut self.entries, index, |entry| &mut entry.own);
            client
                .mappings
                .push(&mut self.entries, index, |entry| &mut entry.own);
        }
    }

    /// Ends the mapping that has to go for a new one of `client`, if the limits ask for one.
    fn make_room(&mut self, client: IpAddr) -> Result<Option<Closed>, Drop> {
        let limits = (
            self.config.sessions_max,
            self.config.sessions_per_client_max,
        );
        if limits.0 == 0 || limits.1 == 0 {
            self.drops.count(Drop::NoRoom);
            return Err(Drop::NoRoom);
        }
        let own = self.clients.get(&client);
        let oldest = own.filter(|own| own.len >= limits.1);
        if let Some(oldest) = oldest.and_then(|own| own.mappings.first()) {
            return Ok(self.remove(oldest, Why::EvictedByClient));
        }
        if self.len() < limits.0 {
            return Ok(None);
        }
        let oldest = self.recent.first().ok_or(Drop::NoRoom)?;
        Ok(self.remove(oldest, Why::Evicted))
    }

    fn open(&mut self, now: Instant, client: SocketAddr) -> Result<u32, Drop> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.entries.len()).map_err(|_| Drop::NoRoom)?;
                self.entries.push(Entry::new(client));
                index
            }
        };
        let entry = get(&mut self.entries, index).ok_or(Drop::NoRoom)?;
        entry.is_live = true;
        entry.client = client;
        (entry.deadline, entry.armed) = (now, Instant::FAR);
        entry.questions = None;
        entry.is_answered = false;
        self.by_client.insert(client, index);
        self.recent
            .push(&mut self.entries, index, |entry| &mut entry.all);
        let own = self.clients.entry(client.ip()).or_insert(Client {
            mappings: List::EMPTY,
            len: 0,
        });
        own.len += 1;
        own.mappings
            .push(&mut self.entries, index, |entry| &mut entry.own);
        Ok(index)
    }

    fn remove(&mut self, index: u32, why: Why) -> Option<Closed> {
        self.recent
            .remove(&mut self.entries, index, |entry| &mut entry.all);
        let client = get(&mut self.entries, index)?.client;
        if let Some(own) = self.clients.get_mut(&client.ip()) {
            own.mappings
                .remove(&mut self.entries, index, |entry| &mut entry.own);
            own.len -= 1;
            if own.len == 0 {
                self.clients.remove(&client.ip());
            }
        }
        self.by_client.remove(&client);
        let entry = get(&mut self.entries, index)?;
        self.timers.remove(&(entry.armed, index));
        entry.peers = Vec::new();
        entry.is_live = false;
        let id = MappingId {
            index,
            generation: entry.generation,
        };
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(index);
        Some(Closed { id, client, why })
    }

    fn arm(&mut self, index: u32, at: Instant) {
        if let Some(entry) = get(&mut self.entries, index) {
            self.timers.remove(&(entry.armed, index));
            entry.armed = at;
            self.timers.insert((at, index));
        }
    }
}

impl Entry {
    fn new(client: SocketAddr) -> Self {
        Self {
            generation: 0,
            is_live: false,
            client,
            deadline: Instant::ZERO,
            idle: Duration::ZERO,
            armed: Instant::FAR,
            all: Links::NONE,
            own: Links::NONE,
            peers: Vec::new(),
            questions: None,
            is_answered: false,
        }
    }
}

fn get(entries: &mut [Entry], index: u32) -> Option<&mut Entry> {
    entries.get_mut(usize::try_from(index).ok()?)
}

fn live(entries: &mut [Entry], id: MappingId) -> Option<&mut Entry> {
    let entry = get(entries, id.index)?;
    (entry.is_live && entry.generation == id.generation).then_some(entry)
}

/// Puts `peer` last; the first is forgotten when there are too many.
fn remember(peers: &mut Vec<IpAddr>, peer: IpAddr) {
    if let Some(at) = peers.iter().rposition(|known| *known == peer) {
        if let Some(behind) = peers.get_mut(at..) {
            behind.rotate_left(1);
        }
        return;
    }
    if peers.len() >= PEERS_MAX {
        peers.remove(0);
    }
    peers.push(peer);
}
