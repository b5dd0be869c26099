//! The page's own part of a saved playground: what the terminals showed, and which was in front.
//!
//! The worker keeps it as text and never looks into it. Another build may read it too, so it only grows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// See the module's comment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedPage {
    /// The instance whose card was shown.
    pub selected: Option<String>,
    /// By instance: what the terminal showed, with escape sequences.
    pub screens: BTreeMap<String, String>,
}

impl SavedPage {
    /// The text that travels.
    pub fn emit(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// From the text. What cannot be read costs the screens, not the machines.
    pub fn parse(text: &str) -> SavedPage {
        serde_json::from_slice(text.as_bytes()).unwrap_or_default()
    }

    /// The commands that were typed, as far as the screens still show them: by instance, oldest first.
    /// What a playground that cannot be opened any more can be set up again with.
    pub fn commands(&self) -> Vec<(String, Vec<String>)> {
        let commands = |screen: &String| {
            let lines = screen.lines().map(without_escapes);
            let typed = lines.filter_map(|line| Some(line.strip_prefix("$ ")?.trim().to_owned()));
            typed.filter(|line| !line.is_empty()).collect()
        };
        let all = self.screens.iter();
        all.map(|(name, screen)| (name.clone(), commands(screen)))
            .filter(|(_, commands): &(String, Vec<String>)| !commands.is_empty())
            .collect()
    }
}

/// A line without its escape sequences (ECMA-48: `ESC [ parameters letter`).
fn without_escapes(line: &str) -> String {
    let mut text = String::new();
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c != '\x1b' {
            text.push(c);
        } else if rest.next() == Some('[') {
            let _ = rest.find(|c| ('@'..='~').contains(c));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_survives_the_file_and_what_is_unreadable_is_empty() {
        let mut page = SavedPage {
            selected: Some("node2".into()),
            ..SavedPage::default()
        };
        page.screens.insert("node1".into(), "한글\x1b[0m".into());
        assert_eq!(SavedPage::parse(&page.emit()), page);
        assert_eq!(SavedPage::parse("{}"), SavedPage::default());
        assert_eq!(SavedPage::parse("not JSON"), SavedPage::default());
    }

    #[test]
    fn commands_are_what_follows_the_prompt() {
        let mut page = SavedPage::default();
        let screen = "\x1b[31m[node1]\x1b[0m (local) root@192.168.0.13 ~\r\n\
             \x1b[1m$\x1b[0m docker run -d \x1b[32mnginx\x1b[0m\r\nabc\r\n$ \r\n$ ls";
        page.screens.insert("node1".into(), screen.into());
        page.screens.insert("node2".into(), "$ ".into());
        let expected = vec!["docker run -d nginx".to_owned(), "ls".to_owned()];
        assert_eq!(page.commands(), [("node1".to_owned(), expected)]);
    }
}
