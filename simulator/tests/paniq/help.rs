//! What most tests here need.
use core::time::Duration;
use sansbox_simulator::{
    World,
    fault::Fault,
    net::{
        SiteId,
        hop::{Hop, HopFault},
        link::{Link, Settings},
    },
    paniq::{
        Ended, Facts, Lab, Persona, Talk,
        persona::{GO, OURS},
    },
};

pub(crate) const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub(crate) const fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A fetch that any pair of programs that understand each other can do.
pub(crate) fn fetch() -> Talk {
    Talk::fetch("fetch", 500, 20_000)
}

/// Runs a fetch.
pub(crate) fn meet(client: Persona, server: Persona) -> Facts {
    Lab::new(client, server).talk(fetch()).run(1, vec![])
}

/// Why a stream was refused.
#[track_caller]
pub(crate) fn refusal(facts: &Facts, name: &str) -> String {
    let Ended::Refused(why) = facts.ended(name) else {
        panic!("{name}: {facts:#?}");
    };
    why
}

/// The pairs with ours at one end and the other end as Go is, and ours alone.
pub(crate) const OURS_WITH_GO: [(Persona, Persona); 3] = [(OURS, GO), (GO, OURS), (OURS, OURS)];

/// The lab's streams are whole with ours at either end.
#[track_caller]
pub(crate) fn passes_with_ours(lab: &Lab, hops: impl Fn() -> Vec<Box<dyn Hop>>) {
    for (client, server) in OURS_WITH_GO {
        let facts = lab.with(client, server).run(1, hops());
        let pair = (client.name, server.name);
        assert!(facts.is_whole(), "{pair:?}: {facts:#?}");
    }
}

/// A link without delay of its own, for faults.
pub(crate) fn link() -> Vec<Box<dyn Hop>> {
    vec![Box::new(Link::new(Settings::default()))]
}

/// What happens to the first hop of the client's site.
pub(crate) fn happens(world: &mut World, site: SiteId, at: Duration, fault: HopFault) {
    let index = 0;
    world.at(at, Fault::Hop { site, index, fault });
}

/// Is `time` at least `from` and below `to`?
#[track_caller]
pub(crate) fn assert_between(time: Duration, from: Duration, to: Duration) {
    assert!(
        from <= time && time < to,
        "{time:?} not in {from:?}..{to:?}"
    );
}
