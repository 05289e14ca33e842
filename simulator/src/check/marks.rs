//! What was seen at least once: a run proves little when what it is about never happened.
use std::{borrow::Cow, collections::BTreeMap};

/// How often each mark was hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    hits: BTreeMap<Cow<'static, str>, u64>,
}

impl Marks {
    /// It happened once more.
    pub fn hit(&mut self, name: impl Into<Cow<'static, str>>) {
        *self.hits.entry(name.into()).or_default() += 1;
    }

    /// Adds another run's hits.
    pub fn add(&mut self, name: &str, n: u64) {
        match self.hits.get_mut(name) {
            Some(hits) => *hits += n,
            None => drop(self.hits.insert(Cow::Owned(name.into()), n)),
        }
    }

    /// How often `name` was hit.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.hits.get(name).copied().unwrap_or_default()
    }

    /// All that was hit, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.hits.iter().map(|(name, hits)| (name.as_ref(), *hits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_are_counted_and_added() {
        let mut marks = Marks::default();
        marks.hit("a");
        marks.hit(String::from("a"));
        marks.add("a", 3);
        marks.add("b", 1);
        assert_eq!(marks.iter().collect::<Vec<_>>(), [("a", 5), ("b", 1)]);
        assert_eq!((marks.count("b"), marks.count("c")), (1, 0));
    }
}
