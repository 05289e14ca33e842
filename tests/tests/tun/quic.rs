//! QUIC by others, through the device.
use crate::{
    net::TARGETS,
    program::{Options, Tun},
    tools::{run, spawn},
};
use sansbox_tests::{Value, peers::need, process::START_TIMEOUT};
use std::{net::SocketAddr, time::Duration};

#[test]
fn quic_go_moves_20_megabytes_both_ways_over_50_streams() {
    let Some(program) = need("quic-peer") else {
        return;
    };
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    for ip in TARGETS {
        let at = SocketAddr::new(ip, 0);
        let arguments = format!("-listen {at} -size 1200");
        let mut server = spawn(&tun.net.server, &program, &arguments);
        let line = server.wait_for_line("\"listening\"", START_TIMEOUT);
        let event: Value = serde_json::from_str(&line).expect("events are JSON");
        let addr = event["address"].as_str().expect("an address");
        let steps = ["echo:50:20000000", "at-end:100000", "listens:100000"];
        let arguments = format!("-connect {addr} -from :0 -size 1200 {}", steps.join(" "));
        let timeout = Duration::from_secs(120);
        let said = run(&tun.net.client, &program, &arguments, timeout);
        assert!(said.success, "{ip}: {}\n{}", said.text, tun.proxy.log());
        for step in steps {
            let is_done = said.text.contains(&format!("\"step\":\"{step}\""));
            assert!(is_done, "{step} to {ip}: {}", said.text);
        }
    }
}
