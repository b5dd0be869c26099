//! The worker's program: binds the worker's core to the browser's worker scope.
//!
//! Everything asynchronous (timers, downloads, the message loop) is in
//! `static/worker_loader.js`, which calls the methods below and offers the functions above them.

#[cfg(target_arch = "wasm32")]
mod docker;
#[cfg(target_arch = "wasm32")]
mod looks;
#[cfg(target_arch = "wasm32")]
mod machines;
#[cfg(target_arch = "wasm32")]
mod trace;

#[cfg(target_arch = "wasm32")]
mod browser {
    use std::cell::RefCell;

    use crate::machines;
    use drydock::internet::{InternetAnswer, InternetRequest};
    use drydock::ports::PortEvent;
    use drydock::protocol::{FromWorker, Place, ToWorker};
    use drydock::worker::{FetchRequest, Fetched, Host, TransferStep, Worker};
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
        /// Sends a request out, as JSON and its body.
        #[wasm_bindgen(js_namespace = ["self", "drydock"])]
        fn internet_start(text: &str, body: Uint8Array);
        /// What became of a request for a port.
        #[wasm_bindgen(js_namespace = ["self", "drydock"])]
        fn port_event(text: &str, bytes: Option<Uint8Array>);
        /// The next piece of an archive is wanted.
        #[wasm_bindgen(js_namespace = ["self", "drydock"])]
        fn transfer_wanted(id: u32);
        /// A piece of an image.
        #[wasm_bindgen(js_namespace = ["self", "drydock"])]
        fn transfer_piece(id: u32, bytes: Uint8Array);
        /// There are no more pieces.
        #[wasm_bindgen(js_namespace = ["self", "drydock"])]
        fn transfer_over(id: u32, well: bool);
        /// Saves this memory when the call in progress has returned.
        #[wasm_bindgen(js_namespace = ["self", "drydock"])]
        fn save(page: &str, to_file: bool);
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

        fn internet(&self, request: InternetRequest) {
            let (text, body) = request.split();
            internet_start(&text, Uint8Array::from(body.as_slice()));
        }

        fn port_event(&self, event: PortEvent) {
            let (text, bytes) = event.split();
            port_event(&text, bytes.map(|bytes| Uint8Array::from(bytes.as_slice())));
        }

        fn transfer(&self, step: TransferStep) {
            match step {
                TransferStep::Wanted { id } => transfer_wanted(id),
                TransferStep::Piece { id, bytes } => {
                    transfer_piece(id, Uint8Array::from(bytes.as_slice()));
                }
                TransferStep::Over { id, well } => transfer_over(id, well),
            }
        }

        fn save(&self, page: &str, place: Place) {
            save(page, place == Place::File);
        }
    }

    thread_local! {
        /// The worker: in this program's memory and nowhere else, so that a saved memory is all of it.
        static WORKER: RefCell<Worker<Browser>> = RefCell::new(Worker::new(Browser, machines::open));
    }

    fn with<T>(body: impl FnOnce(&mut Worker<Browser>) -> T) -> T {
        WORKER.with_borrow_mut(body)
    }

    /// Called once in the life of this memory.
    #[wasm_bindgen]
    pub fn start() {
        std::panic::set_hook(Box::new(|info| {
            console_error_panic_hook::hook(info);
            panicked(&info.to_string());
        }));
    }

    /// A message of the page.
    #[wasm_bindgen]
    pub fn message(text: &str, bytes: Option<Vec<u8>>) {
        match ToWorker::join(text, bytes) {
            Ok(message) => with(|worker| worker.message(message)),
            Err(error) => Browser.post(FromWorker::Error {
                text: format!("unreadable message of the page: {error}"),
            }),
        }
    }

    /// See [`Worker::turn`].
    #[wasm_bindgen]
    pub fn turn() -> f64 {
        with(Worker::turn)
    }

    /// See [`Worker::restored`].
    #[wasm_bindgen]
    pub fn restored() {
        with(Worker::restored);
    }

    /// See [`Worker::fetch_progress`].
    #[wasm_bindgen]
    pub fn fetch_progress(id: u32, done_bytes: f64, total_bytes: f64) {
        with(|worker| worker.fetch_progress(id, done_bytes as u64, total_bytes as u64));
    }

    /// A download has ended.
    #[wasm_bindgen]
    pub fn fetched(id: u32, status: u16, body: Vec<u8>) {
        with(|worker| worker.fetched(id, Ok(Fetched { status, body })));
    }

    /// A request of the browser for a port of a machine, as JSON.
    #[wasm_bindgen]
    pub fn port_request(id: u32, text: &str, body: Vec<u8>) {
        let request = serde_json::from_slice(text.as_bytes());
        with(|worker| match (worker.engine(), request) {
            (Some(engine), Ok(request)) => engine.port_request(id, request, body),
            (None, _) => failed(id, "the engine has not started"),
            (_, Err(error)) => failed(id, &error.to_string()),
        });
    }

    /// What became of a request that went out, as JSON and the body of an answer.
    #[wasm_bindgen]
    pub fn internet_answer(id: u32, text: &str, body: Vec<u8>) {
        let answer = InternetAnswer::join(text, body);
        with(|worker| {
            worker
                .engine()
                .map(|engine| engine.internet_answer(id, answer))
        });
    }

    fn failed(id: u32, text: &str) {
        let text = text.to_owned();
        Browser.port_event(PortEvent::Failed { id, text });
    }

    /// The browser has taken this much of an answer.
    #[wasm_bindgen]
    pub fn port_taken(id: u32, bytes: usize) {
        with(|worker| worker.engine().map(|engine| engine.port_taken(id, bytes)));
    }

    /// The browser wants no more of an answer.
    #[wasm_bindgen]
    pub fn port_cancel(id: u32) {
        with(|worker| worker.engine().map(|engine| engine.port_cancel(id)));
    }

    /// See [`Worker::load_images`].
    #[wasm_bindgen]
    pub fn load_images(id: u32, name: &str) {
        with(|worker| worker.load_images(name, id));
    }

    /// The next piece of an archive; an empty one is the end.
    #[wasm_bindgen]
    pub fn load_piece(id: u32, bytes: Vec<u8>) {
        with(|worker| worker.engine().map(|engine| engine.load_piece(id, bytes)));
    }

    /// The browser has a piece of an image.
    #[wasm_bindgen]
    pub fn piece_taken(id: u32) {
        with(|worker| worker.engine().map(|engine| engine.piece_taken(id)));
    }

    /// The file cannot be read any more.
    #[wasm_bindgen]
    pub fn transfer_failed(id: u32, why: String) {
        with(|worker| {
            if let Some(engine) = worker.engine() {
                engine.cancel_transfer(id);
            }
            worker.transfer_failed(id, why);
        });
    }

    /// A download has failed without an answer.
    #[wasm_bindgen]
    pub fn fetch_failed(id: u32, why: String) {
        with(|worker| worker.fetched(id, Err(why)));
    }
}

// The loader calls the functions above; there is nothing to do before.
#[cfg(target_arch = "wasm32")]
fn main() {}

#[cfg(not(target_arch = "wasm32"))]
fn main() {
    eprintln!("this program runs in a browser's worker: `cargo xtask serve` builds and serves it");
    std::process::exit(2);
}
