//! The mappings of a NAT and the sessions that keep them alive.
use super::policy::{Mapping, Policy};
use crate::net::{boxes::track::TcpTrack, packet::Transport};
use core::net::{IpAddr, SocketAddr};
use sansbox_core::Instant;
use std::collections::BTreeMap;

/// The destinations that one mapping serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scope {
    Any,
    Address(IpAddr),
    Endpoint(SocketAddr),
    /// Those that called an exposed host.
    Callers,
}

impl Scope {
    pub(super) const fn of(mapping: Mapping, remote: SocketAddr) -> Self {
        match mapping {
            Mapping::EndpointIndependent => Self::Any,
            Mapping::AddressDependent => Self::Address(remote.ip()),
            Mapping::AddressAndPortDependent => Self::Endpoint(remote),
        }
    }
}

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) transport: Transport,
    pub(super) inside: SocketAddr,
    pub(super) scope: Scope,
}

/// One outside endpoint in use.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) external: SocketAddr,
    /// By remote endpoint; never empty.
    pub(super) sessions: BTreeMap<SocketAddr, Session>,
}

/// What was said between an inside and a remote endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) expires: Instant,
    pub(super) tcp: TcpTrack,
}

/// All mappings. What has expired is gone once [`Table::expire`] was called with the time.
#[derive(Debug, Default)]
pub(super) struct Table {
    bindings: BTreeMap<Key, Binding>,
    externals: BTreeMap<(Transport, SocketAddr), Key>,
    /// Nothing expires sooner.
    earliest: Option<Instant>,
}

impl Table {
    /// Drops what has expired.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        self.earliest = None;
        let (externals, earliest) = (&mut self.externals, &mut self.earliest);
        self.bindings.retain(|key, binding| {
            binding.sessions.retain(|_, session| now < session.expires);
            let next = binding.sessions.values().map(|s| s.expires).min();
            match next {
                Some(next) => *earliest = Some(earliest.map_or(next, |e| e.min(next))),
                None => {
                    externals.remove(&(key.transport, binding.external));
                }
            }
            next.is_some()
        });
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Binding> {
        self.bindings.get(key)
    }

    /// The mapping behind an outside endpoint.
    pub(super) fn by_external(
        &self,
        transport: Transport,
        external: SocketAddr,
    ) -> Option<(Key, &Binding)> {
        let key = *self.externals.get(&(transport, external))?;
        Some((key, self.bindings.get(&key)?))
    }

    /// The outside endpoint under which `inside` talks to `remote`.
    pub(super) fn external_of(
        &self,
        transport: Transport,
        inside: SocketAddr,
        remote: SocketAddr,
    ) -> Option<SocketAddr> {
        let scope = Scope::Any;
        let first = Key {
            transport,
            inside,
            scope,
        };
        let of_inside = self.bindings.range(first..);
        let mut of_inside = of_inside
            .take_while(|(key, _)| first.transport == key.transport && first.inside == key.inside);
        let found = of_inside.find(|(_, binding)| binding.sessions.contains_key(&remote))?;
        Some(found.1.external)
    }

    pub(super) fn is_used(&self, transport: Transport, external: SocketAddr) -> bool {
        self.externals.contains_key(&(transport, external))
    }

    /// Outside endpoints of an inside host.
    pub(super) fn count_of(&self, transport: Transport, inside: IpAddr) -> usize {
        let is_of = |key: &&Key| key.transport == transport && key.inside.ip() == inside;
        self.bindings.keys().filter(is_of).count()
    }

    pub(super) fn len(&self) -> usize {
        self.bindings.len()
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.bindings.keys().copied().collect()
    }

    /// Stores a session, with its mapping if that is new. A session stored again is replaced.
    pub(super) fn store(
        &mut self,
        key: Key,
        external: SocketAddr,
        remote: SocketAddr,
        session: Session,
    ) {
        let expires = session.expires;
        self.earliest = Some(self.earliest.map_or(expires, |e| e.min(expires)));
        self.externals.insert((key.transport, external), key);
        let binding = self.bindings.entry(key).or_insert_with(|| Binding {
            external,
            sessions: BTreeMap::new(),
        });
        binding.sessions.insert(remote, session);
    }

    /// Gives a mapping another outside endpoint.
    pub(super) fn move_to(&mut self, key: &Key, external: SocketAddr) {
        if let Some(binding) = self.bindings.get_mut(key) {
            self.externals.remove(&(key.transport, binding.external));
            self.externals.insert((key.transport, external), *key);
            binding.external = external;
        }
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(binding) = self.bindings.remove(key) {
            self.externals.remove(&(key.transport, binding.external));
        }
    }
}

/// Which ports are given out, and to whom.
#[derive(Debug)]
pub(super) struct Pool {
    /// Where the search for the next free port begins.
    cursor: u16,
    paired: BTreeMap<IpAddr, IpAddr>,
}

impl Pool {
    pub(super) const fn new(policy: &Policy) -> Self {
        Self {
            cursor: *policy.port_range.start(),
            paired: BTreeMap::new(),
        }
    }

    pub(super) fn forget_pairs(&mut self) {
        self.paired.clear();
    }

    /// The outside address of a mapping of `inside`; `draw(n)` gives a number below n.
    pub(super) fn address(
        &mut self,
        policy: &Policy,
        inside: IpAddr,
        draw: impl FnOnce(u64) -> u64,
    ) -> Option<IpAddr> {
        use super::policy::Pooling::{Arbitrary, Own, Paired};
        let family = |ip: &&IpAddr| ip.is_ipv4() == inside.is_ipv4();
        let all: Vec<IpAddr> = policy.external.iter().filter(family).copied().collect();
        let next = self.paired.len();
        let index = match policy.pooling {
            Own => return all.into_iter().find(|ip| *ip == inside),
            Paired if self.paired.contains_key(&inside) => {
                return self.paired.get(&inside).copied();
            }
            Paired => next % all.len().max(1),
            Arbitrary if all.len() < 2 => 0,
            Arbitrary => draw(all.len() as u64) as usize,
        };
        let ip = all.get(index).copied()?;
        if policy.pooling == Paired {
            self.paired.insert(inside, ip);
        }
        Some(ip)
    }

    /// A port that is free; `draw(n)` gives a number below n.
    pub(super) fn port(
        &mut self,
        policy: &Policy,
        inside: u16,
        is_free: impl Fn(u16) -> bool,
        draw: impl FnOnce(u64) -> u64,
    ) -> Option<u16> {
        use super::policy::PortChoice::{Parity, Preserve, Random, Sequential};
        let range = &policy.port_range;
        let (first, last) = (*range.start(), *range.end());
        let span = u32::from(last.checked_sub(first)?) + 1;
        let start = match policy.ports {
            Preserve if range.contains(&inside) => inside,
            Random => first + draw(u64::from(span)) as u16,
            Preserve | Parity | Sequential => self.cursor,
        };
        let offset = u32::from(start.saturating_sub(first));
        let nth = |n: u32| first + ((offset + n) % span) as u16;
        let fits = |port: &u16| policy.ports != Parity || port % 2 == inside % 2;
        let port = (0..span)
            .map(nth)
            .filter(fits)
            .find(|port| is_free(*port))?;
        self.cursor = if port == last { first } else { port + 1 };
        Some(port)
    }
}
