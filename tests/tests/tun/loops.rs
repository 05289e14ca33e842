//! Own traffic that would come into the device again.
use crate::{
    ends::short,
    hosted,
    net::{Net, TARGET4, TARGET6, TARGETS},
    program::{config_with_routes, has_own_options, start},
    tools::run,
    udp::echoes_once,
};
use sansbox_tests::{
    Value, body, json,
    peers::need,
    process::{Process, START_TIMEOUT},
    proxy::{STARTED, binary},
    temp::TempDir,
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    thread,
    time::{Duration, Instant},
};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Packets that may go in before somebody sees that they go round: what the client sends, again
/// what came of it, and a few that the kernel sends by itself.
const PACKETS_OF_A_LOOP: u64 = 100;
/// What a client sends.
const DATAGRAMS: usize = 20;

/// What is sent to the server.
#[derive(Clone, Copy, Debug)]
enum Traffic {
    Connection,
    Datagrams,
    Pings,
}

/// Pings are carried as well.
fn relaying(finds_interface: bool) -> Value {
    let mut config = config_with_routes(finds_interface);
    config["inbounds"][0]["sansbox"]["icmp_echo"] = json!("relay");
    config
}

/// Everything goes into the device and nothing says which way is out: that is refused at the
/// start, or as soon as something is sent, and explained.
fn assert_refused(ip: IpAddr, traffic: Traffic) {
    if !has_own_options() {
        return;
    }
    let Some(net) = Net::with_default_routes() else {
        return;
    };
    let config = relaying(false);
    let dir = TempDir::new();
    let path = dir.write("config.json", config.to_string());
    let mut command = net.client.command(binary());
    command.arg("run").arg("-c").arg(path);
    let mut program = Process::spawn("sansbox", &mut command);
    let deadline = Instant::now() + START_TIMEOUT;
    while program.is_running() && !program.log().contains(STARTED) {
        assert!(Instant::now() < deadline, "{}", program.log());
        thread::sleep(Duration::from_millis(20));
    }
    if program.is_running() {
        let before = net.packets_into_device();
        send(&net, ip, traffic);
        thread::sleep(Duration::from_secs(1));
        let packets = net.packets_into_device() - before;
        let log = program.log();
        assert!(packets > 0, "nothing was sent: {log}");
        assert!(packets < PACKETS_OF_A_LOOP, "{packets} packets: {log}");
    }
    let log = program.log();
    let explained = log.matches("auto_detect_interface").count();
    assert_eq!(explained, 1, "{ip} {traffic:?}: {log}");
}

fn send(net: &Net, ip: IpAddr, traffic: Traffic) {
    match traffic {
        Traffic::Connection => {
            let server = hosted::tcp(&net.server, ip, drop);
            let addr = server.addr();
            let connect = || TcpStream::connect_timeout(&addr, TIMEOUT);
            // Refused, or answered and reset.
            drop(net.client.enter(connect));
            assert_eq!(server.accepted(), 0, "it went out all the same");
        }
        Traffic::Datagrams => {
            let server = hosted::udp(&net.server, ip, |datagram| Some(datagram.to_vec()));
            let any = SocketAddr::new(unspecified(ip), 0);
            let socket = net.client.enter(|| UdpSocket::bind(any)).expect("a socket");
            for _ in 0..DATAGRAMS {
                // What is refused may be told of at the next call.
                let _told = socket.send_to(b"round and round", server.addr());
                thread::sleep(Duration::from_millis(5));
            }
        }
        Traffic::Pings => {
            let Some(ping) = need("ping") else { return };
            let arguments = format!("-n -c 3 -i 0.2 -W 1 {ip}");
            let said = run(&net.client, &ping, &arguments, TIMEOUT);
            assert!(!said.text.contains(" bytes from "), "{}", said.text);
        }
    }
}

/// What leaves by the interface of the default route goes there, whatever it is.
#[test]
fn what_leaves_by_the_default_route_does_not_come_back() {
    let Some(ping) = need("ping").filter(|_| has_own_options()) else {
        return;
    };
    let Some(net) = Net::with_default_routes() else {
        return;
    };
    let proxy = start(&net, &relaying(true));
    for ip in TARGETS {
        let server = hosted::udp(&net.server, ip, |datagram| Some(datagram.to_vec()));
        let addr = server.addr();
        assert!(net.client.enter(|| echoes_once(addr, 500)), "{addr}");
        let arguments = format!("-n -c 3 -i 0.2 -W 1 {ip}");
        let said = run(&net.client, &ping, &arguments, TIMEOUT);
        assert!(said.text.contains("3 received"), "{}", said.text);
        let server = hosted::tcp(&net.server, ip, |mut stream| {
            let _ = io::copy(&mut stream.try_clone().expect("clone"), &mut stream);
        });
        let addr = server.addr();
        net.client.enter(|| short(addr, &body::bytes(100_000)));
    }
    let log = proxy.log();
    assert!(!log.contains("auto_detect_interface"), "{log}");
}

const fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[test]
fn a_connection_that_would_come_back_is_refused_and_explained() {
    assert_refused(TARGET4, Traffic::Connection);
}

#[test]
fn a_connection_over_ipv6_that_would_come_back_is_refused_and_explained() {
    assert_refused(TARGET6, Traffic::Connection);
}

#[test]
fn datagrams_that_come_back_are_refused_and_explained() {
    assert_refused(TARGET4, Traffic::Datagrams);
}

#[test]
fn datagrams_over_ipv6_that_come_back_are_refused_and_explained() {
    assert_refused(TARGET6, Traffic::Datagrams);
}

#[test]
fn pings_that_would_come_back_are_refused_and_explained() {
    assert_refused(TARGET4, Traffic::Pings);
}

#[test]
fn pings_over_ipv6_that_would_come_back_are_refused_and_explained() {
    assert_refused(TARGET6, Traffic::Pings);
}
