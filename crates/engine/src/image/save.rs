//! `GET /images/{name}/get` and `GET /images/get`: images as an archive.

use engine_api::error::{ApiError, Result};
use engine_api::image::platform::platform;
use engine_api::{Version, json};
use layers::{Image, StoreError};
use oci::Reference;
use serve::{Body, BodyError, Response};

use super::{image_platform, store_error};
use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// One image.
    pub(crate) async fn image_save(&self, context: Context) -> Result<Response> {
        let names = [context.param(0).to_string()];
        self.save(&names, &context)
    }

    /// Several.
    pub(crate) async fn image_save_many(&self, context: Context) -> Result<Response> {
        self.save(context.query.all("names"), &context)
    }

    fn save(&self, names: &[String], context: &Context) -> Result<Response> {
        let wanted = platform(&context.query, context.version, Version(1, 48))?;
        let mut images: Vec<(Image, Vec<Reference>)> = Vec::new();
        for typed in names {
            for (image, names) in self.named(typed)? {
                match images.iter_mut().find(|(known, _)| known.id == image.id) {
                    Some((_, known)) => known.extend(names),
                    None => images.push((image, names)),
                }
            }
        }
        if let Some(wanted) = &wanted
            && images
                .iter()
                .any(|(image, _)| !image_platform(image).runs_on(wanted))
        {
            return Err(ApiError::system(format!(
                "no suitable export target found for platform {wanted}"
            )));
        }
        let now = (self.now() / 1_000_000_000) as i64;
        let write = self.store.save(&images, now).map_err(store_error)?;
        let (sender, body) = Body::channel();
        let engine = self.rc();
        self.os.executor().spawn(async move {
            if write(&sender).await.is_err() {
                sender.abort(BodyError::Aborted);
            }
            for (image, _) in images {
                let id = image.id.to_string();
                engine.image_event("save", &id, &id);
            }
        });
        Ok(json::response(200, body, Some("application/x-tar")))
    }

    /// The images that were meant, each with the names that were: a repository without a tag stands for all
    /// of its tags, an id for no name.
    fn named(&self, typed: &str) -> Result<Vec<(Image, Vec<Reference>)>> {
        let parsed = Reference::parse(typed).ok();
        if let Some(reference) = parsed.filter(|reference| reference.digest().is_none()) {
            let meant = |name: &Reference| {
                name.familiar_name() == reference.familiar_name()
                    && reference.tag().is_none_or(|tag| name.tag() == Some(tag))
            };
            let named = self.store.images().into_iter().filter_map(|image| {
                let names = image.repo_tags.iter();
                let names = names.filter_map(|name| Reference::parse(name).ok());
                let names: Vec<Reference> = names.filter(meant).collect();
                (!names.is_empty()).then_some((image, names))
            });
            let named: Vec<_> = named.collect();
            if !named.is_empty() {
                return Ok(named);
            }
        }
        let tagged = match Reference::parse(typed) {
            Ok(reference) => reference.tag().is_some(),
            Err(error) if typed.chars().any(char::is_uppercase) => {
                return Err(ApiError::system(error.to_string()));
            }
            Err(_) => false,
        };
        let image = self.store.resolve(typed).map_err(|error| match error {
            StoreError::NoSuchImage(_) if tagged => ApiError::not_found("reference does not exist"),
            StoreError::NoSuchImage(_) => ApiError::not_found(format!("No such image: {typed}")),
            other => store_error(other),
        })?;
        Ok(vec![(image, Vec::new())])
    }
}
