//! `POST /images/create`: pull, or import.

use oci::Reference;

use crate::error::{ApiError, Result};
use crate::query::Query;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Create {
    /// An image of a registry.
    Pull(Pull),
    /// A tar as an image of one layer.
    Import(Import),
}

/// The parameters of an import; the body is the tar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// `-` for the body, or a URL.
    pub source: String,
    /// Repository of the new image, or empty.
    pub repo: String,
    /// Tag, or empty.
    pub tag: String,
    /// For the history.
    pub message: String,
    /// Dockerfile instructions.
    pub changes: Vec<String>,
    /// `os/arch`, or empty.
    pub platform: String,
}

/// The parameters of a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// What to pull, with its tag or digest; neither: all tags.
    pub reference: Reference,
    /// `os/arch`, or empty.
    pub platform: String,
}

impl Create {
    /// Parses.
    pub fn parse(query: &Query) -> Result<Create> {
        let source = query.text("fromSrc");
        // The name of a pulled image decides, as in Docker.
        if query.text("fromImage").is_empty() && !source.is_empty() {
            return Ok(Create::Import(Import {
                source: source.to_string(),
                repo: query.text("repo").to_string(),
                tag: query.text("tag").to_string(),
                message: query.text("message").to_string(),
                changes: query.all("changes").to_vec(),
                platform: query.text("platform").to_string(),
            }));
        }
        Pull::parse(query).map(Create::Pull)
    }
}

impl Pull {
    fn parse(query: &Query) -> Result<Pull> {
        let (image, tag) = (query.text("fromImage").trim(), query.text("tag").trim());
        let typed = match tag {
            "" => image.to_string(),
            digest if digest.contains(':') => format!("{image}@{digest}"),
            tag => format!("{image}:{tag}"),
        };
        let invalid = |error: oci::ReferenceError| ApiError::invalid(error.to_string());
        Reference::parse(image).map_err(invalid)?;
        let reference =
            Reference::parse(&typed).map_err(|_| ApiError::invalid("invalid tag format"))?;
        Ok(Pull {
            reference,
            platform: query.text("platform").to_string(),
        })
    }
}
