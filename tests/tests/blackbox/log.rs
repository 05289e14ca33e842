//! The log: what an operator finds in it, and what must never be there.
use sansbox_tests::{
    body,
    origin::tcp,
    ports::closed_port,
    process::Signal,
    proxy::{Proxy, config, direct, inbound},
    socks::{self, Association, reply},
    wire::{SILENCE, exchange, read_all},
};
use serde_json::json;
use std::{
    io::Write as _,
    net::{Ipv4Addr, Shutdown, SocketAddr},
    thread,
    time::Duration,
};

const NAME: &str = "canary-user-7f3a";
const PASSWORD: &str = "canary-password-91c2";

/// The id in the `[id duration]` of a line, which follows the level.
fn connection_id(line: &str) -> Option<&str> {
    line.split(' ')
        .filter_map(|word| word.strip_prefix('['))
        .find(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
}

/// All lines of the connection to `destination`, joined.
fn story(log: &str, destination: &str) -> String {
    let first = log
        .lines()
        .find(|line| line.contains(destination) && connection_id(line).is_some())
        .unwrap_or_else(|| panic!("no line with an id names {destination}:\n{log}"));
    let id = connection_id(first).expect("just looked for one");
    log.lines()
        .filter(|line| connection_id(line) == Some(id))
        .collect::<Vec<_>>()
        .join("\n")
}

fn at_level(level: &str, users: &[(&str, &str)]) -> Proxy {
    let mut config = config(inbound("mixed", users), json!([direct()]));
    config["log"]["level"] = json!(level);
    config["route"] = json!({
        "rules": [
            { "port": [1], "outbound": "direct" },
            { "ip_cidr": "127.0.0.0/8", "outbound": "direct" },
        ],
    });
    Proxy::start(&config)
}

#[test]
fn each_connection_tells_its_whole_story_at_info() {
    let origin = tcp::echo(tcp::listener());
    let proxy = at_level("info", &[]);
    let mut stream = socks::open(proxy.addr(), None, origin.addr()).expect("it connects");
    stream.write_all(&body::bytes(12_345)).expect("send");
    stream.shutdown(Shutdown::Write).expect("half-close");
    assert_eq!(read_all(&mut stream, SILENCE).bytes.len(), 12_345);
    drop(stream);
    thread::sleep(Duration::from_millis(300));
    let (status, log) = proxy.stop(Signal::Term);
    assert_eq!(status.code(), Some(0), "{log}");
    let story = story(&log, &origin.addr().to_string());
    for (what, needle) in [
        ("the inbound", "inbound/mixed[in]"),
        ("the outbound", "direct[direct]"),
        ("the destination", origin.addr().to_string().as_str()),
        ("the bytes", "12345"),
    ] {
        assert!(story.contains(needle), "{what}, {needle:?}:\n{story}");
    }
    let lower = story.to_lowercase();
    assert!(
        ["match[1]", "rule[1]", "rule=1", "rule 1"]
            .iter()
            .any(|words| lower.contains(words)),
        "the rule that decided, the second:\n{story}"
    );
    assert!(lower.contains("closed"), "the end and its reason:\n{story}");
    // `[id 12ms]`: how long the connection had lived when the line was written.
    assert!(
        story.contains("ms]") || story.contains("s]"),
        "the duration:\n{story}"
    );
}

#[test]
fn a_failed_dial_says_why() {
    let proxy = at_level("info", &[]);
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, closed_port()));
    assert_eq!(
        socks::open(proxy.addr(), None, to).err(),
        Some(reply::CONNECTION_REFUSED)
    );
    thread::sleep(Duration::from_millis(300));
    let (_, log) = proxy.stop(Signal::Term);
    let story = story(&log, &to.to_string());
    assert!(story.to_lowercase().contains("refused"), "{story}");
    let reason = "1 connection refused";
    let totals = [
        "inbound/mixed[in]: served 1 connections".to_owned(),
        "outbound/direct[direct]: served 1 connections".to_owned(),
        format!("requests refused: {reason}"),
        format!("connections ended: {reason}"),
    ];
    for total in totals {
        assert!(log.contains(&total), "{total}:\n{log}");
    }
}

#[test]
fn connections_have_different_ids() {
    let (one, two) = (tcp::echo(tcp::listener()), tcp::echo(tcp::listener()));
    let proxy = at_level("info", &[]);
    for origin in [&one, &two] {
        drop(socks::open(proxy.addr(), None, origin.addr()).expect("it connects"));
    }
    thread::sleep(Duration::from_millis(300));
    let (_, log) = proxy.stop(Signal::Term);
    let first = story(&log, &one.addr().to_string());
    let second = story(&log, &two.addr().to_string());
    assert_ne!(first, second, "{log}");
    assert!(!first.contains(&two.addr().to_string()), "{first}");
}

/// Logs in by SOCKS5, HTTP and for UDP, rightly and wrongly, and returns the log.
fn log_of_logins(level: &str) -> String {
    let origin = tcp::echo(tcp::listener());
    let user = (NAME, PASSWORD);
    let proxy = at_level(level, &[user]);
    drop(socks::open(proxy.addr(), Some(user), origin.addr()).expect("it connects"));
    drop(Association::open(proxy.addr(), Some(user)));
    // Base64 of `canary-user-7f3a:canary-password-91c2` and of the same with a wrong password.
    for token in [
        "Y2FuYXJ5LXVzZXItN2YzYTpjYW5hcnktcGFzc3dvcmQtOTFjMg==",
        "Y2FuYXJ5LXVzZXItN2YzYTpjYW5hcnktcGFzc3dvcmQtOTFjMw==",
    ] {
        let request = format!(
            "GET http://{0}/ HTTP/1.1\r\nHost: {0}\r\nProxy-Authorization: Basic {token}\r\n\
             Connection: close\r\n\r\n",
            origin.addr()
        );
        let answer = exchange(
            proxy.addr(),
            request.as_bytes(),
            true,
            Duration::from_secs(2),
        );
        let refused = answer.text().starts_with("HTTP/1.1 407");
        assert_eq!(refused, token.ends_with("Mw=="), "{answer:?}");
    }
    let mut wrong = sansbox_tests::wire::connect(proxy.addr());
    let name = NAME.as_bytes();
    let login = [
        &[5, 1, 2, 1, name.len() as u8][..],
        name,
        &[PASSWORD.len() as u8 + 1],
        PASSWORD.as_bytes(),
        b"x",
    ]
    .concat();
    wrong.write_all(&login).expect("send");
    let _ = read_all(&mut wrong, Duration::from_secs(2));
    thread::sleep(Duration::from_millis(300));
    proxy.stop(Signal::Term).1
}

#[test]
fn no_level_shows_a_password() {
    for level in ["trace", "debug"] {
        let log = log_of_logins(level);
        assert!(!log.contains(PASSWORD), "{level}:\n{log}");
        assert!(!log.contains("Y2FuYXJ5"), "base64 at {level}:\n{log}");
    }
}

#[test]
fn user_names_stay_below_info() {
    let log = log_of_logins("info");
    assert!(!log.contains(NAME), "{log}");
    assert!(!log.contains(PASSWORD), "{log}");
    assert!(!log.contains("Y2FuYXJ5"), "base64:\n{log}");
}

#[test]
fn a_refused_login_is_logged_with_its_source() {
    let proxy = at_level("info", &[(NAME, PASSWORD)]);
    let mut stream = sansbox_tests::wire::connect(proxy.addr());
    let source = stream.local_addr().expect("an address").to_string();
    stream
        .write_all(b"\x05\x01\x02\x01\x01u\x01p")
        .expect("send");
    let _ = read_all(&mut stream, SILENCE);
    thread::sleep(Duration::from_millis(300));
    let (_, log) = proxy.stop(Signal::Term);
    let story = story(&log, &source);
    assert!(story.to_lowercase().contains("auth"), "{story}");
}

#[test]
fn levels_hold_back_what_is_less_severe() {
    let origin = tcp::echo(tcp::listener());
    let mut config = config(inbound("mixed", &[]), json!([direct()]));
    // At `info` the start is still announced; connections at `info` are, at `warn` nothing is.
    config["log"] = json!({ "level": "info", "timestamp": true });
    let proxy = Proxy::start(&config);
    drop(socks::open(proxy.addr(), None, origin.addr()).expect("it connects"));
    thread::sleep(Duration::from_millis(300));
    let (_, log) = proxy.stop(Signal::Term);
    for line in log.lines() {
        assert!(!line.contains("DEBUG") && !line.contains("TRACE"), "{line}");
        // `-0700 2006-01-02 15:04:05 LEVEL ...`
        let mut parts = line.split(' ');
        let zone = parts.next().unwrap_or_default();
        let date = parts.next().unwrap_or_default();
        assert!(
            zone.len() == 5 && zone.starts_with(['+', '-']) && date.matches('-').count() == 2,
            "{line}"
        );
    }
}
