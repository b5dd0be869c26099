//! Volumes: where they are, how large, and who has them.

use std::rc::Rc;

use yew::prelude::*;

use super::command::Command;
use crate::components::use_text;
use crate::docker::{Docker, short};
use crate::i18n::Message;
use crate::units;

/// Properties of [`Volumes`].
#[derive(Properties, PartialEq)]
pub(super) struct VolumesProps {
    pub(super) docker: Rc<Docker>,
}

/// See the module's comment.
#[component]
pub(super) fn Volumes(props: &VolumesProps) -> Html {
    let text = use_text();
    let Some(volumes) = &props.docker.volumes else {
        return html! { <p class="hint">{ text(Message::DockerAsking) }</p> };
    };
    let containers = props.docker.containers.as_ref();
    let rows = volumes.iter().map(|volume| {
        let users = containers.into_iter().flat_map(|all| all.iter());
        let users = users.filter_map(|container| {
            let mut mounts = container.mounts.iter();
            let mount = mounts.find(|mount| mount.name == volume.name)?;
            Some(html! {
                <li key={container.id.clone()}>
                    <b>{ container.name() }</b>{ " " }<code>{ &mount.destination }</code>
                    if !mount.rw {
                        <span class="tag">{ text(Message::ReadOnly) }</span>
                    }
                </li>
            })
        });
        let users: Vec<Html> = users.collect();
        let size = u64::try_from(volume.usage_data.size).ok();
        // An anonymous volume is named by 64 digits.
        let name = if volume.name.len() == 64 { short(&volume.name) } else { &volume.name };
        html! {
            <section class="volume" key={volume.name.clone()} aria-label={name.to_owned()}>
                <div class="heading">
                    <h4>
                        { name }
                        <small>{ size.map_or_else(|| text(Message::Unknown).to_owned(), units::size) }</small>
                    </h4>
                    <Command line={format!("docker volume inspect {name}")} />
                </div>
                <dl>
                    <dt>{ text(Message::Mountpoint) }</dt><dd><code>{ &volume.mountpoint }</code></dd>
                    <dt>{ text(Message::UsedBy) }</dt>
                    <dd>
                        if users.is_empty() {
                            { text(Message::UsedByNobody) }
                        } else {
                            <ul>{ for users }</ul>
                        }
                    </dd>
                </dl>
            </section>
        }
    });
    html! {
        <>
            <div class="commands">
                <Command line="docker volume ls" />
                <Command line="docker system df -v" />
            </div>
            if volumes.is_empty() {
                <p class="hint">{ text(Message::NoVolumes) }</p>
                <Command line="docker volume create data" />
            }
            { for rows }
        </>
    }
}
