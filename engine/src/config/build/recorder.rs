//! `sansbox.recorder`.
use super::{Builder, take_bool, take_string, take_text};
use crate::config::{
    model::{Recorder, RecorderMode, Spanned},
    schema::{Record, Value},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

const KEY: &str = "public_key";

impl Builder<'_> {
    pub(super) fn recorder(&mut self, record: &mut Record) -> Recorder {
        let mode = take_text(record, "mode");
        let mode_span = mode.as_ref().map_or(record.span, |text| text.span);
        let mode = match mode {
            Some(name) => self.mode(&name),
            None => Some(RecorderMode::default()),
        };
        let keeps_content = matches!(mode, Some(RecorderMode::Head | RecorderMode::Full));
        if mode.is_some() && !keeps_content {
            let reason = "only what `head` and `full` record is encrypted";
            self.no_effect(record, &[KEY], reason);
        }
        let key = take_text(record, KEY);
        if keeps_content && key.is_none() {
            let expected = "possible without `public_key`: what it records is secret and only \
                            written encrypted (`sansbox generate recorder-keypair` makes a pair)";
            self.bad_value(mode_span, "mode", expected);
        }
        let public_key = key.and_then(|text| self.key(&text));
        let recorder = Recorder {
            mode: mode.unwrap_or_default(),
            size: self.ring_size(record),
            keep: self.take_duration(record, "keep"),
            directory: take_string(record, "directory"),
            public_key,
            flush_on_stop: take_bool(record, "flush_on_stop"),
        };
        self.all_taken(record);
        recorder
    }

    fn mode(&mut self, name: &Spanned<String>) -> Option<RecorderMode> {
        Some(match name.value.as_str() {
            "off" => RecorderMode::Off,
            "shape" => RecorderMode::Shape,
            "head" => RecorderMode::Head,
            "full" => RecorderMode::Full,
            other => {
                self.bad_value(name.span, other, "`off`, `shape`, `head` or `full`");
                return None;
            }
        })
    }

    fn key(&mut self, text: &Spanned<String>) -> Option<[u8; 32]> {
        let bytes = STANDARD.decode(&text.value).ok();
        let key = bytes.and_then(|bytes| bytes.try_into().ok());
        if key.is_none() {
            self.bad_value(text.span, &text.value, "a key: 32 bytes in base64");
        }
        key
    }

    fn ring_size(&mut self, record: &mut Record) -> Option<usize> {
        let field = record.take("size")?;
        let Value::Number(n) = field.value else {
            return None;
        };
        let size = usize::try_from(n).ok();
        let size = size.filter(|n| (Recorder::SIZE_MIN..=Recorder::SIZE_MAX).contains(n));
        if size.is_none() {
            let expected = "a number of bytes from 262144 to 536870912";
            self.bad_value(field.span, &n.to_string(), expected);
        }
        size
    }
}
