//! Linux's TCP at full speed: iperf3.
use crate::{
    net::{TARGET4, TARGET6, TARGETS},
    program::{Options, Tun},
    tools::{run, scaled, spawn},
};
use sansbox_tests::{
    Value,
    peers::need,
    process::{Process, START_TIMEOUT},
};
use std::{net::IpAddr, path::Path, time::Duration};

const PORT: u16 = 5201;

fn server(tun: &Tun, iperf3: &Path, ip: IpAddr) -> Process {
    let arguments = format!("-s -B {ip} -p {PORT} --forceflush");
    let mut server = spawn(&tun.net.server, iperf3, &arguments);
    server.wait_for_line("Server listening", START_TIMEOUT);
    server
}

/// Sends for some seconds over so many connections at once, and checks both ends' books.
fn measure(tun: &Tun, iperf3: &Path, ip: IpAddr, streams: u32, is_download: bool) {
    let seconds = scaled(10, 1);
    let direction = if is_download { " -R" } else { "" };
    let arguments = format!("-c {ip} -p {PORT} -P {streams} -t {seconds} -J{direction}");
    let timeout = Duration::from_secs(60 + seconds);
    let said = run(&tun.net.client, iperf3, &arguments, timeout);
    let what = format!("iperf3 {arguments}");
    assert!(said.success, "{what}: {}\n{}", said.text, tun.proxy.log());
    let report: Value = serde_json::from_str(&said.text).expect("iperf3 writes JSON");
    let bytes = |end: &str| report["end"][end]["bytes"].as_u64().unwrap_or(0);
    let (sent, received) = (bytes("sum_sent"), bytes("sum_received"));
    assert!(
        received > 0 && received <= sent,
        "{what}: {sent} {received}"
    );
    let open = report["end"]["streams"].as_array().map_or(0, Vec::len);
    assert_eq!(
        open, streams as usize,
        "{what}: every connection has its book"
    );
    let speed = report["end"]["sum_received"]["bits_per_second"].as_f64();
    println!("{what}: {:.2} Gbit/s", speed.unwrap_or(0.0) / 1e9);
}

#[test]
fn iperf3_sends_over_1_8_and_64_connections() {
    every_number(false);
}

#[test]
fn iperf3_receives_over_1_8_and_64_connections() {
    every_number(true);
}

fn every_number(is_download: bool) {
    let Some(iperf3) = need("iperf3") else { return };
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    for (ip, numbers) in [(TARGET4, &[1, 8, 64][..]), (TARGET6, &[8])] {
        let _server = server(&tun, &iperf3, ip);
        for streams in numbers {
            measure(&tun, &iperf3, ip, *streams, is_download);
        }
    }
}

#[test]
fn iperf3_sends_and_receives_at_once() {
    let Some(iperf3) = need("iperf3") else { return };
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    for ip in TARGETS {
        let _server = server(&tun, &iperf3, ip);
        let arguments = format!("-c {ip} -p {PORT} -P 4 -t 1 --bidir -J");
        let said = run(
            &tun.net.client,
            &iperf3,
            &arguments,
            Duration::from_secs(60),
        );
        assert!(said.success, "{}\n{}", said.text, tun.proxy.log());
        let report: Value = serde_json::from_str(&said.text).expect("iperf3 writes JSON");
        for sum in ["sum_received", "sum_received_bidir_reverse"] {
            let received = report["end"][sum]["bytes"].as_u64().unwrap_or(0);
            assert!(received > 0, "{sum} of {ip}: {}", said.text);
        }
    }
}
