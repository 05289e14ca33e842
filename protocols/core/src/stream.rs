//! Protocols that live on one byte stream.
use crate::{Instant, Pipe, Progress, error::ProtocolError};

/// A protocol on one byte stream: four borrowed pipes and no buffers of its own. Inbound is wire
/// to app, outbound is app to wire.
///
/// A driver calls until a full round returns [`Progress::NONE`], and asks for `poll_timeout`
/// again after every call that may change it. Spurious calls are harmless: a second drain does
/// nothing. An `Err` ends input, never output: `poll_transmit` is still called until dry, so that
/// refusals and alerts go out.
pub trait StreamProtocol {
    /// What the machine tells its owner besides bytes.
    type Event;
    /// Why the machine stopped.
    type Error: ProtocolError;

    /// Consumes from `wire` and decodes into `app`. Leaves incomplete units in `wire` and stops
    /// when `app` has no room.
    ///
    /// # Errors
    /// When the peer broke the protocol or refused; the machine takes no more input after that.
    fn handle_input(
        &mut self,
        now: Instant,
        wire: &mut Pipe,
        app: &mut Pipe,
    ) -> Result<Progress, Self::Error>;

    /// Emits handshake bytes, then encodes from `app`, into `wire`; stops when `wire` has no room.
    ///
    /// # Errors
    /// When what `app` holds cannot be sent in this protocol.
    fn poll_transmit(
        &mut self,
        now: Instant,
        app: &mut Pipe,
        wire: &mut Pipe,
    ) -> Result<Progress, Self::Error>;

    /// The next event, in order.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// When `handle_timeout` wants to be called. Pure.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Handles every deadline at or before `now`; each is cleared or moved.
    ///
    /// # Errors
    /// When the peer took too long.
    fn handle_timeout(&mut self, now: Instant) -> Result<Progress, Self::Error>;
}
