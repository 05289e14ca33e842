//! `route`.
use super::{always, exact, not_yet, own, shared, yes};
use crate::config::schema::{Kind, Object, Row};

/// Values of `type` in a rule.
pub(crate) const RULE_TYPES: [&str; 2] = ["default", "logical"];

/// Values of `action` in a rule, and whether this program does them.
pub(crate) const ACTION_NAMES: [(&str, bool); 7] = [
    ("route", true),
    ("reject", true),
    ("route-options", false),
    ("direct", false),
    ("hijack-dns", false),
    ("sniff", false),
    ("resolve", false),
];

pub(super) static ROUTE: Object = Object {
    title: "`route`",
    doc: "",
    groups: &[own(&[
        not_yet("geoip", "object"),
        not_yet("geosite", "object"),
        yes(
            "rules",
            Kind::Rules,
            "none",
            "Rules, tried in order; the first that matches decides.",
        ),
        not_yet("rule_set", "array of objects"),
        yes(
            "final",
            Kind::Text,
            "the first outbound",
            "Tag of the outbound when no rule decides.",
        ),
        not_yet("find_process", "boolean"),
        yes(
            "auto_detect_interface",
            Kind::Bool,
            "`false`",
            "Dial from the interface of the default route, whatever the routes of a `tun` inbound \
             say. An outbound's own `bind_interface`, `inet4_bind_address` and \
             `inet6_bind_address` count before it, and so does `default_interface`.",
        ),
        not_yet("override_android_vpn", "boolean"),
        yes(
            "default_interface",
            Kind::Text,
            "",
            "`bind_interface` of outbounds that have neither one nor a source address.",
        ),
        yes(
            "default_mark",
            Kind::Mark,
            "",
            "`routing_mark` of outbounds that have none.",
        ),
        not_yet("default_domain_resolver", "text or object"),
        not_yet("default_network_strategy", "text"),
        not_yet("default_network_type", "text or array of text"),
        not_yet("default_fallback_network_type", "text or array of text"),
        not_yet("default_fallback_delay", "duration"),
    ])],
    ignores: &[],
};

static TYPE: &[Row] = &[yes(
    "type",
    Kind::Text,
    "`default`",
    "`default`, or `logical` to combine other rules.",
)];

static CONDITIONS: &[Row] = &[
    yes("inbound", Kind::TextList, "", "Tag of the inbound."),
    yes("ip_version", Kind::Integer, "", "`4` or `6`."),
    yes("network", Kind::TextList, "", "`tcp` or `udp`."),
    yes(
        "auth_user",
        Kind::TextList,
        "",
        "Name that the client logged in with.",
    ),
    not_yet("protocol", "text or array of text"),
    not_yet("client", "text or array of text"),
    yes("domain", Kind::TextList, "", "The whole name."),
    yes(
        "domain_suffix",
        Kind::TextList,
        "",
        "End of the name: `example.com` is itself and its subdomains, `.example.com` its \
         subdomains only.",
    ),
    yes("domain_keyword", Kind::TextList, "", "Part of the name."),
    yes(
        "domain_regex",
        Kind::TextList,
        "",
        "Regular expression found in the name.",
    ),
    not_yet("geosite", "text or array of text"),
    not_yet("source_geoip", "text or array of text"),
    not_yet("geoip", "text or array of text"),
    yes(
        "source_ip_cidr",
        Kind::TextList,
        "",
        "Prefix or address of the client.",
    ),
    yes(
        "source_ip_is_private",
        Kind::Bool,
        "`false`",
        "The client's address is not a public one.",
    ),
    yes(
        "ip_cidr",
        Kind::TextList,
        "",
        "Prefix or address of the destination.",
    ),
    yes(
        "ip_is_private",
        Kind::Bool,
        "`false`",
        "The destination's address is not a public one.",
    ),
    yes("source_port", Kind::PortList, "", "Port of the client."),
    yes(
        "source_port_range",
        Kind::TextList,
        "",
        "Ports of the client: `1000:2000`, `:3000`, `4000:`.",
    ),
    yes("port", Kind::PortList, "", "Port of the destination."),
    yes(
        "port_range",
        Kind::TextList,
        "",
        "Ports of the destination, as above.",
    ),
    not_yet("process_name", "text or array of text"),
    not_yet("process_path", "text or array of text"),
    not_yet("process_path_regex", "text or array of text"),
    not_yet("package_name", "text or array of text"),
    not_yet("user", "text or array of text"),
    not_yet("user_id", "number or array of numbers"),
    not_yet("clash_mode", "text"),
    not_yet("network_type", "text or array of text"),
    not_yet("network_is_expensive", "boolean"),
    not_yet("network_is_constrained", "boolean"),
    not_yet("wifi_ssid", "text or array of text"),
    not_yet("wifi_bssid", "text or array of text"),
    not_yet("rule_set", "text or array of text"),
    not_yet("rule_set_ip_cidr_match_source", "boolean"),
    INVERT,
    not_yet("rule_set_ipcidr_match_source", "boolean"),
];

const INVERT: Row = yes(
    "invert",
    Kind::Bool,
    "`false`",
    "Match when the rest does not.",
);

static COMBINATION: &[Row] = &[
    always(
        "mode",
        Kind::Text,
        "required",
        "`and`: all of `rules` match; `or`: one does.",
    ),
    yes(
        "rules",
        Kind::Rules,
        "required",
        "The rules to combine; their actions are not used.",
    ),
    INVERT,
];

static ACTION: &[Row] = &[yes("action", Kind::Text, "`route`", "`route` or `reject`.")];

static ROUTE_OPTIONS: &[Row] = &[
    yes(
        "outbound",
        Kind::Text,
        "required",
        "Tag of the outbound to use.",
    ),
    not_yet("override_address", "text"),
    not_yet("override_port", "port"),
    not_yet("network_strategy", "text"),
    not_yet("fallback_delay", "number"),
    not_yet("udp_disable_domain_unmapping", "boolean"),
    not_yet("udp_connect", "boolean"),
    not_yet("udp_timeout", "duration"),
    not_yet("tls_fragment", "boolean"),
    not_yet("tls_fragment_fallback_delay", "duration"),
    not_yet("tls_record_fragment", "boolean"),
];

static REJECT_OPTIONS: &[Row] = &[
    yes(
        "method",
        Kind::Text,
        "`default`",
        "`default` answers with a refusal, `drop` says nothing and closes.",
    ),
    yes(
        "no_drop",
        Kind::Bool,
        "`false`",
        "Do not change over to `drop` after 50 refusals within 30 s.",
    ),
];

macro_rules! rule {
    ($name:ident, $title:literal, $doc:literal, $match:expr, $options:expr, $ignores:expr) => {
        pub(crate) static $name: Object = Object {
            title: $title,
            doc: $doc,
            groups: &[
                exact(own(TYPE)),
                exact($match),
                exact(own(ACTION)),
                own($options),
            ],
            ignores: $ignores,
        };
    };
}

rule!(
    RULE_ROUTE,
    "Rule with action `route`",
    "Values of one key are alternatives. A connection has to match: one of the destination keys \
     (`domain*`, `ip_cidr`, `ip_is_private`), one of the destination port keys, one of the source \
     keys, one of the source port keys, and each of the others; keys that are absent match all.",
    shared("Conditions", CONDITIONS),
    ROUTE_OPTIONS,
    &[]
);
rule!(
    RULE_REJECT,
    "Rule with action `reject`",
    "As above.",
    shared("Conditions", CONDITIONS),
    REJECT_OPTIONS,
    &[ROUTE_OPTIONS]
);
rule!(
    LOGICAL_ROUTE,
    "Logical rule with action `route`",
    "",
    own(COMBINATION),
    ROUTE_OPTIONS,
    &[]
);
rule!(
    LOGICAL_REJECT,
    "Logical rule with action `reject`",
    "",
    own(COMBINATION),
    REJECT_OPTIONS,
    &[ROUTE_OPTIONS]
);
