//! What opens a world's encrypted traffic to those who look at it afterwards.
use super::deterministic::base;
use quinn_proto as quic;
use std::{io, sync::Arc};

/// Secrets and logs of all connections, as plain data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    /// Secrets of TLS sessions, QUIC's among them: one line each in the format that
    /// `SSLKEYLOGFILE` made common (label, client random, secret), without a line end.
    pub keylog: Vec<String>,
    /// For each end of a QUIC connection its name (`host-number-role`) and its qlog: JSON text
    /// sequences (RFC 7464) whose times are milliseconds of virtual time since the world began.
    pub qlog: Vec<(String, String)>,
}

#[expect(
    clippy::disallowed_types,
    reason = "quinn-proto's writers must be Sync"
)]
type Shared = Arc<std::sync::Mutex<Vec<u8>>>;

/// Collects while the world runs.
#[derive(Debug, Default)]
pub struct Log {
    keylog: Vec<String>,
    qlog: Vec<(String, Shared)>,
}

impl Log {
    /// Moves secrets here; both ends of a connection know the same.
    pub(super) fn add_secrets(&mut self, lines: Vec<String>) {
        for line in lines {
            if !self.keylog.contains(&line) {
                self.keylog.push(line);
            }
        }
    }

    /// A qlog for the end of a connection called `name`. Its configuration has no constructor
    /// but one that reads the system's clock, for a start that is replaced at once.
    pub(super) fn open_qlog(&mut self, name: String) -> Option<quic::QlogStream> {
        let shared = Shared::default();
        let mut config = quic::QlogConfig::default();
        config
            .title(Some(name.clone()))
            .start_time(base())
            .writer(Box::new(Writer(Arc::clone(&shared))));
        self.qlog.push((name, shared));
        config.into_stream()
    }

    /// What was collected so far.
    #[must_use]
    pub fn capture(&self) -> Capture {
        let text = |shared: &Shared| match shared.lock() {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(_) => String::new(),
        };
        let qlog = self.qlog.iter();
        Capture {
            keylog: self.keylog.clone(),
            qlog: qlog.map(|(name, log)| (name.clone(), text(log))).collect(),
        }
    }
}

struct Writer(Shared);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut shared = self.0.lock().map_err(|_| io::ErrorKind::Other)?;
        shared.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
