//! Rules, routes, addresses and links as the kernel's messages.
use super::{
    Family, Interface, TunError,
    netlink::Netlink,
    plan::{Action, MAIN, NAMES_PORT, PRIORITIES, Rule},
};
use core::net::IpAddr;
use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkMessage},
    route::{RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
    rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage, RulePortRange, RuleUidRange},
};
use std::io;

/// A new thing, which must not be there yet.
const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;

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
        let listed = self.listed("rules", RouteNetlinkMessage::GetRule(all))?;
        let rules = listed.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRule(rule) => Some(rule),
            _ => None,
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

    /// All routes of one table.
    pub(super) fn routes(
        &mut self,
        family: Family,
        table: u32,
    ) -> Result<Vec<RouteMessage>, TunError> {
        let mut all = RouteMessage::default();
        all.header.address_family = family.into();
        let listed = self.listed("routes", RouteNetlinkMessage::GetRoute(all))?;
        let routes = listed.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRoute(route) if table_of(&route) == table => Some(route),
            _ => None,
        });
        Ok(routes.collect())
    }

    /// Gives an interface an address, and the main table a route to its network.
    pub(super) fn add_address(&mut self, address: IpNet, device: u32) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = Family::of(address.addr()).into();
        message.header.prefix_len = address.prefix_len();
        message.header.index = device;
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
        let name = link
            .attributes
            .into_iter()
            .find_map(|attribute| match attribute {
                LinkAttribute::IfName(name) => Some(name),
                _ => None,
            });
        Ok(name.map(|name| Interface { index, name }))
    }

    fn listed(
        &mut self,
        what: &'static str,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>, TunError> {
        self.list(message).map_err(|source| unlisted(what, source))
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
    let (mut priority, mut target, mut goto, mut is_names) = (None, None, None, false);
    let names = RulePortRange {
        start: NAMES_PORT,
        end: NAMES_PORT,
    };
    for attribute in &rule.attributes {
        match attribute {
            RuleAttribute::Priority(number) => priority = Some(*number),
            RuleAttribute::Table(number) => target = Some(*number),
            RuleAttribute::Goto(number) => goto = Some(*number),
            RuleAttribute::DestinationPortRange(range) => is_names = *range == names,
            _ => {}
        }
    }
    if !priority.is_some_and(|number| ours.contains(&number)) {
        return false;
    }
    match rule.header.action {
        RuleAction::ToTable => {
            let is_inverted = rule.header.flags.contains(RuleFlags::Invert);
            target == Some(table) || (target == Some(MAIN) && is_names && is_inverted)
        }
        RuleAction::Goto => goto.is_some_and(|number| ours.contains(&number)),
        RuleAction::Nop => true,
        RuleAction::Unreachable => priority == Some(first),
        _ => false,
    }
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
    let written = route
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
    written.unwrap_or_else(|| route.header.table.into())
}

/// Interfaces that a route leads to, the first first.
pub(super) fn interfaces_of(route: &RouteMessage) -> impl Iterator<Item = u32> {
    route
        .attributes
        .iter()
        .flat_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => vec![*index],
            RouteAttribute::MultiPath(hops) => hops.iter().map(|hop| hop.interface_index).collect(),
            _ => Vec::new(),
        })
}
