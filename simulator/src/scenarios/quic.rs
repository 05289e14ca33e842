//! QUIC endpoints over links that delay, reorder and lose: handshakes of every kind, resumption,
//! early data, Retry, migration, many connections.
use super::scenarios;
use crate::{
    World,
    check::Violation,
    net::UdpPath,
    quic::{
        Facts, Hooks, Identity, Plan, QuicHost, Request, Watch,
        groups::{P256, X25519},
    },
};
use core::{net::SocketAddr, time::Duration};
use rustls::NamedGroup;
use std::rc::Rc;

const SERVER: SocketAddr = SocketAddr::new(
    core::net::IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 2)),
    443,
);
const MIB: u64 = 1 << 20;
/// Every scenario here ends within it.
const LIMIT: Duration = Duration::from_secs(120);

/// 20 ms with 2 ms of jitter, so that packets overtake each other, and losses.
fn rough(world: &mut World, loss: u64) {
    world.default_udp_path(UdpPath {
        latency: Duration::from_millis(20),
        jitter: Duration::from_millis(2),
        loss,
        payload_max: 1472,
        ..UdpPath::default()
    });
}

fn identity(world: &World) -> Rc<Identity> {
    Identity::new(world.seed(), Hooks::default())
}

fn client(identity: &Rc<Identity>) -> QuicHost {
    QuicHost::client(identity, Hooks::default())
}

fn server(identity: &Rc<Identity>) -> QuicHost {
    QuicHost::server(identity, SERVER, Hooks::default())
}

/// Runs both, and gives what the client and the server saw.
fn run(world: &mut World, client: QuicHost, server: QuicHost) -> Result<[Facts; 2], Violation> {
    let watches = [client.watch(), server.watch()];
    world.host("server", &[SERVER.ip()], server);
    world.host("client", &[[10, 0, 0, 1].into()], client);
    world.run(LIMIT)?;
    Ok(watches.map(|watch: Watch| watch.facts()))
}

fn delivered(world: &World, request: &Request) -> Result<(), Violation> {
    for (way, wanted) in [("up", request.up), ("down", request.down)] {
        let got = world
            .flows()
            .delivered_len(&format!("{}/{way}", request.name));
        let what = format!("{} {way}: {got} of {wanted} bytes", request.name);
        world.expect(got == wanted, what)?;
    }
    Ok(())
}

/// A second connection in the same client, long after the first.
const LATER: Duration = Duration::from_secs(5);

scenarios! {
    /// A handshake, then 1 MiB each way at once, over a path that loses 1 %.
    fn quic_megabyte_each_way(world) {
        rough(world, 10);
        let identity = identity(world);
        let request = Request::new("bulk", MIB, MIB);
        let client = client(&identity).connect(Plan::new(SERVER, [request.clone()]));
        let server = server(&identity);
        let [seen, _] = run(world, client, server)?;
        world.expect(seen.connected == 1 && seen.resumed == 0, format!("{seen:?}"))?;
        delivered(world, &request)
    }

    /// A client whose first key share the server does not know is asked for another.
    fn quic_hello_retry_request(world) {
        rough(world, 10);
        let identity = identity(world);
        let request = Request::new("hrr", 20_000, 20_000);
        let client = client(&identity).groups(&[&P256, &X25519]);
        let client = client.connect(Plan::new(SERVER, [request.clone()]));
        let server = server(&identity);
        let [seen, theirs] = run(world, client, server)?;
        let both = [NamedGroup::secp256r1, NamedGroup::X25519];
        world.expect(seen.key_shares == both, format!("{seen:?}"))?;
        world.expect(theirs.key_shares == both[1..], format!("{theirs:?}"))?;
        delivered(world, &request)
    }

    /// A second connection resumes the session of the first, without a second signature.
    fn quic_resumption(world) {
        rough(world, 10);
        let identity = identity(world);
        let requests = ["first", "second"].map(|name| Request::new(name, 5_000, 50_000));
        let [first, second] = requests.clone();
        let client = client(&identity)
            .connect(Plan::new(SERVER, [first]))
            .connect(Plan::new(SERVER, [second]).after(LATER));
        let server = server(&identity);
        let [seen, theirs] = run(world, client, server)?;
        let holds = seen.connected == 2 && seen.early == 0 && theirs.resumed == 1;
        world.expect(holds, format!("{seen:?} {theirs:?}"))?;
        world.expect(theirs.validated == 1, format!("no token was used: {theirs:?}"))?;
        requests.iter().try_for_each(|request| delivered(world, request))
    }

    /// A second connection sends its request before the handshake, and it is accepted.
    fn quic_early_data(world) {
        rough(world, 10);
        let identity = identity(world);
        let requests = ["first", "second"].map(|name| Request::new(name, 5_000, 50_000));
        let [first, second] = requests.clone();
        let client = client(&identity)
            .connect(Plan::new(SERVER, [first]))
            .connect(Plan::new(SERVER, [second]).after(LATER).early());
        let server = server(&identity);
        let [seen, theirs] = run(world, client, server)?;
        let holds = seen.connected == 2 && seen.early == 1 && theirs.resumed == 1;
        world.expect(holds, format!("{seen:?} {theirs:?}"))?;
        requests.iter().try_for_each(|request| delivered(world, request))
    }

    /// A server that doubts every address answers with Retry first.
    fn quic_retry(world) {
        rough(world, 10);
        let identity = identity(world);
        let request = Request::new("retried", 20_000, 20_000);
        let client = client(&identity).connect(Plan::new(SERVER, [request.clone()]));
        let server = server(&identity).retry();
        let [seen, theirs] = run(world, client, server)?;
        let holds = seen.connected == 1 && theirs.retries >= 1 && theirs.validated >= 1;
        world.expect(holds, format!("{seen:?} {theirs:?}"))?;
        delivered(world, &request)
    }

    /// A client changes its port twice in the middle of a transfer; the connection follows.
    fn quic_migration(world) {
        rough(world, 10);
        let identity = identity(world);
        let request = Request::new("moving", MIB, MIB);
        let client = client(&identity)
            .connect(Plan::new(SERVER, [request.clone()]))
            .rebind_at(Duration::from_millis(1500))
            .rebind_at(Duration::from_millis(2500));
        let server = server(&identity);
        let [seen, theirs] = run(world, client, server)?;
        // Losses may hide the first port altogether.
        let holds = seen.connected == 1 && (1..=2).contains(&theirs.moved);
        world.expect(holds, format!("{seen:?} {theirs:?}"))?;
        delivered(world, &request)
    }

    /// Fifty connections of one client to one server at once, with four streams each.
    fn quic_many_connections(world) {
        rough(world, 10);
        let identity = identity(world);
        let mut client = client(&identity);
        let mut requests = Vec::new();
        for connection in 0..50_u64 {
            let request = |stream| Request::new(format!("{connection}/{stream}"), 3_000, 9_000);
            let of_one: Vec<Request> = (0..4).map(request).collect();
            let after = Duration::from_micros(700) * u32::try_from(connection).unwrap_or(0);
            client = client.connect(Plan::new(SERVER, of_one.clone()).after(after));
            requests.extend(of_one);
        }
        let server = server(&identity);
        let [seen, theirs] = run(world, client, server)?;
        let holds = seen.connected == 50 && theirs.connected == 50;
        world.expect(holds, format!("{seen:?} {theirs:?}"))?;
        requests.iter().try_for_each(|request| delivered(world, request))
    }
}
