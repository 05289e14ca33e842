//! Pins of paniq servers: made by one command, told by another, kept by clients.
use sansbox_tests::{
    Value,
    origin::tcp,
    process::Signal,
    proxy::{Proxy, command, config, direct, inbound},
    socks,
    temp::TempDir,
    wire::read_exact,
};
use serde_json::json;
use std::{fs, io::Write as _, path::Path};

/// What `sansbox paniq ARGS` in `dir` prints; it must be content.
#[track_caller]
fn paniq(dir: &Path, args: &[&str]) -> String {
    let mut command = command();
    let output = command.arg("paniq").args(args).current_dir(dir).output();
    let output = output.expect("run the program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// What it says when it refuses.
#[track_caller]
fn refusal(dir: &Path, args: &[&str]) -> String {
    let mut command = command();
    let output = command.arg("paniq").args(args).current_dir(dir).output();
    let output = output.expect("run the program");
    assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json_of(dir: &Path, name: &str) -> Value {
    let text = fs::read_to_string(dir.join(name)).expect("a file");
    text.parse().expect("JSON")
}

/// A folder with both profiles, pinned.
fn pinned() -> TempDir {
    let dir = TempDir::new();
    let args = "create-profile --pin --proxy-addr 127.0.0.1:9 --out server.json \
                --client-out client.json";
    let args: Vec<_> = args.split_whitespace().collect();
    paniq(dir.path(), &args);
    dir
}

#[test]
fn a_pin_is_made_told_and_carried_in_every_form() {
    let dir = pinned();
    let pin = paniq(dir.path(), &["pin", "-in", "server.json"]);
    let pin = pin.strip_suffix('\n').expect("a line");
    assert_eq!(json_of(dir.path(), "client.json")["server_pin"], pin);
    assert_eq!(json_of(dir.path(), "server.json")["server_pin"], pin);
    paniq(dir.path(), &["check", "-in", "server.json"]);
    paniq(dir.path(), &["link", "-in", "server.json", "-out", "link"]);
    let linked = paniq(dir.path(), &["link", "-decode", "-in", "link"]);
    let linked: Value = linked.parse().expect("JSON");
    assert_eq!(linked["server_pin"], pin);
    paniq(
        dir.path(),
        &["profile-cbor", "-in", "client.json", "-out", "c"],
    );
    let read = paniq(dir.path(), &["profile-cbor", "-decode", "-in", "c"]);
    let read: Value = read.parse().expect("JSON");
    assert_eq!(read["server_pin"], pin);
    // Unasked, nobody is pinned.
    let free = paniq(dir.path(), &["create-profile", "--proxy-addr", "h:1"]);
    let free: Value = free.parse().expect("JSON");
    assert!(free["server_pin"].is_null());
}

#[test]
fn pins_of_other_servers_and_of_none_are_refused() {
    let dir = pinned();
    let said = refusal(dir.path(), &["pin", "-in", "client.json"]);
    assert!(
        said.contains("obfuscation.server_private_key: required"),
        "{said}"
    );
    let mut server = json_of(dir.path(), "server.json");
    server["server_pin"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into();
    dir.write("other.json", server.to_string());
    let said = refusal(dir.path(), &["check", "-in", "other.json"]);
    assert!(
        said.contains("server_pin: not the pin of the server"),
        "{said}"
    );
    server["server_pin"] = "AAAA".into();
    dir.write("short.json", server.to_string());
    let said = refusal(dir.path(), &["check", "-in", "short.json"]);
    assert!(
        said.contains("server_pin: 3 bytes, where there must be 32"),
        "{said}"
    );
}

/// A server with this profile that lets clients reach this machine.
fn server(profile: &Value) -> Proxy {
    let mut inbound = inbound("paniq", &[]);
    inbound["profile"] = profile.clone();
    inbound["allow_private"] = true.into();
    Proxy::start(&config(inbound, json!([direct()])))
}

fn client(profile: &Value, server: &Proxy) -> Proxy {
    Proxy::through(json!({
        "type": "paniq", "tag": "up", "profile": profile,
        "server": "127.0.0.1", "server_port": server.port(),
    }))
}

/// Does a connection through the client carry what is sent?
fn works(client: &Proxy) -> bool {
    let echo = tcp::echo(tcp::listener());
    let Ok(mut stream) = socks::open(client.addr(), None, echo.addr()) else {
        return false;
    };
    stream.write_all(b"hello").expect("send");
    read_exact(&mut stream, 5, "the echo") == b"hello"
}

#[test]
fn a_pinned_client_takes_its_server_after_a_restart_and_no_other() {
    let dir = pinned();
    let [server_profile, pinned] = ["server.json", "client.json"].map(|n| json_of(dir.path(), n));
    let first = server(&server_profile);
    assert!(works(&client(&pinned, &first)));
    drop(first);
    let second = server(&server_profile);
    assert!(works(&client(&pinned, &second)), "the key is the same");

    // As after an attack by somebody who knows the client's profile, and so cannot have the key.
    let mut other = pinned.clone();
    other["server_pin"] = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into();
    let fooled = client(&other, &second);
    assert!(!works(&fooled));
    let (_, log) = fooled.stop(Signal::Term);
    let said = format!(
        "tunnel to 127.0.0.1:{} is down: the server's key is not the pinned one",
        second.port()
    );
    let line = log.lines().find(|line| line.contains(&said));
    assert!(line.is_some_and(|line| line.contains("WARN")), "{log}");

    let mut any = pinned;
    any["server_pin"] = "".into();
    assert!(works(&client(&any, &second)), "without a pin any will do");
}

#[test]
fn a_private_address_is_refused_in_words_of_its_own() {
    let dir = pinned();
    let mut inbound = inbound("paniq", &[]);
    inbound["profile"] = json_of(dir.path(), "server.json");
    let server = Proxy::start(&config(inbound, json!([direct()])));
    let client = client(&json_of(dir.path(), "client.json"), &server);
    assert!(!works(&client));
    let (_, log) = server.stop(Signal::Term);
    let said = "the address is private, and allow_private is off";
    let told = log.lines().filter(|line| line.contains(said));
    let levels: Vec<_> = told.map(|line| line.contains("INFO")).collect();
    // The refusal, the end of the connection, and the totals.
    assert!(
        levels.len() >= 2 && levels.iter().all(|is_info| *is_info),
        "{log}"
    );
    assert!(!log.contains("by a rule"), "{log}");
}
