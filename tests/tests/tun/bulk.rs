//! Bytes in are bytes out, in both directions at once, also where packets get lost.
use crate::{
    hosted,
    net::{NETWORKS, Neighbour, Net, TARGET4, TARGET6, Wire},
    program::{Options, Tun, config, start},
    tools::scaled,
};
use sansbox_tests::{
    body::{self, Digest, digest},
    namespace::Namespace,
    wire::connect,
};
use std::{
    io,
    net::{IpAddr, Shutdown, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How long nothing may come: some timeouts of a sender, each twice the one before.
const SILENCE: Duration = Duration::from_secs(30);

fn len() -> u64 {
    scaled(1 << 30, 64 << 20)
}

/// Sends a body and its end, and returns the digest of what comes meanwhile.
fn both_ways(stream: &TcpStream, len: u64) -> io::Result<Digest> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            body::write(&mut &*stream, len)?;
            stream.shutdown(Shutdown::Write)
        });
        let got = body::digest_of(&mut &*stream);
        sender.join().expect("a sender does not panic")?;
        got
    })
}

/// Moves `len` bytes each way between a program at `from` and a server on `ip`.
fn assert_whole(tun: &Tun, from: &Namespace, ip: IpAddr, len: u64) {
    let (sender, at_server) = mpsc::channel();
    let server = hosted::tcp(&tun.net.server, ip, move |stream| {
        let _ = sender.send(both_ways(&stream, len));
    });
    let addr = server.addr();
    let start = Instant::now();
    let came = from.enter(|| both_ways(&connect(addr), len));
    let spent = start.elapsed();
    let log = tun.proxy.log();
    let came = came.unwrap_or_else(|e| panic!("the client of {ip}: {e}\n{log}"));
    let went = at_server.recv_timeout(SILENCE).expect("a connection came");
    let went = went.unwrap_or_else(|e| panic!("the server on {ip}: {e}\n{log}"));
    assert_eq!(came, digest(len), "what the client got\n{log}");
    assert_eq!(went, digest(len), "what the server got\n{log}");
    println!("{} MiB each way with {ip}: {spent:.1?}", len >> 20);
}

#[test]
fn bytes_are_whole_in_both_directions() {
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    assert_whole(&tun, &tun.net.client, TARGET4, len());
    assert_whole(&tun, &tun.net.client, TARGET6, len() / 4);
}

#[test]
fn bytes_are_whole_when_the_wire_behind_is_poor_and_narrow() {
    let Some(net) = Net::over(Wire::Poor) else {
        return;
    };
    net.narrow(1280);
    let tun = Tun::on(net, &Options::default());
    assert_whole(&tun, &tun.net.client, TARGET4, len() / 4);
    assert_whole(&tun, &tun.net.client, TARGET6, len() / 16);
}

/// The program is a gateway, and its own TCP meets what the wire does.
fn with_a_neighbour(wire: Wire, len: u64) {
    let Some(net) = Net::new() else { return };
    let Some(neighbour) = Neighbour::new(&net, wire) else {
        return;
    };
    let proxy = start(&net, &config(&Options::default()));
    net.route(&NETWORKS);
    let tun = Tun { proxy, net };
    assert_whole(&tun, &neighbour.place, TARGET4, len);
    assert_whole(&tun, &neighbour.place, TARGET6, len / 4);
}

#[test]
fn bytes_are_whole_for_a_neighbour_behind_a_good_wire() {
    with_a_neighbour(Wire::Good, len() / 4);
}

#[test]
fn bytes_are_whole_for_a_neighbour_behind_a_poor_wire() {
    with_a_neighbour(Wire::Poor, len());
}
