//! Links, addresses, routes, packet filter, sockets and wires.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use super::isolation::of;
use super::{shell, spawn};
use crate::network::{LinkChange, NewLink, Route};
use crate::{Errno, NamespaceKind, Os, TaskId, View, ext};

const HOST: View = View::Host;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("address:port")
}

fn up(os: &Rc<dyn Os>, view: View, link: &str) {
    os.link_set(view, link, &LinkChange::Up(true)).expect(link);
}

/// A bridge on the host with its address.
fn bridge(os: &Rc<dyn Os>) {
    os.link_add(HOST, "br0", &NewLink::Bridge { mac: None })
        .unwrap();
    os.address_add(HOST, "br0", ip("172.30.0.1"), 16).unwrap();
    up(os, HOST, "br0");
}

/// A namespace with `eth0` on the bridge, and a default route.
fn container(os: &Rc<dyn Os>, number: u8) -> TaskId {
    let task = spawn(os, of(&[NamespaceKind::Net]));
    let view = View::Task(task);
    let pair = NewLink::Veth {
        mac: None,
        peer_view: view,
        peer: "eth0".to_string(),
        peer_mac: Some([2, 0x42, 172, 30, 0, number]),
    };
    let name = format!("veth{number}");
    os.link_add(HOST, &name, &pair).unwrap();
    let master = LinkChange::Master(Some("br0".to_string()));
    os.link_set(HOST, &name, &master).unwrap();
    up(os, HOST, &name);
    let own = ip(&format!("172.30.0.{number}"));
    os.address_add(view, "eth0", own, 16).unwrap();
    up(os, view, "lo");
    up(os, view, "eth0");
    let default = Route {
        destination: (ip("0.0.0.0"), 0),
        gateway: Some(ip("172.30.0.1")),
        link: None,
        metric: 0,
    };
    os.route_add(view, &default).unwrap();
    task
}

/// Connects, says something, and gives what the other side sees as the client's address.
async fn seen_by(
    os: &Rc<dyn Os>,
    server: (View, &str),
    client: (View, &str),
) -> crate::Result<IpAddr> {
    let listener = os.tcp_listen(server.0, at(server.1))?;
    let connection = os.tcp_connect(client.0, at(client.1))?;
    ext::write_all(&connection, b"hello").await?;
    let (accepted, peer) = poll_fn(|cx| listener.poll_accept(cx)).await?;
    assert_eq!(ext::read_some(&accepted, 100).await?, b"hello");
    ext::write_all(&accepted, b"yes").await?;
    assert_eq!(ext::read_some(&connection, 100).await?, b"yes");
    drop(accepted);
    assert_eq!(ext::read_some(&connection, 100).await?, b"");
    Ok(peer.ip())
}

pub(super) async fn links_are_made_changed_and_listed(os: Rc<dyn Os>) {
    bridge(&os);
    let twice = os.link_add(HOST, "br0", &NewLink::Bridge { mac: None });
    assert_eq!(twice, Err(Errno::EEXIST));
    let missing = os.link_set(HOST, "none", &LinkChange::Up(true));
    assert_eq!(missing, Err(Errno::ENODEV));
    let task = container(&os, 2);
    let view = View::Task(task);
    os.link_set(view, "eth0", &LinkChange::Mtu(1400)).unwrap();
    let inside = os.links(view).unwrap();
    let names: Vec<&str> = inside.iter().map(|link| link.name.as_str()).collect();
    assert_eq!(names, ["lo", "eth0"]);
    let eth0 = &inside[1];
    assert_eq!((eth0.mtu, eth0.up, eth0.carrier), (1400, true, true));
    assert_eq!(eth0.mac, [2, 0x42, 172, 30, 0, 2]);
    assert!(eth0.addresses.contains(&(ip("172.30.0.2"), 16)));
    let outside = os.links(HOST).unwrap();
    let port = outside.iter().find(|link| link.name == "veth2").unwrap();
    assert_eq!(port.master.as_deref(), Some("br0"));
    let routes = os.routes(view).unwrap();
    let default = routes
        .iter()
        .find(|route| route.destination == (ip("0.0.0.0"), 0))
        .unwrap();
    assert_eq!(default.gateway, Some(ip("172.30.0.1")));
    assert_eq!(default.link.as_deref(), Some("eth0"));
    os.route_delete(view, &default.clone()).unwrap();
    let gone = os.route_delete(view, &default.clone());
    assert_eq!(gone, Err(Errno::ESRCH));
    os.address_delete(view, "eth0", ip("172.30.0.2"), 16)
        .unwrap();
    let gone = os.address_delete(view, "eth0", ip("172.30.0.2"), 16);
    assert_eq!(gone, Err(Errno::EADDRNOTAVAIL));
    // Into the machine's own namespace, under another name.
    os.link_set(view, "eth0", &LinkChange::Up(false)).unwrap();
    let name = LinkChange::Name("moved".to_string());
    os.link_set(view, "eth0", &name).unwrap();
    os.link_set(view, "moved", &LinkChange::Namespace(HOST))
        .unwrap();
    assert_eq!(os.links(view).unwrap().len(), 1);
    os.link_delete(HOST, "moved").unwrap();
    let peer = os.link_delete(HOST, "veth2");
    assert_eq!(peer, Err(Errno::ENODEV));
}

pub(super) async fn programs_reach_each_other_over_a_bridge(os: Rc<dyn Os>) {
    bridge(&os);
    let (one, two) = (container(&os, 2), container(&os, 3));
    let peer = seen_by(
        &os,
        (View::Task(one), "0.0.0.0:80"),
        (View::Task(two), "172.30.0.2:80"),
    );
    assert_eq!(peer.await, Ok(ip("172.30.0.3")));
    let refused = os
        .tcp_connect(View::Task(two), at("172.30.0.2:81"))
        .unwrap();
    let outcome = ext::write_all(&refused, b"x").await;
    assert_eq!(outcome, Err(Errno::ECONNREFUSED));
    let far = os.tcp_connect(HOST, at("10.99.0.1:80")).err();
    assert_eq!(far, Some(Errno::ENETUNREACH));
    let (output, _) = shell(
        &os,
        two,
        "busybox ping -c 1 172.30.0.2 | busybox grep -c 'ttl=64'; busybox ip route",
    )
    .await;
    assert_eq!(
        output,
        "1\ndefault via 172.30.0.1 dev eth0 \n172.30.0.0/16 dev eth0 scope link  src 172.30.0.3 \n"
    );
    let socket = os.udp_bind(HOST, at("0.0.0.0:53")).unwrap();
    let asker = os.udp_bind(View::Task(one), at("0.0.0.0:0")).unwrap();
    asker.send(b"query", at("172.30.0.1:53")).unwrap();
    let mut buf = [0; 100];
    let (count, from) = poll_fn(|cx| socket.poll_receive(cx, &mut buf))
        .await
        .unwrap();
    assert_eq!(
        (&buf[..count], from.ip()),
        (&b"query"[..], ip("172.30.0.2"))
    );
    socket.send(b"answer", from).unwrap();
    let (count, from) = poll_fn(|cx| asker.poll_receive(cx, &mut buf))
        .await
        .unwrap();
    assert_eq!((&buf[..count], from), (&b"answer"[..], at("172.30.0.1:53")));
}

pub(super) async fn rules_translate_and_refuse(os: Rc<dyn Os>) {
    bridge(&os);
    let one = container(&os, 2);
    let view = View::Task(one);
    for line in [
        "-A OUTPUT -m addrtype --dst-type LOCAL -p tcp --dport 8080 -j DNAT --to-destination 172.30.0.2:80",
        "-A POSTROUTING -s 172.30.0.0/16 ! -o br0 -j MASQUERADE",
    ] {
        os.packet_filter(HOST, false, "nat", line).unwrap();
    }
    let peer = seen_by(&os, (view, "0.0.0.0:80"), (HOST, "172.30.0.1:8080"));
    assert_eq!(peer.await, Ok(ip("172.30.0.1")));
    let known = os.connections(HOST).unwrap();
    assert!(
        known.contains("dport=8080") && known.contains("src=172.30.0.2"),
        "{known}"
    );
    let saved = os.packet_filter_save(HOST, false, false).unwrap();
    assert!(
        saved.contains(
            "-A OUTPUT -p tcp -m addrtype --dst-type LOCAL -m tcp --dport 8080 -j DNAT --to-destination 172.30.0.2:80\n"
        ),
        "{saved}"
    );
    let line = "-A INPUT -i eth0 -p tcp --dport 80 -j REJECT --reject-with tcp-reset";
    os.packet_filter(view, false, "filter", line).unwrap();
    let refused = seen_by(&os, (view, "0.0.0.0:80"), (HOST, "172.30.0.2:80")).await;
    assert_eq!(refused, Err(Errno::ECONNREFUSED));
    let line = line.replace("-A", "-D");
    os.packet_filter(view, false, "filter", &line).unwrap();
    let again = os.packet_filter(view, false, "filter", &line);
    assert_eq!(again, Err(Errno::ENOENT));
    let peer = seen_by(&os, (view, "0.0.0.0:80"), (HOST, "172.30.0.2:80"));
    assert_eq!(peer.await, Ok(ip("172.30.0.1")));
    let unknown = os.packet_filter(HOST, false, "filter", "-A NOPE -j ACCEPT");
    assert_eq!(unknown, Err(Errno::ENOENT));
}

pub(super) async fn a_wire_carries_frames(os: Rc<dyn Os>) {
    let mac = [2, 0, 0, 0, 0, 1];
    let wire = os.ethernet_add("eth0", mac).unwrap();
    os.address_add(HOST, "eth0", ip("192.168.9.1"), 24).unwrap();
    up(&os, HOST, "eth0");
    // Who has 192.168.9.1? Tell 192.168.9.2.
    let request = [
        &[0xff; 6][..],
        &[2, 0, 0, 0, 0, 2, 8, 6],
        &[0, 1, 8, 0, 6, 4, 0, 1],
        &[2, 0, 0, 0, 0, 2, 192, 168, 9, 2],
        &[0, 0, 0, 0, 0, 0, 192, 168, 9, 1],
    ]
    .concat();
    wire.deliver(request.clone());
    let answer = loop {
        let frame = poll_fn(|cx| wire.poll_frame(cx)).await;
        // Others may be about IPv6.
        if frame[12..14] == [8, 6] {
            break frame;
        }
    };
    assert_eq!(answer[..6], [2, 0, 0, 0, 0, 2]);
    assert_eq!(answer[20..22], [0, 2]);
    assert_eq!(answer[22..28], mac);
    wire.plug(false);
    let links = os.links(HOST).unwrap();
    let eth0 = links.iter().find(|link| link.name == "eth0").unwrap();
    assert!(eth0.up && !eth0.carrier);
}
