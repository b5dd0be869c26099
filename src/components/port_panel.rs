//! The page at a port of an instance, with an address line.
//!
//! What is in the frame is the business of `static/port_panel.js`, which is loaded when the first such panel is
//! opened: it shows the page through the service worker, or fetches it by way of this program where there is
//! none. It gets an address to go to and says where it is.

use gloo::events::EventListener;
use js_sys::Reflect;
use wasm_bindgen::prelude::*;
use web_sys::{Element, HtmlInputElement, MessagePort};
use yew::prelude::*;

use super::instance_card::PortAddress;
use super::{Icon, PanelFrame, use_text};
use crate::app::Msg;
use crate::i18n::Message;
use crate::network::parse_address;
use crate::port_worker::Access;

/// Relative to the page.
const SCRIPT: &str = "port_panel.js";

/// Properties of [`PortPanel`].
#[derive(Properties, PartialEq)]
pub struct PortPanelProps {
    /// The instance.
    pub name: String,
    /// Its address.
    pub ip: String,
    /// The port.
    pub port: u16,
    /// How pages can be had.
    pub access: Access,
    /// What addresses of the service worker begin with.
    pub root: String,
    /// The address of a port's page, for a tab of its own; `None` where there can be none.
    pub address: Option<PortAddress>,
    /// All instances, by name, with their addresses.
    pub hosts: Vec<(String, String)>,
    /// What the user does.
    pub act: Callback<Msg>,
    /// The panel is to go.
    pub close: Callback<()>,
}

/// See the module's comment.
#[component]
pub fn PortPanel(props: &PortPanelProps) -> Html {
    let text = use_text();
    let node = use_node_ref();
    let first = format!("{}:{}/", props.ip, props.port);
    // Where to go, and the how manieth time; where it is; what was left out of the page.
    let going = use_state(|| (1u32, first.clone()));
    let at = use_state_eq(|| first);
    let line = use_node_ref();
    let left_out = use_state(Vec::<String>::new);
    use_effect_with((), |()| load_script());
    {
        // Written when it changes and at no other time: somebody may be typing.
        let line = line.clone();
        use_effect_with((*at).clone(), move |at| {
            if let Some(line) = line.cast::<HtmlInputElement>() {
                line.set_value(at);
            }
        });
    }
    {
        let (at, left_out, act) = (at.clone(), left_out.clone(), props.act.clone());
        use_effect_with(node.clone(), move |node| {
            let listeners = node.cast::<Element>().map(|frame| {
                [
                    listen(&frame, "port-address", move |detail| {
                        at.set(detail.as_string().unwrap_or_default());
                    }),
                    listen(&frame, "port-left-out", move |detail| {
                        let all = js_sys::Array::from(&detail);
                        left_out.set(all.iter().filter_map(|it| it.as_string()).collect());
                    }),
                    listen(&frame, "port-request", move |detail| {
                        let get = |name: &str| Reflect::get(&detail, &name.into());
                        let channel = get("channel").map(JsCast::dyn_into::<MessagePort>);
                        if let (Ok(request), Ok(Ok(channel))) = (get("request"), channel) {
                            act.emit(Msg::Port((request, channel)));
                        }
                    }),
                ]
            });
            move || drop(listeners)
        });
    }
    let go = {
        let going = going.clone();
        move |address: String| going.set((going.0 + 1, address))
    };
    let submit = {
        let (go, line, at, hosts) = (go.clone(), line.clone(), at.clone(), props.hosts.clone());
        move |event: SubmitEvent| {
            event.prevent_default();
            let Some(line) = line.cast::<HtmlInputElement>() else {
                return;
            };
            let ip_of = |wanted: &str| {
                let mut all = hosts.iter();
                let found = all.find(|(name, ip)| [name, ip].iter().any(|it| *it == wanted));
                found.map(|(_, ip)| ip.clone())
            };
            match parse_address(&line.value(), &at, ip_of) {
                Some(address) => go(address),
                // There is no such place: the line says again where we are.
                None => line.set_value(&at),
            }
        }
    };
    let reload = {
        let (go, at) = (go, at.clone());
        move |_: MouseEvent| go((*at).clone())
    };
    let tab = props.address.as_ref().and_then(|address| {
        let (host, path) = at.split_once('/')?;
        let (ip, port) = host.split_once(':')?;
        let root = address.emit((ip.to_owned(), port.parse().ok()?));
        Some(format!("{root}{path}"))
    });
    let root = (props.access == Access::Worker).then(|| props.root.clone());
    let head = html! {
        <>
            <form class="address-line" onsubmit={submit}>
                <input
                    ref={line}
                    aria-label={text(Message::Address)}
                    spellcheck="false"
                    autocomplete="off"
                    autocapitalize="off"
                    size="12"
                />
            </form>
            <button
                class="icon"
                aria-label={text(Message::Reload)}
                title={text(Message::Reload)}
                onclick={reload}
            >{ Icon::Reload.html() }</button>
            if let Some(href) = tab {
                <a
                    class="button icon"
                    {href}
                    target="_blank"
                    aria-label={text(Message::OpenTab)}
                    title={text(Message::OpenTab)}
                >{ Icon::Out.html() }</a>
            }
        </>
    };
    let left_out = (!left_out.is_empty()).then(|| {
        let count = left_out.len().to_string();
        let words = text(Message::PortLeftOut).replace("{}", &count);
        html! { <span title={left_out.join("\n")}>{ " " }{ words }</span> }
    });
    html! {
        <PanelFrame
            title={format!("{}:{}", props.name, props.port)}
            {head}
            close={props.close.clone()}
        >
            if props.access == Access::Direct {
                <p class="limited" role="note">{ text(Message::PortLimited) }{ left_out }</p>
            }
            <port-page
                ref={node}
                {root}
                go={(props.access != Access::Unknown)
                    .then(|| format!("{} {}", going.0, going.1))}
            />
        </PanelFrame>
    }
}

fn listen(frame: &Element, name: &'static str, heard: impl Fn(JsValue) + 'static) -> EventListener {
    EventListener::new(frame, name, move |event| {
        heard(Reflect::get(event, &"detail".into()).unwrap_or_default());
    })
}

/// Adds the frame's program to the document, once.
fn load_script() {
    let document = gloo::utils::document();
    let known = document.query_selector(&format!("script[src='{SCRIPT}']"));
    if known.is_ok_and(|known| known.is_some()) {
        return;
    }
    if let Ok(script) = document.create_element("script") {
        let _ = script.set_attribute("src", SCRIPT);
        let _ = gloo::utils::head().append_child(&script);
    }
}
