//! `GET /images/search`: the registry's catalogue.

use engine_api::error::{ApiError, Result};
use engine_api::image::search::{Found, Search};
use engine_api::json;
use oci::{Catalog, Reference};
use serve::Response;

use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation.
    pub(crate) async fn image_search(&self, context: Context) -> Result<Response> {
        let search = Search::parse(&context.query)?;
        let failed = |error: String| ApiError::system(format!("search catalogue: {error}"));
        // Any name of the default registry leads there; the catalogue is not a repository's.
        let default = Reference::parse("catalog").map_err(|error| failed(error.to_string()))?;
        let document = self
            .registry
            .document(&default, "_catalog")
            .await
            .map_err(|error| failed(error.to_string()))?;
        let catalog: Catalog =
            serde_json::from_slice(&document).map_err(|error| failed(error.to_string()))?;
        let term = search.term.to_ascii_lowercase();
        let official = search.filters.boolean("is-official")?;
        let automated = search.filters.boolean("is-automated")?;
        let stars: i64 = search
            .filters
            .values("stars")
            .filter_map(|text| text.parse().ok())
            .max()
            .unwrap_or(0);
        let mut found: Vec<Found> = catalog
            .images
            .iter()
            .filter(|image| {
                image.name.to_ascii_lowercase().contains(&term)
                    || image.description.to_ascii_lowercase().contains(&term)
            })
            .map(|image| Found {
                star_count: 0,
                // Docker's official images are not here; those that stand in for them say so.
                is_official: false,
                name: image.name.clone(),
                is_automated: false,
                description: image.description.clone(),
            })
            .filter(|row| {
                official.is_none_or(|wanted| wanted == row.is_official)
                    && automated.is_none_or(|wanted| wanted == row.is_automated)
                    && stars <= row.star_count
            })
            .collect();
        // Whose name is the term comes first.
        order::sort_by_key(&mut found, |row| {
            (
                row.name != term,
                !row.name.contains(&term),
                row.name.clone(),
            )
        });
        found.truncate(search.limit);
        Ok(json::emit(200, &found))
    }
}
