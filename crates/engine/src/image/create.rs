//! `POST /images/create`: pull.

use std::rc::Rc;

use engine_api::error::{ApiError, Result};
use engine_api::image::create::Create;
use engine_api::image::platform::specifier;
use engine_api::image::progress;
use layers::registry::Registry;
use layers::{PullError, PullEvent};
use oci::{Platform, Reference};
use serve::Response;

use super::lines::Lines;
use crate::Engine;
use crate::dispatch::Context;

/// The class of the error of a pull of `reference`.
pub(crate) fn pull_error(error: &PullError, reference: &Reference) -> ApiError {
    match error {
        PullError::Registry(error) if error.is_not_found() => {
            ApiError::not_found(error.of_pull(reference))
        }
        PullError::NoMatchingManifest(_) => ApiError::not_found(error.to_string()),
        _ => ApiError::system(error.to_string()),
    }
}

impl Engine {
    /// Pulls a reference; one without tag and digest stands for all tags of its repository.
    pub(crate) async fn pull(
        &self,
        registry: &Registry,
        reference: &Reference,
        platform: &Platform,
        lines: &Lines,
    ) -> std::result::Result<(), PullError> {
        let clock = self.os.clock();
        let tell = |event: PullEvent| match event {
            PullEvent::PullingFrom { tag, name } => {
                lines.push(progress::status(
                    Some(&tag),
                    &format!("Pulling from {name}"),
                ));
            }
            PullEvent::Layer {
                digest,
                status,
                progress,
            } => lines.layer(&digest.short(), status, progress, clock.now().0),
        };
        let wanted = match reference.tag().is_some() || reference.digest().is_some() {
            true => vec![reference.clone()],
            false => registry
                .tags(reference)
                .await?
                .iter()
                .filter_map(|tag| reference.clone().with_tag(tag).ok())
                .collect(),
        };
        let mut newer = false;
        for reference in &wanted {
            let pulled = self
                .store
                .pull(registry, reference, platform, &tell)
                .await?;
            newer |= pulled.newer;
            let digest = format!("Digest: {}", pulled.digest);
            lines.push(progress::status(None, &digest));
        }
        let shown = reference.familiar();
        self.image_event("pull", &shown, &reference.familiar_name());
        let news = match newer {
            true => "Downloaded newer image for",
            false => "Image is up to date for",
        };
        lines.push(progress::status(None, &format!("Status: {news} {shown}")));
        Ok(())
    }

    /// The operation.
    pub(crate) async fn image_create(&self, context: Context) -> Result<Response> {
        let pull = match Create::parse(&context.query)? {
            Create::Pull(pull) => pull,
            Create::Import(import) => return self.image_import(import, context.body).await,
        };
        let platform = specifier(&pull.platform)?.unwrap_or_else(Platform::host);
        let registry = self.registry.with_credentials(context.credentials());
        let lines = Rc::new(Lines::default());
        let (engine, own) = (self.rc(), Rc::clone(&lines));
        let task = self.os.executor().spawn(async move {
            let outcome = engine
                .pull(&registry, &pull.reference, &platform, &own)
                .await;
            own.finish(outcome.map_err(|error| pull_error(&error, &pull.reference)));
        });
        self.stream(lines, task, true).await
    }
}
