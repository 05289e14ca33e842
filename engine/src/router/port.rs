//! Sets of ports.
use crate::config::model::PortRange;

/// Ports as sorted disjoint inclusive ranges.
#[derive(Debug)]
pub(super) struct PortSet(Box<[(u16, u16)]>);

impl PortSet {
    /// The ports and the ranges together; `None` when both lists are absent or empty. A range
    /// whose start lies behind its end holds no port.
    pub(super) fn new(ports: Option<&[u16]>, ranges: Option<&[PortRange]>) -> Option<Self> {
        let ports = ports.unwrap_or_default();
        let ranges = ranges.unwrap_or_default();
        if ports.is_empty() && ranges.is_empty() {
            return None;
        }
        let mut all: Vec<(u16, u16)> = ports
            .iter()
            .map(|&p| (p, p))
            .chain(ranges.iter().map(|r| (r.start, r.end)))
            .filter(|(start, end)| start <= end)
            .collect();
        all.sort_unstable();
        all.dedup_by(|next, last| {
            let touches = next.0 <= last.1.saturating_add(1);
            if touches {
                last.1 = last.1.max(next.1);
            }
            touches
        });
        Some(Self(all.into()))
    }

    pub(super) fn contains(&self, port: u16) -> bool {
        let after = self.0.partition_point(|&(start, _)| start <= port);
        after
            .checked_sub(1)
            .and_then(|i| self.0.get(i))
            .is_some_and(|&(_, end)| port <= end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn absent_and_empty_lists_are_no_condition() {
        assert!(PortSet::new(None, None).is_none());
        assert!(PortSet::new(Some(&[]), Some(&[])).is_none());
    }

    #[test]
    fn a_backward_range_holds_nothing() {
        let set = PortSet::new(
            None,
            Some(&[PortRange {
                start: 500,
                end: 400,
            }]),
        )
        .unwrap();
        assert!((0..=u16::MAX).all(|p| !set.contains(p)));
    }

    proptest! {
        #[test]
        fn holds_what_the_lists_hold(
            ports in prop::collection::vec(0u16..40, 0..6),
            ranges in prop::collection::vec((0u16..60, 0u16..60), 1..6),
            high in any::<u16>(),
        ) {
            let mut ranges: Vec<_> =
                ranges.into_iter().map(|(start, end)| PortRange { start, end }).collect();
            ranges.push(PortRange { start: high, end: u16::MAX });
            let set = PortSet::new(Some(&ports), Some(&ranges)).unwrap();
            for port in (0..100).chain([high.saturating_sub(1), high, u16::MAX]) {
                let expected = ports.contains(&port)
                    || ranges.iter().any(|r| r.start <= port && port <= r.end);
                prop_assert_eq!(set.contains(port), expected, "{}", port);
            }
        }
    }
}
