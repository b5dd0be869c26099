//! A tar whose extended headers are bounded.
//!
//! Long names and pax records are read into memory by who reads the archive, before anything is known of
//! them; a few compressed bytes may claim gigabytes. Go's reader, and so Docker, refuses them above 1 MiB.

use std::io::{self, Read};

const BLOCK: usize = 512;
/// Bytes of an extended header, as in Go.
const EXTENDED_MAX: u64 = 1 << 20;

/// What the bytes to come are.
enum Next {
    /// A header, of which so many bytes have come.
    Header(usize),
    /// Content and its padding.
    Content(u64),
    /// A pax header of so many bytes, which is kept: it may say how long the next entry is.
    Pax { bytes: Vec<u8>, size: usize },
    /// A further part of a sparse file's map.
    SparseMap(usize),
}

/// See the module's comment.
pub(crate) struct Bounded<R> {
    inner: R,
    block: [u8; BLOCK],
    next: Next,
    /// The next entry's size, said by a pax header.
    said: Option<u64>,
    /// Content behind a sparse file's map.
    behind_map: u64,
}

fn padded(size: u64) -> u64 {
    size.checked_next_multiple_of(BLOCK as u64)
        .unwrap_or(u64::MAX)
}

/// A number of a header: octal, or binary with the first bit set.
fn number(field: &[u8]) -> u64 {
    if field[0] & 0x80 != 0 {
        let low = field[field.len() - 8..].iter();
        return low.fold(0, |value, &byte| value << 8 | u64::from(byte));
    }
    let digits = field.iter().filter(|byte| (b'0'..=b'7').contains(byte));
    digits.fold(0_u64, |value, &digit| value << 3 | u64::from(digit - b'0'))
}

/// The last `size` among the records of a pax header: `LENGTH KEY=VALUE\n` each.
fn pax_size(mut records: &[u8]) -> Option<u64> {
    let mut size = None;
    while let Some(space) = records.iter().position(|&byte| byte == b' ') {
        let length = std::str::from_utf8(&records[..space])
            .ok()?
            .parse::<usize>();
        let length = length.ok().filter(|length| *length > space)?;
        let record = records.get(space + 1..length)?;
        if let Some(value) = record.strip_prefix(b"size=") {
            size = std::str::from_utf8(value).ok()?.trim_end().parse().ok();
        }
        records = &records[length..];
    }
    size
}

impl<R> Bounded<R> {
    pub(crate) fn new(inner: R) -> Bounded<R> {
        Bounded {
            inner,
            block: [0; BLOCK],
            next: Next::Header(0),
            said: None,
            behind_map: 0,
        }
    }

    /// What was read through this.
    pub(crate) fn into_inner(self) -> R {
        self.inner
    }

    /// A whole header has come.
    fn header(&mut self) -> io::Result<Next> {
        let (kind, mut size) = (self.block[156], number(&self.block[124..136]));
        if self.block.iter().all(|&byte| byte == 0) {
            return Ok(Next::Header(0));
        }
        if matches!(kind, b'x' | b'g' | b'L' | b'K') {
            if size > EXTENDED_MAX {
                return Err(io::Error::other("archive/tar: header field too long"));
            }
            if kind == b'x' {
                let bytes = Vec::with_capacity(size as usize);
                let size = size as usize;
                return Ok(Next::Pax { bytes, size });
            }
        } else if let Some(said) = self.said.take() {
            size = said;
        }
        if kind == b'S' && self.block[482] == 1 {
            self.behind_map = padded(size);
            return Ok(Next::SparseMap(0));
        }
        Ok(Next::Content(padded(size)))
    }

    fn seen(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let used = match &mut self.next {
                Next::Content(left) => {
                    let used = (bytes.len() as u64).min(*left);
                    *left -= used;
                    if *left == 0 {
                        self.next = Next::Header(0);
                    }
                    used as usize
                }
                Next::Pax { bytes: kept, size } => {
                    let used = bytes.len().min(*size - kept.len());
                    kept.extend_from_slice(&bytes[..used]);
                    if kept.len() == *size {
                        self.said = pax_size(kept).or(self.said);
                        let padding = padded(*size as u64) - *size as u64;
                        self.next = Next::Content(padding);
                    }
                    used
                }
                Next::Header(have) | Next::SparseMap(have) => {
                    let used = bytes.len().min(BLOCK - *have);
                    self.block[*have..*have + used].copy_from_slice(&bytes[..used]);
                    *have += used;
                    let whole = *have == BLOCK;
                    let map = matches!(self.next, Next::SparseMap(_));
                    if whole {
                        self.next = match (map, self.block[504]) {
                            (true, 1) => Next::SparseMap(0),
                            (true, _) => Next::Content(self.behind_map),
                            (false, _) => self.header()?,
                        };
                    }
                    used
                }
            };
            bytes = &bytes[used..];
            if matches!(self.next, Next::Content(0)) {
                self.next = Next::Header(0);
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buf)?;
        self.seen(&buf[..count])?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u8, size: u64, content: &[u8]) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[0] = b'a';
        header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
        header[156] = kind;
        header.extend_from_slice(content);
        header.resize(header.len().next_multiple_of(BLOCK), 0);
        header
    }

    fn read(archive: &[u8], at_a_time: usize) -> io::Result<usize> {
        let mut reader = Bounded::new(archive);
        let (mut buf, mut all) = (vec![0; at_a_time], 0);
        loop {
            match reader.read(&mut buf)? {
                0 => return Ok(all),
                count => all += count,
            }
        }
    }

    #[test]
    fn headers_are_bounded_wherever_they_stand() {
        let long = entry(b'L', 2 << 20, b"");
        let inside = entry(b'0', 1000, &[&long[..], &[0; 488]].concat());
        // The size of what follows is in the pax record, not in the header.
        let pax = [
            entry(b'x', 13, b"13 size=1024\n"),
            entry(b'0', 0, &[&long[..], &long].concat()),
        ]
        .concat();
        let mut sparse = entry(b'S', 512, b"");
        sparse[482] = 1;
        sparse.extend([entry(b'x', 5 << 20, b""), vec![1; BLOCK]].concat());
        let mut big = entry(b'g', 0, b"");
        big[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        let cases = [
            (inside.clone(), true),
            (pax.clone(), true),
            (sparse.clone(), true),
            (vec![0; 2048], true),
            (long.clone(), false),
            ([inside, long.clone()].concat(), false),
            ([pax, long.clone()].concat(), false),
            ([sparse, long.clone()].concat(), false),
            ([vec![0; 1024], long].concat(), false),
            (big, false),
        ];
        for (index, (archive, fine)) in cases.into_iter().enumerate() {
            for at_a_time in [1, 500, 512, 4096] {
                assert_eq!(
                    read(&archive, at_a_time).is_ok(),
                    fine,
                    "{index} {at_a_time}"
                );
            }
        }
    }
}
