//! What names resolve to, and how long that takes.
use super::Core;
use crate::{
    event::Event,
    host::{HostId, HostInput, QueryId},
    transcript::Tag,
};
use core::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};
use sansbox_core::Refusal;
use sansbox_engine::machine::Families;
use std::collections::BTreeMap;

/// How long a lookup takes unless said otherwise.
const LOOKUP_TIME: Duration = Duration::from_millis(5);

/// An address where nobody is (RFC 5737).
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// What the resolver says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// These addresses, in this order.
    Addresses(Vec<IpAddr>),
    /// The same, so much later.
    Slow(Duration, Vec<IpAddr>),
    /// It does not exist.
    NotFound,
    /// The resolver fails.
    Failed,
    /// The resolver never answers.
    Never,
}

#[derive(Debug)]
struct Query {
    host: HostId,
    outcome: Lookup,
}

type Lookup = Result<Vec<IpAddr>, Refusal>;

/// What the weather makes of a lookup's time and outcome.
fn bad_weather(
    core: &mut Core,
    host: HostId,
    name: &str,
    after: Option<Duration>,
    outcome: Lookup,
) -> (Option<Duration>, Lookup) {
    let weather = core.weather;
    let host = core.host_name(host).to_owned();
    let what = format_args!("{host}/{name}");
    if core.strikes(weather.lookup_unanswered, "lookup-unanswered", what) {
        return (None, outcome);
    }
    if core.strikes(weather.lookup_missing, "lookup-missing", what) {
        return (after, Err(Refusal::NameNotFound));
    }
    if core.strikes(weather.lookup_failed, "lookup-failed", what) {
        return (after, Err(Refusal::ResolverFailed));
    }
    if core.strikes(weather.lookup_slow, "lookup-slow", what) {
        let longer = core.slower("lookup-slow", what);
        return (after.map(|after| after + longer), outcome);
    }
    let mut outcome = outcome;
    let Ok(all) = &mut outcome else {
        return (after, outcome);
    };
    if core.strikes(weather.lookup_poisoned, "lookup-poisoned", what) {
        all.fill(NOWHERE);
    }
    if core.strikes(weather.lookup_truncated, "lookup-truncated", what) {
        all.truncate(1);
    }
    if core.strikes(weather.lookup_one_family, "lookup-one-family", what) {
        let first_is_v4 = all.first().is_some_and(IpAddr::is_ipv4);
        all.retain(|ip| ip.is_ipv4() == first_is_v4);
    }
    (after, outcome)
}

/// The resolver. Unknown names do not exist.
#[derive(Debug, Default)]
pub(crate) struct Names {
    answers: BTreeMap<String, Answer>,
    queries: BTreeMap<QueryId, Query>,
    next_id: u32,
}

impl Names {
    pub(crate) fn set(&mut self, name: &str, answer: Answer) {
        self.answers.insert(name.into(), answer);
    }

    pub(crate) fn resolve(
        &mut self,
        core: &mut Core,
        host: HostId,
        name: &str,
        families: Families,
    ) -> QueryId {
        let id = QueryId(self.next_id);
        self.next_id += 1;
        let text = format_args!("{name} {families:?}");
        core.note_text(host, Tag::Resolve, id.0.into(), text);
        let answer = self.answers.get(name).unwrap_or(&Answer::NotFound);
        let wanted = |ip: &&IpAddr| match families {
            Families::Any => true,
            Families::V4 => ip.is_ipv4(),
            Families::V6 => ip.is_ipv6(),
        };
        let pick = |all: &[IpAddr]| match all.iter().filter(wanted).copied().collect() {
            some if Vec::is_empty(&some) => Err(Refusal::NameNotFound),
            some => Ok(some),
        };
        let (after, outcome) = match answer {
            Answer::Addresses(all) => (Some(LOOKUP_TIME), pick(all)),
            Answer::Slow(after, all) => (Some(*after), pick(all)),
            Answer::NotFound => (Some(LOOKUP_TIME), Err(Refusal::NameNotFound)),
            Answer::Failed => (Some(LOOKUP_TIME), Err(Refusal::ResolverFailed)),
            Answer::Never => (None, Err(Refusal::ResolverFailed)),
        };
        let (after, outcome) = bad_weather(core, host, name, after, outcome);
        if let Some(after) = after {
            core.queue.push(core.now + after, Event::Resolved(id));
        }
        self.queries.insert(id, Query { host, outcome });
        id
    }

    /// Nobody waits for the lookups of a host any more.
    pub(crate) fn forget_host(&mut self, host: HostId) {
        self.queries.retain(|_, query| query.host != host);
    }

    pub(crate) fn cancel(&mut self, id: QueryId) {
        self.queries.remove(&id);
    }

    pub(crate) fn resolved(&mut self, core: &mut Core, id: QueryId) -> Option<(HostId, HostInput)> {
        let Query { host, outcome } = self.queries.remove(&id)?;
        let text = format_args!("{outcome:?}");
        core.note_text(host, Tag::Resolved, id.0.into(), text);
        Some((host, HostInput::Resolved(id, outcome)))
    }

    /// Lookups nobody has answered or cancelled.
    pub(crate) fn live(&self) -> usize {
        self.queries.len()
    }
}
