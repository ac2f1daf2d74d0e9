//! The order in which depmod comes across modules and symbols: that of a hash table with a fixed
//! number of buckets, each sorted by name. It shows in `modules.symbols`, and in the order of the
//! modules that `modules.order` does not have.
//!
//! The function is Paul Hsieh's SuperFastHash (<http://www.azillionmonkeys.com/qed/hash.html>), on
//! numbers in the order of a little endian machine.

use std::collections::BTreeMap;

/// A map that is walked in depmod's order.
#[derive(Clone, Debug)]
pub(super) struct HashOrdered<V> {
    /// A power of two, less one.
    mask: u32,
    map: BTreeMap<(u32, Vec<u8>), V>,
}

impl<V> HashOrdered<V> {
    /// Buckets of depmod's table of modules.
    pub(super) const MODULES: u32 = 512;
    /// Buckets of depmod's table of symbols.
    pub(super) const SYMBOLS: u32 = 2048;

    /// An empty map of so many buckets, a power of two.
    pub(super) fn new(buckets: u32) -> Self {
        assert!(buckets.is_power_of_two(), "buckets are a power of two");
        Self {
            mask: buckets - 1,
            map: BTreeMap::new(),
        }
    }

    /// Sets the value of a name, over an earlier one.
    pub(super) fn insert(&mut self, name: &[u8], value: V) {
        self.map.insert(self.key(name), value);
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<&V> {
        self.map.get(&self.key(name))
    }

    pub(super) fn get_mut(&mut self, name: &[u8]) -> Option<&mut V> {
        self.map.get_mut(&self.key(name))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        let entries = self.map.iter();
        entries.map(|((_, name), value)| (&**name, value))
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = V> {
        self.map.into_values()
    }

    fn key(&self, name: &[u8]) -> (u32, Vec<u8>) {
        (super_fast_hash(name) & self.mask, name.to_vec())
    }
}

fn super_fast_hash(data: &[u8]) -> u32 {
    let pair = |at: &[u8]| u32::from(u16::from_le_bytes([at[0], at[1]]));
    // Names are at most some thousand bytes long; the algorithm itself counts in 32 bits.
    let mut hash = (data.len() & 0xffff_ffff) as u32;
    let mut blocks = data.chunks_exact(4);
    for block in &mut blocks {
        hash = hash.wrapping_add(pair(block));
        hash = (hash << 16) ^ (pair(&block[2..]) << 11) ^ hash;
        hash = hash.wrapping_add(hash >> 11);
    }
    match blocks.remainder() {
        rest @ [_, _, last] => {
            hash = hash.wrapping_add(pair(rest));
            hash ^= hash << 16;
            hash ^= u32::from(*last) << 18;
            hash = hash.wrapping_add(hash >> 11);
        }
        rest @ [_, _] => {
            hash = hash.wrapping_add(pair(rest));
            hash ^= hash << 11;
            hash = hash.wrapping_add(hash >> 17);
        }
        [last] => {
            hash = hash.wrapping_add(u32::from(*last));
            hash ^= hash << 10;
            hash = hash.wrapping_add(hash >> 1);
        }
        _ => {}
    }
    for (left, right) in [(3, 5), (4, 17), (25, 6)] {
        hash ^= hash << left;
        hash = hash.wrapping_add(hash >> right);
    }
    hash
}
