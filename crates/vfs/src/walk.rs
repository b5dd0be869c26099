//! Path resolution (`path_resolution(7)`, the `RESOLVE_…` flags of `openat2(2)`).
//!
//! One loop over the components. Following a symbolic link puts its target in front of what is left;
//! nothing recurses and, without links, nothing allocates.

use std::borrow::Cow;

use abi::{Errno, Result};
use bitflags::bitflags;

use crate::context::FsContext;
use crate::credentials::MAY_EXEC;
use crate::inode::{Attr, S_IFLNK};
use crate::mount::MountFlags;
use crate::path::Path;

/// Most symbolic links in one resolution.
pub const LINKS_MAX: u32 = 40;
/// Longest path, with the zero byte that ends it in C.
pub const PATH_MAX: usize = 4096;
/// Longest name of an entry.
pub const NAME_MAX: usize = 255;

bitflags! {
    /// How to resolve.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct LookupFlags: u32 {
        /// Follow a link at the end.
        const FOLLOW = 1;
        /// The result must be a directory.
        const DIRECTORY = 2;
        /// An empty path is the base itself (`AT_EMPTY_PATH`).
        const EMPTY_PATH = 4;
        /// `RESOLVE_NO_SYMLINKS`: no link anywhere.
        const NO_SYMLINKS = 8;
        /// `RESOLVE_NO_MAGICLINKS`: no link of /proc that leads to an object.
        const NO_MAGICLINKS = 16;
        /// `RESOLVE_NO_XDEV`: stay on the mount.
        const NO_XDEV = 32;
        /// `RESOLVE_BENEATH`: never leave the base.
        const BENEATH = 64;
        /// `RESOLVE_IN_ROOT`: the base is the root.
        const IN_ROOT = 128;
        /// The entry itself is meant, not what it leads to: a link at the end is not followed even
        /// with a slash behind it (`mkdir`, `unlink`, `rename`).
        const ENTRY = 256;
    }
}

/// What the last component is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Last<'p> {
    /// A name.
    Name(Cow<'p, [u8]>),
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// There is none: the path was `/`, empty, or a link of /proc.
    Root,
}

/// Where a path leads: its directory, the last component, and what is there.
#[derive(Clone, Debug)]
pub struct Located<'p> {
    /// The directory of the last component.
    pub parent: Path,
    /// The last component.
    pub last: Last<'p>,
    /// A slash follows the last component.
    pub trailing_slash: bool,
    /// What is there; `None` when the directory has no such entry.
    pub child: Option<Path>,
}

impl<'a> FsContext<'a> {
    /// Resolves to an existing file. `base` is where relative paths start (`None`: the working
    /// directory).
    pub fn resolve(&self, base: Option<&Path>, path: &[u8], follow_last: bool) -> Result<Path> {
        let flags = if follow_last {
            LookupFlags::FOLLOW
        } else {
            LookupFlags::empty()
        };
        self.resolve_with(base, path, flags)
    }

    /// As [`FsContext::resolve`], with all the ways to resolve.
    pub fn resolve_with(
        &self,
        base: Option<&Path>,
        path: &[u8],
        flags: LookupFlags,
    ) -> Result<Path> {
        let found = self.locate(base, path, flags)?.child.ok_or(Errno::ENOENT)?;
        if flags.contains(LookupFlags::DIRECTORY) && !found.inode().attr()?.is_dir() {
            return Err(Errno::ENOTDIR);
        }
        Ok(found)
    }

    /// Resolves the directory and looks for the last component, which need not exist.
    pub fn locate<'p>(
        &self,
        base: Option<&Path>,
        path: &'p [u8],
        flags: LookupFlags,
    ) -> Result<Located<'p>> {
        if path.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let base = base.unwrap_or(self.cwd);
        if path.is_empty() {
            if !flags.contains(LookupFlags::EMPTY_PATH) {
                return Err(Errno::ENOENT);
            }
            return Ok(at(base.clone(), Last::Root));
        }
        let scoped = flags.intersects(LookupFlags::BENEATH | LookupFlags::IN_ROOT);
        let root = if scoped { base } else { self.root };
        Walk {
            ctx: self,
            flags,
            root,
            links: 0,
        }
        .run(base.clone(), path)
    }

    /// `EACCES` unless the directory may be searched.
    pub(crate) fn may_search(&self, attr: &Attr) -> Result<()> {
        if self.creds.may(attr, MAY_EXEC) {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }
}

fn at(path: Path, last: Last<'_>) -> Located<'_> {
    Located {
        parent: path.clone(),
        last,
        trailing_slash: false,
        child: Some(path),
    }
}

struct Walk<'w, 'a> {
    ctx: &'w FsContext<'a>,
    flags: LookupFlags,
    root: &'w Path,
    links: u32,
}

impl Walk<'_, '_> {
    fn run<'p>(mut self, start: Path, path: &'p [u8]) -> Result<Located<'p>> {
        let mut here = start;
        let mut text = Cow::Borrowed(path);
        let mut position = 0;
        if text[0] == b'/' {
            here = self.to_root(here)?;
        }
        let mut last = Last::Root;
        loop {
            let (begin, end, is_last, trailing_slash) = component(&text, position);
            if begin == end {
                return Ok(at(here, last));
            }
            let attr = here.inode().attr()?;
            if !attr.is_dir() {
                return Err(Errno::ENOTDIR);
            }
            self.ctx.may_search(&attr)?;
            position = end;
            match &text[begin..end] {
                b"." => last = Last::Dot,
                b".." => {
                    here = self.dot_dot(here)?;
                    last = Last::DotDot;
                }
                name if name.len() > NAME_MAX => return Err(Errno::ENAMETOOLONG),
                name => {
                    let child = match here.child(name) {
                        Ok(child) => child,
                        Err(Errno::ENOENT) if is_last => {
                            let last = Last::Name(slice(&text, begin, end));
                            return Ok(Located {
                                parent: here,
                                last,
                                trailing_slash,
                                child: None,
                            });
                        }
                        Err(errno) => return Err(errno),
                    };
                    self.crossed(&here, &child)?;
                    let child_attr = child.inode().attr()?;
                    let entry = self.flags.contains(LookupFlags::ENTRY);
                    let follow = self.flags.contains(LookupFlags::FOLLOW);
                    let wanted = !is_last || (trailing_slash && !entry) || follow;
                    if child_attr.file_type() == S_IFLNK && wanted {
                        let rest = &text[end..];
                        if let Some(object) = self.follow(&child, rest, &mut here)? {
                            match object {
                                Target::Text(target) => {
                                    if target[0] == b'/' {
                                        here = self.to_root(here)?;
                                    }
                                    text = Cow::Owned(target);
                                    position = 0;
                                }
                                Target::Object(path) => {
                                    here = path;
                                    last = Last::Root;
                                }
                            }
                        }
                        continue;
                    }
                    if is_last {
                        if trailing_slash && !entry && !child_attr.is_dir() {
                            return Err(Errno::ENOTDIR);
                        }
                        let last = Last::Name(slice(&text, begin, end));
                        return Ok(Located {
                            parent: here,
                            last,
                            trailing_slash,
                            child: Some(child),
                        });
                    }
                    here = child;
                }
            }
        }
    }

    fn to_root(&self, here: Path) -> Result<Path> {
        if self.flags.contains(LookupFlags::BENEATH) {
            return Err(Errno::EXDEV);
        }
        self.crossed(&here, self.root)?;
        Ok(self.root.clone())
    }

    fn dot_dot(&self, here: Path) -> Result<Path> {
        if here == *self.root {
            if self.flags.contains(LookupFlags::BENEATH) {
                return Err(Errno::EXDEV);
            }
            return Ok(here);
        }
        match here.up() {
            Some(above) => {
                self.crossed(&here, &above)?;
                Ok(above)
            }
            None => Ok(here),
        }
    }

    fn crossed(&self, from: &Path, to: &Path) -> Result<()> {
        let stay = self.flags.contains(LookupFlags::NO_XDEV);
        if stay && !std::rc::Rc::ptr_eq(&from.mount, &to.mount) {
            return Err(Errno::EXDEV);
        }
        Ok(())
    }

    fn follow(&mut self, link: &Path, rest: &[u8], here: &mut Path) -> Result<Option<Target>> {
        self.links += 1;
        let refused = self.flags.contains(LookupFlags::NO_SYMLINKS)
            || link.mount.flags.get().contains(MountFlags::NOSYMFOLLOW);
        if self.links > LINKS_MAX || refused {
            return Err(Errno::ELOOP);
        }
        let inode = link.inode();
        if let Some(object) = inode.magic_link() {
            if self.flags.contains(LookupFlags::NO_MAGICLINKS) {
                return Err(Errno::ELOOP);
            }
            if self
                .flags
                .intersects(LookupFlags::BENEATH | LookupFlags::IN_ROOT)
            {
                return Err(Errno::EXDEV);
            }
            let object = object?;
            self.crossed(here, &object)?;
            // Only slashes behind it: what is left demands a directory, like any trailing slash.
            if !rest.is_empty() && !object.inode().attr()?.is_dir() {
                return Err(Errno::ENOTDIR);
            }
            return Ok(Some(Target::Object(object)));
        }
        let mut target = inode.read_link()?;
        if target.is_empty() {
            return Err(Errno::ENOENT);
        }
        target.extend_from_slice(rest);
        Ok(Some(Target::Text(target)))
    }
}

enum Target {
    Text(Vec<u8>),
    Object(Path),
}

fn slice<'p>(text: &Cow<'p, [u8]>, begin: usize, end: usize) -> Cow<'p, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[begin..end]),
        Cow::Owned(text) => Cow::Owned(text[begin..end].to_vec()),
    }
}

/// The next component behind `position`: begin, end, whether it is the last one, and whether a slash
/// follows it.
fn component(text: &[u8], position: usize) -> (usize, usize, bool, bool) {
    let skip = |from: usize, slash: bool| {
        text[from..]
            .iter()
            .position(|&byte| (byte == b'/') != slash)
            .map_or(text.len(), |n| from + n)
    };
    let begin = skip(position, true);
    let end = skip(begin, false);
    let next = skip(end, true);
    (
        begin,
        end,
        next == text.len(),
        next == text.len() && end < text.len(),
    )
}
