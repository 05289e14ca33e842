//! The system's resolver, away from the event loop.
use core::net::IpAddr;
use dns_lookup::{AddrFamily, AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};
use sansbox_core::{Domain, Refusal};
use sansbox_engine::machine::Families;
use tokio::task::{JoinHandle, spawn_blocking};

/// Threads of one worker that may wait for the system's resolver.
pub(crate) const RESOLVER_THREADS: usize = 32;
/// Lookups of one worker that may run or wait for a thread.
pub(crate) const LOOKUPS_MAX: usize = 2048;

/// Addresses, or why there are none.
pub(crate) type Answer = Result<Vec<IpAddr>, Refusal>;

/// Begins a lookup. Dropping the handle after `abort` forgets the answer.
pub(crate) fn lookup(name: Domain, families: Families) -> JoinHandle<Answer> {
    spawn_blocking(move || resolve(name.as_str(), families))
}

fn resolve(name: &str, families: Families) -> Answer {
    let hints = AddrInfoHints {
        // One socket type, or every address comes once for each.
        socktype: SockType::Stream.into(),
        address: match families {
            Families::Any => 0,
            Families::V4 => AddrFamily::Inet.into(),
            Families::V6 => AddrFamily::Inet6.into(),
        },
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(name), None, Some(hints)).map_err(|e| refusal(&e))?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for info in found.flatten() {
        let ip = info.sockaddr.ip();
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }
    if addresses.is_empty() {
        return Err(Refusal::NameNotFound);
    }
    Ok(addresses)
}

fn refusal(error: &LookupError) -> Refusal {
    match error.kind() {
        LookupErrorKind::NoName | LookupErrorKind::NoData => Refusal::NameNotFound,
        LookupErrorKind::Memory => Refusal::Exhausted,
        LookupErrorKind::Again
        | LookupErrorKind::Badflags
        | LookupErrorKind::Fail
        | LookupErrorKind::Family
        | LookupErrorKind::Socktype
        | LookupErrorKind::Service
        | LookupErrorKind::System
        | LookupErrorKind::Unknown
        | LookupErrorKind::IO => Refusal::ResolverFailed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_is_found_in_the_family_asked_for() {
        let found = resolve("localhost", Families::V4).expect("in every hosts file");
        assert!(found.iter().all(IpAddr::is_ipv4), "{found:?}");
        assert!(found.contains(&[127, 0, 0, 1].into()), "{found:?}");
    }

    #[test]
    fn lookup_errors_tell_a_missing_name_from_a_failed_resolver() {
        for (code, expected) in [
            (-2, Refusal::NameNotFound),   // EAI_NONAME
            (-3, Refusal::ResolverFailed), // EAI_AGAIN
            (-4, Refusal::ResolverFailed), // EAI_FAIL
            (-10, Refusal::Exhausted),     // EAI_MEMORY
        ] {
            assert_eq!(refusal(&LookupError::new(code)), expected, "{code}");
        }
    }
}
