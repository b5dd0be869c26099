//! Numbers as the page shows them: sizes, shares, clocks. The forms are Docker's
//! (`docker stats` sizes, Play with Docker's two decimals).

/// A size in binary units with up to four significant digits, as `docker stats` prints it.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    // 1023.95 would round to "1024": it belongs to the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        v if v < 10.0 => 3,
        v if v < 100.0 => 2,
        _ => 1,
    };
    let mut text = format!("{value:.digits$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    format!("{text}{}", UNITS[unit])
}

/// A download's size in megabytes, as people know it from browsers: `3.2 MB`.
pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// `%.2f%%`.
pub fn percent(value: f64) -> String {
    format!("{value:.2}%")
}

/// Part of a whole in percent; an unknown whole is 0.
pub fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 * 100.0 / whole as f64
    }
}

/// `HH:mm:ss`.
pub fn clock(seconds: u64) -> String {
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_like_docker_stats() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1KiB"),
            (1536, "1.5KiB"),
            (12_939_428, "12.34MiB"),
            (1 << 30, "1GiB"),
            ((1 << 30) - 1, "1GiB"),
            (123 << 20, "123MiB"),
            (u64::MAX, "16777216TiB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn clocks_and_shares() {
        assert_eq!(clock(0), "00:00:00");
        assert_eq!(clock(100 * 3600 + 61), "100:01:01");
        assert_eq!(percent(share(1, 3)), "33.33%");
        assert_eq!(percent(share(1, 0)), "0.00%");
        assert_eq!(megabytes(3_249_000), "3.2 MB");
    }
}
