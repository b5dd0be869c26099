//! What is done to the compiled modules: names are dropped, and branches hinted.
//!
//! Branch hints tell the browser's compiler which ways of the interpreter's loop are rare.
//!
//! The loop (`rv64/src/exec_unsafe.rs`) has hundreds of branches to slow paths. The Rust compiler knows
//! them (`#[cold]`), but has no way to say so in WebAssembly, and an engine that takes both ways for equal
//! keeps the loop's variables in memory around every call on a slow path. The section
//! `metadata.code.branch_hint` (WebAssembly's branch hinting proposal) says it; engines that don't know
//! it skip it.
//!
//! The loop is found by its size: it is the function with the largest jump table. In it, every call and
//! every return is rare, so a branch is hinted when one of its ways must come to one and the other need not.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};

/// A jump table with fewer targets is not the interpreter's.
const TARGETS_MIN: usize = 200;
const SECTION: &str = "metadata.code.branch_hint";

const SECTION_CUSTOM: u8 = 0;
const SECTION_IMPORT: u8 = 2;
const SECTION_CODE: u8 = 10;

/// The module with hints, and how many there are.
pub fn add(module: &[u8]) -> Result<(Vec<u8>, usize)> {
    let sections = sections(module)?;
    let imported = match sections.iter().find(|section| section.id == SECTION_IMPORT) {
        Some(section) => imported_functions(&module[section.body..section.end])?,
        None => 0,
    };
    let code = sections
        .iter()
        .find(|section| section.id == SECTION_CODE)
        .context("the module has no code")?;
    let (index, body) = interpreter(&module[code.body..code.end])?;
    let hints = hints(&body)?;
    let mut payload = Vec::new();
    unsigned(&mut payload, SECTION.len());
    payload.extend_from_slice(SECTION.as_bytes());
    unsigned(&mut payload, 1);
    unsigned(&mut payload, imported + index);
    unsigned(&mut payload, hints.len());
    for (at, taken) in &hints {
        unsigned(&mut payload, *at);
        payload.extend([1, u8::from(*taken)]);
    }
    let mut hinted = module[..code.start].to_vec();
    hinted.push(SECTION_CUSTOM);
    unsigned(&mut hinted, payload.len());
    hinted.extend(payload);
    hinted.extend_from_slice(&module[code.start..]);
    Ok((hinted, hints.len()))
}

/// The module without the names of its functions, which only a debugger reads: an eighth of what a first
/// visit downloads of it.
pub fn without_names(module: &[u8]) -> Result<Vec<u8>> {
    let mut kept = module[..8.min(module.len())].to_vec();
    for section in sections(module)? {
        let mut reader = Reader {
            bytes: module,
            at: section.body,
        };
        let is_names = section.id == SECTION_CUSTOM && {
            let len = reader.unsigned()?;
            module.get(reader.at..reader.at + len) == Some(b"name")
        };
        if !is_names {
            kept.extend_from_slice(&module[section.start..section.end]);
        }
    }
    Ok(kept)
}

struct Section {
    id: u8,
    /// Where its id is.
    start: usize,
    body: usize,
    end: usize,
}

fn sections(module: &[u8]) -> Result<Vec<Section>> {
    ensure!(module.starts_with(b"\0asm\x01\0\0\0"), "not a module");
    let mut sections = Vec::new();
    let mut reader = Reader {
        bytes: module,
        at: 8,
    };
    while reader.at < module.len() {
        let start = reader.at;
        let id = reader.byte()?;
        let len = reader.unsigned()?;
        let body = reader.at;
        reader.skip(len)?;
        let end = reader.at;
        sections.push(Section {
            id,
            start,
            body,
            end,
        });
    }
    Ok(sections)
}

fn imported_functions(section: &[u8]) -> Result<usize> {
    let mut reader = Reader {
        bytes: section,
        at: 0,
    };
    let mut functions = 0;
    for _ in 0..reader.unsigned()? {
        for _ in 0..2 {
            let len = reader.unsigned()?;
            reader.skip(len)?;
        }
        match reader.byte()? {
            0 => {
                reader.unsigned()?;
                functions += 1;
            }
            kind @ (1 | 2) => {
                reader.skip(usize::from(kind == 1))?;
                let has_max = reader.byte()? & 1 != 0;
                for _ in 0..=usize::from(has_max) {
                    reader.unsigned()?;
                }
            }
            3 => reader.skip(2)?,
            kind => bail!("an import of unknown kind {kind}"),
        }
    }
    Ok(functions)
}

/// The function with the largest jump table: its index among those defined here, and its instructions.
fn interpreter(section: &[u8]) -> Result<(usize, Vec<Instruction>)> {
    let mut reader = Reader {
        bytes: section,
        at: 0,
    };
    let mut found = None;
    let mut most = TARGETS_MIN;
    for index in 0..reader.unsigned()? {
        let len = reader.unsigned()?;
        let start = reader.at;
        reader.skip(len)?;
        // Decoding all would take long, and so large a table is in a large function only.
        if len < 8 * TARGETS_MIN {
            continue;
        }
        let body = instructions(&section[start..reader.at])?;
        let targets = body.iter().map(|found| found.targets).max().unwrap_or(0);
        if targets >= most {
            most = targets;
            found = Some((index, body));
        }
    }
    found.context("the interpreter's loop was not found")
}

/// What matters of an instruction.
#[derive(Clone, Copy)]
struct Instruction {
    /// Offset in the function's body, which begins with its locals.
    at: usize,
    opcode: u8,
    /// How many blocks out a branch goes.
    depth: usize,
    /// Of a jump table.
    targets: usize,
}

const UNREACHABLE: u8 = 0x00;
const BLOCK: u8 = 0x02;
const LOOP: u8 = 0x03;
const IF: u8 = 0x04;
const END: u8 = 0x0b;
const BR: u8 = 0x0c;
const BR_IF: u8 = 0x0d;
const BR_TABLE: u8 = 0x0e;
const RETURN: u8 = 0x0f;
const CALL: u8 = 0x10;
const CALL_INDIRECT: u8 = 0x11;

fn instructions(body: &[u8]) -> Result<Vec<Instruction>> {
    let mut reader = Reader { bytes: body, at: 0 };
    for _ in 0..reader.unsigned()? {
        reader.unsigned()?;
        reader.byte()?;
    }
    let mut instructions = Vec::new();
    while reader.at < body.len() {
        let at = reader.at;
        let opcode = reader.byte()?;
        let (mut depth, mut targets) = (0, 0);
        match opcode {
            BR | BR_IF => depth = reader.unsigned()?,
            BR_TABLE => {
                targets = reader.unsigned()?;
                for _ in 0..=targets {
                    reader.unsigned()?;
                }
            }
            // Block types, indices, constants: one number.
            BLOCK | LOOP | IF | CALL | 0x20..=0x26 | 0x3f..=0x42 | 0xd0 | 0xd2 => {
                reader.number()?
            }
            CALL_INDIRECT | 0x28..=0x3e => {
                reader.number()?;
                reader.number()?;
            }
            0x1c => {
                let len = reader.unsigned()?;
                reader.skip(len)?;
            }
            0x43 => reader.skip(4)?,
            0x44 => reader.skip(8)?,
            0xfc => match reader.unsigned()? {
                0..=7 => {}
                8 | 10 | 12 | 14 => {
                    reader.number()?;
                    reader.number()?;
                }
                _ => reader.number()?,
            },
            UNREACHABLE | 0x01 | 0x05 | END | RETURN | 0x1a | 0x1b | 0x45..=0xc4 | 0xd1 => {}
            _ => bail!("unknown instruction {opcode:#x} at {at}"),
        }
        instructions.push(Instruction {
            at,
            opcode,
            depth,
            targets,
        });
    }
    Ok(instructions)
}

/// For each conditional branch with one rare way: its offset, and whether it is likely taken.
fn hints(body: &[Instruction]) -> Result<Vec<(usize, bool)>> {
    let mut flow = Flow {
        body,
        targets: targets(body)?,
        known: HashMap::new(),
    };
    let mut hints = Vec::new();
    for (i, instruction) in body.iter().enumerate() {
        if instruction.opcode == BR_IF {
            let (taken, passed) = (flow.branch_is_rare(i), flow.is_rare(i + 1));
            if taken != passed {
                hints.push((instruction.at, passed));
            }
        }
    }
    Ok(hints)
}

/// Where each branch goes: an instruction's index, or none when it is back to a loop's begin.
fn targets(body: &[Instruction]) -> Result<HashMap<usize, Option<usize>>> {
    let mut open: Vec<(usize, Vec<usize>)> = vec![(usize::MAX, Vec::new())];
    let mut targets = HashMap::new();
    for (i, instruction) in body.iter().enumerate() {
        match instruction.opcode {
            BLOCK | LOOP | IF => open.push((i, Vec::new())),
            BR | BR_IF => {
                let block = open
                    .iter_mut()
                    .rev()
                    .nth(instruction.depth)
                    .context("a branch out of the function")?;
                block.1.push(i);
            }
            END => {
                let (begin, branches) = open.pop().context("an end too many")?;
                let is_loop = body.get(begin).is_some_and(|found| found.opcode == LOOP);
                let target = (!is_loop).then_some(i + 1);
                targets.extend(branches.into_iter().map(|branch| (branch, target)));
            }
            _ => {}
        }
    }
    Ok(targets)
}

struct Flow<'a> {
    body: &'a [Instruction],
    targets: HashMap<usize, Option<usize>>,
    known: HashMap<usize, bool>,
}

impl Flow<'_> {
    fn branch_is_rare(&mut self, branch: usize) -> bool {
        match self.targets.get(&branch) {
            Some(Some(target)) => self.is_rare(*target),
            _ => false,
        }
    }

    /// True when a call or the function's end is met on every way from instruction `from`, before the
    /// loop's begin or a jump table.
    fn is_rare(&mut self, from: usize) -> bool {
        if let Some(known) = self.known.get(&from) {
            return *known;
        }
        self.known.insert(from, false);
        let body = self.body;
        let mut rare = true;
        for (i, instruction) in body.iter().enumerate().skip(from) {
            match instruction.opcode {
                CALL | CALL_INDIRECT | RETURN | UNREACHABLE => break,
                BR => {
                    rare = self.branch_is_rare(i);
                    break;
                }
                BR_IF => {
                    rare = self.branch_is_rare(i) && self.is_rare(i + 1);
                    break;
                }
                BR_TABLE => {
                    rare = false;
                    break;
                }
                _ => {}
            }
        }
        self.known.insert(from, rare);
        rare
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8> {
        let byte = self.bytes.get(self.at).context("the module is cut off")?;
        self.at += 1;
        Ok(*byte)
    }

    fn skip(&mut self, len: usize) -> Result<()> {
        self.at += len;
        ensure!(self.at <= self.bytes.len(), "the module is cut off");
        Ok(())
    }

    fn unsigned(&mut self) -> Result<usize> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= usize::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(value);
            }
        }
        bail!("a number is too long")
    }

    /// Passes over a number of any kind.
    fn number(&mut self) -> Result<()> {
        while self.byte()? >= 128 {}
        Ok(())
    }
}

fn unsigned(bytes: &mut Vec<u8>, mut value: usize) {
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A module of one function: a loop with a jump table of `TARGETS_MIN` targets and `tail` behind it.
    fn module(tail: &[u8]) -> (Vec<u8>, usize) {
        let mut body = vec![0, LOOP, 0x40, BLOCK, 0x40, 0x41, 0, BR_TABLE];
        unsigned(&mut body, TARGETS_MIN);
        body.extend(vec![0; TARGETS_MIN + 1]);
        // The table's block ends; the padding makes the function as large as a real one.
        body.push(END);
        body.extend(vec![0x01; 8 * TARGETS_MIN]);
        let at = body.len();
        body.extend_from_slice(tail);
        body.extend([END, END]);
        let mut code = vec![1];
        unsigned(&mut code, body.len());
        code.extend(body);
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        module.push(SECTION_CODE);
        unsigned(&mut module, code.len());
        module.extend(code);
        (module, at)
    }

    #[test]
    fn names_are_dropped_and_nothing_else() {
        let (plain, _) = module(&[]);
        let custom = |name: &[u8]| {
            let mut section = vec![SECTION_CUSTOM, name.len() as u8 + 3, name.len() as u8];
            section.extend_from_slice(name);
            section.extend([7, 7]);
            section
        };
        let named = [plain.clone(), custom(b"name"), custom(b"names")].concat();
        let kept = [plain, custom(b"names")].concat();
        assert_eq!(without_names(&named).expect("it is well formed"), kept);
        assert!(without_names(b"\0asm").is_err());
    }

    fn hints_of(tail: &[u8]) -> Vec<(usize, bool)> {
        let (module, at) = module(tail);
        let sections = sections(&module).expect("it is well formed");
        let (_, body) =
            interpreter(&module[sections[0].body..sections[0].end]).expect("it has a loop");
        hints(&body)
            .expect("its blocks match")
            .into_iter()
            .map(|(found, taken)| (found - at, taken))
            .collect()
    }

    #[test]
    fn a_branch_around_a_call_is_likely() {
        // block; i32.const 0; br_if 0; call 0; end; br 0 (to the loop)
        let tail = [BLOCK, 0x40, 0x41, 0, BR_IF, 0, CALL, 0, END, BR, 0];
        assert_eq!(hints_of(&tail), [(4, true)]);
    }

    #[test]
    fn a_branch_to_a_call_is_unlikely() {
        // block; i32.const 0; br_if 0; br 1 (to the loop); end; call 0; br 0
        let tail = [BLOCK, 0x40, 0x41, 0, BR_IF, 0, BR, 1, END, CALL, 0, BR, 0];
        assert_eq!(hints_of(&tail), [(4, false)]);
    }

    #[test]
    fn equal_ways_have_no_hint() {
        // Both ways go on with the loop, one after a nop.
        let tail = [BLOCK, 0x40, 0x41, 0, BR_IF, 0, 0x01, END, BR, 0];
        assert_eq!(hints_of(&tail), []);
    }

    #[test]
    fn the_section_stands_before_the_code_and_changes_nothing_else() {
        let tail = [BLOCK, 0x40, 0x41, 0, BR_IF, 0, CALL, 0, END, BR, 0];
        let (module, _) = module(&tail);
        let (hinted, count) = add(&module).expect("it is well formed");
        assert_eq!(count, 1);
        let added = hinted.len() - module.len();
        assert_eq!(hinted[..8], module[..8]);
        assert_eq!(hinted[8 + added..], module[8..]);
        assert_eq!(hinted[8], SECTION_CUSTOM);
        assert!(hinted[10..].starts_with(&[SECTION.len() as u8]));
    }

    #[test]
    fn other_files_are_refused() {
        for bytes in [
            &b"\x7fELF"[..],
            b"\0asm\x01\0\0\0",
            b"\0asm\x01\0\0\0\x0a\x20\x01",
        ] {
            assert!(add(bytes).is_err());
        }
    }
}
