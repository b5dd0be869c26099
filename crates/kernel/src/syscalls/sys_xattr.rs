//! System calls: extended attributes (`xattr(7)`).

use std::rc::Rc;

use abi::{Errno, Result};
use vfs::path::Path;

use super::SysResult;
use super::table::{Arg, Row};
use crate::kernel::Kernel;
use crate::task::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    Row::full(
        5,
        "setxattr",
        sys_setxattr,
        &[Arg::Path, Arg::Path, Arg::Ptr, Arg::Uint, Arg::Hex],
    ),
    Row::full(
        6,
        "lsetxattr",
        sys_lsetxattr,
        &[Arg::Path, Arg::Path, Arg::Ptr, Arg::Uint, Arg::Hex],
    ),
    Row::full(
        7,
        "fsetxattr",
        sys_fsetxattr,
        &[Arg::Fd, Arg::Path, Arg::Ptr, Arg::Uint, Arg::Hex],
    ),
    Row::full(
        8,
        "getxattr",
        sys_getxattr,
        &[Arg::Path, Arg::Path, Arg::Ptr, Arg::Uint],
    ),
    Row::full(
        9,
        "lgetxattr",
        sys_lgetxattr,
        &[Arg::Path, Arg::Path, Arg::Ptr, Arg::Uint],
    ),
    Row::full(
        10,
        "fgetxattr",
        sys_fgetxattr,
        &[Arg::Fd, Arg::Path, Arg::Ptr, Arg::Uint],
    ),
    Row::full(
        11,
        "listxattr",
        sys_listxattr,
        &[Arg::Path, Arg::Ptr, Arg::Uint],
    ),
    Row::full(
        12,
        "llistxattr",
        sys_llistxattr,
        &[Arg::Path, Arg::Ptr, Arg::Uint],
    ),
    Row::full(
        13,
        "flistxattr",
        sys_flistxattr,
        &[Arg::Fd, Arg::Ptr, Arg::Uint],
    ),
    Row::full(14, "removexattr", sys_removexattr, &[Arg::Path, Arg::Path]),
    Row::full(
        15,
        "lremovexattr",
        sys_lremovexattr,
        &[Arg::Path, Arg::Path],
    ),
    Row::full(16, "fremovexattr", sys_fremovexattr, &[Arg::Fd, Arg::Path]),
];

/// Longest name.
const NAME_MAX: usize = 255;
/// Largest value.
const VALUE_MAX: u64 = 65536;

/// How the first argument names the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Path,
    Link,
    Fd,
}

/// The file an `…xattr` call is about; `EOPNOTSUPP` for files without a place in a tree.
fn target(k: &Kernel, t: &Task, by: By, argument: u64) -> Result<Path> {
    if by == By::Fd {
        let file = t.files().get(argument as i32)?;
        return super::sys_file::path_of(&file)?.ok_or(Errno::EOPNOTSUPP);
    }
    let name = t.read_path(argument)?;
    k.with_fs(t, |fs| fs.resolve(None, &name, by == By::Path))
}

fn attribute_name(t: &Task, address: u64) -> Result<Vec<u8>> {
    let name = t.read_string(address, NAME_MAX + 1)?.ok_or(Errno::ERANGE)?;
    if name.is_empty() {
        Err(Errno::ERANGE)
    } else {
        Ok(name)
    }
}

/// Writes a result of `len` bytes as far as `size` allows; size 0 asks how much it would be.
fn answer(t: &Task, bytes: &[u8], address: u64, size: u64) -> SysResult {
    if size == 0 {
        return Ok(bytes.len() as u64);
    }
    if (bytes.len() as u64) > size {
        return Err(Errno::ERANGE.into());
    }
    t.write_memory(address, bytes)?;
    Ok(bytes.len() as u64)
}

fn set(k: &Kernel, t: &Task, a: &[u64; 6], by: By) -> SysResult {
    let name = attribute_name(t, a[1])?;
    if a[3] > VALUE_MAX {
        return Err(Errno::E2BIG.into());
    }
    let mut value = vec![0; a[3] as usize];
    t.read_memory(a[2], &mut value)?;
    let path = target(k, t, by, a[0])?;
    k.with_fs(t, |fs| fs.set_xattr(&path, &name, &value, a[4] as u32))?;
    Ok(0)
}

fn get(k: &Kernel, t: &Task, a: &[u64; 6], by: By) -> SysResult {
    let name = attribute_name(t, a[1])?;
    let path = target(k, t, by, a[0])?;
    let value = k.with_fs(t, |fs| fs.get_xattr(&path, &name))?;
    answer(t, &value, a[2], a[3])
}

fn list(k: &Kernel, t: &Task, a: &[u64; 6], by: By) -> SysResult {
    let path = target(k, t, by, a[0])?;
    let names = k.with_fs(t, |fs| fs.list_xattr(&path))?;
    let mut bytes = Vec::new();
    for name in names {
        bytes.extend_from_slice(&name);
        bytes.push(0);
    }
    answer(t, &bytes, a[1], a[2])
}

fn remove(k: &Kernel, t: &Task, a: &[u64; 6], by: By) -> SysResult {
    let name = attribute_name(t, a[1])?;
    let path = target(k, t, by, a[0])?;
    k.with_fs(t, |fs| fs.remove_xattr(&path, &name))?;
    Ok(0)
}

macro_rules! calls {
    ($($name:ident = $verb:ident $by:ident;)*) => {
        $(fn $name(k: &Rc<Kernel>, t: &Rc<Task>, a: &[u64; 6]) -> SysResult {
            $verb(k, t, a, By::$by)
        })*
    };
}

calls! {
    sys_setxattr = set Path;
    sys_lsetxattr = set Link;
    sys_fsetxattr = set Fd;
    sys_getxattr = get Path;
    sys_lgetxattr = get Link;
    sys_fgetxattr = get Fd;
    sys_listxattr = list Path;
    sys_llistxattr = list Link;
    sys_flistxattr = list Fd;
    sys_removexattr = remove Path;
    sys_lremovexattr = remove Link;
    sys_fremovexattr = remove Fd;
}
