//! What links do to packets, one property at a time, without a world.
use super::{
    hop::{Hop, HopCx, HopFault, HopOutput, Lost, Way},
    link::{Jitter, Link, Settings},
    packet::{Body, Ecn, IcmpKind, Packet, PacketId},
};
use crate::rng::Streams;
use bytes::BytesMut;
use core::time::Duration;
use sansbox_core::Instant;

/// A link, and packets that pass it.
struct Bench {
    link: Link,
    streams: Streams,
    next_packet: u64,
    now: Instant,
    /// When packets left it, how long they were, and which way.
    through: Vec<(u64, Packet, Way)>,
    lost: Vec<Lost>,
}

impl Bench {
    fn new(text: &str) -> Self {
        Self {
            link: text.parse().unwrap(),
            streams: Streams::new(7),
            next_packet: 1000,
            now: Instant::ZERO,
            through: Vec::new(),
            lost: Vec::new(),
        }
    }

    fn with(&mut self, act: impl FnOnce(&mut Link, &mut HopCx<'_>)) {
        let stream = self.streams.open("link");
        let mut outputs = Vec::new();
        let next = &mut self.next_packet;
        let mut cx = HopCx::new(self.now, &mut self.streams, stream, next, &mut outputs);
        act(&mut self.link, &mut cx);
        for output in outputs {
            match output {
                HopOutput::Forward { at, way, packet } => {
                    self.through.push((at.as_nanos() / 1000, packet, way));
                }
                HopOutput::Lost { why, .. } => self.lost.push(why),
                HopOutput::Note { .. } => {}
            }
        }
    }

    /// Sends a datagram of `octets` with headers at a time in microseconds.
    fn send(&mut self, micros: u64, octets: usize, way: Way) {
        self.run_until(micros);
        let id = PacketId(self.next_packet);
        self.next_packet += 1;
        let packet = Packet {
            id,
            source: "10.0.0.1:1".parse().unwrap(),
            destination: "10.0.0.2:2".parse().unwrap(),
            ecn: Ecn::Ect0,
            may_fragment: false,
            body: Body::Udp(BytesMut::zeroed(octets - 28)),
        };
        self.with(|link, cx| link.pass(cx, way, packet));
    }

    fn run_until(&mut self, micros: u64) {
        let until = Instant::from_nanos(micros * 1000);
        while let Some(at) = self.link.poll_timeout().filter(|at| *at <= until) {
            self.now = at;
            self.with(Hop::handle_timeout);
        }
        self.now = until;
    }

    fn times(&self) -> Vec<u64> {
        self.through.iter().map(|(at, ..)| *at).collect()
    }
}

/// Times at which packets of 1000 octets leave, sent at once.
fn burst(text: &str, count: usize) -> Bench {
    let mut bench = Bench::new(text);
    for _ in 0..count {
        bench.send(0, 1000, Way::Out);
    }
    bench.run_until(10_000_000);
    bench
}

#[test]
fn latency_and_jitter_are_as_said() {
    assert_eq!(burst("20ms", 2).times(), [20_000, 20_000]);
    let even = burst("20ms ±2ms", 500).times();
    let (least, most) = (even.iter().min().unwrap(), even.iter().max().unwrap());
    assert!((18_000..18_100).contains(least) && (21_900..=22_000).contains(most));
    assert!(!even.is_sorted());
    assert!(burst("20ms +-2ms, ordered", 500).times().is_sorted());
    let normal = burst("20ms ~2ms", 1000).times();
    let within = |d: u64| normal.iter().filter(|t| t.abs_diff(20_000) <= d).count();
    // 68 and 95 of a hundred.
    assert!((620..740).contains(&within(2000)), "{}", within(2000));
    assert!((920..980).contains(&within(4000)), "{}", within(4000));
}

#[test]
fn a_line_takes_its_time_and_a_bucket_lets_a_burst_through() {
    // 1000 octets take 8 ms.
    assert_eq!(burst("1Mbit", 3).times(), [8000, 16_000, 24_000]);
    let mut bench = Bench::new("1Mbit burst 3kB");
    for _ in 0..5 {
        bench.send(1_000_000, 1000, Way::Out);
    }
    bench.run_until(2_000_000);
    let from = 1_000_000;
    assert_eq!(
        bench.times(),
        [from, from, from, from + 8000, from + 16_000]
    );
}

#[test]
fn queues_drop_what_does_not_fit() {
    let bench = burst("1Mbit, queue 3", 10);
    assert_eq!(bench.through.len(), 3);
    assert_eq!(bench.lost, [Lost::Queue; 7]);
    assert_eq!(burst("1Mbit, queue 5kB", 10).through.len(), 5);
}

#[test]
fn codel_keeps_a_queue_short_that_drop_tail_lets_stand() {
    let last_delay = |text: &str| {
        let mut bench = Bench::new(text);
        // A tenth more than the line carries.
        for n in 0..3000 {
            bench.send(n * 7200, 1000, Way::Out);
        }
        bench.run_until(60_000_000);
        (bench.through.last().unwrap().0 - 2999 * 7200, bench)
    };
    let (tail, _) = last_delay("1Mbit");
    let (short, bench) = last_delay("1Mbit, codel");
    assert!(tail > 2_000_000 && short < 500_000, "{tail} {short}");
    assert!(!bench.lost.is_empty());
    let (_, marking) = last_delay("1Mbit, codel-ecn");
    let marked = |(_, packet, _): &&(u64, Packet, Way)| packet.ecn == Ecn::Ce;
    assert!(marking.lost.is_empty() && marking.through.iter().any(|p| marked(&p)));
}

#[test]
fn losses_follow_their_rules() {
    assert_eq!(burst("loss every 3", 9).lost.len(), 3);
    assert_eq!(burst("loss nth 2", 9).lost.len(), 1);
    assert_eq!(burst("loss syn 100%", 9).lost.len(), 0);
    assert_eq!(burst("loss udp 100%", 9).lost.len(), 9);
    let lost = burst("loss 10%", 5000).lost.len();
    assert!((400..600).contains(&lost), "{lost}");
    // In the bad state one packet in 11 on average, and four in a row.
    let bench = burst("loss burst 2.5%/25%", 5000);
    let ids: Vec<u64> = bench.through.iter().map(|(_, p, _)| p.id.0).collect();
    let gaps = ids.windows(2).filter(|w| w[1] - w[0] > 1).count();
    let lost = bench.lost.len();
    assert!(
        (300..650).contains(&lost) && gaps * 2 < lost,
        "{lost} {gaps}"
    );
}

#[test]
fn each_way_has_its_own_settings() {
    let mut bench = Bench::new("5ms; out 1Mbit; in 50ms");
    bench.send(0, 1000, Way::Out);
    bench.send(0, 1000, Way::In);
    bench.run_until(1_000_000);
    let mut times = bench.times();
    times.sort_unstable();
    assert_eq!(times, [13_000, 50_000]);
}

#[test]
fn long_packets_are_answered_dropped_or_cut() {
    let mut bench = Bench::new("mtu 500");
    bench.send(0, 1000, Way::Out);
    bench.send(0, 500, Way::Out);
    let (_, answer, way) = &bench.through[0];
    let Body::Icmp(icmp) = &answer.body else {
        panic!("{answer:?}");
    };
    assert_eq!(icmp.kind, IcmpKind::PacketTooBig { mtu: 500 });
    assert_eq!((*way, answer.destination), (Way::In, icmp.about_source));
    assert_eq!(bench.lost, [Lost::TooLong]);
    assert_eq!(bench.through.len(), 2);
    let dropped = burst("mtu 500 drop", 1);
    assert!(dropped.through.is_empty() && dropped.lost == [Lost::TooLong]);
    // What says it may not be cut is answered.
    let kept = burst("mtu 500 fragment", 1);
    assert!(matches!(kept.through[0].1.body, Body::Icmp(_)));
}

#[test]
fn faults_change_a_link_at_work() {
    let mut bench = Bench::new("1ms");
    let mut after = |fault: HopFault, at: u64| {
        bench.now = Instant::from_nanos(at * 1000);
        bench.with(|link, cx| assert!(link.fault(cx, fault)));
        let before = bench.through.len();
        bench.send(at, 1000, Way::Out);
        bench.run_until(at + 900_000);
        bench.through.get(before).map(|(time, ..)| time - at)
    };
    assert_eq!(after(HopFault::Down, 1_000_000), None);
    assert_eq!(after(HopFault::Up, 2_000_000), Some(1000));
    let latency = Duration::from_millis(7);
    assert_eq!(after(HopFault::Latency(latency), 3_000_000), Some(7000));
    assert_eq!(after(HopFault::Rate(100_000), 4_000_000), Some(17_000));
    bench.with(|link, cx| assert!(!link.fault(cx, HopFault::Rebind)));
}

#[test]
fn words_become_settings() {
    let settings: Settings = "20ms ±2ms, 10Mbit, loss 1%".parse().unwrap();
    assert_eq!(settings.latency, Duration::from_millis(18));
    assert_eq!(settings.jitter, Jitter::Uniform(Duration::from_millis(4)));
    assert!(settings.line.is_some() && settings.loss.len() == 1);
    let all = "1us, 8bit burst 1MB, queue 7, codel 3ms/80ms, dup 0.5%, flip 1%, truncate! 2%, \
               extend 100%, mtu 1280 answer, ecn 3%, loss fin 0.0001%, ordered";
    assert!(all.parse::<Settings>().is_ok());
    assert!("; in loss 3%".parse::<Link>().is_ok());
}

#[test]
fn words_that_are_no_link_are_refused_with_the_word() {
    for (text, item, why) in [
        ("20", "20", "a time has a unit: ns, us, ms, s or min"),
        ("", "", "nothing is said"),
        ("1ms,", "", "nothing is said"),
        ("loss 101%", "loss 101%", "a share is a percentage"),
        ("loss 1.00001%", "loss 1.00001%", "a share is a percentage"),
        ("loss -1%", "loss -1%", "a share is a percentage"),
        ("loss every 0", "loss every 0", "every 0th is none"),
        ("loss pink 1%", "loss pink 1%", "no such loss"),
        (
            "1ms ±2ms",
            "1ms ±2ms",
            "the jitter is longer than the latency",
        ),
        ("7bit", "7bit", "less than one octet per second"),
        (
            "99999999999999999999ms",
            "99999999999999999999ms",
            "a whole number",
        ),
        ("99999999999999999min", "99999999999999999min", "too large"),
        ("mtu 60", "mtu 60", "68 octets pass everywhere"),
        ("mtu 1280 burn", "mtu 1280 burn", "longer packets get"),
        ("fast", "fast", "not understood"),
        (
            "1ms; up 2ms",
            "up 2ms",
            "behind a semicolon comes out or in",
        ),
    ] {
        let said = text.parse::<Link>().unwrap_err();
        assert_eq!(said.item, item, "{text}");
        assert!(said.why.starts_with(why), "{text}: {said}");
    }
}
