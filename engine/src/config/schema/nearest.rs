//! Guesses what was meant.

/// The candidate with the fewest edits from `wrong`, when they are few enough to be a slip.
pub(crate) fn nearest<'a>(
    wrong: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    /// Longer names are no slips of anything, and comparing them would take long.
    const LEN_MAX: usize = 64;
    let wrong: Vec<char> = wrong
        .trim()
        .chars()
        .take(LEN_MAX + 1)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    if wrong.len() > LEN_MAX {
        return None;
    }
    let mut best: Option<(usize, &'a str)> = None;
    for candidate in candidates {
        let name: Vec<char> = candidate.chars().map(|c| c.to_ascii_lowercase()).collect();
        let edits_max = (name.len().min(wrong.len()) / 3).max(1);
        let edits = distance(&wrong, &name);
        let half_is_right = edits * 2 <= name.len().max(wrong.len());
        if edits <= edits_max && half_is_right && best.is_none_or(|(fewest, _)| edits < fewest) {
            best = Some((edits, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Edits from `a` to `b`: insertions, deletions, substitutions, swaps of neighbours (optimal
/// string alignment).
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let at = |row: &[usize], k: usize| row.get(k).copied().unwrap_or(usize::MAX / 2);
            let mut edits = (at(&last, j + 1) + 1)
                .min(at(&row, j) + 1)
                .min(at(&last, j) + usize::from(x != y));
            let swapped = j > 0 && i > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                edits = edits.min(at(&before, j - 1) + 1);
            }
            row.push(edits);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let keys = ["listen", "listen_port", "type", "tag", "users"];
        for (wrong, want) in [
            ("lisen_port", Some("listen_port")),
            ("listen-port", Some("listen_port")),
            ("TYPE", Some("type")),
            ("tpye", Some("type")),
            ("Tag ", Some("tag")),
            ("user", Some("users")),
            ("x", None),
            ("foo", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, keys), want, "{wrong}");
        }
        assert_eq!(nearest(&"x".repeat(100), keys), None);
    }

    #[test]
    fn edits_are_counted() {
        let count = |a: &str, b: &str| {
            distance(
                &a.chars().collect::<Vec<_>>(),
                &b.chars().collect::<Vec<_>>(),
            )
        };
        assert_eq!(count("", "abc"), 3);
        assert_eq!(count("abc", ""), 3);
        assert_eq!(count("abcd", "acbd"), 1);
        assert_eq!(count("kitten", "sitting"), 3);
    }
}
