//! Where two runs part: the first line in which their traces differ.

/// Lines shown before the first difference, and from there on.
pub const CONTEXT: usize = 5;

/// Two traces, up to where they part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    /// Number of the first line that differs, from 0.
    pub line: usize,
    /// The last lines that are the same.
    pub before: Vec<String>,
    /// What follows in the first trace; empty where it ends.
    pub left: Vec<String>,
    /// What follows in the second.
    pub right: Vec<String>,
}

/// Where two traces part; `None` when they are the same.
#[must_use]
pub fn parting(left: &[String], right: &[String]) -> Option<Parting> {
    let same = left.iter().zip(right).take_while(|(a, b)| a == b).count();
    if same == left.len() && same == right.len() {
        return None;
    }
    let part = |all: &[String], from: usize, to: usize| {
        let to = to.min(all.len());
        all.get(from..to).unwrap_or_default().to_vec()
    };
    Some(Parting {
        line: same,
        before: part(left, same.saturating_sub(CONTEXT), same),
        left: part(left, same, same + CONTEXT),
        right: part(right, same, same + CONTEXT),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.chars().map(String::from).collect()
    }

    #[test]
    fn the_first_difference_is_found_with_what_is_around_it() {
        let parting = parting(&lines("abcdefghXijklmn"), &lines("abcdefghY")).unwrap();
        assert_eq!(parting.line, 8);
        assert_eq!(parting.before, lines("defgh"));
        assert_eq!(parting.left, lines("Xijkl"));
        assert_eq!(parting.right, lines("Y"));
    }

    #[test]
    fn a_trace_that_only_goes_on_parts_at_its_end_and_the_same_do_not_part() {
        let parting_at = |a, b| parting(&lines(a), &lines(b)).map(|p| p.line);
        assert_eq!(parting_at("abc", "ab"), Some(2));
        assert_eq!(parting_at("", "a"), Some(0));
        assert_eq!(parting_at("abc", "abc"), None);
        assert_eq!(parting_at("", ""), None);
    }
}
