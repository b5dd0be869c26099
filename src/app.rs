//! The page: holds the state, the worker and the terminals, and shows one of the pages.
//!
//! Everything that happens is a `Msg`; `update` is the only place that changes anything. The
//! state itself is `store` (what the worker told) and `preferences` (what the user keeps).

use std::collections::BTreeMap;
use std::rc::Rc;

use gloo::events::EventListener;
use gloo::timers::callback::Interval;
use wasm_bindgen::prelude::*;
use web_sys::{Blob, File};
use yew::prelude::*;

use crate::bridge::{self, Bridge};
use crate::components::Refused;
use crate::docker::Look;
use crate::files;
use crate::i18n::{Lang, Message};
use crate::network::CaptureStep;
use crate::pages::{Closed, Failed, Session};
use crate::panels::Content;
use crate::port_worker::{Access, Forward, PortWorker};
use crate::preferences::{self, Preferences};
use crate::protocol::{FromWorker, Place, Refusal, ToWorker};
use crate::saved::SavedPage;
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
    /// Save the playground.
    Save(Place),
    /// All terminals have drawn what they were sent before the machines were paused.
    Drawn,
    /// Open a saved playground in place of this one.
    Open(File),
    /// Keep the playground in this browser or not.
    Keep(bool),
    /// Whether programs' requests go out.
    Internet(bool),
    /// Time to look whether the playground is to be kept.
    KeepNow,
    /// A request of the service worker, or of a panel, for a port.
    Port(Forward),
    /// How pages of ports can be had is known.
    Access(Access),
    /// A panel is to be there.
    Show(Content),
    /// A panel is to be there, or not if it is.
    Toggle(Content),
    /// A panel is to go.
    ClosePanel(u32),
    /// What is looked at of an instance's Docker.
    Look(String, Option<Look>),
    /// A command for an instance's terminal, to be looked at before it is run.
    Type(String, String),
    /// An archive of images for an instance.
    LoadImages(String, File),
    /// An image of an instance, with its size, for the user's files.
    SaveImage(String, String, u64),
    /// A transfer of images is not wanted any more, or has been seen.
    EndTransfer(u32),
    /// An image is there as a file.
    Image(u32, Blob),
    /// A file is dragged over an instance, or over none.
    Drag(Option<String>),
    /// A file was dropped on an instance.
    Drop(String, File),
    /// The list of a refused playground's commands has been read.
    DismissRefused,
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
    /// A save on its way: where to, and how many terminals have not drawn everything yet.
    saving: Option<(Place, usize)>,
    /// A restored page whose instances are still being told of.
    restored: SavedPage,
    /// OPEN PORT's service worker, where there can be one.
    ports: Option<Rc<PortWorker>>,
    access: Access,
    /// What a playground that another build saved had done.
    refused: Option<SavedPage>,
    /// Looks now and then, and when the page is hidden, whether to keep the playground.
    _keeper: (Interval, EventListener),
    /// Files that are dragged onto the page.
    _files: [EventListener; 3],
}

/// How often a playground that has changed is kept in the browser.
const KEEP_MS: u32 = 30_000;

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
            saving: None,
            restored: SavedPage::default(),
            refused: None,
            ports: None,
            access: Access::Unknown,
            _keeper: keeper(ctx.link().callback(|()| Msg::KeepNow)),
            _files: files::listen(ctx.link().callback(|message| message)),
        };
        app.ports = PortWorker::start(
            ctx.link().callback(Msg::Port),
            ctx.link().callback(Msg::Access),
        )
        .map(Rc::new);
        if app.ports.is_none() {
            app.access = Access::Direct;
        }
        app.show_language();
        app.start(ctx, None);
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
                self.restored.selected = None;
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
            Msg::Select(name) => {
                self.restored.selected = None;
                self.store.select(&name);
            }
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
                let bridge = self.bridge.take();
                self.end();
                self.store.phase = Phase::Closed;
                if self.preferences.keep {
                    // The worker deletes what is kept, and ends after it has.
                    self.bridge = bridge;
                    self.forget();
                }
            }
            Msg::StartAgain => {
                self.end();
                self.boot(ctx);
            }
            Msg::Save(place) => return self.pause_to_save(place),
            Msg::Drawn => return self.drawn(),
            Msg::Open(file) => {
                let question = self.preferences.lang.text(Message::OpenQuestion);
                if self.store.instances.is_empty() || confirm(question) {
                    self.end();
                    self.start(ctx, Some(&file));
                }
            }
            Msg::Keep(keep) => {
                self.preferences.keep = keep;
                self.preferences.save();
                if keep {
                    return self.pause_to_save(Place::Browser);
                }
                self.forget();
            }
            Msg::Internet(on) => {
                self.preferences.internet = on;
                self.preferences.save();
                self.send(ToWorker::Internet { on });
            }
            Msg::KeepNow => {
                let wanted = self.preferences.keep && self.store.changed;
                return wanted && self.pause_to_save(Place::Browser);
            }
            Msg::Port((request, channel)) => {
                if let Some(bridge) = &self.bridge {
                    bridge.open_port(&request, &channel);
                }
                return false;
            }
            Msg::Access(access) => self.access = access,
            Msg::Show(content) => self.store.panels.open(content),
            Msg::Toggle(content) => match self.store.panels.find(&content) {
                Some(id) => self.close_panel(id),
                None => self.store.panels.open(content),
            },
            Msg::ClosePanel(id) => self.close_panel(id),
            Msg::Look(name, look) => {
                if let Some(instance) = self.store.find(&name) {
                    let known = instance.docker.take();
                    instance.docker = look.as_ref().map(|_| known.unwrap_or_default());
                }
                self.send(ToWorker::Look { name, look });
            }
            Msg::Type(name, command) => {
                self.store.select(&name);
                if let Some(terminal) = self.terminals.get(&name) {
                    terminal.type_text(&command);
                }
            }
            Msg::LoadImages(name, file) => {
                let id = self
                    .store
                    .transfer(&name, &file.name(), false, file.size() as u64);
                if let Some(bridge) = &self.bridge {
                    bridge.load_images(name, id, &file);
                }
            }
            Msg::SaveImage(name, image, size) => {
                let id = self.store.transfer(&name, &image, true, size);
                self.send(ToWorker::SaveImage { name, id, image });
            }
            Msg::EndTransfer(id) => {
                if let Some(transfer) = self.store.transfers.iter().find(|it| it.id == id)
                    && transfer.running()
                {
                    self.send(ToWorker::CancelTransfer { id });
                }
                self.store.transfers.retain(|it| it.id != id);
            }
            Msg::Image(id, file) => {
                let transfer = self.store.transfers.iter().find(|it| it.id == id);
                if let Some(transfer) = transfer {
                    bridge::offer(&file, &files::name_of(&transfer.what));
                }
                return false;
            }
            Msg::Drag(over) => {
                if self.store.dragged_over == over {
                    return false;
                }
                self.store.dragged_over = over;
            }
            Msg::Drop(name, file) => self.dropped(ctx, name, file),
            Msg::DismissRefused => self.refused = None,
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
                    ports={self.ports.clone()}
                    access={self.access}
                    act={ctx.link().callback(|message| message)}
                />
            },
        };
        let refused = self.refused.as_ref().map(|page| {
            let close = ctx.link().callback(|()| Msg::DismissRefused);
            html! { <Refused commands={page.commands()} {close} /> }
        });
        html! { <ContextProvider<Lang> context={lang}>{ page }{ refused }</ContextProvider<Lang>> }
    }
}

impl App {
    /// Starts a worker from a saved playground: a file's, or the one this browser keeps if it is to.
    fn start(&mut self, ctx: &Context<Self>, file: Option<&File>) {
        if file.is_none() && !self.preferences.keep {
            return self.boot(ctx);
        }
        self.start_worker(ctx, |bridge| {
            bridge.restore(file, preferences::this_tab_keeps())
        });
    }

    /// Starts a worker and, once it is there, nothing else: instances are the user's to add.
    fn boot(&mut self, ctx: &Context<Self>) {
        self.start_worker(ctx, Bridge::boot);
    }

    fn start_worker(&mut self, ctx: &Context<Self>, begin: impl FnOnce(&Bridge)) {
        let image = ctx.link().callback(|(id, file)| Msg::Image(id, file));
        match Bridge::start(ctx.link().callback(Msg::Worker), image) {
            Ok(bridge) => {
                begin(&bridge);
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
        self.saving = None;
        self.restored = SavedPage::default();
    }

    /// The first step of saving: the machines stand still, so that what the terminals show is what the
    /// machines believe they show. Answers whether there is something to save.
    fn pause_to_save(&mut self, place: Place) -> bool {
        if self.saving.is_some() || self.store.instances.is_empty() {
            return false;
        }
        self.saving = Some((place, self.terminals.len()));
        self.send(ToWorker::Pause);
        true
    }

    /// One more terminal has drawn everything; after the last the machines are saved.
    fn drawn(&mut self) -> bool {
        let Some((place, waiting)) = &mut self.saving else {
            return false;
        };
        *waiting = waiting.saturating_sub(1);
        if *waiting == 0 {
            let place = *place;
            let screens = self.terminals.iter();
            let page = SavedPage {
                selected: self.store.selected.clone(),
                screens: screens
                    .map(|(name, terminal)| (name.clone(), terminal.screen()))
                    .collect(),
            };
            self.send(ToWorker::Save {
                page: page.emit(),
                place,
            });
        }
        false
    }

    /// A saved playground is not to be had: a new one begins, and it is said why.
    fn not_restored(&mut self, ctx: &Context<Self>, why: Option<Refusal>) {
        let Some(why) = why else {
            if let Some(bridge) = &self.bridge {
                bridge.boot();
            }
            return;
        };
        // Half of the old memory may be in it.
        self.end();
        self.boot(ctx);
        match why {
            Refusal::OtherBuild { page } => self.refused = Some(SavedPage::parse(&page)),
            Refusal::Unreadable { text } => {
                let refused = self.preferences.lang.text(Message::NotRestored);
                self.store.notice(format!("{refused} {text}"));
            }
        }
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
                if let Some(screen) = self.restored.screens.remove(name) {
                    terminal.show(&screen);
                }
                self.terminals.insert(name.clone(), Rc::new(terminal));
            }
            FromWorker::Paused => {
                for terminal in self.terminals.values() {
                    terminal.flush(ctx.link().callback(|()| Msg::Drawn));
                }
            }
            FromWorker::Saved { place } => {
                self.saving = None;
                if *place == Place::Browser {
                    preferences::tab_keeps(true);
                    self.store.kept = Some(time_of_day(self.preferences.lang));
                }
            }
            FromWorker::NotSaved { .. } => self.saving = None,
            FromWorker::Forgotten if self.store.phase == Phase::Closed => self.bridge = None,
            FromWorker::Restored { page } => self.restored = SavedPage::parse(page),
            FromWorker::NotRestored { why, .. } => self.not_restored(ctx, why.clone()),
            FromWorker::InstanceDeleted { name } => {
                self.terminals.remove(name);
            }
            FromWorker::CaptureFile { name, link, bytes } => self.save_capture(name, *link, bytes),
            FromWorker::Panicked { .. } => self.bridge = None,
            FromWorker::Ready { .. } => {
                let on = self.preferences.internet;
                self.send(ToWorker::Internet { on });
            }
            FromWorker::NoInternet { name } => {
                let text = self.preferences.lang.text(Message::NoInternet);
                self.store.notice(text.replace("{}", name));
            }
            FromWorker::NoPackage { name, list } => {
                let text = self.preferences.lang.text(Message::NoPackage);
                let text = text.replacen("{}", name, 1).replacen("{}", list, 1);
                self.store.notice(text);
            }
            FromWorker::NoTls => {
                let text = self.preferences.lang.text(Message::NoTls);
                self.store.notice(text.to_owned());
            }
            _ => {}
        }
        let changed = self.store.apply(message);
        if let Some(name) = &self.restored.selected {
            self.store.select(name);
        }
        changed
    }

    /// What this browser keeps is to go.
    fn forget(&mut self) {
        self.store.kept = None;
        preferences::tab_keeps(false);
        self.send(ToWorker::Forget);
    }

    /// Takes a panel away. What it had captured goes with it.
    fn close_panel(&mut self, id: u32) {
        let Some(Content::Capture { name }) = self.store.panels.close(id) else {
            return;
        };
        let captures = self
            .store
            .find(&name)
            .map(|instance| std::mem::take(&mut instance.captures));
        for link in captures.into_iter().flatten().map(|(link, _)| link) {
            let (name, step) = (name.clone(), CaptureStep::Discard);
            self.send(ToWorker::Capture { name, link, step });
        }
    }

    /// A file was dropped on an instance: what becomes of it is in its name.
    fn dropped(&mut self, ctx: &Context<Self>, name: String, file: File) {
        let file_name = file.name();
        match files::kind(&file_name) {
            files::Kind::Images if name.is_empty() => {
                let text = self.preferences.lang.text(Message::NoInstances);
                self.store.notice(text.to_owned());
            }
            files::Kind::Images => ctx.link().send_message(Msg::LoadImages(name, file)),
            files::Kind::Playground => ctx.link().send_message(Msg::Open(file)),
            files::Kind::Other => {
                let text = self
                    .preferences
                    .lang
                    .fill(Message::NotArchive, &[&file_name]);
                self.store.notice(text);
            }
        }
    }

    /// Hands a capture to the user as a file that says whose it is.
    fn save_capture(&mut self, name: &str, link: u32, bytes: &[u8]) {
        let interfaces = self
            .store
            .find(name)
            .map(|instance| instance.interfaces.clone());
        let mut interfaces = interfaces.iter().flat_map(|all| all.iter());
        let interface = interfaces
            .find(|it| it.link == link)
            .map(|it| match &it.container {
                Some(container) => format!("{container}-{}", it.name),
                None => it.name.clone(),
            });
        let interface = interface.unwrap_or_else(|| link.to_string());
        bridge::save_file(bytes, &format!("{name}-{interface}.pcap"));
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

/// Calls back now and then while the page is seen, and when it is hidden: the last moment before many a
/// browser ends it. Not later: machines would stand still until a hidden page draws its terminals.
fn keeper(look: Callback<()>) -> (Interval, EventListener) {
    let document = gloo::utils::document();
    let now = look.clone();
    let hidden = EventListener::new(&document.clone(), "visibilitychange", move |_| {
        if document.hidden() {
            now.emit(());
        }
    });
    let tick = Interval::new(KEEP_MS, move || {
        if !gloo::utils::document().hidden() {
            look.emit(());
        }
    });
    (tick, hidden)
}

/// Now, as the user's language writes it.
fn time_of_day(lang: Lang) -> String {
    String::from(js_sys::Date::new_0().to_locale_time_string(lang.tag()))
}

/// Asks the user, with the browser's own box.
fn confirm(question: &str) -> bool {
    gloo::utils::window()
        .confirm_with_message(question)
        .unwrap_or(false)
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
