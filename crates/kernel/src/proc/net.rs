//! `/proc/PID/net`: the network of the task's namespace.
//!
//! Tables of sockets come from the socket families; what is not here (routes beyond loopback, SNMP
//! counters of protocols that do not exist) is empty with its heading.

use std::collections::BTreeMap;
use std::rc::Rc;

use abi::{Errno, Result};
use vfs::file::OpenFile;
use vfs::inode::{InodeRef, S_IFREG};

use super::task::{TaskRef, View, ino};
use crate::namespaces::NetNs;
use crate::pseudo::{Dir, Entry};
use crate::socket::{SocketFile, consts as c};
use crate::task::Task;

type Text = fn(&View, &Rc<NetNs>) -> String;

const FILES: &[(&str, Text)] = &[
    ("arp", |_, _| {
        "IP address       HW type     Flags       HW address            Mask     Device\n".into()
    }),
    ("dev", dev),
    ("dev_mcast", |_, _| String::new()),
    ("fib_trie", |_, _| String::new()),
    ("icmp", |_, _| INET_HEADING.into()),
    ("if_inet6", if_inet6),
    ("igmp", |_, _| {
        "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n".into()
    }),
    ("ipv6_route", |_, _| String::new()),
    ("netlink", |_, _| {
        "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"
            .into()
    }),
    ("netstat", |_, _| {
        "TcpExt: SyncookiesSent\nTcpExt: 0\nIpExt: InOctets OutOctets\nIpExt: 0 0\n".into()
    }),
    ("packet", |_, _| {
        "sk       RefCnt Type Proto  Iface R Rmem   User   Inode\n".into()
    }),
    ("protocols", |_, _| {
        "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs se re sp bi br ha uh gp em\n"
            .into()
    }),
    ("raw", |_, _| INET_HEADING.into()),
    ("raw6", |_, _| INET6_HEADING.into()),
    ("route", |_, _| {
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT                                                       \n".into()
    }),
    ("rt_cache", |_, _| String::new()),
    ("snmp", |_, _| SNMP.into()),
    ("sockstat", sockstat),
    ("tcp", |view, ns| {
        sockets(view, ns, TCP_HEADING, c::AF_INET, c::SOCK_STREAM)
    }),
    ("tcp6", |view, ns| {
        sockets(view, ns, INET6_HEADING, c::AF_INET6, c::SOCK_STREAM)
    }),
    ("udp", |view, ns| {
        sockets(view, ns, INET_HEADING, c::AF_INET, c::SOCK_DGRAM)
    }),
    ("udp6", |view, ns| {
        sockets(view, ns, INET6_HEADING, c::AF_INET6, c::SOCK_DGRAM)
    }),
    ("unix", unix),
];

const TCP_HEADING: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode                                                     \n";
const INET_HEADING: &str = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops             \n";
const INET6_HEADING: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const SNMP: &str = "\
Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs FragFails FragCreates
Ip: 2 64 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors
Tcp: 1 200 120000 -1 0 0 0 0 0 0 0 0 0 0 0
Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
Udp: 0 0 0 0 0 0 0 0 0
";

/// The sockets of a namespace that some process has open, by inode number.
fn open_sockets(view: &View, ns: &Rc<NetNs>) -> BTreeMap<u64, Rc<OpenFile>> {
    let tasks: Vec<Rc<Task>> = view.kernel.tasks.borrow().values().cloned().collect();
    let mut found = BTreeMap::new();
    for task in tasks.iter().filter(|task| !task.is_dead()) {
        for (_, entry) in task.files().list() {
            if let Some(socket) = as_socket(&entry.file)
                && Rc::ptr_eq(&socket.net, ns)
            {
                found.insert(socket.ino, Rc::clone(&entry.file));
            }
        }
    }
    found
}

fn as_socket(file: &OpenFile) -> Option<&SocketFile> {
    file.file.as_any().downcast_ref()
}

/// A table of internet sockets: the family describes each line behind its number.
fn sockets(view: &View, ns: &Rc<NetNs>, heading: &str, family: u16, kind: u32) -> String {
    let mut text = heading.to_string();
    let open = open_sockets(view, ns);
    let lines = open
        .values()
        .filter_map(|file| as_socket(file))
        .filter(|socket| socket.family == family && socket.kind == kind);
    for (number, line) in lines
        .filter_map(|socket| socket.socket.describe())
        .enumerate()
    {
        text.push_str(&format!("{number:>4}: {}\n", line.trim_end()));
    }
    text
}

fn unix(view: &View, ns: &Rc<NetNs>) -> String {
    let mut text = "Num       RefCount Protocol Flags    Type St Inode Path\n".to_string();
    let open = open_sockets(view, ns);
    for socket in open
        .values()
        .filter_map(|file| as_socket(file))
        .filter(|socket| socket.family == c::AF_UNIX)
    {
        // Flags, type, state and name; the number of the inode goes in front of the name.
        let described = socket.socket.describe().unwrap_or_default();
        let mut words = described.splitn(4, ' ');
        let mut word = || words.next().unwrap_or("");
        let (flags, kind, state, name) = (word(), word(), word(), word());
        let line = format!(
            "{:016x}: 00000002 00000000 {flags} {kind} {state} {:>5} {name}",
            socket.ino, socket.ino
        );
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn sockstat(view: &View, ns: &Rc<NetNs>) -> String {
    let open = open_sockets(view, ns);
    let count = |kind: u32| {
        let sockets = open.values().filter_map(|file| as_socket(file));
        sockets
            .filter(|socket| socket.family == c::AF_INET && socket.kind == kind)
            .count()
    };
    let (tcp, udp) = (count(c::SOCK_STREAM), count(c::SOCK_DGRAM));
    format!(
        "sockets: used {}\nTCP: inuse {tcp} orphan 0 tw 0 alloc {tcp} mem 0\nUDP: inuse {udp} mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n",
        open.len()
    )
}

fn dev(_: &View, ns: &Rc<NetNs>) -> String {
    let (bytes, packets) = (ns.loopback_bytes.get(), ns.loopback_packets.get());
    format!(
        "Inter-|   Receive                                                |  Transmit\n \
         face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n\
         {:>6}: {bytes:>7} {packets:>7}    0    0    0     0          0         0 {bytes:>8} {packets:>7}    0    0    0     0       0          0\n",
        "lo"
    )
}

fn if_inet6(_: &View, ns: &Rc<NetNs>) -> String {
    if ns.loopback_up.get() {
        "00000000000000000000000000000001 01 80 10 80       lo\n".into()
    } else {
        String::new()
    }
}

/// `/proc/PID/net`.
pub(super) fn net_dir(task: &TaskRef, number: u64) -> InodeRef {
    task.sub_dir(number, 0o555, NetDir(task.clone()))
}

struct NetDir(TaskRef);

impl Dir for NetDir {
    fn lookup(&self, name: &[u8]) -> Result<InodeRef> {
        let known = FILES.iter().find(|(known, _)| known.as_bytes() == name);
        let &(name, text) = known.ok_or(Errno::ENOENT)?;
        let tid = self.0.view()?.task.tid();
        Ok(self.0.text_file(ino(tid, name) | 2, 0o444, move |view| {
            let net = Rc::clone(&view.task.ns().net);
            Ok(text(view, &net).into_bytes())
        }))
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let tid = self.0.view()?.task.tid();
        let entry = |(name, _): &(&str, Text)| Entry {
            name: name.as_bytes().to_vec(),
            ino: ino(tid, name) | 2,
            file_type: S_IFREG,
        };
        Ok(FILES.iter().map(entry).collect())
    }
}
