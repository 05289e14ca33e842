//! A given amount of work, one thing at a time, for counting what it costs.

use std::io::{Read, Write};
use std::sync::atomic::AtomicBool;
use std::thread;

use anyhow::{Context, Result, bail};

use super::trip::MESSAGE_BYTES;
use super::{HangUp, Stop, Target, conn, listen, pairs, spawn, trip};

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Work {
    /// Messages and replies on one stream.
    pub(crate) trips: u32,
    /// Connections after that.
    pub(crate) connections: u32,
}

/// Does it.
pub(crate) fn run(target: Target, work: Work) -> Result<()> {
    trips(target, work.trips)?;
    connections(target, work.connections)
}

fn trips(target: Target, trips: u32) -> Result<()> {
    let streams = pairs(target.way, 1)?;
    let pair = streams.first().context("one stream was asked for")?;
    thread::scope(|scope| {
        let _hang_up = HangUp(&streams);
        spawn(scope, || trip::echo(&pair.sink))?;
        let mut message = [7; MESSAGE_BYTES];
        for _ in 0..trips {
            (&pair.client)
                .write_all(&message)
                .context("send a message")?;
            (&pair.client)
                .read_exact(&mut message)
                .context("receive its reply")?;
        }
        if message != [7; MESSAGE_BYTES] {
            bail!("a reply differs from its message");
        }
        Ok(())
    })
}

fn connections(target: Target, connections: u32) -> Result<()> {
    let (listener, address) = listen()?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stopping = Stop {
            flag: &stop,
            listener: &listener,
        };
        // One far end: the next connection is served when this one's end has come through.
        spawn(scope, || conn::serve(&listener, &stop))?;
        for _ in 0..connections {
            conn::visit(target.way, address).context("a connection through the proxy")?;
        }
        Ok(())
    })
}
