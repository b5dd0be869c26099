//! Networks of the drivers `macvlan` and `ipvlan`: containers are on one of the host's own links, its parent,
//! beside the host. A network without a parent gets a dummy link, so its containers reach only each other.

use engine_api::error::{ApiError, Result};
use engine_api::types::Network;
use os::network::{IpvlanMode, LinkChange, MacvlanMode, NewLink};
use os::{Errno, View};

use crate::Engine;

/// How containers of a network hang on its parent.
pub(crate) struct Lan {
    driver: &'static str,
    /// The link's name; `None`: a dummy link of its own.
    parent: Option<String>,
    mode: Mode,
}

#[derive(Clone, Copy)]
enum Mode {
    Macvlan(MacvlanMode),
    Ipvlan(IpvlanMode),
}

/// What a network's own dummy link is called.
fn dummy_name(driver: &str, id: &str) -> String {
    let prefix = if driver == "macvlan" { "dm" } else { "di" };
    format!("{prefix}-{}", &id[..12])
}

fn failed(errno: Errno) -> ApiError {
    ApiError::system(errno.go_description().to_string())
}

impl Lan {
    /// What the options say; `None`: it is of another driver.
    pub(crate) fn of(network: &Network) -> Result<Option<Lan>> {
        let option = |name: &str| network.options.get(name).map_or("", String::as_str);
        let invalid = |value: &str, default: &str, driver: &str| {
            ApiError::invalid(format!(
                "requested {driver} mode '{value}' is not valid, '{default}' mode is the {driver} driver default"
            ))
        };
        let (driver, mode) = match network.driver.as_str() {
            "macvlan" => {
                let mode = option("macvlan_mode");
                let parsed = match mode {
                    "" | "bridge" => MacvlanMode::Bridge,
                    "private" => MacvlanMode::Private,
                    "vepa" => MacvlanMode::Vepa,
                    "passthru" => MacvlanMode::Passthru,
                    _ => return Err(invalid(mode, "bridge", "macvlan")),
                };
                ("macvlan", Mode::Macvlan(parsed))
            }
            "ipvlan" => {
                let (mode, flag) = (option("ipvlan_mode"), option("ipvlan_flag"));
                let parsed = match mode {
                    "" | "l2" => IpvlanMode::L2,
                    "l3" => IpvlanMode::L3,
                    "l3s" => IpvlanMode::L3s,
                    _ => return Err(invalid(mode, "l2", "ipvlan")),
                };
                if !["", "bridge", "private", "vepa"].contains(&flag) {
                    return Err(ApiError::invalid(format!(
                        "requested ipvlan flag '{flag}' is not valid, 'bridge' is the ipvlan driver default"
                    )));
                }
                ("ipvlan", Mode::Ipvlan(parsed))
            }
            _ => return Ok(None),
        };
        let parent = option("parent");
        if parent == "lo" {
            return Err(ApiError::invalid(format!(
                "loopback interface is not a valid {driver} parent link"
            )));
        }
        Ok(Some(Lan {
            driver,
            parent: (!parent.is_empty()).then(|| parent.to_string()),
            mode,
        }))
    }

    /// The link that containers hang on.
    pub(crate) fn parent(&self, network: &Network) -> String {
        let own = || dummy_name(self.driver, &network.id);
        self.parent.clone().unwrap_or_else(own)
    }

    /// What leads nowhere has no gateway.
    pub(crate) fn leads_out(&self) -> bool {
        self.parent.is_some()
    }

    /// The containers route by themselves, without asking who has an address.
    pub(crate) fn is_routed(&self) -> bool {
        matches!(self.mode, Mode::Ipvlan(IpvlanMode::L3 | IpvlanMode::L3s))
    }

    /// Whether each container has a hardware address of its own.
    pub(crate) fn has_mac(&self) -> bool {
        matches!(self.mode, Mode::Macvlan(_))
    }

    /// A container's link.
    pub(crate) fn link(&self, network: &Network) -> NewLink {
        let parent = self.parent(network);
        match self.mode {
            Mode::Macvlan(mode) => NewLink::Macvlan { parent, mode },
            Mode::Ipvlan(mode) => NewLink::Ipvlan { parent, mode },
        }
    }
}

impl Engine {
    /// Finds or makes the parent of a new network.
    pub(crate) fn make_parent(&self, network: &Network, lan: &Lan) -> Result<()> {
        let parent = lan.parent(network);
        let networks = self.networks.borrow();
        let of_driver = networks
            .values()
            .filter(|other| other.driver == network.driver);
        for other in of_driver.filter(|other| other.id != network.id) {
            if let Ok(Some(known)) = Lan::of(other)
                && known.parent(other) == parent
            {
                return Err(ApiError::system(format!(
                    "network {} is already using parent interface {parent}",
                    dummy_name(lan.driver, &other.id)
                )));
            }
        }
        let links = self.os.links(View::Host).unwrap_or_default();
        let exists = |name: &str| links.iter().any(|link| link.name == name);
        if exists(&parent) {
            return Ok(());
        }
        if lan.parent.is_some() {
            return Err(ApiError::system(no_vlan(&parent, exists)));
        }
        self.os
            .link_add(View::Host, &parent, &NewLink::Dummy)
            .and_then(|()| self.os.link_set(View::Host, &parent, &LinkChange::Up(true)))
            .map_err(failed)
    }

    /// Takes away what [`Engine::make_parent`] made.
    pub(crate) fn remove_parent(&self, network: &Network) {
        if let Ok(Some(lan)) = Lan::of(network)
            && lan.parent.is_none()
        {
            // Whoever took it away before did what is wanted.
            let _ = self.os.link_delete(View::Host, &lan.parent(network));
        }
    }
}

/// Why there is no such link: it is no name of a VLAN, or the kernel has no VLANs.
fn no_vlan(name: &str, exists: impl Fn(&str) -> bool) -> String {
    let Some((parent, id)) = name.split_once('.') else {
        return format!("invalid subinterface vlan name {name}, example formatting is eth0.10");
    };
    if id.contains('.') {
        return format!(
            "required interface name format is: name.vlan_id, ex. eth0.10 for vlan 10, instead received {name}"
        );
    }
    match id.parse::<i64>() {
        Err(_) => format!("unable to parse a valid vlan id from: {id} (ex. eth0.10 for vlan 10)"),
        Ok(_) if !exists(parent) => {
            format!("-o parent interface was not found on the host: {parent}")
        }
        Ok(id) if !(1..=4094).contains(&id) => {
            format!("vlan id must be between 1-4094, received: {id}")
        }
        Ok(_) => format!("failed to create {name} vlan link: operation not supported"),
    }
}
