//! Prints every compressed instruction and random 32-bit ones: bits, then text. For a comparison with
//! another disassembler: `cargo run -p rv64 --example disasm -- COUNT > OURS`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    let count: u64 = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(100_000);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for bits in (0..=u32::from(u16::MAX)).filter(|bits| bits & 3 != 3) {
        writeln!(out, "{bits:04x} {}", rv64::disasm(bits, 0))?;
    }
    let mut state = 88_172_645_463_325_252_u64;
    for i in 0..count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Every major opcode equally often.
        let bits = (state as u32 & !0x7f) | (i as u32 % 32) << 2 | 3;
        writeln!(out, "{bits:08x} {}", rv64::disasm(bits, 0))?;
    }
    Ok(())
}
