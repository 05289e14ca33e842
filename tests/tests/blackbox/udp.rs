//! UDP ASSOCIATE (RFC 1928 section 7) on our server.
use sansbox_tests::{
    body,
    origin::{dns, udp},
    peers::{dnsmasq, need, need_pysocks},
    ports::has_ipv6,
    proxy::{Proxy, config, inbound},
    socks::{Association, Destination, bind_like, greet, receive, reply, request, seal},
    wire::{Ending, SILENCE, read_all},
};
use serde_json::json;
use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    process::Command,
    thread,
    time::Duration,
};

/// How long to wait for a datagram that must not come.
const NOTHING: Duration = Duration::from_millis(400);

#[test]
fn datagrams_of_every_size_come_back() {
    let origin = udp::echo(udp::socket());
    for kind in ["socks", "mixed"] {
        for users in [&[][..], &[("u", "p")][..]] {
            let proxy = Proxy::inbound(kind, users);
            let association = Association::open(proxy.addr(), users.first().copied());
            let to = Destination::from(origin.addr());
            for len in [5, 100, 512, 1200, 1232, 1400] {
                let content = body::bytes(len);
                let (from, back) = association.ask(&to, &content);
                assert_eq!(from, to, "source of the answer");
                assert!(back == content, "{len} bytes through {kind}");
            }
        }
    }
}

#[test]
fn one_association_reaches_many_destinations() {
    let origins: Vec<_> = (0..5).map(|_| udp::echo(udp::socket())).collect();
    let proxy = Proxy::inbound("socks", &[]);
    let association = Association::open(proxy.addr(), None);
    for (number, origin) in origins.iter().enumerate() {
        let content = format!("to number {number}");
        let (from, back) = association.ask(&origin.addr().into(), content.as_bytes());
        assert_eq!((from, back), (origin.addr().into(), content.into_bytes()));
    }
}

#[test]
fn names_are_resolved_by_the_proxy() {
    let origin = udp::echo(udp::socket());
    let proxy = Proxy::inbound("socks", &[]);
    let association = Association::open(proxy.addr(), None);
    let to = Destination::from(("localhost", origin.addr().port()));
    assert_eq!(association.ask(&to, b"by name").1, b"by name");
}

#[test]
fn datagrams_reach_ipv6() {
    if !has_ipv6() {
        eprintln!("skipped: no IPv6 loopback");
        return;
    }
    let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).expect("bind [::1]");
    let origin = udp::echo(socket);
    let proxy = Proxy::inbound("socks", &[]);
    let association = Association::open(proxy.addr(), None);
    let (from, back) = association.ask(&origin.addr().into(), b"six");
    assert_eq!((from, back), (origin.addr().into(), b"six".to_vec()));
}

#[test]
fn fragments_and_nonsense_are_dropped_and_the_association_lives_on() {
    let origin = udp::echo(udp::socket());
    let proxy = Proxy::inbound("socks", &[]);
    let association = Association::open(proxy.addr(), None);
    let to = Destination::from(origin.addr());
    assert_eq!(association.ask(&to, b"before").1, b"before");
    let before = origin.received();
    for fragment in [1, 0x7f, 0x80, 0xff] {
        association.send_raw(&seal(fragment, &to, b"a fragment"));
    }
    for nonsense in [
        &b""[..],
        &[0],
        &[0, 0, 0],
        &[0, 0, 0, 1, 127],
        &[0, 0, 0, 2, 1, 1, 1, 1, 0, 9, b'x'],
        &[0, 0, 0, 3, 200, b'a'],
        &[0, 0, 0, 3, 0, 0, 9, b'x'],
        &[0, 0, 0, 4, 0, 0, 0, 0, 0, 9],
    ] {
        association.send_raw(nonsense);
    }
    assert_eq!(association.receive(NOTHING), None, "nothing comes back");
    assert_eq!(origin.received(), before, "nothing went on");
    assert_eq!(association.ask(&to, b"after").1, b"after");
}

#[test]
fn datagrams_from_another_address_are_dropped() {
    let origin = udp::echo(udp::socket());
    let proxy = Proxy::inbound("socks", &[]);
    let association = Association::open(proxy.addr(), None);
    let to = Destination::from(origin.addr());
    assert_eq!(association.ask(&to, b"mine").1, b"mine");
    let before = origin.received();
    // Another port of the same host, and another host.
    let other_host = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 2), 0)).expect("bind 127.0.0.2");
    for stranger in [bind_like(association.relay), other_host] {
        let datagram = seal(0, &to, b"not mine");
        stranger
            .send_to(&datagram, association.relay)
            .expect("send");
        assert_eq!(receive(&stranger, NOTHING), None, "an answer to a stranger");
    }
    assert_eq!(origin.received(), before, "nothing went on");
    assert_eq!(association.receive(NOTHING), None, "nothing to the owner");
    assert_eq!(association.ask(&to, b"still").1, b"still");
}

#[test]
fn a_client_that_names_its_port_is_held_to_it() {
    let origin = udp::echo(udp::socket());
    let proxy = Proxy::inbound("socks", &[]);
    let socket = bind_like(proxy.addr());
    let named = socket.local_addr().expect("an address");
    let mut control = greet(proxy.addr(), None);
    let (code, relay) = request(&mut control, 3, &named.into());
    assert_eq!(code, reply::SUCCEEDED);
    let stranger = Association {
        control: control.try_clone().expect("clone"),
        relay,
        socket: bind_like(proxy.addr()),
    };
    let to = Destination::from(origin.addr());
    // The stranger comes first: the address was named, so it is not learnt from it.
    stranger.send(&to, b"not mine");
    assert_eq!(stranger.receive(NOTHING), None);
    let owner = Association {
        control,
        relay,
        socket,
    };
    assert_eq!(owner.ask(&to, b"mine").1, b"mine");
}

#[test]
fn a_client_that_names_only_its_port_is_served_from_that_port() {
    let origin = udp::echo(udp::socket());
    let proxy = Proxy::inbound("socks", &[]);
    let socket = bind_like(proxy.addr());
    let port = socket.local_addr().expect("an address").port();
    let unspecified = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    // PySocks names the host `0`, as a name, and the port it has bound.
    for named in [unspecified.into(), Destination::from(("0", port))] {
        let mut control = greet(proxy.addr(), None);
        let (code, relay) = request(&mut control, 3, &named);
        assert_eq!(code, reply::SUCCEEDED, "{named:?}");
        let owner = Association {
            control,
            relay,
            socket: socket.try_clone().expect("clone"),
        };
        let to = Destination::from(origin.addr());
        assert_eq!(owner.ask(&to, b"mine").1, b"mine", "{named:?}");
        let stranger = bind_like(relay);
        let datagram = seal(0, &to, b"not mine");
        stranger.send_to(&datagram, relay).expect("send");
        assert_eq!(receive(&stranger, NOTHING), None, "{named:?}");
    }
}

#[test]
fn the_association_ends_with_its_control_connection() {
    let origin = udp::echo(udp::socket());
    let proxy = Proxy::inbound("socks", &[]);
    let Association {
        control,
        relay,
        socket,
    } = Association::open(proxy.addr(), None);
    let datagram = seal(0, &origin.addr().into(), b"hello");
    socket.send_to(&datagram, relay).expect("send");
    assert!(receive(&socket, SILENCE).is_some(), "alive at first");
    drop(control);
    thread::sleep(NOTHING);
    let before = origin.received();
    // The relay's port may be closed by now, which a second send can report.
    let _ = socket.send_to(&datagram, relay);
    assert_eq!(receive(&socket, NOTHING), None, "an answer after the end");
    assert_eq!(
        origin.received(),
        before,
        "a datagram went on after the end"
    );
}

#[test]
fn the_association_outlives_silence_while_control_is_open() {
    let origin = udp::echo(udp::socket());
    let mut entry = inbound("socks", &[]);
    entry["udp_timeout"] = json!("1s");
    let proxy = Proxy::start(&config(entry, json!([{ "type": "direct", "tag": "d" }])));
    let association = Association::open(proxy.addr(), None);
    let to = Destination::from(origin.addr());
    assert_eq!(association.ask(&to, b"one").1, b"one");
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(association.ask(&to, b"two").1, b"two");
}

#[test]
fn the_first_datagram_may_come_late() {
    let origin = udp::echo(udp::socket());
    let proxy = Proxy::inbound("socks", &[]);
    let association = Association::open(proxy.addr(), None);
    thread::sleep(Duration::from_secs(1));
    let to = Destination::from(origin.addr());
    assert_eq!(association.ask(&to, b"late").1, b"late");
}

#[test]
fn udp_that_policy_refuses_goes_nowhere() {
    let origin = udp::echo(udp::socket());
    let mut config = config(
        inbound("socks", &[]),
        json!([{ "type": "direct", "tag": "d" }]),
    );
    config["route"] = json!({ "rules": [{ "network": "udp", "action": "reject" }] });
    let proxy = Proxy::start(&config);
    let mut control = greet(proxy.addr(), None);
    let unknown: SocketAddr = (Ipv4Addr::UNSPECIFIED, 0).into();
    let (code, relay) = request(&mut control, 3, &unknown.into());
    // Rules see a destination, and that comes only with the first datagram.
    if code == reply::SUCCEEDED {
        let socket = bind_like(proxy.addr());
        let datagram = seal(0, &origin.addr().into(), b"hello");
        socket.send_to(&datagram, relay).expect("send");
        assert_eq!(receive(&socket, NOTHING), None);
    }
    assert_eq!(origin.received(), 0);
}

#[test]
fn an_http_inbound_knows_no_socks() {
    let proxy = Proxy::inbound("http", &[]);
    let mut stream = sansbox_tests::wire::connect(proxy.addr());
    std::io::Write::write_all(&mut stream, &[5, 1, 0, b'\r', b'\n', b'\r', b'\n']).expect("send");
    let answer = read_all(&mut stream, SILENCE);
    assert_ne!(answer.ending, Ending::StillOpen);
    assert_ne!(answer.bytes.first(), Some(&5), "{answer:?}");
}

#[test]
fn a_real_dns_query_goes_through() {
    let ip = Ipv4Addr::new(192, 0, 2, 44);
    let proxy = Proxy::inbound("mixed", &[]);
    let association = Association::open(proxy.addr(), None);
    let ours = dns::responder(ip);
    let (_, answer) = association.ask(&ours.addr().into(), &dns::query(4711, "a.test"));
    assert_eq!(dns::address(&answer, 4711), Some(ip), "our responder");
    let Some(program) = need("dnsmasq") else {
        return;
    };
    let server = dnsmasq(&program, "a.test", ip);
    let (_, answer) = association.ask(&server.addr().into(), &dns::query(4712, "a.test"));
    assert_eq!(dns::address(&answer, 4712), Some(ip), "dnsmasq");
}

#[test]
fn pysocks_asks_dns_through_an_association_with_a_password() {
    let Some(python) = need_pysocks() else { return };
    let ip = Ipv4Addr::new(192, 0, 2, 45);
    let server = dns::responder(ip);
    let proxy = Proxy::inbound("mixed", &[("u", "p")]);
    let script = "import socks, sys\n\
        s = socks.socksocket(socks.socket.AF_INET, socks.socket.SOCK_DGRAM)\n\
        s.set_proxy(socks.SOCKS5, '127.0.0.1', int(sys.argv[1]), True, 'u', 'p')\n\
        s.settimeout(10)\n\
        s.sendto(bytes.fromhex(sys.argv[3]), ('127.0.0.1', int(sys.argv[2])))\n\
        print(s.recvfrom(2000)[0].hex())\n";
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
    let output = Command::new(python)
        .args(["-c", script])
        .arg(proxy.port().to_string())
        .arg(server.addr().port().to_string())
        .arg(hex(&dns::query(99, "b.test")))
        .output()
        .expect("run python");
    let got = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{why}");
    let bytes: Vec<u8> = (0..got.len() / 2)
        .map(|i| u8::from_str_radix(&got[2 * i..2 * i + 2], 16).expect("hex"))
        .collect();
    assert_eq!(dns::address(&bytes, 99), Some(ip), "{got}");
}
