//! A plan from JSON.
use crate::{
    status::Status,
    types::{INTERFACE_SIZE, Inbound, Outbound, SocketOptions, zero_ended},
};
use core::{fmt::Write as _, net::SocketAddr, time::Duration};
use sansbox_engine::{
    Plan,
    config::{self, ConfigError, Outside, ReadOptions, Source, Sources, Warning, model::Config},
    ids::{InboundId, OutboundId},
};
use std::{
    fs::File,
    io::{self, Read as _},
    time::{SystemTime, UNIX_EPOCH},
};

/// Name of the text in messages.
const NAME: &str = "config";

/// Reads a file that a configuration names; relative paths are relative to the working directory.
fn read_named(path: &str, limit: usize) -> Result<Vec<u8>, String> {
    let read = || {
        let file = File::open(path)?;
        let len = usize::try_from(file.metadata()?.len()).unwrap_or(limit);
        // All at once: a buffer that grows would leave copies of keys behind.
        let mut bytes = Vec::with_capacity(len.min(limit) + 1);
        file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|e: io::Error| e.to_string())
}

/// Reads and compiles. The text says what is wrong, or what should be changed when nothing is.
pub(crate) fn build(json: &[u8]) -> Result<(Config, Plan, String), (Status, String)> {
    let text = std::str::from_utf8(json);
    let text = text.map_err(|e| (Status::BadUtf8, format!("{NAME}: {e}")))?;
    let sources = Sources::single(NAME, text);
    let refuse = |errors: &[ConfigError]| {
        let texts: Vec<_> = errors.iter().map(|e| e.render(&sources)).collect();
        (Status::BadConfig, texts.join("\n"))
    };
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let outside = Outside {
        files: Some(&read_named),
        since_1970: since_1970.unwrap_or_default(),
    };
    let read = config::read_with(&sources, &ReadOptions::default(), &outside);
    let (config, warnings) = read.map_err(|errors| refuse(&errors))?;
    let plan = Plan::build(&config).map_err(|errors| {
        let errors = errors.iter();
        let errors: Vec<_> = errors
            .map(|e| ConfigError::at(&sources, e.span(), e))
            .collect();
        refuse(&errors)
    })?;
    let mut text = String::new();
    for Warning { kind, path, span } in &warnings {
        let file = sources.file(*span).map_or(NAME, Source::path);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{file}: {path}: {kind}");
    }
    Ok((config, plan, text))
}

/// An inbound's number, when the plan has it.
pub(crate) fn inbound_id(plan: &Plan, index: u32) -> Result<InboundId, Status> {
    let known = (index as usize) < plan.inbounds().len();
    let id = u16::try_from(index).ok().filter(|_| known);
    id.map(InboundId).ok_or(Status::BadArgument)
}

pub(crate) fn inbound(plan: &Plan, index: u32) -> Result<Inbound, Status> {
    let inbound = plan.inbound(inbound_id(plan, index)?);
    let (listen, listeners) = (&inbound.listen, inbound.listeners());
    let options = SocketOptions {
        keep_alive: nanos(listen.tcp_keep_alive),
        keep_alive_interval: nanos(listen.tcp_keep_alive_interval),
        ..options(
            listen.bind_interface.as_deref(),
            listen.routing_mark,
            listen.reuse_addr,
            listen.udp_fragment,
        )?
    };
    Ok(Inbound {
        address: SocketAddr::new(listen.listen, listen.listen_port).into(),
        tcp: listeners.tcp.into(),
        udp: listeners.udp.into(),
        reserved: [0; 6],
        options,
    })
}

pub(crate) fn outbound(plan: &Plan, index: u32) -> Result<Outbound, Status> {
    let known = (index as usize) < plan.outbounds().len();
    let id = u16::try_from(index).ok().filter(|_| known);
    let dial = &plan
        .outbound(OutboundId(id.ok_or(Status::BadArgument)?))
        .dial;
    let options = options(
        dial.bind_interface.as_deref(),
        dial.routing_mark,
        dial.reuse_addr,
        dial.udp_fragment,
    )?;
    let v4 = dial.inet4_bind_address;
    let v6 = dial.inet6_bind_address;
    Ok(Outbound {
        inet4_bind_address: v4
            .map(|ip| SocketAddr::from((ip, 0)).into())
            .unwrap_or_default(),
        inet6_bind_address: v6
            .map(|ip| SocketAddr::from((ip, 0)).into())
            .unwrap_or_default(),
        options,
    })
}

fn options(
    interface: Option<&str>,
    mark: Option<u32>,
    reuse_addr: bool,
    udp_fragment: Option<bool>,
) -> Result<SocketOptions, Status> {
    let interface = zero_ended::<INTERFACE_SIZE>(interface.unwrap_or_default());
    Ok(SocketOptions {
        keep_alive: 0,
        keep_alive_interval: 0,
        routing_mark: mark.unwrap_or(0),
        has_routing_mark: mark.is_some().into(),
        reuse_addr: reuse_addr.into(),
        udp_fragment: match udp_fragment {
            None => 0,
            Some(true) => 1,
            Some(false) => 2,
        },
        reserved: 0,
        // No system has an interface with a name that does not fit.
        bind_interface: interface.ok_or(Status::BadConfig)?,
    })
}

fn nanos(duration: Option<Duration>) -> u64 {
    let nanos = duration.map_or(0, |duration| duration.as_nanos());
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str) -> String {
        let json = format!(r#"{{"inbounds": [{{"type": "paniq", "profile_path": {path:?}}}]}}"#);
        let (status, text) = build(json.as_bytes()).expect_err("no such profile");
        assert_eq!(status, Status::BadConfig);
        text
    }

    #[test]
    fn files_that_a_configuration_names_are_read() {
        let none = refused("no/such/file");
        assert!(
            none.contains("cannot read \"no/such/file\": No such file"),
            "{none}"
        );
        // The working directory of tests is that of the package, and this is no profile.
        let other = refused("Cargo.toml");
        assert!(
            other.contains("profile Cargo.toml: no JSON at line 1"),
            "{other}"
        );
        let endless = refused("/dev/zero");
        assert!(endless.contains("longer than 1048576 bytes"), "{endless}");
    }
}
