//! A repository of a registry that was spoken to: requests with what the registry wants to know about us.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, StatusCode, Uri};
use oci::{
    DEFAULT_DOMAIN, Descriptor, Digest, MANIFEST_SIZE_MAX, ManifestDocument, ManifestError,
    Reference, Verifier,
};
use serve::{Body, BodyError, Request, Response};

use super::auth::{Challenge, Credentials, TokenAnswer, escape};
use super::error::{RegistryError, failure, success, with_text};
use super::{Endpoint, Via};

/// Media types of manifests, most wanted first.
pub const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";
/// The header that names what is answered.
const CONTENT_DIGEST: &str = "docker-content-digest";
/// Bytes of a blob that is taken into memory, such as an image's config.
const BLOB_BYTES_MAX: u64 = 8 << 20;
/// Bytes of a token server's answer.
const TOKEN_BYTES_MAX: usize = 1 << 20;
/// Redirects followed, as in Go.
const REDIRECTS_MAX: usize = 10;

/// What is to be done with a repository.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reading.
    Pull,
    /// Writing too.
    Push,
}

impl Access {
    /// As a token's scope has it.
    fn actions(self) -> &'static str {
        match self {
            Access::Pull => "pull",
            Access::Push => "push,pull",
        }
    }
}

/// See the module's comment.
pub struct Repository {
    endpoint: Endpoint,
    reference: Reference,
    access: Access,
    credentials: Credentials,
    challenges: Vec<Challenge>,
    /// Tokens by scope, with the second in which each ends.
    tokens: RefCell<BTreeMap<String, (String, u64)>>,
}

/// `Get "URL"`, as Go's client names a request that failed.
fn named(method: &Method, url: &str) -> String {
    let method = method.as_str();
    let (first, rest) = method.split_at(1.min(method.len()));
    format!("{first}{} \"{url}\"", rest.to_lowercase())
}

fn broken(error: BodyError) -> RegistryError {
    RegistryError::Transport(error.to_string())
}

impl Endpoint {
    /// Sends a request once.
    async fn send(
        &self,
        method: &Method,
        url: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Response, RegistryError> {
        let failed =
            |why: String| RegistryError::Transport(format!("{}: {why}", named(method, url)));
        let uri: Uri = url
            .parse()
            .map_err(|_| failed(format!("parse \"{url}\": invalid URL")))?;
        let (mut head, body) = Request::new(body).into_parts();
        head.method = method.clone();
        head.uri = uri;
        head.headers = headers;
        let request = Request::from_parts(head, body);
        match &self.via {
            Via::Service(service) => Ok(service.call(request).await),
            Via::Network(network) => network.send(request).await.map_err(failed),
        }
    }

    /// Asks the registry for its version; gives how it wants to be told who we are.
    async fn ping(&self) -> Result<Vec<Challenge>, RegistryError> {
        if self.is_static() {
            return Ok(Vec::new());
        }
        let url = format!("{}/v2/", self.base);
        let answer = self.send(&Method::GET, &url, HeaderMap::new(), Body::empty());
        let answer = answer.await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(Vec::new());
        }
        let asked = answer.headers().get_all(WWW_AUTHENTICATE).iter();
        let asked = asked.filter_map(|value| Challenge::parse(value.to_str().ok()?));
        Ok(asked.collect())
    }

    fn seconds(&self) -> u64 {
        match &self.via {
            Via::Service(_) => 0,
            Via::Network(network) => network.os.clock().unix_seconds(),
        }
    }

    /// A token of the server at `realm`. `request`: what it is for, as errors name it.
    async fn token(
        &self,
        realm: &str,
        service: &str,
        scopes: &[String],
        credentials: &Credentials,
        request: &str,
    ) -> Result<(String, u64), RegistryError> {
        let about =
            |why: &dyn std::fmt::Display| RegistryError::Transport(format!("{request}: {why}"));
        let mut fields = Vec::new();
        if !service.is_empty() {
            fields.push(("service", service.to_string()));
        }
        let mut headers = HeaderMap::new();
        let refresh = !credentials.identitytoken.is_empty();
        if refresh {
            fields.push(("client_id", "docker".to_string()));
            fields.push(("grant_type", "refresh_token".to_string()));
            fields.push(("refresh_token", credentials.identitytoken.clone()));
            fields.push(("scope", scopes.join(" ")));
        } else {
            fields.extend(scopes.iter().map(|scope| ("scope", scope.clone())));
            // Who logs in asks for nothing but a token to keep.
            if scopes.is_empty() {
                fields.push(("offline_token", "true".to_string()));
                fields.push(("client_id", "docker".to_string()));
            }
            if let Some((user, _)) = credentials.basic() {
                fields.push(("account", user));
            }
            put_authorization(&mut headers, credentials.basic_header());
        }
        let pairs = fields.iter();
        let pairs = pairs.map(|(name, value)| format!("{name}={}", escape(value)));
        let query = pairs.collect::<Vec<_>>().join("&");
        let answer = if refresh {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(CONTENT_TYPE, form);
            self.send(&Method::POST, realm, headers, query.into()).await
        } else {
            let joint = if realm.contains('?') { '&' } else { '?' };
            let url = format!("{realm}{joint}{query}");
            self.send(&Method::GET, &url, headers, Body::empty()).await
        };
        let answer = answer.map_err(|error| about(&error))?;
        let answer = match success(answer).await {
            Ok(answer) => answer,
            Err(error) => return Err(about(&error)),
        };
        let bytes = answer.into_body().collect(TOKEN_BYTES_MAX).await;
        let bytes = bytes.map_err(|error| about(&error))?;
        let token = serde_json::from_slice::<TokenAnswer>(&bytes)
            .map_err(|error| about(&format!("unable to decode token response: {error}")))?;
        let token = token
            .token()
            .ok_or_else(|| about(&"authorization server did not include a token in the response"));
        token.map(|(token, holds)| (token, self.seconds() + holds))
    }
}

fn put_authorization(headers: &mut HeaderMap, value: Option<String>) {
    if let Some(Ok(mut value)) = value.map(HeaderValue::try_from) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
}

/// Whether a registry takes who we say we are.
pub(super) async fn login(
    endpoint: &Endpoint,
    credentials: &Credentials,
) -> Result<(), RegistryError> {
    let url = format!("{}/v2/", endpoint.base);
    if endpoint.is_static() {
        let host = match endpoint.base.trim_start_matches("http://") {
            DEFAULT_DOMAIN => "registry-1.docker.io",
            host => host,
        };
        return Err(RegistryError::Transport(format!(
            "Get \"https://{host}/v2/\": dial tcp: lookup {host}: no such host (this playground has no way out to \
             the Internet; its own images need no login)"
        )));
    }
    let mut headers = HeaderMap::new();
    match endpoint.ping().await?.first() {
        None => {}
        Some(Challenge::Basic) => put_authorization(&mut headers, credentials.basic_header()),
        Some(Challenge::Bearer { realm, service }) => {
            let request = named(&Method::GET, &url);
            let token = endpoint.token(realm, service, &[], credentials, &request);
            put_authorization(&mut headers, Some(format!("Bearer {}", token.await?.0)));
        }
    }
    let answer = endpoint.send(&Method::GET, &url, headers, Body::empty());
    match answer.await?.status() {
        StatusCode::OK => Ok(()),
        status => Err(RegistryError::Status {
            status: status.as_u16(),
            message: format!(
                "login attempt to {url} failed with status: {}",
                with_text(status.as_u16())
            ),
        }),
    }
}

impl Repository {
    pub(super) async fn open(
        endpoint: &Endpoint,
        reference: &Reference,
        access: Access,
        credentials: Credentials,
    ) -> Result<Repository, RegistryError> {
        Ok(Repository {
            challenges: endpoint.ping().await?,
            endpoint: endpoint.clone(),
            reference: reference.trim(),
            access,
            credentials,
            tokens: RefCell::default(),
        })
    }

    /// The name, without tag and digest.
    #[must_use]
    pub fn reference(&self) -> &Reference {
        &self.reference
    }

    /// How it is reached.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// `BASE/v2/NAME/PATH`.
    fn url(&self, path: &str) -> String {
        format!("{}/v2/{}/{path}", self.endpoint.base, self.reference.path())
    }

    /// What the registry wants to hear with a request.
    async fn authorization(
        &self,
        request: &str,
        also: Option<&str>,
    ) -> Result<Option<String>, RegistryError> {
        match self.challenges.first() {
            None => Ok(None),
            Some(_) if !self.credentials.registrytoken.is_empty() => {
                Ok(Some(format!("Bearer {}", self.credentials.registrytoken)))
            }
            Some(Challenge::Basic) => match self.credentials.basic_header() {
                Some(header) => Ok(Some(header)),
                None => Err(RegistryError::NoCredentials(request.to_string())),
            },
            Some(Challenge::Bearer { realm, service }) => {
                let own = (self.reference.path(), self.access.actions());
                let others = also.iter().map(|other| (*other, "pull"));
                let scopes: Vec<String> = [own]
                    .into_iter()
                    .chain(others)
                    .map(|(name, actions)| format!("repository:{name}:{actions}"))
                    .collect();
                let key = scopes.join(" ");
                let known = self.tokens.borrow().get(&key).cloned();
                if let Some((token, end)) = known
                    && self.endpoint.seconds() < end
                {
                    return Ok(Some(format!("Bearer {token}")));
                }
                let token = self
                    .endpoint
                    .token(realm, service, &scopes, &self.credentials, request)
                    .await?;
                let header = format!("Bearer {}", token.0);
                self.tokens.borrow_mut().insert(key, token);
                Ok(Some(header))
            }
        }
    }

    /// Sends a request with what the registry wants to know. `also`: another repository that is read.
    pub(crate) async fn request(
        &self,
        method: &Method,
        url: &str,
        mut headers: HeaderMap,
        body: Body,
        also: Option<&str>,
    ) -> Result<Response, RegistryError> {
        // What we are is nobody else's business: a redirect may lead elsewhere.
        if url.starts_with(&format!("{}/", self.endpoint.base)) {
            let about = self.authorization(&named(method, url), also).await?;
            put_authorization(&mut headers, about);
        }
        self.endpoint.send(method, url, headers, body).await
    }

    /// Reads, following redirects.
    async fn read(
        &self,
        method: Method,
        path: &str,
        accept: &str,
    ) -> Result<Response, RegistryError> {
        let mut url = match path.strip_prefix("/v2/") {
            Some(_) => format!("{}{path}", self.endpoint.base),
            None => self.url(path),
        };
        let mut headers = HeaderMap::new();
        if let Ok(value) = accept.parse() {
            headers.insert(ACCEPT, value);
        }
        for _ in 0..=REDIRECTS_MAX {
            let answer = self
                .request(&method, &url, headers.clone(), Body::empty(), None)
                .await?;
            let target = answer.headers().get(LOCATION);
            let target = target.and_then(|target| target.to_str().ok());
            match (answer.status().as_u16(), target) {
                (301 | 302 | 303 | 307 | 308, Some(target)) => url = resolve(&url, target),
                _ => return Ok(answer),
            }
        }
        Err(RegistryError::Transport(format!(
            "{}: stopped after {REDIRECTS_MAX} redirects",
            named(&method, &url)
        )))
    }

    /// The digest that a tag stands for, as `HEAD` tells it; `None` if it does not.
    async fn tag_digest(&self, tag: &str) -> Result<Option<Digest>, RegistryError> {
        let path = format!("manifests/{tag}");
        let answer = self.read(Method::HEAD, &path, MANIFEST_TYPES).await?;
        let digest = answer.headers().get(CONTENT_DIGEST);
        let digest = digest.and_then(|digest| digest.to_str().ok()?.parse().ok());
        Ok(digest.filter(|_| answer.status().is_success()))
    }

    /// The manifest document of a tag or digest, and its digest.
    pub async fn manifest(
        &self,
        reference: &Reference,
    ) -> Result<(ManifestDocument, Digest, Bytes), RegistryError> {
        let tag = reference.tag().unwrap_or("latest");
        let wanted = match reference.digest() {
            Some(digest) => Some(digest),
            None if self.endpoint.is_static() => None,
            None => self.tag_digest(tag).await?,
        };
        let name = wanted.map_or(tag.to_string(), |digest| digest.to_string());
        let response = self
            .read(Method::GET, &format!("manifests/{name}"), MANIFEST_TYPES)
            .await?;
        if self.endpoint.is_static() && response.status() == StatusCode::NOT_FOUND {
            return Err(self.missing(reference).await);
        }
        let body = success(response).await?.into_body();
        let bytes = body.collect(MANIFEST_SIZE_MAX).await;
        let bytes = bytes.map_err(|error| match error {
            BodyError::TooLarge => {
                RegistryError::Manifest(ManifestError::TooLarge(MANIFEST_SIZE_MAX + 1))
            }
            other => broken(other),
        })?;
        let digest = Digest::of(&bytes);
        if let Some(expected) = wanted.filter(|expected| *expected != digest) {
            return Err(RegistryError::ManifestDigest(expected));
        }
        let document = ManifestDocument::parse(&bytes).map_err(RegistryError::Manifest)?;
        Ok((document, digest, bytes.into()))
    }

    /// A static tree cannot tell a wrong tag from a wrong name in one answer, so the tags are asked for.
    async fn missing(&self, reference: &Reference) -> RegistryError {
        let tags = self.read(Method::GET, "tags/list", "application/json");
        match tags.await {
            Ok(response) if response.status().is_success() => {
                RegistryError::ManifestUnknown(reference.familiar())
            }
            Ok(response) if response.status() == StatusCode::NOT_FOUND => {
                RegistryError::Denied(reference.familiar_name())
            }
            Ok(response) => failure(response).await,
            Err(error) => error,
        }
    }

    /// A blob of at most [`BLOB_BYTES_MAX`] bytes, verified against its descriptor.
    pub async fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
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
        self.blob_to(descriptor, keep, &|_| {}).await?;
        Ok(bytes)
    }

    /// A blob, verified against its descriptor once all of it went to `keep`. `seen` is told how many
    /// bytes have come.
    pub async fn blob_to(
        &self,
        descriptor: &Descriptor,
        mut keep: impl FnMut(&[u8]) -> Result<(), RegistryError>,
        seen: &dyn Fn(u64),
    ) -> Result<(), RegistryError> {
        let path = format!("blobs/{}", descriptor.digest);
        let response = self.read(Method::GET, &path, "*/*").await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Err(RegistryError::UnknownBlob);
        }
        let response = success(response).await?;
        let wrong = |_| RegistryError::Verify(descriptor.digest);
        // The descriptor bounds what is kept.
        let mut verifier = Verifier::new(descriptor.digest, Some(descriptor.size));
        let mut body = response.into_body();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(broken)?;
            verifier.update(&chunk).map_err(wrong)?;
            keep(&chunk)?;
            seen(verifier.seen());
        }
        verifier.finish().map_err(wrong)?;
        Ok(())
    }

    /// All tags.
    pub async fn tags(&self) -> Result<Vec<String>, RegistryError> {
        let response = self
            .read(Method::GET, "tags/list", "application/json")
            .await?;
        if self.endpoint.is_static() && response.status() == StatusCode::NOT_FOUND {
            return Err(RegistryError::Denied(self.reference.familiar_name()));
        }
        let body = success(response).await?.into_body();
        let bytes = body.collect(MANIFEST_SIZE_MAX).await.map_err(broken)?;
        let list: oci::TagList = serde_json::from_slice(&bytes)
            .map_err(|error| RegistryError::Transport(error.to_string()))?;
        Ok(list.tags)
    }

    /// A document of the registry, such as the catalogue.
    pub(super) async fn document(&self, path: &str) -> Result<Vec<u8>, RegistryError> {
        let path = format!("/v2/{path}");
        let response = success(self.read(Method::GET, &path, "application/json").await?).await?;
        let body = response.into_body().collect(MANIFEST_SIZE_MAX);
        body.await.map_err(broken)
    }

    /// The descriptor of a blob that is there.
    pub(crate) async fn blob_size(&self, digest: &Digest) -> Result<Option<u64>, RegistryError> {
        let path = format!("blobs/{digest}");
        let answer = self.read(Method::HEAD, &path, "*/*").await?;
        match answer.status() {
            status if status.is_success() => {
                let length = answer.headers().get(http::header::CONTENT_LENGTH);
                let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
                Ok(Some(length.unwrap_or(0)))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(failure(answer).await),
        }
    }

    /// Begins an upload. `Ok(None)`: the blob was mounted from another repository and is there.
    pub(crate) async fn start_upload(
        &self,
        mount: Option<(&Digest, &str)>,
    ) -> Result<Option<String>, RegistryError> {
        let mut url = self.url("blobs/uploads/");
        if let Some((digest, from)) = mount {
            let digest = escape(&digest.to_string());
            url = format!("{url}?from={}&mount={digest}", escape(from));
        }
        let also = mount.map(|(_, from)| from);
        let answer = self
            .request(&Method::POST, &url, HeaderMap::new(), Body::empty(), also)
            .await?;
        match answer.status() {
            StatusCode::CREATED if mount.is_some() => Ok(None),
            StatusCode::ACCEPTED => location(&url, &answer).map(Some),
            _ => Err(failure(answer).await),
        }
    }

    /// Sends the bytes of an upload; gives where it is to be ended.
    pub(crate) async fn upload(&self, url: &str, body: Body) -> Result<String, RegistryError> {
        let mut headers = HeaderMap::new();
        let kind = HeaderValue::from_static("application/octet-stream");
        headers.insert(CONTENT_TYPE, kind);
        let answer = self.request(&Method::PATCH, url, headers, body, None);
        let answer = success(answer.await?).await?;
        location(url, &answer)
    }

    /// Ends an upload: the bytes were these.
    pub(crate) async fn end_upload(&self, url: &str, digest: &Digest) -> Result<(), RegistryError> {
        let joint = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{joint}digest={}", escape(&digest.to_string()));
        let answer = self.request(&Method::PUT, &url, HeaderMap::new(), Body::empty(), None);
        success(answer.await?).await.map(|_| ())
    }

    /// Gives a manifest a name.
    pub(crate) async fn put_manifest(
        &self,
        name: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<(), RegistryError> {
        let mut headers = HeaderMap::new();
        if let Ok(kind) = media_type.parse() {
            headers.insert(CONTENT_TYPE, kind);
        }
        let url = self.url(&format!("manifests/{name}"));
        let answer = self.request(&Method::PUT, &url, headers, bytes.into(), None);
        success(answer.await?).await.map(|_| ())
    }
}

/// Where an answer sends us on.
fn location(url: &str, answer: &Response) -> Result<String, RegistryError> {
    let target = answer.headers().get(LOCATION);
    let target = target.and_then(|target| target.to_str().ok());
    match target {
        Some(target) if !target.is_empty() => Ok(resolve(url, target)),
        _ => Err(RegistryError::Transport(
            "http: no Location header in response".to_string(),
        )),
    }
}

/// A reference of a URL, as far as registries write them (RFC 3986).
fn resolve(base: &str, target: &str) -> String {
    if target.contains("://") {
        return target.to_string();
    }
    let scheme = base.find("://").map_or(0, |at| at + 3);
    if let Some(rest) = target.strip_prefix("//") {
        return format!("{}{rest}", &base[..scheme]);
    }
    let host_end = base[scheme..]
        .find('/')
        .map_or(base.len(), |at| scheme + at);
    match target.starts_with('/') {
        true => format!("{}{target}", &base[..host_end]),
        false => {
            let path = base[host_end..].split('?').next().unwrap_or_default();
            let directory = path.rfind('/').map_or("", |at| &path[..at]);
            format!("{}{directory}/{target}", &base[..host_end])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let base = "http://a:5000/v2/x/blobs/uploads/?y=1";
        for (target, expected) in [
            ("http://b/c", "http://b/c"),
            ("//b/c", "http://b/c"),
            ("/v2/u?s=1", "http://a:5000/v2/u?s=1"),
            ("u", "http://a:5000/v2/x/blobs/uploads/u"),
        ] {
            assert_eq!(resolve(base, target), expected);
        }
        assert_eq!(resolve("http://a", "/b"), "http://a/b");
        assert_eq!(named(&Method::PATCH, "http://a/"), "Patch \"http://a/\"");
    }
}
