//! `POST /images/{name}/push`.

use std::rc::Rc;

use engine_api::Version;
use engine_api::error::{ApiError, Result};
use engine_api::image::{platform, progress};
use layers::registry::{Access, Registry, RegistryError, Repository};
use layers::{Image, PushError, PushEvent};
use oci::Reference;
use serve::Response;

use super::lines::Lines;
use crate::Engine;
use crate::dispatch::Context;

/// Why a push ended: the registry, the store, or there is nothing to push.
enum Failure {
    Push(PushError),
    Nothing(String),
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Failure {
        Failure::Push(error.into())
    }
}

impl From<PushError> for Failure {
    fn from(error: PushError) -> Failure {
        Failure::Push(error)
    }
}

impl Engine {
    /// Tags of a repository that are here, with their images.
    fn tags_of(&self, repository: &Reference) -> Vec<(Reference, Image)> {
        let images = self.store.images().into_iter();
        let named = images.flat_map(|image| {
            let names = image.repo_tags.clone().into_iter();
            let names = names.filter_map(|name| Reference::parse(&name).ok());
            let names: Vec<Reference> = names
                .filter(|name| name.familiar_name() == repository.familiar_name())
                .collect();
            names.into_iter().map(move |name| (name, image.clone()))
        });
        let mut named: Vec<_> = named.collect();
        order::sort_by_key(&mut named, |(name, _)| name.familiar());
        named
    }

    async fn push_tags(
        &self,
        to: &Repository,
        wanted: &Reference,
        lines: &Lines,
    ) -> std::result::Result<(), Failure> {
        let mut tags = self.tags_of(wanted);
        if wanted.tag().is_some() {
            tags.retain(|(name, _)| name.tag() == wanted.tag());
            if tags.is_empty() {
                let text = format!("tag does not exist: {}", wanted.familiar());
                return Err(Failure::Nothing(text));
            }
        }
        let clock = self.os.clock();
        let tell = |event: PushEvent| {
            lines.layer(&event.id, event.status, event.progress, clock.now().0);
        };
        for (name, image) in &tags {
            let (digest, size) = self.store.push(to, image, name, &tell).await?;
            let tag = name.tag().unwrap_or_default();
            let pushed = format!("{tag}: digest: {digest} size: {size}");
            lines.push(progress::status(None, &pushed));
            lines.push(progress::pushed(tag, &digest.to_string(), size));
        }
        Ok(())
    }

    async fn push(
        &self,
        registry: &Registry,
        wanted: &Reference,
        lines: &Lines,
    ) -> std::result::Result<(), Failure> {
        let name = wanted.name();
        let refers = format!("The push refers to repository [{name}]");
        lines.push(progress::status(None, &refers));
        if self.tags_of(wanted).is_empty() {
            return Err(Failure::Nothing(format!(
                "An image does not exist locally with the tag: {}",
                wanted.familiar_name()
            )));
        }
        registry
            .over(wanted, Access::Push, async |to: &Repository| {
                self.push_tags(to, wanted, lines).await
            })
            .await?;
        self.image_event("push", &wanted.familiar(), &wanted.familiar_name());
        Ok(())
    }

    /// The operation. Without a tag all tags are pushed.
    pub(crate) async fn image_push(&self, context: Context) -> Result<Response> {
        let invalid = |error: oci::ReferenceError| ApiError::invalid(error.to_string());
        let mut wanted = Reference::parse(context.param(0)).map_err(invalid)?;
        match context.query.text("tag") {
            "" => {}
            tag => {
                wanted = wanted
                    .with_tag(tag)
                    .map_err(|_| ApiError::invalid("invalid tag format"))?;
            }
        }
        if wanted.digest().is_some() {
            return Err(ApiError::invalid("cannot push a digest reference"));
        }
        // An image here is of one platform: another cannot be pushed of it.
        let platform = platform::platform(&context.query, context.version, Version(1, 46))?;
        if let Some(platform) = platform {
            self.find_image_for(&wanted.familiar(), Some(&platform))?;
        }
        let registry = self.registry.with_credentials(context.credentials());
        let lines = Rc::new(Lines::default());
        let (engine, own) = (self.rc(), Rc::clone(&lines));
        let task = self.os.executor().spawn(async move {
            let outcome = engine.push(&registry, &wanted, &own).await;
            own.finish(outcome.map_err(|failure| {
                ApiError::system(match failure {
                    Failure::Push(error) => error.to_string(),
                    Failure::Nothing(text) => text,
                })
            }));
        });
        self.stream(lines, task, false).await
    }
}
