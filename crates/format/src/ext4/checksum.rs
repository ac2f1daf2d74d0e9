//! CRC-32C as ext4 chains it: no inversion at either end.

/// What every chain starts from.
const START: u32 = !0;

/// The sum that started as `crc`, after `bytes`.
pub(super) fn extend(crc: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!crc, bytes)
}

/// The sum over a record of its own, like the super block.
pub(super) fn of(bytes: &[u8]) -> u32 {
    extend(START, bytes)
}

/// What the sums of everything that belongs to one inode start from.
pub(super) fn inode_seed(seed: u32, inode: u32, generation: u32) -> u32 {
    extend(
        extend(seed, &inode.to_le_bytes()),
        &generation.to_le_bytes(),
    )
}

#[cfg(test)]
mod tests {
    /// What mke2fs 1.47.0 stores as the seed for CoreOS's first UUID.
    #[test]
    fn seed_is_the_uuids_sum() {
        let uuid = 0x96d15588_3596_4b3c_adca_a2ff7279ea63_u128.to_be_bytes();
        assert_eq!(super::of(&uuid), 0x76c8_fc4b);
    }
}
