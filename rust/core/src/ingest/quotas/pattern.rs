//! Patterns of identities, as in the configuration's `security.allowed_identities`.

/// `*` stands for any text, the empty one too; every other character for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// What stands before, between and behind the stars.
    parts: Vec<Box<str>>,
}

impl Pattern {
    /// The pattern that a user wrote.
    #[must_use]
    pub fn new(written: &str) -> Self {
        Self { parts: written.split('*').map(Into::into).collect() }
    }

    /// Whether the whole identity is as the pattern says. Takes each part at its first place, which never needs to be
    /// taken back: the time is that of one search a part.
    #[must_use]
    pub fn fits(&self, identity: &str) -> bool {
        let [first, between @ .., last] = &*self.parts else {
            return self.parts.iter().all(|only| **only == *identity);
        };
        let Some(mut rest) = identity.strip_prefix(&**first) else { return false };
        for part in between {
            let Some(place) = rest.find(&**part) else { return false };
            rest = &rest[place + part.len()..];
        }
        rest.ends_with(&**last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, without regard to time.
    fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, _) => text.is_empty(),
            (Some((b'*', rest)), _) => (0..=text.len()).any(|skipped| by_definition(rest, &text[skipped..])),
            (Some((wanted, pattern)), Some((found, text))) => wanted == found && by_definition(pattern, text),
            (Some(_), None) => false,
        }
    }

    proptest! {
        #[test]
        fn a_pattern_fits_what_its_definition_says(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(Pattern::new(&pattern).fits(&text), by_definition(pattern.as_bytes(), text.as_bytes()));
        }
    }

    #[test]
    fn stars_stand_for_slashes_too() {
        assert!(Pattern::new("spiffe://fleet/*").fits("spiffe://fleet/eu/node-1"));
        assert!(!Pattern::new("spiffe://fleet/*").fits("spiffe://other/node-1"));
    }
}
