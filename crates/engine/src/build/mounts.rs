//! `RUN --mount`, and the file that a heredoc with an interpreter line becomes.

use std::rc::Rc;

use dockerfile::{MountKind, Run};
use engine_api::error::{ApiError, Result};
use engine_api::types::MountPoint;
use layers::scope;
use oci::Hasher;
use os::{MountFlags, Os, OsExt, View};

use super::Client;
use super::copy::Plan;
use super::stage::join_path;
use super::tree::{Scratch, Tree};
use crate::Engine;
use crate::lock::Guard;
use crate::state::Mount;

/// Where a `from=` leads.
pub(super) enum From {
    Tree(Tree),
    Directory(String),
}

impl From {
    pub(super) fn root(&self) -> &str {
        match self {
            From::Tree(tree) => &tree.root,
            From::Directory(path) => path,
        }
    }
}

/// A writable view of a directory whose changes are thrown away.
struct Overlay {
    os: Rc<dyn Os>,
    scratch: Scratch,
}

impl Drop for Overlay {
    fn drop(&mut self) {
        let merged = format!("{}/merged", self.scratch.path);
        let _ = self.os.umount(View::Host, merged.as_bytes(), true);
    }
}

/// What has to be there while a step runs.
#[allow(dead_code, reason = "kept until it is dropped")]
enum Held {
    From(From),
    Overlay(Overlay),
    Scratch(Scratch),
    Lock(Guard),
}

/// The mounts of one `RUN`.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) mounts: Vec<Mount>,
    /// Variables that secrets and sockets are told by.
    pub(super) env: Vec<String>,
    held: Vec<Held>,
}

fn bind(source: &str, destination: &str, rw: bool) -> Mount {
    Mount {
        point: MountPoint {
            kind: "bind".to_string(),
            source: source.to_string(),
            destination: destination.to_string(),
            rw,
            propagation: "rprivate".to_string(),
            ..MountPoint::default()
        },
        ..Mount::default()
    }
}

impl Engine {
    fn overlay(&self, lower: &str) -> Result<Overlay> {
        let scratch = self.scratch("buildkit-mount")?;
        let overlay = Overlay {
            os: Rc::clone(&self.os),
            scratch,
        };
        let path = &overlay.scratch.path;
        let made = ["upper", "work", "merged"].iter().try_for_each(|name| {
            let path = format!("{path}/{name}");
            self.os.mkdir(View::Host, path.as_bytes(), 0o755)
        });
        let options = format!("lowerdir={lower},upperdir={path}/upper,workdir={path}/work");
        made.and_then(|()| {
            self.os.mount(
                View::Host,
                b"overlay",
                format!("{path}/merged").as_bytes(),
                "overlay",
                MountFlags::default(),
                options.as_bytes(),
            )
        })
        .map_err(|errno| ApiError::system(format!("mount {lower}: {}", errno.go_description())))?;
        Ok(overlay)
    }

    /// A file that only a step sees.
    fn step_file(
        &self,
        name: &str,
        content: &[u8],
        mode: u32,
        owner: (u32, u32),
    ) -> Result<Scratch> {
        let scratch = self.scratch("buildkit-file")?;
        let path = format!("{}/{name}", scratch.path);
        self.os
            .write_file(View::Host, path.as_bytes(), content, mode)
            .and_then(|()| {
                self.os
                    .lchown(View::Host, path.as_bytes(), owner.0, owner.1)
            })
            .map_err(|errno| {
                ApiError::system(format!("write {path}: {}", errno.go_description()))
            })?;
        Ok(scratch)
    }

    /// Makes the mounts of a `RUN`. `from` are the trees its `from=` lead to, one for each mount.
    pub(super) async fn step_mounts(
        &self,
        run: &Run,
        workdir: &str,
        from: Vec<Option<From>>,
        client: &Rc<dyn Client>,
    ) -> Result<Mounts> {
        let mut all = Mounts::default();
        let mut sockets = 0;
        for (mount, from) in run.mounts.iter().zip(from) {
            let target = join_path(workdir, &mount.target);
            match mount.kind {
                MountKind::Bind => {
                    let from = match from {
                        Some(from) => from,
                        None => From::Directory(client.context().await?),
                    };
                    let mut root = from.root().to_string();
                    if !mount.readonly && matches!(from, From::Directory(_)) {
                        let overlay = self.overlay(&root)?;
                        root = format!("{}/merged", overlay.scratch.path);
                        all.held.push(Held::Overlay(overlay));
                    }
                    let source = mount.source.as_bytes();
                    let source =
                        scope::resolve(&self.os, View::Host, root.as_bytes(), source, true);
                    let source = source
                        .ok()
                        .filter(|path| self.os.exists(View::Host, path))
                        .ok_or_else(|| {
                            let shown = join_path("", &mount.source);
                            ApiError::system(format!(
                                "failed to compute cache key: failed to calculate checksum of ref: {shown:?}: not \
                                 found"
                            ))
                        })?;
                    let source = String::from_utf8_lossy(&source).into_owned();
                    all.mounts.push(bind(&source, &target, !mount.readonly));
                    all.held.push(Held::From(from));
                }
                MountKind::Cache => {
                    let path = self.cache_directory(mount, &target, from).await?;
                    if !matches!(mount.sharing.as_str(), "" | "shared") {
                        let lock = self.build_cache.lock(&path);
                        all.held.push(Held::Lock(lock.take().await));
                    }
                    all.mounts.push(bind(&path, &target, !mount.readonly));
                }
                MountKind::Tmpfs => {
                    let mut options = vec!["nosuid".to_string(), "nodev".to_string()];
                    if mount.size > 0 {
                        options.push(format!("size={}", mount.size));
                    }
                    all.mounts.push(Mount {
                        point: MountPoint {
                            kind: "tmpfs".to_string(),
                            destination: target,
                            rw: true,
                            ..MountPoint::default()
                        },
                        tmpfs_options: options,
                        ..Mount::default()
                    });
                }
                MountKind::Secret => {
                    let Some(secret) = client.secret(&mount.id).await? else {
                        if mount.required {
                            return Err(ApiError::system(format!(
                                "secret {}: not found",
                                mount.id
                            )));
                        }
                        continue;
                    };
                    if let Some(name) = &mount.env {
                        let value = String::from_utf8_lossy(&secret);
                        all.env.push(format!("{name}={value}"));
                        if mount.target.is_empty() {
                            continue;
                        }
                    }
                    let target = match mount.target.as_str() {
                        "" => format!("/run/secrets/{}", mount.id),
                        _ => target,
                    };
                    let mode = mount.mode.unwrap_or(0o400);
                    let owner = (mount.uid, mount.gid);
                    let file = self.step_file("secret", &secret, mode, owner)?;
                    let source = format!("{}/secret", file.path);
                    all.mounts.push(bind(&source, &target, false));
                    all.held.push(Held::Scratch(file));
                }
                MountKind::Ssh => {
                    let id = match mount.id.as_str() {
                        "" => "default",
                        id => id,
                    };
                    let Some(socket) = client.ssh(id).await? else {
                        if mount.required {
                            return Err(ApiError::system(format!("unset ssh forward key {id}")));
                        }
                        continue;
                    };
                    let target = match mount.target.as_str() {
                        "" => format!("/run/buildkit/ssh_agent.{sockets}"),
                        _ => target,
                    };
                    if sockets == 0 {
                        all.env.push(format!("SSH_AUTH_SOCK={target}"));
                    }
                    sockets += 1;
                    all.mounts.push(bind(&socket, &target, true));
                }
            }
        }
        Ok(all)
    }

    /// The directory of a `type=cache`: the same one for the same id.
    async fn cache_directory(
        &self,
        mount: &dockerfile::Mount,
        target: &str,
        from: Option<From>,
    ) -> Result<String> {
        let mut hasher = Hasher::new();
        hasher.update(match mount.id.as_str() {
            "" => target.as_bytes(),
            id => id.as_bytes(),
        });
        hasher.update(mount.from.as_bytes());
        let path = format!("{}/{}", self.cache_mounts(), &hasher.finish().hex()[..25]);
        if self.os.exists(View::Host, path.as_bytes()) {
            return Ok(path);
        }
        let made = self
            .os
            .mkdir_all(View::Host, path.as_bytes(), 0o755)
            .and_then(|()| {
                let mode = mount.mode.unwrap_or(0o755);
                self.os.chmod(View::Host, path.as_bytes(), mode)?;
                self.os
                    .lchown(View::Host, path.as_bytes(), mount.uid, mount.gid)
            });
        made.map_err(|errno| {
            ApiError::system(format!("mkdir {path}: {}", errno.go_description()))
        })?;
        if let Some(from) = from {
            let plan = Plan {
                name: "COPY",
                sources: vec![mount.source.clone()],
                destination: "/".to_string(),
                keep_owner: true,
                later: true,
                ..Plan::default()
            };
            let items = plan.items(&self.os, from.root()).await?;
            plan.perform(&self.os, &path, &items).await?;
        }
        Ok(path)
    }

    /// What is not there yet of the paths that things are going to be mounted at, outermost first.
    pub(super) fn missing_targets(&self, container: &str, mounts: &[Mount]) -> Result<Vec<String>> {
        let failed = |error: layers::StoreError| ApiError::system(error.to_string());
        let root = self
            .store
            .mount_container(container)
            .map_err(failed)?
            .merged;
        let mut missing = Vec::new();
        for mount in mounts {
            let target = &mount.point.destination;
            let ends = target.match_indices('/').map(|(at, _)| at).skip(1);
            for end in ends.chain([target.len()]) {
                let path = &target[..end];
                if self.target(&root, path).is_none() && !missing.iter().any(|one| one == path) {
                    missing.push(path.to_string());
                }
            }
        }
        self.store.unmount_container(container).map_err(failed)?;
        Ok(missing)
    }

    /// Where a path of a mounted layer is, and whether it is a directory; none if there is nothing.
    fn target(&self, root: &str, path: &str) -> Option<(Vec<u8>, os::Metadata)> {
        let path = scope::resolve(&self.os, View::Host, root.as_bytes(), path.as_bytes(), true);
        let path = path.ok()?;
        let found = self.os.metadata(View::Host, &path, false).ok()?;
        Some((path, found))
    }

    /// Takes away what was only made to mount something over it, unless something has come into it.
    pub(super) fn remove_stubs(&self, container: &str, missing: &[String]) -> Result<()> {
        if missing.is_empty() {
            return Ok(());
        }
        let failed = |error: layers::StoreError| ApiError::system(error.to_string());
        let root = self
            .store
            .mount_container(container)
            .map_err(failed)?
            .merged;
        for path in missing.iter().rev() {
            match self.target(&root, path) {
                Some((path, found)) if found.is_dir() => {
                    let _ = self.os.rmdir(View::Host, &path);
                }
                Some((path, found)) if found.size == 0 => {
                    let _ = self.os.unlink(View::Host, &path);
                }
                _ => {}
            }
        }
        self.store.unmount_container(container).map_err(failed)
    }

    /// A heredoc that begins with `#!` is a program: it is put into a file and that is run.
    pub(super) fn script(&self, run: &Run, mounts: &mut Mounts) -> Result<Option<Vec<String>>> {
        let ([heredoc], [word], true) =
            (&run.heredocs[..], &run.command.words[..], run.command.shell)
        else {
            return Ok(None);
        };
        if !super::is_heredoc_alone(word) || !heredoc.content.starts_with("#!") {
            return Ok(None);
        }
        let file = self.step_file("script", heredoc.text().as_bytes(), 0o755, (0, 0))?;
        let target = format!("/dev/pipes/{}", heredoc.name);
        let source = format!("{}/script", file.path);
        mounts.mounts.push(bind(&source, &target, false));
        mounts.held.push(Held::Scratch(file));
        Ok(Some(vec![target]))
    }
}
