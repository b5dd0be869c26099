//! Paths that cannot leave a root directory, whatever links lie on the way.
//!
//! The daemon works as root in the machine's own tree, so a link `/etc -> /` in an image must lead to
//! the image's root and not to the machine's. Every component is looked at before it is used, as
//! Docker's `symlink.FollowSymlinkInScope` does.

use std::rc::Rc;

use os::{Errno, Os, Result, View};

/// Links followed before `ELOOP` (`path_resolution(7)`).
const LINKS_MAX: usize = 40;

/// The real path of `path` below `root`. Links are read as if `root` were `/`; `..` stops there. The
/// last component is followed only with `follow_last`. Components that do not exist are kept.
pub fn resolve(
    os: &Rc<dyn Os>,
    view: View,
    root: &[u8],
    path: &[u8],
    follow_last: bool,
) -> Result<Vec<u8>> {
    // Components still to walk, the next one last.
    let mut pending: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
    let mut walked: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(component) = pending.pop() {
        match &component[..] {
            b"" | b"." => continue,
            b".." => {
                walked.pop();
                continue;
            }
            _ => walked.push(component),
        }
        if pending.is_empty() && !follow_last {
            break;
        }
        let here = join(root, &walked);
        match os.metadata(view, &here, false) {
            Ok(metadata) if metadata.is_symlink() => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Errno::ELOOP);
                }
                let target = os.read_link(view, &here)?;
                walked.pop();
                if target.starts_with(b"/") {
                    walked.clear();
                }
                pending.extend(components(&target).rev().map(<[u8]>::to_vec));
            }
            Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(join(root, &walked))
}

/// The non-empty components of a path.
pub fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(|part| !part.is_empty())
}

/// `root` and components below it as one path.
pub fn join(root: &[u8], parts: &[Vec<u8>]) -> Vec<u8> {
    let mut path = root.strip_suffix(b"/").unwrap_or(root).to_vec();
    for part in parts {
        path.push(b'/');
        path.extend_from_slice(part);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}
