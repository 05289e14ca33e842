//! Paths that are long and wide.
use super::{
    net::{Net, SINK, SOURCE},
    profile::Profile,
};
use std::time::Duration;

const RATE: u64 = 100_000_000;
const OCTET_NANOS: u64 = 8 * 1_000_000_000 / RATE;
const LATENCY: Duration = Duration::from_millis(100);
/// What is left of the path for payload, in percent: envelopes, padding, headers, and what a
/// window is short of now and then.
const SHARE: u64 = 90;

fn path() -> Net {
    let mut net = Net::new(Profile::new(), LATENCY, OCTET_NANOS);
    net.add();
    net
}

/// What `carried` says at the end of two seconds less what it says at their begin, with slow start
/// long over.
fn fills(mut net: Net, carried: impl Fn(&Net) -> usize) {
    net.run_for(Duration::from_secs(6), |_| false);
    let before = carried(&net);
    net.run_for(Duration::from_secs(2), |_| false);
    let carried = (carried(&net) - before) as u64;
    let possible = 2 * RATE / 8;
    assert!(carried <= possible, "more than the path has");
    let share = 100 * carried / possible;
    assert!(share >= SHARE, "{share} % of the path");
}

#[test]
fn one_download_fills_a_long_wide_path() {
    let mut net = path();
    net.open(0, SOURCE, 0);
    fills(net, |net| net.peers[0].came());
}

#[test]
fn one_upload_fills_a_long_wide_path() {
    let mut net = path();
    net.open(0, SINK, usize::MAX);
    fills(net, |net| {
        net.targets.values().map(|(_, ends)| ends.came).sum()
    });
}

#[test]
fn a_stream_that_nobody_reads_any_more_stops_no_other() {
    let mut net = path();
    let stalled = net.open(0, SOURCE, 0);
    net.run(|net| net.peers[0].came() > 2_000_000);
    net.peers[0].streams.get_mut(&stalled).unwrap().is_stalled = true;
    net.run_for(Duration::from_secs(5), |_| false);
    let other = net.open(0, SOURCE, 0);
    net.run_for(Duration::from_secs(5), |net| {
        net.peers[0].streams[&other].came > 2_000_000
    });
    assert!(net.peers[0].streams[&other].came > 2_000_000);
}
