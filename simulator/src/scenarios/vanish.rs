//! Clients that vanish without a word after every byte of their handshake: the proxy gives them
//! up in time and everything returns to where it was.
use super::{lab::*, scenarios};
use crate::{
    World,
    check::Closed,
    net::Answer,
    peers::{Script, Step},
    scenario::Verdict,
};
use sansbox_engine::record::CloseReason;

/// Given up before the request was complete, or by TCP keep-alive afterwards.
fn given_up(closed: &Closed) -> bool {
    matches!(
        closed.reason,
        Some(CloseReason::HandshakeTimeout | CloseReason::ClientReset)
    )
}

/// One client for each offset of the handshake, all of it included.
fn at_every_byte(world: &mut World, to: &str, config: &str, whole: &Script) -> Verdict {
    proxy(world, config)?;
    world.name("origin.test", Answer::Addresses(ips(&["10.0.0.3"])));
    let count = whole.sent_len() + 1;
    clients(world, to, (0..count).map(|n| whole.cut(n, Step::Vanish)));
    origin(world, |_| Script::new().then(Step::ExpectEnd).tolerant());
    run_all(world, count, given_up)
}

fn with_users() -> String {
    config(INBOUNDS_WITH_USERS, r#"[{"type": "direct"}]"#, "{}")
}

scenarios! {
    /// A SOCKS4 client vanishes after every byte.
    fn vanish_socks4(world) {
        let whole = Script::new().send(socks4_request(ORIGIN));
        at_every_byte(world, SOCKS, &plain(), &whole)
    }

    /// A SOCKS4a client vanishes after every byte.
    fn vanish_socks4a(world) {
        let whole = Script::new().send(socks4_request("origin.test:80"));
        at_every_byte(world, SOCKS, &plain(), &whole)
    }

    /// A SOCKS5 client vanishes after every byte.
    fn vanish_socks5(world) {
        let whole = socks5().send(socks5_request(1, "origin.test:80"));
        at_every_byte(world, SOCKS, &plain(), &whole)
    }

    /// A SOCKS5 client with a password vanishes after every byte.
    fn vanish_socks5_auth(world) {
        let whole = socks5_login("ann", "secret").expect([1, 0]).send(socks5_request(1, ORIGIN));
        at_every_byte(world, SOCKS, &with_users(), &whole)
    }

    /// An HTTP CONNECT client vanishes after every byte.
    fn vanish_http_connect(world) {
        let whole = Script::new().send(connect_request(ORIGIN));
        at_every_byte(world, HTTP, &plain(), &whole)
    }

    /// A client of a plain HTTP request vanishes after every byte of it.
    fn vanish_http_get(world) {
        let whole = Script::new().send(get(ORIGIN, "/"));
        at_every_byte(world, HTTP, &plain(), &whole)
    }

    /// A client that vanishes from a long relay is noticed by TCP keep-alive.
    fn vanish_from_relay(world) {
        proxy(world, &plain())?;
        let talk = Script::new().exchange("up", "down", 3000).then(Step::Vanish);
        client(world, SOCKS, socks5_connect(ORIGIN).and(talk));
        origin(world, |_| {
            Script::new().exchange("down", "up", 3000).then(Step::ExpectReset)
        });
        run(world, &[CloseReason::ClientReset])
    }

    /// An origin that vanishes from a long relay is noticed by TCP keep-alive.
    fn origin_vanishes_from_relay(world) {
        proxy(world, &plain())?;
        let talk = Script::new().exchange("up", "down", 3000).then(Step::ExpectReset);
        client(world, SOCKS, socks5_connect(ORIGIN).and(talk));
        origin(world, |_| Script::new().exchange("down", "up", 3000).then(Step::Vanish));
        run(world, &[CloseReason::UpstreamReset])
    }
}
