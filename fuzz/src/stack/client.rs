//! A client that says what the fuzzer's bytes tell it to, and remembers what it said.
use super::segment::{ACK, FIN, Host, RST, SYN, Segment};
use crate::input::Input;

/// The byte that a client sends at a sequence number, in whatever connection.
pub(super) const fn up(slot: usize, seq: u32) -> u8 {
    (seq.wrapping_mul(0x9e37_79b9) >> 24) as u8 ^ slot as u8
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) host: Host,
    slot: usize,
    isn: u32,
    snd_nxt: u32,
    /// Ranges of sequence numbers that were sent, and where FINs stood.
    sent: Vec<(u32, u32)>,
    pub(super) fins: Vec<u32>,
    mss: u16,
    shift: Option<u8>,
    /// The client's and the stack's initial numbers of the last SYN-ACK.
    pub(super) answer: Option<(u32, u32)>,
    /// Bytes of the stack's stream that came, by offset.
    seen: Vec<bool>,
    /// What comes is lost.
    pub(super) deaf: bool,
    /// The furthest that the stack may send to, as an offset in its stream.
    pub(super) edge: u32,
}

impl Client {
    pub(super) fn new(slot: usize) -> Self {
        let port = 1000 + u16::try_from(slot).expect("few");
        Self {
            host: Host {
                v6: slot % 3 == 2,
                port,
            },
            slot,
            isn: 0,
            snd_nxt: 0,
            sent: Vec::new(),
            fins: Vec::new(),
            mss: 536,
            shift: None,
            answer: None,
            seen: Vec::new(),
            deaf: false,
            edge: 0,
        }
    }

    /// Behind the last of the bytes from `start` on that were sent without a gap.
    pub(super) fn sent_until(&self, start: u32) -> u32 {
        let mut at = start;
        while let Some((_, end)) = self
            .sent
            .iter()
            .find(|(start, end)| at.wrapping_sub(*start) < end.wrapping_sub(*start))
        {
            at = *end;
        }
        at
    }

    /// Payload that a segment to it may carry.
    pub(super) fn mss(&self) -> usize {
        usize::from(self.mss.max(64))
    }

    fn rcv_nxt(&self) -> u32 {
        let iss = self.answer.map_or(0, |(_, iss)| iss);
        let got = self.seen.iter().take_while(|seen| **seen).count();
        iss.wrapping_add(1).wrapping_add(got as u32)
    }

    /// The stack answered a SYN.
    pub(super) fn answered(&mut self, syn_ack: &Segment) {
        let answer = (syn_ack.ack.wrapping_sub(1), syn_ack.seq);
        if self.answer != Some(answer) {
            self.answer = Some(answer);
            self.seen.clear();
            // The window of the SYN, whichever it was.
            self.edge = 65_535;
        }
    }

    /// Payload and FIN came at `offset` of the stack's stream.
    pub(super) fn take(&mut self, offset: u32, len: usize) {
        let end = offset as usize + len;
        if self.deaf || end > 1 << 20 {
            return;
        }
        if self.seen.len() < end {
            self.seen.resize(end, false);
        }
        self.seen[offset as usize..end].fill(true);
    }

    pub(super) fn syn(&mut self, input: &mut Input<'_>) -> Segment {
        let [isn, mss, shift] = input.bytes();
        if isn % 4 != 0 {
            let high = [0_u32, 0x7fff_fff0, 0xffff_fff0, 0x8000_0000];
            self.isn = high[usize::from(isn) / 64].wrapping_add(u32::from(isn % 64));
            self.snd_nxt = self.isn.wrapping_add(1);
        }
        let announced = [None, Some(0), Some(1), Some(536), Some(1400), Some(65_535)];
        let announced = announced[usize::from(mss) % 6];
        // Which SYN is taken is not known: the most counts.
        let counts = announced.filter(|mss| *mss > 0);
        self.mss = self.mss.max(counts.unwrap_or(self.mss_default()));
        let shift_announced = [None, Some(0), Some(7), Some(14), Some(255)][usize::from(shift) % 5];
        self.shift = self.shift.max(shift_announced);
        let mut options = Vec::new();
        if let Some(mss) = announced {
            options.extend_from_slice(&[2, 4]);
            options.extend_from_slice(&mss.to_be_bytes());
        }
        if let Some(shift) = shift_announced {
            options.extend_from_slice(&[3, 3, shift, 1]);
        }
        if mss & 0x80 != 0 {
            options.extend_from_slice(&[4, 2, 1, 1]);
        }
        Segment {
            seq: self.isn,
            flags: SYN,
            window: u16::from(shift) << 8,
            options,
            ..Segment::default()
        }
    }

    /// Payload in order, behind a gap, or again; perhaps with a FIN behind it.
    pub(super) fn data(&mut self, input: &mut Input<'_>) -> Segment {
        let [place, len, more] = input.bytes();
        let len = usize::from(len) * if more & 1 == 0 { 1 } else { 60 };
        let jump = u32::from(more) * 13;
        let seq = match place % 4 {
            0 | 1 => self.snd_nxt,
            2 => self.snd_nxt.wrapping_add(jump),
            _ => self.snd_nxt.wrapping_sub(jump),
        };
        let end = seq.wrapping_add(len as u32);
        let fin = place & 0x80 != 0;
        if place % 4 < 2 {
            self.snd_nxt = end.wrapping_add(u32::from(fin));
        }
        self.sent.push((seq, end));
        if fin {
            self.fins.push(end);
        }
        let mut segment = self.plain(ACK | if fin { FIN } else { 0 }, u16::from(more) << 7);
        segment.seq = seq;
        segment.payload = (0..len as u32)
            .map(|at| up(self.slot, seq.wrapping_add(at)))
            .collect();
        segment
    }

    /// An acknowledgement: of all that came, of a part of it, or of what never came; with ranges
    /// that came beyond a gap, or with any.
    pub(super) fn ack(&mut self, input: &mut Input<'_>) -> Segment {
        let [how, window, by] = input.bytes();
        let window = if window < 40 {
            0
        } else {
            u16::from(window) << 8
        };
        let mut segment = self.plain(ACK, window);
        let by = u32::from(by);
        segment.ack = match how % 8 {
            0..=4 => segment.ack,
            5 => segment.ack.wrapping_sub(by * 7),
            6 => segment.ack.wrapping_add(by * 7),
            _ => by << 24,
        };
        self.allow(segment.ack, window);
        if how & 0x80 != 0 {
            let from = segment.ack.wrapping_add(by);
            let to = from.wrapping_add(u32::from(window) >> 4);
            segment.options = [&[1, 1, 5, 10][..], &from.to_be_bytes(), &to.to_be_bytes()].concat();
        } else if how & 0x40 != 0 {
            segment.options = self.ranges();
        }
        segment
    }

    /// Up to three ranges beyond the first gap, as options.
    fn ranges(&self) -> Vec<u8> {
        let iss = self.answer.map_or(0, |(_, iss)| iss);
        let mut options = vec![1, 1, 5, 2];
        let (mut start, mut gap) = (None, false);
        for (at, seen) in (0_u32..).zip(self.seen.iter().chain([&false])) {
            gap |= !seen;
            match start {
                None if *seen && gap => start = Some(at),
                Some(from) if !seen && options[3] < 26 => {
                    for edge in [from, at] {
                        options.extend_from_slice(&iss.wrapping_add(1 + edge).to_be_bytes());
                    }
                    options[3] += 8;
                    start = None;
                }
                _ => {}
            }
        }
        if options[3] > 2 { options } else { Vec::new() }
    }

    pub(super) fn reset(&mut self, input: &mut Input<'_>) -> Segment {
        let mut segment = self.plain(if input.one_in(2) { RST } else { RST | ACK }, 0);
        segment.seq = segment.seq.wrapping_add(u32::from(input.byte() % 4) * 100);
        segment
    }

    /// Anything, but without payload: what that would say is not known.
    pub(super) fn any(&mut self, input: &mut Input<'_>) -> Segment {
        let [seq, ack, flags] = input.bytes();
        let mut segment = self.plain(flags & 0x3f, input.u16());
        segment.seq = segment.seq.wrapping_sub(128).wrapping_add(u32::from(seq));
        segment.ack = segment.ack.wrapping_sub(128).wrapping_add(u32::from(ack));
        self.allow(segment.ack, segment.window);
        if segment.flags & FIN != 0 {
            self.fins.push(segment.seq);
        }
        if segment.flags & SYN != 0 {
            self.mss = self.mss.max(self.mss_default());
        }
        segment
    }

    /// Of a client that announces none.
    const fn mss_default(&self) -> u16 {
        if self.host.v6 { 1220 } else { 536 }
    }

    fn plain(&mut self, flags: u8, window: u16) -> Segment {
        let segment = Segment {
            seq: self.snd_nxt,
            ack: self.rcv_nxt(),
            flags,
            window,
            ..Segment::default()
        };
        self.allow(segment.ack, window);
        segment
    }

    /// Whatever the shift of the connection is: the window opens by no more.
    fn allow(&mut self, ack: u32, window: u16) {
        let iss = self.answer.map_or(0, |(_, iss)| iss);
        let offset = ack.wrapping_sub(iss.wrapping_add(1));
        let shift = self.shift.map_or(0, |shift| shift.min(14));
        // What lies further was never sent: such acknowledgements are refused.
        if offset < 1 << 24 {
            self.edge = self
                .edge
                .max(offset.saturating_add(u32::from(window) << shift));
        }
    }
}
