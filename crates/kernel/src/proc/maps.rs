//! The memory of a task: `maps`, `smaps`, `mem`, `cmdline`, `environ`, `auxv`.

use std::any::Any;
use std::fmt::Write;
use std::rc::Rc;

use abi::{Errno, Result};
use rv64::{Prot, Sharing};
use vfs::file::{File, OpenFlags};
use vfs::mountinfo::{major, minor};

use super::links::shown_name;
use super::task::{TaskRef, View};
use crate::mm::{Backing, Mm, PAGE, Vma, VmaFlags};
use crate::pseudo::Body;

/// Longest command line or environment that is shown.
const STRINGS_MAX: u64 = 2 << 20;

/// Column at which names begin.
const NAME_COLUMN: usize = 73;

/// Pages of an address space by kind.
#[derive(Clone, Copy, Default, Debug)]
pub struct Sizes {
    /// Resident.
    pub resident: u64,
    /// Resident and private to the process (or to it and its forks).
    pub resident_anon: u64,
    /// Resident pages of files.
    pub resident_file: u64,
    /// Resident shared memory.
    pub resident_shmem: u64,
    /// Private writable mappings, without the stack.
    pub data: u64,
    /// The stack.
    pub stack: u64,
    /// Executable mappings.
    pub library: u64,
}

/// Counts the pages of an address space.
#[must_use]
pub fn sizes(mm: &Mm) -> Sizes {
    let mut sizes = Sizes::default();
    for vma in mm.snapshot() {
        let pages = vma.len() / PAGE;
        if vma.name == "[stack]" {
            sizes.stack += pages;
        } else if vma.prot.contains(Prot::WRITE) && !vma.is_shared() {
            sizes.data += pages;
        } else if vma.prot.contains(Prot::EXEC) {
            sizes.library += pages;
        }
        let resident = residency(mm, &vma);
        sizes.resident += resident.pages;
        sizes.resident_anon += resident.anon;
        match vma.backing {
            Backing::File { .. } => sizes.resident_file += resident.pages - resident.anon,
            Backing::Shared { .. } => sizes.resident_shmem += resident.pages - resident.anon,
            _ => {}
        }
    }
    sizes
}

#[derive(Clone, Copy, Default)]
struct Residency {
    pages: u64,
    anon: u64,
    /// Pages nobody else holds.
    own: u64,
}

fn residency(mm: &Mm, vma: &Vma) -> Residency {
    let mut count = Residency::default();
    let is_file = matches!(vma.backing, Backing::File { .. });
    mm.space
        .borrow()
        .for_each_page(vma.start, vma.len(), |_, mapped| {
            count.pages += 1;
            let shared_page = mapped.page.is_shared();
            count.own += u64::from(!shared_page);
            // A private copy of a file page belongs to nobody else.
            let anon = mapped.sharing != Sharing::Shared && (!is_file || !shared_page);
            count.anon += u64::from(anon && !vma.is_shared());
        });
    count
}

/// The line of a mapping, without the line break.
fn map_line(view: &View, vma: &Vma) -> Vec<u8> {
    let flag = |on: bool, letter: char| if on { letter } else { '-' };
    let (mut device, mut ino, mut offset) = (0, 0, 0);
    let mut name = vma.name.as_bytes().to_vec();
    match &vma.backing {
        Backing::File { file, offset: at } => {
            offset = *at;
            if let Some(path) = &file.path {
                device = path.mount.super_block().device;
                ino = path.inode().attr().map_or(0, |attr| attr.ino);
                name = shown_name(view, path);
            }
        }
        Backing::Shared { first, .. } => {
            offset = first * PAGE;
            name = b"/dev/zero (deleted)".to_vec();
        }
        _ => {}
    }
    let mut line = format!(
        "{:08x}-{:08x} {}{}{}{} {offset:08x} {:02x}:{:02x} {ino} ",
        vma.start,
        vma.end,
        flag(vma.prot.contains(Prot::READ), 'r'),
        flag(vma.prot.contains(Prot::WRITE), 'w'),
        flag(vma.prot.contains(Prot::EXEC), 'x'),
        if vma.is_shared() { 's' } else { 'p' },
        major(device),
        minor(device),
    )
    .into_bytes();
    if !name.is_empty() {
        while line.len() < NAME_COLUMN {
            line.push(b' ');
        }
        for byte in name {
            match byte {
                b'\n' => line.extend_from_slice(b"\\012"),
                byte => line.push(byte),
            }
        }
    }
    line
}

/// The mappings, none for tasks without memory of their own.
fn mappings(view: &View) -> Vec<Vma> {
    if view.task.group.is_kernel_task() || view.task.is_dead() {
        Vec::new()
    } else {
        view.task.mm().snapshot()
    }
}

pub(super) fn maps(view: &View) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for vma in mappings(view) {
        text.extend(map_line(view, &vma));
        text.push(b'\n');
    }
    Ok(text)
}

/// The counters of `smaps`, in kB.
fn smaps_counters(vma_kb: u64, residency: Residency, is_shared: bool) -> String {
    let kb = |pages: u64| pages * 4;
    let shared = residency.pages - residency.own;
    let (private_dirty, private_clean) = (residency.anon.min(residency.own), 0);
    let mut text = String::with_capacity(700);
    for (name, value) in [
        ("Size", vma_kb),
        ("KernelPageSize", 4),
        ("MMUPageSize", 4),
        ("Rss", kb(residency.pages)),
        ("Pss", kb(residency.own) + kb(shared) / 2),
        ("Pss_Dirty", kb(private_dirty)),
        ("Shared_Clean", if is_shared { 0 } else { kb(shared) }),
        ("Shared_Dirty", if is_shared { kb(shared) } else { 0 }),
        (
            "Private_Clean",
            kb(residency.own - private_dirty) + private_clean,
        ),
        ("Private_Dirty", kb(private_dirty)),
        ("Referenced", kb(residency.pages)),
        ("Anonymous", kb(residency.anon)),
        ("KSM", 0),
        ("LazyFree", 0),
        ("AnonHugePages", 0),
        ("ShmemPmdMapped", 0),
        ("FilePmdMapped", 0),
        ("Shared_Hugetlb", 0),
        ("Private_Hugetlb", 0),
        ("Swap", 0),
        ("SwapPss", 0),
        ("Locked", 0),
    ] {
        let label = format!("{name}:");
        let _ = writeln!(text, "{label:<16}{value:>8} kB");
    }
    text
}

fn vm_flags(vma: &Vma) -> String {
    let mut text = "VmFlags:".to_string();
    for (on, name) in [
        (vma.prot.contains(Prot::READ), " rd"),
        (vma.prot.contains(Prot::WRITE), " wr"),
        (vma.prot.contains(Prot::EXEC), " ex"),
        (vma.is_shared(), " sh"),
        (true, " mr mw me"),
        (vma.is_shared(), " ms"),
        (vma.flags.contains(VmaFlags::GROWS_DOWN), " gd"),
        (vma.flags.contains(VmaFlags::LOCKED), " lo"),
        (vma.flags.contains(VmaFlags::DONT_FORK), " dc"),
        (vma.flags.contains(VmaFlags::NO_RESERVE), " nr"),
        (vma.flags.contains(VmaFlags::WIPE_ON_FORK), " wf"),
    ] {
        if on {
            text.push_str(name);
        }
    }
    text.push('\n');
    text
}

pub(super) fn smaps(view: &View) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let mm = view.task.mm();
    for vma in mappings(view) {
        text.extend(map_line(view, &vma));
        text.push(b'\n');
        let counters = smaps_counters(vma.len() / 1024, residency(&mm, &vma), vma.is_shared());
        text.extend(counters.bytes());
        text.extend(b"THPeligible:           0\n");
        text.extend(vm_flags(&vma).bytes());
    }
    Ok(text)
}

pub(super) fn smaps_rollup(view: &View) -> Result<Vec<u8>> {
    let mm = view.task.mm();
    let all = mappings(view);
    let (Some(first), Some(last)) = (all.first(), all.last()) else {
        return Err(Errno::ESRCH);
    };
    let mut sum = Residency::default();
    for vma in &all {
        let part = residency(&mm, vma);
        sum.pages += part.pages;
        sum.anon += part.anon;
        sum.own += part.own;
    }
    let head = format!(
        "{:08x}-{:08x} ---p 00000000 00:00 0 ",
        first.start, last.end
    );
    let mut text = format!("{head:<NAME_COLUMN$}[rollup]\n");
    let counters = smaps_counters(0, sum, false);
    // The sizes of single mappings mean nothing here.
    text.extend(counters.lines().skip(3).map(|line| format!("{line}\n")));
    Ok(text.into_bytes())
}

// ---- strings on the stack ----

fn strings(view: &View, start: u64, end: u64) -> Result<Vec<u8>> {
    if view.task.group.is_kernel_task() || view.task.is_dead() || end <= start {
        return Ok(Vec::new());
    }
    let mut text = vec![0; (end - start).min(STRINGS_MAX) as usize];
    // Pages that were never written are not resident; they read as zeros.
    let mm = view.task.mm();
    let mut done = 0;
    while done < text.len() {
        let address = start + done as u64;
        let count = ((PAGE - address % PAGE) as usize).min(text.len() - done);
        if mm.peek(address, &mut text[done..done + count]).is_err() {
            text[done..done + count].fill(0);
        }
        done += count;
    }
    Ok(text)
}

pub(super) fn cmdline(view: &View) -> Result<Vec<u8>> {
    let layout = view.task.mm().layout.get();
    let mut text = strings(view, layout.arg_start, layout.arg_end)?;
    // A program that wrote over its arguments (setproctitle) has no zero at the end any more: what it
    // wrote goes on into the environment.
    if text.last().is_some_and(|&byte| byte != 0) {
        text.extend(strings(view, layout.env_start, layout.env_end)?);
        if let Some(end) = text.iter().position(|&byte| byte == 0) {
            text.truncate(end);
        }
    }
    Ok(text)
}

pub(super) fn environ(view: &View) -> Result<Vec<u8>> {
    let layout = view.task.mm().layout.get();
    strings(view, layout.env_start, layout.env_end)
}

pub(super) fn auxv(view: &View) -> Result<Vec<u8>> {
    Ok(view.task.mm().auxv.borrow().clone())
}

// ---- mem ----

/// What `/proc/PID/mem` opens as.
pub(super) fn mem_body(task: &TaskRef) -> Body {
    let task = task.clone();
    Body::Special(Box::new(move |_: OpenFlags| {
        let view = task.view()?;
        view.inspect()?;
        Ok(Rc::new(MemFile(view.task.mm())))
    }))
}

/// The memory of a process, read at its own addresses.
struct MemFile(Rc<Mm>);

impl File for MemFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let count = buf.len().min((PAGE - offset % PAGE) as usize);
        self.0.peek(offset, &mut buf[..count])?;
        Ok(count)
    }

    fn write_at(&self, _offset: u64, _buf: &[u8]) -> Result<usize> {
        // Writing is for debuggers, and there is no ptrace.
        Err(Errno::EPERM)
    }

    fn is_seekable(&self) -> bool {
        true
    }

    fn always_ready(&self) -> bool {
        true
    }
}
