//! What an endpoint allows and what it keeps to itself.
use super::Endpoint;

impl Endpoint {
    /// Refuses connections of a host (an IP address) that has `max` of them.
    #[must_use]
    pub const fn with_connections_per_host(mut self, max: usize) -> Self {
        self.connections_per_host_max = max;
        self
    }

    /// Answers nothing that belongs to no connection: no version negotiation, no stateless reset.
    #[must_use]
    pub const fn without_answers_to_strangers(mut self) -> Self {
        self.answers_strangers = false;
        self
    }

    /// Gives peers no connection ids beside the first: for who forbids migration, without which
    /// there is no use for more.
    #[must_use]
    pub const fn without_spare_ids(mut self) -> Self {
        self.gives_ids = false;
        self
    }

    /// Lets a peer that uses the streams of the transport's `max_concurrent_bidi_streams` have more
    /// of them, up to `max`: each costs memory from when it is allowed.
    #[must_use]
    pub const fn with_streams_growing_to(mut self, max: u32) -> Self {
        self.streams_max = Some(max);
        self
    }
}
