//! Rules, routes, addresses and links as the kernel's messages.
use super::{
    Family, Interface, TunError,
    netlink::Netlink,
    plan::{Action, MAIN, NAMES_PORT, PRIORITIES, Rule},
};
use core::{net::IpAddr, ops::RangeInclusive};
use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressHeaderFlags, AddressMessage},
    link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkMessage},
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
    rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage, RulePortRange, RuleUidRange},
};
use std::io;

/// A new thing, which must not be there yet.
const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;
/// A table of a number above 255 is in an attribute (`RT_TABLE_COMPAT`).
const TABLE_ELSEWHERE: u8 = 252;

impl From<Family> for AddressFamily {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => Self::Inet,
            Family::V6 => Self::Inet6,
        }
    }
}

/// What the kernel knows, asked and changed.
impl Netlink {
    pub(super) fn add_rule(&mut self, rule: &Rule) -> io::Result<()> {
        self.change(RouteNetlinkMessage::NewRule(rule_message(rule)), NEW)
    }

    pub(super) fn remove_rule(&mut self, rule: RuleMessage) -> io::Result<()> {
        self.change(RouteNetlinkMessage::DelRule(rule), 0)
    }

    pub(super) fn rules(&mut self, family: Family) -> Result<Vec<RuleMessage>, TunError> {
        let mut all = RuleMessage::default();
        all.header.family = family.into();
        let listed = self.listed("rules", RouteNetlinkMessage::GetRule(all), |_| true)?;
        let rules = listed.into_iter().filter_map(|message| {
            if let RouteNetlinkMessage::NewRule(rule) = message {
                return Some(rule);
            }
            None
        });
        Ok(rules.collect())
    }

    pub(super) fn add_route(&mut self, to: IpNet, table: u32, device: u32) -> io::Result<()> {
        let message = route_message(to, table, device);
        self.change(RouteNetlinkMessage::NewRoute(message), NEW)
    }

    pub(super) fn remove_route(&mut self, to: IpNet, table: u32, device: u32) -> io::Result<()> {
        let message = route_message(to, table, device);
        self.change(RouteNetlinkMessage::DelRoute(message), 0)
    }

    /// Routes of one table of an IP family: all, or default routes alone.
    pub(super) fn routes(
        &mut self,
        family: Family,
        table: u32,
        only_default: bool,
    ) -> Result<Vec<RouteMessage>, TunError> {
        let mut all = RouteMessage::default();
        all.header.address_family = family.into();
        // `struct rtmsg`: the length of the prefix, and the table where it fits.
        let short = u8::try_from(table).unwrap_or(TABLE_ELSEWHERE);
        let is_wanted = |bytes: &[u8]| {
            let is_default = !only_default || bytes.get(1) == Some(&0);
            is_default && bytes.get(4).is_some_and(|table| *table == short)
        };
        let message = RouteNetlinkMessage::GetRoute(all);
        let listed = self.listed("routes", message, is_wanted)?;
        let routes = listed.into_iter().filter_map(|message| {
            if let RouteNetlinkMessage::NewRoute(route) = message {
                return Some(route).filter(|route| table_of(route) == table);
            }
            None
        });
        Ok(routes.collect())
    }

    /// Gives an interface an address, and the main table a route to its network.
    pub(super) fn add_address(&mut self, address: IpNet, device: u32) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = Family::of(address.addr()).into();
        message.header.prefix_len = address.prefix_len();
        message.header.index = device;
        // Nobody else is on the link, so the address can be used at once.
        message.header.flags = AddressHeaderFlags::Nodad;
        let ip = address.addr();
        message.attributes.push(AddressAttribute::Local(ip));
        message.attributes.push(AddressAttribute::Address(ip));
        self.change(RouteNetlinkMessage::NewAddress(message), NEW)
    }

    /// No address but those that it is given: without this the kernel makes a link-local one and
    /// talks to routers that are not there.
    pub(super) fn forbid_link_local(&mut self, device: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = device;
        let none = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
        let inet6 = AfSpecUnspec::Inet6(vec![none]);
        message
            .attributes
            .push(LinkAttribute::AfSpecUnspec(vec![inet6]));
        self.change(RouteNetlinkMessage::SetLink(message), 0)
    }

    /// The interface of an index; `None` when it is gone.
    pub(super) fn interface(&mut self, index: u32) -> Result<Option<Interface>, TunError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let link = match self.ask(RouteNetlinkMessage::GetLink(message)) {
            Ok(RouteNetlinkMessage::NewLink(link)) => link,
            Ok(_) => return Ok(None),
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => {
                return Ok(None);
            }
            Err(source) => return Err(unlisted("links", source)),
        };
        let name = link.attributes.into_iter().find_map(|attribute| {
            if let LinkAttribute::IfName(name) = attribute {
                return Some(name);
            }
            None
        });
        Ok(name.map(|name| Interface { index, name }))
    }

    fn listed(
        &mut self,
        what: &'static str,
        message: RouteNetlinkMessage,
        is_wanted: impl Fn(&[u8]) -> bool,
    ) -> Result<Vec<RouteNetlinkMessage>, TunError> {
        let listed = self.list(message, is_wanted);
        listed.map_err(|source| unlisted(what, source))
    }
}

pub(super) const fn unlisted(what: &'static str, source: io::Error) -> TunError {
    TunError::List { what, source }
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    let (header, attributes) = (&mut message.header, &mut message.attributes);
    header.family = rule.family.into();
    header.action = match rule.action {
        Action::Lookup(_) => RuleAction::ToTable,
        Action::Goto(_) => RuleAction::Goto,
        Action::Nothing => RuleAction::Nop,
        Action::Unreachable => RuleAction::Unreachable,
    };
    if rule.is_inverted {
        header.flags = RuleFlags::Invert;
    }
    attributes.push(RuleAttribute::Priority(rule.priority));
    match rule.action {
        Action::Lookup(table) => attributes.push(RuleAttribute::Table(table)),
        Action::Goto(priority) => attributes.push(RuleAttribute::Goto(priority)),
        Action::Nothing | Action::Unreachable => {}
    }
    if let Some(from) = rule.from {
        header.src_len = from.prefix_len();
        attributes.push(RuleAttribute::Source(from.addr()));
    }
    if let Some(to) = rule.to {
        header.dst_len = to.prefix_len();
        attributes.push(RuleAttribute::Destination(to.addr()));
    }
    if let Some(name) = &rule.interface {
        attributes.push(RuleAttribute::Iifname(name.clone()));
    }
    if let Some(users) = &rule.users {
        let (start, end) = (*users.start(), *users.end());
        attributes.push(RuleAttribute::UidRange(RuleUidRange { start, end }));
    }
    if let Some(port) = rule.port {
        let range = RulePortRange {
            start: port,
            end: port,
        };
        attributes.push(RuleAttribute::DestinationPortRange(range));
    }
    if rule.is_without_default {
        attributes.push(RuleAttribute::SuppressPrefixLen(0));
    }
    message
}

/// Could this rule be one that a device with this table and first priority installed? It has a
/// priority of ours and does what ours do; a rule of somebody else's in between is left alone.
pub(super) fn is_ours(rule: &RuleMessage, table: u32, first: u32) -> bool {
    let ours = first..=first.saturating_add(PRIORITIES - 1);
    let names = RulePortRange {
        start: NAMES_PORT,
        end: NAMES_PORT,
    };
    let has = |wanted: &dyn Fn(&RuleAttribute) -> bool| rule.attributes.iter().any(wanted);
    let has_priority = |priorities: RangeInclusive<u32>| {
        has(&|it| matches!(it, RuleAttribute::Priority(number) if priorities.contains(number)))
    };
    if !has_priority(ours.clone()) {
        return false;
    }
    if rule.header.action == RuleAction::ToTable {
        let is_inverted = rule.header.flags.contains(RuleFlags::Invert);
        let is_names = is_inverted && has(&|it| *it == RuleAttribute::DestinationPortRange(names));
        return has(&|it| *it == RuleAttribute::Table(table))
            || (is_names && has(&|it| *it == RuleAttribute::Table(MAIN)));
    }
    if rule.header.action == RuleAction::Goto {
        return has(&|it| matches!(it, RuleAttribute::Goto(number) if ours.contains(number)));
    }
    rule.header.action == RuleAction::Nop
        || (rule.header.action == RuleAction::Unreachable && has_priority(first..=first))
}

fn route_message(to: IpNet, table: u32, device: u32) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: Family::of(to.addr()).into(),
        destination_prefix_length: to.prefix_len(),
        protocol: RouteProtocol::Static,
        // Of IPv4: what has no gateway is on the link.
        scope: match to.addr() {
            IpAddr::V4(_) => RouteScope::Link,
            IpAddr::V6(_) => RouteScope::Universe,
        },
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    if to.prefix_len() > 0 {
        let destination = RouteAttribute::Destination(to.addr().into());
        message.attributes.push(destination);
    }
    message.attributes.push(RouteAttribute::Oif(device));
    message.attributes.push(RouteAttribute::Table(table));
    message
}

/// A table of a number above 255 has no place in the header.
fn table_of(route: &RouteMessage) -> u32 {
    let written = route.attributes.iter().find_map(|attribute| {
        if let RouteAttribute::Table(table) = attribute {
            return Some(*table);
        }
        None
    });
    written.unwrap_or_else(|| route.header.table.into())
}

/// Interfaces that a route leads to, the first first.
pub(super) fn interfaces_of(route: &RouteMessage) -> impl Iterator<Item = u32> {
    let direct = route.attributes.iter().filter_map(|attribute| {
        if let RouteAttribute::Oif(index) = attribute {
            return Some(*index);
        }
        None
    });
    let shared = route.attributes.iter().filter_map(|attribute| {
        if let RouteAttribute::MultiPath(hops) = attribute {
            return Some(hops.iter().map(|hop| hop.interface_index));
        }
        None
    });
    direct.chain(shared.flatten())
}
