//! Kernel pipes for splice(2), pooled: few, and none held by an idle connection.
use rustix::{
    fd::OwnedFd,
    io,
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
};
use sansbox_engine::drive::Conduit;
use std::cell::{Cell, RefCell};

/// Bytes of a pipe. A smaller one moves bulk no faster than copying does.
pub(crate) const PIPE_SIZE: usize = 1024 * 1024;

/// A pipe and how much is in it.
#[derive(Debug)]
pub(crate) struct KernelPipe {
    pub(crate) reader: OwnedFd,
    pub(crate) writer: OwnedFd,
    pub(crate) filled: usize,
}

impl Conduit for Box<KernelPipe> {
    fn filled(&self) -> usize {
        self.filled
    }
}

/// Boxed so that a lease is one pointer in the state of each connection.
type Unleased = Vec<Box<KernelPipe>>;

/// One worker's pipes.
#[derive(Debug)]
pub(crate) struct KernelPipes {
    unleased: RefCell<Unleased>,
    made: Cell<usize>,
    limit: Cell<usize>,
}

impl KernelPipes {
    /// At most `limit` pipes at a time.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            unleased: RefCell::new(Vec::with_capacity(limit)),
            made: Cell::new(0),
            limit: Cell::new(limit),
        }
    }

    /// Leases an empty pipe; `None` when there are no more to be had.
    pub(crate) fn lease(&self) -> Option<Box<KernelPipe>> {
        if let Some(pipe) = self.unleased.borrow_mut().pop() {
            return Some(pipe);
        }
        if self.made.get() >= self.limit.get() {
            return None;
        }
        match make() {
            Ok(pipe) => {
                self.made.set(self.made.get() + 1);
                Some(Box::new(pipe))
            }
            Err(_) => {
                // The user's pages or files are used up: what there is has to do, rather than
                // asking again at every burst.
                self.limit.set(self.made.get());
                None
            }
        }
    }

    /// Takes a pipe back; closes it when something is left in it.
    pub(crate) fn give_back(&self, pipe: Box<KernelPipe>) {
        if pipe.filled == 0 {
            self.unleased.borrow_mut().push(pipe);
        } else {
            self.made.set(self.made.get().saturating_sub(1));
        }
    }
}

fn make() -> io::Result<KernelPipe> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    fcntl_setpipe_size(&writer, PIPE_SIZE)?;
    Ok(KernelPipe {
        reader,
        writer,
        filled: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_bounded_and_a_dirty_one_is_not_used_again() {
        let pipes = KernelPipes::new(1);
        let mut pipe = pipes.lease().expect("the first");
        assert!(pipes.lease().is_none());
        pipe.filled = 1;
        pipes.give_back(pipe);
        let clean = pipes.lease().expect("a new one in its place");
        assert_eq!(clean.filled, 0);
        pipes.give_back(clean);
        assert!(pipes.lease().is_some());
    }
}
