//! BuildKit's way of building: only the stages the target needs, no image between the steps, and each step's
//! files from the build cache if everything it is made from is as it was.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use clock::WaitQueue;
use dockerfile::{Dockerfile, Instruction, Kind, MountKind, Run, Stage, shell};
use engine_api::error::{ApiError, Result};
use engine_api::stream::Channel;
use engine_api::timestamp;
use engine_api::types::Config;
use futures_util::future::try_join_all;
use layers::graph::chain_id;
use oci::{Digest, Hasher, History};

use super::args::Args;
use super::base::{BaseImage, Lookup};
use super::cache::Entry;
use super::content::tree_digest;
use super::fetch::is_remote;
use super::imports::{self, Imports, Record};
use super::mounts::From as Source;
use super::run::{Containers, Step};
use super::stage::{State, set_env};
use super::{BuildError, Built, Client, NamedContext, Outcome, Progress, Request, Vertex};
use crate::Engine;
use crate::image::shown_config;
use crate::once::Once;

pub(super) type Done<T> = std::result::Result<T, BuildError>;

/// What BuildKit calls itself in an image's history.
const COMMENT: &str = "buildkit.dockerfile.v0";
/// Steps a Dockerfile may have.
const STEPS_MAX: usize = 10_000;

/// A stage that was built.
#[derive(Clone)]
pub(super) struct Solved {
    pub(super) state: State,
    /// Everything its files are made from.
    pub(super) key: Digest,
    /// Its last step.
    pub(super) vertex: Option<u32>,
    /// When the newest of its layers was made: the time of the image, so that an image of which everything was
    /// in the cache is the same image again.
    pub(super) created: Option<String>,
    /// Its steps, for others.
    pub(super) records: Vec<Record>,
    /// The image below it all.
    pub(super) base: Option<Rc<BaseImage>>,
}

/// What a stage begins with.
#[derive(Clone)]
pub(super) enum Base {
    Scratch,
    Stage(usize),
    Directory(String),
    Image(Rc<BaseImage>),
}

/// A build on its way. Stages that do not need each other are built at the same time.
pub(super) struct Solver<'a> {
    pub(super) engine: &'a Engine,
    pub(super) request: &'a Request,
    pub(super) client: Rc<dyn Client>,
    pub(super) progress: Rc<dyn Progress>,
    pub(super) file: Dockerfile,
    pub(super) meta: Args,
    vertices: Cell<u32>,
    /// Vertices that have begun.
    begun: RefCell<BTreeSet<u32>>,
    /// Stages that are complete.
    solved: Vec<Once<Solved>>,
    pub(super) bases: RefCell<Vec<Option<Base>>>,
    /// By reference and platform.
    pub(super) images: RefCell<BTreeMap<String, Rc<Lookup>>>,
    /// Steps that are carried out now, by key: who comes to the same one waits, and has it from the cache.
    running: RefCell<BTreeSet<Digest>>,
    freed: WaitQueue,
    /// What `--cache-from` knows.
    pub(super) imported: RefCell<Imports>,
    /// Layers that stay while the build goes on.
    pub(super) pins: RefCell<Vec<layers::Pin>>,
}

/// Who carries a step out; see [`Solver::running`].
struct Turn<'a> {
    solver: &'a Solver<'a>,
    key: Option<Digest>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.solver.running.borrow_mut().remove(&key);
            self.solver.freed.wake_all();
        }
    }
}

pub(super) fn key(parts: &[&[u8]]) -> Digest {
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
pub(super) fn is_step(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Run(_) | Kind::Copy(_) | Kind::Add(_) | Kind::Workdir(_)
    )
}

/// Refuses a `--checksum` of anything but one file that is fetched.
fn check_checksum(checksum: &str, remote: &[bool]) -> Result<()> {
    let why = match (checksum, remote) {
        ("", _) => return Ok(()),
        (_, [true]) => match checksum.parse::<Digest>() {
            Ok(_) => return Ok(()),
            Err(_) => "invalid checksum digest format",
        },
        (_, [false]) => "checksum can't be specified for non-HTTP sources",
        _ => "checksum can't be specified for multiple sources",
    };
    Err(ApiError::invalid(why))
}

/// The step that is being carried out.
pub(super) struct At<'a> {
    pub(super) stage: &'a Stage,
    /// As it is shown; empty if there is only one.
    name: String,
    pub(super) index: usize,
    pub(super) total: usize,
    /// Nothing comes from the cache.
    no_cache: bool,
}

impl Solver<'_> {
    pub(super) fn vertex(&self, text: String, inputs: Vec<u32>) -> Vertex {
        let id = self.vertices.get();
        self.vertices.set(id + 1);
        Vertex {
            id,
            inputs,
            text,
            ..Vertex::default()
        }
    }

    pub(super) fn start(&self, vertex: &Vertex) {
        self.begun.borrow_mut().insert(vertex.id);
        self.progress.begin(vertex);
    }

    pub(super) fn end<T>(&self, vertex: &Vertex, outcome: &Result<T>, cached: bool) {
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
    pub(super) fn earlier(&self, name: &str, before: usize, by_number: bool) -> Option<usize> {
        let lower = name.to_lowercase();
        let stages = &self.file.stages[..before];
        let by_name = stages.iter().rposition(|stage| stage.name == lower);
        let by_name = by_name.filter(|_| !lower.is_empty());
        let index = || name.parse().ok().filter(|&index: &usize| index < before);
        by_name.or_else(|| if by_number { index() } else { None })
    }

    /// A stage, before its first step.
    pub(super) fn at(&self, index: usize, from_image: bool) -> At<'_> {
        let stage = &self.file.stages[index];
        let steps = stage.instructions.iter().filter(|one| is_step(&one.kind));
        // What files are taken from counts as a stage, and so does a mount.
        let takes = |one: &Instruction| match &one.kind {
            Kind::Run(run) => !run.mounts.is_empty(),
            kind => !froms(kind).is_empty(),
        };
        let alone = self.file.stages.len() == 1 && !stage.instructions.iter().any(takes);
        At {
            stage,
            no_cache: self.request.no_cache || self.request.no_cache_stages.contains(&stage.name),
            name: match stage.name.as_str() {
                _ if alone => String::new(),
                "" => format!("stage-{index}"),
                name => name.to_string(),
            },
            index: 0,
            total: usize::from(from_image) + steps.count(),
        }
    }

    /// A stage as it is when it is complete.
    pub(super) async fn stage_result(&self, index: usize) -> Solved {
        self.solved[index].wait().await
    }

    /// The next step of the stage.
    pub(super) fn step(&self, at: &mut At<'_>, text: String, inputs: Vec<u32>) -> Vertex {
        at.index += 1;
        Vertex {
            stage: at.name.clone(),
            index: at.index,
            total: at.total,
            ..self.vertex(text, inputs)
        }
    }

    async fn stage(&self, index: usize) -> Done<()> {
        let stage = &self.file.stages[index];
        let from_image = matches!(
            self.bases.borrow()[index],
            Some(Base::Image(_) | Base::Directory(_))
        );
        let mut at = self.at(index, from_image);
        let mut args = self.meta.clone();
        args.begin_stage();
        let located = |error: BuildError, lines| BuildError {
            lines: error.lines.or(Some(lines).filter(|_| !error.nowhere)),
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
        self.solved[index].set(solved);
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
                let other = self.stage_result(other).await;
                self.settle(other.base.as_ref(), true);
                inputs.extend(other.vertex);
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
            self.settle(solved.base.as_ref(), true);
            if !self.begun.borrow().contains(&vertex.id) {
                self.start(&vertex);
            }
            let why = super::step_error(&error.error.message).to_string();
            self.progress.end(&vertex, Outcome::Failed(why));
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
        self.settle(solved.base.as_ref(), false);
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
        solved.records.push(Record {
            key: solved.key,
            layers: state.image.rootfs.diff_ids.len(),
            own: layer.is_some(),
            created,
        });
        if let Some(layer) = layer {
            state.top = Some(chain_id(state.top, layer));
        }
    }

    /// Takes a step from the cache, or gives the right to carry it out, which then has begun.
    async fn turn<'a>(
        &'a self,
        at: &At<'_>,
        vertex: &Vertex,
        solved: &mut Solved,
        text: &str,
    ) -> Option<Turn<'a>> {
        let key = solved.key;
        loop {
            if !at.no_cache && self.engine.cached(&key).is_none() {
                self.take_imported(&key, solved.state.top).await;
            }
            if self.take_cached(at, vertex, solved, text) {
                return None;
            }
            if at.no_cache || self.running.borrow_mut().insert(key) {
                self.settle(solved.base.as_ref(), true);
                self.start(vertex);
                let key = (!at.no_cache).then_some(key);
                return Some(Turn { solver: self, key });
            }
            let free = || (!self.running.borrow().contains(&key)).then_some(());
            self.freed.wait_for(free).await;
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
        let Some(_turn) = self.turn(at, vertex, solved, &text).await else {
            return Ok(());
        };
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
            Some(NamedContext::Image(image)) => {
                return self.tree(self.image_top(&image, Some(from)).await?);
            }
            None => {}
        }
        match self.earlier(from, index, true) {
            Some(other) => self.tree(self.stage_result(other).await.state.top),
            None => self.tree(self.image_top(from, None).await?),
        }
    }

    fn tree(&self, top: Option<Digest>) -> Result<Source> {
        self.engine.tree(top).map(Source::Tree)
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
        plan.reference = self.engine.ref_name();
        plan.from_context = copy.from.is_empty();
        plan.keep_owner = !plan.from_context;
        let source = match copy.from.as_str() {
            "" if plan.sources.iter().all(|one| is_remote(one)) => Source::Directory(String::new()),
            "" => Source::Directory(self.client.context().await?),
            from => self.source(index, from).await?,
        };
        let heard = |channel, bytes: &[u8]| {
            if !self.begun.borrow().contains(&vertex.id) {
                self.start(vertex);
            }
            self.progress.log(vertex, channel, bytes);
        };
        let remote: Vec<bool> = plan.sources.iter().map(|one| is_remote(one)).collect();
        check_checksum(&copy.checksum, &remote)?;
        let downloads = self.engine.scratch("buildkit-http")?;
        let items = self
            .engine
            .copy_items(&mut plan, source.root(), &downloads.path, copy, &heard)
            .await
            .map_err(|error| BuildError {
                // What is fetched is no instruction to BuildKit, so it knows no lines of it.
                nowhere: name == "ADD"
                    && remote.contains(&true)
                    && !error.message.contains("checksum of ref"),
                ..error.into()
            })?;
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
        if !plan.inline.is_empty() {
            let mut document = self.vertex("preparing inline document".to_string(), Vec::new());
            document.internal = true;
            self.progress.begin(&document);
            self.progress.end(&document, Outcome::Done);
        }
        let said = format!("{} # buildkit", shown(text));
        let Some(_turn) = self.turn(at, vertex, solved, &said).await else {
            return Ok(());
        };
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
        let Some(_turn) = self.turn(at, vertex, solved, &said).await else {
            return Ok(());
        };
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
                    return Err(match error.message.starts_with("unable to find user") {
                        true => ApiError::system(format!(
                            "process {shown:?} did not complete successfully: {}",
                            error.message
                        )),
                        false => error,
                    }
                    .into());
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

    /// Refuses what the client has not allowed.
    fn check_entitlements(&self, needed: &[usize]) -> Done<()> {
        let all = needed.iter().map(|&index| &self.file.stages[index]);
        let mut instructions = all.flat_map(|stage| &stage.instructions);
        let wants_host = |one: &Instruction| match &one.kind {
            Kind::Run(run) => run.network == "host",
            _ => false,
        };
        match !self.request.host_network && instructions.any(wants_host) {
            true => {
                self.progress.planned();
                Err(BuildError {
                    nowhere: true,
                    ..ApiError::invalid("failed to load LLB: network.host is not allowed").into()
                })
            }
            false => Ok(()),
        }
    }

    async fn solve(&self, target: usize) -> Done<Built> {
        let needed = self.needed(target)?;
        let bases = needed.iter().map(|&index| async move {
            let base = self.find_base(index).await.map_err(|error| BuildError {
                lines: Some(self.file.stages[index].lines),
                ..error.into()
            })?;
            if let Base::Image(image) = &base
                && image.has_triggers()
            {
                self.client.may_use_all();
            }
            self.bases.borrow_mut()[index] = Some(base);
            self.find_sources(index).await
        });
        try_join_all(bases).await?;
        self.show_bases(target);
        self.rehearse(&needed)?;
        self.check_entitlements(&needed)?;
        self.import_caches().await;
        let built = try_join_all(needed.into_iter().map(|index| self.stage(index))).await;
        if built.is_err() {
            for image in self.images.borrow().values() {
                self.settle(image.now().and_then(Result::ok).as_ref(), false);
            }
        }
        built?;
        let solved = self.stage_result(target).await;
        self.settle(solved.base.as_ref(), true);
        let Solved {
            mut state,
            created,
            records,
            ..
        } = solved;
        state
            .image
            .config
            .labels
            .extend(self.request.labels.clone());
        let now = || timestamp::format(self.engine.now());
        state.image.created = Some(created.unwrap_or_else(now));
        state.image.docker_version = None;
        let mut document = serde_json::to_value(&state.image)
            .map_err(|error| ApiError::system(error.to_string()))?;
        if self.request.cache_inline {
            imports::embed(&mut document, &records);
        }
        Ok(Built {
            document,
            top: state.top,
        })
    }
}

/// The `--from` of an instruction.
pub(super) fn froms(kind: &Kind) -> Vec<&str> {
    let all: Vec<&str> = match kind {
        Kind::Copy(copy) | Kind::Add(copy) => vec![&copy.from],
        Kind::Run(run) => run.mounts.iter().map(|mount| mount.from.as_str()).collect(),
        _ => Vec::new(),
    };
    all.into_iter().filter(|from| !from.is_empty()).collect()
}

impl Engine {
    /// A name for files as BuildKit gives it: whose they are, and 25 letters and digits.
    fn ref_name(&self) -> String {
        let rng = self.os.rng();
        let digits = (0..25).map(|_| {
            let digit = (rng.next_u64() % 36) as u32;
            char::from_digit(digit, 36).unwrap_or('0')
        });
        format!("{}::{}", self.id, digits.collect::<String>())
    }

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
            begun: RefCell::default(),
            solved: (0..count).map(|_| Once::default()).collect(),
            bases: RefCell::new(vec![None; count]),
            images: RefCell::default(),
            running: RefCell::default(),
            freed: WaitQueue::new(),
            imported: RefCell::default(),
            pins: RefCell::default(),
        };
        solver.solve(target).await
    }
}
