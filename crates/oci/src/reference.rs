//! Image references: `[domain/]path[:tag][@digest]`, as Docker reads and shows them.
//!
//! A [`Reference`] is always normalised (`busybox` is `docker.io/library/busybox`); the familiar
//! form is what Docker prints. Grammar, limits and error texts are those of
//! `distribution/reference`.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, DigestError};

/// The registry of a reference that names none.
pub const DEFAULT_DOMAIN: &str = "docker.io";
/// The tag of a reference that names neither tag nor digest.
pub const DEFAULT_TAG: &str = "latest";

const LEGACY_DEFAULT_DOMAIN: &str = "index.docker.io";
const OFFICIAL_PREFIX: &str = "library/";
const PATH_LENGTH_MAX: usize = 255;
const TAG_LENGTH_MAX: usize = 128;

/// A normalised image reference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a string is not a reference. The texts are Docker's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReferenceError {
    /// No grammar rule matches.
    InvalidFormat,
    /// The repository's path has upper-case letters.
    Uppercase(String),
    /// Sixty-four hex digits: an image id, not a name.
    Identifier(String),
    /// The path is longer than 255 characters.
    NameTooLong,
    /// The part after `@` is not a usable digest.
    Digest(DigestError),
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReferenceError::InvalidFormat => f.write_str("invalid reference format"),
            ReferenceError::Uppercase(path) => write!(
                f,
                "invalid reference format: repository name ({path}) must be lowercase"
            ),
            ReferenceError::Identifier(text) => write!(
                f,
                "invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            ),
            ReferenceError::NameTooLong => {
                write!(
                    f,
                    "repository name must not be more than {PATH_LENGTH_MAX} characters"
                )
            }
            ReferenceError::Digest(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReferenceError {}

impl Reference {
    /// Parses what a user types. Neither tag nor digest is added; see [`Reference::with_default_tag`].
    pub fn parse(text: &str) -> Result<Reference, ReferenceError> {
        if is_identifier(text) {
            return Err(ReferenceError::Identifier(text.to_string()));
        }
        let (domain, remainder) = split_domain(text);
        let path = remainder.split(':').next().unwrap_or_default();
        if path.chars().any(char::is_uppercase) {
            return Err(ReferenceError::Uppercase(path.to_string()));
        }
        parse_canonical(&domain, &remainder)
    }

    /// The registry, e.g. `docker.io` or `localhost:5000`.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry, e.g. `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag, if one was given.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if one was given.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The normalised name without tag and digest: `docker.io/library/busybox`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The name as Docker prints it: `busybox`, `user/app`, `localhost:5000/app`.
    pub fn familiar_name(&self) -> String {
        if self.domain != DEFAULT_DOMAIN {
            return self.name();
        }
        match self.path.strip_prefix(OFFICIAL_PREFIX) {
            Some(official) if !official.contains('/') => official.to_string(),
            _ => self.path.clone(),
        }
    }

    /// The whole reference as Docker prints it.
    pub fn familiar(&self) -> String {
        self.with_suffixes(self.familiar_name())
    }

    /// Adds `latest` if there is neither tag nor digest.
    pub fn with_default_tag(mut self) -> Reference {
        if self.tag.is_none() && self.digest.is_none() {
            self.tag = Some(DEFAULT_TAG.to_string());
        }
        self
    }

    /// The same repository under another tag, without a digest.
    pub fn with_tag(&self, tag: &str) -> Result<Reference, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::InvalidFormat);
        }
        Ok(Reference {
            tag: Some(tag.to_string()),
            digest: None,
            ..self.clone()
        })
    }

    /// The same repository at a digest, without a tag.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// The repository alone.
    pub fn trim(&self) -> Reference {
        Reference {
            tag: None,
            digest: None,
            ..self.clone()
        }
    }

    fn with_suffixes(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl fmt::Display for Reference {
    /// The normalised form: `docker.io/library/busybox:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffixes(self.name()))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        Reference::parse(text)
    }
}

/// Splits off the registry, or supplies Docker's. The first component is a registry if it could
/// not be a path component: it has a dot, a colon, an upper-case letter, or is `localhost`.
fn split_domain(text: &str) -> (String, String) {
    let (domain, remainder) = match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.chars().any(char::is_uppercase) =>
        {
            (first, rest)
        }
        _ => (DEFAULT_DOMAIN, text),
    };
    let domain = if domain == LEGACY_DEFAULT_DOMAIN {
        DEFAULT_DOMAIN
    } else {
        domain
    };
    if domain == DEFAULT_DOMAIN && !remainder.contains('/') {
        return (domain.to_string(), format!("{OFFICIAL_PREFIX}{remainder}"));
    }
    (domain.to_string(), remainder.to_string())
}

fn parse_canonical(domain: &str, remainder: &str) -> Result<Reference, ReferenceError> {
    let (named, digest) = match remainder.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (remainder, None),
    };
    // A colon can only begin a tag here: the port went with the domain.
    let (path, tag) = match named.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (named, None),
    };
    let grammatical = is_domain(domain)
        && path.split('/').all(is_path_component)
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest_shaped);
    if !grammatical {
        return Err(ReferenceError::InvalidFormat);
    }
    if path.len() > PATH_LENGTH_MAX {
        return Err(ReferenceError::NameTooLong);
    }
    let digest = match digest {
        Some(digest) => Some(digest.parse().map_err(ReferenceError::Digest)?),
        None => None,
    };
    Ok(Reference {
        domain: domain.to_string(),
        path: path.to_string(),
        tag: tag.map(str::to_string),
        digest,
    })
}

fn is_identifier(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// `host [ ":" port ]`, host a name, an IPv4 address or a bracketed IPv6 address.
fn is_domain(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => {
                let hex = |b: u8| b.is_ascii_hexdigit() || b == b':';
                if address.is_empty() || !address.bytes().all(hex) {
                    return false;
                }
                match port.strip_prefix(':') {
                    Some(port) => return is_port(port),
                    None => return port.is_empty(),
                }
            }
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    host.split('.').all(is_domain_component) && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_domain_component(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Runs of `[a-z0-9]` joined by one of `.`, `_`, `__` or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut rest = text.as_bytes();
    loop {
        let run = rest.iter().take_while(|&&b| alphanumeric(b)).count();
        if run == 0 {
            return false;
        }
        rest = &rest[run..];
        if rest.is_empty() {
            return true;
        }
        let separator = rest.iter().take_while(|&&b| !alphanumeric(b)).count();
        let valid = match &rest[..separator] {
            b"." | b"_" | b"__" => true,
            dashes => dashes.iter().all(|&b| b == b'-'),
        };
        if !valid {
            return false;
        }
        rest = &rest[separator..];
    }
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = text.bytes();
    bytes.next().is_some_and(word)
        && bytes.all(|b| word(b) || matches!(b, b'.' | b'-'))
        && text.len() <= TAG_LENGTH_MAX
}

/// The reference grammar's idea of a digest, wider than what [`Digest`] accepts: a digest that
/// fits here but not there gets the digest's own error.
fn is_digest_shaped(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else {
        return false;
    };
    let component = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    algorithm.split(['+', '.', '-', '_']).all(component)
        && hex.len() >= 32
        && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn normalised_and_familiar() {
        let at = format!("busybox@sha256:{HEX}");
        let both = format!("docker.io/library/busybox:1@sha256:{HEX}");
        // Typed, normalised, familiar; with the default tag added.
        let cases: &[(&str, &str, &str)] = &[
            (
                "busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            (
                "busybox:1.36",
                "docker.io/library/busybox:1.36",
                "busybox:1.36",
            ),
            (
                "library/busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            (
                "docker.io/busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            (
                "index.docker.io/library/busybox",
                "docker.io/library/busybox:latest",
                "busybox:latest",
            ),
            ("user/app", "docker.io/user/app:latest", "user/app:latest"),
            (
                "library/a/b",
                "docker.io/library/a/b:latest",
                "library/a/b:latest",
            ),
            (
                "localhost/app",
                "localhost/app:latest",
                "localhost/app:latest",
            ),
            (
                "localhost:5000/app",
                "localhost:5000/app:latest",
                "localhost:5000/app:latest",
            ),
            (
                "localhost:5000/app:x",
                "localhost:5000/app:x",
                "localhost:5000/app:x",
            ),
            ("a.b/c", "a.b/c:latest", "a.b/c:latest"),
            (
                "[::1]:5000/app",
                "[::1]:5000/app:latest",
                "[::1]:5000/app:latest",
            ),
            ("Upper/case", "Upper/case:latest", "Upper/case:latest"),
            (
                "127.0.0.1:5000",
                "docker.io/library/127.0.0.1:5000",
                "127.0.0.1:5000",
            ),
            (
                "foo__bar/baz--q",
                "docker.io/foo__bar/baz--q:latest",
                "foo__bar/baz--q:latest",
            ),
            (&at, &format!("docker.io/library/{at}"), &at),
            (&both, &both, &both["docker.io/library/".len()..]),
        ];
        for (typed, normalised, familiar) in cases {
            let reference = Reference::parse(typed).unwrap_or_else(|e| panic!("{typed}: {e}"));
            let reference = reference.with_default_tag();
            assert_eq!(reference.to_string(), *normalised, "{typed}");
            assert_eq!(reference.familiar(), *familiar, "{typed}");
            assert_eq!(
                Reference::parse(&reference.to_string()),
                Ok(reference.clone())
            );
            assert_eq!(Reference::parse(&reference.familiar()), Ok(reference));
        }
    }

    #[test]
    fn errors_read_as_dockers() {
        let long = format!("a/{}", "b".repeat(300));
        let long_tag = format!("a:{}", "b".repeat(129));
        let sha512 = format!("a@sha512:{HEX}");
        let format = "invalid reference format";
        let cases: &[(&str, &str)] = &[
            ("", format),
            (":justtag", format),
            ("-name", format),
            ("name-", format),
            ("a//b", format),
            ("a/b/", format),
            ("a___b", format),
            ("a..b", format),
            ("a b", format),
            ("a:", format),
            ("a:-x", format),
            ("a:x:y", format),
            ("a@", format),
            ("a@sha256:short", format),
            ("a:5000:tag/x", format),
            ("-dash.io/x", format),
            ("한글", format),
            ("https://github.com/docker/docker", format),
            (&long_tag, format),
            (
                "Busybox",
                "invalid reference format: repository name (library/Busybox) must be lowercase",
            ),
            (
                "user/App:x",
                "invalid reference format: repository name (user/App) must be lowercase",
            ),
            (
                HEX,
                &format!(
                    "invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings"
                ),
            ),
            (
                &long,
                "repository name must not be more than 255 characters",
            ),
            (&sha512, "unsupported digest algorithm"),
        ];
        for (typed, message) in cases {
            match Reference::parse(typed) {
                Ok(reference) => panic!("{typed:?} parsed as {reference}"),
                Err(error) => assert_eq!(error.to_string(), *message, "{typed:?}"),
            }
        }
    }

    #[test]
    fn edits() {
        let reference = Reference::parse("busybox:1").unwrap();
        assert_eq!(reference.with_tag("2").unwrap().familiar(), "busybox:2");
        assert_eq!(reference.with_tag("-"), Err(ReferenceError::InvalidFormat));
        assert_eq!(reference.trim().familiar(), "busybox");
        let digest = Digest::of(b"");
        assert_eq!(
            reference.with_digest(digest).familiar(),
            format!("busybox@{digest}")
        );
        assert_eq!(reference.domain(), "docker.io");
        assert_eq!(reference.path(), "library/busybox");
    }
}
