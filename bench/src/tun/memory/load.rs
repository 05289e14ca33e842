//! Who sends when.

use std::time::Duration;

/// Clients and the order in which they have their turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) flows: usize,
    /// From the client of one packet to that of the next. It shares no divisor with `flows`, so
    /// that all have their turn.
    stride: usize,
    /// Virtual time between two batches.
    pub(super) step: Duration,
}

impl Load {
    /// One after the other, as they were opened.
    pub(super) const fn in_turn(flows: usize) -> Self {
        Self {
            flows,
            stride: 1,
            step: Duration::from_micros(50),
        }
    }

    /// In no order that a cache could guess.
    pub(super) const fn scattered(flows: usize) -> Self {
        Self {
            stride: 19_597,
            ..Self::in_turn(flows)
        }
    }

    /// A client per packet of a batch, each as rarely as one of 50,000: it is alone in its batch,
    /// and is acknowledged for itself when the delay of that is over.
    pub(super) const fn rare() -> Self {
        Self {
            step: Duration::from_millis(39),
            ..Self::in_turn(super::world::BATCH)
        }
    }

    /// The client whose turn it is.
    pub(super) const fn client(self, turn: usize) -> usize {
        turn.wrapping_mul(self.stride) % self.flows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_its_turn() {
        for load in [
            Load::in_turn(10),
            Load::rare(),
            Load::scattered(1000),
            Load::scattered(50_000),
        ] {
            let mut seen = vec![false; load.flows];
            for turn in 0..load.flows {
                seen[load.client(turn)] = true;
            }
            assert!(seen.into_iter().all(|seen| seen), "{load:?}");
        }
    }
}
