//! Datagrams, of every size.
use crate::{
    hosted,
    net::{TARGET4, TARGETS},
    program::{Options, Tun, is_ours},
    tools::{run, spawn},
};
use sansbox_tests::{
    body,
    peers::need,
    process::{Process, START_TIMEOUT},
    temp::TempDir,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    path::Path,
    thread,
    time::Duration,
};

/// The first datagram that is too long for the way on may be lost: its sender learns of it.
const TRIES: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes of datagrams: below and above the MTU of the way on, of the device, and of both many
/// times.
const LENGTHS: [u64; 11] = [
    0, 1, 1200, 1253, 1400, 1472, 1473, 3000, 9000, 30_000, 60_000,
];

/// A socket on a free port, connected to `addr`.
pub(crate) fn connected(addr: SocketAddr) -> UdpSocket {
    let any = match addr {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = UdpSocket::bind((any, 0)).expect("bind");
    socket.connect(addr).expect("connect");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

/// Sends `content` and waits for the same, some times; whether it came.
pub(crate) fn echoes(socket: &UdpSocket, content: &[u8]) -> bool {
    let mut buffer = vec![0; 65_536];
    (0..TRIES).any(|_| {
        // An ICMP message about the one before makes this fail.
        let _ = socket.send(content);
        loop {
            match socket.recv(&mut buffer) {
                Ok(n) if buffer[..n] == *content => return true,
                // An answer to an earlier try.
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    })
}

/// Whether a datagram of `len` bytes comes back on a socket of its own.
pub(crate) fn echoes_once(addr: SocketAddr, len: u64) -> bool {
    echoes(&connected(addr), &body::bytes(len))
}

#[test]
fn datagrams_of_every_length_come_back() {
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    let longest = if is_ours("sing-box carries 16 KiB") {
        u64::MAX
    } else {
        16_000
    };
    for ip in TARGETS {
        let server = hosted::udp(&tun.net.server, ip, |datagram| Some(datagram.to_vec()));
        let addr = server.addr();
        let lost: Vec<_> = tun.net.client.enter(|| {
            let socket = connected(addr);
            let mut lengths = LENGTHS.to_vec();
            lengths.retain(|len| *len <= longest && !echoes(&socket, &body::bytes(*len)));
            lengths
        });
        assert!(lost.is_empty(), "{ip}: {lost:?} bytes\n{}", tun.proxy.log());
    }
}

#[test]
fn a_hundred_sockets_speak_at_once() {
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    let server = hosted::udp(&tun.net.server, TARGET4, |datagram| Some(datagram.to_vec()));
    let addr = server.addr();
    tun.net.client.enter(|| {
        thread::scope(|scope| {
            for n in 0..100 {
                scope.spawn(move || {
                    let socket = connected(addr);
                    for turn in 0..5 {
                        let content = body::bytes(100 + n * 7 + turn);
                        assert!(echoes(&socket, &content), "socket {n}, turn {turn}");
                    }
                });
            }
        });
    });
}

/// dnsmasq on every address of the server, which knows one name.
fn dnsmasq(tun: &Tun, program: &Path, dir: &TempDir) -> Process {
    let arguments = format!(
        "--keep-in-foreground --no-resolv --no-hosts --conf-file=/dev/null --bind-interfaces \
         --listen-address={},{} --port=53 --log-facility=- --user=root --pid-file={}/pid \
         --address=/tun.test/192.0.2.55",
        TARGETS[0],
        TARGETS[1],
        dir.path().display()
    );
    let mut process = spawn(&tun.net.server, program, &arguments);
    process.wait_for_line("started", START_TIMEOUT);
    process
}

#[test]
fn dig_asks_dnsmasq() {
    let (Some(dig), Some(program)) = (need("dig"), need("dnsmasq")) else {
        return;
    };
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    let dir = TempDir::new();
    let _server = dnsmasq(&tun, &program, &dir);
    for ip in TARGETS {
        for way in ["+notcp", "+tcp"] {
            let arguments = format!("@{ip} tun.test A +short +tries=2 +time=5 {way}");
            let said = run(&tun.net.client, &dig, &arguments, Duration::from_secs(30));
            assert!(
                said.success,
                "{arguments}: {}\n{}",
                said.text,
                tun.proxy.log()
            );
            assert_eq!(said.text, "192.0.2.55", "{arguments}");
        }
    }
}
