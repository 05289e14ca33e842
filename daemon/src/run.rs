//! The proxy: start, signals, end.
use crate::{
    fatal::{Fatal, reason},
    load::{Inputs, Labels, Loaded, STDIN, built_in, load},
    logger::{Level, Logger},
    report::{Report, Throttle, name},
    runtime::{Options, Running, Runtime, Shutdown, StartError},
};
use sansbox_engine::config::model::Config;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    process,
    sync::Arc,
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
    let signals = Signals::new([SIGINT, SIGTERM, SIGHUP]);
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
    let Loaded { config, plan, .. } = loaded;
    let plan = Arc::new(plan);
    let report = Arc::new(Report {
        logger: Arc::clone(&logger),
        labels: Labels::new(&config),
        plan: Arc::clone(&plan),
        public_sources: Throttle::default(),
    });
    report.warn_of_protection();
    let observer = Arc::clone(&report);
    let running =
        Runtime::start(plan, options(&config), observer).map_err(|e| cannot_start(&e, &report))?;
    let took = began.elapsed().as_secs_f64();
    info(&format!("sing-box started ({took:.2}s)"));
    if is_built_in {
        info(HINT);
    }
    drop((config, sources));
    serve(inputs, signals, running, &report, began)
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
    mut signals: Signals,
    mut running: Running,
    report: &Report,
    began: Instant,
) -> Result<(), Fatal> {
    let logger = &report.logger;
    for signal in signals.forever() {
        if signal != SIGHUP {
            break;
        }
        reload(inputs, logger);
    }
    let watch = move || {
        if signals.forever().any(|signal| signal != SIGHUP) {
            process::exit(1);
        }
    };
    spawn("signals", watch)?;
    let bark = move || {
        thread::sleep(WATCHDOG);
        let _failure = Fatal::new("sing-box did not close!").tell(began, false);
        process::exit(1);
    };
    spawn("watchdog", bark)?;
    let cut = running.stop(SHUTDOWN);
    if cut > 0 {
        let text = format_args!("{cut} connections were cut");
        logger.write(Level::Warn, None, text);
    }
    report.totals(&running.served());
    Ok(())
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Fatal> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
    thread
        .map(drop)
        .map_err(|e| Fatal::io("start a thread", &e))
}

/// Says what a reload would meet; what runs goes on as it is.
fn reload(inputs: &Inputs, logger: &Logger) {
    let error =
        |text: &str| logger.write(Level::Error, None, format_args!("reload service: {text}"));
    if inputs.files.iter().any(|path| path == STDIN) {
        return error("what came from stdin cannot be read again");
    }
    let sources = if inputs.are_absent() {
        Ok(built_in())
    } else {
        inputs.read()
    };
    match sources.and_then(|sources| load(&sources)) {
        Ok(_) => error("not supported yet: the configuration is good, a restart takes it up"),
        Err(fatal) => error(&fatal.message),
    }
}
