//! Classes of faults on links.
use super::class::{ALWAYS, Draw, FaultClass, Kind};
use crate::{
    World,
    net::{
        codel::Codel,
        corrupt::{Corruption, Damage, Field},
        hop::HopFault,
        link::{Jitter, Link, Marks, Settings},
        loss::{Loss, Select},
        mtu::{Mtu, TooLong},
        queue::{Line, Queue},
        trace_link::Trace,
    },
};

/// A link with these settings on some sites.
fn both(world: &mut World, draw: &Draw, make: impl Fn(&mut World, &Draw) -> Settings) {
    draw.lay(world, |world, draw| Box::new(Link::new(make(world, draw))));
}

fn losing(world: &mut World, draw: &Draw, make: impl Fn(u32) -> Loss) {
    both(world, draw, |world, draw| Settings {
        loss: vec![make(draw.rate(world))],
        ..Settings::default()
    });
}

/// Damage that no checksum notices.
fn damaging(world: &mut World, draw: &Draw, damage: impl Fn(&mut World, &Draw) -> Damage) {
    both(world, draw, |world, draw| Settings {
        corruption: vec![Corruption {
            damage: damage(world, draw),
            rate: draw.rate(world),
            is_unnoticed: true,
        }],
        ..Settings::default()
    });
}

/// Octets per second, from 64 kbit/s to 8 Mbit/s.
fn rate(world: &mut World, draw: &Draw) -> u64 {
    draw.between(world, 1_000_000, 8_000)
}

fn slow(world: &mut World, draw: &Draw, queue: Queue) -> Settings {
    let rate = rate(world, draw);
    Settings {
        line: Some(Line::Rate { rate, burst: 0 }),
        queue,
        ..Settings::default()
    }
}

fn narrow(world: &mut World, draw: &Draw, too_long: TooLong) -> Settings {
    let octets = draw.between(world, 1499, 576) as usize;
    Settings {
        mtu: Some(Mtu { octets, too_long }),
        ..Settings::default()
    }
}

/// A line as of a moving phone: bursts of opportunities between gaps.
fn phone(world: &mut World, draw: &Draw) -> Option<Trace> {
    let gap = draw.between(world, 20, 400);
    let mut text = String::new();
    for burst in 0..8 {
        for n in 0..4 {
            text += &format!("{}\n", 1 + burst * gap + n);
        }
    }
    Trace::parse(&text).ok()
}

/// One that damages what no checksum notices.
const fn unnoticed(
    name: &'static str,
    about: &'static str,
    install: fn(&mut World, &mut Draw),
) -> FaultClass {
    FaultClass {
        keeps_bytes: false,
        ..FaultClass::new(Kind::Link, name, about, install)
    }
}

pub(super) const ALL: &[FaultClass] = &[
    FaultClass::new(
        Kind::Link,
        "latency",
        "every packet takes longer",
        |world, draw| {
            both(world, draw, |world, draw| Settings {
                latency: draw.millis(world, 5, 300),
                ..Settings::default()
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "jitter",
        "packets take longer or not, in order",
        |world, draw| {
            both(world, draw, |world, draw| Settings {
                jitter: Jitter::Uniform(draw.millis(world, 1, 200)),
                keeps_order: true,
                ..Settings::default()
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "reordering",
        "packets overtake each other",
        |world, draw| {
            both(world, draw, |world, draw| Settings {
                jitter: Jitter::Uniform(draw.millis(world, 1, 100)),
                ..Settings::default()
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "loss",
        "each packet may be lost",
        |world, draw| {
            losing(world, draw, Loss::Random);
        },
    ),
    FaultClass::new(
        Kind::Link,
        "loss-burst",
        "packets are lost one after the other",
        |world, draw| {
            losing(world, draw, |rate| Loss::Burst {
                to_bad: rate / 4 + 1,
                to_good: 250_000,
                in_good: 0,
                in_bad: 900_000,
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "loss-periodic",
        "every n-th packet is lost",
        |world, draw| {
            both(world, draw, |world, draw| Settings {
                loss: vec![Loss::Every(draw.between(world, 50, 3))],
                ..Settings::default()
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "loss-syn",
        "requests for connections are lost",
        |world, draw| {
            losing(world, draw, |rate| Loss::Of(Select::Syn, rate));
        },
    ),
    FaultClass::new(
        Kind::Link,
        "loss-fin",
        "ends of directions are lost",
        |world, draw| {
            losing(world, draw, |rate| Loss::Of(Select::Fin, rate));
        },
    ),
    FaultClass::new(
        Kind::Link,
        "loss-ack",
        "acknowledgements are lost",
        |world, draw| {
            losing(world, draw, |rate| Loss::Of(Select::PureAck, rate));
        },
    ),
    FaultClass::new(
        Kind::Link,
        "loss-long",
        "long packets are lost",
        |world, draw| {
            losing(world, draw, |rate| Loss::Of(Select::Longer(600), rate));
        },
    ),
    FaultClass::new(
        Kind::Link,
        "duplication",
        "packets come twice",
        |world, draw| {
            both(world, draw, |world, draw| Settings {
                duplication: draw.rate(world),
                ..Settings::default()
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "damage",
        "packets are damaged, and dropped for it",
        |world, draw| {
            both(world, draw, |world, draw| Settings {
                corruption: vec![Corruption {
                    damage: Damage::Bits(1),
                    rate: draw.rate(world),
                    is_unnoticed: false,
                }],
                ..Settings::default()
            });
        },
    ),
    unnoticed(
        "bit-flips",
        "bits are flipped that no checksum notices",
        |world, draw| {
            damaging(world, draw, |world, draw| {
                Damage::Bits(draw.between(world, 1, 8) as u32)
            });
        },
    ),
    unnoticed(
        "truncation",
        "payload ends early, unnoticed",
        |world, draw| {
            damaging(world, draw, |_, _| Damage::Truncate);
        },
    ),
    unnoticed(
        "extension",
        "payload is longer than it was, unnoticed",
        |world, draw| {
            damaging(world, draw, |world, draw| {
                Damage::Extend(draw.between(world, 1, 64) as usize)
            });
        },
    ),
    unnoticed(
        "field-damage",
        "a field of a message is changed, unnoticed",
        |world, draw| {
            const FIELDS: [Field; 8] = [
                Field::Socks5Command,
                Field::Socks5Methods,
                Field::Socks5Port,
                Field::Socks5Fragment,
                Field::Socks5DatagramPort,
                Field::HttpMethod,
                Field::HttpTarget,
                Field::HttpStatus,
            ];
            damaging(world, draw, |world, draw| {
                let nth = draw.between(world, FIELDS.len() as u64 - 1, 0) as usize;
                Damage::Field(*FIELDS.get(nth).unwrap_or(&Field::Socks5Methods))
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "slow-line",
        "a line carries few octets per second",
        |world, draw| {
            both(world, draw, |world, draw| {
                slow(world, draw, Queue::default())
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "short-queue",
        "a slow line drops what does not fit its queue",
        |world, draw| {
            both(world, draw, |world, draw| {
                let packets = draw.between(world, 20, 2) as usize;
                slow(
                    world,
                    draw,
                    Queue {
                        packets,
                        ..Queue::default()
                    },
                )
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "codel",
        "a slow line drops what waits too long",
        |world, draw| {
            both(world, draw, |world, draw| {
                let codel = Some(Codel::default());
                slow(
                    world,
                    draw,
                    Queue {
                        codel,
                        ..Queue::default()
                    },
                )
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "recorded-line",
        "a line carries packets when a recorded one did",
        |world, draw| {
            both(world, draw, |world, draw| Settings {
                line: phone(world, draw).map(Line::Trace),
                ..Settings::default()
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "asymmetric-line",
        "one way is much slower than the other",
        |world, draw| {
            draw.lay(world, |world, draw| {
                let out = slow(world, draw, Queue::default());
                Box::new(Link::asymmetric(out, Settings::default()))
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "ecn-marks",
        "packets are marked as having met congestion",
        |world, draw| {
            both(world, draw, |world, draw| Settings {
                marks: Marks::Set(draw.rate(world)),
                ..Settings::default()
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "ecn-bleach",
        "congestion marks are cleared",
        |world, draw| {
            both(world, draw, |_, _| Settings {
                marks: Marks::Bleached,
                ..Settings::default()
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "mtu",
        "long packets are dropped, and a router says so",
        |world, draw| {
            both(world, draw, |world, draw| {
                narrow(world, draw, TooLong::Answer)
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "mtu-black-hole",
        "long packets are dropped in silence",
        |world, draw| {
            both(world, draw, |world, draw| {
                narrow(world, draw, TooLong::Drop)
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "fragments",
        "long packets are cut, and lost with any of their pieces",
        |world, draw| {
            both(world, draw, |world, draw| Settings {
                loss: vec![Loss::Of(Select::Longer(576), draw.rate(world) / 2)],
                ..narrow(world, draw, TooLong::Fragment)
            });
        },
    ),
    FaultClass::new(
        Kind::Link,
        "outage",
        "nothing passes for a while",
        |world, draw| {
            let hops = draw.lay(world, |_, _| Box::new(Link::new(Settings::default())));
            draw.strike_hops(world, hops, (HopFault::Down, HopFault::Up), 1);
        },
    ),
    FaultClass::new(
        Kind::Link,
        "flapping",
        "a link goes down and up again and again",
        |world, draw| {
            let hops = draw.lay(world, |_, _| Box::new(Link::new(Settings::default())));
            draw.strike_hops(world, hops, (HopFault::Down, HopFault::Up), 5);
        },
    ),
    FaultClass::new(
        Kind::Link,
        "one-way-outage",
        "nothing comes in, everything goes out",
        |world, draw| {
            draw.lay(world, |_, _| {
                let back = Settings {
                    loss: vec![Loss::Random(ALWAYS)],
                    ..Settings::default()
                };
                Box::new(Link::asymmetric(Settings::default(), back))
            });
        },
    ),
];
