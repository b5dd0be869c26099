//! Loading programs: ELF executables for RV64, their interpreters (`ld.so`), `#!` scripts, and the stack a
//! program starts with (`execve(2)`, `elf(5)`, System V ABI for RISC-V).
//!
//! A program is loaded into a new address space, so a file that turns out to be wrong leaves the caller as
//! it was. Content that is not in the machine yet makes the whole call wait and start over.

use std::rc::Rc;

use abi::{Errno, Result};
use rv64::{Access, Fault, Prot};
use vfs::file::{OpenFile, OpenFlags};
use vfs::inode::{Attr, S_IFREG};
use vfs::mount::MountFlags;
use vfs::path::Path;
use vfs::write_count::WriteHold;
use vfs::{Credentials, FsContext};

use crate::kernel::Kernel;
use crate::mm::{
    Backing, FaultError, Mm, PAGE, PIE_BASE, Placement, STACK_TOP, USER_END, Vma, VmaFlags,
    page_down, page_up,
};
use crate::task::{FileRights, RLIMIT_STACK, Task};

/// Bytes of a file that decide what it is.
const HEAD: usize = 256;
/// `#!` scripts whose interpreter is a script, at most (as Linux).
const SCRIPT_DEPTH: usize = 5;
/// One argument or environment string at most.
const STRING_MAX: usize = 128 * 1024;
/// The stack a program starts with.
const INITIAL_STACK: u64 = 32 * PAGE;
/// RV64 IMAFDC as `AT_HWCAP` says it: a bit per letter.
const HWCAP: u64 = 1 | 1 << 2 | 1 << 3 | 1 << 5 | 1 << 8 | 1 << 12;
/// `EM_RISCV`.
const MACHINE: u16 = 243;

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_GNU_STACK: u32 = 0x6474_e551;
const PHENT: usize = 56;

/// A program in memory that has not been started.
pub struct Program {
    /// Its memory.
    pub mm: Rc<Mm>,
    /// First instruction.
    pub entry: u64,
    /// Stack pointer.
    pub stack: u64,
    /// The file that is executed: the interpreter of a script.
    pub file: Rc<OpenFile>,
    /// Who runs it.
    pub creds: Credentials,
    /// It runs with more rights than who started it has.
    pub secure: bool,
    /// What `ps` shows.
    pub name: Vec<u8>,
}

/// What is to be executed.
pub struct Request<'a> {
    /// The file.
    pub file: Rc<OpenFile>,
    /// Its name as it was given.
    pub name: &'a [u8],
    /// Arguments.
    pub argv: Vec<Vec<u8>>,
    /// Environment.
    pub envp: &'a [Vec<u8>],
}

/// A program header.
#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

/// What of an ELF header is needed.
#[derive(Debug)]
struct Elf {
    position_independent: bool,
    entry: u64,
    phoff: u64,
    segments: Vec<Segment>,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Reads exactly `buf.len()` bytes, or says `ENOEXEC`.
fn read_exact(file: &OpenFile, offset: u64, buf: &mut [u8]) -> Result<()> {
    let mut done = 0;
    while done < buf.len() {
        match file.file.read_at(offset + done as u64, &mut buf[done..])? {
            0 => return Err(Errno::ENOEXEC),
            count => done += count,
        }
    }
    Ok(())
}

impl Elf {
    fn parse(file: &OpenFile, head: &[u8]) -> Result<Elf> {
        let is_ours = head.len() >= 64
            && head[..4] == *b"\x7fELF"
            && head[4] == 2
            && head[5] == 1
            && matches!(u16_at(head, 16), 2 | 3)
            && u16_at(head, 18) == MACHINE;
        if !is_ours {
            return Err(Errno::ENOEXEC);
        }
        let count = usize::from(u16_at(head, 56));
        if usize::from(u16_at(head, 54)) != PHENT || count == 0 || count * PHENT > 65536 {
            return Err(Errno::ENOEXEC);
        }
        let phoff = u64_at(head, 32);
        let mut table = vec![0; count * PHENT];
        read_exact(file, phoff, &mut table)?;
        let segments = table.chunks_exact(PHENT).map(|row| Segment {
            kind: u32_at(row, 0),
            flags: u32_at(row, 4),
            offset: u64_at(row, 8),
            address: u64_at(row, 16),
            file_size: u64_at(row, 32),
            memory_size: u64_at(row, 40),
            align: u64_at(row, 48),
        });
        let elf = Elf {
            position_independent: u16_at(head, 16) == 3,
            entry: u64_at(head, 24),
            phoff,
            segments: segments.collect(),
        };
        elf.check()?;
        Ok(elf)
    }

    fn loads(&self) -> impl Iterator<Item = &Segment> {
        self.segments
            .iter()
            .filter(|segment| segment.kind == PT_LOAD && segment.memory_size > 0)
    }

    /// Refuses headers that no linker makes: sizes that wrap, segments that leave the address space.
    fn check(&self) -> Result<()> {
        if self.loads().next().is_none() {
            return Err(Errno::ENOEXEC);
        }
        for segment in self.loads() {
            let fits = |start: u64, len: u64| {
                start
                    .checked_add(len)
                    .is_some_and(|end| end <= USER_END - PAGE)
            };
            let good = segment.file_size <= segment.memory_size
                && fits(segment.address, segment.memory_size)
                && segment.offset.checked_add(segment.file_size).is_some()
                && segment.address % PAGE == segment.offset % PAGE;
            if !good {
                return Err(Errno::ENOEXEC);
            }
        }
        Ok(())
    }

    /// Page-aligned bounds of what is loaded.
    fn bounds(&self) -> (u64, u64) {
        let low = self
            .loads()
            .map(|segment| page_down(segment.address))
            .min()
            .unwrap_or(0);
        let high = self
            .loads()
            .map(|segment| page_up(segment.address + segment.memory_size))
            .max()
            .unwrap_or(0);
        (low, high)
    }

    fn align(&self) -> u64 {
        let largest = self
            .loads()
            .map(|segment| segment.align)
            .filter(|align| align.is_power_of_two())
            .max();
        largest.unwrap_or(PAGE).clamp(PAGE, 1 << 30)
    }

    /// Where the program headers are in memory.
    fn phdr_address(&self) -> u64 {
        let holds = |segment: &&Segment| {
            segment.offset <= self.phoff && self.phoff - segment.offset < segment.file_size
        };
        self.loads()
            .find(holds)
            .map_or(0, |segment| segment.address + (self.phoff - segment.offset))
    }

    fn interpreter(&self, file: &OpenFile) -> Result<Option<Vec<u8>>> {
        let Some(segment) = self
            .segments
            .iter()
            .find(|segment| segment.kind == PT_INTERP)
        else {
            return Ok(None);
        };
        if segment.file_size < 2 || segment.file_size > 4096 {
            return Err(Errno::ENOEXEC);
        }
        let mut name = vec![0; segment.file_size as usize];
        read_exact(file, segment.offset, &mut name)?;
        // The string must end with its NUL.
        if name.pop() != Some(0) {
            return Err(Errno::ENOEXEC);
        }
        Ok(Some(name))
    }

    fn wants_executable_stack(&self) -> bool {
        self.segments
            .iter()
            .any(|segment| segment.kind == PT_GNU_STACK && segment.flags & 1 != 0)
    }
}

fn segment_prot(flags: u32) -> Prot {
    let mut bits = 0;
    for (flag, prot) in [
        (4, Prot::READ),
        (2, Prot::WRITE | Prot::READ),
        (1, Prot::EXEC),
    ] {
        if flags & flag != 0 {
            bits |= prot.bits();
        }
    }
    Prot::from_bits(bits)
}

/// The interpreter of a script and its argument.
type Script = (Vec<u8>, Option<Vec<u8>>);

/// Reads a `#!` line; `None`: not a script.
fn parse_script(head: &[u8]) -> Result<Option<Script>> {
    let Some(line) = head.strip_prefix(b"#!") else {
        return Ok(None);
    };
    let end = line.iter().position(|&byte| byte == b'\n');
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let line = &line[..end.unwrap_or(line.len())];
    let line = line.trim_ascii();
    let cut = line.iter().position(is_blank);
    if line.is_empty() || end.is_none() && cut.is_none() && head.len() == HEAD {
        // Nothing, or a name that was cut off.
        return Err(Errno::ENOEXEC);
    }
    let (name, argument) = line.split_at(cut.unwrap_or(line.len()));
    let argument = argument.trim_ascii();
    Ok(Some((
        name.to_vec(),
        (!argument.is_empty()).then(|| argument.to_vec()),
    )))
}

/// Opens a file to execute it: `EACCES` unless it is a regular file, executable, on a mount that allows it.
pub fn open_program(ctx: &FsContext<'_>, path: &Path) -> Result<(Rc<OpenFile>, Attr)> {
    let attr = path.inode().attr()?;
    let flags = path.mount.flags.get() | path.mount.super_block().flags.get();
    let executable = attr.file_type() == S_IFREG
        && !flags.contains(MountFlags::NOEXEC)
        && ctx.creds.may(&attr, vfs::credentials::MAY_EXEC);
    if !executable {
        return Err(Errno::EACCES);
    }
    // Permission to execute is enough; to read is not asked for.
    let inode = path.inode();
    let file = Rc::clone(&inode).open(OpenFlags::empty())?;
    let file = OpenFile::new(file, Some(path.clone()), OpenFlags::empty());
    *file.hold.borrow_mut() = WriteHold::program(&*inode)?;
    Ok((file, attr))
}

impl Kernel {
    /// Loads a program for `task`, with its root directory, credentials and limits.
    pub(crate) fn load_program(
        self: &Rc<Self>,
        task: &Rc<Task>,
        request: Request<'_>,
    ) -> Result<Program> {
        self.with_fs(task, |ctx| {
            Loader {
                kernel: self,
                task,
                ctx,
            }
            .load(request)
        })
    }
}

struct Loader<'a> {
    kernel: &'a Rc<Kernel>,
    task: &'a Rc<Task>,
    ctx: &'a FsContext<'a>,
}

impl Loader<'_> {
    fn load(&self, request: Request<'_>) -> Result<Program> {
        let Request {
            mut file,
            name,
            mut argv,
            envp,
        } = request;
        if argv.is_empty() {
            argv.push(Vec::new());
        }
        let mut path = name.to_vec();
        let mut head = vec![0; HEAD];
        for _ in 0..=SCRIPT_DEPTH {
            let len = self.arrived(&file, |file| file.file.read_at(0, &mut head))?;
            let Some((interpreter, argument)) = parse_script(&head[..len])? else {
                return self.load_elf(file, name, &path, &head[..len], &argv, envp);
            };
            argv[0] = path;
            if let Some(argument) = argument {
                argv.insert(0, argument);
            }
            argv.insert(0, interpreter.clone());
            let target = self.ctx.resolve(None, &interpreter, true)?;
            file = open_program(self.ctx, &target)?.0;
            path = interpreter;
        }
        Err(Errno::ELOOP)
    }

    /// Does something with a file; when its content is not here yet, asks to be woken.
    fn arrived<T>(&self, file: &Rc<OpenFile>, f: impl FnOnce(&OpenFile) -> Result<T>) -> Result<T> {
        let result = f(file);
        if matches!(result, Err(Errno::NOT_HERE_YET)) {
            file.file.poll(Some(self.task.waker()));
        }
        result
    }

    fn load_elf(
        &self,
        file: Rc<OpenFile>,
        name: &[u8],
        path: &[u8],
        head: &[u8],
        argv: &[Vec<u8>],
        envp: &[Vec<u8>],
    ) -> Result<Program> {
        let elf = self.arrived(&file, |file| Elf::parse(file, head))?;
        let mm = Mm::new(&self.task.cgroup(), &self.kernel.mm_common);
        let (low, high) = elf.bounds();
        let bias = if elf.position_independent {
            PIE_BASE.next_multiple_of(elf.align()).wrapping_sub(low)
        } else if low < crate::mm::MMAP_BOTTOM {
            return Err(Errno::ENOEXEC);
        } else {
            0
        };
        self.map_elf(&mm, &elf, &file, bias)?;
        let mut entry = elf.entry.wrapping_add(bias);
        let mut base = 0;
        if let Some(interpreter) = self.arrived(&file, |file| elf.interpreter(file))? {
            let target = self.ctx.resolve(None, &interpreter, true)?;
            let (file, _) = open_program(self.ctx, &target)?;
            (entry, base) = self.map_interpreter(&mm, &file)?;
            // Only the program itself stays protected from writers.
            file.hold.take();
        }
        mm.set_brk_start(high.wrapping_add(bias));
        self.map_vdso(&mm)?;

        let inode = file.inode().ok_or(Errno::EACCES)?;
        let attr = inode.attr()?;
        let mount = &file.path.as_ref().ok_or(Errno::EACCES)?.mount;
        let honoured = !mount.flags.get().contains(MountFlags::NOSUID);
        let rights = FileRights::of(&inode, &attr, honoured);
        let (creds, secure) = self.kernel.creds_after_exec(self.task, &rights)?;

        let stack = self.build_stack(
            &mm,
            &Start {
                creds: &creds,
                secure,
                elf: &elf,
                bias,
                base,
                name: path,
                argv,
                envp,
            },
        )?;
        *mm.exe.borrow_mut() = Some(Rc::clone(&file));
        let base_name = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
        Ok(Program {
            mm,
            entry,
            stack,
            file,
            creds,
            secure,
            name: base_name.to_vec(),
        })
    }

    fn map_interpreter(&self, mm: &Rc<Mm>, file: &Rc<OpenFile>) -> Result<(u64, u64)> {
        let mut head = vec![0; 64];
        self.arrived(file, |file| read_exact(file, 0, &mut head))?;
        let elf = self
            .arrived(file, |file| Elf::parse(file, &head))
            .map_err(|errno| {
                if errno == Errno::ENOEXEC {
                    Errno::ELIBBAD
                } else {
                    errno
                }
            })?;
        let (low, high) = elf.bounds();
        let bias = if elf.position_independent {
            let len = high - low;
            let none = (Prot::NONE, VmaFlags::empty(), Backing::Anon, "");
            let start = mm.map(Placement::Hint(0), len, none.0, none.1, none.2, none.3)?;
            mm.unmap(start, len)?;
            start.wrapping_sub(low)
        } else {
            0
        };
        self.map_elf(mm, &elf, file, bias)?;
        Ok((elf.entry.wrapping_add(bias), low.wrapping_add(bias)))
    }

    fn map_elf(&self, mm: &Rc<Mm>, elf: &Elf, file: &Rc<OpenFile>, bias: u64) -> Result<()> {
        let mut layout = mm.layout.get();
        for segment in elf.loads() {
            let prot = segment_prot(segment.flags);
            let start = segment.address.wrapping_add(bias);
            let first = page_down(start);
            let file_end = start + segment.file_size;
            let memory_end = page_up(start + segment.memory_size);
            let file_pages_end = if segment.file_size == 0 {
                first
            } else {
                page_up(file_end)
            };
            if file_pages_end > first {
                let backing = Backing::File {
                    file: Rc::clone(file),
                    offset: page_down(segment.offset),
                };
                mm.map(
                    Placement::Fixed(first),
                    file_pages_end - first,
                    prot,
                    VmaFlags::empty(),
                    backing,
                    "",
                )?;
            }
            if memory_end > file_pages_end {
                let len = memory_end - file_pages_end;
                mm.map(
                    Placement::Fixed(file_pages_end),
                    len,
                    prot,
                    VmaFlags::empty(),
                    Backing::Anon,
                    "",
                )?;
            }
            if segment.memory_size > segment.file_size && file_end < file_pages_end {
                self.clear(mm, file_end, file_pages_end - file_end, prot)?;
            }
            if prot.contains(Prot::EXEC) {
                if layout.start_code == 0 {
                    layout.start_code = start;
                }
                layout.end_code = layout.end_code.max(file_end);
            } else if prot.contains(Prot::WRITE) {
                layout.start_data = start;
                layout.end_data = file_end;
            }
        }
        if mm.layout.get().start_code == 0 {
            mm.layout.set(layout);
        }
        Ok(())
    }

    /// The rest of a page behind the file's bytes is zero. The page may be read-only for the program.
    fn clear(&self, mm: &Rc<Mm>, address: u64, len: u64, prot: Prot) -> Result<()> {
        if !prot.contains(Prot::WRITE) {
            return Ok(());
        }
        self.write(mm, address, &vec![0; len as usize])
    }

    /// Writes into the new address space.
    fn write(&self, mm: &Rc<Mm>, address: u64, bytes: &[u8]) -> Result<()> {
        loop {
            let outcome = mm.space.borrow_mut().write(address, bytes);
            let Err(fault) = outcome else { return Ok(()) };
            self.fault(mm, fault)?;
        }
    }

    fn fault(&self, mm: &Rc<Mm>, fault: Fault) -> Result<()> {
        let fault = Fault {
            access: Access::Write,
            ..fault
        };
        match mm.fault(fault, u64::MAX, self.task.waker()) {
            Ok(()) => Ok(()),
            Err(FaultError::NotHereYet) => Err(Errno::NOT_HERE_YET),
            Err(FaultError::Signal(_)) => Err(Errno::ENOEXEC),
            Err(FaultError::OverLimit(over)) => {
                self.kernel.out_of_memory(&over);
                if self.task.group.exiting.get().is_some() || self.kernel.current_is_dying() {
                    Err(Errno::ENOMEM)
                } else {
                    Ok(())
                }
            }
        }
    }

    fn map_vdso(&self, mm: &Rc<Mm>) -> Result<()> {
        let pages = &self.kernel.vdso.pages;
        let special = |first| Backing::Special {
            pages: Rc::clone(pages),
            first,
        };
        let flags = VmaFlags::SPECIAL;
        let data = mm.map(
            Placement::Hint(0),
            2 * PAGE,
            Prot::READ,
            flags,
            special(0),
            "[vvar]",
        )?;
        let code = data + PAGE;
        let prot = Prot::READ | Prot::EXEC;
        mm.map(
            Placement::Fixed(code),
            PAGE,
            prot,
            flags,
            special(1),
            "[vdso]",
        )?;
        mm.vdso.set(code);
        Ok(())
    }

    /// Puts arguments, environment and auxiliary vector on a new stack; gives the stack pointer.
    fn build_stack(&self, mm: &Rc<Mm>, start: &Start<'_>) -> Result<u64> {
        let limit = self.task.group.limits.soft(RLIMIT_STACK);
        let strings: usize = start
            .argv
            .iter()
            .chain(start.envp)
            .map(|text| text.len() + 1 + 8)
            .sum();
        let room = (limit / 4).clamp(128 * 1024, 6 << 20) as usize;
        if strings + start.name.len() > room
            || start
                .argv
                .iter()
                .chain(start.envp)
                .any(|text| text.len() >= STRING_MAX)
        {
            return Err(Errno::E2BIG);
        }
        let size = page_up(strings as u64 + INITIAL_STACK);
        let mut prot = Prot::READ | Prot::WRITE;
        if start.elf.wants_executable_stack() {
            prot = prot | Prot::EXEC;
        }
        mm.vmas.borrow_mut().insert(Vma {
            start: STACK_TOP - size,
            end: STACK_TOP,
            prot,
            flags: VmaFlags::GROWS_DOWN,
            backing: Backing::Anon,
            name: "[stack]",
        });
        mm.note_size();

        // The image is built in one buffer that ends at the top of the stack.
        let mut layout = mm.layout.get();
        let mut texts = Vec::with_capacity(strings);
        let mut offsets = Vec::with_capacity(start.argv.len() + start.envp.len());
        for text in start.argv.iter().chain(start.envp) {
            offsets.push(texts.len() as u64);
            texts.extend_from_slice(text);
            texts.push(0);
        }
        let env_offset = offsets
            .get(start.argv.len())
            .copied()
            .unwrap_or(texts.len() as u64);
        let text_len = texts.len() as u64;
        let name_offset = text_len;
        texts.extend_from_slice(start.name);
        texts.push(0);
        let text_start = (STACK_TOP - 8 - texts.len() as u64) & !15;
        layout.arg_start = text_start;
        layout.arg_end = text_start + env_offset;
        layout.env_start = text_start + env_offset;
        layout.env_end = text_start + text_len;

        let mut random = [0; 16];
        self.kernel.rng.fill(&mut random);
        let random_at = text_start - 16;
        let auxv = self.auxv(mm, start, random_at, text_start + name_offset);
        let words = 1 + start.argv.len() + 1 + start.envp.len() + 1 + auxv.len();
        let stack = (random_at - 8 * words as u64) & !15;
        let mut image = Vec::with_capacity((STACK_TOP - stack) as usize);
        let mut word = |value: u64| image.extend_from_slice(&value.to_le_bytes());
        word(start.argv.len() as u64);
        let (args, envs) = offsets.split_at(start.argv.len());
        args.iter().for_each(|offset| word(text_start + offset));
        word(0);
        envs.iter().for_each(|offset| word(text_start + offset));
        word(0);
        auxv.iter().for_each(|&value| word(value));
        image.resize((random_at - stack) as usize, 0);
        image.extend_from_slice(&random);
        image.extend_from_slice(&texts);
        *mm.auxv.borrow_mut() = auxv.iter().flat_map(|word| word.to_le_bytes()).collect();
        layout.start_stack = stack;
        mm.layout.set(layout);
        self.write(mm, stack, &image)?;
        Ok(stack)
    }

    fn auxv(&self, mm: &Mm, start: &Start<'_>, random: u64, name: u64) -> Vec<u64> {
        let creds = start.creds;
        let ns = self.task.ns();
        let elf = start.elf;
        let entries = [
            (33, mm.vdso.get()),
            (16, HWCAP),
            (6, PAGE),
            (17, 100),
            (3, elf.phdr_address().wrapping_add(start.bias)),
            (4, PHENT as u64),
            (5, elf.segments.len() as u64),
            (7, start.base),
            (8, 0),
            (9, elf.entry.wrapping_add(start.bias)),
            (11, u64::from(ns.user.shown_uid(creds.uid))),
            (12, u64::from(ns.user.shown_uid(creds.euid))),
            (13, u64::from(ns.user.shown_gid(creds.gid))),
            (14, u64::from(ns.user.shown_gid(creds.egid))),
            (23, u64::from(start.secure)),
            (25, random),
            (26, 0),
            (31, name),
            (51, crate::task::SIGNAL_FRAME_SIZE),
            (0, 0),
        ];
        entries
            .iter()
            .flat_map(|&(tag, value)| [tag, value])
            .collect()
    }
}

/// What the stack image is made of.
struct Start<'a> {
    creds: &'a Credentials,
    secure: bool,
    elf: &'a Elf,
    bias: u64,
    base: u64,
    name: &'a [u8],
    argv: &'a [Vec<u8>],
    envp: &'a [Vec<u8>],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_lines() {
        let parse = |text: &str| {
            parse_script(text.as_bytes()).map(|found| {
                found.map(|(name, argument)| {
                    let argument = argument.map(|bytes| String::from_utf8(bytes).unwrap());
                    (String::from_utf8(name).unwrap(), argument)
                })
            })
        };
        assert_eq!(parse("#!/bin/sh\n"), Ok(Some(("/bin/sh".into(), None))));
        assert_eq!(
            parse("#! /usr/bin/env  python3 -u \nx"),
            Ok(Some(("/usr/bin/env".into(), Some("python3 -u".into()))))
        );
        assert_eq!(parse("#!\n"), Err(Errno::ENOEXEC));
        assert_eq!(parse("\x7fELF"), Ok(None));
        assert_eq!(parse("#!/bin/sh"), Ok(Some(("/bin/sh".into(), None))));
    }
}
