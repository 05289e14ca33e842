//! Configuration files, read and compiled.
use crate::{
    fatal::{Fatal, reason},
    logger::{Level, Logger},
};
use sansbox_engine::{
    Plan,
    config::{
        self, ConfigError, Outside, ReadOptions, Source, Sources, Warning,
        model::{Config, InboundKind, OutboundKind},
    },
};
use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    hash::BuildHasher,
    io::{self, Read as _},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};
use zeroize::Zeroizing;

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "config.json";
/// The name that stands for standard input.
pub(crate) const STDIN: &str = "stdin";
/// What is served when there is no file at all.
const BUILT_IN: &str = r#"{
  "inbounds": [
    { "type": "mixed", "tag": "mixed-in", "listen": "127.0.0.1", "listen_port": 2080 }
  ],
  "outbounds": [{ "type": "direct", "tag": "direct" }]
}
"#;

/// Which files to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Inputs {
    /// Files, or `stdin`.
    pub(crate) files: Vec<String>,
    /// Folders whose `*.json` are read.
    pub(crate) folders: Vec<String>,
}

impl Inputs {
    /// No file is named, and the default one is not there either.
    pub(crate) fn are_absent(&self) -> bool {
        let is_missing = || {
            fs::symlink_metadata(DEFAULT_FILE).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
        };
        self.files.is_empty() && self.folders.is_empty() && is_missing()
    }

    /// Reads all of them.
    pub(crate) fn read(&self) -> Result<Sources, Fatal> {
        let mut files = Vec::new();
        for folder in &self.folders {
            let cannot = |e| Fatal::new(format!("read config directory at {folder}: {e}"));
            let open = |e: &io::Error| cannot(format!("open {folder}: {}", reason(e)));
            for entry in fs::read_dir(folder).map_err(|e| open(&e))? {
                let path = entry.map_err(|e| open(&e))?.path();
                if path.extension() != Some("json".as_ref()) || path.is_dir() {
                    continue;
                }
                let path = path.into_os_string().into_string();
                let path = path.map_err(|name| cannot(format!("{name:?} is not UTF-8")))?;
                files.push(read_file(path)?);
            }
        }
        for path in &self.files {
            files.push(read_file(path.clone())?);
        }
        if self.files.is_empty() && self.folders.is_empty() {
            files.push(read_file(DEFAULT_FILE.to_owned())?);
        }
        if let ([folder, ..], []) = (&*self.folders, &*files) {
            let text = format!("read config directory at {folder}: no *.json there");
            return Err(Fatal::new(text));
        }
        Ok(Sources::new(files))
    }
}

fn read_file(path: String) -> Result<(String, Vec<u8>), Fatal> {
    let bytes = if path == STDIN {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut bytes);
        read.map(|_| bytes).map_err(|e| ("read", e))
    } else if Path::new(&path).is_dir() {
        Err(("read", io::ErrorKind::IsADirectory.into()))
    } else {
        fs::read(&path).map_err(|e| ("open", e))
    };
    match bytes {
        Ok(bytes) => Ok((path, bytes)),
        Err((what, e)) => Err(Fatal::io(
            format!("read config at {path}: {what} {path}"),
            &e,
        )),
    }
}

/// What is served when there is no file at all.
pub(crate) fn built_in() -> Sources {
    Sources::single("(built in)", BUILT_IN)
}

/// A configuration that can be served.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) config: Config,
    pub(crate) plan: Plan,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) named: Named,
}

/// Files that a configuration names, as they were when it was read.
#[derive(Debug, Default)]
pub(crate) struct Named(RefCell<BTreeMap<String, Zeroizing<Vec<u8>>>>);

impl Named {
    /// Reads a file, and keeps what was read.
    fn read(&self, path: &str, limit: usize) -> Result<Vec<u8>, String> {
        let bytes = read_named(path, limit)?;
        let kept = Zeroizing::new(bytes.clone());
        self.0.borrow_mut().insert(path.to_owned(), kept);
        Ok(bytes)
    }

    /// A digest of each file, good for comparing with others under the same key.
    pub(crate) fn digests(&self, key: &impl BuildHasher) -> BTreeMap<String, u64> {
        let kept = self.0.borrow();
        let digests = kept.iter();
        let digests = digests.map(|(path, bytes)| (path.clone(), key.hash_one(bytes.as_slice())));
        digests.collect()
    }

    /// Files that were read.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter();
        let files = files.map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec().into()));
        Self(RefCell::new(files.collect()))
    }

    /// What was read from a file.
    pub(crate) fn again(&self, path: &str) -> Result<Vec<u8>, String> {
        let kept = self.0.borrow();
        let bytes = kept.get(path).ok_or("it was not read before")?;
        Ok(bytes.to_vec())
    }
}

impl Loaded {
    /// Logs what should be changed.
    pub(crate) fn warn(&self, logger: &Logger, sources: &Sources) {
        for Warning { kind, path, span } in &self.warnings {
            let file = sources.file(*span).map_or("", Source::path);
            logger.write(Level::Warn, None, format_args!("{file}: {path}: {kind}"));
        }
    }
}

/// Reads a file that a configuration names. Relative paths are relative to the working directory,
/// as with sing-box.
fn read_named(path: &str, limit: usize) -> Result<Vec<u8>, String> {
    let read = || {
        if Path::new(path).is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let file = fs::File::open(path)?;
        let len = usize::try_from(file.metadata()?.len()).unwrap_or(limit);
        // All at once: a buffer that grows would leave copies of keys behind.
        let mut bytes = Vec::with_capacity(len.min(limit) + 1);
        file.take(limit as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|e: io::Error| reason(&e))
}

/// Reads and compiles.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, Fatal> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let named = Named::default();
    let read = |path: &str, limit: usize| named.read(path, limit);
    let outside = Outside {
        files: Some(&read),
        since_1970: since_1970.unwrap_or_default(),
    };
    let read = config::read_with(sources, &ReadOptions::default(), &outside);
    let (config, warnings) = read.map_err(|errors| refuse(&errors, sources))?;
    let plan = Plan::build(&config).map_err(|errors| {
        let errors: Vec<_> = errors
            .iter()
            .map(|e| ConfigError::at(sources, e.span(), e))
            .collect();
        refuse(&errors, sources)
    })?;
    Ok(Loaded {
        config,
        plan,
        warnings,
        named,
    })
}

/// The first error as one line, and all of them with their places.
pub(crate) fn refuse(errors: &[ConfigError], sources: &Sources) -> Fatal {
    let message = match errors.first() {
        Some(first) => match sources.file(first.span) {
            Some(file) => format!("decode config at {}: {first}", file.path()),
            None => format!("decode config: {first}"),
        },
        None => "decode config".to_owned(),
    };
    Fatal {
        message,
        details: errors.iter().map(|e| e.render(sources)).collect(),
    }
}

/// What inbounds and outbounds are called in the log, in the order of their ids.
#[derive(Debug)]
pub(crate) struct Labels {
    pub(crate) inbounds: Vec<String>,
    pub(crate) outbounds: Vec<String>,
}

impl Labels {
    pub(crate) fn new(config: &Config) -> Self {
        let inbounds = config.inbounds.iter().map(|inbound| {
            let kind = match inbound.kind {
                InboundKind::Socks { .. } => "socks",
                InboundKind::Http { .. } => "http",
                InboundKind::Mixed { .. } => "mixed",
                InboundKind::Direct { .. } => "direct",
                InboundKind::Paniq(_) => "paniq",
                InboundKind::Tun(_) => "tun",
            };
            format!("inbound/{kind}[{}]", inbound.tag)
        });
        let outbounds = config.outbounds.iter().map(|outbound| {
            let kind = match outbound.kind {
                OutboundKind::Direct => "direct",
                OutboundKind::Block => "block",
                OutboundKind::Socks { .. } => "socks",
                OutboundKind::Http { .. } => "http",
                OutboundKind::Selector { .. } => "selector",
                OutboundKind::Paniq(_) => "paniq",
            };
            format!("outbound/{kind}[{}]", outbound.tag)
        });
        let mut outbounds: Vec<String> = outbounds.collect();
        if outbounds.is_empty() {
            // The one that every plan without outbounds gets.
            outbounds.push("outbound/direct[direct]".to_owned());
        }
        Self {
            inbounds: inbounds.collect(),
            outbounds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_configuration_is_good() {
        let loaded = load(&built_in()).expect("it reads");
        assert!(loaded.warnings.is_empty());
        let labels = Labels::new(&loaded.config);
        assert_eq!(labels.inbounds, ["inbound/mixed[mixed-in]"]);
        assert_eq!(labels.outbounds, ["outbound/direct[direct]"]);
    }

    #[test]
    fn what_a_plan_refuses_is_shown_where_it_stands() {
        let text = "{\"route\": {\"rules\": [\n {\"domain_regex\": [\"a\", \"(\"], \"action\": \"reject\"}]}}";
        let fatal = load(&Sources::single("a.json", text)).expect_err("a bad expression");
        let path = "route.rules[0].domain_regex[1]";
        assert!(
            fatal
                .message
                .starts_with(&format!("decode config at a.json: {path}: bad regular")),
            "{}",
            fatal.message
        );
        assert!(fatal.details.contains("a.json:2:25"), "{}", fatal.details);
    }
}
