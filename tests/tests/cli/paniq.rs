//! `sansbox paniq`: keys, profiles and links, as a user of the Go program `bf` knows them.
use sansbox_tests::{Value, process::without_colours, proxy::command, temp::TempDir};
use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _, path::Path, process::Stdio};

/// What a command said and how it ended.
struct Said {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl Said {
    /// The output of a command that did what it should, in silence.
    #[track_caller]
    fn good(self) -> Vec<u8> {
        assert_eq!((self.code, self.stderr.as_str()), (Some(0), ""));
        self.stdout
    }

    #[track_caller]
    fn text(self) -> String {
        String::from_utf8(self.good()).expect("text")
    }

    #[track_caller]
    fn json(self) -> Value {
        self.text().parse().expect("JSON")
    }

    /// The output of a command that did what it should, and what it found odd on the way.
    #[track_caller]
    fn odd(self) -> (String, Vec<String>) {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        let warnings = self.stderr.lines().map(|line| {
            assert!(line.starts_with("WARN["), "{line}");
            line.split_once("] ").expect("a level").1.to_owned()
        });
        let stdout = String::from_utf8(self.stdout).expect("text");
        (stdout, warnings.collect())
    }

    /// What a command that refuses says; it writes nothing to stdout.
    #[track_caller]
    fn refusal(self) -> String {
        assert_eq!(self.code, Some(1), "{}", self.stderr);
        assert!(self.stdout.is_empty(), "stdout is for data");
        self.stderr
    }
}

/// Runs `sansbox paniq ARGS` in `dir` with `input` on its stdin.
fn paniq_in(dir: &Path, args: &[&str], input: &[u8]) -> Said {
    let mut child = command()
        .arg("paniq")
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start the program");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // Commands that read no input may end before they are given any.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().expect("wait for the program");
    Said {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: without_colours(&String::from_utf8_lossy(&output.stderr)),
    }
}

fn paniq(args: &[&str], input: &[u8]) -> Said {
    paniq_in(TempDir::new().path(), args, input)
}

fn mode(path: &Path) -> u32 {
    let metadata = fs::metadata(path).expect("a file");
    metadata.permissions().mode() & 0o777
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A profile with what a client needs, and the same in CBOR and as a link; made by hand.
const SMALL: &str = r#"{"Proxy_Addr":"127.0.0.1:9000","quic":{"max_packet_size":1350},
    "obfuscation":{"i1":"<t>"}}"#;
const SMALL_CBOR: &str = "a30001026e3132372e302e302e313a3930303008a10c633c743e";
const SMALL_BASE64: &str = "owABAm4xMjcuMC4wLjE6OTAwMAihDGM8dD4=";
const SMALL_LINK: &str = "pnq://owABAm4xMjcuMC4wLjE6OTAwMAihDGM8dD4";

#[test]
fn keygen_prints_a_new_pair_each_time() {
    let pairs = [(); 2].map(|()| paniq(&["keygen"], b"").text());
    assert_ne!(pairs[0], pairs[1]);
    for pair in &pairs {
        let lines: Vec<_> = pair.lines().collect();
        let [private, public] = lines.as_slice() else {
            panic!("{pair}");
        };
        for (line, name) in [
            (private, "server_private_key="),
            (public, "server_public_key="),
        ] {
            let key = line.strip_prefix(name).expect(line);
            // 32 bytes in standard base64.
            assert!(key.len() == 44 && key.ends_with('='), "{line}");
        }
    }
    // They belong together: a profile with both is the same for clients as one with the public.
    let profile =
        |keys: &str| format!("{{\"proxy_addr\":\"h:1\",\"obfuscation\":{{\"jc\":0,{keys}}}}}");
    let key = |line: &str| {
        let (name, value) = line.split_once('=').expect("a name and a key");
        format!("\"{name}\":\"{value}\"")
    };
    let lines: Vec<_> = pairs[0].lines().map(key).collect();
    let [private, public] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    let links = [private, public].map(|key| paniq(&["link"], profile(key).as_bytes()).odd().0);
    assert_eq!(links[0], links[1]);
}

#[test]
fn created_profiles_are_ready_for_both_sides() {
    let dir = TempDir::new();
    let name = ["--profile-name", "home", "--proxy-addr=192.0.2.1:9000"];
    let args = [&["create-profile", "--mtu", "1300"][..], &name].concat();
    let server = paniq_in(dir.path(), &args, b"").json();
    assert_eq!(server["name"], "home");
    assert_eq!(server["proxy_addr"], "192.0.2.1:9000");
    assert_eq!(server["quic"]["max_packet_size"], 1300);
    assert_eq!(server["quic"]["max_payload"], 1200);
    let obfuscation = &server["obfuscation"];
    for (key, low, high) in [
        ("jc", 3, 5),
        ("jmin", 200, 600),
        ("jmax", 900, 1200),
        ("s1", 200, 520),
        ("s2", 260, 640),
        ("s3", 120, 360),
        ("s4", 20, 80),
    ] {
        let value = obfuscation[key].as_i64().expect("a number");
        assert!((low..=high).contains(&value), "{key} {value}");
    }
    assert_eq!(obfuscation["i1"], "<t>");
    assert_eq!(obfuscation["require_encrypted_timestamp"], true);
    assert_eq!(obfuscation["rate_limit_pps"], 50);
    assert!(obfuscation["server_private_key"].is_string());
    let link = paniq(&["link"], server.to_string().as_bytes()).text();
    let client = paniq(&["link", "-decode"], link.as_bytes()).json();
    assert!(client["obfuscation"]["server_private_key"].is_null());
    assert_eq!(
        client["obfuscation"]["server_public_key"],
        obfuscation["server_public_key"]
    );
    let other = paniq_in(dir.path(), &args, b"").json();
    assert_ne!(other["obfuscation"]["h1"], obfuscation["h1"]);
}

#[test]
fn profiles_in_files_are_their_owners_alone() {
    let dir = TempDir::new();
    // Also where there was a file before.
    let old = dir.write("server.json", "old and longer than what comes".repeat(200));
    fs::set_permissions(&old, fs::Permissions::from_mode(0o644)).expect("set a mode");
    let args = "create-profile -proxy-addr h:1 -out server.json -client-out client.json";
    let args: Vec<_> = args.split(' ').collect();
    let said = paniq_in(dir.path(), &args, b"");
    assert_eq!((said.code, &*said.stdout), (Some(0), &b""[..]));
    let names = ["server.json", "client.json"].map(|name| dir.path().join(name));
    let lines: Vec<_> = said.stderr.lines().map(Path::new).collect();
    assert_eq!(lines, names);
    let [server, client] = names.each_ref().map(|path| {
        assert_eq!(mode(path), 0o600);
        let text = fs::read_to_string(path).expect("a file");
        text.parse::<Value>().expect("JSON")
    });
    assert!(client["obfuscation"]["server_private_key"].is_null());
    for key in ["server_public_key", "jc", "h1", "h2", "h3", "h4", "i1"] {
        assert_eq!(client["obfuscation"][key], server["obfuscation"][key]);
    }
    let out = paniq_in(
        dir.path(),
        &["profile-cbor", "-in", "server.json", "-out", "p"],
        b"",
    );
    assert_eq!((out.code, mode(&dir.path().join("p"))), (Some(0), 0o600));
}

#[test]
fn a_profile_without_address_is_made_with_a_warning() {
    let said = paniq(&["create-profile"], b"");
    assert_eq!(said.code, Some(0));
    assert!(said.stderr.starts_with("WARN["), "{}", said.stderr);
    assert!(said.stderr.contains("--proxy-addr"), "{}", said.stderr);
    let profile: Value = String::from_utf8_lossy(&said.stdout).parse().expect("JSON");
    assert_eq!(profile["quic"]["max_packet_size"], 1420);
    let name = profile["name"].as_str().expect("a name");
    assert!(
        name.starts_with("bf-20") && name.len() == "bf-2026-01-01".len(),
        "{name}"
    );
}

#[test]
fn cbor_goes_both_ways() {
    assert_eq!(
        hex(&paniq(&["profile-cbor"], SMALL.as_bytes()).good()),
        SMALL_CBOR
    );
    let base64 = paniq(&["profile-cbor", "-base64"], SMALL.as_bytes()).text();
    assert_eq!(base64, format!("{SMALL_BASE64}\n"));
    let expected = "{\n  \"proxy_addr\": \"127.0.0.1:9000\",\n  \"obfuscation\": {\n    \
                    \"i1\": \"<t>\"\n  }\n}\n";
    let cbor = paniq(&["profile-cbor"], SMALL.as_bytes()).good();
    assert_eq!(paniq(&["profile-cbor", "--decode"], &cbor).text(), expected);
    // As bf writes it to stdout.
    let with_newline = [&cbor[..], b"\n"].concat();
    assert_eq!(
        paniq(&["profile-cbor", "--decode"], &with_newline).text(),
        expected
    );
    let broken = format!(" {}\r\n{}\n", &SMALL_BASE64[..10], &SMALL_BASE64[10..]);
    let args = ["profile-cbor", "--base64=true", "-decode"];
    assert_eq!(paniq(&args, broken.as_bytes()).text(), expected);
    let dir = TempDir::new();
    dir.write("a.json", SMALL);
    let args = ["profile-cbor", "--in=a.json", "-out", "b"];
    let said = paniq_in(dir.path(), &args, b"");
    assert_eq!(
        said.stderr.trim(),
        dir.path().join("b").display().to_string()
    );
    assert_eq!(fs::read(dir.path().join("b")).expect("a file"), cbor);
}

#[test]
fn links_go_both_ways() {
    // The padding of a profile that says nothing of it has no room.
    let odd = ["pad_max", "pad_burst_max"].map(|field| {
        format!(
            "profile at stdin: transport_padding.{field}: full packets have room for 0 bytes of \
             padding"
        )
    });
    let (link, warnings) = paniq(&["link"], SMALL.as_bytes()).odd();
    assert_eq!(link, format!("{SMALL_LINK}\n"));
    assert_eq!(warnings, odd);
    let standard = format!("PNQ://{SMALL_BASE64}");
    for link in [&link, SMALL_LINK, &standard] {
        let (profile, warnings) = paniq(&["link", "--decode"], link.as_bytes()).odd();
        assert_eq!(warnings, odd);
        let profile: Value = profile.parse().expect("JSON");
        assert_eq!(profile["proxy_addr"], "127.0.0.1:9000");
        assert_eq!(profile["obfuscation"]["i1"], "<t>");
    }
}

#[test]
fn no_link_holds_the_private_key() {
    let server = paniq(&["create-profile", "-proxy-addr", "h:1"], b"").text();
    let link = paniq(&["link"], server.as_bytes()).text();
    let code = link.trim().strip_prefix("pnq://").expect("a link");
    // Back in the standard alphabet, with padding.
    let mut standard = code.replace('-', "+").replace('_', "/");
    standard.push_str(&"=".repeat(standard.len().next_multiple_of(4) - standard.len()));
    let args = ["profile-cbor", "-decode", "-base64"];
    let client = paniq(&args, standard.as_bytes()).json();
    assert!(client["obfuscation"]["server_public_key"].is_string());
    assert!(client["obfuscation"]["server_private_key"].is_null());
}

#[test]
fn keys_that_no_profile_has_are_told_where_they_are_lost() {
    let text = r#"{"proxy_addr":"h:1","nam":1,"quic":{"max_payload":1200,"mtu":7},
        "obfuscation":{"i1":"<t>"},"transport_padding":{"pad_max":8}}"#;
    let odd = [
        "profile at stdin: unknown key \"nam\" (ignored)",
        "profile at stdin: quic: unknown key \"mtu\" (ignored)",
    ];
    for args in [&["link"][..], &["profile-cbor", "-base64"], &["check"]] {
        assert_eq!(paniq(args, text.as_bytes()).odd().1, odd, "{args:?}");
    }
}

#[test]
fn check_says_nothing_about_good_profiles_of_any_form() {
    let dir = TempDir::new();
    let run = |args: &str| paniq_in(dir.path(), &args.split(' ').collect::<Vec<_>>(), b"");
    run("create-profile -proxy-addr h:1 -out server.json -client-out client.json");
    run("profile-cbor -in client.json -out client.cbor");
    run("link -in server.json -out client.link");
    for name in ["server.json", "client.json", "client.cbor", "client.link"] {
        assert_eq!(run(&format!("check -in {name}")).text(), "", "{name}");
    }
    // A server that nobody can be sent to is one all the same.
    let made = paniq(&["create-profile"], b"").stdout;
    assert_eq!(paniq(&["check"], &made).text(), "");

    let server = fs::read_to_string(dir.path().join("server.json")).expect("a file");
    let mut server: Value = server.parse().expect("JSON");
    server["obfuscation"]["rate_limit_burst"] = 1.into();
    let said = paniq(&["check"], server.to_string().as_bytes()).refusal();
    assert!(
        said.contains("obfuscation.rate_limit_burst: 1 is less"),
        "{said}"
    );
    let said = paniq(&["check"], b"pnq://AA").refusal();
    assert!(said.contains("must be a map"), "{said}");
    let said = paniq(&["check"], b"{}").refusal();
    assert!(said.contains("proxy_addr: required"), "{said}");
}

#[test]
fn bad_profiles_are_refused_with_field_and_reason() {
    for (args, input, parts) in [
        ("link", "{}", &["stdin", "proxy_addr: required"][..]),
        (
            "link",
            r#"{"proxy_addr":"h:1","obfuscation":{"jc":-1}}"#,
            &["obfuscation.jc: must not be negative"],
        ),
        (
            "link",
            r#"{"proxy_addr":"h","obfuscation":{"i1":"<d>"},"transport_padding":{"pad_min":7}}"#,
            &[
                "proxy_addr: must be host:port",
                "obfuscation.i1: <d> and <ds> have no meaning",
                "transport_padding.pad_max: must be >= pad_min",
            ],
        ),
        ("link", "{", &["decode profile at stdin", "line 1 column 1"]),
        ("link -decode", "http://x", &["begins with pnq://"]),
        ("link -decode", "pnq://AA", &["must be a map"]),
        ("profile-cbor", r#"{"name":"x"}"#, &["proxy_addr: required"]),
        (
            "profile-cbor",
            r#"{"proxy_addr":"h:1","quic":{"keepalive":5}}"#,
            &["quic.keepalive: must be a duration as text"],
        ),
        (
            "profile-cbor",
            r#"{"proxy_addr":"h:1","obfuscation":{"jc":-1}}"#,
            &["obfuscation.jc: must not be negative"],
        ),
        ("profile-cbor -decode", "", &["the CBOR is cut off"]),
        ("profile-cbor -decode", "\n\n", &["must be a map"]),
        ("profile-cbor -decode -base64", " \n", &["no base64"]),
        (
            "profile-cbor -decode -base64",
            "*",
            &["decode profile at stdin"],
        ),
        (
            "profile-cbor -in nosuch",
            "",
            &["read profile at nosuch", "no such file"],
        ),
        (
            "profile-cbor -in .",
            "",
            &["read profile at .", "is a directory"],
        ),
        (
            "create-profile --mtu 1279",
            "",
            &["mtu must be from 1280 to 65507"],
        ),
        ("create-profile --mtu x", "", &["mtu \"x\""]),
    ] {
        let args: Vec<_> = args.split(' ').collect();
        let said = paniq(&args, input.as_bytes()).refusal();
        assert!(said.contains("FATAL["), "{args:?} {input}: {said}");
        for part in parts {
            assert!(
                said.contains(part),
                "{args:?} {input}: no {part:?} in {said}"
            );
        }
    }
}

#[test]
fn keys_are_not_shown_with_what_is_wrong() {
    let canary = "Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5LWNhbmFy";
    for key in ["server_private_key", "server_public_key"] {
        let text = format!("{{\"proxy_addr\":\"h:1\",\"obfuscation\":{{\"{key}\":\"{canary}\"}}}}");
        let said = paniq(&["link"], text.as_bytes()).refusal();
        assert!(
            said.contains(&format!("obfuscation.{key}: 33 bytes")),
            "{said}"
        );
        assert!(!said.contains(&canary[..8]), "{said}");
    }
}

#[test]
fn wrong_commands_and_flags_are_named() {
    for (args, part) in [
        (
            "headergen",
            "unknown command \"headergen\" for \"sansbox paniq\"",
        ),
        ("keygen x", "unknown command \"x\""),
        ("keygen -out x", "unknown flag: -out"),
        ("link --base64", "unknown flag: --base64"),
        ("link -in", "missing argument"),
        ("link -decode=perhaps", "--decode is true or false"),
    ] {
        let args: Vec<_> = args.split(' ').collect();
        let said = paniq(&args, b"").refusal();
        assert!(said.starts_with("Error: ") && said.contains(part), "{said}");
        assert!(said.contains("sansbox --help"), "{said}");
    }
}

#[test]
fn help_names_the_commands() {
    for args in [&[][..], &["help"], &["-h"], &["link", "--help"]] {
        let text = paniq(args, b"").text();
        for name in [
            "keygen",
            "create-profile",
            "profile-cbor",
            "link",
            "check",
            "pin",
        ] {
            assert!(text.contains(&format!("paniq {name}")), "{text}");
        }
    }
}
