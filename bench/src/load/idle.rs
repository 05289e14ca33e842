//! Connections that are open and carry nothing.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::process::{Command, Stdio, exit};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;

use super::{Target, listen};
use crate::guard::Guarded;
use crate::process;
use crate::socks::Way;

/// Connections of the memory figure.
pub(crate) const CONNECTIONS: usize = 9_000;
/// How long the connections rest before the memory is read.
const SETTLE: Duration = Duration::from_secs(2);
/// Longest wait of one step while opening: a proxy that is out of files often just does not answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Failures in a row after which the proxy counts as full.
const FAILURES: u32 = 5;

/// What holding idle connections cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    /// Connections that were still open at the end.
    pub(crate) open: usize,
    /// Resident memory of the proxy for each of them, in bytes.
    pub(crate) bytes_each: f64,
}

/// Opens up to `wanted` connections, sends one byte each way on each, and holds them.
#[expect(
    clippy::cast_precision_loss,
    reason = "memory of one process is below 2^52 bytes"
)]
pub(crate) fn run(target: Target, wanted: usize) -> Result<Idle> {
    let (_sink, address) = start_sink()?;
    let way = Way {
        patience: PATIENCE,
        ..target.way
    };
    let before = process::resident(target.pid)?;
    let streams = open(way, address, wanted)?;
    thread::sleep(SETTLE);
    let after = process::resident(target.pid)?;
    let open = streams.iter().filter(|stream| is_open(stream)).count();
    if open == 0 {
        bail!("no connection stayed open");
    }
    let bytes_each = after.saturating_sub(before) as f64 / open as f64;
    Ok(Idle { open, bytes_each })
}

fn open(way: Way, address: SocketAddrV4, wanted: usize) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(wanted);
    let mut failures = 0;
    while streams.len() < wanted && failures < FAILURES {
        match visit(way, address) {
            Ok(stream) => {
                failures = 0;
                streams.push(stream);
            }
            // Full here, not there: the figure would be ours.
            Err(error) if error.raw_os_error() == Some(Errno::EMFILE as i32) => {
                return Err(error).context("the load generator is out of files");
            }
            Err(error) if streams.is_empty() => {
                return Err(error).context("no connection could be opened");
            }
            Err(_) => failures += 1,
        }
    }
    Ok(streams)
}

fn visit(way: Way, address: SocketAddrV4) -> io::Result<TcpStream> {
    let mut stream = way.connect(address)?;
    stream.write_all(&[1])?;
    stream.read_exact(&mut [0])?;
    Ok(stream)
}

/// Whether the proxy still holds `stream`: it has neither ended nor been reset.
fn is_open(stream: &TcpStream) -> bool {
    let peeked = stream
        .set_nonblocking(true)
        .and_then(|()| stream.peek(&mut [0]));
    matches!(peeked, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// The far end as a process of its own: with as many connections as the proxy may hold, both ends
/// would not fit into one process's limit on open files.
fn start_sink() -> Result<(Guarded, SocketAddrV4)> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("sink")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut sink = Guarded::spawn(&mut command).context("start the sink")?;
    let stdout = sink
        .child()
        .stdout
        .take()
        .context("the sink has no output")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line)?;
    let address = line
        .trim()
        .parse()
        .with_context(|| format!("the sink said {line:?}"))?;
    Ok((sink, address))
}

/// The sink's process: prints its address, then echoes one byte of every connection and holds it.
/// Ends with its standard input, so it cannot outlive the bench.
pub(crate) fn sink() -> Result<()> {
    process::raise_file_limit()?;
    let (listener, address) = listen()?;
    writeln!(io::stdout(), "{address}")?;
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        exit(0);
    });
    let mut held = Vec::new();
    loop {
        let Ok((mut stream, _)) = listener.accept() else {
            continue;
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut byte = [0];
        if stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {
            held.push(stream);
        }
    }
}
