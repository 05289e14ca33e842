//! Both ends of paniq as carriers: [`sansbox_protocols::paniq::tunnel`] with what the
//! engine adds, names of servers and a policy for targets.
mod client;
mod server;

pub use client::{Client, ClientPlan};
pub use server::{Server, ServerPlan};

use super::Stream;
use sansbox_protocols::paniq::tunnel;

const fn to_tunnel(stream: Stream) -> tunnel::Stream {
    tunnel::Stream(stream.0)
}

const fn to_server(stream: Stream) -> tunnel::ServerStream {
    tunnel::ServerStream(stream.0)
}
