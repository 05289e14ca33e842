//! Deadlines of many entries: a hierarchical timer wheel, so that setting and clearing one costs
//! the same with one entry and with fifty thousand, and a moved deadline leaves nothing behind.
use sansbox_core::Instant;

use crate::list::NIL;

const LEVELS: usize = 4;
/// Slots of a level; each slot of a level spans all slots of the one below.
const SLOTS: usize = 64;
const SLOT_BITS: u32 = 6;
/// Nanoseconds of a tick.
const TICK: u64 = 1_000_000;
/// Ticks that the wheel can look ahead, 4.6 hours; what lies further waits in the last slot.
const SPAN: u64 = 1 << (SLOT_BITS * LEVELS as u32);
/// The slot of what is not armed.
const NOWHERE: u16 = u16::MAX;

/// 16 bytes: ticks of 64 bits of nanoseconds take 45.
#[derive(Clone, Copy, Debug)]
struct Link {
    tick_low: u32,
    tick_high: u16,
    slot: u16,
    previous: u32,
    next: u32,
}

const _: () = assert!(size_of::<Link>() == 16);

const UNARMED: Link = Link {
    tick_low: 0,
    tick_high: 0,
    slot: NOWHERE,
    previous: NIL,
    next: NIL,
};

impl Link {
    const fn tick(self) -> u64 {
        (self.tick_high as u64) << 32 | self.tick_low as u64
    }

    /// The tick `armed` is armed for, if that is one.
    fn armed(armed: Option<&Self>) -> Option<u64> {
        armed
            .filter(|link| link.slot != NOWHERE)
            .map(|link| link.tick())
    }
}

/// Deadlines of entries, by index, in ticks of a millisecond: none fires early, and none later
/// than the tick after it.
#[derive(Debug)]
pub(crate) struct Wheel {
    links: Vec<Link>,
    heads: [u32; LEVELS * SLOTS],
    occupied: [u64; LEVELS],
    /// All deadlines before this tick have fired.
    now: u64,
}

impl Default for Wheel {
    fn default() -> Self {
        Self {
            links: Vec::new(),
            heads: [NIL; LEVELS * SLOTS],
            occupied: [0; LEVELS],
            now: 0,
        }
    }
}

impl Wheel {
    /// Arms `index` for `deadline`, in place of what it was armed for; [`Instant::FAR`] disarms.
    pub(crate) fn set(&mut self, index: u32, deadline: Instant) {
        if deadline == Instant::FAR {
            self.clear(index);
            return;
        }
        let tick = deadline.as_nanos().div_ceil(TICK).max(self.now);
        if self.links.len() <= index as usize {
            self.links.resize(index as usize + 1, UNARMED);
        }
        if Link::armed(self.links.get(index as usize)) == Some(tick) {
            return;
        }
        self.clear(index);
        self.insert(index, tick);
    }

    /// Arms `index` unless it is armed for an earlier time: then it fires early, and whoever hears
    /// of it sets the rest. Spares moving it with every packet.
    pub(crate) fn set_lazily(&mut self, index: u32, deadline: Instant) {
        let tick = deadline.as_nanos().div_ceil(TICK);
        if Link::armed(self.links.get(index as usize)).is_some_and(|armed| armed <= tick) {
            return;
        }
        self.set(index, deadline);
    }

    /// Reads what arming `index` reads, so that it is on its way when it is needed.
    pub(crate) fn touch(&self, index: u32) -> u32 {
        self.links.get(index as usize).map_or(0, |link| link.next)
    }

    /// Disarms `index`.
    pub(crate) fn clear(&mut self, index: u32) {
        let Some(link) = self.links.get_mut(index as usize) else {
            return;
        };
        let Link {
            previous,
            next,
            slot,
            ..
        } = std::mem::replace(link, UNARMED);
        if slot == NOWHERE {
            return;
        }
        if let Some(next) = self.links.get_mut(next as usize) {
            next.previous = previous;
        }
        if let Some(previous) = self.links.get_mut(previous as usize) {
            previous.next = next;
        } else {
            self.set_head(usize::from(slot), next);
        }
    }

    /// Takes one entry whose deadline is not after `now`, and disarms it.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<u32> {
        let target = now.as_nanos() / TICK;
        loop {
            let due = self.next_tick().filter(|tick| *tick <= target);
            let Some(due) = due else {
                self.now = self.now.max(target);
                return None;
            };
            self.now = self.now.max(due);
            let at = self.now;
            self.cascade(at);
            let slot = slot_of(0, at);
            let index = self.heads.get(slot).copied().unwrap_or(NIL);
            if index != NIL {
                self.clear(index);
                return Some(index);
            }
        }
    }

    /// No deadline is before this; `None` when nothing is armed.
    pub(crate) fn next(&self) -> Option<Instant> {
        let tick = self.next_tick()?;
        Some(Instant::from_nanos(tick.saturating_mul(TICK)))
    }

    /// The first tick at which something fires or moves down a level.
    fn next_tick(&self) -> Option<u64> {
        (0..LEVELS)
            .filter_map(|level| {
                let occupied = self.occupied.get(level).copied()?;
                let shift = SLOT_BITS * level as u32;
                let here = self.now >> shift;
                let rotated = occupied.rotate_right((here % SLOTS as u64) as u32);
                let ahead = u64::from(rotated.trailing_zeros());
                (occupied != 0).then(|| ((here + ahead) << shift).max(self.now))
            })
            .min()
    }

    /// Moves what is due in this span of an upper level down.
    fn cascade(&mut self, now: u64) {
        for level in (1..LEVELS).rev() {
            let slot = slot_of(level, now);
            loop {
                let index = self.heads.get(slot).copied().unwrap_or(NIL);
                let Some(link) = self.links.get(index as usize).copied() else {
                    break;
                };
                self.clear(index);
                self.insert(index, link.tick());
            }
        }
    }

    fn insert(&mut self, index: u32, tick: u64) {
        // Beyond the horizon: looked at again from the last slot.
        let seen = tick.min(self.now + SPAN - (SPAN >> SLOT_BITS) - 1);
        let differing = (seen ^ self.now) | 1;
        let level = (differing.ilog2() / SLOT_BITS) as usize;
        // What differs above the top level is in its next round, less than one round away.
        let slot = slot_of(level.min(LEVELS - 1), seen);
        let head = self.heads.get(slot).copied().unwrap_or(NIL);
        if let Some(next) = self.links.get_mut(head as usize) {
            next.previous = index;
        }
        if let Some(link) = self.links.get_mut(index as usize) {
            *link = Link {
                tick_low: tick as u32,
                tick_high: (tick >> 32) as u16,
                slot: slot as u16,
                previous: NIL,
                next: head,
            };
        }
        self.set_head(slot, index);
    }

    fn set_head(&mut self, slot: usize, index: u32) {
        if let Some(head) = self.heads.get_mut(slot) {
            *head = index;
        }
        let bit = 1_u64 << (slot % SLOTS);
        if let Some(occupied) = self.occupied.get_mut(slot / SLOTS) {
            if index == NIL {
                *occupied &= !bit;
            } else {
                *occupied |= bit;
            }
        }
    }
}

/// The slot of `level` that holds `tick`, counted over all levels.
const fn slot_of(level: usize, tick: u64) -> usize {
    let slot = (tick >> (SLOT_BITS * level as u32)) % SLOTS as u64;
    level * SLOTS + slot as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * TICK)
    }

    proptest::proptest! {
        /// Against a sorted map: the same entries fire, none early and none late, whatever is set,
        /// moved and cleared between.
        #[test]
        fn fires_like_a_sorted_map(
            steps in proptest::collection::vec(
                (0..20_u32, 0..5_u8, 0..40_000_000_u64, 0..4_u8), 1..200),
        ) {
            let mut wheel = Wheel::default();
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            let mut now = 0_u64;
            for (index, action, far, scale) in steps {
                let delta = far >> (scale * 7);
                match action {
                    0..=2 => {
                        wheel.set(index, at(now + delta));
                        model.insert(index, now + delta);
                    }
                    3 => {
                        wheel.clear(index);
                        model.remove(&index);
                    }
                    _ => {
                        now += delta;
                        let mut fired = Vec::new();
                        while let Some(index) = wheel.expire(at(now)) {
                            fired.push(index);
                        }
                        fired.sort_unstable();
                        let due: Vec<u32> = model
                            .iter()
                            .filter(|(_, due)| **due <= now)
                            .map(|(index, _)| *index)
                            .collect();
                        proptest::prop_assert_eq!(&fired, &due);
                        model.retain(|_, due| *due > now);
                    }
                }
                let first = model.values().min().copied();
                match (wheel.next(), first) {
                    (None, None) => {}
                    (Some(next), Some(first)) => proptest::prop_assert!(next <= at(first)),
                    (next, first) => proptest::prop_assert!(false, "{next:?} {first:?}"),
                }
            }
        }

        /// Following `next` alone reaches every deadline at its own tick in few steps.
        #[test]
        fn next_leads_to_every_deadline(start in 0..5_000_000_u64, delta in 1..30_000_000_u64) {
            let mut wheel = Wheel::default();
            proptest::prop_assert_eq!(wheel.expire(at(start)), None);
            wheel.set(3, at(start + delta));
            for _ in 0..8 {
                let next = wheel.next().unwrap();
                if let Some(index) = wheel.expire(next) {
                    proptest::prop_assert_eq!((index, next), (3, at(start + delta)));
                    return Ok(());
                }
            }
            proptest::prop_assert!(false, "never fired");
        }
    }
}
