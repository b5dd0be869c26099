//! `GET /images/json`.

use crate::Filters;
use crate::error::Result;
use crate::query::Query;

/// The parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Intermediate images too.
    pub all: bool,
    /// Compute what is shared.
    pub shared_size: bool,
    /// Only these.
    pub filters: Filters,
}

impl List {
    /// Parses.
    pub fn parse(query: &Query) -> Result<List> {
        let filters = Filters::parse(query.text("filters"))?;
        filters.accept(&[
            "dangling",
            "label",
            "label!",
            "before",
            "since",
            "reference",
            "until",
        ])?;
        Ok(List {
            all: query.flag("all"),
            shared_size: query.flag("shared-size"),
            filters,
        })
    }
}

/// Go's `path.Match`, for the `reference` filter: `*` and `?` stop at `/`.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    fn matches(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.first(), text.first()) {
            (None, None) => true,
            (Some(b'*'), _) => {
                matches(&pattern[1..], text)
                    || text.first().is_some_and(|&byte| byte != b'/')
                        && matches(pattern, &text[1..])
            }
            (Some(b'?'), Some(byte)) if *byte != b'/' => matches(&pattern[1..], &text[1..]),
            (Some(wanted), Some(byte)) if wanted == byte => matches(&pattern[1..], &text[1..]),
            _ => false,
        }
    }
    // Stars multiply the work; nobody needs more than a few.
    pattern.bytes().filter(|&byte| byte == b'*').count() <= 8
        && matches(pattern.as_bytes(), text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("busybox", "busybox", true),
            ("busy*", "busybox", true),
            ("*box:lat*", "busybox:latest", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("b?x", "box", true),
            ("b?x", "b/x", false),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
