//! The program with a TUN inbound.
use crate::net::{NETWORKS, Net, WIRE};
use sansbox_tests::{Value, json, proxy::Proxy};
use std::env;

/// Where the inbound has what sing-box does not know.
const OWN_KEY: &str = "sansbox";

/// What differs between tests.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Own options of the inbound.
    pub(crate) own: Value,
    /// Rules of the route.
    pub(crate) rules: Value,
}

impl Options {
    pub(crate) fn with_handshake(mode: &str) -> Self {
        Self::with("handshake_mode", &json!(mode))
    }

    /// As by default but for one own option.
    pub(crate) fn with(key: &str, value: &Value) -> Self {
        let mut options = Self::default();
        options.own[key] = value.clone();
        options
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            own: json!({ "icmp_echo": "reply" }),
            rules: json!([]),
        }
    }
}

fn is_plain() -> bool {
    env::var_os("SANSBOX_TUN_PLAIN").is_some_and(|value| value == "1")
}

/// Whether the program is sansbox; if not, says that the test is skipped, and why.
pub(crate) fn is_ours(why: &str) -> bool {
    if is_plain() {
        eprintln!("skipped: SANSBOX_TUN_PLAIN=1, and {why}");
    }
    !is_plain()
}

/// As [`is_ours`], for a test of options that only sansbox has.
pub(crate) fn has_own_options() -> bool {
    is_ours("this needs options of sansbox")
}

/// The configuration: everything leaves over the wire.
pub(crate) fn config(options: &Options) -> Value {
    let mut inbound = json!({
        "type": "tun",
        "tag": "tun-in",
        "interface_name": "tun0",
        "address": ["10.11.12.1/30", "fdfe:dcba:9876::1/126"],
        "auto_route": false,
    });
    if is_plain() {
        // What sing-box takes by itself when it is built with it.
        inbound["mtu"] = json!(1500);
        inbound["stack"] = json!("gvisor");
    } else {
        inbound[OWN_KEY] = options.own.clone();
    }
    json!({
        "log": { "level": "info" },
        "inbounds": [inbound],
        "outbounds": [{ "type": "direct", "tag": "direct", "bind_interface": WIRE }],
        "route": { "rules": options.rules },
    })
}

/// The same, but for the device's routes, which the program makes by itself.
pub(crate) fn config_with_routes(finds_interface: bool) -> Value {
    let mut config = config(&Options::default());
    config["inbounds"][0]["auto_route"] = json!(true);
    config["outbounds"] = json!([{ "type": "direct", "tag": "direct" }]);
    if finds_interface {
        config["route"]["auto_detect_interface"] = json!(true);
    }
    config
}

/// The program on the client, and the machines around it.
pub(crate) struct Tun {
    pub(crate) proxy: Proxy,
    pub(crate) net: Net,
}

impl Tun {
    /// Between good wires, or none after saying why the test is skipped.
    pub(crate) fn new(options: &Options) -> Option<Self> {
        Some(Self::on(Net::new()?, options))
    }

    /// On these machines; all that is for the server goes into its device.
    pub(crate) fn on(net: Net, options: &Options) -> Self {
        let proxy = start(&net, &config(options));
        net.route(&NETWORKS);
        Self { proxy, net }
    }
}

/// Starts it on the client.
pub(crate) fn start(net: &Net, config: &Value) -> Proxy {
    Proxy::start_in(config, Some(net.client.name()))
}
