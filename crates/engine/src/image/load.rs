//! `POST /images/load`: images of an archive.

use std::rc::Rc;

use engine_api::Version;
use engine_api::error::{ApiError, Result};
use engine_api::image::platform::platform;
use engine_api::image::progress;
use layers::load::{LoadError, LoadEvent};
use serve::Response;

use super::lines::Lines;
use crate::Engine;
use crate::dispatch::Context;

impl Engine {
    /// The operation. As in Docker the answer's status is 200 whatever comes of it: what went wrong is the
    /// last line.
    pub(crate) async fn image_load(&self, context: Context) -> Result<Response> {
        let wanted = platform(&context.query, context.version, Version(1, 48))?;
        let quiet = context.query.flag_or("quiet", true);
        let archive = self.receive(context.body).await?;
        let lines = Rc::new(Lines::default());
        let (engine, own) = (self.rc(), Rc::clone(&lines));
        let task = self.os.executor().spawn(async move {
            let tell = |event| engine.load_event(event, quiet, &own);
            let outcome = engine
                .store
                .load_images(archive, wanted.as_ref(), &tell)
                .await;
            match outcome {
                // Docker's answer to this is a line without a word.
                Err(LoadError::OtherPlatform) => {
                    own.push("{}\r\n".to_string());
                    own.finish(Ok(()));
                }
                other => own.finish(other.map_err(|error| ApiError::system(error.to_string()))),
            }
        });
        self.stream(lines, task, false).await
    }

    fn load_event(&self, event: LoadEvent, quiet: bool, lines: &Lines) {
        match event {
            LoadEvent::Layer { .. } if quiet => {}
            LoadEvent::Layer { diff_id, progress } => {
                let now = self.os.clock().now().0;
                lines.layer(&diff_id.short(), "Loading layer", Some(progress), now);
            }
            LoadEvent::Renamed { name, old } => lines.push(progress::stream(&format!(
                "The image {name} already exists, renaming the old one with ID {old} to empty string\n"
            ))),
            LoadEvent::Loaded { id, name } => {
                let line = match &name {
                    Some(name) => format!("Loaded image: {}\n", name.familiar()),
                    None => format!("Loaded image ID: {id}\n"),
                };
                lines.push(progress::stream(&line));
                let shown = name.map_or(id.to_string(), |name| name.familiar());
                self.image_event("load", &id.to_string(), &shown);
            }
        }
    }
}
