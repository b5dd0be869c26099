//! Exports the worker's stack pointer: who catches a trap has to set it back (`static/worker_loader.js`).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        println!("cargo::rustc-link-arg-bin=worker=--export=__stack_pointer");
    }
}
