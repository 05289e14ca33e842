//! Starting and stopping.
use crate::{
    counters::{Counters, Tally},
    listener::{BoundSockets, bind_all},
    observer::{Observer, RuntimeEvent},
    options::{Options, Shutdown},
    service::{Network, Service},
    sockets::CheapController,
    worker::{Clock, Seat, Shared, StopAt},
};
use core::net::SocketAddr;
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};
use sansbox_core::{Instant, Seed};
use sansbox_engine::ids::InboundId;
use std::{
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};
use tokio::sync::{Semaphore, watch};

/// Why the runtime did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener could not be bound.
    #[error("listen {network:?} {address}: {source}")]
    Bind {
        /// Whose.
        inbound: InboundId,
        /// TCP or UDP.
        network: Network,
        /// Where it should have been.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A worker could not be started.
    #[error("start a worker: {0}")]
    Worker(#[source] io::Error),
    /// The system gave no randomness.
    #[error("no randomness: {0}")]
    Entropy(#[source] io::Error),
}

/// A listener that is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Whose.
    pub inbound: InboundId,
    /// TCP or UDP.
    pub network: Network,
    /// Where, with the port that the system chose.
    pub address: SocketAddr,
}

/// Starts workers.
#[derive(Debug)]
pub struct Runtime;

impl Runtime {
    /// Binds every listener of `service` and starts the workers. Returns once all of them serve.
    ///
    /// # Errors
    /// When a listener cannot be bound, which includes that another process has its port, or a
    /// thread cannot be started. Nothing is left running then.
    pub fn start<S: Service>(
        service: Arc<S>,
        options: Options,
        observer: Arc<dyn Observer>,
    ) -> Result<Running, StartError> {
        if options.raise_file_limit {
            raise_file_limit();
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| StartError::Entropy(e.into()))?;
        let cpus = choose_cpus(options.workers);
        let cheap = options.loopback_congestion.then(CheapController::find);
        let cheap_controller = cheap.flatten();
        let sockets = bind_all(&service.inbounds(), &cpus, cheap_controller)?;
        let bound = addresses(&sockets);
        let shared = Arc::new(Shared {
            service,
            observer,
            clock: Clock::start(),
            cheap_controller,
            seed: Seed::new(seed),
            permits: options
                .max_connections
                .map(|n| Semaphore::new(n.min(Semaphore::MAX_PERMITS))),
            options,
        });
        let mut running = Running {
            clock: shared.clock,
            bound,
            threads: Vec::new(),
            tallies: Vec::new(),
            control: watch::Sender::new(None),
        };
        running.start_workers(&shared, &cpus, sockets)?;
        for bound in &running.bound {
            shared.observer.runtime(&RuntimeEvent::Bound {
                inbound: bound.inbound,
                network: bound.network,
                address: bound.address,
            });
        }
        Ok(running)
    }
}

/// Workers that serve. Dropping it cuts everything.
#[derive(Debug)]
pub struct Running {
    clock: Clock,
    bound: Vec<Bound>,
    threads: Vec<JoinHandle<usize>>,
    tallies: Vec<Arc<Tally>>,
    control: watch::Sender<Option<StopAt>>,
}

impl Running {
    fn start_workers<S: Service>(
        &mut self,
        shared: &Arc<Shared<S>>,
        cpus: &[Option<usize>],
        sockets: Vec<BoundSockets>,
    ) -> Result<(), StartError> {
        let (started, starts) = mpsc::channel();
        for (number, (cpu, sockets)) in cpus.iter().zip(sockets).enumerate() {
            let tally = Arc::new(Tally::default());
            let seat = Seat {
                shared: Arc::clone(shared),
                tally: Arc::clone(&tally),
                number,
                pipes: shared.options.max_pipes / cpus.len().max(1),
                sockets,
                control: self.control.subscribe(),
            };
            let (cpu, started) = (*cpu, started.clone());
            let thread = thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    pin_to(cpu);
                    seat.run(move |result| drop(started.send(result)))
                })
                .map_err(StartError::Worker)?;
            self.threads.push(thread);
            self.tallies.push(tally);
        }
        drop(started);
        let results: Vec<io::Result<()>> = starts.iter().collect();
        results
            .into_iter()
            .collect::<io::Result<()>>()
            .map_err(StartError::Worker)
    }

    /// Every listener's address.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// What was counted so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        for tally in &self.tallies {
            tally.add_to(&mut sum);
        }
        sum
    }

    /// What machines reported so far: traffic, refusals, ends. Sessions that were cut are not in
    /// it.
    #[must_use]
    pub fn served(&self) -> sansbox_engine::counters::Counters {
        let mut sum = sansbox_engine::counters::Counters::default();
        for tally in &self.tallies {
            tally.add_served_to(&mut sum);
        }
        sum
    }

    /// The machines' clock: time since the start.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Closes the listeners, lets sessions go on for `shutdown.grace`, tells the rest to stop and
    /// cuts what is left after `shutdown.deadline` more. Waits for all of that; returns how many
    /// were cut. Counters stay readable.
    pub fn stop(&mut self, shutdown: Shutdown) -> usize {
        let stop = tokio::time::Instant::now() + shutdown.grace;
        let cut = stop + shutdown.deadline;
        self.control.send_replace(Some(StopAt { stop, cut }));
        self.join()
    }

    fn join(&mut self) -> usize {
        let threads = self.threads.drain(..);
        // A worker that panicked has nobody left to cut.
        threads.map(|thread| thread.join().unwrap_or(0)).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let now = tokio::time::Instant::now();
        self.control.send_if_modified(|stop_at| {
            let is_first = stop_at.is_none();
            stop_at.get_or_insert(StopAt {
                stop: now,
                cut: now,
            });
            is_first
        });
        self.join();
    }
}

fn addresses(sockets: &[BoundSockets]) -> Vec<Bound> {
    let first = sockets.first().into_iter().flatten();
    first
        .map(|socket| Bound {
            inbound: socket.inbound,
            network: match socket.udp {
                None => Network::Tcp,
                Some(_) => Network::Udp,
            },
            address: socket.local,
        })
        .collect()
}

/// One entry for each worker: the CPU to run on, if it matters.
fn choose_cpus(workers: Option<usize>) -> Vec<Option<usize>> {
    let usable: Vec<usize> = sched_getaffinity(None).map_or_else(
        |_| Vec::new(),
        |set| {
            (0..CpuSet::MAX_CPU)
                .filter(|cpu| set.is_set(*cpu))
                .collect()
        },
    );
    let count = workers.unwrap_or(usable.len()).max(1);
    if count == 1 || usable.is_empty() {
        return vec![None; count];
    }
    usable
        .iter()
        .copied()
        .map(Some)
        .cycle()
        .take(count)
        .collect()
}

fn pin_to(cpu: Option<usize>) {
    if let Some(cpu) = cpu {
        let mut set = CpuSet::new();
        set.set(cpu);
        // Only a matter of speed: the CPU may have gone since it was listed.
        let _slower = sched_setaffinity(None, &set);
    }
}

fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Without it there is room for fewer connections, which the back-off deals with.
    let _fewer_files = setrlimit(Resource::Nofile, raised);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_worker_is_not_pinned_and_several_are() {
        assert_eq!(choose_cpus(Some(1)), [None]);
        assert_eq!(choose_cpus(Some(0)), [None]);
        let several = choose_cpus(Some(3));
        assert_eq!(several.len(), 3);
        assert!(several.iter().all(Option::is_some), "{several:?}");
    }
}
