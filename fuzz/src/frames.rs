//! Frames from a hostile neighbour: a host with a bridge, a container, rules and sockets of every kind takes
//! them, and must go on answering.

use clock::Instant;
use net::link::Scope;
use net::netfilter::TableName;
use net::packet::{ETHERNET_BYTES, Frame, Ip, IpSpec, build, fill_checksum, fill_header_checksum};
use net::socket::Kind;
use net::{Endpoint, LinkId, Mac, Network, NsId, SocketId, address};

const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const PEER: Mac = Mac([2, 0, 0, 0, 0, 2]);

struct World {
    network: Network,
    eth0: LinkId,
    host: NsId,
    stream: SocketId,
}

fn world() -> World {
    let mut network = Network::new(1);
    network.at(Instant(1));
    let (host, inner) = (network.add_namespace(), network.add_namespace());
    let lo = network.find_link(host, "lo").expect("lo");
    let eth0 = network.add_ethernet(host, "eth0", OWN).expect("eth0");
    let bridge = network.add_bridge(host, "docker0", None).expect("bridge");
    let macs = (None, Some(Mac([2, 0, 0, 0, 0, 9])));
    let peer = (inner, Some("eth0"));
    let (port, end) = network.add_veth(host, "veth0", peer, macs).expect("a pair");
    network.set_master(port, Some(bridge)).expect("master");
    for (link, cidr) in [
        (eth0, "10.0.0.1/24"),
        (eth0, "fd00::1/64"),
        (bridge, "172.17.0.1/16"),
        (end, "172.17.0.2/16"),
    ] {
        let new = address(cidr.parse().expect("an address"), Scope::Global);
        network.add_address(link, new).expect("add_address");
    }
    for link in [lo, eth0, bridge, port, end] {
        network.set_up(link, true).expect("set_up");
    }
    let space = network.space_mut(host).expect("the host");
    (space.settings.forward_v4, space.settings.forward_v6) = (true, true);
    for (table, line) in [
        (
            TableName::Nat,
            "-A PREROUTING -p tcp --dport 80 -j DNAT --to-destination 172.17.0.2:80",
        ),
        (TableName::Nat, "-A POSTROUTING -j MASQUERADE"),
        (
            TableName::Filter,
            "-A INPUT -m conntrack --ctstate INVALID -j DROP",
        ),
        (
            TableName::Filter,
            "-A INPUT -p tcp --dport 81 -j REJECT --reject-with tcp-reset",
        ),
    ] {
        space.tables_v4.command(table, line).expect("a rule");
    }
    for (kind, port) in [
        (Kind::Tcp, 22),
        (Kind::Udp, 53),
        (Kind::Raw(1), 0),
        (Kind::Ping, 7),
    ] {
        let socket = network.socket(host, kind, false).expect("a socket");
        let any = Endpoint::new([0, 0, 0, 0], port);
        network.bind(socket, any, None).expect("bind");
        if kind == Kind::Tcp {
            network.listen(socket, 2).expect("listen");
        }
    }
    let stream = network.socket(host, Kind::Tcp, false).expect("a socket");
    let to = Endpoint::new([10, 0, 0, 2], 80);
    let _ = network.connect_stream(stream, to, None, true);
    World {
        network,
        eth0,
        host,
        stream,
    }
}

/// Gives the bytes to the host as they are, and again with checksums that are right, so that what is behind
/// them is reached too.
pub fn run(bytes: &[u8]) {
    let mut world = world();
    // The first byte says how the rest is cut into frames.
    let step = usize::from(bytes.first().copied().unwrap_or(0)).max(20) * 4;
    for (number, chunk) in bytes.chunks(step).take(64).enumerate() {
        world.network.at(Instant(number as u64 * 1000));
        world.network.deliver(world.eth0, chunk.to_vec());
        let mut frame = Frame::new(chunk.to_vec());
        if frame.bytes.len() > ETHERNET_BYTES {
            frame.bytes[..6].copy_from_slice(&OWN.0);
            fill_header_checksum(frame.packet_mut());
            if let Some(ip) = Ip::parse(frame.packet()) {
                fill_checksum(frame.packet_mut(), &ip);
            }
            world.network.deliver(world.eth0, frame.bytes);
        }
    }
    world.network.poll(Instant(200_000_000_000));
    let _ = world
        .network
        .receive_stream(world.stream, &mut [0; 100], false);
    drop(world.network.take_frames());
    // It still lives: loopback answers.
    let ping = world
        .network
        .socket(world.host, Kind::Ping, false)
        .expect("a socket");
    let to = Endpoint::new([127, 0, 0, 1], 0);
    let echo = [8, 0, 0, 0, 0, 0, 0, 1];
    world
        .network
        .send_datagram(ping, &echo, Some((to, None)))
        .expect("an echo");
    let answer = world.network.receive_datagram(ping, false);
    assert!(matches!(answer, Ok(Some(_))), "loopback is silent");
}

fn packet(proto: u8, dst: [u8; 4], message: &[u8]) -> Vec<u8> {
    let spec = IpSpec {
        src: [10, 0, 0, 2].into(),
        dst: dst.into(),
        proto,
        ttl: 64,
        tos: 0,
        dont_fragment: false,
        id: 1,
    };
    let mut frame = build(&spec, &[message]);
    frame.complete();
    frame.set_ethernet(OWN, PEER, 0x0800);
    frame.bytes
}

/// A SYN, datagrams, echoes, errors, fragments, ARP and discovery of neighbours.
pub fn seeds() -> Vec<Vec<u8>> {
    let host = [10, 0, 0, 1];
    let syn = |port: u8, flags: u8| {
        let mut segment = vec![0x9c, 0x40, 0, port, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, flags];
        segment.extend_from_slice(&[0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4]);
        segment
    };
    let quoted = packet(6, [10, 0, 0, 2], &syn(80, 2));
    let error = [&[3, 4, 0, 0, 0, 0, 2, 0][..], &quoted[ETHERNET_BYTES..]].concat();
    let mut fragment = packet(17, host, &[0x55; 64]);
    fragment[ETHERNET_BYTES + 6] = 0x20;
    let mut discovery = vec![0; ETHERNET_BYTES + 40];
    discovery[..ETHERNET_BYTES].copy_from_slice(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd]);
    discovery[14] = 0x60;
    discovery[19] = 32;
    (discovery[20], discovery[21]) = (58, 255);
    (discovery[22], discovery[37]) = (0xfd, 2);
    (discovery[38], discovery[53]) = (0xfd, 1);
    discovery.extend_from_slice(&[135, 0, 0, 0, 0, 0, 0, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0]);
    discovery.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 0, 0, 0, 0, 2]);
    let arp = [
        &[0xff; 6][..],
        &[
            2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2,
        ],
        &[0, 0, 0, 0, 0, 0, 10, 0, 0, 1],
    ]
    .concat();
    vec![
        packet(6, host, &syn(22, 2)),
        packet(6, host, &syn(80, 2)),
        packet(6, host, &syn(81, 2)),
        packet(6, host, &syn(23, 16)),
        packet(17, host, &[0x9c, 0x40, 0, 53, 0, 12, 0, 0, 1, 2, 3, 4]),
        packet(17, host, &[0x9c, 0x40, 0, 54, 0, 12, 0, 0, 1, 2, 3, 4]),
        packet(1, host, &[8, 0, 0, 0, 0, 1, 0, 1, 9, 9]),
        packet(1, host, &error),
        packet(1, [172, 17, 0, 2], &[8, 0, 0, 0, 0, 1, 0, 1]),
        packet(6, [172, 17, 0, 9], &syn(80, 2)),
        fragment,
        discovery,
        arp,
    ]
}
