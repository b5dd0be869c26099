//! Many connections, of which nothing may be left: sockets, ports, memory that grows.

use clock::Instant;
use net::socket::Kind;
use net::{Endpoint, Network, NsId};

fn local(port: u16) -> Endpoint {
    Endpoint::new([127, 0, 0, 1], port)
}

fn machine() -> (Network, NsId) {
    let mut network = Network::new(1);
    let ns = network.add_namespace();
    let lo = network.find_link(ns, "lo").unwrap();
    network.at(Instant(1)).set_up(lo, true).unwrap();
    (network, ns)
}

/// A round every 20 ms: who closes first changes, and how.
#[test]
fn nothing_is_left_of_connections() {
    let (mut network, ns) = machine();
    let listener = network.socket(ns, Kind::Tcp, false).unwrap();
    network.bind(listener, local(80), None).unwrap();
    network.listen(listener, 128).unwrap();
    let mut buf = [0; 100];
    for round in 0..6000u64 {
        network.poll(Instant(round * 20_000_000));
        let client = network.socket(ns, Kind::Tcp, false).unwrap();
        let done = network.connect_stream(client, local(80), None, false);
        assert_eq!(done, Ok(()), "round {round}");
        let server = network.accept(listener).unwrap();
        assert_eq!(network.send_stream(client, b"request"), Ok(7));
        // Every fifth connection ends with data unread, and so with a reset.
        if round % 5 != 0 {
            assert_eq!(network.receive_stream(server, &mut buf, false), Ok(7));
            assert_eq!(network.send_stream(server, b"answer"), Ok(6));
            assert_eq!(network.receive_stream(client, &mut buf, false), Ok(6));
        }
        if round % 7 == 0 {
            network
                .set_options(client, |options| options.linger_s = Some(0))
                .unwrap();
        }
        let order = if round % 2 == 0 {
            [client, server]
        } else {
            [server, client]
        };
        order.into_iter().for_each(|socket| network.close(socket));
    }
    assert_eq!(network.sockets_of(ns).count(), 1);
    let waiting = network.time_wait(ns).len();
    assert!((1..=4096).contains(&waiting), "{waiting}");
    // A minute later they are forgotten, and the port is free.
    network.poll(Instant(6000 * 20_000_000 + 61_000_000_000));
    assert_eq!(network.time_wait(ns).len(), 0);
    network.close(listener);
    let again = network.socket(ns, Kind::Tcp, false).unwrap();
    assert_eq!(network.bind(again, local(80), None), Ok(()));
    network.close(again);
    assert_eq!(network.sockets_of(ns).count(), 0);
    assert_eq!(network.poll_at(), None);
}

#[test]
fn a_namespace_that_goes_takes_everything_with_it() {
    let (mut network, host) = machine();
    for _ in 0..200 {
        let inner = network.add_namespace();
        let peer = (inner, Some("eth0"));
        network.add_veth(host, "veth0", peer, (None, None)).unwrap();
        let socket = network.socket(inner, Kind::Udp, true).unwrap();
        let any = Endpoint::new(std::net::Ipv6Addr::UNSPECIFIED, 53);
        network.bind(socket, any, None).unwrap();
        network.remove_namespace(inner, Some(host));
        assert!(network.get(socket).is_err());
    }
    assert_eq!(network.links_of(host).count(), 1);
}
