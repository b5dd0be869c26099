//! What page and worker call the parts of the Docker panel: both sides of the messages between them.

use serde::{Deserialize, Serialize};

/// A view of the panel.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum View {
    /// Containers with their load.
    #[default]
    Containers,
    /// Images and their layers.
    Images,
    /// Networks and who is attached.
    Networks,
    /// Volumes and their sizes.
    Volumes,
    /// What happened.
    Events,
}

impl View {
    /// All, in the order of the tabs.
    pub const ALL: [View; 5] = [
        View::Containers,
        View::Images,
        View::Networks,
        View::Volumes,
        View::Events,
    ];
}

/// A look at a machine's Docker.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Look {
    /// The view.
    pub view: View,
    /// The id of the container that is shown in detail.
    pub container: Option<String>,
}

/// What a document is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Part {
    /// The rows of `GET /containers/json`, each with parts of its `inspect` as `Inspect`.
    Containers,
    /// The container in detail: `Inspect`, `Changes`, `Logs`.
    Details,
    /// By running container: `Id`, `Cpu` in hundredths of a percent, `Memory`, `Limit`, `Pids`.
    Stats,
    /// The rows of `GET /images/json`, each with `Layers` and `History`.
    Images,
    /// `inspect` of each network.
    Networks,
    /// Volumes as `GET /system/df` has them.
    Volumes,
    /// Events since the last such document.
    Events,
}
