//! `POST /build`: the classic builder. Every instruction makes an image on top of the one before, committed
//! from a container, and finds it again next time as a child of that image with the same configuration.

use std::cell::RefCell;
use std::rc::Rc;

use dockerfile::{Dockerfile, Instruction, Kind, Stage, shell};
use engine_api::error::{ApiError, Result};
use engine_api::image::build::Build;
use engine_api::image::progress;
use engine_api::stream::Channel;
use engine_api::timestamp;
use engine_api::types::Config;
use layers::registry::Registry;
use layers::{Image, StoreError};
use oci::{Digest, History, Platform, Reference};
use serde_json::{Value, json};
use serve::Response;

use super::BuildError;
use super::args::Args;
use super::copy::Plan;
use super::mounts::Mounts;
use super::run::{Containers, Step};
use super::stage::{State, go_quote};
use super::tree::Tree;
use crate::Engine;
use crate::dispatch::Context;
use crate::image::lines::Lines;
use crate::image::tag::tag_reference;
use crate::image::{shown_config, store_error};
use crate::state::{Container, Mount};

type Outcome<T> = std::result::Result<T, BuildError>;

/// Where the builder's words go.
struct Out {
    lines: Rc<Lines>,
    /// With `-q` they are kept, and told only if the build fails.
    kept: Option<RefCell<String>>,
}

impl Out {
    fn say(&self, text: &str) {
        match &self.kept {
            Some(kept) => kept.borrow_mut().push_str(&progress::stream(text)),
            None => self.lines.push(progress::stream(text)),
        }
    }

    /// What a program writes; its errors are red.
    fn log(&self, channel: Channel, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        match channel {
            Channel::Stderr => self.say(&format!("\u{1b}[91m{text}\u{1b}[0m")),
            _ => self.say(&text),
        }
    }

    /// Lines that are messages already, as of a pull.
    fn lines(&self) -> Rc<Lines> {
        match self.kept {
            Some(_) => Rc::default(),
            None => Rc::clone(&self.lines),
        }
    }
}

/// A build on its way.
struct Builder {
    engine: Rc<Engine>,
    build: Build,
    out: Out,
    /// Where images come from.
    registry: Registry,
    /// The context's directory.
    root: String,
    args: Args,
    escape: char,
    platform: Platform,
    /// Containers of the instruction that is being carried out.
    containers: Containers,
    /// Stages that are complete.
    stages: Vec<(String, State)>,
    /// Nothing was missing in the cache so far in this stage.
    cache: bool,
    step: usize,
    total: usize,
}

/// `/bin/sh -c #(nop)  CMD ["sh"]`: what an instruction that runs nothing leaves as a command.
fn comment(shell: Vec<String>, text: &str, joined: bool) -> Vec<String> {
    let mut words = shell;
    match joined {
        true => words.push(format!("#(nop) {text}")),
        false => words.extend(["#(nop) ".to_string(), text.to_string()]),
    }
    words
}

/// Two configurations are the same instruction, wherever its container was.
fn same_step(one: &Value, other: &Value) -> bool {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else {
        return false;
    };
    let counts = |name: &str| !matches!(name, "Hostname" | "Domainname" | "Image");
    let differs = |a: &serde_json::Map<String, Value>, b: &serde_json::Map<String, Value>| {
        a.iter()
            .any(|(name, value)| counts(name) && b.get(name).unwrap_or(&Value::Null) != value)
    };
    !differs(one, other) && !differs(other, one)
}

impl Builder {
    fn image_text(&self, state: &State) -> String {
        state.id.map_or(String::new(), |id| id.to_string())
    }

    fn arrow(&self, state: &State) {
        let id = state.id.map_or(String::new(), |id| id.short());
        self.out.say(&format!(" ---> {id}\n"));
    }

    fn announce(&mut self, code: &str) {
        self.step += 1;
        let (step, total) = (self.step, self.total);
        self.out.say(&format!("Step {step}/{total} : {code}"));
        self.out.say("\n");
    }

    /// The image a name means, pulled if need be.
    async fn image(&self, name: &str, pull: bool) -> Result<Image> {
        let engine = &self.engine;
        if !pull {
            match engine.store.resolve(name) {
                Ok(image) => return Ok(image),
                Err(StoreError::NoSuchImage(_)) => {}
                Err(error) => return Err(store_error(error)),
            }
        }
        let reference = Reference::parse(name)
            .map_err(|error| ApiError::invalid(error.to_string()))?
            .with_default_tag();
        engine
            .pull(
                &self.registry,
                &reference,
                &self.platform,
                &self.out.lines(),
            )
            .await
            .map_err(|error| crate::image::create::pull_error(&error, &reference))?;
        engine
            .store
            .resolve(&reference.familiar())
            .map_err(store_error)
    }

    async fn begin_stage(&mut self, stage: &Stage) -> Result<State> {
        self.args.begin_stage();
        self.cache = !self.build.no_cache;
        let lookup = |name: &str| self.args.meta(name);
        let name = shell::expand(&stage.base, self.escape, &lookup).map_err(ApiError::invalid)?;
        if name.is_empty() {
            return Err(ApiError::invalid(format!(
                "base name ({}) should not be blank",
                stage.base
            )));
        }
        if !stage.platform.is_empty() {
            let text =
                shell::expand(&stage.platform, self.escape, &lookup).map_err(ApiError::invalid)?;
            self.platform = Platform::parse(&text).ok_or_else(|| {
                ApiError::invalid(format!(
                    "\"{text}\": unknown operating system or architecture: invalid argument"
                ))
            })?;
        }
        if let Some(state) = self.stage_named(&name.to_lowercase()) {
            return Ok(State::over(state.image.clone(), state.top, state.id));
        }
        if name == "scratch" {
            return Ok(State::scratch(
                &self.platform.os,
                &self.platform.architecture,
            ));
        }
        let image = self.image(&name, self.build.pull).await?;
        let top = image.chain.last().copied();
        Ok(State::over(image.config, top, Some(image.id)))
    }

    fn stage_named(&self, name: &str) -> Option<&State> {
        let found = self.stages.iter().rev().find(|(known, _)| known == name);
        found.filter(|_| !name.is_empty()).map(|(_, state)| state)
    }

    /// The files of `--from`.
    async fn tree_of(&self, from: &str) -> Result<Tree> {
        let by_index = from.parse::<usize>().ok();
        let stage = self.stage_named(&from.to_lowercase());
        let stage = stage.or_else(|| self.stages.get(by_index?).map(|(_, state)| state));
        let top = match stage {
            Some(state) => state.top,
            None => {
                let image = self.image(from, false).await.map_err(|error| ApiError {
                    message: format!("invalid from flag value {from}: {}", error.message),
                    ..error
                })?;
                image.chain.last().copied()
            }
        };
        self.engine.tree(top)
    }

    /// The configuration of a step's container.
    fn config(&self, state: &State, words: Vec<String>) -> Config {
        Config {
            cmd: Some(words),
            entrypoint: None,
            image: self.image_text(state),
            ..shown_config(&state.image.config)
        }
    }

    /// Looks for an image that is this step on top of `state`; true when it is `state` now.
    fn probe(&mut self, state: &mut State, config: &Config) -> Result<bool> {
        if !self.cache {
            return Ok(false);
        }
        let found = match self.build.cache_from.is_empty() {
            true => self.child(state, config),
            false => self.known_step(state, config)?,
        };
        let Some(id) = found else {
            self.cache = false;
            return Ok(false);
        };
        let image = self
            .engine
            .store
            .image(&id)
            .ok_or_else(|| ApiError::system(format!("No such image: {id}")))?;
        state.top = image.chain.last().copied();
        state.image = image.config;
        state.id = Some(id);
        self.out.say(" ---> Using cache\n");
        Ok(true)
    }

    /// The newest child of the image whose container was configured like this.
    fn child(&self, state: &State, config: &Config) -> Option<Digest> {
        let store = &self.engine.store;
        let wanted = serde_json::to_value(config).ok()?;
        let children = match &state.id {
            Some(id) => store.children(id),
            None => {
                let all = store.images().into_iter();
                let alone = all.filter(|image| image.parent.is_none());
                alone.map(|image| image.id).collect()
            }
        };
        let fits = |id: &Digest| {
            let raw = store.raw_config(id).ok()?;
            let document: Value = serde_json::from_slice(&raw).ok()?;
            let same = same_step(&document["container_config"], &wanted);
            same.then(|| document["created"].as_str().map(str::to_string))
                .flatten()
        };
        children
            .into_iter()
            .filter_map(|id| Some((fits(&id)?, id)))
            .max()
            .map(|(_, id)| id)
    }

    /// With `--cache-from`: the step of one of these images, if that image begins as `state` is.
    fn known_step(&self, state: &State, config: &Config) -> Result<Option<Digest>> {
        let words = config.cmd.clone().unwrap_or_default().join(" ");
        let (history, layers) = (&state.image.history, &state.image.rootfs.diff_ids);
        for name in &self.build.cache_from {
            let Ok(image) = self.engine.store.resolve(name) else {
                continue;
            };
            let theirs = &image.config;
            let same = theirs.history.len() > history.len()
                && theirs.rootfs.diff_ids.starts_with(layers)
                && history
                    .iter()
                    .zip(&theirs.history)
                    .all(|(a, b)| a.created_by == b.created_by);
            let next = theirs.history.get(history.len());
            let Some(next) = next.filter(|next| same && next.created_by.as_ref() == Some(&words))
            else {
                continue;
            };
            if theirs.history.len() == history.len() + 1 {
                return Ok(Some(image.id));
            }
            let layer = match next.empty_layer {
                true => None,
                false => theirs.rootfs.diff_ids.get(layers.len()).copied(),
            };
            let mut again = state.clone();
            let created = next.created.clone().unwrap_or_default();
            self.commit(&mut again, config, "", layer, &created)?;
            return Ok(again.id);
        }
        Ok(None)
    }

    /// Makes an image of a step; `state` is that image then.
    fn commit(
        &self,
        state: &mut State,
        config: &Config,
        container: &str,
        layer: Option<Digest>,
        created: &str,
    ) -> Result<()> {
        let words = config.cmd.clone().unwrap_or_default();
        if layer.is_some() {
            super::check_depth(state)?;
        }
        let image = &mut state.image;
        image.created = Some(created.to_string());
        image.docker_version = Some(self.engine.config.version.clone());
        image.history.push(History {
            created: Some(created.to_string()),
            created_by: Some(words.join(" ")),
            author: image.author.clone(),
            comment: None,
            empty_layer: layer.is_none(),
        });
        image.rootfs.diff_ids.extend(layer);
        let system = |error: serde_json::Error| ApiError::system(error.to_string());
        let mut document = serde_json::to_value(&*image).map_err(system)?;
        if !container.is_empty() {
            document["container"] = json!(container);
        }
        document["container_config"] = serde_json::to_value(config).map_err(system)?;
        let id = self.engine.add_document(&document)?;
        if let Some(parent) = state.id {
            let kept = self.engine.store.set_parent(&id, parent);
            kept.map_err(store_error)?;
        }
        state.top = match layer {
            Some(layer) => Some(layers::graph::chain_id(state.top, layer)),
            None => state.top,
        };
        state.id = Some(id);
        Ok(())
    }

    fn now(&self) -> String {
        timestamp::format(self.engine.now())
    }

    /// Makes the container of a step.
    async fn container(
        &self,
        state: &State,
        config: Config,
        mounts: Vec<Mount>,
    ) -> Result<Rc<Container>> {
        let container = self
            .engine
            .step_container(Step {
                image: self.image_text(state),
                config,
                host: self.build.host.clone(),
                top: state.top,
                mounts,
                hidden: false,
            })
            .await?;
        self.containers.add(&container);
        let id = container.short_id();
        self.out.say(&format!(" ---> Running in {id}\n"));
        Ok(container)
    }

    /// An instruction that changed the configuration: a container of it is made and committed.
    async fn commit_configured(&mut self, state: &mut State, text: &str) -> Result<()> {
        let config = self.config(state, comment(state.shell(), text, false));
        if self.probe(state, &config)? {
            return Ok(());
        }
        let container = self.container(state, config.clone(), Vec::new()).await?;
        self.commit(state, &config, &container.id, None, &self.now())
    }

    async fn workdir(&mut self, state: &mut State, text: &str) -> Result<()> {
        let path = state.set_workdir(text, &self.args, self.escape)?;
        let words = comment(state.shell(), &format!("WORKDIR {path}"), true);
        let config = self.config(state, words);
        if self.probe(state, &config)? {
            return Ok(());
        }
        // Making the container makes its working directory.
        let container = self.container(state, config.clone(), Vec::new()).await?;
        let layer = self.engine.store.commit_container(&container.id).await;
        let layer = layer.map_err(|error| ApiError::system(error.to_string()))?;
        self.commit(state, &config, &container.id, layer, &self.now())
    }

    async fn run(&mut self, state: &mut State, run: &dockerfile::Run) -> Outcome<()> {
        if let Some(flag) = run.flags.first() {
            return Err(needs_buildkit(flag).into());
        }
        let words = state.words(&super::run_command(run));
        let arguments = self.args.all();
        let mut env: Vec<String> = Vec::new();
        let own = &state.image.config.env;
        for (name, value) in &arguments {
            let known = |entry: &String| entry.split('=').next() == Some(name);
            if !own.iter().any(known) {
                env.push(format!("{name}={value}"));
            }
        }
        // The values of ARGs are part of what the step is, those of proxies are not.
        let counted: Vec<String> = env
            .iter()
            .filter(|entry| {
                let name = entry.split('=').next().unwrap_or_default();
                self.args.counts(name)
            })
            .cloned()
            .collect();
        let mut kept = words.clone();
        if !counted.is_empty() {
            kept.splice(0..0, counted.iter().cloned());
            kept.insert(0, format!("|{}", counted.len()));
        }
        let config = self.config(state, kept);
        if self.probe(state, &config)? {
            return Ok(());
        }
        let mut mounts = Mounts::default();
        let script = self.engine.script(run, &mut mounts)?;
        let mut running = self.config(state, script.unwrap_or_else(|| words.clone()));
        running.env.get_or_insert_default().extend(env);
        let files = std::mem::take(&mut mounts.mounts);
        let container = self.container(state, running, files).await?;
        let log = |channel, bytes: &[u8]| self.out.log(channel, bytes);
        let code = self.engine.run_step(&container, &log).await?;
        if code != 0 {
            let shown = words.join(" ");
            return Err(BuildError {
                code: Some(code),
                ..ApiError::system(format!(
                    "The command '{shown}' returned a non-zero code: {code}"
                ))
                .into()
            });
        }
        let layer = self.engine.store.commit_container(&container.id).await;
        let layer = layer.map_err(|error| ApiError::system(error.to_string()))?;
        self.commit(state, &config, &container.id, layer, &self.now())?;
        Ok(())
    }

    /// The plan of an `ADD` or `COPY`, and where it takes its files from if that is not the context.
    async fn plan(
        &self,
        state: &State,
        name: &'static str,
        copy: &dockerfile::Copy,
    ) -> Result<(Plan, Option<Tree>)> {
        if let Some(flag) = copy
            .flags
            .iter()
            .find(|flag| !matches!(flag.as_str(), "from" | "chown" | "link"))
        {
            return Err(needs_buildkit(flag));
        }
        // Of files that are written in the Dockerfile itself the classic builder knows nothing.
        if copy.sources.is_empty() {
            return Err(ApiError::invalid(format!(
                "{name} failed: no source files were specified"
            )));
        }
        let mut plan = super::plan(state, &self.args, self.escape, name, copy)?;
        plan.from_context = copy.from.is_empty();
        let tree = match copy.from.as_str() {
            "" => None,
            from => Some(self.tree_of(from).await?),
        };
        Ok((plan, tree))
    }

    async fn copy(
        &mut self,
        state: &mut State,
        name: &'static str,
        copy: &dockerfile::Copy,
    ) -> Result<()> {
        let (mut plan, tree) = self.plan(state, name, copy).await?;
        let root = tree.as_ref().map_or(self.root.as_str(), |tree| &tree.root);
        let os = Rc::clone(&self.engine.os);
        let downloads = self.engine.scratch("docker-remote")?;
        let items = self
            .engine
            .copy_items(&mut plan, root, &downloads.path, copy, &|_, text| {
                self.out.say(&String::from_utf8_lossy(text));
            })
            .await?;
        plan.check_destination(&items)?;
        let chown = match plan.chown.as_str() {
            "" => String::new(),
            chown => format!("--chown={chown} "),
        };
        let text = format!(
            "{name} {chown}{} in {} ",
            plan.key(&items),
            plan.destination
        );
        let config = self.config(state, comment(state.shell(), &text, true));
        if self.probe(state, &config)? {
            return Ok(());
        }
        let target = self.engine.tree(state.top)?;
        plan.perform(&os, &target.root, &items).await?;
        let layer = target.commit().await?;
        self.commit(state, &config, "", layer, &self.now())
    }

    async fn carry_out(&mut self, state: &mut State, instruction: &Instruction) -> Outcome<()> {
        let text = state.configure(instruction, &mut self.args, self.escape, false)?;
        match &instruction.kind {
            Kind::Run(run) => return self.run(state, run).await,
            Kind::Copy(copy) => self.copy(state, "COPY", copy).await?,
            Kind::Add(copy) => self.copy(state, "ADD", copy).await?,
            Kind::Workdir(text) => self.workdir(state, text).await?,
            _ => {
                self.commit_configured(state, &text.unwrap_or_default())
                    .await?
            }
        }
        Ok(())
    }

    /// Carries an instruction out, and what is to be done with its containers after it.
    async fn dispatch(&mut self, state: &mut State, instruction: &Instruction) -> Outcome<()> {
        let outcome = self.carry_out(state, instruction).await;
        let containers = self.containers.take();
        if self.build.force_remove || self.build.remove && outcome.is_ok() {
            for container in containers {
                self.engine.remove(&container, true, true).await?;
                let id = container.short_id();
                self.out
                    .say(&format!(" ---> Removed intermediate container {id}\n"));
            }
        }
        outcome
    }

    async fn triggers(&mut self, state: &mut State) -> Outcome<()> {
        let triggers = state.take_triggers();
        if triggers.is_empty() {
            return Ok(());
        }
        let plural = if triggers.len() > 1 { "s" } else { "" };
        let count = triggers.len();
        self.out
            .say(&format!("# Executing {count} build trigger{plural}\n"));
        for trigger in triggers {
            let instruction = dockerfile::parse_trigger(&trigger)
                .map_err(|error| ApiError::invalid(error.message))?;
            self.dispatch(state, &instruction).await?;
        }
        Ok(())
    }

    async fn build(&mut self, file: &Dockerfile) -> Outcome<State> {
        for argument in &file.meta_args {
            self.announce(&argument.code);
            if let Kind::Arg(pairs) = &argument.kind {
                super::declare_meta(&mut self.args, pairs, self.escape)?;
            }
        }
        let mut last = None;
        for stage in &file.stages {
            self.announce(&stage.code);
            let mut state = self.begin_stage(stage).await?;
            self.triggers(&mut state).await?;
            self.arrow(&state);
            for instruction in &stage.instructions {
                self.announce(&instruction.code);
                self.dispatch(&mut state, instruction).await?;
                self.arrow(&state);
            }
            let Some(id) = state.id else {
                return Err(
                    ApiError::system("No image was generated. Is your Dockerfile empty?").into(),
                );
            };
            let aux = json!({ "aux": { "ID": id.to_string() } }).to_string() + "\r\n";
            if self.out.kept.is_none() {
                self.out.lines.push(aux);
            }
            self.stages.push((stage.name.clone(), state.clone()));
            last = Some(state);
        }
        let unused = self.args.unused();
        if !unused.is_empty() {
            let list = unused.join(" ");
            self.out.say(&format!(
                "[Warning] One or more build-args [{list}] were not consumed\n"
            ));
        }
        last.ok_or_else(|| {
            ApiError::system("No image was generated. Is your Dockerfile empty?").into()
        })
    }
}

fn needs_buildkit(flag: &str) -> ApiError {
    ApiError::system(format!(
        "the --{flag} option requires BuildKit. Refer to https://docs.docker.com/go/buildkit/ to learn how to \
         build images with BuildKit enabled"
    ))
}

/// Each `--label` is an instruction at the end of the last stage.
fn add_labels(file: &mut Dockerfile, build: &Build) {
    let Some(stage) = file.stages.last_mut().filter(|_| !build.labels.is_empty()) else {
        return;
    };
    // In quotes, so that nothing in them is replaced.
    let quoted = |text: &String| format!("'{}'", text.replace('\'', "'\\''"));
    for (name, value) in &build.labels {
        stage.instructions.push(Instruction {
            kind: Kind::Label(vec![(quoted(name), quoted(value))]),
            code: format!("LABEL {name}={value}"),
            lines: stage.lines,
        });
    }
}

impl Engine {
    /// The operation.
    pub(crate) async fn image_build(&self, context: Context) -> Result<Response> {
        let build = Build::parse(&context.query)?;
        if build.squash {
            return Err(ApiError::invalid(
                "squash is only supported with experimental mode",
            ));
        }
        if build.version == "2" {
            return Err(ApiError::unsupported("BuildKit by POST /build"));
        }
        let tags = names(&build.tags)?;
        let platform = match build.platform.as_str() {
            "" => Platform::host(),
            text => Platform::parse(text).ok_or_else(|| {
                ApiError::invalid(format!(
                    "\"{text}\": unknown operating system or architecture: invalid argument"
                ))
            })?,
        };
        let lines = Rc::new(Lines::default());
        let (engine, own) = (self.rc(), Rc::clone(&lines));
        let registry = self
            .registry
            .with_credentials_by_host(context.credentials_by_host());
        let body = context.body;
        let task = self.os.executor().spawn(async move {
            let outcome = engine
                .build_classic(build, (platform, registry), &tags, body, &own)
                .await;
            match outcome {
                Ok(()) => own.finish(Ok(())),
                Err(BuildError {
                    error,
                    code: Some(code),
                    ..
                }) => {
                    own.push(progress::error_with_code(&error.message, code));
                    own.finish(Ok(()));
                }
                Err(BuildError { error, .. }) => own.finish(Err(error)),
            }
        });
        self.stream(lines, task, true).await
    }

    async fn build_classic(
        &self,
        build: Build,
        (platform, registry): (Platform, Registry),
        tags: &[Reference],
        body: serve::Body,
        lines: &Rc<Lines>,
    ) -> Outcome<()> {
        let (_directory, root, text) = match build.remote.as_str() {
            "" => {
                let tar = self.receive(body).await?;
                let directory = self.unpack_context(&tar).await?;
                drop(tar);
                let text = self.context_dockerfile(&directory.path, &build.dockerfile);
                let (path, text) = (directory.path.clone(), text.await?);
                (directory, path, text)
            }
            remote => self.remote_context(remote, &build.dockerfile).await?,
        };
        let invalid = |message: String| BuildError::from(ApiError::invalid(message));
        let mut file = dockerfile::parse(&text).map_err(|error| {
            invalid(match error.early {
                true => format!("failed to parse Dockerfile: {}", error.message),
                false => error.message,
            })
        })?;
        let quiet = build.quiet;
        let out = Out {
            lines: Rc::clone(lines),
            kept: quiet.then(RefCell::default),
        };
        for warning in &file.warnings {
            out.say(&format!("[WARNING]: {warning}\n"));
        }
        if !file.warnings.is_empty() {
            out.say(
                "[WARNING]: Empty continuation lines will become errors in a future release.\n",
            );
        }
        if !build.target.is_empty() {
            let index = file.stage(&build.target).ok_or_else(|| {
                invalid(format!(
                    "target stage {} could not be found",
                    go_quote(&build.target)
                ))
            })?;
            file.stages.truncate(index + 1);
        }
        add_labels(&mut file, &build);
        let steps = file.stages.iter().map(|stage| stage.instructions.len() + 1);
        let total = file.meta_args.len() + steps.sum::<usize>();
        let mut builder = Builder {
            engine: self.rc(),
            args: Args::new(&build.build_args),
            build,
            out,
            registry,
            root,
            escape: file.escape,
            platform,
            containers: Containers::new(&self.rc()),
            stages: Vec::new(),
            cache: true,
            step: 0,
            total,
        };
        let outcome = builder.build(&file).await;
        let state = match outcome {
            Ok(state) => state,
            Err(error) => {
                if let Some(kept) = &builder.out.kept {
                    lines.push(kept.take());
                }
                return Err(error);
            }
        };
        let Some(id) = state.id else {
            return Ok(());
        };
        match quiet {
            true => lines.push(progress::stream(&format!("{id}\n"))),
            false => builder
                .out
                .say(&format!("Successfully built {}\n", id.short())),
        }
        for name in tags {
            self.store.tag(&id, name).map_err(store_error)?;
            self.image_event("tag", &id.to_string(), &name.familiar());
            builder
                .out
                .say(&format!("Successfully tagged {}\n", name.familiar()));
        }
        Ok(())
    }
}

/// The names of `-t`, each once.
pub(super) fn names(tags: &[String]) -> Result<Vec<Reference>> {
    let mut names: Vec<Reference> = Vec::new();
    for tag in tags.iter().filter(|tag| !tag.is_empty()) {
        let name = tag_reference(tag, "").or_else(|_| {
            let reference =
                Reference::parse(tag).map_err(|error| ApiError::invalid(error.to_string()))?;
            match reference.digest() {
                Some(_) => Err(ApiError::invalid("build tag cannot contain a digest")),
                None => Ok(reference.with_default_tag()),
            }
        })?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}
