//! A session that is over: closed by the user, or stopped by a bug.

use yew::prelude::*;

use crate::components::use_text;
use crate::i18n::Message;

/// Properties of [`Closed`].
#[derive(Properties, PartialEq)]
pub struct ClosedProps {
    /// A new session is wanted.
    pub again: Callback<()>,
}

/// After CLOSE SESSION.
#[component]
pub fn Closed(props: &ClosedProps) -> Html {
    let text = use_text();
    let again = props.again.reform(|_: MouseEvent| ());
    html! {
        <main class="ended">
            <h1>{ text(Message::SessionClosed) }</h1>
            <p>{ text(Message::SessionClosedDetail) }</p>
            <button class="primary" onclick={again}>{ text(Message::StartAgain) }</button>
        </main>
    }
}

/// Properties of [`Failed`].
#[derive(Properties, PartialEq)]
pub struct FailedProps {
    /// The panic message.
    pub cause: String,
    /// A new session is wanted.
    pub again: Callback<()>,
}

/// After the worker died.
#[component]
pub fn Failed(props: &FailedProps) -> Html {
    let text = use_text();
    let again = props.again.reform(|_: MouseEvent| ());
    html! {
        <main class="ended" role="alert">
            <h1>{ text(Message::WorkerDead) }</h1>
            <p>{ text(Message::WorkerDeadDetail) }</p>
            <pre class="cause">{ &props.cause }</pre>
            <button class="primary" onclick={again}>{ text(Message::StartAgain) }</button>
        </main>
    }
}
