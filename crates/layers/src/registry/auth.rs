//! Who we are for a registry: credentials, and the challenges that ask for them.

use serde::Deserialize;

/// What a client says about itself (`X-Registry-Auth`).
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "lowercase")]
pub struct Credentials {
    /// User.
    pub username: String,
    /// Password.
    pub password: String,
    /// `user:password` in base64, as older clients have it.
    pub auth: String,
    /// The registry it is for.
    pub serveraddress: String,
    /// A refresh token in place of a password.
    pub identitytoken: String,
    /// A bearer token to be used as it is.
    pub registrytoken: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A password has no business in a log.
        write!(f, "Credentials({:?})", self.username)
    }
}

impl Credentials {
    /// User and password, if there are any.
    #[must_use]
    pub fn basic(&self) -> Option<(String, String)> {
        if !self.username.is_empty() {
            return Some((self.username.clone(), self.password.clone()));
        }
        let decoded = String::from_utf8(decode(&self.auth)?).ok()?;
        let (user, password) = decoded.trim_end_matches('\0').split_once(':')?;
        (!user.is_empty()).then(|| (user.to_string(), password.to_string()))
    }

    /// The value of `Authorization` for basic authentication.
    #[must_use]
    pub fn basic_header(&self) -> Option<String> {
        let (user, password) = self.basic()?;
        Some(format!(
            "Basic {}",
            encode(format!("{user}:{password}").as_bytes())
        ))
    }
}

/// How a registry wants to be told who we are (`WWW-Authenticate`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token that another server gives.
    Bearer {
        /// The URL of that server.
        realm: String,
        /// What the token is for.
        service: String,
    },
}

impl Challenge {
    /// Reads one value of the header; `None` for a scheme that is not known.
    #[must_use]
    pub fn parse(value: &str) -> Option<Challenge> {
        let (scheme, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => Some(Challenge::Basic),
            "bearer" => {
                let (mut realm, mut service) = (String::new(), String::new());
                for (name, value) in parameters(rest) {
                    match name.as_str() {
                        "realm" => realm = value,
                        "service" => service = value,
                        _ => {}
                    }
                }
                Some(Challenge::Bearer { realm, service })
            }
            _ => None,
        }
    }
}

/// Why a bearer token was not taken (RFC 6750, 3.1): the code and message of the error it is.
pub(super) fn refusal(value: &str) -> Option<(String, String)> {
    let (scheme, rest) = value.trim().split_once(' ')?;
    let parameters = parameters(rest);
    let get = |wanted: &str| {
        let found = parameters.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str())
    };
    let (code, message) = match get("error").filter(|_| scheme.eq_ignore_ascii_case("bearer"))? {
        "invalid_token" => ("UNAUTHORIZED", "authentication required"),
        "insufficient_scope" => ("DENIED", "requested access to the resource is denied"),
        _ => return None,
    };
    let described = get("error_description").filter(|text| !text.is_empty());
    Some((code.to_string(), described.unwrap_or(message).to_string()))
}

/// `name="value",name=value` (RFC 9110, 11.2).
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']).to_ascii_lowercase();
        let mut value = String::new();
        rest = match after.strip_prefix('"') {
            None => {
                let end = after.find(',').unwrap_or(after.len());
                value.push_str(after[..end].trim());
                &after[end..]
            }
            Some(quoted) => {
                let mut chars = quoted.char_indices();
                let mut end = quoted.len();
                while let Some((at, c)) = chars.next() {
                    match c {
                        '"' => {
                            end = at + 1;
                            break;
                        }
                        '\\' => value.extend(chars.next().map(|(_, c)| c)),
                        c => value.push(c),
                    }
                }
                &quoted[end..]
            }
        };
        found.push((name, value));
    }
    found
}

/// What a token server answers.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

/// Seconds a token holds if its server says nothing.
const EXPIRES_S: u64 = 60;

impl TokenAnswer {
    /// The token, and the seconds it holds.
    pub(super) fn token(self) -> Option<(String, u64)> {
        let token = [self.token, self.access_token];
        let token = token.into_iter().find(|token| !token.is_empty())?;
        Some((token, self.expires_in.max(EXPIRES_S)))
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding (RFC 4648).
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut group = [0; 3];
        group[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
        for index in 0..4 {
            let sextet = bits >> (18 - 6 * index) & 63;
            text.push(match index > chunk.len() {
                true => '=',
                false => char::from(ALPHABET[sextet as usize]),
            });
        }
    }
    text
}

/// Base64 of either alphabet, with or without padding.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for letter in text.bytes() {
        let letter = match letter {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        };
        let value = ALPHABET.iter().position(|&known| known == letter)?;
        bits = bits << 6 | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    (count < 6).then_some(bytes)
}

/// A value of a query (RFC 3986).
#[must_use]
pub(super) fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        let bearer = |realm: &str, service: &str| {
            Some(Challenge::Bearer {
                realm: realm.to_string(),
                service: service.to_string(),
            })
        };
        let cases = [
            ("Basic realm=\"Registry Realm\"", Some(Challenge::Basic)),
            ("basic", Some(Challenge::Basic)),
            (
                "Bearer realm=\"http://localhost:5001/token\",service=\"my, \\\"own\\\"\",scope=\"repository:a/b:pull,push\"",
                bearer("http://localhost:5001/token", "my, \"own\""),
            ),
            ("Bearer service=s , realm=http://a", bearer("http://a", "s")),
            ("Bearer realm=\"unclosed", bearer("unclosed", "")),
            ("Negotiate", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Challenge::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn base64_both_ways() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(encode(plain.as_bytes()), coded);
            assert_eq!(decode(coded).as_deref(), Some(plain.as_bytes()));
            assert_eq!(
                decode(coded.trim_end_matches('=')).as_deref(),
                Some(plain.as_bytes())
            );
        }
        assert_eq!(decode("-_8="), Some(vec![0xfb, 0xff]));
        assert_eq!(decode("a"), None);
        assert_eq!(decode("a b="), None);
    }

    #[test]
    fn who_one_is() {
        let old = Credentials {
            auth: encode(b"moby:wh:ale"),
            ..Credentials::default()
        };
        assert_eq!(old.basic(), Some(("moby".into(), "wh:ale".into())));
        assert_eq!(Credentials::default().basic(), None);
        assert!(!format!("{old:?}").contains("wh:ale"));
    }
}
