//! The settings: language, font size, screen reader support, saving and opening the playground, and which
//! keys there are.

use web_sys::{HtmlInputElement, HtmlSelectElement};
use yew::prelude::*;

use super::{Dialog, use_text};
use crate::app::Msg;
use crate::i18n::{Lang, Message};
use crate::preferences::{FONT_PX_MAX, FONT_PX_MIN, Preferences};
use crate::protocol::Place;
use crate::terminal::Wish;

/// Properties of [`Settings`].
#[derive(Properties, PartialEq)]
pub struct SettingsProps {
    /// Whether there is an instance to save.
    pub savable: bool,
    /// When the playground was last kept in this browser.
    pub kept: Option<String>,
    /// What the user keeps.
    pub preferences: Preferences,
    /// What the user does.
    pub act: Callback<Msg>,
    /// The dialog is to go.
    pub close: Callback<()>,
}

/// See the module's comment.
#[component]
pub fn Settings(props: &SettingsProps) -> Html {
    let text = use_text();
    let SettingsProps {
        savable,
        kept,
        preferences,
        act,
        close,
    } = props;
    let font = |steps| act.reform(move |_: MouseEvent| Msg::Wish(Wish::GrowFont(steps)));
    let choose = act.reform(|event: Event| {
        let tag = event.target_unchecked_into::<HtmlSelectElement>().value();
        Msg::Lang(Lang::from_tag(&tag).unwrap_or_default())
    });
    let announce = act.reform(|event: Event| {
        let input = event.target_unchecked_into::<HtmlInputElement>();
        Msg::ScreenReader(input.checked())
    });
    let keep = act.reform(|event: Event| {
        let input = event.target_unchecked_into::<HtmlInputElement>();
        Msg::Keep(input.checked())
    });
    let internet = act.reform(|event: Event| {
        let input = event.target_unchecked_into::<HtmlInputElement>();
        Msg::Internet(input.checked())
    });
    let save = {
        let (act, close) = (act.clone(), close.clone());
        move |_: MouseEvent| {
            act.emit(Msg::Save(Place::File));
            close.emit(());
        }
    };
    let open = {
        let (act, close) = (act.clone(), close.clone());
        move |event: Event| {
            let input = event.target_unchecked_into::<HtmlInputElement>();
            if let Some(file) = input.files().and_then(|files| files.get(0)) {
                act.emit(Msg::Open(file));
                close.emit(());
            }
        }
    };
    let languages = Lang::ALL.into_iter().map(|(lang, name)| {
        let selected = lang == preferences.lang;
        html! { <option value={lang.tag()} {selected}>{ name }</option> }
    });
    let keys = [
        (Message::KeyCopy, "Ctrl+Insert, Ctrl+Shift+C"),
        (Message::KeyPaste, "Shift+Insert, Ctrl+Shift+V"),
        (Message::KeyFont, "Ctrl+Plus, Ctrl+Minus"),
        (Message::KeyFullscreen, "Alt+Enter"),
        (
            Message::KeyInstances,
            "Alt+Shift+PageUp, Alt+Shift+PageDown",
        ),
        (Message::KeyLeave, "Alt+Shift+Home"),
    ];
    let keys = keys.into_iter().map(|(what, keys)| {
        let keys = keys.split(", ").map(|key| html! { <kbd>{ key }</kbd> });
        html! { <><dt>{ text(what) }</dt><dd>{ for keys }</dd></> }
    });
    html! {
        <Dialog title={text(Message::Settings)} close={close.clone()}>
            <label class="row">
                <span>{ text(Message::Language) }</span>
                <select onchange={choose}>{ for languages }</select>
            </label>
            <div class="row" role="group" aria-label={text(Message::FontSize)}>
                <span>{ text(Message::FontSize) }</span>
                <span class="stepper">
                    <button
                        aria-label={text(Message::FontSmaller)}
                        disabled={preferences.font_px <= FONT_PX_MIN}
                        onclick={font(-1)}
                    >{ "−" }</button>
                    <output>{ preferences.font_px }{ " px" }</output>
                    <button
                        aria-label={text(Message::FontLarger)}
                        disabled={preferences.font_px >= FONT_PX_MAX}
                        onclick={font(1)}
                    >{ "+" }</button>
                </span>
            </div>
            <label class="row">
                <span>
                    { text(Message::ScreenReader) }
                    <small>{ text(Message::ScreenReaderDetail) }</small>
                </span>
                <input type="checkbox" checked={preferences.screen_reader} onchange={announce} />
            </label>
            <h3>{ text(Message::Playground) }</h3>
            <small>{ text(Message::PlaygroundDetail) }</small>
            <div class="row">
                    <button disabled={!savable} onclick={save}>{ text(Message::SaveFile) }</button>
                    <label class="button">
                        { text(Message::OpenFile) }
                        <input type="file" accept=".playground" onchange={open} />
                    </label>
            </div>
            <label class="row">
                <span>
                    { text(Message::Keep) }
                    <small>{ text(Message::KeepDetail) }</small>
                    { for kept.iter().map(|time| html! {
                        <small role="status">{ text(Message::KeptAt).replace("{}", time) }</small>
                    }) }
                </span>
                <input type="checkbox" checked={preferences.keep} onchange={keep} />
            </label>
            <label class="row">
                <span>
                    { text(Message::Internet) }
                    <small>{ text(Message::InternetDetail) }</small>
                </span>
                <input type="checkbox" checked={preferences.internet} onchange={internet} />
            </label>
            <h3>{ text(Message::KeysTitle) }</h3>
            <dl class="keys">{ for keys }</dl>
        </Dialog>
    }
}
