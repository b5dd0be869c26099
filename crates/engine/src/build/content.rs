//! Digests of files, to know whether what is copied is what was copied before. Times do not count.

use std::rc::Rc;

use oci::{Digest, Hasher};
use os::{Errno, Metadata, OpenFlags, Os, View, ext};

use super::copy::Walk;

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;
/// Bytes read, or entries looked at, before others get their turn.
const PAUSE: u64 = 1024 * 1024;
const PAUSE_ENTRIES: u64 = 200;

/// Lets other work of the machine go on.
pub(super) async fn breathe(os: &Rc<dyn Os>) {
    os.clock().sleep(1).await;
}

/// Reads a file piece by piece.
pub(super) async fn read_pieces(
    os: &Rc<dyn Os>,
    path: &[u8],
    mut each: impl FnMut(&[u8]) -> os::Result<()>,
) -> os::Result<u64> {
    let flags = OpenFlags {
        read: true,
        no_follow: true,
        ..OpenFlags::default()
    };
    let handle = os.open(View::Host, path, flags, 0)?;
    let mut buf = vec![0; CHUNK];
    let (mut offset, mut pause_at) = (0, PAUSE);
    loop {
        let count = ext::read_at(&handle, offset, &mut buf).await?;
        if count == 0 {
            return Ok(offset);
        }
        each(&buf[..count])?;
        offset += count as u64;
        if offset >= pause_at {
            pause_at += PAUSE;
            breathe(os).await;
        }
    }
}

/// Adds an entry: its name below the source, what it is, and its content.
async fn add(
    os: &Rc<dyn Os>,
    hasher: &mut Hasher,
    path: &[u8],
    name: &[u8],
    metadata: &Metadata,
) -> os::Result<()> {
    let head = format!(
        "{}\0{:o}\0{}\0{}\0{}\0",
        name.len(),
        metadata.mode,
        metadata.uid,
        metadata.gid,
        metadata.rdev
    );
    hasher.update(head.as_bytes());
    hasher.update(name);
    match metadata.file_type() {
        0o100_000 => {
            hasher.update(format!("\0{}\0", metadata.size).as_bytes());
            read_pieces(os, path, |piece| {
                hasher.update(piece);
                Ok(())
            })
            .await?;
        }
        0o120_000 => hasher.update(&os.read_link(View::Host, path)?),
        _ => {}
    }
    for attribute in os.list_xattr(View::Host, path).unwrap_or_default() {
        if !attribute.starts_with(b"trusted.overlay.") {
            hasher.update(&attribute);
            hasher.update(&os.get_xattr(View::Host, path, &attribute)?);
        }
    }
    Ok(())
}

/// The digest of a file or of all that is in a directory.
pub(super) async fn digest(os: &Rc<dyn Os>, walk: &Walk<'_>) -> os::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut pending = vec![Vec::new()];
    let mut entries = 0;
    while let Some(name) = pending.pop() {
        let path = walk.path(&name);
        let metadata = match os.metadata(View::Host, &path, false) {
            Err(Errno::ENOENT) => continue,
            other => other?,
        };
        if !walk.excludes(&name) {
            add(os, &mut hasher, &path, &name, &metadata).await?;
        }
        if metadata.is_dir() && !walk.skips_below(&name) {
            let mut inside = os.read_dir(View::Host, &path)?;
            order::sort(&mut inside);
            for entry in inside.into_iter().rev() {
                pending.push(super::copy::child(&name, &entry.name));
            }
        }
        entries += 1;
        if entries % PAUSE_ENTRIES == 0 {
            breathe(os).await;
        }
    }
    Ok(hasher.finish())
}

/// The digest of what is at a path below `root`; none if nothing is.
pub(super) async fn tree_digest(os: &Rc<dyn Os>, root: &str, path: &str) -> Option<Digest> {
    let path = layers::scope::resolve(os, View::Host, root.as_bytes(), path.as_bytes(), true);
    let path = path.ok()?;
    let ignore = dockerfile::ignore::Ignore::default();
    let walk = Walk {
        path: &path,
        ignore: &ignore,
        prefix: "",
    };
    digest(os, &walk).await.ok()
}
