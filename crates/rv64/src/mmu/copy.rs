//! The kernel's access to user memory, with the user's rights (`copy_from_user` and its family).

use mem::PAGE_SIZE;

use super::{AddressSpace, Fault};

/// Splits `len` bytes at `va` where pages end: calls `f` with address, offset in the page, and the range
/// of the buffer.
fn by_page(
    va: u64,
    len: usize,
    mut f: impl FnMut(u64, usize, std::ops::Range<usize>) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let mut done = 0;
    while done < len {
        let at = va.wrapping_add(done as u64);
        let offset = at as usize % PAGE_SIZE;
        let part = (PAGE_SIZE - offset).min(len - done);
        f(at, offset, done..done + part)?;
        done += part;
    }
    Ok(())
}

impl AddressSpace {
    /// Copies out of user memory. Pages before the one that faults have been read.
    pub fn read(&mut self, va: u64, buf: &mut [u8]) -> Result<(), Fault> {
        by_page(va, buf.len(), |at, offset, range| {
            self.readable(at)?.read(offset, &mut buf[range]);
            Ok(())
        })
    }

    /// Copies into user memory. Pages before the one that faults have been written.
    pub fn write(&mut self, va: u64, buf: &[u8]) -> Result<(), Fault> {
        by_page(va, buf.len(), |at, offset, range| {
            self.writable(at)?.write(offset, &buf[range]);
            Ok(())
        })
    }

    /// Fills user memory with `value`.
    pub fn fill(&mut self, va: u64, len: usize, value: u8) -> Result<(), Fault> {
        by_page(va, len, |at, offset, range| {
            self.writable(at)?.fill(offset, range.len(), value);
            Ok(())
        })
    }

    /// Reads without asking for rights, as a debugger does. The error is the first unmapped address.
    pub fn read_force(&self, va: u64, buf: &mut [u8]) -> Result<(), Fault> {
        by_page(va, buf.len(), |at, offset, range| {
            let fault = Fault {
                addr: at,
                access: super::Access::Read,
            };
            self.lookup(at)
                .ok_or(fault)?
                .page
                .read(offset, &mut buf[range]);
            Ok(())
        })
    }

    /// Reads a string up to (without) its NUL into `out`, at most `max` bytes. False when there was no
    /// NUL in those.
    pub fn read_cstr(&mut self, va: u64, max: usize, out: &mut Vec<u8>) -> Result<bool, Fault> {
        let mut chunk = [0; PAGE_SIZE];
        let mut at = va;
        let mut left = max;
        while left > 0 {
            let offset = at as usize % PAGE_SIZE;
            let part = (PAGE_SIZE - offset).min(left).min(256);
            let bytes = &mut chunk[..part];
            self.readable(at)?.read(offset, bytes);
            if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
                out.extend_from_slice(&bytes[..end]);
                return Ok(true);
            }
            out.extend_from_slice(bytes);
            at = at.wrapping_add(part as u64);
            left -= part;
        }
        Ok(false)
    }

    /// Reads a byte.
    pub fn read_u8(&mut self, va: u64) -> Result<u8, Fault> {
        let mut bytes = [0; 1];
        self.read(va, &mut bytes)?;
        Ok(bytes[0])
    }

    /// Reads two bytes.
    pub fn read_u16(&mut self, va: u64) -> Result<u16, Fault> {
        let mut bytes = [0; 2];
        self.read(va, &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    /// Reads four bytes.
    pub fn read_u32(&mut self, va: u64) -> Result<u32, Fault> {
        let mut bytes = [0; 4];
        self.read(va, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Reads eight bytes.
    pub fn read_u64(&mut self, va: u64) -> Result<u64, Fault> {
        let mut bytes = [0; 8];
        self.read(va, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes a byte.
    pub fn write_u8(&mut self, va: u64, value: u8) -> Result<(), Fault> {
        self.write(va, &[value])
    }

    /// Writes two bytes.
    pub fn write_u16(&mut self, va: u64, value: u16) -> Result<(), Fault> {
        self.write(va, &value.to_le_bytes())
    }

    /// Writes four bytes.
    pub fn write_u32(&mut self, va: u64, value: u32) -> Result<(), Fault> {
        self.write(va, &value.to_le_bytes())
    }

    /// Writes eight bytes.
    pub fn write_u64(&mut self, va: u64, value: u64) -> Result<(), Fault> {
        self.write(va, &value.to_le_bytes())
    }

    /// Writes `new` when `old` is there; returns what was there. Atomic, for no guest code runs meanwhile.
    pub fn compare_exchange_u32(&mut self, va: u64, old: u32, new: u32) -> Result<u32, Fault> {
        let found = self.read_u32(va)?;
        if found == old {
            self.write_u32(va, new)?;
        } else {
            self.writable(va)?;
        }
        Ok(found)
    }
}
