//! A whole proxy on threads of its own.
use crate::{
    log::Lines,
    plan,
    settings::read_settings,
    status::Status,
    types::{Bound, DeviceSettings, Stats},
};
use nix::sys::signal::SigSet;
use sansbox_engine::{Plan, config::model::Config, ids::InboundId};
use sansbox_tokio::{DeviceFile, Network, Options, Running, Runtime, Shutdown};
use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// A proxy that runs.
#[derive(Debug)]
pub(crate) struct Instance {
    running: Mutex<Running>,
    lines: Arc<Lines>,
}

impl Instance {
    /// Starts what a configuration describes. The text says why it does not start, or what should
    /// be changed when it does.
    pub(crate) fn start(
        json: &[u8],
        devices: Vec<DeviceFile>,
    ) -> Result<(Self, String), (Status, String)> {
        let (config, plan, warnings) = plan::build(json)?;
        if config
            .log
            .output
            .as_deref()
            .is_some_and(|to| !to.is_empty())
        {
            let text = "config: log.output: the library writes no log, sansbox_log hands it out";
            return Err((Status::BadConfig, text.to_owned()));
        }
        let plan = Arc::new(plan);
        let lines = Arc::new(Lines::new(Arc::clone(&plan), &config.log));
        let options = Options {
            devices,
            ..options(&config)
        };
        let running = start_quietly(plan, options, Arc::clone(&lines))?;
        let running = Mutex::new(running);
        Ok((Self { running, lines }, warnings))
    }

    /// Stops it; what was counted until then.
    pub(crate) fn stop(&self, grace: Duration, deadline: Duration) -> Result<Stats, Status> {
        let mut running = self.running.lock().map_err(|_| Status::Panicked)?;
        let cut = running.stop(Shutdown { grace, deadline });
        let stats = sum(&running);
        Ok(Stats {
            cut: cut as u64,
            ..stats
        })
    }

    pub(crate) fn stats(&self) -> Result<Stats, Status> {
        let running = self.running.lock().map_err(|_| Status::Panicked)?;
        Ok(sum(&running))
    }

    pub(crate) fn bound(&self, index: u32) -> Result<Bound, Status> {
        let running = self.running.lock().map_err(|_| Status::Panicked)?;
        let bound = running.bound().get(index as usize);
        let bound = bound.ok_or(Status::None)?;
        Ok(Bound {
            address: bound.address.into(),
            inbound: bound.inbound.0.into(),
            udp: match bound.network {
                Network::Tcp => 0,
                Network::Udp => 1,
            },
        })
    }

    /// How a device is served.
    pub(crate) fn device(&self, inbound: InboundId) -> Result<DeviceSettings, Status> {
        let running = self.running.lock().map_err(|_| Status::Panicked)?;
        let settings = running.device(inbound).ok_or(Status::BadArgument)?;
        Ok(settings.into())
    }

    /// Serves a device in another way.
    pub(crate) fn set_device(&self, inbound: InboundId, to: DeviceSettings) -> Result<(), Status> {
        let running = self.running.lock().map_err(|_| Status::Panicked)?;
        let settings = read_settings(to)?;
        let set = running.set_device(inbound, settings);
        set.map_err(|_| Status::BadArgument)
    }

    pub(crate) fn lines(&self) -> &Lines {
        &self.lines
    }
}

fn options(config: &Config) -> Options {
    let own = &config.sansbox;
    Options {
        workers: own.workers,
        max_connections: own.max_connections,
        loopback_congestion: !own.system_congestion,
        // The limit belongs to the whole process, so it is the program's to raise.
        raise_file_limit: false,
        ..Options::default()
    }
}

/// Starts the workers with all signals blocked, which threads inherit: a program's handlers then
/// run on its own threads, and writing to a connection that is gone is an error and not SIGPIPE.
/// A thread in between takes that mask, so that the caller's stays as it is.
fn start_quietly(
    plan: Arc<Plan>,
    options: Options,
    lines: Arc<Lines>,
) -> Result<Running, (Status, String)> {
    let failed = |text: String| (Status::StartFailed, text);
    let start = move || {
        let masked = SigSet::all().thread_block();
        masked.map_err(|e| format!("block signals: {e}"))?;
        Runtime::start(plan, options, lines).map_err(|e| e.to_string())
    };
    let starter = thread::Builder::new().name("sansbox-start".to_owned());
    let starter = starter.spawn(start).map_err(|e| failed(e.to_string()))?;
    match starter.join() {
        Ok(started) => started.map_err(failed),
        Err(_) => Err((Status::Panicked, String::new())),
    }
}

fn sum(running: &Running) -> Stats {
    let (counters, served) = (running.counters(), running.served());
    let mut stats = Stats {
        accepted: counters.accepted,
        associations: counters.associations,
        open: counters.open,
        refused: served.refused.values().sum(),
        ended: served.closed.values().sum(),
        dials: counters.dials,
        lookups: counters.lookups,
        dropped: counters.datagrams_dropped + served.drops.total(),
        ..Stats::default()
    };
    for traffic in served.inbounds.values() {
        stats.bytes_up += traffic.bytes_up;
        stats.bytes_down += traffic.bytes_down;
    }
    stats
}
