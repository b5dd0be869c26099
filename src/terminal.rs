//! A terminal: xterm.js, its keys, and its size.
//!
//! xterm.js does the drawing, the escape sequences and the input methods (its hidden text area
//! composes Korean). This module gives it the keys people know from terminals, keeps it as large
//! as its box, and reports what was drawn. It knows no instance and no message: what it sends
//! goes to three callbacks.
//!
//! The library is a script of its own (`static/vendor/xterm.js`, bundled from npm) that the page
//! loads before this program; it is reached through the global `xterm`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Function, Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::{HtmlElement, KeyboardEvent, ResizeObserver};
use yew::Callback;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = xterm, js_name = Terminal)]
    type XTerm;
    #[wasm_bindgen(constructor, js_namespace = xterm, js_class = "Terminal")]
    fn new(options: &Object) -> XTerm;
    #[wasm_bindgen(method)]
    fn open(this: &XTerm, parent: &HtmlElement);
    #[wasm_bindgen(method)]
    fn write(this: &XTerm, bytes: &Uint8Array, drawn: &Function);
    #[wasm_bindgen(method, js_name = write)]
    fn write_text(this: &XTerm, text: &str, drawn: &Function);
    #[wasm_bindgen(method, js_name = loadAddon)]
    fn load_serialize(this: &XTerm, addon: &SerializeAddon);
    #[wasm_bindgen(method)]
    fn paste(this: &XTerm, text: &str);
    #[wasm_bindgen(method)]
    fn focus(this: &XTerm);
    #[wasm_bindgen(method)]
    fn dispose(this: &XTerm);
    #[wasm_bindgen(method, js_name = loadAddon)]
    fn load_addon(this: &XTerm, addon: &FitAddon);
    #[wasm_bindgen(method, js_name = hasSelection)]
    fn has_selection(this: &XTerm) -> bool;
    #[wasm_bindgen(method, js_name = getSelection)]
    fn get_selection(this: &XTerm) -> String;
    #[wasm_bindgen(method, js_name = clearSelection)]
    fn clear_selection(this: &XTerm);
    #[wasm_bindgen(method, js_name = onData)]
    fn on_data(this: &XTerm, listener: &Function);
    #[wasm_bindgen(method, js_name = onBinary)]
    fn on_binary(this: &XTerm, listener: &Function);
    #[wasm_bindgen(method, js_name = onResize)]
    fn on_resize(this: &XTerm, listener: &Function);
    #[wasm_bindgen(method, js_name = attachCustomKeyEventHandler)]
    fn attach_custom_key_event_handler(this: &XTerm, handler: &Function);
    #[wasm_bindgen(method, getter)]
    fn options(this: &XTerm) -> Object;

    #[wasm_bindgen(js_namespace = xterm)]
    type FitAddon;
    #[wasm_bindgen(constructor, js_namespace = xterm)]
    fn new() -> FitAddon;
    #[wasm_bindgen(method)]
    fn fit(this: &FitAddon);

    #[wasm_bindgen(js_namespace = xterm)]
    type SerializeAddon;
    #[wasm_bindgen(constructor, js_namespace = xterm)]
    fn new() -> SerializeAddon;
    #[wasm_bindgen(method)]
    fn serialize(this: &SerializeAddon, options: &Object) -> String;
}

/// Lines kept above the screen.
const SCROLLBACK_LINES: u32 = 10_000;

/// Of those, what a saved playground has.
const SAVED_LINES: u32 = 1_000;

/// The page's own monospace first; Korean from the system's, which has the right double width.
const FONT_FAMILY: &str = "ui-monospace, 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono', \
     D2Coding, 'Noto Sans Mono CJK KR', monospace";

/// What a terminal asks of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// The font this many pixels larger.
    GrowFont(i32),
    /// The terminal alone on the screen, or back.
    Fullscreen,
    /// The instance this many places further down the list.
    Instance(isize),
    /// The keyboard back to the page: Tab belongs to the machine.
    Leave,
}

/// Where a terminal's events go.
#[derive(Clone)]
pub struct Listener {
    /// Bytes typed or pasted.
    pub input: Callback<Vec<u8>>,
    /// Columns and rows.
    pub resized: Callback<(u16, u16)>,
    /// Bytes drawn since the last call.
    pub drawn: Callback<u32>,
    /// Keys that mean the page.
    pub wish: Callback<Wish>,
}

type Observer = (ResizeObserver, Closure<dyn FnMut()>);

/// A terminal. Dropping it takes it off the page.
pub struct Terminal {
    xterm: Rc<XTerm>,
    fit: Rc<FitAddon>,
    serialize: SerializeAddon,
    /// Keeps the terminal as large as its box; present once it is on the page.
    observer: RefCell<Option<Observer>>,
    drawn: Callback<u32>,
    opened: Cell<bool>,
    _closures: Vec<JsValue>,
}

impl Terminal {
    /// A terminal that is not on the page yet; what is written is kept until it is.
    pub fn new(font_px: u32, screen_reader: bool, listener: Listener) -> Terminal {
        let xterm = Rc::new(XTerm::new(&options(font_px, screen_reader)));
        let fit = Rc::new(FitAddon::new());
        xterm.load_addon(&fit);
        let serialize = SerializeAddon::new();
        xterm.load_serialize(&serialize);
        let input = listener.input.clone();
        let on_data = Closure::<dyn Fn(String)>::new(move |text: String| {
            input.emit(text.into_bytes());
        });
        // Mouse reports of old protocols: one byte per character.
        let input = listener.input;
        let on_binary = Closure::<dyn Fn(String)>::new(move |text: String| {
            input.emit(text.chars().map(|c| c as u32 as u8).collect());
        });
        let resized = listener.resized;
        let on_resize = Closure::<dyn Fn(JsValue)>::new(move |size: JsValue| {
            resized.emit((number(&size, "cols"), number(&size, "rows")));
        });
        let keys = Rc::clone(&xterm);
        let wish = listener.wish;
        let on_key = Closure::<dyn Fn(KeyboardEvent) -> bool>::new(move |event: KeyboardEvent| {
            !handle_key(&keys, &wish, &event)
        });
        let closures = vec![
            on_data.into_js_value(),
            on_binary.into_js_value(),
            on_resize.into_js_value(),
            on_key.into_js_value(),
        ];
        xterm.on_data(closures[0].unchecked_ref());
        xterm.on_binary(closures[1].unchecked_ref());
        xterm.on_resize(closures[2].unchecked_ref());
        xterm.attach_custom_key_event_handler(closures[3].unchecked_ref());
        Terminal {
            xterm,
            fit,
            serialize,
            observer: RefCell::new(None),
            drawn: listener.drawn,
            opened: Cell::new(false),
            _closures: closures,
        }
    }

    /// Puts the terminal into its box, and keeps it as large as that.
    pub fn open(&self, parent: &HtmlElement) {
        if self.opened.replace(true) {
            return;
        }
        self.xterm.open(parent);
        let fit = Rc::clone(&self.fit);
        let element = parent.clone();
        let refit = Closure::<dyn FnMut()>::new(move || {
            // A hidden box has no size, and a terminal of no columns loses its text.
            if element.offset_width() > 0 {
                fit.fit();
            }
        });
        if let Ok(observer) = ResizeObserver::new(refit.as_ref().unchecked_ref()) {
            observer.observe(parent);
            *self.observer.borrow_mut() = Some((observer, refit));
        }
        if parent.offset_width() > 0 {
            self.fit.fit();
        }
    }

    /// Output of the machine. xterm.js reads it later, so it gets a copy, never a view into this
    /// program's memory.
    pub fn write(&self, bytes: &[u8]) {
        let count = bytes.len() as u32;
        let drawn = self.drawn.clone();
        let done = Closure::once_into_js(move || drawn.emit(count));
        self.xterm
            .write(&Uint8Array::from(bytes), done.unchecked_ref());
    }

    /// Shows what [`Terminal::screen`] gave.
    pub fn show(&self, screen: &str) {
        self.xterm.write_text(screen, &Function::default());
    }

    /// Calls back when everything written so far has been drawn.
    pub fn flush(&self, done: Callback<()>) {
        let done = Closure::once_into_js(move || done.emit(()));
        self.xterm.write_text("", done.unchecked_ref());
    }

    /// What the terminal shows, as the output that would draw it.
    pub fn screen(&self) -> String {
        let options = Object::new();
        set(&options, "scrollback", SAVED_LINES);
        self.serialize.serialize(&options)
    }

    /// Types a text for the user, who may change it before it is sent.
    pub fn type_text(&self, text: &str) {
        self.xterm.paste(text);
        self.xterm.focus();
    }

    /// Takes the keyboard.
    pub fn focus(&self) {
        self.xterm.focus();
    }

    /// Another font size or screen reader support.
    pub fn configure(&self, font_px: u32, screen_reader: bool) {
        let options = self.xterm.options();
        set(&options, "fontSize", font_px);
        set(&options, "screenReaderMode", screen_reader);
        if self.opened.get() {
            self.fit.fit();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some((observer, _)) = self.observer.borrow_mut().take() {
            observer.disconnect();
        }
        self.xterm.dispose();
    }
}

/// A key that means the page and not the machine. Answers whether it was one.
fn handle_key(xterm: &XTerm, wish: &Callback<Wish>, event: &KeyboardEvent) -> bool {
    // While an input method composes, every key is its own.
    if event.type_() != "keydown" || event.is_composing() || event.key_code() == 229 {
        return false;
    }
    let control = event.ctrl_key() || event.meta_key();
    let plain_control = control && !event.alt_key();
    let code = event.code();
    let key = event.key();
    let taken = match (code.as_str(), key.as_str()) {
        ("Insert", _) if plain_control && !event.shift_key() => copy(xterm),
        // With a selection Ctrl+C copies it, once: the next one is an interrupt again.
        ("KeyC", _) if plain_control && (event.shift_key() || xterm.has_selection()) => {
            copy(xterm);
            true
        }
        // The browser's own paste reaches xterm.js; it must only not become a key of the machine.
        ("Insert", _) if event.shift_key() && !control => return true,
        ("KeyV", _) if plain_control && event.shift_key() => return true,
        ("NumpadAdd", _) | (_, "+" | "=") if plain_control => {
            wish.emit(Wish::GrowFont(1));
            true
        }
        ("NumpadSubtract", _) | (_, "-" | "_") if plain_control => {
            wish.emit(Wish::GrowFont(-1));
            true
        }
        (_, "Enter") if event.alt_key() && !control => {
            wish.emit(Wish::Fullscreen);
            true
        }
        ("Home", _) if event.alt_key() && event.shift_key() => {
            wish.emit(Wish::Leave);
            true
        }
        ("PageUp", _) if event.alt_key() && event.shift_key() => {
            wish.emit(Wish::Instance(-1));
            true
        }
        ("PageDown", _) if event.alt_key() && event.shift_key() => {
            wish.emit(Wish::Instance(1));
            true
        }
        _ => false,
    };
    if taken {
        event.prevent_default();
    }
    taken
}

/// Copies the selection and takes it away. Answers whether there was one.
fn copy(xterm: &XTerm) -> bool {
    if !xterm.has_selection() {
        return false;
    }
    if let Some(window) = web_sys::window() {
        let clipboard = window.navigator().clipboard();
        // Absent outside secure contexts; there the browser's own menu still copies.
        if !clipboard.is_undefined() {
            let _ = clipboard.write_text(&xterm.get_selection());
        }
    }
    xterm.clear_selection();
    true
}

fn options(font_px: u32, screen_reader: bool) -> Object {
    let theme = Object::new();
    for (name, color) in [
        ("background", "#0d1520"),
        ("foreground", "#d7dee8"),
        ("cursor", "#7cc7ff"),
        ("cursorAccent", "#0d1520"),
        ("selectionBackground", "#2f5d8a"),
        ("black", "#1c2733"),
        ("red", "#ff7b72"),
        ("green", "#6fd08c"),
        ("yellow", "#e3c06a"),
        ("blue", "#6cb2ff"),
        ("magenta", "#d49bff"),
        ("cyan", "#5fd3d6"),
        ("white", "#c5cfdb"),
        ("brightBlack", "#6b7a8c"),
        ("brightRed", "#ffa198"),
        ("brightGreen", "#94e6ac"),
        ("brightYellow", "#f2d78f"),
        ("brightBlue", "#9accff"),
        ("brightMagenta", "#e6c2ff"),
        ("brightCyan", "#93e9eb"),
        ("brightWhite", "#f4f7fa"),
    ] {
        set(&theme, name, color);
    }
    let options = Object::new();
    set(&options, "theme", theme);
    set(&options, "fontSize", font_px);
    set(&options, "fontFamily", FONT_FAMILY);
    set(&options, "scrollback", SCROLLBACK_LINES);
    set(&options, "screenReaderMode", screen_reader);
    set(&options, "cursorBlink", true);
    options
}

fn set(object: &JsValue, name: &str, value: impl Into<JsValue>) {
    let _ = Reflect::set(object, &name.into(), &value.into());
}

fn number(object: &JsValue, name: &str) -> u16 {
    let value = Reflect::get(object, &name.into()).ok();
    value.and_then(|value| value.as_f64()).unwrap_or(0.0) as u16
}
