//! Which outcome each class changes.
use super::{Outcome, changes};
use crate::{
    net::packet::{Ecn, IcmpKind},
    transcript::Tag,
};
use core::time::Duration;
use sansbox_core::Refusal;
use sansbox_engine::record::CloseReason;

pub(super) type Row = (&'static str, fn(&Outcome, &Outcome) -> bool);

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn datagrams_lost(with: &Outcome) -> bool {
    with.back() < super::probe::DATAGRAMS as usize
}

fn marked(with: &Outcome, mark: Ecn) -> usize {
    let all = with.heard.datagrams.iter();
    all.filter(|(_, _, ecn)| *ecn == mark).count()
}

/// Long datagrams are missing, short ones are not.
fn lacks_long(with: &Outcome) -> bool {
    let long = |(_, len, _): &&(u32, usize, Ecn)| *len > 1000;
    let long = with.heard.datagrams.iter().filter(long).count();
    long < 20 && with.back() - long == 20
}

fn in_order(with: &Outcome) -> bool {
    with.heard.datagrams.is_sorted_by_key(|(n, _, _)| *n)
}

fn comes_twice(with: &Outcome) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    let all = with.heard.datagrams.iter();
    all.filter(|(n, _, _)| !seen.insert(*n)).count() > 0
}

fn refused_with(with: &Outcome, why: Refusal) -> bool {
    with.reasons().contains(&CloseReason::Refused(why)) || with.heard.dial_failed == Some(why)
}

/// Queues that overflow lose packets; TCP still gets through.
fn queue_lost(with: &Outcome) -> bool {
    with.lost("Queue") > 0
}

pub(super) const ROWS: &[Row] = &[
    ("latency", |base, with| with.is_later(base, SECOND)),
    ("jitter", |base, with| {
        with.is_later(base, 200 * MS) && in_order(with)
    }),
    ("reordering", |_, with| {
        !in_order(with) && !datagrams_lost(with)
    }),
    ("loss", |_, with| {
        with.lost("Chance") > 10 && datagrams_lost(with)
    }),
    ("loss-burst", |_, with| {
        with.lost("Chance") > 5 && datagrams_lost(with)
    }),
    ("loss-periodic", |base, with| {
        datagrams_lost(with) && with.is_later(base, 200 * MS)
    }),
    ("loss-syn", |base, with| {
        !datagrams_lost(with) && with.is_later(base, SECOND)
    }),
    ("loss-fin", |base, with| {
        with.lost("Chance") > 0 && !datagrams_lost(with) && with.is_later(base, 100 * MS)
    }),
    ("loss-ack", |_, with| {
        with.lost("Chance") > 5 && !datagrams_lost(with)
    }),
    ("loss-long", |_, with| lacks_long(with)),
    ("duplication", |_, with| {
        comes_twice(with) && with.noted("doubled") > 10
    }),
    ("damage", |_, with| {
        with.lost("Damaged") > 5 && datagrams_lost(with)
    }),
    ("bit-flips", |_, with| {
        with.heard.datagrams_damaged > 0 && with.lost("Damaged") == 0
    }),
    ("truncation", |_, with| with.heard.datagrams_damaged > 0),
    ("extension", |_, with| with.heard.datagrams_damaged > 0),
    ("field-damage", |_, with| {
        with.noted("Field(Socks5Command)") > 0 && with.heard.reply == Some(0xee)
    }),
    ("slow-line", |base, with| with.is_later(base, 10 * SECOND)),
    ("short-queue", |_, with| {
        queue_lost(with) && datagrams_lost(with)
    }),
    ("codel", |_, with| queue_lost(with)),
    ("recorded-line", |base, with| {
        with.is_later(base, 2 * SECOND)
    }),
    ("asymmetric-line", |base, with| {
        with.is_later(base, 10 * SECOND)
    }),
    ("ecn-marks", |_, with| {
        marked(with, Ecn::Ce) > 0 && !datagrams_lost(with)
    }),
    ("ecn-bleach", |base, with| {
        marked(base, Ecn::Ect0) == 40 && marked(with, Ecn::NotEct) == 40
    }),
    ("mtu", |_, with| {
        let told = matches!(
            with.heard.icmp.first(),
            Some(IcmpKind::PacketTooBig { mtu: 576 })
        );
        told && with.heard.done_at.is_some() || lacks_long(with) && with.lost("TooLong") > 0
    }),
    ("mtu-black-hole", |_, with| {
        lacks_long(with) && with.heard.icmp.is_empty() && with.lost("TooLong") > 0
    }),
    ("fragments", |_, with| {
        with.noted("cut into") > 0 && with.lost("Chance") > 0
    }),
    ("outage", |base, with| {
        with.lost("Down") > 0 && with.is_later(base, 10 * SECOND)
    }),
    ("flapping", |base, with| {
        with.lost("Down") > 0 && with.is_later(base, 10 * SECOND)
    }),
    ("one-way-outage", |_, with| {
        with.back() == 0 && with.heard.reply.is_none()
    }),
    ("dial-refused", |_, with| {
        refused_with(with, Refusal::ConnectionRefused)
    }),
    ("dial-unreachable", |_, with| {
        refused_with(with, Refusal::HostUnreachable)
    }),
    ("dial-unanswered", |base, with| {
        with.heard.dial_failed == Some(Refusal::TimedOut) || with.is_later(base, 200 * MS)
    }),
    ("dial-slow", |base, with| with.is_later(base, SECOND)),
    ("dial-exhausted", |_, with| {
        refused_with(with, Refusal::Exhausted)
    }),
    ("connection-reset", |_, with| with.heard.was_reset),
    ("segment-stalled", |base, with| with.is_later(base, SECOND)),
    ("datagram-lost", |_, with| datagrams_lost(with)),
    ("datagram-doubled", |_, with| comes_twice(with)),
    ("datagram-late", |_, with| !in_order(with)),
    ("bind-refused", |_, with| {
        with.heard.bind_failed == Some(Refusal::Exhausted)
    }),
    ("lookup-missing", |_, with| {
        refused_with(with, Refusal::NameNotFound)
    }),
    ("lookup-failed", |_, with| {
        refused_with(with, Refusal::ResolverFailed)
    }),
    ("lookup-slow", |base, with| with.is_later(base, SECOND / 2)),
    ("lookup-unanswered", |base, with| {
        base.heard.reply == Some(0) && with.heard.reply.is_some_and(|code| code != 0)
    }),
    ("lookup-poisoned", |_, with| {
        refused_with(with, Refusal::ConnectionRefused)
    }),
    ("lookup-truncated", |_, with| {
        refused_with(with, Refusal::ConnectionRefused)
    }),
    ("lookup-one-family", |_, with| {
        refused_with(with, Refusal::ConnectionRefused)
    }),
    ("small-segments", |base, with| {
        with.count(Tag::Read) > 10 * base.count(Tag::Read)
            || with.heard.read_max < base.heard.read_max / 4
    }),
    ("small-window", |base, with| with.is_later(base, 500 * MS)),
    ("small-send-buffer", |base, with| {
        with.count(Tag::Written) > 5 * base.count(Tag::Written)
    }),
    ("short-datagrams", |_, with| lacks_long(with)),
    ("suspended", |base, with| with.is_later(base, 30 * SECOND)),
    ("asleep", |base, with| with.is_later(base, 30 * SECOND)),
    ("clock-ahead", |_, with| {
        with.tick().is_some_and(|tick| tick < 5 * SECOND)
    }),
    ("clock-jump", |_, with| {
        with.tick().is_some_and(|tick| tick < SECOND)
    }),
    ("clock-drift", |base, with| with.tick() != base.tick()),
    ("crash", |base, with| {
        with.heard.done_at.is_none() && with.end < base.end + 60 * SECOND
    }),
    ("power-loss", |_, with| {
        with.heard.done_at.is_none() && with.end > 600 * SECOND
    }),
    ("reboot", |_, with| {
        with.heard.done_at.is_none() && with.end > 15 * SECOND && with.end < 300 * SECOND
    }),
    ("slow-reader", |base, with| with.is_later(base, 5 * SECOND)),
    ("file-limit", |_, with| {
        refused_with(with, Refusal::Exhausted) || with.heard.bind_failed.is_some()
    }),
    ("address-lost", |base, with| {
        with.is_later(base, 30 * SECOND)
    }),
];

macro_rules! rows {
    ($($test:ident $name:literal)+) => {
        const TESTED: &[&str] = &[$($name),+];

        $(
            #[test]
            fn $test() {
                let class = crate::fault::find($name).expect("in the catalogue");
                let (_, differs) = ROWS.iter().find(|(name, _)| *name == $name).expect("a row");
                assert!(changes(class, *differs), "{class:?} changes nothing");
            }
        )+
    };
}

rows! {
    latency_changes_an_outcome "latency"
    jitter_changes_an_outcome "jitter"
    reordering_changes_an_outcome "reordering"
    loss_changes_an_outcome "loss"
    loss_burst_changes_an_outcome "loss-burst"
    loss_periodic_changes_an_outcome "loss-periodic"
    loss_syn_changes_an_outcome "loss-syn"
    loss_fin_changes_an_outcome "loss-fin"
    loss_ack_changes_an_outcome "loss-ack"
    loss_long_changes_an_outcome "loss-long"
    duplication_changes_an_outcome "duplication"
    damage_changes_an_outcome "damage"
    bit_flips_changes_an_outcome "bit-flips"
    truncation_changes_an_outcome "truncation"
    extension_changes_an_outcome "extension"
    field_damage_changes_an_outcome "field-damage"
    slow_line_changes_an_outcome "slow-line"
    short_queue_changes_an_outcome "short-queue"
    codel_changes_an_outcome "codel"
    recorded_line_changes_an_outcome "recorded-line"
    asymmetric_line_changes_an_outcome "asymmetric-line"
    ecn_marks_changes_an_outcome "ecn-marks"
    ecn_bleach_changes_an_outcome "ecn-bleach"
    mtu_changes_an_outcome "mtu"
    mtu_black_hole_changes_an_outcome "mtu-black-hole"
    fragments_changes_an_outcome "fragments"
    outage_changes_an_outcome "outage"
    flapping_changes_an_outcome "flapping"
    one_way_outage_changes_an_outcome "one-way-outage"
    dial_refused_changes_an_outcome "dial-refused"
    dial_unreachable_changes_an_outcome "dial-unreachable"
    dial_unanswered_changes_an_outcome "dial-unanswered"
    dial_slow_changes_an_outcome "dial-slow"
    dial_exhausted_changes_an_outcome "dial-exhausted"
    connection_reset_changes_an_outcome "connection-reset"
    segment_stalled_changes_an_outcome "segment-stalled"
    datagram_lost_changes_an_outcome "datagram-lost"
    datagram_doubled_changes_an_outcome "datagram-doubled"
    datagram_late_changes_an_outcome "datagram-late"
    bind_refused_changes_an_outcome "bind-refused"
    lookup_missing_changes_an_outcome "lookup-missing"
    lookup_failed_changes_an_outcome "lookup-failed"
    lookup_slow_changes_an_outcome "lookup-slow"
    lookup_unanswered_changes_an_outcome "lookup-unanswered"
    lookup_poisoned_changes_an_outcome "lookup-poisoned"
    lookup_truncated_changes_an_outcome "lookup-truncated"
    lookup_one_family_changes_an_outcome "lookup-one-family"
    small_segments_changes_an_outcome "small-segments"
    small_window_changes_an_outcome "small-window"
    small_send_buffer_changes_an_outcome "small-send-buffer"
    short_datagrams_changes_an_outcome "short-datagrams"
    suspended_changes_an_outcome "suspended"
    asleep_changes_an_outcome "asleep"
    clock_ahead_changes_an_outcome "clock-ahead"
    clock_jump_changes_an_outcome "clock-jump"
    clock_drift_changes_an_outcome "clock-drift"
    crash_changes_an_outcome "crash"
    power_loss_changes_an_outcome "power-loss"
    reboot_changes_an_outcome "reboot"
    slow_reader_changes_an_outcome "slow-reader"
    file_limit_changes_an_outcome "file-limit"
    address_lost_changes_an_outcome "address-lost"
}

#[test]
fn every_row_is_tested() {
    let rows: Vec<&str> = ROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(rows, TESTED);
}
