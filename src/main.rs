//! The page's program: starts Yew. Natively there is no page, and it says so.

#[cfg(target_arch = "wasm32")]
fn main() {
    console_error_panic_hook::set_once();
    drydock::app::start();
}

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    eprintln!("this program runs in a browser: `cargo xtask serve` builds and serves it");
    std::process::exit(2);
}
