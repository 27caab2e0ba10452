//! A table from identities to what is kept of each, for as long as the process lives.
//!
//! A fleet has many identities and most of them are at rest, so what one takes beside its value is little: its text with
//! a length in front stands in a page of texts (1 to 2 bytes more), where it stands is in its slot (8 bytes), and the
//! slot's number is in the table that is searched by hash (5 to 12 bytes). Pages are filled to the end and never move,
//! so that growing copies nothing but the table of numbers.

use hashbrown::HashTable;

use crate::series::registry::{KeyHasher as _, SeededXxh3};
use crate::series::varint;

/// Slots that are made at a time.
const PAGE_SLOTS: usize = 1_024;
/// Bytes of texts that are made room for at a time; a longer text has a page for itself.
const PAGE_BYTES: usize = 64 * 1024;

/// Values by identity. Nothing is ever taken out.
#[derive(Debug)]
pub(super) struct Identities<V> {
    hasher: SeededXxh3,
    /// Numbers of slots.
    table: HashTable<u32>,
    slots: Vec<Vec<Slot<V>>>,
    texts: Texts,
}

#[derive(Debug)]
struct Slot<V> {
    text: Place,
    value: V,
}

impl<V> Default for Identities<V> {
    fn default() -> Self {
        Self { hasher: SeededXxh3::default(), table: HashTable::new(), slots: Vec::new(), texts: Texts::default() }
    }
}

impl<V> Identities<V> {
    /// Identities in the table.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The number of an identity, for [`Self::at`].
    #[inline]
    pub(super) fn find(&self, identity: &str) -> Option<u32> {
        let identity = identity.as_bytes();
        let is_it = |&number: &u32| self.texts.at(slot(&self.slots, number).text) == identity;
        self.table.find(self.hasher.hash(identity), is_it).copied()
    }

    /// What is kept of the identity with this number.
    #[inline]
    pub(super) fn at(&mut self, number: u32) -> &mut V {
        &mut self.slots[number as usize / PAGE_SLOTS][number as usize % PAGE_SLOTS].value
    }

    /// Adds an identity that is not in the table yet; its number.
    pub(super) fn insert(&mut self, identity: &str, value: V) -> u32 {
        let number = self.len() as u32;
        let identity = identity.as_bytes();
        if self.slots.last().is_none_or(|page| page.len() == PAGE_SLOTS) {
            self.slots.push(Vec::with_capacity(PAGE_SLOTS));
        }
        let page = self.slots.last_mut().expect("made where there was none");
        page.push(Slot { text: self.texts.push(identity), value });
        let (hasher, slots, texts) = (self.hasher, &self.slots, &self.texts);
        let hash = |&number: &u32| hasher.hash(texts.at(slot(slots, number).text));
        self.table.insert_unique(hasher.hash(identity), number, hash);
        number
    }

    /// Every identity's text and what is kept of it, in the order in which they came.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        self.slots.iter().flatten().map(|slot| (self.texts.at(slot.text), &slot.value))
    }
}

#[inline]
fn slot<V>(slots: &[Vec<Slot<V>>], number: u32) -> &Slot<V> {
    &slots[number as usize / PAGE_SLOTS][number as usize % PAGE_SLOTS]
}

/// Texts behind each other, each with its length in front.
#[derive(Debug, Default)]
struct Texts {
    pages: Vec<Vec<u8>>,
}

/// Where a text stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    page: u32,
    offset: u32,
}

impl Texts {
    fn push(&mut self, text: &[u8]) -> Place {
        let bytes = text.len() + varint::BYTES_MAX;
        if self.pages.last().is_none_or(|page| page.capacity() - page.len() < bytes) {
            self.pages.push(Vec::with_capacity(bytes.max(PAGE_BYTES)));
        }
        let number = self.pages.len() - 1;
        let page = &mut self.pages[number];
        let place = Place { page: number as u32, offset: page.len() as u32 };
        varint::write(page, text.len() as u64);
        page.extend_from_slice(text);
        place
    }

    #[inline]
    fn at(&self, place: Place) -> &[u8] {
        let mut rest = &self.pages[place.page as usize][place.offset as usize..];
        varint::read_bytes(&mut rest).expect("a place is that of a text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identity_is_found_again_whatever_its_length_and_stays_in_order() {
        let identities: Vec<String> = (0..5_000).map(|number| "x".repeat(number % 300) + &number.to_string()).collect();
        let long = "y".repeat(2 * PAGE_BYTES);
        let mut table = Identities::default();
        for (number, identity) in identities.iter().map(String::as_str).chain([&*long, ""]).enumerate() {
            assert_eq!(table.find(identity), None);
            table.insert(identity, number);
        }
        assert_eq!(table.len(), identities.len() + 2);
        for (number, identity) in identities.iter().map(String::as_str).chain([&*long, ""]).enumerate() {
            let found = table.find(identity).map(|number| *table.at(number));
            assert_eq!(found, Some(number), "{identity}");
        }
        let texts: Vec<_> = table.iter().map(|(text, _)| text.to_vec()).collect();
        assert_eq!(
            texts[..identities.len()],
            identities.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>()
        );
    }
}
