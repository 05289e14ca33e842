//! Where packets leave that are not for the device.
use super::{
    Family, Interface, TunError,
    messages::{interfaces_of, unlisted},
    netlink::{Netlink, ROUTE},
    plan::MAIN,
};
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteType};

/// The interface of the best default route in the main table that does not lead to `except`, as it
/// is now; `None` when there is no such route. The kernel lists all its routes for it, so ask again
/// when a connection fails, or once a second, and not for each connection.
///
/// # Errors
/// When the kernel does not list its routes.
pub fn default_interface(
    family: Family,
    except: Option<u32>,
) -> Result<Option<Interface>, TunError> {
    let mut netlink = Netlink::open(ROUTE).map_err(|e| unlisted("routes", e))?;
    let mut found: Vec<_> = netlink
        .routes(family, MAIN, true)?
        .iter()
        .filter(|route| is_default(route))
        .filter_map(|route| {
            let interface = interfaces_of(route).find(|index| Some(*index) != except)?;
            let is_down = route.header.flags.intersects(RouteFlags::Linkdown);
            Some((is_down, metric(route), interface))
        })
        .collect();
    // Of equals the kernel takes the first, and so does a stable sort.
    found.sort_by_key(|(is_down, metric, _)| (*is_down, *metric));
    for (_, _, index) in found {
        if let Some(interface) = netlink.interface(index)? {
            return Ok(Some(interface));
        }
    }
    Ok(None)
}

fn is_default(route: &RouteMessage) -> bool {
    let header = &route.header;
    header.source_prefix_length == 0
        && header.kind == RouteType::Unicast
        && !header.flags.intersects(RouteFlags::Dead)
}

/// Lower is better; IPv4 leaves a zero out.
fn metric(route: &RouteMessage) -> u32 {
    let written = route.attributes.iter().find_map(|attribute| {
        if let RouteAttribute::Priority(metric) = attribute {
            return Some(*metric);
        }
        None
    });
    written.unwrap_or_default()
}
