//! QUIC by others, through the device.
use crate::{
    net::TARGETS,
    program::{Options, Tun, has_own_options},
    tools::{run, scaled, spawn},
};
use sansbox_tests::{
    Value,
    peers::need,
    process::{Process, START_TIMEOUT},
};
use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

const TIMEOUT: Duration = Duration::from_secs(120);

/// Starts such a program of ours as a server; gives it with its address.
fn serve(tun: &Tun, program: &Path, ip: IpAddr, more: &str) -> (Process, String) {
    let at = SocketAddr::new(ip, 0);
    let arguments = format!("-listen {at}{more}");
    let mut server = spawn(&tun.net.server, program, &arguments);
    let line = server.wait_for_line("\"listening\"", START_TIMEOUT);
    let event: Value = serde_json::from_str(&line).expect("events are JSON");
    let addr = event["address"].as_str().expect("an address").to_owned();
    (server, addr)
}

/// Has the program do these steps as a client, and checks that it did.
fn perform(tun: &Tun, program: &Path, arguments: &str, steps: &[String]) {
    let arguments = format!("{arguments} {}", steps.join(" "));
    let said = run(&tun.net.client, program, &arguments, TIMEOUT);
    let log = tun.proxy.log();
    assert!(said.success, "{arguments}: {}\n{log}", said.text);
    for step in steps {
        let is_done = said.text.contains(&format!("\"step\":\"{step}\""));
        assert!(is_done, "{arguments}: {step}: {}\n{log}", said.text);
    }
}

#[test]
fn quic_go_moves_20_megabytes_both_ways_over_50_streams() {
    let Some(program) = need("quic-peer") else {
        return;
    };
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    for ip in TARGETS {
        let (_server, addr) = serve(&tun, &program, ip, " -size 1200");
        let steps = ["echo:50:20000000", "at-end:100000", "listens:100000"].map(str::to_owned);
        let arguments = format!("-connect {addr} -from :0 -size 1200");
        perform(&tun, &program, &arguments, &steps);
    }
}

/// Bodies are checked by their SHA-256 at both ends, and each request has another one. The socket
/// is as the library likes it: it marks ECN, hands runs of datagrams over, and looks for the MTU.
fn http_3(tun: &Tun, program: &Path, more: &str) {
    for ip in TARGETS {
        let (_server, addr) = serve(tun, program, ip, "");
        let length = scaled(100_000_000, 5_000_000);
        let steps = [
            format!("get:1:{length}"),
            format!("post:1:{length}"),
            "get:10:1000000".to_owned(),
            "post:10:1000000".to_owned(),
        ];
        let before = tun.net.packets_into_device();
        perform(tun, program, &format!("-connect {addr}{more}"), &steps);
        assert!(tun.net.packets_into_device() > before + 1000, "{addr}");
    }
}

#[test]
fn http_3_fetches_and_posts_with_datagrams_of_1200_octets_at_first() {
    let Some(program) = need("h3-peer") else {
        return;
    };
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    http_3(&tun, &program, " -size 1200");
}

/// quic-go pads its first datagrams to 1280 octets of payload, forbids to cut them, and does not try
/// shorter ones.
#[test]
fn http_3_fetches_and_posts_as_quic_go_likes_it() {
    let Some(program) = need("h3-peer").filter(|_| has_own_options()) else {
        return;
    };
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    http_3(&tun, &program, "");
}
