//! The parts the pages are made of. Each shows what it is given and reports through callbacks;
//! none keeps state of the session.

mod dialog;
mod downloads;
mod header;
mod instance_card;
mod instance_list;
mod notices;
mod settings;
mod terminal_view;

pub use dialog::Dialog;
pub use downloads::Downloads;
pub use header::Header;
pub use instance_card::InstanceCard;
pub use instance_list::InstanceList;
pub use notices::Notices;
pub use settings::Settings;
pub use terminal_view::TerminalView;

use yew::prelude::*;

use crate::i18n::{Lang, Message};

/// The page's language, for components.
#[hook]
pub fn use_text() -> impl Fn(Message) -> &'static str + Copy {
    let lang = use_context::<Lang>().unwrap_or_default();
    move |message| lang.text(message)
}
