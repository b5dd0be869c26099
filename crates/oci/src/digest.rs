//! Content digests: `sha256:<64 lower-case hex digits>`.
//!
//! Only SHA-256 is computed. A well-formed digest of another registered algorithm parses as an
//! error that names the reason, with the texts of `opencontainers/go-digest`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

/// A SHA-256 content digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a string is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestError {
    /// Not `algorithm:hex`.
    InvalidFormat,
    /// Right algorithm, wrong number of digits.
    InvalidLength,
    /// An algorithm this crate does not compute.
    Unsupported,
}

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DigestError::InvalidFormat => "invalid checksum digest format",
            DigestError::InvalidLength => "invalid checksum digest length",
            DigestError::Unsupported => "unsupported digest algorithm",
        })
    }
}

impl std::error::Error for DigestError {}

/// How much [`Digest::of`] hashes in one call.
const PIECE_BYTES: usize = 8 << 10;

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hasher = Hasher::new();
        // In pieces: a browser's engine exchanges a function for its optimised form only between calls,
        // and the first megabyte is hashed before there is one.
        for piece in bytes.chunks(PIECE_BYTES) {
            hasher.update(piece);
        }
        hasher.finish()
    }

    /// A digest from its raw bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The algorithm's name as written before the colon.
    pub fn algorithm(&self) -> &'static str {
        "sha256"
    }

    /// The 64 hex digits, without the algorithm.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }

    /// The first twelve hex digits: Docker's short form of an id.
    pub fn short(&self) -> String {
        self.hex()[..12].to_string()
    }

    /// Parses 64 lower-case hex digits without an algorithm, the form of a bare image id.
    pub fn from_hex(hex: &str) -> Result<Digest, DigestError> {
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return Err(DigestError::InvalidLength);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (Some(high), Some(low)) = (hex_value(pair[0]), hex_value(pair[1])) else {
                return Err(DigestError::InvalidFormat);
            };
            *byte = high << 4 | low;
        }
        Ok(Digest(bytes))
    }
}

/// Upper-case digits are refused: one content has one name.
fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        let (algorithm, hex) = text.split_once(':').ok_or(DigestError::InvalidFormat)?;
        if !is_algorithm(algorithm) || hex.is_empty() {
            return Err(DigestError::InvalidFormat);
        }
        if !hex
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
        {
            return Err(DigestError::InvalidFormat);
        }
        if algorithm != "sha256" {
            return Err(DigestError::Unsupported);
        }
        Digest::from_hex(hex)
    }
}

/// `component ( separator component )*`, components of `[a-z0-9]+`, separators of `[+._-]`.
fn is_algorithm(text: &str) -> bool {
    text.split(['+', '.', '_', '-']).all(|component| {
        !component.is_empty()
            && component
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse()
            .map_err(|error| serde::de::Error::custom(format!("{error}: {text:?}")))
    }
}

/// Computes a digest over a stream.
#[derive(Clone, Default)]
pub struct Hasher {
    state: Sha256,
    size: u64,
}

impl Hasher {
    /// An empty stream.
    pub fn new() -> Hasher {
        Hasher::default()
    }

    /// Appends `bytes` to the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.size += bytes.len() as u64;
    }

    /// Bytes seen so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest of everything seen.
    pub fn finish(self) -> Digest {
        Digest(self.state.finalize().into())
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Checks a stream against a digest and, where it is known, a size.
#[derive(Clone, Debug)]
pub struct Verifier {
    hasher: Hasher,
    digest: Digest,
    size: Option<u64>,
}

/// What a stream turned out to be instead of what it was promised to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VerifyError {
    /// More or fewer bytes than promised.
    Size {
        /// The promised size.
        expected: u64,
        /// The size seen; for a stream refused early, the size at which it was refused.
        actual: u64,
    },
    /// Right size, other content.
    Digest {
        /// The promised digest.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VerifyError::Size { expected, actual } => {
                write!(
                    f,
                    "unexpected size: expected {expected} bytes, got {actual}"
                )
            }
            VerifyError::Digest { expected, actual } => {
                write!(f, "unexpected digest: expected {expected}, got {actual}")
            }
        }
    }
}

impl std::error::Error for VerifyError {}

impl Verifier {
    /// Expects a stream of this digest; `size` bounds it when known.
    pub fn new(digest: Digest, size: Option<u64>) -> Verifier {
        Verifier {
            hasher: Hasher::new(),
            digest,
            size,
        }
    }

    /// Takes the next bytes. Fails as soon as the stream is longer than promised, so an endless
    /// stream cannot fill the store.
    pub fn update(&mut self, bytes: &[u8]) -> Result<(), VerifyError> {
        self.hasher.update(bytes);
        match self.size {
            Some(expected) if self.hasher.size() > expected => Err(VerifyError::Size {
                expected,
                actual: self.hasher.size(),
            }),
            _ => Ok(()),
        }
    }

    /// Bytes seen so far.
    pub fn seen(&self) -> u64 {
        self.hasher.size()
    }

    /// Judges the whole stream.
    pub fn finish(self) -> Result<Digest, VerifyError> {
        let actual_size = self.hasher.size();
        if let Some(expected) = self.size
            && expected != actual_size
        {
            return Err(VerifyError::Size {
                expected,
                actual: actual_size,
            });
        }
        let actual = self.hasher.finish();
        if actual != self.digest {
            return Err(VerifyError::Digest {
                expected: self.digest,
                actual,
            });
        }
        Ok(actual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn known_answers() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(
            Digest::of(b"abc").hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc");
    }

    #[test]
    fn parse() {
        let hex = &EMPTY[7..];
        let cases: &[(&str, Result<(), DigestError>)] = &[
            (EMPTY, Ok(())),
            ("", Err(DigestError::InvalidFormat)),
            (hex, Err(DigestError::InvalidFormat)),
            ("sha256:", Err(DigestError::InvalidFormat)),
            (":abcd", Err(DigestError::InvalidFormat)),
            ("sha256:abcd", Err(DigestError::InvalidLength)),
            (
                "sha256:../../../etc/passwd",
                Err(DigestError::InvalidFormat),
            ),
            ("sha256:{}", Err(DigestError::InvalidFormat)),
            ("sha512:abcd", Err(DigestError::Unsupported)),
            ("Sha256:abcd", Err(DigestError::InvalidFormat)),
            ("sha256+b64:abcd", Err(DigestError::Unsupported)),
            ("sha256++b64:abcd", Err(DigestError::InvalidFormat)),
        ];
        for (text, expected) in cases {
            let parsed = text.parse::<Digest>();
            assert_eq!(parsed.map(|_| ()), *expected, "{text}");
            if let Ok(digest) = parsed {
                assert_eq!(digest.to_string(), *text);
            }
        }
        let upper = EMPTY.to_uppercase().replace("SHA256", "sha256");
        assert_eq!(upper.parse::<Digest>(), Err(DigestError::InvalidFormat));
    }

    #[test]
    fn verifier() {
        let digest = Digest::of(b"abc");
        let run = |size, parts: &[&[u8]]| {
            let mut verifier = Verifier::new(digest, size);
            parts.iter().try_for_each(|part| verifier.update(part))?;
            verifier.finish()
        };
        assert_eq!(run(Some(3), &[b"a", b"bc"]), Ok(digest));
        assert_eq!(run(None, &[b"abc"]), Ok(digest));
        let short = run(Some(3), &[b"ab"]).unwrap_err();
        assert_eq!(
            short.to_string(),
            "unexpected size: expected 3 bytes, got 2"
        );
        assert!(matches!(
            run(Some(3), &[b"abcd"]),
            Err(VerifyError::Size { actual: 4, .. })
        ));
        assert!(matches!(
            run(Some(3), &[b"abd"]),
            Err(VerifyError::Digest { .. })
        ));
    }
}
