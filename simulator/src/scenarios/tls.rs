//! TLS over TCP: handshakes and resumption, in segments of every size.
use super::scenarios;
use crate::{
    World,
    check::Violation,
    quic::{
        Facts, Hooks, Identity, Request, Watch,
        groups::{P256, X25519},
    },
    tls::{Dial, TlsHost},
};
use core::{net::SocketAddr, time::Duration};
use rustls::NamedGroup;
use std::rc::Rc;

const SERVER: SocketAddr = SocketAddr::new(
    core::net::IpAddr::V4(core::net::Ipv4Addr::new(10, 0, 0, 2)),
    443,
);
/// Every scenario here ends within it.
const LIMIT: Duration = Duration::from_secs(120);

fn identity(world: &World) -> Rc<Identity> {
    Identity::new(world.seed(), Hooks::default())
}

fn client(identity: &Rc<Identity>) -> TlsHost {
    TlsHost::client(identity, Hooks::default())
}

/// Runs a client against a server, and gives what both saw.
fn run(
    world: &mut World,
    identity: &Rc<Identity>,
    client: TlsHost,
) -> Result<[Facts; 2], Violation> {
    let server = TlsHost::server(identity, SERVER, Hooks::default());
    let watches = [client.watch(), server.watch()];
    world.host("server", &[SERVER.ip()], server);
    world.host("client", &[[10, 0, 0, 1].into()], client);
    world.run(LIMIT)?;
    Ok(watches.map(|watch: Watch| watch.facts()))
}

scenarios! {
    /// A handshake, then payload both ways at once and both ends closed in order.
    fn tls_exchange(world) {
        let identity = identity(world);
        let request = Request::new("tls", 200_000, 200_000);
        let client = client(&identity).dial(Dial::new(SERVER, request));
        let [seen, theirs] = run(world, &identity, client)?;
        let holds = seen.connected == 1 && theirs.connected == 1 && seen.resumed == 0;
        world.expect(holds, format!("{seen:?} {theirs:?}"))?;
        let down = world.flows().delivered_len("tls/down");
        world.expect(down == 200_000, format!("{down} bytes"))
    }

    /// A client whose first key share the server does not know is asked for another.
    fn tls_hello_retry_request(world) {
        let identity = identity(world);
        let client = client(&identity).groups(&[&P256, &X25519]);
        let client = client.dial(Dial::new(SERVER, Request::new("hrr", 3_000, 3_000)));
        let [seen, _] = run(world, &identity, client)?;
        let both = [NamedGroup::secp256r1, NamedGroup::X25519];
        world.expect(seen.key_shares == both, format!("{seen:?}"))
    }

    /// The second of two connections resumes the session of the first.
    fn tls_resumption(world) {
        let identity = identity(world);
        let later = Duration::from_secs(20);
        let client = client(&identity)
            .dial(Dial::new(SERVER, Request::new("first", 3_000, 30_000)))
            .dial(Dial::new(SERVER, Request::new("second", 3_000, 30_000)).after(later));
        let [seen, theirs] = run(world, &identity, client)?;
        let holds = seen.connected == 2 && seen.resumed == 1 && theirs.resumed == 1;
        world.expect(holds, format!("{seen:?} {theirs:?}"))
    }
}
