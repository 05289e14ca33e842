//! Faults as they strike.
use super::{Fault, HostFault};
use crate::{
    World,
    host::{Cx, HostId, HostInput},
    resident::State,
    transcript::{Place, Tag},
};

impl World {
    pub(crate) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Hop { site, index, fault } => {
                let done = self.net.core.hop_fault(site, index, fault);
                let Some((hop, is_meant, outputs)) = done else {
                    return;
                };
                let how = if is_meant { "" } else { " (ignored)" };
                let text = format_args!("{fault:?}{how}");
                self.net
                    .core
                    .note_at(Place::Hop(hop.0), Tag::Fault, 0, text);
                self.net.after_hop(hop, outputs);
            }
            Fault::Host { host, fault } => self.host_fault(host, fault),
        }
    }

    fn host_fault(&mut self, host: HostId, fault: HostFault) {
        let state = self.residents.get(host.0 as usize).map(|r| r.state);
        if fault == HostFault::Restart {
            if state == Some(State::Dead) {
                self.net.host_fault(host, fault);
                self.set_state(host, State::Running);
                self.tell(host, HostInput::Start);
            }
            return;
        }
        if !matches!(state, Some(State::Running | State::Still)) {
            return;
        }
        self.net.host_fault(host, fault);
        match fault {
            HostFault::Suspend | HostFault::Sleep => self.set_state(host, State::Still),
            HostFault::Resume => self.resume(host),
            HostFault::ClockJump(_) | HostFault::ClockDrift(_) => self.rearm(host),
            HostFault::Crash(_) => self.bury(host),
            HostFault::Restart
            | HostFault::SlowReader(_)
            | HostFault::FileLimit(_)
            | HostFault::LoseAddress(_)
            | HostFault::GainAddress(_) => {}
        }
    }

    fn set_state(&mut self, host: HostId, state: State) {
        if let Some(resident) = self.residents.get_mut(host.0 as usize) {
            resident.state = state;
        }
    }

    /// A host goes on: it hears of everything that happened, in order.
    fn resume(&mut self, host: HostId) {
        self.set_state(host, State::Running);
        loop {
            let resident = self.residents.get_mut(host.0 as usize);
            let Some(input) = resident.and_then(|r| r.held.pop_front()) else {
                return;
            };
            self.tell(host, input);
        }
    }

    fn bury(&mut self, host: HostId) {
        let Some(resident) = self.residents.get_mut(host.0 as usize) else {
            return;
        };
        resident.state = State::Dead;
        resident.held.clear();
        let net = &mut self.net;
        resident.host.crashed(&mut Cx { net, host });
        self.disarm(host);
        self.account(host);
    }
}
