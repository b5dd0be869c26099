//! `cargo xtask judge`: the transcripts of Docker beside a real dockerd, which is the judge of what they expect.
//!
//! A run is a Docker host in namespaces of its own (`inside.sh`): Debian's dockerd of this computer's architecture,
//! over it the node image's files and over those the same client as the node's, but of this computer's
//! architecture. It pulls the playground's own images, riscv64 ones, whose programs QEMU runs. Nothing it does
//! leaves the namespaces but cgroups, which are removed, and the registration of QEMU, if there was none.

mod host;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use transcript::Step;

use crate::{images, tools};

const USAGE: &str = "usage: cargo xtask judge [--docker 28|26] [--cgroup v1|v2] [TRANSCRIPT...]

  --docker 28|26   the dockerd of the Debian to come (28.5, which the playground's is like), or Debian 13's
  --cgroup v1|v2   what containers are limited by; v2 where the kernel has controllers in it
  TRANSCRIPT       those of that name below tests/transcripts, docker/run, or else those whose names
                   begin so, docker/servers (all of docker/ without)

Needs root, and Linux's namespaces; run it on a computer or a virtual machine of your own.";

/// What is asked for.
#[derive(Debug)]
struct Options {
    docker: u32,
    cgroup: &'static str,
    transcripts: Vec<String>,
}

fn options(args: &[String]) -> Result<Option<Options>> {
    let mut options = Options {
        docker: 28,
        cgroup: host::cgroup_version(),
        transcripts: Vec::new(),
    };
    let mut args = args.iter();
    while let Some(argument) = args.next() {
        let mut value = || {
            args.next()
                .with_context(|| format!("{argument} needs a value\n{USAGE}"))
        };
        match argument.as_str() {
            "--docker" => {
                options.docker = match value()?.as_str() {
                    "26" => 26,
                    "28" => 28,
                    other => bail!("no Docker {other} to be had: 26 or 28"),
                }
            }
            "--cgroup" => {
                options.cgroup = match value()?.as_str() {
                    "v1" => "v1",
                    "v2" => "v2",
                    other => bail!("no cgroup {other}: v1 or v2"),
                }
            }
            "-h" | "--help" => return Ok(None),
            name if !name.starts_with('-') => {
                let name = name
                    .trim_end_matches(".txt")
                    .trim_start_matches("tests/transcripts/");
                options.transcripts.push(name.to_owned());
            }
            _ => bail!("unknown argument {argument:?}\n{USAGE}"),
        }
    }
    if options.transcripts.is_empty() {
        options.transcripts.push("docker/".to_owned());
    }
    Ok(Some(options))
}

/// Runs the command.
pub fn run(args: &[String]) -> Result<()> {
    let Some(options) = options(args)? else {
        println!("{USAGE}");
        return Ok(());
    };
    let files = transcripts(&options.transcripts)?;
    let host = host::Host::prepare(options.docker, options.cgroup)?;
    let mut count = Count::default();
    for (name, path) in &files {
        let text = std::fs::read_to_string(path)?;
        if let Some(image) = transcript::directive(&text, "image")
            && !images::default_out().join("v2").join(image).is_dir()
        {
            println!("{name}: passed over, there is no image {image}");
            continue;
        }
        if let Some(reason) = transcript::directive(&text, "ours") {
            println!("{name}: passed over, only the playground has it: {reason}");
            continue;
        }
        let steps = transcript::parse(&text);
        let printed = host
            .session(&transcript::script(&steps))
            .with_context(|| format!("running {name}"))?;
        let unlike = |step: &Step| match step.needs.as_deref() {
            Some("cgroup2") => options.cgroup == "v1",
            Some("riscv64") => host.emulates(),
            Some("capabilities") => !host::has_all_capabilities(),
            // A computer is never without other work.
            Some("time") => true,
            Some(path) => !Path::new(path).exists(),
            None => false,
        };
        count.take(name, &steps, &printed, unlike);
    }
    println!(
        "{} of {} steps in {} transcripts agree with Docker {}; {} more differ on purpose, {} this computer cannot judge",
        count.agree,
        count.steps - count.ours - count.unlike,
        files.len(),
        host.version(),
        count.ours,
        count.unlike
    );
    if count.agree + count.ours + count.unlike < count.steps {
        bail!("the other steps differ");
    }
    Ok(())
}

/// How many steps there were.
#[derive(Debug, Default)]
struct Count {
    steps: usize,
    agree: usize,
    /// Those that differ and are marked so.
    ours: usize,
    /// Those that differ because this host lacks what they are about.
    unlike: usize,
}

impl Count {
    fn take(
        &mut self,
        name: &str,
        steps: &[Step],
        printed: &str,
        is_unlike: impl Fn(&Step) -> bool,
    ) {
        let differences = transcript::differences(steps, printed);
        let differs = |line| differences.iter().any(|found| found.step.line == line);
        for step in steps {
            if let Some(reason) = &step.ours
                && !differs(step.line)
            {
                println!(
                    "{name}, line {}: agrees, though it is marked: {reason}",
                    step.line
                );
            }
        }
        let (mut ours, mut unlike) = (0, 0);
        for found in &differences {
            match found.step.ours {
                Some(_) => ours += 1,
                None if is_unlike(&found.step) => unlike += 1,
                None => print!("=== {name}, {found}"),
            }
        }
        // Behind the end of a session nothing was compared, and nothing agrees.
        let ended = differences.iter().find(|found| found.status.is_none());
        let unseen = ended.map_or(0, |found| {
            steps
                .iter()
                .filter(|step| step.line > found.step.line)
                .count()
        });
        let agree = steps.len() - differences.len() - unseen;
        println!(
            "{name}: {agree} of {} steps agree",
            steps.len() - ours - unlike
        );
        self.steps += steps.len();
        self.agree += agree;
        self.ours += ours;
        self.unlike += unlike;
    }
}

/// The transcripts whose names begin so, in order.
fn transcripts(wanted: &[String]) -> Result<Vec<(String, PathBuf)>> {
    let root = tools::root().join("tests/transcripts");
    let mut found = Vec::new();
    for folder in ["docker", "sh"] {
        for entry in std::fs::read_dir(root.join(folder))? {
            let path = entry?.path();
            let name = path.strip_prefix(&root).unwrap_or(&path).with_extension("");
            let name = name.to_string_lossy().into_owned();
            found.push((name, path));
        }
    }
    found.sort();
    let all = found.clone();
    found.retain(|(name, _)| {
        wanted.iter().any(|wanted| {
            let exactly = all.iter().any(|(name, _)| name == wanted);
            name == wanted || !exactly && name.starts_with(wanted)
        })
    });
    if found.is_empty() {
        bail!(
            "no transcript is called or begins with {}",
            wanted.join(", ")
        );
    }
    Ok(found)
}

/// A folder below `target/judge`.
fn folder(name: &str) -> Result<PathBuf> {
    let folder = tools::root().join("target/judge").join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    Ok(folder)
}

/// Whether a path is there, or a link that leads nowhere.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted() {
        let text = "$ a\na\n\n#!ours why\n$ b\n\n#!needs cgroup2\n$ c\n\n$ d\n\n$ e\n$ f\n";
        let steps = transcript::parse(text);
        let mark = transcript::MARK;
        let printed = format!("a\n{mark}0{mark}x\n{mark}0{mark}y\n{mark}0{mark}z{mark}0{mark}");
        let mut count = Count::default();
        count.take("t", &steps, &printed, |step| step.needs.is_some());
        let Count {
            steps,
            agree,
            ours,
            unlike,
        } = count;
        // d differs, the session ends in e, f is not seen.
        assert_eq!((steps, agree, ours, unlike), (6, 1, 1, 1));
    }

    #[test]
    fn arguments() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let asked = options(&words(
            "--docker 28 --cgroup v2 tests/transcripts/docker/run.txt",
        ));
        let asked = asked.unwrap().unwrap();
        assert_eq!((asked.docker, asked.cgroup), (28, "v2"));
        assert_eq!(asked.transcripts, ["docker/run"]);
        assert_eq!(transcripts(&asked.transcripts).unwrap().len(), 1);
        assert!(transcripts(&words("docker/servers")).unwrap().len() > 5);
        for wrong in ["--docker 20", "--cgroup v3", "--docker", "--what"] {
            assert!(options(&words(wrong)).is_err(), "{wrong}");
        }
    }
}
