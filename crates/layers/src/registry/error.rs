//! Why something could not be had from a registry, in Docker's words.

use std::fmt;

use http::StatusCode;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use oci::{Digest, ErrorBody, ManifestError, Reference};
use serve::Response;

use super::auth;

/// Bytes of an error answer that are looked at.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// See the module's comment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RegistryError {
    /// The repository has no such tag or manifest.
    ManifestUnknown(String),
    /// There is no such repository, or it is not for us.
    Denied(String),
    /// The registry refused and says why: codes and messages.
    Refused {
        /// HTTP status.
        status: u16,
        /// `UNAUTHORIZED`, `DENIED`, … each with its message.
        errors: Vec<(String, String)>,
    },
    /// The registry answered with a status and text.
    Status {
        /// HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// A password is asked for and none was given; the request it was asked for.
    NoCredentials(String),
    /// The connection broke, or the registry cannot be reached.
    Transport(String),
    /// A blob is not what its digest promised.
    Verify(Digest),
    /// The registry has no such blob.
    UnknownBlob,
    /// A manifest is not what its digest promised.
    ManifestDigest(Digest),
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
            RegistryError::Refused { errors, .. } => refused(f, errors),
            RegistryError::Status { status, message } if message.is_empty() => {
                write!(f, "received unexpected HTTP status: {}", with_text(*status))
            }
            RegistryError::Status { message, .. } | RegistryError::Transport(message) => {
                f.write_str(message)
            }
            RegistryError::NoCredentials(request) => {
                write!(f, "{request}: {}", RegistryError::NO_CREDENTIALS)
            }
            RegistryError::Verify(digest) => {
                write!(
                    f,
                    "filesystem layer verification failed for digest {digest}"
                )
            }
            RegistryError::UnknownBlob => f.write_str("unknown blob"),
            RegistryError::ManifestDigest(digest) => {
                write!(f, "manifest verification failed for digest {digest}")
            }
            RegistryError::Manifest(error) => error.fmt(f),
            RegistryError::Keep(operation, error) => {
                write!(f, "{operation}: {}", error.go_description())
            }
        }
    }
}

/// One error stands alone, several under a heading.
fn refused(f: &mut fmt::Formatter<'_>, errors: &[(String, String)]) -> fmt::Result {
    if errors.len() > 1 {
        f.write_str("errors:\n")?;
    }
    for (code, message) in errors {
        write!(f, "{}: {message}", words(code))?;
        if errors.len() > 1 {
            f.write_str("\n")?;
        }
    }
    Ok(())
}

/// `MANIFEST_UNKNOWN` as `manifest unknown`.
fn words(code: &str) -> String {
    code.to_lowercase().replace('_', " ")
}

/// `401 Unauthorized`.
#[must_use]
pub fn with_text(status: u16) -> String {
    let text = StatusCode::from_u16(status).ok();
    let text = text.and_then(|status| status.canonical_reason());
    format!("{status} {}", text.unwrap_or_default())
}

impl std::error::Error for RegistryError {}

impl RegistryError {
    /// What Docker says when a password is wanted and there is none.
    pub const NO_CREDENTIALS: &str = "no basic auth credentials";

    /// True if the registry could not be spoken to, so another way to it may do.
    #[must_use]
    pub fn is_transport(&self) -> bool {
        matches!(self, RegistryError::Transport(_))
    }

    /// True if what was asked for is not there, as far as this client may know.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        match self {
            RegistryError::ManifestUnknown(_) | RegistryError::Denied(_) => true,
            RegistryError::Refused { errors, .. } => errors.first().is_some_and(|(code, _)| {
                matches!(
                    code.as_str(),
                    "DENIED" | "MANIFEST_UNKNOWN" | "NAME_UNKNOWN"
                )
            }),
            _ => false,
        }
    }

    /// The error as a pull of `reference` says it.
    #[must_use]
    pub fn of_pull(&self, reference: &Reference) -> String {
        let RegistryError::Refused { errors, .. } = self else {
            return self.to_string();
        };
        let name = reference.familiar_name();
        let about = match errors.first().map(|(code, _)| code.as_str()) {
            Some("DENIED") => format!(
                "pull access denied for {name}, repository does not exist or may require 'docker login': "
            ),
            Some("MANIFEST_UNKNOWN") => {
                format!("manifest for {} not found: ", reference.familiar())
            }
            Some("NAME_UNKNOWN") => format!("repository {name} not found: "),
            _ => String::new(),
        };
        about + &self.to_string()
    }
}

/// The answer, if it is no error.
pub(super) async fn success(response: Response) -> Result<Response, RegistryError> {
    match response.status().is_success() {
        true => Ok(response),
        false => Err(failure(response).await),
    }
}

/// What an answer that is an error means, as Docker's client of registries takes it.
pub(super) async fn failure(response: Response) -> RegistryError {
    let status = response.status();
    let challenged = response.headers().get_all(WWW_AUTHENTICATE).iter();
    let challenged = challenged
        .filter_map(|value| auth::refusal(value.to_str().ok()?))
        .next();
    let kind = response.headers().get(CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok());
    let kind = kind.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    let is_json = matches!(kind, Some("application/json" | "application/vnd.api+json"));
    let text = response.into_body().collect(ERROR_BYTES_MAX).await;
    let text = text.unwrap_or_default();
    let refused = |errors: Vec<(String, String)>| RegistryError::Refused {
        status: status.as_u16(),
        errors,
    };
    let said = String::from_utf8_lossy(&text).into_owned();
    match status {
        // A gateway that cannot reach a registry explains itself in plain text.
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT if !said.is_empty() => {
            return RegistryError::Transport(said);
        }
        status if !status.is_client_error() => {
            return RegistryError::Status {
                status: status.as_u16(),
                message: String::new(),
            };
        }
        _ => {}
    }
    let mut errors: Vec<(String, String)> = challenged.into_iter().collect();
    match is_json.then(|| parse(&text)) {
        None => errors.push((code(status).to_string(), said)),
        Some(Ok(Said::Details(details))) => errors.push((code(status).to_string(), details)),
        Some(Ok(Said::Errors(said))) => errors.extend(said),
        Some(Err(_)) if status == StatusCode::UNAUTHORIZED => {
            errors.push(("UNAUTHORIZED".into(), "authentication required".into()));
        }
        Some(Err(why)) => {
            let shown: String = said.chars().take(256).collect();
            return RegistryError::Status {
                status: status.as_u16(),
                message: format!(
                    "error parsing HTTP {} response body: {why}: {shown:?}",
                    status.as_u16()
                ),
            };
        }
    }
    refused(errors)
}

/// The error that a status stands for where the answer names none.
fn code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "UNAUTHORIZED",
        StatusCode::FORBIDDEN => "DENIED",
        StatusCode::TOO_MANY_REQUESTS => "TOOMANYREQUESTS",
        _ => "UNKNOWN",
    }
}

/// What a JSON answer says.
enum Said {
    /// Old token servers.
    Details(String),
    /// Codes and messages.
    Errors(Vec<(String, String)>),
}

fn parse(text: &[u8]) -> Result<Said, String> {
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|_| {
        let text = String::from_utf8_lossy(text);
        match text.trim_start().chars().next() {
            Some(c) if !"{[\"-0123456789tfn".contains(c) => {
                format!("invalid character '{c}' looking for beginning of value")
            }
            _ => "unexpected end of JSON input".to_string(),
        }
    })?;
    match value["details"].as_str() {
        Some(details) if !details.is_empty() => return Ok(Said::Details(details.to_string())),
        _ => {}
    }
    let body: ErrorBody = serde_json::from_value(value).unwrap_or_default();
    if body.errors.is_empty() {
        return Err("no error details found in HTTP response body".to_string());
    }
    let known = |code: String| match CODES.contains(&code.as_str()) {
        true => code,
        false => "UNKNOWN".to_string(),
    };
    let errors = body.errors.into_iter();
    let pairs = errors.map(|error| (known(error.code), error.message));
    Ok(Said::Errors(pairs.collect()))
}

/// The errors that Docker's client knows (the distribution specification's, and a few of its own).
const CODES: &[&str] = &[
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DENIED",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "MANIFEST_UNVERIFIED",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "PAGINATION_NUMBER_INVALID",
    "RANGE_INVALID",
    "SIZE_INVALID",
    "TAG_INVALID",
    "TOOMANYREQUESTS",
    "UNAUTHORIZED",
    "UNAVAILABLE",
    "UNSUPPORTED",
];

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use serve::Body;

    use super::*;

    #[test]
    fn answers_that_are_errors() {
        let json = "application/json";
        let unknown = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"not here"},{"code":"ODD","message":"x"}]}"#;
        let token = r#"Bearer realm="x",error="insufficient_scope""#;
        // Status, kind of content, challenge, content; then what is said.
        let cases = [
            (
                404,
                json,
                "",
                unknown,
                "errors:\nname unknown: not here\nunknown: x\n",
            ),
            (403, "", "", unknown, &format!("denied: {unknown}")),
            (
                401,
                json,
                "",
                r#"{"details":"wrong"}"#,
                "unauthorized: wrong",
            ),
            (401, json, "", "{}", "unauthorized: authentication required"),
            (429, "text/plain", "", "slowly", "toomanyrequests: slowly"),
            (404, "text/html; x=y", "", "<html>", "unknown: <html>"),
            (
                404,
                json,
                "",
                "<html>",
                "error parsing HTTP 404 response body: invalid character '<' looking for beginning of value: \
                 \"<html>\"",
            ),
            (
                404,
                json,
                "",
                "[]",
                "error parsing HTTP 404 response body: no error details found in HTTP response body: \"[]\"",
            ),
            (
                500,
                json,
                "",
                unknown,
                "received unexpected HTTP status: 500 Internal Server Error",
            ),
            (
                401,
                "",
                token,
                "no",
                "errors:\ndenied: requested access to the resource is denied\nunauthorized: no\n",
            ),
        ];
        for (status, kind, challenge, text, said) in cases {
            let mut response = Response::new(Body::from(text.to_string()));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            for (name, value) in [(CONTENT_TYPE, kind), (WWW_AUTHENTICATE, challenge)] {
                if !value.is_empty() {
                    response.headers_mut().insert(name, value.parse().unwrap());
                }
            }
            let mut cx = Context::from_waker(Waker::noop());
            match pin!(failure(response)).poll(&mut cx) {
                Poll::Ready(error) => assert_eq!(error.to_string(), said, "{status} {text}"),
                Poll::Pending => panic!("{status} {text}: waits"),
            }
        }
    }
}
