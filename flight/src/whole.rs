//! What only a recording with content needs of a machine.
use crate::{file::Mode, outputs::Outputs, wire::Entry};

/// Bytes of input that [`Mode::Head`] keeps of one machine: more than any handshake has.
pub const HEAD_BYTES_MAX: usize = 64 << 10;

/// The digest of what comes out, and how much of what goes in is still kept.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) outputs: Outputs,
    /// Something came out since the last checkpoint.
    pub(crate) is_changed: bool,
    /// Bytes of input that are still kept.
    left: usize,
    /// Actions when the last checkpoint was made.
    checked: u64,
}

impl Whole {
    /// `None` in a mode without content.
    pub(crate) fn of(mode: Mode) -> Option<Box<Self>> {
        let left = match mode {
            Mode::Full => usize::MAX,
            Mode::Head => HEAD_BYTES_MAX,
            Mode::Shape => return None,
        };
        Some(Box::new(Self {
            outputs: Outputs::default(),
            is_changed: false,
            left,
            checked: 0,
        }))
    }

    /// Keeps so many bytes of input; false when they are too many.
    pub(crate) const fn spend(&mut self, bytes: usize) -> bool {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Everything that the machine wanted is done: what is to be written of that.
    pub(crate) fn checkpoint(&mut self) -> Option<Entry<'static>> {
        if !core::mem::take(&mut self.is_changed) {
            return None;
        }
        let actions = self.outputs.counts().actions;
        let since = actions - core::mem::replace(&mut self.checked, actions);
        Some(Entry::Produced {
            actions: since,
            digest: self.outputs.short_digest(),
        })
    }
}
