//! Extended attributes of an overlay: passed through, but for `trusted.overlay.`, which is its own.
//!
//! A user of the overlay (another overlay) who sets `trusted.overlay.x` finds it again; it is stored
//! as `trusted.overlay.overlay.x`, as Linux does since 6.8.

use abi::Result;

use super::node::Node;
use crate::inode::Inode;

const PREFIX: &[u8] = b"trusted.overlay.";
const ESCAPED: &[u8] = b"trusted.overlay.overlay.";

/// True for what this overlay itself keeps on a file of a layer.
pub(super) fn is_private(name: &[u8]) -> bool {
    name.starts_with(PREFIX) && !name.starts_with(ESCAPED)
}

/// The name under which a layer has what a user of the overlay calls `name`.
fn stored(name: &[u8]) -> Vec<u8> {
    match name.strip_prefix(PREFIX) {
        Some(rest) => [ESCAPED, rest].concat(),
        None => name.to_vec(),
    }
}

impl Node {
    pub(super) fn xattr_value(&self, name: &[u8]) -> Result<Vec<u8>> {
        if name.starts_with(PREFIX) {
            return self.real()?.get_xattr(&stored(name));
        }
        self.real()?.get_xattr(name)
    }

    pub(super) fn xattr_names(&self) -> Result<Vec<Vec<u8>>> {
        let names = self
            .real()?
            .list_xattr()?
            .into_iter()
            .filter(|name| !is_private(name));
        let shown = |name: Vec<u8>| match name.strip_prefix(ESCAPED) {
            Some(rest) => [PREFIX, rest].concat(),
            None => name,
        };
        Ok(names.map(shown).collect())
    }

    /// Sets a value, or with `None` removes the attribute.
    pub(super) fn change_xattr(&self, name: &[u8], value: Option<&[u8]>, flags: u32) -> Result<()> {
        let stored = stored(name);
        if value.is_none() {
            // Nothing to remove: no reason to copy the file up.
            self.get_xattr(name)?;
        }
        self.copy_up(true)?;
        let upper = self.upper()?;
        match value {
            Some(value) => upper.set_xattr(&stored, value, flags),
            None => upper.remove_xattr(&stored),
        }
    }
}
