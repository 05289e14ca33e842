//! An active prober: takes from a censor's letter box what clients said first, and some time
//! later, from its own address, says the same and variations of it to the servers; writes down
//! what they do, beside what the sites do that they should look like.
mod attempt;
mod probe;
#[cfg(test)]
mod tests;

pub use probe::{Difference, Ending, Finding, Findings, Probe, Reaction};

use super::censor::{Sighting, Sightings};
use crate::{
    host::{Cx, DialId, Host, HostInput, SocketId, UdpId},
    net::packet::Transport,
};
use attempt::{Attempt, Place};
use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use sansbox_core::Instant;
use std::collections::BTreeMap;

/// What a prober does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it says.
    pub probes: Vec<Probe>,
    /// The sites that servers should look like: each probe goes to both.
    pub decoys: BTreeMap<SocketAddr, SocketAddr>,
    /// How often it looks into the letter box.
    pub looks_every: Duration,
    /// When it looks for the last time, from the start of the world.
    pub looks_until: Duration,
    /// It lets so much time pass behind a look, at random up to twice as much.
    pub delay: Duration,
    /// How long it waits for a server to end a connection.
    pub patience: Duration,
    /// First flights to one server that it cares for.
    pub flights_per_server: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            probes: Probe::all(),
            decoys: BTreeMap::new(),
            looks_every: Duration::from_secs(10),
            looks_until: Duration::from_secs(60),
            delay: Duration::from_secs(1),
            patience: Duration::from_secs(30),
            flights_per_server: 3,
        }
    }
}

/// A probe of one server, until its finding is complete.
#[derive(Debug)]
struct Job {
    at: Instant,
    transport: Transport,
    server: SocketAddr,
    probe: Probe,
    flight: Vec<u8>,
    suspect: Option<Reaction>,
    decoy: Option<Reaction>,
    has_begun: bool,
}

/// A prober; a host of its own.
#[derive(Debug)]
pub struct Prober {
    plan: Plan,
    sightings: Sightings,
    findings: Findings,
    looks_at: Option<Instant>,
    jobs: BTreeMap<usize, Job>,
    next_job: usize,
    flights: BTreeMap<SocketAddr, usize>,
    attempts: BTreeMap<Place, Attempt>,
}

impl Prober {
    /// A prober that reads `sightings` and writes `findings`.
    #[must_use]
    pub fn new(plan: Plan, sightings: Sightings, findings: Findings) -> Self {
        Self {
            looks_at: Some(Instant::ZERO + plan.looks_every),
            plan,
            sightings,
            findings,
            jobs: BTreeMap::new(),
            next_job: 0,
            flights: BTreeMap::new(),
            attempts: BTreeMap::new(),
        }
    }

    fn look(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        if self.looks_at.is_none_or(|at| now < at) {
            return;
        }
        let next = now + self.plan.looks_every;
        let last = Instant::ZERO + self.plan.looks_until;
        self.looks_at = (next <= last).then_some(next);
        while let Some(sighting) = self.sightings.take() {
            let flights = self.flights.entry(sighting.server).or_default();
            *flights += 1;
            if *flights <= self.plan.flights_per_server {
                self.plan_jobs(cx, &sighting);
            }
        }
    }

    fn plan_jobs(&mut self, cx: &mut Cx<'_>, sighting: &Sighting) {
        let stream = cx.stream("probes");
        let delay = u64::try_from(self.plan.delay.as_nanos()).unwrap_or(u64::MAX / 2);
        for probe in &self.plan.probes {
            let flight = probe.flight(&sighting.first_flight, cx.streams(), stream);
            let extra = Duration::from_nanos(cx.streams().below(stream, delay.saturating_add(1)));
            let job = Job {
                at: cx.now() + self.plan.delay + extra,
                transport: sighting.transport,
                server: sighting.server,
                probe: probe.clone(),
                flight,
                suspect: None,
                decoy: None,
                has_begun: false,
            };
            self.jobs.insert(self.next_job, job);
            self.next_job += 1;
        }
    }

    fn begin_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let is_due = |job: &Job| !job.has_begun && job.at <= now;
        let due: Vec<usize> = self
            .jobs
            .iter()
            .filter(|(_, job)| is_due(job))
            .map(|(n, _)| *n)
            .collect();
        for number in due {
            let Some(job) = self.jobs.get_mut(&number) else {
                continue;
            };
            job.has_begun = true;
            let (transport, server, flight) = (job.transport, job.server, job.flight.clone());
            let decoy = self.plan.decoys.get(&server).copied();
            for to in core::iter::once(server).chain(decoy) {
                let attempt = Attempt::new(number, to == server, to, flight.clone());
                self.begin(cx, transport, attempt);
            }
        }
    }

    fn begin(&mut self, cx: &mut Cx<'_>, transport: Transport, mut attempt: Attempt) {
        if transport == Transport::Tcp {
            let dial = cx.dial(attempt.server());
            self.attempts.insert(Place::Dial(dial), attempt);
            return;
        }
        let any: IpAddr = match attempt.server() {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        match cx.bind(SocketAddr::new(any, 0)) {
            Ok((socket, _)) => {
                attempt.begin(cx.now(), self.plan.patience);
                cx.send_to(socket, attempt.server(), attempt.unsent());
                self.attempts.insert(Place::Udp(socket), attempt);
            }
            Err(why) => self.complete(cx, attempt, Ending::Refused(why)),
        }
    }

    fn dialed(
        &mut self,
        cx: &mut Cx<'_>,
        dial: DialId,
        socket: Result<SocketId, sansbox_core::Refusal>,
    ) {
        let Some(mut attempt) = self.attempts.remove(&Place::Dial(dial)) else {
            return;
        };
        attempt.begin(cx.now(), self.plan.patience);
        match socket {
            Ok(socket) => {
                self.attempts.insert(Place::Tcp(socket), attempt);
                self.work(cx, socket);
            }
            Err(why) => self.complete(cx, attempt, Ending::Refused(why)),
        }
    }

    fn work(&mut self, cx: &mut Cx<'_>, socket: SocketId) {
        let Some(attempt) = self.attempts.get_mut(&Place::Tcp(socket)) else {
            return;
        };
        if let Some(ending) = attempt.work(cx, socket) {
            self.end(cx, Place::Tcp(socket), ending);
        }
    }

    fn datagram(&mut self, socket: UdpId, data: &[u8]) {
        if let Some(attempt) = self.attempts.get_mut(&Place::Udp(socket)) {
            attempt.hear_datagram(data);
        }
    }

    fn end(&mut self, cx: &mut Cx<'_>, place: Place, ending: Ending) {
        let Some(attempt) = self.attempts.remove(&place) else {
            return;
        };
        match place {
            Place::Tcp(socket) => cx.close(socket),
            Place::Udp(socket) => cx.unbind(socket),
            Place::Dial(_) => {}
        }
        self.complete(cx, attempt, ending);
    }

    fn complete(&mut self, cx: &Cx<'_>, attempt: Attempt, ending: Ending) {
        let (number, is_suspect) = (attempt.job, attempt.is_suspect);
        let reaction = attempt.reaction(cx.now(), ending);
        let Some(job) = self.jobs.get_mut(&number) else {
            return;
        };
        let half = if is_suspect {
            &mut job.suspect
        } else {
            &mut job.decoy
        };
        *half = Some(reaction);
        let wants_decoy = self.plan.decoys.contains_key(&job.server);
        if job.suspect.is_none() || wants_decoy && job.decoy.is_none() {
            return;
        }
        if let Some(Job {
            suspect: Some(suspect),
            decoy,
            transport,
            probe,
            flight,
            ..
        }) = self.jobs.remove(&number)
        {
            self.findings.put(Finding {
                transport,
                probe,
                flight,
                suspect,
                decoy,
            });
        }
    }

    fn give_up_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let is_due = |attempt: &Attempt| attempt.until().is_some_and(|until| until <= now);
        let attempts = self.attempts.iter();
        let due: Vec<Place> = attempts
            .filter(|(_, a)| is_due(a))
            .map(|(place, _)| *place)
            .collect();
        for place in due {
            self.end(cx, place, Ending::Open);
        }
    }
}

impl Host for Prober {
    fn handle(&mut self, cx: &mut Cx<'_>, input: HostInput) {
        match input {
            HostInput::Timer => {
                self.look(cx);
                self.begin_due(cx);
                self.give_up_due(cx);
            }
            HostInput::Dialed(dial, outcome) => {
                self.dialed(cx, dial, outcome.map(|(socket, _)| socket));
            }
            HostInput::Readable(socket) | HostInput::Writable(socket) => self.work(cx, socket),
            HostInput::Datagram { socket, data, .. } => self.datagram(socket, &data),
            HostInput::Packet(_) => {}
            HostInput::Icmp { socket, .. } => self.end(cx, Place::Udp(socket), Ending::Reset),
            HostInput::Start
            | HostInput::Command(_)
            | HostInput::Accepted { .. }
            | HostInput::Resolved(..) => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let jobs = self
            .jobs
            .values()
            .filter(|job| !job.has_begun)
            .map(|job| job.at);
        let attempts = self.attempts.values().filter_map(Attempt::until);
        jobs.chain(attempts).chain(self.looks_at).min()
    }

    fn is_done(&self) -> bool {
        self.jobs.is_empty() && self.looks_at.is_none()
    }

    fn waiting(&self) -> Option<String> {
        let jobs = self.jobs.len();
        (jobs > 0).then(|| format!("{jobs} probes are not answered"))
    }
}
