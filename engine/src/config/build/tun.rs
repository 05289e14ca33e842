//! `tun` inbounds.
use super::{Builder, take_bool, take_text, take_texts};
use crate::config::{
    error::{ErrorKind, WarningKind},
    model::{Config, InboundKind, Span, Spanned, Tun, TunExtras},
    schema::{Record, Value, parse_prefix, parse_u32},
};
use core::ops::RangeInclusive;
use ipnet::IpNet;
use sansbox_stack::{
    Handshake,
    config::{TUN_MTU_MAX, TUN_MTU_MIN},
    icmp::EchoMode,
    mtu::CARRIED_LEN_MIN,
    nat::Filtering,
};
use std::collections::BTreeSet;

/// Keys that only shape what `auto_route` makes.
const ROUTE_KEYS: [&str; 11] = [
    "iproute2_table_index",
    "iproute2_rule_index",
    "strict_route",
    "route_address",
    "route_exclude_address",
    "include_interface",
    "exclude_interface",
    "include_uid",
    "include_uid_range",
    "exclude_uid",
    "exclude_uid_range",
];

/// Longest name of a network device on Linux (`IFNAMSIZ`), in bytes.
const INTERFACE_LEN_MAX: usize = 15;
const INTERFACE: &str = "a name of a network device (1 to 15 bytes without spaces, `/`, `:`, `%`)";
/// Routing tables that Linux keeps for itself: default, main and local.
const SYSTEM_TABLES: RangeInclusive<u32> = 253..=255;
const USERS: &str = "a range of user ids such as `1000:99999`, both ends below 4294967295";

impl Builder<'_> {
    /// The own fields of a `tun` inbound. What is wrong is among the problems.
    pub(super) fn tun_inbound(&mut self, record: &mut Record) -> Tun {
        self.only_with_auto_route(record);
        self.gso(record);
        // Nothing to decide: mappings are endpoint-independent whatever it says.
        record.take("endpoint_independent_nat");
        self.stack(record);
        let address = self.device_addresses(record);
        let mut tun = Tun {
            interface_name: take_text(record, "interface_name")
                .and_then(|name| self.interface(name)),
            mtu: self.mtu(record, "mtu", TUN_MTU_MIN, "an MTU from 1280 to 65535"),
            auto_route: take_bool(record, "auto_route"),
            table: self.table(record).unwrap_or(Tun::TABLE),
            rule: self.rule_index(record).unwrap_or(Tun::RULE),
            strict_route: take_bool(record, "strict_route"),
            udp_timeout: self.take_duration(record, "udp_timeout"),
            ..Tun::new(address)
        };
        tun.route_address = self.routes(record, "route_address", &tun.address);
        tun.route_exclude_address = self.prefixes(record, "route_exclude_address");
        self.one_of_the_interface_lists(record);
        tun.include_interface = self.interfaces(record, "include_interface");
        tun.exclude_interface = self.interfaces(record, "exclude_interface");
        tun.include_uid = self.users(record, "include_uid", "include_uid_range");
        tun.exclude_uid = self.users(record, "exclude_uid", "exclude_uid_range");
        if let Some(Value::Record(mut extras)) = record.take("sansbox").map(|field| field.value) {
            tun.sansbox = self.tun_extras(&mut extras);
        }
        tun
    }

    fn only_with_auto_route(&mut self, record: &Record) {
        if record.is_true("auto_route") {
            return;
        }
        let given = record.fields.iter().filter(|field| !field.value.is_zero());
        let keys = given.map(|field| field.row.key);
        let keys: Vec<&str> = keys.filter(|key| ROUTE_KEYS.contains(key)).collect();
        self.no_effect(record, &keys, "it is for `auto_route`, which is off");
    }

    fn gso(&mut self, record: &mut Record) {
        let Some(field) = record.take("gso").filter(|field| !field.value.is_zero()) else {
            return;
        };
        let warning = WarningKind::Deprecated {
            noun: "key",
            name: field.row.key.to_owned(),
            advice: "leave it out, offloads are used where the device has them",
        };
        self.warnings.push((warning, field.span));
    }

    /// All stacks of sing-box are one here.
    fn stack(&mut self, record: &mut Record) {
        let Some(stack) = take_text(record, "stack") else {
            return;
        };
        if !matches!(&*stack.value, "system" | "gvisor" | "mixed") {
            self.bad_value(stack.span, &stack.value, "`system`, `gvisor` or `mixed`");
        }
    }

    fn device_addresses(&mut self, record: &mut Record) -> Vec<IpNet> {
        let texts = take_texts(record, "address");
        if texts.is_empty() {
            let key = "address";
            self.problem(record.span, ErrorKind::MissingField { key });
        }
        let mut addresses: Vec<IpNet> = Vec::with_capacity(texts.len());
        for text in texts {
            let prefix = parse_prefix(&text.value);
            let host = prefix.filter(|net| {
                let ip = net.addr();
                !ip.is_unspecified() && !ip.is_multicast() && net.prefix_len() > 0
            });
            match host {
                Some(net) if addresses.iter().any(|other| other.addr() == net.addr()) => {
                    self.bad_value(text.span, &text.value, "another address than those before");
                }
                Some(net) => addresses.push(net),
                None => {
                    let expected = "an address of a host with its network, as `172.19.0.1/30`";
                    self.bad_value(text.span, &text.value, expected);
                }
            }
        }
        addresses
    }

    /// Prefixes without the bits beyond their lengths.
    fn prefixes(&mut self, record: &mut Record, key: &str) -> Vec<IpNet> {
        let prefixes = self.spanned_prefixes(record, key).into_iter();
        prefixes.map(|prefix| prefix.value).collect()
    }

    /// Prefixes that routes into a device with these addresses are made for.
    fn routes(&mut self, record: &mut Record, key: &str, device: &[IpNet]) -> Vec<IpNet> {
        let prefixes = self.spanned_prefixes(record, key);
        for prefix in &prefixes {
            let is_v4 = prefix.value.addr().is_ipv4();
            if !device.is_empty() && device.iter().all(|net| net.addr().is_ipv4() != is_v4) {
                let key = prefix.value.to_string();
                let reason = "the device has no address of this family";
                let warning = WarningKind::NoEffect { key, reason };
                self.warnings.push((warning, prefix.span));
            }
        }
        prefixes.into_iter().map(|prefix| prefix.value).collect()
    }

    fn spanned_prefixes(&mut self, record: &mut Record, key: &str) -> Vec<Spanned<IpNet>> {
        let mut prefixes = Vec::new();
        for Spanned { value, span } in take_texts(record, key) {
            match parse_prefix(&value) {
                Some(prefix) => prefixes.push(Spanned {
                    value: prefix.trunc(),
                    span,
                }),
                None => self.bad_value(span, &value, "a prefix such as `10.0.0.0/8`"),
            }
        }
        prefixes
    }

    fn interface(&mut self, name: Spanned<String>) -> Option<String> {
        let Spanned { value, span } = name;
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || "/:%".contains(c);
        let fits = (1..=INTERFACE_LEN_MAX).contains(&value.len());
        if fits && !value.contains(is_odd) && !matches!(&*value, "." | "..") {
            return Some(value);
        }
        self.bad_value(span, &value, INTERFACE);
        None
    }

    fn interfaces(&mut self, record: &mut Record, key: &str) -> Vec<String> {
        let names = take_texts(record, key).into_iter();
        names.filter_map(|name| self.interface(name)).collect()
    }

    fn one_of_the_interface_lists(&mut self, record: &Record) {
        let [include, exclude] = ["include_interface", "exclude_interface"].map(|key| {
            let mut fields = record.fields.iter();
            fields.find(|field| field.row.key == key && !field.value.is_zero())
        });
        if let (Some(include), Some(exclude)) = (include, exclude) {
            let (key, other) = (exclude.row.key, include.row.key);
            self.problem(exclude.span, ErrorKind::Exclusive { key, other });
        }
    }

    /// A whole number; none when absent or 0, which is the same to sing-box.
    fn number(
        &mut self,
        record: &mut Record,
        key: &str,
        is_good: impl Fn(u32) -> bool,
        expected: &'static str,
    ) -> Option<u32> {
        let field = record.take(key)?;
        let Value::Number(number) = field.value else {
            return None;
        };
        let good = u32::try_from(number).ok().filter(|n| is_good(*n));
        if good.is_none() && number != 0 {
            self.bad_value(field.span, &number.to_string(), expected);
        }
        good.filter(|n| *n != 0)
    }

    fn mtu(
        &mut self,
        record: &mut Record,
        key: &str,
        min: u16,
        expected: &'static str,
    ) -> Option<u16> {
        let range = u32::from(min)..=u32::from(TUN_MTU_MAX);
        let mtu = self.number(record, key, |mtu| range.contains(&mtu), expected)?;
        u16::try_from(mtu).ok()
    }

    fn table(&mut self, record: &mut Record) -> Option<u32> {
        let expected = "a routing table that is not the system's (253 to 255 are)";
        let is_free = |table| !SYSTEM_TABLES.contains(&table);
        self.number(record, "iproute2_table_index", is_free, expected)
    }

    fn rule_index(&mut self, record: &mut Record) -> Option<u32> {
        let expected = "a priority from 1 to 32700, before the rule of the main table";
        let is_before = |rule| rule <= Tun::RULE_MAX;
        self.number(record, "iproute2_rule_index", is_before, expected)
    }

    /// Single users and ranges of them, as ranges.
    fn users(
        &mut self,
        record: &mut Record,
        key: &str,
        range_key: &str,
    ) -> Vec<RangeInclusive<u32>> {
        let mut users = Vec::new();
        let field = record.take(key);
        let span = field.as_ref().map_or(record.span, |field| field.span);
        if let Some(Value::Ids(ids)) = field.map(|field| field.value) {
            // The last number stands for no user at all.
            if ids.contains(&u32::MAX) {
                let expected = "a user id (0 to 4294967294)";
                self.bad_value(span, &u32::MAX.to_string(), expected);
            }
            users.extend(ids.into_iter().map(|id| id..=id));
        }
        for range in take_texts(record, range_key) {
            match parse_users(&range.value) {
                Some(range) => users.push(range),
                None => self.bad_value(range.span, &range.value, USERS),
            }
        }
        users
    }

    fn tun_extras(&mut self, record: &mut Record) -> TunExtras {
        let absent = TunExtras::DEFAULT;
        let expected = "an MTU from 576 to 65535";
        let egress_mtu = self.mtu(record, "egress_mtu", CARRIED_LEN_MIN, expected);
        let handshakes = [
            ("fast", Handshake::Fast),
            ("consistent", Handshake::Consistent),
            ("auto", Handshake::Auto),
        ];
        let expected = "`fast`, `consistent` or `auto`";
        let handshake_mode = self.word(record, "handshake_mode", &handshakes, expected);
        let filters = [
            ("endpoint_independent", Filtering::EndpointIndependent),
            ("address_dependent", Filtering::AddressDependent),
        ];
        let expected = "`endpoint_independent` or `address_dependent`";
        let udp_filtering = self.word(record, "udp_filtering", &filters, expected);
        let extras = TunExtras {
            egress_mtu: egress_mtu.unwrap_or(absent.egress_mtu),
            handshake_mode: handshake_mode.unwrap_or(absent.handshake_mode),
            icmp_echo: self.icmp_echo(record).unwrap_or(absent.icmp_echo),
            udp_filtering: udp_filtering.unwrap_or(absent.udp_filtering),
        };
        self.all_taken(record);
        extras
    }

    fn icmp_echo(&mut self, record: &mut Record) -> Option<EchoMode> {
        const KEY: &str = "icmp_echo";
        let modes = [
            ("off", EchoMode::Off),
            ("reply", EchoMode::Reply),
            ("relay", EchoMode::Relay),
            ("reject", EchoMode::Reject),
        ];
        let expected = "`off`, `reply`, `relay` or `reject`";
        self.word(record, KEY, &modes, expected)
    }

    /// What a word means; none when absent.
    fn word<T: Copy>(
        &mut self,
        record: &mut Record,
        key: &str,
        words: &[(&str, T)],
        expected: &'static str,
    ) -> Option<T> {
        let Spanned { value, span } = take_text(record, key)?;
        let known = words.iter().find(|(word, _)| *word == value);
        if known.is_none() {
            self.bad_value(span, &value, expected);
        }
        known.map(|(_, meaning)| *meaning)
    }
}

/// `1000:99999`: both ends must be there, in Go's notations of numbers.
fn parse_users(text: &str) -> Option<RangeInclusive<u32>> {
    let (start, end) = text.split_once(':')?;
    let (start, end) = (parse_u32(start)?, parse_u32(end)?);
    (start <= end && end < u32::MAX).then_some(start..=end)
}

/// Devices of one configuration may not take each other's names, tables or rules.
pub(super) fn check_together(config: &Config, builder: &mut Builder<'_>) {
    let (mut names, mut tables, mut rules) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for inbound in &config.inbounds {
        let InboundKind::Tun(tun) = &inbound.kind else {
            continue;
        };
        if let Some(name) = &tun.interface_name {
            unique(builder, inbound.span, &mut names, name, "interface_name");
        }
        if tun.auto_route {
            let span = inbound.span;
            unique(
                builder,
                span,
                &mut tables,
                tun.table,
                "iproute2_table_index",
            );
            unique(builder, span, &mut rules, tun.rule, "iproute2_rule_index");
        }
    }
}

fn unique<T: Ord>(
    builder: &mut Builder<'_>,
    span: Span,
    taken: &mut BTreeSet<T>,
    value: T,
    key: &'static str,
) {
    if !taken.insert(value) {
        let reason = "a tun inbound before this one has the same";
        builder.problem(span, ErrorKind::Unusable { key, reason });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansbox_stack::mtu::Budget;

    #[test]
    fn user_ranges_read_as_go_reads_them() {
        for (text, want) in [
            ("1000:99999", Some(1000..=99_999)),
            ("0:0", Some(0..=0)),
            ("0x10:020", Some(16..=16)),
            ("1:4294967294", Some(1..=4_294_967_294)),
            ("1:4294967295", None),
            ("2:1", None),
            (":5", None),
            ("5:", None),
            ("5", None),
            ("1-5", None),
            ("-1:5", None),
            ("1:2:3", None),
            ("", None),
        ] {
            assert_eq!(parse_users(text), want, "{text}");
        }
    }

    #[test]
    fn the_bounds_of_mtus_are_those_of_the_stack() {
        let is_good = |tun, egress| Budget::new(tun, egress, 0).is_ok();
        assert!(is_good(TUN_MTU_MIN, CARRIED_LEN_MIN));
        assert!(is_good(TUN_MTU_MAX, TUN_MTU_MAX));
        assert!(is_good(TUN_MTU_MIN, TUN_MTU_MAX));
        assert!(!is_good(TUN_MTU_MIN - 1, CARRIED_LEN_MIN));
        assert!(!is_good(TUN_MTU_MIN, CARRIED_LEN_MIN - 1));
    }
}
