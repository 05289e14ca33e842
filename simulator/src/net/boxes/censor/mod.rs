//! A censor: follows flows, looks into what their clients say first, and breaks, slows down or
//! reports those that its rules name.
//!
//! It stands anywhere on the way; who began a flow is its client. A flow whose begin it did not
//! see passes. What it keeps of a flow is bounded, and it forgets flows that are silent.
mod bucket;
mod cursor;
mod encrypted;
mod flow;
mod hello;
mod http;
mod quic;
mod rule;
mod sightings;
mod stream;
#[cfg(test)]
mod tests;

pub use encrypted::Exemptions;
pub use rule::{Contradiction, Names, Rule, Sight, Then, Throttle, When};
pub use sightings::{Sighting, Sightings};

use super::{
    craft,
    track::{Phase, opens},
};
use crate::net::{
    hop::{Hop, HopCx, HopFault, Lost, Way},
    packet::{Body, Packet, Transport},
};
use bucket::Bucket;
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use flow::{Answer, Ends, Flow, Side};
use sansbox_core::Instant;
use std::collections::BTreeMap;

/// A flow that is silent so long is forgotten.
const FLOW_IDLE: Duration = Duration::from_secs(10 * 60);
/// Most flows under watch; others pass.
const FLOWS_MAX: usize = 65_536;
/// Most residual blocks at once; later ones are not kept.
const RESIDUAL_MAX: usize = 65_536;

/// What looking at bytes gave.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look<T> {
    /// Not enough of them yet.
    More,
    /// It is not that.
    Never,
    Seen(T),
}

impl<T> Look<T> {
    /// When there will be no more bytes, too few are none.
    fn settled(self, is_last: bool) -> Self {
        match self {
            Self::More if is_last => Self::Never,
            Self::More | Self::Never | Self::Seen(_) => self,
        }
    }

    fn answer(&self, holds: impl FnOnce(&T) -> bool) -> Answer {
        match self {
            Self::More => Answer::NotYet,
            Self::Never => Answer::No,
            Self::Seen(seen) => holds(seen).into(),
        }
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Pass,
    Drop,
    Reset(Duration),
}

/// Everything between a client's address and a server's endpoint is treated so for a while.
#[derive(Clone, Copy, Debug)]
struct Residual {
    until: Instant,
    verdict: Verdict,
}

/// A censor.
#[derive(Debug)]
pub struct Censor {
    rules: Vec<Rule>,
    sight: Sight,
    flows: BTreeMap<Ends, Flow>,
    residual: BTreeMap<(IpAddr, SocketAddr), Residual>,
    sweeps_at: Instant,
}

impl Censor {
    /// A censor with these rules; the first that breaks a flow decides.
    ///
    /// # Errors
    /// When a rule contradicts itself.
    pub fn new(rules: Vec<Rule>) -> Result<Self, Contradiction> {
        rules.iter().try_for_each(Rule::check)?;
        Ok(Self {
            rules,
            sight: Sight::Stream,
            flows: BTreeMap::new(),
            residual: BTreeMap::new(),
            sweeps_at: Instant::ZERO + FLOW_IDLE,
        })
    }

    /// The same, which puts together as much as `sight` says.
    #[must_use]
    pub const fn with_sight(mut self, sight: Sight) -> Self {
        self.sight = sight;
        self
    }

    /// Flows under watch.
    #[must_use]
    pub fn flows(&self) -> usize {
        self.flows.len()
    }

    fn sweep(&mut self, now: Instant) {
        if now < self.sweeps_at {
            return;
        }
        self.sweeps_at = now + FLOW_IDLE;
        self.residual.retain(|_, block| now < block.until);
        self.flows.retain(|_, flow| {
            let lives = now < flow.expires;
            if !lives {
                flow.report(now, true);
            }
            lives
        });
    }

    /// The flow of a packet, and who of it sent the packet; a new one where one begins.
    fn find(&mut self, now: Instant, packet: &Packet) -> Option<(Ends, Side)> {
        let transport = packet.transport();
        let ends = |client, server| Ends {
            transport,
            client,
            server,
        };
        let forth = ends(packet.source, packet.destination);
        let back = ends(packet.destination, packet.source);
        let begins = match &packet.body {
            Body::Tcp(segment) => opens(segment.flags),
            Body::Udp(_) => true,
            Body::Icmp(_) | Body::Raw(_) => false,
        };
        let lives = |flow: &Flow| {
            let is_reused =
                begins && transport == Transport::Tcp && flow.tcp.phase() == Phase::Closing;
            now < flow.expires && !is_reused
        };
        if self.flows.get(&forth).is_some_and(lives) {
            return Some((forth, Side::Client));
        }
        if self.flows.get(&back).is_some_and(lives) {
            return Some((back, Side::Server));
        }
        if !begins || self.flows.len() >= FLOWS_MAX {
            return None;
        }
        for stale in [forth, back] {
            if let Some(mut flow) = self.flows.remove(&stale) {
                flow.report(now, true);
            }
        }
        let server = packet.destination.ip();
        let concerns = |rule: &Rule| rule.servers.is_empty() || rule.servers.contains(&server);
        let rules = self.rules.iter().enumerate();
        let open = rules.filter(|(_, rule)| concerns(rule)).map(|(n, _)| n);
        self.flows.insert(forth, Flow::new(forth, open.collect()));
        Some((forth, Side::Client))
    }

    /// Goes through the rules that are still open for a flow.
    fn judge(&mut self, cx: &mut HopCx<'_>, ends: Ends, packet: &Packet) -> Verdict {
        let Some(flow) = self.flows.get_mut(&ends) else {
            return Verdict::Pass;
        };
        if flow.is_cut {
            return Verdict::Drop;
        }
        let mut verdict = Verdict::Pass;
        for index in core::mem::take(&mut flow.open) {
            let Some(rule) = self.rules.get(index) else {
                continue;
            };
            let answer = flow.answer(&rule.when);
            if answer == Answer::NotYet || verdict != Verdict::Pass {
                flow.open.push(index);
                continue;
            }
            // Where nothing is left to chance, nothing is drawn.
            let acts = answer == Answer::Yes && (rule.is_certain() || cx.hazard(rule.per_million));
            if !acts {
                continue;
            }
            cx.note(
                packet.id,
                format!("{}: {}", verb(&rule.then), reason(&rule.when)),
            );
            match &rule.then {
                Then::Reset { after } => verdict = Verdict::Reset(*after),
                Then::Drop => verdict = Verdict::Drop,
                Then::Throttle(throttle) => flow.bucket = Some(Bucket::new(*throttle)),
                Then::Report(sightings) => flow.reports.push(sightings.clone()),
            }
            if let Some(time) = rule.residual
                && verdict != Verdict::Pass
                && self.residual.len() < RESIDUAL_MAX
            {
                let until = cx.now() + time;
                let between = (ends.client.ip(), ends.server);
                self.residual.insert(between, Residual { until, verdict });
            }
        }
        if verdict != Verdict::Pass {
            // What breaks a flow, breaks it once.
            flow.open.clear();
            flow.is_cut = verdict == Verdict::Drop;
        }
        verdict
    }

    /// Is this packet under a block that an earlier flow left behind?
    fn residual_of(&self, now: Instant, packet: &Packet) -> Option<Verdict> {
        let (source, destination) = (packet.source, packet.destination);
        let between = [(source.ip(), destination), (destination.ip(), source)];
        let mut blocks = between
            .iter()
            .filter_map(|between| self.residual.get(between));
        let block = blocks.find(|block| now < block.until)?;
        Some(block.verdict)
    }

    /// Forges a reset of each side for the other.
    fn reset(
        &self,
        cx: &mut HopCx<'_>,
        after: Duration,
        way: Way,
        side: Side,
        packet: &Packet,
        ends: Ends,
    ) {
        let Body::Tcp(segment) = &packet.body else {
            return;
        };
        if segment.flags.rst {
            return;
        }
        let next = segment.offset + segment.data.len() as u64;
        let flow = self.flows.get(&ends);
        let (client_next, server_next) = match (flow, side) {
            (Some(flow), _) => (flow.client_next, flow.server_next),
            (None, Side::Client) => (next, segment.ack),
            (None, Side::Server) => (segment.ack, next),
        };
        let client_way = if side == Side::Client {
            way
        } else {
            way.back()
        };
        let to_server = craft::reset(cx, ends.client, ends.server, client_next);
        let to_client = craft::reset(cx, ends.server, ends.client, server_next);
        let at = cx.now() + after;
        cx.forward_at(at, client_way, to_server);
        cx.forward_at(at, client_way.back(), to_client);
    }

    fn forward(&mut self, cx: &mut HopCx<'_>, way: Way, packet: Packet, ends: Ends) {
        let bucket = self
            .flows
            .get_mut(&ends)
            .and_then(|flow| flow.bucket.as_mut());
        match bucket.map(|bucket| bucket.admit(cx.now(), packet.len())) {
            None => cx.forward(way, packet),
            Some(Some(at)) => cx.forward_at(at, way, packet),
            Some(None) => cx.lose(packet, Lost::Queue),
        }
    }
}

const fn verb(then: &Then) -> &'static str {
    match then {
        Then::Reset { .. } => "reset",
        Then::Drop => "cut off",
        Then::Throttle(_) => "slowed down",
        Then::Report(_) => "reported",
    }
}

const fn reason(when: &When) -> &'static str {
    match when {
        When::Always => "as all",
        When::Transport(_) => "transport",
        When::TlsName(_) => "TLS name",
        When::TlsAlpn(_) => "TLS protocol",
        When::QuicName(_) => "QUIC name",
        When::HttpHost(_) => "HTTP host",
        When::LooksEncrypted(_) => "looks encrypted",
        When::Carried(_) => "bytes carried",
    }
}

impl Hop for Censor {
    fn kind(&self) -> &'static str {
        "censor"
    }

    fn pass(&mut self, cx: &mut HopCx<'_>, way: Way, packet: Packet) {
        let now = cx.now();
        self.sweep(now);
        if matches!(packet.body, Body::Icmp(_)) {
            return cx.forward(way, packet);
        }
        let residual = self.residual_of(now, &packet);
        let Some((ends, side)) = self.find(now, &packet) else {
            return match residual {
                Some(Verdict::Drop) => cx.lose(packet, Lost::Censored),
                Some(Verdict::Reset(_) | Verdict::Pass) | None => cx.forward(way, packet),
            };
        };
        let mut is_over = false;
        if let Some(flow) = self.flows.get_mut(&ends) {
            flow.see(way, side, &packet, self.sight);
            flow.expires = now + FLOW_IDLE;
            is_over = flow.tcp.phase() == Phase::Closing;
        }
        // A block that is there already is not prolonged by what it blocks.
        let verdict = match residual {
            Some(verdict) => verdict,
            None => self.judge(cx, ends, &packet),
        };
        if let Some(flow) = self.flows.get_mut(&ends) {
            flow.report(now, is_over || verdict != Verdict::Pass);
        }
        match verdict {
            Verdict::Drop => cx.lose(packet, Lost::Censored),
            Verdict::Pass => self.forward(cx, way, packet, ends),
            Verdict::Reset(after) => {
                cx.forward(way, packet.clone());
                self.reset(cx, after, way, side, &packet, ends);
            }
        }
    }

    fn fault(&mut self, _cx: &mut HopCx<'_>, fault: HopFault) -> bool {
        let is_forget = fault == HopFault::Forget;
        if is_forget {
            self.flows.clear();
            self.residual.clear();
        }
        is_forget
    }
}
