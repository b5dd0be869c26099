//! What a build takes from elsewhere: `ADD URL`, and a context that is a URL.

use engine_api::error::{ApiError, Result};
use engine_api::stream::Channel;
use layers::archive::is_archive;
use layers::download::Download;
use os::{OsExt, View};
use serve::{Body, Response};

use super::copy::{Item, Plan};
use super::git::{GitUrl, Heard};
use super::tree::Scratch;
use crate::Engine;

/// Bytes of an error's text that are told.
const BODY_MAX: usize = 8 << 10;
/// Redirections that are followed, as by Go's client.
const REDIRECTIONS_MAX: usize = 10;

/// Whether an `ADD` source is not in the context.
pub(super) fn is_remote(source: &str) -> bool {
    is_url(source) || GitUrl::parse(source).is_some()
}

pub(crate) fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// What a server says besides the status, for people.
async fn with_body(message: String, body: Body) -> String {
    let body = body.collect(BODY_MAX).await.unwrap_or_default();
    match String::from_utf8_lossy(&body).trim() {
        "" => message,
        body => format!("{message}: {body}"),
    }
}

/// The file a URL names; empty: none.
fn base_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    match path.split_once('/') {
        Some((_, path)) => path.rsplit('/').next().unwrap_or_default(),
        None => "",
    }
}

/// Where a redirection leads.
fn redirected(from: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_string();
    }
    let end = from.find("://").map_or(0, |at| at + 3);
    let host_end = from[end..].find('/').map_or(from.len(), |at| end + at);
    match location.starts_with('/') {
        true => format!("{}{location}", &from[..host_end]),
        false => {
            let directory = from.rfind('/').filter(|&at| at >= host_end);
            let directory = directory.map_or(&from[..host_end], |at| &from[..at]);
            format!("{directory}/{location}")
        }
    }
}

impl Engine {
    /// The sources of an `ADD` or `COPY`: those below `root`, and those that are fetched into `downloads`.
    pub(super) async fn copy_items(
        &self,
        plan: &mut Plan,
        root: &str,
        downloads: &str,
        copy: &dockerfile::Copy,
        heard: Heard<'_>,
    ) -> Result<Vec<Item>> {
        let adds = plan.name == "ADD";
        let (urls, files): (Vec<String>, Vec<String>) = std::mem::take(&mut plan.sources)
            .into_iter()
            .partition(|source| adds && is_remote(source));
        plan.sources = files;
        let mut items = plan.items(&self.os, root).await?;
        for (index, url) in urls.iter().enumerate() {
            let failed = |message: String| match plan.later {
                true if copy.checksum.is_empty() => {
                    ApiError::system(format!("failed to load cache key: {message}"))
                }
                true => ApiError::system(message),
                false => ApiError::system(format!("ADD failed: {message}")),
            };
            let path = format!("{downloads}/{index}");
            if let Some(git) = GitUrl::parse(url).filter(|_| plan.later) {
                self.os
                    .mkdir_all(View::Host, path.as_bytes(), 0o755)
                    .map_err(|errno| failed(errno.go_description()))?;
                let root = self
                    .git_source(&git, copy.keep_git_dir, &path, heard)
                    .await?;
                items.extend(Plan::whole().items(&self.os, &root).await?);
                continue;
            }
            let base = match (base_name(url), plan.destination.ends_with('/')) {
                ("", true) => {
                    return Err(failed(format!("cannot determine filename from url: {url}")));
                }
                (base, _) => base.to_string(),
            };
            let file = self.download(url, plan.later).await.map_err(failed)?;
            file.keep(&path)
                .map_err(|errno| failed(errno.go_description()))?;
            if !plan.later {
                heard(Channel::Stdout, b"\n");
            }
            let item = plan.fetched(&self.os, &path, &base).await?;
            item.check(&copy.checksum)?;
            items.push(item);
        }
        Ok(items)
    }

    async fn get(&self, url: &str, later: bool) -> std::result::Result<Response, String> {
        let mut url = url.to_string();
        for _ in 0..REDIRECTIONS_MAX {
            let response = self.registry.get(&url).await?;
            if !response.status().is_redirection() {
                let status = response.status();
                return match status.is_success() {
                    true => Ok(response),
                    false if later => Err(format!("invalid response status {}", status.as_u16())),
                    false => {
                        let message = format!("failed to GET {url} with status {status}");
                        Err(with_body(message, response.into_body()).await)
                    }
                };
            }
            let location = response.headers().get("location");
            let location = location.and_then(|value| value.to_str().ok());
            let location = location.ok_or_else(|| {
                format!(
                    "Get {url:?}: {} response missing Location header",
                    response.status()
                )
            })?;
            url = redirected(&url, location);
        }
        Err(format!("Get {url:?}: stopped after 10 redirects"))
    }

    /// Fetches a file; it takes room on the machine's disk. `later`: BuildKit's words for what goes wrong.
    pub(crate) async fn download(
        &self,
        url: &str,
        later: bool,
    ) -> std::result::Result<Download, String> {
        let failed = |(operation, error): (String, os::Errno)| {
            format!("{operation}: {}", error.go_description())
        };
        let mut body = self.get(url, later).await?.into_body();
        let mut file = Download::new(&self.os, &self.config.root).map_err(failed)?;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| format!("Get {url:?}: {error}"))?;
            file.write(&chunk).map_err(failed)?;
        }
        Ok(file)
    }

    /// The context behind a URL (an archive, a repository, or a Dockerfile alone): what is to be kept as long as
    /// it is used, its directory, and its Dockerfile.
    pub(super) async fn remote_context(
        &self,
        url: &str,
        dockerfile: &str,
    ) -> Result<(Scratch, String, Vec<u8>)> {
        if let Some(git) = GitUrl::parse(url) {
            let (directory, inside) = self.git_clone(&git).await?;
            let text = self.context_dockerfile(&inside, dockerfile).await?;
            self.ignore_files(&inside).await?;
            return Ok((directory, inside, text));
        }
        let failed = |why: String| {
            ApiError::system(format!("error downloading remote context {url}: {why}"))
        };
        let file = self.download(url, false).await.map_err(failed)?;
        let (directory, dockerfile) = match is_archive(&self.os, file.path().as_bytes()) {
            true => (self.unpack_context(&file).await?, dockerfile),
            false => {
                let directory = self.scratch("docker-builder")?;
                file.keep(&format!("{}/Dockerfile", directory.path))
                    .map_err(|errno| failed(errno.go_description()))?;
                (directory, "Dockerfile")
            }
        };
        let text = self.context_dockerfile(&directory.path, dockerfile).await?;
        self.ignore_files(&directory.path).await?;
        let path = directory.path.clone();
        Ok((directory, path, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, base) in [
            ("http://h/a/b.txt?x#y", "b.txt"),
            ("http://h", ""),
            ("http://h/", ""),
            ("https://h/a/", ""),
        ] {
            assert_eq!(base_name(url), base);
        }
        for (from, to, url) in [
            ("http://h/a/b", "/c", "http://h/c"),
            ("http://h/a/b", "c", "http://h/a/c"),
            ("http://h", "c", "http://h/c"),
            ("http://h/a", "http://i/b", "http://i/b"),
        ] {
            assert_eq!(redirected(from, to), url);
        }
        assert!(is_remote("git@h:x") && !is_remote("a/b"));
    }
}
