//! The small documents of the distribution API: errors, tag lists, the catalogue.

use serde::{Deserialize, Serialize};

use crate::null_default;

/// The body of a failed request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What went wrong, most important first.
    #[serde(default, deserialize_with = "null_default")]
    pub errors: Vec<ApiError>,
}

/// One error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ApiError {
    /// `MANIFEST_UNKNOWN`, `BLOB_UNKNOWN`, `NAME_INVALID`, …
    #[serde(default)]
    pub code: String,
    /// Human text.
    #[serde(default)]
    pub message: String,
    /// Anything.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub detail: serde_json::Value,
}

impl ErrorBody {
    /// A body with one error.
    pub fn new(code: &str, message: impl Into<String>) -> ErrorBody {
        let detail = serde_json::Value::Null;
        ErrorBody {
            errors: vec![ApiError {
                code: code.to_string(),
                message: message.into(),
                detail,
            }],
        }
    }
}

/// `GET /v2/<name>/tags/list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagList {
    /// The repository.
    pub name: String,
    /// Its tags.
    #[serde(default, deserialize_with = "null_default")]
    pub tags: Vec<String>,
}

/// `GET /v2/_catalog`, with the descriptions `docker search` shows as an addition of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// Repository names.
    #[serde(default, deserialize_with = "null_default")]
    pub repositories: Vec<String>,
    /// One entry per repository that `docker search` may list.
    #[serde(default, deserialize_with = "null_default")]
    pub images: Vec<CatalogImage>,
}

/// A repository as `docker search` lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogImage {
    /// The familiar name, e.g. `busybox`.
    pub name: String,
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// The name of what this image stands in for, if it is not itself the thing named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_in_for: Option<String>,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Compressed bytes of the default tag's layers.
    #[serde(default)]
    pub size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_read_back() {
        let body = ErrorBody::new("MANIFEST_UNKNOWN", "manifest unknown");
        let text = serde_json::to_string(&body).unwrap();
        assert_eq!(
            text,
            r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#
        );
        assert_eq!(serde_json::from_str::<ErrorBody>(&text).unwrap(), body);
        let tags: TagList = serde_json::from_str(r#"{"name":"a","tags":null}"#).unwrap();
        assert!(tags.tags.is_empty());
    }
}
