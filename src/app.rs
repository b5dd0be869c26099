//! The page: holds the state, the worker and the terminals, and shows one of the pages.
//!
//! Everything that happens is a `Msg`; `update` is the only place that changes anything. The
//! state itself is `store` (what the worker told) and `preferences` (what the user keeps).

use std::collections::BTreeMap;
use std::rc::Rc;

use wasm_bindgen::prelude::*;
use yew::prelude::*;

use crate::bridge::Bridge;
use crate::i18n::{Lang, Message};
use crate::pages::{Closed, Failed, Session};
use crate::preferences::Preferences;
use crate::protocol::{FromWorker, ToWorker};
use crate::store::{Condition, Phase, Store};
use crate::terminal::{Listener, Terminal, Wish};

/// What the page is asked to do.
pub enum Msg {
    /// The worker says something.
    Worker(FromWorker),
    /// For the worker as it is.
    Send(ToWorker),
    /// + ADD NEW INSTANCE.
    Add,
    /// DELETE, confirmed.
    Delete(String),
    /// Tracing of an instance's system calls on or off.
    Trace(String, bool),
    /// Another card.
    Select(String),
    /// A key of a terminal that means the page.
    Wish(Wish),
    /// Another language.
    Lang(Lang),
    /// Screen reader support on or off.
    ScreenReader(bool),
    /// A notice is taken off.
    Dismiss(usize),
    /// A notice is put on.
    Notice(Message),
    /// CLOSE SESSION, confirmed.
    CloseSession,
    /// A new session after the last.
    StartAgain,
}

/// The terminals by instance.
pub type Terminals = BTreeMap<String, Rc<Terminal>>;

/// See the module's comment.
pub struct App {
    store: Store,
    preferences: Preferences,
    terminals: Terminals,
    bridge: Option<Bridge>,
    leaving: Closure<dyn FnMut(Event)>,
}

/// Puts the page on the document.
pub fn start() {
    let root = web_sys::window()
        .and_then(|window| window.document())
        .and_then(|document| document.get_element_by_id("app"));
    if let Some(root) = root {
        // What the document shows while this program loads.
        root.set_inner_html("");
        yew::Renderer::<App>::with_root(root).render();
    }
}

impl Component for App {
    type Message = Msg;
    type Properties = ();

    fn create(ctx: &Context<Self>) -> App {
        let mut app = App {
            store: Store::default(),
            preferences: Preferences::load(),
            terminals: Terminals::new(),
            bridge: None,
            leaving: Closure::new(|event: Event| event.prevent_default()),
        };
        app.show_language();
        app.boot(ctx);
        app
    }

    fn update(&mut self, ctx: &Context<Self>, message: Msg) -> bool {
        match message {
            Msg::Worker(message) => return self.heard(ctx, message),
            Msg::Send(message) => {
                self.send(message);
                return false;
            }
            Msg::Add => {
                self.store.creating += 1;
                self.send(ToWorker::AddInstance);
            }
            Msg::Delete(name) => {
                if let Some(instance) = self.store.find(&name) {
                    instance.condition = Condition::Deleting;
                }
                self.send(ToWorker::DeleteInstance { name });
            }
            Msg::Trace(name, on) => {
                if let Some(instance) = self.store.find(&name) {
                    instance.tracing = on;
                }
                self.send(ToWorker::Trace { name, on });
            }
            Msg::Select(name) => self.store.select(&name),
            Msg::Wish(Wish::Instance(step)) => self.store.select_step(step),
            Msg::Wish(Wish::GrowFont(steps)) => {
                self.preferences.grow_font(steps);
                self.configure_terminals();
            }
            Msg::Wish(Wish::Fullscreen) => {
                toggle_fullscreen();
                return false;
            }
            Msg::Wish(Wish::Leave) => {
                focus_list();
                return false;
            }
            Msg::Lang(lang) => {
                self.preferences.lang = lang;
                self.preferences.save();
                self.show_language();
            }
            Msg::ScreenReader(on) => {
                self.preferences.screen_reader = on;
                self.configure_terminals();
            }
            Msg::Dismiss(index) => self.store.dismiss(index),
            Msg::Notice(message) => {
                let text = self.preferences.lang.text(message);
                self.store.notice(text.to_owned());
            }
            Msg::CloseSession => {
                self.end();
                self.store.phase = Phase::Closed;
            }
            Msg::StartAgain => {
                self.end();
                self.boot(ctx);
            }
        }
        true
    }

    fn rendered(&mut self, _ctx: &Context<Self>, _first: bool) {
        self.guard_instances();
    }

    fn view(&self, ctx: &Context<Self>) -> Html {
        let lang = self.preferences.lang;
        let again = ctx.link().callback(|()| Msg::StartAgain);
        let page = match &self.store.phase {
            Phase::Closed => html! { <Closed {again} /> },
            Phase::Failed(cause) => html! { <Failed cause={cause.clone()} {again} /> },
            Phase::Starting | Phase::Ready => html! {
                <Session
                    store={self.store.clone()}
                    preferences={self.preferences.clone()}
                    terminals={self.terminals.clone()}
                    act={ctx.link().callback(|message| message)}
                />
            },
        };
        html! { <ContextProvider<Lang> context={lang}>{ page }</ContextProvider<Lang>> }
    }
}

impl App {
    /// Starts a worker and, once it is there, nothing else: instances are the user's to add.
    fn boot(&mut self, ctx: &Context<Self>) {
        match Bridge::start(ctx.link().callback(Msg::Worker)) {
            Ok(bridge) => {
                bridge.send(ToWorker::Boot {
                    seed: js_sys::Math::random().to_bits(),
                });
                self.bridge = Some(bridge);
            }
            Err(cause) => self.store.phase = Phase::Failed(cause),
        }
    }

    /// Drops the worker with all machines, and everything shown of them.
    fn end(&mut self) {
        self.bridge = None;
        self.terminals.clear();
        self.store = Store::default();
    }

    fn heard(&mut self, ctx: &Context<Self>, message: FromWorker) -> bool {
        match &message {
            FromWorker::Output { name, bytes } => {
                if let Some(terminal) = self.terminals.get(name) {
                    terminal.write(bytes);
                }
            }
            FromWorker::InstanceAdded { name, .. } => {
                let terminal = self.new_terminal(ctx, name);
                self.terminals.insert(name.clone(), Rc::new(terminal));
            }
            FromWorker::InstanceDeleted { name } => {
                self.terminals.remove(name);
            }
            FromWorker::Panicked { .. } => self.bridge = None,
            _ => {}
        }
        self.store.apply(message)
    }

    fn new_terminal(&self, ctx: &Context<Self>, name: &str) -> Terminal {
        let link = ctx.link();
        let of = || name.to_owned();
        let (input, resized, drawn) = (of(), of(), of());
        let listener = Listener {
            input: link.callback(move |bytes| {
                Msg::Send(ToWorker::Input {
                    name: input.clone(),
                    bytes,
                })
            }),
            resized: link.callback(move |(cols, rows)| {
                Msg::Send(ToWorker::Resize {
                    name: resized.clone(),
                    cols,
                    rows,
                })
            }),
            drawn: link.callback(move |bytes| {
                Msg::Send(ToWorker::Drawn {
                    name: drawn.clone(),
                    bytes,
                })
            }),
            wish: link.callback(Msg::Wish),
        };
        Terminal::new(
            self.preferences.font_px,
            self.preferences.screen_reader,
            listener,
        )
    }

    fn send(&self, message: ToWorker) {
        if let Some(bridge) = &self.bridge {
            bridge.send(message);
        }
    }

    /// Has the browser ask before the tab is left while there is something to lose: Ctrl+W is
    /// "delete a word" to every shell.
    fn guard_instances(&self) {
        let guard =
            (!self.store.instances.is_empty()).then(|| self.leaving.as_ref().unchecked_ref());
        if let Some(window) = web_sys::window() {
            window.set_onbeforeunload(guard);
        }
    }

    fn configure_terminals(&self) {
        self.preferences.save();
        for terminal in self.terminals.values() {
            terminal.configure(self.preferences.font_px, self.preferences.screen_reader);
        }
    }

    /// Tells the document its language, for fonts, hyphenation and screen readers.
    fn show_language(&self) {
        let document = web_sys::window().and_then(|window| window.document());
        if let Some(root) = document.and_then(|document| document.document_element()) {
            let _ = root.set_attribute("lang", self.preferences.lang.tag());
        }
    }
}

/// Gives the keyboard to the instance list.
fn focus_list() {
    let document = web_sys::window().and_then(|window| window.document());
    let button = document
        .and_then(|document| document.query_selector(".instance[aria-current]").ok())
        .flatten()
        .and_then(|element| element.dyn_into::<web_sys::HtmlElement>().ok());
    if let Some(button) = button {
        let _ = button.focus();
    }
}

/// Shows the card's terminal alone on the screen, or the page again.
fn toggle_fullscreen() {
    let Some(document) = web_sys::window().and_then(|window| window.document()) else {
        return;
    };
    if document.fullscreen_element().is_some() {
        document.exit_fullscreen();
    } else if let Ok(Some(screen)) = document.query_selector(".terminals") {
        let _ = screen.request_fullscreen();
    }
}
