//! A configuration that names no file, for whoever has none: what it named stands in it.
use super::{
    Files, NAMED_FILE_BYTES_MAX, Sources, decode_all,
    reader::parse,
    schema::{self, Record, Value},
};
use sansbox_protocols::paniq::profile::Profile;
use zeroize::Zeroizing;

const PATH: &str = "profile_path";
const PROFILE: &str = "profile";

/// All files as one, as [`merge`](super::merge) writes them, with each `profile_path` replaced by
/// the `profile` it names; keys that no profile has are lost, which reading ignores as well.
/// `None` when no file is named, or the text is not understood. A file that cannot be read stays
/// named.
#[must_use]
pub fn inline(sources: &Sources, files: &dyn Files) -> Option<Zeroizing<String>> {
    let (_, mut root, decoder) = decode_all(sources).ok()?;
    if !decoder.problems.is_empty() {
        return None;
    }
    let lists = root.fields.iter_mut().filter_map(|field| {
        let Value::Records(list) = &mut field.value else {
            return None;
        };
        Some(list)
    });
    let replaced = lists.flatten().filter_map(|record| replace(record, files));
    (replaced.count() > 0).then(|| Zeroizing::new(schema::to_json(&root)))
}

fn replace(record: &mut Record, files: &dyn Files) -> Option<()> {
    let path = Some(record.text(PATH)).filter(|path| !path.is_empty())?;
    let bytes = Zeroizing::new(files.read(path, NAMED_FILE_BYTES_MAX).ok()?);
    let (profile, _) = Profile::from_file(&bytes).ok()?;
    let json = profile.to_json();
    let source = Sources::single(path, json.as_bytes());
    let tree = parse(source.files().first()?).ok()?;
    let mut rows = record.object.rows();
    let row = rows.find(|row| row.key == PROFILE)?;
    let span = record.take(PATH)?.span;
    record.set(row, Value::Tree(tree), span);
    Some(())
}
