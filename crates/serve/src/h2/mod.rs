//! HTTP/2 (RFC 9113), both roles, over any [`Io`](crate::Io): what gRPC needs and no more.
//!
//! A [`Connection`] is a handle; the future that comes with it moves the bytes and has to run somewhere.
//! Streams are [`Stream`]s: header fields, data in both directions, trailers.
//!
//! A hostile peer costs bounded memory: windows bound what waits for a reader, a limit bounds the streams,
//! and nothing is read while the peer does not take what we have to say. Not here: push, priorities, TLS.

mod connection;
mod frame;
mod hpack;
mod huffman;
mod receive;
mod stream;

pub use connection::{Connection, Limits};
pub use frame::Code;
pub use hpack::Fields;
pub use stream::{Stream, StreamError};
