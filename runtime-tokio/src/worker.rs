//! One thread with one event loop, and all that its sessions share.
use crate::{
    association::Reception,
    buffers::Buffers,
    counters::Tally,
    listener::{Acceptor, BoundSocket, BoundSockets},
    observer::Observer,
    options::Options,
    passthrough::Stores,
    pipes::KernelPipes,
    resolve::RESOLVER_THREADS,
    service::Service,
    sockets::CheapController,
    timers::Timers,
    udp::{Datagrams, UdpEndpoint},
};
use sansbox_core::{Instant, Seed};
use slab::Slab;
use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::Duration,
};
use tokio::{
    net::{TcpListener, UdpSocket},
    runtime::{Builder, LocalOptions},
    sync::{Notify, Semaphore, watch},
    task::{JoinHandle, spawn_local},
    time::timeout_at,
};

/// Stack of a thread that waits for the system's resolver.
const RESOLVER_STACK: usize = 512 * 1024;

/// The clock of all machines: nanoseconds since the runtime started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    epoch: std::time::Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            epoch: std::time::Instant::now(),
        }
    }

    pub(crate) fn now(self) -> Instant {
        Instant::ZERO + self.epoch.elapsed()
    }

    /// The same moment as tokio counts it; far in the future rather than out of range.
    pub(crate) fn at(self, at: Instant) -> tokio::time::Instant {
        const FAR: Duration = Duration::from_hours(24 * 365);
        let since = at.saturating_duration_since(Instant::ZERO);
        let capped = since.min(self.epoch.elapsed() + FAR);
        tokio::time::Instant::from_std(self.epoch + capped)
    }
}

/// What all workers share; immutable but for the permits.
pub(crate) struct Shared<S> {
    pub(crate) service: Arc<S>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) cheap_controller: Option<CheapController>,
    pub(crate) seed: Seed,
    /// One permit for each further session; `None`: no limit.
    pub(crate) permits: Option<Semaphore>,
}

impl<S> Shared<S> {
    /// Takes a permit if there is one.
    pub(crate) fn try_admit(&self) -> bool {
        self.permits.as_ref().is_none_or(|permits| {
            let permit = permits.try_acquire();
            permit.map(tokio::sync::SemaphorePermit::forget).is_ok()
        })
    }

    /// Waits for a permit and takes it.
    pub(crate) async fn admit(&self) {
        if let Some(permits) = &self.permits
            && let Ok(permit) = permits.acquire().await
        {
            permit.forget();
        }
    }
}

/// When to tell sessions to stop and when to cut them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StopAt {
    pub(crate) stop: tokio::time::Instant,
    pub(crate) cut: tokio::time::Instant,
}

/// What the sessions of one thread share.
pub(crate) struct Worker<S> {
    pub(crate) shared: Arc<Shared<S>>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) stores: Stores,
    pub(crate) datagrams: Datagrams,
    pub(crate) timers: Timers,
    /// Who can be woken: sessions by number.
    sessions: RefCell<Slab<Waker>>,
    lookups: Cell<usize>,
    is_stopping: Cell<bool>,
    all_gone: Notify,
    seed: Seed,
    seeds_given: Cell<u64>,
}

impl<S> Worker<S> {
    /// A seed for the next session.
    pub(crate) fn seed(&self) -> Seed {
        let n = self.seeds_given.get();
        self.seeds_given.set(n + 1);
        self.seed.derive_nth("session", n)
    }

    /// A session begins; returns its number.
    pub(crate) fn enter(&self) -> usize {
        let mut sessions = self.sessions.borrow_mut();
        sessions.insert(Waker::noop().clone())
    }

    /// How to wake a session.
    pub(crate) fn register(&self, number: usize, waker: &Waker) {
        if let Some(known) = self.sessions.borrow_mut().get_mut(number) {
            *known = waker.clone();
        }
    }

    /// A session ended.
    pub(crate) fn leave(&self, number: usize) {
        let mut sessions = self.sessions.borrow_mut();
        sessions.try_remove(number);
        self.tally.ended.add(1);
        if let Some(permits) = &self.shared.permits {
            permits.add_permits(1);
        }
        if sessions.is_empty() {
            self.all_gone.notify_one();
        }
    }

    pub(crate) const fn is_stopping(&self) -> bool {
        self.is_stopping.get()
    }

    pub(crate) const fn lookups_running(&self) -> usize {
        self.lookups.get()
    }

    pub(crate) fn lookup_began(&self) {
        self.lookups.set(self.lookups.get() + 1);
        self.tally.lookups.add(1);
    }

    pub(crate) fn lookups_ended(&self, n: usize) {
        self.lookups.set(self.lookups.get().saturating_sub(n));
    }

    fn wake(&self, number: usize) {
        if let Some(waker) = self.sessions.borrow().get(number) {
            waker.wake_by_ref();
        }
    }

    fn stop_sessions(&self) {
        self.is_stopping.set(true);
        for (_, waker) in &*self.sessions.borrow() {
            waker.wake_by_ref();
        }
    }

    fn live(&self) -> usize {
        self.sessions.borrow().len()
    }

    async fn all_gone(&self) {
        while self.live() > 0 {
            self.all_gone.notified().await;
        }
    }
}

/// What a thread is started with.
pub(crate) struct Seat<S> {
    pub(crate) shared: Arc<Shared<S>>,
    pub(crate) tally: Arc<Tally>,
    pub(crate) number: usize,
    pub(crate) pipes: usize,
    pub(crate) sockets: BoundSockets,
    pub(crate) control: watch::Receiver<Option<StopAt>>,
}

impl<S: Service> Seat<S> {
    /// Serves until told to stop; calls `started` once. Returns how many sessions were cut.
    pub(crate) fn run(self, started: impl FnOnce(io::Result<()>)) -> usize {
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .max_blocking_threads(RESOLVER_THREADS)
            .thread_stack_size(RESOLVER_STACK)
            .build_local(LocalOptions::default());
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(e) => {
                started(Err(e));
                return 0;
            }
        };
        let cut = runtime.block_on(self.serve(started));
        // Not joined: a thread that waits for a resolver may wait for long.
        runtime.shutdown_background();
        cut
    }

    async fn serve(self, started: impl FnOnce(io::Result<()>)) -> usize {
        let mut control = self.control;
        let worker = Rc::new(Worker {
            seed: self.shared.seed.derive_nth("worker", self.number as u64),
            shared: self.shared,
            tally: self.tally,
            stores: Stores {
                buffers: Buffers::default(),
                pipes: KernelPipes::new(self.pipes),
            },
            datagrams: Datagrams::default(),
            timers: Timers::default(),
            sessions: RefCell::default(),
            lookups: Cell::new(0),
            is_stopping: Cell::new(false),
            all_gone: Notify::new(),
            seeds_given: Cell::new(0),
        });
        let listeners = match listen(&worker, self.sockets) {
            Ok(listeners) => listeners,
            Err(e) => {
                started(Err(e));
                return 0;
            }
        };
        spawn_local(fire_timers(Rc::clone(&worker)));
        started(Ok(()));
        let stop_at = control.wait_for(Option::is_some).await;
        let stop_at = stop_at.map_or(None, |stop_at| *stop_at);
        for listener in listeners {
            listener.abort();
        }
        // Whoever dropped the handle cannot wait.
        let Some(stop_at) = stop_at else {
            return worker.live();
        };
        if timeout_at(stop_at.stop, worker.all_gone()).await.is_err() {
            worker.stop_sessions();
            let _cut = timeout_at(stop_at.cut, worker.all_gone()).await;
        }
        worker.live()
    }
}

async fn fire_timers<S>(worker: Rc<Worker<S>>) {
    let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
    let clock = worker.shared.clock;
    let wake = |number| worker.wake(number);
    poll_fn(|cx| worker.timers.poll(cx, sleep.as_mut(), clock, wake)).await;
}

fn listen<S: Service>(
    worker: &Rc<Worker<S>>,
    sockets: BoundSockets,
) -> io::Result<Vec<JoinHandle<()>>> {
    let mut tasks = Vec::new();
    for BoundSocket {
        inbound,
        local,
        socket,
        udp,
    } in sockets
    {
        let worker = Rc::clone(worker);
        tasks.push(match udp {
            None => {
                let listener = TcpListener::from_std(socket.into())?;
                let acceptor = Acceptor {
                    worker,
                    inbound,
                    listener,
                    local,
                };
                spawn_local(acceptor.run())
            }
            Some(udp) => {
                let socket = UdpSocket::from_std(socket.into())?;
                let endpoint = Rc::new(UdpEndpoint::new(socket, udp.may_fragment)?);
                let reception = Reception {
                    worker,
                    inbound,
                    endpoint,
                };
                spawn_local(reception.run())
            }
        });
    }
    Ok(tasks)
}
