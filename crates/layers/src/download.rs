//! A blob on its way into the store: a file below `tmp`, as Docker keeps it. So what is being pulled takes
//! room on the machine's disk, where it has to fit, and not in the daemon's memory.

use std::io::{self, Read};
use std::rc::Rc;

use os::{Errno, Handle, OpenFlags, Os, OsExt, View};

/// A file that is gone when this is.
pub struct Download {
    os: Rc<dyn Os>,
    path: String,
    handle: Rc<dyn Handle>,
    len: u64,
}

impl Download {
    /// An empty one below `root`. The error says what failed, as Docker does.
    pub fn new(os: &Rc<dyn Os>, root: &str) -> Result<Download, (String, Errno)> {
        let directory = format!("{root}/tmp");
        os.mkdir_all(View::Host, directory.as_bytes(), 0o700)
            .map_err(|error| (format!("mkdir {directory}"), error))?;
        let path = format!("{directory}/GetImageBlob{}", os.rng().next_u64() >> 32);
        let flags = OpenFlags {
            read: true,
            write: true,
            create: true,
            truncate: true,
            ..OpenFlags::default()
        };
        let handle = os
            .open(View::Host, path.as_bytes(), flags, 0o600)
            .map_err(|error| (format!("open {path}"), error))?;
        Ok(Download {
            os: Rc::clone(os),
            path,
            handle,
            len: 0,
        })
    }

    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), (String, Errno)> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = match self.handle.write_at(self.len, rest) {
                Ok(0) => Err(Errno::ENOSPC),
                other => other,
            };
            let count = count.map_err(|error| (format!("write {}", self.path), error))?;
            self.len += count as u64;
            rest = &rest[count..];
        }
        Ok(())
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Moves it to where it stays.
    pub fn keep(self, path: &str) -> Result<(), Errno> {
        self.os
            .rename(View::Host, self.path.as_bytes(), path.as_bytes())
    }

    /// Bytes so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.len
    }

    /// Reads `size` bytes from `offset` on.
    pub fn part(&self, offset: u64, size: u64) -> impl Read + use<> {
        let handle = Rc::clone(&self.handle);
        Read::take(Reader { handle, offset }, size)
    }

    /// Reads it from the beginning.
    pub fn reader(&self) -> impl Read + use<> {
        Reader::new(Rc::clone(&self.handle))
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        // If somebody removed it, it is gone as it should be.
        let _ = self.os.unlink(View::Host, self.path.as_bytes());
    }
}

pub(crate) struct Reader {
    handle: Rc<dyn Handle>,
    offset: u64,
}

impl Reader {
    pub(crate) fn new(handle: Rc<dyn Handle>) -> Reader {
        Reader { handle, offset: 0 }
    }
}

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.handle.read_at(self.offset, buf);
        let count = count.map_err(|error| io::Error::other(error.go_description()))?;
        self.offset += count as u64;
        Ok(count)
    }
}
