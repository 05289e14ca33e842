//! Whole tunnels with an end that was written in Go from the specification alone.
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sansbox_interop::{
    App, Host, Peer,
    app::{Then, port},
    whole::{TunnelClient, TunnelServer},
};
use sansbox_protocols::paniq::{
    obf::FrameError, preamble::Dropped, profile::Profile, transport::OpenError,
};
use sansbox_tests::{
    Value, json,
    paniq::{docs, keyless, with},
};
use std::path::Path;

const PROGRAM: &str = "paniq-peer";

/// A file of the vectors that were recorded with the Go programs.
fn vectors(name: &str) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../protocols/tests/vectors/paniq");
    let text = std::fs::read(root.join(name)).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// Profiles, and what each is there for.
fn profiles() -> Vec<(String, Value)> {
    let mut all = vec![
        ("docs".to_owned(), docs()),
        (
            "counters".to_owned(),
            with(docs(), "obfuscation", &json!({"transport_replay": true})),
        ),
        (
            "MAC1 alone".to_owned(),
            with(
                docs(),
                "obfuscation",
                &json!({"encrypted_timestamp": false, "require_encrypted_timestamp": false}),
            ),
        ),
        ("keyless".to_owned(), keyless()),
        (
            "bare".to_owned(),
            with(
                keyless(),
                "obfuscation",
                &json!({
                    "jc": 0, "jmin": 0, "jmax": 0, "s1": 0, "s2": 0, "s3": 0, "s4": 0,
                    "h1": "", "h2": "", "h3": "", "h4": "",
                }),
            ),
        ),
    ];
    let recorded = vectors("transcripts_random_profiles.json");
    for case in recorded["cases"].as_array().unwrap() {
        let name = case["profile"]["name"].as_str().unwrap();
        all.push((name.to_owned(), case["profile"].clone()));
    }
    all
}

fn parsed(profile: &Value) -> Profile {
    Profile::from_json(profile.to_string().as_bytes()).unwrap()
}

/// Loss on the way, which a socket without room for bulk is, costs attempts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    Light,
    Bulk,
}

/// What the Go end must never say.
fn check(name: &str, peer: &Peer, load: Load) {
    // Random octets look like the header of another kind once in a million frames
    // (`spec/paniq.md` 1.3), and a preamble that lost a datagram is not what is due.
    let is_known = |why: &Value| {
        why == "two frames at once" || why == "not what was due" && load == Load::Bulk
    };
    let mut dropped = peer.events("dropped");
    dropped.retain(|event| !is_known(&event["why"]));
    assert_eq!(dropped, [Value::Null; 0], "{name}");
    for event in ["unsealed", "failed"] {
        assert_eq!(peer.events(event), [Value::Null; 0], "{name}");
    }
}

/// Our server, and the Go client doing steps; false where it is not there.
fn serve(name: &str, profile: &Value, steps: &[&str], load: Load) -> bool {
    let server = TunnelServer::new(&parsed(profile), 1);
    let (mut host, at) = Host::with_socket(server, ());
    let at = at.to_string();
    let arguments = [&["-connect", &at][..], steps, &["wait"]].concat();
    let Some(mut peer) = Peer::start(PROGRAM, Some(&profile.to_string()), &arguments) else {
        return false;
    };
    for step in steps {
        host.run(&format!("{name}: {step}"), |_| {
            peer.check();
            peer.has_done(step)
        });
    }
    check(name, &peer, load);
    assert_eq!(peer.last("ready").unwrap()["attempt"], 1, "{name}");
    assert_eq!(peer.last("response").unwrap()["payload"], 0, "{name}");
    assert_eq!((host.ups, host.downs.len()), (1, 0), "{name}");
    let two_frames = Dropped::Open(OpenError::Frame(FrameError::Ambiguous));
    host.end.dropped.retain(|why| *why != two_frames);
    assert_eq!(host.end.dropped, [], "{name}");
    true
}

fn packet_max(profile: &Value) -> usize {
    let shared = parsed(profile).server(0).unwrap().settings.shared;
    shared.budget.packet_len_max()
}

#[test]
fn a_go_client_meets_our_server_with_any_profile() {
    for (name, profile) in profiles() {
        if !serve(&name, &profile, &["echo:3:60000"], Load::Light) {
            return;
        }
    }
}

#[test]
fn a_go_client_does_all_that_streams_can_with_our_server() {
    let steps = [
        "echo:50:20000000",
        "at-end:300000",
        "listens:300000",
        "resets",
        "abandon",
        "refused",
        "echo:2:5000",
    ];
    for profile in [docs(), keyless()] {
        if !serve("all", &profile, &steps, Load::Bulk) {
            return;
        }
    }
}

/// A tunnel stands and none fell. There may be two: on loopback, where a round trip takes no time,
/// a peer that is not given the processor for a tenth of a second looks dead, until it answers.
fn stands(host: &Host<TunnelClient>, name: &str) {
    assert!(host.ups >= 1, "{name}");
    assert_eq!(host.downs, [], "{name}");
}

#[test]
fn our_client_meets_a_go_server_with_any_profile() {
    for (name, profile) in profiles() {
        let text = profile.to_string();
        let Some((peer, at)) = Peer::listen(PROGRAM, Some(&text), &[]) else {
            return;
        };
        let mut host = Host::new(TunnelClient::new(&parsed(&profile), at, 2));
        for _ in 0..3 {
            host.ask(port::ECHO, App::asks(20_000, Then::Finish));
        }
        host.run(&name, |host| host.apps.values().all(App::is_done));
        let two_frames = OpenError::Frame(FrameError::Ambiguous);
        host.end.dropped.retain(|why| *why != two_frames);
        for app in host.apps.values() {
            assert_eq!((app.came, app.said()), (20_000, app.heard()), "{name}");
        }
        check(&name, &peer, Load::Light);
        stands(&host, &name);
        assert_eq!(host.end.dropped, [], "{name}");
    }
}

#[test]
fn our_client_does_all_that_streams_can_with_a_go_server() {
    let profile = docs();
    let Some((peer, at)) = Peer::listen(PROGRAM, Some(&profile.to_string()), &[]) else {
        return;
    };
    let mut host = Host::new(TunnelClient::new(&parsed(&profile), at, 3));
    for _ in 0..50 {
        host.ask(port::ECHO, App::asks(400_000, Then::Finish));
    }
    host.ask(port::AT_END, App::asks(300_000, Then::Finish));
    host.run("echoes", |host| host.apps.values().all(App::is_done));
    for app in host.apps.values() {
        assert_eq!(app.said(), app.heard());
    }
    let listens = host.ask(port::LISTENS, App::asks(300_000, Then::SpeakAfterTheirEnd));
    let refused = host.ask(port::REFUSES, App::asks(0, Then::Finish));
    let reset = host.ask(port::RESETS, App::asks(1, Then::Wait));
    host.run("resets", |host| {
        let apps = &host.apps;
        apps[&refused].is_refused && apps[&reset].is_reset() && peer.last("listened").is_some()
    });
    let listened = peer.last("listened").unwrap();
    assert_eq!(listened["sha256"], host.apps[&listens].said());
    let id = host.ask(port::ECHO, App::asks(1000, Then::Abandon));
    host.run("a reset", |host| host.apps[&id].is_reset());
    let is_reset = |event: &Value| event["reset"] == 0 && event["by_peer"] == true;
    host.run("its news", |_| peer.events("stream").iter().any(is_reset));
    check("all", &peer, Load::Bulk);
    stands(&host, "all");
    assert!(host.sent.longest.max(host.came.longest) <= packet_max(&profile).max(1202));
}

/// Another key, another time, no time: what one end does not accept from the other.
#[test]
fn wrong_preambles_are_told_nothing_by_either_end() {
    let hasty = json!({"handshake_timeout": "300ms", "handshake_attempts": 2});
    let mut profile = docs();
    for (name, value) in hasty.as_object().unwrap() {
        profile[name] = value.clone();
    }
    let other_key = STANDARD.encode([9; 32]);
    let wrong = [
        json!({"server_public_key": other_key}),
        json!({"encrypted_timestamp": false}),
        json!({"h1": "5-6"}),
    ];
    for changes in wrong {
        let changed = with(profile.clone(), "obfuscation", &changes);
        let server = TunnelServer::new(&parsed(&profile), 1);
        let (mut host, at) = Host::with_socket(server, ());
        let arguments = ["-connect", &at.to_string(), "wait"];
        let Some(mut peer) = Peer::start(PROGRAM, Some(&changed.to_string()), &arguments) else {
            return;
        };
        host.run("it gives up", |_| !peer.events("failed").is_empty());
        assert!(!peer.ended_well());
        assert_eq!(host.sent.datagrams, 0, "{changes}");

        let (peer, at) = Peer::listen(PROGRAM, Some(&profile.to_string()), &[]).unwrap();
        let mut host = Host::new(TunnelClient::new(&parsed(&changed), at, 4));
        host.ask(port::ECHO, App::asks(1, Then::Finish));
        host.run("we give up", |host| !host.downs.is_empty());
        assert_eq!(host.came.datagrams, 0, "{changes}");
        assert!(!peer.events("dropped").is_empty(), "{changes}");
    }
}
