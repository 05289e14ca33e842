//! Pictures in `docs/pictures` of connections through a TUN device, drawn from runs.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test may panic"
)]
use sansbox_core::Refusal;
use sansbox_simulator::{
    DaemonHost, World,
    daemon::{TunSettings, plan},
    drive::Rules,
    out::{Ladder, Story, ladders},
    peers::{Script, ScriptHost, Step},
    tcp::{Path, Tier},
    transcript::Tag,
    world::Setup,
};
use std::{env, fs, net::SocketAddr, path::PathBuf, time::Duration};

const MODES: [(&str, &str); 3] = [
    (
        "fast",
        "The SYN is answered at once, whatever becomes of the target.",
    ),
    (
        "consistent",
        "The SYN is answered when the target has answered.",
    ),
    (
        "auto",
        "As consistent, unless a rule has to see the first bytes.",
    ),
];

/// A machine asks a target that is 40 ms away.
fn run(mode: &str, answers: bool) -> World {
    let mut world = World::with(Setup {
        seed: 1,
        keeps_entries: true,
        ..Setup::default()
    });
    world.tier(Tier::Packet);
    world.default_path(Path {
        latency: Duration::from_millis(40),
        jitter: Duration::ZERO,
        ..Path::default()
    });
    let json = format!(
        r#"{{"inbounds": [{{"type": "tun", "address": "10.11.12.1/24",
              "sansbox": {{"handshake_mode": "{mode}"}}}}],
            "outbounds": [{{"type": "direct"}}]}}"#
    );
    let plan = plan(&json).expect("a configuration");
    let daemon = DaemonHost::of_plan(Rules::default(), &plan, TunSettings::new());
    let daemon = world.host("sansbox", &["10.0.0.2".parse().unwrap()], daemon);
    let device = world.site("device", Vec::new());
    world.gateway(device, daemon);
    let target: SocketAddr = "10.0.0.3:80".parse().unwrap();
    let ask = Script::new().send("a question").expect("an answer");
    let machine = match (answers, mode) {
        (true, _) => ScriptHost::new().dial(target, ask),
        (false, "fast") => ScriptHost::new().dial(target, Script::new().then(Step::ExpectReset)),
        (false, _) => {
            ScriptHost::new().dial_fails(Duration::ZERO, target, Refusal::ConnectionRefused)
        }
    };
    world.host_in(device, "client", &["10.11.12.1".parse().unwrap()], machine);
    let serve = |_| Script::new().expect("a question").send("an answer");
    let origin = match answers {
        true => ScriptHost::new().serve(target, serve),
        false => ScriptHost::new(),
    };
    world.host("target", &["10.0.0.3".parse().unwrap()], origin);
    world.run(Duration::from_secs(600)).expect("as written");
    world
}

/// What the client's program sees.
fn note(host: &str, tag: Tag, text: &str) -> Option<String> {
    let said = if tag == Tag::Reset {
        "read(): reset"
    } else if tag != Tag::Dialed {
        return None;
    } else if text.starts_with("Ok") {
        "connect() returns"
    } else {
        "connect(): refused"
    };
    (host == "client").then(|| said.to_owned())
}

fn draw() -> String {
    let outcomes = [(true, "the target answers"), (false, "the target refuses")];
    let runs = outcomes.map(|(answers, _)| MODES.map(|(mode, _)| run(mode, answers)));
    let known = runs.each_ref().map(|row| {
        row.each_ref().map(|world| {
            (
                world.host_names(),
                world.host_addresses(),
                world.hop_names(),
            )
        })
    });
    let titles = outcomes.map(|(_, what)| MODES.map(|(mode, _)| format!("{mode}: {what}")));
    let ladder = |row: usize, column: usize| {
        let (world, known) = (&runs[row][column], &known[row][column]);
        Ladder {
            title: &titles[row][column],
            verdict: MODES[column].1,
            lanes: &[
                ("client", "client"),
                ("sansbox", "sansbox"),
                ("target", "target"),
            ],
            story: Story {
                title: "",
                seed: Some(1),
                replay: "",
                minimised: &[],
                capture: None,
                hosts: &known.0,
                addresses: &known.1,
                hops: &known.2,
                entries: world.entries(),
                outcome: &Ok(()),
                digest: world.digest(),
                virtual_time: world.now(),
                events: world.events(),
                decisions: 0,
            },
            note: &note,
        }
    };
    let grid = [0, 1].map(|row| (0..MODES.len()).map(|column| ladder(row, column)).collect());
    ladders(&grid)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the order to write is given by a variable"
)]
fn blesses() -> bool {
    env::var("BLESS").is_ok_and(|value| value == "1")
}

/// `BLESS=1 cargo test -p sansbox-simulator --test ladders` draws it anew.
#[test]
fn the_handshakes_of_a_device_are_as_drawn() {
    // Sizes and times may depend on the platform: see `golden.rs`.
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        eprintln!("skipped: the picture was drawn on another platform");
        return;
    }
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures");
    let (path, drawn) = (folder.join("tun-handshakes.svg"), draw());
    if blesses() {
        fs::create_dir_all(&folder).unwrap();
        fs::write(&path, &drawn).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let written = written.replace("\r\n", "\n");
    assert!(
        written == drawn,
        "the picture shows something else: BLESS=1"
    );
    for said in [
        "SYN-ACK",
        "connect() returns",
        "connect(): refused",
        "read(): reset",
    ] {
        assert!(drawn.contains(said), "{said} is not in the picture");
    }
}
