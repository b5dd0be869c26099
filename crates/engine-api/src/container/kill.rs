//! `POST /containers/{id}/kill`, and signals by name.

use crate::error::{ApiError, Result};

/// Names in the order of their numbers on riscv64 (asm-generic), without `SIG`.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// A signal by number or name, with or without `SIG`.
pub fn parse_signal(text: &str) -> Result<u32> {
    let invalid = || ApiError::invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<i64>() {
        return match number {
            0 => Err(invalid()),
            1..=64 => Ok(number as u32),
            _ => Err(ApiError::invalid(format!(
                "the linux daemon does not support signal {number}"
            ))),
        };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(index) = NAMES.iter().position(|&known| known == name) {
        return Ok(index as u32 + 1);
    }
    let real_time = match name {
        "RTMIN" => Some(34),
        "RTMAX" => Some(64),
        "CLD" => Some(17),
        "POLL" => Some(29),
        "IOT" => Some(6),
        _ => name
            .strip_prefix("RTMIN+")
            .and_then(|text| text.parse::<u32>().ok())
            .map(|offset| 34_u32.saturating_add(offset))
            .or_else(|| {
                let offset: u32 = name.strip_prefix("RTMAX-")?.parse().ok()?;
                64_u32.checked_sub(offset)
            }),
    };
    real_time.filter(|number| *number <= 64).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::parse_signal;

    #[test]
    fn signals() {
        let cases = [
            ("9", 9),
            ("KILL", 9),
            ("SIGTERM", 15),
            ("sigint", 2),
            ("RTMIN+3", 37),
            ("SIGRTMAX-1", 63),
        ];
        for (text, number) in cases {
            assert_eq!(parse_signal(text), Ok(number), "{text}");
        }
        for text in ["0", "NOPE", ""] {
            assert_eq!(
                parse_signal(text).unwrap_err().message,
                format!("invalid signal: {text}")
            );
        }
    }
}
