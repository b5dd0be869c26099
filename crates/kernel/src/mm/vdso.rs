//! The vDSO: a page of code and a page of data that every process gets, so that asking for the time needs
//! no system call (`vdso(7)`). The ELF image is put together here, instruction by instruction.
//!
//! `time` counts nanoseconds of the machine's clock, so the code only has to add the epoch (the first
//! eight bytes of the data page, which lies right below the code) and divide.

use clock::Clock;
use mem::{PAGE_SIZE, Page};

/// Registers.
const ZERO: u32 = 0;
const T0: u32 = 5;
const T1: u32 = 6;
const T2: u32 = 7;
const A0: u32 = 10;
const A1: u32 = 11;
const A7: u32 = 17;

const ECALL: u32 = 0x0000_0073;
const RET: u32 = 0x0000_8067;

/// Clocks that show the time since boot: monotonic, raw, coarse, boottime.
const SINCE_BOOT: i32 = 1 << 1 | 1 << 4 | 1 << 6 | 1 << 7;
/// Clocks that show the time since 1970: realtime, coarse, TAI.
const SINCE_1970: i32 = 1 << 0 | 1 << 5 | 1 << 11;

fn i_type(opcode: u32, funct3: u32, rd: u32, rs1: u32, imm: i32) -> u32 {
    (imm as u32 & 0xfff) << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode
}

fn r_type(funct7: u32, funct3: u32, rd: u32, rs1: u32, rs2: u32) -> u32 {
    funct7 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | 0x33
}

fn addi(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x13, 0, rd, rs1, imm)
}

fn ld(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x03, 3, rd, rs1, imm)
}

fn store(funct3: u32, rs2: u32, rs1: u32, imm: i32) -> u32 {
    let imm = imm as u32;
    (imm >> 5 & 0x7f) << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | (imm & 0x1f) << 7 | 0x23
}

fn sd(rs2: u32, rs1: u32, imm: i32) -> u32 {
    store(3, rs2, rs1, imm)
}

fn sw(rs2: u32, rs1: u32, imm: i32) -> u32 {
    store(2, rs2, rs1, imm)
}

fn beqz(rs1: u32, offset: i32) -> u32 {
    let imm = offset as u32;
    (imm >> 12 & 1) << 31
        | (imm >> 5 & 0x3f) << 25
        | rs1 << 15
        | (imm >> 1 & 0xf) << 8
        | (imm >> 11 & 1) << 7
        | 0x63
}

fn rdtime(rd: u32) -> u32 {
    i_type(0x73, 2, rd, ZERO, 0xc01_u32 as i32)
}

/// `lui` and `addi` of a constant that fits in 31 bits.
fn li(rd: u32, value: i32) -> [u32; 2] {
    let low = value << 20 >> 20;
    let high = (value.wrapping_sub(low) as u32) & 0xffff_f000;
    [high | rd << 7 | 0x37, addi(rd, rd, low)]
}

/// Code under construction: 32-bit instructions from an offset in the image.
struct Code {
    base: usize,
    words: Vec<u32>,
}

impl Code {
    fn here(&self) -> usize {
        self.base + 4 * self.words.len()
    }

    fn put(&mut self, words: &[u32]) {
        self.words.extend_from_slice(words);
    }

    /// `rd` = the epoch: the data page lies `PAGE_SIZE` below the image.
    fn load_epoch(&mut self, rd: u32) {
        let distance = -((self.here() + PAGE_SIZE) as i32);
        let low = distance << 20 >> 20;
        let high = (distance.wrapping_sub(low) as u32) & 0xffff_f000;
        self.put(&[high | rd << 7 | 0x17, ld(rd, rd, low)]);
    }

    /// Goes to the system call `number` and returns.
    fn system_call(&mut self, number: i32) {
        self.put(&[addi(A7, ZERO, number), ECALL, RET]);
    }

    fn clock_gettime(&mut self) {
        // t0 = is the clock one of those read here?
        let known = SINCE_BOOT | SINCE_1970;
        self.put(&[i_type(0x13, 3, T0, A0, 12)]); // sltiu
        let not_small = self.words.len();
        self.put(&[0]);
        self.put(&li(T0, known));
        self.put(&[r_type(0, 5, T0, T0, A0), i_type(0x13, 7, T0, T0, 1)]); // srl, andi
        let not_known = self.words.len();
        self.put(&[0, rdtime(T1)]);
        self.put(&li(T0, SINCE_1970));
        self.put(&[
            r_type(0, 5, T0, T0, A0),
            i_type(0x13, 7, T0, T0, 1),
            beqz(T0, 4 * 4),
        ]);
        self.load_epoch(T2);
        self.put(&[r_type(0, 0, T1, T1, T2)]);
        self.put(&li(T0, 1_000_000_000));
        self.put(&[
            r_type(1, 5, T2, T1, T0), // divu
            r_type(1, 7, T1, T1, T0), // remu
            sd(T2, A1, 0),
            sd(T1, A1, 8),
            addi(A0, ZERO, 0),
            RET,
        ]);
        let slow = self.words.len();
        for at in [not_small, not_known] {
            self.words[at] = beqz(T0, 4 * (slow - at) as i32);
        }
        self.system_call(113);
    }

    fn gettimeofday(&mut self) {
        self.put(&[beqz(A0, 4 * 13), rdtime(T1)]);
        self.load_epoch(T2);
        self.put(&[r_type(0, 0, T1, T1, T2)]);
        self.put(&li(T0, 1_000_000_000));
        self.put(&[
            r_type(1, 5, T2, T1, T0),
            r_type(1, 7, T1, T1, T0),
            sd(T2, A0, 0),
        ]);
        self.put(&[
            addi(T0, ZERO, 1000),
            r_type(1, 5, T1, T1, T0),
            sd(T1, A0, 8),
        ]);
        self.put(&[beqz(A1, 8), sd(ZERO, A1, 0), addi(A0, ZERO, 0), RET]);
    }

    fn getcpu(&mut self) {
        self.put(&[
            beqz(A0, 8),
            sw(ZERO, A0, 0),
            beqz(A1, 8),
            sw(ZERO, A1, 0),
            addi(A0, ZERO, 0),
            RET,
        ]);
    }
}

/// The exported functions, in the order of their code.
const NAMES: [&str; 7] = [
    "__vdso_rt_sigreturn",
    "__vdso_gettimeofday",
    "__vdso_clock_gettime",
    "__vdso_clock_getres",
    "__vdso_getcpu",
    "__vdso_flush_icache",
    "__vdso_riscv_hwprobe",
];
const VERSION: &str = "LINUX_4.15";
const SONAME: &str = "linux-vdso.so.1";

/// The System V hash of a symbol name.
fn elf_hash(name: &str) -> u32 {
    name.bytes().fold(0, |hash: u32, byte| {
        let hash = (hash << 4).wrapping_add(u32::from(byte));
        let high = hash & 0xf000_0000;
        (hash ^ high >> 24) & !high
    })
}

/// A growing image.
#[derive(Default)]
struct Image(Vec<u8>);

impl Image {
    fn align(&mut self, to: usize) -> usize {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
        self.0.len()
    }

    fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
}

const EHDR: usize = 64;
const PHDR: usize = 56;

/// The two pages, data first.
pub struct VdsoImage {
    /// Data and code.
    pub pages: std::rc::Rc<[Page]>,
    /// Offset of the signal trampoline from the code page.
    pub sigreturn: u64,
}

impl VdsoImage {
    /// Builds the image.
    #[must_use]
    pub fn new(clock: &Clock) -> VdsoImage {
        let (image, sigreturn) = build();
        assert!(image.len() <= PAGE_SIZE, "the vDSO fits in its page");
        let vdso = VdsoImage {
            pages: std::rc::Rc::new([Page::zeroed(), Page::from_bytes(&image)]),
            sigreturn: sigreturn as u64,
        };
        vdso.update(clock);
        vdso
    }

    /// Tells the processes what the epoch is now.
    pub fn update(&self, clock: &Clock) {
        let epoch = clock.realtime().wrapping_sub(clock.now().0);
        self.pages[0].write(0, &epoch.to_le_bytes());
    }
}

/// The ELF image and where in it the signal trampoline is.
fn build() -> (Vec<u8>, usize) {
    let mut strings = vec![0];
    let mut string = |text: &str| {
        let at = strings.len() as u32;
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        at
    };
    let names = NAMES.map(&mut string);
    let (soname, version) = (string(SONAME), string(VERSION));

    let mut image = Image(vec![0; EHDR + 2 * PHDR]);
    let symbol_count = NAMES.len() + 1;

    let hash = image.align(8);
    // One bucket: a chain through all symbols.
    for word in [1, symbol_count as u32, 1, 0] {
        image.u32(word);
    }
    for index in 1..symbol_count {
        image.u32(if index + 1 < symbol_count {
            index as u32 + 1
        } else {
            0
        });
    }

    let symbols = image.align(8);
    let strtab = symbols + 24 * symbol_count;
    let versym = (strtab + strings.len()).next_multiple_of(2);
    let verdef = (versym + 2 * symbol_count).next_multiple_of(8);
    let dynamic = (verdef + 2 * 28).next_multiple_of(8);
    let text = (dynamic + 10 * 16).next_multiple_of(16);

    let mut code = Code {
        base: text,
        words: Vec::new(),
    };
    let mut starts = [(0, 0); NAMES.len()];
    for (index, slot) in starts.iter_mut().enumerate() {
        let start = code.here();
        match index {
            0 => code.put(&[addi(A7, ZERO, 139), ECALL]),
            1 => code.gettimeofday(),
            2 => code.clock_gettime(),
            3 => code.system_call(114),
            4 => code.getcpu(),
            5 => code.system_call(259),
            _ => code.system_call(258),
        }
        *slot = (start, code.here() - start);
    }

    image.0.resize(symbols + 24, 0);
    for (name, (start, len)) in names.iter().zip(starts) {
        image.u32(*name);
        // Global function, default visibility, in some section.
        image.0.extend_from_slice(&[0x12, 0]);
        image.u16(1);
        image.u64(start as u64);
        image.u64(len as u64);
    }
    image.0.extend_from_slice(&strings);
    image.align(2);
    image.u16(0);
    for _ in NAMES {
        image.u16(2);
    }
    image.align(8);
    for (flags, index, name, text, next) in
        [(1, 1, soname, SONAME, 28), (0, 2, version, VERSION, 0)]
    {
        for half in [1, flags, index, 1] {
            image.u16(half);
        }
        image.u32(elf_hash(text));
        image.u32(20);
        image.u32(next);
        image.u32(name);
        image.u32(0);
    }
    image.align(8);
    let entries: [(u64, usize); 10] = [
        (4, hash),
        (5, strtab),
        (6, symbols),
        (10, strings.len()),
        (11, 24),
        (14, soname as usize),
        (0x6fff_fff0, versym),
        (0x6fff_fffc, verdef),
        (0x6fff_fffd, 2),
        (0, 0),
    ];
    for (tag, value) in entries {
        image.u64(tag);
        image.u64(value as u64);
    }
    image.align(16);
    for word in &code.words {
        image.u32(*word);
    }
    put_headers(&mut image.0, dynamic);
    (image.0, starts[0].0)
}

fn put_headers(image: &mut [u8], dynamic: usize) {
    let size = image.len() as u64;
    let mut header = Image::default();
    header
        .0
        .extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
    header.u64(0);
    // A shared object for RISC-V.
    header.u16(3);
    header.u16(243);
    header.u32(1);
    header.u64(0);
    header.u64(EHDR as u64);
    header.u64(0);
    // Flags: RVC may be used, double-float ABI.
    header.u32(5);
    for half in [EHDR, PHDR, 2, 64, 0, 0] {
        header.u16(half as u16);
    }
    for (kind, flags, start, len, align) in [(1, 5, 0, size, 4096), (2, 4, dynamic as u64, 160, 8)]
    {
        header.u32(kind);
        header.u32(flags);
        for word in [start, start, start, len, len, align] {
            header.u64(word);
        }
    }
    image[..header.0.len()].copy_from_slice(&header.0);
}

#[cfg(test)]
mod tests {
    use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader};
    use object::{Endianness, Object, ObjectSymbol};

    use super::*;

    #[test]
    fn the_image_is_an_elf_file_with_all_functions() {
        let (image, sigreturn) = build();
        let file = ElfFile64::<Endianness>::parse(&image[..]).unwrap();
        let endian = Endianness::Little;
        let segments = file
            .elf_header()
            .program_headers(endian, &image[..])
            .unwrap();
        let dynamic = segments
            .iter()
            .find_map(|segment| segment.dynamic(endian, &image[..]).unwrap())
            .unwrap();
        assert_eq!(
            dynamic
                .iter()
                .filter(|entry| entry.d_tag(endian).0 != 0)
                .count(),
            9
        );
        assert_eq!(
            image[sigreturn..sigreturn + 8],
            [0x93, 0x08, 0xb0, 0x08, 0x73, 0, 0, 0]
        );
        // Without section headers the symbol table is found through the dynamic section only.
        assert!(
            file.symbols().next().is_none() || file.symbols().any(|symbol| symbol.name().is_ok())
        );
        assert_eq!(elf_hash("LINUX_4.15"), 182_943_605);
    }

    #[test]
    fn instructions_are_encoded_as_the_manual_says() {
        assert_eq!(li(T0, 1_000_000_000), [0x3b9a_d2b7, 0xa002_8293]);
        assert_eq!(rdtime(T1), 0xc010_2373);
        assert_eq!(beqz(A0, 16), 0x0005_0863);
        assert_eq!(sd(T2, A1, 8), 0x0075_b423);
    }
}
