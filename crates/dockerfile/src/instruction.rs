//! What a Dockerfile consists of.

use crate::Heredoc;

/// First and last line, from 1.
pub type Span = (usize, usize);

/// A whole file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dockerfile {
    /// What takes the meaning from the next character.
    pub escape: char,
    /// `# syntax=`.
    pub syntax: Option<String>,
    /// `# check=`.
    pub check: Option<String>,
    /// `ARG`s before the first `FROM`.
    pub meta_args: Vec<Instruction>,
    /// In the order of the file; at least one.
    pub stages: Vec<Stage>,
    /// What is suspicious but no error.
    pub warnings: Vec<String>,
}

impl Dockerfile {
    /// Which stage a name or number means; the last of the name.
    #[must_use]
    pub fn stage(&self, name: &str) -> Option<usize> {
        let lower = name.to_lowercase();
        let by_name = self.stages.iter().rposition(|stage| stage.name == lower);
        let by_index = name.parse().ok();
        by_name
            .filter(|_| !lower.is_empty())
            .or(by_index.filter(|&index: &usize| index < self.stages.len()))
    }
}

/// `FROM` and what follows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stage {
    /// `AS name` in lower case, or empty.
    pub name: String,
    /// The image or stage, variables not replaced.
    pub base: String,
    /// `--platform`, or empty.
    pub platform: String,
    /// The line.
    pub code: String,
    /// Where the `FROM` is.
    pub lines: Span,
    /// All but the `FROM`.
    pub instructions: Vec<Instruction>,
}

/// An instruction with its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instruction {
    /// What it is.
    pub kind: Kind,
    /// Its line, continuations joined.
    pub code: String,
    /// Where it is.
    pub lines: Span,
}

/// Arguments of `RUN`, `CMD`, `ENTRYPOINT`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Command {
    /// The words of the JSON form, or the one text of the shell form.
    pub words: Vec<String>,
    /// The shell form: a shell has to be put before it.
    pub shell: bool,
}

/// The instructions.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "named as in the Dockerfile reference")]
pub enum Kind {
    Add(Copy),
    Arg(Vec<(String, Option<String>)>),
    Cmd(Command),
    Copy(Copy),
    Entrypoint(Command),
    Env(Vec<(String, String)>),
    Expose(Vec<String>),
    Healthcheck(Health),
    Label(Vec<(String, String)>),
    Maintainer(String),
    /// The instruction that is kept for later.
    Onbuild(String),
    Run(Run),
    Shell(Vec<String>),
    StopSignal(String),
    User(String),
    Volume(Vec<String>),
    Workdir(String),
}

/// `HEALTHCHECK`. Times in nanoseconds, 0 for what is not said.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "named as in the Dockerfile reference")]
pub struct Health {
    /// `NONE`, `CMD` and words, or `CMD-SHELL` and a text.
    pub test: Vec<String>,
    pub interval: i64,
    pub timeout: i64,
    pub start_period: i64,
    pub start_interval: i64,
    pub retries: i64,
}

/// `ADD` and `COPY`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "named as in the Dockerfile reference")]
pub struct Copy {
    pub sources: Vec<String>,
    /// Files that are written in the Dockerfile itself.
    pub inline: Vec<Heredoc>,
    pub destination: String,
    pub from: String,
    pub chown: String,
    pub chmod: String,
    pub checksum: String,
    pub exclude: Vec<String>,
    pub link: bool,
    pub parents: bool,
    pub keep_git_dir: bool,
    /// Names of the flags that were given.
    pub flags: Vec<String>,
}

/// `RUN`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "named as in the Dockerfile reference")]
pub struct Run {
    pub command: Command,
    pub heredocs: Vec<Heredoc>,
    pub mounts: Vec<Mount>,
    /// `default`, `none`, `host` or empty.
    pub network: String,
    /// `sandbox`, `insecure` or empty.
    pub security: String,
    /// Names of the flags that were given.
    pub flags: Vec<String>,
}

/// What `RUN --mount` mounts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "named as in the Dockerfile reference")]
pub enum MountKind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

/// `RUN --mount`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[allow(missing_docs, reason = "named as in the Dockerfile reference")]
pub struct Mount {
    pub kind: MountKind,
    pub from: String,
    pub source: String,
    pub target: String,
    pub readonly: bool,
    pub size: u64,
    /// `id` of caches, secrets and sockets.
    pub id: String,
    /// `shared`, `private`, `locked` or empty.
    pub sharing: String,
    /// A variable a secret is put into.
    pub env: Option<String>,
    pub required: bool,
    pub mode: Option<u32>,
    pub uid: u32,
    pub gid: u32,
}
