//! What the network knows of each host.
use super::{Core, clock::Clock, site::SiteId};
use crate::{fault::host::SlowReader, host::HostId, rng::Streams, tcp::Tier};
use core::net::{IpAddr, SocketAddr};
use sansbox_core::{Instant, Refusal};

/// First port that systems choose by themselves.
const EPHEMERAL_PORT_FIRST: u16 = 40_000;

pub(super) struct HostInfo {
    name: Box<str>,
    site: SiteId,
    addresses: Vec<IpAddr>,
    /// Those it had at first: one that is lost later is its own in pictures.
    first_addresses: Vec<IpAddr>,
    next_port: u16,
    /// Nothing that arrives is heard: the machine sleeps, or is dead.
    is_deaf: bool,
    clock: Clock,
    slow_reader: Option<SlowReader>,
    files_max: Option<usize>,
    tier: Option<Tier>,
}

impl Core {
    pub(crate) fn add_host(&mut self, site: SiteId, name: &str, addresses: &[IpAddr]) -> HostId {
        let id = HostId(u32::try_from(self.hosts.len()).expect("fewer than 2^32 hosts"));
        for ip in addresses {
            self.owners.entry(*ip).or_insert(id);
        }
        self.hosts.push(HostInfo {
            name: name.into(),
            site,
            addresses: addresses.to_vec(),
            first_addresses: addresses.to_vec(),
            next_port: EPHEMERAL_PORT_FIRST,
            is_deaf: false,
            clock: Clock::default(),
            slow_reader: None,
            files_max: None,
            tier: None,
        });
        id
    }

    pub(crate) fn host_name(&self, host: HostId) -> &str {
        self.hosts.get(host.0 as usize).map_or("", |h| &h.name)
    }

    pub(crate) fn host_names(&self) -> Vec<String> {
        let names = self.hosts.iter().map(|host| host.name.as_ref());
        names.map(str::to_owned).collect()
    }

    /// The addresses that each host had at first.
    pub(crate) fn host_addresses(&self) -> Vec<Vec<IpAddr>> {
        let all = self.hosts.iter().map(|host| host.first_addresses.clone());
        all.collect()
    }

    /// The last port that the system chose.
    pub(crate) fn last_port(&self, host: HostId) -> u16 {
        let host = self.hosts.get(host.0 as usize);
        host.map_or(0, |host| host.next_port.saturating_sub(1))
    }

    pub(crate) fn host_ids(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..u32::try_from(self.hosts.len()).unwrap_or(u32::MAX)).map(HostId)
    }

    /// Where a host stands.
    pub(crate) fn site(&self, host: HostId) -> SiteId {
        let host = self.hosts.get(host.0 as usize);
        host.map_or(SiteId(u32::MAX), |host| host.site)
    }

    pub(crate) fn has_address(&self, host: HostId, ip: IpAddr) -> bool {
        let host = self.hosts.get(host.0 as usize);
        host.is_some_and(|host| host.addresses.contains(&ip))
    }

    /// Does a host hear nothing that arrives?
    pub(crate) fn is_deaf(&self, host: HostId) -> bool {
        let host = self.hosts.get(host.0 as usize);
        host.is_some_and(|host| host.is_deaf)
    }

    /// Whose address this is; the first host's that has it.
    pub(crate) fn owner(&self, ip: IpAddr) -> Option<HostId> {
        self.owners.get(&ip).copied()
    }

    /// What a host's TCP stack needs: the host's name, the streams, the name of the next packet.
    pub(crate) fn stack_parts(&mut self, host: HostId) -> (&str, &mut Streams, &mut u64) {
        let name = self.hosts.get(host.0 as usize).map_or("", |h| &*h.name);
        (name, &mut self.streams, &mut self.sites.next_packet)
    }

    /// A port that the system chooses.
    pub(crate) fn ephemeral_port(&mut self, host: HostId) -> u16 {
        self.hosts.get_mut(host.0 as usize).map_or(0, |info| {
            let port = info.next_port;
            info.next_port = port.checked_add(1).unwrap_or(EPHEMERAL_PORT_FIRST);
            port
        })
    }

    /// The address of `host` that talks to `to`.
    pub(crate) fn local_ip(&self, host: HostId, to: IpAddr) -> Option<IpAddr> {
        let addresses = &self.hosts.get(host.0 as usize)?.addresses;
        let same_family = |ip: &&IpAddr| ip.is_ipv4() == to.is_ipv4();
        addresses.iter().find(same_family).copied()
    }

    /// A fresh local address for a connection to `to`.
    pub(crate) fn local_addr(
        &mut self,
        host: HostId,
        to: SocketAddr,
    ) -> Result<SocketAddr, Refusal> {
        let ip = self
            .local_ip(host, to.ip())
            .ok_or(Refusal::NetworkUnreachable)?;
        Ok(SocketAddr::new(ip, self.ephemeral_port(host)))
    }

    fn info_mut(&mut self, host: HostId) -> Option<&mut HostInfo> {
        self.hosts.get_mut(host.0 as usize)
    }

    pub(crate) fn set_deaf(&mut self, host: HostId, is_deaf: bool) {
        if let Some(info) = self.info_mut(host) {
            info.is_deaf = is_deaf;
        }
    }

    /// How much of TCP there is on a host.
    pub(crate) fn tier(&self, host: HostId) -> Tier {
        let info = self.hosts.get(host.0 as usize);
        info.and_then(|info| info.tier).unwrap_or(self.tier)
    }

    pub(crate) fn set_tier(&mut self, host: HostId, tier: Tier) {
        if let Some(info) = self.info_mut(host) {
            info.tier = Some(tier);
        }
    }

    /// What a host's clock shows.
    pub(crate) fn host_now(&self, host: HostId) -> Instant {
        let info = self.hosts.get(host.0 as usize);
        info.map_or(self.now, |info| info.clock.shows(self.now))
    }

    /// When, in the world, a host's clock shows a time.
    pub(crate) fn world_time(&self, host: HostId, at: Instant) -> Instant {
        let info = self.hosts.get(host.0 as usize);
        info.map_or(at, |info| info.clock.when(at))
    }

    pub(crate) fn clock_mut(&mut self, host: HostId, change: impl FnOnce(&mut Clock)) {
        if let Some(info) = self.info_mut(host) {
            change(&mut info.clock);
        }
    }

    pub(crate) fn slow_reader(&mut self, host: HostId) -> Option<&mut SlowReader> {
        self.info_mut(host)?.slow_reader.as_mut()
    }

    pub(crate) fn set_slow_reader(&mut self, host: HostId, reader: Option<SlowReader>) {
        if let Some(info) = self.info_mut(host) {
            info.slow_reader = reader;
        }
    }

    pub(crate) fn files_max(&self, host: HostId) -> Option<usize> {
        self.hosts.get(host.0 as usize)?.files_max
    }

    pub(crate) fn set_files_max(&mut self, host: HostId, max: Option<usize>) {
        if let Some(info) = self.info_mut(host) {
            info.files_max = max;
        }
    }

    pub(crate) fn addresses(&self, host: HostId) -> &[IpAddr] {
        let info = self.hosts.get(host.0 as usize);
        info.map_or(&[], |info| &info.addresses)
    }

    pub(crate) fn remove_address(&mut self, host: HostId, ip: IpAddr) {
        if let Some(info) = self.info_mut(host) {
            info.addresses.retain(|own| *own != ip);
        }
        self.find_owner(ip);
    }

    pub(crate) fn add_address(&mut self, host: HostId, ip: IpAddr) {
        if let Some(info) = self.info_mut(host)
            && !info.addresses.contains(&ip)
        {
            info.addresses.push(ip);
        }
        self.find_owner(ip);
    }

    /// Somebody has lost or got an address.
    fn find_owner(&mut self, ip: IpAddr) {
        let owner = self.host_ids().find(|host| self.has_address(*host, ip));
        match owner {
            Some(host) => self.owners.insert(ip, host),
            None => self.owners.remove(&ip),
        };
    }
}
