//! A cookie jar for one host (RFC 6265 §5): names, paths, and how long they last.
//!
//! Domains, `Secure` and `SameSite` do not matter between a page and the one host it came from.

/// Cookies of a host at most.
const COOKIES_MAX: usize = 50;
/// Bytes of a cookie at most.
const COOKIE_BYTES_MAX: usize = 4096;

#[derive(Clone, Debug)]
struct Cookie {
    name: String,
    value: String,
    path: String,
    /// Seconds since 1970; none: as long as the session.
    expires: Option<u64>,
}

/// See the module's comment.
#[derive(Clone, Default, Debug)]
pub(crate) struct Cookies(Vec<Cookie>);

impl Cookies {
    /// Takes a `Set-Cookie` header of the answer to a request for `path`.
    pub(crate) fn set(&mut self, header: &str, path: &str, now: u64) {
        let mut parts = header.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        if header.len() > COOKIE_BYTES_MAX || name.trim().is_empty() {
            return;
        }
        let mut cookie = Cookie {
            name: name.trim().to_string(),
            value: value.trim().to_string(),
            path: default_path(path).to_string(),
            expires: None,
        };
        let (mut max_age, mut date) = (None, None);
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            match key.trim().to_ascii_lowercase().as_str() {
                "path" if value.starts_with('/') => cookie.path = value.to_string(),
                "max-age" => max_age = value.parse::<i64>().ok(),
                "expires" => date = seconds(value),
                _ => {}
            }
        }
        cookie.expires = match max_age {
            Some(age) => Some(now.saturating_add_signed(age.max(-1))),
            None => date,
        };
        self.0
            .retain(|old| (&old.name, &old.path) != (&cookie.name, &cookie.path));
        if cookie.expires.is_none_or(|at| at > now) {
            self.0.push(cookie);
        }
        if self.0.len() > COOKIES_MAX {
            self.0.remove(0);
        }
    }

    /// The `Cookie` header of a request for `path`: longer paths first.
    pub(crate) fn header(&self, path: &str, now: u64) -> String {
        let mut fitting: Vec<&Cookie> = self
            .0
            .iter()
            .filter(|cookie| covers(&cookie.path, path))
            .filter(|cookie| cookie.expires.is_none_or(|at| at > now))
            .collect();
        order::sort_by_key(&mut fitting, |cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs: Vec<String> = fitting
            .iter()
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect();
        pairs.join("; ")
    }
}

/// Up to the last slash, without it (RFC 6265 §5.1.4).
fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        Some(end) if end > 0 => &path[..end],
        _ => "/",
    }
}

fn covers(cookie: &str, path: &str) -> bool {
    path.strip_prefix(cookie)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || cookie.ends_with('/'))
}

/// An HTTP date (RFC 9110 §5.6.7) in seconds since 1970; before that is 0.
fn seconds(date: &str) -> Option<u64> {
    use time::format_description::well_known::Rfc2822;
    // Servers write `Thu, 01-Jan-1970 00:00:00 GMT` as often as with spaces.
    let date = date.replace('-', " ").replace("GMT", "+0000");
    let at = time::OffsetDateTime::parse(&date, &Rfc2822).ok()?;
    Some(u64::try_from(at.unix_timestamp()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Set-Cookie` headers with the path they came for.
    type Set<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn cookies_are_sent_where_they_belong() {
        let now = 1_800_000_000;
        // What was set, the path asked for, the `Cookie` header.
        let cases: [(Set<'_>, &str, &str); 8] = [
            (&[("a=1", "/")], "/x/y", "a=1"),
            (&[("a=1; Path=/x", "/")], "/xy", ""),
            (&[("a=1; Path=/x; HttpOnly", "/")], "/x/y", "a=1"),
            (&[("a=1", "/shop/cart")], "/shop/pay", "a=1"),
            (
                &[("a=1; Path=/", "/"), ("b=2; Path=/x/", "/")],
                "/x/",
                "b=2; a=1",
            ),
            (&[("a=1", "/"), ("a=2", "/")], "/", "a=2"),
            (&[("a=1", "/"), ("a=; Max-Age=0", "/")], "/", ""),
            (
                &[
                    ("a=1", "/"),
                    ("a=; Expires=Thu, 01-Jan-1970 00:00:00 GMT", "/"),
                ],
                "/",
                "",
            ),
        ];
        for (set, path, expected) in cases {
            let mut jar = Cookies::default();
            for (header, path) in set {
                jar.set(header, path, now);
            }
            assert_eq!(jar.header(path, now), expected, "{set:?}");
        }
        let mut jar = Cookies::default();
        jar.set("a=1; Max-Age=60", "/", now);
        assert_eq!(jar.header("/", now + 59), "a=1");
        assert_eq!(jar.header("/", now + 60), "");
    }
}
