//! HTTP/1.1 (RFC 9112) over a byte stream: [`server`] and [`client`].
//!
//! Bodies are framed by Content-Length or chunked coding. Heads are bounded; a peer that breaks the
//! framing gets 400 and the connection is closed.

pub mod client;
mod frame;
pub mod server;

pub use client::send;
pub use server::serve_connection;

/// Longest head of a request or response, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most header fields in a head.
const HEADERS_MAX: usize = 100;
