//! Byte flows from one host to another, through whatever is between: what arrives must be what
//! was sent, and the end of it must not be made up.
use super::Invariant;
use std::collections::BTreeMap;

/// The `len` bytes of the flow called `name` that begin at `first`: the same everywhere, so nothing
/// is stored.
#[must_use]
pub fn payload(name: &str, first: u64, len: usize) -> Vec<u8> {
    let (hash, skipped) = (name_hash(name), (first % 8) as usize);
    let blocks = (skipped + len).div_ceil(8);
    let mut out = Vec::with_capacity(blocks * 8);
    for block in (first / 8..).take(blocks) {
        out.extend_from_slice(&word(hash, block).to_le_bytes());
    }
    out.drain(..skipped);
    out.truncate(len);
    out
}

/// FNV-1a.
fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The finalizer of SplitMix64, for eight bytes at once.
const fn word(hash: u64, block: u64) -> u64 {
    let mut word = hash.wrapping_add(block.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word
}

const fn byte(hash: u64, index: u64) -> u8 {
    (word(hash, index / 8) >> (8 * (index % 8))) as u8
}

/// Where `bytes`, of which the first has the index `first`, are not as sent.
fn first_wrong(hash: u64, first: u64, bytes: &[u8]) -> Option<(u64, u8)> {
    let unaligned = ((8 - first % 8) % 8).min(bytes.len() as u64);
    let (head, rest) = bytes.split_at(unaligned as usize);
    let (blocks, _) = rest.as_chunks::<8>();
    let first_block = (first + unaligned) / 8;
    let equal = (first_block..)
        .zip(blocks)
        .take_while(|(block, bytes)| u64::from_le_bytes(**bytes) == word(hash, *block))
        .count();
    let is_wrong = |(index, found): &(u64, &u8)| byte(hash, *index) != **found;
    let looked_at = unaligned + 8 * equal as u64;
    let tail = bytes.get(looked_at as usize..).unwrap_or_default();
    let in_head = (first..).zip(head).find(is_wrong);
    let wrong = in_head.or_else(|| (first + looked_at..).zip(tail).find(is_wrong));
    wrong.map(|(index, found)| (index, *found))
}

#[derive(Debug, Default)]
struct Flow {
    sent: u64,
    delivered: u64,
    fin_sent: bool,
    fin_delivered: bool,
    /// Either end knows that it broke.
    failed: bool,
}

type Broken = (Invariant, String);

/// All flows of a world.
#[derive(Debug, Default)]
pub struct Flows {
    flows: BTreeMap<String, Flow>,
    /// A host has died: its kernel may have ended what its program had not.
    has_crash: bool,
}

impl Flows {
    fn flow(&mut self, name: &str) -> &mut Flow {
        if !self.flows.contains_key(name) {
            self.flows.insert(name.into(), Flow::default());
        }
        self.flows.entry(name.into()).or_default()
    }

    /// A sender begins: with this byte. As long as nothing arrived that is the first, whoever else
    /// began before: a proxy dials again for a client whose SYN comes again, and nobody reads what
    /// its first dial brings.
    #[must_use]
    pub fn begin(&mut self, name: &str) -> u64 {
        let flow = self.flow(name);
        match flow.delivered {
            0 => 0,
            _ => flow.sent,
        }
    }

    /// A sender that [began](Self::begin) has handed all bytes before `end` to its kernel.
    pub fn sent_until(&mut self, name: &str, end: u64) {
        let flow = self.flow(name);
        flow.sent = flow.sent.max(end);
    }

    /// The sender handed `n` more bytes to its kernel.
    pub fn sent(&mut self, name: &str, n: usize) {
        self.flow(name).sent += n as u64;
    }

    /// The sender ended the flow.
    pub fn fin_sent(&mut self, name: &str) {
        self.flow(name).fin_sent = true;
    }

    /// One end saw the flow break, or broke it.
    pub fn failed(&mut self, name: &str) {
        self.flow(name).failed = true;
    }

    /// A host died in the middle of things: ends prove nothing any more, bytes still do.
    pub(crate) const fn crashed(&mut self) {
        self.has_crash = true;
    }

    /// Bytes delivered so far.
    #[must_use]
    pub fn delivered_len(&self, name: &str) -> u64 {
        self.flows.get(name).map_or(0, |flow| flow.delivered)
    }

    /// Bytes sent so far.
    #[must_use]
    pub fn sent_len(&self, name: &str) -> u64 {
        self.flows.get(name).map_or(0, |flow| flow.sent)
    }

    /// The receiver got `bytes`.
    ///
    /// # Errors
    /// When they are not what was sent next, or follow a FIN.
    pub fn delivered(&mut self, name: &str, bytes: &[u8]) -> Result<(), Broken> {
        let flow = self.flow(name);
        let first = flow.delivered;
        if flow.fin_delivered {
            let what = format!("{} bytes after the FIN of {name}", bytes.len());
            return Err((Invariant::NothingAfterFin, what));
        }
        let hash = name_hash(name);
        if let Some((at, byte)) = first_wrong(hash, first, bytes) {
            let what = format!("byte {at} of {name} is {byte:#04x}");
            return Err((Invariant::PrefixDelivered, what));
        }
        flow.delivered += bytes.len() as u64;
        if flow.delivered > flow.sent {
            let what = format!("{} of {} bytes of {name}", flow.delivered, flow.sent);
            return Err((Invariant::PrefixDelivered, what));
        }
        Ok(())
    }

    /// The receiver saw the end.
    ///
    /// # Errors
    /// When the sender had not ended, or something before the end is missing.
    pub fn fin_delivered(&mut self, name: &str) -> Result<(), Broken> {
        let has_crash = self.has_crash;
        let flow = self.flow(name);
        flow.fin_delivered = true;
        if has_crash || flow.fin_sent && flow.delivered == flow.sent {
            return Ok(());
        }
        let Flow {
            sent,
            delivered,
            fin_sent,
            ..
        } = flow;
        let what = format!(
            "FIN of {name} behind {delivered} of {sent} bytes; sender has ended: {fin_sent}"
        );
        Err((Invariant::EndsDelivered, what))
    }

    /// Checks what must hold when nothing moves any more.
    ///
    /// # Errors
    /// When a flow was ended by its sender, and its receiver saw neither the end nor an error.
    pub fn check_ends(&self) -> Result<(), Broken> {
        let is_lost =
            |flow: &Flow| flow.fin_sent && !flow.fin_delivered && !flow.failed && !self.has_crash;
        match self.flows.iter().find(|(_, flow)| is_lost(flow)) {
            Some((name, flow)) => {
                let what = format!("{name} ended unseen: {flow:?}");
                Err((Invariant::EndsDelivered, what))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(name: &str, from: u64, to: u64) -> Vec<u8> {
        payload(name, from, (to - from) as usize)
    }

    #[test]
    fn payload_is_the_same_however_it_is_cut() {
        let hash = name_hash("x");
        let all: Vec<u8> = (0..60).map(|index| byte(hash, index)).collect();
        for from in 0..20 {
            for len in 0..40 {
                let part = payload("x", from as u64, len);
                assert_eq!(part, all[from..from + len], "{from} {len}");
                assert_eq!(first_wrong(hash, from as u64, &part), None);
                for wrong in 0..len {
                    let mut part = part.clone();
                    part[wrong] ^= 1;
                    let found = first_wrong(hash, from as u64, &part);
                    assert_eq!(found, Some(((from + wrong) as u64, part[wrong])));
                }
            }
        }
    }

    #[test]
    fn a_flow_of_which_nothing_arrived_begins_anew() {
        let mut flows = Flows::default();
        assert_eq!(flows.begin("down"), 0);
        flows.sent_until("down", 10);
        assert_eq!(flows.begin("down"), 0);
        flows.sent_until("down", 4);
        assert_eq!(flows.delivered("down", &bytes("down", 0, 1)), Ok(()));
        assert_eq!(flows.begin("down"), 10, "a part of it arrived");
    }

    #[test]
    fn a_clean_flow_passes() {
        let mut flows = Flows::default();
        flows.sent("up", 10);
        flows.fin_sent("up");
        assert_eq!(flows.delivered("up", &bytes("up", 0, 4)), Ok(()));
        assert_eq!(flows.delivered("up", &bytes("up", 4, 10)), Ok(()));
        assert_eq!(flows.fin_delivered("up"), Ok(()));
        assert_eq!(flows.check_ends(), Ok(()));
    }

    #[test]
    fn wrong_early_and_late_bytes_are_found() {
        let mut flows = Flows::default();
        flows.sent("up", 4);
        let broken = |r: Result<(), Broken>| r.map_err(|(invariant, _)| invariant);
        let wrong = flows.delivered("up", &bytes("up", 1, 3));
        assert_eq!(broken(wrong), Err(Invariant::PrefixDelivered));
        let unsent = flows.delivered("up", &bytes("up", 0, 5));
        assert_eq!(broken(unsent), Err(Invariant::PrefixDelivered));
        let mut flows = Flows::default();
        flows.sent("up", 4);
        flows.fin_sent("up");
        assert_eq!(
            broken(flows.fin_delivered("up")),
            Err(Invariant::EndsDelivered)
        );
        let late = flows.delivered("up", &bytes("up", 0, 4));
        assert_eq!(broken(late), Err(Invariant::NothingAfterFin));
    }

    #[test]
    fn after_a_crash_ends_prove_nothing_but_bytes_do() {
        let mut flows = Flows::default();
        flows.sent("up", 10);
        flows.crashed();
        assert_eq!(flows.fin_delivered("up"), Ok(()));
        flows.fin_sent("down");
        assert_eq!(flows.check_ends(), Ok(()));
        assert!(flows.delivered("down", b"made up").is_err());
    }

    #[test]
    fn an_end_nobody_saw_is_found_unless_an_error_was() {
        let mut flows = Flows::default();
        flows.fin_sent("up");
        assert!(flows.check_ends().is_err());
        flows.failed("up");
        assert_eq!(flows.check_ends(), Ok(()));
    }
}
