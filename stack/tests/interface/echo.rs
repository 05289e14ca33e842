//! Echo requests in every mode.
use core::net::IpAddr;
use sansbox_stack::{
    InterfaceConfig, InterfaceEvent,
    icmp::{EchoMode, Kind},
    interface::{EchoError, EchoRequest},
};

use crate::bench::{Bench, SECOND, changed, echo, read_icmp};

const V4: (&str, &str, u8, u8) = ("10.0.0.2", "192.0.2.9", 8, 0);
const V6: (&str, &str, u8, u8) = ("fd00::2", "2001:db8::9", 128, 129);

fn bench(echo: EchoMode) -> Bench {
    Bench::new(InterfaceConfig {
        echo,
        ..InterfaceConfig::default()
    })
}

#[test]
fn reply_answers_for_every_address() {
    for (client, remote, request, reply) in [V4, V6] {
        let mut bench = bench(EchoMode::Reply);
        let sent = bench.turn(&[echo(client, remote, request, 77, 5, b"payload")]);
        assert_eq!(sent.len(), 1);
        let (from, to, kind, rest) = read_icmp(&sent[0]);
        assert_eq!(
            (from.to_string(), to.to_string()),
            (remote.into(), client.into())
        );
        assert_eq!((kind, rest), ((reply, 0), &b"\x00\x4d\x00\x05payload"[..]));
    }
}

#[test]
fn off_says_nothing_and_reject_says_prohibited() {
    for (client, remote, request, _) in [V4, V6] {
        let packet = echo(client, remote, request, 1, 1, b"");
        let mut bench = bench(EchoMode::Off);
        assert!(bench.turn(core::slice::from_ref(&packet)).is_empty());
        assert_eq!(bench.dropped("icmp", "echo_off"), 1);
        bench.interface.set_echo(EchoMode::Reject);
        let sent = bench.turn(&[packet]);
        let (_, _, kind, _) = read_icmp(&sent[0]);
        assert_eq!(kind, if request == 8 { (3, 13) } else { (1, 1) });
    }
}

#[test]
fn relay_carries_the_request_and_the_true_answer() {
    for (client, remote, request, reply) in [V4, V6] {
        let mut bench = bench(EchoMode::Relay);
        let packet = echo(client, remote, request, 77, 5, b"payload");
        assert!(bench.turn(&[packet]).is_empty());
        let asked = match &bench.events[..] {
            [InterfaceEvent::Echo(asked)] => asked.clone(),
            _ => panic!("{:?}", bench.events),
        };
        assert_eq!(asked.client.to_string(), client);
        assert_eq!((asked.sequence, &asked.data[..]), (5, &b"payload"[..]));
        let now = bench.now();
        let (query, from) = (asked.query, asked.remote);
        assert!(
            bench
                .interface
                .send_echo_reply(now, query, from, 5, b"payload")
        );
        let sent = bench.sent();
        let (from, to, kind, rest) = read_icmp(&sent[0]);
        assert_eq!(
            (from.to_string(), to.to_string()),
            (remote.into(), client.into())
        );
        assert_eq!((kind, rest), ((reply, 0), &b"\x00\x4d\x00\x05payload"[..]));
        // An error comes back about the same query.
        assert!(bench.interface.echo_error(
            now,
            query,
            &error(&asked, Kind::HostUnreachable, None)
        ));
        let sent = bench.sent();
        let (_, _, kind, rest) = read_icmp(&sent[0]);
        assert_eq!(kind, if request == 8 { (3, 1) } else { (1, 3) });
        assert!(rest.ends_with(b"\x00\x4d\x00\x05"), "identifier and number");
        // A minute later (RFC 5508) the query is over.
        bench.events.clear();
        bench.wait_until(60 * SECOND + 1);
        assert_eq!(bench.events, [InterfaceEvent::EchoEnded(query)]);
        let now = bench.now();
        assert!(
            !bench
                .interface
                .send_echo_reply(now, query, asked.remote, 6, b"")
        );
    }
}

fn error(asked: &EchoRequest, kind: Kind, reporter: Option<&str>) -> EchoError {
    EchoError {
        remote: asked.remote,
        sequence: asked.sequence,
        kind,
        reporter: reporter.map(|ip| ip.parse().expect("an address")),
    }
}

#[test]
fn a_router_on_the_way_stays_who_it_is() {
    let routers = ["198.51.100.1", "2001:db8:1::1"];
    for ((client, remote, request, _), router) in [V4, V6].into_iter().zip(routers) {
        let mut bench = bench(EchoMode::Relay);
        let hops = if request == 8 { 8 } else { 7 };
        let packet = changed(echo(client, remote, request, 1, 5, b""), |packet| {
            packet[hops] = 3;
        });
        bench.turn(&[packet]);
        let asked = match &bench.events[..] {
            [InterfaceEvent::Echo(asked)] => asked.clone(),
            _ => panic!("{:?}", bench.events),
        };
        assert_eq!(asked.hop_limit, 2);
        let (now, kind) = (bench.now(), Kind::HopLimitExceeded);
        // The device, the client itself and the other family are not who said it.
        let other = routers.into_iter().find(|other| *other != router);
        for (reporter, is_taken) in [
            (Some(router), true),
            (Some(client), false),
            (other, false),
            (None, false),
        ] {
            let told = error(&asked, kind, reporter);
            assert!(bench.interface.echo_error(now, asked.query, &told));
            let (from, to, kind, _) = read_icmp(&bench.sent()[0]);
            assert_eq!(kind, if request == 8 { (11, 0) } else { (3, 0) });
            assert_eq!(to.to_string(), client);
            let router: IpAddr = router.parse().expect("an address");
            assert_eq!(from == router, is_taken, "{reporter:?}");
        }
    }
}

#[test]
fn a_request_whose_hops_end_here_is_told() {
    let mut bench = bench(EchoMode::Relay);
    let packet = changed(echo(V4.0, V4.1, 8, 1, 1, b""), |packet| packet[8] = 1);
    let sent = bench.turn(&[packet]);
    let (from, _, kind, _) = read_icmp(&sent[0]);
    assert_eq!((kind, from.to_string()), ((11, 0), "10.11.12.1".into()));
    assert_eq!(bench.dropped("interface", "hop_limit"), 1);
    assert!(bench.events.is_empty());
}

#[test]
fn a_long_request_in_fragments_has_an_answer_in_fragments() {
    use sansbox_stack::Config;
    let mut bench = Bench::new(InterfaceConfig {
        stack: Config {
            tun_mtu: 1500,
            ..Config::default()
        },
        ..InterfaceConfig::default()
    });
    for (client, remote, request, _) in [V4, V6] {
        let packet = echo(client, remote, request, 1, 1, &[9; 4000]);
        let sent = bench.turn(&crate::fragments::cut(&packet, 1400));
        assert_eq!(sent.len(), 3);
        assert!(sent.iter().all(|packet| packet.len() <= 1500));
        let joined = crate::fragments::join(&sent);
        assert_eq!(joined.len(), packet.len());
    }
}

#[test]
fn requests_that_nobody_polls_are_bounded() {
    let mut bench = Bench::new(InterfaceConfig {
        echo: EchoMode::Relay,
        queue_bytes_max: 10_000,
        ..InterfaceConfig::default()
    });
    let batch: Vec<Vec<u8>> = (0..30)
        .map(|n| echo(V4.0, V4.1, 8, 1, n, &[0; 1000]))
        .collect();
    bench.turn(&batch);
    assert_eq!(
        (
            bench.events.len(),
            bench.dropped("interface", "events_full")
        ),
        (10, 20)
    );
    // Polled, there is room again.
    bench.turn(&batch[..10]);
    assert_eq!(
        (
            bench.events.len(),
            bench.dropped("interface", "events_full")
        ),
        (20, 20)
    );
}
