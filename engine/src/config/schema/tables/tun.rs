//! `tun` of `inbounds`.
use super::{exact, inbound::HEAD, instead, not_yet, own, yes};
use crate::config::schema::{Kind, Object, Row};

/// Inbound `tun`.
pub(super) static TUN: Object = Object {
    title: "Inbound `tun`",
    doc: "A TUN device: every flow whose packets are routed into it. It listens on no address, so \
          it has no listen keys. Without `auto_route` somebody else makes the routes, and the keys \
          that shape them have no effect.",
    groups: &[exact(own(HEAD)), own(DEVICE), own(SERVICE), own(LEGACY)],
    ignores: &[],
};

static DEVICE: &[Row] = &[
    yes(
        "interface_name",
        Kind::Text,
        "the first free `tunN`",
        "Name of the device, at most 15 bytes.",
    ),
    yes(
        "mtu",
        Kind::Integer,
        "`1500` where the device segments, else `65535`",
        "MTU of the device, from 1280 to 65535.",
    ),
    yes(
        "address",
        Kind::PrefixList,
        "required",
        "Addresses of the device with the lengths of their networks, such as `172.19.0.1/30`. \
         Without an IPv6 one, IPv6 does not go through it.",
    ),
    yes(
        "auto_route",
        Kind::Bool,
        "`false`",
        "Make the routes and rules that lead everything into the device, and take them away at \
         the end. Needs `route.auto_detect_interface`, `route.default_interface` or the like, or \
         what the outbounds dial comes back in.",
    ),
    yes(
        "iproute2_table_index",
        Kind::Integer,
        "`2022`",
        "Routing table of `auto_route`; not 253 to 255, which are the system's.",
    ),
    yes(
        "iproute2_rule_index",
        Kind::Integer,
        "`9000`",
        "Priority of the first rule of `auto_route`, from 1 to 32700.",
    ),
    instead("auto_redirect", "boolean", AUTO_ROUTE),
    instead("auto_redirect_input_mark", "number or text", AUTO_ROUTE),
    instead("auto_redirect_output_mark", "number or text", AUTO_ROUTE),
    instead(
        "auto_redirect_iproute2_fallback_rule_index",
        "number",
        AUTO_ROUTE,
    ),
    not_yet("loopback_address", "text or array of text"),
    yes(
        "strict_route",
        Kind::Bool,
        "`false`",
        "With `auto_route`: an address family that the device has no address of is unreachable, \
         in place of going past it.",
    ),
    yes(
        "route_address",
        Kind::PrefixList,
        "everything",
        "With `auto_route`: the destinations that are led into the device.",
    ),
    instead("route_address_set", "text or array of text", ROUTE_ADDRESS),
    yes(
        "route_exclude_address",
        Kind::PrefixList,
        "none",
        "With `auto_route`: but not these.",
    ),
    instead(
        "route_exclude_address_set",
        "text or array of text",
        EXCLUDE_ADDRESS,
    ),
    yes(
        "include_interface",
        Kind::TextList,
        "all",
        "With `auto_route`: of forwarded packets, only those that came from these interfaces. Not \
         beside `exclude_interface`.",
    ),
    yes(
        "exclude_interface",
        Kind::TextList,
        "none",
        "With `auto_route`: not the packets that came from these interfaces.",
    ),
    yes(
        "include_uid",
        Kind::IdList,
        "all",
        "With `auto_route`: only what these users send.",
    ),
    yes(
        "include_uid_range",
        Kind::TextList,
        "all",
        "The same as ranges with both ends: `1000:99999`.",
    ),
    yes(
        "exclude_uid",
        Kind::IdList,
        "none",
        "With `auto_route`: not what these users send, be they included or not.",
    ),
    yes(
        "exclude_uid_range",
        Kind::TextList,
        "none",
        "The same as ranges.",
    ),
    not_yet("include_android_user", "number or array of numbers"),
    not_yet("include_package", "text or array of text"),
    not_yet("exclude_package", "text or array of text"),
];

static SERVICE: &[Row] = &[
    yes(
        "udp_timeout",
        Kind::Timeout,
        "by protocol",
        "Idle time after which a UDP mapping ends.",
    ),
    yes(
        "stack",
        Kind::Text,
        "",
        "`system`, `gvisor` or `mixed`: there is one stack here, which all three mean.",
    ),
    not_yet("platform", "object"),
    not_yet("sniff", "boolean"),
    not_yet("sniff_override_destination", "boolean"),
    not_yet("sniff_timeout", "duration"),
    not_yet("domain_strategy", "text"),
    not_yet("udp_disable_domain_unmapping", "boolean"),
    not_yet("detour", "text"),
    yes(
        "gso",
        Kind::Bool,
        "`false`",
        "Deprecated, and does nothing: offloads are used where the device has them.",
    ),
];

static LEGACY: &[Row] = &[
    instead("inet4_address", "text or array of text", ADDRESS),
    instead("inet6_address", "text or array of text", ADDRESS),
    instead(
        "inet4_route_address",
        "text or array of text",
        ROUTE_ADDRESS,
    ),
    instead(
        "inet6_route_address",
        "text or array of text",
        ROUTE_ADDRESS,
    ),
    instead(
        "inet4_route_exclude_address",
        "text or array of text",
        EXCLUDE_ADDRESS,
    ),
    instead(
        "inet6_route_exclude_address",
        "text or array of text",
        EXCLUDE_ADDRESS,
    ),
    yes(
        "endpoint_independent_nat",
        Kind::Bool,
        "`true`, in effect",
        "Does nothing: UDP mappings are always independent of the endpoint (RFC 4787). Whose \
         datagrams are let in is another question: `sansbox.udp_filtering`.",
    ),
    yes(
        "sansbox",
        Kind::Object(&EXTRAS),
        "",
        "What sing-box has no key for. sing-box refuses a file that holds it.",
    ),
];

const AUTO_ROUTE: &str = "use `auto_route`, which needs no firewall rules";
const ADDRESS: &str = "use `address`, which takes both families";
const ROUTE_ADDRESS: &str = "use `route_address`";
const EXCLUDE_ADDRESS: &str = "use `route_exclude_address`";

static EXTRAS: Object = Object {
    title: "`sansbox` of a `tun` inbound",
    doc: "Not of sing-box.",
    groups: &[own(&[
        yes(
            "egress_mtu",
            Kind::Integer,
            "`1500`",
            "MTU of the way to the Internet, from 576 to 65535: which datagrams fit through a \
             tunnel, and what those are told that do not. SIGHUP changes it.",
        ),
        yes(
            "handshake_mode",
            Kind::Text,
            "`fast`",
            "When a SYN is answered: `fast` at once; `consistent` when the connection to the \
             destination stands, so that clients see refusals; `auto` as `consistent`, but at \
             once where a rule has to see the first bytes. SIGHUP changes it.",
        ),
        yes(
            "icmp_echo",
            Kind::Text,
            "`reply`",
            "Echo requests (ping): `off` drops them, `reply` answers for every address, `relay` sends \
             them on and gives the true answers, `reject` tells that they are prohibited. Rules see \
             what is to be relayed as UDP to port 0; only `direct` outbounds carry it, any other \
             refuses it as prohibited, and so does a system whose `net.ipv4.ping_group_range` does \
             not have the group of this process, unless that has CAP_NET_RAW. SIGHUP changes it.",
        ),
        yes(
            "udp_filtering",
            Kind::Text,
            "`endpoint_independent`",
            "Whose datagrams reach a client: `endpoint_independent` anybody's who sends to its \
             mapping, `address_dependent` those of addresses that it has sent to.",
        ),
    ])],
    ignores: &[],
};
