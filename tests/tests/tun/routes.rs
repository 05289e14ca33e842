//! The routes that the program makes, and takes away.
use crate::{
    ends::short,
    hosted,
    net::{Net, TARGETS},
    program::{config_with_routes, is_ours, start},
    tools::run,
};
use sansbox_tests::{
    body,
    peers::need,
    process::{START_TIMEOUT, Signal},
    proxy::Proxy,
};
use std::{
    io,
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Rules, and the routes of every table but those that the kernel keeps by itself.
fn tables(net: &Net) -> String {
    let ip = need("ip").expect("there are namespaces");
    let mut all = String::new();
    for what in [
        "-4 rule show",
        "-6 rule show",
        "-4 route show table all",
        "-6 route show table all",
    ] {
        let said = run(&net.client, &ip, what, TIMEOUT);
        assert!(said.success, "{what}: {}", said.text);
        let own = said
            .text
            .lines()
            .filter(|line| !line.contains("table local"));
        let mut own: Vec<_> = own.map(str::trim).collect();
        own.sort_unstable();
        all += &format!("{what}\n{}\n", own.join("\n"));
    }
    all
}

/// Everything goes into the device, and what the program sends leaves by the wire.
fn assert_serves(net: &Net, proxy: &Proxy) {
    for ip in TARGETS {
        let server = hosted::tcp(&net.server, ip, |mut stream| {
            let mut writer = stream.try_clone().expect("clone");
            let _ = io::copy(&mut stream, &mut writer);
            let _ = writer.shutdown(Shutdown::Write);
        });
        let addr = server.addr();
        let before = net.packets_into_device();
        net.client.enter(|| short(addr, &body::bytes(500_000)));
        let packets = net.packets_into_device() - before;
        assert!(packets > 5, "{packets} packets\n{}", proxy.log());
        assert_eq!(server.accepted(), 1, "{}", proxy.log());
    }
}

/// Waits until all is as it was: interfaces go a moment after their program.
fn assert_restored(net: &Net, before: &str) {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let now = tables(net);
        if now == before {
            return;
        }
        assert!(Instant::now() < deadline, "before:\n{before}\nnow:\n{now}");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn routes_are_made_and_removed_at_the_end() {
    let Some(net) = Net::with_default_routes() else {
        return;
    };
    let before = tables(&net);
    for signal in [Signal::Term, Signal::Int] {
        let proxy = start(&net, &config_with_routes(true));
        assert_ne!(tables(&net), before);
        assert_serves(&net, &proxy);
        let (status, log) = proxy.stop(signal);
        assert!(status.success(), "{log}");
        assert_restored(&net, &before);
    }
}

#[test]
fn routes_that_a_killed_program_left_are_removed_by_the_next() {
    let Some(net) = Net::with_default_routes() else {
        return;
    };
    let before = tables(&net);
    let proxy = start(&net, &config_with_routes(true));
    assert_serves(&net, &proxy);
    let (status, log) = proxy.stop(Signal::Kill);
    assert!(!status.success(), "{log}");
    let proxy = start(&net, &config_with_routes(true));
    assert_serves(&net, &proxy);
    let (status, log) = proxy.stop(Signal::Term);
    assert!(status.success(), "{log}");
    assert_restored(&net, &before);
}

/// The first signal gives connections half a second to end; the second comes before that.
#[test]
fn routes_are_removed_by_an_impatient_end() {
    let Some(net) = Net::with_default_routes() else {
        return;
    };
    let before = tables(&net);
    let mut proxy = start(&net, &config_with_routes(true));
    assert_serves(&net, &proxy);
    let server = hosted::tcp(&net.server, TARGETS[0], |mut stream| {
        let _ = io::copy(&mut stream, &mut io::sink());
    });
    let addr = server.addr();
    // Which the program waits for.
    let open = net.client.enter(|| TcpStream::connect(addr));
    let open = open.expect("it connects");
    proxy.process().signal(Signal::Term);
    let (status, log) = proxy.stop(Signal::Term);
    assert_eq!(status.code(), Some(1), "the second signal was heard: {log}");
    // At once, but for what goes with the device.
    let left = tables(&net);
    assert!(!left.contains("2022"), "{left}\n{log}");
    drop(open);
    assert_restored(&net, &before);
}

/// Somebody deletes the device, which has been quiet or not.
#[test]
fn a_device_that_is_deleted_is_told_of() {
    if !is_ours("others may say nothing") {
        return;
    }
    for is_quiet in [true, false] {
        let Some(net) = Net::with_default_routes() else {
            return;
        };
        let before = tables(&net);
        let mut proxy = start(&net, &config_with_routes(true));
        if !is_quiet {
            assert_serves(&net, &proxy);
        }
        net.client.run("ip link del tun0");
        let process = proxy.process();
        process.wait_for_line("inbound/tun[tun-in]: the device is gone", START_TIMEOUT);
        let (status, log) = proxy.stop(Signal::Term);
        assert!(status.success(), "{log}");
        assert!(log.contains("ERROR"), "{log}");
        assert_restored(&net, &before);
    }
}
