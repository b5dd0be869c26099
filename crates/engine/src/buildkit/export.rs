//! Exporters: where a result goes.

use std::collections::BTreeMap;
use std::rc::Rc;

use buildkit::messages::Exporter;
use buildkit::send::{FileWriter, send_directory};
use buildkit::{Session, Status};
use engine_api::error::ApiError;
use futures_util::future::join;
use oci::Reference;
use os::View;
use serve::Body;

use super::build::{Build, Step};
use super::source::Source;
use crate::Engine;
use crate::build::Built;

impl Engine {
    /// Hands the result over; gives what the client is to know of it.
    pub(super) async fn export(
        &self,
        build: &Rc<Build>,
        source: &Source,
        built: &Built,
    ) -> Result<BTreeMap<String, String>, Status> {
        let mut answer = BTreeMap::new();
        let inline = build
            .request
            .cache_exports
            .iter()
            .any(|kind| kind == "inline");
        for (number, exporter) in build.request.exporters.iter().enumerate() {
            let (name, session) = (exporter.kind.as_str(), source.session());
            let outcome = match name {
                "moby" | "image" => {
                    let step = build.step("exporting to image", &[]);
                    let outcome = self.export_image(&step, exporter, built, inline);
                    finish(&step, outcome)
                }
                "local" => {
                    let step = build.step("exporting to client directory", &[]);
                    let outcome = self.export_directory(&step, session, number, built).await;
                    finish(&step, outcome)
                }
                "tar" => {
                    let step = build.step("exporting to client tarball", &[]);
                    let outcome = self.export_tar(&step, session, number, built).await;
                    finish(&step, outcome)
                }
                _ => Err(Status::unknown(format!(
                    "exporter {name:?} could not be found"
                ))),
            };
            answer.extend(outcome?);
        }
        Ok(answer)
    }

    /// As files in a directory of the client's.
    async fn export_directory(
        &self,
        step: &Step,
        session: &Session,
        number: usize,
        built: &Built,
    ) -> Result<BTreeMap<String, String>, Status> {
        step.start();
        let tree = self.tree(built.top).map_err(failed)?;
        let mut part = step.part("copying files");
        let root = tree.root.as_bytes();
        let told = |bytes| part.progress(bytes, 0);
        send_directory(session, number, &self.os, View::Host, root, told).await?;
        part.done();
        Ok(BTreeMap::new())
    }

    /// As a tar archive.
    async fn export_tar(
        &self,
        step: &Step,
        session: &Session,
        number: usize,
        built: &Built,
    ) -> Result<BTreeMap<String, String>, Status> {
        step.start();
        let tree = self.tree(built.top).map_err(failed)?;
        let mut part = step.part("sending tarball");
        let mut writer = FileWriter::open(session, number)?;
        let (sender, mut body) = Body::channel();
        let root = tree.root.as_bytes();
        let pack = async {
            let packed = layers::archive::pack(&self.os, View::Host, root, b"", &sender).await;
            drop(sender);
            packed.map_err(|error| Status::unknown(format!("failed to pack: {error}")))
        };
        let send = async {
            while let Some(piece) = body.next().await {
                let piece = piece.map_err(|error| Status::unknown(error.to_string()))?;
                writer.write(&piece).await?;
                part.progress(writer.total, 0);
            }
            writer.finish().await
        };
        let (packed, sent) = join(pack, send).await;
        packed.and(sent)?;
        part.done();
        Ok(BTreeMap::new())
    }

    /// Into the images of this engine.
    fn export_image(
        &self,
        step: &Step,
        exporter: &Exporter,
        built: &Built,
        inline: bool,
    ) -> Result<BTreeMap<String, String>, Status> {
        step.start();
        let names = exporter.attrs.get("name").map_or("", String::as_str);
        let mut references = Vec::new();
        for name in names.split(',').filter(|name| !name.is_empty()) {
            let reference = Reference::parse(name)
                .map_err(|error| Status::unknown(format!("failed to parse {name}: {error}")))?;
            references.push(reference);
        }
        // The layers lie where images have theirs already.
        step.part("exporting layers").done();
        if inline {
            step.part("preparing layers for inline cache").done();
        }
        let id = self.add_built(built, &[]).map_err(failed)?.to_string();
        step.part(&format!("writing image {id}")).done();
        for reference in &references {
            let part = step.part(&format!("naming to {}", reference));
            self.add_built(built, std::slice::from_ref(reference))
                .map_err(failed)?;
            part.done();
        }
        let mut answer = BTreeMap::from([
            ("containerimage.config.digest".to_string(), id.clone()),
            ("containerimage.digest".to_string(), id),
        ]);
        if !references.is_empty() {
            let names: Vec<String> = references.iter().map(Reference::to_string).collect();
            answer.insert("image.name".to_string(), names.join(","));
        }
        Ok(answer)
    }
}

fn failed(error: ApiError) -> Status {
    Status::unknown(error.message)
}

fn finish<T>(step: &Step, outcome: Result<T, Status>) -> Result<T, Status> {
    match &outcome {
        Ok(_) => step.done(false),
        Err(status) => step.failed(&status.message),
    }
    outcome
}
