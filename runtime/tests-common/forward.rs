//! Forwards every connection to one target, to measure a runtime without any protocol.
use crate::common::{Mode, Toy, World};
use crate::runtime::Options;
use std::{net::SocketAddr, time::Duration};

pub(crate) fn main() {
    let mut arguments = std::env::args().skip(1);
    let target: SocketAddr = arguments
        .next()
        .and_then(|target| target.parse().ok())
        .expect("usage: forward TARGET [PORT [WORKERS]]");
    let port = arguments.next().and_then(|port| port.parse().ok());
    let workers = arguments.next().and_then(|workers| workers.parse().ok());
    let mut toy = Toy::new(Mode::Passthrough, target);
    toy.idle = Duration::from_mins(5);
    for inbound in &mut toy.listens {
        inbound.listen.listen_port = port.unwrap_or(0);
    }
    let options = Options {
        workers,
        loopback_congestion: std::env::var_os("SYSTEM_CONGESTION").is_none(),
        ..Options::default()
    };
    let world = World::try_start(toy, options).expect("started");
    println!("forwarding {} to {target}", world.tcp());
    loop {
        std::thread::park();
    }
}
