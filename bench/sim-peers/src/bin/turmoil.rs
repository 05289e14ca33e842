//! The echo pair in turmoil, with the tick of a millisecond that it comes with.

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use sim_peers::{LATENCY, Load, PORT, measure};
use tokio::time::{Instant, sleep_until};
use turmoil::net::UdpSocket;

/// Beyond the load, for the last reply.
const GRACE: Duration = Duration::from_secs(10);
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

fn main() -> Result<()> {
    measure("turmoil", Load::from_args()?, simulate)
}

fn simulate(load: Load) -> Result<u64> {
    let back = Rc::new(Cell::new(0));
    let mut world = turmoil::Builder::new()
        .rng_seed(1)
        .simulation_duration(load.length + GRACE)
        .min_message_latency(LATENCY)
        .max_message_latency(LATENCY)
        .build();
    world.host("echo", || async {
        let socket = UdpSocket::bind(SocketAddr::from((ANY, PORT))).await?;
        let mut data = [0; 64];
        loop {
            let (len, from) = socket.recv_from(&mut data).await?;
            socket
                .send_to(data.get(..len).unwrap_or_default(), from)
                .await?;
        }
    });
    let count = Rc::clone(&back);
    world.client("pinger", async move {
        let socket = UdpSocket::bind(SocketAddr::from((ANY, 0))).await?;
        let to = SocketAddr::new(turmoil::lookup("echo"), PORT);
        let mut next = Instant::now();
        let mut data = [0; 64];
        for left in (0..load.packets).rev() {
            next += load.every;
            sleep_until(next).await;
            socket.send_to(&left.to_be_bytes(), to).await?;
            let (len, _) = socket.recv_from(&mut data).await?;
            count.set(count.get() + u64::from(data.get(..len) == Some(&left.to_be_bytes())));
        }
        Ok(())
    });
    world.run().map_err(|error| anyhow!("{error}"))?;
    Ok(back.get())
}
