//! What the user chose and the browser keeps: language, font size, screen reader support, whether to keep
//! the machines, whether their requests go out.
//!
//! Kept in `localStorage`. A browser that keeps nothing (private windows, blocked storage) gets
//! the defaults each time; that is no error.

use crate::i18n::Lang;

/// Sizes of the terminal font in CSS pixels, as Play with Docker allowed them.
pub const FONT_PX_MIN: u32 = 8;
/// The largest.
pub const FONT_PX_MAX: u32 = 39;
const FONT_PX_DEFAULT: u32 = 15;

/// See the module's comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preferences {
    /// The page's language.
    pub lang: Lang,
    /// The terminal's font size in CSS pixels.
    pub font_px: u32,
    /// Whether terminals announce their output.
    pub screen_reader: bool,
    /// Whether the playground is kept in this browser for when the page is loaded again.
    pub keep: bool,
    /// Whether programs' plain HTTP requests go out through the browser.
    pub internet: bool,
}

impl Preferences {
    /// As kept; what was never chosen comes from the browser.
    pub fn load() -> Preferences {
        Preferences {
            lang: get("lang")
                .and_then(|tag| Lang::from_tag(&tag))
                .unwrap_or_else(browser_lang),
            font_px: get("font-px")
                .and_then(|size| size.parse().ok())
                .map_or(FONT_PX_DEFAULT, clamp_font),
            screen_reader: get("screen-reader").is_some_and(|on| on == "true"),
            keep: get("keep").is_some_and(|on| on == "true"),
            internet: get("internet").is_some_and(|on| on == "true"),
        }
    }

    /// Keeps everything that was chosen.
    pub fn save(&self) {
        set("lang", self.lang.tag());
        set("font-px", &self.font_px.to_string());
        set("screen-reader", &self.screen_reader.to_string());
        set("keep", &self.keep.to_string());
        set("internet", &self.internet.to_string());
    }

    /// The font `steps` pixels larger.
    pub fn grow_font(&mut self, steps: i32) {
        self.font_px = clamp_font(self.font_px.saturating_add_signed(steps));
    }
}

fn clamp_font(size: u32) -> u32 {
    size.clamp(FONT_PX_MIN, FONT_PX_MAX)
}

/// The first of the user's languages that we speak.
fn browser_lang() -> Lang {
    let Some(window) = web_sys::window() else {
        return Lang::default();
    };
    let tags = window.navigator().languages();
    tags.iter()
        .filter_map(|tag| tag.as_string())
        .find_map(|tag| Lang::from_tag(&tag))
        .unwrap_or_default()
}

/// Other programs may share the page's origin: our keys say whose they are.
fn key(name: &str) -> String {
    format!("drydock.{name}")
}

/// Whether this tab keeps its playground in the browser. Tabs share the preferences above, but one kept
/// playground is one tab's; a tab remembers across reloads.
pub fn this_tab_keeps() -> bool {
    let kept = tab_storage().and_then(|tab| tab.get_item(&key("keeps")).ok()?);
    kept.is_some()
}

/// See [`this_tab_keeps`].
pub fn tab_keeps(on: bool) {
    if let Some(tab) = tab_storage() {
        // A full or forbidden storage: after a reload the tab does not wait for its last worker.
        let _ = match on {
            true => tab.set_item(&key("keeps"), "true"),
            false => tab.remove_item(&key("keeps")),
        };
    }
}

fn tab_storage() -> Option<web_sys::Storage> {
    web_sys::window()?.session_storage().ok()?
}

fn storage() -> Option<web_sys::Storage> {
    web_sys::window()?.local_storage().ok()?
}

fn get(name: &str) -> Option<String> {
    storage()?.get_item(&key(name)).ok()?
}

fn set(name: &str, value: &str) {
    if let Some(storage) = storage() {
        // A full or forbidden storage: the choice lasts as long as the page.
        let _ = storage.set_item(&key(name), value);
    }
}
