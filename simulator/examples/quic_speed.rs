//! How fast QUIC and TLS run in a world: datagrams sent per second of one core, with the
//! transcript's digest as always. `cargo run --release -p sansbox-simulator --example quic_speed`
#![expect(clippy::print_stdout, reason = "a command line tool")]
use sansbox_simulator::{
    World,
    net::UdpPath,
    quic::{Hooks, Identity, Plan, QuicHost, Request},
};
use std::{
    fs,
    net::SocketAddr,
    sync::OnceLock,
    time::{Duration, Instant},
};

/// Worlds of each kind.
const WORLDS: u64 = 40;
const MIB: u64 = 1 << 20;

/// Datagrams and virtual seconds of a world with one upload.
fn world(seed: u64, bytes: u64, loss: u64) -> (u64, f64) {
    let mut world = World::new(seed);
    world.default_udp_path(UdpPath {
        latency: Duration::from_millis(20),
        jitter: Duration::from_millis(2),
        loss,
        payload_max: 1472,
        ..UdpPath::default()
    });
    let identity = Identity::new(seed, Hooks::default());
    let address = SocketAddr::from(([10, 0, 0, 2], 443));
    let server = QuicHost::server(&identity, address, Hooks::default());
    let plan = Plan::new(address, [Request::new("bulk", bytes, 2)]);
    let client = QuicHost::client(&identity, Hooks::default()).connect(plan);
    let watches = [client.watch(), server.watch()];
    world.host("server", &[address.ip()], server);
    world.host("client", &[[10, 0, 0, 1].into()], client);
    world.run(Duration::from_secs(600)).expect("the world runs");
    let datagrams = watches.iter().map(|watch| watch.facts().datagrams).sum();
    (datagrams, world.now().as_nanos() as f64 / 1e9)
}

/// Time that this thread was given by Linux; elsewhere the wall clock stands for it, which other
/// programs' load falsifies.
fn cpu_time() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    #[expect(clippy::disallowed_methods, reason = "measures")]
    let start = START.get_or_init(Instant::now);
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat");
    let given = schedstat
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok());
    given.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

fn main() {
    for (bytes, loss) in [(MIB, 0), (MIB, 10), (MIB, 50), (16 * MIB, 0)] {
        let start = cpu_time();
        let (mut datagrams, mut seconds) = (0, 0.0);
        for seed in 0..WORLDS {
            let (more, virtual_seconds) = world(seed, bytes, loss);
            datagrams += more;
            seconds += virtual_seconds;
        }
        let taken = (cpu_time() - start).as_secs_f64();
        println!(
            "{:>2} MiB, loss {:>2} in 1000: {:>7.0} datagrams/s, {:>6.0} worlds/s, {:>5.0} virtual s/s",
            bytes / MIB,
            loss,
            datagrams as f64 / taken,
            WORLDS as f64 / taken,
            seconds / taken,
        );
    }
}
