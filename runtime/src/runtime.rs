//! Starting and stopping.
use crate::{
    devices::{Devices, RoutesHandle},
    listen::{BoundSockets, bind_all},
    observer::{Observer, RuntimeEvent},
    options::{Options, Shutdown},
    process::{choose_cpus, pin_to, raise_file_limit},
    reactor::Reactor,
    shared::{Admission, Clock, Control, Shared, StopAt, Totals},
    sockets::CheapController,
    tun::TunError,
    tuning::Tuning,
    worker::Worker,
};
use core::{marker::PhantomData, net::SocketAddr};
use sansbox_core::{Instant, Seed};
use sansbox_engine::{
    carrier::tun::{BadSettings, Settings},
    counters::Counters as Served,
    drive::{Counters, Network, Service},
    ids::InboundId,
};
use std::{
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

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
    /// A TUN device, or its routes, cannot be had.
    #[error("{source}")]
    Device {
        /// Whose.
        inbound: InboundId,
        /// Why.
        source: TunError,
    },
    /// A worker could not be started.
    #[error("start a worker: {0}")]
    Worker(#[source] io::Error),
    /// The system gave no randomness.
    #[error("no randomness: {0}")]
    Entropy(#[source] io::Error),
}

/// Why a device is not served in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The inbound has no device.
    #[error("this is no tun inbound")]
    NoDevice,
    /// Settings that cannot be.
    #[error(transparent)]
    Settings(#[from] BadSettings),
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

/// Starts workers on a reactor.
#[derive(Debug)]
pub struct Runtime<R>(PhantomData<R>);

impl<R: Reactor> Runtime<R> {
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
        let cpus = choose_cpus(options.workers);
        let (mut running, workers) =
            prepare::<S, R>(service, options, Arc::clone(&observer), &cpus)?;
        running.start_workers(workers, &cpus)?;
        running.tell_bound(&*observer);
        Ok(running)
    }

    /// Binds every listener of `service` and hands the workers out, `options.workers` of them or
    /// one, for threads and executors of the caller's: each serves while its
    /// [`run`](Worker::run) is polled.
    ///
    /// # Errors
    /// When a listener cannot be bound, which includes that another process has its port.
    pub fn embed<S: Service>(
        service: Arc<S>,
        options: Options,
        observer: Arc<dyn Observer>,
    ) -> Result<(Running, Vec<Worker<S, R>>), StartError> {
        let cpus = vec![None; options.workers.unwrap_or(1).max(1)];
        let (running, workers) = prepare::<S, R>(service, options, Arc::clone(&observer), &cpus)?;
        running.tell_bound(&*observer);
        Ok((running, workers))
    }
}

/// Binds everything and makes a worker for each of `cpus`.
fn prepare<S: Service, R: Reactor>(
    service: Arc<S>,
    mut options: Options,
    observer: Arc<dyn Observer>,
    cpus: &[Option<usize>],
) -> Result<(Running, Vec<Worker<S, R>>), StartError> {
    if options.raise_file_limit {
        raise_file_limit();
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| StartError::Entropy(e.into()))?;
    let cheap = options.loopback_congestion.then(CheapController::find);
    let cheap_controller = cheap.flatten();
    let sockets = bind_all(&service.inbounds(), cpus, cheap_controller)?;
    let handed_in = core::mem::take(&mut options.devices);
    let (devices, queues) = Devices::open(&*service, cpus.len(), handed_in)?;
    let tuning = Arc::new(Tuning::new(devices.settings()));
    let bound = addresses(&sockets);
    let control = Arc::new(Control::default());
    let shared = Arc::new(Shared {
        service,
        observer,
        clock: Clock::start(),
        cheap_controller,
        seed: Seed::new(seed),
        admission: Admission::new(options.max_connections),
        control: Arc::clone(&control),
        uplink: Arc::new(devices.uplink()),
        tuning: Arc::clone(&tuning),
        options,
    });
    let mut running = Running {
        clock: shared.clock,
        bound,
        threads: Vec::new(),
        totals: Vec::new(),
        control,
        tuning,
        routes: RoutesHandle::new(devices.route()?),
        devices,
    };
    let pipes = shared.options.max_pipes / cpus.len().max(1);
    let numbered = sockets.into_iter().zip(queues).enumerate();
    let workers = numbered.map(|(number, served)| {
        let totals = Arc::new(Totals::default());
        running.totals.push(Arc::clone(&totals));
        Worker::new(Arc::clone(&shared), totals, number, pipes, served)
    });
    let workers = workers.collect();
    Ok((running, workers))
}

/// Workers that serve. Dropping it cuts everything and waits for its threads.
#[derive(Debug)]
pub struct Running {
    clock: Clock,
    bound: Vec<Bound>,
    threads: Vec<JoinHandle<()>>,
    totals: Vec<Arc<Totals>>,
    control: Arc<Control>,
    tuning: Arc<Tuning>,
    /// The devices, whose routes lead into them as long as this lives.
    devices: Devices,
    routes: RoutesHandle,
}

impl Running {
    fn start_workers<S: Service, R: Reactor>(
        &mut self,
        workers: Vec<Worker<S, R>>,
        cpus: &[Option<usize>],
    ) -> Result<(), StartError> {
        let (started, starts) = mpsc::channel::<io::Result<()>>();
        for (number, (cpu, worker)) in cpus.iter().zip(workers).enumerate() {
            let (cpu, started) = (*cpu, started.clone());
            let thread = thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || {
                    pin_to(cpu);
                    let failed = started.clone();
                    let serving = worker.serve(move |result| drop(started.send(result)));
                    if let Err(e) = R::run(serving) {
                        drop(failed.send(Err(e)));
                    }
                })
                .map_err(StartError::Worker)?;
            self.threads.push(thread);
        }
        drop(started);
        let results: Vec<io::Result<()>> = starts.iter().take(cpus.len()).collect();
        let all = results.into_iter().collect::<io::Result<()>>();
        all.map_err(StartError::Worker)
    }

    fn tell_bound(&self, observer: &dyn Observer) {
        for bound in &self.bound {
            observer.runtime(&RuntimeEvent::Bound {
                inbound: bound.inbound,
                network: bound.network,
                address: bound.address,
            });
        }
        for (inbound, interface) in self.devices.interfaces() {
            let name = &interface.name;
            observer.runtime(&RuntimeEvent::Opened { inbound, name });
        }
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
        for totals in &self.totals {
            totals.add_to(&mut sum);
        }
        sum
    }

    /// What machines reported so far: traffic, refusals, ends. Sessions that were cut are not in
    /// it.
    #[must_use]
    pub fn served(&self) -> Served {
        let mut sum = Served::default();
        for totals in &self.totals {
            totals.add_served_to(&mut sum);
        }
        sum
    }

    /// How the device of an inbound is served; `None` when it has none.
    #[must_use]
    pub fn device(&self, inbound: InboundId) -> Option<Settings> {
        self.tuning.get(inbound)
    }

    /// Serves the device of an inbound in another way: every worker does as soon as it has done
    /// what it is at. Connections and mappings go on.
    ///
    /// # Errors
    /// [`DeviceError`]; nothing has changed then.
    pub fn set_device(&self, inbound: InboundId, settings: Settings) -> Result<(), DeviceError> {
        settings.check()?;
        if !self.tuning.set(inbound, settings) {
            return Err(DeviceError::NoDevice);
        }
        self.control.wake();
        Ok(())
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
        self.begin_stop(shutdown);
        let cut = self.control.wait();
        self.join();
        // Packets go their old way again, before somebody asks whether they do.
        self.routes.remove();
        cut
    }

    /// What takes the routes into devices away, for a program that may end without
    /// [`Self::stop`]: nothing is dropped then, and rules would be left until the next start.
    #[must_use]
    pub fn routes(&self) -> RoutesHandle {
        self.routes.clone()
    }

    /// Begins to stop and returns at once, for callers whose own thread runs a worker that was
    /// [embedded](Runtime::embed): its future ends then. Only the first call counts.
    pub fn begin_stop(&self, shutdown: Shutdown) {
        let stop = std::time::Instant::now() + shutdown.grace;
        let cut = stop + shutdown.deadline;
        self.control.stop(StopAt { stop, cut });
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            // A worker that panicked has told so itself.
            let _panicked = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.begin_stop(Shutdown::default());
        self.join();
        self.routes.remove();
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
