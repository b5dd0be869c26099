//! Whether bytes are JSON, and if not why not, in the words of Go's decoder: clients show them.

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum SyntaxError {
    /// There is nothing.
    Empty,
    /// The text is wrong.
    Invalid(String),
}

/// Nesting that is followed (the parser behind this one stops here too).
const DEPTH_MAX: usize = 127;

/// What may come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The first value of `bytes`: where it ends.
pub(super) fn value_end(bytes: &[u8]) -> Result<usize, SyntaxError> {
    let mut scanner = Scanner { bytes, at: 0 };
    scanner.skip_space();
    if scanner.peek().is_none() {
        return Err(SyntaxError::Empty);
    }
    scanner.value().map_err(SyntaxError::Invalid)?;
    Ok(scanner.at)
}

fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_string(),
        b'"' => "'\"'".to_string(),
        b'\n' => r"'\n'".to_string(),
        b'\r' => r"'\r'".to_string(),
        b'\t' => r"'\t'".to_string(),
        b'\\' => r"'\\'".to_string(),
        ..0x20 | 0x7f..0xa0 => format!("'\\x{byte:02x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// The byte that is here and may not be.
    fn unexpected<T>(&self, context: &str) -> Result<T, String> {
        Err(match self.peek() {
            Some(byte) => format!("invalid character {} {context}", quoted(byte)),
            None => "unexpected EOF".to_string(),
        })
    }

    fn value(&mut self) -> Result<(), String> {
        // One entry for every object (true) or array that is open.
        let mut open: Vec<bool> = Vec::new();
        let mut next = Next::Value;
        loop {
            self.skip_space();
            next = match (next, self.peek()) {
                (Next::Value | Next::ValueOrEnd, Some(byte @ (b'{' | b'['))) => {
                    self.at += 1;
                    open.push(byte == b'{');
                    if open.len() > DEPTH_MAX {
                        return Err("exceeded max depth".to_string());
                    }
                    match byte {
                        b'{' => Next::KeyOrEnd,
                        _ => Next::ValueOrEnd,
                    }
                }
                (Next::ValueOrEnd, Some(b']')) | (Next::KeyOrEnd, Some(b'}')) => {
                    self.at += 1;
                    open.pop();
                    Next::CommaOrEnd
                }
                (Next::Value | Next::ValueOrEnd, _) => {
                    self.scalar()?;
                    Next::CommaOrEnd
                }
                (Next::Key | Next::KeyOrEnd, Some(b'"')) => {
                    self.string()?;
                    Next::Colon
                }
                (Next::Key | Next::KeyOrEnd, _) => {
                    return self.unexpected("looking for beginning of object key string");
                }
                (Next::Colon, Some(b':')) => {
                    self.at += 1;
                    Next::Value
                }
                (Next::Colon, _) => return self.unexpected("after object key"),
                (Next::CommaOrEnd, byte) => {
                    let object = open.last() == Some(&true);
                    match byte {
                        Some(b',') => {
                            self.at += 1;
                            if object { Next::Key } else { Next::Value }
                        }
                        Some(byte) if byte == if object { b'}' } else { b']' } => {
                            self.at += 1;
                            open.pop();
                            Next::CommaOrEnd
                        }
                        _ if object => return self.unexpected("after object key:value pair"),
                        _ => return self.unexpected("after array element"),
                    }
                }
            };
            if next == Next::CommaOrEnd && open.is_empty() {
                return Ok(());
            }
        }
    }

    fn scalar(&mut self) -> Result<(), String> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.unexpected("looking for beginning of value"),
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), String> {
        for wanted in word.bytes() {
            if self.peek() != Some(wanted) {
                return self
                    .unexpected(&format!("in literal {word} (expecting {})", quoted(wanted)));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn digits(&mut self, context: &str) -> Result<(), String> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.unexpected(context);
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), String> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits("in numeric literal")?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits("after decimal point in numeric literal")?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), String> {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape()?;
                }
                Some(0x20..) => self.at += 1,
                _ => return self.unexpected("in string literal"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        match self.peek() {
            Some(b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"') => self.at += 1,
            Some(b'u') => {
                self.at += 1;
                for _ in 0..4 {
                    if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                        return self.unexpected("in \\u hexadecimal character escape");
                    }
                    self.at += 1;
                }
            }
            _ => return self.unexpected("in string escape code"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_says() {
        for (text, message) in [
            ("{", "unexpected EOF"),
            (
                "hello",
                "invalid character 'h' looking for beginning of value",
            ),
            (
                "{a}",
                "invalid character 'a' looking for beginning of object key string",
            ),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            (
                "{\"a\":1 2}",
                "invalid character '2' after object key:value pair",
            ),
            ("[1 2]", "invalid character '2' after array element"),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            (
                "trux",
                "invalid character 'x' in literal true (expecting 'e')",
            ),
            ("\"\n\"", "invalid character '\\n' in string literal"),
            ("\"\\q\"", "invalid character 'q' in string escape code"),
            ("-x", "invalid character 'x' in numeric literal"),
        ] {
            assert_eq!(
                value_end(text.as_bytes()),
                Err(SyntaxError::Invalid(message.to_string())),
                "{text}"
            );
        }
        assert_eq!(value_end(b" \n"), Err(SyntaxError::Empty));
        assert_eq!(value_end(b" {\"a\":[1,-2.5e3,null]} x"), Ok(22));
        let deep = "[".repeat(200);
        assert_eq!(
            value_end(deep.as_bytes()),
            Err(SyntaxError::Invalid("exceeded max depth".to_string()))
        );
    }
}
