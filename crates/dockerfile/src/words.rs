//! What the rest of a line is cut into: blank-separated words, `name=value` pairs, JSON.

/// Cuts a line at blanks outside quotes. Quotes and escapes stay in the words: they are taken away when
/// variables are replaced.
pub(crate) fn words(line: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    // Something was quoted: the word counts even if it is empty.
    let mut quoted = false;
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(ch) = chars.next() {
        match quote {
            None if ch.is_whitespace() => {
                if quoted || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                quoted = false;
            }
            None if ch == escape => {
                // One at the very end is dropped.
                if let Some(next) = chars.next() {
                    word.extend([ch, next]);
                }
            }
            None => {
                if ch == '\'' || ch == '"' {
                    (quote, quoted) = (Some(ch), true);
                }
                word.push(ch);
            }
            Some(open) if ch == escape && open != '\'' => match chars.next() {
                Some(next) => word.extend([ch, next]),
                None => quote = None,
            },
            Some(open) => {
                if ch == open {
                    quote = None;
                }
                word.push(ch);
            }
        }
    }
    if quoted || !word.is_empty() {
        words.push(word);
    }
    words
}

/// Blank-separated words without any quoting.
pub(crate) fn fields(line: &str) -> Vec<String> {
    line.split(is_blank)
        .filter(|part| !part.is_empty())
        .map(str::to_string)
        .collect()
}

/// The blanks between an instruction and its arguments.
pub(crate) fn is_blank(ch: char) -> bool {
    matches!(ch, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// `name=value` pairs, or the one pair of the old form `name value`.
pub(crate) fn pairs(
    line: &str,
    instruction: &str,
    escape: char,
) -> Result<Vec<(String, String)>, String> {
    let words = words(line, escape);
    match words.first() {
        None => return Ok(Vec::new()),
        Some(first) if !first.contains('=') => {
            let (name, value) = line
                .split_once(is_blank)
                .ok_or_else(|| format!("{instruction} must have two arguments"))?;
            let value = value.trim_start_matches(is_blank);
            return Ok(vec![(name.to_string(), value.to_string())]);
        }
        Some(_) => {}
    }
    words
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) => Ok((name.to_string(), value.to_string())),
            None => Err(format!(
                "Syntax error - can't find = in {word:?}. Must be of the form: name=value"
            )),
        })
        .collect()
}

/// A JSON array of strings at the beginning of a line; `None`: it is none, and the line is a plain text.
pub(crate) fn json(line: &str) -> Result<Option<Vec<String>>, String> {
    let line = line.trim_start();
    if !line.starts_with('[') {
        return Ok(None);
    }
    // Only the first value counts, whatever follows it.
    let mut values =
        serde_json::Deserializer::from_slice(line.as_bytes()).into_iter::<serde_json::Value>();
    let Some(Ok(serde_json::Value::Array(items))) = values.next() else {
        return Ok(None);
    };
    items
        .into_iter()
        .map(|item| match item {
            serde_json::Value::String(text) => Ok(text),
            _ => Err(
                "when using JSON array syntax, arrays must be comprised of strings only"
                    .to_string(),
            ),
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_quotes() {
        for (line, expected) in [
            ("a b  c", vec!["a", "b", "c"]),
            ("a=\"b c\" d='e f'", vec!["a=\"b c\"", "d='e f'"]),
            ("a=b\\ c d", vec!["a=b\\ c", "d"]),
            ("a=\"b\\\" c\"", vec!["a=\"b\\\" c\""]),
            ("'' x", vec!["''", "x"]),
            ("a \\", vec!["a"]),
            ("", vec![]),
        ] {
            assert_eq!(words(line, '\\'), expected, "{line}");
        }
    }

    #[test]
    fn json_or_text() {
        for (line, expected) in [
            ("[\"a\", \"b c\"]", Some(vec!["a", "b c"])),
            ("[\"a\"] trailing", Some(vec!["a"])),
            ("[a]", None),
            ("['a']", None),
            ("x", None),
            ("[]", Some(vec![])),
        ] {
            let expected = expected.map(|list| list.iter().map(ToString::to_string).collect());
            assert_eq!(json(line), Ok(expected), "{line}");
        }
        assert!(json("[1]").is_err());
    }
}
