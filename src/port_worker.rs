//! The page's end of OPEN PORT: starts the service worker, and takes its requests for this playground.
//!
//! Addresses of ports carry a name of this page's own, so that of several tabs each answers for itself.

use gloo::events::EventListener;
use gloo::timers::callback::Timeout;
use js_sys::{Object, Promise, Reflect};
use wasm_bindgen::prelude::*;
use web_sys::{MessageEvent, MessagePort, RegistrationOptions, ServiceWorkerContainer};
use yew::Callback;

/// Relative to the page, as everything.
const SCRIPT: &str = "port_worker.js";
const SCOPE: &str = "port/";

/// A request of the service worker, and where its answer goes.
pub type Forward = (JsValue, MessagePort);

/// How pages of ports can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The service worker is still being started.
    Unknown,
    /// Through the service worker.
    Worker,
    /// The browser, or the page that embeds this one, allows no service worker.
    Direct,
}

/// How often, and how many times, a service worker that is being installed is looked at.
const LOOK_MS: u32 = 50;
const LOOKS_MAX: u32 = 200;

/// See the module's comment.
pub struct PortWorker {
    session: String,
    _requests: EventListener,
}

impl PortWorker {
    /// Starts it, and tells when it runs or that it never will. `None` where there are no service workers.
    pub fn start(on_request: Callback<Forward>, on_access: Callback<Access>) -> Option<PortWorker> {
        let navigator = gloo::utils::window().navigator();
        // Absent outside secure contexts; in some frames even asking is an error.
        let container = Reflect::get(&navigator, &"serviceWorker".into()).ok()?;
        let container: ServiceWorkerContainer = container.dyn_into().ok()?;
        let options = RegistrationOptions::new();
        options.set_scope(SCOPE);
        let registering = container.register_with_options(SCRIPT, &options);
        tell_access(&registering, on_access);
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

    /// What addresses of ports begin with, relative to this page.
    pub fn root(&self) -> String {
        format!("{SCOPE}{}/", self.session)
    }

    /// The address of a port's page, relative to this one.
    pub fn address(&self, ip: &str, port: u16) -> String {
        format!("{}{ip}-{port}/", self.root())
    }
}

/// Tells what came of registering a service worker.
fn tell_access(registering: &Promise, on_access: Callback<Access>) {
    let refused = on_access.clone();
    let registered = Closure::once(move |registration: JsValue| {
        watch(registration, LOOKS_MAX, on_access);
    });
    let failed = Closure::once(move |_: JsValue| refused.emit(Access::Direct));
    let _ = registering.then2(&registered, &failed);
    // One of them is called, once, and the other never.
    registered.forget();
    failed.forget();
}

/// Waits until a registered service worker is active: before that no page goes through it.
fn watch(registration: JsValue, looks: u32, on_access: Callback<Access>) {
    let has = |name: &str| {
        Reflect::get(&registration, &name.into()).is_ok_and(|worker| worker.is_object())
    };
    if has("active") {
        on_access.emit(Access::Worker);
    } else if looks == 0 || !(has("installing") || has("waiting")) {
        on_access.emit(Access::Direct);
    } else {
        Timeout::new(LOOK_MS, move || watch(registration, looks - 1, on_access)).forget();
    }
}
