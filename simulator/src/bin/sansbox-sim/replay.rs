//! `replay`: feeds recordings to fresh machines and compares what comes out.
use crate::{
    args::{Failure, say},
    pictures::Pictures,
    recording::{Connection, connection, files, key, load, told},
};
use lexopt::Arg;
use sansbox_engine::Plan;
use sansbox_flight::{
    Mode, PrivateKey, Reason, Recording, Track, TrackId,
    wire::{DeviceEntry, Entry, MachineKind},
};
use sansbox_simulator::{
    out::IpPacket,
    record::{self, Event, EventKind, Picture, Replayed, Verdict},
    transcript::hex,
};
use sansbox_stack::vnet::HEADER_LEN;
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

#[derive(Default)]
struct Order {
    paths: Vec<PathBuf>,
    key: Option<PrivateKey>,
    connection: Option<Connection>,
    trace: bool,
    any_build: bool,
    whole: bool,
    pictures: Pictures,
}

/// What all recordings gave together.
#[derive(Default)]
struct Sum {
    recordings: u64,
    identical: u64,
    cut: u64,
    partial: u64,
    diverged: u64,
    dropped: u64,
    inputs: u64,
    actions: u64,
    bytes: u64,
}

pub(crate) fn run(mut args: lexopt::Parser) -> Result<bool, Failure> {
    let mut order = Order::default();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("key") => order.key = Some(key(&mut args)?),
            Arg::Long("connection") => order.connection = Some(connection(&mut args)?),
            Arg::Long("trace") => order.trace = true,
            Arg::Long("any-build") => order.any_build = true,
            Arg::Long("whole") => order.whole = true,
            Arg::Long(name) if Pictures::of_recordings(name) => {
                let name = name.to_owned();
                order.pictures.option(&name, &mut args)?;
            }
            Arg::Value(value) => order.paths.push(value.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    if order.paths.is_empty() {
        return Err(Failure::Usage(
            "replay wants a recording or a folder".into(),
        ));
    }
    let mut all = Vec::new();
    for path in &order.paths {
        all.extend(files(path)?);
    }
    if order.pictures.are_wanted() && all.len() > 1 {
        return Err(Failure::Usage(
            "a picture is of one recording: clocks of several have nothing in common".into(),
        ));
    }
    let mut sum = Sum::default();
    for file in &all {
        let recording = load(file, order.key.as_ref())?;
        one(&order, file, &recording, &mut sum)?;
    }
    sum.tell()?;
    let lacks = sum.partial + sum.cut + sum.dropped > 0 || sum.identical == 0;
    Ok(sum.diverged == 0 && !(order.whole && lacks))
}

/// Replays one recording.
fn one(order: &Order, path: &Path, recording: &Recording, sum: &mut Sum) -> Result<(), Failure> {
    sum.recordings += 1;
    sum.dropped += recording.preamble.dropped;
    if order.trace {
        head(path, recording)?;
    }
    let mut tracks = record::tracks(recording);
    if let Some(wanted) = order.connection {
        let id = wanted.find(&tracks)?;
        tracks.retain(|known, _| *known == id);
    }
    if recording.header.mode == Mode::Shape && (order.trace || order.pictures.are_wanted()) {
        return shape(order, path, &tracks);
    }
    let plan = record::plan(recording).map_err(|e| told(path, &e))?;
    if !order.any_build {
        record::check_build(recording).map_err(|e| told(path, &e))?;
    }
    let mut picture = Picture::default();
    let has_panicked = recording.preamble.reason == Reason::Panic;
    for (id, track) in &tracks {
        let name = format!("{}: connection {id}{}", path.display(), log_id(track));
        if order.trace {
            say(format_args!("{name}"))?;
        }
        let found = perform(order, &plan, track, &mut picture);
        if !order.trace && !matches!(found, Ok(Verdict::Identical(_))) {
            say(format_args!("{name}"))?;
        }
        match found {
            Ok(verdict) => {
                picture.verdict(*id, track, &verdict);
                sum.add(&verdict, order.trace)?;
            }
            Err(inputs) => {
                picture.panicked(*id, track, inputs);
                sum.diverged += 1;
                let then = if has_panicked {
                    ", and a thread did then"
                } else {
                    ""
                };
                say(format_args!("  it panics at input {inputs}{then}"))?;
            }
        }
    }
    draw(order, path, picture, "")
}

/// Draws the connections, where that is wanted; `what` goes with the name of the file.
fn draw(order: &Order, path: &Path, picture: Picture, what: &str) -> Result<(), Failure> {
    if !order.pictures.are_wanted() {
        return Ok(());
    }
    let name = path.file_name().unwrap_or(path.as_os_str());
    let title = format!("{}{what}", name.to_string_lossy());
    let mut replay = format!("sansbox-sim replay {}", path.display());
    if order.key.is_some() {
        replay += " --key FILE";
    }
    if order.any_build {
        replay += " --any-build";
    }
    if let Some(wanted) = order.connection {
        replay += &format!(" --connection {wanted}");
    }
    order
        .pictures
        .draw_story(&picture.finish().story(&title, &replay))
}

fn log_id(track: &Track<'_>) -> String {
    let begin = track.begin.as_ref().map(|(_, begin)| begin);
    match begin.map(|begin| (begin.kind, begin.log_id)) {
        None => String::new(),
        Some((MachineKind::Device(_), _)) => ", a TUN device".to_owned(),
        Some((_, id)) => format!(", {id} in the log"),
    }
}

/// What became of a machine; after a panic, how many inputs it had.
fn perform(
    order: &Order,
    plan: &Arc<Plan>,
    track: &Track<'_>,
    picture: &mut Picture,
) -> Result<Verdict, u64> {
    let mut inputs = 0;
    let front = front_of(track);
    let is_drawn = order.pictures.are_wanted();
    let mut drawn = is_drawn.then(|| picture.connection(track));
    let watch = &mut |event: Event<'_>| {
        inputs = event.input;
        if let Some(drawn) = &mut drawn {
            drawn.event(&event);
        }
        if order.trace {
            // Nobody who would read it is left when it cannot be written.
            let _ = line(&event, front);
        }
    };
    let found = catch_unwind(AssertUnwindSafe(|| record::replay(plan, track, watch)));
    if let Some(drawn) = drawn {
        drawn.finish(track, found.as_ref().ok());
    }
    found.map_err(|_| inputs)
}

/// One thing that happens; frames of devices have `front` octets in front.
fn line(event: &Event<'_>, front: usize) -> Result<(), Failure> {
    let at = event.at;
    match &event.kind {
        EventKind::Input(Entry::Received { slot, len, bytes }) => {
            let bytes = hex(bytes.unwrap_or_default());
            say(format_args!(
                "  {at} < slot {}, {len} bytes: {bytes}",
                slot.0
            ))
        }
        EventKind::Input(Entry::Device(DeviceEntry::Frame(frame))) => {
            let packet = frame.get(front..).unwrap_or_default();
            say(format_args!("  {at} < {}", packet_text(packet)))
        }
        EventKind::Input(Entry::Device(DeviceEntry::Written(stream, bytes))) => {
            let (number, len, bytes) = (stream.0, bytes.len(), hex(bytes));
            say(format_args!(
                "  {at} < stream {number:#x}, {len} bytes: {bytes}"
            ))
        }
        EventKind::Input(entry) => say(format_args!("  {at} < {entry:?}")),
        EventKind::Action(action) => say(format_args!("  {at}   > {action:?}")),
        EventKind::Sent(slot, segments) => {
            let bytes = hex(&segments.concat());
            say(format_args!("  {at}   > slot {}: {bytes}", slot.0))
        }
        EventKind::Told(told) => say(format_args!("  {at}   > {told:?}")),
        EventKind::Packet(packet) => say(format_args!("  {at}   > {}", packet_text(packet))),
        EventKind::Received(stream, segments) => {
            let (number, bytes) = (stream.0, hex(&segments.concat()));
            say(format_args!("  {at}   > stream {number:#x}: {bytes}"))
        }
    }
}

/// A packet of a device in one line.
fn packet_text(packet: &[u8]) -> String {
    IpPacket::read(packet).map_or_else(
        || format!("no IP packet: {}", hex(packet)),
        |packet| {
            let (from, to, text) = (packet.source, packet.destination, packet.text);
            format!("{from} > {to} {text}")
        },
    )
}

/// Octets in front of each packet that a device gives.
const fn front_of(track: &Track<'_>) -> usize {
    if let Some((_, begin)) = &track.begin
        && let MachineKind::Device(facts) = begin.kind
        && facts.has_offload
    {
        return HEADER_LEN;
    }
    0
}

fn head(path: &Path, recording: &Recording) -> Result<(), Failure> {
    let (header, preamble) = (&recording.header, &recording.preamble);
    say(format_args!("recording    {}", path.display()))?;
    say(format_args!("reason       {}", preamble.reason))?;
    say(format_args!("build        {}", header.build))?;
    say(format_args!("clock        {}", preamble.now))?;
    if let Some(configuration) = &preamble.configuration {
        say(format_args!("configured   {}", hex(&configuration.hash())))?;
    }
    say(format_args!("dropped      {} records", preamble.dropped))
}

/// Shows what a recording without content holds.
fn shape(order: &Order, path: &Path, tracks: &BTreeMap<TrackId, Track<'_>>) -> Result<(), Failure> {
    let mut picture = Picture::default();
    for (id, track) in tracks {
        picture.sizes(track);
        if !order.trace {
            continue;
        }
        say(format_args!("connection {id}{}", log_id(track)))?;
        if let Some((at, begin)) = &track.begin {
            say(format_args!("  {at} {begin:?}"))?;
        }
        for (at, entry) in &track.entries {
            say(format_args!("  {at} {entry:?}"))?;
        }
    }
    draw(order, path, picture, ": sizes alone")
}

impl Sum {
    fn add(&mut self, verdict: &Verdict, trace: bool) -> Result<(), Failure> {
        match verdict {
            Verdict::Identical(replayed) => {
                self.identical += 1;
                self.count(replayed);
                if trace {
                    say(format_args!("  identical: {}", hex(&replayed.digest)))?;
                }
                Ok(())
            }
            Verdict::IdenticalUntilCut(replayed) => {
                self.cut += 1;
                self.count(replayed);
                let inputs = replayed.inputs;
                say(format_args!(
                    "  identical for {inputs} inputs, then only sizes are there"
                ))
            }
            Verdict::Partial | Verdict::NoContent => {
                self.partial += 1;
                say(format_args!(
                    "  its beginning was dropped: it cannot be replayed"
                ))
            }
            Verdict::Diverged(divergence) => {
                self.diverged += 1;
                say(format_args!("  differs {divergence}"))
            }
        }
    }

    const fn count(&mut self, replayed: &Replayed) {
        self.inputs += replayed.inputs;
        self.actions += replayed.outputs.actions;
        self.bytes += replayed.outputs.bytes;
    }

    fn tell(&self) -> Result<(), Failure> {
        say(format_args!(
            "{} recordings: {} connections identical, {} identical until they were cut, \
             {} without a beginning, {} differ; {} records were dropped",
            self.recordings, self.identical, self.cut, self.partial, self.diverged, self.dropped
        ))?;
        say(format_args!(
            "{} inputs replayed; {} actions and {} bytes came out",
            self.inputs, self.actions, self.bytes
        ))
    }
}
