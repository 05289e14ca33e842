//! The QUIC of tunnels, without the envelope, with quic-go set as the Go programs set it.
use sansbox_interop::{
    App, Host, Peer,
    app::{Then, port},
    plain::Plain,
};
use sansbox_protocols::paniq::{
    transport::{Budget, Padding, PaddingSpec, Sizes},
    tunnel::Settings,
};
use sansbox_quic::StreamId;
use sansbox_tests::{Value, json};
use std::time::Duration;

const PROGRAM: &str = "quic-peer";
const BULK: usize = 20_000_000;
const STREAMS: usize = 50;
/// What a peer is told when it is sent TLS alert 120, no application protocol (RFC 9001 4.8).
const NO_ALPN: u64 = 0x178;
const HOUR: Duration = Duration::from_secs(3600);

/// A budget for QUIC datagrams of `size` octets.
fn budget(size: u16) -> Budget {
    let padding = Padding::resolve(&PaddingSpec::default()).unwrap();
    let sizes = Sizes {
        max_packet_size: 1500,
        max_payload: i64::from(size),
        prefix: 0,
        has_counter: false,
    };
    Budget::new(&sizes, &padding).unwrap()
}

const SIZE: u16 = 1307;

/// Our server, and quic-go doing steps with it.
struct Served {
    host: Host<Plain>,
    peer: Peer,
}

fn served(settings: &Settings, size: u16, arguments: &[&str]) -> Option<Served> {
    let (host, at) = Host::with_socket(Plain::server(settings, &budget(size)), ());
    let (at, size) = (at.to_string(), size.to_string());
    let arguments = [&["-connect", &at, "-size", &size][..], arguments].concat();
    let peer = Peer::start(PROGRAM, None, &arguments)?;
    Some(Served { host, peer })
}

impl Served {
    /// Goes on until the peer has done the step.
    fn step(&mut self, step: &str) {
        let peer = &mut self.peer;
        self.host.run(step, |_| {
            peer.check();
            peer.has_done(step)
        });
    }

    fn run(&mut self, what: &str, is_over: impl Fn(&Host<Plain>, &Peer) -> bool) {
        let peer = &self.peer;
        self.host.run(what, |host| is_over(host, peer));
    }
}

/// Our client, and quic-go as its server.
fn connected(settings: &Settings, size: u16, arguments: &[&str]) -> Option<Served> {
    let text = size.to_string();
    let arguments = [&["-size", &text][..], arguments].concat();
    let (peer, at) = Peer::listen(PROGRAM, None, &arguments)?;
    let client = Plain::client(settings, &budget(size), at);
    let (host, _) = Host::with_socket(client, ());
    Some(Served { host, peer })
}

/// Opens a stream for an app, and goes on until it is over.
fn ask(served: &mut Served, port: u16, app: App, is_over: impl Fn(&App) -> bool) -> StreamId {
    let id = served.host.ask(port, app);
    served.host.run("an app", |host| is_over(&host.apps[&id]));
    id
}

/// Octets cross in both directions, over so many streams at once.
fn bulk(served: &mut Served, streams: usize, octets: usize) {
    let ids: Vec<_> = (0..streams)
        .map(|_| {
            let app = App::asks(octets / streams, Then::Finish);
            served.host.ask(port::ECHO, app)
        })
        .collect();
    served
        .host
        .run("echoes", |host| host.apps.values().all(App::is_done));
    for id in ids {
        let app = &served.host.apps[&id];
        assert_eq!(app.came, octets / streams);
        assert_eq!(app.said(), app.heard());
    }
}

#[test]
fn quic_go_moves_20_megabytes_both_ways_over_50_streams_of_our_server() {
    let step = format!("echo:{STREAMS}:{BULK}");
    let Some(mut served) = served(&Settings::default(), SIZE, &[&step]) else {
        return;
    };
    served.step(&step);
    assert!(served.peer.ended_well());
    served.run("the end", |host, _| !host.downs.is_empty());
    assert_eq!(served.host.downs[0].0, "closed by the peer with code 0");
    assert_eq!(served.host.ups, 1);
    assert_eq!(served.host.apps.len(), STREAMS);
    assert!(served.host.apps.values().all(App::is_done));
}

#[test]
fn our_client_moves_20_megabytes_both_ways_over_50_streams_of_quic_go() {
    let Some(mut served) = connected(&Settings::default(), SIZE, &[]) else {
        return;
    };
    bulk(&mut served, STREAMS, BULK);
    let now = served.host.now();
    served.host.end.close(now, 5);
    served.run("the end", |_, peer| peer.last("closed").is_some());
    let closed = served.peer.last("closed").unwrap();
    assert_eq!(closed["kind"], "application");
    assert_eq!(
        (&closed["code"], &closed["by_peer"]),
        (&json!(5), &json!(true))
    );
}

#[test]
fn halves_of_streams_end_one_by_one_at_our_server() {
    let steps = ["at-end:300000", "listens:300000", "refused"];
    let and_wait = [&steps[..], &["wait"]].concat();
    let Some(mut served) = served(&Settings::default(), SIZE, &and_wait) else {
        return;
    };
    for step in steps {
        served.step(step);
    }
    served.run("ends", |host, _| host.apps.values().all(App::is_done));
    let listened = served.host.apps.values().find(|app| app.came == 300_000);
    let done = served.peer.events("done");
    assert_eq!(done[1]["sha256"], listened.unwrap().heard());
}

#[test]
fn halves_of_streams_end_one_by_one_at_our_client() {
    let Some(mut served) = connected(&Settings::default(), SIZE, &[]) else {
        return;
    };
    let app = App::asks(300_000, Then::Finish);
    let id = ask(&mut served, port::AT_END, app, App::is_done);
    let app = &served.host.apps[&id];
    assert_eq!(app.said(), app.heard());

    let app = App::asks(300_000, Then::SpeakAfterTheirEnd);
    let id = ask(&mut served, port::LISTENS, app, App::is_done);
    served.run("all is heard", |_, peer| peer.last("listened").is_some());
    let listened = served.peer.last("listened").unwrap();
    assert_eq!(listened["sha256"], served.host.apps[&id].said());

    let app = App::asks(0, Then::Finish);
    ask(&mut served, port::REFUSES, app, |app| app.is_refused);
}

#[test]
fn resets_reach_quic_go_and_come_from_it_at_our_server() {
    let steps = ["resets", "abandon", "echo:2:5000"];
    let Some(mut served) = served(&Settings::default(), SIZE, &steps) else {
        return;
    };
    for step in steps {
        served.step(step);
    }
    assert!(served.peer.ended_well());
    let done = served.peer.events("done");
    // Nothing but that it was reset is told.
    assert_eq!(
        (&done[0]["reset"], &done[0]["stopped"]),
        (&json!(0), &json!(0))
    );
    let mut apps = served.host.apps.values();
    let [resets, abandoned] = [apps.next().unwrap(), apps.next().unwrap()];
    assert!(resets.is_reset() && abandoned.is_reset());
    assert!(apps.all(App::is_done), "the others are unharmed");
}

#[test]
fn resets_reach_quic_go_and_come_from_it_at_our_client() {
    let Some(mut served) = connected(&Settings::default(), SIZE, &[]) else {
        return;
    };
    let app = App::asks(1, Then::Wait);
    ask(&mut served, port::RESETS, app, App::is_reset);
    let app = App::asks(1000, Then::Abandon);
    ask(&mut served, port::ECHO, app, App::is_reset);
    let is_told = |peer: &Peer| {
        let streams = peer.events("stream");
        streams.into_iter().find(|stream| stream["reset"].is_u64())
    };
    served.run("the reset", |_, peer| is_told(peer).is_some());
    let told = is_told(&served.peer).unwrap();
    assert_eq!(
        (&told["reset"], &told["by_peer"]),
        (&json!(0), &json!(true))
    );
    bulk_of_one(&mut served);
}

fn bulk_of_one(served: &mut Served) {
    let app = App::asks(5000, Then::Finish);
    ask(served, port::ECHO, app, App::is_done);
    assert!(served.host.downs.is_empty(), "the others are unharmed");
}

/// What both must say of themselves, with the values of ours that anybody
/// but the peer's library cannot tell from Go's.
fn same_parameters() -> Value {
    json!({
        "max_idle_timeout": 120_000,
        "initial_max_data": 786_432,
        "initial_max_stream_data_bidi_local": 524_288,
        "initial_max_stream_data_bidi_remote": 524_288,
        "initial_max_streams_bidi": 256,
        "ack_delay_exponent": 3,
        "max_udp_payload_size": 1452,
        "max_datagram_frame_size": -1,
        "disable_active_migration": true,
    })
}

fn check_parameters(peer: &Peer, is_our_server: bool) {
    let all = peer.events("parameters");
    for from in ["self", "peer"] {
        let told = all.iter().find(|event| event["from"] == from).unwrap();
        for (name, value) in same_parameters().as_object().unwrap() {
            // A client has no address that it would have to keep.
            let is_client_ours = from == "peer" && !is_our_server;
            let value = match name.as_str() {
                // Our server allows more to who uses what it has.
                "initial_max_streams_bidi" if from == "peer" && is_our_server => &json!(7),
                _ => value,
            };
            if !(name == "disable_active_migration" && is_client_ours) {
                assert_eq!(&told[name], value, "{name} of {from}");
            }
        }
        let is_server = (from == "peer") == is_our_server;
        assert_eq!(told["has_stateless_reset_token"], is_server, "{from}");
    }
    let ours = all.iter().find(|event| event["from"] == "peer").unwrap();
    assert_eq!(ours["initial_max_streams_uni"], 0, "nobody reads them");
    assert!(ours["active_connection_id_limit"].as_u64() >= Some(2));
    let alpn = peer.last("alpn").unwrap();
    assert_eq!(alpn["protocol"], "bridgefall-paniq");
}

#[test]
fn transport_parameters_are_as_with_the_go_programs() {
    let settings = Settings::default();
    let Some(mut served) = served(&settings, SIZE, &["echo:1:10"]) else {
        return;
    };
    served.step("echo:1:10");
    check_parameters(&served.peer, true);
    let mut connected = connected(&settings, SIZE, &[]).unwrap();
    bulk_of_one(&mut connected);
    check_parameters(&connected.peer, false);
}

#[test]
fn another_application_protocol_is_refused_by_our_server() {
    let Some(mut served) = served(&Settings::default(), SIZE, &["-alpn", "h3", "wait"]) else {
        return;
    };
    served.run("the end", |_, peer| peer.last("closed").is_some());
    let closed = served.peer.last("closed").unwrap();
    assert_eq!(closed["kind"], "transport");
    assert_eq!(
        (&closed["code"], &closed["by_peer"]),
        (&json!(NO_ALPN), &json!(true))
    );
    assert!(!served.peer.ended_well());
    assert_eq!(served.host.ups, 0);
}

#[test]
fn another_application_protocol_is_refused_by_quic_go() {
    let Some(mut served) = connected(&Settings::default(), SIZE, &["-alpn", "h3"]) else {
        return;
    };
    served.run("the end", |host, _| !host.downs.is_empty());
    let (why, _) = &served.host.downs[0];
    assert!(why.contains(&format!("error {}", NO_ALPN - 0x100)), "{why}");
    assert_eq!(served.host.ups, 0);
    let closed = served.peer.last("closed").unwrap();
    assert_eq!(
        (&closed["code"], &closed["by_peer"]),
        (&json!(NO_ALPN), &json!(false))
    );
}

/// Pings that the peer says came from one side.
fn pings(peer: &Peer, from: &str) -> usize {
    let pings = peer.events("ping");
    pings.iter().filter(|ping| ping["from"] == from).count()
}

/// Nothing but keep-alives happens, and for longer than either side would wait for them.
fn stays_alive(served: &mut Served, from: &str, idle: Duration) {
    served.run("a connection", |_, peer| peer.last("up").is_some());
    let before = pings(&served.peer, from);
    served.host.linger(idle * 3 / 2);
    served.run("keep-alives", |_, peer| pings(peer, from) >= before + 4);
    assert!(served.host.downs.is_empty(), "{:?}", served.host.downs);
    assert_eq!(served.peer.events("closed"), [Value::Null; 0]);
}

/// Short enough to wait for, and many times what a busy machine needs for a packet.
const IDLE: Duration = Duration::from_secs(4);
const OFTEN: Duration = Duration::from_millis(300);

#[test]
fn our_keep_alives_keep_quic_go_waiting() {
    let settings = Settings {
        keepalive: OFTEN,
        idle_timeout: IDLE,
        ..Settings::default()
    };
    let none = ["-keepalive", "0", "wait"];
    let Some(mut served) = served(&settings, SIZE, &none) else {
        return;
    };
    stays_alive(&mut served, "peer", IDLE);
    let mut connected = connected(&settings, SIZE, &none[..2]).unwrap();
    stays_alive(&mut connected, "peer", IDLE);
}

#[test]
fn keep_alives_of_quic_go_keep_us_waiting() {
    let settings = Settings {
        keepalive: HOUR,
        idle_timeout: IDLE,
        ..Settings::default()
    };
    let often = ["-keepalive", "300ms", "wait"];
    let Some(mut served) = served(&settings, SIZE, &often) else {
        return;
    };
    stays_alive(&mut served, "self", IDLE);
    let mut connected = connected(&settings, SIZE, &often[..2]).unwrap();
    stays_alive(&mut connected, "self", IDLE);
}

/// The less patient end decides for both, who wait by themselves.
fn ends_idle(served: &mut Served) {
    served.run("both end", |host, peer| {
        !host.downs.is_empty() && peer.last("closed").is_some()
    });
    let (why, at) = &served.host.downs[0];
    assert_eq!(why, "timed out");
    let waited = at.saturating_duration_since(served.host.heard_at);
    let closed = served.peer.last("closed").unwrap();
    assert_eq!(closed["kind"], "idle");
    let quiet = Duration::from_millis(closed["quiet_ms"].as_u64().unwrap());
    // A timer is never early, but for the time that passed between a packet and its note.
    for waited in [waited, quiet] {
        assert!(waited >= IDLE / 2, "{waited:?}");
        assert!(waited < HOUR / 2, "{waited:?}");
    }
}

#[test]
fn connections_end_when_the_less_patient_side_has_waited() {
    let patient = Settings {
        keepalive: HOUR,
        idle_timeout: HOUR,
        ..Settings::default()
    };
    let hasty = Settings {
        idle_timeout: IDLE,
        ..patient
    };
    for (ours, theirs) in [(hasty, "1h"), (patient, "4s")] {
        let arguments = ["-keepalive", "0", "-idle", theirs, "echo:1:100", "wait"];
        let Some(mut served) = served(&ours, SIZE, &arguments) else {
            return;
        };
        ends_idle(&mut served);
        let mut connected = connected(&ours, SIZE, &arguments[..4]).unwrap();
        bulk_of_one(&mut connected);
        // The app at the other end is no more.
        connected.host.apps.clear();
        ends_idle(&mut connected);
    }
}

#[test]
fn no_datagram_is_longer_than_the_budget_and_bulk_fills_it() {
    for size in [1200, 1307, 1452] {
        let step = "echo:4:1000000";
        let Some(mut served) = served(&Settings::default(), size, &[step]) else {
            return;
        };
        served.step(step);
        let (sent, came) = (served.host.sent, served.host.came);
        assert_eq!((sent.longest, came.longest), (size.into(), size.into()));
        assert_eq!(came.first, usize::from(size), "quic-go's first flight");
        let mut connected = connected(&Settings::default(), size, &[]).unwrap();
        bulk(&mut connected, 4, 1_000_000);
        let (sent, came) = (connected.host.sent, connected.host.came);
        assert_eq!((sent.longest, came.longest), (size.into(), size.into()));
        assert!(sent.first >= 1200, "RFC 9000 14.1");
    }
}

#[test]
fn more_streams_than_one_allows_wait_for_their_turn() {
    let few = Settings {
        streams_max: 4,
        ..Settings::default()
    };
    let step = "echo:30:300000";
    let Some(mut served) = served(&few, SIZE, &[step]) else {
        return;
    };
    served.step(step);
    assert_eq!(served.host.apps.len(), 30);
    let mut connected = connected(&Settings::default(), SIZE, &["-streams", "4"]).unwrap();
    bulk(&mut connected, 30, 300_000);
    let parameters = connected.peer.events("parameters");
    let own = parameters.iter().find(|event| event["from"] == "self");
    assert_eq!(own.unwrap()["initial_max_streams_bidi"], 4);
}
