//! `chmod(2)`, `chown(2)`, `utimensat(2)`, `truncate(2)`, `access(2)`.

use abi::{Errno, Result};

use super::{FsContext, timestamp};
use crate::credentials::{Capability, Credentials, MAY_EXEC, MAY_WRITE};
use crate::inode::{Attr, S_IFDIR, S_IFLNK, S_IFREG, SetAttr, Timestamp};
use crate::mount::MountFlags;
use crate::notify::{self, event};
use crate::path::Path;
use crate::write_count::WriteHold;

/// One of the two times `utimensat(2)` sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeChange {
    /// Leave it (`UTIME_OMIT`).
    Omit,
    /// The present (`UTIME_NOW`).
    Now,
    /// This time.
    At(Timestamp),
}

impl<'a> FsContext<'a> {
    /// `chmod(2)`.
    pub fn chmod(&self, base: Option<&Path>, path: &[u8], mode: u32) -> Result<()> {
        self.chmod_at(&self.resolve(base, path, true)?, mode)
    }

    /// `fchmod(2)`.
    pub fn chmod_at(&self, path: &Path, mode: u32) -> Result<()> {
        let attr = path.inode().attr()?;
        if attr.file_type() == S_IFLNK {
            return Err(Errno::EOPNOTSUPP);
        }
        self.writable(&path.mount)?;
        if !self.creds.owns(&attr) {
            return Err(Errno::EPERM);
        }
        let mut perm = mode & 0o7777;
        if !self.creds.in_group(attr.gid) && !self.creds.has_cap(Capability::Fsetid) {
            perm &= !0o2000;
        }
        path.inode().set_attr(&SetAttr {
            perm: Some(perm),
            ..SetAttr::default()
        })?;
        notify::tell_both(&path.dentry, event::ATTRIB);
        Ok(())
    }

    /// `fchownat(2)`; `None` leaves one as it is.
    pub fn chown(
        &self,
        base: Option<&Path>,
        path: &[u8],
        uid: Option<u32>,
        gid: Option<u32>,
        follow_last: bool,
    ) -> Result<()> {
        self.chown_at(&self.resolve(base, path, follow_last)?, uid, gid)
    }

    /// `fchown(2)`.
    pub fn chown_at(&self, path: &Path, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let attr = path.inode().attr()?;
        self.writable(&path.mount)?;
        let privileged = self.creds.has_cap(Capability::Chown);
        let is_owner = self.creds.fsuid == attr.uid;
        let uid_ok = uid.is_none_or(|uid| privileged || (is_owner && uid == attr.uid));
        let gid_ok = gid.is_none_or(|gid| {
            privileged || (is_owner && (gid == attr.gid || self.creds.in_group(gid)))
        });
        if !uid_ok || !gid_ok {
            return Err(Errno::EPERM);
        }
        // The kernel drops set-ID bits whoever asks, but of directories.
        let mut perm = None;
        if !attr.is_dir() && (uid.is_some() || gid.is_some()) {
            let mut mode = attr.mode & 0o7777 & !0o4000;
            if attr.mode & 0o2010 == 0o2010 {
                mode &= !0o2000;
            }
            perm = (mode != attr.mode & 0o7777).then_some(mode);
            // So do the capabilities that the file gave.
            if path.inode().remove_xattr(b"security.capability") == Err(Errno::NOT_HERE_YET) {
                return Err(Errno::NOT_HERE_YET);
            }
        }
        path.inode().set_attr(&SetAttr {
            uid,
            gid,
            perm,
            ..SetAttr::default()
        })?;
        notify::tell_both(&path.dentry, event::ATTRIB);
        Ok(())
    }

    /// `utimensat(2)`.
    pub fn utimens(
        &self,
        base: Option<&Path>,
        path: &[u8],
        atime: TimeChange,
        mtime: TimeChange,
        follow_last: bool,
    ) -> Result<()> {
        if atime == TimeChange::Omit && mtime == TimeChange::Omit {
            return Ok(());
        }
        self.utimens_at(&self.resolve(base, path, follow_last)?, atime, mtime)
    }

    /// `futimens(3)`.
    pub fn utimens_at(&self, path: &Path, atime: TimeChange, mtime: TimeChange) -> Result<()> {
        if atime == TimeChange::Omit && mtime == TimeChange::Omit {
            return Ok(());
        }
        let attr = path.inode().attr()?;
        self.writable(&path.mount)?;
        if !self.creds.owns(&attr) {
            if atime != TimeChange::Now || mtime != TimeChange::Now {
                return Err(Errno::EPERM);
            }
            if !self.creds.may(&attr, MAY_WRITE) {
                return Err(Errno::EACCES);
            }
        }
        let value = |change| match change {
            TimeChange::Omit => None,
            TimeChange::Now => Some(timestamp(self.clock)),
            TimeChange::At(time) => Some(time),
        };
        let change = SetAttr {
            atime: value(atime),
            mtime: value(mtime),
            ..SetAttr::default()
        };
        path.inode().set_attr(&change)?;
        notify::tell_both(&path.dentry, event::ATTRIB);
        Ok(())
    }

    /// `truncate(2)`.
    pub fn truncate(&self, base: Option<&Path>, path: &[u8], size: u64) -> Result<()> {
        self.truncate_at(&self.resolve(base, path, true)?, size, true)
    }

    /// `ftruncate(2)` (whose descriptor already shows write access: `check` false) and `truncate(2)`.
    pub fn truncate_at(&self, path: &Path, size: u64, check: bool) -> Result<()> {
        let attr = path.inode().attr()?;
        match attr.file_type() {
            S_IFREG => {}
            S_IFDIR => return Err(Errno::EISDIR),
            _ => return Err(Errno::EINVAL),
        }
        if i64::try_from(size).is_err() {
            return Err(Errno::EINVAL);
        }
        if check {
            self.permission(path, &attr, MAY_WRITE)?;
        }
        let _writer = WriteHold::writer(&*path.inode())?;
        self.truncate_inode(path, &attr, size)?;
        notify::tell_both(&path.dentry, event::MODIFY);
        Ok(())
    }

    /// `faccessat2(2)`: with the real ids, or with `use_effective` (`AT_EACCESS`) the effective ones.
    pub fn access(
        &self,
        base: Option<&Path>,
        path: &[u8],
        mask: u32,
        use_effective: bool,
        follow_last: bool,
    ) -> Result<()> {
        // The usual case: nothing to build.
        if use_effective
            || (self.creds.uid == self.creds.fsuid && self.creds.gid == self.creds.fsgid)
        {
            return self.access_at(&self.resolve(base, path, follow_last)?, mask);
        }
        let creds = real_credentials(self.creds);
        let ctx = FsContext {
            creds: &creds,
            ..*self
        };
        ctx.access_at(&ctx.resolve(base, path, follow_last)?, mask)
    }

    /// Whether this identity may read, write or execute (`MAY_…`, 0: only that it exists).
    pub fn access_at(&self, path: &Path, mask: u32) -> Result<()> {
        if mask & !7 != 0 {
            return Err(Errno::EINVAL);
        }
        let attr = path.inode().attr()?;
        if mask & MAY_EXEC != 0 {
            self.check_noexec(path, &attr)?;
        }
        self.permission(path, &attr, mask)
    }

    /// `execve(2)`: whether this file may be executed.
    pub fn check_exec(&self, path: &Path) -> Result<Attr> {
        let attr = path.inode().attr()?;
        if attr.file_type() != S_IFREG {
            return Err(Errno::EACCES);
        }
        self.check_noexec(path, &attr)?;
        self.permission(path, &attr, MAY_EXEC)?;
        Ok(attr)
    }

    fn check_noexec(&self, path: &Path, attr: &Attr) -> Result<()> {
        let noexec = path.mount.flags.get().contains(MountFlags::NOEXEC);
        if noexec && attr.file_type() == S_IFREG {
            Err(Errno::EACCES)
        } else {
            Ok(())
        }
    }
}

/// The real ids for file access, with the capabilities that go with them.
fn real_credentials(creds: &Credentials) -> Credentials {
    let mut real = creds.clone();
    real.fsuid = creds.uid;
    real.fsgid = creds.gid;
    // A set-user-ID program of root asks what its caller may: not what root may.
    real.effective = if creds.uid == 0 { creds.permitted } else { 0 };
    real
}
