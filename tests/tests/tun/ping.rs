//! Echo requests, and traceroute.
use crate::{
    hosted,
    net::{TARGET4, TARGETS},
    program::{Options, Tun, has_own_options, is_ours},
    tools::{Said, run},
};
use sansbox_tests::{json, peers::need};
use std::{net::IpAddr, path::Path, time::Duration};

fn ping(tun: &Tun, program: &Path, ip: IpAddr, more: &str) -> Said {
    let arguments = format!("-n -c 5 -i 0.2 -W 1{more} {ip}");
    run(
        &tun.net.client,
        program,
        &arguments,
        Duration::from_secs(30),
    )
}

#[test]
fn echo_requests_are_answered() {
    let Some(program) = need("ping") else { return };
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    for ip in TARGETS {
        for length in [" -s 0", " -s 56", " -s 1200"] {
            let said = ping(&tun, &program, ip, length);
            assert!(said.success, "{ip}: {}", said.text);
            assert!(said.text.contains(", 0% packet loss"), "{}", said.text);
            println!("{}", said.text.lines().last().unwrap_or_default());
        }
    }
}

#[test]
fn echo_requests_stay_without_answer_when_that_is_off() {
    let Some(program) = need("ping").filter(|_| has_own_options()) else {
        return;
    };
    let Some(tun) = Tun::new(&Options::with("icmp_echo", &json!("off"))) else {
        return;
    };
    for ip in TARGETS {
        let said = ping(&tun, &program, ip, "");
        assert!(said.text.contains(", 100% packet loss"), "{}", said.text);
        assert!(!said.text.contains("errors"), "{}", said.text);
    }
}

#[test]
fn echo_requests_are_rejected() {
    let Some(program) = need("ping").filter(|_| has_own_options()) else {
        return;
    };
    let Some(tun) = Tun::new(&Options::with("icmp_echo", &json!("reject"))) else {
        return;
    };
    for (ip, reason) in TARGETS.iter().zip(["Packet filtered", "prohibited"]) {
        let said = ping(&tun, &program, *ip, "");
        assert!(said.text.contains(reason), "{}", said.text);
        assert!(said.text.contains("+5 errors"), "{}", said.text);
    }
}

/// Every kind of probe ends, and those that something answers arrive.
#[test]
fn traceroute_arrives() {
    let Some(program) = need("traceroute") else {
        return;
    };
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    let server = hosted::tcp(&tun.net.server, TARGET4, drop);
    let port = server.addr().port();
    let arrived = format!(" {TARGET4} ");
    for (kind, arrives) in [
        ("-I".to_owned(), true),
        (format!("-T -p {port}"), true),
        ("-U -p 33434".to_owned(), is_ours("sing-box tells nobody")),
    ] {
        let arguments = format!("-n -q 1 -w 1 -m 4 {kind} {TARGET4}");
        let said = run(
            &tun.net.client,
            &program,
            &arguments,
            Duration::from_secs(30),
        );
        println!("{}", said.text);
        assert!(said.success, "{}", said.text);
        let hops = said.text.lines().skip(1);
        let is_there = hops
            .into_iter()
            .any(|hop| format!("{hop} ").contains(&arrived));
        assert!(is_there || !arrives, "{arguments}: {}", said.text);
    }
}
