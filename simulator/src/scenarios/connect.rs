//! Each way to ask for a connection, and a relay through it.
use super::{lab::*, scenarios};
use crate::net::Answer;
use sansbox_engine::record::CloseReason::Completed;

const LEN: u64 = 20_000;

scenarios! {
    /// SOCKS4 connects and relays both ways.
    fn socks4_connects(world) {
        proxy(world, &plain())?;
        client(world, SOCKS, socks4_connect(ORIGIN).and(talk(LEN)));
        origin(world, |_| answer(LEN));
        run(world, &[Completed])
    }

    /// SOCKS4a connects to a name that the proxy resolves.
    fn socks4a_connects_to_a_name(world) {
        proxy(world, &plain())?;
        world.name("origin.test", Answer::Addresses(ips(&["10.0.0.3"])));
        client(world, SOCKS, socks4_connect("origin.test:80").and(talk(LEN)));
        origin(world, |_| answer(LEN));
        run(world, &[Completed])
    }

    /// SOCKS5 connects and relays both ways.
    #[sometimes("passthrough", "closed Completed", "closed ClientReset", "closed UpstreamReset")]
    fn socks5_connects(world) {
        proxy(world, &plain())?;
        client(world, SOCKS, socks5_connect(ORIGIN).and(talk(LEN)));
        origin(world, |_| answer(LEN));
        run(world, &[Completed])
    }

    /// SOCKS5 connects to an IPv6 target.
    fn socks5_connects_to_ipv6(world) {
        proxy(world, &plain())?;
        let request = socks5().send(socks5_request(1, ORIGIN_V6)).expect([5, 0, 0, 4]);
        let script = request.then(crate::peers::Step::Skip(18)).and(talk(LEN));
        client(world, SOCKS, script);
        origin(world, |_| answer(LEN));
        run(world, &[Completed])
    }

    /// HTTP CONNECT connects and relays both ways.
    #[sometimes("passthrough", "closed Completed")]
    fn http_connect_relays(world) {
        proxy(world, &plain())?;
        client(world, HTTP, http_connect(ORIGIN).and(talk(LEN)));
        origin(world, |_| answer(LEN));
        run(world, &[Completed])
    }

    /// A mixed inbound tells SOCKS4, SOCKS5 and HTTP apart by the first byte.
    #[sometimes("closed Completed")]
    fn mixed_tells_protocols_apart(world) {
        proxy(world, &plain())?;
        let hello = |script: crate::peers::Script| script.send("hello").expect("hello");
        clients(world, MIXED, [
            hello(socks4_connect(ORIGIN)),
            hello(socks5_connect(ORIGIN)),
            hello(http_connect(ORIGIN)),
        ]);
        origin(world, |_| echo());
        run(world, &[Completed; 3])
    }

    /// Payload sent behind the request before any answer is kept and delivered.
    fn early_payload_is_kept(world) {
        proxy(world, &plain())?;
        let mut socks4 = socks4_request(ORIGIN);
        socks4.extend_from_slice(b"early");
        let mut socks5 = vec![5, 1, 0];
        socks5.extend(socks5_request(1, ORIGIN));
        socks5.extend_from_slice(b"early");
        let http = connect_request(ORIGIN) + "early";
        let skip = crate::peers::Step::Skip;
        clients(world, MIXED, [
            crate::peers::Script::new().send(socks4).expect([0, 90]).then(skip(6)).expect("early"),
            crate::peers::Script::new()
                .send(socks5)
                .expect([5, 0, 5, 0, 0, 1])
                .then(skip(6))
                .expect("early"),
            crate::peers::Script::new().send(http).expect_head(" 200 ").expect("early"),
        ]);
        origin(world, |_| echo());
        run(world, &[Completed; 3])
    }

    /// A FIN that follows the request at once reaches the target behind the payload.
    fn early_fin_is_kept(world) {
        proxy(world, &plain())?;
        let mut request = vec![5, 1, 0];
        request.extend(socks5_request(1, ORIGIN));
        let script = crate::peers::Script::new().send(request).upload("up", 500).fin("up");
        let script = script.expect([5, 0, 5, 0, 0, 1]).then(crate::peers::Step::Skip(6));
        client(world, SOCKS, script.download("down", 500).expect_fin("down"));
        let serve = crate::peers::Script::new().download("up", 500).expect_fin("up");
        origin(world, move |_| serve.clone().upload("down", 500).fin("down"));
        run(world, &[Completed])
    }
}
