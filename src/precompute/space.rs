//! Is there room on the disk for what is to be bought?

use std::path::Path;

/// What an answer and its vector are taken for; measured, entries are 2 to 6 KB.
const ITEM_BYTES: u64 = 8 << 10;
/// What must be left for everything else: the write-ahead log, the index, live traffic.
const RESERVE_BYTES: u64 = 64 << 20;

/// Returns how many bytes are missing for so many answers in the data folder's file system; `None` where there is room,
/// or nobody can say.
pub(super) fn missing(folder: &Path, items: usize) -> Option<u64> {
    let system = rustix::fs::statvfs(folder).ok()?;
    shortfall(system.f_bavail.saturating_mul(system.f_frsize), items)
}

fn shortfall(free: u64, items: usize) -> Option<u64> {
    let wanted = RESERVE_BYTES + ITEM_BYTES * items as u64;
    wanted.checked_sub(free).filter(|missing| *missing > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_before_anything_is_bought() {
        assert_eq!(shortfall(RESERVE_BYTES + 10 * ITEM_BYTES, 10), None);
        assert_eq!(shortfall(RESERVE_BYTES, 10), Some(10 * ITEM_BYTES));
        assert!(missing(Path::new("/"), usize::MAX / (1 << 20)).is_some());
    }
}
