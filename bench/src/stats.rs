//! Medians, quantiles and ratios of small samples.

/// The median; the mean of the middle two when their number is even. `None` of nothing.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get((sorted.len() / 2).checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}

/// The value below which `percent` of the samples lie (nearest rank). Sorts in place.
pub(crate) fn percentile(values: &mut [u32], percent: usize) -> Option<u32> {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100).max(1);
    values.get(rank - 1).copied()
}

/// The median of the ratios of the rounds in which both were measured.
///
/// A round's two values were taken within seconds of each other, so what disturbs the machine
/// for longer than that cancels out.
pub(crate) fn ratio(own: &[Option<f64>], peer: &[Option<f64>]) -> Option<f64> {
    let pairs = own.iter().zip(peer).filter_map(|(own, peer)| {
        let (own, peer) = ((*own)?, (*peer)?);
        (peer > 0.0).then_some(own / peer)
    });
    median(&pairs.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_even_and_none() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let mut values: Vec<u32> = (1..=200).rev().collect();
        assert_eq!(percentile(&mut values, 50), Some(100));
        assert_eq!(percentile(&mut values, 99), Some(198));
        assert_eq!(percentile(&mut [7], 99), Some(7));
        assert_eq!(percentile(&mut [], 50), None);
    }

    #[test]
    fn ratios_pair_the_rounds() {
        // The second round was disturbed for both, the third failed for one.
        let own = [Some(2.0), Some(20.0), None];
        let peer = [Some(4.0), Some(40.0), Some(1.0)];
        assert_eq!(ratio(&own, &peer), Some(0.5));
        assert_eq!(ratio(&own, &[None, None, None]), None);
        assert_eq!(ratio(&[Some(1.0)], &[Some(0.0)]), None);
    }
}
