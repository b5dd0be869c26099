//! What is being downloaded, with sizes, and how much it was in all.

use yew::prelude::*;

use super::use_text;
use crate::i18n::Message;
use crate::protocol::WHAT_ENGINE;
use crate::store::Download;
use crate::units;

/// Properties of [`Downloads`].
#[derive(Properties, PartialEq)]
pub struct DownloadsProps {
    /// Everything downloaded in this session.
    pub downloads: Vec<Download>,
}

/// See the module's comment.
#[component]
pub fn Downloads(props: &DownloadsProps) -> Html {
    let text = use_text();
    let total: u64 = props.downloads.iter().map(|d| d.done_bytes).sum();
    let name = |what: &str| match what {
        WHAT_ENGINE => text(Message::EngineProgram).to_owned(),
        what => what.to_owned(),
    };
    let running = props.downloads.iter().filter(|d| d.running()).map(|d| {
        let sizes = match d.total_bytes {
            0 => units::megabytes(d.done_bytes),
            all => format!("{} / {}", units::megabytes(d.done_bytes), units::megabytes(all)),
        };
        // Without a value the browser draws a bar that only says "busy".
        let value = (d.total_bytes > 0).then(|| d.done_bytes.to_string());
        html! {
            <div class="download" key={d.what.clone()}>
                <span>{ text(Message::Loading).replace("{}", &name(&d.what)) }</span>
                <span class="sizes">{ sizes }</span>
                <progress {value} max={d.total_bytes.max(1).to_string()} aria-label={name(&d.what)} />
            </div>
        }
    });
    html! {
        <footer class="downloads">
            { for running }
            if total > 0 {
                <p class="total" title={props.downloads.iter()
                    .map(|d| format!("{}: {}", name(&d.what), units::megabytes(d.done_bytes)))
                    .collect::<Vec<_>>().join("\n")}>
                    { units::megabytes(total) }{ " " }{ text(Message::Downloaded) }
                </p>
            }
        </footer>
    }
}
