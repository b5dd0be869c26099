//! What BuildKit's clients (`docker build`, `docker buildx`) speak to a daemon.
//!
//! [`wire`] is Protocol Buffers' encoding, [`grpc`] calls and answers over HTTP/2, [`messages`] the few
//! messages that are needed, with the numbers of BuildKit's own definitions. A [`Session`] is the
//! connection in which the daemon asks the client: for files ([`receive`]), secrets, passwords; and hands
//! it results ([`send`]).
//!
//! Not here: what a build is (crate `engine`), HTTP/2 (crate `serve`).

pub mod grpc;
pub mod messages;
pub mod path;
pub mod receive;
pub mod send;
mod session;
pub mod stat;
pub mod wire;

pub use grpc::{Call, Status};
pub use session::Session;
