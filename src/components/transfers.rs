//! Images on their way between the user's files and an instance's Docker, and where a dragged file would go.

use yew::prelude::*;

use super::{Icon, use_lang, use_text};
use crate::app::Msg;
use crate::docker::Transferred;
use crate::i18n::Message;
use crate::store::Transfer;
use crate::units;

/// Properties of [`Transfers`].
#[derive(Properties, PartialEq)]
pub struct TransfersProps {
    /// In the order they set out.
    pub transfers: Vec<Transfer>,
    /// The instance that a file is dragged over.
    pub dragged_over: Option<String>,
    /// What the user does.
    pub act: Callback<Msg>,
}

/// See the module's comment.
#[component]
pub fn Transfers(props: &TransfersProps) -> Html {
    let (text, lang) = (use_text(), use_lang());
    let rows = props.transfers.iter().map(|transfer| {
        let id = transfer.id;
        let end = props.act.reform(move |_: MouseEvent| Msg::EndTransfer(id));
        let names = [transfer.what.as_str(), transfer.instance.as_str()];
        let title = match (&transfer.state, transfer.out) {
            (Transferred::Done { .. }, false) => Message::Loaded,
            (Transferred::Done { .. }, true) => Message::Downloading,
            (_, false) => Message::LoadingInto,
            (_, true) => Message::SavingOf,
        };
        let running = transfer.running();
        let label = text(if running {
            Message::Cancel
        } else {
            Message::Dismiss
        });
        let failed = matches!(transfer.state, Transferred::Failed { .. });
        // How far it is is not announced, but how it ends.
        let role = match transfer.state {
            Transferred::Done { .. } => Some("status"),
            Transferred::Failed { .. } => Some("alert"),
            _ => None,
        };
        html! {
            <li key={id} class={classes!("transfer", failed.then_some("failed"))}>
                <div class="what" {role}>
                    <b>{ lang.fill(title, &names) }</b>
                    { state(transfer, text, lang) }
                </div>
                <button
                    class="icon"
                    aria-label={format!("{label}: {}", transfer.what)}
                    title={label}
                    onclick={end}
                >{ Icon::Close.html() }</button>
            </li>
        }
    });
    html! {
        <>
            if !props.transfers.is_empty() {
                <ul class="transfers" aria-label={text(Message::Transfers)}>{ for rows }</ul>
            }
            if let Some(name) = &props.dragged_over {
                <div class="drop" role="status">
                    <p>{ Icon::Down.html() }{ lang.fill(Message::DropArchive, &[name]) }</p>
                </div>
            }
        </>
    }
}

fn state(
    transfer: &Transfer,
    text: impl Fn(Message) -> &'static str,
    lang: crate::i18n::Lang,
) -> Html {
    let total = transfer.total_bytes;
    match &transfer.state {
        Transferred::Moved { done_bytes } => {
            // A compressed image has fewer bytes than its files, an archive a few more.
            let share = units::share((*done_bytes).min(total), total);
            html! {
                <>
                    <progress max="100" value={format!("{share:.0}")} />
                    <span class="sizes">{ units::size(*done_bytes) }{ " / " }{ units::size(total) }</span>
                </>
            }
        }
        Transferred::Layer {
            layer,
            done_bytes,
            total_bytes,
        } => {
            let share = units::share(*done_bytes, *total_bytes);
            html! {
                <>
                    <progress max="100" value={format!("{share:.0}")} />
                    <span class="sizes">
                        { lang.fill(Message::Unpacking, &[layer]) }
                        { format!(" {} / {}", units::size(*done_bytes), units::size(*total_bytes)) }
                    </span>
                </>
            }
        }
        Transferred::Done { said } => html! { <span class="said">{ said.trim_end() }</span> },
        Transferred::Failed { text: why } => {
            let hint = if why.contains("no space left") {
                Message::HintNoSpace
            } else {
                Message::HintArchive
            };
            html! {
                <>
                    <span class="said">{ why }</span>
                    if !transfer.out {
                        <span class="hint">{ text(hint) }</span>
                    }
                </>
            }
        }
    }
}
