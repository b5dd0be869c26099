//! Names in a transfer: relative, clean, and below directories that were announced.

use std::collections::BTreeSet;

use crate::Status;

/// What a transfer has announced so far. A directory that a link replaced cannot be walked through: the
/// parent of every name has to be one of these directories.
#[derive(Default, Debug)]
pub struct Announced {
    directories: BTreeSet<Vec<u8>>,
    count: usize,
}

/// Names in one transfer.
const NAMES_MAX: usize = 500_000;

impl Announced {
    /// True when nothing but announced directories is above a name.
    #[must_use]
    pub fn has_parent(&self, path: &[u8]) -> bool {
        match path.iter().rposition(|byte| *byte == b'/') {
            Some(cut) => self.directories.contains(&path[..cut]),
            None => true,
        }
    }

    /// Takes the next name; its position is its number in the transfer.
    pub fn add(&mut self, path: &[u8], is_dir: bool) -> Result<u32, Status> {
        let refuse = |why: &str| {
            let path = String::from_utf8_lossy(path);
            Err(Status::unknown(format!("{why} path {path:?}")))
        };
        if !is_clean(path) {
            return refuse("invalid");
        }
        if !self.has_parent(path) {
            return refuse("changes out of order: no parent directory of");
        }
        if self.count >= NAMES_MAX {
            return Err(Status::unknown("too many files"));
        }
        if is_dir {
            self.directories.insert(path.to_vec());
        } else if self.directories.contains(path) {
            return refuse("changes out of order: duplicate");
        }
        self.count += 1;
        Ok(self.count as u32 - 1)
    }
}

/// True for relative names without odd parts.
#[must_use]
pub fn is_clean(path: &[u8]) -> bool {
    let is_clean =
        |part: &[u8]| !part.is_empty() && part != b"." && part != b".." && !part.contains(&0);
    path.split(|byte| *byte == b'/').all(is_clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        let mut announced = Announced::default();
        assert_eq!(announced.add(b"a", true), Ok(0));
        assert_eq!(announced.add(b"a/b", false), Ok(1));
        assert_eq!(announced.add(b"a/..b", false), Ok(2));
        for path in [
            "", "/etc", "..", "../x", "a/../b", "a//b", "a/", ".", "b/c", "a/b/c", "a\0",
        ] {
            assert!(announced.add(path.as_bytes(), false).is_err(), "{path:?}");
        }
        assert!(
            announced.add(b"a", false).is_err(),
            "a directory does not become a link"
        );
        assert_eq!(announced.add(b"last", false), Ok(3));
    }
}
