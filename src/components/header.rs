//! The bar at the top: name, session clock, language, settings, CLOSE SESSION.

use gloo::timers::callback::Interval;
use yew::prelude::*;

use super::{Dialog, Icon, Settings, use_text};
use crate::app::Msg;
use crate::i18n::{Lang, Message};
use crate::preferences::Preferences;
use crate::units;

/// Properties of [`Header`].
#[derive(Properties, PartialEq)]
pub struct HeaderProps {
    /// Whether the worker is there.
    pub ready: bool,
    /// Whether there is an instance to save.
    pub savable: bool,
    /// When the playground was last kept in this browser.
    pub kept: Option<String>,
    /// What the user keeps.
    pub preferences: Preferences,
    /// What the user does.
    pub act: Callback<Msg>,
}

/// See the module's comment.
#[component]
pub fn Header(props: &HeaderProps) -> Html {
    let text = use_text();
    let settings = use_state(|| false);
    let closing = use_state(|| false);
    let set = |state: &UseStateHandle<bool>, on: bool| {
        let state = state.clone();
        Callback::from(move |()| state.set(on))
    };
    let open_settings = set(&settings, true).reform(|_: MouseEvent| ());
    let ask_close = set(&closing, true).reform(|_: MouseEvent| ());
    let close = {
        let act = props.act.clone();
        Callback::from(move |_: MouseEvent| act.emit(Msg::CloseSession))
    };
    let cancel = set(&closing, false);
    let languages = Lang::ALL.into_iter().map(|(lang, name)| {
        let pressed = lang == props.preferences.lang;
        let choose = props.act.reform(move |_: MouseEvent| Msg::Lang(lang));
        html! {
            <button
                class="language"
                lang={lang.tag()}
                aria-pressed={pressed.to_string()}
                onclick={choose}
            >{ name }</button>
        }
    });
    let status = if props.ready {
        Message::Ready
    } else {
        Message::Starting
    };
    html! {
        <header class="header">
            <h1 class="name">{ "Drydock" }<small>{ text(Message::Tagline) }</small></h1>
            <span class={classes!("status", props.ready.then_some("ready"))} role="status">
                { text(status) }
            </span>
            <Clock />
            <span class="languages" role="group" aria-label={text(Message::Language)}>
                { for languages }
            </span>
            <button
                class="icon"
                aria-label={text(Message::Settings)}
                title={text(Message::Settings)}
                onclick={open_settings}
            >{ Icon::Settings.html() }</button>
            <button class="danger" onclick={ask_close}>{ text(Message::CloseSession) }</button>
            if *settings {
                <Settings
                    savable={props.savable}
                    kept={props.kept.clone()}
                    preferences={props.preferences.clone()}
                    act={props.act.clone()}
                    close={set(&settings, false)}
                />
            }
            if *closing {
                <Dialog title={text(Message::CloseSessionQuestion)} close={cancel.clone()}>
                    <p>{ text(Message::CloseSessionDetail) }</p>
                    <div class="buttons">
                        <button onclick={cancel.reform(|_: MouseEvent| ())}>
                            { text(Message::Cancel) }
                        </button>
                        <button class="danger" onclick={close}>
                            { text(Message::CloseSession) }
                        </button>
                    </div>
                </Dialog>
            }
        </header>
    }
}

/// How long the session runs. It counts up: nothing expires where there is no server.
#[component]
fn Clock() -> Html {
    let text = use_text();
    let started = use_memo((), |()| js_sys::Date::now());
    let now = use_state(js_sys::Date::now);
    {
        let now = now.clone();
        use_effect_with((), move |()| {
            let tick = Interval::new(1000, move || now.set(js_sys::Date::now()));
            move || drop(tick)
        });
    }
    let seconds = ((*now - *started) / 1000.0).max(0.0) as u64;
    html! {
        <time class="clock" role="timer" aria-label={text(Message::SessionClock)}
            title={text(Message::SessionClock)}>
            { units::clock(seconds) }
        </time>
    }
}
