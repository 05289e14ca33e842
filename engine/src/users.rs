//! Who may use an inbound.
use crate::{config::model::User, ids::UserId};
use subtle::ConstantTimeEq;

/// The users of an inbound. Passwords compare in constant time and are never printed.
#[derive(Default)]
pub struct Users {
    /// Sorted by name, so that looking one up costs the same for any number of users; several
    /// entries may share a name, as sing-box allows.
    entries: Vec<(User, UserId)>,
    /// Names in the configuration's order, for rules and logs.
    names: Vec<String>,
}

impl core::fmt::Debug for Users {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Users({})", self.names.len())
    }
}

impl Users {
    /// Takes the users of an inbound.
    #[must_use]
    pub fn new(users: &[User]) -> Self {
        let numbered = users.iter().cloned().zip((0..=u16::MAX).map(UserId));
        let mut entries: Vec<_> = numbered.collect();
        entries.sort_by(|a, b| a.0.username.cmp(&b.0.username));
        Self {
            entries,
            names: users.iter().map(|u| u.username.clone()).collect(),
        }
    }

    /// Nobody has to authenticate.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The user whose name and password these are. Names are no secret; every password under the
    /// name is compared in constant time, and an unknown name costs one comparison too.
    #[must_use]
    pub fn verify(&self, username: &[u8], password: &[u8]) -> Option<UserId> {
        let start = self
            .entries
            .partition_point(|(u, _)| u.username.as_bytes() < username);
        let same_name = self
            .entries
            .iter()
            .skip(start)
            .take_while(|(u, _)| u.username.as_bytes() == username);
        let mut found = None;
        let mut compared = false;
        for (user, id) in same_name {
            compared = true;
            if bool::from(user.password.as_bytes().ct_eq(password)) {
                found = found.or(Some(*id));
            }
        }
        if !compared {
            core::hint::black_box(password.ct_eq(password));
        }
        found
    }

    /// The user's name.
    #[must_use]
    pub fn name(&self, id: UserId) -> Option<&str> {
        self.names.get(usize::from(id.0)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(username: &str, password: &str) -> User {
        User {
            username: username.into(),
            password: password.into(),
        }
    }

    #[test]
    fn verifies_by_name_and_password_together() {
        let users = Users::new(&[user("bob", "b"), user("alice", "a"), user("bob", "c")]);
        assert_eq!(users.verify(b"alice", b"a"), Some(UserId(1)));
        assert_eq!(users.verify(b"bob", b"c"), Some(UserId(2)));
        assert_eq!(users.verify(b"bob", b"a"), None);
        assert_eq!(users.verify(b"carol", b"a"), None);
        assert_eq!(users.verify(b"", b""), None);
        assert_eq!(users.name(UserId(1)), Some("alice"));
    }
}
