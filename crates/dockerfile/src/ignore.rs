//! `.dockerignore`: what of a directory is not part of the build's context.

use crate::glob::Pattern;

/// A file's patterns.
#[derive(Default)]
pub struct Ignore {
    patterns: Vec<Rule>,
}

struct Rule {
    pattern: Pattern,
    /// `!`: what fits is part of it after all.
    exception: bool,
    /// Parts of the pattern, to know whether an exception may be below a directory.
    text: String,
}

/// `a/../b//c/` as Go's `filepath.Clean` writes it.
#[must_use]
pub fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if absolute => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_string(),
        (false, false) => joined,
    }
}

/// The patterns of a file's lines, cleaned; exceptions keep their `!`.
#[must_use]
pub fn lines(text: &str) -> Vec<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut patterns = Vec::new();
    for line in text.lines() {
        // Only a mark in the first column makes a comment.
        if line.starts_with('#') {
            continue;
        }
        let line = line.trim();
        let (mark, pattern) = match line.strip_prefix('!') {
            Some(rest) => ("!", rest.trim()),
            None => ("", line),
        };
        if line.is_empty() {
            continue;
        }
        let mut pattern = match pattern {
            "" => String::new(),
            pattern => clean(pattern),
        };
        if pattern.len() > 1 && pattern.starts_with('/') {
            pattern.remove(0);
        }
        patterns.push(format!("{mark}{pattern}"));
    }
    patterns
}

impl Ignore {
    /// Reads a file.
    pub fn parse(text: &str) -> Result<Ignore, String> {
        Ignore::new(&lines(text))
    }

    /// From patterns.
    pub fn new(patterns: &[String]) -> Result<Ignore, String> {
        let mut rules = Vec::new();
        for text in patterns {
            let (exception, text) = match text.strip_prefix('!') {
                Some("") => return Err("illegal exclusion pattern: \"!\"".to_string()),
                Some(rest) => (true, rest),
                None => (false, text.as_str()),
            };
            let text = clean(text);
            let pattern =
                Pattern::parse(&text).map_err(|_| "syntax error in pattern".to_string())?;
            rules.push(Rule {
                pattern,
                exception,
                text,
            });
        }
        Ok(Ignore { patterns: rules })
    }

    /// True when nothing is left out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a path (relative, without `./`) is left out: the last pattern that fits it or a directory it
    /// is in decides.
    #[must_use]
    pub fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for rule in &self.patterns {
            if rule.exception == excluded && rule.fits(path) {
                excluded = !rule.exception;
            }
        }
        excluded
    }

    /// Whether nothing below an excluded directory can be part of the context, so that it need not be
    /// looked at.
    #[must_use]
    pub fn skips_below(&self, directory: &str) -> bool {
        let inside = format!("{directory}/");
        self.excludes(directory)
            && !self.patterns.iter().any(|rule| {
                let open = rule.text.contains(['*', '?', '[', '\\']);
                rule.exception && (open || format!("{}/", rule.text).starts_with(&inside))
            })
    }
}

impl Rule {
    fn fits(&self, path: &str) -> bool {
        let mut end = path.len();
        loop {
            if self.pattern.matches(&path[..end]) {
                return true;
            }
            match path[..end].rfind('/') {
                Some(cut) => end = cut,
                None => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (text, path, excluded) in [
            ("*.md\n!README.md", "a.md", true),
            ("*.md\n!README.md", "README.md", false),
            ("*.md\n!README.md", "d/a.md", false),
            (
                "README.md\n!README*.md\nREADME-secret.md",
                "README-secret.md",
                true,
            ),
            ("**/*.go", "a.go", true),
            ("**/*.go", "a/b/c.go", true),
            ("node_modules", "node_modules/a/b", true),
            ("/foo/bar/", "foo/bar/x", true),
            ("*/temp*", "a/temporary", true),
            ("*/temp*", "a/b/temp", false),
            ("*/*/temp*", "a/b/temp", true),
            ("temp?", "tempa", true),
            ("temp?", "temp", false),
            ("# comment\n #x", "#x", true),
            ("# comment", "# comment", false),
            ("**\n!a", "b", true),
            ("**\n!a", "a", false),
            ("*\n!dir", "dir/x", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("a/**", "a/x/y", true),
            (".git", "x/.git", false),
            ("", "x", false),
        ] {
            let ignore = Ignore::parse(text).expect("patterns");
            assert_eq!(ignore.excludes(path), excluded, "{text:?} {path}");
        }
        assert!(Ignore::parse("!").is_err() && Ignore::parse("[").is_err());
    }

    #[test]
    fn whole_directories() {
        let ignore = Ignore::parse("a\nb\n!b/keep").expect("patterns");
        assert!(ignore.skips_below("a") && !ignore.skips_below("b") && !ignore.skips_below("c"));
    }
}
