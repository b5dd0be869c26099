//! `/containers/{id}/archive` (`docker cp`).
//!
//! A running container is looked at through its first process; for one that does not run a task is
//! made that sees the same mounts. Either way the kernel resolves paths, links included, inside.

use std::io::Read;
use std::rc::Rc;

use engine_api::container::archive::{PathStat, Put, STAT_HEADER, base64, go_mode, path};
use engine_api::error::{ApiError, Result};
use engine_api::{json, timestamp};
use http::HeaderValue;
use layers::archive::{UnpackError, UnpackOptions, pack, unpack};
use os::{Errno, OsExt, TaskId, View};
use runtime::Mount;
use serve::{Body, BodyError, Response};

use crate::Engine;
use crate::dispatch::Context;
use crate::state::Container;

/// Bytes of an archive that is brought.
const ARCHIVE_MAX: usize = 256 << 20;

/// A way to look at a container's files.
struct Look {
    view: View,
    /// A task made only for this.
    task: Option<TaskId>,
}

/// The last part of a path: `/` for the root, and `.` for what is in a directory, as opposed to it.
fn base_name(path: &str) -> String {
    match path.trim_end_matches('/').rsplit('/').next() {
        Some(name) if !name.is_empty() => name.to_string(),
        _ => "/".to_string(),
    }
}

/// Whether `path` is `destination` or in it.
fn is_below(path: &[u8], destination: &str) -> bool {
    path.strip_prefix(destination.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

impl Engine {
    async fn look(&self, container: &Rc<Container>) -> Result<Look> {
        if let Ok(runtime) = container.running() {
            return Ok(Look {
                view: View::Task(runtime.init()),
                task: None,
            });
        }
        let failed = |what: String| ApiError::system(what);
        let mount = self
            .store
            .mount_container(&container.id)
            .map_err(|error| failed(error.to_string()))?;
        let mounts: Vec<Mount> = container
            .data
            .borrow()
            .mounts
            .iter()
            .filter(|mount| mount.point.kind != "tmpfs")
            .filter(|mount| self.os.exists(View::Host, mount.point.source.as_bytes()))
            .map(|mount| Mount {
                destination: mount.point.destination.clone(),
                kind: "bind".to_string(),
                source: mount.point.source.clone(),
                options: if mount.point.rw {
                    vec![]
                } else {
                    vec!["ro".to_string()]
                },
            })
            .collect();
        let task = runtime::mount_only(&self.os, &mount.merged, &mounts)
            .await
            .map_err(|error| failed(error.to_string()))?;
        Ok(Look {
            view: View::Task(task),
            task: Some(task),
        })
    }

    async fn look_away(&self, container: &Rc<Container>, look: Look) {
        if let Some(task) = look.task {
            let _ = self.os.kill(task, 9);
            let _ = self.os.wait(task).await;
            self.unmount_idle(container).await;
        }
    }

    fn stat(&self, name: &str, look: &Look, path: &str) -> Result<PathStat> {
        // A trailing slash or dot asks for what a link leads to.
        let follow = path.ends_with('/') || path.ends_with("/.");
        let full = runtime::path::clean(path);
        let missing = |errno: Errno| match errno {
            Errno::ENOENT | Errno::ENOTDIR => ApiError::not_found(format!(
                "Could not find the file {path} in container {name}"
            )),
            errno => ApiError::system(format!("lstat {full}: {}", errno.go_description())),
        };
        let metadata = self
            .os
            .metadata(look.view, full.as_bytes(), follow)
            .map_err(missing)?;
        if follow && path.ends_with('/') && !metadata.is_dir() {
            return Err(ApiError::invalid(format!(
                "extraction point is not a directory: {path}: not a directory"
            )));
        }
        let link_target = match metadata.is_symlink() {
            true => {
                let target = self.os.canonicalize(look.view, full.as_bytes());
                let target = target.or_else(|_| self.os.read_link(look.view, full.as_bytes()));
                String::from_utf8_lossy(&target.map_err(missing)?).into_owned()
            }
            false => String::new(),
        };
        let nanos =
            metadata.mtime.sec.max(0) as u64 * 1_000_000_000 + u64::from(metadata.mtime.nsec);
        Ok(PathStat {
            name: base_name(path),
            size: metadata.size,
            mode: go_mode(metadata.mode),
            mtime: timestamp::format(nanos),
            link_target,
        })
    }

    /// HEAD.
    pub(crate) async fn container_archive_info(&self, context: Context) -> Result<Response> {
        let wanted = path(&context.query)?;
        let container = self.find_container(context.param(0))?;
        let look = self.look(&container).await?;
        let stat = self.stat(context.param(0), &look, wanted);
        self.look_away(&container, look).await;
        let mut response = json::response(200, Body::empty(), Some("application/json"));
        add_stat(&mut response, &stat?);
        Ok(response)
    }

    /// GET.
    pub(crate) async fn container_archive_get(&self, context: Context) -> Result<Response> {
        let wanted = path(&context.query)?.to_string();
        let container = self.find_container(context.param(0))?;
        let look = self.look(&container).await?;
        let stat = match self.stat(context.param(0), &look, &wanted) {
            Ok(stat) => stat,
            Err(error) => {
                self.look_away(&container, look).await;
                return Err(error);
            }
        };
        let (sender, body) = Body::channel();
        let mut response = json::response(200, body, Some("application/x-tar"));
        add_stat(&mut response, &stat);
        let engine = self.rc();
        self.os.executor().spawn(async move {
            let mut full = runtime::path::clean(&wanted).into_bytes();
            if (wanted.ends_with('/') || wanted.ends_with("/."))
                && let Ok(real) = engine.os.canonicalize(look.view, &full)
            {
                full = real;
            }
            let name = stat.name.as_bytes();
            let packed = pack(&engine.os, look.view, &full, name, &sender).await;
            if packed.is_err() {
                sender.abort(BodyError::Aborted);
            }
            engine.container_event(&container, "archive-path", &[]);
            engine.look_away(&container, look).await;
        });
        Ok(response)
    }

    /// PUT.
    pub(crate) async fn container_archive_put(&self, context: Context) -> Result<Response> {
        let put = Put::parse(&context.query)?;
        let name = context.param(0).to_string();
        let container = self.find_container(&name)?;
        let archive = context
            .body
            .collect(ARCHIVE_MAX)
            .await
            .map_err(|error| ApiError::invalid(error.to_string()))?;
        let look = self.look(&container).await?;
        let outcome = self.extract(&name, &container, &look, &put, &archive).await;
        self.look_away(&container, look).await;
        outcome?;
        self.container_event(&container, "extract-to-dir", &[]);
        Ok(json::response(200, Body::empty(), None))
    }

    /// Who the container runs as, if it says so: the owner of what `docker cp -a` brings.
    async fn container_user(
        &self,
        container: &Container,
        view: View,
    ) -> Result<Option<(u32, u32)>> {
        let user = container.data.borrow().config.user.clone();
        if user.is_empty() {
            return Ok(None);
        }
        let found = self.resolve_user(&user, view).await?;
        Ok(Some((found.uid, found.gid)))
    }

    /// A user by what the files of a container say.
    pub(crate) async fn resolve_user(&self, user: &str, view: View) -> Result<runtime::user::User> {
        let mut texts = [String::new(), String::new()];
        for (text, file) in texts.iter_mut().zip(["/etc/passwd", "/etc/group"]) {
            let content = self
                .os
                .read_file(view, file.as_bytes())
                .await
                .unwrap_or_default();
            *text = String::from_utf8_lossy(&content).into_owned();
        }
        runtime::user::resolve(user, &[], &texts[0], &texts[1]).map_err(ApiError::invalid)
    }

    async fn extract(
        &self,
        name: &str,
        container: &Container,
        look: &Look,
        put: &Put,
        archive: &[u8],
    ) -> Result<()> {
        let missing = |_| {
            ApiError::not_found(format!(
                "Could not find the file {} in container {name}",
                put.path
            ))
        };
        let target = runtime::path::clean(&put.path);
        let target = self
            .os
            .canonicalize(look.view, target.as_bytes())
            .map_err(missing)?;
        if !self
            .os
            .metadata(look.view, &target, true)
            .map_err(missing)?
            .is_dir()
        {
            return Err(ApiError::invalid("extraction point is not a directory"));
        }
        {
            let data = container.data.borrow();
            let volume = data
                .mounts
                .iter()
                .find(|mount| is_below(&target, &mount.point.destination));
            match volume {
                Some(mount) if !mount.point.rw => {
                    return Err(ApiError::invalid("mounted volume is marked read-only"));
                }
                None if data.host_config.readonly_rootfs => {
                    return Err(ApiError::invalid("container rootfs is marked read-only"));
                }
                _ => {}
            }
        }
        let options = UnpackOptions {
            no_overwrite_dir_non_dir: put.no_overwrite_dir_non_dir,
            owner: if put.copy_uid_gid {
                self.container_user(container, look.view).await?
            } else {
                None
            },
            ..UnpackOptions::default()
        };
        let reader: Box<dyn Read + '_> = Box::new(archive);
        unpack(&self.os, look.view, &target, reader, options)
            .await
            .map_err(|error| match error {
                UnpackError::Os { .. } => ApiError::system(error.to_string()),
                other => ApiError::invalid(other.to_string()),
            })?;
        Ok(())
    }
}

fn add_stat(response: &mut Response, stat: &PathStat) {
    let text = base64(&serde_json::to_vec(stat).unwrap_or_default());
    if let Ok(value) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(STAT_HEADER, value);
    }
}

#[cfg(test)]
mod tests {
    use super::{base_name, is_below};

    #[test]
    fn names() {
        for (path, name) in [
            ("/a/b", "b"),
            ("/a/b/", "b"),
            ("/a/b/.", "."),
            ("/", "/"),
            ("/.", "."),
            ("a", "a"),
        ] {
            assert_eq!(base_name(path), name);
        }
        assert!(is_below(b"/a", "/a") && is_below(b"/a/b", "/a") && !is_below(b"/ab", "/a"));
    }
}
