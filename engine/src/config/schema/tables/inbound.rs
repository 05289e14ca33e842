//! `inbounds`.
use super::{always, exact, not_yet, own, shared, tun::TUN, yes};
use crate::config::schema::{Family, Kind, Object, Row, Variant};

/// Types of `inbounds`.
pub(crate) static INBOUNDS: Family = Family {
    noun: "inbound",
    type_noun: "inbound type",
    variants: &[
        built("socks", &SOCKS),
        built("http", &HTTP),
        built("mixed", &MIXED),
        built("direct", &DIRECT),
        built("paniq", &PANIQ),
        built("tun", &TUN),
        planned("redirect"),
        planned("tproxy"),
        planned("shadowsocks"),
        planned("shadowsocksr"),
        planned("vmess"),
        planned("trojan"),
        planned("naive"),
        planned("hysteria"),
        planned("hysteria2"),
        planned("shadowtls"),
        planned("vless"),
        planned("tuic"),
        planned("anytls"),
    ],
};

pub(super) const fn built(name: &'static str, object: &'static Object) -> Variant {
    Variant {
        name,
        object: Some(object),
    }
}

pub(super) const fn planned(name: &'static str) -> Variant {
    Variant { name, object: None }
}

pub(super) static HEAD: &[Row] = &[
    always("type", Kind::Text, "required", "The type, as in the title."),
    yes(
        "tag",
        Kind::Text,
        "its position, from `0`",
        "Name for rules and logs; no two inbounds may share it.",
    ),
];

/// What is kept of an object whose type is unknown: its tag.
pub(crate) static TAG_ONLY: Object = Object {
    title: "",
    doc: "",
    groups: &[exact(own(HEAD))],
    ignores: &[],
};

static LISTEN: &[Row] = &[
    yes(
        "listen",
        Kind::Address,
        "`127.0.0.1`",
        "Address to listen on; `::` and `0.0.0.0` mean all.",
    ),
    yes(
        "listen_port",
        Kind::Port,
        "`0`",
        "Port to listen on; with 0 the system chooses one.",
    ),
    yes(
        "bind_interface",
        Kind::Text,
        "",
        "Listen on this network interface only (`SO_BINDTODEVICE`).",
    ),
    yes(
        "routing_mark",
        Kind::Mark,
        "",
        "Firewall mark of the socket (`SO_MARK`).",
    ),
    yes("reuse_addr", Kind::Bool, "`false`", "Set `SO_REUSEADDR`."),
    not_yet("netns", "text"),
    yes(
        "tcp_keep_alive",
        Kind::Duration,
        "`10m`",
        "Idle time before the first keep-alive probe.",
    ),
    yes(
        "tcp_keep_alive_interval",
        Kind::Duration,
        "`75s`",
        "Time between keep-alive probes.",
    ),
    not_yet("tcp_fast_open", "boolean"),
    not_yet("tcp_multi_path", "boolean"),
    yes(
        "udp_fragment",
        Kind::Tristate,
        "the system's choice",
        "Let UDP packets be fragmented on the way.",
    ),
    yes(
        "udp_timeout",
        Kind::Timeout,
        "`5m`",
        "Idle time after which a UDP association ends.",
    ),
    not_yet("detour", "text"),
    not_yet("proxy_protocol", "boolean"),
    not_yet("proxy_protocol_accept_no_header", "boolean"),
    not_yet("sniff", "boolean"),
    not_yet("sniff_override_destination", "boolean"),
    not_yet("sniff_timeout", "duration"),
    not_yet("domain_strategy", "text"),
    not_yet("udp_disable_domain_unmapping", "boolean"),
    yes(
        "sansbox_allow_public",
        Kind::Bool,
        "`false`",
        "Not in sing-box. Without `users`, an inbound that listens beyond loopback serves \
         loopback, private and link-local sources only; `true` serves every source.",
    ),
];

const USERS: Row = yes(
    "users",
    Kind::Objects(&USER),
    "none",
    "Who may connect; without any, no authentication is asked for.",
);

static USER: Object = Object {
    title: "One of `users`",
    doc: "`format` writes these two keys with a capital, as sing-box does; case does not matter.",
    groups: &[own(&[
        always("Username", Kind::Text, "empty", "The name."),
        always("Password", Kind::Text, "empty", "The password."),
    ])],
    ignores: &[],
};

pub(super) const PROFILE_PATH: Row = yes(
    "profile_path",
    Kind::Text,
    "",
    "File with the profile, as JSON, CBOR or a link.",
);
pub(super) const PROFILE: Row = yes("profile", Kind::Profile, "", "The profile itself.");

macro_rules! inbound {
    ($name:ident, $title:literal, $doc:literal, $rows:expr) => {
        static $name: Object = Object {
            title: concat!("Inbound `", $title, "`"),
            doc: $doc,
            groups: &[exact(own(HEAD)), shared("Listen keys", LISTEN), own($rows)],
            ignores: &[],
        };
    };
}

inbound!(
    SOCKS,
    "socks",
    "A SOCKS4, SOCKS4a and SOCKS5 proxy, with UDP.",
    &[USERS, not_yet("domain_resolver", "text or object")]
);
inbound!(
    HTTP,
    "http",
    "An HTTP proxy: CONNECT and plain requests.",
    HTTP_ROWS
);
inbound!(
    MIXED,
    "mixed",
    "SOCKS and HTTP on one port; the first byte decides.",
    HTTP_ROWS
);
inbound!(
    DIRECT,
    "direct",
    "Sends every connection to one destination.",
    &[
        yes(
            "network",
            Kind::Networks,
            "both",
            "What to listen for: `tcp`, `udp` or a list of both.",
        ),
        yes(
            "override_address",
            Kind::Text,
            "the address listened on",
            "Destination host.",
        ),
        yes(
            "override_port",
            Kind::Port,
            "the port listened on",
            "Destination port.",
        ),
    ]
);
inbound!(
    PANIQ,
    "paniq",
    "A paniq server, on UDP: [paniq.md](protocols/paniq.md) says how. Exactly one of \
     `profile_path` and `profile` must be there. Of the listen keys, `tcp_keep_alive`, \
     `tcp_keep_alive_interval`, `udp_timeout` and `sansbox_allow_public` are refused.",
    &[
        PROFILE_PATH,
        PROFILE,
        yes(
            "allow_private",
            Kind::Bool,
            "`false`",
            "Let clients reach loopback, private and link-local addresses, as seen from here.",
        ),
    ]
);
static HTTP_ROWS: &[Row] = &[
    USERS,
    not_yet("domain_resolver", "text or object"),
    not_yet("set_system_proxy", "boolean"),
    not_yet("tls", "object"),
];
