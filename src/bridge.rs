//! The page's end of the channel to the worker.
//!
//! Starts `worker_loader.js`, posts `ToWorker` and hands every `FromWorker` to one callback. A
//! message is an array `[json, bytes?]`; the bytes' buffer is transferred, not copied. A worker
//! that cannot start or dies without a word becomes `FromWorker::Panicked`, so the page has one
//! way to learn of it.

use js_sys::{Array, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{Blob, ErrorEvent, File, HtmlAnchorElement, MessageEvent, MessagePort, Url, Worker};
use yew::Callback;

use crate::protocol::{FromWorker, Place, ToWorker};

/// Relative to the page, as everything: the folder may be hosted anywhere.
const WORKER_URL: &str = "worker_loader.js";

/// A running worker. Dropping it ends the worker and everything in it.
pub struct Bridge {
    worker: Worker,
    _on_message: Closure<dyn FnMut(MessageEvent)>,
    _on_error: Closure<dyn FnMut(ErrorEvent)>,
}

impl Bridge {
    /// Starts a worker. Images that it gives as files go to `on_image`, by their transfers.
    pub fn start(
        on_event: Callback<FromWorker>,
        on_image: Callback<(u32, Blob)>,
    ) -> Result<Bridge, String> {
        let (worker, heard) = match started() {
            Some(early) => early,
            None => {
                let worker = Worker::new(WORKER_URL).map_err(|error| format!("{error:?}"))?;
                (worker, Array::new())
            }
        };
        let receive = on_event.clone();
        let on_message = Closure::new(move |event: MessageEvent| {
            let parts = Array::from(&event.data());
            let text = parts.get(0).as_string().unwrap_or_default();
            let bytes = parts
                .get(1)
                .dyn_into::<Uint8Array>()
                .ok()
                .map(|bytes| bytes.to_vec());
            match FromWorker::join(&text, bytes) {
                Ok(message) => {
                    let file = parts.get(1).dyn_into::<Blob>();
                    match (file, &message) {
                        (Ok(file), FromWorker::ImageFile { id }) => on_image.emit((*id, file)),
                        (Ok(file), _) => download(&file),
                        _ => {}
                    }
                    receive.emit(message);
                }
                Err(error) => receive.emit(FromWorker::Error {
                    text: format!("unreadable message of the worker: {error}: {text}"),
                }),
            }
        });
        let on_error = Closure::new(move |event: ErrorEvent| {
            event.prevent_default();
            on_event.emit(FromWorker::Panicked {
                text: format!(
                    "{} ({}:{})",
                    event.message(),
                    event.filename(),
                    event.lineno()
                ),
            });
        });
        worker.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(on_error.as_ref().unchecked_ref()));
        for event in heard.iter() {
            // Fails only for events that are under way, and these are over.
            let _ = worker.dispatch_event(event.unchecked_ref());
        }
        Ok(Bridge {
            worker,
            _on_message: on_message,
            _on_error: on_error,
        })
    }

    /// Starts a new playground: the first message.
    pub fn boot(&self) {
        self.send(ToWorker::Boot {
            seed: js_sys::Math::random().to_bits(),
        });
    }

    /// Starts from a saved playground, a file or the kept one: the first message, in place of `Boot`.
    pub fn restore(&self, file: Option<&File>, ours: bool) {
        let place = file.map_or(Place::Browser, |_| Place::File);
        let (text, _) = ToWorker::Restore { place, ours }.split();
        let parts = Array::of1(&JsValue::from_str(&text));
        if let Some(file) = file {
            parts.push(file);
        }
        let _ = self.worker.post_message(&parts);
    }

    /// Hands over a file with images, which the worker reads piece by piece.
    pub fn load_images(&self, name: String, id: u32, file: &File) {
        let (text, _) = ToWorker::LoadImages { name, id }.split();
        let parts = Array::of2(&JsValue::from_str(&text), file);
        let _ = self.worker.post_message(&parts);
    }

    /// Hands on a request for a port; the answer goes to `channel` without coming by here.
    pub fn open_port(&self, request: &JsValue, channel: &MessagePort) {
        let parts = Array::of3(&JsValue::from_str("\"Port\""), request, channel);
        let _ = self
            .worker
            .post_message_with_transfer(&parts, &Array::of1(channel));
    }

    /// Posts a message.
    pub fn send(&self, message: ToWorker) {
        let (text, bytes) = message.split();
        let parts = Array::of1(&JsValue::from_str(&text));
        let transfer = Array::new();
        if let Some(bytes) = bytes {
            let bytes = Uint8Array::from(bytes.as_slice());
            transfer.push(&bytes.buffer());
            parts.push(&bytes);
        }
        // Fails only for values that cannot be cloned, and these can.
        let _ = self.worker.post_message_with_transfer(&parts, &transfer);
    }
}

/// The worker that `index.html` started, and the events it had before anybody listened; once.
fn started() -> Option<(Worker, Array)> {
    let global = js_sys::global();
    let name = JsValue::from_str("drydockWorker");
    let early = Reflect::get(&global, &name).ok()?;
    Reflect::set(&global, &name, &JsValue::UNDEFINED).ok()?;
    let part = |name: &str| Reflect::get(&early, &JsValue::from_str(name)).ok();
    let worker = part("worker")?.dyn_into().ok()?;
    Some((worker, part("heard")?.dyn_into().ok()?))
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}

/// Hands a file of this program's making to the user.
pub fn save_file(bytes: &[u8], name: &str) {
    let parts = Array::of1(&Uint8Array::from(bytes));
    if let Ok(file) = Blob::new_with_u8_array_sequence(&parts) {
        offer(&file, name);
    }
}

/// Hands a saved playground to the user.
fn download(file: &Blob) {
    let now = String::from(js_sys::Date::new_0().to_iso_string());
    let name = format!("drydock-{}.playground", now[..19].replace(':', "-"));
    offer(file, &name);
}

/// Hands a file to the user, as any download of the browser's.
pub fn offer(file: &Blob, name: &str) {
    let document = web_sys::window().and_then(|window| window.document());
    let link = document
        .and_then(|document| document.create_element("a").ok())
        .and_then(|element| element.dyn_into::<HtmlAnchorElement>().ok());
    if let (Some(link), Ok(url)) = (link, Url::create_object_url_with_blob(file)) {
        link.set_href(&url);
        link.set_download(name);
        link.click();
        // The browser has begun to read it.
        let _ = Url::revoke_object_url(&url);
    }
}
