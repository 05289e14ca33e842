//! What the program takes over while it serves a device.
use crate::{
    net::{TARGET4, TARGETS},
    program::{Options, Tun, has_own_options},
    tools::run,
};
use sansbox_tests::{
    Value, json,
    peers::need,
    process::{START_TIMEOUT, Signal},
};
use std::{
    fs, io,
    net::{IpAddr, SocketAddr, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Where nobody listens.
const CLOSED: u16 = 9;

/// Changes the file that the program was started with, and tells it.
fn change(tun: &mut Tun, change: impl Fn(&mut Value), said: &str) {
    let path = tun.proxy.folder().join("config.json");
    let text = fs::read_to_string(&path).expect("the configuration");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    change(&mut config["inbounds"][0]);
    fs::write(&path, config.to_string()).expect("write it");
    tun.proxy.process().signal(Signal::Hup);
    let process = tun.proxy.process();
    process.wait_for_line(said, START_TIMEOUT);
}

/// Waits until the device is served so: whether a SYN to a port where nobody listens is answered all
/// the same, and the MTU of the way. Each worker takes settings over by itself, behind the line that
/// says so, and the families may come to different ones.
fn wait_served(tun: &Tun, at_once: bool, mtu: u16) {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let answered = TARGETS.map(|ip| is_answered(tun, ip));
        let found = path_mtu(tun);
        if answered == [at_once; 2] && found == Some(mtu) {
            return;
        }
        let late = Instant::now() >= deadline;
        assert!(!late, "{answered:?} {found:?}\n{}", tun.proxy.log());
    }
}

/// Is a SYN to a port where nobody listens answered?
fn is_answered(tun: &Tun, ip: IpAddr) -> bool {
    let addr = SocketAddr::new(ip, CLOSED);
    let connect = || TcpStream::connect_timeout(&addr, TIMEOUT);
    let kind = tun.net.client.enter(connect).err().map(|e| e.kind());
    match kind {
        // The reset may come before anybody looks.
        None | Some(io::ErrorKind::ConnectionReset) => true,
        Some(io::ErrorKind::ConnectionRefused) => false,
        Some(other) => panic!("{addr}: {other}\n{}", tun.proxy.log()),
    }
}

/// What the kernel learns to be the MTU of the way, from the answer to a datagram of 1500 bytes.
fn path_mtu(tun: &Tun) -> Option<u16> {
    let ip = need("ip").expect("there are namespaces");
    // What it has learnt before is not asked for again.
    tun.net.client.run("ip route flush cache");
    let socket = tun.net.client.enter(|| UdpSocket::bind("0.0.0.0:0"));
    let socket = socket.expect("a socket");
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        // Linux forbids to cut what is not longer than the MTU it knows.
        let _refused_later = socket.send_to(&[0; 1472], (TARGET4, CLOSED));
        thread::sleep(Duration::from_millis(50));
        let said = run(
            &tun.net.client,
            &ip,
            &format!("route get {TARGET4}"),
            TIMEOUT,
        );
        let mut words = said.text.split_whitespace();
        if words.any(|word| word == "mtu") {
            return words.next().and_then(|mtu| mtu.parse().ok());
        }
    }
    None
}

#[test]
fn sighup_changes_the_egress_mtu_and_the_handshake_while_it_serves() {
    if !has_own_options() {
        return;
    }
    let Some(mut tun) = Tun::new(&Options::with("egress_mtu", &json!(1280))) else {
        return;
    };
    wait_served(&tun, true, 1280);
    let adjust = |inbound: &mut Value| {
        inbound["sansbox"]["handshake_mode"] = json!("consistent");
        inbound["sansbox"]["egress_mtu"] = json!(1300);
    };
    let said = "reload service: inbound/tun[tun-in]: egress_mtu is 1300, was 1280, \
                handshake_mode is consistent, was fast";
    change(&mut tun, adjust, said);
    wait_served(&tun, false, 1300);
    // Nothing is taken over as long as there is something that cannot be.
    let both = |inbound: &mut Value| {
        inbound["sansbox"]["handshake_mode"] = json!("fast");
        inbound["mtu"] = json!(1400);
    };
    let said = "a restart is needed for inbounds[0].mtu";
    change(&mut tun, both, said);
    wait_served(&tun, false, 1300);
    let back = |inbound: &mut Value| {
        inbound["sansbox"]["handshake_mode"] = json!("fast");
        drop(inbound.as_object_mut().expect("it is one").remove("mtu"));
    };
    let said = "handshake_mode is fast, was consistent";
    change(&mut tun, back, said);
    wait_served(&tun, true, 1300);
}
