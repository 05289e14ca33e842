//! The direct inbound: a port that stands for another.
use sansbox_tests::{
    body,
    origin::{dns, tcp, udp},
    ports::free_port,
    proxy::{Proxy, direct},
    socks::{bind_like, receive},
    wire::{SILENCE, connect, read_all},
};
use serde_json::json;
use std::{
    io::Write as _,
    net::{Ipv4Addr, Shutdown, SocketAddr},
};

fn forward(to: SocketAddr, network: Option<&str>) -> Proxy {
    let mut inbound = json!({
        "type": "direct",
        "tag": "in",
        "listen": "127.0.0.1",
        "listen_port": free_port(),
        "override_address": to.ip().to_string(),
        "override_port": to.port(),
    });
    if let Some(network) = network {
        inbound["network"] = network.into();
    }
    Proxy::start(&json!({
        "log": { "level": "debug" },
        "inbounds": [inbound],
        "outbounds": [direct()],
    }))
}

#[test]
fn tcp_goes_to_the_one_destination() {
    let origin = tcp::echo(tcp::listener());
    for network in [None, Some("tcp")] {
        let proxy = forward(origin.addr(), network);
        let mut stream = connect(proxy.addr());
        let content = body::bytes(500_000);
        let mut writer = stream.try_clone().expect("clone");
        let sent = content.clone();
        let sender = std::thread::spawn(move || {
            writer.write_all(&sent).expect("send");
            writer.shutdown(Shutdown::Write).expect("half-close");
        });
        let back = read_all(&mut stream, SILENCE).bytes;
        sender.join().expect("all was sent");
        assert!(back == content, "{} bytes came back", back.len());
    }
}

#[test]
fn udp_goes_to_the_one_destination_and_answers_come_from_the_port() {
    let origin = udp::echo(udp::socket());
    let proxy = forward(origin.addr(), None);
    // Two clients at once: answers must not be mixed up.
    let clients = [bind_like(proxy.addr()), bind_like(proxy.addr())];
    for len in [1, 5, 512, 1400] {
        for (number, client) in clients.iter().enumerate() {
            let mut content = body::bytes(len);
            content[0] = u8::try_from(number).expect("two clients");
            client.send_to(&content, proxy.addr()).expect("send");
            let (from, back) = receive(client, SILENCE).expect("an answer");
            assert_eq!((from, back), (proxy.addr(), content), "{len} bytes");
        }
    }
}

#[test]
fn a_dns_server_behind_the_port_answers() {
    let ip = Ipv4Addr::new(192, 0, 2, 7);
    let origin = dns::responder(ip);
    let proxy = forward(origin.addr(), Some("udp"));
    let client = bind_like(proxy.addr());
    client
        .send_to(&dns::query(77, "a.test"), proxy.addr())
        .expect("send");
    let (_, reply) = receive(&client, SILENCE).expect("an answer");
    assert_eq!(dns::address(&reply, 77), Some(ip));
}

#[test]
fn network_udp_does_not_listen_on_tcp() {
    let origin = udp::echo(udp::socket());
    let proxy = forward(origin.addr(), Some("udp"));
    assert!(std::net::TcpStream::connect(proxy.addr()).is_err());
}
