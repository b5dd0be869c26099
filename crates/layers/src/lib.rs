//! The image store: pulls images, unpacks their layers and mounts containers over them.
//!
//! Everything is files of the machine, laid out as Docker's `overlay2` graph driver lays them out
//! below `/var/lib/docker`, so a learner can look:
//!
//! ```text
//! overlay2/<cache id>/{diff,link,lower,committed,work,merged}   a layer, or a container's writable layer
//! image/overlay2/layerdb/sha256/<chain id>/{diff,parent,size,cache-id,tar-split.gz}
//! image/overlay2/imagedb/content/sha256/<image id>              the image config
//! image/overlay2/repositories.json                              names
//! ```
//!
//! Reading order: [`registry`] (the distribution API as a client), [`pull`], [`push`], [`archive`] (tar in and
//! out), [`scope`] (paths that cannot leave a root), [`store`] (images), [`graph`] (layers on disk),
//! [`container`] (writable layers and what changed in them).
//!
//! Not here: what a container is (crate `engine`), HTTP transport (crate `serve`).

pub mod archive;
mod bzip2;
mod commit;
pub mod container;
mod decompress;
pub mod download;
pub mod estargz;
pub mod graph;
pub mod load;
mod metadata;
pub mod pull;
pub mod push;
pub mod registry;
pub mod save;
pub mod scope;
pub mod store;
mod transfer;
mod xz;

pub use container::{Change, ChangeKind, ContainerMount};
pub use pull::{PullError, PullEvent, PulledImage, RemoteImage};
pub use push::{PushError, PushEvent};
pub use store::{Image, Removed, Store, StoreError};
pub use transfer::Pin;

/// Lets other work of the machine go on in the middle of something long: the next step happens when
/// the clock has moved, so a turn of the world is not held up.
pub(crate) async fn pause(os: &std::rc::Rc<dyn os::Os>) {
    os.clock().sleep(1).await;
}
