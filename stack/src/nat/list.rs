//! A doubly linked list through a slice: the least recently used in front.

/// No element.
const NIL: u32 = u32::MAX;

/// An element's neighbours in one list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Links {
    before: u32,
    after: u32,
}

impl Links {
    pub(super) const NONE: Self = Self {
        before: NIL,
        after: NIL,
    };
}

/// Both ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct List {
    first: u32,
    last: u32,
}

impl List {
    pub(super) const EMPTY: Self = Self {
        first: NIL,
        last: NIL,
    };

    /// The least recently used element.
    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NIL).then_some(self.first)
    }

    /// Puts the element `at` last. `links` finds the neighbours of an element in this list.
    pub(super) fn push<T>(&mut self, all: &mut [T], at: u32, links: impl Fn(&mut T) -> &mut Links) {
        let before = self.last;
        let after = NIL;
        if let Some(element) = get(all, at) {
            *links(element) = Links { before, after };
        }
        match get(all, before) {
            Some(element) => links(element).after = at,
            None => self.first = at,
        }
        self.last = at;
    }

    /// Takes the element `at` out.
    pub(super) fn remove<T>(
        &mut self,
        all: &mut [T],
        at: u32,
        links: impl Fn(&mut T) -> &mut Links,
    ) {
        let Some(element) = get(all, at) else {
            return;
        };
        let Links { before, after } = core::mem::replace(links(element), Links::NONE);
        match get(all, before) {
            Some(element) => links(element).after = after,
            None => self.first = after,
        }
        match get(all, after) {
            Some(element) => links(element).before = before,
            None => self.last = before,
        }
    }
}

fn get<T>(all: &mut [T], at: u32) -> Option<&mut T> {
    all.get_mut(usize::try_from(at).ok()?)
}
