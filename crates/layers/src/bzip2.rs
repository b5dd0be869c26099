//! bzip2, decoding only: archives that `ADD`, `docker import` and `docker load` are given.
//!
//! A stream is blocks of up to 900,000 bytes, each on its own: run lengths, Burrows-Wheeler transform, move to
//! front, run lengths of zeros, Huffman codes. Reading undoes them from the last to the first.

use std::io::{self, Read};

const BLOCK_MAGIC: u64 = 0x3141_5926_5359;
const END_MAGIC: u64 = 0x1772_4538_5090;
/// Symbols that are coded with the same table.
const GROUP: usize = 50;
/// Bits of the longest code.
const CODE_BITS_MAX: usize = 20;
/// Selectors a block may have.
const SELECTORS_MAX: usize = 18_002;

/// Bits, the highest of a byte first.
struct Bits<R> {
    inner: R,
    buffer: Vec<u8>,
    at: usize,
    held: u64,
    count: u32,
}

fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "bzip2 data invalid")
}

impl<R: Read> Bits<R> {
    /// The next byte; `None` at the end.
    fn byte(&mut self) -> io::Result<Option<u8>> {
        if self.at == self.buffer.len() {
            self.buffer.resize(32 * 1024, 0);
            let count = self.inner.read(&mut self.buffer)?;
            self.buffer.truncate(count);
            self.at = 0;
            if count == 0 {
                return Ok(None);
            }
        }
        self.at += 1;
        Ok(self.buffer.get(self.at - 1).copied())
    }

    fn bits(&mut self, count: u32) -> io::Result<u64> {
        while self.count < count {
            let byte = self.byte()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            self.held = self.held << 8 | u64::from(byte);
            self.count += 8;
        }
        self.count -= count;
        Ok(self.held >> self.count & ((1 << count) - 1))
    }

    fn bit(&mut self) -> io::Result<bool> {
        self.bits(1).map(|bit| bit == 1)
    }

    fn align(&mut self) {
        self.count -= self.count % 8;
    }
}

/// A Huffman code: how many codes of each length there are, and the symbols in the order of their codes.
struct Code {
    counts: [u32; CODE_BITS_MAX + 1],
    symbols: Vec<u16>,
}

impl Code {
    fn new(lengths: &[u8]) -> Code {
        let mut counts = [0; CODE_BITS_MAX + 1];
        let mut symbols = Vec::with_capacity(lengths.len());
        for (length, count) in counts.iter_mut().enumerate().skip(1) {
            let fitting = lengths.iter().enumerate();
            let fitting = fitting.filter(|(_, other)| usize::from(**other) == length);
            let before = symbols.len();
            symbols.extend(fitting.map(|(symbol, _)| symbol as u16));
            *count = (symbols.len() - before) as u32;
        }
        Code { counts, symbols }
    }

    fn read<R: Read>(&self, bits: &mut Bits<R>) -> io::Result<u16> {
        let (mut code, mut first, mut index) = (0_u32, 0_u32, 0_u32);
        for length in 1..=CODE_BITS_MAX {
            code |= bits.bits(1)? as u32;
            let count = self.counts[length];
            if code < first + count {
                let at = (index + code).checked_sub(first).ok_or_else(corrupt)?;
                return self.symbols.get(at as usize).copied().ok_or_else(corrupt);
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err(corrupt())
    }
}

/// See the module's comment.
pub(crate) struct Bzip2<R> {
    bits: Bits<R>,
    /// Bytes of a block at most; 0 before a stream's head is read.
    block_max: usize,
    /// What is decoded and not read yet.
    out: Vec<u8>,
    at: usize,
    /// Of all blocks so far.
    sum: u32,
    ended: bool,
}

fn crc(bytes: &[u8]) -> u32 {
    let mut table = [0_u32; 256];
    for (index, entry) in table.iter_mut().enumerate() {
        let mut value = (index as u32) << 24;
        for _ in 0..8 {
            value = value << 1 ^ if value >> 31 == 1 { 0x04c1_1db7 } else { 0 };
        }
        *entry = value;
    }
    let step = |sum: u32, byte: &u8| sum << 8 ^ table[(sum >> 24) as usize ^ usize::from(*byte)];
    !bytes.iter().fold(!0, step)
}

/// Takes the entry at `index` to the front.
fn to_front(list: &mut [u8], index: usize) -> Option<u8> {
    let found = *list.get(index)?;
    list.copy_within(0..index, 1);
    list[0] = found;
    Some(found)
}

impl<R: Read> Bzip2<R> {
    pub(crate) fn new(inner: R) -> Bzip2<R> {
        Bzip2 {
            bits: Bits {
                inner,
                buffer: Vec::new(),
                at: 0,
                held: 0,
                count: 0,
            },
            block_max: 0,
            out: Vec::new(),
            at: 0,
            sum: 0,
            ended: false,
        }
    }

    /// The head of a stream; false when there is none any more.
    fn head(&mut self, first: bool) -> io::Result<bool> {
        self.bits.align();
        let start = match self.bits.bits(8) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !first => {
                return Ok(false);
            }
            other => other?,
        };
        let rest = self.bits.bits(16)?;
        let level = self.bits.bits(8)?;
        if start != u64::from(b'B') || rest != 0x5a68 || !(0x31..=0x39).contains(&level) {
            return Err(corrupt());
        }
        self.block_max = (level - 0x30) as usize * 100_000;
        self.sum = 0;
        Ok(true)
    }

    /// Decodes the next block; false at the end of all streams.
    fn fill(&mut self) -> io::Result<bool> {
        if self.block_max == 0 {
            self.head(true)?;
        }
        loop {
            let magic = self.bits.bits(48)?;
            let wanted = self.bits.bits(32)? as u32;
            match magic {
                BLOCK_MAGIC => {
                    self.out = self.block()?;
                    self.at = 0;
                    if crc(&self.out) != wanted {
                        return Err(corrupt());
                    }
                    self.sum = self.sum.rotate_left(1) ^ wanted;
                    return Ok(true);
                }
                END_MAGIC if self.sum == wanted => {
                    if !self.head(false)? {
                        return Ok(false);
                    }
                }
                _ => return Err(corrupt()),
            }
        }
    }

    /// The Huffman codes of a block, and which group uses which.
    fn codes(&mut self, alphabet: usize) -> io::Result<(Vec<Code>, Vec<u8>)> {
        let tables = self.bits.bits(3)? as usize;
        let selectors = self.bits.bits(15)? as usize;
        if !(2..=6).contains(&tables) || selectors == 0 || selectors > SELECTORS_MAX {
            return Err(corrupt());
        }
        let mut order: Vec<u8> = (0..tables as u8).collect();
        let mut chosen = Vec::with_capacity(selectors);
        for _ in 0..selectors {
            let mut index = 0;
            while self.bits.bit()? {
                index += 1;
                if index >= tables {
                    return Err(corrupt());
                }
            }
            chosen.push(to_front(&mut order, index).ok_or_else(corrupt)?);
        }
        let mut codes = Vec::with_capacity(tables);
        for _ in 0..tables {
            let mut length = self.bits.bits(5)? as usize;
            let mut lengths = vec![0; alphabet];
            for slot in &mut lengths {
                while self.bits.bit()? {
                    length = match self.bits.bit()? {
                        true => length.wrapping_sub(1),
                        false => length + 1,
                    };
                    if length > CODE_BITS_MAX {
                        return Err(corrupt());
                    }
                }
                if length == 0 || length > CODE_BITS_MAX {
                    return Err(corrupt());
                }
                *slot = length as u8;
            }
            codes.push(Code::new(&lengths));
        }
        Ok((codes, chosen))
    }

    fn block(&mut self) -> io::Result<Vec<u8>> {
        // Randomised blocks are of the first versions only.
        if self.bits.bit()? {
            return Err(corrupt());
        }
        let origin = self.bits.bits(24)? as usize;
        let ranges = self.bits.bits(16)?;
        let mut list = Vec::new();
        for high in 0..16_u8 {
            if ranges >> (15 - high) & 1 == 1 {
                let used = self.bits.bits(16)?;
                list.extend(
                    (0..16_u8)
                        .filter(|low| used >> (15 - low) & 1 == 1)
                        .map(|low| high << 4 | low),
                );
            }
        }
        if list.is_empty() {
            return Err(corrupt());
        }
        let end = list.len() as u16 + 1;
        let (codes, chosen) = self.codes(usize::from(end) + 1)?;
        let mut bytes: Vec<u8> = Vec::new();
        let (mut run, mut weight) = (0_usize, 1_usize);
        let mut groups = chosen.iter();
        let mut code = &codes[0];
        let mut left = 0;
        loop {
            if left == 0 {
                let next = groups.next().ok_or_else(corrupt)?;
                code = codes.get(usize::from(*next)).ok_or_else(corrupt)?;
                left = GROUP;
            }
            left -= 1;
            let symbol = code.read(&mut self.bits)?;
            if symbol <= 1 {
                run += weight << symbol;
                weight <<= 1;
                if run > self.block_max {
                    return Err(corrupt());
                }
                continue;
            }
            if bytes.len() + run > self.block_max {
                return Err(corrupt());
            }
            bytes.resize(bytes.len() + run, list[0]);
            (run, weight) = (0, 1);
            if symbol == end {
                break;
            }
            bytes.push(to_front(&mut list, usize::from(symbol) - 1).ok_or_else(corrupt)?);
        }
        if bytes.len() > self.block_max {
            return Err(corrupt());
        }
        untransform(&bytes, origin)
    }
}

/// Undoes the transform and the first run lengths.
fn untransform(bytes: &[u8], origin: usize) -> io::Result<Vec<u8>> {
    if origin >= bytes.len() {
        return Err(corrupt());
    }
    let mut starts = [0_usize; 257];
    for &byte in bytes {
        starts[usize::from(byte) + 1] += 1;
    }
    for index in 1..257 {
        starts[index] += starts[index - 1];
    }
    let mut next = vec![0_u32; bytes.len()];
    for (index, &byte) in bytes.iter().enumerate() {
        next[starts[usize::from(byte)]] = index as u32;
        starts[usize::from(byte)] += 1;
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = next[origin] as usize;
    // Four equal bytes are followed by how many more there are.
    let (mut last, mut equal) = (0, 0);
    for _ in 0..bytes.len() {
        let byte = bytes[at];
        at = next[at] as usize;
        if equal == 4 {
            out.resize(out.len() + usize::from(byte), last);
            equal = 0;
            continue;
        }
        equal = if byte == last && equal > 0 {
            equal + 1
        } else {
            1
        };
        last = byte;
        out.push(byte);
    }
    Ok(out)
}

impl<R: Read> Read for Bzip2<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.out.len() {
            if self.ended || !self.fill()? {
                self.ended = true;
                return Ok(0);
            }
        }
        let count = buf.len().min(self.out.len() - self.at);
        buf[..count].copy_from_slice(&self.out[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Bzip2::new(bytes).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn what_bzip2_writes() {
        // printf 'hello hello hello' | bzip2
        let hello = hex(
            "425a68393141592653599e625bfe000002910040000244a000211460668291ef23470bb9229c28484f312dff00",
        );
        assert_eq!(decode(&hello).expect("intact"), b"hello hello hello");
        let twice = [&hello[..], &hello].concat();
        assert_eq!(
            decode(&twice).expect("intact"),
            b"hello hello hellohello hello hello"
        );
        // head -c 100000 /dev/zero | bzip2
        assert_eq!(decode(&hex("425a6839314159265359bea9882b0000c45000c00004000008200030cc0529a610b622178bb9229c28485f54c41580")).expect("intact"), vec![0; 100_000]);
        assert_eq!(
            decode(&hex("425a683917724538509000000000")).expect("intact"),
            b""
        );
    }

    #[test]
    fn broken_streams_are_errors() {
        let hello = hex(
            "425a68393141592653599e625bfe000002910040000244a000211460668291ef23470bb9229c28484f312dff00",
        );
        for end in 0..hello.len() {
            assert!(decode(&hello[..end]).is_err(), "{end}");
        }
        for at in 0..hello.len() {
            let mut broken = hello.clone();
            broken[at] ^= 0x10;
            // Never a panic; the last bits are padding.
            let _ = decode(&broken);
        }
        assert!(decode(b"BZh9garbage that is no block at all").is_err());
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hexadecimal"))
            .collect()
    }
}
