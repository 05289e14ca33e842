//! The states of RFC 9293 section 3.3.2 and 3.10, row by row: what a client does, what the caller
//! does, and what each hears.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::manual_let_else,
    reason = "a test that panics has failed"
)]
mod support;

use sansbox_stack::{Config, Event, FlowId, Handshake, Reject, ResetReason};
use support::raw::{Bench, Peer, Seen, at};

/// One step of a row.
enum Do {
    /// The client sends a segment with these flags and payload.
    Peer(&'static str, &'static str),
    /// The caller ends its direction.
    Shutdown,
    /// The caller sends.
    Write(&'static str),
    Abort,
    /// The client acknowledges everything.
    Acks,
}

/// What is seen: segments as `flags:payload`, events by name.
struct Row {
    name: &'static str,
    steps: &'static [(Do, &'static str)],
}

const ROWS: &[Row] = &[
    Row {
        name: "ESTABLISHED, the client closes first: CLOSE-WAIT, LAST-ACK, CLOSED",
        steps: &[
            (Do::Peer("PA", "hello"), "data"),
            (Do::Peer("FA", ""), "A: fin"),
            (Do::Write("bye"), "PA:bye"),
            (Do::Shutdown, "FA:"),
            (Do::Acks, "closed"),
            (Do::Peer("A", ""), "R:"),
        ],
    },
    Row {
        name: "ESTABLISHED, we close first: FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT",
        steps: &[
            (Do::Shutdown, "FA:"),
            (Do::Acks, ""),
            (Do::Peer("PA", "late"), "data"),
            (Do::Peer("FA", ""), "A: fin closed"),
            (Do::Peer("FA", ""), "A:"),
            (Do::Peer("A", ""), ""),
        ],
    },
    Row {
        name: "both close at once: FIN-WAIT-1, CLOSING, TIME-WAIT",
        steps: &[
            (Do::Shutdown, "FA:"),
            (Do::Peer("fA", ""), "A: fin"),
            (Do::Acks, "A: closed"),
            (Do::Peer("A", ""), ""),
        ],
    },
    Row {
        name: "FIN and the acknowledgement of ours in one segment: TIME-WAIT",
        steps: &[
            (Do::Shutdown, "FA:"),
            (Do::Peer("FA", "x"), "A: data fin closed"),
        ],
    },
    Row {
        name: "payload before our FIN goes out first, and the FIN with its end",
        steps: &[
            (Do::Write("one"), "PA:one"),
            (Do::Write("two"), "PA:two"),
            (Do::Shutdown, "FA:"),
            (Do::Acks, ""),
            (Do::Peer("FA", ""), "A: fin closed"),
        ],
    },
    Row {
        name: "RST in ESTABLISHED",
        steps: &[(Do::Peer("RA", ""), "reset"), (Do::Peer("A", ""), "R:")],
    },
    Row {
        name: "RST in CLOSE-WAIT",
        steps: &[
            (Do::Peer("FA", ""), "A: fin"),
            (Do::Peer("RA", ""), "reset"),
        ],
    },
    Row {
        name: "RST in FIN-WAIT-2",
        steps: &[
            (Do::Shutdown, "FA:"),
            (Do::Acks, ""),
            (Do::Peer("RA", ""), "reset"),
        ],
    },
    Row {
        name: "RST in LAST-ACK means the client has forgotten: CLOSED",
        steps: &[
            (Do::Peer("FA", ""), "A: fin"),
            (Do::Shutdown, "FA:"),
            (Do::Peer("RA", ""), "closed"),
        ],
    },
    Row {
        name: "RST in LAST-ACK with payload on its way is a loss",
        steps: &[
            (Do::Peer("FA", ""), "A: fin"),
            (Do::Write("x"), "PA:x"),
            (Do::Shutdown, "FA:"),
            (Do::Peer("RA", ""), "reset"),
        ],
    },
    Row {
        name: "ABORT in ESTABLISHED sends RST",
        steps: &[(Do::Abort, "RA:"), (Do::Peer("A", ""), "R:")],
    },
    Row {
        name: "ABORT in CLOSE-WAIT sends RST",
        steps: &[(Do::Peer("FA", ""), "A: fin"), (Do::Abort, "RA:")],
    },
    Row {
        name: "payload behind the client's FIN is not taken",
        steps: &[
            (Do::Peer("FA", ""), "A: fin"),
            (Do::Peer("PA", "more"), "A:"),
        ],
    },
    Row {
        name: "a shutdown again does nothing",
        steps: &[(Do::Shutdown, "FA:"), (Do::Shutdown, "")],
    },
];

fn words(sent: &[Seen], events: &[Event]) -> String {
    let mut words: Vec<String> = sent
        .iter()
        .map(|seen| format!("{}:{}", seen.flags, String::from_utf8_lossy(&seen.payload)))
        .collect();
    words.extend(events.iter().map(|event| {
        match event {
            Event::Open { .. } => "open",
            Event::Data(_) => "data",
            Event::Writable(_) => "writable",
            Event::Fin(_) => "fin",
            Event::Reset(_, ResetReason::Peer) => "reset",
            Event::Reset(_, _) => "gave-up",
            Event::Cancelled(..) => "cancelled",
            Event::Closed(_) => "closed",
        }
        .to_owned()
    }));
    words.join(" ")
}

fn take(bench: &mut Bench, peer: &mut Peer, flow: FlowId, step: &Do) -> Vec<Event> {
    let mut events = Vec::new();
    match step {
        // A small `f` is a FIN that does not acknowledge ours.
        Do::Peer(flags, payload) => {
            let upper = flags.to_uppercase();
            let packet = peer.segment(&upper, payload.as_bytes());
            events = bench.give(&[packet]);
            let len = payload.len() as u32;
            let fin = u32::from(upper.starts_with('F') && peer.window != 1);
            peer.seq = peer.seq.wrapping_add(len + fin);
            if upper.starts_with('F') {
                // The next FIN is the same one again.
                peer.window = 1;
            }
        }
        Do::Shutdown => bench.stack.shutdown(at(bench.now), flow),
        Do::Write(text) => assert!(bench.write(flow, text.as_bytes())),
        Do::Abort => bench.stack.abort(flow),
        Do::Acks => events = bench.give(&[peer.segment("A", &[])]),
    }
    let heard = bench.events.len();
    bench.read(flow);
    events.extend(bench.events.split_off(heard));
    events
}

#[test]
fn states_change_as_in_rfc_9293() {
    for row in ROWS {
        let mut bench = Bench::new(Config::default());
        let mut peer = Peer::v4();
        let flow = peer.connect(&mut bench);
        for (at, (step, expected)) in row.steps.iter().enumerate() {
            // A repeated FIN stands where the first one stood.
            let again = matches!(step, Do::Peer("FA", "")) && peer.window == 1;
            if again {
                peer.seq = peer.seq.wrapping_sub(1);
            }
            let events = take(&mut bench, &mut peer, flow, step);
            if again {
                peer.seq = peer.seq.wrapping_add(1);
            }
            let sent = bench.sent();
            // What the client saw of ours it acknowledges from now on, unless it closes at once.
            let crossing = row.name.contains("at once") && at == 0;
            if let (Some(last), false) = (sent.last(), crossing) {
                let len = last.payload.len() as u32;
                let end = last
                    .seq
                    .wrapping_add(len + u32::from(last.flags.contains('F')));
                peer.ack = if last.flags.contains('R') {
                    peer.ack
                } else {
                    end
                };
            }
            assert_eq!(words(&sent, &events), *expected, "{}, step {at}", row.name);
        }
    }
}

#[test]
fn syn_received_ends_by_ack_rst_or_time() {
    // The handshake's third segment may bring payload and FIN.
    let mut bench = Bench::new(Config::default());
    let mut peer = Peer::v4();
    peer.begin(&mut bench);
    let events = bench.give(&[peer.segment("FA", b"all")]);
    let flow = match events[..] {
        [
            Event::Open {
                flow,
                answered: true,
                ..
            },
            Event::Data(data),
        ] if data == flow => flow,
        _ => panic!("{events:?}"),
    };
    assert_eq!(bench.read(flow), b"all");
    assert_eq!(bench.events.last(), Some(&Event::Fin(flow)));

    // RST where it must be ends it, and nobody hears of it.
    let mut bench = Bench::new(Config::default());
    let mut peer = Peer::v4();
    peer.begin(&mut bench);
    assert_eq!(bench.say(&[peer.segment("R", &[])]), []);
    assert_eq!(bench.stack.half_open_flows(), 0);
    assert_eq!(bench.events, []);

    // An ACK of something else is refused with RST, and changes nothing.
    let mut bench = Bench::new(Config::default());
    let mut peer = Peer::v4();
    peer.begin(&mut bench);
    peer.ack = peer.ack.wrapping_add(5);
    let sent = bench.say(&[peer.segment("A", &[])]);
    assert_eq!((sent[0].flags.as_str(), sent[0].seq), ("R", peer.ack));
    assert_eq!(bench.stack.half_open_flows(), 1);

    // Silence: the SYN-ACK is sent again after 1, 2 and 4 s, then it is over.
    let again = bench.wait_until(20_000);
    let times: Vec<u64> = again.iter().map(|(at, _)| *at).collect();
    assert_eq!(times, [1001, 3001, 7001]);
    assert!(again.iter().all(|(_, seen)| seen.flags == "SA"));
    assert_eq!(bench.stack.half_open_flows(), 0);
    assert_eq!(bench.stack.counters().expired, 1);
}

#[test]
fn closed_answers_as_section_3_10_7_1_says() {
    let mut bench = Bench::new(Config::default());
    let peer = Peer::v4();
    let sent = bench.say(&[peer.segment_at("A", 5, 77, b"x")]);
    assert_eq!((sent[0].flags.as_str(), sent[0].seq), ("R", 77));
    let sent = bench.say(&[peer.segment_at("SA", 5, 77, &[])]);
    assert_eq!((sent[0].flags.as_str(), sent[0].seq), ("R", 77));
    assert_eq!(bench.say(&[peer.segment_at("R", 5, 0, &[])]), []);
    // Neither ACK nor anything else: not TCP's.
    assert_eq!(bench.say(&[peer.segment_at("F", 5, 0, &[])]), []);
    assert_eq!(bench.events, []);
}

#[test]
fn time_wait_gives_way_to_a_later_syn_and_to_time() {
    let mut bench = Bench::new(Config::default());
    let mut peer = Peer::v4();
    let flow = peer.connect(&mut bench);
    bench.stack.shutdown(at(1), flow);
    let fin = bench.sent();
    peer.ack = fin[0].seq.wrapping_add(1);
    bench.say(&[peer.segment("FA", &[])]);
    peer.seq = peer.seq.wrapping_add(1);
    assert_eq!(bench.stack.open_flows(), 0);
    // RST does not end TIME-WAIT (RFC 1337), an old SYN is answered with an ACK.
    assert_eq!(bench.say(&[peer.segment("R", &[])]), []);
    let mut old = peer.clone();
    old.seq = peer.seq.wrapping_sub(100);
    let sent = bench.say(&[old.syn()]);
    assert_eq!((sent[0].flags.as_str(), sent[0].ack), ("A", peer.seq));
    // A later one begins anew, with numbers behind the old ones.
    let mut next = peer.clone();
    next.seq = peer.seq.wrapping_add(1000);
    let answer = next.begin(&mut bench);
    assert!(answer.seq.wrapping_sub(peer.ack) < 1 << 31);
    next.ack = answer.seq.wrapping_add(1);
    bench.give(&[next.segment("A", &[])]);
    assert_eq!(bench.stack.open_flows(), 1);

    // And without a SYN it is forgotten after ten seconds.
    let mut other = Peer::new("10.0.0.2:4001", "192.0.2.9:80");
    let flow = other.connect(&mut bench);
    bench.stack.shutdown(at(1), flow);
    other.ack = bench.sent()[0].seq.wrapping_add(1);
    let before = bench.now;
    bench.say(&[other.segment("FA", &[])]);
    bench.wait_until(before + 9_900);
    assert_eq!(bench.say(&[other.segment("FA", &[])])[0].flags, "A");
    bench.wait_until(before + 20_500);
    assert_eq!(bench.say(&[other.segment("FA", &[])])[0].flags, "R");
}

#[test]
fn reject_after_the_answer_is_a_reset() {
    let mut bench = Bench::new(Config {
        handshake: Handshake::Fast,
        ..Config::default()
    });
    let mut peer = Peer::v4();
    let flow = peer.connect(&mut bench);
    bench.stack.reject(flow, Reject::HostUnreachable);
    let sent = bench.sent();
    assert_eq!((sent[0].flags.as_str(), sent[0].seq), ("RA", peer.ack));
    assert_eq!(bench.stack.open_flows(), 0);
}
