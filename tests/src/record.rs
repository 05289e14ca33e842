//! All that the program under test does, recorded: with `SANSBOX_RECORD=FOLDER` every instance that
//! [`Proxy`](crate::proxy::Proxy) starts records in full, and leaves its recording in that folder,
//! beside the key that reads it. `sansbox-sim replay FOLDER --key FOLDER/recorder.key --whole`
//! then shows whether all of it replays.
use crate::proxy::command;
use serde_json::{Value, json};
use std::{
    env,
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// The file with the keys, in the folder of the recordings.
pub const KEY_FILE: &str = "recorder.key";
/// Bytes of each worker's ring: nothing that a test does may be dropped.
const SIZE: u64 = 512 << 20;

/// Where recordings go and who can read them.
#[derive(Clone, Debug)]
pub struct Recordings {
    /// The folder.
    pub folder: PathBuf,
    /// To whom they are encrypted.
    pub public_key: String,
}

impl Recordings {
    /// Recordings in `folder`, with the keys that are there, or new ones.
    ///
    /// # Panics
    /// When the folder cannot be written, or the program makes no keys.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("make the folder of the recordings");
        let folder = folder.canonicalize().expect("the folder was just made");
        let path = folder.join(KEY_FILE);
        if let Ok(mut file) = OpenOptions::new().write(true).create_new(true).open(&path) {
            let output = command()
                .args(["generate", "recorder-keypair"])
                .output()
                .expect("run the program");
            file.write_all(&output.stdout).expect("write the keys");
        }
        let keys = fs::read_to_string(path).expect("read the keys");
        let public_key = keys
            .lines()
            .find_map(|line| line.strip_prefix("PublicKey: "))
            .expect("a public key")
            .to_owned();
        Self { folder, public_key }
    }

    /// What the environment asks for.
    pub(crate) fn wanted() -> Option<&'static Self> {
        static WANTED: OnceLock<Option<Recordings>> = OnceLock::new();
        let wanted = WANTED.get_or_init(|| {
            let folder = env::var_os("SANSBOX_RECORD")?;
            Some(Self::in_folder(Path::new(&folder)))
        });
        wanted.as_ref()
    }

    /// The configuration of a recorder that keeps everything until the end.
    #[must_use]
    pub fn full(&self) -> Value {
        json!({
            "mode": "full",
            "size": SIZE,
            "keep": "1h",
            "directory": self.folder,
            "public_key": self.public_key,
            "flush_on_stop": true,
        })
    }

    /// `config` with that recorder, unless it has one of its own.
    pub(crate) fn added_to(&self, config: &Value) -> Value {
        let mut config = config.clone();
        let own = &mut config["sansbox"];
        if own.get("recorder").is_none() {
            own["recorder"] = self.full();
        }
        config
    }
}
