//! From what the keys of a connection's packets are made, phase by phase (RFC 9001 section 6).
use super::{Secret, Way};

/// A list of two or three, the oldest first. Each has a box of its own: no copy is left behind when
/// there are more, and nothing is taken for those that are not there.
#[derive(Default)]
pub(super) struct Phases(Option<Box<Phase>>);

struct Phase {
    number: u32,
    out: Option<Secret>,
    into: Option<Secret>,
    later: Phases,
}

impl Phase {
    const fn secret(&self, way: Way) -> Option<&Secret> {
        match way {
            Way::Out => self.out.as_ref(),
            Way::In => self.into.as_ref(),
        }
    }
}

impl Phases {
    /// Remembers the two keys of a phase that is behind all others.
    pub(super) fn add(&mut self, number: u32, out: &Secret, into: &Secret) {
        if let Some(phase) = &mut self.0 {
            return phase.later.add(number, out, into);
        }
        self.0 = Some(Box::new(Phase {
            number,
            out: Some(out.clone()),
            into: Some(into.clone()),
            later: Self::default(),
        }));
    }

    /// The key of a phase.
    pub(super) fn get(&self, number: u32, way: Way) -> Option<&Secret> {
        let mut all = self.all(way);
        all.find(|(of, _)| *of == number).map(|(_, secret)| secret)
    }

    /// The keys of all phases in one direction.
    pub(super) fn all(&self, way: Way) -> impl Iterator<Item = (u32, &Secret)> {
        core::iter::successors(self.0.as_deref(), |phase| phase.later.0.as_deref())
            .filter_map(move |phase| Some((phase.number, phase.secret(way)?)))
    }

    /// Forgets the key of a phase.
    pub(super) fn forget(&mut self, number: u32, way: Way) {
        let Some(phase) = &mut self.0 else {
            return;
        };
        if phase.number != number {
            return phase.later.forget(number, way);
        }
        match way {
            Way::Out => phase.out = None,
            Way::In => phase.into = None,
        }
        if phase.out.is_none() && phase.into.is_none() {
            *self = core::mem::take(&mut phase.later);
        }
    }
}
