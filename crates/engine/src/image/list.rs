//! `GET /images/json`.

use engine_api::error::{ApiError, Result};
use engine_api::image::list::{List, glob};
use engine_api::types::ImageSummary;
use engine_api::{Version, json, timestamp};
use layers::Image;
use oci::Reference;
use serve::Response;

use super::created;
use crate::Engine;
use crate::dispatch::Context;

/// Whether a name is what a `reference` filter asks for.
fn matches(pattern: &str, name: &str) -> bool {
    let Ok(reference) = Reference::parse(name) else {
        return false;
    };
    let full = reference.to_string();
    [
        name.to_string(),
        reference.familiar_name(),
        full,
        reference.name(),
    ]
    .iter()
    .any(|form| glob(pattern, form))
}

impl Engine {
    /// The operation.
    pub(crate) async fn image_list(&self, context: Context) -> Result<Response> {
        let list = List::parse(&context.query)?;
        let mut rows = self.image_summaries(&list)?;
        if context.version < Version(1, 44) {
            for row in &mut rows {
                row.virtual_size = Some(row.size);
            }
        }
        if context.version < Version(1, 51) && !list.shared_size {
            for row in &mut rows {
                row.containers = -1;
            }
        }
        Ok(json::emit(200, &rows))
    }

    pub(crate) fn image_summaries(&self, list: &List) -> Result<Vec<ImageSummary>> {
        let filters = &list.filters;
        let dangling = filters.boolean("dangling")?;
        let moment = |key: &str| match filters.values(key).next() {
            Some(name) => self.find_image(name).map(|image| Some(created(&image))),
            None => Ok(None),
        };
        let (before, since) = (moment("before")?, moment("since")?);
        let until = match filters.values("until").next() {
            Some(text) => timestamp::parse(text, self.now()).map_err(ApiError::invalid)?,
            None => None,
        };
        let mut images = self.store.images();
        order::sort_by_key(&mut images, |image| std::cmp::Reverse(created(image)));
        let mut rows = Vec::new();
        for mut image in images {
            let named = !image.repo_tags.is_empty() || !image.repo_digests.is_empty();
            let inner = !named && !self.store.children(&image.id).is_empty();
            if inner && (!list.all || dangling == Some(true)) {
                continue;
            }
            let time = created(&image);
            if filters.has("reference") {
                image
                    .repo_tags
                    .retain(|name| filters.any("reference", |value| matches(value, name)));
                image
                    .repo_digests
                    .retain(|name| filters.any("reference", |value| matches(value, name)));
                if image.repo_tags.is_empty() && image.repo_digests.is_empty() {
                    continue;
                }
            }
            let wanted = dangling.is_none_or(|dangling| image.repo_tags.is_empty() == dangling)
                && before.is_none_or(|before| time < before)
                && since.is_none_or(|since| time > since)
                && until.is_none_or(|until| time < until)
                && filters.labels(&image.config.config.labels);
            if wanted {
                rows.push(self.image_summary(image, list.shared_size));
            }
        }
        Ok(rows)
    }

    fn image_summary(&self, image: Image, shared_size: bool) -> ImageSummary {
        let labels = &image.config.config.labels;
        ImageSummary {
            containers: self.containers_of(&image).len() as i64,
            created: (created(&image) / 1_000_000_000) as i64,
            id: image.id.to_string(),
            labels: (!labels.is_empty()).then(|| labels.clone()),
            parent_id: image
                .parent
                .map_or(String::new(), |parent| parent.to_string()),
            shared_size: if shared_size {
                self.store.shared_size(&image) as i64
            } else {
                -1
            },
            size: image.size,
            virtual_size: None,
            repo_digests: image.repo_digests,
            repo_tags: image.repo_tags,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn references() {
        for (pattern, name, expected) in [
            ("busybox", "busybox:latest", true),
            ("busybox:latest", "busybox:latest", true),
            ("busybox:1", "busybox:latest", false),
            ("busy*", "busybox:latest", true),
            ("docker.io/library/busybox", "busybox:latest", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern}");
        }
    }
}
