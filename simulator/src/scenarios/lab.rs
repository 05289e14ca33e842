//! The hosts that scenarios share: a client, the proxy, an origin server, an upstream proxy; and
//! what SOCKS and HTTP look like on the wire, byte by byte.
use crate::{
    World,
    check::{Closed, Invariant, Violation},
    daemon::{self, DaemonHost, TunSettings},
    drive::{MachineHost, Rules, plan},
    host::HostId,
    net::SiteId,
    peers::{Script, ScriptHost, Step},
    scenario::Verdict,
};
use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use sansbox_engine::record::CloseReason;

/// Longer than anything takes but an idle relay of a day.
pub(super) const LIMIT: Duration = Duration::from_secs(48 * 3600);

/// Where the proxy of [`PLAIN`] speaks SOCKS.
pub(super) const SOCKS: &str = "10.0.0.2:1080";
/// Where it speaks HTTP.
pub(super) const HTTP: &str = "10.0.0.2:8080";
/// Where it speaks both.
pub(super) const MIXED: &str = "10.0.0.2:2080";
/// The origin server.
pub(super) const ORIGIN: &str = "10.0.0.3:80";
/// The same, on IPv6.
pub(super) const ORIGIN_V6: &str = "[fd00::3]:80";

/// Inbounds of all kinds without users.
pub(super) const INBOUNDS: &str = r#"[
    {"type": "socks", "tag": "socks", "listen": "10.0.0.2", "listen_port": 1080},
    {"type": "http", "tag": "http", "listen": "10.0.0.2", "listen_port": 8080},
    {"type": "mixed", "tag": "mixed", "listen": "10.0.0.2", "listen_port": 2080}
]"#;

/// The same with one user.
pub(super) const INBOUNDS_WITH_USERS: &str = r#"[
    {"type": "socks", "tag": "socks", "listen": "10.0.0.2", "listen_port": 1080,
     "users": [{"username": "ann", "password": "secret"}]},
    {"type": "http", "tag": "http", "listen": "10.0.0.2", "listen_port": 8080,
     "users": [{"username": "ann", "password": "secret"}]}
]"#;

/// A configuration from its parts.
pub(super) fn config(inbounds: &str, outbounds: &str, route: &str) -> String {
    format!(r#"{{"inbounds": {inbounds}, "outbounds": {outbounds}, "route": {route}}}"#)
}

/// [`INBOUNDS`], everything goes out directly.
pub(super) fn plain() -> String {
    config(INBOUNDS, r#"[{"type": "direct", "tag": "direct"}]"#, "{}")
}

pub(super) fn addr(text: &str) -> SocketAddr {
    text.parse().expect("addresses of scenarios are constants")
}

pub(super) fn ips(all: &[&str]) -> Vec<IpAddr> {
    let ip = |text: &&str| text.parse().expect("addresses of scenarios are constants");
    all.iter().map(ip).collect()
}

/// Adds the proxy at 10.0.0.2 with a configuration in JSON.
pub(super) fn proxy(world: &mut World, json: &str) -> Result<HostId, Violation> {
    proxy_at(world, "proxy", &["10.0.0.2", "fd00::2"], json)
}

pub(super) fn proxy_at(
    world: &mut World,
    name: &str,
    addresses: &[&str],
    json: &str,
) -> Result<HostId, Violation> {
    let site = world.site(name, Vec::new());
    serve_in(world, site, name, addresses, json)
}

/// Adds a host on a site that serves a configuration; by the engine's own loop where the world
/// wants that.
fn serve_in(
    world: &mut World,
    site: SiteId,
    name: &str,
    addresses: &[&str],
    json: &str,
) -> Result<HostId, Violation> {
    if world.daemon {
        return daemon_in(world, site, name, addresses, json);
    }
    let plan = plan(json).map_err(|why| bad_config(world, name, why))?;
    let host = MachineHost::of_plan(Rules::default(), &plan);
    Ok(world.host_in(site, name, &ips(addresses), host))
}

/// Adds a host on a site that serves a configuration by the engine's own loop, with carriers.
pub(super) fn daemon_in(
    world: &mut World,
    site: SiteId,
    name: &str,
    addresses: &[&str],
    json: &str,
) -> Result<HostId, Violation> {
    daemon_with(world, site, (name, addresses), json, TunSettings::new())
}

/// The same with a TUN device that is not as usual.
pub(super) fn daemon_with(
    world: &mut World,
    site: SiteId,
    (name, addresses): (&str, &[&str]),
    json: &str,
    tun: TunSettings,
) -> Result<HostId, Violation> {
    let plan = daemon::plan(json).map_err(|why| bad_config(world, name, why))?;
    let host = DaemonHost::of_plan(Rules::default(), &plan, tun);
    Ok(world.host_in(site, name, &ips(addresses), host))
}

fn bad_config(world: &World, name: &str, detail: String) -> Violation {
    Violation {
        at: world.now(),
        host: name.into(),
        invariant: Invariant::Expected,
        detail,
    }
}

/// Adds a client at 10.0.0.1 that runs one script.
pub(super) fn client(world: &mut World, to: &str, script: Script) {
    clients(world, to, [script]);
}

/// Adds a client at 10.0.0.1 that runs several scripts at once.
pub(super) fn clients(world: &mut World, to: &str, scripts: impl IntoIterator<Item = Script>) {
    let dial = |host: ScriptHost, script| host.dial(addr(to), script);
    let host = scripts.into_iter().fold(ScriptHost::new(), dial);
    world.host("client", &ips(&["10.0.0.1", "fd00::1"]), host);
}

/// Adds a client at `ip` on a site that runs one script on a connection to `to`.
pub(super) fn client_in(world: &mut World, site: SiteId, ip: &str, to: &str, script: Script) {
    let host = ScriptHost::new().dial(addr(to), script);
    world.host_in(site, "client", &ips(&[ip]), host);
}

/// Adds the proxy at 10.0.0.2 on a site.
pub(super) fn proxy_in(world: &mut World, site: SiteId, json: &str) -> Result<HostId, Violation> {
    serve_in(world, site, "proxy", &["10.0.0.2", "fd00::2"], json)
}

/// Adds an origin server at [`ORIGIN`] and [`ORIGIN_V6`], whose n-th connection runs `serve(n)`.
pub(super) fn origin(world: &mut World, serve: impl Fn(u64) -> Script + Clone + 'static) {
    let host = ScriptHost::new()
        .serve(addr(ORIGIN), serve.clone())
        .serve(addr(ORIGIN_V6), serve);
    world.host("origin", &ips(&["10.0.0.3", "fd00::3"]), host);
}

/// A server that sends everything back.
pub(super) fn echo() -> Script {
    Script::new().then(Step::Echo)
}

/// The client's part of a relay: `len` bytes both ways, then FIN first.
pub(super) fn talk(len: u64) -> Script {
    Script::new()
        .exchange("up", "down", len)
        .fin("up")
        .expect_fin("down")
}

/// The origin's part of it.
pub(super) fn answer(len: u64) -> Script {
    Script::new()
        .exchange("down", "up", len)
        .expect_fin("up")
        .fin("down")
}

/// A SOCKS5 greeting without authentication, and its answer.
pub(super) fn socks5() -> Script {
    Script::new().send([5, 1, 0]).expect([5, 0])
}

/// A SOCKS5 greeting with user name and password, and the answers to both.
pub(super) fn socks5_login(username: &str, password: &str) -> Script {
    let mut login = vec![1];
    for part in [username, password] {
        login.push(part.len() as u8);
        login.extend_from_slice(part.as_bytes());
    }
    Script::new().send([5, 1, 2]).expect([5, 2]).send(login)
}

/// A SOCKS5 request: command 1 is CONNECT, 3 is UDP ASSOCIATE.
pub(super) fn socks5_request(command: u8, target: &str) -> Vec<u8> {
    let mut out = vec![5, command, 0];
    out.extend(socks5_address(target));
    out
}

/// A SOCKS5 address: type, address or name, port.
pub(super) fn socks5_address(target: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let port = match target.parse::<SocketAddr>() {
        Ok(SocketAddr::V4(v4)) => {
            out.push(1);
            out.extend(v4.ip().octets());
            v4.port()
        }
        Ok(SocketAddr::V6(v6)) => {
            out.push(4);
            out.extend(v6.ip().octets());
            v6.port()
        }
        Err(_) => {
            let (name, port) = target.rsplit_once(':').expect("name:port");
            out.extend([3, name.len() as u8]);
            out.extend_from_slice(name.as_bytes());
            port.parse().expect("a port")
        }
    };
    out.extend(port.to_be_bytes());
    out
}

/// A SOCKS5 CONNECT and a successful reply, whose bound address is any IPv4 one.
pub(super) fn socks5_connect(target: &str) -> Script {
    socks5()
        .send(socks5_request(1, target))
        .expect([5, 0, 0, 1])
        .then(Step::Skip(6))
}

/// A SOCKS5 reply that refuses.
pub(super) fn socks5_refusal(code: u8) -> Vec<u8> {
    vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0]
}

/// A SOCKS4 request for an IPv4 target, or a SOCKS4a request for a name.
pub(super) fn socks4_request(target: &str) -> Vec<u8> {
    let (host, port) = target.rsplit_once(':').expect("host:port");
    let port: u16 = port.parse().expect("a port");
    let ip: Result<core::net::Ipv4Addr, _> = host.parse();
    let mut out = vec![4, 1];
    out.extend(port.to_be_bytes());
    out.extend(ip.as_ref().map_or([0, 0, 0, 1], |ip| ip.octets()));
    out.extend_from_slice(b"me\0");
    if ip.is_err() {
        out.extend_from_slice(host.as_bytes());
        out.push(0);
    }
    out
}

/// A SOCKS4 request that is granted.
pub(super) fn socks4_connect(target: &str) -> Script {
    let request = Script::new().send(socks4_request(target));
    request.expect([0, 90]).then(Step::Skip(6))
}

/// An HTTP CONNECT.
pub(super) fn connect_request(target: &str) -> String {
    format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

/// An HTTP CONNECT that is granted.
pub(super) fn http_connect(target: &str) -> Script {
    let request = Script::new().send(connect_request(target));
    request.expect_head("HTTP/1.1 200 ")
}

/// An HTTP GET in absolute form.
pub(super) fn get(target: &str, path: &str) -> String {
    format!("GET http://{target}{path} HTTP/1.1\r\nHost: {target}\r\n\r\n")
}

/// An answer with a body and its length.
pub(super) fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Runs to the end and checks why each session ended.
pub(super) fn run(world: &mut World, reasons: &[CloseReason]) -> Verdict {
    run_for(world, LIMIT, reasons)
}

/// The same within another limit.
pub(super) fn run_for(world: &mut World, limit: Duration, reasons: &[CloseReason]) -> Verdict {
    world.run(limit)?;
    let got: Vec<CloseReason> = world.closed().iter().filter_map(|c| c.reason).collect();
    world.expect(
        got == reasons,
        format!("sessions ended with {got:?}, not {reasons:?}"),
    )
}

/// Runs to the end and checks that every session satisfies `holds`, and how many there were.
pub(super) fn run_all(world: &mut World, count: usize, holds: fn(&Closed) -> bool) -> Verdict {
    world.run(LIMIT)?;
    let odd = world.closed().iter().find(|closed| !holds(closed));
    world.expect(odd.is_none(), format!("{odd:?}"))?;
    let got = world.closed().len();
    world.expect(got == count, format!("{got} sessions, not {count}"))
}
