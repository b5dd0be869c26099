//! What the whole window shows: a session, or what is left of one.

mod ended;
mod session;

pub use ended::{Closed, Failed};
pub use session::Session;
