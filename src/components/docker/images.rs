//! Images as stacks of layers, in which what they share is one block under all of them.

use std::rc::Rc;

use web_sys::{Event, HtmlInputElement};
use yew::prelude::*;

use super::command::{Command, Here};
use super::details::instruction;
use crate::app::Msg;
use crate::components::{Icon, use_lang, use_text};
use crate::docker::stacks::{Layer, stacks, totals};
use crate::docker::{Docker, Image, short};
use crate::i18n::Message;
use crate::units;

/// Properties of [`Images`].
#[derive(Properties, PartialEq)]
pub(super) struct ImagesProps {
    pub(super) docker: Rc<Docker>,
}

/// What is chosen: a layer by its path of places, or an image by its id.
#[derive(Clone, PartialEq)]
enum Chosen {
    Layer(Vec<usize>),
    Image(String),
}

/// See the module's comment.
#[component]
pub(super) fn Images(props: &ImagesProps) -> Html {
    let (text, lang) = (use_text(), use_lang());
    let chosen = use_state_eq(|| None::<Chosen>);
    let here = use_context::<Here>();
    let Some(images) = &props.docker.images else {
        return html! { <p class="hint">{ text(Message::DockerAsking) }</p> };
    };
    let ground = stacks(images);
    let (disk, sum) = totals(images, &ground);
    let sizes = [units::size(disk), units::size(sum)];
    let on_disk = if disk < sum {
        Message::OnDiskShared
    } else {
        Message::OnDisk
    };
    let choose = {
        let chosen = chosen.clone();
        Callback::from(move |it: Chosen| chosen.set(Some(it)))
    };
    let columns = ground
        .iter()
        .enumerate()
        .map(|(place, layer)| column(layer, &[place], images, &chosen, &choose));
    // Images without layers stand on nothing.
    let bare = images.iter().filter(|image| image.layers.is_empty());
    let bare = bare.map(|image| cap(image, &chosen, &choose));
    let found = chosen.as_ref().and_then(|chosen| match chosen {
        Chosen::Image(id) => {
            let image = images.iter().find(|image| image.id == *id)?;
            Some(html! { <ImageDetails image={image.clone()} docker={props.docker.clone()} /> })
        }
        Chosen::Layer(path) => {
            let (first, rest) = path.split_first()?;
            let layer = ground.get(*first)?.at(rest)?;
            Some(layer_details(layer, images, &props.docker, text, lang))
        }
    });
    let load = here.map(|here| {
        move |event: Event| {
            let input = event.target_unchecked_into::<HtmlInputElement>();
            let file = input.files().and_then(|files| files.get(0));
            if let Some(file) = file {
                here.act.emit(Msg::LoadImages(here.name.clone(), file));
            }
            // The same file may be chosen again.
            input.set_value("");
        }
    });
    html! {
        <>
            <div class="commands">
                <Command line="docker images" />
                <Command line="docker system df" />
                <label class="button load">
                    { text(Message::LoadArchive) }
                    <input type="file" accept=".tar,.gz,.tgz,.zst,.xz,.bz2,.oci" onchange={load} />
                </label>
            </div>
            if images.is_empty() {
                <p class="hint">{ text(Message::NoImages) }</p>
                <Command line="docker pull python" />
            } else {
                <p class="hint">
                    { lang.fill(on_disk, &[&sizes[0], &sizes[1]]) }
                    { ". " }{ text(Message::LayersDetail) }
                </p>
                <div class="stacks" role="group" aria-label={text(Message::Images)} tabindex="0">
                    { for columns }{ for bare }
                </div>
                { found }
            }
        </>
    }
}

/// A layer with everything on it: the layer is as wide as what it carries.
fn column(
    layer: &Layer,
    path: &[usize],
    images: &[Image],
    chosen: &Option<Chosen>,
    choose: &Callback<Chosen>,
) -> Html {
    let caps = layer.tops.iter().filter_map(|&number| images.get(number));
    let caps = caps.map(|image| cap(image, chosen, choose));
    let above =
        layer.above.iter().enumerate().map(|(place, above)| {
            column(above, &[path, &[place]].concat(), images, chosen, choose)
        });
    let own = Chosen::Layer(path.to_vec());
    let pressed = chosen.as_ref() == Some(&own);
    let shared = layer.images.len() > 1;
    // Twice the bytes are a little higher: small layers are seen, and large ones are large.
    let height = ((layer.step.size as f64 / 1e5).max(1.0).log2() * 0.22).min(3.4);
    let select = choose.reform(move |_: MouseEvent| own.clone());
    html! {
        <div class="stack" key={layer.id.clone()}>
            <div class="above">{ for caps }{ for above }</div>
            <button
                class={classes!("layer", shared.then_some("shared"))}
                style={format!("--more: {height:.2}rem")}
                aria-pressed={pressed.to_string()}
                title={layer.step.created_by.clone()}
                onclick={select}
            >
                <span class="made">{ instruction(&layer.step.created_by) }</span>
                <span class="size">{ units::size(layer.step.size) }</span>
                if shared {
                    <span class="count">{ format!("×{}", layer.images.len()) }</span>
                }
            </button>
        </div>
    }
}

/// The name on top of a stack.
fn cap(image: &Image, chosen: &Option<Chosen>, choose: &Callback<Chosen>) -> Html {
    let own = Chosen::Image(image.id.clone());
    let pressed = chosen.as_ref() == Some(&own);
    let select = choose.reform(move |_: MouseEvent| own.clone());
    let dangling = image.repo_tags.is_empty();
    let names = image.repo_tags.iter().map(|name| html! { <b>{ name }</b> });
    html! {
        <div class="stack" key={image.id.clone()}>
            <button
                class={classes!("cap", dangling.then_some("dangling"))}
                aria-pressed={pressed.to_string()}
                onclick={select}
            >
                if dangling {
                    <b>{ "<none>" }</b><small>{ short(&image.id) }</small>
                }
                { for names }
                <span class="size">{ units::size(image.size) }</span>
            </button>
        </div>
    }
}

fn list(names: &[String], text: impl Fn(Message) -> &'static str) -> String {
    match names.is_empty() {
        true => text(Message::UsedByNobody).to_owned(),
        false => names.join(", "),
    }
}

fn layer_details(
    layer: &Layer,
    images: &[Image],
    docker: &Docker,
    text: impl Fn(Message) -> &'static str + Copy,
    lang: crate::i18n::Lang,
) -> Html {
    let of = || layer.images.iter().filter_map(|&number| images.get(number));
    let names: Vec<String> = of().map(|image| image.name().to_owned()).collect();
    let containers: Vec<String> = of()
        .flat_map(|image| docker.containers_of(&image.id))
        .collect();
    // By a name, if one of them has one.
    let named = of().find(|image| !image.repo_tags.is_empty());
    let named = named.or_else(|| of().next()).map(Image::name);
    let history = named.map(|name| format!("docker history {name}"));
    html! {
        <section class="chosen" aria-live="polite">
            <div class="heading">
                <h4>{ text(Message::Layer) }{ " " }<code>{ short(&layer.id) }</code></h4>
                if let Some(line) = history {
                    <Command {line} />
                }
            </div>
            <dl>
                <dt>{ text(Message::Instruction) }</dt>
                <dd><code>{ made(&layer.step.created_by, text) }</code></dd>
                <dt>{ text(Message::Size) }</dt><dd>{ units::size(layer.step.size) }</dd>
                <dt>{ text(Message::Images) }</dt><dd>{ list(&names, text) }</dd>
                <dt>{ text(Message::Containers) }</dt><dd>{ list(&containers, text) }</dd>
            </dl>
            if names.len() > 1 {
                <p class="hint">
                    { lang.fill(
                        Message::SavedBySharing,
                        &[&units::size(layer.step.size * (names.len() as u64 - 1))],
                    ) }
                </p>
            }
        </section>
    }
}

fn made(created_by: &str, text: impl Fn(Message) -> &'static str) -> String {
    match created_by.is_empty() {
        true => text(Message::Unknown).to_owned(),
        false => created_by.to_owned(),
    }
}

#[derive(Properties, PartialEq)]
struct ImageDetailsProps {
    image: Image,
    docker: Rc<Docker>,
}

#[component]
fn ImageDetails(props: &ImageDetailsProps) -> Html {
    let (text, lang) = (use_text(), use_lang());
    let Some(here) = use_context::<Here>() else {
        return html! {};
    };
    let image = &props.image;
    // An image without a name is known by its id.
    let name = image.repo_tags.first().unwrap_or(&image.id).clone();
    let save = {
        let (name, size, instance) = (name.clone(), image.size, here.name.clone());
        here.act
            .reform(move |_: MouseEvent| Msg::SaveImage(instance.clone(), name.clone(), size))
    };
    let containers = props.docker.containers_of(&image.id);
    let shared = u64::try_from(image.shared_size).unwrap_or(0);
    let steps = image.history.iter().map(|step| {
        html! {
            <tr>
                <td class="number">{ units::size(step.size) }</td>
                <td><code>{ instruction(&step.created_by) }</code></td>
            </tr>
        }
    });
    html! {
        <section class="chosen" aria-live="polite">
            <div class="heading">
                <h4>{ image.name() }</h4>
                <button class="save" onclick={save}>
                    { Icon::Down.html() }{ text(Message::DownloadTar) }
                </button>
            </div>
            <dl>
                <dt>{ "ID" }</dt><dd><code>{ short(&image.id) }</code></dd>
                <dt>{ text(Message::Size) }</dt>
                <dd>
                    { units::size(image.size) }
                    if shared > 0 {
                        { " · " }{ lang.fill(Message::Shared, &[&units::size(shared)]) }
                    }
                </dd>
                <dt>{ text(Message::Containers) }</dt><dd>{ list(&containers, text) }</dd>
            </dl>
            if image.repo_tags.is_empty() {
                <p class="hint">{ text(Message::Dangling) }</p>
            }
            <div class="commands">
                <Command line={format!("docker history {}", short_name(&name))} />
                <Command line={format!("docker image inspect {}", short_name(&name))} />
            </div>
            <table class="history"><tbody>{ for steps }</tbody></table>
        </section>
    }
}

/// An id as people type it.
fn short_name(name: &str) -> &str {
    match name.starts_with("sha256:") {
        true => short(name),
        false => name,
    }
}
