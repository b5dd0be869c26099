//! Times as Go writes them (RFC 3339 with as many digits as needed) and as clients send them.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Go's zero time.
pub const ZERO: &str = "0001-01-01T00:00:00Z";

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// Nanoseconds since 1970 as `2026-11-21T07:00:00.123456789Z`.
#[must_use]
pub fn format(nanos: u64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanos))
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| ZERO.to_string())
}

/// Nanoseconds since 1970 of an RFC 3339 time; `None` for the zero time and what is none.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    u64::try_from(moment.unix_timestamp_nanos()).ok()
}

/// What `since` and `until` may be: seconds with a fraction, an RFC 3339 time, or a Go duration before
/// `now`.
pub fn parse(text: &str, now: u64) -> Result<Option<u64>, String> {
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    if let Ok(seconds) = seconds.parse::<i64>() {
        let digits: String = fraction
            .chars()
            .chain(std::iter::repeat('0'))
            .take(9)
            .collect();
        let nanos: u64 = digits.parse().map_err(|_| invalid(text))?;
        let seconds = u64::try_from(seconds).unwrap_or(0);
        return Ok(Some(
            seconds.saturating_mul(NANOS_PER_SEC).saturating_add(nanos),
        ));
    }
    let shorter = [
        text.to_string(),
        format!("{text}Z"),
        format!("{text}T00:00:00Z"),
    ];
    if let Some(nanos) = shorter.iter().find_map(|text| parse_rfc3339(text)) {
        return Ok(Some(nanos));
    }
    duration(text)
        .map(|ago| Some(now.saturating_sub(ago)))
        .ok_or_else(|| invalid(text))
}

fn invalid(text: &str) -> String {
    format!("failed to parse value as time or duration: \"{text}\"")
}

/// Nanoseconds of a Go duration such as `1h30m` or `1.5s`.
#[must_use]
pub fn duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..number_end].parse().ok()?;
        rest = &rest[number_end..];
        let unit_end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..unit_end] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then_some(total as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(format(1_700_000_000_120_000_000), "2023-11-14T22:13:20.12Z");
        assert_eq!(format(1_700_000_000_000_000_000), "2023-11-14T22:13:20Z");
        let cases = [
            ("", None),
            ("0", None),
            ("1700000000.5", Some(1_700_000_000_500_000_000)),
            ("1700000000", Some(1_700_000_000_000_000_000)),
            ("2023-11-14T22:13:20", Some(1_700_000_000_000_000_000)),
            ("2023-11-14T23:13:20+01:00", Some(1_700_000_000_000_000_000)),
            ("10s", Some(90_000_000_000)),
            ("1m30s", Some(10_000_000_000)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text, 100_000_000_000), Ok(expected), "{text}");
        }
        assert!(parse("yesterday", 0).is_err());
        assert_eq!(parse_rfc3339(ZERO), None);
    }
}
