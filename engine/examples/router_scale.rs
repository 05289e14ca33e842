//! What one routing decision costs as lists grow, and what a suffix costs in memory.
//!
//! `cargo run --release -p sansbox-engine --example router_scale [-- --json]`
//!
//! Half of the look-ups hit. Names and addresses are drawn from a fixed seed, and there are many
//! more of them than fit the first-level cache, so that large tables pay for their cache misses.
#![expect(
    clippy::indexing_slicing,
    reason = "indexes are drawn below the lengths of lists that are never empty"
)]
use ipnet::IpNet;
use sansbox_core::{Domain, Host, Target};
use sansbox_engine::{
    config::model::{Condition, Fields, Network, Route, Rule, RuleAction, Span, Spanned},
    router::{InboundId, Metadata, OutboundId, Router},
};
use std::{
    collections::BTreeSet,
    hint::black_box,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

const SIZES: [usize; 3] = [10, 1_000, 100_000];
/// Distinct requests per measurement.
const REQUESTS: usize = 1 << 14;
const ROUNDS: usize = 31;
/// Rules of the "many rules" figures.
const RULES: usize = 1_000;

/// xorshift64*: enough to draw test data from.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    fn label(&mut self, min: usize, max: usize) -> String {
        let len = min + self.below(max - min + 1);
        let letter = |draw: &mut Self| char::from(b'a' + u8::try_from(draw.below(26)).unwrap_or(0));
        (0..len).map(|_| letter(self)).collect()
    }

    /// A registered name as block and region lists hold them, 15 octets on average.
    fn suffix(&mut self) -> String {
        let top = ["com", "net", "org", "de", "co.uk", "io", "com.cn"][self.below(7)];
        format!("{}.{top}", self.label(5, 16))
    }

    fn prefix(&mut self, is_v6: bool) -> IpNet {
        let address: IpAddr = if is_v6 {
            // 2000::/5, as allocated.
            let bits = self.next() >> 5 | 0x2000_0000_0000_0000;
            Ipv6Addr::from_bits(u128::from(bits) << 64).into()
        } else {
            Ipv4Addr::from_bits((self.next() >> 32) as u32).into()
        };
        let len = if is_v6 {
            32 + self.below(17)
        } else {
            18 + self.below(7)
        };
        let net = IpNet::new(address, u8::try_from(len).unwrap_or(32));
        net.map_or_else(|_| IpNet::from(address), |net| net.trunc())
    }
}

fn rule(fields: Fields) -> Rule {
    Rule {
        span: Span::default(),
        condition: Condition::Default(Box::new(fields)),
        action: RuleAction::Route {
            outbound: Spanned {
                value: "b".to_owned(),
                span: Span::default(),
            },
        },
    }
}

fn compile(rules: Vec<Rule>) -> Router {
    let route = Route {
        rules,
        final_outbound: None,
        ..Route::default()
    };
    let outbounds = ["a".to_owned(), "b".to_owned()];
    match Router::compile(&route, &[], &outbounds, OutboundId(0)) {
        Ok(router) => router,
        Err(errors) => panic!("made of valid parts: {errors:?}"),
    }
}

fn with_suffixes(domain_suffix: Vec<String>) -> Fields {
    Fields {
        domain_suffix: Some(domain_suffix),
        ..Fields::default()
    }
}

fn with_prefixes(ip_cidr: Vec<IpNet>) -> Fields {
    Fields {
        ip_cidr: Some(ip_cidr),
        ..Fields::default()
    }
}

fn suffixes(draw: &mut Draw, count: usize) -> Vec<String> {
    let mut set = BTreeSet::new();
    while set.len() < count {
        set.insert(draw.suffix());
    }
    set.into_iter().collect()
}

fn prefixes(draw: &mut Draw, count: usize, is_v6: bool) -> Vec<IpNet> {
    let mut set = BTreeSet::new();
    while set.len() < count {
        set.insert(draw.prefix(is_v6));
    }
    set.into_iter().collect()
}

/// Half under one of `suffixes`, half not, shuffled by drawing.
fn name_requests(draw: &mut Draw, suffixes: &[String]) -> Vec<Target> {
    let request = |_| {
        let base = if draw.below(2) == 0 {
            suffixes[draw.below(suffixes.len())].clone()
        } else {
            draw.suffix()
        };
        let name = match draw.below(3) {
            0 => base,
            1 => format!("www.{base}"),
            _ => format!("{}.cdn.{base}", draw.label(2, 8)),
        };
        let domain = Domain::parse(name.as_bytes());
        domain.map_or_else(
            |_| panic!("made of valid labels: {name}"),
            |name| Target::new(Host::Domain(name), 443),
        )
    };
    (0..REQUESTS).map(request).collect()
}

fn ip_requests(draw: &mut Draw, prefixes: &[IpNet], is_v6: bool) -> Vec<Target> {
    let request = |_| {
        let ip = if draw.below(2) == 0 {
            prefixes[draw.below(prefixes.len())].broadcast()
        } else {
            draw.prefix(is_v6).network()
        };
        Target::new(Host::Ip(ip), 443)
    };
    (0..REQUESTS).map(request).collect()
}

/// A router and what is asked of it.
struct Subject {
    router: Router,
    targets: Vec<Target>,
}

impl Subject {
    fn new(rules: Vec<Rule>, targets: Vec<Target>) -> Self {
        let router = compile(rules);
        Self { router, targets }
    }

    /// A round after one that is not counted, so that it finds its own data in the caches as far
    /// as they hold it, not the other subjects'.
    fn warm_round(&self) -> f64 {
        self.round();
        self.round()
    }

    /// Mean time of one decision in nanoseconds.
    #[expect(
        clippy::disallowed_methods,
        reason = "a benchmark measures elapsed time"
    )]
    fn round(&self) -> f64 {
        let source = SocketAddr::from(([127, 0, 0, 1], 4000));
        let mut hits = 0;
        let start = std::time::Instant::now();
        for target in &self.targets {
            let verdict = self.router.route(&Metadata {
                inbound: InboundId(0),
                network: Network::Tcp,
                source,
                target: black_box(target),
                user: None,
            });
            hits += usize::from(verdict.rule.is_some());
        }
        let ns = start.elapsed().as_secs_f64() * 1e9 / self.targets.len() as f64;
        assert!(
            hits * 5 > self.targets.len() * 2,
            "half of the look-ups hit"
        );
        ns
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Per subject the median time of a decision, and of its ratio to the first subject's in the same
/// round. Rounds are interleaved, so that what else the machine does meets all subjects alike.
fn measure(subjects: &[Subject]) -> Vec<(f64, f64)> {
    let rounds: Vec<Vec<f64>> = (0..ROUNDS)
        .map(|_| subjects.iter().map(Subject::warm_round).collect())
        .collect();
    let of = |i: usize| {
        let times = rounds.iter().map(|r| r[i]).collect();
        let ratios = rounds.iter().map(|r| r[i] / r[0]).collect();
        (median(times), median(ratios))
    };
    (0..subjects.len()).map(of).collect()
}

struct Report {
    is_json: bool,
    out: io::StdoutLock<'static>,
}

impl Report {
    fn figure(
        &mut self,
        figure: &str,
        value: f64,
        unit: &str,
        compared: Option<(f64, &str)>,
    ) -> io::Result<()> {
        if self.is_json {
            let (ratio, peer) = compared.map_or_else(
                || ("null".to_owned(), "null".to_owned()),
                |(ratio, peer)| (format!("{ratio:.3}"), format!("\"{peer}\"")),
            );
            return writeln!(
                self.out,
                "{{\"bench\":\"router\",\"figure\":\"{figure}\",\"subject\":\"sansbox\",\
                 \"value\":{value:.2},\"unit\":\"{unit}\",\"ratio\":{ratio},\"peer\":{peer}}}"
            );
        }
        let compared =
            compared.map_or_else(String::new, |(ratio, peer)| format!("  {ratio:.2}x {peer}"));
        writeln!(self.out, "{figure:32} {value:9.1} {unit}{compared}")
    }

    /// Times of one kind of list at each of [`SIZES`], and the memory of the largest.
    fn growth(&mut self, entries: &str, subjects: &[Subject]) -> io::Result<()> {
        for (size, (ns, ratio)) in SIZES.iter().zip(measure(subjects)) {
            let peer = format!("{} {entries}", SIZES[0]);
            let compared = (*size != SIZES[0]).then_some((ratio, peer.as_str()));
            self.figure(&format!("lookup, {size} {entries}"), ns, "ns", compared)?;
        }
        let (largest, size) = (&subjects[SIZES.len() - 1], SIZES[SIZES.len() - 1]);
        let bytes = largest.router.memory_bytes() as f64 / size as f64;
        self.figure(
            &format!("memory per entry, {entries}"),
            bytes,
            "bytes",
            None,
        )
    }

    /// The same entries in one rule and in a rule each.
    fn spread(&mut self, entry: &str, one: Subject, each: Subject) -> io::Result<()> {
        let figure = format!("lookup, {RULES} rules, 1 {entry} each");
        let [_, (ns, ratio)] = measure(&[one, each])[..] else {
            return Ok(());
        };
        self.figure(&figure, ns, "ns", Some((ratio, "one rule")))
    }
}

fn main() -> io::Result<()> {
    let is_json = std::env::args().any(|arg| arg == "--json");
    let mut report = Report {
        is_json,
        out: io::stdout().lock(),
    };
    let draw = &mut Draw(0x5eed);
    let of_suffixes = SIZES.map(|size| {
        let list = suffixes(draw, size);
        let targets = name_requests(draw, &list);
        Subject::new(vec![rule(with_suffixes(list))], targets)
    });
    report.growth("suffixes", &of_suffixes)?;
    for (is_v6, entries) in [(false, "IPv4 prefixes"), (true, "IPv6 prefixes")] {
        let of_prefixes = SIZES.map(|size| {
            let list = prefixes(draw, size, is_v6);
            let targets = ip_requests(draw, &list, is_v6);
            Subject::new(vec![rule(with_prefixes(list))], targets)
        });
        report.growth(entries, &of_prefixes)?;
    }
    let list = suffixes(draw, RULES);
    let targets = name_requests(draw, &list);
    let one_each = |s: &String| rule(with_suffixes(vec![s.clone()]));
    let each = Subject::new(list.iter().map(one_each).collect(), targets.clone());
    let one = Subject::new(vec![rule(with_suffixes(list))], targets);
    report.spread("suffix", one, each)?;
    let list = prefixes(draw, RULES, false);
    let targets = ip_requests(draw, &list, false);
    let one_each = |p: &IpNet| rule(with_prefixes(vec![*p]));
    let each = Subject::new(list.iter().map(one_each).collect(), targets.clone());
    let one = Subject::new(vec![rule(with_prefixes(list))], targets);
    report.spread("prefix", one, each)
}
