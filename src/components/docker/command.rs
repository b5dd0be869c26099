//! A command that shows what is shown here: it can be typed into the terminal, or copied.

use yew::prelude::*;

use crate::app::Msg;
use crate::components::{Icon, use_text};
use crate::i18n::Message;

/// The instance whose Docker is shown, for the parts of the panel.
#[derive(Clone, PartialEq)]
pub(super) struct Here {
    /// Its name.
    pub(super) name: String,
    /// Its address.
    pub(super) ip: String,
    /// What the user does.
    pub(super) act: Callback<Msg>,
}

/// Properties of [`Command`].
#[derive(Properties, PartialEq)]
pub(super) struct CommandProps {
    /// As it is typed.
    pub(super) line: AttrValue,
}

/// See the module's comment. It is typed, not run: who types it may look at it first.
#[component]
pub(super) fn Command(props: &CommandProps) -> Html {
    let text = use_text();
    let copied = use_state_eq(|| false);
    let Some(here) = use_context::<Here>() else {
        return html! {};
    };
    let type_it = {
        let line = props.line.to_string();
        here.act
            .reform(move |_: MouseEvent| Msg::Type(here.name.clone(), line.clone()))
    };
    let copy = {
        let (line, copied) = (props.line.clone(), copied.clone());
        move |_: MouseEvent| {
            let clipboard = gloo::utils::window().navigator().clipboard();
            // Absent outside secure contexts; there the text can still be selected.
            if !clipboard.is_undefined() {
                let _ = clipboard.write_text(&line);
                copied.set(true);
            }
        }
    };
    let (label, icon) = if *copied {
        (Message::Copied, Icon::Done)
    } else {
        (Message::CopyCommand, Icon::Copy)
    };
    let off = move |_: MouseEvent| copied.set(false);
    html! {
        <span class="command" onmouseleave={off}>
            <button
                class="line"
                title={text(Message::TypeCommand)}
                aria-label={format!("{}: {}", text(Message::TypeCommand), props.line)}
                onclick={type_it}
            ><code>{ &props.line }</code></button>
            <button
                class="copy"
                title={text(label)}
                aria-label={format!("{}: {}", text(label), props.line)}
                onclick={copy}
            >{ icon.html() }</button>
        </span>
    }
}
