//! What `connect` tells a program when its destination cannot be had: what it would tell without
//! the device.
use crate::{
    hosted::{self, Hosted},
    net::{NETWORKS, Net, TARGET4, TARGET6, TARGETS, WIRE},
    program::{Options, Tun, config, has_own_options, start},
};
use rustix::io::Errno;
use sansbox_tests::{
    Value, json,
    namespace::Namespace,
    origin::tcp::TcpServer,
    wire::{Ending, SILENCE, read_all, read_exact},
};
use std::{
    fs,
    io::{ErrorKind, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// How long a program waits that gets no answer: longer than until its second SYN. Where the wire
/// takes no time the error that answers the first comes while `connect` holds the socket, and
/// Linux then only remembers it.
const PATIENCE: Duration = Duration::from_millis(2500);
/// What was answered before this was no second SYN.
const AT_ONCE: Duration = Duration::from_millis(900);

const fn v4(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, host))
}

const fn v6(host: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, host))
}

/// Destinations of which the server's machine says that they cannot be had, and how.
fn refuse(server: &Namespace) {
    for route in [
        "unreachable 198.51.100.16/28",
        // Where nobody answers the search for the neighbour.
        "2001:db8:2::100/120 dev wire",
        "prohibit 198.51.100.48/28",
        "prohibit 2001:db8:2::300/120",
        "blackhole 198.51.100.32/28",
        "blackhole 2001:db8:2::200/120",
    ] {
        server.run(&format!("ip route add {route}"));
    }
    server.enter(|| {
        let path = format!("/proc/sys/net/ipv6/neigh/{WIRE}/retrans_time_ms");
        fs::write(&path, "20").unwrap_or_else(|e| panic!("write {path}: {e}"));
    });
}

/// Destinations and what `connect` says of them; `None`: nothing, ever.
fn table(server: &Namespace) -> Vec<(SocketAddr, Option<Errno>)> {
    let mut rows: Vec<_> = TARGETS
        .iter()
        .map(|ip| (hosted::closed(server, *ip), Some(Errno::CONNREFUSED)))
        .collect();
    for (ip, errno) in [
        (v4(17), Some(Errno::HOSTUNREACH)),
        (v6(0x101), Some(Errno::HOSTUNREACH)),
        (v4(49), Some(Errno::HOSTUNREACH)),
        (v6(0x301), Some(Errno::ACCESS)),
        // The server's machine has no route to what is not in the table.
        (v4(77), Some(Errno::NETUNREACH)),
        (v6(0x777), Some(Errno::NETUNREACH)),
        (v4(33), None),
        (v6(0x201), None),
    ] {
        rows.push((SocketAddr::new(ip, 80), errno));
    }
    rows
}

/// What `connect` says: nothing when it stood, or nothing was said in time.
fn connect(place: &Namespace, addr: SocketAddr) -> Result<TcpStream, Option<Errno>> {
    let result = place.enter(|| TcpStream::connect_timeout(&addr, PATIENCE));
    result.map_err(|e| {
        let errno = Errno::from_io_error(&e);
        if e.kind() == ErrorKind::TimedOut && errno.is_none() {
            return None;
        }
        Some(errno.unwrap_or_else(|| panic!("{addr}: no errno in {e:?}")))
    })
}

fn assert_refused(place: &Namespace, addr: SocketAddr, errno: Option<Errno>, what: &str) {
    let got = connect(place, addr).map(|_| "a connection");
    assert_eq!(got, Err(errno), "{what}: {addr}");
}

/// The same with the device as without it.
#[test]
fn a_consistent_handshake_tells_why_a_destination_cannot_be_had() {
    if !has_own_options() {
        return;
    }
    let Some(net) = Net::new() else { return };
    refuse(&net.server);
    let rows = table(&net.server);
    for (addr, errno) in &rows {
        assert_refused(&net.client, *addr, *errno, "without the device");
    }
    for mode in ["consistent", "auto"] {
        let proxy = start(&net, &config(&Options::with_handshake(mode)));
        net.route(&NETWORKS);
        for (addr, errno) in &rows {
            let what = format!("{mode}\n{}", proxy.log());
            assert_refused(&net.client, *addr, *errno, &what);
        }
    }
}

/// A SOCKS server that refuses every request with this reply (RFC 1928 section 6).
fn refuser(place: &Namespace, reply: u8) -> Hosted<'_, TcpServer> {
    hosted::tcp(place, TARGET4, move |mut stream| {
        let _ = read_exact(&mut stream, 3, "the methods");
        let _ = stream.write_all(&[5, 0]);
        let head = read_exact(&mut stream, 4, "a request");
        let rest = if head[3] == 1 { 6 } else { 18 };
        let _ = read_exact(&mut stream, rest, "its address");
        let _ = stream.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]);
    })
}

/// What a tunnel's other end says reaches the program as if there was no tunnel.
#[test]
fn replies_of_a_socks_server_come_out_as_errors_of_connect() {
    if !has_own_options() {
        return;
    }
    let Some(net) = Net::new() else { return };
    for (reply, expected) in [
        (2, [Errno::HOSTUNREACH, Errno::ACCESS]),
        (3, [Errno::NETUNREACH; 2]),
        (4, [Errno::HOSTUNREACH; 2]),
        (5, [Errno::CONNREFUSED; 2]),
    ] {
        let server = refuser(&net.server, reply);
        let mut config = config(&Options::with_handshake("consistent"));
        config["outbounds"] = json!([{
            "type": "socks",
            "server": TARGET4,
            "server_port": server.addr().port(),
            "bind_interface": WIRE,
        }]);
        let proxy = start(&net, &config);
        net.route(&NETWORKS);
        for (ip, errno) in [v4(77), v6(0x777)].into_iter().zip(expected) {
            let what = format!("reply {reply}\n{}", proxy.log());
            let addr = SocketAddr::new(ip, 80);
            assert_refused(&net.client, addr, Some(errno), &what);
        }
    }
}

/// A refused connection is told from one without answer by every program with a device.
#[test]
fn a_port_on_which_nothing_listens_refuses() {
    let Some(tun) = Tun::new(&Options::with_handshake("consistent")) else {
        return;
    };
    for ip in TARGETS {
        let addr = hosted::closed(&tun.net.server, ip);
        let what = tun.proxy.log();
        assert_refused(&tun.net.client, addr, Some(Errno::CONNREFUSED), &what);
    }
}

/// The price of answering first: what cannot be had ends after it stood.
#[test]
fn a_fast_handshake_resets_what_cannot_be_had() {
    if !has_own_options() {
        return;
    }
    let Some(net) = Net::new() else { return };
    refuse(&net.server);
    let rows = table(&net.server);
    let tun = Tun::on(net, &Options::with_handshake("fast"));
    for (addr, errno) in rows {
        let mut stream = match connect(&tun.net.client, addr) {
            Ok(stream) => stream,
            // It came before `connect` had returned.
            Err(Some(Errno::CONNRESET)) if errno.is_some() => continue,
            Err(e) => panic!("{addr}: {e:?}\n{}", tun.proxy.log()),
        };
        let patience = if errno.is_some() { SILENCE } else { PATIENCE };
        let ending = read_all(&mut stream, patience).ending;
        let expected = errno.map_or(Ending::StillOpen, |_| Ending::Reset);
        assert_eq!(ending, expected, "{addr}\n{}", tun.proxy.log());
    }
}

const MODES: [&str; 3] = ["fast", "consistent", "auto"];

fn reject(ips: [IpAddr; 2], method: &str) -> Value {
    json!({ "ip_cidr": ips, "action": "reject", "method": method })
}

/// A rule rejects a SYN before there is a flow: the client sees it whatever the mode is.
#[test]
fn a_rule_rejects_the_syn_in_every_mode() {
    for mode in MODES {
        let mut options = Options::with_handshake(mode);
        options.rules = json!([
            reject([TARGET4, TARGET6], "default"),
            reject([v4(2), v6(2)], "drop"),
        ]);
        let Some(tun) = Tun::new(&options) else {
            return;
        };
        let what = format!("{mode}\n{}", tun.proxy.log());
        for ip in TARGETS {
            let server = hosted::tcp(&tun.net.server, ip, drop);
            let before = server.accepted();
            let refused = Some(Errno::CONNREFUSED);
            let start = Instant::now();
            assert_refused(&tun.net.client, server.addr(), refused, &what);
            assert!(start.elapsed() < AT_ONCE, "{what}");
            assert_eq!(server.accepted(), before, "{what}");
        }
        for ip in [v4(2), v6(2)] {
            assert_refused(&tun.net.client, SocketAddr::new(ip, 80), None, &what);
        }
    }
}
