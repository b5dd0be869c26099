//! The `platform` parameter of the images' routes: a JSON document (create and build take `os/arch`).

use oci::Platform;

use crate::error::{ApiError, Result};
use crate::json;
use crate::query::Query;
use crate::version::Version;

/// The one platform that is asked for, of an operation that has the parameter since `since`.
pub fn platform(query: &Query, version: Version, since: Version) -> Result<Option<Platform>> {
    match query.all("platform") {
        [] => Ok(None),
        _ if version < since => Ok(None),
        [text] if text.is_empty() => Ok(None),
        [text] => decode(text).map(Some),
        _ => Err(ApiError::invalid(
            "multiple platform parameters not supported",
        )),
    }
}

/// A platform as users write it, `os/arch[/variant]`; nothing is none.
pub fn specifier(text: &str) -> Result<Option<Platform>> {
    const SYSTEMS: [&str; 9] = [
        "linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "solaris", "android",
        "wasip1",
    ];
    const PROCESSORS: [&str; 17] = [
        "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64",
        "ppc64le", "riscv64", "s390x", "wasm", "armhf", "armel", "x86_64",
    ];
    let refuse = |why: &str| {
        Err(ApiError::invalid(format!(
            "\"{text}\": {why}: invalid argument"
        )))
    };
    if text.is_empty() {
        return Ok(None);
    }
    let Some(platform) = Platform::parse(text) else {
        return refuse("cannot parse platform specifier");
    };
    let lower = text.to_ascii_lowercase();
    let known = SYSTEMS.contains(&lower.as_str())
        || PROCESSORS.contains(&lower.as_str())
        || PROCESSORS.contains(&platform.architecture.as_str());
    if !text.contains('/') && !known {
        return refuse("unknown operating system or architecture");
    }
    Ok(Some(platform))
}

/// A platform as the API writes it: `{"os":"linux","architecture":"riscv64"}`.
pub fn decode(text: &str) -> Result<Platform> {
    let failed = |why: String| ApiError::invalid(format!("failed to parse platform: {why}"));
    let platform: Platform = json::decode(text.as_bytes()).map_err(failed)?;
    let (os, architecture) = (&platform.os, &platform.architecture);
    if os.is_empty() && architecture.is_empty() && platform.variant.is_some() {
        return Err(ApiError::invalid(
            "optional platform fields provided, but OS and Architecture are missing",
        ));
    }
    if os.is_empty() || architecture.is_empty() {
        return Err(ApiError::invalid(
            "both OS and Architecture must be provided",
        ));
    }
    Ok(platform)
}

/// An image is not of the platform that was asked for.
#[must_use]
pub fn mismatch(typed: &str, has: &Platform, wanted: &Platform) -> ApiError {
    ApiError::not_found(format!(
        "image with reference {typed} was found but its platform ({has}) does not match the specified platform \
         ({wanted})"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents() {
        let since = Version(1, 48);
        let parse = |text: &str, version| platform(&Query::parse(text), version, since);
        let new = Version(1, 51);
        let found = parse(
            "platform=%7B%22os%22:%22linux%22,%22architecture%22:%22arm%22%7D",
            new,
        );
        assert_eq!(found.unwrap().unwrap().to_string(), "linux/arm");
        assert_eq!(parse("platform=x", Version(1, 47)), Ok(None));
        for (text, message) in [
            (
                "platform=x",
                "failed to parse platform: invalid character 'x' looking for beginning of value",
            ),
            (
                "platform=%7B%22variant%22:%22v7%22%7D",
                "optional platform fields provided, but OS and Architecture are missing",
            ),
            (
                "platform=%7B%22os%22:%22linux%22%7D",
                "both OS and Architecture must be provided",
            ),
            (
                "platform=x&platform=y",
                "multiple platform parameters not supported",
            ),
        ] {
            assert_eq!(parse(text, new).unwrap_err().message, message);
        }
    }
}
