//! Extended attributes in memory. Most inodes have none, and then this is one pointer.

use std::cell::RefCell;
use std::collections::BTreeMap;

use abi::{Errno, Result};

/// `XATTR_CREATE`: must not exist.
pub const XATTR_CREATE: u32 = 1;
/// `XATTR_REPLACE`: must exist.
pub const XATTR_REPLACE: u32 = 2;

/// All names and values of one inode may take this much, as on Linux's list limit.
const XATTRS_SIZE_MAX: usize = 256 * 1024;

/// What an attribute costs beside its name and value.
pub const XATTR_BYTES: usize = 64;

type Map = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// The attributes of one inode.
#[derive(Default)]
pub struct Xattrs(RefCell<Option<Box<Map>>>);

impl Xattrs {
    /// A value.
    pub fn get(&self, name: &[u8]) -> Result<Vec<u8>> {
        let map = self.0.borrow();
        let value = map
            .as_ref()
            .and_then(|map| map.get(name))
            .ok_or(Errno::ENODATA)?;
        Ok(value.to_vec())
    }

    /// True when there is one of this name.
    #[must_use]
    pub fn has(&self, name: &[u8]) -> bool {
        self.0
            .borrow()
            .as_ref()
            .is_some_and(|map| map.contains_key(name))
    }

    /// Sets a value, with `setxattr(2)` flags.
    pub fn set(&self, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        let known = self.has(name);
        if known && flags & XATTR_CREATE != 0 {
            return Err(Errno::EEXIST);
        }
        if !known && flags & XATTR_REPLACE != 0 {
            return Err(Errno::ENODATA);
        }
        let mut map = self.0.borrow_mut();
        let map = map.get_or_insert_default();
        let used: usize = map
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if used + name.len() + value.len() > XATTRS_SIZE_MAX {
            return Err(Errno::ENOSPC);
        }
        map.insert(name.into(), value.into());
        Ok(())
    }

    /// The names.
    #[must_use]
    pub fn list(&self) -> Vec<Vec<u8>> {
        let map = self.0.borrow();
        map.iter()
            .flat_map(|map| map.keys())
            .map(|name| name.to_vec())
            .collect()
    }

    /// What all of them cost.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let map = self.0.borrow();
        map.iter()
            .flat_map(|map| map.iter())
            .map(|(name, value)| name.len() + value.len() + XATTR_BYTES)
            .sum()
    }

    /// Removes one.
    pub fn remove(&self, name: &[u8]) -> Result<()> {
        let mut slot = self.0.borrow_mut();
        let map = slot.as_mut().ok_or(Errno::ENODATA)?;
        map.remove(name).ok_or(Errno::ENODATA)?;
        if map.is_empty() {
            *slot = None;
        }
        Ok(())
    }
}
