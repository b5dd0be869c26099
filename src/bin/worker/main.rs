//! The worker's program: binds the worker's core to the browser's worker scope.
//!
//! Everything asynchronous (timers, downloads, the message loop) is in
//! `static/worker_loader.js`, which calls the methods below and offers the functions above them.

#[cfg(target_arch = "wasm32")]
mod machines;
#[cfg(target_arch = "wasm32")]
mod trace;

#[cfg(target_arch = "wasm32")]
mod browser {
    use crate::machines;
    use drydock::protocol::{FromWorker, ToWorker};
    use drydock::worker::{FetchRequest, Fetched, Host, Worker};
    use js_sys::Uint8Array;
    use wasm_bindgen::prelude::*;

    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_namespace = ["self", "drydock"])]
        fn post(text: &str, bytes: Option<Uint8Array>);
        /// The text of a panic, before its trap.
        #[wasm_bindgen(js_namespace = ["self", "drydock"])]
        fn panicked(text: &str);
        /// Calls `body` and catches traps; the answer is what trapped.
        #[wasm_bindgen(js_namespace = ["self", "drydock"])]
        fn guarded(body: &mut dyn FnMut()) -> Option<String>;
        #[wasm_bindgen(js_namespace = ["self", "drydock"])]
        fn now_ms() -> f64;
        /// `range` is a `Range` header's value, or empty for the whole.
        #[wasm_bindgen(js_namespace = ["self", "drydock"])]
        fn fetch_start(id: u32, path: &str, range: &str, immutable: bool);
    }

    /// The wall around a machine (`playground::guard`): JavaScript catches what traps in it.
    pub(crate) fn guard(body: &mut dyn FnMut()) -> Result<(), String> {
        guarded(&mut || body()).map_or(Ok(()), Err)
    }

    struct Browser;

    impl Host for Browser {
        fn post(&self, message: FromWorker) {
            let (text, bytes) = message.split();
            // A copy: the buffer is given away, and this program's memory cannot be.
            post(&text, bytes.map(|bytes| Uint8Array::from(bytes.as_slice())));
        }

        fn now_ms(&self) -> f64 {
            now_ms()
        }

        fn fetch(&self, request: &FetchRequest) {
            let range = match request.range {
                Some((first, last)) => format!("bytes={first}-{last}"),
                None => String::new(),
            };
            fetch_start(request.id, &request.path, &range, request.immutable);
        }
    }

    /// The worker as the loader sees it.
    #[wasm_bindgen]
    pub struct DrydockWorker(Worker<Browser>);

    #[wasm_bindgen]
    impl DrydockWorker {
        /// A worker that has not been told to boot.
        #[wasm_bindgen(constructor)]
        pub fn new() -> DrydockWorker {
            std::panic::set_hook(Box::new(|info| {
                console_error_panic_hook::hook(info);
                panicked(&info.to_string());
            }));
            DrydockWorker(Worker::new(Browser, machines::open))
        }

        /// A message of the page.
        pub fn message(&mut self, text: &str, bytes: Option<Vec<u8>>) {
            match ToWorker::join(text, bytes) {
                Ok(message) => self.0.message(message),
                Err(error) => Browser.post(FromWorker::Error {
                    text: format!("unreadable message of the page: {error}"),
                }),
            }
        }

        /// See [`Worker::turn`].
        pub fn turn(&mut self) -> f64 {
            self.0.turn()
        }

        /// See [`Worker::fetch_progress`].
        pub fn fetch_progress(&mut self, id: u32, done_bytes: f64, total_bytes: f64) {
            self.0
                .fetch_progress(id, done_bytes as u64, total_bytes as u64);
        }

        /// A download has ended.
        pub fn fetched(&mut self, id: u32, status: u16, body: Vec<u8>) {
            self.0.fetched(id, Ok(Fetched { status, body }));
        }

        /// A download has failed without an answer.
        pub fn fetch_failed(&mut self, id: u32, why: String) {
            self.0.fetched(id, Err(why));
        }
    }
}

// The loader makes the worker; there is nothing to do before.
#[cfg(target_arch = "wasm32")]
fn main() {}

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    eprintln!("this program runs in a browser's worker: `cargo xtask serve` builds and serves it");
    std::process::exit(2);
}
