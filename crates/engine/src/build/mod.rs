//! The build core: from a Dockerfile and a context to an image.
//!
//! It does not know who asks. Two front doors use it: the classic `POST /build` ([`classic`]) and BuildKit's
//! Solve. What a door has to give is a [`Request`], a [`Client`] (where the context and secrets come from) and a
//! [`Progress`] (who is told of what happens).
//!
//! Reading order: this file (the core's types), `stage` (what a stage is while it is built), `run`, `copy`,
//! `classic` (a step an image, as `docker history` shows), `base` (what a stage begins with) and `solve` (only
//! what the target needs, a layer cache of its own).

mod args;
mod base;
pub(crate) mod cache;
mod cancel;
pub(crate) mod changes;
pub(crate) mod classic;
mod content;
mod context;
mod copy;
pub(crate) mod fetch;
pub(crate) mod git;
mod imports;
mod mounts;
mod run;
mod solve;
mod stage;
pub(crate) mod tree;

use std::collections::BTreeMap;

use dockerfile::shell;

use engine_api::error::{ApiError, Result};
use engine_api::stream::Channel;
use engine_api::types::HostConfig;
use oci::{Digest, Platform};
use serde_json::Value;
use serve::LocalBoxFuture;

use args::Args;
use copy::Plan;
use stage::State;

use crate::Engine;

/// What is to be built.
#[derive(Clone)]
pub(crate) struct Request {
    /// The Dockerfile's text.
    pub(crate) dockerfile: Vec<u8>,
    /// `--target`, or empty: the last stage.
    pub(crate) target: String,
    /// `--build-arg`; without a value it is taken as not given.
    pub(crate) build_args: BTreeMap<String, Option<String>>,
    /// `--label`.
    pub(crate) labels: BTreeMap<String, String>,
    /// Nothing comes from the cache.
    pub(crate) no_cache: bool,
    /// Names of stages of which nothing comes from the cache (`--no-cache-filter`).
    pub(crate) no_cache_stages: Vec<String>,
    /// Images of `--cache-from`.
    pub(crate) cache_from: Vec<String>,
    /// `--allow network.host`.
    pub(crate) host_network: bool,
    /// `--cache-to type=inline`.
    pub(crate) cache_inline: bool,
    /// Base images are pulled even if they are here.
    pub(crate) pull: bool,
    /// Limits, network mode, extra hosts, ulimits and so on of the containers of `RUN`.
    pub(crate) host: HostConfig,
    /// What the image is for.
    pub(crate) platform: Platform,
}

/// Where `--build-context NAME=…` leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NamedContext {
    /// A directory of the machine.
    Directory(String),
    /// An image.
    Image(String),
}

/// Who asked for the build, as far as the build needs to ask back.
pub(crate) trait Client {
    /// The directory of the machine that holds the build context; called when it is first needed.
    fn context(&self) -> LocalBoxFuture<Result<String>>;

    /// A context of `--build-context`; `None`: there is none of that name.
    fn named_context(&self, _name: &str) -> LocalBoxFuture<Result<Option<NamedContext>>> {
        Box::pin(async { Ok(None) })
    }

    /// Whether there is a context of that name.
    fn has_context(&self, _name: &str) -> bool {
        false
    }

    /// Who it is to a registry; `None`: nobody.
    fn credentials(&self, _host: &str) -> LocalBoxFuture<Option<(String, String)>> {
        Box::pin(async { None })
    }

    /// An image that a stage begins with has instructions that nobody has looked at: they may use any file.
    fn may_use_all(&self) {}

    /// The content of a secret; `None`: there is none of that id.
    fn secret(&self, _id: &str) -> LocalBoxFuture<Result<Option<Vec<u8>>>> {
        Box::pin(async { Ok(None) })
    }

    /// The path (on the machine) of a socket that leads to the client's ssh agent; `None`: there is none.
    fn ssh(&self, _id: &str) -> LocalBoxFuture<Result<Option<String>>> {
        Box::pin(async { Ok(None) })
    }
}

/// A step of a build, as progress shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vertex {
    /// Unique in its build; numbered from 0 in the order they begin.
    pub(crate) id: u32,
    /// Vertices it is made from.
    pub(crate) inputs: Vec<u32>,
    /// About the build and not in the Dockerfile: `load metadata for …`.
    pub(crate) internal: bool,
    /// Name of the stage, `stage-1` if it has none; empty when there is only one.
    pub(crate) stage: String,
    /// Which of the stage's steps it is, from 1.
    pub(crate) index: usize,
    /// How many steps the stage has.
    pub(crate) total: usize,
    /// The instruction, variables replaced: `RUN make`.
    pub(crate) text: String,
    /// Its lines in the Dockerfile, from 1, both inclusive; none for internal ones.
    pub(crate) lines: Option<(usize, usize)>,
}

impl Vertex {
    /// The name as BuildKit shows it: `[build 2/3] RUN make`.
    pub(crate) fn name(&self) -> String {
        if self.internal && !self.text.starts_with('[') {
            return format!("[internal] {}", self.text);
        }
        if self.total == 0 {
            return self.text.clone();
        }
        let width = self.total.to_string().len();
        let space = if self.stage.is_empty() { "" } else { " " };
        format!(
            "[{}{space}{:width$}/{}] {}",
            self.stage, self.index, self.total, self.text
        )
    }
}

/// How a vertex ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Cached,
    Failed(String),
}

/// Who is told what a build does. Vertices begin and end in order; a cached one begins and ends at once.
pub(crate) trait Progress {
    fn begin(&self, vertex: &Vertex);
    /// What the step's program wrote, or what the builder has to say about it.
    fn log(&self, vertex: &Vertex, channel: Channel, bytes: &[u8]);
    fn end(&self, vertex: &Vertex, outcome: Outcome);
    /// It is known what is to be done, and nothing of it will be.
    fn planned(&self) {}
    /// How far a part of the vertex is, such as a layer that is pulled: bytes of how many (0: unknown).
    fn part(&self, _vertex: &Vertex, _id: &str, _bytes: (u64, u64), _done: bool) {}
}

/// Why a build failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BuildError {
    /// What to say; its class decides the status where there is one.
    pub(crate) error: ApiError,
    /// The exit code of the `RUN` that failed.
    pub(crate) code: Option<i32>,
    /// The lines of the instruction in the Dockerfile.
    pub(crate) lines: Option<(usize, usize)>,
    /// It is not known where in the Dockerfile it is.
    pub(crate) nowhere: bool,
}

impl From<ApiError> for BuildError {
    fn from(error: ApiError) -> BuildError {
        BuildError {
            error,
            code: None,
            lines: None,
            nowhere: false,
        }
    }
}

/// What a step says of an error: not at what time of its life that happened.
pub(crate) fn step_error(message: &str) -> &str {
    let early = [
        "failed to compute cache key: ",
        "failed to load cache key: ",
    ];
    let bare = early.iter().find_map(|prefix| message.strip_prefix(prefix));
    bare.unwrap_or(message)
}

/// What was built.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    /// The image's configuration document, complete.
    pub(crate) document: Value,
    /// Its top layer (chain id); `None`: it has no layers.
    pub(crate) top: Option<Digest>,
}

impl Engine {
    /// Adds what was built to the images, under these names.
    pub(crate) fn add_built(&self, built: &Built, names: &[oci::Reference]) -> Result<Digest> {
        let id = self.add_document(&built.document)?;
        for name in names {
            self.store
                .tag(&id, name)
                .map_err(crate::image::store_error)?;
            self.image_event("tag", &id.to_string(), &name.familiar());
        }
        Ok(id)
    }
}

/// Layers an image may have, as with Docker's overlay2.
const LAYERS_MAX: usize = 125;

/// Refuses one layer too many.
fn check_depth(state: &State) -> Result<()> {
    match state.image.rootfs.diff_ids.len() < LAYERS_MAX {
        true => Ok(()),
        false => Err(ApiError::system("max depth exceeded")),
    }
}

/// `ARG` before the first `FROM`.
fn declare_meta(args: &mut Args, pairs: &[(String, Option<String>)], escape: char) -> Result<()> {
    for (name, value) in pairs {
        let lookup = |name: &str| args.meta(name);
        let expand = |text: &str| shell::expand(text, escape, &lookup).map_err(ApiError::invalid);
        let (name, value) = (expand(name)?, value.as_deref().map(expand).transpose()?);
        args.declare_meta(&name, value);
    }
    Ok(())
}

/// The command of a `RUN`, its heredocs put back. One that is nothing but a heredoc is that text.
fn run_command(run: &dockerfile::Run) -> dockerfile::Command {
    let mut command = run.command.clone();
    if let ([heredoc], [word], true) = (&run.heredocs[..], &command.words[..], command.shell)
        && is_heredoc_alone(word)
    {
        command.words = vec![heredoc.text()];
        return command;
    }
    if let Some(word) = command.words.first_mut() {
        for heredoc in &run.heredocs {
            *word += &format!("\n{}{}", heredoc.content, heredoc.name);
        }
    }
    command
}

/// `<<EOF` and nothing else.
fn is_heredoc_alone(word: &str) -> bool {
    let word = word
        .trim()
        .trim_start_matches(|ch: char| ch.is_ascii_digit());
    word.starts_with("<<") && !word.contains(char::is_whitespace)
}

/// An `ADD` or `COPY` with its variables replaced.
fn plan(
    state: &State,
    args: &Args,
    escape: char,
    name: &'static str,
    copy: &dockerfile::Copy,
) -> Result<Plan> {
    let variables = state.variables(args);
    let lookup = |name: &str| variables.get(name).cloned();
    let expand = |text: &String| shell::expand(text, escape, &lookup).map_err(ApiError::invalid);
    let list = |list: &[String]| list.iter().map(expand).collect::<Result<Vec<String>>>();
    let wanted = expand(&copy.destination)?;
    let mut destination = stage::join_path(&state.image.config.working_dir, &wanted);
    let directory = wanted.ends_with('/') || wanted.ends_with("/.") || wanted == ".";
    if directory && !destination.ends_with('/') {
        destination.push('/');
    }
    let mut inline = copy.inline.clone();
    for heredoc in inline.iter_mut().filter(|heredoc| heredoc.expand) {
        let text = shell::expand_text(&heredoc.content, escape, &lookup);
        heredoc.content = text.map_err(ApiError::invalid)?;
    }
    Ok(Plan {
        name,
        sources: list(&copy.sources)?,
        inline,
        destination,
        chown: expand(&copy.chown)?,
        chmod: copy::parse_chmod(&expand(&copy.chmod)?)?,
        exclude: list(&copy.exclude)?,
        parents: copy.parents,
        keep_owner: false,
        later: false,
        reference: String::new(),
        from_context: true,
    })
}
