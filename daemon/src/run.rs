//! The proxy: start, signals, end.
use crate::{
    fatal::{Fatal, reason},
    load::{Inputs, Labels, Loaded, built_in, load},
    logger::{Level, Logger},
    recorder::Recorder,
    reload::Served,
    report::{Report, Throttle, name},
    runtime::{Options, Running, Runtime, Shutdown, StartError},
};
use sansbox_engine::{Plan, config::model::Config};
use sansbox_flight::Reason;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR2},
    iterator::Signals,
};
use std::{
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

/// How open connections end: a moment to finish, a moment to close, then cut.
const SHUTDOWN: Shutdown = Shutdown {
    grace: Duration::from_millis(500),
    deadline: Duration::from_secs(5),
};
/// When the end itself has failed.
const WATCHDOG: Duration = Duration::from_secs(10);
const HINT: &str = "try it: curl -x socks5h://127.0.0.1:2080 https://example.com";

/// Serves until a signal ends it.
pub(crate) fn run(inputs: &Inputs, began: Instant, colour: bool) -> Result<(), Fatal> {
    // From here on a signal waits until everything is started.
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGUSR2]);
    let signals = signals.map_err(|e| Fatal::io("watch for signals", &e))?;
    let is_built_in = inputs.are_absent();
    let sources = if is_built_in {
        built_in()
    } else {
        inputs.read()?
    };
    let loaded = load(&sources)?;
    let logger = Arc::new(Logger::open(&loaded.config.log, began, colour)?);
    let info = |text: &str| logger.write(Level::Info, None, format_args!("{text}"));
    if is_built_in {
        info("no config.json and no -c: serving SOCKS and HTTP on 127.0.0.1:2080, straight out");
    }
    loaded.warn(&logger, &sources);
    let Loaded {
        config,
        plan,
        named,
        ..
    } = loaded;
    let plan = Arc::new(plan);
    let report = Arc::new(Report {
        logger: Arc::clone(&logger),
        labels: Labels::new(&config),
        plan: Arc::clone(&plan),
        public_sources: Throttle::default(),
    });
    report.warn_of_protection();
    let own = &config.sansbox.recorder;
    let recorder = Recorder::new(own, &sources, &named, Arc::clone(&logger))?;
    let recorder = recorder.as_ref();
    let running = start(plan, options(&config), &report, recorder)?;
    let took = began.elapsed().as_secs_f64();
    info(&format!("sing-box started ({took:.2}s)"));
    if is_built_in {
        info(HINT);
    }
    let served = Served::new(sources, &named);
    drop((config, named));
    serve(inputs, served, signals, running, &report, recorder, began)
}

fn start(
    plan: Arc<Plan>,
    options: Options,
    report: &Arc<Report>,
    recorder: Option<&Arc<Recorder>>,
) -> Result<Running, Fatal> {
    let observer = Arc::clone(report);
    let started = match recorder {
        Some(recorder) => {
            recorder.watch_panics();
            let recorded = Arc::new(recorder.record(plan));
            Runtime::start(recorded, options, observer)
        }
        None => Runtime::start(plan, options, observer),
    };
    started.map_err(|e| cannot_start(&e, report))
}

fn options(config: &Config) -> Options {
    let own = &config.sansbox;
    Options {
        workers: own.workers,
        max_connections: own.max_connections,
        loopback_congestion: !own.system_congestion,
        ..Options::default()
    }
}

fn cannot_start(error: &StartError, report: &Report) -> Fatal {
    let cause = if let StartError::Bind {
        inbound,
        network,
        address,
        source,
    } = error
    {
        let (inbound, network) = (report.inbound(*inbound), name(*network));
        let source = reason(source);
        format!("start {inbound}: listen {network} {address}: bind: {source}")
    } else {
        error.to_string()
    };
    Fatal::new(format!("start service: {cause}"))
}

/// Waits for signals. The first SIGINT or SIGTERM ends it gracefully, the second at once.
fn serve(
    inputs: &Inputs,
    mut served: Served,
    mut signals: Signals,
    mut running: Running,
    report: &Report,
    recorder: Option<&Arc<Recorder>>,
    began: Instant,
) -> Result<(), Fatal> {
    let logger = &report.logger;
    for signal in signals.forever() {
        match signal {
            SIGHUP => served.reload(inputs, &running, report),
            SIGUSR2 => record(recorder, logger),
            _ => break,
        }
    }
    let routes = running.routes();
    let watch = move || {
        let mut last = signals.forever();
        if last.any(|signal| !matches!(signal, SIGHUP | SIGUSR2)) {
            routes.remove();
            process::exit(1);
        }
    };
    spawn("signals", watch)?;
    let witness = recorder.cloned();
    let is_closed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_closed);
    let routes = running.routes();
    let bark = move || {
        thread::sleep(WATCHDOG);
        if seen.load(Relaxed) {
            return;
        }
        routes.remove();
        if let Some(recorder) = witness {
            recorder.flush(Reason::Cut);
        }
        let _failure = Fatal::new("sing-box did not close!").tell(began, false);
        process::exit(1);
    };
    spawn("watchdog", bark)?;
    let cut = running.stop(SHUTDOWN);
    // What is left to be told and written may take its time.
    is_closed.store(true, Relaxed);
    if cut > 0 {
        let text = format_args!("{cut} connections were cut");
        logger.write(Level::Warn, None, text);
    }
    report.totals(&running.served());
    if let Some(recorder) = recorder {
        if recorder.records_stops() {
            recorder.flush(Reason::Stop);
        } else if cut > 0 {
            recorder.flush(Reason::Cut);
        }
    }
    Ok(())
}

/// Writes what the rings hold, because a signal asks for it.
fn record(recorder: Option<&Arc<Recorder>>, logger: &Logger) {
    match recorder {
        Some(recorder) => recorder.flush(Reason::Signal),
        None => {
            let text = format_args!("flight recorder: it is off: there is nothing to write");
            logger.write(Level::Warn, None, text);
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Fatal> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread
        .map(drop)
        .map_err(|e| Fatal::io("start a thread", &e))
}
