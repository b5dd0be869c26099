//! What is being downloaded, saved or opened, with sizes, and how much the downloads were in all.

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
    /// Bytes of memory saved or opened, and of how many.
    pub saving: Option<(u64, u64)>,
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
        let loading = text(Message::Loading).replace("{}", &name(&d.what));
        bar(loading, d.done_bytes, d.total_bytes)
    });
    let saving = props
        .saving
        .map(|(done, total)| bar(text(Message::Saving).to_owned(), done, total));
    html! {
        <footer class="downloads">
            { saving }
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

/// One thing on its way; `total_bytes` is 0 if unknown.
fn bar(what: String, done_bytes: u64, total_bytes: u64) -> Html {
    let sizes = match total_bytes {
        0 => units::megabytes(done_bytes),
        all => format!(
            "{} / {}",
            units::megabytes(done_bytes),
            units::megabytes(all)
        ),
    };
    // Without a value the browser draws a bar that only says "busy".
    let value = (total_bytes > 0).then(|| done_bytes.to_string());
    html! {
        <div class="download" key={what.clone()}>
            <span>{ &what }</span>
            <span class="sizes">{ sizes }</span>
            <progress {value} max={total_bytes.max(1).to_string()} aria-label={what} />
        </div>
    }
}
