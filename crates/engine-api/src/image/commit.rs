//! `POST /commit`.

use crate::query::Query;

/// The parameters; the body is a `Config` that overrides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The container.
    pub container: String,
    /// Repository of the new image, or empty.
    pub repo: String,
    /// Tag, or empty.
    pub tag: String,
    /// For the history.
    pub comment: String,
    /// For the image.
    pub author: String,
    /// Pause the container meanwhile.
    pub pause: bool,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
}

impl Commit {
    /// Parses.
    #[must_use]
    pub fn parse(query: &Query) -> Commit {
        Commit {
            container: query.text("container").to_string(),
            repo: query.text("repo").to_string(),
            tag: query.text("tag").to_string(),
            comment: query.text("comment").to_string(),
            author: query.text("author").to_string(),
            pause: query.flag_or("pause", true),
            changes: query.all("changes").to_vec(),
        }
    }
}
