//! The box of a terminal on the page.

use std::rc::Rc;

use web_sys::HtmlElement;
use yew::prelude::*;

use super::use_text;
use crate::i18n::Message;
use crate::terminal::Terminal;

/// Properties of [`TerminalView`].
#[derive(Properties)]
pub struct TerminalViewProps {
    /// Its instance.
    pub name: String,
    /// What is in the box.
    pub terminal: Rc<Terminal>,
    /// Whether it is the one that is seen.
    pub shown: bool,
}

impl PartialEq for TerminalViewProps {
    fn eq(&self, other: &TerminalViewProps) -> bool {
        self.shown == other.shown
            && self.name == other.name
            && Rc::ptr_eq(&self.terminal, &other.terminal)
    }
}

/// See the module's comment.
#[component]
pub fn TerminalView(props: &TerminalViewProps) -> Html {
    let text = use_text();
    let node = use_node_ref();
    {
        let (node, terminal) = (node.clone(), props.terminal.clone());
        use_effect_with(props.shown, move |shown| {
            // A terminal measures its font when it is opened, so it must be seen by then.
            if *shown && let Some(element) = node.cast::<HtmlElement>() {
                terminal.open(&element);
                terminal.focus();
            }
        });
    }
    html! {
        <div
            ref={node}
            class="screen"
            data-instance={props.name.clone()}
            role="region"
            aria-label={format!("{} {}", text(Message::Terminal), props.name)}
            hidden={!props.shown}
        />
    }
}
