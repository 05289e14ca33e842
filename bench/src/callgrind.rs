//! Instructions as valgrind's callgrind counts them: those in user space, and the same number
//! whatever else the machine does.

use std::process::Command;

/// Whether valgrind is there.
pub(crate) fn is_here() -> bool {
    let found = Command::new("valgrind").arg("--version").output();
    found.is_ok_and(|output| output.status.success())
}

/// The total in what it prints at the end: `==1234== Collected : 5678`.
pub(crate) fn collected(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found() {
        let text = "==12== Events    : Ir\n==12== Collected : 5678\n==12== \n";
        assert_eq!(collected(text), Some(5678));
        assert_eq!(collected("==12== killed"), None);
    }
}
