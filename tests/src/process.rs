//! Child processes whose output is kept, and which end with the test.
use std::{
    fmt, fs,
    io::{BufRead, BufReader, Read, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long a program may take to say that it is ready, on a machine with other work to do.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a program may take to end after it was told to.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// Lines of a child's stdout and stderr, without colours, in the order in which they came.
#[derive(Default)]
struct Log {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    text: Vec<String>,
    open: u32,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running program; killed and reaped on drop.
pub struct Process {
    name: String,
    child: Child,
    log: Arc<Log>,
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.child.id())
    }
}

/// A signal that can be sent to a [`Process`].
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// SIGHUP.
    Hup,
    /// SIGINT.
    Int,
    /// SIGKILL.
    Kill,
    /// SIGTERM.
    Term,
    /// SIGUSR2.
    Usr2,
}

/// Which of a [`Process`]'s sizes in memory.
#[derive(Clone, Copy, Debug)]
pub enum Memory {
    /// What is resident now.
    Now,
    /// The most that ever was.
    Peak,
}

impl Process {
    /// Starts `command` with no input, and keeps what it says. `name` is for messages.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        Self::spawn_with_input(name, command, Vec::new())
    }

    /// Starts `command`, gives it `input` on its stdin, and keeps what it says.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn spawn_with_input(name: &str, command: &mut Command, input: Vec<u8>) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("start {name}: {e}"));
        let log = Arc::new(Log::default());
        if let Some(mut stdin) = child.stdin.take() {
            thread::spawn(move || stdin.write_all(&input));
        }
        keep(child.stdout.take(), &log);
        keep(child.stderr.take(), &log);
        Self {
            name: name.to_owned(),
            child,
            log,
        }
    }

    /// Waits for a line that holds `needle`, and returns it.
    ///
    /// # Panics
    /// When the program ends or `timeout` passes before; the message holds all it said.
    pub fn wait_for_line(&mut self, needle: &str, timeout: Duration) -> String {
        self.wait_for(&format!("{needle:?}"), timeout, |line| {
            line.contains(needle)
        })
    }

    /// Waits for a line that `wanted` accepts, and returns it; `what` names it in messages.
    ///
    /// # Panics
    /// When the program ends or `timeout` passes before; the message holds all it said.
    pub fn wait_for(
        &mut self,
        what: &str,
        timeout: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> String {
        let deadline = Instant::now() + timeout;
        let mut lines = self.log.lock();
        loop {
            if let Some(line) = lines.text.iter().find(|line| wanted(line)) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let why = if lines.open == 0 {
                "ended"
            } else if left.is_zero() {
                "ran on"
            } else {
                lines = match self.log.changed.wait_timeout(lines, left) {
                    Ok((lines, _)) => lines,
                    Err(poisoned) => poisoned.into_inner().0,
                };
                continue;
            };
            let said = lines.text.join("\n");
            drop(lines);
            panic!(
                "{} {why} without saying {what}; it said:\n{said}",
                self.name
            );
        }
    }

    /// All that was said until now.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().text.join("\n")
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Files that it has open, as Linux counts them.
    ///
    /// # Panics
    /// When it has ended, or there is no `/proc`.
    #[must_use]
    pub fn open_files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.id());
        let files = fs::read_dir(&path).unwrap_or_else(|e| panic!("read {path}: {e}"));
        files.count()
    }

    /// Bytes of memory that it has or had resident, as Linux counts them.
    ///
    /// # Panics
    /// As [`Process::open_files`].
    #[must_use]
    pub fn memory(&self, which: Memory) -> u64 {
        let name = match which {
            Memory::Now => "VmRSS:",
            Memory::Peak => "VmHWM:",
        };
        let path = format!("/proc/{}/status", self.id());
        let status = fs::read_to_string(&path).unwrap_or_else(|e| panic!("read {path}: {e}"));
        let size = status.lines().find_map(|line| line.strip_prefix(name));
        let size = size.and_then(|rest| rest.trim().strip_suffix(" kB"));
        let kibibytes: Option<u64> = size.and_then(|size| size.trim().parse().ok());
        kibibytes.expect("a size in the status") * 1024
    }

    /// Whether it has not ended.
    ///
    /// # Panics
    /// When the system cannot say.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("ask for a child").is_none()
    }

    /// Sends a signal to this process and no other.
    ///
    /// # Panics
    /// When there is no shell to send it with.
    pub fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Hup => "HUP",
            Signal::Int => "INT",
            Signal::Kill => "KILL",
            Signal::Term => "TERM",
            Signal::Usr2 => "USR2",
        };
        Command::new("sh")
            .args(["-c", "kill -s \"$0\" \"$1\"", name])
            .arg(self.child.id().to_string())
            .status()
            .expect("run a shell");
    }

    /// Waits until it ends by itself and all it said was read.
    ///
    /// # Panics
    /// When `timeout` passes before; the message holds all it said.
    pub fn wait_exit(&mut self, timeout: Duration) -> ExitStatus {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(status) = self.child.try_wait().expect("ask for a child") {
                self.wait_output(deadline);
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} did not end within {timeout:?}; it said:\n{}",
                self.name,
                self.log()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn wait_output(&self, deadline: Instant) {
        let mut lines = self.log.lock();
        while lines.open > 0 && Instant::now() < deadline {
            let step = Duration::from_millis(50);
            lines = match self.log.changed.wait_timeout(lines, step) {
                Ok((lines, _)) => lines,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("---- {} said ----\n{}\n----", self.name, self.log());
        }
    }
}

fn keep(stream: Option<impl Read + Send + 'static>, log: &Arc<Log>) {
    let Some(stream) = stream else { return };
    let log = Arc::clone(log);
    log.lock().open += 1;
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            let text = String::from_utf8_lossy(&line);
            log.lock().text.push(without_colours(text.trim_end()));
            log.changed.notify_all();
            line.clear();
        }
        log.lock().open -= 1;
        log.changed.notify_all();
    });
}

/// `text` without terminal escape sequences of the form `ESC [ ... letter`.
#[must_use]
pub fn without_colours(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            let _ = chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            out.push(c);
        }
    }
    out
}
