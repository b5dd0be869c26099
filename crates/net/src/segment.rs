//! Large segments: a frame of TCP may stand for many segments until it leaves the machine.
//!
//! That is what Linux does with `tso` and `gso`, which veth, bridges and loopback have on: TCP makes one
//! packet of up to 64 KiB and says how large its segments are to be ([`Frame::segment`]). Links, bridges and
//! packet filters pass it on whole, and so a capture there shows it whole; the Ethernet port cuts it. Whether
//! it fits a link is asked of its segments.

use crate::packet::{ETHERNET_BYTES, Frame, Ip, fill_header_checksum, proto};

/// Flags that only the last segment has: FIN, PSH.
const LAST: u8 = 0x09;
/// The flag that only the first has: CWR.
const FIRST: u8 = 0x80;

/// Bytes of the TCP header of a packet.
fn tcp_header(packet: &[u8], ip: &Ip) -> Option<usize> {
    let message = ip.payload(packet);
    let len = usize::from(message.get(12)? >> 4) * 4;
    (ip.proto == proto::TCP && len >= 20 && len <= message.len()).then_some(len)
}

impl Frame {
    /// Bytes of the largest packet that leaves the machine for this one.
    #[must_use]
    pub fn largest(&self, ip: &Ip) -> usize {
        match (self.segment, tcp_header(self.packet(), ip)) {
            (1.., Some(header)) => ip.end.min(ip.header + header + usize::from(self.segment)),
            _ => ip.end,
        }
    }

    /// How many segments it stands for.
    #[must_use]
    pub fn segment_count(&self) -> u64 {
        let ip = (self.segment > 0)
            .then(|| Ip::parse(self.packet()))
            .flatten();
        let Some((ip, header)) = ip.and_then(|ip| Some((ip, tcp_header(self.packet(), &ip)?)))
        else {
            return 1;
        };
        let data = (ip.end - ip.header - header) as u64;
        data.div_ceil(u64::from(self.segment)).max(1)
    }

    /// The frames it stands for, complete with checksums.
    #[must_use]
    pub fn into_segments(mut self) -> Vec<Frame> {
        let step = usize::from(std::mem::take(&mut self.segment));
        let parsed = Ip::parse(self.packet());
        let cuts = parsed.and_then(|ip| Some((ip, tcp_header(self.packet(), &ip)?)));
        let Some((ip, header)) = cuts.filter(|(ip, header)| {
            step > 0 && ip.fragment.is_none() && ip.end - ip.header - header > step
        }) else {
            self.complete();
            return vec![self];
        };
        let start = ip.header + header;
        let data = &self.packet()[start..ip.end];
        let count = data.len().div_ceil(step);
        let pieces = data.chunks(step).enumerate();
        pieces
            .map(|(number, chunk)| {
                let mut piece = Frame::for_packet(start + chunk.len());
                piece.mark = self.mark;
                piece.bytes[..ETHERNET_BYTES + start]
                    .copy_from_slice(&self.bytes[..ETHERNET_BYTES + start]);
                let packet = piece.packet_mut();
                packet[start..].copy_from_slice(chunk);
                write_headers(packet, &ip, number, number * step);
                let flags = &mut packet[ip.header + 13];
                if number > 0 {
                    *flags &= !FIRST;
                }
                if number + 1 < count {
                    *flags &= !LAST;
                }
                piece.complete();
                piece
            })
            .collect()
    }
}

/// Length, identification and sequence number of segment `number`, whose data begins at `offset`.
fn write_headers(packet: &mut [u8], ip: &Ip, number: usize, offset: usize) {
    let len = packet.len();
    if ip.is_v6() {
        packet[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
    } else {
        let id = u16::from_be_bytes([packet[4], packet[5]]).wrapping_add(number as u16);
        packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        packet[4..6].copy_from_slice(&id.to_be_bytes());
        fill_header_checksum(packet);
    }
    let at = ip.header + 4;
    let sequence = u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]]);
    let sequence = sequence.wrapping_add(offset as u32);
    packet[at..at + 4].copy_from_slice(&sequence.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{IpSpec, build, checksum, checksum_is_right};

    fn large(v6: bool) -> Frame {
        let spec = IpSpec {
            src: if v6 { "fd00::1" } else { "10.0.0.1" }.parse().unwrap(),
            dst: if v6 { "fd00::2" } else { "10.0.0.2" }.parse().unwrap(),
            proto: proto::TCP,
            ttl: 64,
            tos: 0,
            dont_fragment: true,
            id: 0xffff,
        };
        let mut header = [0; 20];
        header[4..8].copy_from_slice(&0xffff_ff00u32.to_be_bytes());
        (header[12], header[13]) = (5 << 4, 0x99);
        let data: Vec<u8> = (0..3000u32).map(|at| at as u8).collect();
        let mut frame = build(&spec, &[&header, &data]);
        frame.segment = 1400;
        frame
    }

    #[test]
    fn segments_are_what_tcp_would_have_sent_one_by_one() {
        for v6 in [false, true] {
            let frame = large(v6);
            let ip = Ip::parse(frame.packet()).unwrap();
            let whole = ip.payload(frame.packet())[20..].to_vec();
            assert_eq!(frame.largest(&ip), ip.header + 20 + 1400);
            assert_eq!(frame.segment_count(), 3);
            let segments = frame.into_segments();
            let mut joined: Vec<u8> = Vec::new();
            for (number, segment) in segments.iter().enumerate() {
                let packet = segment.packet();
                let ip = Ip::parse(packet).unwrap();
                assert!(v6 || checksum(&packet[..20]) == 0);
                assert!(checksum_is_right(packet, &ip));
                assert_eq!(packet.len(), ip.end);
                let tcp = ip.payload(packet);
                let sequence = u32::from_be_bytes(tcp[4..8].try_into().unwrap());
                assert_eq!(sequence, 0xffff_ff00u32.wrapping_add(1400 * number as u32));
                assert_eq!(tcp[13], [0x90, 0x10, 0x19][number]);
                if !v6 {
                    assert_eq!(packet[5], [0xff, 0, 1][number]);
                }
                joined.extend(&tcp[20..]);
            }
            assert_eq!(segments.len(), 3);
            assert_eq!(joined, whole);
        }
    }

    #[test]
    fn what_is_one_segment_stays_as_it_is() {
        let mut frame = large(false);
        frame.segment = 0;
        let ip = Ip::parse(frame.packet()).unwrap();
        assert_eq!((frame.largest(&ip), frame.segment_count()), (ip.end, 1));
        let segments = frame.clone().into_segments();
        frame.complete();
        assert_eq!(segments.len(), 1);
        assert_eq!(segments[0].bytes, frame.bytes);
    }
}
