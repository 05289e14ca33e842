//! The engine's own sessions and associations, driven on loopback.
use crate::common::Notes;
use crate::runtime::{Network, Options, Running, Runtime, Shutdown};
use sansbox_core::Host;
use sansbox_engine::{
    Plan,
    config::model::{Config, Inbound, InboundKind, Listen, Networks, Span},
    counters::Traffic,
    ids::InboundId,
    record::CloseReason,
};
use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Arc,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_fixed_destination_is_reached_by_both_networks() {
    let target = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = target.local_addr().expect("bound");
    let udp_target = UdpSocket::bind(address).expect("bound");
    udp_target.set_read_timeout(Some(PATIENCE)).expect("set");
    let config = Config {
        inbounds: vec![Inbound {
            tag: "in".to_owned(),
            span: Span::default(),
            listen: Listen::default(),
            kind: InboundKind::Direct {
                network: Networks::BOTH,
                override_address: Some(Host::from(address.ip())),
                override_port: Some(address.port()),
            },
        }],
        ..Config::default()
    };
    let plan = Arc::new(Plan::build(&config).expect("a plan"));
    let notes = Arc::new(Notes::default());
    let observer = Arc::clone(&notes);
    let mut running = Runtime::start(plan, Options::default(), observer).expect("started");
    let bound = |network| {
        let mut bound = running.bound().iter();
        let bound = bound.find(|bound| bound.network == network);
        bound.expect("bound").address
    };

    let mut client = TcpStream::connect(bound(Network::Tcp)).expect("connected");
    client.set_read_timeout(Some(PATIENCE)).expect("set");
    let (mut upstream, _) = target.accept().expect("accepted");
    let mut bytes = [0; 5];
    client.write_all(b"hello").expect("written");
    upstream.read_exact(&mut bytes).expect("read");
    upstream.write_all(b"world").expect("written");
    client.read_exact(&mut bytes).expect("read");
    assert_eq!(&bytes, b"world");
    drop(upstream);
    assert_eq!(client.read(&mut bytes).expect("an end"), 0);
    drop(client);
    let records = notes.wait_closed(1);
    assert_eq!(records[0].closed, Some(CloseReason::Completed));
    assert_eq!((records[0].bytes_up, records[0].bytes_down), (5, 5));

    let client = UdpSocket::bind("127.0.0.1:0").expect("bound");
    client.set_read_timeout(Some(PATIENCE)).expect("set");
    client.connect(bound(Network::Udp)).expect("connected");
    for n in 1..=3_usize {
        client.send(&vec![1; n * 20_000]).expect("sent");
        let mut bytes = vec![0; 65_536];
        let (got, from) = udp_target.recv_from(&mut bytes).expect("received");
        assert_eq!(got, n * 20_000);
        udp_target.send_to(&bytes[..got / 2], from).expect("sent");
        assert_eq!(client.recv(&mut bytes).expect("received"), got / 2);
    }
    let cut = running.stop(Shutdown {
        grace: Duration::ZERO,
        deadline: PATIENCE,
    });
    assert_eq!(cut, 0);
    let records = notes.wait_closed(2);
    assert_eq!(records[1].closed, Some(CloseReason::Stopped));
    assert_eq!(
        (records[1].bytes_up, records[1].bytes_down),
        (120_000, 60_000)
    );
    expect_served(&running);
}

/// What the two clients above did, in the totals.
fn expect_served(running: &Running) {
    let served = running.served();
    let traffic = Traffic {
        connections: 2,
        bytes_up: 120_005,
        bytes_down: 60_005,
    };
    let inbounds = BTreeMap::from([(InboundId(0), traffic)]);
    assert_eq!(served.inbounds, inbounds, "{served:?}");
    let outbounds: Vec<&Traffic> = served.outbounds.values().collect();
    assert_eq!(outbounds, [&traffic]);
    let closed = BTreeMap::from([(CloseReason::Completed, 1), (CloseReason::Stopped, 1)]);
    assert_eq!(served.closed, closed);
}
