//! What is left of each class when none of its bad things happens, as after a shrinker has taken
//! all of them away: nothing, but for what stands from the start and is no chance.
use super::{Outcome, base, boxes, run_from, table};
use crate::{fault::FaultClass, rng::Source};

/// With seeds fewer than elsewhere: a severe class draws nothing but what it happens to do, and
/// that is taken away.
const SEEDS: u64 = 2;

/// Classes that show their difference all the same, and what of them stands. A shrinker takes
/// each away as a whole, by whether it exists.
const STANDING: &[(&str, &str)] = &[
    ("latency", "the line is long"),
    ("jitter", "times are values, none of which is bad"),
    ("reordering", "times are values, none of which is bad"),
    ("slow-line", "the line is slow"),
    ("short-queue", "the queue is short"),
    ("codel", "the queue drops by its own rule"),
    ("recorded-line", "the line is slow"),
    ("asymmetric-line", "the line is slow one way"),
    ("ecn-bleach", "a router clears every mark"),
    ("mtu", "the line is narrow"),
    ("mtu-black-hole", "the line is narrow"),
    ("small-segments", "the path cuts its bytes small"),
    ("small-window", "buffers are small"),
    ("small-send-buffer", "buffers are small"),
    ("short-datagrams", "the path is narrow"),
    ("nat", "a NAT gives other ports"),
    ("nat-rebind", "the NAT gives new ports by its own clock"),
    ("nat-short-memory", "the NAT forgets by its own clock"),
    ("nat-few-ports", "the NAT has few ports"),
    ("firewall-eviction", "the firewall forgets by its own clock"),
    (
        "firewall-eviction-reset",
        "the firewall forgets by its own clock",
    ),
    ("udp-blocked", "the firewall's rule"),
    ("udp-unreachable", "the firewall's rule"),
    ("flow-limit", "the firewall's rule"),
];

/// Classes that do not show their difference, and yet leave something behind.
const TRACES: &[(&str, &str)] = &[(
    "fragments",
    "the line is narrow, and TCP learns it from a lost packet",
)];

/// The standard world with a class none of whose bad things happens.
fn calm(seed: u64, with_hops: bool, class: &FaultClass) -> Outcome {
    let source = Source {
        is_calm: true,
        ..Source::default()
    };
    run_from(source, seed, with_hops, Some(class))
}

/// Is something so of the calm class, with one seed at least? `is_so` gets the runs without and
/// with it.
fn some_run(class: &FaultClass, is_so: impl Fn(&Outcome, &Outcome) -> bool) -> bool {
    [true, false].into_iter().any(|with_hops| {
        (0..SEEDS).any(|seed| {
            let with = calm(seed, with_hops, class);
            let is_so = is_so(base(seed, with_hops), &with);
            if is_so {
                eprintln!("{class:?}, seed {seed}, hops {with_hops}: {with}");
            }
            is_so
        })
    })
}

fn names(list: &[(&'static str, &str)]) -> Vec<&'static str> {
    list.iter().map(|(name, _)| *name).collect()
}

#[test]
fn a_class_whose_bad_things_are_taken_away_changes_nothing() {
    let standing = names(STANDING);
    let (mut differing, mut traced) = (Vec::new(), Vec::new());
    for (name, differs) in table::ROWS.iter().chain(boxes::ROWS) {
        let class = crate::fault::find(name).expect("in the catalogue");
        if standing.contains(name) {
            if some_run(class, differs) {
                differing.push(*name);
            }
        } else if some_run(class, |base, with| differs(base, with) || !with.is_well()) {
            let has_difference = some_run(class, differs);
            let into = if has_difference {
                &mut differing
            } else {
                &mut traced
            };
            into.push(*name);
        }
    }
    assert_eq!(differing, standing, "classes that show their difference");
    assert_eq!(traced, names(TRACES), "classes that leave something behind");
}
