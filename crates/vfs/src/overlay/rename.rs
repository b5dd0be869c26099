//! `rename` in an overlay: both sides are copied up, a whiteout stays behind where a lower layer would
//! show, and a directory with a lower part remembers where that is.

use std::rc::Rc;

use abi::{Errno, Result};

use super::change::has_whiteout;
use super::node::Node;
use super::{OPAQUE, REDIRECT};
use crate::context::{RENAME_EXCHANGE, RENAME_NOREPLACE};
use crate::inode::InodeRef;
use crate::walk::PATH_MAX;

impl Node {
    pub(super) fn rename_entry(
        &self,
        old: &[u8],
        new_dir: &Node,
        new: &[u8],
        flags: u32,
    ) -> Result<()> {
        if flags & !(RENAME_NOREPLACE | RENAME_EXCHANGE) != 0 {
            return Err(Errno::EINVAL);
        }
        let exchange = flags & RENAME_EXCHANGE != 0;
        let source = self.find(old)?;
        let target = match new_dir.find(new) {
            Ok(target) => Some(target),
            Err(Errno::ENOENT) if !exchange => None,
            Err(errno) => return Err(errno),
        };
        if let Some(target) = &target {
            if flags & RENAME_NOREPLACE != 0 {
                return Err(Errno::EEXIST);
            }
            if Rc::ptr_eq(target, &source) {
                return Ok(());
            }
            if !exchange {
                check_replace(&source, target)?;
            }
        }
        let same_dir = std::ptr::eq(self, new_dir);
        source.check_redirect()?;
        source.copy_up(true)?;
        self.copy_up(true)?;
        new_dir.copy_up(true)?;
        source.settle(new_dir, new, same_dir)?;
        match target {
            Some(target) if exchange => {
                target.check_redirect()?;
                target.copy_up(true)?;
                target.settle(self, old, same_dir)?;
                self.upper()?
                    .rename(old, &new_dir.upper()?, new, RENAME_EXCHANGE)?;
                self.swap_names(&source, old, new_dir, &target, new);
            }
            target => {
                if let Some(target) = &target {
                    target.clear_whiteouts()?;
                }
                self.move_upper(&source, old, &new_dir.upper()?, new)?;
                if let Some(target) = &target {
                    new_dir.forget(new, target);
                }
                self.move_name(&source, old, new_dir, new);
            }
        }
        Ok(())
    }

    /// With `redirect_dir=off`, a directory with a lower part cannot be renamed.
    fn check_redirect(&self) -> Result<()> {
        let needs = self.is_dir() && !self.lower.is_empty();
        if needs && !self.core.redirect {
            Err(Errno::EXDEV)
        } else {
            Ok(())
        }
    }

    /// Before a directory moves: writes down where its lower part is, or that it has none although the
    /// new place would show one.
    fn settle(&self, new_dir: &Node, new: &[u8], same_dir: bool) -> Result<()> {
        if !self.is_dir() {
            return Ok(());
        }
        let upper = self.upper()?;
        if self.lower.is_empty() {
            if new_dir.lower_shows(new)? {
                upper.set_xattr(OPAQUE, b"y", 0)?;
            }
            return Ok(());
        }
        let known = self.redirect.borrow().clone();
        let keeps = |redirect: &Rc<[u8]>| same_dir || redirect.first() == Some(&b'/');
        if known.as_ref().is_some_and(keeps) {
            return Ok(());
        }
        let redirect = if same_dir {
            Rc::clone(&self.name.borrow())
        } else {
            self.lower_path()?
        };
        upper.set_xattr(REDIRECT, &redirect, 0)?;
        *self.redirect.borrow_mut() = Some(redirect);
        Ok(())
    }

    /// The path of the lower part from the root of the layers.
    fn lower_path(&self) -> Result<Rc<[u8]>> {
        let mut parts: Vec<Rc<[u8]>> = Vec::new();
        let mut here = Some(self.rc()?);
        while let Some(node) = here {
            let Some(parent) = node.parent.borrow().clone() else {
                break;
            };
            let redirect = node.redirect.borrow().clone();
            let part = redirect.unwrap_or_else(|| Rc::clone(&node.name.borrow()));
            let absolute = part.first() == Some(&b'/');
            parts.push(part);
            if absolute {
                break;
            }
            here = Some(parent);
        }
        let mut path = Vec::new();
        for part in parts.iter().rev() {
            if part.first() != Some(&b'/') {
                path.push(b'/');
            }
            path.extend_from_slice(part);
        }
        // Linux has the same limit on redirects.
        if path.len() >= PATH_MAX {
            Err(Errno::EXDEV)
        } else {
            Ok(path.into())
        }
    }

    /// Moves the entry of the upper layer and leaves a whiteout where one is needed.
    fn move_upper(&self, source: &Node, old: &[u8], to: &InodeRef, new: &[u8]) -> Result<()> {
        let from = self.upper()?;
        let hides = self.lower_shows(old)?;
        if source.is_dir() && has_whiteout(to, new)? {
            // A directory cannot replace the whiteout: the two change places.
            from.rename(old, to, new, RENAME_EXCHANGE)?;
            return if hides { Ok(()) } else { from.unlink(old) };
        }
        if !hides {
            return from.rename(old, to, new, 0);
        }
        let work = self.core.work()?;
        let whiteout = self.core.temp_whiteout()?;
        if let Err(errno) = from.rename(old, to, new, 0) {
            work.unlink(&whiteout)?;
            return Err(errno);
        }
        work.rename(&whiteout, &from, old, 0)
    }

    fn move_name(&self, source: &Rc<Node>, old: &[u8], new_dir: &Node, new: &[u8]) {
        self.children.borrow_mut().remove(old);
        source.place(new_dir, new);
    }

    fn swap_names(
        &self,
        source: &Rc<Node>,
        old: &[u8],
        new_dir: &Node,
        target: &Rc<Node>,
        new: &[u8],
    ) {
        source.place(new_dir, new);
        target.place(self, old);
    }

    fn place(self: &Rc<Self>, dir: &Node, name: &[u8]) {
        let before = self.parent.replace(dir.me.upgrade());
        *self.name.borrow_mut() = Rc::from(name);
        dir.remember(name, self);
        drop(before);
    }
}

/// Types must fit, and a directory must be empty.
fn check_replace(source: &Node, target: &Node) -> Result<()> {
    match (source.is_dir(), target.is_dir()) {
        (true, false) => Err(Errno::ENOTDIR),
        (false, true) => Err(Errno::EISDIR),
        (true, true) if !target.list()?.is_empty() => Err(Errno::ENOTEMPTY),
        _ => Ok(()),
    }
}
