//! Making and removing entries: whiteouts for what lower layers show, opaque directories over them.

use std::rc::Rc;

use abi::{Errno, Result};

use super::node::Node;
use super::{OPAQUE, STORED_WHITEOUT, WHITEOUT, is_whiteout};
use crate::context::RENAME_EXCHANGE;
use crate::inode::{Inode, InodeRef, NewNode, S_IFCHR, S_IFDIR, S_IFMT, S_IFREG};

impl Node {
    /// Makes an entry in the upper layer.
    pub(super) fn make(&self, name: &[u8], node: &NewNode<'_>) -> Result<Rc<Node>> {
        self.check_free(name)?;
        self.copy_up(true)?;
        let dir = self.upper()?;
        let is_dir = node.mode & S_IFMT == S_IFDIR;
        let upper = if has_whiteout(&dir, name)? {
            self.make_over_whiteout(&dir, name, node, is_dir)?
        } else {
            create(&dir, name, node)?
        };
        let ino = upper.attr()?.ino;
        let child = Node::new(
            &self.core,
            Some(self.rc()?),
            name,
            Some(upper),
            Vec::new(),
            ino,
        )?;
        self.remember(name, &child);
        Ok(child)
    }

    fn check_free(&self, name: &[u8]) -> Result<()> {
        match self.lookup(name) {
            Err(Errno::ENOENT) if self.gone.get() => Err(Errno::ENOENT),
            Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(errno),
            Ok(_) => Err(Errno::EEXIST),
        }
    }

    /// The whiteout is replaced in one step: what it hides never shows in between.
    fn make_over_whiteout(
        &self,
        dir: &InodeRef,
        name: &[u8],
        node: &NewNode<'_>,
        is_dir: bool,
    ) -> Result<InodeRef> {
        let work = self.core.work()?;
        let temp = self.core.temp_name()?;
        let upper = create(work, &temp, node)?;
        if is_dir {
            upper.set_xattr(OPAQUE, b"y", 0)?;
            work.rename(&temp, dir, name, RENAME_EXCHANGE)?;
            work.unlink(&temp)?;
        } else {
            work.rename(&temp, dir, name, 0)?;
        }
        Ok(upper)
    }

    /// One more name for a file, which is copied up first: hard links of lower layers break there.
    pub(super) fn make_link(&self, name: &[u8], target: &Node) -> Result<()> {
        if target.is_dir() {
            return Err(Errno::EPERM);
        }
        self.check_free(name)?;
        target.copy_up(true)?;
        self.copy_up(true)?;
        let (dir, upper) = (self.upper()?, target.upper()?);
        if has_whiteout(&dir, name)? {
            let work = self.core.work()?;
            let temp = self.core.temp_name()?;
            work.link(&temp, &upper)?;
            work.rename(&temp, &dir, name, 0)?;
        } else {
            dir.link(name, &upper)?;
        }
        target.gone.set(false);
        let target = target.rc()?;
        let key = Rc::as_ptr(&upper).cast::<()>();
        self.core
            .hard_links
            .borrow_mut()
            .insert(key, Rc::downgrade(&target));
        self.remember(name, &target);
        Ok(())
    }

    /// `unlink` and `rmdir`.
    pub(super) fn remove(&self, name: &[u8], directory: bool) -> Result<()> {
        let child = self.find(name)?;
        match (directory, child.is_dir()) {
            (true, false) => return Err(Errno::ENOTDIR),
            (false, true) => return Err(Errno::EISDIR),
            _ => {}
        }
        if directory && !child.list()?.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        let hides = self.lower_shows(name)?;
        self.copy_up(true)?;
        let dir = self.upper()?;
        if child.has_upper() {
            child.clear_whiteouts()?;
            self.remove_upper(&dir, name, directory, hides)?;
        } else {
            create_whiteout(&dir, name)?;
        }
        self.forget(name, &child);
        Ok(())
    }

    fn remove_upper(
        &self,
        dir: &InodeRef,
        name: &[u8],
        directory: bool,
        hides: bool,
    ) -> Result<()> {
        if !hides {
            return if directory {
                dir.rmdir(name)
            } else {
                dir.unlink(name)
            };
        }
        let work = self.core.work()?;
        let temp = self.core.temp_whiteout()?;
        if directory {
            work.rename(&temp, dir, name, RENAME_EXCHANGE)?;
            work.rmdir(&temp)
        } else {
            work.rename(&temp, dir, name, 0)
        }
    }

    /// Takes the whiteouts out of the upper part of an (otherwise empty) directory that goes away.
    pub(super) fn clear_whiteouts(&self) -> Result<()> {
        if !self.is_dir() || !self.has_upper() {
            return Ok(());
        }
        let upper = self.upper()?;
        let mut names: Vec<Vec<u8>> = Vec::new();
        upper.read_dir(0, &mut |entry| {
            names.push(entry.name.to_vec());
            true
        })?;
        for name in names {
            if has_whiteout(&upper, &name)? {
                upper.unlink(&name)?;
            }
        }
        Ok(())
    }

    /// The entry is gone; the file with it when that was its last name.
    pub(super) fn forget(&self, name: &[u8], child: &Node) {
        self.children.borrow_mut().remove(name);
        let links = match &*child.upper.borrow() {
            Some(upper) if !child.is_dir() => upper.attr().map_or(0, |attr| attr.nlink),
            _ => 0,
        };
        if links == 0 {
            child.gone.set(true);
        }
    }
}

/// Makes a file in a directory of the upper layer.
fn create(dir: &InodeRef, name: &[u8], node: &NewNode<'_>) -> Result<InodeRef> {
    if node.mode & S_IFMT != S_IFCHR || node.rdev != 0 {
        return dir.create(name, node);
    }
    // A whiteout of an overlay above this one.
    let stored = NewNode {
        mode: S_IFREG | node.mode & !S_IFMT,
        ..node.clone()
    };
    let file = dir.create(name, &stored)?;
    file.set_xattr(STORED_WHITEOUT, b"y", 0)?;
    Ok(file)
}

/// Hides `name` of the layers below.
fn create_whiteout(dir: &InodeRef, name: &[u8]) -> Result<()> {
    dir.create(name, &WHITEOUT).map(|_| ())
}

/// True when the upper layer hides `name`.
pub(super) fn has_whiteout(dir: &InodeRef, name: &[u8]) -> Result<bool> {
    match dir.lookup(name) {
        Ok(inode) => Ok(is_whiteout(&inode.attr()?)),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}
