//! `dockerfile.v0`: a Dockerfile of the client's becomes an image, by the build core (`crate::build`).
//!
//! BuildKit takes the Dockerfile's reader from a registry when a `# syntax` line asks for one; here it is
//! always the built-in one.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use buildkit::Status;
use buildkit::messages::{FrontendRequest, source_detail};
use engine_api::stream::Channel;
use engine_api::types::HostConfig;
use oci::{Platform, Reference};

use super::build::{Build, Step};
use super::source::{Definition, Source};
use crate::Engine;
use crate::build::{BuildError, Outcome, Progress, Request, Vertex};

/// Tells the client what the core does.
struct Steps {
    build: Rc<Build>,
    source: Source,
    steps: RefCell<BTreeMap<u32, Rc<Step>>>,
}

impl Steps {
    fn with(&self, vertex: &Vertex, tell: impl FnOnce(&Step)) {
        let step = self.steps.borrow().get(&vertex.id).cloned();
        if let Some(step) = step {
            tell(&step);
        }
    }
}

impl Progress for Steps {
    fn begin(&self, vertex: &Vertex) {
        if !vertex.internal {
            self.source.show_ignore();
        }
        let inputs: Vec<Rc<Step>> = {
            let steps = self.steps.borrow();
            vertex
                .inputs
                .iter()
                .filter_map(|id| steps.get(id).cloned())
                .collect()
        };
        let inputs: Vec<&Step> = inputs.iter().map(Rc::as_ref).collect();
        let step = Rc::new(self.build.step(&vertex.name(), &inputs));
        step.start();
        self.steps.borrow_mut().insert(vertex.id, step);
    }

    fn log(&self, vertex: &Vertex, channel: Channel, bytes: &[u8]) {
        let stream = if channel == Channel::Stderr { 2 } else { 1 };
        self.with(vertex, |step| step.log(stream, bytes));
    }

    fn end(&self, vertex: &Vertex, outcome: Outcome) {
        self.with(vertex, |step| match &outcome {
            Outcome::Done => step.done(false),
            Outcome::Cached => step.done(true),
            Outcome::Failed(error) => step.failed(error),
        });
    }

    fn planned(&self) {
        self.source.show_ignore();
    }

    fn part(&self, vertex: &Vertex, id: &str, bytes: (u64, u64), done: bool) {
        self.with(vertex, |step| step.progress(id, bytes, done));
    }
}

impl Engine {
    /// Builds; gives what the exporter has to say.
    pub(super) async fn build_dockerfile(
        &self,
        build: Rc<Build>,
        wanted: FrontendRequest,
    ) -> Result<BTreeMap<String, String>, Status> {
        let session = self.wait_for_session(&build.request.session).await?;
        let source = Source::new(
            self.rc(),
            Rc::clone(&build),
            session,
            wanted.options.clone(),
        );
        let definition = source.definition().await?;
        if definition.text.is_empty() {
            return Err(Status::unknown("the Dockerfile cannot be empty"));
        }
        let dockerfile = dockerfile::parse(&definition.text).map_err(|error| {
            with_source(
                Status::unknown(error.message),
                &definition,
                Some(error.lines),
            )
        })?;
        if let Some(syntax) = &dockerfile.syntax {
            self.check_syntax(&build, syntax, &definition).await?;
        }
        source.will_use(&dockerfile);
        for warning in &dockerfile.warnings {
            if let Some(step) = &definition.step {
                step.warn(warning);
            }
        }
        let mut request = request(&wanted.options, &definition)?;
        request.cache_inline = build
            .request
            .cache_exports
            .iter()
            .any(|kind| kind == "inline");
        let importers = build.request.cache_imports.iter();
        request.host_network = build
            .request
            .entitlements
            .iter()
            .any(|name| name == "network.host");
        request.cache_from = importers
            .filter_map(|(kind, attrs)| attrs.get("ref").filter(|_| kind == "registry").cloned())
            .collect();
        // An error in it is that of the step that needs it.
        let _ = source.ignore().await;
        let steps = Rc::new(Steps {
            build: Rc::clone(&build),
            source: source.clone(),
            steps: RefCell::default(),
        });
        let built = self
            .solve(&request, Rc::new(source.clone()), steps)
            .await
            .map_err(|error| failed(error, &definition))?;
        source.show_ignore();
        self.export(&build, &source, &built).await
    }
}

impl Engine {
    /// A `# syntax` line may ask for Docker's own frontend only, which stands for the built-in one.
    async fn check_syntax(
        &self,
        build: &Rc<Build>,
        syntax: &str,
        definition: &Definition,
    ) -> Result<(), Status> {
        let name = syntax.split_whitespace().next().unwrap_or_default();
        let invalid = |error: oci::ReferenceError| {
            Status::unknown(format!("failed to parse {name}: {error}"))
        };
        let reference = Reference::parse(name).map_err(invalid)?.with_default_tag();
        if matches!(
            reference.name().as_str(),
            "docker.io/docker/dockerfile" | "docker.io/docker/dockerfile-upstream"
        ) {
            return Ok(());
        }
        let step = build.step(
            &format!("resolve image config for docker-image://{reference}"),
            &[],
        );
        step.start();
        let why = match self.registry.manifest(&reference).await {
            Ok(_) => {
                "this engine has Docker's frontend for Dockerfiles and runs no other".to_string()
            }
            Err(error) if error.is_not_found() => format!("{reference}: not found"),
            Err(error) => error.to_string(),
        };
        step.failed(&why);
        let status = Status::unknown(format!(
            "failed to resolve source metadata for {reference}: {why}"
        ));
        let text = String::from_utf8_lossy(&definition.text);
        let line = text
            .lines()
            .position(|line| line.contains(syntax))
            .unwrap_or_default()
            + 1;
        Err(with_source(status, definition, Some((line, line))))
    }
}

/// The frontend's options as the core has them.
fn request(options: &BTreeMap<String, String>, definition: &Definition) -> Result<Request, Status> {
    let text = |name: &str| options.get(name).cloned().unwrap_or_default();
    let all = |prefix: &str| {
        let found = options
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?, value)));
        found
            .map(|(name, value)| (name.to_string(), value.clone()))
            .collect::<Vec<_>>()
    };
    let list = |name: &str| -> Vec<String> {
        let text = options.get(name).map_or("", String::as_str);
        text.split(',')
            .filter(|part| !part.is_empty())
            .map(str::to_string)
            .collect()
    };
    let no_cache = options.get("no-cache");
    let invalid = |name: &str, value: &str| Status::unknown(format!("invalid {name}: {value}"));
    let mut host = HostConfig::default();
    let network = text("force-network-mode");
    host.network_mode = match network.as_str() {
        "sandbox" | "" => "default".to_string(),
        network => network.to_string(),
    };
    let hosts = list("add-hosts")
        .iter()
        .map(|entry| entry.replacen('=', ":", 1))
        .collect();
    host.extra_hosts = Some(hosts);
    if let Some(size) = options.get("shm-size") {
        host.shm_size = size.parse().map_err(|_| invalid("shm-size", size))?;
    }
    host.cgroup_parent = text("cgroup-parent");
    Ok(Request {
        dockerfile: definition.text.clone(),
        target: text("target"),
        build_args: all("build-arg:")
            .into_iter()
            .map(|(name, value)| (name, Some(value)))
            .collect(),
        labels: all("label:").into_iter().collect(),
        no_cache: no_cache.is_some_and(String::is_empty),
        no_cache_stages: list("no-cache"),
        pull: text("image-resolve-mode") == "pull",
        cache_from: Vec::new(),
        cache_inline: false,
        host_network: false,
        host,
        platform: platform(&text("platform"))?,
    })
}

/// The one platform that is built for.
fn platform(text: &str) -> Result<Platform, Status> {
    let mut all = text.split(',').filter(|part| !part.is_empty());
    let Some(first) = all.next() else {
        return Ok(Platform::host());
    };
    if all.next().is_some() {
        return Err(Status::unknown(
            "multi-platform builds are not supported by this engine",
        ));
    }
    let unknown = || {
        Status::unknown(format!(
            "failed to parse target platform {first}: {first:?}: unknown operating system or architecture: invalid argument"
        ))
    };
    Platform::parse(first).ok_or_else(unknown)
}

fn failed(error: BuildError, definition: &Definition) -> Status {
    with_source(
        Status::unknown(error.error.message),
        definition,
        error.lines,
    )
}

/// The error with the lines of the Dockerfile it is about.
fn with_source(
    mut status: Status,
    definition: &Definition,
    lines: Option<(usize, usize)>,
) -> Status {
    if let Some((start, end)) = lines {
        let range = (start as u32, end as u32);
        let detail = source_detail(&definition.name, &definition.text, &[range]);
        status.details.push(detail);
    }
    status
}
