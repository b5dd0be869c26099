//! Filters: `{"label":{"a=b":true}}`, or the older `{"label":["a=b"]}`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::error::{ApiError, Result};

/// Values by key; a key that is not there lets everything through.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Filters(BTreeMap<String, BTreeSet<String>>);

impl Filters {
    /// Parses the `filters` parameter; empty is no filter.
    pub fn parse(text: &str) -> Result<Filters> {
        if text.is_empty() {
            return Ok(Filters::default());
        }
        let invalid = || ApiError::invalid("invalid filter");
        let value: Value = serde_json::from_slice(text.as_bytes()).map_err(|_| invalid())?;
        let mut filters = Filters::default();
        for (key, values) in value.as_object().ok_or_else(invalid)? {
            let set = filters.0.entry(key.clone()).or_default();
            match values {
                Value::Object(values) => set.extend(
                    values
                        .iter()
                        .filter(|(_, on)| on.as_bool() != Some(false))
                        .map(|(name, _)| name.clone()),
                ),
                Value::Array(values) => {
                    for value in values {
                        set.insert(value.as_str().ok_or_else(invalid)?.to_string());
                    }
                }
                _ => return Err(invalid()),
            }
        }
        filters.0.retain(|_, values| !values.is_empty());
        Ok(filters)
    }

    /// Refuses keys that an operation does not know.
    pub fn accept(&self, known: &[&str]) -> Result<()> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(ApiError::invalid(format!("invalid filter '{key}'"))),
        }
    }

    /// True when the key was given.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// True without any filter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The values of a key.
    pub fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.get(key).into_iter().flatten().map(String::as_str)
    }

    /// Without the key, true; else whether one of its values satisfies `test`.
    pub fn any(&self, key: &str, test: impl FnMut(&str) -> bool) -> bool {
        !self.has(key) || self.values(key).any(test)
    }

    /// Without the key, true; else whether one of its values is `text`.
    #[must_use]
    pub fn exact(&self, key: &str, text: &str) -> bool {
        self.any(key, |value| value == text)
    }

    /// A boolean filter; `None` without the key.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        let has = |words: [&str; 2]| self.values(key).any(|value| words.contains(&value));
        match (has(["1", "true"]), has(["0", "false"])) {
            _ if !self.has(key) => Ok(None),
            (true, false) => Ok(Some(true)),
            (false, true) => Ok(Some(false)),
            _ => {
                let values: Vec<&str> = self.values(key).collect();
                Err(ApiError::invalid(format!(
                    "invalid filter '{key}=[{}]'",
                    values.join(" ")
                )))
            }
        }
    }

    /// Whether labels satisfy every `label` and no `label!` value (`name` or `name=value`).
    #[must_use]
    pub fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &str| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        };
        self.values("label").all(has) && !self.values("label!").any(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let map = Filters::parse(r#"{"status":{"exited":true,"dead":true},"x":{}}"#).unwrap();
        let list = Filters::parse(r#"{"status":["exited","dead"]}"#).unwrap();
        assert_eq!(map, list);
        assert!(map.exact("status", "dead") && !map.exact("status", "running"));
        assert!(map.exact("name", "anything"));
        for bad in ["x", "[]", r#"{"a":1}"#, r#"{"a":[1]}"#] {
            assert_eq!(
                Filters::parse(bad).unwrap_err().message,
                "invalid filter",
                "{bad}"
            );
        }
        assert_eq!(
            map.accept(&["x"]).unwrap_err().message,
            "invalid filter 'status'"
        );
        assert_eq!(
            Filters::parse(r#"{"d":["1"]}"#).unwrap().boolean("d"),
            Ok(Some(true))
        );
    }

    #[test]
    fn labels() {
        let labels = BTreeMap::from([("a".to_string(), "1".to_string())]);
        for (text, expected) in [
            (r#"{"label":["a"]}"#, true),
            (r#"{"label":["a=1"]}"#, true),
            (r#"{"label":["a=1","b"]}"#, false),
            (r#"{"label!":["a"]}"#, false),
            (r#"{"label!":["b"]}"#, true),
        ] {
            assert_eq!(
                Filters::parse(text).unwrap().labels(&labels),
                expected,
                "{text}"
            );
        }
    }
}
