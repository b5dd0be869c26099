//! Who a task is after `execve(2)`: set-user-ID programs and file capabilities (`capabilities(7)`,
//! transformation of capabilities during execve).

use abi::{Errno, Result};
use vfs::Credentials;
use vfs::inode::Attr;

use super::Task;
use crate::kernel::Kernel;

const S_ISUID: u32 = 0o4000;
const S_ISGID: u32 = 0o2000;
/// `SECBIT_NOROOT`.
const SECBIT_NOROOT: u32 = 1;
/// `SECBIT_KEEP_CAPS`.
const SECBIT_KEEP_CAPS: u32 = 16;
/// The attribute that holds a file's capabilities.
const ATTRIBUTE: &[u8] = b"security.capability";
/// `VFS_CAP_FLAGS_EFFECTIVE`.
const EFFECTIVE: u32 = 1;

/// What a program's file says about set-ID and capabilities.
pub(crate) struct FileRights<'a> {
    /// Attributes of the file.
    pub attr: &'a Attr,
    /// Value of its `security.capability`, when it has one.
    pub capabilities: Option<Vec<u8>>,
    /// They count: the mount is not `nosuid`.
    pub honoured: bool,
}

impl<'a> FileRights<'a> {
    /// Reads them from the file.
    pub fn of(inode: &vfs::inode::InodeRef, attr: &'a Attr, honoured: bool) -> FileRights<'a> {
        FileRights {
            attr,
            capabilities: inode.get_xattr(ATTRIBUTE).ok(),
            honoured,
        }
    }
}

/// `struct vfs_cap_data`: what a file gives.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct FileCaps {
    permitted: u64,
    inheritable: u64,
    effective: bool,
    /// The user who is root where this counts (revision 3).
    root: u32,
}

fn parse(raw: &[u8]) -> Option<FileCaps> {
    let word = |at: usize| {
        let bytes = raw.get(at * 4..at * 4 + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let magic = word(0)?;
    let wide = |low: usize, high: usize| Some(u64::from(word(low)?) | u64::from(word(high)?) << 32);
    let (permitted, inheritable) = match (magic >> 24, raw.len()) {
        (1, 12) => (u64::from(word(1)?), u64::from(word(2)?)),
        (2, 20) | (3, 24) => (wide(1, 3)?, wide(2, 4)?),
        _ => return None,
    };
    Some(FileCaps {
        permitted,
        inheritable,
        effective: magic & EFFECTIVE != 0,
        root: if magic >> 24 == 3 { word(5)? } else { 0 },
    })
}

impl Kernel {
    /// The credentials of `task` after it executes that file, and whether the program has to be careful
    /// (`AT_SECURE`). `EPERM`: the file needs capabilities that cannot be had.
    pub(crate) fn creds_after_exec(
        &self,
        task: &Task,
        rights: &FileRights<'_>,
    ) -> Result<(Credentials, bool)> {
        let mut creds = (*task.creds()).clone();
        let user_ns = task.ns().user.clone();
        let old = creds.clone();
        let attr = rights.attr;
        let honoured = rights.honoured && !creds.no_new_privs;
        let mapped = user_ns.local_uid(attr.uid).is_some() && user_ns.local_gid(attr.gid).is_some();
        if honoured && mapped {
            if attr.mode & S_ISUID != 0 {
                creds.euid = attr.uid;
            }
            if attr.mode & (S_ISGID | 0o010) == S_ISGID | 0o010 {
                creds.egid = attr.gid;
            }
        }
        creds.suid = creds.euid;
        creds.fsuid = creds.euid;
        creds.sgid = creds.egid;
        creds.fsgid = creds.egid;
        let set_id = creds.euid != old.euid || creds.egid != old.egid;

        let root = user_ns.global_uid(0).ok();
        let mut file = rights
            .capabilities
            .as_deref()
            .and_then(parse)
            .filter(|caps| {
                honoured && (caps.root == 0 && user_ns.is_initial() || Some(caps.root) == root)
            });
        let has_file_caps = file.is_some();
        let root_counts = creds.securebits & SECBIT_NOROOT == 0 && root.is_some();
        let is_root = root_counts && (root == Some(creds.euid) || root == Some(creds.uid));
        // A set-user-ID-root program with capabilities of its own gives those and no more.
        let limited = has_file_caps && root == Some(creds.euid) && root != Some(creds.uid);
        if is_root && !limited {
            file = Some(FileCaps {
                permitted: u64::MAX,
                inheritable: u64::MAX,
                effective: root == Some(creds.euid),
                root: 0,
            });
        }
        let caps = file.unwrap_or_default();
        if has_file_caps || set_id {
            creds.ambient = 0;
        }
        let gained = creds.inheritable & caps.inheritable | caps.permitted & creds.bounding;
        if !is_root
            && caps.effective
            && caps.permitted & !gained & vfs::credentials::ALL_CAPABILITIES != 0
        {
            return Err(Errno::EPERM);
        }
        creds.permitted = gained & vfs::credentials::ALL_CAPABILITIES | creds.ambient;
        creds.effective = if caps.effective {
            creds.permitted
        } else {
            creds.ambient
        };
        creds.securebits &= !SECBIT_KEEP_CAPS;
        let secure = creds.euid != old.uid
            || creds.egid != old.gid
            || root != Some(creds.uid) && (caps.effective || creds.permitted & !creds.ambient != 0);
        Ok((creds, secure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_of_file_capabilities() {
        let data = |magic: u32, words: &[u32]| {
            let all = [&[magic], words].concat();
            all.iter()
                .flat_map(|word| word.to_le_bytes())
                .collect::<Vec<_>>()
        };
        let caps = parse(&data(0x0200_0001, &[1 << 10, 0, 2, 0])).unwrap();
        assert_eq!(caps.permitted, 1 << 33 | 1 << 10);
        assert!(caps.effective);
        assert_eq!(
            parse(&data(0x0300_0000, &[1, 0, 0, 0, 1000])).unwrap().root,
            1000
        );
        assert_eq!(parse(&data(0x0100_0000, &[4, 8])).unwrap().inheritable, 8);
        assert_eq!(parse(&data(0x0200_0000, &[1])), None);
        assert_eq!(parse(&data(0x0900_0000, &[1, 0, 0, 0])), None);
    }
}
