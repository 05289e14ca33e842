//! What is expanded of the keys of an owner's connections.
use super::{Chain, IV_LEN, Way};
use core::time::Duration;
use quinn_proto::crypto::CryptoError;
use ring::aead::{Aad, LessSafeKey, Nonce, Tag, quic::HeaderProtectionKey};
use rustls::crypto::cipher;
use sansbox_core::Instant;

/// How long nobody uses the keys of a connection before they are expanded anew when they are used.
/// To expand all of them takes about as long as to seal three full packets.
const COLD_AFTER: Duration = Duration::from_millis(250);

/// Connections whose keys are worth a timer.
const MANY: usize = 16;

/// A key of packets, expanded.
struct Packets {
    phase: u32,
    key: LessSafeKey,
    iv: cipher::Iv,
}

impl Packets {
    fn nonce(&self, packet: u64) -> Nonce {
        Nonce::assume_unique_for_key(cipher::Nonce::new(&self.iv, packet).0)
    }
}

/// What seals packets of a phase.
pub(super) struct Sealing(Box<Packets>);

impl Sealing {
    pub(super) fn new(phase: u32, key: LessSafeKey, iv: [u8; IV_LEN]) -> Self {
        let iv = iv.into();
        Self(Box::new(Packets { phase, key, iv }))
    }

    pub(super) fn seal(&self, packet: u64, header: &[u8], payload: &mut [u8]) -> Tag {
        let (nonce, key) = (self.0.nonce(packet), &self.0.key);
        let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(header), payload);
        sealed.expect("no packet is as long as a cipher's limit")
    }
}

/// What opens packets of a phase.
pub(super) struct Opening(Box<Packets>);

impl Opening {
    pub(super) fn new(phase: u32, key: LessSafeKey, iv: [u8; IV_LEN]) -> Self {
        let iv = iv.into();
        Self(Box::new(Packets { phase, key, iv }))
    }

    /// How long the payload is, which replaces the beginning of what was sealed.
    pub(super) fn open(
        &self,
        packet: u64,
        header: &[u8],
        sealed: &mut [u8],
    ) -> Result<usize, CryptoError> {
        let (nonce, key) = (self.0.nonce(packet), &self.0.key);
        let opened = key.open_in_place(nonce, Aad::from(header), sealed);
        Ok(opened.map_err(|_| CryptoError)?.len())
    }
}

/// What is expanded of a chain.
#[derive(Default)]
pub(super) struct Slot {
    chain: u64,
    used: Instant,
    headers: [Option<Box<HeaderProtectionKey>>; 2],
    sealing: Option<Sealing>,
    openings: Vec<Opening>,
}

impl Slot {
    pub(super) fn header(&mut self, chain: &Chain, way: Way) -> &HeaderProtectionKey {
        let [out, into] = &mut self.headers;
        let header = match way {
            Way::Out => out,
            Way::In => into,
        };
        header.get_or_insert_with(|| Box::new(chain.expand_header(way)))
    }

    pub(super) fn sealing(&mut self, chain: &Chain, phase: u32) -> &Sealing {
        let sealing = self.sealing.take_if(|sealing| sealing.0.phase != phase);
        drop(sealing);
        self.sealing
            .get_or_insert_with(|| chain.expand_sealing(phase))
    }

    /// Where it is missing, all are expanded: the time that a packet takes must not tell its phase
    /// (RFC 9001 section 9.5).
    pub(super) fn opening(&mut self, chain: &Chain, phase: u32) -> Option<&Opening> {
        let is_it = |opening: &Opening| opening.0.phase == phase;
        if !self.openings.iter().any(is_it) {
            self.expand_openings(chain);
        }
        self.openings.iter().find(|opening| is_it(opening))
    }

    pub(super) fn expand_openings(&mut self, chain: &Chain) {
        let has = |phase| self.openings.iter().any(|opening| opening.0.phase == phase);
        let more = chain.expand_openings(has);
        self.openings.extend(more);
    }

    /// A phase is over.
    pub(super) fn forget(&mut self, phase: u32, way: Way) {
        match way {
            Way::Out => drop(self.sealing.take_if(|sealing| sealing.0.phase == phase)),
            Way::In => self.openings.retain(|opening| opening.0.phase != phase),
        }
    }
}

/// What is expanded of an owner's chains.
#[derive(Default)]
pub(crate) struct Hot {
    slots: Vec<Option<Box<Slot>>>,
    free: Vec<u32>,
    chains_made: u64,
    cooled: Instant,
}

impl Hot {
    /// The phases of which keys are expanded that open packets, by chain.
    #[cfg(test)]
    pub(super) fn openings(&self) -> Vec<Vec<u32>> {
        let slots = self.slots.iter().flatten();
        let phases = |slot: &Slot| {
            slot.openings
                .iter()
                .map(|opening| opening.0.phase)
                .collect()
        };
        slots.map(|slot| phases(slot)).collect()
    }

    /// What no chain was called before.
    pub(crate) fn next_chain(&mut self) -> u64 {
        self.chains_made += 1;
        self.chains_made
    }

    /// What is expanded of a chain, if anything is, which was at `place`.
    pub(super) fn get(&mut self, place: u32, chain: u64) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(place as usize)?.as_deref_mut()?;
        (slot.chain == chain).then_some(slot)
    }

    /// The same of a chain that is used now. It may get another place.
    pub(super) fn slot(&mut self, now: Instant, place: u32, chain: u64) -> (u32, &mut Slot) {
        let place = match self.get(place, chain) {
            Some(_) => place,
            None => self.insert(now, chain),
        };
        let slot = self.slots.get_mut(place as usize);
        let slot = slot.and_then(Option::as_deref_mut);
        let slot = slot.expect("it was found or inserted");
        slot.used = now;
        (place, slot)
    }

    fn insert(&mut self, now: Instant, chain: u64) -> u32 {
        if self.len() + 1 == MANY {
            self.cooled = now;
        }
        let slot = Some(Box::new(Slot {
            chain,
            ..Slot::default()
        }));
        if let Some(place) = self.free.pop()
            && let Some(free) = self.slots.get_mut(place as usize)
        {
            *free = slot;
            return place;
        }
        self.slots.push(slot);
        u32::try_from(self.slots.len() - 1).expect("fewer connections than that")
    }

    pub(super) fn remove(&mut self, place: u32, chain: u64) {
        if self.get(place, chain).is_some()
            && let Some(slot) = self.slots.get_mut(place as usize)
        {
            *slot = None;
            self.free.push(place);
        }
    }

    /// Chains of which something is expanded.
    const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// When there may be something to forget. For a few nobody is to be woken: the next timer of
    /// theirs will do.
    pub(crate) fn cools_at(&self) -> Option<Instant> {
        (self.len() >= MANY).then(|| self.cooled + COLD_AFTER)
    }

    /// Forgets what was not used for a while.
    pub(crate) fn cool(&mut self, now: Instant) {
        if now < self.cooled + COLD_AFTER {
            return;
        }
        self.cooled = now;
        for (place, slot) in (0..).zip(&mut self.slots) {
            if slot.take_if(|slot| now >= slot.used + COLD_AFTER).is_some() {
                self.free.push(place);
            }
        }
        if self.free.len() == self.slots.len() {
            (self.slots, self.free) = (Vec::new(), Vec::new());
        }
    }
}
