//! Basic credentials (RFC 7617) in `Proxy-Authorization` (RFC 9110 11.7).
use super::Fields;
use crate::Secret;
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use zeroize::Zeroizing;

/// Padding is written, and not insisted on.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A user name and a password; the name holds no colon, neither holds a control character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub username: Secret,
    /// The password.
    pub password: Secret,
}

impl Credentials {
    /// Credentials that Basic can carry; `None` when it cannot (RFC 7617 2).
    #[must_use]
    pub fn new(username: &[u8], password: &[u8]) -> Option<Self> {
        let is_control = |b: &u8| b.is_ascii_control();
        let is_bad = username.contains(&b':') || username.iter().chain(password).any(is_control);
        (!is_bad).then(|| Self {
            username: Secret::new(username),
            password: Secret::new(password),
        })
    }

    /// Reads a `Proxy-Authorization` value: `Basic` in any case, spaces, base64 of
    /// `user:password`. `None` when it is anything else.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (scheme, rest) = value.split_at_checked(5)?;
        let token = rest.strip_prefix(b" ")?.trim_ascii();
        if !scheme.eq_ignore_ascii_case(b"Basic") {
            return None;
        }
        let pair = Zeroizing::new(BASE64.decode(token).ok()?);
        let colon = pair.iter().position(|&b| b == b':')?;
        let (username, password) = pair.split_at_checked(colon)?;
        Self::new(username, password.strip_prefix(b":")?)
    }

    /// The credentials of a request: exactly one field with a valid value.
    #[must_use]
    pub fn of_request(fields: &Fields<'_>) -> Option<Self> {
        let mut values = fields.all("Proxy-Authorization");
        let value = values.next()?;
        values.next().is_none().then(|| Self::parse(value))?
    }

    /// The `Proxy-Authorization` value.
    #[must_use]
    pub fn emit(&self) -> Zeroizing<String> {
        let (user, password) = (self.username.as_bytes(), self.password.as_bytes());
        let mut pair = Zeroizing::new(Vec::with_capacity(user.len() + 1 + password.len()));
        pair.extend_from_slice(user);
        pair.push(b':');
        pair.extend_from_slice(password);
        let scheme = "Basic ";
        // Room for all of it, so that growing leaves no copy behind.
        let mut out = Zeroizing::new(String::with_capacity(scheme.len() + pair.len() * 2 + 4));
        out.push_str(scheme);
        BASE64.encode_string(&pair[..], &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_rfc() {
        let credentials = Credentials::parse(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==").unwrap();
        assert!(credentials.username.matches(b"Aladdin"));
        assert!(credentials.password.matches(b"open sesame"));
        assert!(!credentials.password.matches(b"open sesamf"));
        assert_eq!(&*credentials.emit(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(
            format!("{credentials:?}"),
            "Credentials { username: Secret(..), password: Secret(..) }"
        );
    }

    #[test]
    fn values_are_read_or_refused() {
        let good: [(&[u8], &[u8], &[u8]); 4] = [
            (b"basic YTpi", b"a", b"b"),
            (b"Basic   YTpi", b"a", b"b"),
            (b"Basic YTo", b"a", b""),
            (b"Basic Ojo6", b"", b"::"),
        ];
        for (value, user, password) in good {
            let expected = Credentials::new(user, password);
            assert_eq!(Credentials::parse(value), expected, "{value:?}");
        }
        let bad: [&[u8]; 8] = [
            b"",
            b"Basic",
            b"Basic ",
            b"BasicYTpi",
            b"Bearer YTpi",
            b"Basic YWI=",
            b"Basic Y!pi",
            b"Basic YToKYg==",
        ];
        for value in bad {
            assert_eq!(Credentials::parse(value), None, "{value:?}");
        }
        assert_eq!(Credentials::new(b"a:b", b""), None);
        assert_eq!(Credentials::new(b"a", b"\r\n"), None);
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed(
            user in "[^:\\x00-\\x1f\\x7f]{0,40}",
            password in "[^\\x00-\\x1f\\x7f]{0,40}",
        ) {
            let credentials = Credentials::new(user.as_bytes(), password.as_bytes()).unwrap();
            prop_assert_eq!(Credentials::parse(credentials.emit().as_bytes()), Some(credentials));
        }

        #[test]
        fn random_values_never_panic(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Credentials::parse(&value);
        }
    }
}
