//! The modules together, through their public interface: what Prism got wrong in its relay of
//! everything but TCP, and what is required of this one.
use bytes::BytesMut;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use proptest::prelude::*;
use sansbox_core::{Instant, Seed};
use sansbox_stack::{
    Dropped, Interface, InterfaceConfig, RxPacket, TxBatch,
    fragment::{self, Identification, Limits, REASSEMBLY_TIMEOUT, Reassembler, fragment},
    icmp::{self, EchoMode, Handled, Icmp, Kind, Subject},
    ip::{self, Checksum, Datagram, Header, emit_udp, protocol},
    mtu::{self, Budget, Carrier, PrismConfig, TUN_ADDRESS, Verdict},
    nat::{Class, Config, Table, Why},
};

const NOW: Instant = Instant::ZERO;

fn client(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 11, 12, host], 4000))
}

fn remote() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 9000))
}

fn client6() -> SocketAddr {
    "[fd00::2]:4000".parse().expect("an address")
}

fn remote6() -> SocketAddr {
    "[2001:db8::1]:9000".parse().expect("an address")
}

fn datagram(from: SocketAddr, to: SocketAddr, payload: &[u8]) -> BytesMut {
    let mut packet = BytesMut::new();
    emit_udp(from, to, 7, payload, &mut packet).expect("fits");
    packet
}

/// What a relay does with a packet of a client, without TCP.
struct Relay {
    fragments: Reassembler,
    icmp: Icmp,
    table: Table,
    budget: Budget,
    carrier: Carrier,
    ip_drops: ip::Drops,
    mtu_drops: mtu::Drops,
    whole: BytesMut,
    /// Packets for the client.
    out: BytesMut,
    delivered: Vec<Vec<u8>>,
}

/// What became of a packet.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Delivered,
    /// A fragment that waits for others.
    Kept,
    /// The client got an answer or an error.
    Told,
    /// A counter went up.
    Counted,
}

impl Relay {
    fn new(carrier: Carrier, egress_mtu: u16) -> Self {
        let config = PrismConfig {
            egress_mtu,
            ..PrismConfig::default()
        };
        Self {
            fragments: Reassembler::new(Limits::default()),
            icmp: Icmp::new(EchoMode::Reply, TUN_ADDRESS, None),
            table: Table::new(Config::default()),
            budget: config.budget(0).expect("possible"),
            carrier,
            ip_drops: ip::Drops::default(),
            mtu_drops: mtu::Drops::default(),
            whole: BytesMut::new(),
            out: BytesMut::new(),
            delivered: Vec::new(),
        }
    }

    fn counted(&self) -> u64 {
        self.ip_drops.total()
            + self.mtu_drops.total()
            + self.fragments.drops().total()
            + self.icmp.drops().total()
            + self.table.drops().total()
    }

    fn packet(&mut self, now: Instant, packet: &[u8]) -> Fate {
        let header = match Header::parse(packet) {
            Ok(header) => header,
            Err(refused) => {
                self.ip_drops.count(refused.reason);
                return Fate::Counted;
            }
        };
        if header.fragment.is_none() {
            return self.whole(now, packet, &header);
        }
        let mut whole = std::mem::take(&mut self.whole);
        whole.clear();
        let result = self
            .fragments
            .handle_fragment(now, packet, &header, &mut whole);
        let fate = match result {
            Ok(None) => Fate::Kept,
            Err(_) => Fate::Counted,
            Ok(Some(_)) => match Header::parse(&whole) {
                Ok(header) => self.whole(now, &whole, &header),
                Err(refused) => {
                    self.ip_drops.count(refused.reason);
                    Fate::Counted
                }
            },
        };
        self.whole = whole;
        fate
    }

    fn whole(&mut self, now: Instant, packet: &[u8], header: &Header) -> Fate {
        match header.protocol {
            protocol::UDP => self.udp(now, packet, header),
            protocol::ICMP | protocol::ICMPV6 => {
                match self.icmp.handle(now, packet, header, &mut self.out) {
                    Ok(Handled::Answered(_)) => Fate::Told,
                    Ok(Handled::Echo(_) | Handled::Report(_)) => Fate::Delivered,
                    Err(_) => Fate::Counted,
                }
            }
            _ => self.tell(now, Kind::ProtocolUnreachable, packet, header),
        }
    }

    fn tell(&mut self, now: Instant, kind: Kind, packet: &[u8], header: &Header) -> Fate {
        match self.icmp.error(now, kind, packet, header, &mut self.out) {
            Ok(_) => Fate::Told,
            Err(_) => Fate::Counted,
        }
    }

    fn udp(&mut self, now: Instant, packet: &[u8], header: &Header) -> Fate {
        let datagram = match Datagram::parse(packet, header, Checksum::Verify) {
            Ok(datagram) => datagram,
            Err(reason) => {
                self.ip_drops.count(reason);
                return Fate::Counted;
            }
        };
        match self
            .budget
            .datagram(self.carrier, header, datagram.payload.len())
        {
            Verdict::Carry | Verdict::Fragment | Verdict::Split { .. } => {}
            Verdict::TooBig { mtu, reason } => {
                self.mtu_drops.count(reason);
                return self.tell(now, Kind::TooBig { mtu }, packet, header);
            }
        }
        let from = SocketAddr::new(header.source, datagram.source_port);
        let to = SocketAddr::new(header.destination, datagram.destination_port);
        let class = Class::of_port(datagram.destination_port);
        match self.table.outbound(now, from, to, class) {
            Ok(_) => {
                let payload = packet.get(datagram.payload).expect("inside");
                self.delivered.push(payload.to_vec());
                Fate::Delivered
            }
            Err(_) => Fate::Counted,
        }
    }
}

/// Prism kept what waits by destination alone.
#[test]
fn t2_two_clients_of_one_destination_have_two_mappings() {
    let mut table = Table::new(Config::default());
    let first = table
        .outbound(NOW, client(2), remote(), Class::Udp)
        .expect("room");
    let second = table
        .outbound(NOW, client(3), remote(), Class::Udp)
        .expect("room");
    assert!(first.is_new && second.is_new);
    let to_first = table.inbound(NOW, first.id, remote()).expect("a reply");
    let to_second = table.inbound(NOW, second.id, remote()).expect("a reply");
    assert_eq!((to_first.client, to_second.client), (client(2), client(3)));
}

/// Prism's upstream failed in silence.
#[test]
fn t3_t6_a_session_that_fails_or_ends_is_told_to_the_client() {
    let mut table = Table::new(Config::default());
    let mut icmp = Icmp::new(EchoMode::Off, TUN_ADDRESS, None);
    let id = table
        .outbound(NOW, client(2), remote(), Class::Udp)
        .expect("room")
        .id;
    let closed = table.close(id).expect("there");
    assert_eq!((closed.client, closed.why), (client(2), Why::Closed));
    assert!(table.is_empty(), "nothing hangs for ever");
    let subject = Subject::Udp {
        client: closed.client,
        remote: remote(),
    };
    let mut out = BytesMut::new();
    let kind = Kind::of_refusal(sansbox_core::Refusal::HostUnreachable).expect("a word");
    icmp.error_for(NOW, kind, subject, &mut out).expect("sent");
    let header = Header::parse(&out).expect("parsed");
    assert_eq!(
        (header.destination, header.source),
        (client(2).ip(), remote().ip())
    );
}

/// Prism threw away what did not fit a buffer.
#[test]
fn t4_t5_what_waits_for_the_device_is_kept_in_order_or_counted() {
    let config = InterfaceConfig {
        queue_max: 32,
        ..InterfaceConfig::default()
    };
    let mut interface = Interface::new(config, &Seed::from_u64(1)).expect("possible");
    let request = datagram(client(2), remote(), b"request");
    let mut mapping = None;
    interface.recv_batch(NOW, &[RxPacket::new(&request)], &mut |received| {
        mapping = Some(received.mapping);
    });
    let mapping = mapping.expect("handed over");
    let sent = (0..100_u8).filter(|n| interface.send_datagram(NOW, mapping, remote(), &[*n; 1000]));
    assert_eq!(sent.collect::<Vec<_>>(), (0..32).collect::<Vec<_>>());
    let mut batch = TxBatch::new(8);
    let mut kept = Vec::new();
    while interface.poll_transmit(NOW, &mut batch) {
        kept.extend(batch.packets().iter().map(|packet| packet.payload()[0][0]));
        batch.clear();
    }
    assert_eq!(kept, (0..32).collect::<Vec<_>>());
    let full = |dropped: &Dropped| (dropped.module, dropped.reason) == ("interface", "queue_full");
    let lost = interface.drops().find(full).map(|dropped| dropped.count);
    assert_eq!(lost, Some(68));
}

/// Prism opened three upstreams for a SYN that came three times.
#[test]
fn t7_a_repeated_first_datagram_opens_one_association() {
    let mut relay = Relay::new(Carrier::Stream, 1280);
    for _ in 0..3 {
        let packet = datagram(client(2), remote(), b"again");
        assert_eq!(relay.packet(NOW, &packet), Fate::Delivered);
    }
    assert_eq!(relay.table.len(), 1);
}

/// Prism read the data of a later IPv6 fragment as TCP, and every fragment as a whole packet.
#[test]
fn prism_fragments_are_no_packets() {
    let mut relay = Relay::new(Carrier::Stream, 1280);
    let mut ids = Identification::new(Seed::from_u64(1));
    for (from, to) in [(client(2), remote()), (client6(), remote6())] {
        // Whatever a fragment's data looks like, it is data: here like a SYN.
        let payload: Vec<u8> = [0, 80, 1, 187, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0].repeat(400);
        let packet = datagram(from, to, &payload);
        let header = Header::parse(&packet).expect("parsed");
        let mut parts = fragment(&packet, &header, 1280, ids.next_v6()).expect("cut");
        let mut part = BytesMut::new();
        let mut fates = Vec::new();
        while parts.next_into(&mut part).is_some() {
            let header = Header::parse(&part).expect("parsed");
            assert_eq!(header.has_upper_header(), fates.is_empty());
            fates.push(relay.packet(NOW, &part));
            part.clear();
        }
        assert_eq!(fates.pop(), Some(Fate::Delivered));
        assert!(fates.iter().all(|fate| *fate == Fate::Kept));
        assert_eq!(relay.delivered.pop(), Some(payload));
    }
    assert_eq!(relay.counted(), 0);
}

/// Prism compared with the egress MTU and dropped.
#[test]
fn p9_a_client_that_heeds_packet_too_big_gets_through() {
    for (from, to, head) in [(client(2), remote(), 28), (client6(), remote6(), 48)] {
        let mut relay = Relay::new(Carrier::Datagrams, 1420);
        let mut packet = datagram(from, to, &[1; 30_000]);
        if from.is_ipv4() {
            // DF, as clients that search for the MTU set it.
            packet[6] = 0x40;
            packet[10..12].fill(0);
            let check = !ip::sum(&packet[..20]);
            packet[10..12].copy_from_slice(&check.to_be_bytes());
        }
        assert_eq!(relay.packet(NOW, &packet), Fate::Told);
        let answer = relay.out.split();
        let header = Header::parse(&answer).expect("parsed");
        let report = icmp::Report::parse(&answer, &header).expect("an error");
        let mtu = usize::try_from(report.mtu().expect("too big")).expect("fits");
        assert_eq!(mtu, 1420);
        if from.is_ipv4() {
            assert_eq!(header.source, IpAddr::V4(Ipv4Addr::new(10, 11, 12, 1)));
        }
        let packet = datagram(from, to, &vec![1; mtu - head]);
        assert_eq!(relay.packet(NOW, &packet), Fate::Delivered);
        let packet = datagram(from, to, &vec![1; mtu - head + 1]);
        assert_ne!(relay.packet(NOW, &packet), Fate::Delivered);
    }
}

#[test]
fn p12_the_egress_mtu_of_a_live_relay_changes() {
    let mut relay = Relay::new(Carrier::Datagrams, 1280);
    let packet = datagram(client(2), remote(), &[1; 1300]);
    assert_eq!(relay.packet(NOW, &packet), Fate::Told);
    relay.budget.set_egress_mtu(1420).expect("possible");
    assert_eq!(relay.packet(NOW, &packet), Fate::Delivered);
}

#[test]
fn p1_p8_a_jumbo_datagram_is_carried_whole_in_a_stream() {
    let mut relay = Relay::new(Carrier::Stream, 1280);
    let packet = datagram(client(2), remote(), &[1; 65_507]);
    assert_eq!(relay.packet(NOW, &packet), Fate::Delivered);
    assert_eq!(relay.delivered[0].len(), 65_507);
}

#[test]
fn p8_other_protocols_are_answered_not_swallowed() {
    let mut relay = Relay::new(Carrier::Stream, 1280);
    let mut packet = datagram(client(2), remote(), b"SCTP, say");
    packet[9] = 132;
    packet[10..12].fill(0);
    let check = !ip::sum(&packet[..20]);
    packet[10..12].copy_from_slice(&check.to_be_bytes());
    assert_eq!(relay.packet(NOW, &packet), Fate::Told);
    assert_eq!(relay.out[20..22], [3, 2]);
}

#[test]
fn p11_missing_fragments_are_told() {
    let mut relay = Relay::new(Carrier::Stream, 1280);
    let packet = datagram(client6(), remote6(), &[1; 3000]);
    let header = Header::parse(&packet).expect("parsed");
    let mut parts = fragment(&packet, &header, 1280, 1).expect("cut");
    let mut part = BytesMut::new();
    parts.next_into(&mut part).expect("the first");
    assert_eq!(relay.packet(NOW, &part), Fate::Kept);
    let due = relay.fragments.poll_timeout().expect("armed");
    assert_eq!(due, NOW + REASSEMBLY_TIMEOUT);
    let mut first = BytesMut::new();
    assert_eq!(relay.fragments.expire(due, &mut first), Some(part.len()));
    let header = Header::parse(&first).expect("parsed");
    let kind = Kind::ReassemblyTimeExceeded;
    assert_eq!(relay.tell(due, kind, &first, &header), Fate::Told);
    assert_eq!(relay.out[40..42], [3, 1]);
}

/// RFC 4787 REQ-12: an error says something about one remote, the mapping serves all.
#[test]
fn rfc_4787_req_12_an_error_ends_no_mapping() {
    let mut relay = Relay::new(Carrier::Stream, 1280);
    let packet = datagram(client(2), remote(), b"ping");
    assert_eq!(relay.packet(NOW, &packet), Fate::Delivered);
    let id = relay.table.find(client(2)).expect("a mapping");
    // The client's host reports that nobody listens any more: from the client, about a reply.
    let reply = datagram(remote(), client(2), b"pong");
    let mut error = BytesMut::new();
    let mut host = Icmp::new(EchoMode::Off, TUN_ADDRESS, None);
    let header = Header::parse(&reply).expect("parsed");
    host.error(NOW, Kind::PortUnreachable, &reply, &header, &mut error)
        .expect("sent");
    let header = Header::parse(&error).expect("parsed");
    let handled = relay.icmp.handle(NOW, &error, &header, &mut relay.out);
    let Ok(Handled::Report(report)) = handled else {
        panic!("{handled:?}");
    };
    assert_eq!(report.session(), Some((client(2), remote())));
    assert_eq!(relay.table.find(client(2)), Some(id));
    assert!(relay.table.inbound(NOW, id, remote()).is_ok());
}

/// The least a stack costs: a phone's limit is 15 MB for all of it.
#[test]
fn p16_an_idle_stack_holds_nothing() {
    let relay = Relay::new(Carrier::Stream, 1280);
    assert_eq!(relay.fragments.memory(), 0);
    let size = size_of::<Reassembler>() + size_of::<Icmp>() + size_of::<Table>();
    assert!(size < 2048, "{size}");
}

proptest! {
    /// P11: whatever comes in, it is delivered, kept, answered, or a counter says why not.
    #[test]
    fn p11_p15_nothing_is_lost_in_silence(
        packets in proptest::collection::vec(
            (any::<bool>(), 0_usize..3000, 0_u16..2000, any::<[u8; 3]>(), 0_u8..6, 0_u64..20),
            1..60,
        ),
        egress_mtu in 576_u16..3000,
        carrier in prop_oneof![
            Just(Carrier::Stream), Just(Carrier::Fragmenting),
            Just(Carrier::Datagrams), Just(Carrier::Packets)
        ],
    ) {
        let mut relay = Relay::new(carrier, egress_mtu);
        let mut now = NOW;
        for (is_v6, len, spoil_at, [kind, value, host], spoils, wait) in packets {
            now += Duration::from_secs(wait);
            let (from, to) = if is_v6 { (client6(), remote6()) } else { (client(host.max(2)), remote()) };
            let mut packet = datagram(from, to, &vec![kind; len]);
            if spoils > 3 {
                let at = usize::from(spoil_at) % packet.len();
                packet[at] = value;
                if !is_v6 {
                    packet[10..12].fill(0);
                    let head = usize::from(packet[0] & 15) * 4;
                    let check = !ip::sum(&packet[..head.min(packet.len())]);
                    packet[10..12].copy_from_slice(&check.to_be_bytes());
                }
            }
            let (before, out, delivered) = (relay.counted(), relay.out.len(), relay.delivered.len());
            match relay.packet(now, &packet) {
                Fate::Delivered => prop_assert!(relay.delivered.len() > delivered || relay.out.len() == out),
                Fate::Kept => prop_assert!(!relay.fragments.is_empty()),
                Fate::Told => prop_assert!(relay.out.len() > out),
                Fate::Counted => prop_assert!(relay.counted() > before),
            }
            let mut first = BytesMut::new();
            while relay.fragments.expire(now, &mut first).is_some() {}
            while relay.table.expire(now).is_some() {}
        }
        prop_assert!(relay.fragments.drops().of(fragment::Drop::NoMemory) == 0);
    }
}
