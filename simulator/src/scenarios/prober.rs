//! What active probers learn of servers.
use super::{lab::*, scenarios};
use crate::{
    World,
    check::{Invariant, Violation},
    net::boxes::{
        censor::{Censor, Rule, Sightings, Then, When},
        prober::{Findings, Plan, Probe, Prober},
    },
    peers::{Script, ScriptHost, Step},
};
use core::{net::SocketAddr, time::Duration};
use sansbox_engine::record::CloseReason::{
    AuthFailed, ClientProtocol, ClientReset, HandshakeTimeout,
};
use std::collections::BTreeMap;

/// By less than this nobody tells two servers apart: the way varies by as much.
const LEEWAY: Duration = Duration::from_millis(500);
/// Where the site of [`website`] stands beside the one behind the proxy.
const DECOY: &str = "10.0.0.4:80";

/// A client past a censor that reports every flow to a prober.
fn watched(
    world: &mut World,
    to: &str,
    script: Script,
    decoy: Option<&str>,
) -> Result<Findings, Violation> {
    let (sightings, findings) = (Sightings::new(), Findings::new());
    let rule = Rule::new(When::Always, Then::Report(sightings.clone()));
    let censor = Censor::new(vec![rule]).map_err(|why| Violation {
        at: world.now(),
        host: "world".into(),
        invariant: Invariant::Expected,
        detail: why.to_string(),
    })?;
    let country = world.site("country", vec![Box::new(censor)]);
    client_in(world, country, "10.0.0.1", to, script);
    let decoys: BTreeMap<SocketAddr, SocketAddr> = decoy
        .map(|decoy| (addr(to), addr(decoy)))
        .into_iter()
        .collect();
    let prober = Prober::new(
        Plan {
            decoys,
            ..Plan::default()
        },
        sightings,
        findings.clone(),
    );
    world.host("prober", &ips(&["10.0.0.66"]), prober);
    Ok(findings)
}

/// Greets, waits for a request, refuses whatever it is, and reads to the end.
fn website() -> Script {
    let greeting = Script::new().send("220 ready\r\n").then(Step::Skip(4));
    greeting
        .send("500 no\r\n")
        .then(Step::Fin(None))
        .then(Step::ExpectEnd)
        .tolerant()
}

fn visit() -> Script {
    Script::new()
        .send("HELO me\r\n")
        .expect("220 ready\r\n")
        .expect("500 no\r\n")
}

fn probes(world: &World, findings: &Findings) -> Result<(), Violation> {
    let found = findings.all().len();
    world.expect(found == Probe::all().len(), format!("{found} findings"))
}

scenarios! {
    /// A listener that forwards to a site does, under every probe, just what the site does.
    fn prober_cannot_tell_a_forwarder_from_its_site(world) {
        let inbound = r#"[{"type": "direct", "listen": "10.0.0.2", "listen_port": 5300,
            "override_address": "10.0.0.3", "override_port": 80}]"#;
        proxy(world, &config(inbound, r#"[{"type": "direct"}]"#, "{}"))?;
        let findings = watched(world, "10.0.0.2:5300", visit(), Some(DECOY))?;
        for site in [ORIGIN, DECOY] {
            let host = ScriptHost::new().serve(addr(site), |_| website());
            world.host("site", &[addr(site).ip()], host);
        }
        world.run(LIMIT)?;
        probes(world, &findings)?;
        let check = findings.check(LEEWAY);
        world.expect(check.is_ok(), check.err().unwrap_or_default())
    }

    /// A SOCKS listener cannot pass for a site: the check says by which probe it is known.
    fn prober_knows_a_socks_listener(world) {
        proxy(world, &plain())?;
        let findings = watched(world, SOCKS, socks5_connect(ORIGIN).and(talk(100)), Some(DECOY))?;
        origin(world, |_| answer(100));
        let site = ScriptHost::new().serve(addr(DECOY), |_| website());
        world.host("site", &ips(&["10.0.0.4"]), site);
        world.run(LIMIT)?;
        probes(world, &findings)?;
        world.expect(findings.check(LEEWAY).is_err(), "the prober learnt nothing")
    }

    /// An HTTP listener with users tells a prober without a password no more than that it wants
    /// one: no probe of a flight without credentials reaches anybody.
    fn prober_without_password_reaches_nobody(world) {
        proxy(world, &config(INBOUNDS_WITH_USERS, r#"[{"type": "direct"}]"#, "{}"))?;
        let refused = Script::new().send(connect_request(ORIGIN)).expect_head("HTTP/1.1 407 ");
        let findings = watched(world, HTTP, refused, None)?;
        let reached = |_: u64| Script::new().expect("nobody comes here");
        origin(world, reached);
        world.run(LIMIT)?;
        probes(world, &findings)?;
        let odd = world.closed().iter().find(|closed| {
            !matches!(closed.reason, Some(AuthFailed | ClientProtocol | ClientReset | HandshakeTimeout))
        });
        world.expect(odd.is_none(), format!("{odd:?}"))?;
        let granted = findings.all().into_iter().find(|finding| {
            finding.suspect.heard.concat().starts_with(b"HTTP/1.1 200")
        });
        world.expect(granted.is_none(), format!("{granted:?}"))
    }
}
