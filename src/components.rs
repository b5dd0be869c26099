//! The parts the pages are made of. Each shows what it is given and reports through callbacks;
//! none keeps state of the session.

mod dialog;
mod downloads;
mod header;
mod instance_card;
mod instance_list;
mod notices;
mod refused;
mod settings;
mod terminal_view;

pub use dialog::Dialog;
pub use downloads::Downloads;
pub use header::Header;
pub use instance_card::InstanceCard;
pub use instance_list::InstanceList;
pub use notices::Notices;
pub use refused::Refused;
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

/// The page's icons: paths in a box of 24, drawn as lines. Fonts do not have them everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    /// A cross.
    Close,
    /// Four corners.
    Fullscreen,
    /// A head and shoulders.
    Person,
    /// Three sliders.
    Settings,
}

impl Icon {
    /// The icon as an element; what it means is said by the label around it.
    pub fn html(self) -> Html {
        let path = match self {
            Icon::Close => "M5 5l14 14M19 5L5 19",
            Icon::Fullscreen => "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
            Icon::Person => {
                "M12 12.2a4.2 4.2 0 1 0 0-8.4 4.2 4.2 0 0 0 0 8.4zM3.5 21c.6-4.6 4-7 8.5-7s7.9 2.4 8.5 7z"
            }
            Icon::Settings => {
                "M4 7h8M18 7h2M12 7a3 3 0 1 0 6 0 3 3 0 0 0-6 0zM4 17h2M12 17h8M6 17a3 3 0 1 0 6 0 3 3 0 0 0-6 0z"
            }
        };
        html! {
            <svg class="glyph" viewBox="0 0 24 24" aria-hidden="true"><path d={path} /></svg>
        }
    }
}
