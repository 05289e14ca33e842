//! What a censor does to flows, packet by packet.
use super::*;
use crate::net::boxes::bench::{ACK, Bench, FIN, RST, SYN, SYN_ACK, Seen, tcp, tcp_data, udp_data};
use hello::tests::records;

const CLIENT: &str = "10.0.0.5:4000";
const SERVER: &str = "198.51.100.1:443";
const OTHER: &str = "198.51.100.2:443";
const AFTER: Duration = Duration::from_millis(3);

fn reset() -> Then {
    Then::Reset { after: AFTER }
}

fn names() -> Names {
    Names::new(["blocked.test"])
}

fn tls() -> When {
    When::TlsName(names())
}

fn censor(rules: impl IntoIterator<Item = Rule>) -> Bench<Censor> {
    Bench::new(Censor::new(rules.into_iter().collect()).unwrap())
}

fn open(censor: &mut Bench<Censor>, client: &str, server: &str) {
    censor.out(tcp(client, server, SYN));
    censor.inward(tcp(server, client, SYN_ACK));
    censor.out(tcp(client, server, ACK));
}

fn say(censor: &mut Bench<Censor>, offset: u64, data: &[u8]) -> Seen {
    censor.out(tcp_data(CLIENT, SERVER, ACK, offset, data))
}

fn answer(censor: &mut Bench<Censor>, offset: u64, data: &[u8]) -> Seen {
    censor.inward(tcp_data(SERVER, CLIENT, ACK, offset, data))
}

/// What becomes of the packet that completes `text`, said in packets of `len` bytes.
fn last_of(censor: &mut Bench<Censor>, text: &[u8], len: usize) -> Seen {
    open(censor, CLIENT, SERVER);
    let mut seen = Seen::default();
    for (n, part) in text.chunks(len).enumerate() {
        seen = say(censor, (n * len) as u64, part);
    }
    seen
}

fn passes(seen: &Seen) -> bool {
    seen.lost.is_empty() && seen.resets().is_empty() && seen.forwarded.len() == 1
}

fn http(host: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
}

/// No exemption covers it.
const RANDOM_LIKE: [u8; 60] = [0x96; 60];

#[test]
fn names_match_with_what_is_below_them() {
    for (name, expected) in [
        ("blocked.test", true),
        ("BLOCKED.Test.", true),
        ("www.blocked.test", true),
        ("unblocked.test", false),
        ("blocked.test.example", false),
        ("", false),
    ] {
        assert_eq!(names().matches(name), expected, "{name}");
    }
}

#[test]
fn an_on_path_censor_resets_both_ends_behind_the_packet() {
    let mut censor = censor([Rule::new(tls(), reset())]);
    open(&mut censor, CLIENT, SERVER);
    answer(&mut censor, 0, b"hello");
    let hello = records("www.blocked.test", &[], 16_384);
    let seen = say(&mut censor, 0, &hello);
    assert!(seen.lost.is_empty(), "the packet itself goes on");
    assert_eq!(seen.resets(), [Way::Out, Way::In]);
    let to = |n: usize| (seen.forwarded[n].1.source, seen.forwarded[n].1.destination);
    let (client, server) = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
    assert_eq!((to(1), to(2)), ((client, server), (server, client)));
    let offset = |n: usize| match &seen.forwarded[n].1.body {
        Body::Tcp(segment) => segment.offset,
        Body::Udp(_) | Body::Icmp(_) | Body::Raw(_) => unreachable!(),
    };
    assert_eq!((offset(1), offset(2)), (hello.len() as u64, 5));
    let late: Vec<Duration> = seen
        .at
        .iter()
        .map(|at| at.saturating_duration_since(censor.now))
        .collect();
    assert_eq!(late, [Duration::ZERO, AFTER, AFTER]);
    assert_eq!(seen.notes, ["reset: TLS name"]);
    assert!(
        passes(&say(&mut censor, hello.len() as u64, b"more")),
        "it resets once"
    );
}

#[test]
fn an_in_path_censor_loses_the_packet_and_all_behind_it() {
    let mut censor = censor([Rule::new(tls(), Then::Drop)]);
    let hello = records("blocked.test", &[], 16_384);
    assert!(last_of(&mut censor, &hello, 16_384).is_lost(Lost::Censored));
    assert!(
        say(&mut censor, 0, &hello).is_lost(Lost::Censored),
        "sent again"
    );
    assert!(answer(&mut censor, 0, b"hello").is_lost(Lost::Censored));
    let other = tcp_data("10.0.0.5:4001", SERVER, SYN, 0, b"");
    assert!(passes(&censor.out(other)), "another flow");
}

#[test]
fn names_are_found_across_segments_and_records() {
    for record in [1, 20, 16_384] {
        for segment in [1, 7, 100, 10_000] {
            let mut censor = censor([Rule::new(tls(), Then::Drop)]);
            let hello = records("blocked.test", &["h2"], record);
            let seen = last_of(&mut censor, &hello, segment);
            assert!(seen.is_lost(Lost::Censored), "{record} {segment}");
            let mut censor = self::censor([Rule::new(tls(), Then::Drop)]);
            let hello = records("allowed.test", &["h2"], record);
            assert!(
                passes(&last_of(&mut censor, &hello, segment)),
                "{record} {segment}"
            );
        }
    }
}

#[test]
fn segments_out_of_order_hide_nothing() {
    let mut censor = censor([Rule::new(tls(), Then::Drop)]);
    let hello = records("blocked.test", &[], 16_384);
    open(&mut censor, CLIENT, SERVER);
    let (a, b) = hello.split_at(40);
    assert!(passes(&say(&mut censor, 40, b)));
    assert!(say(&mut censor, 0, a).is_lost(Lost::Censored));
}

#[test]
fn a_censor_that_sees_single_packets_is_escaped_by_splitting() {
    let hello = records("blocked.test", &[], 16_384);
    let sees = |len| {
        let rule = Rule::new(tls(), Then::Drop);
        let censor = Censor::new(vec![rule])
            .unwrap()
            .with_sight(Sight::FirstPacket);
        last_of(&mut Bench::new(censor), &hello, len).is_lost(Lost::Censored)
    };
    assert!(sees(10_000) && !sees(40));
}

#[test]
fn protocols_and_hosts_are_matched_as_well() {
    let alpn = || Rule::new(When::TlsAlpn(vec![b"h2".to_vec()]), Then::Drop);
    let h2 = records("any.test", &["http/1.1", "h2"], 16_384);
    assert!(last_of(&mut censor([alpn()]), &h2, 10_000).is_lost(Lost::Censored));
    let h1 = records("any.test", &["http/1.1"], 16_384);
    assert!(passes(&last_of(&mut censor([alpn()]), &h1, 10_000)));

    let host = || Rule::new(When::HttpHost(names()), Then::Drop);
    assert!(last_of(&mut censor([host()]), &http("blocked.test:80"), 9).is_lost(Lost::Censored));
    assert!(passes(&last_of(
        &mut censor([host()]),
        &http("allowed.test"),
        9
    )));
}

#[test]
fn quic_names_are_matched_across_packets() {
    let verdicts = |name: &str, sight| {
        let rule = Rule::new(When::QuicName(names()), Then::Drop);
        let censor = Censor::new(vec![rule]).unwrap().with_sight(sight);
        let mut bench = Bench::new(censor);
        let flight = quic::tests::first_flight(name).into_iter();
        let packets = flight.map(|packet| udp_data(CLIENT, SERVER, &packet));
        packets
            .map(|packet| passes(&bench.out(packet)))
            .collect::<Vec<bool>>()
    };
    assert_eq!(verdicts("blocked.test", Sight::Stream), [true, false]);
    assert_eq!(verdicts("allowed.test", Sight::Stream), [true, true]);
    assert_eq!(verdicts("blocked.test", Sight::FirstPacket), [true, true]);
}

#[test]
fn a_flow_freezes_after_so_many_bytes() {
    let mut censor = censor([Rule::new(When::Carried(2_000), Then::Drop)]);
    open(&mut censor, CLIENT, SERVER);
    assert!(passes(&say(&mut censor, 0, &[0; 1_000])));
    assert!(passes(&answer(&mut censor, 0, &[0; 1_000])), "just so many");
    assert!(answer(&mut censor, 1_000, b"x").is_lost(Lost::Censored));
    assert!(say(&mut censor, 1_000, b"x").is_lost(Lost::Censored));
}

#[test]
fn random_looking_clients_are_suspect_and_known_protocols_are_not() {
    let rule = || Rule::new(When::LooksEncrypted(Exemptions::default()), Then::Drop);
    assert!(last_of(&mut censor([rule()]), &RANDOM_LIKE, 60).is_lost(Lost::Censored));
    assert!(passes(&last_of(
        &mut censor([rule()]),
        &http("allowed.test"),
        60
    )));
    let mut late = censor([rule()]);
    assert!(passes(&last_of(&mut late, b"printable first", 60)));
    assert!(
        passes(&say(&mut late, 15, &RANDOM_LIKE)),
        "only the first payload counts"
    );
    let udp = censor([rule()]).out(udp_data(CLIENT, SERVER, &RANDOM_LIKE));
    assert!(passes(&udp), "datagrams are not judged");
}

#[test]
fn a_residual_block_covers_client_address_and_server_endpoint() {
    let time = Duration::from_secs(90);
    for then in [Then::Drop, reset()] {
        let is_drop = matches!(then, Then::Drop);
        let mut censor = censor([Rule::new(tls(), then).with_residual(time)]);
        last_of(&mut censor, &records("blocked.test", &[], 16_384), 10_000);
        censor.wait(time / 2);
        let mut syn = |client: &str, server: &str| {
            let seen = censor.out(tcp(client, server, SYN));
            passes(&seen)
        };
        assert!(!syn("10.0.0.5:5000", SERVER), "another port of the client");
        assert!(syn("10.0.0.5:5000", OTHER), "another server");
        assert!(
            syn("10.0.0.5:5000", "198.51.100.1:80"),
            "another port of it"
        );
        assert!(syn("10.0.0.6:5000", SERVER), "another client");
        let back = censor.inward(tcp(SERVER, "10.0.0.5:5000", SYN_ACK));
        assert_eq!(back.is_lost(Lost::Censored), is_drop);
        assert_eq!(back.resets().len(), if is_drop { 0 } else { 2 });
        censor.wait(time);
        assert!(
            passes(&censor.out(tcp("10.0.0.5:5001", SERVER, SYN))),
            "it is over"
        );
    }
}

#[test]
fn a_throttle_delays_and_then_loses() {
    let throttle = Throttle {
        rate: 1_000,
        burst: 1_000,
        queue: 2_000,
    };
    let when = When::Transport(Transport::Tcp);
    let mut censor = censor([Rule::new(when, Then::Throttle(throttle))]);
    let mut waits = Vec::new();
    censor.out(tcp(CLIENT, SERVER, SYN));
    for n in 0..4 {
        let seen = say(&mut censor, n * 960, &[0; 960]);
        let at = seen.at.first();
        waits.push(at.map(|at| at.saturating_duration_since(censor.now).as_millis()));
    }
    assert_eq!(waits, [Some(40), Some(1_040), None, None]);
    assert!(passes(&censor.out(udp_data(CLIENT, SERVER, &[0; 9_000]))));
}

#[test]
fn rules_apply_to_their_servers_and_as_often_as_they_say() {
    let ip = "198.51.100.1".parse().unwrap();
    let mut censor = censor([Rule::new(When::Always, Then::Drop).only([ip])]);
    assert!(censor.out(tcp(CLIENT, SERVER, SYN)).is_lost(Lost::Censored));
    assert!(passes(&censor.out(tcp(CLIENT, OTHER, SYN))));
    let mut censor = self::censor([Rule::new(When::Always, Then::Drop).sometimes(260_000)]);
    let flows = (0..1_000).map(|n| format!("10.0.0.5:{}", 5_000 + n));
    let lost = flows.filter(|client| !passes(&censor.out(tcp(client, SERVER, SYN))));
    let lost = lost.count();
    assert!((200..320).contains(&lost), "{lost}");
}

#[test]
fn a_prober_is_told_of_whole_first_flights() {
    let sightings = Sightings::new();
    let report = || Rule::new(When::Always, Then::Report(sightings.clone()));
    let mut answered = censor([report()]);
    last_of(&mut answered, b"one flight", 3);
    assert!(sightings.is_empty(), "the client may have more to say");
    answer(&mut answered, 0, b"hello");
    say(&mut answered, 10, b"second flight");
    let sighting = sightings.take().unwrap();
    assert_eq!(sighting.first_flight, b"one flight");
    assert_eq!(
        (sighting.server, sighting.transport),
        (SERVER.parse().unwrap(), Transport::Tcp)
    );
    assert!(sightings.is_empty(), "told once");

    let mut silent = censor([report()]);
    last_of(&mut silent, b"into silence", 100);
    silent.out(tcp(CLIENT, SERVER, RST));
    assert_eq!(sightings.take().unwrap().first_flight, b"into silence");

    let mut forgotten = censor([report()]);
    last_of(&mut forgotten, b"forgotten", 100);
    forgotten.wait(2 * FLOW_IDLE);
    forgotten.out(tcp(CLIENT, OTHER, SYN));
    assert_eq!(sightings.take().unwrap().first_flight, b"forgotten");
    assert_eq!(forgotten.hop.flows(), 1);

    let mut datagrams = censor([report()]);
    datagrams.out(udp_data(CLIENT, SERVER, b"datagram"));
    assert_eq!(sightings.take().unwrap().first_flight, b"datagram");

    let drop = Rule::new(When::LooksEncrypted(Exemptions::default()), Then::Drop);
    last_of(&mut censor([report(), drop]), &RANDOM_LIKE, 100);
    assert_eq!(sightings.take().unwrap().first_flight, RANDOM_LIKE);
}

#[test]
fn a_connection_on_used_ports_is_a_new_flow() {
    let mut censor = censor([Rule::new(tls(), Then::Drop)]);
    let hello = records("blocked.test", &[], 16_384);
    last_of(&mut censor, &hello, 10_000);
    censor.out(tcp(CLIENT, SERVER, RST));
    assert!(passes(&last_of(
        &mut censor,
        &records("allowed.test", &[], 16_384),
        10_000
    )));
    assert!(passes(&censor.out(tcp_data(CLIENT, SERVER, FIN, 0, b""))));
}

#[test]
fn it_stands_before_the_server_as_well() {
    let mut censor = censor([Rule::new(tls(), reset())]);
    censor.inward(tcp(CLIENT, SERVER, SYN));
    censor.out(tcp(SERVER, CLIENT, SYN_ACK));
    let hello = records("blocked.test", &[], 16_384);
    let seen = censor.inward(tcp_data(CLIENT, SERVER, ACK, 0, &hello));
    assert_eq!(seen.resets(), [Way::In, Way::Out]);
}

#[test]
fn flows_without_a_begin_pass_and_it_forgets_when_told() {
    let mut censor = censor([Rule::new(tls(), Then::Drop)]);
    let hello = records("blocked.test", &[], 16_384);
    assert!(passes(&say(&mut censor, 0, &hello)), "no SYN was seen");
    assert!(last_of(&mut censor, &hello, 10_000).is_lost(Lost::Censored));
    assert!(censor.fault(HopFault::Forget) && !censor.fault(HopFault::Rebind));
    assert!(passes(&say(&mut censor, 0, b"more")));
}

#[test]
fn rules_that_contradict_themselves_are_refused() {
    let refusal = |rule: Rule| Censor::new(vec![rule]).map(|_| ()).unwrap_err();
    let resets = Rule::new(When::QuicName(names()), reset());
    assert_eq!(refusal(resets), Contradiction::ResetsDatagrams);
    let report = Rule::new(tls(), Then::Report(Sightings::new()));
    let residual = report.with_residual(AFTER);
    assert_eq!(refusal(residual), Contradiction::ResidualOfNothing);
    let throttle = Throttle {
        rate: 0,
        burst: 1,
        queue: 1,
    };
    let stopped = Rule::new(tls(), Then::Throttle(throttle));
    assert_eq!(refusal(stopped), Contradiction::NoRate);
    assert!(
        Contradiction::NoRate
            .to_string()
            .contains("at least 1 byte")
    );
}
