//! P3: nothing is allocated per packet once buffers have their size.
use bytes::BytesMut;
use core::net::SocketAddr;
use core::time::Duration;
use sansbox_core::{Instant, Seed};
use sansbox_heap::{Counting, heap};
use sansbox_stack::{
    Interface, InterfaceConfig, InterfaceEvent, RxPacket,
    fragment::{Limits, Reassembler, fragment},
    icmp::{EchoMode, Icmp, Kind, Subject},
    ip::{Checksum, Datagram, Field, Header, emit_udp, sum},
    mtu::clamp_mss,
    nat::{Class, Config, Filtering, Table},
    vnet::{Coalescer, Gso, complete, defer, split},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` asks the heap for memory.
fn heap_allocations(work: impl FnOnce()) -> u64 {
    let before = heap();
    work();
    heap().since(before).allocations
}

const ROUNDS: u64 = 1000;

fn addresses(is_v6: bool) -> (SocketAddr, SocketAddr) {
    let (client, remote) = if is_v6 {
        ("[fd00::2]:4000", "[2001:db8::1]:9000")
    } else {
        ("10.11.12.2:4000", "192.0.2.1:9000")
    };
    (
        client.parse().expect("an address"),
        remote.parse().expect("an address"),
    )
}

fn datagram(is_v6: bool, len: usize) -> BytesMut {
    let (client, remote) = addresses(is_v6);
    let mut packet = BytesMut::new();
    emit_udp(client, remote, 7, &vec![7; len], &mut packet).expect("fits");
    packet
}

/// Runs `round` until buffers have grown, then counts.
fn steady(mut round: impl FnMut(u64)) -> u64 {
    for n in 0..10 {
        round(n);
    }
    heap_allocations(|| (10..10 + ROUNDS).for_each(round))
}

#[test]
fn the_counter_counts() {
    assert_eq!(heap_allocations(|| drop(vec![0_u8; 10])), 1);
}

#[test]
fn p3_datagrams_through_a_mapping_and_back() {
    for filtering in [Filtering::EndpointIndependent, Filtering::AddressDependent] {
        let mut table = Table::new(Config {
            filtering,
            ..Config::default()
        });
        let packets = [datagram(false, 1400), datagram(true, 1400)];
        let mut reply = BytesMut::new();
        let mut now = Instant::ZERO;
        let count = steady(|n| {
            now += Duration::from_millis(1);
            for packet in &packets {
                let header = Header::parse(packet).expect("parsed");
                let got = Datagram::parse(packet, &header, Checksum::Verify).expect("parsed");
                let from = SocketAddr::new(header.source, got.source_port);
                let to = SocketAddr::new(header.destination, got.destination_port);
                let out = table.outbound(now, from, to, Class::Udp).expect("room");
                let back = table.inbound(now, out.id, to).expect("known");
                reply.clear();
                let id = u16::try_from(n % 1000).expect("fits");
                let payload = packet.get(got.payload).expect("inside");
                emit_udp(to, back.client, id, payload, &mut reply).expect("fits");
                assert_eq!(table.expire(now), None);
            }
        });
        assert_eq!(count, 0, "{filtering:?}");
    }
}

#[test]
fn p3_split_and_join() {
    for is_v6 in [false, true] {
        let mut packet = datagram(is_v6, 60_000);
        let header = Header::parse(&packet).expect("parsed");
        let deferred = defer(&mut packet, &header).expect("UDP");
        let gso = sansbox_stack::vnet::Header {
            gso: Gso::Udp,
            segment_size: 1400,
            ..deferred
        };
        let mut coalescer = Coalescer::new(64, true);
        let mut out = BytesMut::new();
        let count = steady(|_| {
            let mut parts = split(&packet, &header, &gso).expect("split");
            loop {
                out.clear();
                if parts.next_into(&mut out).is_none() {
                    break;
                }
                coalescer.push(&out, Checksum::Trusted).expect("room");
            }
            assert_eq!(coalescer.packets().count(), 1);
            coalescer.clear();
        });
        assert_eq!(count, 0);
    }
}

#[test]
fn p3_cut_and_put_together() {
    for is_v6 in [false, true] {
        let packet = datagram(is_v6, 8000);
        let header = Header::parse(&packet).expect("parsed");
        let mut fragments = Reassembler::new(Limits::default());
        let (mut part, mut whole) = (BytesMut::new(), BytesMut::new());
        let count = steady(|n| {
            let id = u32::try_from(n).expect("fits");
            let mut parts = fragment(&packet, &header, 1280, id).expect("cut");
            whole.clear();
            loop {
                part.clear();
                if parts.next_into(&mut part).is_none() {
                    break;
                }
                let header = Header::parse(&part).expect("parsed");
                let taken = fragments.handle_fragment(Instant::ZERO, &part, &header, &mut whole);
                taken.expect("taken");
            }
            assert_eq!(whole, packet);
        });
        assert_eq!(count, 0);
    }
}

#[test]
fn p3_errors_checksums_and_mss() {
    let mut icmp = Icmp::new(EchoMode::Off, [10, 11, 12, 1].into(), None);
    let packets = [datagram(false, 1400), datagram(true, 1400)];
    let mut syn = BytesMut::from(
        &[
            0x45, 0, 0, 44, 0, 1, 0, 0, 64, 6, 0, 0, 10, 11, 12, 2, 192, 0, 2, 1, 0, 80, 1, 187, 0,
            0, 0, 0, 0, 0, 0, 0, 0x60, 2, 0, 0, 0, 0, 0, 0, 2, 4, 5, 180,
        ][..],
    );
    let check = !sum(syn.get(..20).expect("a header"));
    syn.get_mut(10..12)
        .expect("a header")
        .copy_from_slice(&check.to_be_bytes());
    let mut out = BytesMut::new();
    let mut now = Instant::ZERO;
    let count = steady(|n| {
        now += Duration::from_secs(2);
        out.clear();
        for packet in &packets {
            let header = Header::parse(packet).expect("parsed");
            let kind = Kind::TooBig { mtu: 1280 };
            icmp.error(now, kind, packet, &header, &mut out)
                .expect("sent");
            let (client, remote) = addresses(header.is_v6());
            let subject = Subject::Udp { client, remote };
            icmp.error_for(now, Kind::PortUnreachable, subject, &mut out)
                .expect("sent");
        }
        let mut copy = [0; 1428];
        let from = packets.first().expect("two");
        copy.copy_from_slice(from);
        let header = Header::parse(&copy).expect("parsed");
        let deferred = defer(&mut copy, &header).expect("UDP");
        complete(&mut copy, &header, &deferred).expect("completed");
        assert_eq!(copy[..], from[..]);
        let header = Header::parse(&syn).expect("parsed");
        let limit = 1460 - u16::try_from(n % 400).expect("fits");
        clamp_mss(&mut syn, &header, limit, Field::Complete).expect("a SYN");
    });
    assert_eq!(count, 0);
}

/// All of an interface: datagrams of clients out, their answers and echo replies back.
#[test]
fn p3_datagrams_both_ways_through_an_interface() {
    const CLIENTS: u16 = 40;
    for is_v6 in [false, true] {
        let (client, remote) = addresses(is_v6);
        let packets: Vec<BytesMut> = (0..CLIENTS)
            .map(|n| {
                let client = SocketAddr::new(client.ip(), 5000 + n);
                let mut packet = BytesMut::new();
                emit_udp(client, remote, 1, &[1; 1200], &mut packet).expect("fits");
                packet
            })
            .collect();
        let batch: Vec<RxPacket<'_>> = packets.iter().map(|data| RxPacket::new(data)).collect();
        let mut interface =
            Interface::new(InterfaceConfig::default(), &Seed::from_u64(1)).expect("possible");
        let mut out = interface.tx_batch();
        let mut mappings = Vec::new();
        let mut turn = |round: u64, mappings: &mut Vec<_>| {
            let now = Instant::ZERO + Duration::from_millis(round);
            let mut handed_over = 0;
            interface.recv_batch(now, &batch, &mut |received| {
                handed_over += received.data.len();
            });
            while let Some(event) = interface.poll_event() {
                if let InterfaceEvent::Mapped(mapping, _) = event {
                    mappings.push(mapping);
                }
            }
            interface.retain(&batch);
            for mapping in mappings.iter() {
                for len in [1, 1200, 1400] {
                    assert!(interface.send_datagram(now, *mapping, remote, &DATA[..len]));
                }
            }
            interface.handle_timeout(now);
            let mut sent = 0;
            while interface.poll_transmit(now, &mut out) {
                sent += out.packets().len();
                out.clear();
            }
            let _ = interface.poll_timeout();
            assert_eq!(handed_over, usize::from(CLIENTS) * 1200);
            assert_eq!(sent, usize::from(CLIENTS) * 3);
        };
        for round in 0..50 {
            turn(round, &mut mappings);
        }
        let count = heap_allocations(|| (50..50 + ROUNDS).for_each(|n| turn(n, &mut mappings)));
        assert_eq!((count, mappings.len()), (0, usize::from(CLIENTS)));
    }
}

static DATA: [u8; 1400] = [7; 1400];
