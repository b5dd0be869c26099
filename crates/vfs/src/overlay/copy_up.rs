//! Copy-up: a file of a lower layer gets its own copy in the upper one, when it is to change.
//!
//! Parents first. A copy is made in the work directory and renamed to its place when it is complete,
//! so a full disk or content that has not arrived yet leaves nothing behind.

use std::rc::Rc;

use abi::{Errno, Result};
use mem::PAGE_SIZE;

use super::node::Node;
use super::xattr::is_private;
use super::{ORIGIN, REDIRECT};
use crate::inode::{Attr, InodeRef, NewNode, S_IFLNK, S_IFREG, SetAttr};

impl Node {
    /// Makes sure that the file is in the upper layer. `with_data` false: it is about to be truncated.
    pub(super) fn copy_up(&self, with_data: bool) -> Result<()> {
        if self.has_upper() {
            return Ok(());
        }
        self.core.work()?;
        let mut chain = vec![self.rc()?];
        if !self.gone.get() {
            while let Some(parent) = chain.last().and_then(|node| node.parent.borrow().clone()) {
                if parent.has_upper() {
                    break;
                }
                chain.push(parent);
            }
        }
        for node in chain.iter().rev() {
            node.copy_up_one(with_data)?;
        }
        Ok(())
    }

    fn copy_up_one(&self, with_data: bool) -> Result<()> {
        let lower = Rc::clone(&self.lower.first().ok_or(Errno::EIO)?.inode);
        let attr = lower.attr()?;
        let with_data = with_data && attr.file_type() == S_IFREG;
        if with_data {
            // All that is missing is asked for at once, before anything is made.
            lower.ensure_content(0, attr.size)?;
        }
        let work = self.core.work()?;
        let temp = self.core.temp_name()?;
        let target = if attr.file_type() == S_IFLNK {
            lower.read_link()?
        } else {
            Vec::new()
        };
        let node = NewNode {
            mode: attr.mode,
            uid: attr.uid,
            gid: attr.gid,
            rdev: attr.rdev,
            target: &target,
        };
        let copy = work.create(&temp, &node)?;
        let done = self
            .fill(&lower, &copy, &attr, with_data)
            .and_then(|()| self.put(&temp));
        if let Err(errno) = done {
            self.discard(&temp);
            return Err(errno);
        }
        *self.upper.borrow_mut() = Some(copy);
        Ok(())
    }

    fn fill(&self, lower: &InodeRef, copy: &InodeRef, attr: &Attr, with_data: bool) -> Result<()> {
        if with_data {
            copy_data(lower, copy, attr.size)?;
        }
        for name in lower.list_xattr()? {
            if !is_private(&name) {
                copy.set_xattr(&name, &lower.get_xattr(&name)?, 0)?;
            }
        }
        copy.set_xattr(ORIGIN, &self.ino.to_le_bytes(), 0)?;
        if self.is_dir()
            && let Some(redirect) = &*self.redirect.borrow()
        {
            copy.set_xattr(REDIRECT, redirect, 0)?;
        }
        let times = SetAttr {
            atime: Some(attr.atime),
            mtime: Some(attr.mtime),
            ..SetAttr::default()
        };
        copy.set_attr(&times)
    }

    /// Renames the finished copy to its place. The parent's times stay: nothing in it changed for
    /// those who look at the overlay.
    fn put(&self, temp: &[u8]) -> Result<()> {
        if self.gone.get() {
            self.discard(temp);
            return Ok(());
        }
        let parent = self.parent.borrow().clone().ok_or(Errno::EIO)?;
        let dir = parent.upper()?;
        let before = dir.attr()?;
        let name = Rc::clone(&self.name.borrow());
        self.core.work()?.rename(temp, &dir, &name, 0)?;
        let times = SetAttr {
            atime: Some(before.atime),
            mtime: Some(before.mtime),
            ..SetAttr::default()
        };
        dir.set_attr(&times)
    }

    /// Removes a temporary file; that it fails changes nothing for the caller.
    fn discard(&self, temp: &[u8]) {
        if let Ok(work) = self.core.work() {
            let _ = if self.is_dir() {
                work.rmdir(temp)
            } else {
                work.unlink(temp)
            };
        }
    }
}

/// Copies content, leaving out pages of zeros.
fn copy_data(lower: &InodeRef, copy: &InodeRef, size: u64) -> Result<()> {
    let mut buf = [0; PAGE_SIZE];
    let mut offset = 0;
    while offset < size {
        let len = lower.read_at(offset, &mut buf)?;
        if len == 0 {
            break;
        }
        if buf[..len].iter().any(|&byte| byte != 0) {
            let mut done = 0;
            while done < len {
                match copy.write_at(offset + done as u64, &buf[done..len])? {
                    0 => return Err(Errno::ENOSPC),
                    more => done += more,
                }
            }
        }
        offset += len as u64;
    }
    copy.set_attr(&SetAttr {
        size: Some(size),
        ..SetAttr::default()
    })
}
