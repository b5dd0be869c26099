//! `COPY` and `ADD`: what the sources are, and their way into a layer.
//!
//! Sources are looked up below the context's (or another stage's) root, destinations below the new layer's,
//! each component at a time, so no link leads out of either.

use std::collections::BTreeMap;
use std::rc::Rc;

use dockerfile::ignore::{Ignore, clean};
use dockerfile::{Heredoc, glob};
use engine_api::error::{ApiError, Result};
use layers::archive::{UnpackOptions, is_archive, unpack_compressed};
use layers::scope;
use oci::{Digest, Hasher};
use os::{Errno, Metadata, OpenFlags, Os, OsExt, View};

use super::content;

/// Sources one instruction may have.
const SOURCES_MAX: usize = 100_000;

/// An `ADD` or `COPY` whose variables are replaced.
#[derive(Clone, Default)]
pub(super) struct Plan {
    /// `ADD` or `COPY`.
    pub(super) name: &'static str,
    pub(super) sources: Vec<String>,
    pub(super) inline: Vec<Heredoc>,
    /// Absolute; with `/` behind it when a directory was meant.
    pub(super) destination: String,
    pub(super) chown: String,
    pub(super) chmod: Option<u32>,
    pub(super) exclude: Vec<String>,
    pub(super) parents: bool,
    /// Who made a file stays its owner (`COPY --from`).
    pub(super) keep_owner: bool,
    /// BuildKit's words for what is not there.
    pub(super) later: bool,
    /// What it calls the files that are looked through.
    pub(super) reference: String,
    /// The sources are in the context and not in another stage.
    pub(super) from_context: bool,
}

/// One source.
pub(super) struct Item {
    /// Its path on the machine; no link.
    path: Vec<u8>,
    /// As it was typed, below the root.
    shown: String,
    /// What it is called at the destination.
    base: Vec<u8>,
    metadata: Metadata,
    digest: Digest,
    /// `ADD` unpacks it.
    archive: bool,
    /// It was fetched: the digest of its content.
    fetched: Option<Digest>,
}

/// A way through a source.
pub(super) struct Walk<'a> {
    pub(super) path: &'a [u8],
    pub(super) ignore: &'a Ignore,
    /// What patterns of `--exclude` are relative to.
    pub(super) prefix: &'a str,
}

pub(super) fn child(directory: &[u8], name: &[u8]) -> Vec<u8> {
    match directory {
        b"" => name.to_vec(),
        directory => [directory, b"/", name].concat(),
    }
}

impl Walk<'_> {
    pub(super) fn path(&self, name: &[u8]) -> Vec<u8> {
        match name {
            b"" => self.path.to_vec(),
            name => child(self.path, name),
        }
    }

    fn below(&self, name: &[u8]) -> String {
        let name = String::from_utf8_lossy(name);
        match (self.prefix, &*name) {
            ("", name) => name.to_string(),
            (prefix, "") => prefix.to_string(),
            (prefix, name) => format!("{prefix}/{name}"),
        }
    }

    pub(super) fn excludes(&self, name: &[u8]) -> bool {
        !self.ignore.is_empty() && !name.is_empty() && self.ignore.excludes(&self.below(name))
    }

    pub(super) fn skips_below(&self, name: &[u8]) -> bool {
        !self.ignore.is_empty() && !name.is_empty() && self.ignore.skips_below(&self.below(name))
    }
}

fn failed(what: &str, path: &[u8], errno: Errno) -> ApiError {
    ApiError::system(format!(
        "failed to copy files: {what} {}: {}",
        String::from_utf8_lossy(path),
        errno.go_description()
    ))
}

/// Names below `root` that fit a pattern, component by component.
fn expand(os: &Rc<dyn Os>, root: &str, pattern: &str) -> Result<Vec<String>> {
    let mut found = vec![String::new()];
    for part in pattern.split('/') {
        let mut next = Vec::new();
        for directory in found {
            if !glob::is_pattern(part) {
                next.push(join(&directory, part));
                continue;
            }
            let path = scope::resolve(os, View::Host, root.as_bytes(), directory.as_bytes(), true);
            let Ok(mut entries) = path.and_then(|path| os.read_dir(View::Host, &path)) else {
                continue;
            };
            order::sort(&mut entries);
            for entry in entries {
                let name = String::from_utf8_lossy(&entry.name).into_owned();
                let fits = glob::matches(part, &name)
                    .map_err(|_| ApiError::invalid("syntax error in pattern"))?;
                if fits {
                    next.push(join(&directory, &name));
                }
            }
            if next.len() > SOURCES_MAX {
                return Err(ApiError::invalid("too many source files"));
            }
        }
        found = next;
    }
    let exists = |name: &String| {
        scope::resolve(os, View::Host, root.as_bytes(), name.as_bytes(), true)
            .and_then(|path| os.metadata(View::Host, &path, false))
            .is_ok()
    };
    found.retain(exists);
    Ok(found)
}

fn join(directory: &str, name: &str) -> String {
    match directory {
        "" => name.to_string(),
        directory => format!("{directory}/{name}"),
    }
}

impl Plan {
    /// All that is in a directory, as it is.
    pub(super) fn whole() -> Plan {
        Plan {
            name: "COPY",
            sources: vec!["/".to_string()],
            inline: Vec::new(),
            destination: "/".to_string(),
            chown: String::new(),
            chmod: None,
            exclude: Vec::new(),
            parents: false,
            keep_owner: true,
            later: true,
            reference: String::new(),
            from_context: false,
        }
    }

    fn missing(&self, name: &str) -> ApiError {
        if self.later {
            let shown = clean(&format!("/{name}"));
            return ApiError::system(format!(
                "failed to compute cache key: failed to calculate checksum of ref {}: {shown:?}: not found",
                self.reference
            ));
        }
        let hint = match self.from_context {
            true => "file not found in build context or excluded by .dockerignore: ",
            false => "",
        };
        ApiError::invalid(format!(
            "{} failed: {hint}stat {name}: file does not exist",
            self.name
        ))
    }

    /// Finds the sources below `root`.
    pub(super) async fn items(&self, os: &Rc<dyn Os>, root: &str) -> Result<Vec<Item>> {
        let ignore = Ignore::new(&self.exclude).map_err(ApiError::invalid)?;
        let mut items = Vec::new();
        for source in &self.sources {
            let typed = source.trim_start_matches('/');
            let leaves = clean(typed);
            if !self.later && (leaves == ".." || leaves.starts_with("../")) {
                return Err(ApiError::invalid(format!(
                    "{} failed: forbidden path outside the build context: {source} ()",
                    self.name
                )));
            }
            // `..` stops at the root.
            let name = clean(&format!("/{typed}"));
            let name = &name[1..];
            let names = match glob::is_pattern(name) {
                false => vec![name.to_string()],
                true => {
                    let names = expand(os, root, name)?;
                    if names.is_empty() {
                        return Err(match self.later {
                            true => self.missing(name),
                            false => ApiError::invalid(format!(
                                "{} failed: no source files were specified",
                                self.name
                            )),
                        });
                    }
                    names
                }
            };
            for name in names {
                let kept = self.kept_parents(source, &name);
                items.push(self.item(os, root, &name, &ignore, kept).await?);
            }
        }
        Ok(items)
    }

    /// With `--parents`, the directories that come along: those behind `/./`, or all.
    fn kept_parents(&self, source: &str, name: &str) -> Option<String> {
        if !self.parents {
            return None;
        }
        let pivot = source
            .split_once("/./")
            .map(|(before, _)| clean(&format!("/{before}")));
        let name = match pivot {
            Some(before) => format!("/{name}")
                .strip_prefix(&before)
                .map_or(name.to_string(), |rest| {
                    rest.trim_start_matches('/').to_string()
                }),
            None => name.to_string(),
        };
        Some(name)
    }

    async fn item(
        &self,
        os: &Rc<dyn Os>,
        root: &str,
        name: &str,
        ignore: &Ignore,
        kept: Option<String>,
    ) -> Result<Item> {
        let missing = |errno: Errno| match errno {
            Errno::ENOENT | Errno::ENOTDIR => self.missing(name),
            errno => failed("lstat", name.as_bytes(), errno),
        };
        let path = scope::resolve(os, View::Host, root.as_bytes(), name.as_bytes(), true)
            .map_err(missing)?;
        let metadata = os.metadata(View::Host, &path, false).map_err(missing)?;
        let walk = Walk {
            path: &path,
            ignore,
            prefix: if metadata.is_dir() { "" } else { name },
        };
        let digest = content::digest(os, &walk)
            .await
            .map_err(|errno| failed("read", name.as_bytes(), errno))?;
        let archive = self.name == "ADD" && metadata.is_file() && is_archive(os, &path);
        let base = match kept {
            Some(kept) => kept,
            None => name.rsplit('/').next().unwrap_or_default().to_string(),
        };
        Ok(Item {
            path,
            shown: name.to_string(),
            base: base.into_bytes(),
            metadata,
            digest,
            archive,
            fetched: None,
        })
    }

    /// A file that was fetched, at `path`.
    pub(super) async fn fetched(&self, os: &Rc<dyn Os>, path: &str, name: &str) -> Result<Item> {
        let ignore = Ignore::default();
        let walk = Walk {
            path: path.as_bytes(),
            ignore: &ignore,
            prefix: "",
        };
        let digest = content::digest(os, &walk)
            .await
            .map_err(|errno| failed("read", path.as_bytes(), errno))?;
        let metadata = os
            .metadata(View::Host, path.as_bytes(), false)
            .map_err(|errno| failed("lstat", path.as_bytes(), errno))?;
        let mut hasher = Hasher::new();
        let read = content::read_pieces(os, path.as_bytes(), |piece| {
            hasher.update(piece);
            Ok(())
        });
        read.await
            .map_err(|errno| failed("read", path.as_bytes(), errno))?;
        Ok(Item {
            path: path.as_bytes().to_vec(),
            shown: name.to_string(),
            base: name.as_bytes().to_vec(),
            metadata,
            digest,
            archive: false,
            fetched: Some(hasher.finish()),
        })
    }

    /// What is copied, in a few letters: `file:…`, `dir:…` or `multi:…`.
    pub(super) fn key(&self, items: &[Item]) -> String {
        let one = |item: &Item| match item.metadata.is_dir() {
            true => format!("dir:{}", item.digest.hex()),
            false => format!("file:{}", item.digest.hex()),
        };
        if let ([item], []) = (items, &self.inline[..]) {
            return one(item);
        }
        let mut hasher = Hasher::new();
        for item in items {
            hasher.update(one(item).as_bytes());
            hasher.update(b",");
        }
        for heredoc in &self.inline {
            hasher.update(format!("{}\0{}\0", heredoc.name, heredoc.content).as_bytes());
        }
        format!("multi:{}", hasher.finish().hex())
    }

    /// What the sources are called at the destination.
    pub(super) fn names(&self, items: &[Item]) -> String {
        let names = items
            .iter()
            .map(|item| match item.metadata.is_dir() && !self.parents {
                true => String::new(),
                false => String::from_utf8_lossy(&item.base).into_owned(),
            });
        names.collect::<Vec<_>>().join("\0")
    }

    /// The destination has to be a directory when there are several sources.
    pub(super) fn check_destination(&self, items: &[Item]) -> Result<()> {
        if items.len() + self.inline.len() > 1 && !self.destination.ends_with('/') && !self.parents
        {
            return Err(ApiError::invalid(format!(
                "When using {} with more than one source file, the destination must be a directory and end with a /",
                self.name
            )));
        }
        Ok(())
    }

    /// Copies everything below `root`, the new layer.
    pub(super) async fn perform(&self, os: &Rc<dyn Os>, root: &str, items: &[Item]) -> Result<()> {
        let owner = match self.chown.is_empty() {
            true => None,
            false => Some(owner(os, root, &self.chown).await?),
        };
        let ignore = Ignore::new(&self.exclude).map_err(ApiError::invalid)?;
        let copier = Copier {
            os,
            root: root.as_bytes(),
            owner,
            keep_owner: self.keep_owner,
            chmod: self.chmod,
            links: BTreeMap::new().into(),
        };
        for item in items {
            self.copy_item(&copier, item, &ignore).await?;
        }
        for heredoc in &self.inline {
            let base = heredoc.name.as_bytes();
            let path = copier.target(&self.destination, base)?;
            let flags = OpenFlags {
                write: true,
                create: true,
                truncate: true,
                no_follow: true,
                ..OpenFlags::default()
            };
            copier.clear(&path)?;
            let text = heredoc.text();
            let written = os.open(View::Host, &path, flags, 0o600).and_then(|handle| {
                let mut done = 0;
                while done < text.len() {
                    done += handle.write_at(done as u64, &text.as_bytes()[done..])?;
                }
                Ok(())
            });
            written.map_err(|errno| failed("write", &path, errno))?;
            copier.attributes(
                &path,
                &Metadata {
                    mode: 0o100_644,
                    ..Metadata::default()
                },
                false,
            )?;
        }
        Ok(())
    }

    async fn copy_item(&self, copier: &Copier<'_>, item: &Item, ignore: &Ignore) -> Result<()> {
        let os = copier.os;
        if item.archive {
            let root = copier.directory(&self.destination)?;
            let file = layers::archive::open(os, &item.path)
                .map_err(|errno| failed("open", &item.path, errno))?;
            let options = UnpackOptions {
                owner: copier.owner,
                ..UnpackOptions::default()
            };
            unpack_compressed(os, View::Host, &root, file, options)
                .await
                .map_err(|error| ApiError::system(error.to_string()))?;
            return Ok(());
        }
        if self.parents {
            // The directories above it come with their own attributes.
            let target = format!(
                "{}/{}",
                self.destination,
                String::from_utf8_lossy(&item.base)
            );
            let (above, _) = target.rsplit_once('/').unwrap_or(("/", ""));
            copier.directory(above)?;
            let path = scope::resolve(os, View::Host, copier.root, target.as_bytes(), true)
                .map_err(|errno| failed("lstat", target.as_bytes(), errno))?;
            return self.copy_to(copier, item, ignore, path).await;
        }
        let path = match item.metadata.is_dir() {
            true => {
                let path = scope::resolve(
                    os,
                    View::Host,
                    copier.root,
                    self.destination.as_bytes(),
                    true,
                );
                let path =
                    path.map_err(|errno| failed("lstat", self.destination.as_bytes(), errno))?;
                copier.parents(&path)?;
                path
            }
            false => copier.target(&self.destination, &item.base)?,
        };
        self.copy_to(copier, item, ignore, path).await
    }

    async fn copy_to(
        &self,
        copier: &Copier<'_>,
        item: &Item,
        ignore: &Ignore,
        path: Vec<u8>,
    ) -> Result<()> {
        let walk = Walk {
            path: &item.path,
            ignore,
            prefix: if item.metadata.is_dir() {
                ""
            } else {
                &item.shown
            },
        };
        if item.fetched.is_some() {
            copier.clear(&path)?;
            copier.file(&item.path, &path).await?;
            // What was fetched is its fetcher's.
            return copier.attributes(
                &path,
                &Metadata {
                    mode: 0o100_600,
                    ..item.metadata
                },
                false,
            );
        }
        copier.tree(&walk, &path).await
    }
}

struct Copier<'a> {
    os: &'a Rc<dyn Os>,
    root: &'a [u8],
    owner: Option<(u32, u32)>,
    keep_owner: bool,
    chmod: Option<u32>,
    /// Where files with several names were put first.
    links: std::cell::RefCell<BTreeMap<(u64, u64), Vec<u8>>>,
}

impl Copier<'_> {
    /// Where a file of this name goes: into the destination if that is a directory.
    fn target(&self, destination: &str, base: &[u8]) -> Result<Vec<u8>> {
        let resolve = |path: &[u8]| {
            scope::resolve(self.os, View::Host, self.root, path, true)
                .map_err(|errno| failed("lstat", path, errno))
        };
        let path = resolve(destination.as_bytes())?;
        let is_directory = self
            .os
            .metadata(View::Host, &path, false)
            .is_ok_and(|found| found.is_dir());
        let path = match destination.ends_with('/') || is_directory {
            true => resolve(&[destination.as_bytes(), b"/", base].concat())?,
            false => path,
        };
        self.parents(&path)?;
        Ok(path)
    }

    /// Makes the directories above a path.
    fn parents(&self, path: &[u8]) -> Result<()> {
        let cut = path.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        let above = &path[..cut];
        let made = self.os.mkdir_all(View::Host, above, 0o755);
        made.map_err(|errno| failed("mkdir", above, errno))
    }

    /// A directory of the layer, made if it is not there.
    fn directory(&self, path: &str) -> Result<Vec<u8>> {
        let real = scope::resolve(self.os, View::Host, self.root, path.as_bytes(), true)
            .map_err(|errno| failed("lstat", path.as_bytes(), errno))?;
        let made = self.os.mkdir_all(View::Host, &real, 0o755);
        made.map_err(|errno| failed("mkdir", path.as_bytes(), errno))?;
        Ok(real)
    }

    /// Makes room for a file.
    fn clear(&self, path: &[u8]) -> Result<()> {
        match self.os.metadata(View::Host, path, false) {
            Err(_) => Ok(()),
            Ok(found) if found.is_dir() => Err(ApiError::system(format!(
                "failed to copy files: cannot overwrite directory {:?} with non-directory",
                String::from_utf8_lossy(&path[self.root.len()..])
            ))),
            Ok(_) => self
                .os
                .unlink(View::Host, path)
                .map_err(|errno| failed("unlink", path, errno)),
        }
    }

    /// Copies a file or directory to `path`, which is inside the root and has its parents.
    async fn tree(&self, walk: &Walk<'_>, path: &[u8]) -> Result<()> {
        let os = self.os;
        let mut pending = vec![Vec::new()];
        // Times of directories are set when they are complete.
        let mut directories = Vec::new();
        let mut done = 0_u32;
        while let Some(name) = pending.pop() {
            let from = walk.path(&name);
            let to = match &name[..] {
                b"" => path.to_vec(),
                name => child(path, name),
            };
            let metadata = match os.metadata(View::Host, &from, false) {
                Err(Errno::ENOENT) => continue,
                other => other.map_err(|errno| failed("lstat", &from, errno))?,
            };
            let excluded = walk.excludes(&name);
            if metadata.is_dir() {
                if walk.skips_below(&name) {
                    continue;
                }
                if !excluded {
                    let existed = self.make_directory(&to)?;
                    // The destination itself keeps what it has.
                    if !(existed && name.is_empty()) {
                        self.attributes(&to, &metadata, false)?;
                        directories.push((to.clone(), metadata));
                    }
                }
                let mut inside = os
                    .read_dir(View::Host, &from)
                    .map_err(|errno| failed("open", &from, errno))?;
                order::sort(&mut inside);
                for entry in inside.into_iter().rev() {
                    pending.push(child(&name, &entry.name));
                }
            } else if !excluded {
                self.parents(&to)?;
                self.entry(&from, &to, &metadata).await?;
            }
            done += 1;
            if done.is_multiple_of(100) {
                content::breathe(os).await;
            }
        }
        for (path, metadata) in directories.iter().rev() {
            let set = os.set_times(View::Host, path, metadata.atime, metadata.mtime);
            set.map_err(|errno| failed("utimensat", path, errno))?;
        }
        Ok(())
    }

    /// True when it was there.
    fn make_directory(&self, path: &[u8]) -> Result<bool> {
        match self.os.metadata(View::Host, path, false) {
            Ok(found) if found.is_dir() => Ok(true),
            Ok(_) => Err(ApiError::system(format!(
                "failed to copy files: cannot overwrite non-directory {:?} with directory",
                String::from_utf8_lossy(&path[self.root.len()..])
            ))),
            Err(_) => self
                .os
                .mkdir_all(View::Host, path, 0o755)
                .map(|()| false)
                .map_err(|errno| failed("mkdir", path, errno)),
        }
    }

    async fn entry(&self, from: &[u8], to: &[u8], metadata: &Metadata) -> Result<()> {
        let os = self.os;
        self.clear(to)?;
        let key = (metadata.dev, metadata.ino);
        let first = self.links.borrow().get(&key).cloned();
        if metadata.nlink > 1
            && metadata.is_file()
            && let Some(first) = first
        {
            let linked = os.link(View::Host, &first, to);
            return linked.map_err(|errno| failed("link", to, errno));
        }
        let symlink = metadata.is_symlink();
        match metadata.file_type() {
            0o100_000 => self.file(from, to).await?,
            0o120_000 => os
                .read_link(View::Host, from)
                .and_then(|target| os.symlink(View::Host, &target, to))
                .map_err(|errno| failed("symlink", to, errno))?,
            // Sockets do not outlive who listens.
            0o140_000 => return Ok(()),
            _ => os
                .mknod(View::Host, to, metadata.mode, metadata.rdev)
                .map_err(|errno| failed("mknod", to, errno))?,
        }
        for attribute in os.list_xattr(View::Host, from).unwrap_or_default() {
            if !attribute.starts_with(b"trusted.overlay.")
                && let Ok(value) = os.get_xattr(View::Host, from, &attribute)
            {
                // A file system without them is no reason to fail.
                let _ = os.set_xattr(View::Host, to, &attribute, &value);
            }
        }
        self.attributes(to, metadata, symlink)?;
        if metadata.nlink > 1 {
            self.links.borrow_mut().insert(key, to.to_vec());
        }
        Ok(())
    }

    async fn file(&self, from: &[u8], to: &[u8]) -> Result<()> {
        let flags = OpenFlags {
            write: true,
            create: true,
            exclusive: true,
            no_follow: true,
            ..OpenFlags::default()
        };
        let handle = self
            .os
            .open(View::Host, to, flags, 0o600)
            .map_err(|errno| failed("open", to, errno))?;
        let mut offset = 0;
        content::read_pieces(self.os, from, |piece| {
            let mut done = 0;
            while done < piece.len() {
                done += match handle.write_at(offset + done as u64, &piece[done..])? {
                    0 => return Err(Errno::ENOSPC),
                    count => count,
                };
            }
            offset += piece.len() as u64;
            Ok(())
        })
        .await
        .map(|_| ())
        .map_err(|errno| failed("write", to, errno))
    }

    fn attributes(&self, path: &[u8], metadata: &Metadata, symlink: bool) -> Result<()> {
        let os = self.os;
        let (uid, gid) = match (self.owner, self.keep_owner) {
            (Some(owner), _) => owner,
            (None, true) => (metadata.uid, metadata.gid),
            (None, false) => (0, 0),
        };
        os.lchown(View::Host, path, uid, gid)
            .map_err(|errno| failed("lchown", path, errno))?;
        if !symlink {
            let mode = self.chmod.unwrap_or(metadata.mode & 0o7777);
            os.chmod(View::Host, path, mode)
                .map_err(|errno| failed("chmod", path, errno))?;
        }
        if metadata.mtime.sec != 0 {
            let set = os.set_times(View::Host, path, metadata.atime, metadata.mtime);
            set.map_err(|errno| failed("utimensat", path, errno))?;
        }
        Ok(())
    }
}

/// The number of a user or group, by number or by the file of the image.
fn id_of(text: &str, file: &str, kind: (&str, &str)) -> Result<u32> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let line = file
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&text));
    let number = line.and_then(|fields| fields.get(2)?.parse().ok());
    number.ok_or_else(|| {
        ApiError::invalid(format!(
            "unable to convert uid/gid chown string to host mapping: can't find {} for {} {text}: no such {}: {text}",
            kind.0, kind.1, kind.1
        ))
    })
}

/// `user[:group]`; a user alone stands for the group of the same name.
async fn owner(os: &Rc<dyn Os>, root: &str, text: &str) -> Result<(u32, u32)> {
    let (user, group) = text.split_once(':').unwrap_or((text, text));
    if user.is_empty() || group.is_empty() || group.contains(':') {
        return Err(ApiError::invalid(format!(
            "unable to convert uid/gid chown string to host mapping: invalid chown string passed in: {text}"
        )));
    }
    let mut files = Vec::new();
    for name in ["etc/passwd", "etc/group"] {
        let path = scope::resolve(os, View::Host, root.as_bytes(), name.as_bytes(), true);
        let bytes = match path {
            Ok(path) => os.read_file(View::Host, &path).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        files.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    Ok((
        id_of(user, &files[0], ("uid", "user"))?,
        id_of(group, &files[1], ("gid", "group"))?,
    ))
}

/// `--chmod`.
pub(super) fn parse_chmod(text: &str) -> Result<Option<u32>> {
    if text.is_empty() {
        return Ok(None);
    }
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => Ok(Some(mode)),
        _ => Err(ApiError::invalid(format!(
            "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        ))),
    }
}

impl Item {
    /// `--checksum` of what was fetched.
    pub(super) fn check(&self, wanted: &str) -> Result<()> {
        let found = self
            .fetched
            .map_or(String::new(), |digest| digest.to_string());
        match wanted.is_empty() || wanted == found {
            true => Ok(()),
            false => Err(ApiError::system(format!(
                "digest mismatch {found}: {wanted}"
            ))),
        }
    }
}
