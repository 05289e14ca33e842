//! Rules, outbounds that refuse, and sources that are not served.
use super::{lab::*, scenarios};
use crate::peers::{Script, ScriptHost, Step};
use sansbox_core::Refusal;
use sansbox_engine::record::CloseReason::{Completed, PublicSource, Refused};

const DIRECT: &str = r#"[{"type": "direct", "tag": "direct"}]"#;

scenarios! {
    /// A reject rule is SOCKS reply 2 and HTTP 403, and nothing is dialled.
    fn reject_rule(world) {
        let route = r#"{"rules": [{"port": 80, "action": "reject"}]}"#;
        proxy(world, &config(INBOUNDS, DIRECT, route))?;
        let socks5 = socks5().send(socks5_request(1, ORIGIN)).expect(socks5_refusal(2));
        let http = Script::new().send(connect_request(ORIGIN)).expect_head("HTTP/1.1 403 ");
        clients(world, MIXED, [socks5.then(Step::ExpectFin(None)), http]);
        run(world, &[Refused(Refusal::Policy); 2])
    }

    /// A drop rule says nothing at all.
    fn drop_rule(world) {
        let route = r#"{"rules": [{"port": 80, "action": "reject", "method": "drop"}]}"#;
        proxy(world, &config(INBOUNDS, DIRECT, route))?;
        let silent = Step::ExpectEnd;
        let socks5 = socks5().send(socks5_request(1, ORIGIN)).then(silent.clone());
        let http = Script::new().send(connect_request(ORIGIN)).then(silent);
        clients(world, MIXED, [socks5, http]);
        run(world, &[Refused(Refusal::Dropped); 2])
    }

    /// A block outbound refuses.
    fn block_outbound(world) {
        let outbounds = r#"[{"type": "block", "tag": "no"}]"#;
        proxy(world, &config(INBOUNDS, outbounds, "{}"))?;
        let socks5 = socks5().send(socks5_request(1, ORIGIN)).expect([5, 2]);
        client(world, SOCKS, socks5.then(Step::Skip(8)).then(Step::ExpectFin(None)));
        run(world, &[Refused(Refusal::Policy)])
    }

    /// A selector's default member is used.
    fn selector_default(world) {
        let outbounds = r#"[
            {"type": "selector", "tag": "choice", "outbounds": ["no", "direct"], "default": "direct"},
            {"type": "block", "tag": "no"},
            {"type": "direct", "tag": "direct"}
        ]"#;
        proxy(world, &config(INBOUNDS, outbounds, "{}"))?;
        client(world, SOCKS, socks5_connect(ORIGIN).and(talk(1000)));
        origin(world, |_| answer(1000));
        run(world, &[Completed])
    }

    /// A rule by domain sends one name elsewhere and leaves the others.
    fn rule_by_domain(world) {
        let route = r#"{"rules": [{"domain_suffix": "bad.test", "action": "reject"}]}"#;
        proxy(world, &config(INBOUNDS, DIRECT, route))?;
        world.name("good.test", crate::net::Answer::Addresses(ips(&["10.0.0.3"])));
        let bad = socks5().send(socks5_request(1, "x.bad.test:80")).expect(socks5_refusal(2));
        client(world, SOCKS, bad.then(Step::ExpectFin(None)));
        let good = socks5_connect("good.test:80").send("hello").expect("hello");
        let host = ScriptHost::new().dial(addr(SOCKS), good);
        world.host("other client", &ips(&["10.0.0.6"]), host);
        origin(world, |_| echo());
        run_all(world, 2, |c| {
            matches!(c.reason, Some(Completed | Refused(Refusal::Policy)))
        })
    }

    /// Protected mode: a public source is reset without a word, private ones are served.
    fn public_source_refused(world) {
        proxy(world, &plain())?;
        let host = ScriptHost::new().dial(addr(SOCKS), Script::new().then(Step::ExpectReset));
        world.host("stranger", &ips(&["203.0.113.7"]), host);
        run(world, &[PublicSource])
    }

    /// With the key that says so on purpose, a public source is served.
    fn public_source_allowed(world) {
        let inbounds = r#"[{"type": "socks", "listen": "10.0.0.2", "listen_port": 1080,
            "sansbox_allow_public": true}]"#;
        proxy(world, &config(inbounds, DIRECT, "{}"))?;
        let hello = socks5_connect(ORIGIN).send("hello").expect("hello");
        let host = ScriptHost::new().dial(addr(SOCKS), hello);
        world.host("stranger", &ips(&["203.0.113.7"]), host);
        origin(world, |_| echo());
        run(world, &[Completed])
    }
}
