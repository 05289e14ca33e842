//! Does a first payload look like nothing but random bytes? The tests are those that were
//! measured at the Great Firewall (Wu et al., "How the Great Firewall of China Detects and Blocks
//! Fully Encrypted Traffic", USENIX Security 2023, section 4): everything is suspect that no
//! exemption covers.

/// When a payload is not suspect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemptions {
    /// Ex1: at most so many set bits per 1,000 bytes.
    pub set_bits_low: u64,
    /// Ex1: or at least so many.
    pub set_bits_high: u64,
    /// Ex2: so many printable bytes at the begin.
    pub printable_begin: usize,
    /// Ex3: more printable bytes than so many in a hundred.
    pub printable_percent: usize,
    /// Ex4: more printable bytes in a row than this.
    pub printable_run: usize,
    /// Ex5: what a TLS record or an HTTP request begins with.
    pub known_protocols: bool,
}

impl Default for Exemptions {
    /// As published.
    fn default() -> Self {
        Self {
            set_bits_low: 3_400,
            set_bits_high: 4_600,
            printable_begin: 6,
            printable_percent: 50,
            printable_run: 20,
            known_protocols: true,
        }
    }
}

const HTTP_METHODS: [&[u8]; 4] = [b"GET ", b"PUT ", b"POST ", b"HEAD "];

impl Exemptions {
    /// Is this first payload suspect? An empty one is not.
    #[must_use]
    pub fn looks_encrypted(&self, payload: &[u8]) -> bool {
        let len = payload.len();
        if len == 0 {
            return false;
        }
        let set_bits: u64 = payload.iter().map(|b| u64::from(b.count_ones())).sum();
        let per_1000 = |limit: u64| limit * len as u64;
        let printable = payload.iter().filter(|b| is_printable(b)).count();
        let begin = payload.iter().take_while(|b| is_printable(b)).count();
        let mut runs = payload.split(|b| !is_printable(b)).map(<[u8]>::len);
        let exempt = set_bits * 1_000 <= per_1000(self.set_bits_low)
            || set_bits * 1_000 >= per_1000(self.set_bits_high)
            || begin >= self.printable_begin
            || printable * 100 > len * self.printable_percent
            || runs.any(|run| run > self.printable_run)
            || (self.known_protocols && is_known(payload));
        !exempt
    }
}

const fn is_printable(byte: &u8) -> bool {
    matches!(byte, 0x20..=0x7e)
}

fn is_known(payload: &[u8]) -> bool {
    let is_tls = matches!(payload, [0x16 | 0x17, 3, 0..=9, ..]);
    is_tls
        || HTTP_METHODS
            .iter()
            .any(|method| payload.starts_with(method))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four bits set in each byte, none of them printable.
    fn random_like(len: usize) -> Vec<u8> {
        [0x0f, 0xf0, 0x96, 0xe1, 0x87]
            .into_iter()
            .cycle()
            .take(len)
            .collect()
    }

    #[test]
    fn each_exemption_covers_what_it_says() {
        let suspect = |payload: &[u8]| Exemptions::default().looks_encrypted(payload);
        let with = |begin: &[u8], len| [begin, &random_like(len)].concat();
        assert!(suspect(&random_like(100)));
        assert!(!suspect(b""));
        assert!(!suspect(&[0x80; 50]), "few bits");
        assert!(!suspect(&[0xff; 50]), "many bits");
        assert!(suspect(&with(b"abcde", 200)) && !suspect(&with(b"abcdef", 200)));
        let middle = |run: &[u8]| [&random_like(200)[..], run, &random_like(200)].concat();
        assert!(suspect(&middle(&[b'g'; 20])) && !suspect(&middle(&[b'g'; 21])));
        let mixed: Vec<u8> = random_like(50).iter().flat_map(|b| [*b, b'g']).collect();
        assert!(suspect(&mixed), "half of it");
        assert!(
            !suspect(&[&mixed[..], b"gg"].concat()),
            "more than half of it"
        );
        assert!(!suspect(&with(&[0x16, 3, 1], 200)) && suspect(&with(&[0x16, 4, 1], 200)));
        assert!(!suspect(&with(&[0x17, 3, 9], 200)) && suspect(&with(&[0x17, 3, 10], 200)));
        assert!(!suspect(&with(b"GET ", 200)) && suspect(&with(b"GOT ", 200)));
    }

    #[test]
    fn an_exemption_can_be_taken_away() {
        let strict = Exemptions {
            known_protocols: false,
            ..Exemptions::default()
        };
        let tls = [&[0x17, 3, 3][..], &random_like(200)].concat();
        assert!(strict.looks_encrypted(&tls) && !Exemptions::default().looks_encrypted(&tls));
    }
}
