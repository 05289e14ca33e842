//! How long a packet may be, as programs find it out.
use crate::{
    ends::short,
    hosted,
    net::{TARGET4, TARGET6, TARGETS},
    program::{Options, Tun, has_own_options},
    tools::run,
    udp::echoes_once,
};
use sansbox_tests::{body, json, peers::need};
use std::{io, net::SocketAddr, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(60);

/// UDP that must not be fragmented learns the MTU of the way on.
#[test]
fn tracepath_finds_the_mtu_of_the_way_on() {
    let Some(program) = need("tracepath").filter(|_| has_own_options()) else {
        return;
    };
    for (ip, mtu) in [
        (TARGET4, 1300),
        (TARGET6, 1300),
        (TARGET4, 1280),
        (TARGET6, 1280),
    ] {
        let Some(tun) = Tun::new(&Options::with("egress_mtu", &json!(mtu))) else {
            return;
        };
        let arguments = format!("-n -m 2 {ip}");
        let said = run(&tun.net.client, &program, &arguments, TIMEOUT);
        println!("{}", said.text);
        let found = format!("pmtu {mtu}");
        assert!(
            said.text.contains(&found),
            "{}\n{}",
            said.text,
            tun.proxy.log()
        );
    }
}

/// Whatever is not answered is complained about: a probe that meets silence tells nothing.
#[test]
fn a_ping_that_must_not_be_fragmented_is_answered_or_refused() {
    let Some(program) = need("ping") else { return };
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    for ip in TARGETS {
        for length in [1000, 1300, 1440, 2000] {
            let arguments = format!("-n -M do -s {length} -c 2 -i 0.2 -W 1 {ip}");
            let text = run(&tun.net.client, &program, &arguments, TIMEOUT).text;
            println!("{text}");
            let is_refused = text.contains("mtu");
            assert!(text.contains(" bytes from ") || is_refused, "{text}");
            assert!(!is_refused || length > 1000, "{text}");
        }
    }
}

/// The MTU of the way on is no concern of TCP that ends here.
#[test]
fn connections_work_when_the_way_on_is_narrower_than_the_device() {
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    tun.net.narrow(1280);
    for ip in TARGETS {
        let datagrams = hosted::udp(&tun.net.server, ip, |datagram| Some(datagram.to_vec()));
        let udp: SocketAddr = datagrams.addr();
        let server = hosted::tcp(&tun.net.server, ip, |mut stream| {
            let _ = io::copy(&mut stream.try_clone().expect("clone"), &mut stream);
        });
        let addr = server.addr();
        tun.net.client.enter(|| {
            assert!(echoes_once(udp, 1400), "1400 bytes of UDP");
            short(addr, &body::bytes(100_000));
        });
    }
}
