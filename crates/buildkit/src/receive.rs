//! Receives a directory of the client's (`moby.filesync.v1.FileSync/DiffCopy`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::rc::Rc;

use os::{Errno, Handle, OpenFlags, Os, OsExt, TimeSpec, View};
use serve::h2::Fields;

use crate::path::{Announced, is_clean};
use crate::stat::{Packet, Stat};
use crate::{Call, Session, Status};

const METHOD: &str = "/moby.filesync.v1.FileSync/DiffCopy";
/// Files whose content is under way at a time.
const REQUESTS_MAX: usize = 16;

/// Which files are wanted.
#[derive(Clone, Default, Debug)]
pub struct Wanted {
    /// The client's name for the directory.
    pub name: String,
    /// Patterns of what to send; all, when there are none.
    pub include: Vec<String>,
    /// Patterns of what not to send.
    pub exclude: Vec<String>,
    /// Names that are sent with what their links lead to.
    pub follow: Vec<String>,
}

impl Wanted {
    fn metadata(&self) -> Fields {
        let mut metadata = Fields::new();
        let lists = [
            ("include-patterns", &self.include),
            ("exclude-patterns", &self.exclude),
            ("followpaths", &self.follow),
        ];
        for (name, values) in lists {
            // A value that is not ASCII makes its whole list be escaped.
            let escape = !values.iter().all(|value| value.is_ascii());
            for value in values {
                let value = if escape {
                    query_escape(value)
                } else {
                    value.clone()
                };
                metadata.push((name.to_string(), value));
            }
            if escape {
                metadata.push((format!("{name}-encoded"), "1".to_string()));
            }
        }
        metadata.push(("dir-name".to_string(), self.name.clone()));
        metadata
    }
}

/// As Go's `url.QueryEscape`.
fn query_escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte))
            }
            b' ' => out.push('+'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Where the files go.
pub struct Target {
    /// The machine.
    pub os: Rc<dyn Os>,
    /// A directory of it. What is in it from before and has not changed does not come again, the rest goes.
    pub dir: Vec<u8>,
}

/// A file whose content is under way.
struct Pending {
    handle: Rc<dyn Handle>,
    path: Vec<u8>,
    mtime: i64,
    written: u64,
}

/// Receives `wanted` into `target`; `progress` hears how many bytes have come.
pub async fn receive(
    session: &Session,
    wanted: &Wanted,
    target: &Target,
    mut progress: impl FnMut(u64),
) -> Result<u64, Status> {
    if !session.supports(METHOD) {
        return Err(Status::unknown("no local sources enabled"));
    }
    let call = session.call(METHOD, &wanted.metadata())?;
    let mut transfer = Transfer {
        call,
        target,
        announced: Announced::default(),
        directories: Vec::new(),
        waiting: VecDeque::new(),
        pending: BTreeMap::new(),
        all_announced: false,
        old: names_below(target).map_err(|error| failed(&target.dir, error))?,
    };
    let mut total = 0;
    loop {
        let Some(bytes) = transfer.call.receive().await? else {
            return Err(Status::unknown("unexpected EOF"));
        };
        total += bytes.len() as u64;
        progress(total);
        let packet = Packet::parse(&bytes).map_err(|_| Status::unknown("malformed packet"))?;
        if transfer.take(packet).await? {
            transfer.call.half_close().await?;
            return Ok(total);
        }
    }
}

struct Transfer<'a> {
    call: Call,
    target: &'a Target,
    announced: Announced,
    /// Their times are set last, for files inside change them.
    directories: Vec<(Vec<u8>, i64)>,
    /// Files to ask for.
    waiting: VecDeque<(u32, Stat)>,
    pending: BTreeMap<u32, Pending>,
    all_announced: bool,
    /// What is there from before and was not announced yet.
    old: BTreeSet<Vec<u8>>,
}

/// The names of all that is in the directory.
fn names_below(target: &Target) -> Result<BTreeSet<Vec<u8>>, Errno> {
    let (mut names, mut pending) = (BTreeSet::new(), vec![Vec::new()]);
    while let Some(directory) = pending.pop() {
        let path = [&target.dir[..], b"/", &directory].concat();
        for entry in target.os.read_dir(View::Host, &path)? {
            let name = match &directory[..] {
                b"" => entry.name,
                directory => [directory, b"/", &entry.name].concat(),
            };
            let path = [&target.dir[..], b"/", &name].concat();
            if target.os.metadata(View::Host, &path, false)?.is_dir() {
                pending.push(name.clone());
            }
            names.insert(name);
        }
    }
    Ok(names)
}

impl Transfer<'_> {
    /// Takes a packet; true at the end.
    async fn take(&mut self, packet: Packet) -> Result<bool, Status> {
        match packet {
            Packet::Stat(Some(_)) if self.all_announced => {
                return Err(Status::unknown("a file after the last"));
            }
            Packet::Stat(Some(stat)) => {
                let number = self.announced.add(&stat.path, stat.is_dir())?;
                let name = stat.path.clone();
                self.create(number, stat)
                    .map_err(|error| failed(&name, error))?;
            }
            Packet::Stat(None) => self.all_announced = true,
            Packet::Data(number, data) => self.write(number, &data)?,
            Packet::Finish => return Ok(true),
            Packet::Error(text) => return Err(Status::unknown(text)),
            Packet::Request(_) => return Err(Status::unknown("unexpected request")),
        }
        while self.pending.len() < REQUESTS_MAX
            && let Some((number, stat)) = self.waiting.pop_front()
        {
            let pending = self
                .open(&stat)
                .map_err(|error| failed(&stat.path, error))?;
            self.pending.insert(number, pending);
            self.call.send(&Packet::Request(number).emit()).await?;
        }
        if self.all_announced && self.pending.is_empty() {
            self.all_announced = false;
            for name in std::mem::take(&mut self.old) {
                // It may have gone with the directory it was in.
                let _ = self.target.os.remove_all(View::Host, &self.full(&name));
            }
            self.finish_directories();
            self.call.send(&Packet::Finish.emit()).await?;
        }
        Ok(false)
    }

    fn full(&self, path: &[u8]) -> Vec<u8> {
        [&self.target.dir[..], b"/", path].concat()
    }

    fn create(&mut self, number: u32, stat: Stat) -> Result<(), Errno> {
        let path = self.full(&stat.path);
        if self.old.remove(&stat.path) {
            if self.unchanged(&path, &stat)? {
                if stat.is_dir() {
                    self.directories.push((path, stat.mtime));
                }
                return Ok(());
            }
            let below = [&stat.path[..], b"/"].concat();
            self.old.retain(|name| !name.starts_with(&below));
            self.target.os.remove_all(View::Host, &path)?;
        }
        let os = &self.target.os;
        if stat.is_dir() {
            os.mkdir(View::Host, &path, stat.mode & 0o7777)?;
            os.lchown(View::Host, &path, stat.uid, stat.gid)?;
            self.directories.push((path, stat.mtime));
            return Ok(());
        }
        if stat.is_symlink() {
            os.symlink(View::Host, &stat.link, &path)?;
        } else if stat.is_file() && !stat.link.is_empty() {
            // Only what was announced has a name here, and nothing above it is a link.
            if !is_clean(&stat.link) || !self.announced.has_parent(&stat.link) {
                return Err(Errno::EINVAL);
            }
            let old = self.full(&stat.link);
            return os.link(View::Host, &old, &path);
        } else if stat.is_file() {
            // It is there before its content is: another name may be given to it.
            let flags = OpenFlags {
                write: true,
                create: true,
                exclusive: true,
                ..OpenFlags::default()
            };
            os.open(View::Host, &path, flags, stat.mode & 0o7777)?;
            self.waiting.push_back((number, stat));
            return Ok(());
        } else {
            let (major, minor) = (u64::from(stat.device.0), u64::from(stat.device.1));
            let device = (major & 0xfff) << 8 | minor & 0xff | (minor & !0xff) << 12;
            os.mknod(View::Host, &path, stat.mode, device)?;
        }
        os.lchown(View::Host, &path, stat.uid, stat.gid)?;
        self.set_time(&path, stat.mtime)
    }

    /// Whether what is there is what was announced. Another name of a file is made again, for that may be new.
    fn unchanged(&self, path: &[u8], stat: &Stat) -> Result<bool, Errno> {
        let os = &self.target.os;
        let found = os.metadata(View::Host, path, false)?;
        if (found.mode, found.uid, found.gid) != (stat.mode, stat.uid, stat.gid) {
            return Ok(false);
        }
        if stat.is_dir() {
            return Ok(true);
        }
        if stat.is_symlink() {
            return Ok(os.read_link(View::Host, path)? == stat.link);
        }
        let mtime = found.mtime.sec * 1_000_000_000 + i64::from(found.mtime.nsec);
        let plain = stat.is_file() && stat.link.is_empty() && found.nlink == 1;
        Ok(plain && found.size == stat.size && mtime == stat.mtime)
    }

    fn set_time(&self, path: &[u8], nanos: i64) -> Result<(), Errno> {
        let time = TimeSpec {
            sec: nanos.div_euclid(1_000_000_000),
            nsec: nanos.rem_euclid(1_000_000_000) as u32,
        };
        self.target.os.set_times(View::Host, path, time, time)
    }

    fn open(&self, stat: &Stat) -> Result<Pending, Errno> {
        let os = &self.target.os;
        let path = self.full(&stat.path);
        let flags = OpenFlags {
            write: true,
            no_follow: true,
            ..OpenFlags::default()
        };
        let handle = os.open(View::Host, &path, flags, stat.mode & 0o7777)?;
        os.lchown(View::Host, &path, stat.uid, stat.gid)?;
        os.chmod(View::Host, &path, stat.mode & 0o7777)?;
        for (name, value) in &stat.xattrs {
            os.set_xattr(View::Host, &path, name.as_bytes(), value)?;
        }
        Ok(Pending {
            handle,
            path,
            mtime: stat.mtime,
            written: 0,
        })
    }

    fn write(&mut self, number: u32, data: &[u8]) -> Result<(), Status> {
        let Some(pending) = self.pending.get_mut(&number) else {
            return Err(Status::unknown(format!("invalid file request {number}")));
        };
        if data.is_empty() {
            if let Some(done) = self.pending.remove(&number) {
                drop(done.handle);
                self.set_time(&done.path, done.mtime)
                    .map_err(|error| failed(&done.path, error))?;
            }
            return Ok(());
        }
        let mut done = 0;
        while done < data.len() {
            let at = pending.written;
            match pending.handle.write_at(at, &data[done..]) {
                Ok(count) => {
                    done += count;
                    pending.written += count as u64;
                }
                Err(error) => return Err(failed(&pending.path, error)),
            }
        }
        Ok(())
    }

    fn finish_directories(&mut self) {
        for (path, mtime) in std::mem::take(&mut self.directories).into_iter().rev() {
            // A directory without its time is still the directory.
            let _ = self.set_time(&path, mtime);
        }
    }
}

fn failed(path: &[u8], error: Errno) -> Status {
    let path = String::from_utf8_lossy(path);
    Status::unknown(format!("failed to write {path}: {error}"))
}
