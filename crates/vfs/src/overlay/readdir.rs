//! Merged directories: each name once, whiteouts and what they hide left out.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::{Rc, Weak};

use abi::{Errno, Result};

use super::is_whiteout;
use super::lookup::origin_ino;
use super::node::{Node, is_stored_whiteout};
use crate::file::File;
use crate::inode::{DirEntry, InodeRef, S_IFCHR, S_IFDIR, S_IFREG};

/// The entries of a directory at one moment. Cursor n is behind entry n.
#[derive(Default)]
pub(super) struct Listing {
    names: Vec<u8>,
    entries: Vec<Entry>,
}

struct Entry {
    end: usize,
    ino: u64,
    file_type: u32,
}

impl Listing {
    fn push(&mut self, name: &[u8], ino: u64, file_type: u32) {
        self.names.extend_from_slice(name);
        self.entries.push(Entry {
            end: self.names.len(),
            ino,
            file_type,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Gives the entries behind `cursor`.
    pub(super) fn give(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) {
        let first = usize::try_from(cursor)
            .unwrap_or(usize::MAX)
            .min(self.entries.len());
        let mut start = if first == 0 {
            0
        } else {
            self.entries[first - 1].end
        };
        for (index, entry) in self.entries.iter().enumerate().skip(first) {
            let name = &self.names[start..entry.end];
            start = entry.end;
            let (ino, file_type) = (entry.ino, entry.file_type);
            if !emit(DirEntry {
                name,
                ino,
                file_type,
                next: index as u64 + 1,
            }) {
                return;
            }
        }
    }
}

/// Entries of one layer, taken out so that the layer is not in use while we look at them.
fn read_all(dir: &InodeRef) -> Result<Vec<(Vec<u8>, u64, u32)>> {
    let mut all = Vec::new();
    dir.read_dir(0, &mut |entry| {
        all.push((entry.name.to_vec(), entry.ino, entry.file_type));
        true
    })?;
    Ok(all)
}

impl Node {
    /// The merged directory.
    pub(super) fn list(&self) -> Result<Listing> {
        if !self.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        let mut listing = Listing::default();
        let mut seen = HashSet::new();
        let upper = self.upper.borrow().clone();
        if let Some(upper) = &upper {
            for (name, _, file_type) in read_all(upper)? {
                if let Some((ino, file_type)) = self.upper_entry(upper, &name, file_type)? {
                    listing.push(&name, ino, file_type);
                }
                if !self.lower.is_empty() {
                    seen.insert(name);
                }
            }
        }
        for (index, lower) in self.lower.iter().enumerate() {
            let is_last = index + 1 == self.lower.len();
            for (name, ino, file_type) in read_all(&lower.inode)? {
                if seen.contains(&name) {
                    continue;
                }
                let maybe_whiteout = file_type == S_IFCHR || file_type == 0;
                let hidden = maybe_whiteout && is_whiteout(&lower.inode.lookup(&name)?.attr()?);
                if !hidden {
                    listing.push(&name, self.core.shown_ino(lower.layer, ino), file_type);
                }
                if !is_last {
                    seen.insert(name);
                }
            }
        }
        Ok(listing)
    }

    /// Inode number and type that show for an entry of the upper layer; `None` for a whiteout.
    fn upper_entry(
        &self,
        upper: &InodeRef,
        name: &[u8],
        file_type: u32,
    ) -> Result<Option<(u64, u32)>> {
        if let Some(node) = self.children.borrow().get(name).and_then(Weak::upgrade) {
            return Ok(Some((node.ino, node.file_type)));
        }
        let inode = upper.lookup(name)?;
        let attr = inode.attr()?;
        if is_whiteout(&attr) {
            return Ok(None);
        }
        if attr.is_dir() && !self.lower.is_empty() {
            // It may be merged with a lower one, whose number it then has.
            return Ok(Some((self.find(name)?.ino, S_IFDIR)));
        }
        let ino = origin_ino(&inode).unwrap_or(attr.ino);
        let stored = file_type == S_IFREG && is_stored_whiteout(&inode, &attr);
        Ok(Some((ino, if stored { S_IFCHR } else { attr.file_type() })))
    }
}

/// An open directory. It keeps the list it made when it was read from the beginning, so that removing
/// entries while reading (`rm -r`) neither skips nor repeats any.
pub(super) struct DirectoryFile {
    node: Rc<Node>,
    listing: RefCell<Option<Rc<Listing>>>,
}

impl DirectoryFile {
    pub(super) fn new(node: Rc<Node>) -> DirectoryFile {
        DirectoryFile {
            node,
            listing: RefCell::new(None),
        }
    }
}

impl File for DirectoryFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> Result<usize> {
        Err(Errno::EISDIR)
    }

    fn always_ready(&self) -> bool {
        true
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn read_dir(&self, cursor: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let known = self.listing.borrow().clone().filter(|_| cursor > 0);
        let listing = match known {
            Some(listing) => listing,
            None => {
                let listing = Rc::new(self.node.list()?);
                *self.listing.borrow_mut() = Some(Rc::clone(&listing));
                listing
            }
        };
        listing.give(cursor, emit);
        Ok(())
    }
}
