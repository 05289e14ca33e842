//! qlog: what the ends of QUIC connections tell of themselves.
use super::Story;

/// How such files end: JSON text sequences (RFC 7464).
const SUFFIX: &str = "sqlog";

/// A file for each end of a QUIC connection: its name, and its qlog with virtual times.
#[must_use]
pub fn qlog(story: &Story<'_>) -> Vec<(String, String)> {
    let all = story.capture.map_or(&[][..], |capture| &capture.qlog);
    let file = |(name, text): &(String, String)| (file_name(name), text.clone());
    all.iter().map(file).collect()
}

/// A name that every file system takes.
fn file_name(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let plain = name.chars().map(|c| if is_plain(c) { c } else { '_' });
    format!("{}.{SUFFIX}", plain.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_hold_no_separators() {
        assert_eq!(file_name("../a b/c-0-client"), ".._a_b_c-0-client.sqlog");
    }
}
