//! Netlink messages: headers, attributes, and answers under construction.

use abi::{Errno, Result};

/// `NLM_F_…`.
pub const MULTI: u16 = 2;
pub const ACK: u16 = 4;
pub const REPLACE: u16 = 0x100;
pub const EXCL: u16 = 0x200;
pub const DUMP: u16 = 0x300;
pub const CREATE: u16 = 0x400;
pub const APPEND: u16 = 0x800;

/// Deepest nesting of attributes is theirs who read them; this is the longest list that is read.
const ATTRIBUTES_MAX: usize = 256;

/// `struct nlmsghdr` of a request.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub len: usize,
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub port: u32,
}

impl Header {
    /// Reads the header in front of `raw`; `None` when there is no whole message.
    pub fn parse(raw: &[u8]) -> Option<Header> {
        let word = |at: usize| Some(u32::from_le_bytes(raw.get(at..at + 4)?.try_into().ok()?));
        let half = |at: usize| Some(u16::from_le_bytes(raw.get(at..at + 2)?.try_into().ok()?));
        let len = word(0)? as usize;
        let header = Header {
            len,
            kind: half(4)?,
            flags: half(6)?,
            sequence: word(8)?,
            port: word(12)?,
        };
        (16..=raw.len()).contains(&len).then_some(header)
    }

    /// What an answer is addressed with that nobody asked for.
    pub fn unasked() -> Header {
        Header {
            len: 0,
            kind: 0,
            flags: 0,
            sequence: 0,
            port: 0,
        }
    }
}

/// A message under construction.
pub struct Message(Vec<u8>);

impl Message {
    /// An answer to `request`.
    pub fn new(kind: u16, flags: u16, request: &Header) -> Message {
        let mut raw = vec![0; 16];
        raw[4..6].copy_from_slice(&kind.to_le_bytes());
        raw[6..8].copy_from_slice(&flags.to_le_bytes());
        raw[8..12].copy_from_slice(&request.sequence.to_le_bytes());
        raw[12..16].copy_from_slice(&request.port.to_le_bytes());
        Message(raw)
    }

    /// Adds bytes as they are.
    pub fn bytes(mut self, bytes: &[u8]) -> Message {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Fills up to where an attribute may begin.
    pub fn pad(mut self) -> Message {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Adds an attribute.
    pub fn attribute(mut self, number: u16, value: &[u8]) -> Message {
        put_attribute(&mut self.0, number, value);
        self
    }

    /// Adds an attribute if there is a value.
    pub fn optional(self, number: u16, value: Option<&[u8]>) -> Message {
        match value {
            Some(value) => self.attribute(number, value),
            None => self,
        }
    }

    /// The message with its length.
    pub fn finish(mut self) -> Vec<u8> {
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_le_bytes());
        self.0
    }
}

/// Appends an attribute.
pub fn put_attribute(raw: &mut Vec<u8>, number: u16, value: &[u8]) {
    raw.extend_from_slice(&(4 + value.len() as u16).to_le_bytes());
    raw.extend_from_slice(&number.to_le_bytes());
    raw.extend_from_slice(value);
    raw.resize(raw.len().next_multiple_of(4), 0);
}

/// The attributes of a request.
pub struct Attributes<'a>(Vec<(u16, &'a [u8])>);

impl<'a> Attributes<'a> {
    /// Reads a list of attributes; what is cut is left out.
    pub fn parse(mut raw: &'a [u8]) -> Attributes<'a> {
        let mut list = Vec::new();
        while raw.len() >= 4 && list.len() < ATTRIBUTES_MAX {
            let len = usize::from(u16::from_le_bytes([raw[0], raw[1]]));
            // The two highest bits say how the value is to be read.
            let number = u16::from_le_bytes([raw[2], raw[3]]) & 0x3fff;
            let Some(value) = raw.get(4..len) else { break };
            list.push((number, value));
            raw = raw.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        Attributes(list)
    }

    /// The value of an attribute.
    pub fn get(&self, number: u16) -> Option<&'a [u8]> {
        self.0
            .iter()
            .rev()
            .find(|(known, _)| *known == number)
            .map(|(_, value)| *value)
    }

    /// A number of four bytes.
    pub fn word(&self, number: u16) -> Option<u32> {
        let raw = self.get(number)?.get(..4)?;
        Some(u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]))
    }

    /// A text with a closing zero.
    pub fn text(&self, number: u16) -> Result<Option<&'a str>> {
        let Some(raw) = self.get(number) else {
            return Ok(None);
        };
        let text = raw.split(|&byte| byte == 0).next().unwrap_or_default();
        std::str::from_utf8(text)
            .map(Some)
            .map_err(|_| Errno::EINVAL)
    }

    /// An IP address, by its length.
    pub fn ip(&self, number: u16) -> Result<Option<std::net::IpAddr>> {
        let Some(raw) = self.get(number) else {
            return Ok(None);
        };
        match raw.len() {
            4 => Ok(<[u8; 4]>::try_from(raw).ok().map(Into::into)),
            16 => Ok(<[u8; 16]>::try_from(raw).ok().map(Into::into)),
            _ => Err(Errno::EINVAL),
        }
    }

    /// A hardware address.
    pub fn mac(&self, number: u16) -> Result<Option<net::Mac>> {
        match self.get(number) {
            None => Ok(None),
            Some(raw) if raw.len() == 6 => Ok(Some(net::Mac::from_bytes(raw))),
            Some(_) => Err(Errno::EINVAL),
        }
    }
}

/// The bytes of an address.
pub fn octets(ip: std::net::IpAddr) -> Vec<u8> {
    match ip {
        std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
        std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// A number of four bytes at a place of a request.
pub fn word_at(body: &[u8], at: usize) -> u32 {
    body.get(at..at + 4)
        .map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}
