//! What went wrong lately, each with a way to take it off the screen.

use yew::prelude::*;

use super::{Icon, use_text};
use crate::app::Msg;
use crate::i18n::Message;

/// Properties of [`Notices`].
#[derive(Properties, PartialEq)]
pub struct NoticesProps {
    /// Oldest first.
    pub notices: Vec<String>,
    /// What the user does.
    pub act: Callback<Msg>,
}

/// See the module's comment.
#[component]
pub fn Notices(props: &NoticesProps) -> Html {
    let text = use_text();
    let notices = props.notices.iter().enumerate().map(|(index, notice)| {
        let dismiss = props.act.reform(move |_: MouseEvent| Msg::Dismiss(index));
        html! {
            <div class="notice" key={notice.clone()}>
                <span>{ notice }</span>
                <button class="icon" aria-label={text(Message::Dismiss)} onclick={dismiss}>
                    { Icon::Close.html() }
                </button>
            </div>
        }
    });
    html! { <div class="notices" role="alert">{ for notices }</div> }
}
