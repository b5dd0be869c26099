//! The terminal, the panels beside or below it, and the bar between them that is dragged.

use web_sys::{Element, HtmlElement};
use yew::prelude::*;

use super::{Icon, use_text};
use crate::i18n::Message;

/// The share of the panels in percent, and how far a key moves it.
const SHARE_MIN: i32 = 15;
const SHARE_MAX: i32 = 85;
const SHARE_STEP: i32 = 5;

/// Properties of [`Dock`].
#[derive(Properties, PartialEq)]
pub struct DockProps {
    /// The terminals.
    pub terminals: Html,
    /// The panels; none leaves the terminals alone.
    pub panels: Vec<Html>,
}

/// See the module's comment.
#[component]
pub fn Dock(props: &DockProps) -> Html {
    let text = use_text();
    let node = use_node_ref();
    let below = use_state(|| false);
    let share = use_state(|| 50);
    let drag = {
        let (node, below, share) = (node.clone(), *below, share.clone());
        move |event: PointerEvent| {
            let Some(area) = node
                .cast::<Element>()
                .map(|area| area.get_bounding_client_rect())
            else {
                return;
            };
            let (end, size, at) = if below {
                (area.bottom(), area.height(), f64::from(event.client_y()))
            } else {
                (area.right(), area.width(), f64::from(event.client_x()))
            };
            share.set(bounded(((end - at) / size * 100.0).round() as i32));
        }
    };
    let on_move = move |event: PointerEvent| {
        if event.buttons() != 0 {
            drag(event);
        }
    };
    // While it is dragged the bar gets all of the pointer, also over pages in panels.
    let on_down = |event: PointerEvent| {
        let bar = event.target_unchecked_into::<HtmlElement>();
        let _ = bar.set_pointer_capture(event.pointer_id());
    };
    let on_key = {
        let share = share.clone();
        move |event: KeyboardEvent| {
            let step = match event.key().as_str() {
                "ArrowLeft" | "ArrowUp" => SHARE_STEP,
                "ArrowRight" | "ArrowDown" => -SHARE_STEP,
                _ => return,
            };
            event.prevent_default();
            share.set(bounded(*share + step));
        }
    };
    let turn = {
        let below = below.clone();
        move |_: MouseEvent| below.set(!*below)
    };
    let (turn_text, turn_icon) = if *below {
        (Message::PanelsBeside, Icon::Beside)
    } else {
        (Message::PanelsBelow, Icon::Below)
    };
    let orientation = if *below { "horizontal" } else { "vertical" };
    let empty = props.panels.is_empty();
    html! {
        <div
            ref={node}
            class={classes!("work", below.then_some("below"), (!empty).then_some("docked"))}
            style={format!("--share: {}", *share)}
        >
            { props.terminals.clone() }
            if !empty {
                <div
                    class="divider"
                    role="separator"
                    tabindex="0"
                    aria-label={text(Message::PanelsSize)}
                    aria-orientation={orientation}
                    aria-valuenow={share.to_string()}
                    aria-valuemin={SHARE_MIN.to_string()}
                    aria-valuemax={SHARE_MAX.to_string()}
                    onpointerdown={on_down}
                    onpointermove={on_move}
                    onkeydown={on_key}
                />
                <div class="dock">
                    // With a key like all beside it: without, panels would be made anew when others come.
                    <button
                        key="turn"
                        class="icon turn"
                        aria-label={text(turn_text)}
                        title={text(turn_text)}
                        onclick={turn}
                    >{ turn_icon.html() }</button>
                    { for props.panels.iter().cloned() }
                </div>
            }
        </div>
    }
}

fn bounded(share: i32) -> i32 {
    share.clamp(SHARE_MIN, SHARE_MAX)
}

/// Properties of [`PanelFrame`].
#[derive(Properties, PartialEq)]
pub struct PanelFrameProps {
    /// Its heading and name.
    pub title: AttrValue,
    /// More in the line of the heading.
    #[prop_or_default]
    pub head: Html,
    /// It is to go.
    pub close: Callback<()>,
    /// What is in it.
    pub children: Html,
}

/// What all panels have: a heading and a way to close them.
#[component]
pub fn PanelFrame(props: &PanelFrameProps) -> Html {
    let text = use_text();
    let close = props.close.reform(|_: MouseEvent| ());
    html! {
        <section class="panel" aria-label={props.title.clone()}>
            <div class="head">
                <h3>{ &props.title }</h3>
                { props.head.clone() }
                <button
                    class="icon close"
                    aria-label={format!("{}: {}", text(Message::Close), props.title)}
                    title={text(Message::Close)}
                    onclick={close}
                >{ Icon::Close.html() }</button>
            </div>
            { props.children.clone() }
        </section>
    }
}
