//! The JSON stream of pull, push and load: one message a line.

use serde::Serialize;

/// How far something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// Bytes done.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: u64,
    /// Bytes in all.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: u64,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

#[derive(Serialize)]
struct ErrorDetail<'a> {
    message: &'a str,
}

/// A message.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a str>,
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    detail: Option<Detail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    error_detail: Option<ErrorDetail<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

const EMPTY: Message<'static> = Message {
    stream: None,
    status: None,
    detail: None,
    progress: None,
    id: None,
    error_detail: None,
    error: None,
};

fn line(message: &Message<'_>) -> String {
    serde_json::to_string(message).unwrap_or_default() + "\r\n"
}

/// A line without progress.
#[must_use]
pub fn status(id: Option<&str>, status: &str) -> String {
    line(&Message {
        status: Some(status),
        id,
        ..EMPTY
    })
}

/// Text that goes to the terminal as it is.
#[must_use]
pub fn stream(text: &str) -> String {
    line(&Message {
        stream: Some(text),
        ..EMPTY
    })
}

/// A line about a layer.
#[must_use]
pub fn layer(id: &str, status: &str, detail: Detail) -> String {
    let progress = (detail.current > 0 || detail.total > 0).then(|| bar(detail));
    line(&Message {
        status: Some(status),
        detail: Some(detail),
        progress,
        id: Some(id),
        ..EMPTY
    })
}

/// What a push made, for programs.
#[must_use]
pub fn pushed(tag: &str, digest: &str, size: u64) -> String {
    let aux = serde_json::json!({ "Tag": tag, "Digest": digest, "Size": size });
    format!("{{\"progressDetail\":{{}},\"aux\":{aux}}}\r\n")
}

/// The last line of a stream that failed.
#[must_use]
pub fn error(message: &str) -> String {
    line(&Message {
        error_detail: Some(ErrorDetail { message }),
        error: Some(message),
        ..EMPTY
    })
}

/// The same for a program that failed: clients end with its exit code.
#[must_use]
pub fn error_with_code(message: &str, code: i32) -> String {
    let line = serde_json::json!({
        "errorDetail": { "code": code, "message": message },
        "error": message,
    });
    line.to_string() + "\r\n"
}

/// The bar as old clients print it: 50 columns.
fn bar(detail: Detail) -> String {
    let current = human_size(detail.current);
    if detail.total == 0 {
        return format!("{current:>8}");
    }
    let percent = (detail.current.saturating_mul(100) / detail.total).min(100) as usize / 2;
    let spaces = " ".repeat(50 - percent.min(50));
    format!(
        "[{}>{spaces}] {current:>8}/{}",
        "=".repeat(percent),
        human_size(detail.total)
    )
}

/// Bytes as Docker writes them: four digits, powers of 1000.
#[must_use]
pub fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    // Go's %.4g.
    let digits = match size {
        size if size >= 1000.0 => 0,
        size if size >= 100.0 => 1,
        size if size >= 10.0 => 2,
        _ => 3,
    };
    let text = format!("{size:.digits$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    };
    text + UNITS[unit]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(
            status(Some("latest"), "Pulling from library/busybox"),
            "{\"status\":\"Pulling from library/busybox\",\"id\":\"latest\"}\r\n"
        );
        assert_eq!(
            layer("abc", "Waiting", Detail::default()),
            "{\"status\":\"Waiting\",\"progressDetail\":{},\"id\":\"abc\"}\r\n"
        );
        let half = layer(
            "abc",
            "Downloading",
            Detail {
                current: 50,
                total: 100,
            },
        );
        assert!(
            half.contains("[=========================>                         ]      50B/100B")
        );
        assert_eq!(
            error("no"),
            "{\"errorDetail\":{\"message\":\"no\"},\"error\":\"no\"}\r\n"
        );
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_234_567, "1.235MB"),
            (77_100_000, "77.1MB"),
        ] {
            assert_eq!(human_size(bytes), text);
        }
    }
}
