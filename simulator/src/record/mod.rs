//! Recordings of production, replayed: the same inputs to a fresh machine of the same plan give
//! the same actions and the same bytes, or the first difference is shown.
//!
//! | file | holds |
//! |---|---|
//! | `replay` | [`replay`]: one machine, compared with its digests |
//! | `device` | the same for the carrier of a TUN device |
//! | `picture` | [`Picture`]: connections as a story that [`out`](crate::out) draws |
//! | `promote` | [`promote`], [`bless`]: one machine as a file of its own, to be kept as a test |
mod device;
mod heard;
mod picture;
mod promote;
mod replay;
#[cfg(test)]
pub(crate) mod tests;

pub use picture::{Connection, Drawn, Picture};
pub use promote::{PromoteError, bless, promote};
pub use replay::{Difference, Divergence, Ending, Event, EventKind, Replayed, Verdict, replay};

use sansbox_engine::{
    Plan,
    config::{ReadOptions, Sources, read},
};
use sansbox_flight::{Mode, Recording, Track, TrackId, build::Build};
use std::{collections::BTreeMap, sync::Arc};

/// Why nothing of a recording can be replayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unplayable {
    /// It has no bytes.
    #[error(
        "the recording has mode `shape`, which keeps times and sizes only: \
         `head` or `full` can be replayed"
    )]
    Shape,
    /// It was made by other machines.
    #[error("the recording needs the build that made it: {needs}; this is {has}")]
    OtherBuild {
        /// Which build it needs.
        needs: Box<Build>,
        /// Which this is.
        has: Box<Build>,
    },
    /// Its configuration makes no plan.
    #[error("the recorded configuration cannot be read: {0}")]
    Configuration(String),
}

/// Whether this build has the machines that a recording needs.
///
/// # Errors
/// [`Unplayable::OtherBuild`] when it has not.
pub fn check_build(recording: &Recording) -> Result<(), Unplayable> {
    let (needs, has) = (recording.header.build.clone(), Build::this());
    if needs.has_machines_of(&has) {
        return Ok(());
    }
    let (needs, has) = (Box::new(needs), Box::new(has));
    Err(Unplayable::OtherBuild { needs, has })
}

/// The plan that a recording's machines ran on.
///
/// # Errors
/// When the recording has no content, or its configuration is not understood.
pub fn plan(recording: &Recording) -> Result<Arc<Plan>, Unplayable> {
    let configuration = match &recording.preamble.configuration {
        Some(configuration) if recording.header.mode != Mode::Shape => configuration,
        Some(_) | None => return Err(Unplayable::Shape),
    };
    let lines = |lines: Vec<String>| Unplayable::Configuration(lines.join("; "));
    let sources = Sources::single("recorded", configuration.text.clone());
    let (config, _) = read(&sources, &ReadOptions::default())
        .map_err(|errors| lines(errors.iter().map(ToString::to_string).collect()))?;
    let plan = Plan::build(&config)
        .map_err(|errors| lines(errors.iter().map(ToString::to_string).collect()))?;
    Ok(Arc::new(plan))
}

/// The machines of a recording.
#[must_use]
pub fn tracks(recording: &Recording) -> BTreeMap<TrackId, Track<'_>> {
    sansbox_flight::track::tracks(recording)
}
