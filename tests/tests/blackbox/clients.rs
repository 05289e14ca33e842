//! curl as the client of every inbound, in every way it can speak to a proxy.
use sansbox_tests::{
    body::{self, digest},
    curl::{Fetched, curl, exit},
    origin::http::HttpServer,
    peers::need,
    ports::has_ipv6,
    proxy::{Proxy, config, direct, inbound},
};
use serde_json::json;
use std::{
    net::{Ipv6Addr, TcpListener},
    path::PathBuf,
};

const USERS: [(&str, &str); 2] = [("alice", "open sesame"), ("bob", "p:w@rd/?%")];
const LEN: u64 = 300_007;

/// A way in which curl speaks to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Socks4,
    Socks4a,
    Socks5,
    Socks5Hostname,
    Plain,
    Connect,
}

impl Mode {
    pub(crate) const ALL: [Self; 6] = [
        Self::Socks4,
        Self::Socks4a,
        Self::Socks5,
        Self::Socks5Hostname,
        Self::Plain,
        Self::Connect,
    ];

    /// Arguments for the proxy at `address`.
    pub(crate) fn args(self, address: &str) -> Vec<String> {
        let option = match self {
            Self::Socks4 => "--socks4",
            Self::Socks4a => "--socks4a",
            Self::Socks5 => "--socks5",
            Self::Socks5Hostname => "--socks5-hostname",
            Self::Plain | Self::Connect => "--proxy",
        };
        let mut args = vec![option.to_owned(), address.to_owned()];
        if self == Self::Connect {
            args.push("--proxytunnel".to_owned());
        }
        args
    }

    fn is_socks(self) -> bool {
        !matches!(self, Self::Plain | Self::Connect)
    }

    fn is_socks4(self) -> bool {
        matches!(self, Self::Socks4 | Self::Socks4a)
    }

    /// Whether the proxy is given the name of the server.
    fn sends_name(self) -> bool {
        !matches!(self, Self::Socks4 | Self::Socks5)
    }

    fn served_by(self, kind: &str) -> bool {
        match kind {
            "socks" => self.is_socks(),
            "http" => !self.is_socks(),
            _ => true,
        }
    }
}

fn run(program: &PathBuf, mode: Mode, address: &str, user: Option<&str>, rest: &[&str]) -> Fetched {
    let mut args = mode.args(address);
    if let Some(user) = user {
        args.extend(["--proxy-user".to_owned(), user.to_owned()]);
    }
    args.extend(rest.iter().map(|&arg| arg.to_owned()));
    curl(program, args)
}

#[test]
fn each_inbound_serves_each_kind_of_client() {
    let Some(program) = need("curl") else { return };
    let origin = HttpServer::start();
    for kind in ["socks", "http", "mixed"] {
        let proxy = Proxy::inbound(kind, &[]);
        let address = proxy.addr().to_string();
        for mode in Mode::ALL.into_iter().filter(|mode| mode.served_by(kind)) {
            let what = format!("{mode:?} through {kind}");
            let url = origin.url(&format!("/bytes/{LEN}"));
            let got = run(&program, mode, &address, None, &[&url]).ok();
            assert_eq!(got.digest, digest(LEN), "{what}");
            if mode.sends_name() {
                let url = format!("http://localhost:{}/bytes/11", origin.addr().port());
                let got = run(&program, mode, &address, None, &[&url]).ok();
                assert_eq!(got.digest, digest(11), "{what}, by name");
            }
        }
    }
}

#[test]
fn right_passwords_open_each_inbound_that_has_users() {
    let Some(program) = need("curl") else { return };
    let origin = HttpServer::start();
    let url = origin.url("/bytes/1234");
    for kind in ["socks", "http", "mixed"] {
        let proxy = Proxy::inbound(kind, &USERS);
        let address = proxy.addr().to_string();
        for mode in Mode::ALL.into_iter().filter(|mode| mode.served_by(kind)) {
            for (name, password) in USERS {
                let user = format!("{name}:{password}");
                let got = run(&program, mode, &address, Some(&user), &[&url]);
                let what = format!("{mode:?} as {name} through {kind}: {got:?}");
                if mode.is_socks4() {
                    // SOCKS4 has a name but no password: it cannot prove who asks.
                    assert_eq!(got.code, exit::PROXY, "{what}");
                } else {
                    assert_eq!(got.code, exit::OK, "{what}");
                    assert_eq!(got.digest, digest(1234), "{what}");
                }
            }
        }
    }
}

#[test]
fn wrong_and_missing_passwords_are_refused() {
    let Some(program) = need("curl") else { return };
    let origin = HttpServer::start();
    let url = origin.url("/bytes/1234");
    let proxy = Proxy::inbound("mixed", &USERS);
    let address = proxy.addr().to_string();
    let attempts = [
        None,
        Some("alice:wrong"),
        Some("alice:"),
        Some("nobody:open sesame"),
        Some("alice:open sesame "),
        Some("bob:open sesame"),
    ];
    for mode in Mode::ALL {
        for user in attempts {
            let got = run(&program, mode, &address, user, &["-i", &url]);
            let what = format!("{mode:?} as {user:?}: {got:?}");
            match mode {
                Mode::Plain => {
                    assert_eq!(got.statuses(), [407], "{what}");
                    let head = got.text.to_ascii_lowercase();
                    assert!(head.contains("proxy-authenticate: basic"), "{what}");
                }
                Mode::Connect => {
                    assert_eq!(got.code, exit::RECV_ERROR, "{what}");
                    assert!(got.statuses().contains(&407), "{what}");
                }
                _ => assert_eq!(got.code, exit::PROXY, "{what}"),
            }
        }
    }
    assert_eq!(origin.accepted(), 0, "nothing reached the server");
}

#[test]
fn a_407_leaves_the_connection_open_for_a_second_try() {
    let Some(program) = need("curl") else { return };
    let origin = HttpServer::start();
    let proxy = Proxy::inbound("http", &USERS);
    let address = proxy.addr().to_string();
    let url = origin.url("/bytes/1234");
    let user = Some("alice:open sesame");
    // With --proxy-anyauth curl first asks without a password, then answers the challenge.
    let rest = ["--proxy-anyauth", "-v", "-i", url.as_str()];
    let got = run(&program, Mode::Plain, &address, user, &rest).ok();
    let seen = got.statuses();
    assert!(seen.contains(&407) && seen.contains(&200), "{got:?}");
}

#[test]
fn bodies_of_100_mb_arrive_whole_both_ways() {
    let Some(program) = need("curl") else { return };
    let big = 100_000_000;
    let want = digest(big);
    let origin = HttpServer::start();
    let dir = sansbox_tests::temp::TempDir::new();
    let path = dir.path().join("upload");
    let mut file = std::fs::File::create(&path).expect("make a file");
    body::write(&mut file, big).expect("fill the file");
    let path = path.to_str().expect("a plain path").to_owned();
    let proxy = Proxy::inbound("mixed", &[]);
    let address = proxy.addr().to_string();
    let (down, up) = (origin.url(&format!("/bytes/{big}")), origin.url("/digest"));
    for mode in [Mode::Socks5, Mode::Connect, Mode::Plain] {
        let got = run(&program, mode, &address, None, &[&down]).ok();
        assert_eq!(got.digest, want, "download by {mode:?}");
        let got = run(&program, mode, &address, None, &["-T", &path, &up]).ok();
        assert_eq!(got.text, want.to_string(), "upload by {mode:?}");
    }
}

#[test]
fn ipv6_loopback_on_both_sides() {
    let Some(program) = need("curl") else { return };
    if !has_ipv6() {
        eprintln!("skipped: no IPv6 loopback");
        return;
    }
    let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).expect("bind [::1]");
    let origin = HttpServer::serve(listener);
    let mut entry = inbound("mixed", &[]);
    entry["listen"] = json!("::1");
    let proxy = Proxy::start(&config(entry, json!([direct()])));
    let address = format!("[::1]:{}", proxy.port());
    let url = origin.url("/bytes/4321");
    for mode in Mode::ALL.into_iter().filter(|mode| !mode.is_socks4()) {
        let got = run(&program, mode, &address, None, &["-g", &url]).ok();
        assert_eq!(got.digest, digest(4321), "{mode:?}");
    }
}

#[test]
fn two_requests_share_one_connection_to_the_server() {
    let Some(program) = need("curl") else { return };
    for mode in Mode::ALL {
        let origin = HttpServer::start();
        let proxy = Proxy::inbound("mixed", &[]);
        let address = proxy.addr().to_string();
        let (first, second) = (origin.url("/bytes/100"), origin.url("/chunked/200"));
        let rest = ["-v", first.as_str(), second.as_str()];
        let got = run(&program, mode, &address, None, &rest).ok();
        assert_eq!(got.digest.len, 300, "{mode:?}: {got:?}");
        assert_eq!(origin.accepted(), 1, "{mode:?}: {got:?}");
        assert_eq!(origin.heads().len(), 2, "{mode:?}: {got:?}");
        assert!(
            got.stderr.contains("Re-using existing connection"),
            "{mode:?}: {got:?}"
        );
    }
}

#[test]
fn one_client_connection_reaches_two_servers() {
    let Some(program) = need("curl") else { return };
    let (one, two) = (HttpServer::start(), HttpServer::start());
    let proxy = Proxy::inbound("mixed", &[]);
    let address = proxy.addr().to_string();
    let urls = [
        one.url("/bytes/10"),
        two.url("/bytes/20"),
        one.url("/bytes/30"),
    ];
    let mut rest: Vec<&str> = vec!["-v"];
    rest.extend(urls.iter().map(String::as_str));
    let got = run(&program, Mode::Plain, &address, None, &rest).ok();
    assert_eq!(got.digest.len, 60, "{got:?}");
    assert_eq!((one.heads().len(), two.heads().len()), (2, 1), "{got:?}");
}

#[test]
fn a_client_that_expects_100_continue_gets_it_from_the_server() {
    let Some(program) = need("curl") else { return };
    let dir = sansbox_tests::temp::TempDir::new();
    let path = dir.write("upload", body::bytes(2_000_000));
    let upload = format!("@{}", path.display());
    let proxy = Proxy::inbound("mixed", &[]);
    let address = proxy.addr().to_string();
    for mode in Mode::ALL {
        let origin = HttpServer::start();
        let url = origin.url("/digest");
        let rest = [
            "-v",
            // The body waits for the answer, so an answer that is not passed on shows.
            "--expect100-timeout",
            "20",
            "-H",
            "Expect: 100-continue",
            "--data-binary",
            upload.as_str(),
            url.as_str(),
        ];
        let got = run(&program, mode, &address, None, &rest).ok();
        assert_eq!(got.text, digest(2_000_000).to_string(), "{mode:?}: {got:?}");
        assert!(got.statuses().contains(&100), "{mode:?}: {got:?}");
    }
}

#[test]
fn a_refused_expectation_reaches_the_client() {
    let Some(program) = need("curl") else { return };
    let dir = sansbox_tests::temp::TempDir::new();
    let path = dir.write("upload", body::bytes(2_000_000));
    let upload = format!("@{}", path.display());
    let proxy = Proxy::inbound("mixed", &[]);
    let address = proxy.addr().to_string();
    for mode in [Mode::Socks5, Mode::Plain, Mode::Connect] {
        let origin = HttpServer::start();
        let url = origin.url("/refuse");
        let rest = [
            "-v",
            "--expect100-timeout",
            "20",
            "-H",
            "Expect: 100-continue",
            "--data-binary",
            upload.as_str(),
            url.as_str(),
        ];
        let got = run(&program, mode, &address, None, &rest);
        assert!(got.statuses().contains(&417), "{mode:?}: {got:?}");
    }
}
