//! Digests written down once per platform: a build of another day, of another profile or on
//! another machine of the same kind must give them again.
//!
//! `golden/TRIPLE.txt` holds the SHA-256 of `Cargo.lock` and a line for each scenario and seed.
//! All lines are always compared. Scenarios that run quinn-proto or rustls may change with those
//! crates: when one of them differs and the lock file did, too, that is what the failure says.
//! Scenarios of our own crates have no such excuse. Either way, what is meant is written down by
//!
//! ```text
//! BLESS=1 cargo test -p sansbox-simulator --test golden
//! ```
use sansbox_simulator::{
    scenario::{self, Scenario},
    transcript::hex,
    world::Setup,
};
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::PathBuf};

const BLESS: &str = "BLESS=1 cargo test -p sansbox-simulator --test golden";
const SEEDS: u64 = 2;
/// One of each kind among those that need no crate with an opinion of its own.
const OUR_OWN: [&str; 7] = [
    "socks5_connects",
    "http_connect_relays",
    "happy_eyeballs_dead_first_address",
    "udp_association_with_loss",
    "narrow_path",
    "tun_echo",
    "tun_udp_echo",
];

fn is_encrypted(name: &str) -> bool {
    name.starts_with("quic_") || name.starts_with("tls_")
}

fn scenarios() -> Vec<Scenario> {
    let own = OUR_OWN.map(|name| scenario::find(name).expect("registered"));
    let encrypted = scenario::all().into_iter().filter(|s| is_encrypted(s.name));
    own.into_iter().chain(encrypted).collect()
}

/// The platform: digests may depend on the width of `usize`.
fn triple() -> String {
    let vendor = match env::consts::OS {
        "macos" => "apple-darwin",
        "windows" => "pc-windows-msvc",
        "linux" => "unknown-linux-gnu",
        other => other,
    };
    format!("{}-{vendor}", env::consts::ARCH)
}

fn digests() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for scenario in scenarios() {
        for seed in 0..SEEDS {
            let report = scenario.run(Setup {
                seed,
                ..Setup::default()
            });
            assert_eq!(report.outcome, Ok(()), "{scenario:?} --seed {seed}");
            found.insert(format!("{} {seed}", scenario.name), hex(&report.digest));
        }
    }
    found
}

fn lock_hash() -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let lock = fs::read_to_string(path).expect("a lock file");
    // Checkouts differ in line ends.
    hex(&Sha256::digest(lock.replace("\r\n", "\n")))
}

struct Golden {
    lock: String,
    digests: BTreeMap<String, String>,
}

fn parse(text: &str) -> Golden {
    let mut lines = text.lines();
    let lock = lines.next().and_then(|line| line.strip_prefix("lock "));
    let entries = lines.filter_map(|line| line.rsplit_once(' '));
    Golden {
        lock: lock.expect("the lock file's hash in the first line").into(),
        digests: entries
            .map(|(at, digest)| (at.into(), digest.into()))
            .collect(),
    }
}

fn differences(golden: &Golden, found: &BTreeMap<String, String>, lock: &str) -> String {
    let mut out = String::new();
    for (at, digest) in found {
        let why = match golden.digests.get(at) {
            Some(golden_digest) if golden_digest == digest => continue,
            None => "is new",
            Some(_) if is_encrypted(at) && golden.lock != lock => {
                "differs, and so does Cargo.lock: other versions of quinn-proto or rustls?"
            }
            Some(_) => "differs: our own code behaves differently",
        };
        let _ = writeln!(out, "{at} {why}");
    }
    for gone in golden.digests.keys().filter(|at| !found.contains_key(*at)) {
        let _ = writeln!(out, "{gone} is gone");
    }
    out
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the order to write is given by a variable"
)]
fn digests_are_as_written_down() {
    let triple = triple();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("golden/{triple}.txt"));
    let (found, lock) = (digests(), lock_hash());
    if env::var("BLESS").is_ok_and(|value| value == "1") {
        let mut text = format!("lock {lock}\n");
        for (at, digest) in &found {
            let _ = writeln!(text, "{at} {digest}");
        }
        fs::write(&path, text).expect("write the digests");
        return;
    }
    let Ok(text) = fs::read_to_string(&path) else {
        eprintln!("skipped: nothing is written down for {triple} yet; {BLESS}");
        return;
    };
    let wrong = differences(&parse(&text), &found, &lock);
    assert!(wrong.is_empty(), "{wrong}If that is meant: {BLESS}");
}

#[test]
fn a_difference_says_what_may_be_behind_it() {
    let list = |digest: &str| {
        ["narrow_path 0", "quic_retry 0"]
            .map(|at| (at.to_owned(), digest.to_owned()))
            .into()
    };
    let golden = parse("lock 77\nnarrow_path 0 aa\nquic_retry 0 aa\n");
    assert_eq!(differences(&golden, &list("aa"), "77"), "");
    assert_eq!(differences(&golden, &list("aa"), "78"), "");
    let same_lock = differences(&golden, &list("bb"), "77");
    assert_eq!(same_lock.matches("our own code").count(), 2, "{same_lock}");
    let other_lock = differences(&golden, &list("bb"), "78");
    assert_eq!(
        other_lock.matches("our own code").count(),
        1,
        "{other_lock}"
    );
    assert_eq!(other_lock.matches("Cargo.lock").count(), 1, "{other_lock}");
    let more = differences(&parse("lock 77\nquic_old 0 aa\n"), &list("aa"), "77");
    assert!(
        more.contains("quic_retry 0 is new") && more.contains("quic_old 0 is gone"),
        "{more}"
    );
}
