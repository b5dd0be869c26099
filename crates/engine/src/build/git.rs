//! Git repositories as sources of a build: the machine's own `git` does the work, as it does for dockerd.

use engine_api::error::{ApiError, Result};
use engine_api::stream::Channel;
use layers::scope;
use os::{Errno, OsExt, View};

use super::tree::Scratch;
use crate::Engine;
use crate::program::Output;

/// What keeps git from asking, and from settings of the machine's.
const ENV: [&str; 5] = [
    "GIT_TERMINAL_PROMPT=0",
    "GIT_SSH_COMMAND=ssh -F /dev/null -o StrictHostKeyChecking=no",
    "GIT_CONFIG_NOSYSTEM=1",
    "HOME=/dev/null",
    "LC_ALL=C",
];
/// A branch's name that git does not remark on.
const MASTER: &str = "init.defaultBranch=master";

/// Who hears what git writes.
pub(crate) type Heard<'a> = &'a dyn Fn(Channel, &[u8]);

/// `URL#REF:DIRECTORY`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GitUrl {
    remote: String,
    /// Branch, tag or commit; empty: what the repository's `HEAD` is.
    reference: String,
    subdir: String,
}

impl GitUrl {
    /// The repository a text names; `None`: it names none.
    pub(crate) fn parse(text: &str) -> Option<GitUrl> {
        let (remote, fragment) = text.split_once('#').unwrap_or((text, ""));
        let remote = match remote {
            remote if remote.starts_with("github.com/") => format!("https://{remote}"),
            remote => remote.to_string(),
        };
        let by_scheme = ["git://", "ssh://", "git@"]
            .iter()
            .any(|scheme| remote.starts_with(scheme));
        let http = remote.starts_with("http://") || remote.starts_with("https://");
        let named = http && (remote.ends_with(".git") || text.starts_with("github.com/"));
        let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
        (by_scheme || named).then(|| GitUrl {
            remote,
            reference: reference.to_string(),
            subdir: subdir.to_string(),
        })
    }

    fn is_commit(&self) -> bool {
        let reference = &self.reference;
        reference.len() == 40 && reference.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

/// Why BuildKit's git fails.
fn git_error(output: &Output) -> String {
    format!(
        "git error: exit status {}\nstderr:\n{}",
        output.code, output.stderr
    )
}

impl Engine {
    async fn git(
        &self,
        directory: &str,
        arguments: &[&str],
        heard: Heard<'_>,
    ) -> std::result::Result<Output, String> {
        let mut argv = vec!["git"];
        argv.extend(arguments);
        self.run_program(&argv, &ENV, directory, heard).await
    }

    /// As [`Engine::git`]; a code other than 0 is an error in BuildKit's words.
    async fn git_done(
        &self,
        directory: &str,
        arguments: &[&str],
        heard: Heard<'_>,
    ) -> std::result::Result<String, String> {
        let output = self.git(directory, arguments, heard).await?;
        match output.code {
            0 => Ok(output.stdout),
            _ => Err(git_error(&output)),
        }
    }

    /// Where repositories are kept that builds were made from.
    pub(super) fn git_mirrors(&self) -> String {
        format!("{}/buildkit/git", self.config.root)
    }

    /// The mirror of a repository, made if need be.
    async fn git_mirror(
        &self,
        url: &GitUrl,
        heard: Heard<'_>,
    ) -> std::result::Result<String, String> {
        let hash = oci::Digest::of(url.remote.as_bytes()).hex();
        let mirror = format!("{}/{}", self.git_mirrors(), &hash[..25]);
        if self
            .os
            .exists(View::Host, format!("{mirror}/config").as_bytes())
        {
            return Ok(mirror);
        }
        self.os
            .mkdir_all(View::Host, mirror.as_bytes(), 0o700)
            .map_err(|errno| format!("mkdir {mirror}: {}", errno.go_description()))?;
        let made = async {
            self.git_done(&mirror, &["-c", MASTER, "init", "--bare"], heard)
                .await
                .map_err(|error| format!("failed to init repo at {mirror}: {error}"))?;
            let add = ["remote", "add", "origin", &url.remote];
            self.git_done(&mirror, &add, heard)
                .await
                .map_err(|error| format!("failed add origin repo at {mirror}: {error}"))
        };
        if let Err(error) = made.await {
            let _ = self.os.remove_all(View::Host, mirror.as_bytes());
            return Err(error);
        }
        Ok(mirror)
    }

    /// Which branch, tag or commit is meant. It is there when this has succeeded.
    async fn git_reference(
        &self,
        url: &GitUrl,
        mirror: &str,
        heard: Heard<'_>,
    ) -> std::result::Result<String, String> {
        if url.is_commit() {
            return Ok(url.reference.clone());
        }
        let mut reference = url.reference.clone();
        if reference.is_empty() {
            let head = ["ls-remote", "--symref", &url.remote, "HEAD"];
            let told = self.git_done(mirror, &head, heard).await.map_err(|error| {
                let remote = &url.remote;
                format!("error fetching default branch for repository {remote}: {error}")
            })?;
            let branch = told
                .lines()
                .find_map(|line| line.strip_prefix("ref: refs/heads/")?.split('\t').next());
            reference = branch
                .ok_or_else(|| format!("could not find default branch for {}", url.remote))?
                .to_string();
        }
        let list = ["ls-remote", "origin", "--", &reference];
        let told = self.git_done(mirror, &list, heard).await.map_err(|error| {
            let remote = &url.remote;
            format!("failed to fetch remote {remote}: {error}")
        })?;
        match told.trim().is_empty() {
            true => Err(format!(
                "repository does not contain ref {reference}, output: {told:?}"
            )),
            false => Ok(reference),
        }
    }

    /// Puts the files of a repository into `target`, as BuildKit does; gives the directory that was meant. With
    /// `keep` there is a `.git`.
    pub(crate) async fn git_source(
        &self,
        url: &GitUrl,
        keep: bool,
        target: &str,
        heard: Heard<'_>,
    ) -> Result<String> {
        let failed = |why: String| ApiError::system(why);
        let _turn = self.build_cache.lock(&format!("git {}", url.remote));
        let _turn = _turn.take().await;
        let early = |why: String| failed(format!("failed to load cache key: {why}"));
        let mirror = self.git_mirror(url, heard).await.map_err(early)?;
        let reference = self
            .git_reference(url, &mirror, heard)
            .await
            .map_err(early)?;
        let (mut fetch, refspec) = (vec!["fetch"], format!("{reference}:tags/{reference}"));
        match url.is_commit() {
            true => fetch.push("origin"),
            false => fetch.extend(["--depth=1", "--no-tags", "--force", "origin", &refspec]),
        }
        let remote = &url.remote;
        self.git_done(&mirror, &fetch, heard)
            .await
            .map_err(|error| failed(format!("failed to fetch remote {remote}: {error}")))?;
        let checkout = |error| failed(format!("failed to checkout remote {remote}: {error}"));
        if keep {
            let from = match url.is_commit() {
                true => reference.clone(),
                false => format!("tags/{reference}"),
            };
            for arguments in [
                &["-c", MASTER, "init"][..],
                &["remote", "add", "origin", &mirror],
                &["fetch", "-u", "--depth=1", "origin", &from],
                &["checkout", "FETCH_HEAD"],
                &["remote", "set-url", "origin", remote],
                &["reflog", "expire", "--all", "--expire=now"],
            ] {
                self.git_done(target, arguments, heard)
                    .await
                    .map_err(checkout)?;
            }
            for name in ["FETCH_HEAD", "ORIG_HEAD"] {
                let path = format!("{target}/.git/{name}");
                // It need not be there.
                let _ = self.os.unlink(View::Host, path.as_bytes());
            }
        } else {
            let (directory, tree) = (
                format!("--git-dir={mirror}"),
                format!("--work-tree={target}"),
            );
            let arguments = [&directory, &tree, "checkout", &reference, "--", "."];
            self.git_done(target, &arguments, heard)
                .await
                .map_err(checkout)?;
        }
        self.git_subdir(target, &url.subdir).map_err(|errno| {
            let inside = url.subdir.trim_matches('/');
            failed(format!(
                "invalid subdir /{inside}: failed to lstat {inside:?}: statat {inside}: {}",
                errno.go_description()
            ))
        })
    }

    fn git_subdir(&self, target: &str, subdir: &str) -> os::Result<String> {
        let (os, root) = (&self.os, target.as_bytes());
        let path = scope::resolve(os, View::Host, root, subdir.as_bytes(), true)?;
        match os.metadata(View::Host, &path, false)?.is_dir() {
            true => Ok(String::from_utf8_lossy(&path).into_owned()),
            false => Err(Errno::ENOTDIR),
        }
    }

    /// A repository's files, as the classic builder gets them: the directory that was meant, in one of its own.
    pub(super) async fn git_clone(&self, url: &GitUrl) -> Result<(Scratch, String)> {
        let directory = self.scratch("docker-build-git")?;
        let reference = match url.reference.as_str() {
            "" => "HEAD",
            reference => reference,
        };
        let root = directory.path.as_str();
        let git = async |arguments: &[&str], what: &str| {
            let output = self.git(root, arguments, &|_, _| {}).await;
            let output = output.map_err(|why| ApiError::system(format!("{what}: {why}")))?;
            match output.code {
                0 => Ok(()),
                code => Err(ApiError::system(format!(
                    "{what}: {}{}: exit status {code}",
                    output.stdout, output.stderr
                ))),
            }
        };
        git(&["-c", MASTER, "init"], "failed to init repo").await?;
        git(
            &["remote", "add", "origin", &url.remote],
            "failed add origin repo",
        )
        .await?;
        git(
            &["fetch", "--depth", "1", "origin", "--", reference],
            "error fetching",
        )
        .await?;
        if git(&["checkout", reference], "").await.is_err() {
            git(&["checkout", "FETCH_HEAD"], "error checking out").await?;
        }
        let inside = self.git_subdir(root, &url.subdir).map_err(|errno| {
            ApiError::system(format!(
                "stat {root}/{}: {}",
                url.subdir.trim_matches('/'),
                errno.go_description()
            ))
        })?;
        Ok((directory, inside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_urls_are_repositories() {
        for (text, remote, reference, subdir) in [
            ("git://h/x#v1:a/b", "git://h/x", "v1", "a/b"),
            ("https://h/x.git", "https://h/x.git", "", ""),
            ("https://h/x.git#:a", "https://h/x.git", "", "a"),
            ("github.com/a/b#main", "https://github.com/a/b", "main", ""),
            ("git@h:a/b.git", "git@h:a/b.git", "", ""),
        ] {
            let url = GitUrl::parse(text).expect(text);
            assert_eq!(
                (&*url.remote, &*url.reference, &*url.subdir),
                (remote, reference, subdir)
            );
        }
        for text in [
            "https://h/x.tar",
            "http://h/x.gitx",
            "a/b",
            "https://h/#x.git",
        ] {
            assert_eq!(GitUrl::parse(text), None, "{text}");
        }
    }
}
