//! `/proc/PID/net`: the network of the task's namespace.
//!
//! Tables of sockets come from the socket families; what is not here (routes beyond loopback, SNMP
//! counters of protocols that do not exist) is empty with its heading.

use std::rc::Rc;

use abi::{Errno, Result};
use vfs::inode::{InodeRef, S_IFREG};

use super::task::{TaskRef, View, ino};
use crate::namespaces::NetNs;
use crate::pseudo::{Dir, Entry};
use crate::socket;

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
    ("sockstat", |view, ns| {
        socket::proc_sockstat(&view.kernel, ns)
    }),
    ("tcp", |view, ns| inet(view, ns, TCP_HEADING, "tcp")),
    ("tcp6", |view, ns| inet(view, ns, INET6_HEADING, "tcp6")),
    ("udp", |view, ns| inet(view, ns, INET_HEADING, "udp")),
    ("udp6", |view, ns| inet(view, ns, INET6_HEADING, "udp6")),
    ("unix", |view, ns| {
        "Num       RefCount Protocol Flags    Type St Inode Path\n".to_string()
            + &socket::proc_unix(&view.kernel, ns)
    }),
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

/// A table of internet sockets.
fn inet(view: &View, ns: &Rc<NetNs>, heading: &str, table: &str) -> String {
    heading.to_string() + &socket::proc_inet(&view.kernel, ns, table)
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
