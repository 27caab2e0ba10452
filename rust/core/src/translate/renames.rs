//! Tags that other protocols call by other names.

use super::Batches;

/// Which tags get which name here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renames(Vec<Pair>);

/// Two texts that belong together: a name there and here, or a label and its value.
pub(super) type Pair = (Box<[u8]>, Box<[u8]>);

impl Renames {
    /// Renames each first name to the second.
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(pairs.into_iter().map(|(from, to)| (from.as_bytes().into(), to.as_bytes().into())).collect())
    }

    /// Gives the series at hand a tag, by its name here.
    pub(super) fn tag(&self, key: &[u8], value: &[u8], batches: &mut Batches) {
        let renamed = self.0.iter().find(|(from, _)| **from == *key);
        batches.tag(renamed.map_or(key, |(_, to)| to), value);
    }
}
