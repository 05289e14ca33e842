//! The command line.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Side-by-side measurements of sansbox and other proxies on this machine's loopback.
#[derive(Debug, Parser)]
#[command(name = "sansbox-bench", version)]
pub(crate) struct Cli {
    /// What to measure.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The benches.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// TCP relaying through SOCKS5: bulk, round trips, connections, idle memory, start.
    Relay(Box<Relay>),
    /// The simulator: virtual seconds, packets and seeds per second of one core.
    Sim(Sim),
    /// The flight recorder: what its mode `shape` costs a proxy, against the mode `off`.
    Recorder(Recorder),
    /// The tunnels of paniq beside plain QUIC, in memory and over loopback.
    Paniq(Paniq),
    /// The tun inbound beside sing-box's and Xray's, in network namespaces of its own (as root).
    Tun(Box<Tun>),
    /// One figure of `tun` in memory, in a process of its own.
    #[command(hide = true)]
    TunPart(TunPart),
    /// One end of a connection of `paniq`, in a process of its own.
    #[command(hide = true)]
    PaniqEnd(PaniqEnd),
    /// Both ends of a connection of `paniq` in memory, in a process of its own.
    #[command(hide = true)]
    PaniqPart(PaniqPart),
    /// The far end of the idle measurements, in a process of its own because of its file limit.
    #[command(hide = true)]
    Sink,
}

/// Options of `sim`.
#[derive(Debug, Args)]
pub(crate) struct Sim {
    /// Interleaved rounds of each figure; a figure is the median of its rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// Print one JSON object per line and figure instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Build turmoil and madsim, and run them in turn with ours.
    #[arg(long)]
    pub(crate) peers: bool,
    /// Write the report here.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

/// Options of `paniq`.
#[derive(Debug, Args)]
pub(crate) struct Paniq {
    /// Interleaved rounds of each figure; a figure is the median of its rounds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// Length of one timed window over sockets.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// The machines in memory only, without sockets.
    #[arg(long)]
    pub(crate) memory: bool,
    /// What idle tunnels hold at a server's daemon, and nothing else.
    #[arg(long, conflicts_with = "memory")]
    pub(crate) idle: bool,
    /// Two daemons, and nothing else.
    #[arg(long, conflicts_with_all = ["memory", "idle"])]
    pub(crate) daemons: bool,
    /// This sansbox, and not a release build that cargo brings up to date.
    #[arg(long, value_name = "FILE")]
    pub(crate) sansbox: Option<PathBuf>,
    /// The folder with `paniq-socks` and `paniq-proxy`, the Go programs, which have no package: they
    /// take turns with the daemons [default: what they need is quoted].
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["memory", "idle"])]
    pub(crate) go: Option<PathBuf>,
    /// Count their instructions instead, with valgrind: the same on a busy machine.
    #[arg(long, conflicts_with_all = ["memory", "idle", "daemons", "markdown"])]
    pub(crate) instructions: bool,
    /// Write the report here.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

/// Options of `paniq-part`.
#[derive(Debug, Args)]
pub(crate) struct PaniqPart {
    /// What carries the streams.
    pub(crate) carrier: Carrier,
    /// What the client does: `up`, `down`, `trip`, `conn`.
    pub(crate) load: String,
    /// Bytes, round trips or streams.
    pub(crate) count: u64,
}

/// What one end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Carrier {
    /// A tunnel of paniq.
    Tunnel,
    /// quinn-proto by itself.
    Plain,
}

impl Carrier {
    /// Its name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Plain => "plain",
        }
    }
}

/// Options of `paniq-end`.
#[derive(Debug, Args)]
pub(crate) struct PaniqEnd {
    /// What carries the streams.
    pub(crate) carrier: Carrier,
    /// Length of the timed window.
    pub(crate) seconds: u64,
    /// The client's end: where the server is.
    #[arg(long, requires = "pid", requires = "load")]
    pub(crate) server: Option<SocketAddr>,
    /// The server's process.
    #[arg(long)]
    pub(crate) pid: Option<i32>,
    /// What the client does: `up`, `down`, `trip`, `conn`.
    #[arg(long)]
    pub(crate) load: Option<String>,
}

/// Options of `tun`.
#[derive(Debug, Args)]
pub(crate) struct Tun {
    /// Interleaved rounds of each figure; a figure is the median of its rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// Length of one timed window.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// TCP congestion controller in the bench's namespaces, whatever the system's is: that of the
    /// clients, of the upstream and of the programs between them [default: the system's].
    #[arg(long, value_name = "NAME", conflicts_with = "memory")]
    pub(crate) congestion: Option<String>,
    /// The terminator in memory only, without a device; needs no root.
    #[arg(long)]
    pub(crate) memory: bool,
    /// Run these subjects only, and nothing in memory [default: all, and the terminator in memory].
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "SUBJECTS",
        conflicts_with = "memory"
    )]
    pub(crate) only: Vec<String>,
    /// The sansbox binary [default: built].
    #[arg(long, value_name = "PATH")]
    pub(crate) sansbox: Option<PathBuf>,
    /// The sing-box binary [default: found, or installed].
    #[arg(long, value_name = "PATH")]
    pub(crate) sing_box: Option<PathBuf>,
    /// The Xray binary [default: found, or built].
    #[arg(long, value_name = "PATH")]
    pub(crate) xray: Option<PathBuf>,
    /// Write a plot of the figures here.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Write the report here. What stands between its `notes` markers is kept.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

/// Options of `tun-part`.
#[derive(Debug, Args)]
pub(crate) struct TunPart {
    /// The figure.
    pub(crate) part: Part,
}

/// What is measured of the terminator in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Bytes of 10 clients.
    UpFew,
    /// Bytes of 64 clients, each as rarely as one of 50,000.
    UpRare,
    /// Bytes of 50,000 clients, one after the other.
    UpMany,
    /// Bytes of 50,000 clients, in no order.
    UpScattered,
    /// Bytes to 10 clients.
    DownFew,
    /// Bytes to 64 clients, each as rarely as one of 50,000.
    DownRare,
    /// Bytes to 50,000 clients, one after the other.
    DownMany,
    /// Bytes to 50,000 clients, in no order.
    DownScattered,
    /// SYN to first byte of the answer.
    Connect,
    /// Memory of a flood of SYNs, limits as they come.
    FloodMemory,
    /// Memory of as many half-open connections, with room for all.
    HalfOpen,
    /// What open flows keep of their rate between a flood's SYNs.
    FloodShare,
    /// Processor time of a flood's SYN.
    FloodSyn,
    /// Memory of a flow that has carried data and rests.
    IdleFlow,
}

/// Options of `recorder`.
#[derive(Debug, Args)]
pub(crate) struct Recorder {
    /// Pairs of windows of each figure; the result is the median of the pairs' ratios.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=999))]
    pub(crate) rounds: u32,
    /// Length of one timed window.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// The sansbox binary [default: built].
    #[arg(long, value_name = "PATH")]
    pub(crate) sansbox: Option<PathBuf>,
}

/// Options of `relay`.
#[derive(Debug, Args)]
pub(crate) struct Relay {
    /// Print one JSON object per line and figure instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
    /// Measure these groups only.
    #[arg(long, value_delimiter = ',', value_name = "GROUPS")]
    pub(crate) only: Vec<Group>,
    /// Interleaved rounds of each figure; a figure is the median of its rounds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) rounds: u32,
    /// Length of one timed window.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) seconds: u64,
    /// The sansbox binary [default: built].
    #[arg(long, value_name = "PATH")]
    pub(crate) sansbox: Option<PathBuf>,
    /// sansbox on other event loops, to run beside it; an empty value runs none.
    #[arg(long, value_delimiter = ',', default_value = "smol,epoll")]
    pub(crate) loops: Vec<String>,
    /// A sansbox binary with `--features runtime-smol` [default: built].
    #[arg(long, value_name = "PATH")]
    pub(crate) smol: Option<PathBuf>,
    /// The example `epoll` [default: built].
    #[arg(long, value_name = "PATH")]
    pub(crate) epoll: Option<PathBuf>,
    /// The peers to run beside it; an empty value runs none.
    #[arg(long, value_delimiter = ',', default_value = "sing-box,microsocks")]
    pub(crate) peers: Vec<String>,
    /// Write a plot of the figures here.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Write the report here. What stands between its `notes` markers is kept.
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

/// Figures that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Group {
    /// One-way upload over several streams.
    BulkUp,
    /// One-way download over several streams.
    BulkDown,
    /// 64-byte request and reply, one in flight per stream.
    Trip,
    /// Connect, handshake, one byte each way, close.
    Conn,
    /// Instructions and system calls of a round trip and of a connection, whatever the load of the
    /// machine (needs valgrind and strace).
    Counts,
    /// Memory of open connections that carry nothing.
    Idle,
    /// How many idle connections a limit on open files allows.
    IdleLimit,
    /// Time from spawn to the first accepted connection, memory then, size of the binary.
    Start,
    /// Lookup time and memory of the router, without a network.
    Router,
}

impl Relay {
    /// The path given for an event loop.
    pub(crate) fn program_of(&self, event_loop: &str) -> Option<&Path> {
        match event_loop {
            "smol" => self.smol.as_deref(),
            "epoll" => self.epoll.as_deref(),
            _ => None,
        }
    }

    /// The groups to measure, in the order of the report.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let wanted = |group: &Group| self.only.is_empty() || self.only.contains(group);
        Group::value_variants()
            .iter()
            .copied()
            .filter(wanted)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(arguments: &[&str]) -> Relay {
        let cli = Cli::try_parse_from(["sansbox-bench", "relay"].iter().chain(arguments)).unwrap();
        let Command::Relay(relay) = cli.command else {
            panic!("another command")
        };
        *relay
    }

    #[test]
    fn groups_keep_the_order_of_the_report_and_default_to_all() {
        assert_eq!(
            relay(&["--only", "start,bulk-up"]).groups(),
            [Group::BulkUp, Group::Start]
        );
        assert_eq!(relay(&[]).groups().len(), 9);
    }

    #[test]
    fn the_simulator_runs_alone_unless_asked() {
        let sim = |arguments: &[&str]| {
            let line = ["sansbox-bench", "sim"].iter().chain(arguments);
            let Command::Sim(sim) = Cli::try_parse_from(line).unwrap().command else {
                panic!("another command")
            };
            (sim.peers, sim.json, sim.markdown)
        };
        assert_eq!(sim(&[]), (false, false, None));
        let all = sim(&["--peers", "--json", "--markdown", "page.md"]);
        assert_eq!(all, (true, true, Some("page.md".into())));
    }

    #[test]
    fn bad_values_are_refused() {
        for bad in [["--only", "speed"], ["--rounds", "0"], ["--seconds", "0"]] {
            let line = ["sansbox-bench", "relay"].iter().chain(bad.iter()).copied();
            assert!(Cli::try_parse_from(line).is_err(), "{bad:?}");
        }
    }
}
