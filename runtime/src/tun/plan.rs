//! Which rules and routes make packets go into a device: values, no system calls.
//!
//! The rules are of the same kinds, in the same order and of the same priorities as sing-box's.
//! They say, from the first priority on:
//!
//! 1. excluded users and interfaces skip to the last rule, which does nothing;
//! 2. a family that the device has no addresses for is unreachable (`strict_route`);
//! 3. the device's own networks and its prefixes are in its table;
//! 4. the main table's prefixes, but not its default route, go before the device's default route,
//!    except for lookups of names;
//! 5. what the device wrote does not come back into it;
//! 6. the rest goes into the device: what is forwarded, what has no source address yet, and what
//!    has one of the device's networks. A socket bound to another address leaves as if there were
//!    no device.
use super::{Family, prefixes::subtract};
use core::{net::Ipv4Addr, ops::RangeInclusive};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sansbox_engine::config::model::Tun;

/// Priorities that are used, from the first on; the last is of the rule that does nothing.
pub(super) const PRIORITIES: u32 = 11;
/// `RT_TABLE_MAIN`.
pub(super) const MAIN: u32 = 254;
/// Where names are looked up.
pub(super) const NAMES_PORT: u16 = 53;
/// The last user: the number after it means none.
const USER_MAX: u32 = u32::MAX - 1;
const LOOPBACK: &str = "lo";

/// What a rule does with what it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Lookup(u32),
    Goto(u32),
    Nothing,
    Unreachable,
}

/// A routing rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) family: Family,
    pub(super) priority: u32,
    pub(super) action: Action,
    /// Matches what the rest does not match.
    pub(super) is_inverted: bool,
    pub(super) from: Option<IpNet>,
    pub(super) to: Option<IpNet>,
    /// The interface that it came from; `lo` for what this machine sends.
    pub(super) interface: Option<String>,
    pub(super) users: Option<RangeInclusive<u32>>,
    pub(super) port: Option<u16>,
    /// Default routes that the lookup finds do not count.
    pub(super) is_without_default: bool,
}

impl Rule {
    fn new(family: Family, priority: u32, action: Action) -> Self {
        Self {
            family,
            priority,
            action,
            is_inverted: false,
            from: None,
            to: None,
            interface: None,
            users: None,
            port: None,
            is_without_default: false,
        }
    }

    fn interface(mut self, name: &str) -> Self {
        self.interface = Some(name.to_owned());
        self
    }

    fn from(mut self, net: IpNet) -> Self {
        self.from = Some(net);
        self
    }

    fn to(mut self, net: IpNet) -> Self {
        self.to = Some(net);
        self
    }

    fn users(mut self, users: &RangeInclusive<u32>) -> Self {
        self.users = Some(users.clone());
        self
    }

    fn without_default(mut self) -> Self {
        self.is_without_default = true;
        self
    }

    fn inverted(mut self) -> Self {
        self.is_inverted = true;
        self
    }
}

/// All rules of a device called `name`, in the order in which they are added: of two rules of one
/// priority the first added is asked first.
pub(super) fn rules(config: &Tun, name: &str) -> Vec<Rule> {
    Family::ALL
        .into_iter()
        .flat_map(|family| of_family(config, name, family))
        .collect()
}

/// The prefixes that go into the device: those of families that it has addresses for.
pub(super) fn routes(config: &Tun) -> Vec<IpNet> {
    let mut routes = Vec::new();
    for family in Family::ALL {
        if networks(config, family).is_empty() {
            continue;
        }
        let of = |nets: &[IpNet]| -> Vec<IpNet> {
            let same = nets.iter().filter(|net| Family::of(net.addr()) == family);
            same.map(IpNet::trunc).collect()
        };
        let mut wanted = of(&config.route_address);
        if wanted.is_empty() {
            wanted.push(everything(family));
        }
        routes.extend(subtract(&wanted, &of(&config.route_exclude_address)));
    }
    routes
}

/// Users whose sockets skip the device: as few ranges as possible, in order.
fn excluded_users(config: &Tun) -> Vec<RangeInclusive<u32>> {
    let exclude = merged(config.exclude_uid.iter().cloned());
    if config.include_uid.is_empty() {
        return exclude;
    }
    let outside = complement(&merged(config.include_uid.iter().cloned()));
    merged(outside.into_iter().chain(exclude))
}

/// Ranges in order, those that touch as one.
fn merged(ranges: impl Iterator<Item = RangeInclusive<u32>>) -> Vec<RangeInclusive<u32>> {
    let mut all: Vec<_> = ranges.filter(|range| !range.is_empty()).collect();
    all.sort_by_key(|range| *range.start());
    let mut merged: Vec<RangeInclusive<u32>> = Vec::new();
    for range in all {
        match merged.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=(*last.end()).max(*range.end());
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// All users that are in none of the ranges, which are in order.
fn complement(ranges: &[RangeInclusive<u32>]) -> Vec<RangeInclusive<u32>> {
    let mut outside = Vec::new();
    let mut next = 0;
    for range in ranges {
        if let Some(before) = range
            .start()
            .checked_sub(1)
            .filter(|before| *before >= next)
        {
            outside.push(next..=before);
        }
        next = range.end().saturating_add(1);
    }
    if next <= USER_MAX {
        outside.push(next..=USER_MAX);
    }
    outside
}

/// The device's networks of one family.
fn networks(config: &Tun, family: Family) -> Vec<IpNet> {
    let same = config
        .address
        .iter()
        .filter(|net| Family::of(net.addr()) == family);
    same.map(IpNet::trunc).collect()
}

fn of_family(config: &Tun, name: &str, family: Family) -> Vec<Rule> {
    let networks = networks(config, family);
    if networks.is_empty() {
        let rule = Rule::new(family, config.rule, Action::Unreachable);
        return config.strict_route.then_some(rule).into_iter().collect();
    }
    let last = config.rule.saturating_add(PRIORITIES - 1);
    let mut rules = Vec::new();
    let mut next = config.rule;
    excluded(config, family, last, &mut next, &mut rules);
    match family {
        Family::V4 => ipv4(config, name, &networks, next, last, &mut rules),
        Family::V6 => ipv6(config, name, &networks, next, last, &mut rules),
    }
    rules.push(Rule::new(family, last, Action::Nothing));
    rules
}

/// What users and interfaces skip the device.
fn excluded(config: &Tun, family: Family, last: u32, next: &mut u32, rules: &mut Vec<Rule>) {
    let rule = |priority, action| Rule::new(family, priority, action);
    let users = excluded_users(config);
    rules.extend(
        users
            .iter()
            .map(|users| rule(*next, Action::Goto(last)).users(users)),
    );
    *next += u32::from(!users.is_empty());
    if !config.include_interface.is_empty() {
        let matched = *next + 2;
        for name in &config.include_interface {
            rules.push(rule(*next, Action::Goto(matched)).interface(name));
        }
        rules.push(rule(*next + 1, Action::Goto(last)));
        rules.push(rule(matched, Action::Nothing));
        *next = matched + 1;
    } else if !config.exclude_interface.is_empty() {
        for name in &config.exclude_interface {
            rules.push(rule(*next, Action::Goto(last)).interface(name));
        }
        *next += 1;
    }
}

fn ipv4(c: &Tun, name: &str, networks: &[IpNet], next: u32, last: u32, rules: &mut Vec<Rule>) {
    let rule = |priority, action| Rule::new(Family::V4, priority, action);
    let device = Action::Lookup(c.table);
    rules.extend(networks.iter().map(|net| rule(next, device).to(*net)));
    rules.push(rule(next + 1, device).without_default());
    rules.push(main_prefixes(Family::V4, next + 2));
    rules.push(rule(next + 2, Action::Goto(last)).interface(name));
    rules.push(rule(next + 3, device).interface(LOOPBACK).inverted());
    let no_source = Ipv4Net::from(Ipv4Addr::UNSPECIFIED).into();
    for source in core::iter::once(no_source).chain(networks.iter().copied()) {
        rules.push(rule(next + 3, device).interface(LOOPBACK).from(source));
    }
}

/// IPv6 says "no source address yet" by matching no rule that has one, so its rules go the other
/// way round.
fn ipv6(c: &Tun, name: &str, networks: &[IpNet], next: u32, last: u32, rules: &mut Vec<Rule>) {
    let rule = |priority, action| Rule::new(Family::V6, priority, action);
    let device = Action::Lookup(c.table);
    rules.push(rule(next, device).without_default());
    rules.push(main_prefixes(Family::V6, next + 1));
    for net in networks {
        rules.push(rule(next + 1, device).interface(LOOPBACK).from(*net));
    }
    rules.push(rule(next + 2, Action::Goto(last)).interface(name));
    for half in everything(Family::V6).subnets(1).into_iter().flatten() {
        rules.push(
            rule(next + 2, Action::Goto(last))
                .interface(LOOPBACK)
                .from(half),
        );
    }
    rules.push(rule(next + 3, device));
}

/// The main table before the device's default route, except for lookups of names.
fn main_prefixes(family: Family, priority: u32) -> Rule {
    let mut rule = Rule::new(family, priority, Action::Lookup(MAIN)).without_default();
    rule.port = Some(NAMES_PORT);
    rule.inverted()
}

/// The prefix of all addresses.
fn everything(family: Family) -> IpNet {
    match family {
        Family::V4 => Ipv4Net::default().into(),
        Family::V6 => Ipv6Net::default().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(ranges: &[RangeInclusive<u32>], user: u32) -> bool {
        ranges.iter().any(|range| range.contains(&user))
    }

    #[test]
    fn ranges_that_touch_are_one() {
        let ranges = [5..=9, 10..=10, 1..=2, 6..=7, 20..=USER_MAX];
        let merged = merged(ranges.into_iter());
        assert_eq!(merged, [1..=2, 5..=10, 20..=USER_MAX]);
        assert_eq!(complement(&merged), [0..=0, 3..=4, 11..=19]);
        assert_eq!(complement(&[]), [0..=USER_MAX]);
        assert_eq!(complement(&[0..=USER_MAX]), []);
        assert_eq!(complement(&[0..=u32::MAX]), []);
    }

    #[test]
    fn a_user_is_inside_or_outside() {
        let ranges = [3..=5, 5..=5, 9..=12, 7..=7];
        let inside = merged(ranges.iter().cloned());
        let outside = complement(&inside);
        for user in 0..20 {
            assert_eq!(naive(&inside, user), naive(&ranges, user), "{user}");
            assert_ne!(naive(&outside, user), naive(&inside, user), "{user}");
        }
    }
}
