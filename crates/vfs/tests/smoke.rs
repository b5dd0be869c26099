//! The first things that must work.

use clock::Clock;
use vfs::file::OpenFlags;
use vfs::inode::FileSystem;
use vfs::mount::{MountFlags, MountNamespace};
use vfs::tmpfs::{Tmpfs, TmpfsOptions};
use vfs::{Credentials, FsContext};

#[test]
fn files_are_made_read_renamed_and_removed() {
    let clock = Clock::new(1_700_000_000_000_000_000);
    let fs: std::rc::Rc<dyn FileSystem> = Tmpfs::new(&clock, TmpfsOptions::default());
    let namespace = MountNamespace::new(&fs, b"rootfs", MountFlags::empty());
    let (root, creds) = (namespace.root(), Credentials::root());
    let ctx = FsContext {
        root: &root,
        cwd: &root,
        creds: &creds,
        umask: 0o22,
        clock: &clock,
        namespace: &namespace,
    };
    ctx.mkdir(None, b"/a", 0o777).unwrap();
    let flags = OpenFlags::CREAT | OpenFlags::RDWR;
    let file = ctx.open(None, b"/a/f", flags, 0o666).unwrap();
    assert_eq!(file.write(b"hello").unwrap(), 5);
    ctx.symlink(b"a/f", None, b"/link").unwrap();
    ctx.rename(None, b"/a/f", None, b"/a/g", 0).unwrap();
    assert_eq!(ctx.absolute_name(file.path.as_ref().unwrap()), b"/a/g");
    assert_eq!(ctx.resolve(None, b"/link", true), Err(vfs::Errno::ENOENT));
    let mut buf = [0; 8];
    let again = ctx.open(None, b"//a/./../a/g", OpenFlags::empty(), 0).unwrap();
    assert_eq!((again.read(&mut buf).unwrap(), &buf[..5]), (5, &b"hello"[..]));
    ctx.unlink(None, b"/a/g").unwrap();
    assert_eq!(ctx.absolute_name(file.path.as_ref().unwrap()), b"/a/g (deleted)");
    ctx.rmdir(None, b"/a").unwrap();
}
