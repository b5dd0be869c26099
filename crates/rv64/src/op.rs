//! Operations: what instructions are decoded to.
//!
//! [`Insn`] is one instruction as the manual describes it. [`Op`] is what the loop in `exec_unsafe.rs`
//! runs: an instruction, or several fused ones, with registers as byte offsets into the
//! [`Hart`](crate::Hart) and addresses relative to the page. Both are named by [`Code`].

/// What to do. The first part is the instruction set in the manual's order; `W` variants are those with
/// a 32-bit result. The second part exists only as operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
#[rustfmt::skip]
pub enum Code {
    // RV64I
    Lui, Auipc, Jal, Jalr, Beq, Bne, Blt, Bge, Bltu, Bgeu,
    Lb, Lh, Lw, Ld, Lbu, Lhu, Lwu, Sb, Sh, Sw, Sd,
    Addi, Slti, Sltiu, Xori, Ori, Andi, Slli, Srli, Srai,
    Add, Sub, Sll, Slt, Sltu, Xor, Srl, Sra, Or, And,
    Addiw, Slliw, Srliw, Sraiw, Addw, Subw, Sllw, Srlw, Sraw,
    Fence, FenceI, Ecall, Ebreak,
    // Zicsr
    Csrrw, Csrrs, Csrrc, Csrrwi, Csrrsi, Csrrci,
    // M
    Mul, Mulh, Mulhsu, Mulhu, Div, Divu, Rem, Remu, Mulw, Divw, Divuw, Remw, Remuw,
    // A: the operation of the read-modify-write ones is in the immediate
    LrW, LrD, ScW, ScD, AmoW, AmoD,
    // F and D
    Flw, Fsw, Fld, Fsd,
    FmaddS, FmsubS, FnmsubS, FnmaddS, FmaddD, FmsubD, FnmsubD, FnmaddD,
    FaddS, FsubS, FmulS, FdivS, FsqrtS, FaddD, FsubD, FmulD, FdivD, FsqrtD,
    FsgnjS, FsgnjnS, FsgnjxS, FminS, FmaxS, FsgnjD, FsgnjnD, FsgnjxD, FminD, FmaxD,
    FeqS, FltS, FleS, FeqD, FltD, FleD, FclassS, FclassD,
    FcvtWS, FcvtWuS, FcvtLS, FcvtLuS, FcvtSW, FcvtSWu, FcvtSL, FcvtSLu,
    FcvtWD, FcvtWuD, FcvtLD, FcvtLuD, FcvtDW, FcvtDWu, FcvtDL, FcvtDLu,
    FcvtSD, FcvtDS, FmvXW, FmvWX, FmvXD, FmvDX,
    // Not an instruction of RV64GC.
    Illegal,

    // Operations only.
    Nop,
    /// The block ends: go to a page offset.
    Jump,
    /// A register copied.
    Mv,
    /// The low word of a register, sign-extended.
    Sextw,
    /// `Jalr` without a return address.
    Jr,
    /// A constant.
    Li,
    /// A constant relative to the page's address.
    La,
    /// The instruction's second half is on the next page.
    Straddle,

    // Fused instructions; see `fuse.rs`.
    Ld3, Ld4, Sd3, Sd4, LaLd, LaLw, AddiJr, AddiJal, LdAddiJr, AddLd, AddSd, AddLw, AddSb, AddLbu, AddAddi, AddAdd,
    AddAnd, XorXor, XorAnd, XorAddw, AddwAddw, OrXor, AddiBeq, AddiBne, AddiBlt, AddiBge, AddiBltu,
    AddiBgeu, AndiBeq, AndiBne, LdBeq, LdBne, LbuBeq, LbuBne, LwBeq, LwBne, AddiwBne, SlliBlt, SlliBge,
    SdBeq, SdBne, LdLd, LdAddi, LdSd, LdAdd, LdSlli, LdLw, SdSd, SdAddi, SdLd, AddiAddi, AddiLd,
    AddiSd, AddiAdd, AddiSlli, AddiLbu, AddiSb, SbSb, SbAddi, LbuLbu, LbuAddi, LbuSlli, LwAddi, LwLw,
    SwSw, SwAddi, SwLd, SlliAdd, SlliSrli, SlliOr, SrliXor, SlliwOr, SrliwSlliw, SlliwSrliw, SrliwOr,
    ShiftsOr, ShiftsOrW, SlliSrliAdd,
    SubBeq, SubBne, SubwBne, AndBeq, AndBne, XorBeq, XorBne, AddiwBeq, LhuBeq, LhuBne, LhuBgeu, LdBltu, LdBgeu, LwBlt, LwBge,
    AddLhu, AndAnd, AndOr, AndXor, AndAdd, AndAddw, OrOr, OrAnd, OrAdd, OrAddw,
    XorOr, XorAdd, AddXor, AddwXor, AddwAnd, AddOr, AddiAnd, SrliAndi, AddiwAndi, AndiAdd, AndiAddw,
}

/// One instruction, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insn {
    /// What it does.
    pub code: Code,
    /// Destination register number (integer or floating-point, as `code` says).
    pub rd: u8,
    /// First source.
    pub rs1: u8,
    /// Second source.
    pub rs2: u8,
    /// Third source of fused multiply-add.
    pub rs3: u8,
    /// Rounding mode field of floating-point operations; `funct5` of AMOs.
    pub rm: u8,
    /// Immediate, sign-extended; the CSR number for Zicsr; the shift amount for shifts.
    pub imm: i32,
    /// Bytes: 2 or 4.
    pub len: u8,
    /// The instruction's bits.
    pub bits: u32,
}

/// An operation of the interpreter. What the fields mean depends on `code` (see `lower.rs`).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Op {
    pub code: Code,
    /// Usually the destination register.
    pub a: u16,
    /// Usually the first source.
    pub b: u16,
    /// Usually the second source; in jumps the number of instructions from the block's start.
    pub c: u16,
    pub imm: i32,
    /// In jumps, the index of the target operation once it is known, in the low half.
    pub ext: u32,
}

const _: () = assert!(std::mem::size_of::<Op>() == 16);
