//! What a build takes from elsewhere: `ADD URL`, and a context that is a URL.

use engine_api::error::{ApiError, Result};

use super::tree::Scratch;
use crate::Engine;

/// Whether an `ADD` source is not in the context.
pub(super) fn is_remote(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

impl Engine {
    /// Fetches a file into `directory`; gives its path and what it is called.
    pub(super) async fn fetch_file(
        &self,
        url: &str,
        _directory: &str,
        _index: usize,
        _say: &dyn Fn(&str),
    ) -> Result<(String, String)> {
        Err(ApiError::unsupported(format!("ADD {url}")))
    }

    /// The context behind a URL, and its Dockerfile.
    pub(super) async fn remote_context(
        &self,
        url: &str,
        _dockerfile: &str,
    ) -> Result<(Scratch, Vec<u8>)> {
        Err(ApiError::unsupported(format!("a build context at {url}")))
    }
}
