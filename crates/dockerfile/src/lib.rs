//! The Dockerfile language: text in, instructions out. It knows no engine.
//!
//! The specification at hand is the Dockerfile reference of Docker; what it leaves open is as the parser of
//! BuildKit decides it, down to the words of its errors, because people search for them.
//!
//! Reading order: [`lines`] (directives, comments, continuations, heredocs: a file becomes lines),
//! [`words`] (what the rest of a line is cut into), [`flags`], [`parse`] (a line becomes an [`Instruction`]),
//! [`shell`] (variables and quotes, applied when an instruction is carried out), [`glob`] (patterns of `COPY`)
//! and [`ignore`] (`.dockerignore`).
//!
//! Not here: what an instruction does.

mod flags;
pub mod glob;
mod heredoc;
pub mod ignore;
mod instruction;
mod lines;
mod mount;
mod parse;
pub mod shell;
mod words;

use std::fmt;

pub use heredoc::Heredoc;
pub use instruction::{
    Command, Copy, Dockerfile, Health, Instruction, Kind, Mount, MountKind, Run, Span, Stage,
};
pub use parse::{parse, parse_change, parse_trigger};

/// Why a Dockerfile was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// The whole message.
    pub message: String,
    /// Where it is.
    pub lines: Span,
    /// The file could not even be cut into words.
    pub early: bool,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
