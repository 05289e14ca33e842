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
const ROUNDS: usize = 15;
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

    /// A registered name as block and region lists hold them, 14 octets on average.
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

/// Median over rounds of the mean time of one decision, in nanoseconds, and the share of hits.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark measures elapsed time"
)]
fn measure(router: &Router, targets: &[Target]) -> (f64, f64) {
    let source = SocketAddr::from(([127, 0, 0, 1], 4000));
    let mut hits = 0;
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            hits = 0;
            let start = std::time::Instant::now();
            for target in targets {
                let verdict = router.route(&Metadata {
                    inbound: InboundId(0),
                    network: Network::Tcp,
                    source,
                    target: black_box(target),
                    user: None,
                });
                hits += usize::from(verdict.rule.is_some());
            }
            start.elapsed().as_secs_f64() * 1e9 / targets.len() as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    (rounds[ROUNDS / 2], hits as f64 / targets.len() as f64)
}

struct Report {
    is_json: bool,
    out: io::StdoutLock<'static>,
}

impl Report {
    /// `peer` is the figure that `ratio` compares with.
    fn figure(
        &mut self,
        figure: &str,
        value: f64,
        unit: &str,
        compared: Option<(f64, &str)>,
    ) -> io::Result<()> {
        let ratio = compared.map(|(base, _)| value / base);
        if self.is_json {
            let ratio = ratio.map_or_else(|| "null".to_owned(), |r| format!("{r:.3}"));
            let peer =
                compared.map_or_else(|| "null".to_owned(), |(_, peer)| format!("\"{peer}\""));
            return writeln!(
                self.out,
                "{{\"bench\":\"router\",\"figure\":\"{figure}\",\"subject\":\"sansbox\",\
                 \"value\":{value:.2},\"unit\":\"{unit}\",\"ratio\":{ratio},\"peer\":{peer}}}"
            );
        }
        let compared = match (ratio, compared) {
            (Some(ratio), Some((_, peer))) => format!("  {ratio:.2}x {peer}"),
            _ => String::new(),
        };
        writeln!(self.out, "{figure:32} {value:9.1} {unit}{compared}")
    }
}

fn main() -> io::Result<()> {
    let is_json = std::env::args().any(|arg| arg == "--json");
    let mut report = Report {
        is_json,
        out: io::stdout().lock(),
    };
    domains(&mut report)?;
    for (is_v6, family) in [(false, "ipv4"), (true, "ipv6")] {
        cidrs(&mut report, is_v6, family)?;
    }
    many_rules(&mut report)
}

fn domains(report: &mut Report) -> io::Result<()> {
    let mut base = None;
    for size in SIZES {
        let mut draw = Draw(0x5eed_0001);
        let list = suffixes(&mut draw, size);
        let octets: usize = list.iter().map(String::len).sum();
        let targets = name_requests(&mut draw, &list);
        let router = compile(vec![rule(with_suffixes(list))]);
        let (ns, hits) = measure(&router, &targets);
        assert!(hits > 0.4, "half of the look-ups hit");
        let compared = base.map(|base| (base, "10 suffixes"));
        report.figure(&format!("lookup, {size} suffixes"), ns, "ns", compared)?;
        base = base.or(Some(ns));
        if size == SIZES[2] {
            let bytes = router.memory_bytes() as f64 / size as f64;
            let text = (octets as f64 / size as f64, "the text itself");
            report.figure("memory per suffix", bytes, "bytes", Some(text))?;
        }
    }
    Ok(())
}

fn cidrs(report: &mut Report, is_v6: bool, family: &str) -> io::Result<()> {
    let mut base = None;
    for size in SIZES {
        let mut draw = Draw(0x5eed_0002);
        let list = prefixes(&mut draw, size, is_v6);
        let targets = ip_requests(&mut draw, &list, is_v6);
        let router = compile(vec![rule(with_prefixes(list))]);
        let (ns, hits) = measure(&router, &targets);
        assert!(hits > 0.4, "half of the look-ups hit");
        let compared = base.map(|base| (base, "10 prefixes"));
        report.figure(
            &format!("lookup, {size} {family} prefixes"),
            ns,
            "ns",
            compared,
        )?;
        base = base.or(Some(ns));
        if size == SIZES[2] {
            let bytes = router.memory_bytes() as f64 / size as f64;
            report.figure(&format!("memory per {family} prefix"), bytes, "bytes", None)?;
        }
    }
    Ok(())
}

/// The same entries in one rule and spread over many.
fn many_rules(report: &mut Report) -> io::Result<()> {
    let mut draw = Draw(0x5eed_0003);
    let list = suffixes(&mut draw, RULES);
    let targets = name_requests(&mut draw, &list);
    let one_each = |s: &String| rule(with_suffixes(vec![s.clone()]));
    let spread = measure(&compile(list.iter().map(one_each).collect()), &targets).0;
    let one = measure(&compile(vec![rule(with_suffixes(list))]), &targets).0;
    let compared = Some((one, "one rule"));
    report.figure(
        &format!("lookup, {RULES} rules, 1 suffix each"),
        spread,
        "ns",
        compared,
    )?;

    let list = prefixes(&mut draw, RULES, false);
    let targets = ip_requests(&mut draw, &list, false);
    let one_each = |p: &IpNet| rule(with_prefixes(vec![*p]));
    let spread = measure(&compile(list.iter().map(one_each).collect()), &targets).0;
    let one = measure(&compile(vec![rule(with_prefixes(list))]), &targets).0;
    let compared = Some((one, "one rule"));
    report.figure(
        &format!("lookup, {RULES} rules, 1 prefix each"),
        spread,
        "ns",
        compared,
    )
}
