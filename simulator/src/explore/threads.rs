//! Work on many threads, told in the order of one.
use std::{
    iter,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

/// What `work` makes of each item, in the order of the items, whichever of so many threads did it.
///
/// # Panics
/// When `work` does.
pub fn map<T: Sync, R: Send>(items: &[T], threads: usize, work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let share = || {
        let take = || {
            let at = next.fetch_add(1, Relaxed);
            items.get(at).map(|item| (at, item))
        };
        let done = iter::from_fn(take).map(|(at, item)| (at, work(item)));
        done.collect::<Vec<_>>()
    };
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(share)).collect();
        let parts = workers.into_iter().map(|worker| worker.join());
        parts
            .flat_map(|part| part.expect("the work does not panic"))
            .collect()
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<u64> = (0..1000).collect();
        let expected: Vec<u64> = items.iter().map(|n| n * n).collect();
        for threads in [0, 1, 7] {
            assert_eq!(map(&items, threads, |n| n * n), expected, "{threads}");
        }
    }
}
