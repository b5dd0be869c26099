//! Heredocs: `<<EOF`, `<<-EOF`, `<<"EOF"`, `3<<EOF`.

use crate::shell;

/// Text that stands in the lines below an instruction.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Heredoc {
    /// The word that ends it, without quotes.
    pub name: String,
    /// The lines, each with its newline.
    pub content: String,
    /// The name is not quoted: variables in it are replaced where Docker does so.
    pub expand: bool,
    /// `<<-`: tabs at the beginning of lines do not count.
    pub chomp: bool,
}

impl Heredoc {
    /// The content, tabs taken away if so wanted.
    #[must_use]
    pub fn text(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content
            .split_inclusive('\n')
            .map(|line| line.trim_start_matches('\t'))
            .collect()
    }
}

/// Reads one word; `None`: it is no heredoc.
pub(crate) fn from_word(word: &str) -> Option<Heredoc> {
    let rest = word.trim_start_matches(|ch: char| ch.is_ascii_digit());
    let rest = rest.strip_prefix("<<")?;
    let (chomp, raw) = match rest.strip_prefix('-') {
        Some(raw) => (true, raw),
        None => (false, rest),
    };
    if raw.is_empty() || raw.contains('<') {
        return None;
    }
    let name = shell::unquote(raw).ok()?;
    (!name.is_empty()).then(|| Heredoc {
        expand: name == raw,
        name,
        content: String::new(),
        chomp,
    })
}

/// The heredocs that begin in a line, contents still empty.
pub(crate) fn in_line(line: &str) -> Vec<Heredoc> {
    shell::raw_words(line)
        .iter()
        .filter_map(|word| from_word(word))
        .collect()
}
