//! The ten most instructive scenarios as pictures in `docs/interop`, drawn from runs.
use super::help::{fetch, happens, millis, seconds};
use core::{net::IpAddr, time::Duration};
use sansbox_protocols::paniq::obf::{Framer, Kind};
use sansbox_simulator::{
    World,
    net::{
        SiteId,
        boxes::nat::{Nat, Policy},
        hop::{Hop, HopFault, Way},
    },
    out::{Chart, Story, sequence},
    paniq::{
        Edit, Edits, Facts, Lab, Persona, Profile, Step, Talk,
        persona::{Envelope, GO, LEGACY_RUST, OURS, Preamble, Replies},
    },
};
use std::{env, fs, path::PathBuf};

type Hops = fn() -> Vec<Box<dyn Hop>>;
type Prepare = fn(&mut World, SiteId);

/// A world, who fails in it, and who does not.
struct Shown {
    file: &'static str,
    faulty: (Persona, Persona),
    good: (Persona, Persona),
    lab: fn() -> Lab,
    hops: Hops,
    prepare: Prepare,
}

const CALM: Hops = Vec::new;
const NOTHING: Prepare = |_, _| {};

fn small() -> Talk {
    Talk::fetch("a fetch", 200, 1_000)
}

/// A stream that says something now and then.
fn chat(times: usize) -> Talk {
    let far = vec![[Step::Pause(seconds(1)), Step::Send(100)]; times].concat();
    let far = far.into_iter().chain([Step::Fin, Step::End]);
    let near = [Step::Take(100 * times as u64), Step::End, Step::Fin];
    Talk::new("a busy stream", near, far)
}

const S3: Persona = Persona {
    name: "rust with preamble and lengths",
    preamble: Preamble::Go,
    envelope: Envelope::Whole,
    ..LEGACY_RUST.unbound()
};
const S7: Persona = Persona {
    name: "go that dials once",
    redials: false,
    ..GO
};
const S8: Persona = Persona {
    name: "go without replies",
    replies: Replies::None,
    ..GO
};

fn nat() -> Vec<Box<dyn Hop>> {
    let outside = IpAddr::from([192, 168, 113, 1]);
    vec![Box::new(Nat::new(Policy::symmetric(outside)))]
}

fn too_long() -> Vec<Box<dyn Hop>> {
    let frame = super::defects::frame(&Profile::default(), 1453);
    Edits::new().edit(Way::Out, 10, Edit::Forge(frame)).hops()
}

const GO_GO: (Persona, Persona) = (GO, GO);
const OURS_GO: (Persona, Persona) = (OURS, GO);
const OURS_OURS: (Persona, Persona) = (OURS, OURS);

const ALL: [Shown; 10] = [
    Shown {
        file: "s01-no-preamble",
        faulty: (LEGACY_RUST.unbound(), GO),
        good: OURS_GO,
        lab: || Lab::ours().talk(small()),
        hops: CALM,
        prepare: NOTHING,
    },
    Shown {
        file: "s03-no-alpn",
        faulty: (S3, GO),
        good: OURS_GO,
        lab: || Lab::ours().talk(small()),
        hops: CALM,
        prepare: NOTHING,
    },
    Shown {
        file: "s07-no-second-dial",
        faulty: (S7, GO),
        good: OURS_GO,
        lab: || {
            let again = Talk::fetch("one more", 200, 1_000).at(seconds(20));
            let mut lab = Lab::ours().talk(small()).talk(again);
            lab.server_restarts = vec![seconds(10)];
            lab
        },
        hops: CALM,
        prepare: NOTHING,
    },
    Shown {
        file: "s08-no-reply",
        faulty: (GO, S8),
        good: (GO, OURS),
        lab: || Lab::ours().talk(small()),
        hops: CALM,
        prepare: NOTHING,
    },
    Shown {
        file: "s12-half-close",
        faulty: GO_GO,
        good: OURS_OURS,
        lab: || Lab::ours().talk(Talk::half_closed("a question", 200, 1_000)),
        hops: CALM,
        prepare: NOTHING,
    },
    Shown {
        file: "s13-new-port",
        faulty: GO_GO,
        good: OURS_GO,
        lab: || {
            Lab::ours()
                .talk(small())
                .talk(Talk::fetch("one more", 200, 1_000).at(seconds(6)))
        },
        hops: nat,
        prepare: |world, site| happens(world, site, seconds(5), HopFault::Rebind),
    },
    Shown {
        file: "s14-lost-response",
        faulty: GO_GO,
        good: OURS_GO,
        lab: || Lab::ours().talk(small()),
        hops: || Edits::new().edit(Way::In, 0, Edit::Lose).hops(),
        prepare: NOTHING,
    },
    Shown {
        file: "s25-refused-target",
        faulty: GO_GO,
        good: OURS_GO,
        lab: || {
            let refused = Talk::refused("a refused target").at(millis(2_500));
            Lab::ours().talk(chat(4)).talk(refused)
        },
        hops: CALM,
        prepare: NOTHING,
    },
    Shown {
        file: "s27-one-octet-too-many",
        faulty: GO_GO,
        good: OURS_OURS,
        lab: || Lab::ours().talk(chat(3)),
        hops: too_long,
        prepare: NOTHING,
    },
    Shown {
        file: "s34-doubled-junk",
        faulty: GO_GO,
        good: OURS_GO,
        lab: || Lab::ours().talk(fetch()),
        hops: || Edits::new().edit(Way::Out, 1, Edit::Double).hops(),
        prepare: NOTHING,
    },
];

/// What a datagram is, to who has the profile.
fn label(profile: &Profile, is_up: bool, datagram: &[u8]) -> String {
    let framer = Framer::new(profile.params.clone().into());
    let (kind, at) = match framer.decode(datagram) {
        Ok(decoded) => decoded,
        Err(_) if datagram.len() == 4 && is_up => return "signature".to_owned(),
        Err(_) => return "junk".to_owned(),
    };
    if kind != Kind::Transport {
        return format!("{kind:?}");
    }
    let payload = &datagram[at..];
    let len = usize::from(u16::from_be_bytes([payload[0], payload[1]]));
    if len > payload.len() - 2 {
        return "frame with QUIC and no length".to_owned();
    }
    if len > 1452 {
        return format!("forged frame with {len} octets");
    }
    let quic = match (payload[2] & 0x80 != 0, payload[2] & 0x30) {
        (true, 0x00) => "QUIC Initial",
        (true, 0x20) => "QUIC Handshake",
        _ => "QUIC",
    };
    quic.to_owned()
}

/// How it ended, in a line.
fn verdict(facts: &Facts) -> String {
    let exit = facts
        .exit
        .as_ref()
        .map(|(_, why)| format!("the server exits: {why}"));
    let near = facts.near.iter().map(|(name, seen)| {
        let at = Duration::from_millis(seen.at.as_millis() as u64 / 10 * 10);
        format!("{name}: {:?} at {at:?}", seen.ended)
            .replace("Refused(\"", "refused (")
            .replace("\")", ")")
    });
    exit.into_iter().chain(near).collect::<Vec<_>>().join("; ")
}

fn draw(shown: &Shown) -> String {
    let record = |(client, server): (Persona, Persona)| {
        let lab = (shown.lab)().with(client, server);
        lab.record(1, (shown.hops)(), shown.prepare)
    };
    let runs = [record(shown.faulty), record(shown.good)];
    let names = runs.each_ref().map(|(_, world)| {
        (
            world.host_names(),
            world.host_addresses(),
            world.hop_names(),
        )
    });
    let titles =
        [shown.faulty, shown.good].map(|(c, s)| format!("{} client, {} server", c.name, s.name));
    let verdicts = runs.each_ref().map(|(facts, _)| verdict(facts));
    let profile = (shown.lab)().profile;
    let label = |is_up: bool, datagram: &[u8]| label(&profile, is_up, datagram);
    let charts = [0, 1].map(|n| Chart {
        title: &titles[n],
        verdict: &verdicts[n],
        left: "client",
        right: "server",
        story: Story {
            title: "",
            seed: Some(1),
            replay: "",
            minimised: &[],
            capture: None,
            hosts: &names[n].0,
            addresses: &names[n].1,
            hops: &names[n].2,
            entries: runs[n].1.entries(),
            outcome: &Ok(()),
            digest: runs[n].1.digest(),
            virtual_time: runs[n].1.now(),
            events: runs[n].1.events(),
            decisions: 0,
        },
        label: &label,
    });
    sequence(&charts)
}

/// Is what is written to be what is found?
#[expect(
    clippy::disallowed_methods,
    reason = "the order to write is given by a variable"
)]
pub(crate) fn blesses() -> bool {
    env::var("BLESS").is_ok_and(|value| value == "1")
}

pub(crate) fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// `BLESS=1 cargo test -p sansbox-simulator --test paniq` draws them anew.
#[test]
fn the_pictures_show_what_happens() {
    // Sizes and times may depend on the platform: see `golden.rs`.
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        eprintln!("skipped: the pictures were drawn on another platform");
        return;
    }
    let folder = docs().join("interop");
    for shown in &ALL {
        let (path, drawn) = (folder.join(format!("{}.svg", shown.file)), draw(shown));
        if blesses() {
            fs::create_dir_all(&folder).unwrap();
            fs::write(&path, &drawn).unwrap();
        }
        let written = fs::read_to_string(&path)
            .unwrap_or_default()
            .replace("\r\n", "\n");
        assert!(
            written == drawn,
            "{} shows something else: BLESS=1",
            shown.file
        );
        let page = fs::read_to_string(docs().join("interop.md")).unwrap();
        let link = format!("(interop/{}.svg)", shown.file);
        assert!(
            page.contains(&link),
            "docs/interop.md does not show {}",
            shown.file
        );
    }
}
