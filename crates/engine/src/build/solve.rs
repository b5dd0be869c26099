//! BuildKit's way of building: only the stages the target needs, no image between the steps, and each step's
//! files from the build cache if everything it is made from is as it was.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use dockerfile::{Dockerfile, Instruction, Kind, MountKind, Run, Stage, shell};
use engine_api::error::{ApiError, Result};
use engine_api::stream::Channel;
use engine_api::timestamp;
use engine_api::types::Config;
use layers::graph::chain_id;
use layers::{Image, PullEvent, StoreError};
use oci::{Digest, Hasher, History, Reference};

use super::args::Args;
use super::cache::Entry;
use super::content::tree_digest;
use super::mounts::From as Source;
use super::run::{Containers, Step};
use super::stage::{State, set_env};
use super::{BuildError, Built, Client, NamedContext, Outcome, Progress, Request, Vertex};
use crate::Engine;
use crate::image::{shown_config, store_error};

type Done<T> = std::result::Result<T, BuildError>;

/// What BuildKit calls itself in an image's history.
const COMMENT: &str = "buildkit.dockerfile.v0";
/// Steps a Dockerfile may have.
const STEPS_MAX: usize = 10_000;

/// A stage that was built.
#[derive(Clone)]
struct Solved {
    state: State,
    /// Everything its files are made from.
    key: Digest,
    /// Its last step.
    vertex: Option<u32>,
    /// When the newest of its layers was made: the time of the image, so that an image of which everything was
    /// in the cache is the same image again.
    created: Option<String>,
}

/// What a stage begins with.
enum Base {
    Scratch,
    Stage(usize),
    Image(Box<(Reference, Option<Image>)>),
}

struct Solver<'a> {
    engine: &'a Engine,
    request: &'a Request,
    client: Rc<dyn Client>,
    progress: Rc<dyn Progress>,
    file: Dockerfile,
    meta: Args,
    vertices: Cell<u32>,
    /// The vertex that began last.
    begun: Cell<Option<u32>>,
    solved: RefCell<Vec<Option<Solved>>>,
    bases: RefCell<Vec<Option<Base>>>,
}

fn key(parts: &[&[u8]]) -> Digest {
    let mut hasher = Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finish()
}

/// The name of an instruction in capital letters, whatever it was written in.
fn shown(code: &str) -> String {
    match code.split_once(char::is_whitespace) {
        Some((name, rest)) => format!("{} {}", name.to_uppercase(), rest.trim_start()),
        None => code.to_uppercase(),
    }
}

/// A `RUN` that is nothing but a heredoc is shown with how that begins.
fn summary(kind: &Kind) -> String {
    let Kind::Run(run) = kind else {
        return String::new();
    };
    match (&run.heredocs[..], run.command.words.first()) {
        ([heredoc], Some(word)) if super::is_heredoc_alone(word) => {
            let text = heredoc.text();
            let mut lines = text.trim().lines();
            let first = lines.next().unwrap_or_default();
            let more = if lines.next().is_some() { "..." } else { "" };
            format!(" ({first}{more})")
        }
        _ => String::new(),
    }
}

/// Whether an instruction is a step of its own.
fn is_step(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Run(_) | Kind::Copy(_) | Kind::Add(_) | Kind::Workdir(_)
    )
}

/// The step that is being carried out.
struct At<'a> {
    stage: &'a Stage,
    /// As it is shown; empty if there is only one.
    name: String,
    index: usize,
    total: usize,
    /// Nothing comes from the cache.
    no_cache: bool,
}

impl Solver<'_> {
    fn vertex(&self, text: String, inputs: Vec<u32>) -> Vertex {
        let id = self.vertices.get();
        self.vertices.set(id + 1);
        Vertex {
            id,
            inputs,
            text,
            ..Vertex::default()
        }
    }

    fn start(&self, vertex: &Vertex) {
        self.begun.set(Some(vertex.id));
        self.progress.begin(vertex);
    }

    fn end<T>(&self, vertex: &Vertex, outcome: &Result<T>, cached: bool) {
        self.progress.end(
            vertex,
            match outcome {
                Ok(_) if cached => Outcome::Cached,
                Ok(_) => Outcome::Done,
                Err(error) => Outcome::Failed(error.message.clone()),
            },
        );
    }

    /// The earlier stage a name or number means.
    fn earlier(&self, name: &str, before: usize, by_number: bool) -> Option<usize> {
        let lower = name.to_lowercase();
        let stages = &self.file.stages[..before];
        let by_name = stages.iter().rposition(|stage| stage.name == lower);
        let by_name = by_name.filter(|_| !lower.is_empty());
        let index = || name.parse().ok().filter(|&index: &usize| index < before);
        by_name.or_else(|| if by_number { index() } else { None })
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
    fn needed(&self, target: usize) -> Result<Vec<usize>> {
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

    /// Finds out whether an image is there, here or at its registry.
    async fn load_metadata(&self, name: &str) -> Result<(Reference, Option<Image>)> {
        let invalid = |error: oci::ReferenceError| {
            ApiError::invalid(format!("failed to parse stage name {name:?}: {error}"))
        };
        let reference = Reference::parse(name).map_err(invalid)?.with_default_tag();
        let mut vertex = self.vertex(format!("load metadata for {reference}"), Vec::new());
        vertex.internal = true;
        self.start(&vertex);
        let outcome = self.metadata(name, &reference).await;
        self.end(&vertex, &outcome, false);
        outcome.map(|image| (reference, image))
    }

    async fn metadata(&self, name: &str, reference: &Reference) -> Result<Option<Image>> {
        let engine = self.engine;
        if !self.request.pull {
            match engine.store.resolve(name) {
                Ok(image) => return Ok(Some(image)),
                Err(StoreError::NoSuchImage(_)) => {}
                Err(error) => return Err(store_error(error)),
            }
        }
        let found = engine.registry.manifest(reference).await;
        found.map(|_| None).map_err(|error| {
            let why = match error.is_not_found() {
                true => format!("{reference}: not found"),
                false => error.to_string(),
            };
            ApiError::system(format!(
                "{name}: failed to resolve source metadata for {reference}: {why}"
            ))
        })
    }

    /// An image whose metadata is known, pulled if it is not here.
    async fn fetch(
        &self,
        vertex: &Vertex,
        reference: &Reference,
        image: Option<Image>,
    ) -> Result<Image> {
        if let Some(image) = image {
            return Ok(image);
        }
        let engine = self.engine;
        let tell = |event: PullEvent| {
            if let PullEvent::Layer {
                id,
                status,
                progress,
            } = event
            {
                let (current, total) = progress.unwrap_or_default();
                self.progress.status(vertex, &id, &status, current, total);
            }
        };
        engine
            .store
            .pull(&engine.registry, reference, &self.request.platform, &tell)
            .await
            .map_err(|error| crate::image::create::pull_error(&error, reference))?;
        engine.image_event("pull", &reference.familiar(), &reference.familiar_name());
        engine
            .store
            .resolve(&reference.familiar())
            .map_err(store_error)
    }

    /// What the stage begins with.
    async fn find_base(&self, index: usize) -> Result<Base> {
        let stage = &self.file.stages[index];
        let mut name = self.base_name(stage)?;
        match self.client.named_context(&name).await? {
            Some(NamedContext::Image(image)) => name = image,
            Some(NamedContext::Directory(_)) => {
                return Err(ApiError::unsupported(format!(
                    "FROM {name} with a directory as its context"
                )));
            }
            None => {
                if let Some(base) = self.earlier(&name, index, false) {
                    return Ok(Base::Stage(base));
                }
            }
        }
        if name == "scratch" {
            return Ok(Base::Scratch);
        }
        self.load_metadata(&name)
            .await
            .map(|found| Base::Image(Box::new(found)))
    }

    /// Begins a stage.
    async fn begin(&self, index: usize, at: &mut At<'_>) -> Result<Solved> {
        let base = self.bases.borrow_mut()[index].take();
        match base {
            Some(Base::Stage(base)) => {
                let solved = self.solved.borrow()[base].clone();
                let solved = solved.ok_or_else(|| ApiError::system("a stage was not built"))?;
                let state = &solved.state;
                Ok(Solved {
                    state: State::over(state.image.clone(), state.top, None),
                    ..solved
                })
            }
            Some(Base::Image(found)) => {
                let (reference, image) = *found;
                let mut vertex = self.step(at, format!("FROM {reference}"), Vec::new());
                vertex.lines = Some(at.stage.lines);
                self.start(&vertex);
                let outcome = self.fetch(&vertex, &reference, image).await;
                let image = match outcome {
                    Ok(image) => image,
                    Err(error) => {
                        self.end::<()>(&vertex, &Err(error.clone()), false);
                        return Err(error);
                    }
                };
                let key = key(&[b"image", image.id.to_string().as_bytes()]);
                let top = image.chain.last().copied();
                let known = self.engine.cached(&key).is_some();
                if !known {
                    self.engine.keep(
                        key,
                        Entry {
                            top,
                            description: format!("pulled from {reference}"),
                            ..Entry::default()
                        },
                    );
                }
                self.end(&vertex, &Ok(()), known);
                let created = image.config.created.clone();
                Ok(Solved {
                    state: State::over(image.config, top, None),
                    key,
                    vertex: Some(vertex.id),
                    created,
                })
            }
            Some(Base::Scratch) | None => {
                let platform = &self.request.platform;
                Ok(Solved {
                    state: State::scratch(&platform.os, &platform.architecture),
                    key: key(&[b"scratch"]),
                    vertex: None,
                    created: None,
                })
            }
        }
    }

    /// The next step of the stage.
    fn step(&self, at: &mut At<'_>, text: String, inputs: Vec<u32>) -> Vertex {
        at.index += 1;
        Vertex {
            stage: at.name.clone(),
            index: at.index,
            total: at.total,
            ..self.vertex(text, inputs)
        }
    }

    async fn stage(&self, index: usize, single: bool) -> Done<()> {
        let stage = &self.file.stages[index];
        let name = match (single, stage.name.as_str()) {
            (true, _) => String::new(),
            (false, "") => format!("stage-{index}"),
            (false, name) => name.to_string(),
        };
        let from_image = matches!(self.bases.borrow()[index], Some(Base::Image(_)));
        let steps = stage.instructions.iter().filter(|one| is_step(&one.kind));
        let mut at = At {
            stage,
            no_cache: self.request.no_cache || self.request.no_cache_stages.contains(&stage.name),
            name,
            index: 0,
            total: usize::from(from_image) + steps.count(),
        };
        let mut args = self.meta.clone();
        args.begin_stage();
        let located = |error: BuildError, lines| BuildError {
            lines: error.lines.or(Some(lines)),
            ..error
        };
        let mut solved = self
            .begin(index, &mut at)
            .await
            .map_err(|error| located(error.into(), stage.lines))?;
        let mut instructions = Vec::new();
        for trigger in solved.state.take_triggers() {
            let instruction = dockerfile::parse_trigger(&trigger)
                .map_err(|error| ApiError::invalid(error.message))?;
            at.total += usize::from(is_step(&instruction.kind));
            instructions.push(Instruction {
                lines: stage.lines,
                ..instruction
            });
        }
        instructions.extend(stage.instructions.iter().cloned());
        for instruction in &instructions {
            self.instruction(index, &mut at, &mut solved, &mut args, instruction)
                .await
                .map_err(|error| located(error, instruction.lines))?;
        }
        self.solved.borrow_mut()[index] = Some(solved);
        Ok(())
    }

    fn history(&self, solved: &mut Solved, text: String, layer: Option<Digest>) {
        solved.state.image.history.push(History {
            created: solved.created.clone(),
            created_by: Some(text),
            author: None,
            comment: Some(COMMENT.to_string()),
            empty_layer: layer.is_none(),
        });
    }

    async fn instruction(
        &self,
        index: usize,
        at: &mut At<'_>,
        solved: &mut Solved,
        args: &mut Args,
        instruction: &Instruction,
    ) -> Done<()> {
        let escape = self.file.escape;
        let said = solved.state.configure(instruction, args, escape, true)?;
        if let Some(said) = said {
            self.history(solved, said, None);
            return Ok(());
        }
        let variables = solved.state.variables(args);
        let text = shell::show(&instruction.code, escape, &|name| {
            variables.get(name).cloned()
        });
        let title = shown(&text) + &summary(&instruction.kind);
        let mut vertex = self.step(at, title, solved.vertex.into_iter().collect());
        vertex.lines = Some(instruction.lines);
        let mut inputs = Vec::new();
        for from in froms(&instruction.kind) {
            if let Some(other) = self.earlier(from, index, true) {
                let other = &self.solved.borrow()[other];
                inputs.extend(other.as_ref().and_then(|other| other.vertex));
            }
        }
        vertex.inputs.extend(inputs);
        let outcome = match &instruction.kind {
            Kind::Run(run) => self.run(index, at, &vertex, solved, args, run).await,
            Kind::Copy(copy) => {
                self.copy(index, at, &vertex, solved, args, ("COPY", copy, &text))
                    .await
            }
            Kind::Add(copy) => {
                self.copy(index, at, &vertex, solved, args, ("ADD", copy, &text))
                    .await
            }
            Kind::Workdir(path) => self.workdir(at, &vertex, solved, args, path).await,
            _ => Ok(()),
        };
        if let Err(error) = &outcome {
            if self.begun.get() != Some(vertex.id) {
                self.start(&vertex);
            }
            self.end::<()>(&vertex, &Err(error.error.clone()), false);
        }
        solved.vertex = Some(vertex.id);
        outcome
    }

    /// Takes a step from the cache; true when it was there.
    fn take_cached(&self, at: &At<'_>, vertex: &Vertex, solved: &mut Solved, text: &str) -> bool {
        if at.no_cache {
            return false;
        }
        let Some(entry) = self.engine.cached(&solved.key) else {
            return false;
        };
        // The files below may have another history and the same content; the layer goes on top of them.
        let top = match entry.layer {
            Some(layer) => Some(chain_id(solved.state.top, layer)),
            None => solved.state.top,
        };
        if top != entry.top {
            return false;
        }
        self.start(vertex);
        self.add_layer(solved, entry.layer, text, entry.created);
        self.progress.end(vertex, Outcome::Cached);
        true
    }

    fn add_layer(&self, solved: &mut Solved, layer: Option<Digest>, text: &str, created: u64) {
        solved.created = Some(timestamp::format(created));
        self.history(solved, text.to_string(), layer);
        let state = &mut solved.state;
        state.image.rootfs.diff_ids.extend(layer);
        if let Some(layer) = layer {
            state.top = Some(chain_id(state.top, layer));
        }
    }

    /// A step has made its layer.
    fn made(&self, vertex: &Vertex, solved: &mut Solved, layer: Option<Digest>, text: &str) {
        let created = self.engine.now();
        self.add_layer(solved, layer, text, created);
        let entry = Entry {
            layer,
            top: solved.state.top,
            description: vertex.name(),
            created,
            ..Entry::default()
        };
        self.engine.keep(solved.key, entry);
        self.progress.end(vertex, Outcome::Done);
    }

    async fn workdir(
        &self,
        at: &At<'_>,
        vertex: &Vertex,
        solved: &mut Solved,
        args: &Args,
        text: &str,
    ) -> Done<()> {
        let path = solved.state.set_workdir(text, args, self.file.escape)?;
        solved.key = key(&[solved.key.hex().as_bytes(), b"WORKDIR", path.as_bytes()]);
        let text = format!("WORKDIR {path}");
        if self.take_cached(at, vertex, solved, &text) {
            return Ok(());
        }
        self.start(vertex);
        let tree = self.engine.tree(solved.state.top)?;
        self.engine.make_workdir(&tree.root, &path)?;
        let layer = tree.commit().await?;
        self.made(vertex, solved, layer, &text);
        Ok(())
    }

    /// Where `--from` and `from=` lead.
    async fn source(&self, index: usize, from: &str) -> Result<Source> {
        match self.client.named_context(from).await? {
            Some(NamedContext::Directory(path)) => return Ok(Source::Directory(path)),
            Some(NamedContext::Image(image)) => return self.image_tree(&image).await,
            None => {}
        }
        match self.earlier(from, index, true) {
            Some(other) => {
                let top = self.solved.borrow()[other]
                    .as_ref()
                    .and_then(|other| other.state.top);
                self.engine.tree(top).map(Source::Tree)
            }
            None => self.image_tree(from).await,
        }
    }

    async fn image_tree(&self, name: &str) -> Result<Source> {
        let (reference, image) = self.load_metadata(name).await?;
        let vertex = self.vertex(format!("FROM {reference}"), Vec::new());
        let image = self.fetch(&vertex, &reference, image).await?;
        let tree = self.engine.tree(image.chain.last().copied())?;
        Ok(Source::Tree(tree))
    }

    async fn copy(
        &self,
        index: usize,
        at: &At<'_>,
        vertex: &Vertex,
        solved: &mut Solved,
        args: &Args,
        (name, copy, text): (&'static str, &dockerfile::Copy, &str),
    ) -> Done<()> {
        let mut plan = super::plan(&solved.state, args, self.file.escape, name, copy)?;
        plan.later = true;
        plan.from_context = copy.from.is_empty();
        plan.keep_owner = !plan.from_context;
        let source = match copy.from.as_str() {
            "" if plan.sources.iter().all(|one| super::fetch::is_remote(one)) => {
                Source::Directory(String::new())
            }
            "" => Source::Directory(self.client.context().await?),
            from => self.source(index, from).await?,
        };
        let say = |text: &str| {
            self.progress.log(vertex, Channel::Stdout, text.as_bytes());
        };
        let downloads = self.engine.scratch("buildkit-http")?;
        let items = self
            .engine
            .copy_items(
                &mut plan,
                source.root(),
                &downloads.path,
                &copy.checksum,
                &say,
            )
            .await?;
        plan.check_destination(&items)?;
        let flags = format!(
            "{} {:?} {} {:?} {}",
            plan.chown, plan.chmod, plan.keep_owner, plan.exclude, plan.parents
        );
        solved.key = key(&[
            solved.key.hex().as_bytes(),
            name.as_bytes(),
            plan.key(&items).as_bytes(),
            plan.names(&items).as_bytes(),
            plan.destination.as_bytes(),
            flags.as_bytes(),
        ]);
        let said = format!("{} # buildkit", shown(text));
        if self.take_cached(at, vertex, solved, &said) {
            return Ok(());
        }
        self.start(vertex);
        super::check_depth(&solved.state)?;
        let target = self.engine.tree(solved.state.top)?;
        plan.perform(&self.engine.os, &target.root, &items).await?;
        let layer = target.commit().await?;
        self.made(vertex, solved, layer, &said);
        Ok(())
    }

    /// What the files of `from=` mounts are, for the key of the step.
    async fn mount_keys(&self, run: &Run, from: &[Option<Source>]) -> Result<String> {
        let mut text = String::new();
        for (mount, from) in run.mounts.iter().zip(from) {
            text += &format!("{mount:?}\n");
            if mount.kind != MountKind::Bind {
                continue;
            }
            let context;
            let root = match from {
                Some(from) => from.root(),
                None => {
                    context = self.client.context().await?;
                    &context
                }
            };
            let digest = tree_digest(&self.engine.os, root, &mount.source).await;
            text += &digest.map_or(String::new(), |digest| digest.to_string());
        }
        Ok(text)
    }

    async fn run(
        &self,
        index: usize,
        at: &At<'_>,
        vertex: &Vertex,
        solved: &mut Solved,
        args: &Args,
        run: &Run,
    ) -> Done<()> {
        if run.security == "insecure" {
            return Err(ApiError::system("security.insecure is not allowed").into());
        }
        let state = &solved.state;
        let words = state.words(&super::run_command(run));
        let mut env = state.image.config.env.clone();
        let mut arguments = Vec::new();
        for (name, value) in args.all() {
            let known = |entry: &String| entry.split('=').next() == Some(&name);
            if !env.iter().any(known) {
                if args.counts(&name) {
                    arguments.push(format!("{name}={value}"));
                }
                set_env(&mut env, &name, &value);
            }
        }
        let mut from = Vec::new();
        for mount in &run.mounts {
            from.push(match mount.from.as_str() {
                "" => None,
                name => Some(self.source(index, name).await?),
            });
        }
        let heredocs: String = run
            .heredocs
            .iter()
            .map(|heredoc| format!("{}\0{}", heredoc.name, heredoc.content))
            .collect();
        let config = &state.image.config;
        solved.key = key(&[
            solved.key.hex().as_bytes(),
            b"RUN",
            words.join("\0").as_bytes(),
            heredocs.as_bytes(),
            config.env.join("\0").as_bytes(),
            arguments.join("\0").as_bytes(),
            config.user.as_bytes(),
            config.working_dir.as_bytes(),
            run.network.as_bytes(),
            self.mount_keys(run, &from).await?.as_bytes(),
        ]);
        let mut told = words.clone();
        if !arguments.is_empty() {
            told.splice(0..0, arguments.iter().cloned());
            told.insert(0, format!("|{}", arguments.len()));
        }
        let said = format!("RUN {} # buildkit", told.join(" "));
        if self.take_cached(at, vertex, solved, &said) {
            return Ok(());
        }
        self.start(vertex);
        let layer = self
            .execute(vertex, &solved.state, run, words, env, from)
            .await?;
        self.made(vertex, solved, layer, &said);
        Ok(())
    }

    /// Runs a step's program; gives the layer it made.
    async fn execute(
        &self,
        vertex: &Vertex,
        state: &State,
        run: &Run,
        words: Vec<String>,
        mut env: Vec<String>,
        from: Vec<Option<Source>>,
    ) -> Done<Option<Digest>> {
        let engine = self.engine;
        super::check_depth(state)?;
        let workdir = &state.image.config.working_dir;
        let mut mounts = engine.step_mounts(run, workdir, from, &self.client).await?;
        let script = engine.script(run, &mut mounts)?;
        env.append(&mut mounts.env);
        let shown = words.join(" ");
        let config = Config {
            cmd: Some(script.unwrap_or(words)),
            entrypoint: None,
            env: Some(env),
            volumes: None,
            hostname: "buildkitsandbox".to_string(),
            ..shown_config(&state.image.config)
        };
        let mut host = self.request.host.clone();
        if !run.network.is_empty() && run.network != "default" {
            host.network_mode.clone_from(&run.network);
        }
        let targets = std::mem::take(&mut mounts.mounts);
        let containers = Containers::new(&engine.rc());
        let container = engine
            .step_container(Step {
                config,
                host,
                image: String::new(),
                top: state.top,
                mounts: targets.clone(),
                hidden: true,
            })
            .await?;
        containers.add(&container);
        let missing = engine.missing_targets(&container.id, &targets)?;
        let log = |channel, bytes: &[u8]| self.progress.log(vertex, channel, bytes);
        let code = match engine.run_step(&container, &log).await {
            Ok(code) => code,
            Err(error) => {
                // What is wrong with the program itself is told as its output.
                let mark = "unable to start container process: ";
                let Some((_, why)) = error.message.split_once(mark) else {
                    return Err(error.into());
                };
                let why = why.trim_end_matches(": unknown");
                let text = format!("runc run failed: {mark}{why}\n");
                self.progress.log(vertex, Channel::Stderr, text.as_bytes());
                1
            }
        };
        if code != 0 {
            let message =
                format!("process {shown:?} did not complete successfully: exit code: {code}");
            return Err(BuildError {
                code: Some(code),
                ..ApiError::system(message).into()
            });
        }
        engine.remove_stubs(&container.id, &missing)?;
        let layer = engine.store.commit_container(&container.id).await;
        Ok(layer.map_err(|error| ApiError::system(error.to_string()))?)
    }

    async fn solve(&self, target: usize) -> Done<Built> {
        let needed = self.needed(target)?;
        for &index in &needed {
            let base = self.find_base(index).await.map_err(|error| BuildError {
                lines: Some(self.file.stages[index].lines),
                ..error.into()
            })?;
            self.bases.borrow_mut()[index] = Some(base);
        }
        let single = self.file.stages.len() == 1;
        for index in needed {
            self.stage(index, single).await?;
        }
        let solved = self.solved.borrow_mut()[target].take();
        let Solved {
            mut state, created, ..
        } = solved.ok_or_else(|| ApiError::system("the target was not built"))?;
        state
            .image
            .config
            .labels
            .extend(self.request.labels.clone());
        let now = || timestamp::format(self.engine.now());
        state.image.created = Some(created.unwrap_or_else(now));
        state.image.docker_version = None;
        let document = serde_json::to_value(&state.image)
            .map_err(|error| ApiError::system(error.to_string()))?;
        Ok(Built {
            document,
            top: state.top,
        })
    }
}

/// The `--from` of an instruction.
fn froms(kind: &Kind) -> Vec<&str> {
    let all: Vec<&str> = match kind {
        Kind::Copy(copy) | Kind::Add(copy) => vec![&copy.from],
        Kind::Run(run) => run.mounts.iter().map(|mount| mount.from.as_str()).collect(),
        _ => Vec::new(),
    };
    all.into_iter().filter(|from| !from.is_empty()).collect()
}

impl Engine {
    /// Builds the target and what it needs, as BuildKit does. The result is no image yet: see
    /// [`Engine::add_built`]. Dropping the future ends it: containers that run are killed and removed.
    pub(crate) async fn solve(
        &self,
        request: &Request,
        client: Rc<dyn Client>,
        progress: Rc<dyn Progress>,
    ) -> Done<Built> {
        let file = dockerfile::parse(&request.dockerfile).map_err(|error| BuildError {
            lines: Some(error.lines),
            ..ApiError::invalid(error.message).into()
        })?;
        let steps = file.stages.iter().map(|stage| stage.instructions.len() + 1);
        if steps.sum::<usize>() > STEPS_MAX {
            return Err(ApiError::invalid("the Dockerfile has too many instructions").into());
        }
        let target = match request.target.as_str() {
            "" => file.stages.len() - 1,
            name => file.stage(name).ok_or_else(|| {
                ApiError::invalid(format!("target stage {name:?} could not be found"))
            })?,
        };
        let mut meta = Args::new(&request.build_args);
        let (host, wanted) = (oci::Platform::host(), &request.platform);
        for (prefix, platform) in [("BUILD", &host), ("TARGET", wanted)] {
            meta.provide(&format!("{prefix}PLATFORM"), &platform.to_string());
            meta.provide(&format!("{prefix}OS"), &platform.os);
            meta.provide(&format!("{prefix}ARCH"), &platform.architecture);
            meta.provide(&format!("{prefix}VARIANT"), "");
        }
        let stage = &file.stages[target];
        let name = match (stage.name.as_str(), file.stages.len()) {
            ("", _) => "default",
            (name, _) => name,
        };
        meta.provide("TARGETSTAGE", name);
        for argument in &file.meta_args {
            if let Kind::Arg(pairs) = &argument.kind {
                super::declare_meta(&mut meta, pairs, file.escape)?;
            }
        }
        let count = file.stages.len();
        let solver = Solver {
            engine: self,
            request,
            client,
            progress,
            file,
            meta,
            vertices: Cell::new(0),
            begun: Cell::new(None),
            solved: RefCell::new((0..count).map(|_| None).collect()),
            bases: RefCell::new((0..count).map(|_| None).collect()),
        };
        solver.solve(target).await
    }
}
