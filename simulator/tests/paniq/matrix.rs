//! Every client with every server: what comes of it is written down, here and in
//! `docs/interop.md`. `BLESS=1 cargo test -p sansbox-simulator --test paniq` writes it anew.
use super::{
    help::seconds,
    pictures::{blesses, docs},
};
use core::{fmt::Write as _, time::Duration};
use sansbox_simulator::paniq::{
    Ended, Facts, Lab, Persona, Step, Talk,
    persona::{Carrier, OURS},
};
use std::{fs, path::PathBuf};

/// What may go wrong with a tunnel that stands, and how it is seen.
const FLAWS: [(&str, &str); 6] = [
    ("a", "an answer after a half-close is lost"),
    ("b", "a refused target ends all other streams"),
    ("c", "a target that is not there ends all other streams"),
    ("d", "a refused target is told as connected"),
    ("e", "a target that speaks first is not understood"),
    (
        "f",
        "a request after a restart of the server comes to nothing",
    ),
];

fn busy(name: &str, at: u64) -> Talk {
    let far = [[Step::Send(100), Step::Pause(seconds(1))]; 8].concat();
    let far = far.into_iter().chain([Step::Fin, Step::End]);
    Talk::new(name, [Step::Take(800), Step::End, Step::Fin], far).at(seconds(at))
}

/// Everything that tells one program from another, one thing after the other.
fn load() -> Vec<Talk> {
    let all = [
        (1, Talk::fetch("fetch", 300, 20_000)),
        (2, Talk::server_first("banner", 40, 300, 300)),
        (3, Talk::half_closed("half-closed", 300, 5_000)),
        (12, Talk::refused("refused")),
        (32, Talk::black_hole("hole")),
        (120, Talk::fetch("after a restart", 300, 300)),
    ];
    let all = all.map(|(at, talk)| talk.at(seconds(at)));
    [busy("beside refused", 10), busy("beside hole", 30)]
        .into_iter()
        .chain(all)
        .collect()
}

fn run(client: Persona, server: Persona) -> Facts {
    let mut lab = Lab::new(client.unbound(), server).talks(load());
    lab.server_restarts = vec![seconds(100)];
    lab.may_hang = true;
    lab.run(1, vec![])
}

fn flaws(facts: &Facts) -> String {
    let is_whole = |name| facts.ended(name) == Ended::Whole;
    let has = [
        !is_whole("half-closed"),
        !is_whole("beside refused"),
        !is_whole("beside hole"),
        facts.near["refused"].accepted.is_some(),
        !is_whole("banner"),
        !is_whole("after a restart"),
    ];
    let letters = FLAWS.iter().zip(has).filter(|(_, has)| *has);
    letters.map(|((letter, _), _)| *letter).collect()
}

/// The first thing that the one side dropped, or says of the end.
fn reason(facts: &Facts) -> String {
    let drops = facts.server_drops.iter().chain(&facts.client_drops);
    let dropped = drops.max_by_key(|(_, n)| **n).map(|(why, _)| why.clone());
    let down = facts.downs.first().map(|(_, why)| why.clone());
    let both = [down, dropped.map(|why| format!("dropped: {why}"))];
    both.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn rounded(time: Duration) -> String {
    match time < seconds(1) {
        true => "at once".to_owned(),
        false => format!("after {} s", time.as_secs()),
    }
}

fn cell(client: Persona, server: Persona) -> String {
    if client.carrier == Carrier::Kcp && server.carrier == Carrier::Kcp {
        return "not simulated".to_owned();
    }
    let facts = run(client, server);
    if facts.ended("fetch") == Ended::Whole {
        let flaws = flaws(&facts);
        return match &flaws[..] {
            "" => "works".to_owned(),
            _ => format!("works, but {flaws}"),
        };
    }
    let seen = &facts.near["fetch"];
    let after = seen.at.saturating_sub(seconds(1));
    let what = match matches!(seen.ended, Ended::Refused(_)) {
        true => "refused".to_owned(),
        false => format!("{:?}", seen.ended),
    };
    format!("{what} {}: {}", rounded(after), reason(&facts))
}

fn table() -> String {
    let mut out = "| client \\ server |".to_owned();
    for server in Persona::ALL {
        let _ = write!(out, " {} |", server.name);
    }
    out += "\n|---|---|---|---|---|---|---|\n";
    for client in Persona::ALL {
        let _ = write!(out, "| **{}** |", client.name);
        for server in Persona::ALL {
            let _ = write!(out, " {} |", cell(client, server));
        }
        out.push('\n');
    }
    out.push('\n');
    for (letter, flaw) in FLAWS {
        let _ = writeln!(out, "* {letter}: {flaw}");
    }
    out
}

const BEGIN: &str = "<!-- matrix: written by a test -->\n";
const END: &str = "<!-- end of the matrix -->";

#[test]
fn the_matrix_is_as_written_down() {
    let table = table();
    let snapshot = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/paniq/matrix.snap");
    let page = docs().join("interop.md");
    let text = fs::read_to_string(&page).unwrap().replace("\r\n", "\n");
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    if blesses() {
        fs::write(&snapshot, &table).unwrap();
        fs::write(&page, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    let written = fs::read_to_string(&snapshot)
        .unwrap_or_default()
        .replace("\r\n", "\n");
    assert_eq!(written, table, "the matrix has changed: BLESS=1");
    assert_eq!(shown, table, "docs/interop.md shows another one: BLESS=1");
}

#[test]
fn ours_work_with_each_other_without_flaw() {
    assert_eq!(cell(OURS, OURS), "works");
}
