//! What a stage begins with: images, here or at their registries.
//!
//! An image that is not here is looked up at its registry, and its layers come when they are needed. They are
//! the build cache's then: no image has their name, as with BuildKit.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use dockerfile::{Kind, Stage, shell};
use engine_api::error::{ApiError, Result};
use layers::graph::chain_ids;
use layers::registry::{Credentials, Registry};
use layers::{PullError, PullEvent, RemoteImage, StoreError};
use oci::{Digest, ImageConfig, Platform, Reference};

use super::cache::Entry;
use super::copy::Plan;
use super::solve::{At, Base, Done, Solved, Solver, froms, key};
use super::stage::State;
use super::{BuildError, NamedContext, Outcome, Vertex};
use crate::image::store_error;
use crate::once::Once;

/// The name under which clients keep who they are to Docker Hub, and the host they are asked for.
const HUB: (&str, &str) = ("https://index.docker.io/v1/", "registry-1.docker.io");

/// An image that is looked up once.
pub(super) type Lookup = Once<Result<Rc<BaseImage>>>;

/// An image that a build takes files from.
pub(super) struct BaseImage {
    reference: Reference,
    id: Digest,
    config: ImageConfig,
    /// `[context NAME] IMAGE`, for an image of `--build-context`.
    label: Option<String>,
    /// It is not one of the images here.
    remote: Option<RemoteImage>,
    /// The stage whose step it is shown as.
    shown_at: Cell<usize>,
    vertex: RefCell<Option<Vertex>>,
    /// Its layers were here, and nobody has asked for its files yet.
    pending: Cell<bool>,
    brought: Once<Result<()>>,
}

/// Whether both names of a platform mean something.
fn is_known(platform: &Platform) -> bool {
    const SYSTEMS: [&str; 4] = ["linux", "windows", "darwin", "freebsd"];
    const ARCHITECTURES: [&str; 10] = [
        "amd64", "arm64", "arm", "386", "riscv64", "ppc64le", "s390x", "mips64le", "loong64",
        "wasm",
    ];
    SYSTEMS.contains(&&*platform.os) && ARCHITECTURES.contains(&&*platform.architecture)
}

impl BaseImage {
    pub(super) fn has_triggers(&self) -> bool {
        !self.config.config.on_build.is_empty()
    }

    pub(super) fn top(&self) -> Option<Digest> {
        chain_ids(&self.config.rootfs.diff_ids).last().copied()
    }

    fn key(&self) -> Digest {
        key(&[b"image", self.id.to_string().as_bytes()])
    }

    /// The name, and what it means now if that was asked of a registry.
    fn shown(&self) -> String {
        match &self.remote {
            Some(remote) if self.reference.digest().is_none() && self.label.is_none() => {
                format!("{}@{}", self.reference, remote.digest)
            }
            _ => self.reference.to_string(),
        }
    }
}

impl Solver<'_> {
    /// The image a name means. It is looked up once in a build.
    pub(super) async fn image(
        &self,
        name: &str,
        context: Option<&str>,
        platform: &Platform,
    ) -> Result<Rc<BaseImage>> {
        let invalid = |error: oci::ReferenceError| {
            ApiError::invalid(format!("failed to parse stage name {name:?}: {error}"))
        };
        let reference = Reference::parse(name).map_err(invalid)?.with_default_tag();
        let once = {
            let mut images = self.images.borrow_mut();
            let known = images.entry(format!("{reference} {platform}"));
            Rc::clone(known.or_default())
        };
        once.get(self.load_metadata(name, context, reference, platform))
            .await
    }

    /// Finds out whether an image is there, here or at its registry.
    async fn load_metadata(
        &self,
        name: &str,
        context: Option<&str>,
        reference: Reference,
        platform: &Platform,
    ) -> Result<Rc<BaseImage>> {
        let title = match context {
            Some(context) => format!("[context {context}] load metadata for {name}"),
            None => format!("load metadata for {reference}"),
        };
        let mut vertex = self.vertex(title, Vec::new());
        vertex.internal = true;
        self.start(&vertex);
        let outcome = self.metadata(&reference, platform).await;
        self.end(&vertex, &outcome, false);
        let label = context.map(|context| format!("[context {context}] {name}"));
        let outcome = outcome.map(|image| Rc::new(BaseImage { label, ..image }));
        outcome.map_err(|error| {
            ApiError::system(format!(
                "{name}: failed to resolve source metadata for {reference}: {}",
                error.message
            ))
        })
    }

    async fn metadata(&self, reference: &Reference, platform: &Platform) -> Result<BaseImage> {
        let store = &self.engine.store;
        let found = |id, config, remote| BaseImage {
            reference: reference.clone(),
            id,
            config,
            label: None,
            remote,
            shown_at: Cell::new(0),
            vertex: RefCell::default(),
            pending: Cell::new(false),
            brought: Once::default(),
        };
        if !self.request.pull {
            match store.resolve(&reference.familiar()) {
                Ok(image) if platform.architecture == image.config.architecture => {
                    return Ok(found(image.id, image.config, None));
                }
                Ok(_) | Err(StoreError::NoSuchImage(_)) => {}
                Err(error) => return Err(store_error(error)),
            }
        }
        let registry = self.registry(reference).await;
        match store.look_up(&registry, reference, platform).await {
            Ok(remote) => {
                let (id, config) = (remote.manifest.config.digest, remote.config.clone());
                Ok(found(id, config, Some(remote)))
            }
            Err(error) => Err(ApiError::system(match &error {
                PullError::NoMatchingManifest(_) => {
                    "no match for platform in manifest: not found".to_string()
                }
                PullError::Registry(why) if why.is_not_found() => {
                    format!("{reference}: not found")
                }
                error => error.to_string(),
            })),
        }
    }

    /// The registries, for who asked for the build.
    pub(super) async fn registry(&self, reference: &Reference) -> Registry {
        let registry = &self.engine.registry;
        let (name, host) = match reference.domain() {
            "docker.io" => HUB,
            domain => (domain, domain),
        };
        match self.client.credentials(host).await {
            Some((user, password)) => {
                let credentials = Credentials {
                    username: user,
                    password,
                    ..Credentials::default()
                };
                registry.with_credentials_by_host(BTreeMap::from([(name.to_string(), credentials)]))
            }
            None => registry.clone(),
        }
    }

    /// Sees to it that an image's layers are here. Its step is shown once, as `vertex` says.
    async fn bring(&self, image: &BaseImage, vertex: impl FnOnce() -> Vertex) -> Result<u32> {
        let vertex = image.vertex.borrow_mut().get_or_insert_with(vertex).clone();
        let bring = async {
            self.start(&vertex);
            let known = self.engine.cached(&image.key()).is_some();
            image.pending.set(known);
            if known {
                return Ok(());
            }
            let outcome = self.bring_layers(image, &vertex).await;
            self.end(&vertex, &outcome, false);
            outcome
        };
        image.brought.get(bring).await?;
        Ok(vertex.id)
    }

    async fn bring_layers(&self, image: &BaseImage, vertex: &Vertex) -> Result<()> {
        let mut pin = None;
        if let Some(remote) = &image.remote {
            let part = |id: &str, bytes: (u64, u64), done| {
                self.progress.part(vertex, id, bytes, done);
            };
            part(&format!("resolve {}", image.shown()), (0, 0), true);
            for (digest, size) in &remote.documents {
                part(&digest.to_string(), (*size, *size), true);
            }
            let tell = |event: PullEvent| {
                let PullEvent::Layer {
                    digest,
                    status,
                    progress,
                    ..
                } = event
                else {
                    return;
                };
                match (&*status, progress) {
                    ("Downloading", Some(bytes)) => {
                        part(&digest.to_string(), bytes, bytes.0 == bytes.1)
                    }
                    ("Extracting", Some((done, all))) => {
                        part(&format!("extracting {digest}"), (0, 0), done == all);
                    }
                    _ => {}
                }
            };
            let registry = self.registry(&image.reference).await;
            let pulled = self
                .engine
                .store
                .pull_layers(&registry, &image.reference, remote, &tell)
                .await;
            pin = Some(
                pulled
                    .map_err(|error| crate::image::create::pull_error(&error, &image.reference))?,
            );
        }
        self.engine.keep(
            image.key(),
            Entry {
                top: image.top(),
                description: format!("pulled from {}", image.shown()),
                ..Entry::default()
            },
        );
        drop(pin);
        Ok(())
    }

    /// Says how the step of an image ended that was here already: its files were needed, or nobody asked.
    pub(super) fn settle(&self, image: Option<&Rc<BaseImage>>, needed: bool) {
        let Some(image) = image.filter(|image| image.pending.replace(false)) else {
            return;
        };
        if let Some(vertex) = image.vertex.borrow().as_ref() {
            let outcome = if needed {
                Outcome::Cached
            } else {
                Outcome::Done
            };
            self.progress.end(vertex, outcome);
        }
    }

    /// The layers of an image of `--from`.
    pub(super) async fn image_top(
        &self,
        name: &str,
        context: Option<&str>,
    ) -> Result<Option<Digest>> {
        let image = self.image(name, context, &self.request.platform).await?;
        let title = match &image.label {
            Some(label) => label.clone(),
            None => format!("FROM {}", image.shown()),
        };
        let vertex = || self.vertex(title, Vec::new());
        self.bring(&image, vertex).await?;
        self.settle(Some(&image), true);
        Ok(image.top())
    }

    fn base_name(&self, stage: &Stage) -> Result<String> {
        let lookup = |name: &str| self.meta.meta(name);
        let name =
            shell::expand(&stage.base, self.file.escape, &lookup).map_err(ApiError::invalid)?;
        match name.is_empty() {
            true => Err(ApiError::invalid(format!(
                "base name ({}) should not be blank",
                stage.base
            ))),
            false => Ok(name),
        }
    }

    /// Stages that the one needs, itself last.
    pub(super) fn needed(&self, target: usize) -> Result<Vec<usize>> {
        let mut needed = vec![false; self.file.stages.len()];
        needed[target] = true;
        for index in (0..=target).rev() {
            if !needed[index] {
                continue;
            }
            let stage = &self.file.stages[index];
            if let Some(base) = self.earlier(&self.base_name(stage)?, index, false) {
                needed[base] = true;
            }
            for instruction in &stage.instructions {
                for from in froms(&instruction.kind) {
                    if let Some(other) = self.earlier(from, index, true) {
                        needed[other] = true;
                    }
                }
            }
        }
        Ok((0..=target).filter(|&index| needed[index]).collect())
    }

    /// What the stage begins with.
    pub(super) async fn find_base(&self, index: usize) -> Result<Base> {
        let stage = &self.file.stages[index];
        let (mut name, mut context) = (self.base_name(stage)?, None);
        match self.client.named_context(&name).await? {
            Some(NamedContext::Image(image)) => {
                context = Some(std::mem::replace(&mut name, image));
            }
            Some(NamedContext::Directory(directory)) => return Ok(Base::Directory(directory)),
            None => {
                if let Some(base) = self.earlier(&name, index, false) {
                    return Ok(Base::Stage(base));
                }
            }
        }
        if name == "scratch" {
            return Ok(Base::Scratch);
        }
        let lookup = |name: &str| self.meta.meta(name);
        let platform =
            shell::expand(&stage.platform, self.file.escape, &lookup).map_err(ApiError::invalid)?;
        let platform = match platform.as_str() {
            "" => self.request.platform.clone(),
            text => Platform::parse(text).filter(is_known).ok_or_else(|| {
                ApiError::invalid(format!(
                    "failed to parse platform {text}: {text:?}: unknown operating system or architecture: invalid argument"
                ))
            })?,
        };
        let image = self.image(&name, context.as_deref(), &platform);
        image.await.map(Base::Image)
    }

    /// Looks the images up that a stage takes files from.
    pub(super) async fn find_sources(&self, index: usize) -> Done<()> {
        for instruction in &self.file.stages[index].instructions {
            for from in froms(&instruction.kind) {
                if self.earlier(from, index, true).is_some() || self.client.has_context(from) {
                    continue;
                }
                let image = self.image(from, None, &self.request.platform);
                image.await.map_err(|error| BuildError {
                    lines: Some(instruction.lines),
                    ..error.into()
                })?;
            }
        }
        Ok(())
    }

    /// Finds what is wrong with instructions that need no files, before anything is done.
    pub(super) fn rehearse(&self, needed: &[usize]) -> Done<()> {
        let platform = &self.request.platform;
        let mut states: BTreeMap<usize, State> = BTreeMap::new();
        for &index in needed {
            let mut state = match &self.bases.borrow()[index] {
                Some(Base::Stage(base)) => states
                    .get(base)
                    .map(|base| State::over(base.image.clone(), None, None))
                    .unwrap_or_default(),
                Some(Base::Image(image)) => State::over(image.config.clone(), None, None),
                _ => State::scratch(&platform.os, &platform.architecture),
            };
            let mut args = self.meta.clone();
            args.begin_stage();
            for instruction in &self.file.stages[index].instructions {
                let done = match &instruction.kind {
                    Kind::Workdir(path) => {
                        state.set_workdir(path, &args, self.file.escape).map(|_| ())
                    }
                    _ => state
                        .configure(instruction, &mut args, self.file.escape, true)
                        .map(|_| ()),
                };
                done.map_err(|error| BuildError {
                    lines: Some(instruction.lines),
                    ..error.into()
                })?;
            }
            states.insert(index, state);
        }
        Ok(())
    }

    /// Decides under which stage an image is shown that several begin with: the one that is come to last on the
    /// way through what the target is made of, as BuildKit has it.
    pub(super) fn show_bases(&self, target: usize) {
        let mut seen = vec![false; self.file.stages.len()];
        self.visit(target, &mut seen);
    }

    fn visit(&self, index: usize, seen: &mut [bool]) {
        if std::mem::replace(&mut seen[index], true) {
            return;
        }
        match &self.bases.borrow()[index] {
            Some(Base::Stage(base)) => self.visit(*base, seen),
            Some(Base::Image(image)) => image.shown_at.set(index),
            _ => {}
        }
        for instruction in &self.file.stages[index].instructions {
            for from in froms(&instruction.kind) {
                if let Some(other) = self.earlier(from, index, true) {
                    self.visit(other, seen);
                }
            }
        }
    }

    /// The step in which an image comes that stages begin with.
    fn base_step(&self, image: &BaseImage) -> Vertex {
        if let Some(label) = &image.label {
            return self.vertex(label.clone(), Vec::new());
        }
        let mut at = self.at(image.shown_at.get(), true);
        let mut vertex = self.step(&mut at, format!("FROM {}", image.shown()), Vec::new());
        vertex.lines = Some(at.stage.lines);
        vertex
    }

    /// Begins a stage.
    pub(super) async fn begin(&self, index: usize, at: &mut At<'_>) -> Result<Solved> {
        let base = self.bases.borrow()[index].clone();
        let platform = &self.request.platform;
        let scratch = || State::scratch(&platform.os, &platform.architecture);
        match base {
            Some(Base::Stage(base)) => {
                let solved = self.stage_result(base).await;
                let state = &solved.state;
                Ok(Solved {
                    state: State::over(state.image.clone(), state.top, None),
                    ..solved
                })
            }
            Some(Base::Image(image)) => {
                at.index += usize::from(image.label.is_none());
                let vertex = self.bring(&image, || self.base_step(&image)).await?;
                Ok(Solved {
                    state: State::over(image.config.clone(), image.top(), None),
                    key: image.key(),
                    vertex: Some(vertex),
                    created: image.config.created.clone(),
                    base: Some(image),
                    records: Vec::new(),
                })
            }
            Some(Base::Directory(directory)) => {
                let (os, mut state) = (&self.engine.os, scratch());
                let digest = super::content::tree_digest(os, &directory, "/").await;
                let digest = digest.map_or(String::new(), |digest| digest.to_string());
                let plan = Plan::whole();
                let items = plan.items(os, &directory).await?;
                let tree = self.engine.tree(None)?;
                plan.perform(os, &tree.root, &items).await?;
                let layer = tree.commit().await?;
                state.image.rootfs.diff_ids.extend(layer);
                state.top = layer.map(|layer| layers::graph::chain_id(None, layer));
                Ok(Solved {
                    state,
                    key: key(&[b"directory", digest.as_bytes()]),
                    vertex: None,
                    created: None,
                    base: None,
                    records: Vec::new(),
                })
            }
            Some(Base::Scratch) | None => Ok(Solved {
                state: scratch(),
                key: key(&[b"scratch"]),
                vertex: None,
                created: None,
                base: None,
                records: Vec::new(),
            }),
        }
    }
}
