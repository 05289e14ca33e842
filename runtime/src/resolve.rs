//! The system's resolver, on threads of its own: it blocks.
use crate::shared::lock;
use core::{
    cell::Cell,
    net::IpAddr,
    task::{Poll, Waker},
    time::Duration,
};
use dns_lookup::{AddrFamily, AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};
use sansbox_core::{Domain, Refusal};
use sansbox_engine::machine::Families;
use std::{
    collections::VecDeque,
    rc::Rc,
    sync::{Arc, Condvar, Mutex, PoisonError, Weak},
    thread,
};

/// Threads of one worker that may wait for the system's resolver.
const THREADS_MAX: usize = 32;
/// Lookups of one worker that may run or wait for a thread.
const LOOKUPS_MAX: usize = 2048;
/// Stack of such a thread.
const STACK: usize = 512 * 1024;
/// A thread without work for so long ends.
const KEEP: Duration = Duration::from_secs(10);

/// Addresses, or why there are none.
pub(crate) type Answer = Result<Vec<IpAddr>, Refusal>;

/// One worker's lookups.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    queue: Arc<Queue>,
    running: Rc<Cell<usize>>,
}

impl Drop for Resolver {
    fn drop(&mut self) {
        // Not joined: a thread that waits for a resolver may wait for long.
        lock(&self.queue.state).is_over = true;
        self.queue.news.notify_all();
    }
}

impl Resolver {
    /// Begins a lookup.
    pub(crate) fn begin(&self, name: Domain, families: Families) -> Result<Lookup, Refusal> {
        if self.running.get() >= LOOKUPS_MAX {
            return Err(Refusal::ResolverFailed);
        }
        let promise = Arc::new(Promise::default());
        self.queue.push(Job {
            name,
            families,
            promise: Arc::downgrade(&promise),
        })?;
        self.running.set(self.running.get() + 1);
        Ok(Lookup {
            promise,
            running: Rc::clone(&self.running),
        })
    }
}

/// A lookup that runs; dropping it forgets the answer.
#[derive(Debug)]
pub(crate) struct Lookup {
    promise: Arc<Promise>,
    running: Rc<Cell<usize>>,
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.running.set(self.running.get().saturating_sub(1));
    }
}

impl Lookup {
    /// The answer, once.
    pub(crate) fn poll(&self, waker: &Waker) -> Poll<Answer> {
        let mut state = lock(&self.promise.0);
        if let Some(answer) = state.answer.take() {
            return Poll::Ready(answer);
        }
        state.waker = Some(waker.clone());
        Poll::Pending
    }
}

#[derive(Debug, Default)]
struct Promise(Mutex<Promised>);

#[derive(Debug, Default)]
struct Promised {
    answer: Option<Answer>,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Job {
    name: Domain,
    families: Families,
    /// Gone when nobody wants the answer any more.
    promise: Weak<Promise>,
}

impl Job {
    fn run(&self) {
        if self.promise.strong_count() == 0 {
            return;
        }
        let answer = resolve(self.name.as_str(), self.families);
        if let Some(promise) = self.promise.upgrade() {
            let waker = {
                let mut state = lock(&promise.0);
                state.answer = Some(answer);
                state.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    is_over: bool,
}

impl Queue {
    fn push(self: &Arc<Self>, job: Job) -> Result<(), Refusal> {
        let mut state = lock(&self.state);
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() || state.threads >= THREADS_MAX {
            drop(state);
            self.news.notify_one();
            return Ok(());
        }
        let queue = Arc::clone(self);
        let thread = thread::Builder::new()
            .name("resolver".to_owned())
            .stack_size(STACK)
            .spawn(move || queue.work());
        match thread {
            Ok(_) => state.threads += 1,
            // Those that run will come to it.
            Err(_) if state.threads > 0 => {}
            Err(_) => {
                state.jobs.pop_back();
                return Err(Refusal::Exhausted);
            }
        }
        Ok(())
    }

    fn work(&self) {
        let mut state = lock(&self.state);
        while !state.is_over {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job.run();
                state = lock(&self.state);
                continue;
            }
            state.idle += 1;
            let waited = self.news.wait_timeout(state, KEEP);
            let (next, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = next;
            state.idle -= 1;
            if timeout.timed_out() && state.jobs.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }
}

fn resolve(name: &str, families: Families) -> Answer {
    let hints = AddrInfoHints {
        // One socket type, or every address comes once for each.
        socktype: SockType::Stream.into(),
        address: match families {
            Families::Any => 0,
            Families::V4 => AddrFamily::Inet.into(),
            Families::V6 => AddrFamily::Inet6.into(),
        },
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(name), None, Some(hints)).map_err(|e| refusal(&e))?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for info in found.flatten() {
        let ip = info.sockaddr.ip();
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    if addresses.is_empty() {
        return Err(Refusal::NameNotFound);
    }
    Ok(addresses)
}

fn refusal(error: &LookupError) -> Refusal {
    match error.kind() {
        LookupErrorKind::NoName | LookupErrorKind::NoData => Refusal::NameNotFound,
        LookupErrorKind::Memory => Refusal::Exhausted,
        LookupErrorKind::Again
        | LookupErrorKind::Badflags
        | LookupErrorKind::Fail
        | LookupErrorKind::Family
        | LookupErrorKind::Socktype
        | LookupErrorKind::Service
        | LookupErrorKind::System
        | LookupErrorKind::Unknown
        | LookupErrorKind::IO => Refusal::ResolverFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_found_in_the_family_asked_for() {
        let found = resolve("localhost", Families::V4).expect("in every hosts file");
        assert!(found.iter().all(IpAddr::is_ipv4), "{found:?}");
        assert!(found.contains(&[127, 0, 0, 1].into()), "{found:?}");
    }

    #[test]
    fn a_lookup_answers_once_and_a_dropped_one_frees_its_place() {
        let resolver = Resolver::default();
        let name = Domain::parse(b"localhost").expect("a name");
        let dropped = resolver.begin(name.clone(), Families::Any).expect("begun");
        let lookup = resolver.begin(name, Families::V4).expect("begun");
        assert_eq!(resolver.running.get(), 2);
        drop(dropped);
        let answer = loop {
            if let Poll::Ready(answer) = lookup.poll(Waker::noop()) {
                break answer;
            }
            thread::yield_now();
        };
        assert!(answer.expect("found").contains(&[127, 0, 0, 1].into()));
        assert!(lookup.poll(Waker::noop()).is_pending());
        drop(lookup);
        assert_eq!(resolver.running.get(), 0);
        assert!(lock(&resolver.queue.state).threads <= 2);
    }

    #[test]
    fn lookup_errors_tell_a_missing_name_from_a_failed_resolver() {
        for (code, expected) in [
            (-2, Refusal::NameNotFound),   // EAI_NONAME
            (-3, Refusal::ResolverFailed), // EAI_AGAIN
            (-4, Refusal::ResolverFailed), // EAI_FAIL
            (-10, Refusal::Exhausted),     // EAI_MEMORY
        ] {
            assert_eq!(refusal(&LookupError::new(code)), expected, "{code}");
        }
    }
}
