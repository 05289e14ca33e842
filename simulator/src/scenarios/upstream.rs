//! Through another proxy: its refusals, its silence, its sudden end.
use super::{lab::*, scenarios};
use crate::{
    World,
    check::Closed,
    net::Answer,
    peers::{Script, ScriptHost, Step},
    scenario::Verdict,
};
use sansbox_core::Refusal;
use sansbox_engine::record::CloseReason::{Completed, Refused};

const SOCKS_OUT: &str =
    r#"[{"type": "socks", "tag": "up", "server": "10.0.0.4", "server_port": 1080}]"#;
const SOCKS4_OUT: &str = r#"[{"type": "socks", "tag": "up", "server": "10.0.0.4",
    "server_port": 1080, "version": "4"}]"#;
const HTTP_OUT: &str =
    r#"[{"type": "http", "tag": "up", "server": "10.0.0.4", "server_port": 8080}]"#;
const NAME: &str = "far.test:80";

/// Adds an upstream proxy at 10.0.0.4 whose n-th connection runs `serve(n)`.
fn upstream(world: &mut World, serve: impl Fn(u64) -> Script + Clone + 'static) {
    let host = ScriptHost::new()
        .serve(addr("10.0.0.4:1080"), serve.clone())
        .serve(addr("10.0.0.4:8080"), serve);
    world.host("upstream", &ips(&["10.0.0.4"]), host);
}

/// A SOCKS5 server's side of a CONNECT, up to the reply.
fn socks_server(reply: &[u8]) -> Script {
    let hello = Script::new().expect([5, 1, 0]).send([5, 0]);
    hello.expect(socks5_request(1, NAME)).send(reply)
}

/// An HTTP proxy's side of a CONNECT, up to the answer.
fn http_server(reply: &str) -> Script {
    Script::new()
        .expect_head(format!("CONNECT {NAME} HTTP/1.1\r\n"))
        .send(reply)
}

const GRANTED: [u8; 10] = [5, 0, 0, 1, 10, 0, 0, 4, 0, 99];
const ESTABLISHED: &str = "HTTP/1.1 200 Connection established\r\nX-Proxy: yes\r\n\r\n";

/// One client for each byte of the upstream's answer, after which it is over by `last`.
fn over_at_every_byte(world: &mut World, outbounds: &str, whole: Script, last: Step) -> Verdict {
    proxy(world, &config(INBOUNDS, outbounds, "{}"))?;
    let count = whole.sent_len();
    let ask = || {
        let ask = socks5().send(socks5_request(1, NAME));
        ask.expect([5])
            .then(Step::Skip(9))
            .then(Step::ExpectEnd)
            .tolerant()
    };
    clients(world, SOCKS, (0..count).map(|_| ask()));
    upstream(world, move |n| whole.cut(n as usize, last.clone()));
    run_all(world, count, |closed: &Closed| {
        matches!(closed.reason, Some(Refused(_)))
    })
}

fn refused(world: &mut World, outbounds: &str, serve: Script, why: Refusal, code: u8) -> Verdict {
    proxy(world, &config(INBOUNDS, outbounds, "{}"))?;
    let ask = socks5()
        .send(socks5_request(1, NAME))
        .expect(socks5_refusal(code));
    client(world, SOCKS, ask.then(Step::ExpectFin(None)));
    upstream(world, move |_| serve.clone().then(Step::ExpectEnd));
    run(world, &[Refused(why)])
}

scenarios! {
    /// A SOCKS5 upstream gets the name unresolved and relays.
    fn upstream_socks_relays(world) {
        proxy(world, &config(INBOUNDS, SOCKS_OUT, "{}"))?;
        client(world, HTTP, http_connect(NAME).and(talk(10_000)));
        upstream(world, |_| socks_server(&GRANTED).and(answer(10_000)));
        run(world, &[Completed])
    }

    /// A SOCKS4 upstream takes addresses only, so the name is resolved here, to IPv4.
    fn upstream_socks4_gets_an_address(world) {
        proxy(world, &config(INBOUNDS, SOCKS4_OUT, "{}"))?;
        world.name("far.test", Answer::Addresses(ips(&["fd00::7", "10.0.0.7"])));
        client(world, SOCKS, socks5_connect(NAME).and(talk(10_000)));
        upstream(world, |_| {
            let hello = Script::new().expect([4, 1, 0, 80, 10, 0, 0, 7, 0]);
            hello.send([0, 90, 0, 0, 0, 0, 0, 0]).and(answer(10_000))
        });
        run(world, &[Completed])
    }

    /// A name that a SOCKS4 upstream would need is not found, or has no IPv4 address.
    fn upstream_socks4_name_not_found(world) {
        proxy(world, &config(INBOUNDS, SOCKS4_OUT, "{}"))?;
        world.name("far.test", Answer::Addresses(ips(&["fd00::7"])));
        let ask = socks5().send(socks5_request(1, NAME)).expect(socks5_refusal(4));
        client(world, SOCKS, ask.then(Step::ExpectFin(None)));
        upstream(world, |_| Script::new().then(Step::ExpectEnd));
        run(world, &[Refused(Refusal::NameNotFound)])
    }

    /// An HTTP upstream gets a CONNECT and relays.
    fn upstream_http_relays(world) {
        proxy(world, &config(INBOUNDS, HTTP_OUT, "{}"))?;
        client(world, SOCKS, socks5_connect(NAME).and(talk(10_000)));
        upstream(world, |_| http_server(ESTABLISHED).and(answer(10_000)));
        run(world, &[Completed])
    }

    /// Payload that an upstream sends right behind its answer is kept.
    fn upstream_speaks_at_once(world) {
        proxy(world, &config(INBOUNDS, SOCKS_OUT, "{}"))?;
        clients(world, SOCKS, [socks5_connect(NAME).expect("banner").send("x").expect("x")]);
        upstream(world, |_| {
            let reply = [&GRANTED[..], b"banner"].concat();
            socks_server(&reply).then(Step::Echo)
        });
        run(world, &[Completed])?;
        let counted = world.closed().first().map(|c| (c.bytes_up, c.bytes_down));
        world.expect(counted == Some((1, 7)), format!("{counted:?} bytes counted"))
    }

    /// Payload that an HTTP upstream sends right behind its answer is kept, and counted.
    fn upstream_http_speaks_at_once(world) {
        proxy(world, &config(INBOUNDS, HTTP_OUT, "{}"))?;
        clients(world, SOCKS, [socks5_connect(NAME).expect("banner").send("x").expect("x")]);
        upstream(world, |_| {
            let reply = [ESTABLISHED, "banner"].concat();
            http_server(&reply).then(Step::Echo)
        });
        run(world, &[Completed])?;
        let counted = world.closed().first().map(|c| (c.bytes_up, c.bytes_down));
        world.expect(counted == Some((1, 7)), format!("{counted:?} bytes counted"))
    }

    /// A refusal of a SOCKS5 upstream reaches the client with the same meaning.
    fn upstream_socks_refuses(world) {
        let serve = socks_server(&socks5_refusal(5));
        refused(world, SOCKS_OUT, serve, Refusal::ConnectionRefused, 5)
    }

    /// An upstream that wants a password that this end does not have.
    fn upstream_wants_password(world) {
        let serve = Script::new().expect([5, 1, 0]).send([5, 0xff]);
        refused(world, SOCKS_OUT, serve, Refusal::UpstreamAuth, 1)
    }

    /// An upstream that is no SOCKS server.
    fn upstream_speaks_nonsense(world) {
        let serve = Script::new().expect([5, 1, 0]).send("SSH-2.0-OpenSSH_9.2\r\n");
        refused(world, SOCKS_OUT, serve, Refusal::UpstreamProtocol, 1)
    }

    /// A SOCKS5 upstream vanishes after every byte of its answers.
    fn upstream_socks_vanishes(world) {
        over_at_every_byte(world, SOCKS_OUT, socks_server(&GRANTED), Step::Vanish)
    }

    /// A SOCKS5 upstream resets after every byte of its answers.
    fn upstream_socks_resets(world) {
        over_at_every_byte(world, SOCKS_OUT, socks_server(&GRANTED), Step::Reset)
    }

    /// A SOCKS5 upstream closes after every byte of its answers.
    fn upstream_socks_closes(world) {
        over_at_every_byte(world, SOCKS_OUT, socks_server(&GRANTED), Step::Close)
    }

    /// An HTTP upstream vanishes after every byte of its answer.
    fn upstream_http_vanishes(world) {
        over_at_every_byte(world, HTTP_OUT, http_server(ESTABLISHED), Step::Vanish)
    }

    /// An HTTP upstream closes after every byte of its answer.
    fn upstream_http_closes(world) {
        over_at_every_byte(world, HTTP_OUT, http_server(ESTABLISHED), Step::Close)
    }

    /// Two proxies of ours in a row: HTTP inside SOCKS5 by detour, one handshake after another.
    fn detour_chain(world) {
        let outbounds = r#"[
            {"type": "http", "tag": "far", "server": "10.0.0.5", "server_port": 8080, "detour": "near"},
            {"type": "socks", "tag": "near", "server": "10.0.0.4", "server_port": 1080}
        ]"#;
        proxy(world, &config(INBOUNDS, outbounds, "{}"))?;
        let inbound = r#"[{"type": "socks", "listen": "10.0.0.4", "listen_port": 1080}]"#;
        let direct = r#"[{"type": "direct"}]"#;
        proxy_at(world, "near", &["10.0.0.4"], &config(inbound, direct, "{}"))?;
        let inbound = r#"[{"type": "http", "listen": "10.0.0.5", "listen_port": 8080}]"#;
        proxy_at(world, "far", &["10.0.0.5"], &config(inbound, direct, "{}"))?;
        client(world, SOCKS, socks5_connect(ORIGIN).and(talk(10_000)));
        origin(world, |_| answer(10_000));
        run(world, &[Completed; 3])
    }
}
