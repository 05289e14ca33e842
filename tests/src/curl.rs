//! curl as a client.
use crate::body::{Digest, Hasher};
use std::{
    env,
    ffi::OsStr,
    io::{Read as _, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

/// How much of a body is kept besides its digest.
const KEPT: usize = 64 * 1024;

/// Exit codes of curl that tests expect, with its own names.
pub mod exit {
    /// All went well.
    pub const OK: i32 = 0;
    /// `CURLE_COULDNT_CONNECT`.
    pub const COULDNT_CONNECT: i32 = 7;
    /// `CURLE_RECV_ERROR`: also a CONNECT that was refused.
    pub const RECV_ERROR: i32 = 56;
    /// `CURLE_PROXY`: the SOCKS handshake failed.
    pub const PROXY: i32 = 97;
}

/// What one run of curl brought.
#[derive(Debug)]
pub struct Fetched {
    /// Exit code, -1 for a signal.
    pub code: i32,
    /// Length and digest of what came on stdout.
    pub digest: Digest,
    /// The start of what came on stdout.
    pub text: String,
    /// Messages.
    pub stderr: String,
}

impl Fetched {
    /// This, after checking that curl reports success.
    ///
    /// # Panics
    /// When it does not; the message holds what it said.
    #[must_use]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, exit::OK, "curl failed: {self:?}");
        self
    }

    /// Status codes of all response heads in the output of `curl -i` or `-v`, in order, those
    /// of CONNECT included.
    #[must_use]
    pub fn statuses(&self) -> Vec<u16> {
        self.text
            .lines()
            .chain(self.stderr.lines().filter_map(|l| l.strip_prefix("< ")))
            .filter_map(|line| line.strip_prefix("HTTP/1."))
            .filter_map(|rest| rest.split_whitespace().nth(1)?.parse().ok())
            .collect()
    }
}

/// Runs curl with `args` and nothing of the user's settings.
///
/// # Panics
/// When curl cannot be started.
pub fn curl<A: AsRef<OsStr>>(program: &PathBuf, args: impl IntoIterator<Item = A>) -> Fetched {
    let mut command = Command::new(program);
    command.args(["-q", "-sS", "--max-time", "120"]).args(args);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().to_uppercase().ends_with("_PROXY") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start curl");
    let mut err = child.stderr.take().expect("stderr is piped");
    let messages = thread::spawn(move || {
        let mut text = Vec::new();
        let _ = err.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut out = child.stdout.take().expect("stdout is piped");
    let mut hasher = Hasher::default();
    let mut kept = Vec::new();
    let mut buffer = vec![0; KEPT];
    while let Ok(n) = out.read(&mut buffer) {
        if n == 0 {
            break;
        }
        hasher.write_all(&buffer[..n]).expect("a hasher takes all");
        kept.extend_from_slice(&buffer[..n.min(KEPT - kept.len())]);
    }
    let status = child.wait().expect("wait for curl");
    Fetched {
        code: status.code().unwrap_or(-1),
        digest: hasher.finish(),
        text: String::from_utf8_lossy(&kept).into_owned(),
        stderr: messages.join().expect("the reader of stderr ends"),
    }
}
