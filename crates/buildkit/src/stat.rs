//! `fsutil.types.Stat` and `Packet`: what travels about files.

use std::collections::BTreeMap;

use crate::wire::{Malformed, Message, Value, fields};

/// Bits of Go's `os.FileMode`, in which modes travel.
mod go {
    pub(super) const DIR: u32 = 1 << 31;
    pub(super) const SYMLINK: u32 = 1 << 27;
    pub(super) const DEVICE: u32 = 1 << 26;
    pub(super) const FIFO: u32 = 1 << 25;
    pub(super) const SOCKET: u32 = 1 << 24;
    pub(super) const SETUID: u32 = 1 << 23;
    pub(super) const SETGID: u32 = 1 << 22;
    pub(super) const CHAR: u32 = 1 << 21;
    pub(super) const STICKY: u32 = 1 << 20;
}

/// Linux type bits and their form in Go. The first that fits counts.
const TYPES: [(u32, u32); 6] = [
    (0o040_000, go::DIR),
    (0o120_000, go::SYMLINK),
    (0o020_000, go::DEVICE | go::CHAR),
    (0o060_000, go::DEVICE),
    (0o010_000, go::FIFO),
    (0o140_000, go::SOCKET),
];
const BITS: [(u32, u32); 3] = [
    (0o4000, go::SETUID),
    (0o2000, go::SETGID),
    (0o1000, go::STICKY),
];
const REGULAR: u32 = 0o100_000;
const TYPE_MASK: u32 = 0o170_000;

/// What is said of a file before its content.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Stat {
    /// Relative to what is sent.
    pub path: Vec<u8>,
    /// Type and permissions as Linux has them.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime: i64,
    /// Where a link leads; of another file: the name it shares its content with.
    pub link: Vec<u8>,
    /// Device numbers.
    pub device: (u32, u32),
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl Stat {
    /// Reads a message.
    pub fn parse(bytes: &[u8]) -> Result<Stat, Malformed> {
        let mut stat = Stat::default();
        let mut mode = 0;
        for field in fields(bytes) {
            let (number, value) = field?;
            match number {
                1 => stat.path = value.bytes().to_vec(),
                2 => mode = value.number() as u32,
                3 => stat.uid = value.number() as u32,
                4 => stat.gid = value.number() as u32,
                5 => stat.size = value.number(),
                6 => stat.mtime = value.number() as i64,
                7 => stat.link = value.bytes().to_vec(),
                8 => stat.device.0 = value.number() as u32,
                9 => stat.device.1 = value.number() as u32,
                10 => {
                    let (name, value) = value.entry()?;
                    stat.xattrs.insert(name, value.bytes().to_vec());
                }
                _ => {}
            }
        }
        let kind = TYPES.iter().find(|(_, go)| mode & go == *go);
        let bits = BITS.iter().filter(|(_, go)| mode & go != 0);
        stat.mode = mode & 0o777 | kind.map_or(REGULAR, |(linux, _)| *linux);
        stat.mode |= bits.fold(0, |all, (linux, _)| all | linux);
        Ok(stat)
    }

    /// Writes a message.
    #[must_use]
    pub fn emit(&self) -> Message {
        let kind = TYPES
            .iter()
            .find(|(linux, _)| self.mode & TYPE_MASK == *linux);
        let bits = BITS.iter().filter(|(linux, _)| self.mode & linux != 0);
        let mode = self.mode & 0o777 | kind.map_or(0, |(_, go)| *go);
        let mode = bits.fold(mode, |all, (_, go)| all | go);
        let mut message = Message::new();
        message
            .bytes(1, &self.path)
            .number(2, u64::from(mode))
            .number(3, u64::from(self.uid))
            .number(4, u64::from(self.gid))
            .number(5, self.size)
            .number(6, self.mtime as u64)
            .bytes(7, &self.link)
            .number(8, u64::from(self.device.0))
            .number(9, u64::from(self.device.1));
        for (name, value) in &self.xattrs {
            let mut entry = Message::new();
            entry.text(1, name).bytes(2, value);
            message.message(10, &entry);
        }
        message
    }

    /// Linux's type bits.
    #[must_use]
    pub fn file_type(&self) -> u32 {
        self.mode & TYPE_MASK
    }

    /// True for directories.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.file_type() == 0o040_000
    }

    /// True for files that have content.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.file_type() == REGULAR
    }

    /// True for symbolic links.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.file_type() == 0o120_000
    }
}

/// One message of a transfer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet {
    /// A file; `None` after the last.
    Stat(Option<Stat>),
    /// The receiver wants the content of the file with this number.
    Request(u32),
    /// Content; empty at its end.
    Data(u32, Vec<u8>),
    /// Everything is there.
    Finish,
    /// It cannot be done.
    Error(String),
}

impl Packet {
    /// Reads a message.
    pub fn parse(bytes: &[u8]) -> Result<Packet, Malformed> {
        let (mut kind, mut stat, mut id, mut data) = (0, None, 0, Value::Bytes(&[]));
        for field in fields(bytes) {
            let (number, value) = field?;
            match number {
                1 => kind = value.number(),
                2 => stat = Some(Stat::parse(value.bytes())?),
                3 => id = value.number() as u32,
                4 => data = value,
                _ => {}
            }
        }
        Ok(match kind {
            0 => Packet::Stat(stat),
            1 => Packet::Request(id),
            2 => Packet::Data(id, data.bytes().to_vec()),
            3 => Packet::Finish,
            4 => Packet::Error(data.text()),
            _ => return Err(Malformed),
        })
    }

    /// Writes a message.
    #[must_use]
    pub fn emit(&self) -> Vec<u8> {
        let mut message = Message::new();
        match self {
            Packet::Stat(None) => &mut message,
            Packet::Stat(Some(stat)) => message.message(2, &stat.emit()),
            Packet::Request(id) => message.number(1, 1).number(3, u64::from(*id)),
            Packet::Data(id, data) => message
                .number(1, 2)
                .number(3, u64::from(*id))
                .bytes(4, data),
            Packet::Finish => message.number(1, 3),
            Packet::Error(text) => message.number(1, 4).text(4, text),
        };
        message.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_as_they_were_written() {
        let stat = Stat {
            path: b"a/b".to_vec(),
            mode: 0o041_755,
            uid: 1,
            gid: 2,
            size: 3,
            mtime: -1,
            link: b"x".to_vec(),
            device: (1, 5),
            xattrs: [("user.a".to_string(), b"b".to_vec())].into(),
        };
        let modes = [
            0o100_644, 0o104_755, 0o120_777, 0o020_666, 0o060_660, 0o010_600, 0o140_755,
        ];
        let stats = modes.map(|mode| {
            Packet::Stat(Some(Stat {
                mode,
                ..stat.clone()
            }))
        });
        let others = [
            Packet::Stat(Some(stat)),
            Packet::Stat(None),
            Packet::Request(0),
            Packet::Request(7),
            Packet::Data(7, b"bytes".to_vec()),
            Packet::Data(7, Vec::new()),
            Packet::Finish,
            Packet::Error("no".to_string()),
        ];
        for packet in stats.into_iter().chain(others) {
            assert_eq!(Packet::parse(&packet.emit()), Ok(packet));
        }
        assert_eq!(Packet::Finish.emit(), [8, 3]);
        assert_eq!(Packet::parse(&[8, 9]), Err(Malformed));
    }
}
