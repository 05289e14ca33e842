//! Which mapping a packet gets, and what it may enter by.
use super::{
    MAPPINGS_MAX, Nat, Refused, SESSIONS_PER_MAPPING_MAX, flags,
    policy::{Filtering, Stray},
    table::{Binding, Key, Scope, Session},
};
use crate::net::{
    boxes::track::{Phase, TcpTrack, opens},
    hop::{HopCx, Lost, Way},
    packet::{Flags, Packet, Transport},
};
use core::net::SocketAddr;
use sansbox_core::Instant;

impl Nat {
    /// What the mapping of a packet from inside is for: an answer to a caller, or an own flow.
    fn key_of(&self, packet: &Packet) -> Key {
        let (transport, inside, remote) = (packet.transport(), packet.source, packet.destination);
        let key = |scope| Key {
            transport,
            inside,
            scope,
        };
        let answers = |binding: &Binding| binding.sessions.contains_key(&remote);
        let callers = key(Scope::Callers);
        if self.table.get(&callers).is_some_and(answers) {
            return callers;
        }
        key(Scope::of(self.policy.mapping, remote))
    }

    /// The outside endpoint from which a packet goes to its destination; made when there is none.
    pub(super) fn bind(
        &mut self,
        cx: &mut HopCx<'_>,
        packet: &Packet,
    ) -> Result<SocketAddr, Refused> {
        let (remote, flags) = (packet.destination, flags(packet));
        let key = self.key_of(packet);
        let binding = self.table.get(&key);
        let known = binding.and_then(|b| b.sessions.get(&remote)).copied();
        let mut session = match (known, flags) {
            (Some(known), _) => known,
            (None, Some(flags)) if !opens(flags) => match self.policy.stray {
                Stray::Adopt if !flags.rst => new_session(TcpTrack::adopted()),
                Stray::Adopt | Stray::Drop | Stray::Reset => return Err(Refused::Stray),
            },
            (None, _) => new_session(TcpTrack::default()),
        };
        let full = |b: &Binding| known.is_none() && b.sessions.len() >= SESSIONS_PER_MAPPING_MAX;
        let external = match binding {
            Some(binding) if full(binding) => return Err(Refused::Exhausted),
            Some(binding) => binding.external,
            None => self.allocate(cx, key).ok_or(Refused::Exhausted)?,
        };
        let refreshes = known.is_none() || self.policy.refresh.outbound();
        self.touch(cx.now(), &mut session, flags, Way::Out, refreshes);
        self.table.store(key, external, remote, session);
        Ok(external)
    }

    /// A packet of a session passes: how long does it live now?
    fn touch(
        &self,
        now: Instant,
        session: &mut Session,
        flags: Option<Flags>,
        way: Way,
        refreshes: bool,
    ) {
        let Some(flags) = flags else {
            if refreshes {
                session.expires = now + self.policy.udp_expiry;
            }
            return;
        };
        session.tcp.see(way, flags);
        let lives = match session.tcp.phase() {
            Phase::Open => self.policy.tcp_established,
            Phase::Opening | Phase::Closing => self.policy.tcp_transitory,
        };
        let expires = now + lives;
        // RFC 7857 section 7.1: a RST refreshes nothing, it only shortens.
        session.expires = if flags.rst {
            session.expires.min(expires)
        } else {
            expires
        };
    }

    /// An outside endpoint for a new mapping.
    fn allocate(&mut self, cx: &mut HopCx<'_>, key: Key) -> Option<SocketAddr> {
        let host = key.inside.ip();
        let is_over = |max| self.table.count_of(key.transport, host) >= max;
        let is_full = self.policy.ports_per_host.is_some_and(is_over);
        if self.table.len() >= MAPPINGS_MAX || is_full {
            return None;
        }
        self.free_endpoint(cx, key)
    }

    pub(super) fn free_endpoint(&mut self, cx: &mut HopCx<'_>, key: Key) -> Option<SocketAddr> {
        let (transport, inside) = (key.transport, key.inside);
        let (pool, policy, table) = (&mut self.pool, &self.policy, &self.table);
        let ip = pool.address(policy, inside.ip(), |n| cx.below(n))?;
        let is_free = |port| !table.is_used(transport, SocketAddr::new(ip, port));
        let port = pool.port(policy, inside.port(), is_free, |n| cx.below(n))?;
        Some(SocketAddr::new(ip, port))
    }

    /// Where inside a packet goes that comes from `remote` to an outside endpoint.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        packet: &Packet,
        remote: SocketAddr,
    ) -> Result<SocketAddr, Lost> {
        let (transport, flags) = (packet.transport(), flags(packet));
        let external = packet.destination;
        let found = self.table.by_external(transport, external);
        let is_new = found.is_none();
        let key = match found {
            Some((key, _)) => key,
            None => self
                .callers_of(transport, external)
                .ok_or(Lost::NoMapping)?,
        };
        let binding = found.map(|(_, binding)| binding);
        let known = binding.and_then(|b| b.sessions.get(&remote)).copied();
        let lets_in = |b: &Binding| passes(self.policy.filtering, b, remote);
        let is_exposed = key.scope == Scope::Callers;
        if known.is_none() && !is_exposed && !binding.is_some_and(lets_in) {
            return Err(Lost::Filtered);
        }
        let is_full = |b: &Binding| b.sessions.len() >= SESSIONS_PER_MAPPING_MAX;
        let mut session = match (known, flags) {
            (Some(known), _) => known,
            (None, Some(flags)) if !opens(flags) => return Err(Lost::Filtered),
            // RFC 7857 section 7: what a filter lets in, but nobody inside spoke to, passes and
            // keeps nothing alive.
            (None, None) if !is_exposed => return Ok(key.inside),
            (None, _) if binding.is_some_and(is_full) => return Err(Lost::Filtered),
            (None, _) if is_new && self.table.len() >= MAPPINGS_MAX => return Err(Lost::Filtered),
            (None, _) => new_session(TcpTrack::default()),
        };
        let refreshes = known.is_none() || self.policy.refresh.inbound();
        self.touch(now, &mut session, flags, Way::In, refreshes);
        self.table.store(key, external, remote, session);
        Ok(key.inside)
    }

    /// What the mapping of those is for who call an exposed host.
    fn callers_of(&self, transport: Transport, external: SocketAddr) -> Option<Key> {
        let host = *self.policy.exposed.get(&external.ip())?;
        Some(Key {
            transport,
            inside: SocketAddr::new(host, external.port()),
            scope: Scope::Callers,
        })
    }
}

/// Does a filter let `remote` in through this mapping?
fn passes(filtering: Filtering, binding: &Binding, remote: SocketAddr) -> bool {
    match filtering {
        Filtering::EndpointIndependent => true,
        Filtering::AddressDependent => binding.sessions.keys().any(|to| to.ip() == remote.ip()),
        Filtering::AddressAndPortDependent => binding.sessions.contains_key(&remote),
    }
}

const fn new_session(tcp: TcpTrack) -> Session {
    Session {
        expires: Instant::ZERO,
        tcp,
    }
}
