//! The panels beside the terminal: pages of ports, captures, Docker, the LAN.
//!
//! Which there are and in what order; what is in them is their components' business. A panel keeps its number as
//! long as it is there, so that the page in it is not loaded anew when others come and go.

/// What a panel shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The page at a port of an instance.
    Port {
        /// The instance.
        name: String,
        /// The port.
        port: u16,
        /// Its address.
        ip: String,
    },
    /// The interfaces of an instance and what goes through them.
    Capture {
        /// The instance.
        name: String,
    },
    /// What an instance's Docker has.
    Docker {
        /// The instance.
        name: String,
    },
    /// The cables of all instances.
    Lan,
}

impl Content {
    /// The instance it is of.
    pub fn instance(&self) -> Option<&str> {
        match self {
            Content::Port { name, .. } | Content::Capture { name } | Content::Docker { name } => {
                Some(name)
            }
            Content::Lan => None,
        }
    }
}

/// A panel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panel {
    /// Its number, never used twice.
    pub id: u32,
    /// What it shows.
    pub content: Content,
}

/// See the module's comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Panels {
    list: Vec<Panel>,
    opened: u32,
}

impl Panels {
    /// All, in the order they were opened.
    pub fn iter(&self) -> impl Iterator<Item = &Panel> {
        self.list.iter()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Shows something; once.
    pub fn open(&mut self, content: Content) {
        if self.find(&content).is_none() {
            self.opened += 1;
            let id = self.opened;
            self.list.push(Panel { id, content });
        }
    }

    /// Whether something is shown, and by which panel.
    pub fn find(&self, content: &Content) -> Option<u32> {
        let mut all = self.list.iter();
        all.find(|panel| panel.content == *content)
            .map(|panel| panel.id)
    }

    /// Takes a panel away; answers what it showed.
    pub fn close(&mut self, id: u32) -> Option<Content> {
        let index = self.list.iter().position(|panel| panel.id == id)?;
        Some(self.list.remove(index).content)
    }

    /// Takes the panels of an instance away.
    pub fn forget(&mut self, name: &str) {
        self.list
            .retain(|panel| panel.content.instance() != Some(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, port: u16) -> Content {
        Content::Port {
            name: name.into(),
            port,
            ip: "192.168.0.13".into(),
        }
    }

    #[test]
    fn a_panel_is_opened_once_and_goes_with_its_instance() {
        let mut panels = Panels::default();
        let capture = Content::Capture {
            name: "node2".into(),
        };
        for content in [
            port("node1", 80),
            Content::Lan,
            port("node1", 80),
            port("node1", 81),
        ] {
            panels.open(content);
        }
        panels.open(capture.clone());
        let ids: Vec<u32> = panels.iter().map(|panel| panel.id).collect();
        assert_eq!(ids, [1, 2, 3, 4]);
        assert_eq!(panels.close(1), Some(port("node1", 80)));
        assert_eq!(panels.close(1), None);
        panels.open(port("node1", 80));
        assert_eq!(panels.find(&port("node1", 80)), Some(5));
        panels.forget("node1");
        let left: Vec<_> = panels.iter().map(|panel| panel.content.clone()).collect();
        assert_eq!(left, [Content::Lan, capture]);
    }
}
