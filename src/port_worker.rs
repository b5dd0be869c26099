//! The page's end of OPEN PORT: starts the service worker, and takes its requests for this playground.
//!
//! Addresses of ports carry a name of this page's own, so that of several tabs each answers for itself.

use gloo::events::EventListener;
use js_sys::{Object, Reflect};
use wasm_bindgen::prelude::*;
use web_sys::{MessageEvent, MessagePort, RegistrationOptions};
use yew::Callback;

/// Relative to the page, as everything.
const SCRIPT: &str = "port_worker.js";
const SCOPE: &str = "port/";

/// A request of the service worker, and where its answer goes.
pub type Forward = (JsValue, MessagePort);

/// See the module's comment.
pub struct PortWorker {
    session: String,
    _requests: EventListener,
}

impl PortWorker {
    /// Starts it. `None` where the browser or the page that embeds this one allows no service workers.
    pub fn start(on_request: Callback<Forward>) -> Option<PortWorker> {
        let navigator = gloo::utils::window().navigator();
        // Absent outside secure contexts.
        let allowed = Reflect::has(&navigator, &"serviceWorker".into()).unwrap_or(false);
        if !allowed {
            return None;
        }
        let container = navigator.service_worker();
        let options = RegistrationOptions::new();
        options.set_scope(SCOPE);
        // A refusal shows when a port is opened: its page is not found.
        let _ = container.register_with_options(SCRIPT, &options);
        let random = (js_sys::Math::random() * 1e9) as u32;
        let session = format!("{random:08x}");
        let own = session.clone();
        let requests = EventListener::new(&container, "message", move |event| {
            let Some(event) = event.dyn_ref::<MessageEvent>() else {
                return;
            };
            let data = event.data();
            let get = |name: &str| Reflect::get(&data, &name.into()).unwrap_or_default();
            let is_ours = get("drydock") == "port" && get("session") == own.as_str();
            let channel = event.ports().get(0).dyn_into::<MessagePort>();
            if let (true, Ok(channel)) = (is_ours, channel) {
                let accepted = Object::new();
                let _ = Reflect::set(&accepted, &"accepted".into(), &JsValue::TRUE);
                let _ = channel.post_message(&accepted);
                on_request.emit((get("request"), channel));
            }
        });
        Some(PortWorker {
            session,
            _requests: requests,
        })
    }

    /// The address of a port's page, relative to this one.
    pub fn address(&self, ip: &str, port: u16) -> String {
        format!("{SCOPE}{}/{ip}-{port}/", self.session)
    }
}
