//! Tags that refer to something: do they, and not in a circle?
use super::{Builder, tags::Tags};
use crate::config::{
    error::ErrorKind,
    model::{Condition, Config, Outbound, OutboundKind, RuleAction, Span, Spanned},
    schema::{GUESSES_MAX, nearest},
};
use std::collections::{BTreeMap, BTreeSet};

/// Checks every reference. Those that keep sing-box from starting are errors; those it only
/// stumbles over later (rules) are warnings when lenient.
pub(super) fn check(config: &Config, tags: &Tags, builder: &mut Builder<'_>) {
    for outbound in &config.outbounds {
        for tag in needs(outbound) {
            if !tags.outbounds.contains(&tag.value) {
                let kind = builder.unknown("outbound", tag, &tags.outbounds);
                builder.problem(tag.span, kind);
            }
        }
    }
    if let Some(tag) = &config.route.final_outbound
        && !tags.outbounds.contains(&tag.value)
    {
        let kind = builder.unknown("outbound", tag, &tags.outbounds);
        builder.problem(tag.span, kind);
    }
    // Without outbounds and `final`, sing-box makes an outbound of this tag.
    let made = tags.outbounds.is_empty() && config.route.final_outbound.is_none();
    for rule in &config.route.rules {
        inbounds_exist(&rule.condition, tags, builder);
        if let RuleAction::Route { outbound } = &rule.action
            && !outbound.value.is_empty()
            && !tags.outbounds.contains(&outbound.value)
            && !(made && outbound.value == "direct")
        {
            let kind = builder.unknown("outbound", outbound, &tags.outbounds);
            builder.tolerable(outbound.span, kind);
        }
    }
    no_circles(&config.outbounds, builder);
}

impl Builder<'_> {
    fn unknown(
        &self,
        noun: &'static str,
        tag: &Spanned<String>,
        tags: &BTreeSet<String>,
    ) -> ErrorKind {
        let few = self.problems.len() + self.warnings.len() < GUESSES_MAX;
        let names = tags.iter().map(String::as_str);
        ErrorKind::UnknownReference {
            noun,
            tag: tag.value.clone(),
            nearest: few
                .then(|| nearest(&tag.value, names))
                .flatten()
                .map(str::to_owned),
        }
    }
}

fn inbounds_exist(condition: &Condition, tags: &Tags, builder: &mut Builder<'_>) {
    match condition {
        Condition::Default(fields) => {
            for tag in fields.inbound.iter().flatten() {
                if !tags.inbounds.contains(&tag.value) {
                    let kind = builder.unknown("inbound", tag, &tags.inbounds);
                    builder.tolerable(tag.span, kind);
                }
            }
        }
        Condition::Logical { rules, .. } => {
            for rule in rules {
                inbounds_exist(rule, tags, builder);
            }
        }
    }
}

/// The outbounds that an outbound needs.
fn needs(outbound: &Outbound) -> impl Iterator<Item = &Spanned<String>> {
    let members: &[_] = match &outbound.kind {
        OutboundKind::Selector { outbounds, .. } => outbounds,
        OutboundKind::Direct
        | OutboundKind::Block
        | OutboundKind::Socks { .. }
        | OutboundKind::Http { .. }
        | OutboundKind::Paniq(_) => &[],
    };
    outbound.dial.detour.iter().chain(members)
}

/// Walks from every outbound along what it needs, without recursion. An outbound on the way that
/// is met again closes a circle; each circle is told once.
fn no_circles(outbounds: &[Outbound], builder: &mut Builder<'_>) {
    let by_tag: BTreeMap<&str, &Outbound> = outbounds.iter().map(|o| (&*o.tag, o)).collect();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for start in outbounds {
        if done.contains(&*start.tag) {
            continue;
        }
        let mut way: Vec<(&str, Vec<&Spanned<String>>)> =
            vec![(&start.tag, needs(start).collect())];
        let mut on_way: BTreeSet<&str> = BTreeSet::from([&*start.tag]);
        while let Some((tag, left)) = way.last_mut() {
            let Some(next) = left.pop() else {
                done.insert(*tag);
                on_way.remove(*tag);
                way.pop();
                continue;
            };
            if on_way.contains(&*next.value) {
                if builder.problems.len() >= GUESSES_MAX {
                    return;
                }
                let before = way.iter().skip_while(|(tag, _)| *tag != next.value);
                let circle = before.map(|(tag, _)| (*tag).to_owned());
                report(circle.collect(), next.span, builder);
            } else if !done.contains(&*next.value)
                && let Some(outbound) = by_tag.get(&*next.value)
            {
                on_way.insert(&outbound.tag);
                way.push((&outbound.tag, needs(outbound).collect()));
            }
        }
    }
}

fn report(mut chain: Vec<String>, span: Span, builder: &mut Builder<'_>) {
    chain.extend(chain.first().cloned());
    builder.problem(span, ErrorKind::CircularDependency { chain });
}
