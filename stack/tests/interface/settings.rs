//! The names of Prism, what they set, and what may change at run time.
use core::net::Ipv4Addr;

use sansbox_stack::{
    Event, Handshake, InterfaceConfig, InterfaceEvent,
    mtu::{
        BATCH_SIZE, BadMtu, CHANNEL_SIZE, DEFAULT_MSS_CLAMP, PrismConfig, TCP_RX_BUFFER_SIZE,
        TCP_TX_BUFFER_SIZE, TUN_ADDRESS, TX_POOL_MAX_SIZE,
    },
};

use crate::bench::{Bench, address, read};
use crate::tcp;

#[test]
fn p13_p14_the_defaults_of_prism_are_those_of_an_interface() {
    let config = InterfaceConfig::from(PrismConfig::default());
    assert_eq!(config.stack.tun_mtu, 65_535);
    assert_eq!(config.gateway_v4, TUN_ADDRESS);
    assert_eq!(config.egress_mtu, DEFAULT_MSS_CLAMP);
    assert_eq!(config.stack.handshake, Handshake::Fast);
    assert_eq!(config.stack.window_max, TCP_RX_BUFFER_SIZE);
    assert_eq!(config.stack.send_max, TCP_TX_BUFFER_SIZE);
    assert_eq!(config.batch_size, BATCH_SIZE);
    assert_eq!(config.queue_max, CHANNEL_SIZE);
    assert_eq!(config.pool_max, TX_POOL_MAX_SIZE);
}

#[test]
fn p14_every_limit_of_prism_limits_something() {
    let mut bench = Bench::new(InterfaceConfig::from(PrismConfig {
        tun_mtu: 1500,
        address: Ipv4Addr::new(10, 9, 8, 7),
        egress_mtu: 1420,
        handshake_mode: Handshake::Consistent,
        tcp_rx_buffer_size: 100_000,
        tcp_tx_buffer_size: 50_000,
        batch_size: 5,
        channel_size: 12,
        tx_pool_max_size: 3,
    }));
    assert_eq!(bench.interface.budget().egress_mtu(), 1420);
    assert_eq!(bench.interface.stack().config().window_max, 100_000);
    assert_eq!(bench.interface.stack().config().send_max, 50_000);
    let (client, remote) = (address("10.0.0.2:4000"), address("192.0.2.9:80"));
    let mapping = bench.say(client, remote, b"x");
    let now = bench.now();
    let sent = (0..20).filter(|_| bench.interface.send_datagram(now, mapping, remote, b"y"));
    assert_eq!(sent.count(), 12);
    let mut batch = bench.interface.tx_batch();
    assert!(bench.interface.poll_transmit(now, &mut batch));
    assert_eq!((batch.packets().len(), bench.interface.queued()), (5, 7));
}

#[test]
fn p12_the_handshake_changes_at_run_time() {
    let mut bench = Bench::new(InterfaceConfig::default());
    let remote = address("192.0.2.9:80");
    let syn = |port: u16| {
        let client = address(&format!("10.0.0.2:{port}"));
        tcp::segment(client, remote, "S", 100, 0, b"")
    };
    let sent = bench.turn(&[syn(1000)]);
    assert_eq!(read(&sent[0]).3[13], 0x12, "fast: SYN-ACK at once");
    bench.interface.set_handshake(Handshake::Consistent);
    assert!(bench.turn(&[syn(1001)]).is_empty());
    let Some(InterfaceEvent::Tcp(Event::Open { flow, .. })) = bench.events.last().cloned() else {
        panic!("{:?}", bench.events);
    };
    let now = bench.now();
    bench.interface.stack_mut().accept(now, flow);
    assert_eq!(read(&bench.sent()[0]).3[13], 0x12);
}

/// A client's MSS follows from the device's MTU, whatever the way out takes, and a client that
/// names none gets what RFC 9293 says.
#[test]
fn p10_the_egress_mtu_has_no_part_in_tcp_that_ends_here() {
    for (client, remote, head, default) in [
        ("10.0.0.2:4000", "192.0.2.9:80", 40, 536),
        ("[fd00::2]:4000", "[2001:db8::9]:80", 60, 1220),
    ] {
        for tun_mtu in [1500, 65_535] {
            let mut config = InterfaceConfig::default();
            config.stack.tun_mtu = tun_mtu;
            let mut bench = Bench::new(config);
            let (client, remote) = (address(client), address(remote));
            let sent = bench.turn(&[tcp::segment(client, remote, "S", 100, 0, b"")]);
            let answer = read(&sent[0]).3;
            let mss = u16::from_be_bytes([answer[22], answer[23]]);
            assert_eq!((answer[20], mss), (2, tun_mtu - head));
            let next = u32::from_be_bytes(*answer[4..].first_chunk().unwrap()).wrapping_add(1);
            bench.turn(&[tcp::segment(client, remote, "A", 101, next, b"")]);
            let Some(InterfaceEvent::Tcp(Event::Open { flow, .. })) = bench.events.pop() else {
                panic!("not open");
            };
            let stack = bench.interface.stack_mut();
            stack.write(flow, vec![1; 3000].into()).unwrap();
            assert_eq!(bench.sent()[0].len(), usize::from(head) + default);
        }
    }
}

#[test]
fn impossible_mtus_are_refused() {
    let mut config = InterfaceConfig::default();
    config.stack.tun_mtu = 1000;
    let made = sansbox_stack::Interface::new(config, &sansbox_core::Seed::from_u64(1));
    assert!(matches!(made, Err(BadMtu::Tun(1000))));
}

#[test]
fn datagrams_and_segments_share_a_batch() {
    let mut bench = Bench::new(InterfaceConfig {
        batch_size: 4,
        ..InterfaceConfig::default()
    });
    let (client, remote) = (address("10.0.0.2:4000"), address("192.0.2.9:80"));
    let mapping = bench.say(client, remote, b"x");
    let now = bench.now();
    for _ in 0..10 {
        assert!(bench.interface.send_datagram(now, mapping, remote, b"y"));
    }
    let syns: Vec<Vec<u8>> = (1..=3)
        .map(|port| {
            let client = address(&format!("10.0.0.2:{port}"));
            tcp::segment(client, remote, "S", 100, 0, b"")
        })
        .collect();
    let packets: Vec<_> = syns
        .iter()
        .map(|data| sansbox_stack::RxPacket::new(data))
        .collect();
    bench.interface.recv_batch(now, &packets, &mut |_| {});
    bench.interface.retain(&packets);
    let mut batch = bench.interface.tx_batch();
    let mut protocols = Vec::new();
    while bench.interface.poll_transmit(now, &mut batch) {
        protocols.extend(batch.packets().iter().map(|packet| packet.header()[9]));
        batch.clear();
    }
    assert_eq!(protocols[..4], [17, 17, 6, 6]);
    assert_eq!(protocols.iter().filter(|kind| **kind == 17).count(), 10);
    assert_eq!(protocols.iter().filter(|kind| **kind == 6).count(), 3);
}
