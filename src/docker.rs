//! An instance's Docker as the page knows it: the Engine API's documents, as far as they are shown.
//!
//! The worker sends a document when it differs from the last one (`playground::views`); the names here are the
//! API's. What is drawn of them is worked out in [`stacks`] (images as layers) and in the components.

pub mod stacks;
mod types;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

pub use panel::{Look, Part, View};
pub use types::*;

/// Events that are kept.
pub const EVENTS_MAX: usize = 500;

/// What becomes of a transfer of images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Transferred {
    /// So many bytes of the archive are there.
    Moved {
        /// Bytes so far.
        done_bytes: u64,
    },
    /// The engine unpacks a layer.
    Layer {
        /// The layer.
        layer: String,
        /// Bytes done.
        done_bytes: u64,
        /// Of how many.
        total_bytes: u64,
    },
    /// It is done; what the engine said.
    Done {
        /// `Loaded image: busybox:latest`, or nothing.
        said: String,
    },
    /// It failed.
    Failed {
        /// Why.
        text: String,
    },
}

/// What is known of an instance's Docker. Its parts are shared with the components that show them.
#[derive(Clone, Debug, Default)]
pub struct Docker {
    /// Newest first. `None` until they are known, as the others.
    pub containers: Option<Rc<Vec<Rc<Container>>>>,
    /// By container's id.
    pub stats: Rc<BTreeMap<String, Load>>,
    /// Of the container that was asked for last; `None` when it is gone.
    pub details: Option<Rc<Details>>,
    /// Newest first.
    pub images: Option<Rc<Vec<Image>>>,
    /// In the API's order.
    pub networks: Option<Rc<Vec<Network>>>,
    /// In the API's order.
    pub volumes: Option<Rc<Vec<Volume>>>,
    /// Newest last.
    pub events: Rc<VecDeque<Rc<Event>>>,
    /// Counts documents.
    version: u64,
}

impl PartialEq for Docker {
    fn eq(&self, other: &Docker) -> bool {
        self.version == other.version
    }
}

impl Docker {
    /// Takes a document of the worker.
    pub fn apply(&mut self, part: Part, text: &[u8]) -> Result<(), serde_json::Error> {
        match part {
            Part::Containers => {
                let new: Vec<Container> = read(text)?;
                let known = self.containers.take().unwrap_or_default();
                // A row that is as it was is not drawn anew.
                let same = |new: Container| {
                    let mut all = known.iter();
                    let old = all.find(|old| ***old == new).cloned();
                    old.unwrap_or_else(|| Rc::new(new))
                };
                self.containers = Some(Rc::new(new.into_iter().map(same).collect()));
            }
            Part::Details => self.details = read::<Option<Details>>(text)?.map(Rc::new),
            Part::Stats => {
                let rows: Vec<Load> = read(text)?;
                self.stats = Rc::new(rows.into_iter().map(|it| (it.id.clone(), it)).collect());
            }
            Part::Images => self.images = Some(Rc::new(read(text)?)),
            Part::Networks => self.networks = Some(Rc::new(read(text)?)),
            Part::Volumes => self.volumes = Some(Rc::new(read(text)?)),
            Part::Events => {
                let new: Vec<Event> = read(text)?;
                let events = Rc::make_mut(&mut self.events);
                events.extend(new.into_iter().map(Rc::new));
                let surplus = events.len().saturating_sub(EVENTS_MAX);
                events.drain(..surplus);
            }
        }
        self.version += 1;
        Ok(())
    }

    /// The containers of an image, by name.
    pub fn containers_of(&self, image: &str) -> Vec<String> {
        let all = self.containers.iter().flat_map(|all| all.iter());
        let of = all.filter(|container| container.image_id == image);
        of.map(|container| container.name().to_owned()).collect()
    }
}

fn read<T: for<'a> Deserialize<'a>>(text: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_of_the_api_become_rows() {
        let mut docker = Docker::default();
        let containers = r#"[{"Id":"0123456789abcdef","Names":["/web"],"Image":"nginx","ImageID":"sha256:aa",
            "State":"running","Status":"Up 3 seconds (healthy)","Command":"nginx -g 'daemon off;'",
            "Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
                     {"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},
                     {"PrivatePort":443,"Type":"tcp"}],
            "Mounts":[{"Type":"volume","Name":"data","Destination":"/data","RW":true}],
            "Inspect":{"RestartCount":2,"State":{"ExitCode":0,"Health":"healthy"},
                       "HostConfig":{"Memory":67108864,"NanoCpus":500000000,"PidsLimit":null,
                                     "RestartPolicy":{"Name":"on-failure","MaximumRetryCount":5}},
                       "Networks":{"web":{"IPAddress":"172.18.0.2","Aliases":["w"]}}}},
            {"Id":"ffff","Names":["/gone"],"State":"exited","Inspect":null}]"#;
        docker
            .apply(Part::Containers, containers.as_bytes())
            .unwrap();
        let rows = docker.containers.clone().unwrap();
        assert_eq!((rows[0].name(), rows[1].name()), ("web", "gone"));
        assert_eq!(rows[0].limits(), ["0.5 CPU", "64MiB"]);
        assert_eq!(rows[0].published(), [(8080, "80/tcp".to_owned())]);
        assert_eq!(rows[0].restart_policy(), "on-failure:5");
        assert_eq!(docker.containers_of("sha256:aa"), ["web"]);
        let before = Rc::clone(&rows[0]);
        docker
            .apply(Part::Containers, containers.as_bytes())
            .unwrap();
        assert!(Rc::ptr_eq(&before, &docker.containers.clone().unwrap()[0]));
        assert!(docker.apply(Part::Images, b"{").is_err());
        docker.apply(Part::Details, b"null").unwrap();
        assert!(docker.details.is_none());
    }

    #[test]
    fn events_are_bounded() {
        let mut docker = Docker::default();
        let event = r#"[{"Type":"container","Action":"exec_start: sh -c true","timeNano":5,"time":0,
            "Actor":{"ID":"ab","Attributes":{"name":"web","image":"nginx","exitCode":"1"}}}]"#;
        for _ in 0..EVENTS_MAX + 10 {
            docker.apply(Part::Events, event.as_bytes()).unwrap();
        }
        assert_eq!(docker.events.len(), EVENTS_MAX);
        let event = &docker.events[0];
        assert_eq!(event.subject(), "web");
        assert_eq!(event.attributes(), "exitCode=1 image=nginx");
    }
}
