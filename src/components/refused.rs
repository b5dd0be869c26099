//! A saved playground of another build: why it cannot go on, and what had been typed in it.

use yew::prelude::*;

use super::{Dialog, use_text};
use crate::i18n::Message;

/// Properties of [`Refused`].
#[derive(Properties, PartialEq)]
pub struct RefusedProps {
    /// By instance, oldest first.
    pub commands: Vec<(String, Vec<String>)>,
    /// It has been read.
    pub close: Callback<()>,
}

/// See the module's comment.
#[component]
pub fn Refused(props: &RefusedProps) -> Html {
    let text = use_text();
    let commands = props.commands.iter().map(|(name, commands)| {
        html! {
            <section key={name.clone()}>
                <h3>{ name }</h3>
                <pre class="cause">{ commands.join("\n") }</pre>
            </section>
        }
    });
    html! {
        <Dialog title={text(Message::OtherBuild)} close={props.close.clone()}>
            <p>{ text(Message::OtherBuildDetail) }</p>
            if !props.commands.is_empty() {
                <p>{ text(Message::OtherBuildCommands) }</p>
                { for commands }
            }
        </Dialog>
    }
}
