//! `ARG` and `--build-arg`: which variables an instruction sees.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Those that need no `ARG` (Dockerfile reference, predefined ARGs).
const PREDEFINED: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The arguments of a build.
#[derive(Clone, Default)]
pub(super) struct Args {
    /// `--build-arg`.
    given: BTreeMap<String, Option<String>>,
    /// `ARG`s before the first `FROM`.
    meta: BTreeMap<String, Option<String>>,
    /// `ARG`s of the stage.
    stage: BTreeMap<String, Option<String>>,
    /// All names any `ARG` has had.
    declared: RefCell<BTreeSet<String>>,
}

impl Args {
    pub(super) fn new(given: &BTreeMap<String, Option<String>>) -> Args {
        Args {
            given: given.clone(),
            ..Args::default()
        }
    }

    /// A stage begins: its `ARG`s are its own.
    pub(super) fn begin_stage(&mut self) {
        self.stage.clear();
    }

    pub(super) fn declare_meta(&mut self, name: &str, value: Option<String>) {
        self.declared.borrow_mut().insert(name.to_string());
        self.meta.insert(name.to_string(), value);
    }

    pub(super) fn declare(&mut self, name: &str, value: Option<String>) {
        self.declared.borrow_mut().insert(name.to_string());
        self.stage.insert(name.to_string(), value);
    }

    /// A variable that is there without being declared, such as `TARGETARCH`.
    pub(super) fn provide(&mut self, name: &str, value: &str) {
        self.meta.insert(name.to_string(), Some(value.to_string()));
    }

    fn value(&self, name: &str, declared: &Option<String>) -> Option<String> {
        if let Some(given) = self.given.get(name) {
            return given.clone();
        }
        let inherited = || self.meta.get(name).cloned().flatten();
        declared.clone().or_else(inherited)
    }

    /// What `FROM` and the defaults of `ARG`s before it see.
    pub(super) fn meta(&self, name: &str) -> Option<String> {
        let declared = self.meta.get(name)?;
        self.value(name, declared)
    }

    /// What the stage's instructions see, sorted.
    pub(super) fn all(&self) -> BTreeMap<String, String> {
        let declared = self.stage.iter();
        let mut all: BTreeMap<String, String> = order::map(
            declared.filter_map(|(name, value)| Some((name.clone(), self.value(name, value)?))),
        );
        for name in PREDEFINED {
            if let Some(Some(value)) = self.given.get(name)
                && !self.stage.contains_key(name)
            {
                all.insert(name.to_string(), value.clone());
            }
        }
        all
    }

    /// Whether a variable changes what a step is: the proxies do not.
    pub(super) fn counts(&self, name: &str) -> bool {
        self.stage.contains_key(name) || !PREDEFINED.contains(&name)
    }

    /// Names of `--build-arg` that no `ARG` asked for.
    pub(super) fn unused(&self) -> Vec<String> {
        let declared = self.declared.borrow();
        let given = self.given.keys();
        given
            .filter(|name| !declared.contains(*name) && !PREDEFINED.contains(&name.as_str()))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sees_what() {
        let given = BTreeMap::from([
            ("A".to_string(), Some("given".to_string())),
            ("HTTP_PROXY".to_string(), Some("p".to_string())),
            ("LOST".to_string(), Some("x".to_string())),
        ]);
        let mut args = Args::new(&given);
        args.declare_meta("A", Some("meta".to_string()));
        args.declare_meta("B", Some("meta".to_string()));
        assert_eq!(args.meta("A").as_deref(), Some("given"));
        assert_eq!(args.all().get("A"), None);
        args.declare("A", Some("default".to_string()));
        args.declare("B", None);
        args.declare("C", None);
        let all: Vec<String> = args.all().iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(all, ["A=given", "B=meta", "HTTP_PROXY=p"]);
        assert_eq!(args.unused(), ["LOST"]);
        args.begin_stage();
        assert_eq!(args.all().len(), 1);
    }
}
