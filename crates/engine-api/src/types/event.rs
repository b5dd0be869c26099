//! Events.

use std::collections::BTreeMap;

use serde::Serialize;

/// What something happened to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Actor {
    /// Id or name.
    #[serde(rename = "ID")]
    pub id: String,
    /// Labels and more.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}

/// A line of `GET /events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[allow(
    missing_docs,
    reason = "each is described under its name in the Engine API reference"
)]
pub struct Event {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(rename = "Action")]
    pub action: String,
    #[serde(rename = "Actor")]
    pub actor: Actor,
    pub scope: String,
    pub time: u64,
    #[serde(rename = "timeNano")]
    pub time_nano: u64,
}
