//! The programs of `tests/peers`.
use sansbox_tests::{Value, peers::need, process::Process, process::START_TIMEOUT, temp::TempDir};
use std::{net::SocketAddr, process::Command, time::Duration};

/// How long a program that is done may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(30);

/// A program that tells what happens as lines of JSON.
#[derive(Debug)]
pub struct Peer {
    process: Process,
    _dir: Option<TempDir>,
}

impl Peer {
    /// Starts `program`, or none after saying why the test is skipped. `profile` is put into a
    /// file whose path is the value of `-profile`.
    ///
    /// # Panics
    /// When it cannot be started, or is missing where it must not be.
    #[must_use]
    pub fn start(program: &str, profile: Option<&str>, arguments: &[&str]) -> Option<Self> {
        let path = need(program)?;
        let mut command = Command::new(path);
        let dir = profile.map(|profile| {
            let dir = TempDir::new();
            let file = dir.write("profile.json", profile);
            command.arg("-profile").arg(file);
            dir
        });
        command
            .args(arguments)
            .env("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true");
        Some(Self {
            process: Process::spawn(program, &mut command),
            _dir: dir,
        })
    }

    /// The same as a server on a port of its own; where it listens.
    ///
    /// # Panics
    /// As [`Peer::start`].
    #[must_use]
    pub fn listen(
        program: &str,
        profile: Option<&str>,
        arguments: &[&str],
    ) -> Option<(Self, SocketAddr)> {
        let arguments = [&["-listen", "127.0.0.1:0"], arguments].concat();
        let mut peer = Self::start(program, profile, &arguments)?;
        let line = peer.process.wait_for_line("\"listening\"", START_TIMEOUT);
        let event: Value = serde_json::from_str(&line).expect("events are JSON");
        let address = event["address"].as_str().expect("an address");
        Some((peer, address.parse().expect("an address with a port")))
    }

    /// Events of this name until now, in order.
    #[must_use]
    pub fn events(&self, name: &str) -> Vec<Value> {
        let log = self.process.log();
        let events = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"] == name).collect()
    }

    /// The last event of this name.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<Value> {
        self.events(name).pop()
    }

    /// Did it do this step?
    #[must_use]
    pub fn has_done(&self, step: &str) -> bool {
        self.events("done")
            .iter()
            .any(|event| event["step"] == step)
    }

    /// Did it fail, or end?
    ///
    /// # Panics
    /// When it failed.
    pub fn check(&mut self) {
        let failed = self.events("failed");
        assert!(failed.is_empty(), "{failed:?}");
    }

    /// Waits until it ends by itself, well or not.
    ///
    /// # Panics
    /// When it does not.
    pub fn ended_well(&mut self) -> bool {
        self.process.wait_exit(END_TIMEOUT).success()
    }

    /// Is it still there?
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }
}
