//! What sing-box 1.12.24 did with 775 configurations, and what this reader does with them.
//!
//! `vectors/singbox/config.json` holds the input, the exit codes of `check`, `format` and `merge`,
//! and their output. Reading is compared in the lenient mode, which is meant to be sing-box's own
//! verdict; that the strict mode differs only where it should is a test of its own.
#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test: absent JSON reads as null, and counts are for people"
)]
use base64::{Engine as _, prelude::BASE64_STANDARD};
use sansbox_engine::config::{ConfigError, ErrorKind, ReadOptions, Sources, format, merge, read};
use sansbox_engine::plan::{Plan, PlanError};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const LENIENT: ReadOptions = ReadOptions { lenient: true };
const STRICT: ReadOptions = ReadOptions { lenient: false };

/// Cases that end otherwise here, and why.
const DELIBERATE: &[(&str, &str)] = &[
    (
        "snippet-group-missing",
        "sing-box checks it and then refuses to start",
    ),
    (
        "snippet-group-baddefault",
        "sing-box checks it and then refuses to start",
    ),
    (
        "snippet-group-cycle",
        "sing-box checks it and then refuses to start",
    ),
    (
        "snippet-detour-missing",
        "sing-box checks it and then refuses to start",
    ),
    (
        "snippet-detour-cycle",
        "sing-box checks it and then refuses to start",
    ),
    (
        "snippet-route-unknown-final",
        "sing-box checks it and then refuses to start",
    ),
    (
        "mutated-29-float-detour-missing",
        "sing-box checks it and then refuses to start",
    ),
    (
        "mutated-97-dur-route-unknown-final",
        "sing-box checks it and then refuses to start",
    ),
    (
        "mutated-188-dup-key-group-cycle",
        "sing-box checks it and then refuses to start",
    ),
    (
        "mutated-134-empty-string-detour-missing",
        "nothing can be dialled without a server",
    ),
    (
        "udp-timeout-04",
        "a negative time is a mistake; sing-box reads it and means something else in every place",
    ),
    (
        "udp-timeout-10",
        "3,170 years of seconds overflow into another time in sing-box",
    ),
    (
        "tun-address-04",
        "a device without an address serves nobody",
    ),
    (
        "tun-address-05",
        "a device without an address serves nobody",
    ),
    (
        "snippet-inbound-direct",
        "sing-box's format cannot write a list of two networks",
    ),
    (
        "network-list-02",
        "sing-box's format cannot write a list of two networks",
    ),
    (
        "network-list-06",
        "sing-box's format cannot write a list of two networks",
    ),
    (
        "deep-array-500",
        "refused by both; here for its depth, so without a path",
    ),
    (
        "deep-array-5000",
        "refused by both; here for its depth, so without a path",
    ),
    (
        "deep-array-9990",
        "refused by both; here for its depth, so without a path",
    ),
];

/// Keys, types and so on that may be refused as not supported yet, and nothing else may.
const NOT_YET: &[&str] = &[
    "address with a zone fe80::1%lo",
    "inbound type anytls",
    "inbound type hysteria",
    "inbound type hysteria2",
    "inbound type naive",
    "inbound type redirect",
    "inbound type shadowsocks",
    "inbound type shadowsocksr",
    "inbound type shadowtls",
    "inbound type tproxy",
    "inbound type trojan",
    "inbound type tuic",
    "inbound type vless",
    "inbound type vmess",
    "key RULE_SET",
    "key SERVICES",
    "key certificate",
    "key client",
    "key default_domain_resolver",
    "key default_fallback_delay",
    "key default_fallback_network_type",
    "key default_network_strategy",
    "key default_network_type",
    "key dns",
    "key domain_resolver",
    "key domain_strategy",
    "key endpoints",
    "key experimental",
    "key fallback_delay",
    "key fallback_network_type",
    "key geoip",
    "key geosite",
    "key inet4_address",
    "key inet6_address",
    "key netns",
    "key netnſ",
    "key network_strategy",
    "key network_type",
    "key ntp",
    "key override_address",
    "key override_android_vpn",
    "key override_port",
    "key platform",
    "key protocol",
    "key proxy_protocol",
    "key rule_set",
    "key rule_set_ip_cidr_match_source",
    "key rule_set_ipcidr_match_source",
    "key services",
    "key set_system_proxy",
    "key sniff",
    "key sniff_override_destination",
    "key sniff_timeout",
    "key tcp_fast_open",
    "key tcp_multi_path",
    "key tls",
    "key tls_fragment",
    "key tls_fragment_fallback_delay",
    "key tls_record_fragment",
    "key udp_connect",
    "key udp_disable_domain_unmapping",
    "key udp_over_tcp",
    "key udp_timeout",
    "outbound type anytls",
    "outbound type dns",
    "outbound type hysteria",
    "outbound type hysteria2",
    "outbound type shadowsocks",
    "outbound type shadowsocksr",
    "outbound type shadowtls",
    "outbound type ssh",
    "outbound type tor",
    "outbound type trojan",
    "outbound type tuic",
    "outbound type urltest",
    "outbound type vless",
    "outbound type vmess",
    "outbound type wireguard",
    "rule action direct",
    "rule action hijack-dns",
    "rule action resolve",
    "rule action route-options",
    "rule action sniff",
];

#[derive(Default)]
struct Tally {
    same: usize,
    not_yet: usize,
    deliberate: BTreeSet<String>,
    wrong: Vec<String>,
    refused: BTreeSet<String>,
    paths: usize,
}

impl Tally {
    fn note(&mut self, name: &str, difference: Option<String>, errors: &[ConfigError]) {
        let missing: Vec<_> = errors.iter().filter_map(not_yet).collect();
        if !missing.is_empty() {
            self.not_yet += 1;
            self.refused.extend(missing);
        } else if let Some(difference) = difference {
            if DELIBERATE.iter().any(|(listed, _)| *listed == name) {
                self.deliberate.insert(name.to_owned());
            } else {
                self.wrong.push(format!("{name}: {difference}"));
            }
        } else {
            self.same += 1;
        }
    }
}

fn not_yet(error: &ConfigError) -> Option<String> {
    let ErrorKind::NotSupportedYet { noun, name, .. } = &error.kind else {
        return None;
    };
    Some(format!("{noun} {name}"))
}

fn cases() -> Vec<Value> {
    let file: Value =
        serde_json::from_str(include_str!("vectors/singbox/config.json")).expect("valid JSON");
    file["cases"].as_array().expect("cases").clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn input(case: &Value) -> Vec<u8> {
    match case.get("base64") {
        Some(bytes) => BASE64_STANDARD.decode(text(bytes)).expect("base64"),
        None => text(&case["text"]).as_bytes().to_vec(),
    }
}

fn shown(errors: &[ConfigError]) -> String {
    errors.iter().map(|e| format!("\n      {e}")).collect()
}

/// The path in an error text of sing-box such as `decode config at config.json: log.level: ...`.
fn their_path(stderr: &str) -> Option<&str> {
    let (_, rest) = stderr.split_once("decode config at config.json: ")?;
    let (path, _) = rest.split_once(": ")?;
    let is_path = |c: char| c.is_ascii_alphanumeric() || "._[]$".contains(c);
    let starts = path.contains(['.', '[']) && path.chars().all(is_path);
    starts.then_some(path)
}

/// Reads leniently and compiles the rules, which is where bad regular expressions are found.
/// Outbounds that are not there are found in both steps, and are let pass here.
fn check(sources: &Sources) -> Result<(), Vec<ConfigError>> {
    let (config, _) = read(sources, &LENIENT)?;
    let errors = Plan::build(&config).err().unwrap_or_default();
    let errors: Vec<_> = errors
        .iter()
        .filter(|error| matches!(error, PlanError::Rule(_)))
        .filter(|error| !error.to_string().starts_with("outbound not found"))
        .map(|error| ConfigError::at(sources, error.span(), error))
        .collect();
    if errors.is_empty() {
        return Ok(());
    }
    Err(errors)
}

fn single(case: &Value, tally: &mut Tally) {
    let name = text(&case["name"]);
    let sources = Sources::single("config.json", input(case));
    let formatted = format(&sources.files()[0]);
    let checked = check(&sources);
    let mut errors = formatted.as_ref().err().cloned().unwrap_or_default();
    errors.extend(checked.as_ref().err().into_iter().flatten().cloned());
    if errors.iter().any(|error| not_yet(error).is_some()) {
        assert!(formatted.is_err() && checked.is_err(), "{name} is refused");
    }
    let mut differences = String::new();
    if (case["format"]["exit"] == 0) != formatted.is_ok() {
        differences += &format!("format exits with {}", case["format"]["exit"]);
    } else if let Ok(ours) = &formatted
        && let Some(theirs) = case["format"]["stdout"].as_str()
        && theirs != format!("{ours}\n")
    {
        differences += &format!("format prints\n{theirs}not\n{ours}");
    }
    if (case["check"]["exit"] == 0) != checked.is_ok() {
        differences += &format!(" check exits with {}", case["check"]["exit"]);
    }
    let stderr = text(&case["check"]["stderr"][0]);
    if let Some(path) = their_path(stderr)
        && !errors.is_empty()
        && errors.iter().filter_map(not_yet).next().is_none()
    {
        tally.paths += 1;
        if !errors.iter().any(|e| e.path.starts_with(path)) {
            differences += &format!(" names {path}");
        }
    }
    let difference = (!differences.is_empty())
        .then(|| format!("sing-box's {differences}, {stderr}{}", shown(&errors)));
    tally.note(name, difference, &errors);
}

/// The files a `merge` case reads, or none when it is about a file that is not there.
fn merge_input(case: &Value) -> Option<Sources> {
    let files: BTreeMap<&str, &str> = case["files"]
        .as_object()?
        .iter()
        .map(|(path, content)| (path.as_str(), text(content)))
        .collect();
    let args: Vec<&str> = case["args"].as_array()?.iter().map(text).collect();
    let mut chosen = Vec::new();
    let mut args = args.iter();
    while let (Some(flag), Some(path)) = (args.next(), args.next()) {
        match *flag {
            "-c" if *path == "stdin" => chosen.push(((*path).to_owned(), text(&case["stdin"]))),
            "-c" => {
                let file = files.get(path.trim_start_matches("./"))?;
                chosen.push(((*path).to_owned(), *file));
            }
            _ => {
                let prefix = format!("{path}/");
                if !files.keys().any(|file| file.starts_with(&prefix)) {
                    return None;
                }
                chosen.extend(files.iter().filter_map(|(file, content)| {
                    let rest = file.strip_prefix(&prefix)?;
                    let taken = rest.ends_with(".json") && !rest.contains('/');
                    taken.then(|| ((*file).to_owned(), *content))
                }));
            }
        }
    }
    if case["args"].as_array()?.is_empty() {
        chosen.push(("config.json".to_owned(), files.get("config.json")?));
    }
    let owned = chosen
        .into_iter()
        .map(|(path, content)| (path, content.as_bytes().to_vec()));
    Some(Sources::new(owned.collect()))
}

fn merged(case: &Value, tally: &mut Tally) {
    let name = text(&case["name"]);
    let Some(sources) = merge_input(case) else {
        assert_ne!(case["exit"], 0, "{name}: files are missing");
        return;
    };
    let ours = merge(&sources);
    let errors = ours.as_ref().err().cloned().unwrap_or_default();
    let theirs = case["merged"].as_str();
    let difference = (theirs != ours.as_deref().ok()).then(|| {
        format!(
            "sing-box's merge exits with {} {}\n{}\nnot\n{ours:?}",
            case["exit"],
            case["stderr"],
            theirs.unwrap_or_default()
        )
    });
    tally.note(name, difference, &errors);
}

#[test]
fn reading_formatting_and_merging_end_as_in_sing_box() {
    let mut tally = Tally::default();
    for case in cases() {
        if case["kind"] == "merge" {
            merged(&case, &mut tally);
        } else {
            single(&case, &mut tally);
        }
    }
    println!(
        "{} same, {} not supported yet, {} deliberate differences; {} paths of errors compared",
        tally.same,
        tally.not_yet,
        tally.deliberate.len(),
        tally.paths,
    );
    println!("refused: {:#?}", tally.refused);
    assert!(
        tally.wrong.is_empty(),
        "{} unexpected differences:\n{}",
        tally.wrong.len(),
        tally.wrong.join("\n")
    );
    for (name, reason) in DELIBERATE {
        assert!(!reason.is_empty());
        assert!(
            tally.deliberate.contains(*name),
            "{name} no longer differs: take it off the list"
        );
    }
    let listed: BTreeSet<String> = NOT_YET.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(
        tally.refused, listed,
        "what is refused as not supported yet"
    );
}

#[test]
fn the_strict_mode_refuses_more_only_where_a_rule_or_server_leads_nowhere() {
    let mut stricter = 0;
    for case in cases() {
        if case["kind"] == "merge" {
            continue;
        }
        let sources = Sources::single("config.json", input(&case));
        let Ok((_, warnings)) = read(&sources, &LENIENT) else {
            assert!(read(&sources, &STRICT).is_err(), "{}", case["name"]);
            continue;
        };
        let Err(errors) = read(&sources, &STRICT) else {
            continue;
        };
        stricter += 1;
        assert!(!warnings.is_empty(), "{}", case["name"]);
        for error in &errors {
            let expected = matches!(
                error.kind,
                ErrorKind::UnknownReference { .. }
                    | ErrorKind::MissingField {
                        key: "outbound" | "server_port"
                    }
            ) || error.path.ends_with(".network");
            assert!(expected, "{}: {error}", case["name"]);
        }
    }
    println!("{stricter} cases are refused by the strict mode only");
    assert!(stricter > 5);
}

/// The configurations of the routing vectors: those that sing-box runs are read, those that it
/// does not start with are refused.
#[test]
fn configurations_of_the_routing_vectors_are_read() {
    let file: Value =
        serde_json::from_str(include_str!("vectors/singbox/route.json")).expect("valid JSON");
    let (mut same, mut refused) = (0, 0);
    for case in file["cases"].as_array().expect("cases") {
        let sources = Sources::single("config.json", case["config"].to_string());
        let result = read(&sources, &LENIENT);
        let errors = result.as_ref().err().cloned().unwrap_or_default();
        if errors.iter().any(|error| not_yet(error).is_some()) {
            refused += 1;
            continue;
        }
        let runs = case.get("start_error").is_none();
        assert_eq!(result.is_ok(), runs, "{}{}", case["name"], shown(&errors));
        same += 1;
    }
    println!("{same} read as in sing-box, {refused} not supported yet");
    assert!(same > 40, "{same}");
}
