//! The platform a manifest is for, and how a host's platform matches it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Operating system and processor, in Go's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `riscv64`, …
    #[serde(default)]
    pub architecture: String,
    /// `linux`, …
    #[serde(default)]
    pub os: String,
    /// `v7`, `v8`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Windows build number.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
}

impl Platform {
    /// The platform of every Drydock machine.
    pub fn host() -> Platform {
        Platform {
            architecture: "riscv64".to_string(),
            os: "linux".to_string(),
            variant: None,
            os_version: None,
        }
    }

    /// Parses `--platform` values: `os/arch[/variant]`, or an architecture alone.
    pub fn parse(text: &str) -> Option<Platform> {
        let mut parts = text.split('/');
        let first = parts.next()?;
        let word = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        let (os, architecture) = match parts.next() {
            Some(second) => (first.to_ascii_lowercase(), second),
            None if first.eq_ignore_ascii_case("linux") => ("linux".to_string(), "riscv64"),
            None => ("linux".to_string(), first),
        };
        let variant = parts.next().map(str::to_ascii_lowercase);
        if parts.next().is_some() || !word(&os) || !word(architecture) {
            return None;
        }
        if !variant.as_deref().is_none_or(word) {
            return None;
        }
        let architecture = match architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" => "amd64".to_string(),
            "aarch64" => "arm64".to_string(),
            "i386" | "i686" => "386".to_string(),
            other => other.to_string(),
        };
        Some(Platform {
            architecture,
            os,
            variant,
            os_version: None,
        })
    }

    /// Whether an image for `self` runs on a machine of platform `host`.
    pub fn runs_on(&self, host: &Platform) -> bool {
        self.os == host.os
            && self.architecture == host.architecture
            && (self.variant.is_none() || host.variant.is_none() || self.variant == host.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_and_match() {
        let cases = [
            ("linux/riscv64", Some(("linux/riscv64", true))),
            ("riscv64", Some(("linux/riscv64", true))),
            ("linux", Some(("linux/riscv64", true))),
            ("linux/x86_64", Some(("linux/amd64", false))),
            ("linux/arm/v7", Some(("linux/arm/v7", false))),
            ("windows/amd64", Some(("windows/amd64", false))),
            ("", None),
            ("linux/", None),
            ("a/b/c/d", None),
        ];
        for (text, expected) in cases {
            let parsed = Platform::parse(text);
            let seen = parsed.map(|p| (p.to_string(), p.runs_on(&Platform::host())));
            assert_eq!(
                seen,
                expected.map(|(text, runs)| (text.to_string(), runs)),
                "{text}"
            );
        }
    }
}
