//! A world that needs every hook, for the tests that take them away one by one.
use super::{Hooks, Identity, Plan, QuicHost, Request};
use crate::{World, check::Violation, net::UdpPath};
use core::{net::SocketAddr, time::Duration};

/// Two connections over a path that reorders and loses, the second resumed with a token of the
/// first; returns the world's digest.
///
/// # Errors
/// The first broken invariant.
pub fn run(seed: u64, hooks: Hooks) -> Result<[u8; 32], Violation> {
    let mut world = World::new(seed);
    world.default_udp_path(UdpPath {
        latency: Duration::from_millis(20),
        jitter: Duration::from_millis(2),
        loss: 10,
        ..UdpPath::default()
    });
    let identity = Identity::new(seed, hooks);
    let address = SocketAddr::from(([10, 0, 0, 2], 443));
    let server = QuicHost::server(&identity, address, hooks);
    let later = Duration::from_secs(5);
    let client = QuicHost::client(&identity, hooks)
        .connect(Plan::new(address, [Request::new("first", 20_000, 20_000)]))
        .connect(Plan::new(address, [Request::new("second", 20_000, 20_000)]).after(later));
    world.host("server", &[address.ip()], server);
    world.host("client", &[[10, 0, 0, 1].into()], client);
    world.run(Duration::from_secs(120))?;
    Ok(world.digest())
}
