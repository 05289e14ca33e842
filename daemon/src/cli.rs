//! The command line: the commands, flags and exit codes of sing-box.
use crate::{commands::Encoding, fatal::Fatal, load::Inputs, paniq};
use lexopt::{
    Arg::{Long, Short, Value},
    ValueExt as _,
};
use std::{ffi::OsString, path::PathBuf};

/// What `--help` says.
pub(crate) const HELP: &str = "\
A proxy that reads sing-box configurations.

Usage: sansbox [COMMAND] [FLAGS]

Commands:
  run                       serve; also without any command. Without -c, -C and config.json:
                            SOCKS and HTTP on 127.0.0.1:2080, straight out
  check                     read the configuration and say what is wrong with it
  format [-w]               print the configuration files in order, or write them back with -w
  merge OUT                 write all configuration files as one to OUT
  version [-n] [--sing-box] print the version; -n nothing else; --sing-box in sing-box's name,
                            for programs that parse it (also when called by the name sing-box)
  generate uuid             print a random UUID
  generate rand LEN [--base64 | --hex]
                            print LEN random bytes
  generate recorder-keypair print a pair of keys: recordings are encrypted to the public one
  paniq keygen              print a pair of keys for a paniq server
  paniq create-profile [--mtu N] [--profile-name NAME] [--proxy-addr HOST:PORT]
                       [--pin] [--out FILE] [--client-out FILE]
                            draw a profile with new keys: the server's, and with --client-out
                            the one for its clients, which lacks the private key; with --pin
                            clients take the certificate of this server alone
  paniq profile-cbor [--decode] [--base64] [--in FILE] [--out FILE]
                            a profile from JSON to CBOR, or back
  paniq link [--decode] [--in FILE] [--out FILE]
                            a profile as a pnq:// link for clients, or back
  paniq check [--in FILE]   say what is wrong with a profile, JSON, CBOR or link, if anything
  paniq pin [--in FILE]     print the pin of the server with this profile
  help                      print this

Flags of all commands:
  -c, --config PATH             a configuration file, or stdin; may be repeated
  -C, --config-directory PATH   a folder whose *.json files are read; may be repeated
  -D, --directory PATH          the folder to work in; made when it is not there
      --disable-color           write no colours
  -h, --help                    print this
";

/// Commands of sing-box that are not built yet.
const NOT_YET: [&str; 5] = ["rule-set", "geoip", "geosite", "tools", "completion"];
/// The same below `generate`.
const NOT_YET_GENERATED: [&str; 5] = [
    "tls-keypair",
    "ech-keypair",
    "reality-keypair",
    "wg-keypair",
    "vapid-keypair",
];

/// A command line that was understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) action: Action,
    pub(crate) inputs: Inputs,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) disable_color: bool,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Help,
    Run,
    Check,
    Format { write: bool },
    Merge { out: PathBuf },
    Version { name_only: bool, sing_box: bool },
    Uuid,
    RecorderKeypair,
    Rand { len: u64, encoding: Encoding },
    Paniq(paniq::Command),
}

/// A command line that was not.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It makes no sense.
    Usage(String),
    /// It does, but cannot be done.
    Fatal(Fatal),
}

impl From<lexopt::Error> for Refusal {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

/// What stood on the command line.
#[derive(Debug, Default)]
struct Words {
    command: Option<String>,
    /// What followed the command.
    values: Vec<OsString>,
    /// Flags that not every command has.
    flags: Vec<&'static str>,
    inputs: Inputs,
    directory: Option<PathBuf>,
    disable_color: bool,
    help: bool,
    /// All of the command line behind `paniq`.
    paniq: Option<paniq::Command>,
}

impl Invocation {
    /// Understands a command line; the first argument is the program's own name.
    pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, Refusal> {
        let mut args = args.into_iter().peekable();
        let own_name = args.peek().map(PathBuf::from);
        let is_sing_box =
            own_name.is_some_and(|path| path.file_stem() == Some("sing-box".as_ref()));
        let mut words = Words::read(lexopt::Parser::from_iter(args))?;
        let action = match words.paniq.take() {
            _ if words.help => Action::Help,
            Some(command) => Action::Paniq(command),
            None => words.action(is_sing_box)?,
        };
        Ok(Self {
            action,
            inputs: words.inputs,
            directory: words.directory,
            disable_color: words.disable_color,
        })
    }
}

impl Words {
    fn read(mut parser: lexopt::Parser) -> Result<Self, Refusal> {
        let mut words = Self::default();
        while let Some(arg) = parser.next()? {
            match arg {
                Short('c') | Long("config") => words.inputs.files.push(parser.value()?.string()?),
                Short('C') | Long("config-directory") => {
                    words.inputs.folders.push(parser.value()?.string()?);
                }
                Short('D') | Long("directory") => words.directory = Some(parser.value()?.into()),
                Long("disable-color") => words.disable_color = true,
                Short('h') | Long("help") => words.help = true,
                Short('w') | Long("write") => words.flags.push("--write"),
                Short('n') | Long("name") => words.flags.push("--name"),
                Long("sing-box") => words.flags.push("--sing-box"),
                Long("base64") => words.flags.push("--base64"),
                Long("hex") => words.flags.push("--hex"),
                Value(value) if words.command.is_none() => {
                    let command = value.string()?;
                    if NOT_YET.contains(&&*command) {
                        return Err(not_yet(&command));
                    }
                    if command == "paniq" {
                        words.below_paniq(parser.raw_args()?)?;
                        return Ok(words);
                    }
                    words.command = Some(command);
                }
                Value(value) => {
                    let unbuilt = NOT_YET_GENERATED.iter().find(|name| value == ***name);
                    match unbuilt.filter(|_| words.command.as_deref() == Some("generate")) {
                        Some(name) => return Err(not_yet(&format!("generate {name}"))),
                        None => words.values.push(value),
                    }
                }
                Short(c) => return Err(Refusal::Usage(format!("unknown flag: -{c}"))),
                Long(name) => return Err(Refusal::Usage(format!("unknown flag: --{name}"))),
            }
        }
        Ok(words)
    }

    fn below_paniq(&mut self, args: impl Iterator<Item = OsString>) -> Result<(), Refusal> {
        let (command, globals) = paniq::parse(args)?;
        self.paniq = Some(command);
        self.directory = globals.directory.or_else(|| self.directory.take());
        self.disable_color |= globals.disable_color;
        Ok(())
    }

    fn action(&self, is_sing_box: bool) -> Result<Action, Refusal> {
        let command = self.command.as_deref().unwrap_or("run");
        let has = |flag| self.flags.contains(&flag);
        let (action, flags): (_, &[&str]) = match command {
            "help" => return Ok(Action::Help),
            "generate" => return self.generate(),
            "run" => (Action::Run, &[]),
            "check" => (Action::Check, &[]),
            "format" => (
                Action::Format {
                    write: has("--write"),
                },
                &["--write"],
            ),
            "version" => (
                Action::Version {
                    name_only: has("--name"),
                    sing_box: has("--sing-box") || is_sing_box,
                },
                &["--name", "--sing-box"],
            ),
            "merge" => {
                self.only_flags(&[])?;
                let [out] = self.values.as_slice() else {
                    return Err(self.count(1));
                };
                return Ok(Action::Merge { out: out.into() });
            }
            unknown => return Err(unknown_command(unknown, "sansbox")),
        };
        self.only_flags(flags)?;
        match self.values.first() {
            Some(extra) => Err(unknown_command(
                &extra.to_string_lossy(),
                &format!("sansbox {command}"),
            )),
            None => Ok(action),
        }
    }

    fn generate(&self) -> Result<Action, Refusal> {
        let Some((what, rest)) = self.values.split_first() else {
            self.only_flags(&[])?;
            return Ok(Action::Help);
        };
        let what = what.to_string_lossy();
        match (&*what, rest) {
            ("uuid", []) => self.only_flags(&[]).map(|()| Action::Uuid),
            ("recorder-keypair", []) => self.only_flags(&[]).map(|()| Action::RecorderKeypair),
            ("uuid" | "recorder-keypair", [extra, ..]) => Err(unknown_command(
                &extra.to_string_lossy(),
                &format!("sansbox generate {what}"),
            )),
            ("rand", [len]) => {
                self.only_flags(&["--base64", "--hex"])?;
                // Both: base64, as in sing-box.
                let encoding = if self.flags.contains(&"--base64") {
                    Encoding::Base64
                } else if self.flags.contains(&"--hex") {
                    Encoding::Hex
                } else {
                    Encoding::Raw
                };
                let len = len.to_string_lossy();
                let bad = |e| Refusal::Fatal(Fatal::new(format!("length {len:?}: {e}")));
                Ok(Action::Rand {
                    len: len.parse().map_err(bad)?,
                    encoding,
                })
            }
            ("rand", rest) => Err(Refusal::Usage(format!(
                "accepts 1 arg(s), received {}",
                rest.len()
            ))),
            _ => Err(unknown_command(&what, "sansbox generate")),
        }
    }

    fn only_flags(&self, known: &[&str]) -> Result<(), Refusal> {
        match self.flags.iter().find(|flag| !known.contains(flag)) {
            Some(flag) => Err(Refusal::Usage(format!("unknown flag: {flag}"))),
            None => Ok(()),
        }
    }

    fn count(&self, wanted: usize) -> Refusal {
        let got = self.values.len();
        Refusal::Usage(format!("accepts {wanted} arg(s), received {got}"))
    }
}

fn unknown_command(name: &str, below: &str) -> Refusal {
    Refusal::Usage(format!("unknown command {name:?} for {below:?}"))
}

fn not_yet(command: &str) -> Refusal {
    Refusal::Fatal(Fatal::new(format!("{command}: not supported yet")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Invocation, Refusal> {
        Invocation::parse(line.split(' ').map(OsString::from))
    }

    fn action(line: &str) -> Action {
        parse(line).expect(line).action
    }

    #[test]
    fn commands_and_their_flags() {
        let rand = |len, encoding| Action::Rand { len, encoding };
        let version = |name_only, sing_box| Action::Version {
            name_only,
            sing_box,
        };
        for (line, expected) in [
            ("sansbox", Action::Run),
            ("sansbox run", Action::Run),
            ("sansbox -c x.json", Action::Run),
            ("sansbox -c check check", Action::Check),
            ("sansbox format -w", Action::Format { write: true }),
            ("sansbox merge a", Action::Merge { out: "a".into() }),
            ("sansbox version -n", version(true, false)),
            ("sansbox version --sing-box", version(false, true)),
            ("/opt/sing-box version", version(false, true)),
            ("sansbox generate", Action::Help),
            ("sansbox check --help", Action::Help),
            ("sansbox generate uuid", Action::Uuid),
            ("sansbox generate recorder-keypair", Action::RecorderKeypair),
            ("sansbox generate rand 3", rand(3, Encoding::Raw)),
            (
                "sansbox paniq keygen",
                Action::Paniq(paniq::Command::Keygen),
            ),
            ("sansbox --help paniq keygen", Action::Help),
            ("sansbox generate rand --hex 3", rand(3, Encoding::Hex)),
            (
                "sansbox generate rand 3 --hex --base64",
                rand(3, Encoding::Base64),
            ),
        ] {
            assert_eq!(action(line), expected, "{line}");
        }
    }

    #[test]
    fn inputs_repeat_and_a_flag_takes_whatever_follows() {
        let got = parse("sansbox -c a --config=b -C d -D w check -c --disable-color").unwrap();
        assert_eq!(got.inputs.files, ["a", "b", "--disable-color"]);
        assert_eq!(got.inputs.folders, ["d"]);
        assert_eq!(got.directory, Some("w".into()));
        assert!(!got.disable_color);
    }

    #[test]
    fn nonsense_is_refused_with_its_name() {
        for (line, text) in [
            ("sansbox bogus", "unknown command \"bogus\" for \"sansbox\""),
            (
                "sansbox check x",
                "unknown command \"x\" for \"sansbox check\"",
            ),
            (
                "sansbox generate x",
                "unknown command \"x\" for \"sansbox generate\"",
            ),
            ("sansbox merge", "accepts 1 arg(s), received 0"),
            ("sansbox generate rand 1 2", "accepts 1 arg(s), received 2"),
            ("sansbox generate rand -1", "unknown flag: -1"),
            ("sansbox check --bogus", "unknown flag: --bogus"),
            ("sansbox check -w", "unknown flag: --write"),
            (
                "sansbox check --hex=1",
                "unexpected argument for option '--hex': \"1\"",
            ),
        ] {
            assert_eq!(parse(line), Err(Refusal::Usage(text.into())), "{line}");
        }
    }

    #[test]
    fn what_is_not_built_is_refused_as_such() {
        for line in [
            "rule-set compile -x",
            "geoip -f a list",
            "generate wg-keypair",
        ] {
            let Err(Refusal::Fatal(fatal)) = parse(&format!("sansbox {line}")) else {
                panic!("{line}");
            };
            assert!(fatal.message.ends_with(": not supported yet"), "{line}");
        }
    }
}
