//! Captures as files that Wireshark and tcpdump open (the classic pcap format, nanosecond flavour).

use crate::link::Captured;

/// Frames longer than this are cut in the file.
const SNAP_BYTES: u32 = 262_144;

/// The beginning of a file: Ethernet frames, times in nanoseconds.
#[must_use]
pub fn header() -> Vec<u8> {
    let mut file = Vec::with_capacity(24);
    file.extend_from_slice(&0xa1b2_3c4d_u32.to_le_bytes());
    file.extend_from_slice(&2u16.to_le_bytes());
    file.extend_from_slice(&4u16.to_le_bytes());
    file.extend_from_slice(&[0; 8]);
    file.extend_from_slice(&SNAP_BYTES.to_le_bytes());
    file.extend_from_slice(&1u32.to_le_bytes());
    file
}

/// Adds a frame; `epoch_ns` is when instant 0 was, in nanoseconds since 1970.
pub fn append(file: &mut Vec<u8>, captured: &Captured, epoch_ns: u64) {
    let at = captured.at.0.saturating_add(epoch_ns);
    let len = captured.bytes.len() as u32;
    let kept = len.min(SNAP_BYTES);
    let words = [
        (at / clock::NANOS_PER_SEC) as u32,
        (at % clock::NANOS_PER_SEC) as u32,
        kept,
        len,
    ];
    for word in words {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(&captured.bytes[..kept as usize]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::Instant;

    #[test]
    fn a_file_is_a_header_and_records() {
        let mut file = header();
        let captured = Captured {
            at: Instant(1_500_000_001),
            sent: true,
            bytes: vec![7; 60],
        };
        append(&mut file, &captured, 2_000_000_000);
        assert_eq!(file.len(), 24 + 16 + 60);
        assert_eq!(file[24..32], [3, 0, 0, 0, 1, 0x65, 0xcd, 0x1d]);
    }
}
