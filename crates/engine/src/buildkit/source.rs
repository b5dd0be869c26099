//! What a build gets from its client: the Dockerfile, the context, further contexts, secrets.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use buildkit::receive::{Target, Wanted, receive};
use buildkit::{Session, Status};
use dockerfile::{Dockerfile, Kind, MountKind};
use engine_api::error::{ApiError, Result};
use engine_api::stream::Channel;
use layers::archive::{UnpackOptions, is_archive, unpack_compressed};
use layers::download::Download;
use os::{Errno, OsExt, View};
use serve::LocalBoxFuture;

use super::build::{Build, Step};
use super::ssh::{self, Forward};
use crate::Engine;
use crate::build::fetch::is_url;
use crate::build::git::GitUrl;
use crate::build::{Client, NamedContext, step_error};
use crate::once::Once;

/// Bytes of a Dockerfile.
const DOCKERFILE_BYTES_MAX: usize = 4 << 20;

/// Contexts that are kept between builds.
const CONTEXTS_MAX: usize = 16;

/// How a context that the client has as an archive is called.
const UPLOAD: &str = "http://buildkit-session/";

/// What goes wrong here goes to the client.
type Got<T> = std::result::Result<T, Status>;

/// Directories that are there as long as the build is, and those of contexts, which stay for the next one.
struct Scratch {
    engine: Rc<Engine>,
    root: String,
    next: Cell<u32>,
    /// Contexts' directories that no other build may change now.
    contexts: RefCell<Vec<String>>,
}

impl Scratch {
    fn new(engine: Rc<Engine>) -> Scratch {
        let root = format!("{}/buildkit/{}", engine.config.root, engine.os.rng().hex(8));
        Scratch {
            engine,
            root,
            next: Cell::new(0),
            contexts: RefCell::default(),
        }
    }

    /// The directory of a client's context: what it sent before is in it, unless another build has that now.
    fn context(&self, session: &Session, name: &str) -> Got<String> {
        let state = &self.engine.buildkit;
        let identity = format!("{}\0{name}", session.shared_key);
        let hash = oci::Digest::of(identity.as_bytes()).hex();
        let dir = format!("{}/{}", self.engine.local_contexts(), &hash[..25]);
        if !state.contexts.borrow_mut().insert(dir.clone()) {
            return self.dir();
        }
        self.contexts.borrow_mut().push(dir.clone());
        self.make(&dir)?;
        self.engine.forget_contexts(CONTEXTS_MAX);
        Ok(dir)
    }

    fn make(&self, dir: &str) -> Got<()> {
        self.engine
            .os
            .mkdir_all(View::Host, dir.as_bytes(), 0o755)
            .map_err(|error| Status::unknown(format!("mkdir {dir}: {error}")))
    }

    fn dir(&self) -> Got<String> {
        let number = self.next.get();
        self.next.set(number + 1);
        let dir = format!("{}/{number}", self.root);
        self.make(&dir)?;
        Ok(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for dir in self.contexts.take() {
            self.engine.buildkit.contexts.borrow_mut().remove(&dir);
        }
        // What cannot be removed is found by whoever looks at the disk.
        let _ = self.engine.os.remove_all(View::Host, self.root.as_bytes());
    }
}

/// See the module's comment. Clones share it.
#[derive(Clone)]
pub(super) struct Source(Rc<Inner>);

struct Inner {
    engine: Rc<Engine>,
    build: Rc<Build>,
    session: Rc<Session>,
    options: BTreeMap<String, String>,
    scratch: Scratch,
    /// What the Dockerfile uses of the context; `None`: all of it.
    used: RefCell<Option<Vec<String>>>,
    /// `NAME.dockerignore` beside the Dockerfile.
    own_ignore: RefCell<Option<Vec<String>>>,
    ignore: Once<Got<Vec<String>>>,
    ignore_step: RefCell<Option<Step>>,
    context: Once<Got<String>>,
    named: RefCell<BTreeMap<String, Rc<Once<Got<String>>>>>,
    /// A context that is not unpacked yet.
    archive: RefCell<Option<Download>>,
    /// A Dockerfile that came without a context.
    alone: RefCell<Option<Vec<u8>>>,
    /// Sockets that lead to the client's ssh agents, by id.
    agents: RefCell<BTreeMap<String, (String, Forward)>>,
}

/// A Dockerfile, as it came.
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) text: Vec<u8>,
    /// The step in which it came.
    pub(super) step: Option<Step>,
}

impl Source {
    pub(super) fn new(
        engine: Rc<Engine>,
        build: Rc<Build>,
        session: Rc<Session>,
        options: BTreeMap<String, String>,
    ) -> Source {
        let scratch = Scratch::new(Rc::clone(&engine));
        Source(Rc::new(Inner {
            engine,
            build,
            session,
            options,
            scratch,
            used: RefCell::new(None),
            own_ignore: RefCell::new(None),
            ignore: Once::default(),
            ignore_step: RefCell::default(),
            context: Once::default(),
            named: RefCell::default(),
            archive: RefCell::default(),
            alone: RefCell::default(),
            agents: RefCell::default(),
        }))
    }

    pub(super) fn session(&self) -> &Session {
        &self.0.session
    }

    /// The Dockerfile.
    pub(super) async fn definition(&self) -> Got<Definition> {
        let own = &self.0;
        let given = own.options.get("filename").map_or("", String::as_str);
        let name = if given.is_empty() {
            "Dockerfile"
        } else {
            given
        };
        let ignore = format!("{name}.dockerignore");
        let mut follow = vec![name.to_string(), ignore.clone()];
        // Not every file system tells one from the other.
        let other = (name == "Dockerfile").then(|| "dockerfile".to_string());
        follow.extend(other.clone());
        if own.remote_context().is_some() {
            let dir = own.context.get(own.load_remote()).await?;
            if let Some(text) = own.alone.take() {
                return Ok(Definition {
                    name: "context".to_string(),
                    text,
                    step: None,
                });
            }
            return own
                .pick(None, &dir, &[Some(name.to_string()), other], &ignore)
                .await;
        }
        let base = name.rsplit('/').next().unwrap_or(name);
        let step = own.build.step(
            &format!("[internal] load build definition from {base}"),
            &[],
        );
        let wanted = Wanted {
            name: "dockerfile".to_string(),
            follow,
            ..Wanted::default()
        };
        let dir = own
            .transfer(&step, "transferring dockerfile:", wanted, false)
            .await?;
        own.pick(Some(step), &dir, &[Some(name.to_string()), other], &ignore)
            .await
    }

    /// Tells what the Dockerfile uses of the context: the rest need not come.
    pub(super) fn will_use(&self, dockerfile: &Dockerfile) {
        *self.0.used.borrow_mut() = used(dockerfile);
    }

    /// Patterns of what the context leaves out.
    pub(super) async fn ignore(&self) -> Got<Vec<String>> {
        let own = &self.0;
        let load = async {
            if let Some(patterns) = own.own_ignore.borrow_mut().take() {
                return Ok(patterns);
            }
            if own.remote_context().is_some() {
                return Ok(Vec::new());
            }
            // It is shown where BuildKit does it: after the images' metadata.
            let name = "[internal] load .dockerignore";
            let step = own.build.hidden_step(name, &[]);
            let loaded = own.load_ignore(&step, "context").await;
            *own.ignore_step.borrow_mut() = Some(step);
            loaded
        };
        own.ignore.get(load).await
    }

    /// Shows the step in which they came.
    pub(super) fn show_ignore(&self) {
        if let Some(step) = self.0.ignore_step.borrow_mut().take() {
            step.show();
        }
    }
}

impl Inner {
    /// The names that are sent of the context; empty: all.
    fn follow(&self) -> Vec<String> {
        let named = self.options.keys().any(|name| name.starts_with("context:"));
        match named {
            true => Vec::new(),
            false => self.used.borrow().clone().unwrap_or_default(),
        }
    }

    /// The Dockerfile with the first of these names, and what is beside it.
    async fn pick(
        &self,
        step: Option<Step>,
        dir: &str,
        names: &[Option<String>],
        ignore: &str,
    ) -> Got<Definition> {
        for name in names.iter().flatten() {
            if let Some(text) = self.read(dir, name).await? {
                if let Some(text) = self.read(dir, ignore).await? {
                    *self.own_ignore.borrow_mut() = Some(patterns(&text));
                }
                return Ok(Definition {
                    name: name.clone(),
                    text,
                    step,
                });
            }
        }
        let name = names.iter().flatten().next().map_or("", String::as_str);
        Err(Status::unknown(format!(
            "failed to read dockerfile: open {name}: no such file or directory"
        )))
    }

    /// The context, if it is not what the client sends file by file.
    fn remote_context(&self) -> Option<&str> {
        let context = self.options.get("context").map(String::as_str);
        let remote = |text: &&str| is_url(text) || GitUrl::parse(text).is_some();
        context.filter(remote)
    }

    /// Gets such a context.
    async fn load_remote(&self) -> Got<String> {
        let url = self.remote_context().unwrap_or_default();
        let (name, git) = match GitUrl::parse(url) {
            Some(git) => (format!("load git source {url}"), Some(git)),
            None => ("load remote build context".to_string(), None),
        };
        let step = self.build.step(&format!("[internal] {name}"), &[]);
        step.start();
        let outcome = match &git {
            Some(git) => self.clone_git(&step, git).await,
            None => self.fetch_context(url).await.map(|_| String::new()),
        };
        match &outcome {
            Ok(_) => step.done(false),
            Err(status) => step.failed(step_error(&status.message)),
        }
        let what = match git {
            Some(_) => "dockerfile",
            None => "downloaded context",
        };
        let dir = outcome.map_err(|status| {
            Status::unknown(format!("failed to read {what}: {}", status.message))
        })?;
        match (git, self.archive.take()) {
            (None, Some(archive)) => self.unpack(&step, archive).await,
            _ => Ok(dir),
        }
    }

    async fn clone_git(&self, step: &Step, git: &GitUrl) -> Got<String> {
        let dir = self.scratch.dir()?;
        let heard = |channel, bytes: &[u8]| {
            let stream = if channel == Channel::Stderr { 2 } else { 1 };
            step.log(stream, bytes);
        };
        let keep = self
            .options
            .get("build-arg:BUILDKIT_CONTEXT_KEEP_GIT_DIR")
            .is_some_and(|value| matches!(value.as_str(), "1" | "true"));
        let source = self.engine.git_source(git, keep, &dir, &heard);
        source.await.map_err(|error| Status::unknown(error.message))
    }

    /// Gets an archive or a Dockerfile: from the client, who has it as a stream, or from elsewhere.
    async fn fetch_context(&self, url: &str) -> Got<()> {
        let file = match url.strip_prefix(UPLOAD) {
            Some(path) => self.upload(path).await?,
            None => {
                let file = self.engine.download(url, true).await;
                file.map_err(|why| Status::unknown(format!("failed to load cache key: {why}")))?
            }
        };
        let os = &self.engine.os;
        let path = file.path().to_string();
        if is_archive(os, path.as_bytes()) {
            *self.archive.borrow_mut() = Some(file);
            return Ok(());
        }
        if file.size() > DOCKERFILE_BYTES_MAX as u64 {
            return Err(Status::unknown("the Dockerfile is too large"));
        }
        let text = os.read_file(View::Host, path.as_bytes()).await;
        let text = text.map_err(|error| Status::unknown(format!("read {path}: {error}")))?;
        *self.alone.borrow_mut() = Some(text);
        Ok(())
    }

    /// A context of `--build-context` that is elsewhere: an archive, a repository or a file.
    async fn load_named(&self, name: &str, url: &str) -> Got<String> {
        let step = self.build.step(&format!("[context {name}] {url}"), &[]);
        step.start();
        let outcome = async {
            if let Some(git) = GitUrl::parse(url) {
                return self.clone_git(&step, &git).await;
            }
            let file = self
                .engine
                .download(url, true)
                .await
                .map_err(|why| Status::unknown(format!("failed to load cache key: {why}")))?;
            let os = &self.engine.os;
            match is_archive(os, file.path().as_bytes()) {
                true => self.unpack_into_dir(&file).await,
                false => {
                    let dir = self.scratch.dir()?;
                    let kept = file.keep(&format!("{dir}/context"));
                    kept.map_err(|error| Status::unknown(format!("write {dir}/context: {error}")))?;
                    Ok(dir)
                }
            }
        };
        let outcome = outcome.await;
        match &outcome {
            Ok(_) => step.done(false),
            Err(status) => step.failed(step_error(&status.message)),
        }
        outcome
    }

    async fn unpack_into_dir(&self, archive: &Download) -> Got<String> {
        let dir = self.scratch.dir()?;
        let options = UnpackOptions {
            owner: Some((0, 0)),
            ..UnpackOptions::default()
        };
        let (os, reader) = (&self.engine.os, archive.reader());
        unpack_compressed(os, View::Host, dir.as_bytes(), reader, options)
            .await
            .map_err(|error| Status::unknown(format!("failed to unpack the context: {error}")))?;
        Ok(dir)
    }

    /// What the client has at a path of its own.
    async fn upload(&self, path: &str) -> Got<Download> {
        let metadata = vec![
            ("urlpath".to_string(), format!("/{path}")),
            ("urlhost".to_string(), "buildkit-session".to_string()),
        ];
        let mut call = self
            .session
            .call("/moby.upload.v1.Upload/Pull", &metadata)?;
        let failed = |(what, error): (String, Errno)| Status::unknown(format!("{what}: {error}"));
        let (os, root) = (&self.engine.os, &self.engine.config.root);
        let mut file = Download::new(os, root).map_err(failed)?;
        while let Some(message) = call.receive().await? {
            for field in buildkit::wire::fields(&message) {
                if let (1, data) = field? {
                    file.write(data.bytes()).map_err(failed)?;
                }
            }
        }
        Ok(file)
    }

    async fn unpack(&self, loaded: &Step, archive: Download) -> Got<String> {
        let step = self.build.step("copy /context /", &[loaded]);
        step.start();
        let unpacked = self.unpack_into_dir(&archive).await;
        match &unpacked {
            Ok(_) => step.done(false),
            Err(status) => step.failed(&status.message),
        }
        unpacked
    }

    async fn load_ignore(&self, step: &Step, name: &str) -> Got<Vec<String>> {
        let wanted = Wanted {
            name: name.to_string(),
            follow: vec![".dockerignore".to_string()],
            ..Wanted::default()
        };
        let what = format!("transferring {name}:");
        let dir = self.transfer(step, &what, wanted, false).await?;
        let text = self.read(&dir, ".dockerignore").await?;
        Ok(text.map(|text| patterns(&text)).unwrap_or_default())
    }

    /// Gets files of the client's into a new directory, or with `keep` into one that the next build has again.
    async fn transfer(&self, step: &Step, what: &str, wanted: Wanted, keep: bool) -> Got<String> {
        step.start();
        let outcome = async {
            let dir = match keep {
                true => self.scratch.context(&self.session, &wanted.name)?,
                false => self.scratch.dir()?,
            };
            let target = Target {
                os: Rc::clone(&self.engine.os),
                dir: dir.clone().into_bytes(),
            };
            let mut part = step.part(what);
            receive(&self.session, &wanted, &target, |bytes| {
                part.progress(bytes, 0)
            })
            .await?;
            part.done();
            Ok(dir)
        };
        let outcome: Got<String> = outcome.await;
        match &outcome {
            Ok(_) => step.done(false),
            Err(status) => step.failed(&status.message),
        }
        outcome
    }

    /// A file of a directory that came, which may be a link inside it.
    async fn read(&self, dir: &str, name: &str) -> std::result::Result<Option<Vec<u8>>, Status> {
        let os = &self.engine.os;
        let failed = |error: Errno| Status::unknown(format!("failed to read {name}: {error}"));
        let mut path = clean(name);
        // A link leads to another file of the directory, or nowhere.
        for _ in 0..10 {
            let full = format!("{dir}/{path}");
            match os.metadata(View::Host, full.as_bytes(), false) {
                Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
                Err(error) => return Err(failed(error)),
                Ok(metadata) if metadata.is_symlink() => {
                    let target = os.read_link(View::Host, full.as_bytes()).map_err(failed)?;
                    let target = String::from_utf8_lossy(&target).into_owned();
                    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
                    path = match target.starts_with('/') {
                        true => clean(&target),
                        false => clean(&format!("{parent}/{target}")),
                    };
                }
                Ok(metadata) if metadata.size > DOCKERFILE_BYTES_MAX as u64 => {
                    return Err(Status::unknown(format!("{name} is too large")));
                }
                Ok(metadata) if metadata.is_dir() => {
                    return Err(Status::unknown(format!("read {name}: is a directory")));
                }
                Ok(_) => {
                    let content = os.read_file(View::Host, full.as_bytes()).await;
                    return content.map(Some).map_err(failed);
                }
            }
        }
        Err(failed(Errno::ELOOP))
    }
}

/// A name without `.`, `..` and slashes at its ends; what leads out stays in.
fn clean(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn patterns(text: &[u8]) -> Vec<String> {
    dockerfile::ignore::lines(&String::from_utf8_lossy(text))
}

/// Names and patterns that the Dockerfile takes from the context; `None` when it may be anything.
fn used(dockerfile: &Dockerfile) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for instruction in dockerfile
        .stages
        .iter()
        .flat_map(|stage| &stage.instructions)
    {
        let names: Vec<&String> = match &instruction.kind {
            Kind::Add(copy) | Kind::Copy(copy) if copy.from.is_empty() => {
                copy.sources.iter().collect()
            }
            Kind::Run(run) => {
                let own = |mount: &&dockerfile::Mount| {
                    mount.kind == MountKind::Bind && mount.from.is_empty()
                };
                run.mounts
                    .iter()
                    .filter(own)
                    .map(|mount| &mount.source)
                    .collect()
            }
            _ => continue,
        };
        for name in names {
            // What is fetched is not in the context.
            if name.contains("://") {
                continue;
            }
            let name = clean(name);
            if name.is_empty() || name.contains('$') {
                return None;
            }
            all.push(name);
        }
    }
    order::sort(&mut all);
    all.dedup();
    Some(all)
}

fn api(status: Status) -> ApiError {
    ApiError::system(status.message)
}

impl Client for Source {
    fn context(&self) -> LocalBoxFuture<Result<String>> {
        let source = self.clone();
        Box::pin(async move {
            let own = &source.0;
            // What is not sent file by file is there already.
            if own.remote_context().is_some() {
                return own.context.get(own.load_remote()).await.map_err(api);
            }
            let exclude = source.ignore().await.map_err(api)?;
            source.show_ignore();
            let load = async {
                let step = own.build.step("[internal] load build context", &[]);
                let wanted = Wanted {
                    name: "context".to_string(),
                    follow: own.follow(),
                    exclude,
                    ..Wanted::default()
                };
                own.transfer(&step, "transferring context:", wanted, true)
                    .await
            };
            own.context.get(load).await.map_err(api)
        })
    }

    fn named_context(&self, name: &str) -> LocalBoxFuture<Result<Option<NamedContext>>> {
        let (source, name) = (self.clone(), name.to_string());
        Box::pin(async move {
            let own = &source.0;
            let Some(value) = own.options.get(&format!("context:{name}")) else {
                return Ok(None);
            };
            if let Some(image) = value.strip_prefix("docker-image://") {
                return Ok(Some(NamedContext::Image(image.to_string())));
            }
            let once = Rc::clone(own.named.borrow_mut().entry(name.clone()).or_default());
            if is_url(value) || GitUrl::parse(value).is_some() {
                let dir = once.get(own.load_named(&name, value)).await;
                return dir
                    .map(|dir| Some(NamedContext::Directory(dir)))
                    .map_err(api);
            }
            let Some(dir) = value.strip_prefix("local:") else {
                return Err(ApiError::invalid(format!(
                    "unsupported context source {value} for {name}"
                )));
            };
            let load = async {
                let step = own
                    .build
                    .step(&format!("[context {name}] load .dockerignore"), &[]);
                let exclude = own.load_ignore(&step, dir).await?;
                let step = own
                    .build
                    .step(&format!("[context {name}] load from client"), &[&step]);
                let wanted = Wanted {
                    name: dir.to_string(),
                    exclude,
                    ..Wanted::default()
                };
                own.transfer(&step, &format!("transferring {name}:"), wanted, true)
                    .await
            };
            let dir = once.get(load).await.map_err(api)?;
            Ok(Some(NamedContext::Directory(dir)))
        })
    }

    fn has_context(&self, name: &str) -> bool {
        self.0.options.contains_key(&format!("context:{name}"))
    }

    fn credentials(&self, host: &str) -> LocalBoxFuture<Option<(String, String)>> {
        let (session, host) = (Rc::clone(&self.0.session), host.to_string());
        // Who cannot say who it is, is nobody.
        Box::pin(async move { session.credentials(&host).await.ok().flatten() })
    }

    fn may_use_all(&self) {
        *self.0.used.borrow_mut() = None;
    }

    fn secret(&self, id: &str) -> LocalBoxFuture<Result<Option<Vec<u8>>>> {
        let (session, id) = (Rc::clone(&self.0.session), id.to_string());
        Box::pin(async move {
            match session.secret(&id).await {
                Ok(secret) => Ok(Some(secret)),
                Err(status) if status.code == buildkit::grpc::code::NOT_FOUND => Ok(None),
                Err(status) => Err(api(status)),
            }
        })
    }

    fn ssh(&self, id: &str) -> LocalBoxFuture<Result<Option<String>>> {
        let (source, id) = (self.clone(), id.to_string());
        Box::pin(async move {
            let own = &source.0;
            if let Some((path, _)) = own.agents.borrow().get(&id) {
                return Ok(Some(path.clone()));
            }
            // The client says no when nothing of this id was given to it.
            if !ssh::check(&own.session, &id).await.unwrap_or(false) {
                return Ok(None);
            }
            let path = format!("{}/agent", own.scratch.dir().map_err(api)?);
            let os = &own.engine.os;
            let listener = os
                .unix_listen(View::Host, path.as_bytes(), 0o600)
                .map_err(|errno| ApiError::system(format!("listen {path}: {errno}")))?;
            let forward = ssh::forward(&os.executor(), Rc::clone(&own.session), &id, listener);
            own.agents.borrow_mut().insert(id, (path.clone(), forward));
            Ok(Some(path))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_used_comes() {
        let cases: [(&str, Option<&[&str]>); 6] = [
            ("RUN true", Some(&[])),
            (
                "COPY a ./b/ /x/\nCOPY --from=y z /\nADD http://h/f /",
                Some(&["a", "b"]),
            ),
            ("COPY . /", None),
            ("COPY / /", None),
            ("COPY $X /", None),
            ("RUN --mount=type=bind,target=/x true", None),
        ];
        for (text, expected) in cases {
            let text = format!("FROM busybox\n{text}\n");
            let dockerfile = dockerfile::parse(text.as_bytes()).unwrap();
            let expected = expected.map(|names| names.iter().map(ToString::to_string).collect());
            assert_eq!(used(&dockerfile), expected, "{text}");
        }
        for (name, expected) in [("./a//b/../c/", "a/c"), ("../../etc", "etc"), ("/", "")] {
            assert_eq!(clean(name), expected);
        }
    }
}
