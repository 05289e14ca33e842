//! What the process asks of the system: CPUs and files.
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// One entry for each worker: the CPU to run on, if it matters.
pub(crate) fn choose_cpus(workers: Option<usize>) -> Vec<Option<usize>> {
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

/// Keeps this thread on one CPU.
pub(crate) fn pin_to(cpu: Option<usize>) {
    if let Some(cpu) = cpu {
        let mut set = CpuSet::new();
        set.set(cpu);
        // Only a matter of speed: the CPU may have gone since it was listed.
        let _slower = sched_setaffinity(None, &set);
    }
}

/// Raises the soft limit of open files to the hard one.
pub(crate) fn raise_file_limit() {
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
