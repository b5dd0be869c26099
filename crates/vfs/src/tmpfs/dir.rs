//! The entries of a directory in memory: by name, and in order of creation for reading.
//!
//! The cursor of an entry never changes, so a directory can be read while entries come and go:
//! each entry that stays is given once.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// Entries that lead to a `T`.
pub struct Entries<T> {
    by_name: HashMap<Rc<[u8]>, u64>,
    by_cursor: BTreeMap<u64, (Rc<[u8]>, T)>,
    next: u64,
}

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Entries {
            by_name: HashMap::new(),
            by_cursor: BTreeMap::new(),
            next: 1,
        }
    }
}

impl<T> Entries<T> {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// What `name` leads to.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&T> {
        let cursor = self.by_name.get(name)?;
        self.by_cursor.get(cursor).map(|(_, value)| value)
    }

    /// Adds an entry, or gives one a new value (in its old place). The old value comes back.
    pub fn insert(&mut self, name: &[u8], value: T) -> Option<T> {
        if let Some(cursor) = self.by_name.get(name)
            && let Some((_, old)) = self.by_cursor.get_mut(cursor)
        {
            return Some(std::mem::replace(old, value));
        }
        let name: Rc<[u8]> = Rc::from(name);
        self.by_name.insert(Rc::clone(&name), self.next);
        self.by_cursor.insert(self.next, (name, value));
        self.next += 1;
        None
    }

    /// Removes an entry.
    pub fn remove(&mut self, name: &[u8]) -> Option<T> {
        let cursor = self.by_name.remove(name)?;
        self.by_cursor.remove(&cursor).map(|(_, value)| value)
    }

    /// The entries behind `cursor`, with their cursors.
    pub fn after(&self, cursor: u64) -> impl Iterator<Item = (u64, &[u8], &T)> {
        let range = (
            std::ops::Bound::Excluded(cursor),
            std::ops::Bound::Unbounded,
        );
        self.by_cursor
            .range(range)
            .map(|(&cursor, (name, value))| (cursor, &name[..], value))
    }

    /// Takes all entries out.
    pub fn take(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.by_name.clear();
        std::mem::take(&mut self.by_cursor)
            .into_values()
            .map(|(_, value)| value)
    }
}
