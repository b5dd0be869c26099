//! `/sys/class/net`: the interfaces of whoever looks (`sysfs(5)`, sysfs-class-net).
//!
//! The links in `class/net` lead to directories below `devices/virtual/net`: no interface is on a bus here.
//! What a directory holds follows from the interface: a bridge has `bridge` and `brif`, its ports `brport`.

use std::rc::Rc;

use abi::{Errno, Result};
use net::link::{Counters, Link, LinkKind};
use net::{LinkId, Network, NsId};
use vfs::Capability;
use vfs::inode::{S_IFDIR, S_IFLNK, S_IFREG};

use crate::kernel::Kernel;
use crate::namespaces::NetNs;
use crate::pseudo::{Content, parse_number};

/// Where the links are, and where they lead.
pub const CLASS: &str = "class/net";
pub const DEVICES: &str = "devices/virtual/net";

/// An interface, and the network it is in.
struct View<'a> {
    network: &'a Network,
    id: LinkId,
    link: &'a Link,
}

type Text = fn(&View<'_>) -> Result<String>;
type Write = fn(&mut Network, LinkId, i64) -> Result<()>;

/// What an attribute says, and what writing a number to it does.
#[derive(Clone, Copy)]
struct Attribute {
    name: &'static str,
    text: Text,
    write: Option<Write>,
}

const fn shown(name: &'static str, text: Text) -> Attribute {
    Attribute {
        name,
        text,
        write: None,
    }
}

const fn written(name: &'static str, text: Text, write: Write) -> Attribute {
    Attribute {
        name,
        text,
        write: Some(write),
    }
}

/// An entry of a directory.
enum Found {
    Dir,
    File(Attribute),
    /// A number that is counted.
    Counter(Count),
    Link(String),
}

fn number(value: impl std::fmt::Display) -> Result<String> {
    Ok(value.to_string())
}

const ATTRIBUTES: &[Attribute] = &[
    shown("addr_assign_type", |v| {
        number(match v.link.kind {
            LinkKind::Loopback | LinkKind::Ethernet { .. } => 0,
            _ if v.link.mac_is_set => 3,
            _ => 1,
        })
    }),
    shown("addr_len", |_| number(6)),
    shown("address", |v| Ok(mac(v.link.mac.0))),
    shown("broadcast", |v| {
        Ok(mac([if v.link.is_loopback() { 0 } else { 0xff }; 6]))
    }),
    shown("carrier", |v| {
        v.up()?;
        number(u8::from(v.network.has_carrier(v.id)))
    }),
    shown("dev_id", |_| number("0x0")),
    shown("dev_port", |_| number(0)),
    shown("dormant", |_| number(0)),
    shown("duplex", |v| {
        v.up()?;
        match v.link.kind {
            LinkKind::Veth { .. } | LinkKind::Macvlan { .. } | LinkKind::Ipvlan { .. } => {
                number("full")
            }
            LinkKind::Bridge(_) | LinkKind::Ethernet { .. } => number("unknown"),
            LinkKind::Loopback | LinkKind::Dummy => Err(Errno::EINVAL),
        }
    }),
    shown("flags", |v| number(format_args!("{:#x}", v.flags()))),
    shown("ifalias", |v| Ok(v.link.alias.clone().unwrap_or_default())),
    shown("ifindex", |v| number(v.link.index)),
    shown("iflink", |v| {
        let peer = match v.link.kind {
            LinkKind::Veth { peer } => peer.and_then(|peer| v.network.link(peer).ok()),
            _ => v.link.lower().and_then(|lower| v.network.link(lower).ok()),
        };
        number(peer.map_or(v.link.index, |peer| peer.index))
    }),
    shown("link_mode", |_| number(0)),
    written(
        "mtu",
        |v| number(v.link.mtu),
        |network, id, value| {
            let mtu = u32::try_from(value).map_err(|_| Errno::EINVAL)?;
            network.set_mtu(id, mtu)
        },
    ),
    shown("name_assign_type", |v| {
        number(match v.link.kind {
            LinkKind::Loopback => 2,
            LinkKind::Ethernet { .. } => 1,
            _ => 3,
        })
    }),
    shown("netdev_group", |_| number(0)),
    shown("operstate", |v| number(v.state())),
    shown("proto_down", |_| number(0)),
    shown("speed", |v| {
        v.up()?;
        let is_fast = |id: &LinkId| {
            let link = v.network.link(*id);
            link.is_ok_and(|link| link.up && matches!(link.kind, LinkKind::Veth { .. }))
        };
        match v.link.kind {
            LinkKind::Veth { .. } | LinkKind::Macvlan { .. } | LinkKind::Ipvlan { .. } => {
                number(10_000)
            }
            LinkKind::Bridge(_) if v.network.ports_of(v.id).iter().any(is_fast) => number(10_000),
            LinkKind::Bridge(_) | LinkKind::Ethernet { .. } => number(-1),
            LinkKind::Loopback | LinkKind::Dummy => Err(Errno::EINVAL),
        }
    }),
    shown("testing", |_| number(0)),
    written(
        "tx_queue_len",
        |v| number(v.link.queue_len),
        |network, id, value| {
            let len = u32::try_from(value).map_err(|_| Errno::EINVAL)?;
            network.change_link(id, |link| link.queue_len = len)
        },
    ),
    shown("type", |v| {
        number(if v.link.is_loopback() { 772 } else { 1 })
    }),
    shown("uevent", |v| {
        let kind = match v.link.kind {
            LinkKind::Bridge(_) => "DEVTYPE=bridge\n",
            _ => "",
        };
        let (name, index) = (&v.link.name, v.link.index);
        number(format_args!("{kind}INTERFACE={name}\nIFINDEX={index}"))
    }),
];

type Count = fn(&Counters) -> u64;

const STATISTICS: &[(&str, Count)] = &[
    ("collisions", |_| 0),
    ("multicast", |c| c.rx_multicast),
    ("rx_bytes", |c| c.rx_bytes),
    ("rx_compressed", |_| 0),
    ("rx_crc_errors", |_| 0),
    ("rx_dropped", |c| c.rx_dropped),
    ("rx_errors", |c| c.rx_errors),
    ("rx_fifo_errors", |_| 0),
    ("rx_frame_errors", |_| 0),
    ("rx_length_errors", |_| 0),
    ("rx_missed_errors", |_| 0),
    ("rx_nohandler", |_| 0),
    ("rx_over_errors", |_| 0),
    ("rx_packets", |c| c.rx_packets),
    ("tx_aborted_errors", |_| 0),
    ("tx_bytes", |c| c.tx_bytes),
    ("tx_carrier_errors", |_| 0),
    ("tx_compressed", |_| 0),
    ("tx_dropped", |c| c.tx_dropped),
    ("tx_errors", |_| 0),
    ("tx_fifo_errors", |_| 0),
    ("tx_heartbeat_errors", |_| 0),
    ("tx_packets", |c| c.tx_packets),
    ("tx_window_errors", |_| 0),
];

/// Of a bridge. Times are in hundredths of a second; there is no spanning tree.
const BRIDGE: &[Attribute] = &[
    written(
        "ageing_time",
        |v| {
            let bridge = v.link.bridge().ok_or(Errno::ENODEV)?;
            number(bridge.ageing_ns / HUNDREDTH_NS)
        },
        |network, id, value| {
            let hundredths = u64::try_from(value).map_err(|_| Errno::EINVAL)?;
            network.change_link(id, |link| {
                if let LinkKind::Bridge(bridge) = &mut link.kind {
                    bridge.ageing_ns = hundredths.saturating_mul(HUNDREDTH_NS);
                }
            })
        },
    ),
    shown("bridge_id", |v| number(bridge_id(v.link))),
    shown("priority", |_| number(32_768)),
    shown("root_id", |v| number(bridge_id(v.link))),
    shown("root_path_cost", |_| number(0)),
    shown("root_port", |_| number(0)),
    shown("stp_state", |_| number(0)),
];
const HUNDREDTH_NS: u64 = 10_000_000;

/// Of a port of a bridge.
const PORT: &[Attribute] = &[
    shown("designated_bridge", |v| v.master().map(bridge_id)),
    shown("designated_cost", |_| number(0)),
    written(
        "hairpin_mode",
        |v| number(u8::from(v.link.hairpin)),
        |network, id, value| network.change_link(id, |link| link.hairpin = value != 0),
    ),
    shown("path_cost", |_| number(2)),
    shown("port_no", |v| number(format_args!("{:#x}", v.port_no()?))),
    // Disabled, or forwarding.
    shown("state", |v| {
        let forwards = v.link.up && v.network.has_carrier(v.id) && v.master()?.up;
        number(if forwards { 3 } else { 0 })
    }),
];

fn mac(raw: [u8; 6]) -> String {
    raw.map(|byte| format!("{byte:02x}")).join(":")
}

fn bridge_id(bridge: &Link) -> String {
    let raw = bridge.mac.0.map(|byte| format!("{byte:02x}"));
    format!("8000.{}", raw.concat())
}

impl View<'_> {
    /// Some attributes cannot be read while the interface is down.
    fn up(&self) -> Result<()> {
        if self.link.up {
            Ok(())
        } else {
            Err(Errno::EINVAL)
        }
    }

    fn master(&self) -> Result<&Link> {
        self.network.link(self.link.master.ok_or(Errno::ENODEV)?)
    }

    fn port_no(&self) -> Result<usize> {
        let ports = self
            .network
            .ports_of(self.link.master.ok_or(Errno::ENODEV)?);
        let at = ports.iter().position(|port| *port == self.id);
        Ok(at.ok_or(Errno::ENODEV)? + 1)
    }

    /// `IFF_…` as they were set; whether something is at the other end has a file of its own. A bridge
    /// listens to everything on its ports.
    fn flags(&self) -> u32 {
        const ALLMULTI: u32 = 0x200;
        let port = match self.link.master {
            Some(_) => net::flags::PROMISC | ALLMULTI,
            None => 0,
        };
        self.link.flags(false) | port
    }

    fn state(&self) -> &'static str {
        match (&self.link.kind, self.link.up) {
            (_, false) => "down",
            (LinkKind::Loopback | LinkKind::Dummy, true) => "unknown",
            _ if self.network.has_carrier(self.id) => "up",
            (LinkKind::Veth { .. } | LinkKind::Macvlan { .. } | LinkKind::Ipvlan { .. }, true) => {
                "lowerlayerdown"
            }
            _ => "down",
        }
    }

    /// What a directory below the interface's own holds.
    fn entries(&self, dir: &str) -> Result<Vec<(String, Found)>> {
        let files = |table: &[Attribute]| -> Vec<(String, Found)> {
            let file = |one: &Attribute| (one.name.to_string(), Found::File(*one));
            table.iter().map(file).collect()
        };
        let (is_bridge, is_port) = (self.link.bridge().is_some(), self.link.master.is_some());
        let mut found = match dir {
            "" => files(ATTRIBUTES),
            "statistics" => STATISTICS
                .iter()
                .map(|(name, count)| (name.to_string(), Found::Counter(*count)))
                .collect(),
            "bridge" if is_bridge => files(BRIDGE),
            "brport" if is_port => files(PORT),
            "brif" if is_bridge => Vec::new(),
            _ => return Err(Errno::ENOENT),
        };
        let mut link = |name: String, target: String| found.push((name, Found::Link(target)));
        let ports = self.network.ports_of(self.id);
        let ports = ports
            .iter()
            .filter_map(|port| self.network.link(*port).ok());
        match dir {
            "" => {
                link("subsystem".into(), "../../../../class/net".into());
                for port in ports {
                    link(format!("lower_{}", port.name), format!("../{}", port.name));
                }
                if let Ok(master) = self.master() {
                    link("master".into(), format!("../{}", master.name));
                    link(
                        format!("upper_{}", master.name),
                        format!("../{}", master.name),
                    );
                }
                let bridge = ["bridge", "brif"].into_iter().filter(|_| is_bridge);
                let port = ["brport"].into_iter().filter(|_| is_port);
                let dirs = bridge.chain(port).chain(["statistics"]);
                found.extend(dirs.map(|name| (name.to_string(), Found::Dir)));
            }
            "brif" => {
                for port in ports {
                    link(port.name.clone(), format!("../../{}/brport", port.name));
                }
            }
            "brport" => link("bridge".into(), format!("../../{}", self.master()?.name)),
            _ => {}
        }
        order::sort_by(&mut found, |one, other| one.0.cmp(&other.0));
        Ok(found)
    }
}

/// Looks at an interface of a namespace.
fn look<R>(ns: &NetNs, name: &str, f: impl FnOnce(&View<'_>) -> Result<R>) -> Result<R> {
    ns.stack.read(|network| {
        let id = network.find_link(ns.id, name).map_err(|_| Errno::ENOENT)?;
        let link = network.link(id)?;
        f(&View { network, id, link })
    })
}

/// What a path below [`CLASS`] or [`DEVICES`] is.
pub enum Node {
    /// A directory.
    Dir,
    /// A symbolic link.
    Link(String),
    /// A file of text.
    File(u32, File),
}

/// Names and types of what is in a directory below [`CLASS`] or [`DEVICES`]; `None` for other directories.
pub fn entries(ns: &NetNs, dir: &str) -> Option<Result<Vec<(String, u32)>>> {
    let all = |file_type| {
        let names = |network: &Network, id: NsId| -> Vec<(String, u32)> {
            let link = |(_, link): (LinkId, &Link)| (link.name.clone(), file_type);
            network.links_of(id).map(link).collect()
        };
        ns.stack.read(|network| names(network, ns.id))
    };
    if dir == CLASS {
        return Some(Ok(all(S_IFLNK)));
    }
    let rest = dir.strip_prefix(DEVICES)?;
    if rest.is_empty() {
        return Some(Ok(all(S_IFDIR)));
    }
    let (name, below) = split(rest.strip_prefix('/')?);
    let file_type = |found: &Found| match found {
        Found::Dir => S_IFDIR,
        Found::File(_) | Found::Counter(_) => S_IFREG,
        Found::Link(_) => S_IFLNK,
    };
    let listed = look(ns, name, |view| view.entries(below));
    Some(listed.map(|found| {
        let entry = |(name, found): (String, Found)| (name, file_type(&found));
        found.into_iter().map(entry).collect()
    }))
}

/// Looks a path up; `None` when it is not one of these.
pub fn node(ns: &NetNs, path: &str) -> Option<Result<Node>> {
    if let Some(name) = path
        .strip_prefix(CLASS)
        .and_then(|rest| rest.strip_prefix('/'))
    {
        return Some(look(ns, name, |_| {
            Ok(Node::Link(format!("../../{DEVICES}/{name}")))
        }));
    }
    let rest = path.strip_prefix(DEVICES)?.strip_prefix('/')?;
    let (interface, below) = split(rest);
    if below.is_empty() {
        return Some(look(ns, interface, |_| Ok(Node::Dir)));
    }
    let (dir, name) = below.rsplit_once('/').unwrap_or(("", below));
    Some(look(ns, interface, |view| {
        let mut entries = view.entries(dir)?.into_iter();
        let (_, found) = entries.find(|one| one.0 == name).ok_or(Errno::ENOENT)?;
        let file = |perm, what| {
            let interface = interface.to_string();
            Node::File(perm, File { interface, what })
        };
        Ok(match found {
            Found::Dir => Node::Dir,
            Found::Link(target) => Node::Link(target),
            Found::File(one) => {
                let perm = if one.write.is_some() { 0o644 } else { 0o444 };
                file(perm, What::Attribute(one))
            }
            Found::Counter(count) => file(0o444, What::Counter(count)),
        })
    }))
}

fn split(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

enum What {
    Attribute(Attribute),
    Counter(Count),
}

/// A file of an interface; the interface is looked up by name whenever it is read.
pub struct File {
    interface: String,
    what: What,
}

/// A [`File`] with the machine whose interfaces it shows.
pub struct Shown {
    /// The machine.
    pub kernel: std::rc::Weak<Kernel>,
    /// The file.
    pub file: File,
}

/// The network namespace of whoever looks.
pub fn namespace(kernel: &Rc<Kernel>) -> Rc<NetNs> {
    let ns = kernel
        .current()
        .map_or_else(|| Rc::clone(&kernel.init_ns), |task| task.ns());
    Rc::clone(&ns.net)
}

impl Content for Shown {
    fn read(&self) -> Result<Vec<u8>> {
        let kernel = self.kernel.upgrade().ok_or(Errno::ENODEV)?;
        let text = look(
            &namespace(&kernel),
            &self.file.interface,
            |view| match &self.file.what {
                What::Attribute(one) => (one.text)(view),
                What::Counter(count) => number(count(&view.link.counters)),
            },
        )?;
        Ok((text + "\n").into_bytes())
    }

    fn write(&self, text: &[u8]) -> Result<()> {
        let kernel = self.kernel.upgrade().ok_or(Errno::ENODEV)?;
        let What::Attribute(Attribute {
            write: Some(write), ..
        }) = self.file.what
        else {
            return Err(Errno::EINVAL);
        };
        let ns = namespace(&kernel);
        let allowed = kernel
            .current()
            .is_none_or(|task| kernel.capable_in(&task, &ns.owner, Capability::NetAdmin));
        if !allowed {
            return Err(Errno::EPERM);
        }
        let value = parse_number(text)?;
        ns.with(|network| {
            let id = network.find_link(ns.id, &self.file.interface)?;
            write(network, id, value)
        })
    }
}
