//! Parameters of the exec operations: [`crate::types::ExecConfig`] and
//! [`crate::types::ExecStartBody`] are bodies, resizing is as for containers.

pub use crate::container::resize::Resize;
