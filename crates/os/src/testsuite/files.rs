//! Files and directories.

use std::rc::Rc;

use super::text;
use crate::{Errno, OpenFlags, Os, OsExt, TimeSpec, View};

const HOST: View = View::Host;

pub(super) async fn create_write_and_read(os: Rc<dyn Os>) {
    os.write_file(HOST, b"/tmp/a", b"hello", 0o640).unwrap();
    assert_eq!(os.read_file(HOST, b"/tmp/a").await.unwrap(), b"hello");
    let append = OpenFlags {
        write: true,
        append: true,
        ..OpenFlags::default()
    };
    let handle = os.open(HOST, b"/tmp/a", append, 0).unwrap();
    crate::ext::write_all(&handle, b" world").await.unwrap();
    assert_eq!(text(&os, "/tmp/a"), "hello world");
    let metadata = os.metadata(HOST, b"/tmp/a", true).unwrap();
    assert_eq!(
        (metadata.mode, metadata.size, metadata.nlink),
        (0o100_640, 11, 1)
    );
    assert_eq!(handle.metadata().unwrap().ino, metadata.ino);
    let read = OpenFlags {
        read: true,
        ..OpenFlags::default()
    };
    let reader = os.open(HOST, b"/tmp/a", read, 0).unwrap();
    let mut buf = [0; 5];
    assert_eq!((reader.read_at(6, &mut buf), &buf), (Ok(5), b"world"));
    assert_eq!(reader.write_at(0, b"x"), Err(Errno::EBADF));
}

pub(super) async fn directories_and_links(os: Rc<dyn Os>) {
    os.mkdir_all(HOST, b"/tmp/d/e/f", 0o755).unwrap();
    os.write_file(HOST, b"/tmp/d/file", b"x", 0o644).unwrap();
    os.symlink(HOST, b"e/../file", b"/tmp/d/link").unwrap();
    os.link(HOST, b"/tmp/d/file", b"/tmp/d/hard").unwrap();
    let mut names: Vec<_> = os
        .read_dir(HOST, b"/tmp/d")
        .unwrap()
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    names.sort();
    assert_eq!(names, [&b"e"[..], b"file", b"hard", b"link"]);
    assert_eq!(os.read_link(HOST, b"/tmp/d/link").unwrap(), b"e/../file");
    assert_eq!(
        os.canonicalize(HOST, b"/tmp/d/./e/../link").unwrap(),
        b"/tmp/d/file"
    );
    assert!(
        os.metadata(HOST, b"/tmp/d/link", false)
            .unwrap()
            .is_symlink()
    );
    assert_eq!(os.metadata(HOST, b"/tmp/d/hard", true).unwrap().nlink, 2);
    os.rename(HOST, b"/tmp/d/hard", b"/tmp/d/e/moved").unwrap();
    os.unlink(HOST, b"/tmp/d/file").unwrap();
    assert_eq!(text(&os, "/tmp/d/e/moved"), "x");
    os.remove_all(HOST, b"/tmp/d").unwrap();
    assert!(!os.exists(HOST, b"/tmp/d"));
}

pub(super) async fn errors_have_their_numbers(os: Rc<dyn Os>) {
    os.write_file(HOST, b"/tmp/file", b"", 0o644).unwrap();
    os.mkdir_all(HOST, b"/tmp/dir/sub", 0o755).unwrap();
    os.symlink(HOST, b"loop", b"/tmp/loop").unwrap();
    let open = |path: &[u8]| {
        os.open(
            HOST,
            path,
            OpenFlags {
                read: true,
                ..OpenFlags::default()
            },
            0,
        )
        .err()
    };
    assert_eq!(open(b"/tmp/none"), Some(Errno::ENOENT));
    assert_eq!(open(b"/tmp/file/x"), Some(Errno::ENOTDIR));
    assert_eq!(open(b"/tmp/loop"), Some(Errno::ELOOP));
    assert_eq!(
        open(&[&b"/tmp/"[..], &[b'n'; 256]].concat()),
        Some(Errno::ENAMETOOLONG)
    );
    assert_eq!(
        os.write_file(HOST, b"/tmp/dir", b"", 0).err(),
        Some(Errno::EISDIR)
    );
    assert_eq!(
        os.mkdir(HOST, b"/tmp/dir", 0o755).err(),
        Some(Errno::EEXIST)
    );
    assert_eq!(os.rmdir(HOST, b"/tmp/dir").err(), Some(Errno::ENOTEMPTY));
    assert_eq!(os.rmdir(HOST, b"/tmp/file").err(), Some(Errno::ENOTDIR));
    assert_eq!(os.unlink(HOST, b"/tmp/dir").err(), Some(Errno::EISDIR));
    let exclusive = OpenFlags {
        write: true,
        create: true,
        exclusive: true,
        ..OpenFlags::default()
    };
    assert_eq!(
        os.open(HOST, b"/tmp/file", exclusive, 0o644).err(),
        Some(Errno::EEXIST)
    );
}

pub(super) async fn modes_owners_and_times(os: Rc<dyn Os>) {
    os.write_file(HOST, b"/tmp/m", b"", 0o666).unwrap();
    assert_eq!(
        os.metadata(HOST, b"/tmp/m", true).unwrap().mode,
        0o100_666,
        "no umask"
    );
    os.chmod(HOST, b"/tmp/m", 0o4755).unwrap();
    os.lchown(HOST, b"/tmp/m", 1000, 1001).unwrap();
    os.chmod(HOST, b"/tmp/m", 0o4755).unwrap();
    let (atime, mtime) = (TimeSpec { sec: 1, nsec: 2 }, TimeSpec { sec: 3, nsec: 4 });
    os.set_times(HOST, b"/tmp/m", atime, mtime).unwrap();
    let metadata = os.metadata(HOST, b"/tmp/m", true).unwrap();
    assert_eq!(
        (metadata.mode, metadata.uid, metadata.gid),
        (0o104_755, 1000, 1001)
    );
    assert_eq!((metadata.atime, metadata.mtime), (atime, mtime));
    os.mknod(HOST, b"/tmp/null", 0o020_666, 0x103).unwrap();
    let null = os.metadata(HOST, b"/tmp/null", true).unwrap();
    assert_eq!((null.mode, null.rdev), (0o020_666, 0x103));
}

pub(super) async fn extended_attributes(os: Rc<dyn Os>) {
    os.write_file(HOST, b"/tmp/x", b"", 0o644).unwrap();
    os.set_xattr(HOST, b"/tmp/x", b"trusted.one", b"1").unwrap();
    os.set_xattr(HOST, b"/tmp/x", b"user.two", b"22").unwrap();
    assert_eq!(os.get_xattr(HOST, b"/tmp/x", b"user.two").unwrap(), b"22");
    let mut names = os.list_xattr(HOST, b"/tmp/x").unwrap();
    names.sort();
    assert_eq!(names, [&b"trusted.one"[..], b"user.two"]);
    assert_eq!(
        os.get_xattr(HOST, b"/tmp/x", b"user.none").err(),
        Some(Errno::ENODATA)
    );
}

pub(super) async fn sparse_files_and_truncation(os: Rc<dyn Os>) {
    let flags = OpenFlags {
        read: true,
        write: true,
        create: true,
        ..OpenFlags::default()
    };
    let handle = os.open(HOST, b"/tmp/s", flags, 0o600).unwrap();
    handle.write_at(1 << 20, b"end").unwrap();
    let mut buf = [1; 4];
    assert_eq!((handle.read_at(1000, &mut buf), buf), (Ok(4), [0; 4]));
    let metadata = handle.metadata().unwrap();
    assert!(metadata.size == (1 << 20) + 3 && metadata.blocks < 64);
    handle.set_len(2).unwrap();
    assert_eq!(handle.read_at(2, &mut buf), Ok(0));
    let stat = os.statfs(HOST, b"/tmp").unwrap();
    assert_eq!(stat.magic, 0x0102_1994);
}
