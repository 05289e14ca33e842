//! The rules and their checker.
use super::{
    Package, Source, Violation, Workspace, code_only, identifiers, runtimes, without_tests,
};
use std::collections::BTreeSet;

/// What a crate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// State machines: no sockets, clocks, entropy, threads or `unsafe`.
    Pure,
    /// Pure, around libraries that would ask the system themselves: it gives them what they ask
    /// for, and names their types of time.
    Hooked,
    /// Drives pure crates in virtual time: pure, but it is a program as well.
    Simulator,
    /// Sockets and timers, and no word about any protocol.
    Runtime,
    /// The binary.
    Program,
    /// Tests and benchmarks.
    Tool,
}

/// One crate's place in the picture.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Package name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Which packages of this workspace it may use.
    pub may_use: &'static [&'static str],
}

const PURE: &[&str] = &[
    "sansbox-core",
    "sansbox-quic",
    "sansbox-protocols",
    "sansbox-stack",
    "sansbox-engine",
    "sansbox-flight",
];

/// The picture: one line per crate.
pub const RULES: &[Rule] = &[
    rule("sansbox-core", Kind::Pure, &[]),
    rule("sansbox-quic", Kind::Hooked, &["sansbox-core"]),
    rule(
        "sansbox-protocols",
        Kind::Pure,
        &["sansbox-core", "sansbox-quic"],
    ),
    rule("sansbox-stack", Kind::Pure, &["sansbox-core"]),
    rule(
        "sansbox-engine",
        Kind::Pure,
        &["sansbox-core", "sansbox-protocols", "sansbox-stack"],
    ),
    rule(
        "sansbox-flight",
        Kind::Pure,
        &["sansbox-core", "sansbox-stack", "sansbox-engine"],
    ),
    rule("sansbox-simulator", Kind::Simulator, PURE),
    rule("sansbox-tripwire", Kind::Tool, &["sansbox-simulator"]),
    rule(
        "sansbox-runtime",
        Kind::Runtime,
        &["sansbox-core", "sansbox-stack", "sansbox-engine"],
    ),
    // What waits, and nothing else: all that runtimes say alike is in sansbox-runtime.
    rule("sansbox-tokio", Kind::Runtime, &["sansbox-runtime"]),
    rule("sansbox-smol", Kind::Runtime, &["sansbox-runtime"]),
    rule(
        "sansbox",
        Kind::Program,
        &[
            "sansbox-core",
            "sansbox-protocols",
            "sansbox-engine",
            "sansbox-flight",
            "sansbox-tokio",
            "sansbox-smol",
        ],
    ),
    rule(
        "sansbox-ffi",
        Kind::Program,
        &["sansbox-core", "sansbox-engine", "sansbox-tokio"],
    ),
    rule(
        "sansbox-examples",
        Kind::Tool,
        &[
            "sansbox-core",
            "sansbox-protocols",
            "sansbox-stack",
            "sansbox-engine",
            "sansbox-tokio",
        ],
    ),
    rule(
        "sansbox-bench",
        Kind::Tool,
        &[
            "sansbox-core",
            "sansbox-quic",
            "sansbox-protocols",
            "sansbox-stack",
            "sansbox-engine",
            "sansbox-simulator",
            "sansbox-tokio",
            "sansbox-smol",
        ],
    ),
    rule(
        "sansbox-instructions",
        Kind::Tool,
        &["sansbox-core", "sansbox-engine"],
    ),
    rule("sansbox-features", Kind::Tool, &[]),
    rule("sansbox-heap", Kind::Tool, &[]),
    // Black box: it sees what a user sees.
    rule("sansbox-tests", Kind::Tool, &[]),
    // Machines on sockets, where no runtime and no binary is to stand between them and a peer.
    rule(
        "sansbox-interop",
        Kind::Tool,
        &[
            "sansbox-core",
            "sansbox-quic",
            "sansbox-protocols",
            "sansbox-tests",
        ],
    ),
];

const fn rule(name: &'static str, kind: Kind, may_use: &'static [&'static str]) -> Rule {
    Rule {
        name,
        kind,
        may_use,
    }
}

/// Crates through which a machine would reach the outside world.
const IMPURE_CRATES: &[&str] = &[
    "async-io",
    "async-net",
    "async-std",
    "fastrand",
    "getrandom",
    "libc",
    "mio",
    "nix",
    "polling",
    "quinn-udp",
    "rustix",
    "smol",
    "socket2",
    "tokio",
    "windows-sys",
];

/// Crates that need one of those for something that is no input: not searched further.
const HARMLESS_CRATES: &[(&str, &str)] = &[(
    "cpufeatures",
    "asks which instructions the processor has; on some systems through libc",
)];

/// Crates that ask the system only where nobody gives them what they need. A hooked crate and the
/// simulator give it, and a tripwire fails when one of them asks all the same; nobody else may use
/// them but through a hooked crate.
const HOOKED_CRATES: &[&str] = &["quinn-proto", "rcgen", "ring", "rustls"];

/// Ways to the outside world in the standard library.
const IMPURE_PATHS: &[&str] = &[
    "std::env",
    "std::fs",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Types that libraries want their time in; clippy forbids to ask them for the time.
const TYPES_OF_TIME: &[&str] = &["std::time::Instant", "std::time::SystemTime"];

/// Parts of names that are knowledge of a protocol.
const PROTOCOL_WORDS: &[&str] = &[
    "anytls",
    "derp",
    "http",
    "https",
    "hysteria",
    "hysteria2",
    "naive",
    "paniq",
    "quic",
    "reality",
    "shadowsocks",
    "shadowtls",
    "socks",
    "socks4",
    "socks4a",
    "socks5",
    "tailscale",
    "tls",
    "trojan",
    "tuic",
    "vless",
    "vmess",
    "wireguard",
];

/// Most lines a file may have, its tests not counted.
const LINES_MAX: usize = 800;
/// From here on a file is named as one to split.
const LINES_WARN: usize = 500;

/// Checks every rule; the second list holds what is not wrong yet.
#[must_use]
pub fn check(workspace: &Workspace) -> (Vec<Violation>, Vec<Violation>) {
    let (mut wrong, mut near) = (Vec::new(), Vec::new());
    for package in &workspace.packages {
        let Some(rule) = RULES.iter().find(|rule| rule.name == package.name) else {
            wrong.push(violation(
                &package.name,
                "is not in the picture: give it a line in RULES",
            ));
            continue;
        };
        arrows(package, *rule, &mut wrong);
        if matches!(rule.kind, Kind::Pure | Kind::Hooked | Kind::Simulator) {
            outside_crates(package, rule.kind, workspace, &mut wrong);
            if !package.forbids_unsafe {
                wrong.push(violation(&package.name, "does not forbid unsafe code"));
            }
        }
        for source in &package.sources {
            match rule.kind {
                // A build script runs on the machine that builds, not in a machine.
                Kind::Pure
                    if source.path.ends_with("/build.rs") && !source.path.contains("/src/") => {}
                Kind::Pure => outside_paths(source, &[], &mut wrong),
                Kind::Hooked => outside_paths(source, TYPES_OF_TIME, &mut wrong),
                Kind::Runtime => protocol_words(source, &mut wrong),
                Kind::Simulator | Kind::Program | Kind::Tool => {}
            }
            size(source, &mut wrong, &mut near);
        }
    }
    runtimes::check(&workspace.packages, &mut wrong);
    (wrong, near)
}

pub(super) fn violation(place: &str, what: impl Into<String>) -> Violation {
    Violation {
        place: place.to_owned(),
        what: what.into(),
    }
}

/// Arrows in the manifest, and in the text: a re-export is an arrow, too.
fn arrows(package: &Package, rule: Rule, wrong: &mut Vec<Violation>) {
    for dependency in &package.dependencies {
        let ours = dependency == "sansbox" || dependency.starts_with("sansbox-");
        if ours && !rule.may_use.contains(&dependency.as_str()) {
            let what = format!("depends on {dependency}, and no arrow leads there");
            wrong.push(violation(&package.name, what));
        }
    }
    for source in &package.sources {
        let code = code_only(&without_tests(&source.text), false);
        for (line, word) in identifiers(&code) {
            let named = word.replace('_', "-");
            let ours = RULES.iter().any(|rule| rule.name == named) && named != "sansbox";
            if ours && named != package.name && !rule.may_use.contains(&named.as_str()) {
                let place = format!("{}:{line}", source.path);
                let what = format!("names {word}, and no arrow leads there");
                wrong.push(violation(&place, what));
            }
        }
    }
}

/// What a pure crate brings with it must be pure as well.
fn outside_crates(
    package: &Package,
    kind: Kind,
    workspace: &Workspace,
    wrong: &mut Vec<Violation>,
) {
    let mut seen = BTreeSet::new();
    let mut open: Vec<(String, &str)> = package
        .dependencies
        .iter()
        .map(|name| (name.clone(), name.as_str()))
        .collect();
    while let Some((path, name)) = open.pop() {
        let harmless = HARMLESS_CRATES
            .iter()
            .any(|(harmless, _)| *harmless == name);
        let hooks = matches!(kind, Kind::Hooked | Kind::Simulator);
        let hooked = (hooks && HOOKED_CRATES.contains(&name)) || is_hooked(name);
        if harmless || hooked || !seen.insert(name) {
            continue;
        }
        if IMPURE_CRATES.contains(&name) {
            let what = format!("reaches the outside world through {path}");
            wrong.push(violation(&package.name, what));
            continue;
        }
        let locked = workspace.locked.iter().filter(|(crate_, _)| crate_ == name);
        for (_, dependencies) in locked {
            open.extend(
                dependencies
                    .iter()
                    .map(|next| (format!("{path} -> {next}"), next.as_str())),
            );
        }
    }
}

/// Is it a crate of ours that tames others? Its own rule looks into it.
fn is_hooked(name: &str) -> bool {
    RULES
        .iter()
        .any(|rule| rule.name == name && rule.kind == Kind::Hooked)
}

/// Paths into the outside world but for `allowed`, also when `use` groups them.
fn outside_paths(source: &Source, allowed: &[&str], wrong: &mut Vec<Violation>) {
    let code = code_only(&without_tests(&source.text), false);
    let flat = paths(&code);
    for (line, path) in &flat {
        let hit = IMPURE_PATHS
            .iter()
            .filter(|impure| !allowed.contains(impure))
            .find(|impure| path == *impure || path.starts_with(&format!("{impure}::")));
        if let Some(hit) = hit {
            let place = format!("{}:{line}", source.path);
            wrong.push(violation(&place, format!("a pure crate uses {hit}")));
        }
    }
    for (line, word) in identifiers(&code) {
        if word == "unsafe" {
            let place = format!("{}:{line}", source.path);
            wrong.push(violation(&place, "a pure crate says unsafe"));
        }
    }
}

/// Line and text of every path of the code; `a::{b, c::d}` gives `a`, `a::b`, `a::c::d`.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut prefixes: Vec<String> = Vec::new();
    let mut current = String::new();
    let mut line = 1;
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => line += 1,
            ':' if chars.peek() == Some(&':') => {
                chars.next();
                current.push_str("::");
                continue;
            }
            '{' if current.ends_with("::") => {
                let outer = prefixes.last().map_or("", String::as_str);
                prefixes.push(format!("{outer}{current}"));
                current.clear();
                continue;
            }
            '{' => prefixes.push(String::new()),
            _ if c.is_alphanumeric() || c == '_' => {
                current.push(c);
                continue;
            }
            _ => {}
        }
        if current.ends_with("::") && c.is_whitespace() {
            continue;
        }
        if !current.is_empty() {
            let prefix = prefixes.last().map_or("", String::as_str);
            found.push((line, format!("{prefix}{current}")));
            current.clear();
        }
        if c == '}' {
            prefixes.pop();
        }
    }
    found
}

/// A runtime names no protocol: not in its code, in what it says, or in what is said about it.
fn protocol_words(source: &Source, wrong: &mut Vec<Violation>) {
    let text = without_tests(&source.text);
    for (line, word) in identifiers(&text) {
        for part in parts(word) {
            if PROTOCOL_WORDS.contains(&part.as_str()) {
                let place = format!("{}:{line}", source.path);
                let what = format!("a runtime names a protocol: {word}");
                wrong.push(violation(&place, what));
            }
        }
    }
}

/// `Socks5Server`, `HTTP_PROXY` and `parse_vless` in their parts, in lower case.
fn parts(word: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut before_was_lower = false;
    for c in word.chars() {
        if c == '_' || (c.is_uppercase() && before_was_lower) {
            parts.push(String::new());
        }
        if let (Some(last), true) = (parts.last_mut(), c != '_') {
            last.extend(c.to_lowercase());
        }
        before_was_lower = c.is_lowercase() || c.is_numeric();
    }
    parts
}

fn size(source: &Source, wrong: &mut Vec<Violation>, near: &mut Vec<Violation>) {
    let text = without_tests(&source.text);
    let lines = text.trim_end().lines().count();
    let what = format!("{lines} lines");
    if lines >= LINES_MAX {
        wrong.push(violation(&source.path, what));
    } else if lines > LINES_WARN {
        near.push(violation(&source.path, what));
    }
}
