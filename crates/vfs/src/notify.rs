//! Telling watchers what happens to files (`inotify(7)`). Watches hang on inodes; an operation that
//! changes a file or a directory says so here, and where nobody watches that is two look-ups.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use crate::inode::InodeRef;
use crate::path::Dentry;

#[allow(missing_docs, reason = "named as in inotify(7)")]
pub mod event {
    pub const ACCESS: u32 = 0x1;
    pub const MODIFY: u32 = 0x2;
    pub const ATTRIB: u32 = 0x4;
    pub const CLOSE_WRITE: u32 = 0x8;
    pub const CLOSE_NOWRITE: u32 = 0x10;
    pub const OPEN: u32 = 0x20;
    pub const MOVED_FROM: u32 = 0x40;
    pub const MOVED_TO: u32 = 0x80;
    pub const CREATE: u32 = 0x100;
    pub const DELETE: u32 = 0x200;
    pub const DELETE_SELF: u32 = 0x400;
    pub const MOVE_SELF: u32 = 0x800;
    pub const ALL: u32 = 0xfff;
    pub const ISDIR: u32 = 0x4000_0000;
}

/// Somebody who wants to know.
pub trait Watcher {
    /// Something happened to the watched file or, with a name, to an entry of the watched directory.
    fn notify(&self, mask: u32, cookie: u32, name: &[u8]);
}

/// What hangs on the inode.
#[derive(Default)]
struct Watches(RefCell<Vec<Weak<dyn Watcher>>>);

/// Lets `watcher` know of what happens to an inode, as long as it lives. False where that cannot be.
pub fn watch(inode: &InodeRef, watcher: Weak<dyn Watcher>) -> bool {
    let Some(attachments) = inode.attachments() else {
        return false;
    };
    let watches = attachments.get_or_insert_with(Watches::default);
    let mut list = watches.0.borrow_mut();
    list.retain(|known| known.strong_count() > 0);
    list.push(watcher);
    true
}

fn watchers(inode: &InodeRef) -> Option<Vec<Rc<dyn Watcher>>> {
    let watches = inode.attachments()?.get::<Watches>()?;
    let list: Vec<_> = watches
        .0
        .borrow()
        .iter()
        .filter_map(Weak::upgrade)
        .collect();
    Some(list).filter(|list| !list.is_empty())
}

/// Tells those who watch `inode` itself.
pub fn tell(inode: &InodeRef, mask: u32, cookie: u32, name: &[u8]) {
    for watcher in watchers(inode).iter().flatten() {
        watcher.notify(mask, cookie, name);
    }
}

/// Tells those who watch the directory the file is in and those who watch the file.
pub fn tell_both(dentry: &Rc<Dentry>, mask: u32) {
    let parent = dentry.parent();
    let above = parent.as_ref().and_then(|parent| watchers(parent.inode()));
    let own = watchers(dentry.inode());
    if above.is_none() && own.is_none() {
        return;
    }
    let mask = mask | directory_bit(dentry.inode());
    let name = dentry.name();
    for watcher in above.iter().flatten() {
        watcher.notify(mask, 0, &name);
    }
    for watcher in own.iter().flatten() {
        watcher.notify(mask, 0, b"");
    }
}

/// `IN_ISDIR` for directories.
#[must_use]
pub fn directory_bit(inode: &InodeRef) -> u32 {
    match inode.attr() {
        Ok(attr) if attr.is_dir() => event::ISDIR,
        _ => 0,
    }
}

/// The last name or the last user of a file went, of which the caller holds `held` references: when
/// nobody but watchers is left, they are told that the file is no more.
pub fn tell_if_gone(dentry: &Rc<Dentry>, held: usize) {
    let Some(watchers) = watchers(dentry.inode()) else {
        return;
    };
    let nameless = dentry.is_deleted()
        && dentry
            .inode()
            .attr()
            .is_ok_and(|attr| attr.is_dir() || attr.nlink == 0);
    if nameless && Rc::strong_count(dentry) <= watchers.len() + held {
        for watcher in watchers {
            watcher.notify(event::DELETE_SELF, 0, b"");
        }
    }
}
