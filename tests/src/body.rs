//! Bodies whose every byte is known from their length, and their digests.
use sha2::{Digest as _, Sha256};
use std::{
    fmt::Write as _,
    io::{self, Read, Write},
    sync::OnceLock,
};

/// Not a divisor of any buffer size, so that a chunk lost, doubled or swapped changes the digest.
const BLOCK: usize = 1_048_573;
/// One read or write of the harness.
const CHUNK: usize = 64 * 1024;

fn block() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        (0..BLOCK)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[4]
            })
            .collect()
    })
}

/// Writes a body of `len` bytes.
///
/// # Errors
/// Those of the writer.
pub fn write(out: &mut impl Write, len: u64) -> io::Result<()> {
    let mut left = len;
    let mut at = 0;
    while left > 0 {
        let n = CHUNK
            .min(BLOCK - at)
            .min(usize::try_from(left).unwrap_or(CHUNK));
        out.write_all(&block()[at..at + n])?;
        at = (at + n) % BLOCK;
        left -= n as u64;
    }
    Ok(())
}

/// A body of `len` bytes.
///
/// # Panics
/// Never: writing to memory succeeds.
#[must_use]
pub fn bytes(len: u64) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, len).expect("memory takes all");
    out
}

/// Counts and hashes what is written to it.
#[derive(Clone, Default)]
pub struct Hasher {
    sha256: Sha256,
    len: u64,
}

impl Hasher {
    /// Length in bytes and SHA-256 of all that was written.
    #[must_use]
    pub fn finish(self) -> Digest {
        let mut hex = String::new();
        for byte in self.sha256.finalize() {
            let _ = write!(hex, "{byte:02x}");
        }
        Digest {
            len: self.len,
            sha256: hex,
        }
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sha256.update(bytes);
        self.len += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Length in bytes and SHA-256 in hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Length in bytes.
    pub len: u64,
    /// 64 hex digits.
    pub sha256: String,
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.len, self.sha256)
    }
}

/// Digest of a body of `len` bytes.
///
/// # Panics
/// Never: hashing succeeds.
#[must_use]
pub fn digest(len: u64) -> Digest {
    let mut hasher = Hasher::default();
    write(&mut hasher, len).expect("a hasher takes all");
    hasher.finish()
}

/// Reads to the end and returns the digest of what came.
///
/// # Errors
/// Those of the reader.
pub fn digest_of(input: &mut impl Read) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        match input.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            n => hasher.write_all(&buffer[..n])?,
        }
    }
}
