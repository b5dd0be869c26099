//! Bodies: JSON in, as Go's decoder takes it, and responses out.

use http::HeaderValue;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serve::{Body, Response};

use crate::error::{ApiError, Result};

/// Largest JSON document accepted.
pub const BODY_SIZE_MAX: usize = 8 << 20;

/// Removes `null` members: for Go's decoder they mean "leave it as it is".
fn strip_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(strip_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_nulls),
        _ => {}
    }
}

/// Parses a document.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let invalid = |error: serde_json::Error| match error.is_eof() {
        true => ApiError::invalid("invalid JSON: got EOF while reading request body"),
        false => ApiError::invalid(format!("invalid JSON: {error}")),
    };
    let mut value: Value = serde_json::from_slice(bytes).map_err(invalid)?;
    strip_nulls(&mut value);
    serde_json::from_value(value).map_err(invalid)
}

/// Reads and parses a body. An empty one is `T::default()`.
pub async fn read_or_default<T: DeserializeOwned + Default>(body: Body) -> Result<T> {
    let bytes = collect(body).await?;
    match bytes.is_empty() {
        true => Ok(T::default()),
        false => parse(&bytes),
    }
}

/// Reads and parses a body.
pub async fn read<T: DeserializeOwned>(body: Body) -> Result<T> {
    parse(&collect(body).await?)
}

async fn collect(body: Body) -> Result<Vec<u8>> {
    body.collect(BODY_SIZE_MAX)
        .await
        .map_err(|error| ApiError::invalid(error.to_string()))
}

/// Go's `strslice`: one text or a list of them.
pub fn text_or_list<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum TextOrList {
        Text(String),
        List(Vec<String>),
    }
    Ok(
        Option::<TextOrList>::deserialize(deserializer)?.map(|value| match value {
            TextOrList::Text(text) => vec![text],
            TextOrList::List(list) => list,
        }),
    )
}

/// A response from its parts.
#[must_use]
pub fn response(status: u16, body: Body, content_type: Option<&'static str>) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    if let Some(kind) = content_type {
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}

/// A response with a JSON document.
#[must_use]
pub fn emit<T: Serialize>(status: u16, value: &T) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => response(status, Body::from(text + "\n"), Some("application/json")),
        Err(error) => ApiError::system(error.to_string()).into_response(),
    }
}

/// 204.
#[must_use]
pub fn no_content() -> Response {
    response(204, Body::empty(), None)
}

/// Go's "omit when empty" for collections that are kept as options.
pub fn is_empty_map<K, V>(map: &Option<std::collections::BTreeMap<K, V>>) -> bool {
    map.as_ref()
        .is_none_or(std::collections::BTreeMap::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, Default, Debug, PartialEq)]
    #[serde(default)]
    struct Sample {
        name: String,
        #[serde(deserialize_with = "text_or_list")]
        cmd: Option<Vec<String>>,
    }

    #[test]
    fn go_takes_nulls_and_texts() {
        let sample: Sample = parse(br#"{"name":null,"cmd":"sh"}"#).unwrap();
        assert_eq!(
            sample,
            Sample {
                name: String::new(),
                cmd: Some(vec!["sh".to_string()])
            }
        );
        assert_eq!(
            parse::<Sample>(b"").unwrap_err().message,
            "invalid JSON: got EOF while reading request body"
        );
    }
}
