//! The flight recorder: what a recording holds and what it never holds, who can read it, and that
//! it replays.
use ruzstd::decoding::StreamingDecoder;
use sansbox_tests::{
    Value,
    origin::{tcp, udp},
    process::{START_TIMEOUT, Signal},
    proxy::{self, Proxy, config, direct, inbound, simulator},
    record::{KEY_FILE, Recordings},
    socks,
    temp::TempDir,
    wire::read_exact,
};
use serde_json::json;
use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

const USER: &str = "canary-user";
const PASSWORD: &str = "canary-password";
const PAYLOAD: &str = "canary-payload";
/// Resolves to loopback wherever names below `localhost` do (RFC 6761), and fails elsewhere;
/// either way the name was asked for.
const NAME: &str = "canary-name.localhost";

/// A SOCKS proxy with one user, and what its recorder is told.
fn start(recorder: Value) -> Proxy {
    let inbound = inbound("socks", &[(USER, PASSWORD)]);
    let mut config = config(inbound, json!([direct()]));
    config["sansbox"] = json!({ "recorder": recorder });
    Proxy::start(&config)
}

/// Sends every canary through a proxy: by TCP to an address, to a name, and by UDP.
fn send_canaries(proxy: &Proxy) {
    let user = Some((USER, PASSWORD));
    let echo = tcp::echo(tcp::listener());
    let mut stream = socks::open(proxy.addr(), user, echo.addr()).expect("connected");
    for _ in 0..3 {
        stream.write_all(PAYLOAD.as_bytes()).expect("send");
        read_exact(&mut stream, PAYLOAD.len(), "the echo");
    }
    let _either = socks::open(proxy.addr(), user, (NAME, echo.addr().port()));
    let far = udp::echo(udp::socket());
    let association = socks::Association::open(proxy.addr(), user);
    let (_, answer) = association.ask(&far.addr().into(), PAYLOAD.as_bytes());
    assert_eq!(answer, PAYLOAD.as_bytes());
}

/// Asks for a recording and waits until it is written.
fn flush(proxy: &mut Proxy) -> PathBuf {
    proxy.process().signal(Signal::Usr2);
    let line = proxy
        .process()
        .wait_for_line("flight recorder: ", START_TIMEOUT);
    let (_, path) = line
        .split_once("wrote ")
        .unwrap_or_else(|| panic!("no recording: {line}"));
    proxy.folder().join(path)
}

fn holds(haystack: &[u8], needle: &str) -> bool {
    let needle = needle.as_bytes();
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

/// Everything in a file that zstd can unpack.
fn unpacked(file: &[u8]) -> Vec<u8> {
    const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();
    let mut out = Vec::new();
    for at in 0..file.len() {
        let Some(frame) = file.get(at..).filter(|rest| rest.starts_with(&MAGIC)) else {
            continue;
        };
        if let Ok(decoder) = StreamingDecoder::new(frame) {
            decoder
                .take(64 << 20)
                .read_to_end(&mut out)
                .expect("a whole frame");
        }
    }
    out
}

fn sim(args: &[&str], paths: &[&Path]) -> (bool, String) {
    let output: Output = Command::new(simulator())
        .args(args)
        .args(paths)
        .output()
        .expect("run the simulator");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

#[test]
fn a_shape_holds_no_name_no_password_and_no_payload() {
    let mut proxy = start(json!({ "directory": "recordings" }));
    send_canaries(&proxy);
    let path = flush(&mut proxy);
    let file = fs::read(&path).expect("the recording");
    let plain = unpacked(&file);
    assert!(
        plain.len() > 150,
        "records were unpacked: {} bytes",
        plain.len()
    );
    for bytes in [&file, &plain] {
        for canary in [USER, PASSWORD, PAYLOAD, "canary", "localhost"] {
            assert!(!holds(bytes, canary), "{canary}");
        }
        // Neither does it hold an address: that of everybody here, as recordings write it.
        assert!(!bytes.windows(5).any(|window| window == [4, 127, 0, 0, 1]));
    }
    let (is_well, said) = sim(&["replay"], &[&path]);
    assert!(
        !is_well && said.contains("keeps times and sizes only"),
        "{said}"
    );
    let (is_well, said) = sim(&["replay", "--trace"], &[&path]);
    assert!(
        is_well || said.contains("0 connections identical"),
        "{said}"
    );
    for shown in [
        "Begin",
        "Received",
        "Dial",
        "Passthrough",
        "Datagram",
        "bytes: None",
    ] {
        assert!(said.contains(shown), "{shown}: {said}");
    }
}

#[test]
fn the_canaries_are_found_where_they_are() {
    let dir = TempDir::new();
    let recordings = Recordings::in_folder(dir.path());
    let proxy = start(recordings.full());
    send_canaries(&proxy);
    let (_, log) = proxy.stop(Signal::Term);
    assert!(
        log.contains("flight recorder: the daemon stopped: wrote"),
        "{log}"
    );
    let key = dir.path().join(KEY_FILE);
    let key = key.to_str().expect("a path of text");
    let replay = ["replay", "--trace", "--key", key];
    let (is_well, said) = sim(&replay, &[dir.path()]);
    assert!(is_well, "{said}");
    for canary in [USER, PASSWORD, PAYLOAD, NAME] {
        let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(
            said.contains(&hex) || said.contains(canary),
            "{canary}: {said}"
        );
    }
}

/// A recording in full of what the canaries cause, and the folder of its key.
fn full() -> (TempDir, PathBuf) {
    let dir = TempDir::new();
    let recordings = Recordings::in_folder(dir.path());
    let mut proxy = start(recordings.full());
    send_canaries(&proxy);
    let path = flush(&mut proxy);
    (dir, path)
}

#[test]
fn a_full_recording_is_encrypted_and_replays_with_its_key_alone() {
    let (dir, path) = full();
    let file = fs::read(&path).expect("the recording");
    assert!(unpacked(&file).is_empty());
    assert!(!holds(&file, "canary"));
    let (is_well, said) = sim(&["replay"], &[&path]);
    assert!(
        !is_well && said.contains("the private key is needed"),
        "{said}"
    );
    let other = TempDir::new();
    let _other_key = Recordings::in_folder(other.path());
    let with = |dir: &TempDir| {
        let key = dir.path().join(KEY_FILE);
        let key = key.to_str().expect("a path of text").to_owned();
        sim(&["replay", "--key", &key], &[&path])
    };
    let (is_well, said) = with(&other);
    assert!(
        !is_well && said.contains("encrypted to another key"),
        "{said}"
    );
    let (is_well, said) = with(&dir);
    assert!(is_well && said.contains(" 0 differ"), "{said}");
    assert!(!said.contains(" 0 connections identical"), "{said}");
}

#[test]
fn damaged_truncated_and_foreign_files_are_refused_in_words() {
    let (dir, path) = full();
    let key = dir.path().join(KEY_FILE);
    let key = key.to_str().expect("a path of text");
    let whole = fs::read(&path).expect("the recording");
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let mut another = whole.clone();
    another[8] = 200;
    for (bytes, why) in [
        (&damaged[..], "is damaged"),
        (&whole[..whole.len() - 1], "cut off"),
        (&whole[..whole.len() / 2], "cut off"),
        (&another, "version 200"),
        (b"GIF89a", "this is no recording"),
        (b"", "this is no recording"),
    ] {
        let bad = dir.write("bad.bin", bytes);
        let (is_well, said) = sim(&["replay", "--key", key], &[&bad]);
        assert!(!is_well && said.contains(why), "{why}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_recorder_that_is_off_says_so() {
    let mut proxy = start(json!({ "mode": "off" }));
    proxy.process().signal(Signal::Usr2);
    let line = proxy
        .process()
        .wait_for_line("flight recorder: ", START_TIMEOUT);
    assert!(line.contains("it is off"), "{line}");
}

#[test]
fn secrets_are_not_recorded_without_a_key() {
    let dir = TempDir::new();
    for mode in ["head", "full"] {
        let text = json!({ "sansbox": { "recorder": { "mode": mode } } }).to_string();
        let path = dir.write("config.json", text);
        let output = proxy::command().arg("check").arg("-c").arg(path).output();
        let output = output.expect("run the program");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{mode}");
        assert!(
            said.contains("sansbox.recorder.mode") && said.contains("public_key"),
            "{said}"
        );
    }
}

/// Both ends of a tunnel whose profiles are files, recorded, and gone before the replay.
#[test]
fn what_ran_on_profiles_in_files_replays_without_them() {
    let dir = TempDir::new();
    let args = "paniq create-profile --proxy-addr 127.0.0.1:9 --out server.json \
                --client-out client.json";
    let made = proxy::command()
        .args(args.split_whitespace())
        .current_dir(dir.path())
        .output();
    assert!(made.expect("run the program").status.success());
    let file = |name: &str| dir.path().join(name).display().to_string();
    let recordings = Recordings::in_folder(&dir.path().join("recordings"));
    let recorded = |inbound: Value, outbound: Value| {
        let mut config = config(inbound, json!([outbound]));
        config["sansbox"] = json!({ "recorder": recordings.full() });
        Proxy::start(&config)
    };
    let mut listening = inbound("paniq", &[]);
    listening["profile_path"] = file("server.json").into();
    listening["allow_private"] = true.into();
    let server = recorded(listening, direct());
    let through = json!({
        "type": "paniq", "profile_path": file("client.json"),
        "server": "127.0.0.1", "server_port": server.port(),
    });
    let client = recorded(inbound("mixed", &[]), through);
    let echo = tcp::echo(tcp::listener());
    let mut stream = socks::open(client.addr(), None, echo.addr()).expect("connected");
    stream.write_all(PAYLOAD.as_bytes()).expect("send");
    read_exact(&mut stream, PAYLOAD.len(), "the echo");
    drop(stream);
    let secret = fs::read_to_string(file("server.json")).expect("the profile");
    let secret: Value = secret.parse().expect("JSON");
    let secret = &secret["obfuscation"]["server_private_key"];
    let secret = secret.as_str().expect("a key").to_owned();
    for proxy in [client, server] {
        let _ = proxy.stop(Signal::Term);
    }
    for name in ["server.json", "client.json"] {
        fs::remove_file(file(name)).expect("remove the profile");
    }
    let files = fs::read_dir(&recordings.folder).expect("the recordings");
    let paths = files.map(|entry| entry.expect("an entry").path());
    let paths: Vec<_> = paths
        .filter(|p| p.extension().is_some_and(|e| e == "sbx"))
        .collect();
    assert_eq!(paths.len(), 2, "{paths:?}");
    let key = recordings.folder.join(KEY_FILE);
    let key = key.to_str().expect("a path of text");
    for path in &paths {
        // The key of the profile is kept as passwords are: encrypted with everything else.
        assert!(!holds(&fs::read(path).expect("the recording"), &secret));
        let (is_well, said) = sim(&["replay", "--key", key], &[path]);
        assert!(is_well && said.contains(" 0 differ"), "{said}");
        assert!(!said.contains(" 0 connections identical"), "{said}");
    }
}
