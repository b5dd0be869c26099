//! The parts the pages are made of. Each shows what it is given and reports through callbacks;
//! none keeps state of the session.

mod capture_panel;
mod dialog;
mod dock;
mod docker;
mod downloads;
mod header;
mod instance_card;
mod instance_list;
mod lan_panel;
mod notices;
mod port_panel;
mod refused;
mod settings;
mod terminal_view;
mod transfers;

pub use capture_panel::CapturePanel;
pub use dialog::Dialog;
pub use dock::{Dock, PanelFrame};
pub use docker::DockerPanel;
pub use downloads::Downloads;
pub use header::Header;
pub use instance_card::InstanceCard;
pub use instance_list::InstanceList;
pub use lan_panel::LanPanel;
pub use notices::Notices;
pub use port_panel::PortPanel;
pub use refused::Refused;
pub use settings::Settings;
pub use terminal_view::TerminalView;
pub use transfers::Transfers;

use yew::prelude::*;

use crate::i18n::{Lang, Message};

/// The page's language, for components.
#[hook]
pub fn use_text() -> impl Fn(Message) -> &'static str + Copy {
    let lang = use_context::<Lang>().unwrap_or_default();
    move |message| lang.text(message)
}

/// The page's language, for components that put words into its messages.
#[hook]
pub fn use_lang() -> Lang {
    use_context::<Lang>().unwrap_or_default()
}

/// The page's icons: paths in a box of 24, drawn as lines. Fonts do not have them everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icon {
    /// A cross.
    Close,
    /// An arrow out of a box.
    Out,
    /// A circle with an arrow.
    Reload,
    /// A box divided from left to right.
    Beside,
    /// A box divided from top to bottom.
    Below,
    /// Two sheets.
    Copy,
    /// A tick.
    Done,
    /// An arrow down to a line.
    Down,
    /// A plug that is out.
    Unplugged,
    /// A clock.
    Slow,
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
            Icon::Out => "M14 4h6v6M20 4L10 14M9 5H4v15h15v-5",
            Icon::Reload => "M20 12a8 8 0 1 1-2.4-5.7M20 3v4h-4",
            Icon::Beside => "M3 5h18v14H3zM14 5v14",
            Icon::Below => "M3 5h18v14H3zM3 13h18",
            Icon::Copy => "M8 8h12v12H8zM4 16V4h12",
            Icon::Done => "M4 12.5l5.5 5.5L20 6.5",
            Icon::Down => "M12 3v13M6 10.5l6 6 6-6M4 21h16",
            Icon::Unplugged => "M4 20l4-4M7 11l6 6 2-2-6-6zM20 4l-4 4M11 7l6 6 2-2-6-6z",
            Icon::Slow => "M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16zM12 8v4l3 2",
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
