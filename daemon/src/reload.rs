//! The configuration, read again because a signal asks for it.
use crate::{
    fatal::Fatal,
    load::{Inputs, Loaded, Named, STDIN, built_in, load, refuse},
    logger::Level,
    report::Report,
    runtime::Running,
};
use sansbox_engine::{
    carrier::tun::{EchoMode, Handshake, Settings},
    config::{
        self, Sources,
        model::{Config, InboundKind},
    },
    ids::InboundId,
};
use std::{collections::BTreeMap, hash::RandomState};

/// What of a `tun` inbound a running device takes over, below `sansbox`.
const ADJUSTABLE: [&str; 3] = ["egress_mtu", "handshake_mode", "icmp_echo"];
/// Differences that are named; more are counted.
const NAMED_MAX: usize = 5;

/// The configuration that is served, to compare others with.
pub(crate) struct Served {
    sources: Sources,
    /// Files that it names, by digests: what they hold may be secret.
    files: BTreeMap<String, u64>,
    key: RandomState,
}

impl Served {
    pub(crate) fn new(sources: Sources, named: &Named) -> Self {
        let key = RandomState::new();
        Self {
            sources,
            files: named.digests(&key),
            key,
        }
    }

    /// Takes over what can be, if that is all that differs; else says what differs.
    pub(crate) fn reload(&mut self, inputs: &Inputs, running: &Running, report: &Report) {
        let (level, text) = match self.take_over(inputs, running, report) {
            Ok(text) => (Level::Info, text),
            Err(fatal) => (Level::Error, fatal.message),
        };
        let text = format_args!("reload service: {text}");
        report.logger.write(level, None, text);
    }

    fn take_over(
        &mut self,
        inputs: &Inputs,
        running: &Running,
        report: &Report,
    ) -> Result<String, Fatal> {
        if inputs.files.iter().any(|path| path == STDIN) {
            return Err(Fatal::new("what came from stdin cannot be read again"));
        }
        let sources = if inputs.are_absent() {
            built_in()
        } else {
            inputs.read()?
        };
        let loaded = load(&sources)?;
        let fixed = self.fixed(&sources, &loaded)?;
        if !fixed.is_empty() {
            let text = "the configuration is good, but a restart is needed for";
            return Err(Fatal::new(format!("{text} {}", listed(&fixed))));
        }
        let mut changes = Vec::new();
        for (inbound, settings) in devices(&loaded.config) {
            let Some(before) = running.device(inbound).filter(|old| *old != settings) else {
                continue;
            };
            let name = report.inbound(inbound);
            let set = running.set_device(inbound, settings);
            set.map_err(|e| Fatal::new(format!("{name}: {e}")))?;
            changes.push(format!("{name}: {}", changed(before, settings)));
        }
        self.sources = sources;
        if changes.is_empty() {
            return Ok("nothing has changed".to_owned());
        }
        Ok(changes.join("; "))
    }

    /// What differs and cannot change while it is served.
    fn fixed(&self, sources: &Sources, loaded: &Loaded) -> Result<Vec<String>, Fatal> {
        // Both were read before: only the second can be at fault.
        let differing = config::differences(&self.sources, sources);
        let mut fixed = differing.map_err(|errors| refuse(&errors, sources))?;
        let adjustable: Vec<String> = devices(&loaded.config)
            .flat_map(|(id, _)| ADJUSTABLE.map(|key| format!("inbounds[{}].sansbox.{key}", id.0)))
            .collect();
        fixed.retain(|path| !adjustable.contains(path));
        // A file that is named now and was not, or the other way, is told by who names it.
        let files = loaded.named.digests(&self.key).into_iter();
        let changed = files.filter(|(path, digest)| {
            let before = self.files.get(path);
            before.is_some_and(|before| before != digest)
        });
        fixed.extend(changed.map(|(path, _)| path));
        Ok(fixed)
    }
}

/// The devices of a configuration, and how they are to be served.
fn devices(config: &Config) -> impl Iterator<Item = (InboundId, Settings)> {
    let numbered = (0..).map(InboundId).zip(&config.inbounds);
    numbered.filter_map(|(id, inbound)| {
        let InboundKind::Tun(tun) = &inbound.kind else {
            return None;
        };
        Some((id, tun.sansbox.into()))
    })
}

/// The settings that are not as before.
fn changed(before: Settings, now: Settings) -> String {
    let egress_mtu = |settings: Settings| settings.egress_mtu.to_string();
    let handshake_mode = |settings: Settings| {
        let name = match settings.handshake_mode {
            Handshake::Fast => "fast",
            Handshake::Consistent => "consistent",
            Handshake::Auto => "auto",
        };
        name.to_owned()
    };
    let icmp_echo = |settings: Settings| {
        let name = match settings.icmp_echo {
            EchoMode::Off => "off",
            EchoMode::Reply => "reply",
            EchoMode::Relay => "relay",
            EchoMode::Reject => "reject",
        };
        name.to_owned()
    };
    let values: [&dyn Fn(Settings) -> String; 3] = [&egress_mtu, &handshake_mode, &icmp_echo];
    let all = ADJUSTABLE.into_iter().zip(values);
    let differing = all.filter_map(|(key, value)| {
        let (before, now) = (value(before), value(now));
        (before != now).then(|| format!("{key} is {now}, was {before}"))
    });
    let differing: Vec<String> = differing.collect();
    differing.join(", ")
}

/// The first of them, and how many more there are.
fn listed(paths: &[String]) -> String {
    let shown = paths.get(..NAMED_MAX).unwrap_or(paths);
    let mut text = shown.join(", ");
    if paths.len() > shown.len() {
        text += &format!(" and {} more", paths.len() - shown.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::slice;

    const TUN: &str = r#"{ "type": "tun", "tag": "t", "address": "10.0.0.1/30" EXTRAS }"#;

    fn sources(tun: &str, more: &str) -> Sources {
        let tun = TUN.replace("EXTRAS", tun);
        Sources::single("a.json", format!("{{ \"inbounds\": [{tun}] {more} }}"))
    }

    /// What of the second differs from the first and needs a restart.
    fn fixed(one: &Sources, other: &Sources) -> Vec<String> {
        let first = load(one).expect("it is good");
        let served = Served::new(one.clone(), &first.named);
        let second = load(other).expect("it is good");
        served.fixed(other, &second).expect("both are read")
    }

    #[test]
    fn settings_of_devices_need_no_restart() {
        let plain = sources("", "");
        let adjusted = sources(
            r#", "sansbox": { "egress_mtu": 1400, "handshake_mode": "auto", "icmp_echo": "off" }"#,
            "",
        );
        for (one, other) in [(&plain, &adjusted), (&adjusted, &plain), (&plain, &plain)] {
            assert_eq!(fixed(one, other), [""; 0]);
        }
    }

    #[test]
    fn whatever_else_differs_is_named() {
        let plain = sources("", "");
        for (tun, more, paths) in [
            (
                r#", "sansbox": { "egress_mtu": 1400, "udp_filtering": "address_dependent" }"#,
                "",
                &["inbounds[0].sansbox.udp_filtering"][..],
            ),
            (r#", "mtu": 1400"#, "", &["inbounds[0].mtu"]),
            (
                "",
                r#", "log": { "level": "warn" }, "route": { "final": "o" },
                     "outbounds": [{ "type": "block", "tag": "o" }]"#,
                &["log.level", "outbounds", "route.final"],
            ),
        ] {
            let other = sources(tun, more);
            assert_eq!(fixed(&plain, &other), paths, "{tun}{more}");
            assert_eq!(fixed(&other, &plain), paths, "{tun}{more}");
        }
    }

    #[test]
    fn a_file_that_is_named_and_changed_needs_a_restart() {
        let config = sources("", "");
        let loaded = load(&config).expect("it is good");
        let mut served = Served::new(config.clone(), &loaded.named);
        let named = Named::of(&[("keys.json", "new")]);
        served.files = Named::of(&[("keys.json", "old")]).digests(&served.key);
        let with_file = Loaded { named, ..loaded };
        assert_eq!(
            served.fixed(&config, &with_file).expect("both are read"),
            ["keys.json"]
        );
        served.files = with_file.named.digests(&served.key);
        assert_eq!(
            served.fixed(&config, &with_file).expect("both are read"),
            [""; 0]
        );
    }

    #[test]
    fn only_the_first_of_many_are_named() {
        let path = |number: usize| format!("p{number}");
        let paths: Vec<String> = (0..7).map(path).collect();
        assert_eq!(listed(&paths), "p0, p1, p2, p3, p4 and 2 more");
        assert_eq!(listed(slice::from_ref(&paths[6])), "p6");
    }

    #[test]
    fn what_has_changed_is_told() {
        let [(_, before)] =
            *devices(&load(&sources("", "")).expect("good").config).collect::<Vec<_>>()
        else {
            panic!("one device");
        };
        let now = Settings {
            egress_mtu: 1400,
            icmp_echo: EchoMode::Relay,
            ..before
        };
        let text = "egress_mtu is 1400, was 1500, icmp_echo is relay, was reply";
        assert_eq!(changed(before, now), text);
    }
}
