//! Docker Engine API: routes, versions, parameters, types and stream framing.
//!
//! An operation is a row of [`routes::ROUTES`] and, when it has parameters, a file that parses them
//! once: handlers (crate `engine`, same file names) see typed values only. Field names, defaults and
//! error texts are Docker's, because unmodified clients read them.
//!
//! Not here: what an operation does. Source: the Engine API reference, versions 1.24 to 1.51.

pub mod container;
pub mod error;
pub mod exec;
pub mod fields;
pub mod filters;
pub mod image;
pub mod json;
pub mod query;
pub mod routes;
pub mod stream;
pub mod system;
pub mod timestamp;
pub mod types;
pub mod version;
pub mod volume;

pub use error::{ApiError, Class};
pub use filters::Filters;
pub use query::Query;
pub use routes::{Operation, ROUTES, Route, Support};
pub use version::Version;
