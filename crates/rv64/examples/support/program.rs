//! Just enough of a kernel to run a static program: an ELF loader, a stack, and the few system calls
//! that a libc makes before `main` and that `printf` and `malloc` make later. For tests and benchmarks.

use mem::{PAGE_SIZE, Page};
use rv64::{Access, AddressSpace, Counters, Exit, Fault, Hart, Prot, Sharing};

const STACK_TOP: u64 = 0x3f_ffff_f000;
const STACK_SIZE: u64 = 8 << 20;
const MMAP_BASE: u64 = 0x20_0000_0000;
/// What `run_sliced` is normally called with.
pub const SLICE: u64 = 1 << 20;
const ENOSYS: u64 = -38_i64 as u64;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It called `exit` with this status.
    Status(i32),
    /// The CPU stopped and there is nobody to handle it.
    Stopped(Exit),
    /// It did not end within the given number of instructions.
    TooLong,
}

/// A program and what it wrote.
pub struct Program {
    pub hart: Hart,
    pub space: AddressSpace,
    pub output: Vec<u8>,
    pub retired: u64,
    brk: u64,
    next_map: u64,
}

fn u16_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

impl Program {
    /// Loads a static ELF file. Panics on anything else: this is not the product's loader.
    pub fn load(elf: &[u8], args: &[&str]) -> Program {
        let mut space = AddressSpace::new();
        let (phoff, phentsize, phnum) = (u64_at(elf, 32), u16_at(elf, 54), u16_at(elf, 56));
        let mut end = 0;
        let mut phdr = 0;
        for i in 0..phnum {
            let header = &elf[(phoff + i * phentsize) as usize..];
            let flags = header[4];
            let (offset, va, file_len, len) = (
                u64_at(header, 8),
                u64_at(header, 16),
                u64_at(header, 32),
                u64_at(header, 40),
            );
            if header[0] != 1 {
                continue;
            }
            if offset == 0 {
                phdr = va + phoff;
            }
            let prot = Prot::from_bits(u32::from(flags >> 2 & 1 | flags & 2 | (flags & 1) << 2));
            let bytes = &elf[offset as usize..(offset + file_len) as usize];
            map_segment(&mut space, va, bytes, len, prot);
            end = end.max(va + len);
        }
        let mut program = Program {
            hart: Hart::default(),
            space,
            output: Vec::new(),
            retired: 0,
            brk: end.next_multiple_of(PAGE_SIZE as u64),
            next_map: MMAP_BASE,
        };
        program.hart.pc = u64_at(elf, 24);
        program.make_stack(
            args,
            [(3, phdr), (4, phentsize), (5, phnum), (9, u64_at(elf, 24))],
        );
        program
    }

    fn make_stack(&mut self, args: &[&str], aux: [(u64, u64); 4]) {
        let mut sp = STACK_TOP - 64;
        let mut put = |program: &mut Program, bytes: &[u8]| {
            sp -= bytes.len() as u64;
            program.write(sp, bytes);
            sp
        };
        let random = put(self, &[7; 16]);
        let strings: Vec<u64> = args
            .iter()
            .map(|arg| put(self, &[arg.as_bytes(), b"\0"].concat()))
            .collect();
        let mut words = vec![args.len() as u64];
        words.extend(strings);
        words.extend([0, 0]);
        words.extend(aux.iter().flat_map(|&(tag, value)| [tag, value]));
        // AT_PAGESZ, AT_RANDOM, AT_HWCAP, AT_SECURE, AT_NULL
        words.extend([6, PAGE_SIZE as u64, 25, random, 16, 0x112d, 23, 0, 0, 0]);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        sp = (sp - bytes.len() as u64) & !15;
        self.write(sp, &bytes);
        self.hart.x[2] = sp;
    }

    fn write(&mut self, va: u64, bytes: &[u8]) {
        while let Err(fault) = self.space.write(va, bytes) {
            assert!(self.page_in(fault), "{fault:x?}");
        }
    }

    /// Maps a page of the stack, the heap or an anonymous mapping that is accessed for the first time.
    fn page_in(&mut self, fault: Fault) -> bool {
        let va = fault.addr & !(PAGE_SIZE as u64 - 1);
        let known = (STACK_TOP - STACK_SIZE..STACK_TOP).contains(&va)
            || (MMAP_BASE..self.next_map).contains(&va)
            || va < self.brk;
        if !known || va == 0 || fault.access == Access::Execute || self.space.lookup(va).is_some() {
            return false;
        }
        self.space.map(
            va,
            Page::zeroed(),
            Prot::READ | Prot::WRITE,
            Sharing::Private,
        );
        true
    }

    /// Runs to the end, at most `limit` instructions, `slice` at a time.
    pub fn run_sliced(&mut self, limit: u64, slice: u64) -> End {
        while self.retired < limit {
            let mut budget = slice;
            let counters = Counters {
                time: self.retired,
                time_per_65536: 65536,
                instret: self.retired,
            };
            let exit = rv64::run(&mut self.hart, &mut self.space, &mut budget, counters);
            self.retired += slice - budget;
            match exit {
                Exit::Budget => {}
                Exit::Ecall => {
                    if let Some(status) = self.system_call() {
                        return End::Status(status);
                    }
                    self.hart.pc += 4;
                    self.retired += 1;
                }
                Exit::Fault(fault) if self.page_in(fault) => {}
                exit => return End::Stopped(exit),
            }
        }
        End::TooLong
    }

    fn system_call(&mut self) -> Option<i32> {
        let [a0, a1, a2] = [self.hart.x[10], self.hart.x[11], self.hart.x[12]];
        self.hart.x[10] = match self.hart.x[17] {
            93 | 94 => return Some(a0 as i32),
            64 => self.write_output(a1, a2),
            66 => (0..a2).fold(0, |sum, i| {
                let base = self.space.read_u64(a1 + 16 * i).unwrap_or(0);
                let len = self.space.read_u64(a1 + 16 * i + 8).unwrap_or(0);
                sum + self.write_output(base, len)
            }),
            214 => {
                if a0 > self.brk {
                    self.brk = a0;
                }
                self.brk
            }
            222 => {
                let va = self.next_map;
                self.next_map += a1.next_multiple_of(PAGE_SIZE as u64);
                va
            }
            // getpid, gettid, set_tid_address
            172 | 178 | 96 => 1,
            // mprotect, munmap, ioctl-like successes, clock_gettime (the buffer stays as it is)
            226 | 215 | 113 | 134 | 135 | 261 => 0,
            // getrandom
            278 => {
                self.write(a0, &vec![5; a1.min(256) as usize]);
                a1
            }
            _ => ENOSYS,
        };
        None
    }

    fn write_output(&mut self, va: u64, len: u64) -> u64 {
        let mut bytes = vec![0; len.min(1 << 20) as usize];
        if self.space.read(va, &mut bytes).is_err() {
            return -14_i64 as u64;
        }
        self.output.extend_from_slice(&bytes);
        bytes.len() as u64
    }
}

fn map_segment(space: &mut AddressSpace, va: u64, bytes: &[u8], len: u64, prot: Prot) {
    let mut page_va = va & !(PAGE_SIZE as u64 - 1);
    while page_va < va + len {
        let page = match space.lookup(page_va) {
            Some(found) => found.page.clone(),
            None => Page::zeroed(),
        };
        let from = page_va.max(va);
        let to = (page_va + PAGE_SIZE as u64).min(va + bytes.len() as u64);
        if from < to {
            page.write(
                (from - page_va) as usize,
                &bytes[(from - va) as usize..(to - va) as usize],
            );
        }
        space.map(page_va, page, prot, Sharing::Private);
        page_va += PAGE_SIZE as u64;
    }
}
