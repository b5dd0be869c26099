//! Bodies: JSON in, as Go's decoder takes it, and responses out.

use http::HeaderValue;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serve::{Body, Response};

use crate::error::{ApiError, Result};

mod go;
mod syntax;

use syntax::SyntaxError;

/// Largest JSON document accepted.
pub const BODY_SIZE_MAX: usize = 8 << 20;

/// The document in `bytes`; `None` when there is none.
fn document(bytes: &[u8]) -> Result<Option<Value>> {
    let invalid = |why: &dyn std::fmt::Display| ApiError::invalid(format!("invalid JSON: {why}"));
    let end = match syntax::value_end(bytes) {
        Ok(end) => end,
        Err(SyntaxError::Empty) => return Ok(None),
        Err(SyntaxError::Invalid(why)) => return Err(invalid(&why)),
    };
    if bytes[end..].iter().any(|byte| !byte.is_ascii_whitespace()) {
        return Err(ApiError::invalid("unexpected content after JSON"));
    }
    let text = String::from_utf8_lossy(&bytes[..end]);
    serde_json::from_slice(text.as_bytes())
        .map(Some)
        .map_err(|error| invalid(&error))
}

/// A document as a value of a type.
pub fn fit<T: DeserializeOwned>(document: &Value) -> Result<T> {
    T::deserialize(go::Source::new(document))
        .map_err(|error| ApiError::invalid(format!("invalid JSON: {error}")))
}

/// A parameter that is a document: why it is none, in the words of Go's decoder.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> std::result::Result<T, String> {
    let end = match syntax::value_end(bytes) {
        Ok(end) => end,
        Err(SyntaxError::Empty) => return Err("unexpected end of JSON input".to_string()),
        Err(SyntaxError::Invalid(why)) if why == "unexpected EOF" => {
            return Err("unexpected end of JSON input".to_string());
        }
        Err(SyntaxError::Invalid(why)) => return Err(why),
    };
    let rest = String::from_utf8_lossy(&bytes[end..]).into_owned();
    if let Some(more) = rest.trim_start().chars().next() {
        return Err(format!("invalid character '{more}' after top-level value"));
    }
    let text = String::from_utf8_lossy(&bytes[..end]);
    let value: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    T::deserialize(go::Source::new(&value)).map_err(|error| error.to_string())
}

/// The document in `bytes`, which must be there.
pub fn parse_value(bytes: &[u8]) -> Result<Value> {
    document(bytes)?
        .ok_or_else(|| ApiError::invalid("invalid JSON: got EOF while reading request body"))
}

/// Parses a document, which must be there.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    fit(&parse_value(bytes)?)
}

/// Parses a document; no byte at all is `T::default()`.
pub fn parse_or_default<T: DeserializeOwned + Default>(bytes: &[u8]) -> Result<T> {
    match bytes.is_empty() {
        true => Ok(T::default()),
        false => parse(bytes),
    }
}

/// Reads the body of a request that has to be JSON.
pub async fn collect(body: Body, content_type: Option<&str>) -> Result<Vec<u8>> {
    let bytes = body
        .collect(BODY_SIZE_MAX)
        .await
        .map_err(|error| ApiError::invalid(error.to_string()))?;
    check_content_type(content_type, bytes.is_empty())?;
    Ok(bytes)
}

fn check_content_type(content_type: Option<&str>, empty: bool) -> Result<()> {
    const WANTED: &str = "application/json";
    let given = match content_type.unwrap_or_default() {
        "" if empty => return Ok(()),
        "" => {
            return Err(ApiError::invalid(
                "malformed Content-Type header (): mime: no media type",
            ));
        }
        given => given,
    };
    let kind = given.split(';').next().unwrap_or_default().trim();
    match kind.eq_ignore_ascii_case(WANTED) {
        true => Ok(()),
        false => Err(ApiError::invalid(format!(
            "unsupported Content-Type header ({given}): must be '{WANTED}'"
        ))),
    }
}

/// Go's `strslice`: one text or a list of them.
pub fn text_or_list<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Vec<String>>, D::Error> {
    let wrong = |what: &str| {
        <D::Error as serde::de::Error>::custom(format!(
            "json: cannot unmarshal {what} into Go value of type string"
        ))
    };
    match Option::<Value>::deserialize(deserializer)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(vec![text])),
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                Value::Null => Ok(String::new()),
                _ => Err(wrong("array")),
            })
            .collect::<std::result::Result<_, _>>()
            .map(Some),
        Some(Value::Object(_)) => Err(wrong("object")),
        Some(Value::Number(_)) => Err(wrong("number")),
        Some(Value::Bool(_)) => Err(wrong("bool")),
    }
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
        assert_eq!(parse_or_default::<Sample>(b"").unwrap(), Sample::default());
        let folded: Sample = parse(br#"{"NAME":"x","Cmd":["a",null]}"#).unwrap();
        assert_eq!(folded.name, "x");
        assert_eq!(folded.cmd, Some(vec!["a".to_string(), String::new()]));
    }

    #[test]
    fn what_does_not_fit() {
        for (text, message) in [
            ("{} {}", "unexpected content after JSON"),
            (
                r#"{"name":5}"#,
                "invalid JSON: json: cannot unmarshal number into Go struct field Sample.name of type string",
            ),
            (
                "[]",
                "invalid JSON: json: cannot unmarshal array into Go value of type Sample",
            ),
        ] {
            assert_eq!(
                parse::<Sample>(text.as_bytes()).unwrap_err().message,
                message
            );
        }
        for (given, empty, message) in [
            (None, true, ""),
            (
                None,
                false,
                "malformed Content-Type header (): mime: no media type",
            ),
            (Some("application/json; charset=utf-8"), false, ""),
            (
                Some("text/plain"),
                false,
                "unsupported Content-Type header (text/plain): must be 'application/json'",
            ),
        ] {
            let outcome = check_content_type(given, empty);
            assert_eq!(
                outcome.err().map_or(String::new(), |error| error.message),
                message
            );
        }
    }
}
