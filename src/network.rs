//! What the page and the worker tell each other of the network: cables, interfaces, packets.
//!
//! The same things as crate `playground` has them, in units that people type and read. Nothing here knows a
//! browser.

use serde::{Deserialize, Serialize};

/// Parts a LAN can be divided into: one for each machine there may be.
pub const PARTS: u32 = 5;

/// What is done to an instance's cable. The numbers are whole ones, in the smallest unit of each: programs that
/// read and write floating point are large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cable {
    /// It is plugged in.
    pub plugged: bool,
    /// Instances of different parts do not hear each other.
    pub part: u32,
    /// Microseconds that a frame takes, each way.
    pub delay_us: u32,
    /// At most this much more, at random.
    pub jitter_us: u32,
    /// Frames of a million that are lost, each way.
    pub loss_ppm: u32,
    /// Bits per second; 0 is no limit.
    pub rate_bps: u32,
}

impl Default for Cable {
    fn default() -> Cable {
        Cable {
            plugged: true,
            part: 0,
            delay_us: 0,
            jitter_us: 0,
            loss_ppm: 0,
            rate_bps: 0,
        }
    }
}

/// A number of a cable that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knob {
    /// `delay_us`.
    Delay,
    /// `jitter_us`.
    Jitter,
    /// `loss_ppm`.
    Loss,
    /// `rate_bps`.
    Rate,
}

impl Knob {
    /// All, in the order they are shown.
    pub const ALL: [Knob; 4] = [Knob::Delay, Knob::Jitter, Knob::Loss, Knob::Rate];

    /// What people count it in, and how many of the cable's units that is.
    pub fn unit(self) -> (&'static str, u32) {
        match self {
            Knob::Delay | Knob::Jitter => ("ms", 1000),
            Knob::Loss => ("%", 10_000),
            Knob::Rate => ("kbit/s", 1000),
        }
    }

    /// The largest value, in that unit.
    pub fn max(self) -> u32 {
        match self {
            Knob::Delay | Knob::Jitter => 10_000,
            Knob::Loss => 100,
            Knob::Rate => 1_000_000,
        }
    }
}

impl Cable {
    /// The value of a knob as it is shown.
    pub fn get(&self, knob: Knob) -> String {
        let value = match knob {
            Knob::Delay => self.delay_us,
            Knob::Jitter => self.jitter_us,
            Knob::Loss => self.loss_ppm,
            Knob::Rate => self.rate_bps,
        };
        let (_, scale) = knob.unit();
        if value % scale == 0 {
            return (value / scale).to_string();
        }
        let digits = format!("{:04}", value % scale * (10_000 / scale));
        format!("{}.{}", value / scale, digits.trim_end_matches('0'))
    }

    /// With a knob set as somebody typed it; nothing typed is 0, and what is no number changes nothing.
    pub fn with(mut self, knob: Knob, typed: &str) -> Cable {
        let Some(value) = parse_decimal(typed.trim(), knob) else {
            return self;
        };
        match knob {
            Knob::Delay => self.delay_us = value,
            Knob::Jitter => self.jitter_us = value,
            Knob::Loss => self.loss_ppm = value,
            Knob::Rate => self.rate_bps = value,
        }
        self
    }

    /// The name of its part: `A`, `B`, …
    pub fn part_name(part: u32) -> char {
        char::from(b'A' + (part % 26) as u8)
    }
}

/// A decimal number in a knob's unit, no larger than its largest value.
fn parse_decimal(typed: &str, knob: Knob) -> Option<u32> {
    let (whole, fraction) = typed.split_once('.').unwrap_or((typed, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let (_, scale) = knob.unit();
    // More digits than fit are more than the largest value.
    let whole: u64 = format!("0{whole}").parse().unwrap_or(u64::from(u32::MAX));
    let fraction = &format!("{fraction}0000")[..4];
    let parts = fraction.parse::<u64>().ok()? * u64::from(scale) / 10_000;
    let most = u64::from(knob.max()) * u64::from(scale);
    u32::try_from((whole * u64::from(scale) + parts).min(most)).ok()
}

/// An interface of an instance, or of a container in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Names it in messages.
    pub link: u32,
    /// Its name.
    pub name: String,
    /// The container it is in; none for the instance's own.
    pub container: Option<String>,
    /// Its hardware address.
    pub mac: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// It is up, and there is a carrier.
    pub running: bool,
    /// Frames received and sent.
    pub packets: [u64; 2],
    /// Bytes received and sent.
    pub bytes: [u64; 2],
}

/// A captured frame in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packet {
    /// Counted from 1.
    pub number: u64,
    /// Microseconds since the capture began.
    pub after_us: u64,
    /// The interface sent it; it received it otherwise.
    pub sent: bool,
    /// Bytes.
    pub length: u32,
    /// Who sent it.
    pub source: String,
    /// Whom it is for.
    pub destination: String,
    /// What it speaks.
    pub protocol: String,
    /// What it says.
    pub info: String,
}

impl Packet {
    /// The time as it is shown: seconds, to the microsecond.
    pub fn seconds(&self) -> String {
        let (seconds, micros) = (self.after_us / 1_000_000, self.after_us % 1_000_000);
        format!("{seconds}.{micros:06}")
    }

    /// Some part of it has this text, in whatever case. Nothing is in everything.
    pub fn has(&self, text: &str) -> bool {
        let text = text.trim().to_ascii_lowercase();
        let has = |part: &String| part.to_ascii_lowercase().contains(&text);
        let parts = [&self.source, &self.destination, &self.protocol, &self.info];
        text.is_empty() || parts.into_iter().any(has)
    }
}

/// What there is of a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Captured {
    /// It goes on.
    pub running: bool,
    /// Frames that can be saved.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames that had to make room.
    pub dropped: u64,
}

/// What is to be done with a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CaptureStep {
    /// Begin, anew if there was one.
    Start,
    /// End; what was captured stays.
    Stop,
    /// Answered by `CaptureFile`.
    Save,
    /// Nobody looks any more.
    Discard,
}

/// The part of `IP:PORT/PATH` that an address line holds: instance, port and path. Instances are known by
/// address and by name; the port is 80 unless it is said, and what begins with `/` stays `at` a host.
pub fn parse_address(
    typed: &str,
    at: &str,
    ip_of: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let typed = typed.trim();
    let typed = typed.strip_prefix("http://").unwrap_or(typed);
    if typed.starts_with('/') {
        let host = at.split('/').next()?;
        return Some(format!("{host}{typed}"));
    }
    let (host, path) = match typed.find(['/', '?', '#']) {
        Some(end) => typed.split_at(end),
        None => (typed, "/"),
    };
    let (name, port) = host.split_once(':').unwrap_or((host, "80"));
    let port: u16 = port.parse().ok().filter(|&port| port > 0)?;
    let ip = ip_of(name)?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    Some(format!("{ip}:{port}{slash}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_a_cable() {
        let shown = |knob, typed| Cable::default().with(knob, typed).get(knob);
        for (knob, typed, expected) in [
            (Knob::Loss, " 12.5 ", "12.5"),
            (Knob::Loss, "0.0001", "0.0001"),
            (Knob::Loss, "101", "100"),
            (Knob::Delay, "1.0005", "1"),
            (Knob::Delay, ".25", "0.25"),
            (Knob::Delay, "99999999999999999999999", "10000"),
            (Knob::Rate, "64", "64"),
            (Knob::Rate, "", "0"),
        ] {
            assert_eq!(shown(knob, typed), expected, "{typed}");
        }
        let cable = Cable::default().with(Knob::Loss, "5");
        assert_eq!(cable.loss_ppm, 50_000);
        for nonsense in ["x", "NaN", "1e3", "1,5", "-3"] {
            assert_eq!(cable.with(Knob::Loss, nonsense), cable, "{nonsense}");
        }
        assert_eq!(cable.with(Knob::Loss, ""), Cable::default());
    }

    #[test]
    fn addresses_are_read_as_they_are_typed() {
        let ip_of = |name: &str| match name {
            "node1" | "192.168.0.13" => Some("192.168.0.13".to_owned()),
            _ => None,
        };
        let at = "192.168.0.13:8080/a/b";
        for (typed, expected) in [
            ("/c?d", Some("192.168.0.13:8080/c?d")),
            ("node1", Some("192.168.0.13:80/")),
            ("http://node1:81?q#f", Some("192.168.0.13:81/?q#f")),
            (" 192.168.0.13:8080/x ", Some("192.168.0.13:8080/x")),
            ("example.org/", None),
            ("node1:0/", None),
            ("node1:99999/", None),
            ("", None),
        ] {
            let address = parse_address(typed, at, ip_of);
            assert_eq!(address.as_deref(), expected, "{typed}");
        }
    }

    #[test]
    fn packets_are_found_by_what_they_show() {
        let packet = Packet {
            number: 1,
            after_us: 1_000_042,
            sent: true,
            length: 98,
            source: "192.168.0.13".into(),
            destination: "192.168.0.14".into(),
            protocol: "ICMP".into(),
            info: "echo request".into(),
        };
        assert_eq!(packet.seconds(), "1.000042");
        assert!(packet.has("") && packet.has("icmp") && packet.has(" 0.14 "));
        assert!(!packet.has("tcp"));
    }
}
