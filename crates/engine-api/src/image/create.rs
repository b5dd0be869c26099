//! `POST /images/create`: pull (or import, which Drydock does not have).

use oci::Reference;

use crate::error::{ApiError, Result};
use crate::query::Query;

/// The parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// What to pull, with its tag or digest; neither: all tags.
    pub reference: Reference,
    /// `os/arch`, or empty.
    pub platform: String,
}

impl Pull {
    /// Parses.
    pub fn parse(query: &Query) -> Result<Pull> {
        if !query.text("fromSrc").is_empty() {
            return Err(ApiError::unsupported("docker import"));
        }
        let (image, tag) = (query.text("fromImage").trim(), query.text("tag").trim());
        let typed = match tag {
            "" => image.to_string(),
            digest if digest.contains(':') => format!("{image}@{digest}"),
            tag => format!("{image}:{tag}"),
        };
        let reference =
            Reference::parse(&typed).map_err(|error| ApiError::invalid(error.to_string()))?;
        Ok(Pull {
            reference,
            platform: query.text("platform").to_string(),
        })
    }
}
