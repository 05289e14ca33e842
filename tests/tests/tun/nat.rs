//! What kind of NAT a client is behind, as coturn's client finds out with its server (RFC 5780).
use crate::{
    net::{OTHER4, TARGET4},
    program::{Options, Tun, has_own_options},
    tools::{run, spawn},
};
use sansbox_tests::{
    json,
    peers::need,
    process::{Process, START_TIMEOUT},
    temp::TempDir,
};
use std::{path::Path, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(60);

/// A STUN server with two addresses and two ports.
fn server(tun: &Tun, program: &Path, dir: &TempDir) -> Process {
    let place = dir.path().display();
    let arguments = format!(
        "-n --no-cli --no-tls --no-dtls --stun-only -L {TARGET4} -L {OTHER4} -p 3478 \
         --log-file stdout --simple-log --pidfile {place}/pid -b {place}/db"
    );
    let mut process = spawn(&tun.net.server, program, &arguments);
    process.wait_for_line("SQLite DB connection success", START_TIMEOUT);
    process
}

/// How often the client asks, each time from another port: what depends on a port's number does
/// not look right by chance.
const TIMES: u32 = 6;

/// What the client says of the mapping and of the filtering, each time.
fn discover(options: &Options) -> Option<Vec<String>> {
    let (program, client) = (need("turnserver")?, need("turnutils_natdiscovery")?);
    let tun = Tun::new(options)?;
    let dir = TempDir::new();
    let _server = server(&tun, &program, &dir);
    let arguments = format!("-m -f {TARGET4}");
    let ask = |_| {
        let said = run(&tun.net.client, &client, &arguments, TIMEOUT);
        assert!(said.success, "{}\n{}", said.text, tun.proxy.log());
        said.text
    };
    Some((0..TIMES).map(ask).collect())
}

#[test]
fn mapping_and_filtering_depend_on_no_endpoint() {
    for said in discover(&Options::default()).into_iter().flatten() {
        assert!(said.contains("Endpoint Independent Mapping"), "{said}");
        assert!(said.contains("Endpoint Independent Filtering"), "{said}");
    }
}

#[test]
fn filtering_depends_on_the_address_when_told_so() {
    if !has_own_options() {
        return;
    }
    let options = Options::with("udp_filtering", &json!("address_dependent"));
    for said in discover(&options).into_iter().flatten() {
        assert!(said.contains("Endpoint Independent Mapping"), "{said}");
        assert!(said.contains("Address Dependent Filtering"), "{said}");
    }
}
