use super::*;
use sansbox_core::Instant as Moment;
use sansbox_flight::{KeyPair, Recording as File, Tape as _, wire::Entry};
use std::{env, os::unix::fs::PermissionsExt as _, thread};

/// A folder that is removed with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("sansbox-recorder-{name}-{}", process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.0).expect("the folder");
        let mut files: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .collect();
        files.sort();
        files
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn recorder(settings: Settings) -> Result<Option<Arc<Recorder>>, Fatal> {
    let logger = Arc::new(Logger::on_stderr(Instant::now(), false).expect("stderr"));
    let sources = Sources::single("c.json", r#"{"log": {"level": "secret-level"}}"#);
    Recorder::new(&settings, &sources, &Named::default(), logger)
}

fn in_folder(folder: &Folder) -> Settings {
    Settings {
        directory: Some(folder.0.display().to_string()),
        ..Settings::default()
    }
}

fn reasons(folder: &Folder) -> Vec<Reason> {
    let files = folder.files();
    let read = files.iter().map(|path| {
        let mode = fs::metadata(path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let bytes = fs::read(path).expect("a file");
        File::read(&bytes, None)
            .expect("a recording")
            .preamble
            .reason
    });
    read.collect()
}

#[test]
fn a_panic_leaves_a_recording_and_the_next_one_soon_after_does_not() {
    let folder = Folder::new("panic");
    let recorder = recorder(in_folder(&folder)).expect("good settings");
    let recorder = recorder.expect("it is on");
    let ring = recorder.rings.of_this_thread(Moment::ZERO);
    ring.write(Moment::ZERO, ring.next_number(), &Entry::Tick);
    recorder.watch_panics();
    let panics = || thread::spawn(|| panic!("on purpose")).join().is_err();
    assert!(panics());
    assert_eq!(reasons(&folder), [Reason::Panic]);
    assert!(panics());
    recorder.flush(Reason::Cut);
    assert_eq!(reasons(&folder), [Reason::Panic], "too soon");
    recorder.flush(Reason::Signal);
    recorder.flush(Reason::Stop);
    let all = [Reason::Panic, Reason::Signal, Reason::Stop];
    assert_eq!(reasons(&folder), all, "what is asked for is always written");
    drop(panic::take_hook());
}

#[test]
fn what_is_recorded_in_full_is_encrypted_with_its_configuration() {
    let folder = Folder::new("full");
    let pair = KeyPair::from_random(&[3; 32]);
    let public: PublicKey = pair.public;
    let settings = Settings {
        mode: RecorderMode::Full,
        public_key: Some(public.into()),
        ..in_folder(&folder)
    };
    let recorder = recorder(settings).expect("good settings");
    recorder.expect("it is on").flush(Reason::Signal);
    let files = folder.files();
    let [path] = &files[..] else {
        panic!("{files:?}");
    };
    let bytes = fs::read(path).expect("a file");
    let secret = b"secret-level";
    assert!(!bytes.windows(secret.len()).any(|window| window == secret));
    let file = File::read(&bytes, Some(&pair.private)).expect("a recording");
    let configuration = file.preamble.configuration.expect("it is there");
    let text = String::from_utf8(configuration.text).expect("text");
    assert!(text.contains("secret-level"));
}

#[test]
fn what_could_not_be_written_is_said_at_the_start() {
    let folder = Folder::new("bad");
    // Every exchange with this key gives zero, which the cipher refuses.
    let settings = Settings {
        mode: RecorderMode::Full,
        public_key: Some([0; 32]),
        ..in_folder(&folder)
    };
    let fatal = recorder(settings).expect_err("a bad key");
    assert!(fatal.message.contains("public key"), "{}", fatal.message);
    let settings = Settings {
        directory: Some("/proc/none".to_owned()),
        ..Settings::default()
    };
    let fatal = recorder(settings).expect_err("no folder");
    assert!(fatal.message.contains("/proc/none"), "{}", fatal.message);
}

#[test]
fn nothing_is_recorded_where_it_is_off() {
    let settings = Settings {
        mode: RecorderMode::Off,
        ..Settings::default()
    };
    assert!(recorder(settings).expect("good settings").is_none());
}
