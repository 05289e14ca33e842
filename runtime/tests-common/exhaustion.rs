//! What happens when the process runs out of files. By itself, because the limit is the process's.
use crate::common::{Mode, Toy, World, wait_for};
use crate::runtime::Options;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    os::{fd::AsRawFd, unix::fs::FileExt},
    thread,
    time::Duration,
};

fn limit_files(files: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: Some(files),
        maximum,
    };
    setrlimit(Resource::Nofile, limit).expect("lowered");
}

/// The lowest file number that is free.
fn next_file() -> u64 {
    let file = std::fs::File::open("/dev/null").expect("opened");
    u64::try_from(file.as_raw_fd()).expect("a number")
}

/// CPU time of this process, in clock ticks of 10 ms, from its opened `stat` file.
fn cpu_ticks(stat: &std::fs::File) -> u64 {
    let mut bytes = [0; 1024];
    let n = stat.read_at(&mut bytes, 0).expect("read");
    let stat = String::from_utf8_lossy(&bytes[..n]);
    let rest = stat.rsplit(')').next().expect("fields");
    let fields: Vec<u64> = rest
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    // After the state, which is no number: utime and stime are the 11th and 12th.
    fields[10] + fields[11]
}

fn exchange(mut a: &TcpStream, mut b: &TcpStream) {
    for _ in 0..100 {
        let mut bytes = [0; 4];
        a.write_all(b"ping").expect("written");
        b.read_exact(&mut bytes).expect("read");
        assert_eq!(&bytes, b"ping");
    }
}

#[test]
fn without_files_accepting_pauses_and_the_rest_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let target = listener.local_addr().expect("bound");
    let options = Options {
        workers: Some(1),
        raise_file_limit: false,
        ..Options::default()
    };
    let toy = Toy::new(Mode::Passthrough, target);
    let world = World::try_start(toy, options).expect("started");
    let client = TcpStream::connect(world.tcp()).expect("connected");
    let (upstream, _) = listener.accept().expect("accepted");
    exchange(&client, &upstream);

    let stat = std::fs::File::open("/proc/self/stat").expect("opened");
    // Room for the next client's own socket and nothing else.
    let next = next_file();
    limit_files(next + 1);
    let waiting = TcpStream::connect(world.tcp()).expect("connected");
    wait_for("the pause", || world.notes.count("AcceptPaused") >= 1);
    let before = cpu_ticks(&stat);
    thread::sleep(Duration::from_secs(2));
    let spent = cpu_ticks(&stat) - before;
    assert!(spent < 20, "{spent} ticks of CPU in two idle seconds");
    let pauses = world.running.counters().accept_pauses;
    // 100, 200, 400, 800 ms, then every second.
    assert!((2..=6).contains(&pauses), "{pauses} pauses");
    assert_eq!(world.notes.count("AcceptPaused") as u64, pauses);
    exchange(&client, &upstream);

    limit_files(next + 100);
    let (served, _) = listener.accept().expect("accepted");
    exchange(&waiting, &served);
}
