//! Extended attributes (`xattr(7)`): who may see and change which.

use abi::{Errno, Result};

use super::FsContext;
use crate::credentials::{Capability, MAY_READ, MAY_WRITE};
use crate::inode::{Attr, S_IFDIR, S_IFREG};
use crate::notify::{self, event};
use crate::path::Path;

/// Longest name of an attribute.
pub const XATTR_NAME_MAX: usize = 255;
/// Longest value.
pub const XATTR_SIZE_MAX: usize = 65536;

impl<'a> FsContext<'a> {
    /// `getxattr(2)`.
    pub fn get_xattr(&self, path: &Path, name: &[u8]) -> Result<Vec<u8>> {
        let attr = path.inode().attr()?;
        self.check_xattr(path, &attr, name, MAY_READ)?;
        path.inode().get_xattr(name)
    }

    /// `setxattr(2)` with its flags.
    pub fn set_xattr(&self, path: &Path, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        if flags & !3 != 0 {
            return Err(Errno::EINVAL);
        }
        if value.len() > XATTR_SIZE_MAX {
            return Err(Errno::E2BIG);
        }
        let attr = path.inode().attr()?;
        self.check_xattr(path, &attr, name, MAY_WRITE)?;
        path.inode().set_xattr(name, value, flags)?;
        notify::tell_both(&path.dentry, event::ATTRIB);
        Ok(())
    }

    /// `listxattr(2)`; `trusted.` names are for the administrator's eyes.
    pub fn list_xattr(&self, path: &Path) -> Result<Vec<Vec<u8>>> {
        let mut names = path.inode().list_xattr()?;
        if !self.creds.has_cap(Capability::SysAdmin) {
            names.retain(|name| !name.starts_with(b"trusted."));
        }
        Ok(names)
    }

    /// `removexattr(2)`.
    pub fn remove_xattr(&self, path: &Path, name: &[u8]) -> Result<()> {
        let attr = path.inode().attr()?;
        self.check_xattr(path, &attr, name, MAY_WRITE)?;
        path.inode().remove_xattr(name)?;
        notify::tell_both(&path.dentry, event::ATTRIB);
        Ok(())
    }

    fn check_xattr(&self, path: &Path, attr: &Attr, name: &[u8], mask: u32) -> Result<()> {
        if name.is_empty() || name.len() > XATTR_NAME_MAX {
            return Err(Errno::ERANGE);
        }
        let write = mask == MAY_WRITE;
        if write {
            self.writable(&path.mount)?;
        }
        let admin = self.creds.has_cap(Capability::SysAdmin);
        if name.starts_with(b"trusted.") {
            return match (admin, write) {
                (true, _) => Ok(()),
                (false, true) => Err(Errno::EPERM),
                (false, false) => Err(Errno::ENODATA),
            };
        }
        if name.starts_with(b"security.") {
            let allowed = match name {
                b"security.capability" => self.creds.has_cap(Capability::Setfcap),
                _ => admin,
            };
            return if allowed || !write {
                Ok(())
            } else {
                Err(Errno::EPERM)
            };
        }
        if name.starts_with(b"user.") {
            let plain = matches!(attr.file_type(), S_IFREG | S_IFDIR);
            if !plain {
                return Err(if write { Errno::EPERM } else { Errno::ENODATA });
            }
            if write && attr.is_dir() && attr.mode & 0o1000 != 0 && !self.creds.owns(attr) {
                return Err(Errno::EPERM);
            }
            return self.permission(path, attr, mask);
        }
        // `system.posix_acl_access` and names without a known prefix.
        Err(Errno::EOPNOTSUPP)
    }
}
