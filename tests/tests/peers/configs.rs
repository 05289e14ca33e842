//! Configurations of peers.
use sansbox_tests::{Value, json};

/// What both sides must know.
pub(crate) const USER: (&str, &str) = ("peer", "pass word:1");

/// Xray with one inbound, `socks`, `http` or `mixed`, and a direct way out.
pub(crate) fn xray_server(protocol: &str, port: u16, user: Option<(&str, &str)>) -> Value {
    let mut settings = json!({});
    if protocol != "http" {
        settings = json!({ "udp": true, "ip": "127.0.0.1" });
    }
    if let Some((name, password)) = user {
        settings["accounts"] = json!([{ "user": name, "pass": password }]);
        if protocol != "http" {
            settings["auth"] = json!("password");
        }
    }
    json!({
        "log": { "loglevel": "warning" },
        "inbounds": [{
            "listen": "127.0.0.1", "port": port, "protocol": protocol, "settings": settings,
        }],
        "outbounds": [{ "protocol": "freedom" }],
    })
}

/// Xray with a SOCKS inbound on `port` whose way out is `protocol` to `server`.
pub(crate) fn xray_client(
    port: u16,
    protocol: &str,
    server: u16,
    user: Option<(&str, &str)>,
) -> Value {
    let mut settings = json!({ "address": "127.0.0.1", "port": server });
    if let Some((name, password)) = user {
        settings["user"] = json!(name);
        settings["pass"] = json!(password);
    }
    json!({
        "log": { "loglevel": "warning" },
        "inbounds": [{
            "listen": "127.0.0.1", "port": port, "protocol": "socks",
            "settings": { "udp": true, "ip": "127.0.0.1" },
        }],
        "outbounds": [{ "protocol": protocol, "settings": settings }],
    })
}

/// sing-box with one inbound of `kind` on `port` and a direct way out.
pub(crate) fn sing_box_server(kind: &str, port: u16, user: Option<(&str, &str)>) -> Value {
    let mut inbound = json!({
        "type": kind, "tag": "in", "listen": "127.0.0.1", "listen_port": port,
    });
    if let Some((name, password)) = user {
        inbound["users"] = json!([{ "username": name, "password": password }]);
    }
    json!({
        "log": { "level": "info" },
        "inbounds": [inbound],
        "outbounds": [{ "type": "direct", "tag": "direct" }],
    })
}

/// sing-box with a mixed inbound on `port` whose only way out is `outbound`.
pub(crate) fn sing_box_client(port: u16, outbound: &Value) -> Value {
    json!({
        "log": { "level": "info" },
        "inbounds": [{
            "type": "mixed", "tag": "in", "listen": "127.0.0.1", "listen_port": port,
        }],
        "outbounds": [outbound],
    })
}
