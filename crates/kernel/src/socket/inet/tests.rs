//! What programs see of TCP, UDP and ICMP over loopback.

use super::super::Ancillary;
use super::*;
use crate::namespaces::{NetStack, UserNs};

fn net() -> Rc<NetNs> {
    let stack = NetStack::new(&clock::Clock::new(0), 1);
    let net = Rc::new(NetNs::new(1, UserNs::initial(), &stack, None));
    net.loopback_up();
    net
}

fn local(port: u16) -> Endpoint {
    Endpoint::new(Ipv4Addr::LOCALHOST, port)
}

fn tcp(net: &Rc<NetNs>, family: u16) -> Rc<InetSocket> {
    InetSocket::new(net, family, Kind::Tcp).unwrap()
}

fn message(data: &[u8], to: Option<SockAddr>) -> Outgoing<'_> {
    Outgoing {
        data,
        to,
        ancillary: Ancillary::default(),
        flags: 0,
    }
}

fn send(socket: &InetSocket, data: &[u8]) -> Result<usize> {
    socket.send(None, message(data, None))
}

fn receive(socket: &InetSocket) -> Result<Vec<u8>> {
    let mut buf = [0; 100];
    socket
        .receive(&mut buf, 0)
        .map(|received| buf[..received.count].to_vec())
}

fn connected(net: &Rc<NetNs>) -> (Rc<InetSocket>, Rc<InetSocket>) {
    let listener = tcp(net, c::AF_INET);
    listener.bind_to(local(80), None).unwrap();
    listener.start_listening(5).unwrap();
    let client = tcp(net, c::AF_INET);
    client.connect_to(local(80), None, false).unwrap();
    let server = listener.accept_next().unwrap();
    (client, server)
}

#[test]
fn half_closed_connections_still_talk() {
    let (client, server) = connected(&net());
    send(&client, b"request").unwrap();
    client.shutdown(false, true).unwrap();
    assert_eq!(receive(&server).unwrap(), b"request");
    assert_eq!(receive(&server).unwrap(), b"");
    send(&server, b"answer").unwrap();
    assert_eq!(receive(&client).unwrap(), b"answer");
    assert_eq!(send(&client, b"x"), Err(Errno::EPIPE));
    let events = server.poll(None);
    assert!(events.contains(Events::RDHUP | Events::IN | Events::OUT));
    assert!(!events.contains(Events::HUP));
    let states = (client.state(), server.state());
    assert_eq!(states, (TcpState::FinWait2, TcpState::CloseWait));
}

#[test]
fn unread_data_resets() {
    let (client, server) = connected(&net());
    send(&client, b"never read").unwrap();
    drop(server);
    assert!(client.poll(None).contains(Events::ERR));
    assert_eq!(receive(&client), Err(Errno::ECONNRESET));
    assert_eq!(receive(&client).unwrap(), b"");
}

#[test]
fn writing_to_a_closed_peer_fails_the_second_time() {
    let (client, server) = connected(&net());
    drop(server);
    assert_eq!(receive(&client).unwrap(), b"");
    assert_eq!(send(&client, b"x"), Ok(1));
    assert_eq!(send(&client, b"x"), Err(Errno::EPIPE));
}

#[test]
fn refused_unreachable_and_in_use() {
    let net = net();
    let socket = tcp(&net, c::AF_INET);
    let refused = socket.connect_to(local(81), None, false);
    assert_eq!(refused, Err(Errno::ECONNREFUSED));
    let far = Endpoint::new(Ipv4Addr::new(10, 0, 0, 1), 80);
    let unreachable = socket.connect_to(far, None, false);
    assert_eq!(unreachable, Err(Errno::ENETUNREACH));
    let one = tcp(&net, c::AF_INET);
    one.bind_to(local(80), None).unwrap();
    let two = tcp(&net, c::AF_INET);
    assert_eq!(two.bind_to(local(80), None), Err(Errno::EADDRINUSE));
    let any = Endpoint::new(Ipv4Addr::UNSPECIFIED, 80);
    assert_eq!(two.bind_to(any, None), Err(Errno::EADDRINUSE));
    let other = Endpoint::new(Ipv4Addr::new(127, 0, 0, 2), 80);
    assert_eq!(two.bind_to(other, None), Ok(()));
    drop(one);
    let three = tcp(&net, c::AF_INET);
    assert_eq!(three.bind_to(local(80), None), Ok(()));
}

#[test]
fn a_refusal_comes_later_for_who_does_not_block() {
    let net = net();
    let socket = tcp(&net, c::AF_INET);
    let started = socket.connect_to(local(81), None, true);
    assert_eq!(started, Err(Errno::EINPROGRESS));
    assert!(socket.poll(None).contains(Events::ERR | Events::HUP));
    assert_eq!(socket.take_error(), Some(Errno::ECONNREFUSED));
    assert_eq!(socket.take_error(), None);
    // As Linux 6.18 has it: the attempt is over, then a new one begins.
    let next = socket.connect_to(local(81), None, true);
    assert_eq!(next, Err(Errno::ECONNABORTED));
    let anew = socket.connect_to(local(81), None, true);
    assert_eq!(anew, Err(Errno::EINPROGRESS));
    assert_eq!(receive(&socket), Err(Errno::ECONNREFUSED));
}

#[test]
fn a_dual_stack_listener_takes_both() {
    let net = net();
    let listener = tcp(&net, c::AF_INET6);
    let any = Endpoint::new(Ipv6Addr::UNSPECIFIED, 8080);
    listener.bind_to(any, None).unwrap();
    listener.start_listening(5).unwrap();
    let client = tcp(&net, c::AF_INET);
    client.connect_to(local(8080), None, false).unwrap();
    let server = listener.accept_next().unwrap();
    let mapped = server.peer_name().unwrap();
    let (peer, _) = parse_address(&net, &mapped, c::AF_INET6).unwrap();
    let own = client.local_name().unwrap();
    assert_eq!((peer, None), parse_address(&net, &own, c::AF_INET).unwrap());
    let client6 = tcp(&net, c::AF_INET6);
    let to = Endpoint::new(Ipv6Addr::LOCALHOST, 8080);
    client6.connect_to(to, None, false).unwrap();
}

#[test]
fn a_listener_that_goes_resets_who_waits() {
    let net = net();
    let listener = tcp(&net, c::AF_INET);
    listener.start_listening(5).unwrap();
    let name = listener.local_name().unwrap();
    let (at, _) = parse_address(&net, &name, c::AF_INET).unwrap();
    let client = tcp(&net, c::AF_INET);
    client.connect_to(local(at.port), None, false).unwrap();
    drop(listener);
    assert_eq!(receive(&client), Err(Errno::ECONNRESET));
}

#[test]
fn datagrams_go_there_and_back() {
    let net = net();
    let new = || InetSocket::new(&net, c::AF_INET, Kind::Udp).unwrap();
    let (server, client) = (new(), new());
    server.bind_to(local(53), None).unwrap();
    let to = emit_address(local(53), c::AF_INET, 0);
    assert_eq!(client.send(None, message(b"query", Some(to))), Ok(5));
    let mut buf = [0; 3];
    let received = server.receive(&mut buf, 0).unwrap();
    assert_eq!((received.count, received.full), (3, 5));
    assert_eq!(server.send(None, message(b"yes", received.from)), Ok(3));
    assert_eq!(client.receive(&mut buf, 0).unwrap().count, 3);
    client.connect_to(local(54), None, false).unwrap();
    assert_eq!(send(&client, b"x"), Ok(1));
    assert_eq!(send(&client, b"x"), Err(Errno::ECONNREFUSED));
}

#[test]
fn an_echo_comes_back_with_a_good_checksum() {
    let net = net();
    let to = emit_address(local(0), c::AF_INET, 0);
    for kind in [Kind::Ping, Kind::Raw(1)] {
        let socket = InetSocket::new(&net, c::AF_INET, kind).unwrap();
        // A raw socket computes no checksum, and sees the request too unless it filters.
        let mut request = [8, 0, 0, 0, 0x12, 0x34, 0, 1, b'd', b'a', b't'];
        let sum = net::packet::checksum(&request);
        request[2..4].copy_from_slice(&sum.to_be_bytes());
        socket.set_inet_option(255, 1, &[0, 1, 0, 0]).unwrap();
        socket.send(None, message(&request, Some(to))).unwrap();
        let mut buf = [0; 64];
        let count = socket.receive(&mut buf, 0).unwrap().count;
        let is_raw = kind != Kind::Ping;
        let reply = &buf[if is_raw { 20 } else { 0 }..count];
        assert_eq!((reply[0], &reply[6..]), (0, &request[6..]));
        assert_eq!(net::packet::checksum(reply), 0);
        assert_eq!(is_raw, reply[4..6] == request[4..6]);
    }
}

#[test]
fn addresses_are_read_and_written_alike() {
    let net = net();
    let raw = [2, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let (endpoint, _) = parse_address(&net, &SockAddr::new(&raw), c::AF_INET).unwrap();
    assert_eq!(endpoint, local(8080));
    assert_eq!(emit_address(endpoint, c::AF_INET, 0).bytes(), raw);
    let mapped = emit_address(endpoint, c::AF_INET6, 0);
    let again = parse_address(&net, &mapped, c::AF_INET6);
    assert_eq!(again, Ok((endpoint, None)));
    let wrong = parse_address(&net, &SockAddr::new(&raw), c::AF_INET6);
    assert_eq!(wrong, Err(Errno::EAFNOSUPPORT));
    let short = parse_address(&net, &SockAddr::new(&raw[..8]), c::AF_INET);
    assert_eq!(short, Err(Errno::EINVAL));
}
