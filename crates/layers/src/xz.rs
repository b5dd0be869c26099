//! xz, decoding only: archives that `ADD`, `docker import` and `docker load` are given.
//!
//! A stream is blocks of LZMA2 chunks; a chunk is bytes as they are, or coded by LZMA: a range coder with
//! adaptive bits, which tell of literal bytes and of copies of what came before. The format is described in
//! "The .xz File Format"; filters for machine code are not here.

use std::io::{self, Read};

/// The largest dictionary that is taken, as of `xz -9`.
const DICTIONARY_MAX: usize = 64 << 20;
/// Bytes a chunk may become.
const CHUNK_MAX: usize = 2 << 20;
/// What an adaptive bit begins with: as often one as the other, in parts of 2048.
const EVEN: u16 = 1024;

fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "xz: data is corrupt")
}

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "xz: unsupported options")
}

/// The sums over a block's content.
enum Check {
    None(usize),
    Crc32(u32),
    Crc64(u64),
}

fn crc32(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            sum >> 1 ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

impl Check {
    fn of(kind: u8) -> io::Result<Check> {
        Ok(match kind {
            0 => Check::None(0),
            1 => Check::Crc32(!0),
            4 => Check::Crc64(!0),
            // SHA-256 and what is not defined yet: passed over.
            2 | 3 => Check::None(4),
            5 | 6 => Check::None(8),
            7..=9 => Check::None(16),
            10..=12 => Check::None(32),
            13..=15 => Check::None(64),
            _ => return Err(corrupt()),
        })
    }

    fn add(&mut self, bytes: &[u8], table: &[u64; 256]) {
        match self {
            Check::None(_) => {}
            Check::Crc32(sum) => *sum = crc32(*sum, bytes),
            Check::Crc64(sum) => {
                for &byte in bytes {
                    *sum = *sum >> 8 ^ table[usize::from(*sum as u8 ^ byte)];
                }
            }
        }
    }
}

fn crc64_table() -> [u64; 256] {
    let mut table = [0; 256];
    for (index, entry) in table.iter_mut().enumerate() {
        *entry = (0..8).fold(index as u64, |sum, _| {
            sum >> 1 ^ (0xc96c_5795_d787_0f42 & (sum & 1).wrapping_neg())
        });
    }
    table
}

/// The range coder over one chunk.
struct Range<'a> {
    bytes: &'a [u8],
    at: usize,
    range: u32,
    code: u32,
}

impl Range<'_> {
    fn new(bytes: &[u8]) -> io::Result<Range<'_>> {
        let start = bytes.get(..5).ok_or_else(corrupt)?;
        Ok(Range {
            bytes,
            at: 5,
            range: !0,
            code: u32::from_be_bytes([start[1], start[2], start[3], start[4]]),
        })
    }

    fn normalize(&mut self) -> io::Result<()> {
        if self.range < 1 << 24 {
            let byte = *self.bytes.get(self.at).ok_or_else(corrupt)?;
            self.at += 1;
            self.range <<= 8;
            self.code = self.code << 8 | u32::from(byte);
        }
        Ok(())
    }

    fn bit(&mut self, chance: &mut u16) -> io::Result<usize> {
        self.normalize()?;
        let bound = (self.range >> 11) * u32::from(*chance);
        if self.code < bound {
            self.range = bound;
            *chance += (2048 - *chance) >> 5;
            Ok(0)
        } else {
            self.range -= bound;
            self.code -= bound;
            *chance -= *chance >> 5;
            Ok(1)
        }
    }

    /// Bits of a tree, the highest first.
    fn tree(&mut self, chances: &mut [u16], bits: u32) -> io::Result<usize> {
        let mut index = 1;
        for _ in 0..bits {
            index = index << 1 | self.bit(&mut chances[index])?;
        }
        Ok(index - (1 << bits))
    }

    /// Bits of a tree, the lowest first.
    fn reverse(&mut self, chances: &mut [u16], bits: u32) -> io::Result<usize> {
        let (mut index, mut value) = (1, 0);
        for place in 0..bits {
            let bit = self.bit(&mut chances[index])?;
            index = index << 1 | bit;
            value |= bit << place;
        }
        Ok(value)
    }

    /// Bits that are as often one as the other.
    fn direct(&mut self, bits: u32) -> io::Result<usize> {
        let mut value = 0;
        for _ in 0..bits {
            self.normalize()?;
            self.range >>= 1;
            let bit = self.code >= self.range;
            if bit {
                self.code -= self.range;
            }
            value = value << 1 | usize::from(bit);
        }
        Ok(value)
    }
}

/// The chances of lengths.
struct Lengths {
    choice: [u16; 2],
    low: [[u16; 8]; 16],
    middle: [[u16; 8]; 16],
    high: [u16; 256],
}

impl Lengths {
    fn new() -> Lengths {
        Lengths {
            choice: [EVEN; 2],
            low: [[EVEN; 8]; 16],
            middle: [[EVEN; 8]; 16],
            high: [EVEN; 256],
        }
    }

    fn read(&mut self, range: &mut Range<'_>, position: usize) -> io::Result<usize> {
        if range.bit(&mut self.choice[0])? == 0 {
            return Ok(2 + range.tree(&mut self.low[position], 3)?);
        }
        if range.bit(&mut self.choice[1])? == 0 {
            return Ok(10 + range.tree(&mut self.middle[position], 3)?);
        }
        Ok(18 + range.tree(&mut self.high, 8)?)
    }
}

/// What LZMA has learned so far.
struct Lzma {
    literal_context: u32,
    literal_position: u32,
    position_mask: usize,
    state: usize,
    distances: [usize; 4],
    literals: Vec<[u16; 0x300]>,
    is_match: [[u16; 16]; 12],
    is_repeat: [u16; 12],
    is_repeat0: [u16; 12],
    is_repeat1: [u16; 12],
    is_repeat2: [u16; 12],
    is_long: [[u16; 16]; 12],
    slots: [[u16; 64]; 4],
    special: [u16; 128],
    align: [u16; 16],
    lengths: Lengths,
    repeat_lengths: Lengths,
}

impl Lzma {
    fn new(properties: u8) -> io::Result<Lzma> {
        if properties >= 9 * 5 * 5 {
            return Err(corrupt());
        }
        let (context, rest) = (properties % 9, properties / 9);
        let (literal_position, position) = (rest % 5, rest / 5);
        if context + literal_position > 4 {
            return Err(corrupt());
        }
        Ok(Lzma {
            literal_context: u32::from(context),
            literal_position: u32::from(literal_position),
            position_mask: (1 << position) - 1,
            state: 0,
            distances: [0; 4],
            literals: vec![[EVEN; 0x300]; 1 << (context + literal_position)],
            is_match: [[EVEN; 16]; 12],
            is_repeat: [EVEN; 12],
            is_repeat0: [EVEN; 12],
            is_repeat1: [EVEN; 12],
            is_repeat2: [EVEN; 12],
            is_long: [[EVEN; 16]; 12],
            slots: [[EVEN; 64]; 4],
            special: [EVEN; 128],
            align: [EVEN; 16],
            lengths: Lengths::new(),
            repeat_lengths: Lengths::new(),
        })
    }

    fn literal(&mut self, range: &mut Range<'_>, out: &mut Window) -> io::Result<()> {
        let before = usize::from(out.back(0).unwrap_or(0));
        let low = out.total & ((1 << self.literal_position) - 1);
        let index = low << self.literal_context | before >> (8 - self.literal_context);
        let chances = self.literals.get_mut(index).ok_or_else(corrupt)?;
        let mut symbol = 1;
        if self.state >= 7 {
            // After a copy the byte it would have gone on with is a hint, until it is wrong.
            let mut hint = usize::from(out.back(self.distances[0]).ok_or_else(corrupt)?);
            while symbol < 0x100 {
                let expected = hint >> 7 & 1;
                hint <<= 1;
                let bit = range.bit(&mut chances[(1 + expected) << 8 | symbol])?;
                symbol = symbol << 1 | bit;
                if bit != expected {
                    break;
                }
            }
        }
        while symbol < 0x100 {
            symbol = symbol << 1 | range.bit(&mut chances[symbol])?;
        }
        out.push(symbol as u8);
        self.state = match self.state {
            0..=3 => 0,
            4..=9 => self.state - 3,
            _ => self.state - 6,
        };
        Ok(())
    }

    fn distance(&mut self, range: &mut Range<'_>, length: usize) -> io::Result<usize> {
        let slot = range.tree(&mut self.slots[(length - 2).min(3)], 6)?;
        if slot < 4 {
            return Ok(slot);
        }
        let bits = (slot >> 1) as u32 - 1;
        let base = (2 | slot & 1) << bits;
        if slot < 14 {
            let chances = self.special.get_mut(base - slot..).ok_or_else(corrupt)?;
            return Ok(base + range.reverse(chances, bits)?);
        }
        let high = range.direct(bits - 4)? << 4;
        Ok(base + high + range.reverse(&mut self.align, 4)?)
    }

    /// Decodes until `out` has `end` bytes in all.
    fn decode(&mut self, range: &mut Range<'_>, out: &mut Window, end: usize) -> io::Result<()> {
        while out.total < end {
            let position = out.total & self.position_mask;
            if range.bit(&mut self.is_match[self.state][position])? == 0 {
                self.literal(range, out)?;
                continue;
            }
            let short = |state: usize| if state < 7 { 9 } else { 11 };
            let length;
            if range.bit(&mut self.is_repeat[self.state])? == 0 {
                length = self.lengths.read(range, position)?;
                let distance = self.distance(range, length)?;
                self.distances.copy_within(0..3, 1);
                self.distances[0] = distance;
                self.state = if self.state < 7 { 7 } else { 10 };
            } else {
                if range.bit(&mut self.is_repeat0[self.state])? == 0 {
                    if range.bit(&mut self.is_long[self.state][position])? == 0 {
                        self.state = short(self.state);
                        let byte = out.back(self.distances[0]).ok_or_else(corrupt)?;
                        out.push(byte);
                        continue;
                    }
                } else {
                    let which = match range.bit(&mut self.is_repeat1[self.state])? {
                        0 => 1,
                        _ => 2 + range.bit(&mut self.is_repeat2[self.state])?,
                    };
                    self.distances[..=which].rotate_right(1);
                }
                length = self.repeat_lengths.read(range, position)?;
                self.state = if self.state < 7 { 8 } else { 11 };
            }
            if out.total + length > end {
                return Err(corrupt());
            }
            for _ in 0..length {
                let byte = out.back(self.distances[0]).ok_or_else(corrupt)?;
                out.push(byte);
            }
        }
        // What is left over is the coder's last move.
        range.normalize()
    }
}

/// What was decoded: the dictionary, and what nobody has read yet.
#[derive(Default)]
struct Window {
    bytes: Vec<u8>,
    /// Bytes read of `bytes`.
    read: usize,
    /// Where the dictionary begins.
    start: usize,
    /// Bytes since the dictionary was emptied.
    total: usize,
    size: usize,
}

impl Window {
    /// The byte `distance` before the last.
    fn back(&self, distance: usize) -> Option<u8> {
        let at = self.bytes.len().checked_sub(distance.checked_add(1)?)?;
        (at >= self.start).then(|| self.bytes.get(at).copied())?
    }

    fn push(&mut self, byte: u8) {
        self.bytes.push(byte);
        self.total += 1;
    }

    /// Forgets what no copy can reach.
    fn trim(&mut self) {
        if self.read == self.bytes.len() && self.bytes.len() > self.size + 2 * CHUNK_MAX {
            let gone = self.bytes.len() - self.size;
            self.bytes.drain(..gone);
            self.read -= gone;
            self.start = self.start.saturating_sub(gone);
        }
    }

    fn reset(&mut self) {
        self.start = self.bytes.len();
        self.total = 0;
    }
}

/// Where the decoder is.
#[derive(Clone, Copy, PartialEq)]
enum At {
    /// Before a stream; the flag: the first one, which has to be there.
    Stream(bool),
    Block,
    Chunk,
    End,
}

/// See the module's comment.
pub(crate) struct Xz<R> {
    inner: R,
    at: At,
    check_kind: u8,
    check: Check,
    table: [u64; 256],
    /// Bytes of the block's data, for its padding.
    block_bytes: u64,
    window: Window,
    lzma: Option<Box<Lzma>>,
    /// The next chunk has to bring a dictionary, or properties.
    needs_dictionary: bool,
}

impl<R: Read> Xz<R> {
    pub(crate) fn new(inner: R) -> Xz<R> {
        Xz {
            inner,
            at: At::Stream(true),
            check_kind: 0,
            check: Check::None(0),
            table: crc64_table(),
            block_bytes: 0,
            window: Window::default(),
            lzma: None,
            needs_dictionary: true,
        }
    }

    fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.inner.read_exact(&mut bytes)?;
        self.block_bytes += count as u64;
        Ok(bytes)
    }

    fn stream(&mut self, first: bool) -> io::Result<()> {
        let mut head = [0; 12];
        // Between streams there may be zeros, four at a time.
        loop {
            let mut got = 0;
            while got < 4 {
                match self.inner.read(&mut head[got..4])? {
                    0 if got == 0 && !first => {
                        self.at = At::End;
                        return Ok(());
                    }
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => got += count,
                }
            }
            if first || head[..4] != [0; 4] {
                break;
            }
        }
        self.inner.read_exact(&mut head[4..])?;
        let sum = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        if head[..6] != *b"\xfd7zXZ\0" || !crc32(!0, &head[6..8]) != sum || head[6] != 0 {
            return Err(corrupt());
        }
        self.check_kind = head[7];
        self.at = At::Block;
        Ok(())
    }

    /// A block's head, or the index at the stream's end.
    fn block(&mut self) -> io::Result<()> {
        self.block_bytes = 0;
        let size = self.take(1)?[0];
        if size == 0 {
            return self.index();
        }
        let mut head = vec![size];
        head.extend(self.take((usize::from(size) + 1) * 4 - 1)?);
        let (fields, sum) = head.split_at(head.len() - 4);
        if (!crc32(!0, fields)).to_le_bytes() != *sum {
            return Err(corrupt());
        }
        let flags = fields[1];
        if flags & 0x3f != 0 {
            // More filters than LZMA2, or what is not defined.
            return Err(unsupported());
        }
        let mut rest = &fields[2..];
        for bit in [0x40, 0x80] {
            if flags & bit != 0 {
                number(&mut rest)?;
            }
        }
        let (filter, length) = (number(&mut rest)?, number(&mut rest)?);
        let bits = *rest.first().ok_or_else(corrupt)?;
        if filter != 0x21 || length != 1 || bits > 40 {
            return Err(unsupported());
        }
        let size = match bits {
            40 => u64::from(u32::MAX),
            bits => (2 | u64::from(bits & 1)) << (bits / 2 + 11),
        };
        self.window.size = usize::try_from(size)
            .ok()
            .filter(|&size| size <= DICTIONARY_MAX)
            .ok_or_else(unsupported)?;
        self.check = Check::of(self.check_kind)?;
        self.needs_dictionary = true;
        self.block_bytes = 0;
        self.at = At::Chunk;
        Ok(())
    }

    /// The index and the footer: everything in them is known already.
    fn index(&mut self) -> io::Result<()> {
        let records = self.number()?;
        for _ in 0..records {
            self.number()?;
            self.number()?;
        }
        let padding = (4 - self.block_bytes % 4) % 4;
        self.take(padding as usize + 4)?;
        let footer = self.take(12)?;
        if footer[10..] != *b"YZ" {
            return Err(corrupt());
        }
        self.at = At::Stream(false);
        Ok(())
    }

    fn number(&mut self) -> io::Result<u64> {
        let mut bytes = Vec::new();
        loop {
            let byte = self.take(1)?[0];
            bytes.push(byte);
            if byte & 0x80 == 0 {
                return number(&mut &bytes[..]);
            }
            if bytes.len() > 9 {
                return Err(corrupt());
            }
        }
    }

    fn chunk(&mut self) -> io::Result<()> {
        let control = self.take(1)?[0];
        if control == 0 {
            return self.end_block();
        }
        if control >= 0xe0 || control == 1 {
            self.window.reset();
            self.needs_dictionary = false;
        } else if self.needs_dictionary {
            return Err(corrupt());
        }
        let sizes = self.take(2)?;
        let low = usize::from(sizes[0]) << 8 | usize::from(sizes[1]);
        let before = self.window.bytes.len();
        if control < 0x80 {
            if control > 2 {
                return Err(corrupt());
            }
            let bytes = self.take(low + 1)?;
            self.window.bytes.extend_from_slice(&bytes);
            self.window.total += bytes.len();
        } else {
            let size = (usize::from(control & 0x1f) << 16 | low) + 1;
            let packed = self.take(2)?;
            let packed = (usize::from(packed[0]) << 8 | usize::from(packed[1])) + 1;
            self.prepare(control)?;
            let bytes = self.take(packed)?;
            let mut range = Range::new(&bytes)?;
            let lzma = self.lzma.as_mut().ok_or_else(corrupt)?;
            let end = self.window.total + size;
            lzma.decode(&mut range, &mut self.window, end)?;
        }
        self.check.add(&self.window.bytes[before..], &self.table);
        Ok(())
    }

    /// What a chunk's control byte resets.
    fn prepare(&mut self, control: u8) -> io::Result<()> {
        match control >> 5 & 3 {
            0 => {}
            1 => {
                let old = self.lzma.as_ref().ok_or_else(corrupt)?;
                let position = old.position_mask.count_ones();
                let properties = (position * 5 + old.literal_position) * 9 + old.literal_context;
                self.lzma = Some(Box::new(Lzma::new(properties as u8)?));
            }
            _ => {
                let properties = self.take(1)?[0];
                self.lzma = Some(Box::new(Lzma::new(properties)?));
            }
        }
        Ok(())
    }

    fn end_block(&mut self) -> io::Result<()> {
        let padding = (4 - self.block_bytes % 4) % 4;
        self.take(padding as usize)?;
        let good = match self.check {
            Check::None(size) => self.take(size).map(|_| true)?,
            Check::Crc32(sum) => self.take(4)? == (!sum).to_le_bytes(),
            Check::Crc64(sum) => self.take(8)? == (!sum).to_le_bytes(),
        };
        if !good {
            return Err(corrupt());
        }
        self.lzma = None;
        self.at = At::Block;
        Ok(())
    }
}

/// A number of the format: seven bits a byte, the lowest first.
fn number(bytes: &mut &[u8]) -> io::Result<u64> {
    let mut value = 0;
    for place in 0..9 {
        let (&byte, rest) = bytes.split_first().ok_or_else(corrupt)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(corrupt())
}

impl<R: Read> Read for Xz<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.window.read == self.window.bytes.len() {
            self.window.trim();
            match self.at {
                At::Stream(first) => self.stream(first)?,
                At::Block => self.block()?,
                At::Chunk => self.chunk()?,
                At::End => return Ok(0),
            }
        }
        let rest = &self.window.bytes[self.window.read..];
        let count = buf.len().min(rest.len());
        buf[..count].copy_from_slice(&rest[..count]);
        self.window.read += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Xz::new(bytes).read_to_end(&mut out).map(|_| out)
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len() / 2)
            .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hexadecimal"))
            .collect()
    }

    const HELLO: &str = "fd377a585a000004e6d6b4460200210116000000742fe5a3e00010000b5d00341949ee8de94f7e15e00000004b88e6da4480077600012711bc27f3901fb6f37d010000000004595a";

    const ZEROS: &str = "fd377a585a000004e6d6b4460200210116000000742fe5a3e1869f00535d00006ffdffffa3b7ff473e481572396151b89228e6a38607f9eee41e82d32fc53a3c014bb17ec98a8a4d2fa30dd97fa6e38c231153e05918c5758ae277f8b6947f0c6ac0de744964e2e95c53b204d6b1f597000000008fc694a218e370f100016fa08d06000090e46e51b1c467fb020000000004595a";

    const EMPTY: &str = "fd377a585a000004e6d6b446000000001cdf44211fb6f37d010000000004595a";

    const NUMBERS: &str = "fd377a585a0000016922de360200210100000000372797d6e022bc0322410018828272ac0c6a0bb9b1089027e0b0a4152d0c72c8590144747657ff3dc24298e8c18a9c1aa19610019f68801154c52cab3955f01e861c58797ffb758842cb6eeef05bd7cf2e0b18cc64f1f09d166497cfe7cee5d0da6e554d69633a99a9f83bc4a0734e472e34b34ee3f453d7d59c810901ec72468ce15ae7db0f8e712059c3dec9931ddaf448820521e035045fb1ba4c780c9a5a9eff75a8428ca0f40cbfaf5702560b12d5c96e7cb5c7cbf1c5862cec91a40d95a100cd5049b0e9552cfb09ed0bb6d9eee0127c9530a3cd84d4e3a6abe4728e103db423df9bd3730c4a433a543824d0b3ddcbefeca2245cae88fc686d45052153cf4063837f93f49b438af724039f04c32b33cb33a89fcf1752c8024bca2641f476e80556f98ac2c2472e30bd503715390364067ab94397c961ce7fdf8d62ae41fd27c82067249cc8df46c3d9c65c73dbcf05109dd2e786302446c66cb47898f68193da4ca45821ab1782aa7e2374c33f86c6cc37d822a1dfd8806b8c2f7e13a8b296a60acb152b57f7124cf053a83f06cbeed9904c3ee5d13c9286ee85f7d06e457df095fe754ba9f146c24446229952b15f98e050ab3d973198dab5061cd979625c5c0e3c416ee4f8f5d1655f1c70579118721249639bd5d25aac30155f16ea7caa80789db5cf07c706477c424d44f3c723df1bc02072f6d33c8af7fee94d3e92bb980f9ba6e0436dcdaca4b612afd7194e48af8e230e2802fddd0e5c82d4cd5baac3e272488e25cc439aecee3547428193512a0fcb7c3600329cfd395acc5c4049e1c1fc502662847e286d8866e2b6b418203ec779d0323c9a23cf0e84efba5f7803c0870f5213b0294b8754c99aa9c14a310594cd8e5bcdcbd145c873db4a2a4b23719649bec89b0cc24c0fbccac02658901f2e7356e673c081d331e3194dc0dfddc9d3859cd3ee9d9388ac9d292b57b6774968e5aa0a0aba3ce0b1780817822d6fdc0b137b0cfca1bdeac4cfd899269bcf2635d71965c6af69415e19a959ae0479230613234dd0733f1ebaba0a1dbf9de8368e5f9326e8e470fe8420ce3157917117f118c8e4ea114b9953957f0c6c52c1f3806719ffe70f3ae4d553120ff62f1dc767291ade3a80d06e00000000a99df95a0001ba06bd45000002c80d6e3e300d8b020000000001595a";

    /// Numbers with something in common.
    fn numbers() -> Vec<u8> {
        let lines: Vec<String> = (1..=2000).map(|number| format!("{number}\n")).collect();
        lines.concat().into_bytes()
    }

    #[test]
    fn what_xz_writes() {
        // printf 'hello hello hello' | xz; head -c 100000 /dev/zero | xz; printf '' | xz
        assert_eq!(decode(&hex(HELLO)).expect("intact"), b"hello hello hello");
        assert_eq!(decode(&hex(ZEROS)).expect("intact"), vec![0; 100_000]);
        assert_eq!(decode(&hex(EMPTY)).expect("intact"), b"");
        // seq 2000 | xz --check=crc32 --lzma2=preset=9,dict=4KiB,lc=2,lp=2,pb=1
        assert_eq!(decode(&hex(NUMBERS)).expect("intact"), numbers());
        let two = [hex(HELLO), vec![0; 8], hex(EMPTY), hex(HELLO)].concat();
        assert_eq!(
            decode(&two).expect("intact"),
            b"hello hello hellohello hello hello"
        );
    }

    #[test]
    fn broken_streams_are_errors() {
        let bytes = hex(NUMBERS);
        for end in (0..bytes.len()).step_by(7) {
            assert!(decode(&bytes[..end]).is_err(), "{end}");
        }
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 0x24;
            // Never a panic.
            let _ = decode(&broken);
        }
    }
}
