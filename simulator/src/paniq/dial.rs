//! How long it takes a server to reach a target, or to give up.
use super::{load::Reach, persona::Dialling};
use core::{net::IpAddr, time::Duration};
use sansbox_core::{Instant, Refusal};
use sansbox_engine::eyeballs::{Attempt, HappyEyeballs, STAGGER_DEFAULT, Step};

/// What a name's living address takes to answer.
const ANSWER: Duration = Duration::from_millis(1);
/// The least time that the Go dialler gives an address of several.
const SHARE_MIN: Duration = Duration::from_secs(2);
/// What the Rust dialler gives the lookup.
const LOOKUP_MAX: Duration = Duration::from_secs(5);
/// What it then gives every address.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// When a dial ends, and how. `budget` is the server's `dial_timeout`.
pub fn outcome(
    dialling: Dialling,
    reach: &Reach,
    budget: Duration,
) -> (Duration, Result<(), Refusal>) {
    let budget_of_one = match dialling {
        Dialling::Staggered | Dialling::OneByOne => budget,
        Dialling::AllAtOnce => CONNECT_MAX,
    };
    let within = |after: Duration, result| match after <= budget_of_one {
        true => (after, result),
        false => (budget_of_one, Err(Refusal::TimedOut)),
    };
    match reach {
        Reach::Answers(after) => within(*after, Ok(())),
        Reach::Refuses(after) => within(*after, Err(Refusal::ConnectionRefused)),
        Reach::Silent => (budget_of_one, Err(Refusal::TimedOut)),
        Reach::Name {
            lookup,
            addresses,
            nth,
        } => name(dialling, *lookup, *addresses, *nth, budget),
    }
}

fn name(
    dialling: Dialling,
    lookup: Duration,
    addresses: u8,
    nth: u8,
    budget: Duration,
) -> (Duration, Result<(), Refusal>) {
    let lookup_max = match dialling {
        Dialling::Staggered | Dialling::OneByOne => budget,
        Dialling::AllAtOnce => LOOKUP_MAX,
    };
    if lookup >= lookup_max {
        return (lookup_max, Err(Refusal::ResolverFailed));
    }
    let left = budget - lookup;
    match dialling {
        Dialling::Staggered => {
            let (after, result) = race(addresses, nth, left);
            (lookup + after, result)
        }
        Dialling::OneByOne => {
            let (mut spent, mut left) = (Duration::ZERO, left);
            for tried in 0..addresses {
                if tried == nth {
                    return (lookup + spent + ANSWER, Ok(()));
                }
                let share = left / u32::from(addresses - tried);
                let share = share.max(SHARE_MIN).min(left);
                (spent, left) = (spent + share, left - share);
                if left.is_zero() {
                    break;
                }
            }
            (lookup + spent, Err(Refusal::TimedOut))
        }
        Dialling::AllAtOnce if nth < addresses => (lookup + ANSWER, Ok(())),
        Dialling::AllAtOnce => (lookup + CONNECT_MAX, Err(Refusal::TimedOut)),
    }
}

/// The product's own race, with black holes for all addresses but one.
fn race(addresses: u8, nth: u8, budget: Duration) -> (Duration, Result<(), Refusal>) {
    let all: Vec<IpAddr> = (0..addresses)
        .map(|n| IpAddr::from([192, 0, 2, n]))
        .collect();
    let mut now = Instant::ZERO;
    let mut race = HappyEyeballs::new(now, &all, 443, STAGGER_DEFAULT, budget);
    let mut answer: Option<(Instant, Attempt)> = None;
    loop {
        while let Some(step) = race.poll(now) {
            let spent = now.saturating_duration_since(Instant::ZERO);
            match step {
                Step::Start(attempt, to) if to.ip() == IpAddr::from([192, 0, 2, nth]) => {
                    answer = Some((now + ANSWER, attempt));
                }
                Step::Start(..) | Step::Cancel(_) => {}
                Step::Won(_) => return (spent, Ok(())),
                Step::Lost(why) => return (spent, Err(why)),
            }
        }
        let next = race.poll_timeout();
        match answer {
            Some((at, attempt)) if next.is_none_or(|next| at <= next) => {
                now = at;
                race.connected(attempt);
                answer = None;
            }
            _ => now = next.unwrap_or(now).max(now),
        }
    }
}

/// How many connections a server begins at once for a name of so many addresses.
#[must_use]
pub fn at_once(dialling: Dialling, addresses: u8) -> u8 {
    match dialling {
        Dialling::Staggered | Dialling::OneByOne => addresses.min(1),
        Dialling::AllAtOnce => addresses,
    }
}
