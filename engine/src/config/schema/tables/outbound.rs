//! `outbounds`.
use super::{
    always, exact,
    inbound::{PROFILE, PROFILE_PATH, built, planned},
    not_yet, own, shared, yes,
};
use crate::config::schema::{Family, Kind, Object, Row};

/// Types of `outbounds`.
pub(crate) static OUTBOUNDS: Family = Family {
    noun: "outbound",
    type_noun: "outbound type",
    variants: &[
        built("direct", &DIRECT),
        built("block", &BLOCK),
        built("socks", &SOCKS),
        built("http", &HTTP),
        built("selector", &SELECTOR),
        built("paniq", &PANIQ),
        planned("dns"),
        planned("urltest"),
        planned("shadowsocks"),
        planned("shadowsocksr"),
        planned("vmess"),
        planned("trojan"),
        planned("wireguard"),
        planned("hysteria"),
        planned("hysteria2"),
        planned("tor"),
        planned("ssh"),
        planned("shadowtls"),
        planned("vless"),
        planned("tuic"),
        planned("anytls"),
    ],
};

static HEAD: &[Row] = &[
    always("type", Kind::Text, "required", "The type, as in the title."),
    yes(
        "tag",
        Kind::Text,
        "its position, from `0`",
        "Name for rules, selectors and `detour`; no two outbounds may share it.",
    ),
];

static DIAL: &[Row] = &[
    yes(
        "detour",
        Kind::Text,
        "",
        "Tag of an outbound to dial through; the other dial keys are then unused.",
    ),
    yes(
        "bind_interface",
        Kind::Text,
        "",
        "Dial from this network interface (`SO_BINDTODEVICE`).",
    ),
    yes(
        "inet4_bind_address",
        Kind::Address,
        "",
        "Source address for IPv4.",
    ),
    yes(
        "inet6_bind_address",
        Kind::Address,
        "",
        "Source address for IPv6.",
    ),
    not_yet("protect_path", "text"),
    yes(
        "routing_mark",
        Kind::Mark,
        "",
        "Firewall mark of the sockets (`SO_MARK`).",
    ),
    yes("reuse_addr", Kind::Bool, "`false`", "Set `SO_REUSEADDR`."),
    not_yet("netns", "text"),
    yes(
        "connect_timeout",
        Kind::Duration,
        "`5s`",
        "How long one dial may take.",
    ),
    not_yet("tcp_fast_open", "boolean"),
    not_yet("tcp_multi_path", "boolean"),
    yes(
        "udp_fragment",
        Kind::Tristate,
        "the system's choice",
        "Let UDP packets be fragmented on the way.",
    ),
    not_yet("domain_resolver", "text or object"),
    not_yet("network_strategy", "text"),
    not_yet("network_type", "text or array of text"),
    not_yet("fallback_network_type", "text or array of text"),
    yes(
        "fallback_delay",
        Kind::Duration,
        "`300ms`",
        "Wait before the other address family is tried too (RFC 8305).",
    ),
    yes(
        "domain_strategy",
        Kind::Strategy,
        "`as_is`",
        "Address families of names that are dialled: `prefer_ipv4`, `prefer_ipv6`, `ipv4_only` \
         or `ipv6_only`.",
    ),
];

static SERVER: &[Row] = &[
    always(
        "server",
        Kind::Text,
        "required",
        "Address or name of the server.",
    ),
    always("server_port", Kind::Port, "required", "Its port."),
];

macro_rules! outbound {
    ($name:ident, $title:literal, $doc:literal, [$($groups:expr),*]) => {
        static $name: Object = Object {
            title: concat!("Outbound `", $title, "`"),
            doc: $doc,
            groups: &[
                exact(own(HEAD)),
                $($groups),*
            ],
            ignores: &[],
        };
    };
}

outbound!(
    DIRECT,
    "direct",
    "Dials the destination itself.",
    [
        shared("Dial keys", DIAL),
        own(&[
            not_yet("override_address", "text"),
            not_yet("override_port", "port"),
            not_yet("proxy_protocol", "number"),
        ])
    ]
);
outbound!(
    BLOCK,
    "block",
    "Refuses everything. Deprecated: use a rule with `\"action\": \"reject\"`.",
    []
);
outbound!(
    SOCKS,
    "socks",
    "Goes through a SOCKS server.",
    [
        shared("Dial keys", DIAL),
        own(SERVER),
        own(&[
            yes("version", Kind::Text, "`5`", "`4`, `4a` or `5`."),
            yes("username", Kind::Text, "", "Name to log in with."),
            yes("password", Kind::Text, "", "Password to log in with."),
            yes(
                "network",
                Kind::Networks,
                "both",
                "What the server is used for: `tcp`, `udp` or a list of both.",
            ),
            not_yet("udp_over_tcp", "boolean or object"),
        ])
    ]
);
outbound!(
    HTTP,
    "http",
    "Goes through an HTTP proxy, by CONNECT.",
    [
        shared("Dial keys", DIAL),
        own(SERVER),
        own(&[
            yes("username", Kind::Text, "", "Name to log in with."),
            yes("password", Kind::Text, "", "Password to log in with."),
            not_yet("tls", "object"),
            yes(
                "path",
                Kind::Text,
                "the destination",
                "What stands after CONNECT.",
            ),
            yes(
                "headers",
                Kind::Headers,
                "none",
                "Header fields to add: names with text or an array of text.",
            ),
        ])
    ]
);
outbound!(
    SELECTOR,
    "selector",
    "One of several outbounds, chosen by hand.",
    [own(&[
        always(
            "outbounds",
            Kind::TextArray,
            "required",
            "Tags of the members.",
        ),
        yes(
            "default",
            Kind::Text,
            "the first member",
            "The member that is used at first.",
        ),
        yes(
            "interrupt_exist_connections",
            Kind::Bool,
            "`false`",
            "Close connections from inbounds when another member is chosen.",
        ),
    ])]
);
outbound!(
    PANIQ,
    "paniq",
    "Goes through a paniq server: [paniq.md](protocols/paniq.md) says how. Exactly one of \
     `profile_path`, `profile` and `link` must be there. Of the dial keys, `detour` and \
     `fallback_delay` are refused.",
    [
        shared("Dial keys", DIAL),
        own(&[
            yes(
                "server",
                Kind::Text,
                "that of the profile's `proxy_addr`",
                "Address or name of the server.",
            ),
            yes(
                "server_port",
                Kind::Port,
                "that of the profile's `proxy_addr`",
                "Its port.",
            ),
            PROFILE_PATH,
            PROFILE,
            yes(
                "link",
                Kind::Text,
                "",
                "The profile as a link: `pnq://...`."
            ),
        ])
    ]
);
