//! What crossed between hosts, machines and network: hashed always, kept as text on request.
use sansbox_core::Instant;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// Bytes of a payload that a trace line shows.
const TRACE_PREVIEW_LEN: usize = 24;

/// What kind of thing crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Tag {
    /// A dial began; the bytes are the target.
    Dial,
    /// A dial ended; the bytes are its outcome.
    Dialed,
    /// A connection was accepted.
    Accepted,
    /// The kernel took bytes to send.
    Written,
    /// Bytes were read from the kernel.
    Read,
    /// A host ended its direction.
    Shutdown,
    /// A host closed its socket.
    Close,
    /// A host reset its connection.
    Abort,
    /// A host stopped answering on a connection.
    Vanish,
    /// The other side's FIN was read.
    Fin,
    /// A reset was read.
    Reset,
    /// A datagram was sent.
    DatagramSent,
    /// A datagram arrived.
    Datagram,
    /// A datagram was lost on the way.
    DatagramLost,
    /// A name lookup began; the bytes are the name.
    Resolve,
    /// A name lookup ended; the bytes are its outcome.
    Resolved,
    /// A machine asked for something; the bytes are the action as text.
    Action,
    /// A machine was told something that is no plain byte; the bytes are the input as text.
    Input,
    /// A machine is finished; the bytes are its close reason.
    Finished,
    /// A command reached a host.
    Command,
}

/// The hash over all that crossed, and the trace.
#[derive(Debug)]
pub struct Transcript {
    hash: Sha256,
    entries: u64,
    trace: Option<Vec<String>>,
}

impl Transcript {
    /// An empty transcript; with `trace`, lines are kept.
    #[must_use]
    pub fn new(trace: bool) -> Self {
        Self {
            hash: Sha256::new(),
            entries: 0,
            trace: trace.then(Vec::new),
        }
    }

    /// Adds one entry. `number` names the socket, dial or machine.
    pub fn note(&mut self, now: Instant, host: &str, tag: Tag, number: u64, bytes: &[u8]) {
        self.entries += 1;
        self.hash.update(now.as_nanos().to_be_bytes());
        self.hash.update((host.len() as u64).to_be_bytes());
        self.hash.update(host);
        self.hash.update([tag as u8]);
        self.hash.update(number.to_be_bytes());
        self.hash.update((bytes.len() as u64).to_be_bytes());
        self.hash.update(bytes);
        if let Some(lines) = &mut self.trace {
            lines.push(line(now, host, tag, number, bytes));
        }
    }

    /// Adds one entry whose bytes are text.
    pub fn note_text(
        &mut self,
        now: Instant,
        host: &str,
        tag: Tag,
        number: u64,
        text: std::fmt::Arguments<'_>,
    ) {
        let mut out = String::new();
        let _ = out.write_fmt(text);
        self.note(now, host, tag, number, out.as_bytes());
    }

    /// Entries so far.
    #[must_use]
    pub const fn entries(&self) -> u64 {
        self.entries
    }

    /// SHA-256 over the entries so far.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.hash.clone().finalize().into()
    }

    /// The trace lines, where asked for.
    #[must_use]
    pub fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }
}

fn line(now: Instant, host: &str, tag: Tag, number: u64, bytes: &[u8]) -> String {
    let mut out = format!("{now} {host:<12} {tag:?} #{number}");
    let is_payload = matches!(
        tag,
        Tag::Written | Tag::Read | Tag::DatagramSent | Tag::Datagram | Tag::DatagramLost
    );
    if !is_payload {
        let _ = write!(out, " {}", String::from_utf8_lossy(bytes));
        return out;
    }
    let shown = bytes.get(..TRACE_PREVIEW_LEN).unwrap_or(bytes);
    let more = if shown.len() < bytes.len() { ".." } else { "" };
    let _ = write!(
        out,
        " {} bytes \"{}\"{more}",
        bytes.len(),
        shown.escape_ascii()
    );
    out
}

/// A digest in lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}
