//! What the page shows of an engine, typed and without a request.

use crate::Engine;

/// A container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerView {
    /// Id.
    pub id: String,
    /// Name.
    pub name: String,
    /// Image as it was typed.
    pub image: String,
    /// `running`, `exited` and so on.
    pub state: &'static str,
    /// `Up 3 minutes` and so on.
    pub status: String,
    /// First process in the machine's numbering; 0 when it does not run.
    pub pid: u32,
}

/// An image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageView {
    /// Id.
    pub id: String,
    /// Names.
    pub tags: Vec<String>,
    /// Bytes.
    pub size: u64,
    /// Chain ids of its layers, base first.
    pub layers: Vec<String>,
}

impl Engine {
    /// All containers, newest first.
    #[must_use]
    pub fn containers(&self) -> Vec<ContainerView> {
        let now = self.now();
        self.all_containers()
            .iter()
            .map(|container| {
                let data = container.data.borrow();
                ContainerView {
                    id: container.id.clone(),
                    name: data.name.clone(),
                    image: data.config.image.clone(),
                    state: container.status(),
                    status: container.status_text(now),
                    pid: data.state.pid,
                }
            })
            .collect()
    }

    /// All images.
    #[must_use]
    pub fn images(&self) -> Vec<ImageView> {
        self.store
            .images()
            .into_iter()
            .map(|image| ImageView {
                id: image.id.to_string(),
                tags: image.repo_tags,
                size: image.size,
                layers: image.chain.iter().map(ToString::to_string).collect(),
            })
            .collect()
    }
}
