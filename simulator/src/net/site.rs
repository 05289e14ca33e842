//! Sites: where hosts stand, and the hops between them and everybody else.
use super::{
    Core,
    hop::{Hop, HopCx, HopFault, HopOutput, Way},
    packet::Packet,
};
use crate::{event::Event, host::HostId, rng::StreamId, rng::Streams};
use core::net::IpAddr;
use sansbox_core::Instant;

/// A site of a world, in the order they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub(crate) u32);

/// A hop of a world: it names the hop's random stream and its entries in the transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HopId(pub(crate) u32);

struct Site {
    name: Box<str>,
    /// Inside first.
    hops: Vec<HopId>,
    /// The host that gets all that leaves the site, in place of the world.
    gateway: Option<HostId>,
}

struct Placed {
    hop: Box<dyn Hop>,
    /// Where, for people.
    name: Box<str>,
    site: SiteId,
    index: usize,
    stream: StreamId,
    /// When its timer event is due.
    armed: Option<Instant>,
}

/// What is where on the way of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It leaves a host.
    Leave(HostId),
    /// It comes to a hop.
    Hop(HopId, Way),
    /// It is behind the last hop of a site, on its way to another.
    Cross(SiteId),
    /// It is in front of the outermost hop of a site.
    Enter(SiteId),
    /// It is behind the innermost hop of a site.
    Arrive(SiteId),
}

/// A packet on its way.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) packet: Packet,
    pub(crate) stage: Stage,
}

/// All sites and hops.
#[derive(Default)]
pub(crate) struct Sites {
    sites: Vec<Site>,
    hops: Vec<Placed>,
    /// Where hops leave what they want done.
    outputs: Vec<HopOutput>,
    pub(crate) next_packet: u64,
}

fn number(len: usize) -> u32 {
    u32::try_from(len).expect("fewer than 2^32 of anything")
}

impl Sites {
    pub(crate) fn add(&mut self, name: &str) -> SiteId {
        let id = SiteId(number(self.sites.len()));
        self.sites.push(Site {
            name: name.into(),
            hops: Vec::new(),
            gateway: None,
        });
        id
    }

    pub(crate) fn set_gateway(&mut self, site: SiteId, host: HostId) {
        if let Some(site) = self.sites.get_mut(site.0 as usize) {
            site.gateway = Some(host);
        }
    }

    /// The host that is the only way out of a site.
    pub(crate) fn gateway(&self, site: SiteId) -> Option<HostId> {
        self.sites.get(site.0 as usize)?.gateway
    }

    /// The site that a host is the only way out of.
    pub(crate) fn behind_gateway(&self, host: HostId) -> Option<SiteId> {
        let at = self.sites.iter().position(|s| s.gateway == Some(host))?;
        Some(SiteId(number(at)))
    }

    /// One more hop on the outside of a site; `class`: the class of faults that put it there.
    pub(crate) fn add_hop(
        &mut self,
        streams: &mut Streams,
        site: SiteId,
        hop: Box<dyn Hop>,
        class: Option<&str>,
    ) -> HopId {
        let id = HopId(number(self.hops.len()));
        let Some(at) = self.sites.get_mut(site.0 as usize) else {
            return id;
        };
        let index = at.hops.len();
        let name = format!("{}/{}-{index}", at.name, hop.kind());
        let stream = streams.open(&match class {
            Some(class) => format!("fault/{class}/{}", at.name),
            None => format!("hop/{name}"),
        });
        at.hops.push(id);
        self.hops.push(Placed {
            hop,
            name: name.into(),
            site,
            index,
            stream,
            armed: None,
        });
        id
    }

    pub(crate) fn name(&self, site: SiteId) -> &str {
        let site = self.sites.get(site.0 as usize);
        site.map_or("", |site| &site.name)
    }

    pub(crate) fn len(&self) -> u32 {
        number(self.sites.len())
    }

    pub(crate) const fn has_hops(&self) -> bool {
        !self.hops.is_empty()
    }

    pub(crate) fn hops(&self, site: SiteId) -> &[HopId] {
        let site = self.sites.get(site.0 as usize);
        site.map_or(&[], |site| &site.hops)
    }

    pub(crate) fn hop_names(&self) -> Vec<String> {
        let names = self.hops.iter().map(|placed| placed.name.as_ref());
        names.map(str::to_owned).collect()
    }

    /// The site one of whose hops has this address.
    pub(crate) fn owner(&self, ip: IpAddr) -> Option<SiteId> {
        let owner = self.hops.iter().find(|placed| placed.hop.owns(ip));
        owner.map(|placed| placed.site)
    }

    /// What follows a hop.
    pub(crate) fn behind(&self, hop: HopId, way: Way) -> Option<Stage> {
        let placed = self.hops.get(hop.0 as usize)?;
        let hops = self.hops(placed.site);
        Some(match way {
            Way::Out => match hops.get(placed.index + 1) {
                Some(next) => Stage::Hop(*next, way),
                None => Stage::Cross(placed.site),
            },
            Way::In => match placed.index.checked_sub(1).and_then(|i| hops.get(i)) {
                Some(next) => Stage::Hop(*next, way),
                None => Stage::Arrive(placed.site),
            },
        })
    }

    /// What a packet meets first when it leaves the hosts of a site.
    pub(crate) fn first_out(&self, site: SiteId) -> Stage {
        let first = self.hops(site).first();
        first.map_or(Stage::Cross(site), |hop| Stage::Hop(*hop, Way::Out))
    }

    /// What a packet meets first when it enters a site.
    pub(crate) fn first_in(&self, site: SiteId) -> Stage {
        let last = self.hops(site).last();
        last.map_or(Stage::Arrive(site), |hop| Stage::Hop(*hop, Way::In))
    }
}

impl Core {
    /// Lets a hop do something; returns what it wants done, to be given back by
    /// [`Self::keep_outputs`].
    pub(crate) fn with_hop<R>(
        &mut self,
        id: HopId,
        act: impl FnOnce(&mut dyn Hop, &mut HopCx<'_>) -> R,
    ) -> Option<(R, Vec<HopOutput>)> {
        let mut outputs = core::mem::take(&mut self.sites.outputs);
        let placed = self.sites.hops.get_mut(id.0 as usize)?;
        let next = &mut self.sites.next_packet;
        let mut cx = HopCx::new(
            self.now,
            &mut self.streams,
            placed.stream,
            next,
            &mut outputs,
        );
        let result = act(&mut *placed.hop, &mut cx);
        let wanted = placed.hop.poll_timeout();
        if let Some(at) = wanted
            && placed.armed.is_none_or(|armed| at < armed)
        {
            placed.armed = Some(at);
            self.queue.push(at.max(self.now), Event::HopTimer(id));
        }
        Some((result, outputs))
    }

    /// The buffer of outputs, for the next hop.
    pub(crate) fn keep_outputs(&mut self, outputs: Vec<HopOutput>) {
        if outputs.capacity() > self.sites.outputs.capacity() {
            self.sites.outputs = outputs;
        }
    }

    /// A hop's timer event has come: is the hop's deadline there as well?
    pub(crate) fn hop_is_due(&mut self, id: HopId) -> bool {
        let now = self.now;
        let Some(placed) = self.sites.hops.get_mut(id.0 as usize) else {
            return false;
        };
        if placed.armed.is_some_and(|armed| armed <= now) {
            placed.armed = None;
        }
        match placed.hop.poll_timeout() {
            Some(at) if at <= now => true,
            Some(at) if placed.armed.is_none_or(|armed| at < armed) => {
                placed.armed = Some(at);
                self.queue.push(at, Event::HopTimer(id));
                false
            }
            Some(_) | None => false,
        }
    }

    /// Does something to a hop from outside.
    pub(crate) fn hop_fault(
        &mut self,
        site: SiteId,
        index: usize,
        fault: HopFault,
    ) -> Option<(HopId, bool, Vec<HopOutput>)> {
        let id = *self.sites.hops(site).get(index)?;
        let (meant, outputs) = self.with_hop(id, |hop, cx| hop.fault(cx, fault))?;
        Some((id, meant, outputs))
    }
}
