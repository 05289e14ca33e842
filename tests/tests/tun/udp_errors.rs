//! What programs are told of datagrams that do not arrive: what they would be told without the
//! device.
use crate::{
    echo::{FAR, far},
    hosted,
    net::{Net, TARGETS},
    program::{Options, Tun, has_own_options},
    tools::run,
    udp::{connected, echoes},
};
use rustix::{
    io::Errno,
    net::sockopt::{
        Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
    },
};
use sansbox_tests::{Value, body, json, namespace::Namespace, peers::need};
use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

/// What came before this did not wait for a timeout.
const AT_ONCE: Duration = Duration::from_millis(900);
const SILENCE: Duration = Duration::from_millis(500);
/// MTU of the way behind the server.
const FAR_MTU: u16 = 1300;

/// A port of `ip` on which nobody waits for datagrams.
fn closed(place: &Namespace, ip: IpAddr) -> SocketAddr {
    place.enter(|| {
        let socket = UdpSocket::bind((ip, 0)).expect("bind");
        socket.local_addr().expect("a socket has an address")
    })
}

/// What a program is told that waits for an answer.
fn told(socket: &UdpSocket) -> Result<usize, Errno> {
    let received = socket.recv(&mut [0; 2048]);
    received.map_err(|e| Errno::from_io_error(&e).unwrap_or_else(|| panic!("{e:?}")))
}

fn is_refused_at_once(socket: &UdpSocket, what: &str) {
    let start = Instant::now();
    socket.send(b"is anybody there?").expect("send");
    assert_eq!(told(socket), Err(Errno::CONNREFUSED), "{what}");
    assert!(start.elapsed() < AT_ONCE, "{what}: {:?}", start.elapsed());
}

#[test]
fn a_closed_port_refuses_at_once_and_other_sockets_go_on() {
    if !has_own_options() {
        return;
    }
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    for ip in TARGETS {
        let server = hosted::udp(&tun.net.server, ip, |datagram| Some(datagram.to_vec()));
        let (open, closed) = (server.addr(), closed(&tun.net.server, ip));
        let what = format!("{closed}\n{}", tun.proxy.log());
        tun.net.client.enter(|| {
            let (refused, other) = (connected(closed), connected(open));
            for n in 0..5 {
                is_refused_at_once(&refused, &what);
                assert!(echoes(&other, &body::bytes(100 + n)), "{what}");
            }
            // One socket for both: an error of one target loses no datagram to the other.
            let any = refused.local_addr().expect("an address").ip();
            let both = UdpSocket::bind((any, 0)).expect("bind");
            both.set_read_timeout(Some(AT_ONCE)).expect("a timeout");
            for n in 0..20 {
                both.send_to(b"nobody", closed).expect("send");
                both.send_to(&[n; 9], open).expect("send");
                let mut buffer = [0; 64];
                let (len, from) = both.recv_from(&mut buffer).expect(&what);
                assert_eq!((&buffer[..len], from), (&[n; 9][..], open), "{what}");
            }
        });
    }
}

#[test]
fn dig_is_told_that_nobody_answers_there() {
    let Some(dig) = need("dig").filter(|_| has_own_options()) else {
        return;
    };
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    for ip in TARGETS {
        let port = closed(&tun.net.server, ip).port();
        let arguments = format!("@{ip} -p {port} tun.test A +notcp +tries=1 +time=20");
        let start = Instant::now();
        let said = run(&tun.net.client, &dig, &arguments, Duration::from_secs(30));
        let is_told = said.text.contains("connection refused");
        assert!(is_told, "{}\n{}", said.text, tun.proxy.log());
        assert!(start.elapsed() < Duration::from_secs(10), "{}", said.text);
    }
}

/// A rule's `reject` is a closed port, and so is what no outbound carries; `drop` is silence.
#[test]
fn what_a_rule_rejects_is_refused_at_once() {
    if !has_own_options() {
        return;
    }
    let rule = |port: u16, method: &str| -> Value {
        json!({ "port": port, "action": "reject", "method": method })
    };
    let options = Options {
        rules: json!([rule(4001, "default"), rule(4002, "drop")]),
        ..Options::default()
    };
    let Some(tun) = Tun::new(&options) else {
        return;
    };
    for ip in TARGETS {
        tun.net.client.enter(|| {
            let what = format!("{ip}\n{}", tun.proxy.log());
            let rejected = connected(SocketAddr::new(ip, 4001));
            for _ in 0..3 {
                is_refused_at_once(&rejected, &what);
            }
            let dropped = connected(SocketAddr::new(ip, 4002));
            dropped.set_read_timeout(Some(SILENCE)).expect("a timeout");
            dropped.send(b"is anybody there?").expect("send");
            assert_eq!(told(&dropped), Err(Errno::AGAIN), "{what}");
        });
    }
}

fn never_cut(socket: &UdpSocket, ip: IpAddr) {
    let set = match ip {
        IpAddr::V4(_) => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DO),
        IpAddr::V6(_) => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::DO),
    };
    set.expect("path MTU discovery");
}

/// A router far behind the device says how long packets may be, and the program learns it.
#[test]
fn a_socket_learns_the_mtu_of_a_way_far_behind_the_device() {
    if !has_own_options() {
        return;
    }
    let Some(net) = Net::new() else { return };
    let Some(place) = far(&net) else { return };
    let tun = Tun::on(net, &Options::with("egress_mtu", &json!(1500)));
    for ip in FAR {
        let server = hosted::udp(&place, ip, |datagram| Some(datagram.to_vec()));
        let addr = server.addr();
        let headers = if ip.is_ipv4() { 28 } else { 48 };
        let fits = body::bytes(u64::from(FAR_MTU) - headers);
        let what = format!("{ip}\n{}", tun.proxy.log());
        tun.net.client.enter(|| {
            let socket = connected(addr);
            never_cut(&socket, ip);
            assert!(echoes(&socket, &fits), "{what}");
            let longer = body::bytes(fits.len() as u64 + 1);
            socket.send(&longer).expect(&what);
            assert_eq!(told(&socket), Err(Errno::MSGSIZE), "{what}");
            // Now it knows.
            let sent = socket.send(&longer);
            let errno = sent.map_err(|e: io::Error| Errno::from_io_error(&e));
            assert_eq!(errno, Err(Some(Errno::MSGSIZE)), "{what}");
            assert!(echoes(&socket, &fits), "{what}");
        });
    }
}
