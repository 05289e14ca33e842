//! A link: delay, loss, damage, a queue in front of a slow line; each way with settings of its own.
use super::{
    corrupt::Corruption,
    hop::{Hop, HopCx, HopFault, Lost, Way},
    loss::{Losing, Loss},
    mtu::{Fit, Mtu, TooLong},
    packet::{Ecn, Packet},
    queue::{Line, Queue, Served},
};
use core::time::Duration;
use sansbox_core::Instant;

/// Draws whose sum is nearly normal (Irwin-Hall): of twelve, the variance is 1.
const NORMAL_DRAWS: u32 = 12;

/// How delays differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Jitter {
    /// Not at all.
    #[default]
    None,
    /// Evenly, up to so much more.
    Uniform(Duration),
    /// Normally, with this standard deviation around the latency; never below zero.
    Normal(Duration),
}

/// What a link does to congestion marks (RFC 3168).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Marks {
    /// Leaves them.
    #[default]
    Kept,
    /// Clears them.
    Bleached,
    /// Marks packets of ends that understand it, in millionths.
    Set(u32),
}

/// One way of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Delay of every packet.
    pub latency: Duration,
    /// How it differs from packet to packet.
    pub jitter: Jitter,
    /// Packets do not overtake each other, whatever the jitter.
    pub keeps_order: bool,
    /// Which are lost.
    pub loss: Vec<Loss>,
    /// Which come twice, in millionths.
    pub duplication: u32,
    /// Which are damaged.
    pub corruption: Vec<Corruption>,
    /// How fast it is; `None`: without limit and queue.
    pub line: Option<Line>,
    /// What waits in front of a line.
    pub queue: Queue,
    /// What fits.
    pub mtu: Option<Mtu>,
    /// What becomes of congestion marks.
    pub marks: Marks,
}

#[derive(Debug)]
struct Lane {
    settings: Settings,
    losing: Vec<Losing>,
    served: Option<Served>,
    last_arrival: Instant,
}

impl Lane {
    fn new(settings: Settings) -> Self {
        let start = Instant::ZERO;
        Self {
            losing: settings.loss.iter().copied().map(Losing::new).collect(),
            served: settings
                .line
                .as_ref()
                .map(|line| Served::new(start, settings.queue, line)),
            settings,
            last_arrival: start,
        }
    }

    fn delay(&self, cx: &mut HopCx<'_>) -> Duration {
        let latency = self.settings.latency;
        match self.settings.jitter {
            Jitter::None => latency,
            Jitter::Uniform(max) => latency + cx.up_to(max),
            Jitter::Normal(deviation) => {
                let sum: Duration = (0..NORMAL_DRAWS).map(|_| cx.up_to(deviation)).sum();
                (latency + sum).saturating_sub(deviation * (NORMAL_DRAWS / 2))
            }
        }
    }

    /// A packet leaves the line.
    fn travel(&mut self, cx: &mut HopCx<'_>, way: Way, packet: Packet) {
        let mut at = cx.now() + self.delay(cx);
        if self.settings.keeps_order {
            at = at.max(self.last_arrival);
        }
        self.last_arrival = self.last_arrival.max(at);
        cx.forward_at(at, way, packet);
    }

    /// Marks, damages and loses; what is left goes on.
    fn spoil(&mut self, cx: &mut HopCx<'_>, packet: Packet, pieces: u64) -> Option<Packet> {
        let mut packet = packet;
        for losing in &mut self.losing {
            // Each piece of a packet in pieces takes its chance.
            if (0..pieces).any(|_| losing.loses(cx, &packet)) {
                cx.lose(packet, Lost::Chance);
                return None;
            }
        }
        for corruption in &self.settings.corruption {
            if corruption.apply(cx, &mut packet) && !corruption.is_unnoticed {
                cx.lose(packet, Lost::Damaged);
                return None;
            }
        }
        match self.settings.marks {
            Marks::Kept => {}
            Marks::Bleached => packet.ecn = Ecn::NotEct,
            Marks::Set(rate) => {
                if packet.ecn != Ecn::NotEct && cx.hazard(rate) {
                    packet.ecn = Ecn::Ce;
                }
            }
        }
        Some(packet)
    }

    fn enter(&mut self, cx: &mut HopCx<'_>, way: Way, packet: Packet) {
        match &mut self.served {
            Some(served) => {
                served.join(cx, packet);
                self.serve(cx, way);
            }
            None => self.travel(cx, way, packet),
        }
    }

    fn serve(&mut self, cx: &mut HopCx<'_>, way: Way) {
        while let Some(served) = &mut self.served
            && let Some(packet) = served.serve(cx)
        {
            self.travel(cx, way, packet);
        }
    }

    fn pass(&mut self, cx: &mut HopCx<'_>, way: Way, packet: Packet) {
        let (fit, packet) = match self.settings.mtu {
            Some(mtu) => mtu.pass(cx, way, packet),
            None => (Fit::Pieces(1), Some(packet)),
        };
        let (Fit::Pieces(pieces), Some(packet)) = (fit, packet) else {
            return;
        };
        let Some(packet) = self.spoil(cx, packet, pieces) else {
            return;
        };
        if self.settings.duplication > 0 && cx.hazard(self.settings.duplication) {
            let mut copy = packet.clone();
            copy.id = cx.new_packet_id();
            cx.note(packet.id, format!("doubled as {}", copy.id.0));
            self.enter(cx, way, copy);
        }
        self.enter(cx, way, packet);
    }

    fn set_rate(&mut self, now: Instant, rate: u64) {
        match &mut self.served {
            Some(served) => served.set_rate(now, rate),
            None => {
                let line = Line::Rate { rate, burst: 0 };
                self.served = Some(Served::new(now, self.settings.queue, &line));
            }
        }
    }
}

/// A link between a site and the world.
#[derive(Debug)]
pub struct Link {
    out: Lane,
    back: Lane,
    is_down: bool,
}

impl Link {
    /// The same both ways.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self::asymmetric(settings.clone(), settings)
    }

    /// One way from the site, the other to it.
    #[must_use]
    pub fn asymmetric(out: Settings, back: Settings) -> Self {
        Self {
            out: Lane::new(out),
            back: Lane::new(back),
            is_down: false,
        }
    }

    const fn lane(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::Out => &mut self.out,
            Way::In => &mut self.back,
        }
    }
}

impl Hop for Link {
    fn kind(&self) -> &'static str {
        "link"
    }

    fn pass(&mut self, cx: &mut HopCx<'_>, way: Way, packet: Packet) {
        if self.is_down {
            cx.lose(packet, Lost::Down);
        } else {
            self.lane(way).pass(cx, way, packet);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let ready = |lane: &Lane| lane.served.as_ref().and_then(Served::ready_at);
        [ready(&self.out), ready(&self.back)]
            .into_iter()
            .flatten()
            .min()
    }

    fn handle_timeout(&mut self, cx: &mut HopCx<'_>) {
        self.out.serve(cx, Way::Out);
        self.back.serve(cx, Way::In);
    }

    fn fault(&mut self, cx: &mut HopCx<'_>, fault: HopFault) -> bool {
        let lanes = [&mut self.out, &mut self.back];
        match fault {
            HopFault::Down => self.is_down = true,
            HopFault::Up => self.is_down = false,
            HopFault::Rate(rate) => lanes.into_iter().for_each(|l| l.set_rate(cx.now(), rate)),
            HopFault::Latency(latency) => {
                lanes.into_iter().for_each(|l| l.settings.latency = latency);
            }
            HopFault::Mtu(octets) => {
                for lane in lanes {
                    let old = lane.settings.mtu;
                    let too_long = old.map_or(TooLong::Answer, |mtu| mtu.too_long);
                    lane.settings.mtu = Some(Mtu { octets, too_long });
                }
            }
            HopFault::Forget | HopFault::Rebind | HopFault::Renumber(_) => return false,
        }
        true
    }
}
