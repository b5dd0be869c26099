//! Streams of a container on one connection: raw with a terminal, framed without (8 bytes before each
//! piece: stream number, three zeros, length in big endian).

use crate::version::Version;

/// Which stream a piece belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Channel {
    /// Standard input; only in the protocol, never sent.
    Stdin = 0,
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
}

impl Channel {
    /// The name in log files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Channel::Stdin => "stdin",
            Channel::Stdout => "stdout",
            Channel::Stderr => "stderr",
        }
    }
}

/// A piece with its header.
#[must_use]
pub fn frame(channel: Channel, bytes: &[u8]) -> Vec<u8> {
    let mut framed = Vec::with_capacity(bytes.len() + 8);
    framed.extend_from_slice(&[channel as u8, 0, 0, 0]);
    framed.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    framed.extend_from_slice(bytes);
    framed
}

/// The content type of such a stream.
#[must_use]
pub fn content_type(tty: bool, version: Version) -> &'static str {
    match tty || version < Version(1, 42) {
        true => "application/vnd.docker.raw-stream",
        false => "application/vnd.docker.multiplexed-stream",
    }
}

/// What detaches a client when it is typed: Ctrl-P, Ctrl-Q.
pub const DETACH_KEYS: [u8; 2] = [16, 17];

/// Parses `ctrl-p,ctrl-q` or single characters, separated by commas.
pub fn parse_detach_keys(text: &str) -> Result<Vec<u8>, String> {
    text.split(',')
        .map(|key| {
            let special = key
                .strip_prefix("ctrl-")
                .and_then(|name| match name.as_bytes() {
                    [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
                    b"@" => Some(0),
                    b"[" => Some(27),
                    b"\\" => Some(28),
                    b"]" => Some(29),
                    b"^" => Some(30),
                    b"_" => Some(31),
                    _ => None,
                });
            match (special, key.as_bytes()) {
                (Some(byte), _) => Ok(byte),
                (None, [byte]) => Ok(*byte),
                _ => Err(format!("Unknown character: '{key}'")),
            }
        })
        .collect()
}

/// Finds detach keys in what is typed. Keys that could begin them are held back until it is decided.
#[derive(Debug)]
pub struct DetachScanner {
    keys: Vec<u8>,
    matched: usize,
}

impl DetachScanner {
    /// A scanner for `keys`; without keys nothing detaches.
    #[must_use]
    pub fn new(keys: Vec<u8>) -> DetachScanner {
        DetachScanner { keys, matched: 0 }
    }

    /// What of `typed` goes to the container, and whether the keys are complete.
    pub fn scan(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len());
        for &byte in typed {
            if self.keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (passed, true);
                }
                continue;
            }
            passed.extend_from_slice(&self.keys[..self.matched]);
            self.matched = 0;
            if self.keys.first() == Some(&byte) {
                self.matched = 1;
            } else {
                passed.push(byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        assert_eq!(
            frame(Channel::Stderr, b"hi"),
            [2, 0, 0, 0, 0, 0, 0, 2, b'h', b'i']
        );
        assert_eq!(
            content_type(true, Version(1, 45)),
            "application/vnd.docker.raw-stream"
        );
        assert_eq!(
            content_type(false, Version(1, 41)),
            "application/vnd.docker.raw-stream"
        );
        assert_eq!(
            content_type(false, Version(1, 42)),
            "application/vnd.docker.multiplexed-stream"
        );
    }

    #[test]
    fn detach_keys() {
        assert_eq!(parse_detach_keys("ctrl-p,ctrl-q"), Ok(DETACH_KEYS.to_vec()));
        assert_eq!(parse_detach_keys("ctrl-@,a"), Ok(vec![0, b'a']));
        assert!(parse_detach_keys("ctrl-").is_err());
        let mut scanner = DetachScanner::new(DETACH_KEYS.to_vec());
        assert_eq!(scanner.scan(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(scanner.scan(b"c\x10"), (b"\x10c".to_vec(), false));
        assert_eq!(scanner.scan(b"\x10\x11x"), (b"\x10".to_vec(), true));
        assert_eq!(
            DetachScanner::new(Vec::new()).scan(b"\x10\x11").0,
            b"\x10\x11"
        );
    }
}
