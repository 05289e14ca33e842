//! What the peers of the `sim` bench share: the load they are asked for, the clock and the line
//! they print.
//!
//! The load is that of the bench's own echo pair: a packet of eight octets every so many
//! milliseconds of virtual time, sent back by the other host, two milliseconds each way.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::time::{ClockId, clock_gettime};

/// How long a packet takes one way.
pub const LATENCY: Duration = Duration::from_millis(2);
/// Where the echoing host listens.
pub const PORT: u16 = 7;
/// The longest period and run that are accepted, in milliseconds: a year.
const MILLIS_MAX: u64 = 365 * 24 * 60 * 60 * 1000;

/// What to run: a packet every `every` for `length`, both in virtual time.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Between two packets.
    pub every: Duration,
    /// Of the whole run.
    pub length: Duration,
    /// How many packets that makes.
    pub packets: u64,
}

impl Load {
    /// From the command line: the period in milliseconds and the length in seconds.
    ///
    /// # Errors
    /// When there are not exactly two numbers, one is zero or too large, a reply would come after
    /// the next packet, or the length is not a number of periods.
    pub fn from_args() -> Result<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let [every, seconds] = arguments.as_slice() else {
            bail!("usage: PERIOD_MS SECONDS (virtual time)");
        };
        let every: u64 = every.parse().context("the period in milliseconds")?;
        let seconds: u64 = seconds.parse().context("the length in seconds")?;
        let length = seconds.checked_mul(1000).context("too long")?;
        let trip = 2 * LATENCY.as_millis();
        ensure!(
            u128::from(every) > trip,
            "a period must be longer than {trip} ms"
        );
        ensure!(
            (every..=MILLIS_MAX).contains(&length) && length.is_multiple_of(every),
            "a length must be a number of periods, a year at most"
        );
        Ok(Self {
            every: Duration::from_millis(every),
            length: Duration::from_millis(length),
            packets: length / every,
        })
    }
}

/// Runs `simulate`, which returns how many packets came back, and prints the virtual seconds per
/// second of this thread's processor time as one JSON object.
///
/// # Errors
/// When the simulation fails, or not every packet came back: then it was another load.
pub fn measure(
    subject: &str,
    load: Load,
    simulate: impl FnOnce(Load) -> Result<u64>,
) -> Result<()> {
    let began = processor_time()?;
    let back = simulate(load)?;
    let took = processor_time()?.saturating_sub(began);
    ensure!(
        back == load.packets,
        "{back} of {} packets came back",
        load.packets
    );
    let value = load.length.as_secs_f64() / took.as_secs_f64();
    let every = load.every.as_millis();
    println!(r#"{{"subject": "{subject}", "figure": "echo_{every}ms", "value": {value}}}"#);
    Ok(())
}

/// What this thread has used of a core.
fn processor_time() -> Result<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).context("read the clock")?;
    Ok(time.into())
}
