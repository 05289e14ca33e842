//! Packets that no kernel would send.
use crate::{
    ends::short,
    hosted,
    net::TARGETS,
    program::{Options, Tun, is_ours},
    tools::{run, scaled},
    udp::echoes_once,
};
use sansbox_tests::{body, peers::need, temp::TempDir, wire::connect};
use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

const SCRIPT: &str = include_str!("bad_packets.py");

/// Asks and gets the same back on one connection until it is told that it is over.
fn converse(mut stream: TcpStream, is_over: &AtomicBool) -> usize {
    let content = body::bytes(10_000);
    let mut back = vec![0; content.len()];
    let mut turns = 0;
    while !is_over.load(Ordering::Relaxed) {
        stream.write_all(&content).expect("send among bad packets");
        stream
            .read_exact(&mut back)
            .expect("an answer among bad packets");
        assert!(back == content, "turn {turns}");
        turns += 1;
    }
    turns
}

#[test]
fn bad_packets_disturb_nobody() {
    let Some(python) = need("python3") else {
        return;
    };
    if !is_ours("sing-box 1.14 stops reading its device") {
        return;
    }
    for mode in ["fast", "consistent"] {
        let Some(mut tun) = Tun::new(&Options::with_handshake(mode)) else {
            return;
        };
        assert_undisturbed(&tun, &python);
        assert!(tun.proxy.process().is_running(), "{}", tun.proxy.log());
    }
}

fn assert_undisturbed(tun: &Tun, python: &Path) {
    let dir = TempDir::new();
    let script = dir.write("bad_packets.py", SCRIPT);
    let number = scaled(1_000_000, 20_000);
    let arguments = format!(
        "{} tun0 1 {number} 10.11.12.1 fdfe:dcba:9876::1",
        script.display()
    );
    for ip in TARGETS {
        let server = hosted::tcp(&tun.net.server, ip, |mut stream| {
            let mut writer = stream.try_clone().expect("clone");
            let _ = io::copy(&mut stream, &mut writer);
            let _ = writer.shutdown(Shutdown::Write);
        });
        let datagrams = hosted::udp(&tun.net.server, ip, |datagram| Some(datagram.to_vec()));
        let (addr, udp) = (server.addr(), datagrams.addr());
        let is_over = AtomicBool::new(false);
        let stream = tun.net.client.enter(|| connect(addr));
        let turns = thread::scope(|scope| {
            let talk = scope.spawn(|| converse(stream, &is_over));
            let timeout = Duration::from_secs(60 + number / 5_000);
            let said = run(&tun.net.client, python, &arguments, timeout);
            is_over.store(true, Ordering::Relaxed);
            assert!(said.success, "{}", said.text);
            println!("{}", said.text);
            talk.join()
                .unwrap_or_else(|_| panic!("{}", tun.proxy.log()))
        });
        assert!(turns > 0, "nothing was said meanwhile");
        tun.net.client.enter(|| {
            short(addr, &body::bytes(50_000));
            assert!(echoes_once(udp, 1000), "{}", tun.proxy.log());
        });
    }
}
