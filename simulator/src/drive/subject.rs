//! The daemon's own sessions and associations as machines under test, from a configuration.
use super::{MachineHost, Make, Newcomer, Rules, Subject};
use core::net::SocketAddr;
use sansbox_engine::{
    Association, Peer, Plan, Session,
    config::{ReadOptions, Sources, read},
    ids::InboundId,
    record::Record,
};
use std::sync::Arc;
#[cfg(test)]
use {crate::record::tests, sansbox_flight::wire::MachineKind};

impl Subject for Session {
    fn record(&self) -> Option<&Record> {
        Some(self.record())
    }
}

impl Subject for Association {
    fn record(&self) -> Option<&Record> {
        Some(self.record())
    }
}

/// The plan that a configuration in sing-box JSON makes.
///
/// # Errors
/// All that is wrong with it, as text.
pub fn plan(json: &str) -> Result<Arc<Plan>, String> {
    let lines = |all: Vec<String>| all.join("; ");
    let sources = Sources::single("scenario.json", json);
    let (config, _) = read(&sources, &ReadOptions::default())
        .map_err(|errors| lines(errors.iter().map(ToString::to_string).collect()))?;
    let plan = Plan::build(&config)
        .map_err(|errors| lines(errors.iter().map(ToString::to_string).collect()))?;
    if plan.has_carriers() {
        return Err("machine hosts have no carriers".to_owned());
    }
    Ok(Arc::new(plan))
}

const fn peer(newcomer: Newcomer) -> Peer {
    Peer {
        remote: newcomer.remote,
        local: newcomer.local,
    }
}

impl MachineHost {
    /// A host with the listeners of a plan, each served by sessions or associations.
    #[must_use]
    pub fn of_plan(rules: Rules, plan: &Arc<Plan>) -> Self {
        #[cfg(test)]
        tests::expect(plan);
        let mut host = Self::new(rules);
        for (n, inbound) in plan.inbounds().iter().enumerate() {
            let id = InboundId(u16::try_from(n).unwrap_or(u16::MAX));
            let at = SocketAddr::new(inbound.listen.listen, inbound.listen.listen_port);
            let listeners = inbound.listeners();
            if listeners.tcp {
                let plan = Arc::clone(plan);
                let make: Make = Box::new(move |new| {
                    let machine = Session::new(Arc::clone(&plan), id, peer(new), new.seed, new.now);
                    #[cfg(test)]
                    let machine = tests::tape(machine, &plan, MachineKind::Session, id, new);
                    Box::new(machine)
                });
                host = host.tcp(at, make);
            }
            if listeners.udp {
                let plan = Arc::clone(plan);
                let make: Make = Box::new(move |new| {
                    let machine =
                        Association::new(Arc::clone(&plan), id, peer(new), new.seed, new.now);
                    #[cfg(test)]
                    let machine = tests::tape(machine, &plan, MachineKind::Association, id, new);
                    Box::new(machine)
                });
                host = host.udp(at, make);
            }
        }
        let weak = Arc::downgrade(plan);
        host.shares(move || weak.strong_count())
    }
}
