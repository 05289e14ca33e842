//! One event loop as a future.
use crate::{
    acceptor::Acceptor,
    devices::Queue,
    listen::{BoundSocket, BoundSockets},
    local::{Local, Task, Work},
    reactor::{Reactor, Sleep as _},
    reception::Reception,
    shared::{Shared, StopAt, Totals},
    udp::UdpEndpoint,
};
use core::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use futures_util::stream::{FuturesUnordered, Stream as _};
use sansbox_engine::drive::Service;
use std::{io, rc::Rc, sync::Arc, time::Instant};

/// One event loop that is not running yet: sockets that are bound, and what to serve on them.
///
/// [`Runtime::start`](crate::Runtime::start) runs each on a thread of its own.
/// [`Runtime::embed`](crate::Runtime::embed) hands them out, to be run on a thread and an executor
/// of the caller's: a worker moves to its thread first, and its future stays there.
pub struct Worker<S: Service, R: Reactor> {
    shared: Arc<Shared<S>>,
    totals: Arc<Totals>,
    number: usize,
    pipes: usize,
    sockets: BoundSockets,
    queues: Vec<Queue>,
    over: Over<S>,
    reactor: PhantomData<fn() -> R>,
}

impl<S: Service, R: Reactor> fmt::Debug for Worker<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl<S: Service, R: Reactor> Worker<S, R> {
    pub(crate) fn new(
        shared: Arc<Shared<S>>,
        totals: Arc<Totals>,
        number: usize,
        pipes: usize,
        (sockets, queues): (BoundSockets, Vec<Queue>),
    ) -> Self {
        shared.control.enter();
        Self {
            over: Over {
                shared: Arc::clone(&shared),
                cut: 0,
            },
            shared,
            totals,
            number,
            pipes,
            sockets,
            queues,
            reactor: PhantomData,
        }
    }

    /// Serves until [`Running::stop`](crate::Running::stop), or until the future is dropped, which
    /// cuts everything. Must be polled where the reactor works: for tokio inside a runtime with
    /// I/O enabled, for smol anywhere.
    ///
    /// # Errors
    /// When the reactor cannot watch the listeners, or wait.
    pub async fn run(self) -> io::Result<()> {
        self.serve(|_| ()).await
    }

    /// The same; calls `started` once.
    pub(crate) async fn serve(self, started: impl FnOnce(io::Result<()>)) -> io::Result<()> {
        let mut over = self.over;
        let local = Local::<S, R>::new(self.shared, self.totals, self.number, self.pipes);
        let begun = listen(&local, self.sockets).and_then(|()| attach(&local, self.queues));
        let sleep = match begun.and_then(|()| R::Sleep::new()) {
            Ok(sleep) => sleep,
            Err(e) => {
                let kind = e.kind();
                local.forget_newborn();
                started(Err(e));
                return Err(kind.into());
            }
        };
        started(Ok(()));
        let serving = Serving {
            tasks: FuturesUnordered::new(),
            sleep,
            stage: Stage::Serving,
            known: None,
            local,
        };
        over.cut = serving.await;
        Ok(())
    }
}

/// Tells that a worker is over, however it ended.
struct Over<S> {
    shared: Arc<Shared<S>>,
    cut: usize,
}

impl<S> Drop for Over<S> {
    fn drop(&mut self) {
        self.shared.control.leave(self.cut);
    }
}

fn listen<S: Service, R: Reactor>(
    local: &Rc<Local<S, R>>,
    sockets: BoundSockets,
) -> io::Result<()> {
    for BoundSocket {
        inbound,
        local: address,
        socket,
        udp,
    } in sockets
    {
        local.spawn(match udp {
            None => {
                let acceptor = Acceptor::new(inbound, socket.into(), address)?;
                Work::Acceptor(Box::new(acceptor))
            }
            Some(udp) if udp.is_carrier => {
                let endpoint = UdpEndpoint::new(socket, udp.may_fragment)?;
                local.serve_carrier(inbound, endpoint);
                continue;
            }
            Some(udp) => {
                let endpoint = UdpEndpoint::new(socket, udp.may_fragment)?;
                let limit = local.shared.options.max_associations;
                Work::Reception(Box::new(Reception::new(inbound, endpoint, limit)?))
            }
        });
    }
    local.spawn(Work::Alarm(Box::new(R::Sleep::new()?)));
    Ok(())
}

fn attach<S: Service, R: Reactor>(local: &Rc<Local<S, R>>, queues: Vec<Queue>) -> io::Result<()> {
    for queue in queues {
        local.serve_device(queue)?;
    }
    Ok(())
}

/// How far the end has come.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Serving,
    /// The listeners are closed; sessions go on.
    Grace(StopAt),
    /// Sessions were told to stop.
    Stopping(StopAt),
}

/// Polls everything of a worker; ready with the number of sessions that are cut.
struct Serving<S: Service, R: Reactor> {
    local: Rc<Local<S, R>>,
    tasks: FuturesUnordered<Task<S, R>>,
    stage: Stage,
    /// Waits for the next stage.
    sleep: R::Sleep,
    /// The waker that the control knows.
    known: Option<Waker>,
}

impl<S: Service, R: Reactor> Drop for Serving<S, R> {
    fn drop(&mut self) {
        self.local.forget_newborn();
    }
}

impl<S: Service, R: Reactor> Future for Serving<S, R> {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<usize> {
        let this = self.get_mut();
        loop {
            this.poll_tasks(cx);
            if let Poll::Ready(cut) = this.poll_stage(cx) {
                return Poll::Ready(cut);
            }
            let at = match this.stage {
                // The control wakes this one from here on.
                Stage::Serving if this.local.retune() => continue,
                Stage::Serving => return Poll::Pending,
                Stage::Grace(at) => at.stop,
                Stage::Stopping(at) => at.cut,
            };
            if this.sleep.poll_until(cx, at).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl<S: Service, R: Reactor> Serving<S, R> {
    fn poll_tasks(&mut self, cx: &mut Context<'_>) {
        loop {
            while let Some(newborn) = self.local.next_newborn() {
                self.tasks.push(newborn);
            }
            let polled = Pin::new(&mut self.tasks).poll_next(cx);
            let is_done = !matches!(polled, Poll::Ready(Some(())));
            // A birth that comes to nothing wakes whoever asked for it.
            self.local.bear();
            let is_woken = self.local.wake_woken();
            if is_done && !is_woken && !self.local.has_newborn() && !self.local.check_alarm() {
                return;
            }
        }
    }

    /// The end: carriers say so to their peers. `cut` sessions did not end by themselves.
    fn end(&mut self, cx: &mut Context<'_>, cut: usize) -> Poll<usize> {
        self.local.stop_carriers();
        self.poll_tasks(cx);
        Poll::Ready(cut)
    }

    /// Goes on towards the end when that is asked for.
    fn poll_stage(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        loop {
            self.stage = match self.stage {
                Stage::Serving => {
                    let control = &self.local.shared.control;
                    let Some(at) = control.poll_stop(cx.waker(), &mut self.known) else {
                        return Poll::Pending;
                    };
                    self.local.close_listeners();
                    self.poll_tasks(cx);
                    Stage::Grace(at)
                }
                Stage::Grace(_) | Stage::Stopping(_) if self.local.live() == 0 => {
                    return self.end(cx, 0);
                }
                Stage::Grace(at) if Instant::now() >= at.stop => {
                    self.local.stop_sessions();
                    self.poll_tasks(cx);
                    Stage::Stopping(at)
                }
                Stage::Stopping(at) if Instant::now() >= at.cut => {
                    return self.end(cx, self.local.live());
                }
                Stage::Grace(_) | Stage::Stopping(_) => return Poll::Pending,
            };
        }
    }
}
