//! A client of the OCI distribution API over any [`Service`]: the playground's static tree, a registry
//! in a container, the host's network.

use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{StatusCode, Uri};
use oci::{
    Descriptor, Digest, ErrorBody, MANIFEST_SIZE_MAX, ManifestDocument, ManifestError, Reference,
    Verifier, VerifyError,
};
use serve::{Body, BodyError, Request, Response, Service};

/// Media types of manifests, most wanted first.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// Bytes of a blob that is taken into memory, such as an image's config.
const BLOB_BYTES_MAX: u64 = 8 << 20;
/// Bytes of an error answer that are looked at.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// Why something could not be had from a registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegistryError {
    /// The repository has no such tag or manifest.
    ManifestUnknown(String),
    /// There is no such repository, or it is not for us.
    Denied(String),
    /// The registry answered with a status and text.
    Status {
        /// HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// The connection broke, or the registry cannot be reached.
    Transport(String),
    /// The answer is not what its digest promised.
    Verify(VerifyError),
    /// The manifest cannot be used.
    Manifest(ManifestError),
    /// What came could not be kept: what was tried, and why not.
    Keep(String, os::Errno),
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegistryError::ManifestUnknown(reference) => {
                write!(
                    f,
                    "manifest for {reference} not found: manifest unknown: manifest unknown"
                )
            }
            RegistryError::Denied(name) => write!(
                f,
                "pull access denied for {name}, repository does not exist or may require 'docker login': \
                 denied: requested access to the resource is denied"
            ),
            RegistryError::Status { status, message } if message.is_empty() => {
                write!(f, "received unexpected HTTP status: {status}")
            }
            RegistryError::Status { message, .. } | RegistryError::Transport(message) => {
                f.write_str(message)
            }
            RegistryError::Verify(VerifyError::Digest { expected, .. }) => {
                write!(
                    f,
                    "filesystem layer verification failed for digest {expected}"
                )
            }
            RegistryError::Verify(error) => {
                write!(f, "filesystem layer verification failed: {error}")
            }
            RegistryError::Manifest(error) => error.fmt(f),
            RegistryError::Keep(operation, error) => {
                write!(f, "{operation}: {}", error.go_description())
            }
        }
    }
}

impl std::error::Error for RegistryError {}

/// A registry.
#[derive(Clone)]
pub struct Registry(Rc<dyn Service>);

impl Registry {
    /// A registry that `service` leads to. Requests carry `http://DOMAIN/v2/…`.
    #[must_use]
    pub fn new(service: Rc<dyn Service>) -> Registry {
        Registry(service)
    }

    async fn get(
        &self,
        reference: &Reference,
        path: &str,
        accept: &str,
    ) -> Result<Response, RegistryError> {
        let broken = |error: String| RegistryError::Transport(error);
        let uri: Uri = format!("http://{}/v2/{path}", reference.domain())
            .parse()
            .map_err(|_| broken(format!("invalid registry endpoint {}", reference.domain())))?;
        let request = Request::new(Body::empty());
        let (mut head, body) = request.into_parts();
        head.uri = uri;
        if let Ok(value) = accept.parse() {
            head.headers.insert(ACCEPT, value);
        }
        Ok(self.0.call(Request::from_parts(head, body)).await)
    }

    /// The manifest document of a tag or digest, and its digest.
    pub async fn manifest(
        &self,
        reference: &Reference,
    ) -> Result<(ManifestDocument, Digest, Bytes), RegistryError> {
        let wanted = reference.digest();
        let name = match wanted {
            Some(digest) => digest.to_string(),
            None => reference.tag().unwrap_or("latest").to_string(),
        };
        let response = self
            .get(
                reference,
                &format!("{}/manifests/{name}", reference.path()),
                MANIFEST_TYPES,
            )
            .await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(self.missing(reference).await);
        }
        let response = success(response).await?;
        let bytes = response
            .into_body()
            .collect(MANIFEST_SIZE_MAX)
            .await
            .map_err(|error| match error {
                BodyError::TooLarge => {
                    RegistryError::Manifest(ManifestError::TooLarge(MANIFEST_SIZE_MAX + 1))
                }
                other => RegistryError::Transport(other.to_string()),
            })?;
        let digest = Digest::of(&bytes);
        if let Some(expected) = wanted
            && expected != digest
        {
            return Err(RegistryError::Verify(VerifyError::Digest {
                expected,
                actual: digest,
            }));
        }
        let document = ManifestDocument::parse(&bytes).map_err(RegistryError::Manifest)?;
        Ok((document, digest, bytes.into()))
    }

    /// A static tree cannot tell a wrong tag from a wrong name in one answer, so the tags are asked for.
    async fn missing(&self, reference: &Reference) -> RegistryError {
        match self
            .get(
                reference,
                &format!("{}/tags/list", reference.path()),
                "application/json",
            )
            .await
        {
            Ok(response) if response.status().is_success() => {
                RegistryError::ManifestUnknown(reference.familiar())
            }
            Ok(_) => RegistryError::Denied(reference.familiar_name()),
            Err(error) => error,
        }
    }

    /// A blob of at most [`BLOB_BYTES_MAX`] bytes, verified against its descriptor.
    pub async fn blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
    ) -> Result<Vec<u8>, RegistryError> {
        if descriptor.size > BLOB_BYTES_MAX {
            return Err(RegistryError::Manifest(ManifestError::TooLarge(
                descriptor.size as usize,
            )));
        }
        let mut bytes = Vec::with_capacity(descriptor.size as usize);
        let keep = |part: &[u8]| {
            bytes.extend_from_slice(part);
            Ok(())
        };
        self.blob_to(reference, descriptor, keep, &|_| {}).await?;
        Ok(bytes)
    }

    /// A blob, verified against its descriptor once all of it went to `keep`. `seen` is told how many
    /// bytes have come.
    pub async fn blob_to(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        mut keep: impl FnMut(&[u8]) -> Result<(), RegistryError>,
        seen: &dyn Fn(u64),
    ) -> Result<(), RegistryError> {
        let path = format!("{}/blobs/{}", reference.path(), descriptor.digest);
        let response = success(self.get(reference, &path, "*/*").await?).await?;
        // The descriptor bounds what is kept.
        let mut verifier = Verifier::new(descriptor.digest, Some(descriptor.size));
        let mut body = response.into_body();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| RegistryError::Transport(error.to_string()))?;
            verifier.update(&chunk).map_err(RegistryError::Verify)?;
            keep(&chunk)?;
            seen(verifier.seen());
        }
        verifier.finish().map_err(RegistryError::Verify)?;
        Ok(())
    }

    /// All tags of a repository.
    pub async fn tags(&self, reference: &Reference) -> Result<Vec<String>, RegistryError> {
        let path = format!("{}/tags/list", reference.path());
        let response = self.get(reference, &path, "application/json").await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(RegistryError::Denied(reference.familiar_name()));
        }
        let body = success(response).await?.into_body();
        let broken = |error: String| RegistryError::Transport(error);
        let bytes = body.collect(MANIFEST_SIZE_MAX).await;
        let bytes = bytes.map_err(|error| broken(error.to_string()))?;
        let list: oci::TagList =
            serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
        Ok(list.tags)
    }

    /// A document of the registry, such as the catalogue.
    pub async fn document(
        &self,
        reference: &Reference,
        path: &str,
    ) -> Result<Vec<u8>, RegistryError> {
        let response = success(self.get(reference, path, "application/json").await?).await?;
        let body = response.into_body().collect(MANIFEST_SIZE_MAX);
        body.await
            .map_err(|error| RegistryError::Transport(error.to_string()))
    }
}

async fn success(response: Response) -> Result<Response, RegistryError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let text = response
        .into_body()
        .collect(ERROR_BYTES_MAX)
        .await
        .unwrap_or_default();
    let message = match serde_json::from_slice::<ErrorBody>(&text) {
        Ok(body) => body.errors.first().map(|error| {
            format!(
                "{}: {}",
                error.code.to_lowercase().replace('_', " "),
                error.message
            )
        }),
        // A gateway that cannot reach a registry explains itself in plain text.
        Err(_) if status.is_server_error() => Some(String::from_utf8_lossy(&text).into_owned()),
        Err(_) => None,
    };
    let message = message.unwrap_or_default();
    Err(
        if status == StatusCode::BAD_GATEWAY || status == StatusCode::GATEWAY_TIMEOUT {
            RegistryError::Transport(message)
        } else {
            RegistryError::Status {
                status: status.as_u16(),
                message,
            }
        },
    )
}
