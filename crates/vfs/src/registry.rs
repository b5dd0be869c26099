//! Which file system types there are, and how `mount(2)` makes one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use abi::{Errno, Result};

use crate::context::FsContext;
use crate::inode::FileSystem;
use crate::mount::MountFlags;

/// What `mount(2)` was asked to mount.
pub struct MountRequest<'a> {
    /// The type, such as `tmpfs`.
    pub fstype: &'a [u8],
    /// The source, as given.
    pub source: &'a [u8],
    /// The options: the `data` argument.
    pub data: &'a [u8],
    /// Flags of the mount.
    pub flags: MountFlags,
    /// Who asks: names in options are resolved as that task sees them.
    pub context: &'a FsContext<'a>,
}

impl MountRequest<'_> {
    /// The options at the commas: name and value (empty when there is no `=`).
    pub fn options(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        split_options(self.data)
    }
}

/// Options at the commas: name and value (empty when there is no `=`). `\,` is a comma in a value.
pub fn split_options(data: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut escaped = false;
    data.split(move |&byte| {
        let cut = byte == b',' && !escaped;
        escaped = byte == b'\\' && !escaped;
        cut
    })
    .filter(|option| !option.is_empty())
    .map(
        |option| match option.iter().position(|&byte| byte == b'=') {
            Some(at) => (&option[..at], &option[at + 1..]),
            None => (option, &[][..]),
        },
    )
}

type Factory = Rc<dyn Fn(&MountRequest<'_>) -> Result<Rc<dyn FileSystem>>>;

/// The known file system types.
#[derive(Default)]
pub struct FsRegistry(RefCell<BTreeMap<&'static str, Factory>>);

impl FsRegistry {
    /// A registry with `tmpfs`, `ramfs` and `overlay`.
    #[must_use]
    pub fn new() -> FsRegistry {
        let registry = FsRegistry::default();
        registry.register("tmpfs", crate::tmpfs::mount);
        registry.register("ramfs", crate::tmpfs::mount);
        registry.register("overlay", crate::overlay::mount);
        registry
    }

    /// Adds a type, or replaces the factory of one.
    pub fn register(
        &self,
        fstype: &'static str,
        factory: impl Fn(&MountRequest<'_>) -> Result<Rc<dyn FileSystem>> + 'static,
    ) {
        self.0.borrow_mut().insert(fstype, Rc::new(factory));
    }

    /// Makes a file system of the type asked for; `ENODEV` when there is no such type.
    pub fn create(&self, request: &MountRequest<'_>) -> Result<Rc<dyn FileSystem>> {
        let name = std::str::from_utf8(request.fstype).map_err(|_| Errno::ENODEV)?;
        let factory = self.0.borrow().get(name).cloned().ok_or(Errno::ENODEV)?;
        factory(request)
    }

    /// The names, for `/proc/filesystems`.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.0.borrow().keys().copied().collect()
    }
}
