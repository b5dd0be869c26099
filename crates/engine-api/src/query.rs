//! Query strings, with Go's ideas of what a boolean is.

use std::collections::BTreeMap;

use crate::error::{ApiError, Result};

/// The parameters of a request, decoded.
#[derive(Clone, Default, Debug)]
pub struct Query(BTreeMap<String, Vec<String>>);

/// Undoes percent-encoding; with `plus`, `+` is a space.
#[must_use]
pub fn decode(text: &str, plus: bool) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text
            .get(at + 1..at + 3)
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                decoded.push(byte);
                at += 2;
            }
            (b'+', _) if plus => decoded.push(b' '),
            (byte, _) => decoded.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

impl Query {
    /// Parses `a=1&b=2`.
    #[must_use]
    pub fn parse(text: &str) -> Query {
        let mut parameters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            parameters
                .entry(decode(name, true))
                .or_default()
                .push(decode(value, true));
        }
        Query(parameters)
    }

    /// The first value, or an empty text.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.0
            .get(name)
            .and_then(|values| values.first())
            .map_or("", String::as_str)
    }

    /// All values.
    #[must_use]
    pub fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// True when it was given, even empty.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Everything is true but nothing, `0`, `no`, `false` and `none`.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        let value = self.text(name).trim().to_ascii_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// The same, with another value when it was not given.
    #[must_use]
    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        if self.has(name) {
            self.flag(name)
        } else {
            default
        }
    }

    /// A number; `None` when it was not given.
    pub fn number(&self, name: &str) -> Result<Option<i64>> {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                ApiError::invalid(format!("strconv.Atoi: parsing \"{text}\": invalid syntax"))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let query = Query::parse("all=1&name=a%2Fb+c&t=x&t=y&v=false&empty&bad=%zz");
        assert!(query.flag("all") && !query.flag("v") && !query.flag("empty"));
        assert!(query.has("empty") && !query.has("none"));
        assert_eq!(query.text("name"), "a/b c");
        assert_eq!(query.all("t"), ["x", "y"]);
        assert_eq!(query.text("bad"), "%zz");
        assert_eq!(query.number("all"), Ok(Some(1)));
        assert!(query.number("t").is_err());
    }
}
