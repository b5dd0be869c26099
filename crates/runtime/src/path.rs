//! Paths inside a root directory that is not ours: links are followed as if it were `/`.
//!
//! Used while a container's mounts are made, when its root is a directory of the machine. Once a task
//! has its root, the kernel resolves paths itself.

use std::rc::Rc;

use os::{Errno, Os, View};

/// Links followed before giving up, as Linux counts.
const LINKS_MAX: usize = 40;

/// The path below `root` that `path` means inside it; parts that do not exist are kept as they are.
pub fn secure_join(
    os: &Rc<dyn Os>,
    view: View,
    root: &[u8],
    path: &[u8],
) -> Result<Vec<u8>, Errno> {
    let mut pending: Vec<Vec<u8>> = split_reversed(path);
    let mut resolved: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(part) = pending.pop() {
        if part == b".." {
            resolved.pop();
            continue;
        }
        resolved.push(part);
        let candidate = join(root, &resolved);
        let is_link = os
            .metadata(view, &candidate, false)
            .is_ok_and(|metadata| metadata.is_symlink());
        if !is_link {
            continue;
        }
        links += 1;
        if links > LINKS_MAX {
            return Err(Errno::ELOOP);
        }
        let target = os.read_link(view, &candidate)?;
        if target.first() == Some(&b'/') {
            resolved.clear();
        } else {
            resolved.pop();
        }
        pending.extend(split_reversed(&target));
    }
    Ok(join(root, &resolved))
}

fn split_reversed(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&byte| byte == b'/')
        .rev()
        .filter(|part| !part.is_empty() && *part != b".")
        .map(<[u8]>::to_vec)
        .collect()
}

fn join(root: &[u8], parts: &[Vec<u8>]) -> Vec<u8> {
    let mut whole = root.to_vec();
    for part in parts {
        if whole.last() != Some(&b'/') {
            whole.push(b'/');
        }
        whole.extend_from_slice(part);
    }
    whole
}

/// `path` without `.`, `..`, double and trailing slashes, taken as absolute (Go's `path.Clean`).
#[must_use]
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn cleaning() {
        for (path, expected) in [
            ("", "/"),
            ("/", "/"),
            ("a/./b//c/", "/a/b/c"),
            ("/../../etc", "/etc"),
            ("/a/../b", "/b"),
        ] {
            assert_eq!(clean(path), expected, "{path}");
        }
    }
}
