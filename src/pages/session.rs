//! A running session: header, instance list, and the card of the selected instance.

use std::rc::Rc;

use yew::prelude::*;

use crate::app::{Msg, Terminals};
use crate::components::{
    CapturePanel, Dock, DockerPanel, Downloads, Header, InstanceCard, InstanceList, LanPanel,
    Notices, PortPanel, TerminalView, Transfers, use_text,
};
use crate::i18n::Message;
use crate::panels::{Content, Panel};
use crate::port_worker::{Access, PortWorker};
use crate::preferences::Preferences;
use crate::store::{Condition, Phase, Store};

/// Properties of [`Session`].
#[derive(Properties)]
pub struct SessionProps {
    /// What the worker told.
    pub store: Store,
    /// What the user keeps.
    pub preferences: Preferences,
    /// The terminals by instance.
    pub terminals: Terminals,
    /// OPEN PORT's service worker, where there can be one.
    pub ports: Option<Rc<PortWorker>>,
    /// How pages of ports can be had.
    pub access: Access,
    /// What the user does.
    pub act: Callback<Msg>,
}

impl PartialEq for SessionProps {
    fn eq(&self, other: &SessionProps) -> bool {
        // A terminal changes by itself; it comes and goes with its instance, which is in the store.
        self.store == other.store
            && self.preferences == other.preferences
            && self.access == other.access
    }
}

/// See the module's comment.
#[component]
pub fn Session(props: &SessionProps) -> Html {
    let text = use_text();
    let SessionProps {
        store,
        preferences,
        terminals,
        ports,
        access,
        act,
    } = props;
    let ready = store.phase == Phase::Ready;
    let savable = !store.instances.is_empty();
    let root = ports.as_ref().map(|ports| ports.root());
    let address = ports
        .clone()
        .filter(|_| *access != Access::Direct)
        .map(|ports| Callback::from(move |(ip, port): (String, u16)| ports.address(&ip, port)));
    let card = match store.current() {
        Some(instance) => html! {
            <InstanceCard
                key={instance.name.clone()}
                instance={instance.clone()}
                address={address.clone()}
                panels={store.panels.clone()}
                act={act.clone()}
            />
        },
        None => html! {
            <section class="welcome">
                <h2>{ text(Message::NoInstances) }</h2>
                <p>{ text(Message::NoInstancesHint) }</p>
            </section>
        },
    };
    // All terminals stay on the page; one is shown. So scrollback and full-screen programs
    // survive looking at another instance.
    let screens = store.instances.iter().filter_map(|instance| {
        let terminal = terminals.get(&instance.name)?.clone();
        let shown = store.selected.as_ref() == Some(&instance.name);
        Some(html! {
            <TerminalView
                key={instance.name.clone()}
                name={instance.name.clone()}
                {terminal}
                {shown}
            />
        })
    });
    let crashed = match store.current().map(|instance| &instance.condition) {
        Some(Condition::Crashed(cause)) => html! {
            <section class="crashed" role="alert">
                <h3>{ text(Message::Crashed) }</h3>
                <p>{ text(Message::CrashedDetail) }</p>
                <pre class="cause">{ cause }</pre>
            </section>
        },
        _ => html! {},
    };
    let panels = store.panels.iter().filter_map(|Panel { id, content }| {
        let id = *id;
        let close = act.reform(move |()| Msg::ClosePanel(id));
        Some(match content {
            Content::Port { name, port, ip } => html! {
                <PortPanel
                    key={id}
                    name={name.clone()}
                    ip={ip.clone()}
                    port={*port}
                    access={*access}
                    root={root.clone().unwrap_or_default()}
                    address={address.clone()}
                    hosts={store.hosts()}
                    act={act.clone()}
                    {close}
                />
            },
            Content::Capture { name } => html! {
                <CapturePanel
                    key={id}
                    instance={store.instances.iter().find(|it| it.name == *name)?.clone()}
                    act={act.clone()}
                    {close}
                />
            },
            Content::Docker { name } => {
                let instance = store.instances.iter().find(|it| it.name == *name)?;
                html! {
                    <DockerPanel
                        key={id}
                        name={name.clone()}
                        ip={instance.ip.clone()}
                        running={instance.condition == Condition::Running}
                        docker={instance.docker.clone().unwrap_or_default()}
                        act={act.clone()}
                        {close}
                    />
                }
            }
            Content::Lan => html! {
                <LanPanel
                    key={id}
                    instances={store.instances.clone()}
                    act={act.clone()}
                    {close}
                />
            },
        })
    });
    let terminals = html! {
        <div class={classes!("terminals", store.current().is_none().then_some("empty"))}>
            { for screens }
        </div>
    };
    html! {
        <div class="session">
            <Header {ready} {savable} kept={store.kept.clone()} preferences={preferences.clone()} act={act.clone()} />
            <div class="columns">
                <nav class="sidebar" aria-label={text(Message::Instances)}>
                    <InstanceList
                        instances={store.instances.clone()}
                        selected={store.selected.clone()}
                        creating={store.creating > 0}
                        {ready}
                        act={act.clone()}
                    />
                    <Downloads downloads={store.downloads.clone()} saving={store.saving} />
                </nav>
                <main class="main">
                    <Transfers
                        transfers={store.transfers.clone()}
                        dragged_over={store.dragged_over.clone()}
                        act={act.clone()}
                    />
                    <Notices notices={store.notices.clone()} act={act.clone()} />
                    { card }
                    { crashed }
                    <Dock {terminals} panels={panels.collect::<Vec<_>>()} />
                </main>
            </div>
        </div>
    }
}
