//! HTTP without sockets: the seam between daemons and whoever calls them.
//!
//! A daemon is a [`Service`]: a request goes in, a response comes out, bodies are streams and a
//! connection may be [upgraded](upgrade). Adapters carry it: [`h1`] speaks HTTP/1.1 (RFC 9112) over any
//! [`io::IoStream`]; the page calls a service directly.
//!
//! Not here: routes of an API (crate `engine-api`), sockets (crate `kernel` or the host).

pub mod body;
pub mod h1;
pub mod h2;
pub mod io;
pub mod router;
pub mod service;
pub mod upgrade;
pub mod websocket;

pub use body::{Body, BodyError, BodySender};
pub use io::{Io, IoError, IoStream};
pub use router::Router;
pub use service::{LocalBoxFuture, Service, service_fn};

/// A request with a streaming body.
pub type Request = http::Request<Body>;
/// A response with a streaming body.
pub type Response = http::Response<Body>;
