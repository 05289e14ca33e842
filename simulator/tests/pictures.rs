//! Pictures as other programs read them: tshark opens captures, headless Chromium draws timelines.
//!
//! Without these programs the tests say so and pass; with `SANSBOX_CI` tshark must be there.
use sansbox_simulator::{
    out::{Story, pcapng},
    scenario::{self, Report},
    transcript::Tag,
    world::Setup,
};
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A folder of its own for each test, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("sansbox-pictures-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("a plain path").to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in a temporary folder hurts nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sansbox-sim"))
        .args(args)
        .output()
        .expect("the program starts")
}

/// Draws a scenario that must pass.
fn draw(scenario: &str, seed: &str, option: &str, to: &str) {
    let output = sim(&["run", scenario, "--seed", seed, option, to]);
    assert!(output.status.success(), "{output:?}");
}

/// Where a program is, or `None` with a word to whoever reads the output.
fn find(names: &[&str], is_wanted_in_ci: bool) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let all: Vec<PathBuf> = env::split_paths(&path).collect();
    let found = names
        .iter()
        .flat_map(|name| all.iter().map(move |folder| folder.join(name)));
    let found = found.into_iter().find(|file| file.is_file());
    if found.is_none() {
        assert!(
            !is_wanted_in_ci || env::var_os("SANSBOX_CI").is_none(),
            "{names:?} is missing"
        );
        eprintln!("skipped: there is no {names:?} here");
    }
    found
}

/// What tshark says of the packets that a display filter lets through, field by field.
fn fields(tshark: &Path, capture: &str, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new(tshark);
    command.args(["-n", "-r", capture, "-Y", filter, "-T", "fields"]);
    command.args([
        "-o",
        "tcp.check_checksum:TRUE",
        "-o",
        "ip.check_checksum:TRUE",
    ]);
    // Ports of the scenarios' proxies.
    command.args(["-d", "tcp.port==8080,http", "-d", "tcp.port==2080,socks"]);
    // The port of a recorded proxy.
    command.args(["-d", "tcp.port==18081,socks"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark starts");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let split = |line: &str| line.split('\t').map(str::to_owned).collect();
    text.lines().map(split).collect()
}

/// A run of which no SOCKS5 message was cut: tshark does not put them together.
fn uncut() -> (u64, Report) {
    let scenario = scenario::find("dial_refused").expect("registered");
    let whole: [&[u8]; 3] = [&[5, 1, 0], &[5, 0], &[5, 1, 0, 1, 10, 0, 0, 3, 0, 80]];
    for seed in 0..10_000 {
        let report = scenario.run(Setup {
            seed,
            keeps_entries: true,
            ..Setup::default()
        });
        let is_sent = |bytes: &[u8]| {
            let mut sent = report.entries.iter().filter(|e| e.tag == Tag::PacketSent);
            sent.any(|entry| *entry.bytes == *bytes)
        };
        if whole.iter().all(|bytes| is_sent(bytes)) {
            return (seed, report);
        }
    }
    panic!("every seed cuts them");
}

#[test]
fn tshark_reads_handshakes_names_and_nanoseconds() {
    let Some(tshark) = find(&["tshark"], true) else {
        return;
    };
    let folder = Folder::new("socks");
    let file = folder.file("a.pcapng");
    let (seed, report) = uncut();
    let story = Story {
        title: "dial_refused",
        seed: Some(seed),
        ..Story::of(&report)
    };
    fs::write(&file, pcapng(&story)).expect("a capture");
    let of = |filter: &str, names: &[&str]| fields(&tshark, &file, filter, names);
    let requests = of("socks.command == 1", &["socks.dst", "socks.port"]);
    let wanted: Vec<String> = vec!["10.0.0.3".into(), "80".into()];
    assert!(requests.contains(&wanted), "{requests:?}");
    let syns = of(
        "tcp.flags.syn == 1 && tcp.flags.ack == 0",
        &["frame.interface_name", "ip.dst", "frame.comment"],
    );
    let to = |interface: &str, address: &str| {
        let is_it = |syn: &&Vec<String>| syn[0] == interface && syn[1] == address;
        syns.iter().find(is_it).map(|syn| syn[2].clone())
    };
    let comment = to("proxy/4", "10.0.0.2").expect("the client's request");
    assert!(
        comment.contains("sent at") && comment.contains("arrived at"),
        "{comment}"
    );
    // Nobody has the address of a target that refuses: it stands where it left.
    to("proxy/4", "10.0.0.3").expect("the proxy's request");
    assert!(!of("tcp.flags.reset == 1", &["frame.number"]).is_empty());
    let times = of("frame", &["frame.time_epoch"]);
    assert!(
        times.iter().any(|time| !time[0].ends_with("000")),
        "nanoseconds"
    );
}

#[test]
fn tshark_finds_nothing_odd_on_ideal_paths() {
    let Some(tshark) = find(&["tshark"], true) else {
        return;
    };
    let folder = Folder::new("ideal");
    for (scenario, seed) in [
        ("socks5_connects", "2"),
        ("socks5_connects_to_ipv6", "2"),
        ("http_connect_relays", "3"),
        ("half_close_by_both", "4"),
        ("client_leaves_during_dial", "1"),
    ] {
        let file = folder.file("a.pcapng");
        draw(scenario, seed, "--pcap", &file);
        let odd = "tcp.analysis.flags || tcp.checksum.status == 0 || ip.checksum.status == 0";
        let names = &["frame.number", "_ws.col.Info"];
        assert_eq!(
            fields(&tshark, &file, odd, names),
            Vec::<Vec<String>>::new(),
            "{scenario}"
        );
        assert!(!fields(&tshark, &file, "tcp.flags.fin == 1", &["frame.number"]).is_empty());
    }
}

#[test]
fn tshark_reads_http_through_the_proxy() {
    let Some(tshark) = find(&["tshark"], true) else {
        return;
    };
    let folder = Folder::new("http");
    let file = folder.file("a.pcapng");
    draw("http_keep_alive", "1", "--pcap", &file);
    let methods = fields(&tshark, &file, "http.request", &["http.request.method"]);
    assert!(
        methods.iter().filter(|m| m[0] == "GET").count() >= 2,
        "{methods:?}"
    );
    let codes = fields(&tshark, &file, "http.response", &["http.response.code"]);
    assert!(
        codes.iter().all(|code| code[0] == "200") && codes.len() >= 2,
        "{codes:?}"
    );
}

#[test]
fn tshark_opens_quic_with_the_keys_inside() {
    let Some(tshark) = find(&["tshark"], true) else {
        return;
    };
    let folder = Folder::new("quic");
    let file = folder.file("a.pcapng");
    draw("quic_resumption", "1", "--pcap", &file);
    let streams = fields(&tshark, &file, "quic.stream.stream_id", &["frame.number"]);
    assert!(
        streams.len() > 5,
        "{} packets with stream frames",
        streams.len()
    );
    let failed = fields(&tshark, &file, "quic.decryption_failed", &["frame.number"]);
    assert_eq!(failed, Vec::<Vec<String>>::new());
}

#[test]
fn tshark_opens_tls_with_the_keys_inside() {
    let Some(tshark) = find(&["tshark"], true) else {
        return;
    };
    let folder = Folder::new("tls");
    let file = folder.file("a.pcapng");
    draw("tls_resumption", "1", "--pcap", &file);
    // Types that stand inside encrypted records.
    let inside = "tls.handshake.type == 20";
    let finished = fields(&tshark, &file, inside, &["frame.number"]);
    assert!(finished.len() >= 2, "{finished:?}");
}

#[test]
fn lost_datagrams_say_so() {
    let Some(tshark) = find(&["tshark"], true) else {
        return;
    };
    let folder = Folder::new("lost");
    let file = folder.file("a.pcapng");
    draw("udp_association_with_loss", "1", "--pcap", &file);
    let names = &["frame.interface_name", "frame.comment"];
    let lost = fields(&tshark, &file, "frame.comment contains \"LOST\"", names);
    assert!(lost.len() > 5, "{} lost", lost.len());
    assert!(lost.iter().all(|l| l[1].contains("decisions")), "{lost:?}");
}

#[test]
fn chromium_draws_a_timeline() {
    let Some(chromium) = find(&["chromium", "chromium-browser", "google-chrome"], false) else {
        return;
    };
    let folder = Folder::new("html");
    let file = folder.file("a.html");
    draw("udp_association_echo", "1", "--html", &file);
    let output = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--virtual-time-budget=3000",
        ])
        .arg(format!("--user-data-dir={}", folder.file("profile")))
        .arg("--dump-dom")
        .arg(format!("file://{file}#e12"))
        .output()
        .expect("chromium starts");
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    let has = |part: &str| assert!(page.contains(part), "{part} is not in the page");
    // Set by the script: the head, the filter's count, the chosen event's panel.
    has(r#"<h1 id="title">udp_association_echo</h1>"#);
    has("✓ passed");
    has("sansbox-sim run udp_association_echo --seed 0x1</code>");
    assert!(
        page.contains("entry 12") || page.contains("<td>12</td>"),
        "no panel"
    );
}

/// A login and a CONNECT by SOCKS5, then a passthrough of 79 bytes up and 190 down.
const RECORDING: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/recordings/curl_socks5_password.sbx"
);

/// Draws a recording, whichever build made it.
fn redraw(option: &str, to: &str) {
    let output = sim(&["replay", RECORDING, "--any-build", option, to]);
    assert!(output.status.success(), "{output:?}");
}

/// The data inside a timeline, and the labels of its events.
fn timeline(file: &str) -> (serde_json::Value, Vec<String>) {
    let page = fs::read_to_string(file).expect("a page");
    let (_, data) = page.split_once("id=\"data\">").expect("data");
    let (data, _) = data.split_once("</script>").expect("its end");
    let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
    let list = |path: &str| {
        let found = data.pointer(path).and_then(serde_json::Value::as_array);
        found.expect("a list").clone()
    };
    let strings = list("/strings");
    let label = |item: &serde_json::Value| {
        let text = item
            .as_u64()
            .and_then(|n| strings.get(n as usize)?.as_str());
        text.expect("a string").to_owned()
    };
    let labels: Vec<String> = list("/columns/label").iter().map(label).collect();
    let count = data.pointer("/count").and_then(serde_json::Value::as_u64);
    assert_eq!(count, Some(labels.len() as u64));
    (data, labels)
}

#[test]
fn dialogues_are_read_through_a_translator() {
    let folder = Folder::new("nat");
    let file = folder.file("a.html");
    draw("nat_takes_a_forgotten_relay_up", "1", "--html", &file);
    let (_, labels) = timeline(&file);
    for wanted in ["SOCKS5 method 0", "SOCKS5 reply: succeeded"] {
        let has = labels.iter().any(|label| label.ends_with(wanted));
        assert!(has, "{wanted} in {labels:?}");
    }
}

#[test]
fn a_recording_is_a_timeline() {
    let folder = Folder::new("recording-html");
    let file = folder.file("a.html");
    redraw("--html", &file);
    let (data, labels) = timeline(&file);
    let name = |host: &serde_json::Value| host[0].as_str().expect("a name").to_owned();
    let hosts = data["hosts"].as_array().expect("hosts").iter();
    let hosts: Vec<String> = hosts.map(name).collect();
    assert_eq!(hosts, ["sansbox", "client", "localhost:18080"]);
    let count = |wanted: &str| labels.iter().filter(|label| *label == wanted).count();
    for (wanted, times) in [
        ("SOCKS5 login", 1),
        ("SOCKS5 CONNECT localhost:18080", 1),
        ("SOCKS5 reply: succeeded", 1),
        ("79 bytes, not recorded", 2),
        ("190 bytes, not recorded", 2),
        ("SYN", 2),
        ("FIN", 4),
        ("finished completed; 79 bytes up, 190 down", 1),
    ] {
        assert_eq!(count(wanted), times, "{wanted} in {labels:?}");
    }
}

#[test]
fn a_recording_is_lines_of_json() {
    let folder = Folder::new("recording-jsonl");
    let file = folder.file("a.jsonl");
    redraw("--jsonl", &file);
    let text = fs::read_to_string(&file).expect("lines");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines[0]["seed"], serde_json::Value::Null);
    assert_eq!(lines[0]["virtual_ns"], 972_400_526);
    let sum = |from: &str, field: fn(&serde_json::Value) -> &serde_json::Value| {
        let sent = lines
            .iter()
            .filter(|l| l["tag"] == "PacketSent" && l["host"] == from);
        sent.filter_map(|line| field(line).as_u64()).sum::<u64>()
    };
    assert_eq!(sum("sansbox", |line| &line["len"]), 14);
    assert_eq!(sum("client", |line| &line["len"]), 33);
    assert_eq!(sum("client", |line| &line["packet"]["unkept"]), 79);
    assert_eq!(sum("sansbox", |line| &line["packet"]["unkept"]), 79 + 190);
    let times: Vec<u64> = lines
        .iter()
        .filter_map(|line| line["at"].as_u64())
        .collect();
    assert!(times.is_sorted() && times[0] == 959_101_049, "{times:?}");
}

#[test]
fn tshark_reads_a_recording() {
    let Some(tshark) = find(&["tshark"], true) else {
        return;
    };
    let folder = Folder::new("recording-pcap");
    let file = folder.file("a.pcapng");
    redraw("--pcap", &file);
    let of = |filter: &str, names: &[&str]| fields(&tshark, &file, filter, names);
    let requests = of("socks.command == 1", &["socks.remote_name", "socks.port"]);
    assert_eq!(requests, [["localhost", "18080"]]);
    assert_eq!(of("socks.results == 0", &["socks.port"]), [["43242"]]);
    // Passthrough: so long, but not kept.
    let cut = of(
        "frame.cap_len < frame.len",
        &["frame.interface_name", "tcp.len"],
    );
    let wanted = [
        ["sansbox/4", "79"],
        ["localhost:18080/4", "79"],
        ["sansbox/4", "190"],
        ["client/4", "190"],
    ];
    assert_eq!(cut, wanted);
    let odd = "tcp.analysis.flags || tcp.checksum.status == 0 || ip.checksum.status == 0";
    let none = Vec::<Vec<String>>::new();
    assert_eq!(of(odd, &["frame.number", "_ws.col.Info"]), none);
}

#[test]
fn one_picture_is_of_one_recording() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/recordings");
    let output = sim(&["replay", folder, "--any-build", "--html", "/dev/null"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let output = sim(&["replay", RECORDING, "--any-build", "--qlog", "/dev/null"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}

#[test]
fn qlog_is_a_file_for_each_end() {
    let folder = Folder::new("qlog");
    draw("quic_retry", "1", "--qlog", &folder.file("logs"));
    let files = fs::read_dir(folder.file("logs")).expect("a folder");
    let texts: Vec<String> = files
        .map(|file| fs::read_to_string(file.expect("a file").path()).expect("text"))
        .collect();
    assert!(texts.len() >= 2);
    for text in texts {
        let records: Vec<&str> = text.split('\u{1e}').filter(|r| !r.is_empty()).collect();
        assert!(records.len() > 5, "{} records", records.len());
        for record in records {
            let parsed: Result<serde_json::Value, _> = serde_json::from_str(record);
            assert!(parsed.is_ok(), "{record}");
        }
    }
}

#[test]
fn a_file_that_cannot_be_written_is_an_error() {
    for option in ["--pcap", "--html", "--jsonl", "--qlog"] {
        let output = sim(&["run", "dial_refused", option, "/dev/null/x"]);
        assert_eq!(output.status.code(), Some(1), "{option}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("/dev/null/x"), "{said}");
        let output = sim(&["run", "dial_refused", option]);
        assert_eq!(output.status.code(), Some(2), "{option} without a value");
    }
}
