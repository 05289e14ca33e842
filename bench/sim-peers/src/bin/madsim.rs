//! The echo pair in madsim.

#[cfg(not(madsim))]
compile_error!("build with RUSTFLAGS='--cfg madsim': without it, madsim is the real network");

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use madsim::Config;
use madsim::net::UdpSocket;
use madsim::runtime::Runtime;
use madsim::time::{Instant, sleep_until};
use sim_peers::{LATENCY, Load, PORT, measure};

fn main() -> Result<()> {
    measure("madsim", Load::from_args()?, simulate)
}

fn simulate(load: Load) -> Result<u64> {
    let mut config = Config::default();
    // An empty range would be refused: it draws from this one.
    config.net.send_latency = LATENCY..LATENCY + Duration::from_nanos(1);
    let world = Runtime::with_seed_and_config(1, config);
    let ip = |last| IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
    let (near, far) = (SocketAddr::new(ip(1), 0), SocketAddr::new(ip(2), PORT));
    let echo = world.create_node().name("echo").ip(far.ip()).build();
    let pinger = world.create_node().name("pinger").ip(near.ip()).build();
    world.block_on(async {
        let _echo = echo.spawn(echoes(far));
        let pings = pinger.spawn(pings(near, far, load));
        pings.await.context("the pinger")?
    })
}

async fn echoes(at: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind(at).await?;
    let mut data = [0; 64];
    loop {
        let (len, from) = socket.recv_from(&mut data).await?;
        socket
            .send_to(from, data.get(..len).unwrap_or_default())
            .await?;
    }
}

/// Returns how many packets came back as they were sent.
async fn pings(near: SocketAddr, to: SocketAddr, load: Load) -> Result<u64> {
    let socket = UdpSocket::bind(near).await?;
    let mut next = Instant::now();
    let mut data = [0; 64];
    let mut back = 0;
    for left in (0..load.packets).rev() {
        next += load.every;
        sleep_until(next).await;
        socket.send_to(to, &left.to_be_bytes()).await?;
        let (len, _) = socket.recv_from(&mut data).await?;
        back += u64::from(data.get(..len) == Some(&left.to_be_bytes()));
    }
    Ok(back)
}
