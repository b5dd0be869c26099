//! The little language of `tests/transcripts`: one file operation a line.
//!
//! `tests/on_linux.py` runs the same files on a real kernel; keep the two alike.

use std::collections::BTreeMap;
use std::rc::Rc;

use clock::{Clock, Instant};
use vfs::context::TimeChange;
use vfs::file::{OpenFile, OpenFlags};
use vfs::inode::{
    FileSystem, S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFREG, S_IFSOCK, Timestamp,
};
use vfs::mount::{MountFlags, MountNamespace};
use vfs::mountinfo::makedev;
use vfs::path::Path;
use vfs::registry::FsRegistry;
use vfs::tmpfs::{Tmpfs, TmpfsOptions};
use vfs::{Credentials, FsContext, Result};

/// A world in which commands run.
pub struct World {
    pub clock: Clock,
    pub namespace: Rc<MountNamespace>,
    pub root: Path,
    pub cwd: Path,
    pub creds: Credentials,
    registry: FsRegistry,
    open: BTreeMap<String, Rc<OpenFile>>,
    inodes: BTreeMap<String, (u64, u64)>,
}

impl World {
    pub fn new() -> World {
        let clock = Clock::new(1_700_000_000_000_000_000);
        let options = TmpfsOptions {
            mode: 0o755,
            ..TmpfsOptions::default()
        };
        let fs: Rc<dyn FileSystem> = Tmpfs::new(&clock, options);
        let namespace = MountNamespace::new(&fs, b"rootfs", MountFlags::empty());
        let root = namespace.root();
        World {
            clock,
            cwd: root.clone(),
            root,
            namespace,
            creds: Credentials::root(),
            registry: FsRegistry::new(),
            open: BTreeMap::new(),
            inodes: BTreeMap::new(),
        }
    }

    pub fn context(&self) -> FsContext<'_> {
        FsContext {
            root: &self.root,
            cwd: &self.cwd,
            creds: &self.creds,
            umask: 0o22,
            clock: &self.clock,
            namespace: &self.namespace,
        }
    }

    /// Runs a command; gives what it prints, or `! ERRNO`.
    pub fn run(&mut self, line: &str) -> String {
        self.clock
            .advance_to(Instant(self.clock.now().0 + 1_000_000));
        let words: Vec<&str> = line.split_whitespace().collect();
        match self.command(&words) {
            Ok(text) => text,
            Err(errno) => format!("! {}", errno.name()),
        }
    }

    fn command(&mut self, words: &[&str]) -> Result<String> {
        let rest: Vec<&[u8]> = words[1..].iter().map(|word| word.as_bytes()).collect();
        let number = |index: usize| words[index].parse::<u64>().expect("a number");
        let octal = |index: usize| u32::from_str_radix(words[index], 8).expect("an octal number");
        let ctx = self.context();
        let quiet = |()| String::new();
        match (words[0], &rest[..]) {
            ("mkdir", [path]) => ctx.mkdir(None, path, 0o777).map(|_| String::new()),
            ("mkdir", [path, _]) => ctx.mkdir(None, path, octal(2)).map(|_| String::new()),
            ("write", [path, text @ ..]) => {
                let flags = OpenFlags::CREAT | OpenFlags::TRUNC | OpenFlags::WRONLY;
                let file = ctx.open(None, path, flags, 0o666)?;
                file.write(&text.join(&b' ')).map(|_| String::new())
            }
            ("append", [path, text @ ..]) => {
                let flags = OpenFlags::APPEND | OpenFlags::WRONLY;
                let file = ctx.open(None, path, flags, 0)?;
                file.write(&text.join(&b' ')).map(|_| String::new())
            }
            ("cat", [path]) => {
                let file = ctx.open(None, path, OpenFlags::empty(), 0)?;
                read(&file, 65536)
            }
            ("ls", [path]) => {
                let file = ctx.open(None, path, OpenFlags::DIRECTORY, 0)?;
                Ok(list(&file)?.join(" "))
            }
            ("rm", [path]) => ctx.unlink(None, path).map(quiet),
            ("rmdir", [path]) => ctx.rmdir(None, path).map(quiet),
            ("mv", [old, new]) => ctx.rename(None, old, None, new, 0).map(quiet),
            ("mv-noreplace", [old, new]) => ctx.rename(None, old, None, new, 1).map(quiet),
            ("mv-exchange", [old, new]) => ctx.rename(None, old, None, new, 2).map(quiet),
            ("ln", [old, new]) => ctx.link(None, old, None, new, false).map(quiet),
            ("symlink", [target, path]) => ctx.symlink(target, None, path).map(|_| String::new()),
            ("readlink", [path]) => ctx.read_link(None, path).map(text),
            ("stat", [path]) => {
                let attr = ctx.stat(None, path, false)?.attr;
                let size = if attr.is_dir() { 0 } else { attr.size };
                let (kind, perm) = (kind(attr.file_type()), attr.mode & 0o7777);
                Ok(format!("{kind} {perm:o} {}:{} {size}", attr.uid, attr.gid))
            }
            ("nlink", [path]) => Ok(ctx.stat(None, path, false)?.attr.nlink.to_string()),
            ("mtime", [path]) => Ok(ctx.stat(None, path, false)?.attr.mtime.sec.to_string()),
            ("rdev", [path]) => Ok(ctx.stat(None, path, false)?.attr.rdev.to_string()),
            ("touch", [path, _]) => {
                let time = TimeChange::At(Timestamp {
                    sec: number(2) as i64,
                    nsec: 0,
                });
                ctx.utimens(None, path, time, time, true).map(quiet)
            }
            ("touch-now", [path]) => ctx
                .utimens(None, path, TimeChange::Now, TimeChange::Now, true)
                .map(quiet),
            ("chmod", [_, path]) => ctx.chmod(None, path, octal(1)).map(quiet),
            ("chown", [_, _, path]) => {
                let (uid, gid) = (number(1) as u32, number(2) as u32);
                ctx.chown(None, path, Some(uid), Some(gid), false)
                    .map(quiet)
            }
            ("truncate", [path, _]) => ctx.truncate(None, path, number(2)).map(quiet),
            ("access", [path, _]) => ctx
                .access(None, path, number(2) as u32, true, true)
                .map(quiet),
            ("mknod", [path, kind, major, minor]) => {
                let mode = match *kind {
                    b"c" => S_IFCHR,
                    b"b" => S_IFBLK,
                    b"p" => S_IFIFO,
                    _ => S_IFSOCK,
                };
                let number = |word: &[u8]| std::str::from_utf8(word).unwrap().parse().unwrap();
                let rdev = makedev(number(major), number(minor));
                ctx.mknod(None, path, mode | 0o666, rdev)
                    .map(|_| String::new())
            }
            ("mount", [fstype, target, data @ ..]) => {
                let data = data.first().copied().unwrap_or_default();
                let flags = MountFlags::empty();
                ctx.mount(fstype, target, fstype, flags, data, &self.registry)
                    .map(quiet)
            }
            ("bind" | "rbind" | "move", [source, target]) => {
                let flags = match words[0] {
                    "bind" => MountFlags::BIND,
                    "rbind" => MountFlags::BIND | MountFlags::REC,
                    _ => MountFlags::MOVE,
                };
                ctx.mount(source, target, b"", flags, b"", &self.registry)
                    .map(quiet)
            }
            ("remount", [target, flags]) => {
                let flags = MountFlags::REMOUNT | MountFlags::BIND | mount_flags(flags);
                ctx.mount(b"", target, b"", flags, b"", &self.registry)
                    .map(quiet)
            }
            ("propagate", [target, kind]) => {
                let flags = match *kind {
                    b"private" => MountFlags::PRIVATE,
                    b"shared" => MountFlags::SHARED,
                    b"slave" => MountFlags::SLAVE,
                    _ => MountFlags::UNBINDABLE,
                };
                ctx.mount(b"", target, b"", flags, b"", &self.registry)
                    .map(quiet)
            }
            ("umount", [target]) => ctx.umount(target, 0).map(quiet),
            ("umount-lazy", [target]) => ctx.umount(target, 2).map(quiet),
            ("setx", [path, name, value]) => {
                let path = ctx.resolve(None, path, true)?;
                ctx.set_xattr(&path, name, value, 0).map(quiet)
            }
            ("getx", [path, name]) => {
                let path = ctx.resolve(None, path, true)?;
                ctx.get_xattr(&path, name).map(text)
            }
            ("rmx", [path, name]) => {
                let path = ctx.resolve(None, path, true)?;
                ctx.remove_xattr(&path, name).map(quiet)
            }
            ("listx", [path]) => {
                let mut names = ctx.list_xattr(&ctx.resolve(None, path, true)?)?;
                names.sort();
                Ok(text(names.join(&b' ')))
            }
            _ => self.stateful(words, &rest),
        }
    }

    /// Commands that remember something: files, inode numbers, who and where we are.
    fn stateful(&mut self, words: &[&str], rest: &[&[u8]]) -> Result<String> {
        let ctx = self.context();
        let number = |index: usize| words[index].parse::<u64>().expect("a number");
        match (words[0], rest) {
            ("open", [_, path, flags, mode @ ..]) => {
                let mode = mode.first().map_or(0o666, |_| {
                    u32::from_str_radix(words[4], 8).expect("an octal number")
                });
                let file = ctx.open(None, path, open_flags(flags), mode)?;
                self.open.insert(words[1].to_string(), file);
                Ok(String::new())
            }
            ("read", [_, _]) => read(&self.open[words[1]], number(2) as usize),
            ("put", [_, text @ ..]) => self.open[words[1]]
                .write(&text.join(&b' '))
                .map(|_| String::new()),
            ("seek", [_, _]) => {
                self.open[words[1]].position.set(number(2));
                Ok(String::new())
            }
            ("fstat", [_]) => {
                let path = self.open[words[1]].path.clone().expect("a path");
                let attr = path.inode().attr()?;
                Ok(format!("{} {}", kind(attr.file_type()), attr.size))
            }
            ("fchmod", [_, _]) => {
                let path = self.open[words[1]].path.clone().expect("a path");
                let mode = u32::from_str_radix(words[2], 8).expect("an octal number");
                ctx.chmod_at(&path, mode).map(|()| String::new())
            }
            ("fname", [_]) => {
                let path = self.open[words[1]].path.clone().expect("a path");
                Ok(text(ctx.absolute_name(&path)))
            }
            ("close", [_]) => {
                self.open.remove(words[1]);
                Ok(String::new())
            }
            ("inode", [_, path]) => {
                let stat = ctx.stat(None, path, false)?;
                self.inodes
                    .insert(words[1].to_string(), (stat.dev, stat.attr.ino));
                Ok(String::new())
            }
            ("same-inode", [_, path]) => {
                let stat = ctx.stat(None, path, false)?;
                let same = self.inodes[words[1]] == (stat.dev, stat.attr.ino);
                // The number in the directory must be the same one.
                let (dir, name) = path.split_at(path.iter().rposition(|&b| b == b'/').unwrap());
                let dir = if dir.is_empty() { b"/" } else { dir };
                let file = ctx.open(None, dir, OpenFlags::DIRECTORY, 0)?;
                let mut listed = 0;
                file.file.read_dir(0, &mut |entry| {
                    if entry.name == &name[1..] {
                        listed = entry.ino;
                    }
                    true
                })?;
                Ok(format!("{same} {}", listed == stat.attr.ino))
            }
            ("su", [_, _, groups @ ..]) => {
                let (uid, gid) = (number(1) as u32, number(2) as u32);
                let groups = groups.iter().enumerate().map(|(n, _)| number(3 + n) as u32);
                self.creds = match uid {
                    0 => Credentials::root(),
                    uid => Credentials {
                        groups: groups.collect(),
                        ..Credentials::user(uid, gid)
                    },
                };
                Ok(String::new())
            }
            ("cd", [path]) => {
                self.cwd = ctx.directory(None, path)?;
                Ok(String::new())
            }
            ("pwd", []) => Ok(text(ctx.absolute_name(&self.cwd))),
            ("chroot", [path]) => {
                self.root = ctx.directory(None, path)?;
                Ok(String::new())
            }
            ("pivot", [new, old]) => {
                let (before, after) = ctx.pivot_root(new, old)?;
                for place in [&mut self.root, &mut self.cwd] {
                    if *place == before {
                        *place = after.clone();
                    }
                }
                Ok(String::new())
            }
            _ => panic!("no such command: {words:?}"),
        }
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

fn read(file: &OpenFile, len: usize) -> Result<String> {
    let mut buf = vec![0; len];
    let count = file.read(&mut buf)?;
    buf.truncate(count);
    Ok(text(buf).replace('\0', "."))
}

pub fn list(file: &OpenFile) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut cursor = 0;
    loop {
        // Three at a time, as a small getdents buffer would.
        let before = names.len();
        file.file.read_dir(cursor, &mut |entry| {
            names.push(String::from_utf8_lossy(entry.name).into_owned());
            cursor = entry.next;
            names.len() < before + 3
        })?;
        if names.len() == before {
            break;
        }
    }
    names.sort();
    Ok(names)
}

fn kind(file_type: u32) -> &'static str {
    match file_type {
        S_IFDIR => "dir",
        S_IFREG => "file",
        S_IFLNK => "link",
        S_IFCHR => "char",
        S_IFBLK => "block",
        S_IFIFO => "fifo",
        _ => "socket",
    }
}

fn mount_flags(text: &[u8]) -> MountFlags {
    let mut flags = MountFlags::empty();
    for word in text.split(|&byte| byte == b',') {
        flags |= match word {
            b"ro" => MountFlags::RDONLY,
            b"noexec" => MountFlags::NOEXEC,
            b"nosuid" => MountFlags::NOSUID,
            b"nodev" => MountFlags::NODEV,
            _ => MountFlags::empty(),
        };
    }
    flags
}

fn open_flags(text: &[u8]) -> OpenFlags {
    let mut flags = OpenFlags::empty();
    for word in text.split(|&byte| byte == b',') {
        flags |= match word {
            b"r" => OpenFlags::empty(),
            b"w" => OpenFlags::WRONLY,
            b"rw" => OpenFlags::RDWR,
            b"creat" => OpenFlags::CREAT,
            b"excl" => OpenFlags::EXCL,
            b"trunc" => OpenFlags::TRUNC,
            b"append" => OpenFlags::APPEND,
            b"directory" => OpenFlags::DIRECTORY,
            b"nofollow" => OpenFlags::NOFOLLOW,
            b"path" => OpenFlags::PATH,
            b"tmpfile" => OpenFlags::TMPFILE,
            other => panic!("no such flag: {other:?}"),
        };
    }
    flags
}

/// Runs a transcript; gives the lines whose answer differs.
pub fn check(name: &str, transcript: &str) -> Vec<String> {
    let mut world = World::new();
    let mut wrong = Vec::new();
    let mut lines = transcript.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let Some(command) = line.strip_prefix("$ ") else {
            continue;
        };
        let mut expected = String::new();
        if let Some((_, next)) = lines.peek()
            && !next.is_empty()
            && !next.starts_with('$')
            && !next.starts_with('#')
        {
            expected = (*next).to_string();
        }
        let got = world.run(command);
        if got != expected {
            wrong.push(format!(
                "{name}:{}: {command}: {got:?}, not {expected:?}",
                number + 1
            ));
        }
    }
    wrong
}

/// For tests that expect a command to work.
pub fn ok(world: &mut World, line: &str) -> String {
    let answer = world.run(line);
    assert!(!answer.starts_with('!'), "{line}: {answer}");
    answer
}
