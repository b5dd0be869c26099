//! Checks that every program and library of an image finds what it needs in that image.
//!
//! An image that lacks a library fails only when somebody runs the one program that wants it, so
//! the builder looks at all of them: the interpreter and every `NEEDED` name, searched where the
//! dynamic loader would search.

use std::collections::BTreeSet;

use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

use super::tree::{Kind, Tree};

/// Directories the loader searches by itself, most specific first.
const LIBRARY_DIRS: &[&str] = &[
    "lib/riscv64-linux-gnu",
    "usr/lib/riscv64-linux-gnu",
    "lib",
    "usr/lib",
];

/// What one file asks for.
#[derive(Debug, Default)]
pub struct Needs {
    /// The program interpreter.
    pub interpreter: Option<String>,
    /// Library names.
    pub libraries: Vec<String>,
    /// Extra directories to search.
    pub run_paths: Vec<String>,
}

/// Reads an ELF file's needs; `None` if it is no 64-bit little-endian ELF program or library.
pub fn needs(bytes: &[u8]) -> Option<Needs> {
    if !bytes.starts_with(b"\x7fELF") {
        return None;
    }
    let header = FileHeader64::<LittleEndian>::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    if !matches!(header.e_type(endian), elf::ET_EXEC | elf::ET_DYN) {
        return None;
    }
    let segments = header.program_headers(endian, bytes).ok()?;
    let mut needs = Needs::default();
    let mut table = Vec::new();
    for segment in segments {
        if let Ok(Some(interpreter)) = segment.interpreter(endian, bytes) {
            needs.interpreter = Some(String::from_utf8_lossy(interpreter).into_owned());
        }
        if let Ok(Some(dynamic)) = segment.dynamic(endian, bytes) {
            table = dynamic.to_vec();
        }
    }
    let value = |tag| {
        table
            .iter()
            .find(|entry| entry.tag(endian) == tag)
            .map(|e| e.d_val(endian))
    };
    let Some(strings) = value(elf::DT_STRTAB) else {
        return Some(needs);
    };
    // The string table is given by address; the segment that maps it says where it is in the file.
    let offset = segments.iter().find_map(|segment| {
        let start = segment.p_vaddr(endian);
        let inside = segment.p_type(endian) == elf::PT_LOAD
            && (start..start + segment.p_filesz(endian)).contains(&strings);
        inside.then(|| strings - start + segment.p_offset(endian))
    })?;
    let strings = bytes.get(usize::try_from(offset).ok()?..)?;
    let text = |at: u64| -> Option<String> {
        let text = strings.get(usize::try_from(at).ok()?..)?;
        let end = text.iter().position(|&byte| byte == 0)?;
        Some(String::from_utf8_lossy(&text[..end]).into_owned())
    };
    for entry in &table {
        let tag = entry.tag(endian);
        if tag == elf::DT_NEEDED {
            needs.libraries.extend(text(entry.d_val(endian)));
        } else if tag == elf::DT_RPATH || tag == elf::DT_RUNPATH {
            let paths = text(entry.d_val(endian)).unwrap_or_default();
            needs.run_paths.extend(paths.split(':').map(str::to_string));
        }
    }
    Some(needs)
}

/// Where the loader would find `library` for the file at `path`.
pub fn find_library(tree: &Tree, path: &str, needs: &Needs, library: &str) -> Option<String> {
    if library.contains('/') {
        return tree
            .resolve(library, true)
            .filter(|found| tree.contains(found));
    }
    let origin = path.rsplit_once('/').map_or("", |(dir, _)| dir);
    let run_paths = needs.run_paths.iter().map(|dir| {
        dir.replace("$ORIGIN", &format!("/{origin}"))
            .replace("${ORIGIN}", &format!("/{origin}"))
    });
    run_paths
        .chain(LIBRARY_DIRS.iter().map(ToString::to_string))
        .filter_map(|dir| tree.resolve(&format!("{dir}/{library}"), true))
        .find(|found| tree.contains(found))
}

/// Every unmet need in the tree, one line each.
pub fn unmet(tree: &Tree) -> Vec<String> {
    let mut unmet = Vec::new();
    for (path, node) in tree.iter() {
        let Kind::File(bytes) = &node.kind else {
            continue;
        };
        let Some(needs) = needs(bytes) else { continue };
        if let Some(interpreter) = &needs.interpreter
            && tree.read(interpreter).is_none()
        {
            unmet.push(format!("/{path} needs the interpreter {interpreter}"));
        }
        for library in &needs.libraries {
            // Java's launcher loads the virtual machine by its path before the libraries that need it.
            let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
            let loaded_before = tree.contains(&format!("{dir}/server/{library}"));
            if find_library(tree, path, &needs, library).is_none() && !loaded_before {
                unmet.push(format!("/{path} needs {library}"));
            }
        }
    }
    unmet
}

/// `path` and everything it loads, links on the way included, in the order found.
pub fn closure(tree: &Tree, path: &str) -> Vec<String> {
    let mut todo = vec![path.to_string()];
    let mut seen = BTreeSet::new();
    let mut order = Vec::new();
    while let Some(path) = todo.pop() {
        // The name itself (often a link), then what it leads to.
        let Some(file) = tree.resolve(&path, true) else {
            continue;
        };
        for name in [tree.resolve(&path, false), Some(file.clone())]
            .into_iter()
            .flatten()
        {
            if tree.contains(&name) && seen.insert(name.clone()) {
                order.push(name);
            }
        }
        let Some(needs) = tree.read(&file).and_then(|bytes| needs(bytes)) else {
            continue;
        };
        for name in needs.interpreter.iter().chain(&needs.libraries) {
            let found = if name.starts_with('/') {
                Some(name.trim_start_matches('/').to_string())
            } else {
                LIBRARY_DIRS
                    .iter()
                    .map(|dir| format!("{dir}/{name}"))
                    .find(|path| tree.read(path).is_some())
                    .or_else(|| find_library(tree, &file, &needs, name))
            };
            let unseen = found.filter(|path| {
                tree.resolve(path, true)
                    .is_some_and(|resolved| !seen.contains(&resolved))
            });
            todo.extend(unseen);
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_elf_needs_nothing() {
        for bytes in [
            &b""[..],
            b"#!/bin/sh\n",
            b"\x7fELF",
            &[0x7f, b'E', b'L', b'F', 2, 1, 1],
        ] {
            assert!(needs(bytes).is_none());
        }
        let mut tree = Tree::new();
        tree.file("bin/x", 0o755, "#!/bin/sh\n");
        assert!(unmet(&tree).is_empty());
    }
}
