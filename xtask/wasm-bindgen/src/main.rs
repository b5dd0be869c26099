//! The `wasm-bindgen` command: as much of its command line as Trunk uses, over the library
//! that does the work.
//!
//! It is not the full tool: targets other than `web` and `no-modules`, and options Trunk
//! 0.21.14 never passes (`src/pipelines/rust/mod.rs`, `wasm_bindgen_build`), are refused by
//! name rather than ignored.

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<()> {
    let mut bindgen = Bindgen::new();
    let mut input = None;
    let mut out_dir = None;
    for argument in std::env::args().skip(1) {
        let (name, value) = match argument.split_once('=') {
            Some((name, value)) => (name, value),
            None => (argument.as_str(), ""),
        };
        match (name, value) {
            // Trunk compares the second word with the version in Cargo.lock.
            ("--version", _) => {
                println!("wasm-bindgen {}", env!("CARGO_PKG_VERSION"));
                return Ok(());
            }
            ("--target", "web") => drop(bindgen.web(true)?),
            ("--target", "no-modules") => drop(bindgen.no_modules(true)?),
            ("--out-dir", dir) => out_dir = Some(dir.to_owned()),
            ("--out-name", name) => drop(bindgen.out_name(name)),
            ("--keep-debug", _) => drop(bindgen.keep_debug(true)),
            ("--no-demangle", _) => drop(bindgen.demangle(false)),
            ("--no-typescript", _) => drop(bindgen.typescript(false)),
            // Read from the module's own feature section since 0.2.9x.
            ("--reference-types" | "--weak-refs", _) => {}
            (path, "") if !path.starts_with('-') => input = Some(path.to_owned()),
            _ => bail!("this wasm-bindgen does not know the argument {argument:?}"),
        }
    }
    bindgen
        .input_path(input.context("no input file was named")?)
        .generate(out_dir.context("--out-dir is missing")?)
}
