//! A modal dialog: the browser's own `<dialog>`, which keeps the focus inside and closes on
//! Escape.

use web_sys::HtmlDialogElement;
use yew::prelude::*;

use super::{Icon, use_text};
use crate::i18n::Message;

/// Properties of [`Dialog`].
#[derive(Properties, PartialEq)]
pub struct DialogProps {
    /// Its heading and name.
    pub title: AttrValue,
    /// It is to go.
    pub close: Callback<()>,
    /// What is in it.
    pub children: Html,
}

/// See the module's comment. Shown as long as it is rendered.
#[component]
pub fn Dialog(props: &DialogProps) -> Html {
    let text = use_text();
    let node = use_node_ref();
    {
        let node = node.clone();
        use_effect_with((), move |()| {
            let dialog = node.cast::<HtmlDialogElement>();
            if let Some(dialog) = &dialog {
                let _ = dialog.show_modal();
            }
            // Closed, not only taken away: then the keyboard goes back to where it was.
            move || {
                if let Some(dialog) = dialog {
                    dialog.close();
                }
            }
        });
    }
    let on_close = props.close.reform(|_: Event| ());
    let on_click = props.close.reform(|_: MouseEvent| ());
    html! {
        <dialog ref={node} aria-label={props.title.clone()} closedby="any" onclose={on_close}>
            <div class="title">
                <h2>{ &props.title }</h2>
                <button class="icon" aria-label={text(Message::Close)} onclick={on_click}>
                    { Icon::Close.html() }
                </button>
            </div>
            { props.children.clone() }
        </dialog>
    }
}
