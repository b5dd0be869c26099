//! Searching the layers for a name (fs/overlayfs/namei.c does the same).
//!
//! From the top down: a whiteout ends the search, a file ends it, directories are merged until one is
//! opaque. A directory that was renamed says under which name its lower part is (redirect).

use std::rc::{Rc, Weak};

use abi::{Errno, Result};

use super::node::{Lower, Node};
use super::{Core, OPAQUE, ORIGIN, REDIRECT, is_whiteout};
use crate::inode::InodeRef;
use crate::walk::PATH_MAX;

/// What one layer has under a name.
enum Hit {
    /// Nothing: look further down.
    Nothing,
    /// A whiteout, or a file where a directory must be: the search ends.
    Hidden,
    /// A file or directory.
    File { inode: InodeRef, is_dir: bool },
}

fn look(dir: &InodeRef, name: &[u8]) -> Result<Hit> {
    let inode = match dir.lookup(name) {
        Ok(inode) => inode,
        Err(Errno::ENOENT | Errno::ENAMETOOLONG) => return Ok(Hit::Nothing),
        Err(errno) => return Err(errno),
    };
    let attr = inode.attr()?;
    if is_whiteout(&attr) {
        return Ok(Hit::Hidden);
    }
    Ok(Hit::File {
        inode,
        is_dir: attr.is_dir(),
    })
}

/// True when nothing below this directory shows through.
pub(super) fn is_opaque(dir: &InodeRef) -> bool {
    dir.get_xattr(OPAQUE).is_ok_and(|value| value == b"y")
}

/// Where the lower part of this directory is, if it was renamed.
fn redirect_of(dir: &InodeRef) -> Result<Option<Rc<[u8]>>> {
    let Ok(value) = dir.get_xattr(REDIRECT) else {
        return Ok(None);
    };
    let names = value.strip_prefix(b"/").unwrap_or(&value);
    // A path of plain names, or one name: a layer must not lead out of itself.
    let plain =
        |name: &[u8]| !name.is_empty() && name != b"." && name != b".." && !name.contains(&0);
    let relative_path = value.first() != Some(&b'/') && names.contains(&b'/');
    if relative_path || !names.split(|&byte| byte == b'/').all(plain) {
        return Err(Errno::EINVAL);
    }
    Ok(Some(value.into()))
}

impl Node {
    /// The child `name`, from the cache or from the layers.
    pub(super) fn find(&self, name: &[u8]) -> Result<Rc<Node>> {
        if let Some(node) = self.children.borrow().get(name).and_then(Weak::upgrade) {
            return Ok(node);
        }
        let node = self.search(name)?;
        self.remember(name, &node);
        Ok(node)
    }

    fn search(&self, name: &[u8]) -> Result<Rc<Node>> {
        let mut upper = None;
        let mut redirect = None;
        let mut go_on = true;
        if let Some(dir) = &*self.upper.borrow() {
            match look(dir, name)? {
                Hit::Nothing => {}
                Hit::Hidden => return Err(Errno::ENOENT),
                Hit::File { inode, is_dir } => {
                    go_on = is_dir && !is_opaque(&inode);
                    if go_on {
                        redirect = redirect_of(&inode)?;
                    }
                    upper = Some(inode);
                }
            }
        }
        let mut lower = Vec::new();
        if go_on {
            let wanted = redirect.as_deref().unwrap_or(name);
            lower = self.search_lower(wanted, upper.is_some())?;
        }
        self.node_for(name, upper, lower, redirect)
    }

    /// The lower parts of `wanted` (a name here, or an absolute path in the layers). With `only_dirs`,
    /// a file ends the search: something above is a directory.
    fn search_lower(&self, wanted: &[u8], mut only_dirs: bool) -> Result<Vec<Lower>> {
        let mut found: Vec<Lower> = Vec::new();
        let mut wanted: Rc<[u8]> = Rc::from(wanted);
        let mut stack = self.stack(&wanted);
        let mut next = 0;
        while next < stack.len() {
            let Lower { layer, inode: dir } = stack[next].clone();
            next += 1;
            let descent = descend(dir, &wanted)?;
            match descent.hit {
                Hit::Nothing => {}
                Hit::Hidden => break,
                Hit::File {
                    inode,
                    is_dir: true,
                } => {
                    only_dirs = true;
                    found.push(Lower { layer, inode });
                }
                Hit::File {
                    inode,
                    is_dir: false,
                } => {
                    if !only_dirs {
                        found.push(Lower { layer, inode });
                    }
                    break;
                }
            }
            if descent.ends {
                break;
            }
            if let Some(redirect) = descent.redirect {
                let was_absolute = wanted.first() == Some(&b'/');
                wanted = redirect;
                if wanted.first() == Some(&b'/') && !was_absolute {
                    // From here on the layers are searched from their roots.
                    stack = self.stack(&wanted);
                    next = stack
                        .iter()
                        .position(|part| part.layer > layer)
                        .unwrap_or(stack.len());
                }
            }
        }
        Ok(found)
    }

    /// The directories a search starts in.
    fn stack(&self, wanted: &[u8]) -> Vec<Lower> {
        if wanted.first() != Some(&b'/') {
            return self.lower.clone();
        }
        let roots = self.core.lower.iter().enumerate();
        roots
            .map(|(layer, path)| Lower {
                layer,
                inode: path.inode(),
            })
            .collect()
    }

    /// True when a lower layer shows an entry of this name here: removing the upper one needs a
    /// whiteout, a new directory must be opaque.
    pub(super) fn lower_shows(&self, name: &[u8]) -> Result<bool> {
        for lower in &self.lower {
            match look(&lower.inode, name)? {
                Hit::Nothing => {}
                Hit::Hidden => return Ok(false),
                Hit::File { .. } => return Ok(true),
            }
        }
        Ok(false)
    }

    /// The node of what was found.
    fn node_for(
        &self,
        name: &[u8],
        upper: Option<InodeRef>,
        lower: Vec<Lower>,
        redirect: Option<Rc<[u8]>>,
    ) -> Result<Rc<Node>> {
        let ino = match (&upper, lower.first()) {
            (None, None) => return Err(Errno::ENOENT),
            (None, Some(lower)) => self.core.lower_ino(lower)?,
            (Some(upper), lower) => match (origin_ino(upper), lower) {
                (Some(ino), _) => ino,
                (None, Some(lower)) => self.core.lower_ino(lower)?,
                (None, None) => upper.attr()?.ino,
            },
        };
        if let Some(upper) = &upper {
            let attr = upper.attr()?;
            // Also with one link left: a node may be alive from when there were more.
            if !attr.is_dir() && (attr.nlink > 1 || self.core.has_node(upper)) {
                return self.hard_linked(name, upper, ino);
            }
        }
        let node = Node::new(&self.core, Some(self.rc()?), name, upper, lower, ino)?;
        *node.redirect.borrow_mut() = redirect;
        Ok(node)
    }

    /// One node for all names of a file in the upper layer.
    fn hard_linked(&self, name: &[u8], upper: &InodeRef, ino: u64) -> Result<Rc<Node>> {
        let key = Rc::as_ptr(upper).cast::<()>();
        if let Some(node) = self
            .core
            .hard_links
            .borrow()
            .get(&key)
            .and_then(Weak::upgrade)
        {
            return Ok(node);
        }
        let upper = Some(Rc::clone(upper));
        let node = Node::new(&self.core, Some(self.rc()?), name, upper, Vec::new(), ino)?;
        self.core
            .hard_links
            .borrow_mut()
            .insert(key, Rc::downgrade(&node));
        Ok(node)
    }
}

impl Core {
    fn has_node(&self, upper: &InodeRef) -> bool {
        self.hard_links
            .borrow()
            .contains_key(&Rc::as_ptr(upper).cast::<()>())
    }
}

/// The inode number a copied-up file had before.
pub(super) fn origin_ino(upper: &InodeRef) -> Option<u64> {
    let value = upper.get_xattr(ORIGIN).ok()?;
    value.try_into().ok().map(u64::from_le_bytes)
}

/// What one layer says about a name or path.
struct Descent {
    hit: Hit,
    /// A directory on the way was opaque: layers further down do not count.
    ends: bool,
    /// A directory on the way was renamed: layers further down have the file here.
    redirect: Option<Rc<[u8]>>,
}

/// Goes down `wanted` in one layer.
fn descend(dir: InodeRef, wanted: &[u8]) -> Result<Descent> {
    let mut here = dir;
    let mut descent = Descent {
        hit: Hit::Nothing,
        ends: false,
        redirect: None,
    };
    // The path in the layers further down; what is left of it is the same at every step.
    let mut below: Vec<u8> = wanted.to_vec();
    let mut start = usize::from(wanted.first() == Some(&b'/'));
    while start < wanted.len() {
        let end = wanted[start..]
            .iter()
            .position(|&b| b == b'/')
            .map_or(wanted.len(), |n| start + n);
        let rest = &wanted[end..];
        match look(&here, &wanted[start..end])? {
            Hit::File {
                inode,
                is_dir: true,
            } => {
                let opaque = is_opaque(&inode);
                let redirect = if opaque { None } else { redirect_of(&inode)? };
                // A redirect from the root leads out of an opaque directory above.
                let absolute = redirect
                    .as_ref()
                    .is_some_and(|path| path.first() == Some(&b'/'));
                descent.ends = opaque || (descent.ends && !absolute);
                if let Some(redirect) = redirect {
                    let before = below.len() - rest.len() - (end - start);
                    let kept = if absolute { 0 } else { before };
                    below.truncate(kept);
                    below.extend_from_slice(&redirect);
                    below.extend_from_slice(rest);
                    if below.len() >= PATH_MAX {
                        return Err(Errno::ENAMETOOLONG);
                    }
                    descent.redirect = Some(Rc::from(&below[..]));
                }
                here = Rc::clone(&inode);
                if rest.is_empty() {
                    descent.hit = Hit::File {
                        inode,
                        is_dir: true,
                    };
                }
            }
            Hit::Nothing => break,
            Hit::File {
                inode,
                is_dir: false,
            } if rest.is_empty() => {
                descent.hit = Hit::File {
                    inode,
                    is_dir: false,
                };
                break;
            }
            _ => {
                descent.hit = Hit::Hidden;
                break;
            }
        }
        start = end + 1;
    }
    Ok(descent)
}
