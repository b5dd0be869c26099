//! `--name=value` before an instruction's arguments.

/// Flags of one instruction, as they were typed.
pub(crate) struct Flags(Vec<String>);

/// Takes the flags from the beginning of a line.
pub(crate) fn extract(line: &str) -> (Flags, &str) {
    let mut flags = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_start();
        if !rest.starts_with("--") {
            return (Flags(flags), rest);
        }
        let (word, after) = first_word(rest);
        rest = after;
        if word == "--" {
            return (Flags(flags), rest);
        }
        flags.push(word);
    }
}

/// A word up to a blank outside quotes, without its quotes and escapes.
fn first_word(line: &str) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = line.char_indices();
    while let Some((at, ch)) = chars.next() {
        match quote {
            None if ch.is_whitespace() => return (word, &line[at..]),
            None if ch == '\'' || ch == '"' => quote = Some(ch),
            Some(open) if ch == open => quote = None,
            _ if ch == '\\' && quote != Some('\'') => {
                if let Some((_, next)) = chars.next() {
                    word.push(next);
                }
            }
            _ => word.push(ch),
        }
    }
    (word, "")
}

/// What a flag may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    /// May be given several times.
    List,
    Bool,
}

/// The values of flags by name.
pub(crate) struct Values(Vec<(&'static str, String)>);

impl Values {
    pub(crate) fn text(&self, name: &str) -> String {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map_or(String::new(), |(_, value)| value.clone())
    }

    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let fitting = self.0.iter().filter(|(known, _)| *known == name);
        fitting.map(|(_, value)| value.clone()).collect()
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// Names of what was given, each once.
    pub(crate) fn used(&self) -> Vec<String> {
        let mut used: Vec<String> = Vec::new();
        for (name, _) in &self.0 {
            if !used.iter().any(|known| known == name) {
                used.push((*name).to_string());
            }
        }
        used
    }
}

impl Flags {
    /// Checks them against what the instruction knows.
    pub(crate) fn parse(&self, known: &[(&'static str, Type)]) -> Result<Values, String> {
        let mut values = Vec::new();
        for flag in &self.0 {
            let body = &flag[2..];
            let (name, value) = match body.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (body, None),
            };
            let Some(&(name, kind)) = known.iter().find(|(other, _)| *other == name) else {
                let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
                let hint = crate::parse::did_you_mean(name, &names);
                return Err(format!("unknown flag: {name}{hint}"));
            };
            let again = values.iter().any(|(other, _)| *other == name);
            if again && kind != Type::List {
                return Err(format!("duplicate flag specified: {name}"));
            }
            let value = match (kind, value.map(str::to_lowercase).as_deref()) {
                (Type::Bool, None | Some("true")) => "true".to_string(),
                (Type::Bool, Some("false")) => "false".to_string(),
                (Type::Bool, Some(_)) => {
                    return Err(format!(
                        "expecting boolean value for flag {name}, not: {}",
                        value.unwrap_or_default()
                    ));
                }
                (_, None) => return Err(format!("missing a value on flag: {name}")),
                (_, Some(_)) => value.unwrap_or_default().to_string(),
            };
            values.push((name, value));
        }
        Ok(Values(values))
    }
}
