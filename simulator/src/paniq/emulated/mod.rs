//! Tunnels of the personas: preambles, frames, QUIC and the proxy's messages are the product's,
//! what is made of them is as in the other programs.
mod client;
mod gate;
mod kcp;
mod relay;
mod server;
mod setup;
mod wrap;

pub(crate) use client::EmulatedClient;
pub(crate) use kcp::{KcpClient, KcpServer};
pub(crate) use server::EmulatedServer;
