//! Outbounds behind outbounds.
use crate::configs::USER;
use sansbox_tests::{
    body::{self, digest},
    json,
    origin::{http::HttpServer, tcp},
    peers::{microsocks, need, tinyproxy},
    proxy::{Proxy, config, direct, inbound, upstream},
    socks::{self, reply},
    wire::{SILENCE, read_all},
};
use std::{
    io::{Read as _, Write as _},
    thread,
};

#[test]
fn detour_dials_through_the_other_outbound() {
    let (Some(socks_program), Some(http_program)) = (need("microsocks"), need("tinyproxy")) else {
        return;
    };
    let far = microsocks(&socks_program, Some(USER));
    let near = tinyproxy(&http_program, Some(("near", "secret")));
    let mut first = upstream("socks", far.port, Some(USER));
    first["tag"] = json!("far");
    first["detour"] = json!("near");
    let mut second = upstream("http", near.port, Some(("near", "secret")));
    second["tag"] = json!("near");
    let mut config = config(inbound("mixed", &[]), json!([first, second]));
    config["route"] = json!({ "final": "far" });
    let proxy = Proxy::start(&config);
    let origin = tcp::echo(tcp::listener());
    let mut stream = socks::open(proxy.addr(), None, origin.addr())
        .unwrap_or_else(|code| panic!("reply {code}: {}", proxy.log()));
    let mut writer = stream.try_clone().expect("clone");
    let sender = thread::spawn(move || body::write(&mut writer, 1_000_000));
    let mut reader = (&mut stream).take(1_000_000);
    let got = body::digest_of(&mut reader).expect("receive");
    assert_eq!(got, digest(1_000_000));
    sender.join().expect("the sender ends").expect("send");
    let near_log = near.process.log();
    let hop = format!("CONNECT 127.0.0.1:{}", far.port);
    assert!(
        near_log.contains(&hop),
        "the near proxy was asked for the far one: {near_log}"
    );
    let target = format!("CONNECT {}", origin.addr());
    assert!(
        !near_log.contains(&target),
        "and not for the target: {near_log}"
    );
    let far_log = far.process.log();
    assert!(
        far_log.contains(&origin.addr().port().to_string()),
        "the far proxy was asked for the target: {far_log}"
    );
}

#[test]
fn a_chain_through_itself_carries_every_kind_of_request() {
    // Three instances of the program in a row, each hop in another protocol.
    let users = [("a", "1")];
    let last = Proxy::inbound("http", &users);
    let middle = Proxy::start(&config(
        inbound("socks", &users),
        json!([upstream("http", last.port(), Some(users[0]))]),
    ));
    let first = Proxy::through(upstream("socks", middle.port(), Some(users[0])));
    let origin = HttpServer::start();
    let mut stream = socks::open(first.addr(), None, origin.addr())
        .unwrap_or_else(|code| panic!("reply {code}: {}", first.log()));
    write!(
        stream,
        "GET /bytes/2000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .expect("send");
    let answer = read_all(&mut stream, SILENCE);
    assert!(answer.bytes.len() > 2_000_000, "{}", answer.bytes.len());
    assert!(answer.bytes.ends_with(&body::bytes(2_000_000)));
    // And a plain request, which the first hop turns into a tunnel.
    let mut plain = sansbox_tests::wire::connect(first.addr());
    write!(
        plain,
        "GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        origin.url("/bytes/100")
    )
    .expect("send");
    let answer = read_all(&mut plain, SILENCE);
    assert!(answer.bytes.ends_with(&body::bytes(100)), "{answer:?}");
}

#[test]
fn a_selector_uses_its_default() {
    let origin = tcp::echo(tcp::listener());
    for (default, want) in [
        (None, Some(reply::NOT_ALLOWED)),
        (Some("direct"), None),
        (Some("no"), Some(reply::NOT_ALLOWED)),
    ] {
        let mut selector = json!({
            "type": "selector", "tag": "pick", "outbounds": ["no", "direct"],
        });
        if let Some(tag) = default {
            selector["default"] = json!(tag);
        }
        let mut config = config(
            inbound("mixed", &[]),
            json!([selector, { "type": "block", "tag": "no" }, direct()]),
        );
        config["route"] = json!({ "final": "pick" });
        let proxy = Proxy::start(&config);
        let code = socks::open(proxy.addr(), None, origin.addr()).err();
        assert_eq!(code, want, "default {default:?}");
    }
}
