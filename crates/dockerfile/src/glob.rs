//! Patterns of file names.

/// One step of a pattern.
#[derive(Clone)]
enum Token {
    Char(char),
    /// `?`
    One,
    /// `*`
    Many,
    /// `**/`: whole directories, or none. This one is where they are entered or passed over,
    Directories,
    /// and this one goes through them.
    Inside,
    /// `**` at another place: everything.
    All,
    /// `[…]`
    Class(bool, Vec<(char, char)>),
}

/// Not closed, or something else that is no pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadPattern;

fn class(chars: &[char], at: &mut usize) -> Result<Token, BadPattern> {
    let mut ranges = Vec::new();
    let negated = matches!(chars.get(*at), Some('^'));
    *at += usize::from(negated);
    let one = |at: &mut usize| -> Result<char, BadPattern> {
        let mut ch = *chars.get(*at).ok_or(BadPattern)?;
        if ch == '\\' {
            *at += 1;
            ch = *chars.get(*at).ok_or(BadPattern)?;
        }
        *at += 1;
        Ok(ch)
    };
    loop {
        match chars.get(*at) {
            None => return Err(BadPattern),
            Some(']') if !ranges.is_empty() => {
                *at += 1;
                return Ok(Token::Class(negated, ranges));
            }
            Some('-' | ']') => return Err(BadPattern),
            Some(_) => {}
        }
        let low = one(at)?;
        let mut high = low;
        if chars.get(*at) == Some(&'-') {
            *at += 1;
            high = one(at)?;
        }
        ranges.push((low, high));
    }
}

fn tokens(pattern: &str, double_star: bool) -> Result<Vec<Token>, BadPattern> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&ch) = chars.get(at) {
        at += 1;
        let token = match ch {
            '*' if double_star && chars.get(at) == Some(&'*') => {
                at += 1;
                if chars.get(at) == Some(&'/') {
                    at += 1;
                    tokens.push(Token::Directories);
                    Token::Inside
                } else {
                    Token::All
                }
            }
            '*' => Token::Many,
            '?' => Token::One,
            '[' => class(&chars, &mut at)?,
            '\\' => {
                let next = *chars.get(at).ok_or(BadPattern)?;
                at += 1;
                Token::Char(next)
            }
            ch => Token::Char(ch),
        };
        tokens.push(token);
    }
    Ok(tokens)
}

/// Whether the whole of `name` fits: all positions of the pattern that are possible after each character,
/// so that no pattern takes longer than its length times the name's. `/` is an ordinary character when
/// `slashes`.
fn fits(tokens: &[Token], name: &str, slashes: bool) -> bool {
    let mut possible = vec![false; tokens.len() + 1];
    possible[0] = true;
    spread(tokens, &mut possible);
    for ch in name.chars() {
        possible = step(tokens, &possible, ch, slashes);
    }
    possible[tokens.len()]
}

fn step(tokens: &[Token], possible: &[bool], ch: char, slashes: bool) -> Vec<bool> {
    let mut next = vec![false; tokens.len() + 1];
    let plain = slashes || ch != '/';
    for (index, token) in tokens
        .iter()
        .enumerate()
        .filter(|(index, _)| possible[*index])
    {
        match token {
            Token::Char(wanted) => next[index + 1] |= *wanted == ch,
            Token::One => next[index + 1] |= plain,
            Token::Many => next[index] |= plain,
            Token::All => next[index] = true,
            Token::Directories => {}
            Token::Inside => {
                next[index] = true;
                next[index + 1] |= ch == '/';
            }
            Token::Class(negated, ranges) => {
                let inside = ranges.iter().any(|&(low, high)| (low..=high).contains(&ch));
                next[index + 1] |= plain && inside != *negated;
            }
        }
    }
    spread(tokens, &mut next);
    next
}

/// What may stand for nothing may be passed over.
fn spread(tokens: &[Token], possible: &mut [bool]) {
    for (index, token) in tokens.iter().enumerate() {
        match token {
            Token::Many | Token::All => possible[index + 1] |= possible[index],
            Token::Directories => {
                possible[index + 1] |= possible[index];
                possible[index + 2] |= possible[index];
            }
            _ => {}
        }
    }
}

/// `path.Match`: `*` and `?` stop at `/`.
pub fn matches(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    Ok(fits(&tokens(pattern, false)?, name, false))
}

/// Whether a word has anything of a pattern in it.
#[must_use]
pub fn is_pattern(word: &str) -> bool {
    let mut chars = word.chars();
    while let Some(ch) = chars.next() {
        match ch {
            '\\' => {
                chars.next();
            }
            '*' | '?' | '[' => return true,
            _ => {}
        }
    }
    false
}

/// A shell's pattern: `/` is a character like any other.
pub(crate) struct ShellPattern(Vec<Token>);

impl ShellPattern {
    /// A bad pattern fits nothing.
    pub(crate) fn parse(text: &str) -> Option<ShellPattern> {
        tokens(text, false).ok().map(ShellPattern)
    }

    /// How many characters from the beginning fit: all the ways, fewest first.
    pub(crate) fn prefixes(&self, text: impl Iterator<Item = char>) -> Vec<usize> {
        prefixes(&self.0, text)
    }

    /// The same from the end.
    pub(crate) fn suffixes(&self, text: impl DoubleEndedIterator<Item = char>) -> Vec<usize> {
        let mut turned = Vec::new();
        for token in self.0.iter().rev() {
            turned.push(token.clone());
        }
        prefixes(&turned, text.rev())
    }
}

fn prefixes(tokens: &[Token], text: impl Iterator<Item = char>) -> Vec<usize> {
    let mut possible = vec![false; tokens.len() + 1];
    possible[0] = true;
    spread(tokens, &mut possible);
    let mut found = Vec::new();
    if possible[tokens.len()] {
        found.push(0);
    }
    for (index, ch) in text.enumerate() {
        possible = step(tokens, &possible, ch, true);
        if possible[tokens.len()] {
            found.push(index + 1);
        }
        if !possible.contains(&true) {
            break;
        }
    }
    found
}

/// A pattern of `.dockerignore`: `**` stands for any number of directories.
pub struct Pattern(Vec<Token>);

impl Pattern {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Pattern, BadPattern> {
        tokens(text, true).map(Pattern)
    }

    /// Whether the whole path fits.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        fits(&self.0, path, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (pattern, name, expected) in [
            ("*.txt", "a.txt", Ok(true)),
            ("*.txt", "d/a.txt", Ok(false)),
            ("a?c", "abc", Ok(true)),
            ("a?c", "a/c", Ok(false)),
            ("[a-c]x", "bx", Ok(true)),
            ("[^a-c]x", "bx", Ok(false)),
            ("[", "a", Err(BadPattern)),
            ("a\\*", "a*", Ok(true)),
            ("a\\", "a", Err(BadPattern)),
            ("*", "", Ok(true)),
            ("d/*/x", "d/e/x", Ok(true)),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn long_patterns_are_no_trap() {
        let pattern = "*a".repeat(200);
        let name = "a".repeat(5_000) + "b";
        assert_eq!(matches(&pattern, &name), Ok(false));
    }
}
