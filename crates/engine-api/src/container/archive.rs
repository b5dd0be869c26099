//! `/containers/{id}/archive`: a path as a tar archive (`docker cp`).

use serde::Serialize;

use crate::error::{ApiError, Result};
use crate::query::Query;

/// The header with a [`PathStat`] in base64.
pub const STAT_HEADER: &str = "x-docker-container-path-stat";

/// The path of all three methods.
pub fn path(query: &Query) -> Result<&str> {
    match query.text("path") {
        "" => Err(ApiError::invalid("bad parameter: pathcannot be empty")),
        path => Ok(path),
    }
}

/// The parameters of PUT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The directory to extract to.
    pub path: String,
    /// A directory must not replace a file, nor the other way round.
    pub no_overwrite_dir_non_dir: bool,
    /// Keep owners.
    pub copy_uid_gid: bool,
}

impl Put {
    /// Parses.
    pub fn parse(query: &Query) -> Result<Put> {
        Ok(Put {
            path: path(query)?.to_string(),
            no_overwrite_dir_non_dir: query.flag("noOverwriteDirNonDir"),
            copy_uid_gid: query.flag("copyUIDGID"),
        })
    }
}

/// What a path is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PathStat {
    /// Last part of the path.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Go's file mode, see [`go_mode`].
    pub mode: u32,
    /// RFC 3339.
    pub mtime: String,
    /// Where a link points to.
    #[serde(rename = "linkTarget")]
    pub link_target: String,
}

/// Linux type and permission bits as Go's `os.FileMode`.
#[must_use]
pub fn go_mode(mode: u32) -> u32 {
    let kind = match mode & 0o170_000 {
        0o040_000 => 1 << 31,
        0o120_000 => 1 << 27,
        0o060_000 => 1 << 26,
        0o020_000 => 1 << 26 | 1 << 21,
        0o010_000 => 1 << 25,
        0o140_000 => 1 << 24,
        _ => 0,
    };
    let bit = |linux: u32, go: u32| if mode & linux == 0 { 0 } else { 1 << go };
    kind | bit(0o4000, 23) | bit(0o2000, 22) | bit(0o1000, 20) | mode & 0o777
}

/// RFC 4648 base64 with padding, for the header.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte))
            << (8 * (3 - chunk.len()));
        for index in 0..4 {
            let sextet = bits >> (18 - 6 * index) & 63;
            text.push(if index > chunk.len() {
                '='
            } else {
                char::from(ALPHABET[sextet as usize])
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(go_mode(0o040_755), 0x8000_01ed);
        assert_eq!(go_mode(0o100_644), 0o644);
        assert_eq!(go_mode(0o041_777), 0x8010_01ff);
    }
}
