//! Files of the user's that are dragged onto the page, and names of those that it gives.

#[cfg(target_arch = "wasm32")]
pub use browser::listen;

/// What a dropped file is, as its name says. What is really in it is looked at by who reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Images, as `docker save` writes them.
    Images,
    /// A saved playground.
    Playground,
    /// Something else.
    Other,
}

/// See [`Kind`].
pub fn kind(name: &str) -> Kind {
    const IMAGES: [&str; 9] = [
        ".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.xz", ".txz", ".tar.bz2", ".oci",
    ];
    let name = name.to_ascii_lowercase();
    if name.ends_with(".playground") {
        return Kind::Playground;
    }
    match IMAGES.iter().any(|ending| name.ends_with(ending)) {
        true => Kind::Images,
        false => Kind::Other,
    }
}

/// The name of an image's file: `redis:8.0` is in `redis-8.0.tar`.
pub fn name_of(image: &str) -> String {
    let image = image.strip_prefix("sha256:").unwrap_or(image);
    let safe = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_' || c == '-';
    let name: String = image
        .chars()
        .map(|c| if safe(c) { c } else { '-' })
        .collect();
    format!("{name}.tar")
}

#[cfg(target_arch = "wasm32")]
mod browser {
    use gloo::events::{EventListener, EventListenerOptions};
    use wasm_bindgen::JsCast;
    use web_sys::{DragEvent, Element, Event};
    use yew::Callback;

    use crate::app::Msg;

    /// Tells of files that are dragged over the page and dropped on it. Without this the browser would show the
    /// file in place of the page.
    pub fn listen(tell: Callback<Msg>) -> [EventListener; 3] {
        let document = gloo::utils::document();
        let on = |name: &'static str, heard: Box<dyn Fn(&DragEvent)>| {
            let options = EventListenerOptions::enable_prevent_default();
            EventListener::new_with_options(&document, name, options, move |event: &Event| {
                let event = event.unchecked_ref::<DragEvent>();
                if carries_files(event) {
                    heard(event);
                }
            })
        };
        let (over, drop) = (tell.clone(), tell.clone());
        [
            on(
                "dragover",
                Box::new(move |event| {
                    event.prevent_default();
                    over.emit(Msg::Drag(instance_at(event)));
                }),
            ),
            on(
                "dragleave",
                Box::new(move |event| {
                    // Out of the window, not from one element to another.
                    if event.related_target().is_none() {
                        tell.emit(Msg::Drag(None));
                    }
                }),
            ),
            on(
                "drop",
                Box::new(move |event| {
                    event.prevent_default();
                    let files = event.data_transfer().and_then(|data| data.files());
                    drop.emit(Msg::Drag(None));
                    // Without an instance there is no Docker, but a saved playground can be opened.
                    let name = instance_at(event).unwrap_or_default();
                    for index in 0..files.as_ref().map_or(0, |files| files.length()) {
                        let file = files.as_ref().and_then(|files| files.get(index));
                        if let Some(file) = file {
                            drop.emit(Msg::Drop(name.clone(), file));
                        }
                    }
                }),
            ),
        ]
    }

    fn carries_files(event: &DragEvent) -> bool {
        let types = event.data_transfer().map(|data| data.types());
        types.is_some_and(|types| types.includes(&"Files".into(), 0))
    }

    /// The instance whose terminal or panel is below the pointer; the one that is shown elsewhere.
    fn instance_at(event: &DragEvent) -> Option<String> {
        let target = event.target()?.dyn_into::<Element>().ok();
        let near = target.and_then(|it| it.closest("[data-instance]").ok().flatten());
        let shown = || {
            let shown = gloo::utils::document().query_selector(".screen:not([hidden])");
            shown.ok().flatten()
        };
        near.or_else(shown)?.get_attribute("data-instance")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_names() {
        for (name, expected) in [
            ("web.tar", Kind::Images),
            ("WEB.TAR.GZ", Kind::Images),
            ("my images.tgz", Kind::Images),
            ("drydock-2026.playground", Kind::Playground),
            ("photo.jpg", Kind::Other),
            ("tar", Kind::Other),
        ] {
            assert_eq!(kind(name), expected, "{name}");
        }
        for (image, expected) in [
            ("redis:8.0", "redis-8.0.tar"),
            ("quay.io/coreos/etcd:v3", "quay.io-coreos-etcd-v3.tar"),
            ("sha256:0123", "0123.tar"),
            ("../x", "..-x.tar"),
        ] {
            assert_eq!(name_of(image), expected, "{image}");
        }
    }
}
