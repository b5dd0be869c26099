//! The stock images as a registry: the distribution API answered from static files.

use bytes::Bytes;
use clock::Executor;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use oci::{DEFAULT_DOMAIN, ErrorBody, static_path};
use serve::{Body, BodyError, BodySender, LocalBoxFuture, Request, Response, Service};

use crate::fetch::Fetcher;

/// Bytes of a blob that are fetched at a time, so that a download has a progress and a connection
/// that breaks costs one part.
pub(crate) const PART_BYTES: u64 = 2 << 20;

/// A registry over a [`Fetcher`]. Docker Hub's names lead to the static tree, other registries' below
/// their domain; what is not there cannot be reached from here and fails as on an offline host.
pub struct StaticRegistry {
    /// Carries the downloads out.
    pub fetcher: Fetcher,
    /// Runs the streaming of blobs.
    pub executor: Executor,
}

impl Service for StaticRegistry {
    fn call(&self, request: Request) -> LocalBoxFuture<Response> {
        let (fetcher, executor) = (self.fetcher.clone(), self.executor.clone());
        Box::pin(async move { answer(&fetcher, &executor, &request).await })
    }
}

async fn answer(fetcher: &Fetcher, executor: &Executor, request: &Request) -> Response {
    let host = request.uri().host().unwrap_or(DEFAULT_DOMAIN);
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        // Nobody has an account here.
        return error(
            StatusCode::FORBIDDEN,
            "DENIED",
            "requested access to the resource is denied",
        );
    }
    let path = request.uri().path();
    let path = if host == DEFAULT_DOMAIN {
        path.to_string()
    } else {
        path.replacen("/v2/", &format!("/v2/{host}/"), 1)
    };
    let path = path.as_str();
    let Some(file) = static_path(path) else {
        return error(
            StatusCode::NOT_FOUND,
            "NAME_INVALID",
            "invalid repository name",
        );
    };
    let immutable = file.starts_with("v2/blobs/");
    let label = label(path);
    // Blobs lie in one place for all repositories, but one that is not there has none: a push asks that.
    if let Some((repository, _)) = path.split_once("/blobs/")
        && *request.method() == Method::HEAD
        && let Some(tags) = static_path(&format!("{repository}/tags/list"))
        && let Ok(404) = fetcher
            .get(&tags, None, false, &label)
            .await
            .map(|it| it.status)
    {
        return error(
            StatusCode::NOT_FOUND,
            "BLOB_UNKNOWN",
            "not in this playground's registry",
        );
    }
    let range = path.contains("/blobs/").then_some((0, PART_BYTES - 1));
    match fetcher.get(&file, range, immutable, &label).await {
        Ok(fetched) if matches!(fetched.status, 200 | 206) => {
            let media_type = media_type(path, &fetched.body);
            let complete = range.is_none() || (fetched.body.len() as u64) < PART_BYTES;
            let body = if complete {
                fetched.body.into()
            } else {
                let (sender, body) = Body::channel();
                let fetcher = fetcher.clone();
                executor.spawn(async move {
                    parts(&fetcher, &file, &label, fetched.body, sender).await
                });
                body
            };
            let mut response = Response::new(body);
            if let Some(media_type) = media_type {
                response.headers_mut().insert(CONTENT_TYPE, media_type);
            }
            response
        }
        Ok(fetched) if fetched.status == 404 && host != DEFAULT_DOMAIN => {
            // Docker's resolver says this when there is no network behind it.
            let text = format!(
                "Get \"https://{host}/v2/\": dial tcp: lookup {host}: no such host \
                 (this playground has no way out to the Internet; `docker search` lists its images)"
            );
            plain(StatusCode::BAD_GATEWAY, text)
        }
        Ok(fetched) if fetched.status == 404 => {
            let unknown = if path.contains("/blobs/") {
                "BLOB_UNKNOWN"
            } else {
                "MANIFEST_UNKNOWN"
            };
            error(
                StatusCode::NOT_FOUND,
                unknown,
                "not in this playground's registry",
            )
        }
        Ok(fetched) => plain(
            StatusCode::from_u16(fetched.status).unwrap_or(StatusCode::BAD_GATEWAY),
            format!("received unexpected HTTP status: {}", fetched.status),
        ),
        Err(why) => plain(
            StatusCode::BAD_GATEWAY,
            format!("Get \"https://{host}{path}\": {why}"),
        ),
    }
}

/// What the page's progress bar calls a download: the repository.
fn label(path: &str) -> String {
    let rest = path.trim_start_matches("/v2/");
    let end = ["/manifests/", "/blobs/", "/tags/"]
        .iter()
        .filter_map(|kind| rest.rfind(kind))
        .max()
        .unwrap_or(rest.len());
    rest[..end].trim_start_matches("library/").to_string()
}

/// Static hosts know no media types of manifests: the document says it itself.
fn media_type(path: &str, body: &[u8]) -> Option<HeaderValue> {
    if !path.contains("/manifests/") {
        return Some(HeaderValue::from_static("application/octet-stream"));
    }
    let document: serde_json::Value = serde_json::from_slice(body).ok()?;
    document.get("mediaType")?.as_str()?.parse().ok()
}

/// Sends the first part and fetches the others, until one is short.
pub(crate) async fn parts(
    fetcher: &Fetcher,
    file: &str,
    label: &str,
    first: Bytes,
    to: BodySender,
) {
    let mut offset = first.len() as u64;
    if to.send(first).await.is_err() {
        return;
    }
    loop {
        match fetcher
            .get(file, Some((offset, offset + PART_BYTES - 1)), true, label)
            .await
        {
            Ok(fetched) if matches!(fetched.status, 200 | 206) => {
                let length = fetched.body.len() as u64;
                if to.send(fetched.body).await.is_err() || length < PART_BYTES {
                    return;
                }
                offset += length;
            }
            // The file ended with the part before.
            Ok(fetched) if fetched.status == 416 => return,
            _ => return to.abort(BodyError::Aborted),
        }
    }
}

pub(crate) fn plain(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response
}

fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let text = serde_json::to_string(&ErrorBody::new(code, message)).unwrap_or_default();
    let mut response = plain(status, text);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_repository_names() {
        let cases = [
            ("/v2/library/busybox/manifests/latest", "busybox"),
            ("/v2/drydock/node/blobs/sha256:00", "drydock/node"),
            ("/v2/manifests/manifests/x", "manifests"),
            ("/v2/_catalog", "_catalog"),
        ];
        for (path, expected) in cases {
            assert_eq!(label(path), expected);
        }
    }
}
