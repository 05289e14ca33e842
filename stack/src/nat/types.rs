//! What a table is asked and answers.
use super::{SESSIONS_MAX, SESSIONS_PER_CLIENT_MAX};
use core::net::SocketAddr;
use core::time::Duration;

/// Whose replies are let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filtering {
    /// Anybody's ("full cone").
    #[default]
    EndpointIndependent,
    /// Those of addresses that the client wrote to, from any port.
    AddressDependent,
}

/// How a table works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Mappings of all clients.
    pub sessions_max: usize,
    /// Mappings of one client address.
    pub sessions_per_client_max: usize,
    /// Whose replies are let in.
    pub filtering: Filtering,
    /// Idle time of all UDP, whatever the protocol.
    pub udp_timeout: Option<Duration>,
    /// Replies keep a mapping alive as well.
    pub refreshes_on_inbound: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sessions_max: SESSIONS_MAX,
            sessions_per_client_max: SESSIONS_PER_CLIENT_MAX,
            filtering: Filtering::default(),
            udp_timeout: None,
            refreshes_on_inbound: false,
        }
    }
}

/// The name of a mapping, never used twice in the life of a table (before 2^32 in one place).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MappingId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// A datagram of a client has a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outbound {
    /// The mapping.
    pub id: MappingId,
    /// It was made for this datagram: an association is to be opened.
    pub is_new: bool,
    /// The mapping that had to go for it: its association is to be closed.
    pub evicted: Option<Closed>,
}

/// A reply belongs to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inbound {
    /// Who it is for.
    pub client: SocketAddr,
    /// The last answer that a mapping for DNS waited for: [`super::Table::expire`] ends it now.
    pub is_last: bool,
}

/// A mapping ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its name, which is stale now.
    pub id: MappingId,
    /// Whose it was.
    pub client: SocketAddr,
    /// Why.
    pub why: Why,
}

/// Why a mapping ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Nothing was sent for its idle time.
    Idle,
    /// Every DNS question was answered.
    Answered,
    /// A newer mapping of the same client took its place.
    EvictedByClient,
    /// A newer mapping of another client took its place.
    Evicted,
    /// [`super::Table::close`].
    Closed,
}
