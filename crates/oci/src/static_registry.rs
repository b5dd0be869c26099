//! The distribution API as plain files.
//!
//! A registry that any static file server can be: the paths of the API mapped to files without a
//! `:` in their names (some hosts refuse it), every blob and manifest stored once, by digest.
//!
//! | API path | file, below the registry's root |
//! |---|---|
//! | `/v2/` | `v2/version.json` |
//! | `/v2/_catalog` | `v2/catalog.json` ([`crate::Catalog`], with descriptions) |
//! | `/v2/<name>/tags/list` | `v2/<name>/tags/list` |
//! | `/v2/<name>/manifests/<tag>` | `v2/<name>/manifests/<tag>` (the index itself, not a link) |
//! | `/v2/<name>/manifests/<digest>` | `v2/blobs/sha256/<hex>` |
//! | `/v2/<name>/blobs/<digest>` | `v2/blobs/sha256/<hex>` |
//!
//! Writer: `cargo xtask images`. Reader: crate `layers`. Images of registries other than Docker's
//! are kept under the registry's name; see [`static_repository`].

use crate::digest::Digest;
use crate::reference::{DEFAULT_DOMAIN, Reference};

/// Where the catalogue is.
pub fn catalog_path() -> &'static str {
    "v2/catalog.json"
}

/// Where a blob or manifest of this digest is.
pub fn blob_path(digest: &Digest) -> String {
    format!("v2/blobs/sha256/{}", digest.hex())
}

/// Where the index of `repository:tag` is.
pub fn tag_path(repository: &str, tag: &str) -> String {
    format!("v2/{repository}/manifests/{tag}")
}

/// The repository's name in the static tree: Docker's as they are, others below their domain.
pub fn static_repository(reference: &Reference) -> String {
    if reference.domain() == DEFAULT_DOMAIN {
        return reference.path().to_string();
    }
    // Brackets and colons come from IPv6 addresses and ports.
    let domain = reference.domain().replace([':', '[', ']'], "_");
    format!("{domain}/{}", reference.path())
}

/// The file for an API path such as `/v2/library/busybox/manifests/latest`, or `None` if the API
/// has no such path. The result never contains an empty, `.` or `..` component.
pub fn static_path(api_path: &str) -> Option<String> {
    let rest = api_path.trim_start_matches('/').strip_prefix("v2")?;
    match rest {
        "" | "/" => return Some("v2/version.json".to_string()),
        "/_catalog" => return Some(catalog_path().to_string()),
        _ => {}
    }
    let rest = rest.strip_prefix('/')?;
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return is_safe(name).then(|| format!("v2/{name}/tags/list"));
    }
    // From the right, because a repository may be called `manifests`.
    let (rest, last) = rest.rsplit_once('/')?;
    let (name, kind) = rest.rsplit_once('/')?;
    if !is_safe(name) {
        return None;
    }
    match kind {
        "blobs" => Some(blob_path(&last.parse().ok()?)),
        "manifests" => match last.parse() {
            Ok(digest) => Some(blob_path(&digest)),
            Err(_) if is_safe(last) => Some(tag_path(name, last)),
            Err(_) => None,
        },
        _ => None,
    }
}

fn is_safe(name: &str) -> bool {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'/');
    name.bytes().all(safe) && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn api_paths() {
        let digest = Digest::of(b"");
        let blob = format!("v2/blobs/sha256/{}", digest.hex());
        let cases: &[(String, Option<&str>)] = &[
            ("/v2/".into(), Some("v2/version.json")),
            ("/v2".into(), Some("v2/version.json")),
            ("/v2/_catalog".into(), Some("v2/catalog.json")),
            (
                "/v2/library/busybox/manifests/latest".into(),
                Some("v2/library/busybox/manifests/latest"),
            ),
            (
                "/v2/library/busybox/tags/list".into(),
                Some("v2/library/busybox/tags/list"),
            ),
            (
                "/v2/manifests/manifests/x".into(),
                Some("v2/manifests/manifests/x"),
            ),
            (
                format!("/v2/library/busybox/manifests/{digest}"),
                Some(&blob),
            ),
            (format!("/v2/library/busybox/blobs/{digest}"), Some(&blob)),
            ("/v2/a/blobs/sha256:../../x".into(), None),
            ("/v2/../x/manifests/latest".into(), None),
            ("/v2/a/manifests/..".into(), None),
            ("/v2/a//manifests/x".into(), None),
            ("/v2/a/other/x".into(), None),
            ("/v1/a".into(), None),
            ("/v2/manifests/x".into(), None),
        ];
        for (path, expected) in cases {
            assert_eq!(static_path(path).as_deref(), *expected, "{path}");
        }
    }

    #[test]
    fn repositories() {
        let cases = [
            ("busybox", "library/busybox"),
            ("drydock/node", "drydock/node"),
            ("localhost:5000/a", "localhost_5000/a"),
            ("a.example/b/c", "a.example/b/c"),
        ];
        for (typed, expected) in cases {
            let reference = Reference::parse(typed).unwrap();
            assert_eq!(static_repository(&reference), expected);
        }
    }
}
