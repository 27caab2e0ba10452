//! Descriptors numbered in the order in which they first came, found by the address of their `Arc`.
//!
//! An address is compared in a nanosecond where a key takes ten. It cannot be given to another descriptor while the
//! table holds the `Arc`. Two `Arc`s with equal content get two numbers, which is allowed everywhere and rare: the
//! registry and the decoder's interner share theirs.

use std::sync::Arc;

use hashbrown::HashTable;

use crate::series::Descriptor;

#[derive(Debug, Default)]
pub(crate) struct DescriptorTable {
    table: HashTable<u32>,
    descriptors: Vec<Arc<Descriptor>>,
}

impl DescriptorTable {
    /// The number of a descriptor, and whether it is new.
    #[inline]
    pub(crate) fn number(&mut self, descriptor: &Arc<Descriptor>) -> (u32, bool) {
        let descriptors = &self.descriptors;
        let hash = address_hash(descriptor);
        let fits = |&number: &u32| Arc::ptr_eq(&descriptors[number as usize], descriptor);
        if let Some(&number) = self.table.find(hash, fits) {
            return (number, false);
        }
        let number = descriptors.len() as u32;
        self.table.insert_unique(hash, number, |&other| address_hash(&descriptors[other as usize]));
        self.descriptors.push(Arc::clone(descriptor));
        (number, true)
    }

    /// The next number, without the way back from the descriptor to it.
    #[inline]
    pub(crate) fn append(&mut self, descriptor: &Arc<Descriptor>) -> u32 {
        self.descriptors.push(Arc::clone(descriptor));
        (self.descriptors.len() - 1) as u32
    }

    pub(crate) fn len(&self) -> usize {
        self.descriptors.len()
    }

    pub(crate) fn clear(&mut self) {
        self.table.clear();
        self.descriptors.clear();
    }

    /// Empties the table and returns what it held, in order.
    pub(crate) fn take(&mut self) -> Vec<Arc<Descriptor>> {
        self.table.clear();
        std::mem::take(&mut self.descriptors)
    }
}

/// Spreads an address over all bits: a product's high half depends on every bit of both factors.
#[inline]
pub(crate) fn address_hash<T: ?Sized>(shared: &Arc<T>) -> u64 {
    let address = Arc::as_ptr(shared).addr() as u64;
    let product = u128::from(address) * u128::from(0x9e37_79b9_7f4a_7c15_u64);
    product as u64 ^ (product >> 64) as u64
}
