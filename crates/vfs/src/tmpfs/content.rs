//! The content of a file: a size and the pages that are there. What is not there reads as zeros.

use std::collections::BTreeMap;

use abi::{Errno, Result};
use mem::{PAGE_SIZE, Page};

const PAGE: u64 = PAGE_SIZE as u64;

/// Sparse pages.
#[derive(Default)]
pub struct Content {
    size: u64,
    pages: BTreeMap<u64, Page>,
}

impl Content {
    /// Length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many pages are there.
    #[must_use]
    pub fn page_count(&self) -> u64 {
        self.pages.len() as u64
    }

    /// Reads at `offset`; 0 at the end.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let len = self.size.saturating_sub(offset).min(buf.len() as u64) as usize;
        for (index, start, part) in parts(offset, &mut buf[..len]) {
            match self.pages.get(&index) {
                Some(page) => page.read(start, part),
                None => part.fill(0),
            }
        }
        len
    }

    /// Writes at `offset`; `make` gives each new page. A short count when only a part fitted.
    pub fn write(
        &mut self,
        offset: u64,
        buf: &[u8],
        mut make: impl FnMut() -> Result<Page>,
    ) -> Result<usize> {
        let end = offset.checked_add(buf.len() as u64).ok_or(Errno::EFBIG)?;
        if i64::try_from(end).is_err() {
            return Err(Errno::EFBIG);
        }
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let (index, start) = (at / PAGE, (at % PAGE) as usize);
            let len = (PAGE_SIZE - start).min(buf.len() - done);
            let part = &buf[done..done + len];
            if let Some(page) = self.pages.get(&index) {
                page.write(start, part);
            } else {
                let page = match make() {
                    Ok(page) => page,
                    Err(errno) if done == 0 => return Err(errno),
                    Err(_) => break,
                };
                page.write(start, part);
                self.pages.insert(index, page);
            }
            done += len;
        }
        self.size = self.size.max(offset + done as u64);
        Ok(done)
    }

    /// Sets the size; gives the number of pages freed.
    pub fn truncate(&mut self, size: u64) -> u64 {
        let mut freed = 0;
        if size < self.size {
            freed = self.pages.split_off(&size.div_ceil(PAGE)).len() as u64;
            let start = (size % PAGE) as usize;
            if start > 0
                && let Some(page) = self.pages.get(&(size / PAGE))
            {
                page.fill(start, PAGE_SIZE - start, 0);
            }
        }
        self.size = size;
        freed
    }

    /// Makes `len` bytes from `offset` zero; gives the number of pages freed.
    pub fn punch(&mut self, offset: u64, len: u64) -> u64 {
        let end = offset.saturating_add(len);
        let inside = |index: u64| index * PAGE >= offset && (index + 1).saturating_mul(PAGE) <= end;
        let touched: Vec<u64> = self
            .pages
            .range(offset / PAGE..end.div_ceil(PAGE))
            .map(|(&index, _)| index)
            .collect();
        let mut freed = 0;
        for index in touched {
            if inside(index) {
                self.pages.remove(&index);
                freed += 1;
            } else if let Some(page) = self.pages.get(&index) {
                let from = offset.max(index * PAGE) - index * PAGE;
                let to = end.min((index + 1) * PAGE) - index * PAGE;
                page.fill(from as usize, (to - from) as usize, 0);
            }
        }
        freed
    }

    /// The page at `index`, made by `make` when `write` and not there.
    pub fn page(
        &mut self,
        index: u64,
        write: bool,
        make: impl FnOnce() -> Result<Page>,
    ) -> Result<Option<Page>> {
        if index >= self.size.div_ceil(PAGE) {
            return Err(Errno::EFAULT);
        }
        if let Some(page) = self.pages.get(&index) {
            return Ok(Some(page.clone()));
        }
        if !write {
            return Ok(None);
        }
        let page = make()?;
        self.pages.insert(index, page.clone());
        Ok(Some(page))
    }

    /// The first offset at or behind `offset` that is in a page (`data`) or in a hole.
    #[must_use]
    pub fn seek(&self, offset: u64, data: bool) -> Option<u64> {
        if offset >= self.size {
            return None;
        }
        if data {
            let (&index, _) = self.pages.range(offset / PAGE..).next()?;
            return Some(offset.max(index * PAGE)).filter(|&at| at < self.size);
        }
        let mut index = offset / PAGE;
        for (&present, _) in self.pages.range(index..) {
            if present != index {
                break;
            }
            index += 1;
        }
        Some(offset.max(index * PAGE).min(self.size))
    }
}

/// A buffer cut at page borders: page index, offset in the page, part.
fn parts(offset: u64, buf: &mut [u8]) -> impl Iterator<Item = (u64, usize, &mut [u8])> {
    let first = (PAGE - offset % PAGE).min(buf.len() as u64) as usize;
    let (head, rest) = buf.split_at_mut(first);
    let head = (!head.is_empty()).then_some((offset / PAGE, (offset % PAGE) as usize, head));
    let next = offset / PAGE + 1;
    let tail = rest.chunks_mut(PAGE_SIZE).enumerate();
    head.into_iter()
        .chain(tail.map(move |(n, part)| (next + n as u64, 0, part)))
}
