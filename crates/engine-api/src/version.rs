//! API versions: the prefix of a path, and who is too old or too new.

use std::fmt;

use crate::error::{ApiError, Result};

/// `major.minor`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version(pub u16, pub u16);

/// The newest version spoken.
pub const NEWEST: Version = Version(1, 51);
/// The release of Docker that speaks it: clients read features off a daemon's version, so ours is that.
pub const ENGINE: &str = "28.5.2";
/// The oldest version spoken.
pub const OLDEST: Version = Version(1, 24);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Version {
    /// Parses `1.45`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Version> {
        let (major, minor) = text.split_once('.')?;
        Some(Version(major.parse().ok()?, minor.parse().ok()?))
    }

    /// Whether a path asks for a version from before errors were JSON.
    #[must_use]
    pub fn is_outdated(path: &str) -> bool {
        let text = path
            .strip_prefix("/v")
            .and_then(|rest| rest.split('/').next());
        text.and_then(Version::parse)
            .is_some_and(|version| version < OLDEST)
    }

    /// Splits `/v1.45/info` into version and path. A path without a version asks for the newest.
    pub fn split(path: &str) -> Result<(Version, &str)> {
        let prefix = path.strip_prefix("/v").and_then(|rest| {
            let (text, _) = rest.split_once('/')?;
            let numeric = text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.');
            (numeric && !text.is_empty()).then_some((text, &rest[text.len()..]))
        });
        let Some((text, path)) = prefix else {
            return Ok((NEWEST, path));
        };
        let version = Version::parse(text).unwrap_or(Version(0, 0));
        if version > NEWEST {
            return Err(ApiError::invalid(format!(
                "client version {text} is too new. Maximum supported API version is {NEWEST}"
            )));
        }
        if version < OLDEST {
            return Err(ApiError::invalid(format!(
                "client version {text} is too old. Minimum supported API version is {OLDEST}, please \
                 upgrade your client to a newer version"
            )));
        }
        Ok((version, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        assert_eq!(Version::split("/v1.45/info"), Ok((Version(1, 45), "/info")));
        assert_eq!(Version::split("/info"), Ok((NEWEST, "/info")));
        assert!(Version::is_outdated("/v1.20/info") && !Version::is_outdated("/v1.24/info"));
        assert!(!Version::is_outdated("/volumes/x") && !Version::is_outdated("/info"));
        assert_eq!(Version::split("/volumes/x"), Ok((NEWEST, "/volumes/x")));
        assert_eq!(
            Version::split("/v1.99/info").unwrap_err().message,
            "client version 1.99 is too new. Maximum supported API version is 1.51"
        );
        assert_eq!(
            Version::split("/v1.12/info").unwrap_err().message,
            "client version 1.12 is too old. Minimum supported API version is 1.24, please upgrade \
             your client to a newer version"
        );
    }
}
