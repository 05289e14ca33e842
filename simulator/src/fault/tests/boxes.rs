//! Which outcome each class of middlebox changes.
use super::{Outcome, changes, probe::DATAGRAMS, table::Row};
use crate::{net::packet::IcmpKind, transcript::Tag};
use core::time::Duration;
use sansbox_core::Refusal;

/// No datagram came back.
fn is_mute(with: &Outcome) -> bool {
    with.back() == 0
}

/// The echo was never complete.
const fn never_done(with: &Outcome) -> bool {
    with.heard.done_at.is_none()
}

/// From which port did the proxy have its client's connection?
fn client_port(with: &Outcome) -> Option<u16> {
    let accepted = with.entries.iter().find(|e| e.tag == Tag::Accepted)?;
    let text = core::str::from_utf8(&accepted.bytes).ok()?;
    text.rsplit(':').next()?.parse().ok()
}

fn was_refused(with: &Outcome) -> bool {
    with.heard.dial_failed.is_some() || with.heard.reply.is_some_and(|code| code != 0)
}

fn cut_off(with: &Outcome) -> bool {
    with.lost("Censored") > 0 && (never_done(with) || with.back() < DATAGRAMS as usize)
}

pub(super) const ROWS: &[Row] = &[
    ("nat", |base, with| {
        let (before, after) = (client_port(base), client_port(with));
        before.is_some_and(|port| port < 50_000) && after.is_some_and(|port| port >= 50_000)
    }),
    ("nat-rebind", |_, with| {
        never_done(with) && with.lost("Filtered") > 0
    }),
    ("nat-forget", |_, with| {
        never_done(with) && with.lost("NoMapping") > 0
    }),
    ("nat-short-memory", |_, with| {
        is_mute(with) && never_done(with)
    }),
    ("nat-few-ports", |_, with| {
        with.heard.dial_failed == Some(Refusal::HostUnreachable) && is_mute(with)
    }),
    ("firewall-eviction", |_, with| {
        never_done(with) && with.lost("Filtered") > 0
    }),
    ("firewall-eviction-reset", |base, with| {
        with.heard.was_reset && !base.heard.was_reset
    }),
    ("firewall-forget", |_, with| {
        never_done(with) && with.lost("Filtered") > 0
    }),
    ("udp-blocked", |_, with| is_mute(with) && !never_done(with)),
    ("udp-unreachable", |_, with| {
        is_mute(with) && with.heard.icmp.contains(&IcmpKind::Unreachable)
    }),
    ("flow-limit", |_, with| was_refused(with) || is_mute(with)),
    ("censor-reset", |_, with| {
        with.noted("reset: ") > 0 && (with.heard.was_reset || never_done(with))
    }),
    ("censor-drop", |_, with| {
        with.noted("cut off: ") > 0 && cut_off(with)
    }),
    ("censor-residual", |_, with| {
        with.noted("cut off: ") > 0 && cut_off(with)
    }),
    ("censor-suspects", |_, with| {
        with.noted("reset: looks encrypted") > 0 && never_done(with)
    }),
    ("censor-throttle", |base, with| {
        with.noted("slowed down: ") > 0 && with.is_later(base, Duration::from_secs(10))
    }),
];

macro_rules! tested {
    ($($test:ident $name:literal)+) => {
        const TESTED: &[&str] = &[$($name),+];
        $(
            #[test]
            fn $test() {
                let class = crate::fault::find($name).expect("there is a class");
                let row = ROWS.iter().find(|(name, _)| *name == $name);
                assert!(changes(class, row.expect("there is a row").1));
            }
        )+
    };
}

tested! {
    nat_changes_an_outcome "nat"
    nat_rebind_changes_an_outcome "nat-rebind"
    nat_forget_changes_an_outcome "nat-forget"
    nat_short_memory_changes_an_outcome "nat-short-memory"
    nat_few_ports_changes_an_outcome "nat-few-ports"
    firewall_eviction_changes_an_outcome "firewall-eviction"
    firewall_eviction_reset_changes_an_outcome "firewall-eviction-reset"
    firewall_forget_changes_an_outcome "firewall-forget"
    udp_blocked_changes_an_outcome "udp-blocked"
    udp_unreachable_changes_an_outcome "udp-unreachable"
    flow_limit_changes_an_outcome "flow-limit"
    censor_reset_changes_an_outcome "censor-reset"
    censor_drop_changes_an_outcome "censor-drop"
    censor_residual_changes_an_outcome "censor-residual"
    censor_suspects_changes_an_outcome "censor-suspects"
    censor_throttle_changes_an_outcome "censor-throttle"
}

#[test]
fn every_row_is_tested() {
    let rows: Vec<&str> = ROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(rows, TESTED);
}
