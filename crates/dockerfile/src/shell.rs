//! Variables and quotes in words, as a shell has them, but without a shell.
//!
//! `'…'` keeps everything, in `"…"` variables are replaced, the escape character keeps the next character.
//! Forms: `$x`, `${x}`, `${x:-word}`, `${x-word}`, `${x:+word}`, `${x+word}`, `${x:?word}`, `${x?word}`,
//! `${x#pattern}`, `${x##pattern}`, `${x%pattern}`, `${x%%pattern}`, `${x/pattern/text}`, `${x//pattern/text}`.

use crate::glob::ShellPattern;

/// How deep `${a:-${b:-…}}` may go.
const DEPTH_MAX: usize = 64;
/// Bytes a word may grow to: variables that hold variables double quickly.
const WORD_MAX: usize = 1 << 20;
/// Characters of a value in which something is replaced.
const REPLACE_MAX: usize = 4096;

/// Looks a variable up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

struct Lexer<'a> {
    chars: Vec<char>,
    at: usize,
    escape: char,
    lookup: Lookup<'a>,
    /// What is not set stays as it is typed.
    keep_unset: bool,
    /// Quotes and escapes stay.
    raw: bool,
    /// Quotes mean nothing.
    no_quotes: bool,
    depth: usize,
}

/// What was read so far: one text, and where a blank outside quotes would cut it.
#[derive(Default)]
struct Words {
    whole: String,
    words: Vec<String>,
    word: String,
    in_word: bool,
}

impl Words {
    fn push(&mut self, text: &str) {
        self.whole.push_str(text);
        self.word.push_str(text);
        self.in_word = true;
    }

    /// A replaced variable: blanks in it cut too.
    fn push_value(&mut self, text: &str) {
        self.whole.push_str(text);
        for ch in text.chars() {
            self.cut_or_push(ch);
        }
    }

    fn push_char(&mut self, ch: char) {
        self.whole.push(ch);
        self.cut_or_push(ch);
    }

    fn cut_or_push(&mut self, ch: char) {
        if ch.is_whitespace() {
            self.cut();
        } else {
            self.word.push(ch);
            self.in_word = true;
        }
    }

    fn cut(&mut self) {
        if self.in_word {
            self.words.push(std::mem::take(&mut self.word));
            self.in_word = false;
        }
    }
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let ch = self.peek()?;
        self.at += 1;
        Some(ch)
    }

    /// Reads up to `stop` (which is taken too) or the end.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<Words, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("syntax error: too deeply nested substitution".to_string());
        }
        let mut words = Words::default();
        loop {
            if words.whole.len() > WORD_MAX {
                return Err("the value is too long".to_string());
            }
            let Some(ch) = self.peek() else {
                if let Some(stop) = stop {
                    return Err(format!(
                        "unexpected end of statement while looking for matching {stop}"
                    ));
                }
                break;
            };
            if Some(ch) == stop {
                self.at += 1;
                break;
            }
            match ch {
                '\'' if !self.no_quotes => {
                    let text = self.single_quoted()?;
                    words.push(&text);
                }
                '"' if !self.no_quotes => {
                    let text = self.double_quoted()?;
                    words.push(&text);
                }
                '$' => {
                    let text = self.dollar()?;
                    words.push_value(&text);
                }
                ch if ch == self.escape => {
                    self.at += 1;
                    if self.raw || raw_escapes {
                        words.push(&ch.to_string());
                    }
                    let Some(next) = self.next() else { break };
                    words.push(&next.to_string());
                }
                ch => {
                    self.at += 1;
                    words.push_char(ch);
                }
            }
        }
        words.cut();
        self.depth -= 1;
        Ok(words)
    }

    fn single_quoted(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut text = String::new();
        if self.raw {
            text.push('\'');
        }
        loop {
            match self.next() {
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching single-quote"
                            .to_string(),
                    );
                }
                Some('\'') => break,
                Some(ch) => text.push(ch),
            }
        }
        if self.raw {
            text.push('\'');
        }
        Ok(text)
    }

    fn double_quoted(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut text = String::new();
        if self.raw {
            text.push('"');
        }
        loop {
            match self.peek() {
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching double-quote"
                            .to_string(),
                    );
                }
                Some('"') => {
                    self.at += 1;
                    break;
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(ch) if ch == self.escape => {
                    self.at += 1;
                    match self.next() {
                        None => {
                            return Err(
                                "unexpected end of statement while looking for matching double-quote"
                                    .to_string(),
                            );
                        }
                        Some(next) => {
                            let known = next == '"' || next == '$' || next == self.escape;
                            if self.raw || !known {
                                text.push(ch);
                            }
                            text.push(next);
                        }
                    }
                }
                Some(ch) => {
                    self.at += 1;
                    text.push(ch);
                }
            }
        }
        if self.raw {
            text.push('"');
        }
        Ok(text)
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        match self.peek() {
            Some(ch) if ch.is_ascii_digit() => {
                while let Some(ch) = self.peek().filter(char::is_ascii_digit) {
                    self.at += 1;
                    name.push(ch);
                }
            }
            Some(ch) if "@*#?-$!".contains(ch) => {
                self.at += 1;
                name.push(ch);
            }
            _ => {
                let part = |ch: &char| ch.is_ascii_alphanumeric() || *ch == '_';
                while let Some(ch) = self.peek().filter(part) {
                    self.at += 1;
                    name.push(ch);
                }
            }
        }
        name
    }

    fn dollar(&mut self) -> Result<String, String> {
        self.at += 1;
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_string());
            }
            return Ok(match (self.lookup)(&name) {
                Some(value) => value,
                None if self.keep_unset => format!("${name}"),
                None => String::new(),
            });
        }
        self.at += 1;
        match self.peek() {
            None => return Err("syntax error: missing '}'".to_string()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_string()),
            Some(_) => {}
        }
        let name = self.name();
        let value = (self.lookup)(&name);
        let unset = self.keep_unset && value.is_none();
        let missing = || "syntax error: missing '}'".to_string();
        let modifier = self.next().ok_or_else(missing)?;
        match modifier {
            '}' if unset => Ok(format!("${{{name}}}")),
            '}' => Ok(value.unwrap_or_default()),
            '/' => self.replace(&name, value, unset),
            ':' => {
                let after = self.next().ok_or_else(missing)?;
                match after {
                    '+' | '-' | '?' => self.modify(&name, value, after, true, unset),
                    _ => Err(format!("unsupported modifier (:{after}) in substitution")),
                }
            }
            '+' | '-' | '?' | '#' | '%' => self.modify(&name, value, modifier, false, unset),
            _ => Err(format!("unsupported modifier ({modifier}) in substitution")),
        }
    }

    fn rest(&mut self, stop: char, raw_escapes: bool, missing: &str) -> Result<String, String> {
        match self.until(Some(stop), raw_escapes) {
            Ok(words) => Ok(words.whole),
            Err(_) if self.peek().is_none() => Err(missing.to_string()),
            Err(error) => Err(error),
        }
    }

    fn modify(
        &mut self,
        name: &str,
        value: Option<String>,
        modifier: char,
        null_is_unset: bool,
        unset: bool,
    ) -> Result<String, String> {
        let pattern = matches!(modifier, '#' | '%');
        let word = self.rest('}', pattern, "syntax error: missing '}'")?;
        if unset {
            let colon = if null_is_unset { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        }
        let missing = match &value {
            None => true,
            Some(value) => null_is_unset && value.is_empty(),
        };
        Ok(match modifier {
            '-' if missing => word,
            '+' if missing => String::new(),
            '+' => word,
            '?' if missing => {
                let why = match (word.is_empty(), value.is_none()) {
                    (false, _) => word.as_str(),
                    (true, true) => "is not allowed to be unset",
                    (true, false) => "is not allowed to be empty",
                };
                return Err(format!("{name}: {why}"));
            }
            '#' | '%' => {
                let (greedy, pattern) = match word.strip_prefix(modifier) {
                    Some(rest) => (true, rest),
                    None => (false, word.as_str()),
                };
                trim(&value.unwrap_or_default(), pattern, modifier == '#', greedy)
            }
            _ => value.unwrap_or_default(),
        })
    }

    fn replace(
        &mut self,
        name: &str,
        value: Option<String>,
        unset: bool,
    ) -> Result<String, String> {
        let all = self.peek() == Some('/');
        if all {
            self.at += 1;
        }
        let pattern = self.rest('/', true, "syntax error: missing '/' in ${")?;
        let text = self.rest('}', true, "syntax error: missing '}'")?;
        if unset {
            let slash = if all { "//" } else { "/" };
            return Ok(format!("${{{name}{slash}{pattern}/{text}}}"));
        }
        substitute(&value.unwrap_or_default(), &pattern, &text, all)
    }
}

/// `${x#pattern}` and its kin.
fn trim(value: &str, pattern: &str, prefix: bool, greedy: bool) -> String {
    let Some(pattern) = ShellPattern::parse(pattern) else {
        return value.to_string();
    };
    let ways = match prefix {
        true => pattern.prefixes(value.chars()),
        false => pattern.suffixes(value.chars()),
    };
    let way = if greedy { ways.last() } else { ways.first() };
    let Some(&count) = way else {
        return value.to_string();
    };
    let all = value.chars().count();
    match prefix {
        true => value.chars().skip(count).collect(),
        false => value.chars().take(all - count).collect(),
    }
}

/// `${x/pattern/text}`: the longest match at the first place there is one.
fn substitute(value: &str, pattern: &str, text: &str, all: bool) -> Result<String, String> {
    let Some(pattern) = ShellPattern::parse(pattern) else {
        return Ok(value.to_string());
    };
    let chars: Vec<char> = value.chars().collect();
    if chars.len() > REPLACE_MAX {
        return Err("the value is too long for a substitution".to_string());
    }
    let mut out = String::new();
    let mut at = 0;
    while at < chars.len() {
        let ways = pattern.prefixes(chars[at..].iter().copied());
        match ways.last().filter(|&&count| count > 0) {
            Some(count) => {
                out.push_str(text);
                at += count;
                if !all {
                    break;
                }
            }
            None => {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    out.extend(&chars[at..]);
    Ok(out)
}

fn process(
    text: &str,
    escape: char,
    lookup: Lookup<'_>,
    keep_unset: bool,
    raw: bool,
) -> Result<Words, String> {
    let mut lexer = Lexer {
        chars: text.chars().collect(),
        at: 0,
        escape,
        lookup,
        keep_unset,
        raw,
        no_quotes: false,
        depth: 0,
    };
    lexer.until(None, false)
}

/// Replaces variables in a text in which quotes mean nothing: a heredoc.
pub fn expand_text(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, String> {
    let mut lexer = Lexer {
        chars: text.chars().collect(),
        at: 0,
        escape,
        lookup,
        keep_unset: false,
        raw: false,
        no_quotes: true,
        depth: 0,
    };
    lexer.until(None, false).map(|words| words.whole)
}

fn told(text: &str, error: String) -> String {
    format!("failed to process {text:?}: {error}")
}

/// Replaces variables and takes quotes away; blanks stay.
pub fn expand(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, String> {
    process(text, escape, lookup, false, false)
        .map(|words| words.whole)
        .map_err(|error| told(text, error))
}

/// The same, cut into words at blanks.
pub fn expand_words(text: &str, escape: char, lookup: Lookup<'_>) -> Result<Vec<String>, String> {
    process(text, escape, lookup, false, false)
        .map(|words| words.words)
        .map_err(|error| told(text, error))
}

/// Replaces what is set and leaves the rest, quotes too, as it is: for showing an instruction.
#[must_use]
pub fn show(text: &str, escape: char, lookup: Lookup<'_>) -> String {
    match process(text, escape, lookup, true, true) {
        Ok(words) => words.whole,
        Err(_) => text.to_string(),
    }
}

/// Takes quotes away, nothing else.
pub(crate) fn unquote(text: &str) -> Result<String, String> {
    process(text, '\\', &|_| None, true, false).map(|words| words.whole)
}

/// Words with their quotes.
pub(crate) fn raw_words(text: &str) -> Vec<String> {
    process(text, '\\', &|_| None, true, true).map_or(Vec::new(), |words| words.words)
}
