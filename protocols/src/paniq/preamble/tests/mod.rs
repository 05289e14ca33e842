//! Clients and servers of preambles in a world of two hosts and a clock.
mod client;
mod memory;
mod paths;
mod server;

use super::{
    Client, ClientAuth, ClientConfig, ClientEvent, Dropped, Rules, Server, ServerConfig,
    SourcePort, Taken, Window,
};
use crate::paniq::{
    Draws,
    obf::{Framer, Kind, Params, Spec},
    timestamp::{ServerKey, UnixTime},
    transport::{Budget, Codec, Counting, Padding, Sizes},
};
use bytes::BytesMut;
use sansbox_core::{Instant, Seed};
use std::{net::SocketAddr, time::Duration};

/// The wall clock when [`Instant`] is zero.
const STARTED: Duration = Duration::from_secs(1_700_000_000);
const SKEW: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(5);

const DOCS: Spec<'static> = Spec {
    jc: 4,
    jmin: 500,
    jmax: 1202,
    s: [339, 432, 213, 37],
    h: [
        "2367138250-2367139274",
        "2676052954-2676053978",
        "3741617189-3741618213",
        "3845046654-3845047678",
    ],
    i: ["<t>", "", "", "", ""],
};

/// The same with a Response shorter than any Initiation.
const QUIET: Spec<'static> = Spec {
    s: [339, 100, 213, 37],
    ..DOCS
};

fn instant(at: Duration) -> Instant {
    Instant::ZERO + at
}

fn wall(at: Duration) -> UnixTime {
    (STARTED + at).into()
}

fn source(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], port))
}

fn key() -> ServerKey {
    ServerKey::new([7; 32])
}

fn framer(spec: &Spec<'_>) -> Framer {
    Framer::new(Params::parse(spec).unwrap().into())
}

fn server_config(spec: &Spec<'_>) -> ServerConfig {
    let framer = framer(spec);
    let padding = Padding::default();
    let sizes = Sizes {
        prefix: framer.params().prefix_len(Kind::Transport),
        ..Sizes::default()
    };
    let budget = Budget::new(&sizes, &padding).unwrap();
    ServerConfig {
        codec: Codec::new(framer, budget, padding, Counting::default()),
        key: Some(key()),
        draws: Draws::new(Seed::from_u64(1)),
        encrypted_timestamp: true,
        require_encrypted_timestamp: true,
        require_timestamp: true,
        legacy_until: None,
        signature_validate: true,
        timestamp_window: Window {
            past: SKEW,
            future: SKEW,
        },
        timeout: TIMEOUT,
        replays_max: 4096,
        rate_limit: None,
    }
}

/// A server that takes `<t>` for a timestamp.
fn lenient_config(spec: &Spec<'_>) -> ServerConfig {
    ServerConfig {
        require_encrypted_timestamp: false,
        ..server_config(spec)
    }
}

fn keyless_config(spec: &Spec<'_>) -> ServerConfig {
    ServerConfig {
        key: None,
        encrypted_timestamp: false,
        ..lenient_config(spec)
    }
}

fn client_config(spec: &Spec<'_>) -> ClientConfig {
    ClientConfig {
        framer: framer(spec),
        auth: ClientAuth::EncryptedTimestamp(key().public()),
        attempts: 3,
        timeout: TIMEOUT,
        delay: Duration::from_millis(5),
        jitter: Duration::from_millis(5),
        source_port: SourcePort::Fresh,
    }
}

/// A preamble's datagrams, made at `at` without pauses.
fn preamble(spec: &Spec<'_>, auth: ClientAuth, at: Duration, seed: u64) -> Vec<BytesMut> {
    let config = ClientConfig {
        auth,
        delay: Duration::ZERO,
        jitter: Duration::ZERO,
        ..client_config(spec)
    };
    let mut client = Client::new(instant(at), config, Seed::from_u64(seed)).unwrap();
    std::iter::from_fn(|| {
        let mut buf = BytesMut::new();
        client.poll_transmit(instant(at), wall(at), &mut buf)?;
        Some(buf)
    })
    .collect()
}

/// What a server says to a datagram; the answer, if any.
fn hand(
    server: &mut Server,
    at: Duration,
    source: SocketAddr,
    datagram: &[u8],
) -> (Result<Taken, Dropped>, BytesMut) {
    let mut out = BytesMut::new();
    let taken = server.handle_datagram(instant(at), wall(at), source, datagram, &mut out);
    let answered = matches!(taken, Ok(Taken::Answered { .. }));
    assert_eq!(out.is_empty(), !answered, "an answer is announced");
    (taken, out)
}

/// Hands over several; what became of the last.
fn hand_all(
    server: &mut Server,
    at: Duration,
    source: SocketAddr,
    datagrams: &[BytesMut],
) -> Result<Taken, Dropped> {
    let each = |datagram: &BytesMut| hand(server, at, source, datagram).0;
    datagrams.iter().map(each).last().unwrap()
}

const NEW: Result<Taken, Dropped> = Ok(Taken::Answered { is_new: true });
const AGAIN: Result<Taken, Dropped> = Ok(Taken::Answered { is_new: false });
