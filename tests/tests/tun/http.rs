//! curl, without a proxy in its way.
use crate::{
    hosted::{self, Hosted},
    net::{TARGET6, TARGETS},
    program::{Options, Tun},
    tools::spawn,
};
use sansbox_tests::{
    body::{self, digest},
    origin::http::HttpServer,
    peers::need,
    process::START_TIMEOUT,
    temp::TempDir,
};
use std::{
    fs::File,
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

const LEN: u64 = 5_000_000;
const PORT: u16 = 8080;

/// What curl says of its transfers, one line each: version, status, length.
fn fetch(tun: &Tun, curl: &Path, version: &str, url: &str, times: usize) -> Vec<String> {
    let mut command = tun.net.client.command(curl);
    command.args(["-q", "-sS", "--noproxy", "*", "--max-time", "60", version]);
    command.args(["-w", "%{http_version} %{response_code} %{size_download}\\n"]);
    for number in 0..times {
        command.args(["-o", &format!("body-{number}"), url]);
    }
    let dir = TempDir::new();
    command.current_dir(dir.path()).stdin(Stdio::null());
    let output = command.output().expect("run curl");
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{url}: {why}\n{}", tun.proxy.log());
    for number in 0..times {
        let path = dir.path().join(format!("body-{number}"));
        let mut file = File::open(path).expect("curl wrote a body");
        let got = body::digest_of(&mut file).expect("read it");
        assert_eq!(got, digest(LEN), "{url}\n{}", tun.proxy.log());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn curl_fetches_over_http_1() {
    let Some(curl) = need("curl") else { return };
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    for ip in TARGETS {
        let server = Hosted::new(&tun.net.server, || HttpServer::serve(hosted::listener(ip)));
        let url = server.url(&format!("/bytes/{LEN}"));
        let said = fetch(&tun, &curl, "--http1.1", &url, 3);
        assert_eq!(said, vec![format!("1.1 200 {LEN}"); 3]);
    }
}

fn wait_for_listener(addr: SocketAddr) {
    let deadline = Instant::now() + START_TIMEOUT;
    while TcpStream::connect(addr).is_err() {
        assert!(Instant::now() < deadline, "nothing listens on {addr}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn curl_fetches_over_http_2() {
    let (Some(curl), Some(nghttpd)) = (need("curl"), need("nghttpd")) else {
        return;
    };
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    let root = TempDir::new();
    root.write("body", body::bytes(LEN));
    for ip in TARGETS {
        let arguments = format!("--no-tls -a {ip} -d {} {PORT}", root.path().display());
        let _server = spawn(&tun.net.server, &nghttpd, &arguments);
        let addr = SocketAddr::new(ip, PORT);
        tun.net.server.enter(|| wait_for_listener(addr));
        let url = format!("http://{addr}/body");
        for _ in 0..3 {
            // One at a time: curl 7.88 cannot use such a connection again.
            let said = fetch(&tun, &curl, "--http2-prior-knowledge", &url, 1);
            assert_eq!(said, [format!("2 200 {LEN}")]);
        }
    }
}

#[test]
fn curl_sends_over_http_1() {
    let Some(curl) = need("curl") else { return };
    let Some(tun) = Tun::new(&Options::default()) else {
        return;
    };
    let dir = TempDir::new();
    let file = dir.write("body", body::bytes(LEN));
    let server = Hosted::new(&tun.net.server, || {
        HttpServer::serve(hosted::listener(TARGET6))
    });
    let mut command = tun.net.client.command(&curl);
    command.args(["-q", "-sS", "--noproxy", "*", "--max-time", "60"]);
    command
        .arg("--data-binary")
        .arg(format!("@{}", file.display()));
    command.arg(server.url("/digest"));
    let output = command.output().expect("run curl");
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}\n{}", tun.proxy.log());
    assert!(answer.contains(&digest(LEN).sha256), "{answer}");
}
