//! OPEN PORT between the service worker and the machines: requests and what becomes of them.
//!
//! The service worker (`static/port_worker.js`) hands each request of a port's page to the playground's page,
//! that to the worker, with a channel for the answer. So these messages cross as JSON and bytes, as those of
//! `protocol` do, but between other parties.

use serde::{Deserialize, Serialize};

/// A request of the browser for a port of a machine; its body travels beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRequest {
    /// The machine's address.
    pub ip: String,
    /// Its port.
    pub port: u16,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers the browser tells.
    pub headers: Vec<(String, String)>,
}

/// What becomes of a request, by its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PortEvent {
    /// Status and headers.
    Head {
        /// Which request.
        id: u32,
        /// The status.
        status: u16,
        /// The headers.
        headers: Vec<(String, String)>,
    },
    /// Part of the body; the bytes travel beside it.
    Data {
        /// Which request.
        id: u32,
        /// The bytes.
        #[serde(skip)]
        bytes: Vec<u8>,
    },
    /// The response is complete.
    End {
        /// Which request.
        id: u32,
    },
    /// There is no response, or no more of it.
    Failed {
        /// Which request.
        id: u32,
        /// Why.
        text: String,
    },
}

impl PortEvent {
    /// The event as it is posted: JSON, and the bytes that travel beside it.
    pub fn split(mut self) -> (String, Option<Vec<u8>>) {
        let bytes = match &mut self {
            PortEvent::Data { bytes, .. } => Some(std::mem::take(bytes)),
            _ => None,
        };
        (serde_json::to_string(&self).unwrap_or_default(), bytes)
    }
}
