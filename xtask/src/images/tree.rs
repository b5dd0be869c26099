//! A root file system in memory, as a package, a layer or a whole image.
//!
//! Paths have no leading slash and no trailing one (`usr/bin/ls`), and sort by bytes, so walking a
//! tree is always the same walk. Not a file system: no lookups by inode, no open files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, including set-user-id and the like.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u64,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file and its bytes.
    File(Arc<[u8]>),
    /// A symbolic link.
    Symlink(String),
    /// Another name of the regular file at this path.
    Hardlink(String),
    /// In a layer: the entry below is gone.
    Whiteout,
}

/// A file system tree.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// An empty tree.
    pub fn new() -> Tree {
        Tree::default()
    }

    /// All entries in path order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// The entry at exactly this path.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Whether there is an entry at exactly this path.
    pub fn contains(&self, path: &str) -> bool {
        self.nodes.contains_key(path)
    }

    /// The bytes of the regular file that `path` leads to through links.
    pub fn read(&self, path: &str) -> Option<&Arc<[u8]>> {
        let path = self.resolve(path, true)?;
        match &self.nodes.get(&path)?.kind {
            Kind::File(bytes) => Some(bytes),
            Kind::Hardlink(target) => match &self.nodes.get(target)?.kind {
                Kind::File(bytes) => Some(bytes),
                _ => None,
            },
            _ => None,
        }
    }

    /// The bytes of a file as text.
    pub fn read_text(&self, path: &str) -> anyhow::Result<String> {
        let bytes = self
            .read(path)
            .with_context(|| format!("no file {path} in the tree"))?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Follows symbolic links in every directory part and, with `last`, in the last one.
    /// `None` if the links go round in circles. A missing entry resolves to itself.
    pub fn resolve(&self, path: &str, last: bool) -> Option<String> {
        let mut todo: Vec<String> = components(path).rev().map(str::to_string).collect();
        let mut done = String::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                done.truncate(done.rfind('/').unwrap_or(0));
                continue;
            }
            let next = join(&done, &part);
            match self.nodes.get(&next).map(|node| &node.kind) {
                Some(Kind::Symlink(target)) if last || !todo.is_empty() => {
                    links += 1;
                    if links > 40 {
                        return None;
                    }
                    if target.starts_with('/') {
                        done.clear();
                    }
                    todo.extend(components(target).rev().map(str::to_string));
                }
                _ => done = next,
            }
        }
        Some(done)
    }

    /// Puts an entry in, through links in its directory part (a package that ships `lib/x` lands
    /// in `usr/lib/x` where the directories are merged). Missing parents become plain directories.
    /// A directory that is already there is not replaced by a link, nor the other way round.
    pub fn insert(&mut self, path: &str, node: Node) {
        let Some(path) = self.resolve(path, node.kind == Kind::Dir) else {
            return;
        };
        if path.is_empty() {
            return;
        }
        if let Some((parent, _)) = path.rsplit_once('/')
            && !self.nodes.contains_key(parent)
        {
            self.insert(parent, directory(0o755, node.mtime));
        }
        self.nodes.insert(path, node);
    }

    /// A directory of root's.
    pub fn dir(&mut self, path: &str, mode: u32) {
        self.insert(path, directory(mode, EPOCH));
    }

    /// A file of root's.
    pub fn file(&mut self, path: &str, mode: u32, bytes: impl AsRef<[u8]>) {
        let kind = Kind::File(bytes.as_ref().into());
        self.insert(
            path,
            Node {
                kind,
                mode,
                uid: 0,
                gid: 0,
                mtime: EPOCH,
            },
        );
    }

    /// A symbolic link of root's.
    pub fn symlink(&mut self, path: &str, target: &str) {
        let kind = Kind::Symlink(target.to_string());
        self.insert(
            path,
            Node {
                kind,
                mode: 0o777,
                uid: 0,
                gid: 0,
                mtime: EPOCH,
            },
        );
    }

    /// Another name for the file at `target`, with its attributes.
    pub fn hardlink(&mut self, path: &str, target: &str) -> anyhow::Result<()> {
        let node = self
            .get(target)
            .with_context(|| format!("no {target} to link to"))?;
        if !matches!(node.kind, Kind::File(_)) {
            bail!("{target} is not a regular file");
        }
        let node = Node {
            kind: Kind::Hardlink(target.to_string()),
            ..node.clone()
        };
        self.insert(path, node);
        Ok(())
    }

    /// Changes mode and owner of an entry that must be there.
    pub fn chown(&mut self, path: &str, mode: u32, uid: u32, gid: u32) -> anyhow::Result<()> {
        let node = self
            .nodes
            .get_mut(path)
            .with_context(|| format!("no {path} in the tree"))?;
        (node.mode, node.uid, node.gid) = (mode, uid, gid);
        Ok(())
    }

    /// Takes an entry and all below it out. Hard links to a removed file are taken out as well.
    pub fn remove(&mut self, path: &str) {
        let below = format!("{path}/");
        let gone = |key: &str| key == path || key.starts_with(&below);
        self.nodes.retain(|key, node| {
            !gone(key) && !matches!(&node.kind, Kind::Hardlink(target) if gone(target))
        });
    }

    /// Keeps what `keep` says; a hard link whose file goes becomes the file.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Node) -> bool) {
        let removed: Vec<String> = self
            .nodes
            .iter()
            .filter(|(path, node)| !keep(path, node))
            .map(|(path, _)| path.clone())
            .collect();
        for path in removed {
            let Some(node) = self.nodes.remove(&path) else {
                continue;
            };
            if let Kind::File(_) = &node.kind {
                self.promote_link(&path, node);
            }
        }
    }

    fn promote_link(&mut self, gone: &str, node: Node) {
        let is_link = |kind: &Kind| matches!(kind, Kind::Hardlink(target) if target == gone);
        let names: Vec<String> = self
            .nodes
            .iter()
            .filter(|(_, node)| is_link(&node.kind))
            .map(|(path, _)| path.clone())
            .collect();
        let mut names = names.into_iter();
        let Some(first) = names.next() else { return };
        for name in names {
            if let Some(link) = self.nodes.get_mut(&name) {
                link.kind = Kind::Hardlink(first.clone());
            }
        }
        self.nodes.insert(first, node);
    }

    /// Drops directories below `top` that hold nothing.
    pub fn remove_empty_dirs(&mut self, top: &str) {
        let below = format!("{top}/");
        loop {
            let empty: Vec<String> = self
                .nodes
                .iter()
                .filter(|(path, node)| path.starts_with(&below) && node.kind == Kind::Dir)
                .filter(|(path, _)| self.children(path).next().is_none())
                .map(|(path, _)| path.clone())
                .collect();
            if empty.is_empty() {
                return;
            }
            for path in empty {
                self.nodes.remove(&path);
            }
        }
    }

    /// Entries below `dir`, at any depth.
    pub fn children<'a>(&'a self, dir: &str) -> impl Iterator<Item = (&'a str, &'a Node)> + 'a {
        let start = format!("{dir}/");
        self.nodes
            .range(start.clone()..)
            .take_while(move |(path, _)| path.starts_with(&start))
            .map(|(path, node)| (path.as_str(), node))
    }

    /// Puts every entry of `other` in.
    pub fn merge(&mut self, other: &Tree) {
        for (path, node) in &other.nodes {
            self.insert(path, node.clone());
        }
    }

    /// Times later than `epoch` become `epoch`.
    pub fn clamp_times(&mut self, epoch: u64) {
        for node in self.nodes.values_mut() {
            node.mtime = node.mtime.min(epoch);
        }
    }

    /// The layer that makes `self` out of `lower`: changed entries with all their parents (so
    /// that no unpacker has to invent a directory), and whiteouts.
    pub fn layer_over(&self, lower: &Tree) -> Tree {
        let mut layer = BTreeMap::new();
        for (path, node) in &self.nodes {
            if lower.nodes.get(path) == Some(node) {
                continue;
            }
            self.copy_with_parents(path, node, &mut layer);
            // A layer cannot link to a file of another layer.
            if let Kind::Hardlink(target) = &node.kind
                && let Some(file) = self.nodes.get(target)
            {
                self.copy_with_parents(target, file, &mut layer);
            }
        }
        for path in lower.nodes.keys() {
            if self.nodes.contains_key(path) {
                continue;
            }
            // One whiteout for the topmost missing entry.
            let parent = path.rsplit_once('/').map(|(parent, _)| parent);
            if parent.is_none_or(|parent| self.nodes.contains_key(parent)) {
                let mtime = EPOCH;
                let node = Node {
                    kind: Kind::Whiteout,
                    mode: 0,
                    uid: 0,
                    gid: 0,
                    mtime,
                };
                self.copy_with_parents(path, &node, &mut layer);
            }
        }
        Tree { nodes: layer }
    }

    fn copy_with_parents(&self, path: &str, node: &Node, layer: &mut BTreeMap<String, Node>) {
        for (index, _) in path.match_indices('/') {
            if let Some(parent) = self.nodes.get(&path[..index]) {
                layer
                    .entry(path[..index].to_string())
                    .or_insert_with(|| parent.clone());
            }
        }
        layer.insert(path.to_string(), node.clone());
    }

    /// Writes the tree below `root`. Owners are kept when the process may set them.
    pub fn unpack(&self, root: &Path) -> anyhow::Result<()> {
        use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
        std::fs::create_dir_all(root)?;
        // Only root can give files away; everyone else gets a tree of their own files.
        let is_root = lchown(root, Some(0), Some(0)).is_ok();
        for (path, node) in &self.nodes {
            let to = root.join(path);
            let set_attributes = || -> std::io::Result<()> {
                if is_root {
                    chown(&to, Some(node.uid), Some(node.gid))?;
                }
                std::fs::set_permissions(&to, std::fs::Permissions::from_mode(node.mode))
            };
            let done = match &node.kind {
                Kind::Dir => std::fs::create_dir_all(&to).and_then(|()| set_attributes()),
                Kind::File(bytes) => std::fs::write(&to, bytes).and_then(|()| set_attributes()),
                Kind::Symlink(target) => symlink(target, &to),
                Kind::Hardlink(_) | Kind::Whiteout => Ok(()),
            };
            done.with_context(|| format!("writing {}", to.display()))?;
        }
        for (path, node) in &self.nodes {
            if let Kind::Hardlink(target) = &node.kind {
                std::fs::hard_link(root.join(target), root.join(path))?;
            }
        }
        Ok(())
    }
}

/// The time given to everything we make ourselves, and the latest time in any image:
/// 2026-11-01 00:00:00 UTC. A constant, so that images do not depend on when they are built.
pub const EPOCH: u64 = 1_793_491_200;

/// [`EPOCH`] in RFC 3339, for image configs.
pub const EPOCH_TEXT: &str = "2026-11-01T00:00:00Z";

/// [`EPOCH`] as mail has dates, for package lists.
pub const EPOCH_DATE: &str = "Sun, 01 Nov 2026 00:00:00 UTC";

fn directory(mode: u32, mtime: u64) -> Node {
    Node {
        kind: Kind::Dir,
        mode,
        uid: 0,
        gid: 0,
        mtime,
    }
}

fn components(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/')
        .filter(|part| !part.is_empty() && *part != ".")
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_string()
    } else {
        format!("{parent}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insertion_follows_merged_directories() {
        let mut tree = Tree::new();
        tree.dir("usr/lib", 0o755);
        tree.symlink("lib", "usr/lib");
        tree.file("lib/a/b", 0o644, "x");
        tree.dir("lib", 0o755);
        let paths: Vec<&str> = tree.iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["lib", "usr", "usr/lib", "usr/lib/a", "usr/lib/a/b"]);
        assert!(matches!(tree.get("lib").unwrap().kind, Kind::Symlink(_)));
        assert_eq!(tree.read("lib/../lib/a/b").map(|b| &b[..]), Some(&b"x"[..]));
    }

    #[test]
    fn link_loops_end() {
        let mut tree = Tree::new();
        tree.symlink("a", "b");
        tree.symlink("b", "/a");
        assert_eq!(tree.resolve("a/x", true), None);
        assert!(tree.read("a").is_none());
    }

    #[test]
    fn layers_hold_changes_parents_and_whiteouts() {
        let mut lower = Tree::new();
        lower.dir("etc", 0o700);
        lower.file("etc/a", 0o644, "a");
        lower.file("etc/b", 0o644, "b");
        lower.file("opt/x/y", 0o644, "y");
        let mut upper = lower.clone();
        upper.file("etc/b", 0o644, "B");
        upper.remove("etc/a");
        upper.remove("opt/x");
        let layer = upper.layer_over(&lower);
        let seen: Vec<(&str, bool)> = layer
            .iter()
            .map(|(path, node)| (path, node.kind == Kind::Whiteout))
            .collect();
        let expected = [
            ("etc", false),
            ("etc/a", true),
            ("etc/b", false),
            ("opt", false),
            ("opt/x", true),
        ];
        assert_eq!(seen, expected);
        assert_eq!(layer.get("etc").unwrap().mode, 0o700);
    }

    #[test]
    fn a_removed_file_leaves_its_other_names() {
        let mut tree = Tree::new();
        tree.file("a", 0o755, "x");
        tree.hardlink("b", "a").unwrap();
        tree.hardlink("c", "a").unwrap();
        tree.retain(|path, _| path != "a");
        assert_eq!(tree.read("b").map(|b| &b[..]), Some(&b"x"[..]));
        assert_eq!(tree.get("c").unwrap().kind, Kind::Hardlink("b".to_string()));
    }
}
