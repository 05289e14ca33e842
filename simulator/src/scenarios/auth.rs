//! Users: who is let in, and what the others are told.
use super::{lab::*, scenarios};
use crate::{
    World,
    peers::{Script, Step},
    scenario::Verdict,
};
use sansbox_engine::record::CloseReason::{AuthFailed, Completed};

fn with_users() -> String {
    config(INBOUNDS_WITH_USERS, r#"[{"type": "direct"}]"#, "{}")
}

/// A proxy with users, whose names and passwords no text may hold.
fn guarded(world: &mut World) -> Verdict {
    for secret in ["ann", "secret", "YW5uOnNlY3JldA==", "YW5uOndyb25n"] {
        world.secret(secret);
    }
    proxy(world, &with_users()).map(drop)
}

/// An HTTP CONNECT with basic credentials.
fn connect_as(credentials: &str) -> Script {
    let auth = format!("Proxy-Authorization: Basic {credentials}\r\n");
    Script::new().send(format!(
        "CONNECT {ORIGIN} HTTP/1.1\r\nHost: {ORIGIN}\r\n{auth}\r\n"
    ))
}

scenarios! {
    /// The right password opens SOCKS5.
    fn auth_socks5_good(world) {
        guarded(world)?;
        let login = socks5_login("ann", "secret").expect([1, 0]);
        let ask = login.send(socks5_request(1, ORIGIN)).expect([5, 0, 0, 1]);
        client(world, SOCKS, ask.then(Step::Skip(6)).and(talk(1000)));
        origin(world, |_| answer(1000));
        run(world, &[Completed])
    }

    /// Wrong passwords and unknown users get status 1 and a close.
    #[sometimes("authentication failed", "closed AuthFailed")]
    fn auth_socks5_bad(world) {
        guarded(world)?;
        let refused = |name: &str, password: &str| {
            let login = socks5_login(name, password).expect([1, 1]);
            login.then(Step::ExpectFin(None))
        };
        clients(world, SOCKS, [
            refused("ann", "wrong"),
            refused("bob", "secret"),
            refused("ann", "secret2"),
        ]);
        run(world, &[AuthFailed; 3])
    }

    /// A SOCKS5 client that offers no password is told that no method is acceptable.
    fn auth_socks5_missing(world) {
        guarded(world)?;
        let offer = Script::new().send([5, 1, 0]).expect([5, 0xff]);
        client(world, SOCKS, offer.then(Step::ExpectFin(None)));
        run(world, &[AuthFailed])
    }

    /// SOCKS4 cannot carry a password and is refused where users are required.
    fn auth_socks4_refused(world) {
        guarded(world)?;
        let ask = Script::new().send(socks4_request(ORIGIN)).expect([0]);
        client(world, SOCKS, ask.then(Step::Skip(7)).then(Step::ExpectFin(None)));
        run(world, &[AuthFailed])
    }

    /// HTTP without credentials is challenged, and may try again on the same connection.
    fn auth_http_challenge(world) {
        guarded(world)?;
        let bare = Script::new().send(connect_request(ORIGIN));
        let challenged = bare.then(Step::ExpectHead(
            b"\r\n\r\n".to_vec(),
            b"HTTP/1.1 407 ".to_vec(),
        ));
        let closed = challenged.then(Step::Close);
        // ann:secret
        let good = connect_as("YW5uOnNlY3JldA==").expect_head("HTTP/1.1 200 ");
        // ann:wrong
        let bad = connect_as("YW5uOndyb25n").expect_head("Proxy-Authenticate: Basic");
        clients(world, HTTP, [
            closed,
            good.send("hello").expect("hello"),
            bad.then(Step::Close),
        ]);
        origin(world, |_| echo());
        world.run(LIMIT)?;
        let mut got: Vec<_> = world.closed().iter().filter_map(|c| c.reason).collect();
        got.sort();
        let expected = [Completed, AuthFailed, AuthFailed];
        world.expect(got == expected, format!("{got:?}"))
    }

    /// Greeting, password and request sent at once, before any answer.
    fn auth_socks5_in_one_write(world) {
        guarded(world)?;
        let login = b"\x01\x03ann\x06secret";
        let all = [&[5, 2, 0, 2][..], login, &socks5_request(1, ORIGIN), b"hello"].concat();
        let answers = Script::new().send(all).expect([5, 2, 1, 0, 5, 0, 0, 1]);
        client(world, SOCKS, answers.then(Step::Skip(6)).expect("hello"));
        origin(world, |_| echo());
        run(world, &[Completed])
    }
}
