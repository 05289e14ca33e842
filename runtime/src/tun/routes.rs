//! `auto_route`: rules and routes that make packets go into a device.
use super::{
    Device, Family, TunError,
    messages::{interfaces_of, is_ours, unlisted},
    netlink::{Netlink, ROUTE},
    plan::{self, Rule},
};
use ipnet::IpNet;
use rustix::io::Errno;
use sansbox_engine::config::model::Tun;
use std::io;

/// The rules and routes of a device, in the network namespace of the thread that installed them.
/// Dropping it takes them away; drop it before the device.
///
/// A process that is killed leaves its rules behind, but not its routes: those go with the device.
/// So rules of our priorities and table whose table is empty are a dead process's, and the next
/// [`Self::install`] takes them away.
#[derive(Debug)]
pub struct Routes {
    netlink: Netlink,
    table: u32,
    rule: u32,
    interface: u32,
    routes: Vec<IpNet>,
}

impl Routes {
    /// Installs what the configuration says about a device that [`Device::open`] made from it;
    /// without `auto_route` nothing. Either all is installed or nothing.
    ///
    /// # Errors
    /// [`TunError::TableInUse`] when another interface has routes in the table, which then is not
    /// touched; else what the kernel refuses.
    pub fn install(config: &Tun, device: &Device) -> Result<Option<Self>, TunError> {
        if !config.auto_route {
            return Ok(None);
        }
        let interface = device.interface().ok_or(TunError::NoInterface)?;
        let mut netlink = Netlink::open(ROUTE).map_err(|e| unlisted("rules", e))?;
        refuse_others(&mut netlink, config.table, interface.index)?;
        // From here on dropping it cleans up.
        let mut installed = Self {
            netlink,
            table: config.table,
            rule: config.rule,
            interface: interface.index,
            routes: Vec::new(),
        };
        installed.remove_rules()?;
        installed.add_routes(plan::routes(config))?;
        installed.add_rules(&plan::rules(config, &interface.name), config)?;
        Ok(Some(installed))
    }

    fn add_routes(&mut self, routes: Vec<IpNet>) -> Result<(), TunError> {
        let (table, device) = (self.table, self.interface);
        for prefix in routes {
            match self.netlink.add_route(prefix, table, device) {
                Ok(()) => self.routes.push(prefix),
                Err(source) => {
                    return Err(TunError::Route {
                        prefix,
                        table,
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    fn add_rules(&mut self, rules: &[Rule], config: &Tun) -> Result<(), TunError> {
        for rule in rules {
            let serves = config
                .address
                .iter()
                .any(|net| Family::of(net.addr()) == rule.family);
            match self.netlink.add_rule(rule) {
                // A family that the kernel does not have needs no rule against it.
                Err(e) if !serves && is_no_family(&e) => {}
                Err(source) => {
                    let priority = rule.priority;
                    return Err(TunError::Rule { priority, source });
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Removes all rules of our priorities and table.
    fn remove_rules(&mut self) -> Result<(), TunError> {
        for family in Family::ALL {
            let rules = match self.netlink.rules(family) {
                Err(TunError::List { source, .. }) if is_no_family(&source) => continue,
                listed => listed?,
            };
            for mut rule in rules {
                if !is_ours(&rule, self.table, self.rule) {
                    continue;
                }
                // Flags that the kernel set by itself it does not take back.
                rule.header.flags &= netlink_packet_route::rule::RuleFlags::Invert;
                match self.netlink.remove_rule(rule) {
                    Ok(()) => {}
                    Err(e) if e.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {}
                    Err(source) => {
                        return Err(TunError::Rule {
                            priority: self.rule,
                            source,
                        });
                    }
                }
            }
        }
        Ok(())
    }
}

impl Drop for Routes {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next start.
        let _at_next_start = self.remove_rules();
        for prefix in core::mem::take(&mut self.routes) {
            let _went_with_device = self
                .netlink
                .remove_route(prefix, self.table, self.interface);
        }
    }
}

/// The table of a running tunnel has routes, and they are not to be shared.
fn refuse_others(netlink: &mut Netlink, table: u32, own: u32) -> Result<(), TunError> {
    for family in Family::ALL {
        let routes = match netlink.routes(family, table, false) {
            Err(TunError::List { source, .. }) if is_no_family(&source) => continue,
            listed => listed?,
        };
        let mut interfaces = routes.iter().flat_map(interfaces_of);
        if let Some(interface) = interfaces.find(|index| *index != own) {
            return Err(TunError::TableInUse { table, interface });
        }
    }
    Ok(())
}

/// Does the kernel not have this family?
fn is_no_family(e: &io::Error) -> bool {
    let errno = e.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::OPNOTSUPP))
}
