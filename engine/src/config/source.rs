//! The input files and places in them.
use super::model::Span;

/// One input file.
#[derive(Clone, Debug)]
pub struct Source {
    path: String,
    bytes: Vec<u8>,
    index: u16,
}

impl Source {
    /// The path as given, used in messages only.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The content as read.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Position in [`Sources::files`], which is what [`Span::file`] holds.
    #[must_use]
    pub const fn index(&self) -> u16 {
        self.index
    }

    /// A span of this file. Offsets beyond 4 GiB saturate; files that long are refused anyway.
    pub(crate) fn span(&self, start: usize, end: usize) -> Span {
        let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span {
            file: self.index,
            start: offset(start),
            end: offset(end),
        }
    }

    /// Line and column (both from 1, the column in characters) of a byte offset, and where its
    /// line starts and ends.
    pub(crate) fn locate(&self, offset: u32) -> Location {
        let at = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.bytes.len());
        let (before, after) = self.bytes.split_at(at);
        let start = before
            .iter()
            .rposition(|&b| b == b'\n')
            .map_or(0, |newline| newline + 1);
        let end = after
            .iter()
            .position(|&b| b == b'\n')
            .map_or(self.bytes.len(), |newline| at + newline);
        let head = self.bytes.get(start..at).unwrap_or_default();
        Location {
            line: before.iter().filter(|&&b| b == b'\n').count() + 1,
            column: String::from_utf8_lossy(head).chars().count() + 1,
            line_start: start,
            line_end: end,
        }
    }
}

/// A place in a file, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) line_start: usize,
    pub(crate) line_end: usize,
}

/// All input files, sorted by path in byte order as sing-box sorts them before merging.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
}

impl Sources {
    /// Most files that are read together: what [`Span::file`] can tell apart.
    pub const FILES_MAX: usize = 1 << 16;

    /// Files as (path, content) pairs, in any order. More than [`Self::FILES_MAX`] are kept, but
    /// refused when they are read.
    #[must_use]
    pub fn new(mut files: Vec<(String, Vec<u8>)>) -> Self {
        files.sort_by(|a, b| a.0.cmp(&b.0));
        let files = files.into_iter().enumerate();
        Self {
            files: files
                .map(|(index, (path, bytes))| Source {
                    path,
                    bytes,
                    index: u16::try_from(index).unwrap_or(u16::MAX),
                })
                .collect(),
        }
    }

    /// A single file.
    #[must_use]
    pub fn single(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(vec![(path.into(), bytes.into())])
    }

    /// The files in merge order.
    #[must_use]
    pub fn files(&self) -> &[Source] {
        &self.files
    }

    /// The file that a span points into.
    #[must_use]
    pub fn file(&self, span: Span) -> Option<&Source> {
        self.files.get(usize::from(span.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_sorted_by_path_in_byte_order() {
        let names = ["b.json", "B.json", "10.json", "9.json", "./z.json"];
        let sources = Sources::new(names.map(|n| (n.to_owned(), Vec::new())).to_vec());
        let sorted: Vec<_> = sources.files().iter().map(Source::path).collect();
        assert_eq!(
            sorted,
            ["./z.json", "10.json", "9.json", "B.json", "b.json"]
        );
        assert_eq!(sources.files()[3].index(), 3);
    }

    #[test]
    fn columns_count_characters_and_lines_count_newlines() {
        let sources = Sources::single("x", "{\n \"ä\": 1\n}");
        let place = sources.files()[0].locate(9);
        assert_eq!((place.line, place.column), (2, 7));
        assert_eq!((place.line_start, place.line_end), (2, 10));
        let end = sources.files()[0].locate(u32::MAX);
        assert_eq!((end.line, end.column), (3, 2));
    }
}
