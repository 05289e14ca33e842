//! Tunnels with peers on quic-go, over sockets of loopback.
mod paniq;
mod quic;
