//! Dial options, with what `route` says of all outbounds.
use crate::config::model::{Dial, Outbound, Route};

/// The options of an outbound's sockets. What it says itself counts; a source address of its own is
/// a choice of the way too, so nothing else is bound beside it.
pub(super) fn dial_of(outbound: &Outbound, route: &Route) -> Dial {
    let mut dial = outbound.dial.clone();
    let is_bound = dial.bind_interface.is_some()
        || dial.inet4_bind_address.is_some()
        || dial.inet6_bind_address.is_some();
    if !is_bound {
        dial.bind_interface.clone_from(&route.default_interface);
        dial.auto_detect_interface =
            route.auto_detect_interface && route.default_interface.is_none();
    }
    dial.routing_mark = dial.routing_mark.or(route.default_mark);
    dial
}
