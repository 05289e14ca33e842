//! What a replay has heard of a machine, held against what was recorded.
use super::replay::{Difference, Divergence, Ending, Event, EventKind, Replayed, Verdict};
use sansbox_core::Instant;
use sansbox_flight::{Outputs, wire::Entry};
use std::collections::VecDeque;

/// What has come out so far, and who watches.
pub(super) struct Heard<'w> {
    pub(super) outputs: Outputs,
    /// What the recording has not come to yet: encoded, and as text.
    waiting: VecDeque<(Vec<u8>, String)>,
    /// What there is none of when nothing waits.
    what: &'static str,
    pub(super) inputs: u64,
    pub(super) at: Instant,
    watch: &'w mut dyn FnMut(Event<'_>),
}

impl<'w> Heard<'w> {
    /// Nothing yet, at `at`.
    pub(super) fn new(
        what: &'static str,
        at: Instant,
        watch: &'w mut dyn FnMut(Event<'_>),
    ) -> Self {
        Self {
            outputs: Outputs::default(),
            waiting: VecDeque::new(),
            what,
            inputs: 0,
            at,
            watch,
        }
    }

    pub(super) fn show(&mut self, kind: EventKind<'_>) {
        let (at, input) = (self.at, self.inputs);
        (self.watch)(Event { at, input, kind });
    }

    /// The machine told this, which the recording has yet to come to.
    pub(super) fn told(&mut self, encoded: Vec<u8>, name: String) {
        self.waiting.push_back((encoded, name));
    }

    /// Compares what came out since the last time, and of what was told the `recorded` first. More
    /// may be left only where `may_be_more`.
    pub(super) fn compare(
        &mut self,
        recorded: u64,
        digest: [u8; 8],
        may_be_more: bool,
    ) -> Result<(), Difference> {
        let (replayed, shown) = (self.waiting.len() as u64, self.shown());
        if replayed < recorded || (replayed > recorded && !may_be_more) {
            return Err(Difference::Actions {
                recorded,
                replayed,
                shown,
            });
        }
        let recorded = usize::try_from(recorded).unwrap_or(usize::MAX);
        for (encoded, _) in self.waiting.drain(..recorded) {
            self.outputs.encoded(&encoded);
        }
        if self.outputs.short_digest() == digest {
            Ok(())
        } else {
            Err(Difference::Digest { shown })
        }
    }

    /// Compares the ends, and all that came out.
    pub(super) fn compare_end(
        &self,
        recorded: Ending,
        replayed: Ending,
        digest: Option<[u8; 32]>,
    ) -> Result<(), Difference> {
        if recorded != replayed {
            return Err(Difference::End { recorded, replayed });
        }
        if digest.is_none_or(|digest| digest == self.outputs.digest()) {
            Ok(())
        } else {
            let shown = self.shown();
            Err(Difference::Digest { shown })
        }
    }

    fn shown(&self) -> String {
        let names: Vec<&str> = self.waiting.iter().map(|(_, name)| name.as_str()).collect();
        if names.is_empty() {
            format!("no {}", self.what)
        } else {
            names.join(", ")
        }
    }

    fn replayed(&self) -> Replayed {
        Replayed {
            inputs: self.inputs,
            outputs: self.outputs.counts(),
            digest: self.outputs.digest(),
        }
    }
}

/// Whose entries are gone through.
pub(super) trait Listener<'w> {
    fn heard(&mut self) -> &mut Heard<'w>;

    /// Takes the next entry. False: only sizes follow.
    fn step(&mut self, entry: &Entry<'_>, is_last: bool) -> Result<bool, Difference>;
}

/// Goes through all entries, to the first difference.
pub(super) fn play<'w>(
    listener: &mut impl Listener<'w>,
    entries: &[(Instant, Entry<'_>)],
) -> Verdict {
    let mut entries = entries.iter().peekable();
    while let Some((at, entry)) = entries.next() {
        listener.heard().at = *at;
        let is_last = matches!(entries.peek(), Some((_, Entry::End { .. })));
        match listener.step(entry, is_last) {
            Ok(true) => {}
            Ok(false) => return Verdict::IdenticalUntilCut(listener.heard().replayed()),
            Err(what) => {
                return Verdict::Diverged(Divergence {
                    input: listener.heard().inputs,
                    at: *at,
                    what,
                });
            }
        }
    }
    Verdict::Identical(listener.heard().replayed())
}
