//! The name server of users' networks: it answers for the containers that share a network with the one
//! that asks, and passes everything else on to the host's name servers.
//!
//! It listens in the container's own network namespace, at a free port of 127.0.0.11 to which rules turn
//! port 53: so a container may have a name server of its own on port 53.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use clock::JoinHandle;
use os::network::{TcpListener, UdpSocket};
use os::{Errno, Handle, TaskId, View, ext};

use super::files::RESOLVER;
use crate::Engine;
use crate::monitor::timeout;
use crate::state::Container;

/// Seconds an answer may be remembered.
const TTL_S: u32 = 600;
/// Nanoseconds a name server of the host has for its answer.
const PATIENCE: u64 = 4_000_000_000;
/// The largest message taken.
const MESSAGE_BYTES: usize = 4096;
/// Questions that are passed on at once.
const FORWARDED_MAX: usize = 64;

const TYPE_A: u16 = 1;
const TYPE_PTR: u16 = 12;
const TYPE_AAAA: u16 = 28;
const TYPE_ANY: u16 = 255;
const SERVFAIL: u8 = 2;

/// A question (RFC 1035, 4.1.2), and where it ends in its message.
#[derive(Debug, PartialEq)]
struct Question {
    name: String,
    kind: u16,
    end: usize,
}

/// The only question of a message; names are in lower case.
fn parse_question(message: &[u8]) -> Option<Question> {
    let is_query = message.len() > 12 && message[2] & 0x80 == 0;
    if !is_query || message[4..6] != [0, 1] {
        return None;
    }
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => break,
            1..=63 => labels.push(message.get(at..at + length)?.to_ascii_lowercase()),
            _ => return None,
        }
        at += length;
    }
    let kind = message.get(at..at + 2)?;
    message.get(at + 2..at + 4)?;
    Some(Question {
        name: String::from_utf8(labels.join(&b'.')).ok()?,
        kind: u16::from_be_bytes([kind[0], kind[1]]),
        end: at + 4,
    })
}

/// An answer to the question of `message`: data of records of its type.
fn answer(message: &[u8], question: &Question, code: u8, records: &[Vec<u8>]) -> Vec<u8> {
    let mut out = message[..question.end].to_vec();
    // A response; recursion is there for whoever wants it.
    out[2] = 0x80 | (message[2] & 0x79);
    out[3] = 0x80 | code;
    let count = u16::try_from(records.len()).unwrap_or(0);
    out[6..8].copy_from_slice(&count.to_be_bytes());
    out[8..12].fill(0);
    let kind = match question.kind {
        TYPE_ANY => TYPE_A,
        kind => kind,
    };
    for data in records {
        // The name is that of the question, at byte 12.
        out.extend([0xc0, 12]);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
        out.extend(TTL_S.to_be_bytes());
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
    }
    out
}

/// A name as it stands in a message.
fn emit_name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        out.push(label.len() as u8);
        out.extend(label);
    }
    out.push(0);
    out
}

/// The address that `4.3.2.1.in-addr.arpa` asks for, or 32 digits before `.ip6.arpa`.
fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".ip6.arpa") {
        let digit = |text: &str| text.parse::<char>().ok()?.to_digit(16);
        let digits: Option<Vec<u32>> = digits.split('.').rev().map(digit).collect();
        let digits = digits.filter(|digits| digits.len() == 32)?;
        let bits = digits
            .iter()
            .fold(0u128, |bits, &digit| bits << 4 | u128::from(digit));
        return Some(Ipv6Addr::from_bits(bits).into());
    }
    let backwards: Ipv4Addr = name.strip_suffix(".in-addr.arpa")?.parse().ok()?;
    let [d, c, b, a] = backwards.octets();
    Some(Ipv4Addr::new(a, b, c, d).into())
}

fn octets(ip: &IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// Any address of the same family.
fn unspecified(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// The name server of one container. Dropping it stops it.
pub(crate) struct Resolver(Vec<JoinHandle<()>>);

impl Drop for Resolver {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

impl Engine {
    /// Starts the name server of a container that is on a user's network.
    pub(crate) fn start_resolver(
        &self,
        container: &Rc<Container>,
        task: TaskId,
    ) -> os::Result<Resolver> {
        let view = View::Task(task);
        let own: IpAddr = RESOLVER.parse().map_err(|_| Errno::EINVAL)?;
        let any_port = SocketAddr::new(own, 0);
        let udp = self.os.udp_bind(view, any_port)?;
        let tcp = self.os.tcp_listen(view, any_port)?;
        let filter = |line: String| self.os.packet_filter(view, false, "nat", &line);
        filter("-N DOCKER_OUTPUT".to_string())?;
        filter("-N DOCKER_POSTROUTING".to_string())?;
        filter(format!("-A OUTPUT -d {own}/32 -j DOCKER_OUTPUT"))?;
        filter(format!("-A POSTROUTING -d {own}/32 -j DOCKER_POSTROUTING"))?;
        for (protocol, at) in [("tcp", tcp.local_address()?), ("udp", udp.local_address()?)] {
            let port = at.port();
            filter(format!(
                "-A DOCKER_OUTPUT -d {own}/32 -p {protocol} -m {protocol} --dport 53 -j DNAT --to-destination {at}"
            ))?;
            filter(format!(
                "-A DOCKER_POSTROUTING -s {own}/32 -p {protocol} -m {protocol} --sport {port} -j SNAT --to-source :53"
            ))?;
        }
        let executor = self.os.executor();
        let asked = Asked {
            engine: self.rc(),
            container: Rc::clone(container),
            view,
        };
        let asked = Rc::new(asked);
        Ok(Resolver(vec![
            executor.spawn(serve_udp(Rc::clone(&asked), udp)),
            executor.spawn(serve_tcp(asked, tcp)),
        ]))
    }

    /// Addresses of a name, as a container sees it: those of the containers on its users' networks.
    fn resolve_name(&self, container: &Container, name: &str) -> Option<Vec<IpAddr>> {
        let mut found = Vec::new();
        let links = self.user_links(container);
        for network in self.user_networks(container) {
            let suffix = format!(".{}", network.to_ascii_lowercase());
            let bare = name.strip_suffix(&suffix).unwrap_or(name);
            for (other, endpoint) in self.endpoints_of(&network) {
                let data = other.data.borrow();
                let settings = data.networking.endpoints_config.get(&network);
                let names = settings.map(|settings| self.dns_names(&other.id, &data, settings));
                let mut names = names.into_iter().flatten();
                let linked = links
                    .iter()
                    .any(|(target, alias)| alias.eq_ignore_ascii_case(bare) && *target == other.id);
                if (linked || names.any(|known| known.eq_ignore_ascii_case(bare)))
                    && let Some(address) = endpoint.address
                {
                    found.extend(address.ips());
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        if found.len() > 1 {
            // Each is first in its turn, by chance.
            let turn = self.os.rng().next_u64() as usize % found.len();
            found.rotate_left(turn);
        }
        (!found.is_empty()).then_some(found)
    }

    /// The name that goes with an address on one of a container's networks.
    fn resolve_address(&self, container: &Container, ip: IpAddr) -> Option<String> {
        self.user_networks(container).iter().find_map(|network| {
            let endpoints = self.endpoints_of(network);
            let owner = endpoints.iter().find(|(_, endpoint)| {
                endpoint
                    .address
                    .as_ref()
                    .is_some_and(|at| at.ips().any(|own| own == ip))
            });
            owner.map(|(other, _)| format!("{}.{network}", other.name()))
        })
    }

    fn user_networks(&self, container: &Container) -> Vec<String> {
        let sandbox = container.sandbox.borrow();
        let endpoints = sandbox.iter().flat_map(|sandbox| &sandbox.endpoints);
        endpoints
            .map(|endpoint| endpoint.network.clone())
            .filter(|name| !super::is_built_in(name))
            .collect()
    }

    /// Ids and aliases of `--link` on users' networks.
    fn user_links(&self, container: &Container) -> Vec<(String, String)> {
        let data = container.data.borrow();
        let settings = data.networking.endpoints_config.values();
        let links = settings.flat_map(|settings| settings.links.iter().flatten());
        links
            .filter_map(|link| {
                let (name, alias) = link.split_once(':').unwrap_or((link, link));
                let found = self.find_container(name).ok()?;
                Some((found.id.clone(), alias.to_string()))
            })
            .collect()
    }
}

/// On whose behalf questions are answered.
struct Asked {
    engine: Rc<Engine>,
    container: Rc<Container>,
    view: View,
}

impl Asked {
    /// The answer to a message, if the daemon knows it.
    fn own_answer(&self, message: &[u8], question: &Question) -> Option<Vec<u8>> {
        let (engine, container) = (&self.engine, &self.container);
        match question.kind {
            TYPE_PTR => {
                let name = engine.resolve_address(container, reverse(&question.name)?)?;
                Some(answer(message, question, 0, &[emit_name(&name)]))
            }
            TYPE_A | TYPE_AAAA | TYPE_ANY => {
                let found = engine.resolve_name(container, &question.name)?;
                // The name may be there without addresses of that family.
                let wants_v6 = question.kind == TYPE_AAAA;
                let fitting = found.iter().filter(|ip| ip.is_ipv6() == wants_v6);
                let records: Vec<Vec<u8>> = fitting.map(octets).collect();
                Some(answer(message, question, 0, &records))
            }
            _ => None,
        }
    }

    /// Asks the host's name servers, one after the other, from the container's own network.
    async fn forward(&self, message: &[u8]) -> os::Result<Vec<u8>> {
        let names = self
            .engine
            .names_of(&self.container.data.borrow().host_config);
        let os = &self.engine.os;
        let mut buf = vec![0; MESSAGE_BYTES];
        let mut why = Errno::EHOSTUNREACH;
        for server in names.asked().0 {
            let view = if server.from_host {
                View::Host
            } else {
                self.view
            };
            let any = SocketAddr::new(unspecified(server.ip), 0);
            let socket = match os.udp_bind(view, any) {
                Ok(socket) => socket,
                Err(_) if server.ip.is_ipv6() => continue,
                Err(errno) => return Err(errno),
            };
            if let Err(errno) = socket.send(message, SocketAddr::new(server.ip, 53)) {
                why = errno;
                continue;
            }
            let received = poll_fn(|cx| socket.poll_receive(cx, &mut buf));
            match timeout(&os.clock(), PATIENCE, received).await {
                Some(Ok((count, _))) if count >= 12 && buf[..2] == message[..2] => {
                    return Ok(buf[..count].to_vec());
                }
                _ => why = Errno::ETIMEDOUT,
            }
        }
        Err(why)
    }

    /// The answer to a message; none for what is no question.
    async fn answer(&self, message: &[u8]) -> Option<Vec<u8>> {
        let question = parse_question(message)?;
        if let Some(known) = self.own_answer(message, &question) {
            return Some(known);
        }
        let forwarded = self.forward(message).await;
        Some(forwarded.unwrap_or_else(|_| answer(message, &question, SERVFAIL, &[])))
    }
}

/// Tasks that end with their holder.
#[derive(Default)]
struct Tasks(Vec<JoinHandle<()>>);

impl Tasks {
    /// Whether one more may begin.
    fn has_room(&mut self) -> bool {
        self.0.retain(|task| !task.is_finished());
        self.0.len() < FORWARDED_MAX
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

async fn serve_udp(asked: Rc<Asked>, socket: Rc<dyn UdpSocket>) {
    let mut buf = vec![0; MESSAGE_BYTES];
    let mut tasks = Tasks::default();
    loop {
        let Ok((count, client)) = poll_fn(|cx| socket.poll_receive(cx, &mut buf)).await else {
            continue;
        };
        if !tasks.has_room() {
            // A lost answer is asked for again.
            continue;
        }
        let (asked, socket) = (Rc::clone(&asked), Rc::clone(&socket));
        let message = buf[..count].to_vec();
        let executor = asked.engine.os.executor();
        tasks.0.push(executor.spawn(async move {
            if let Some(answer) = asked.answer(&message).await {
                let _ = socket.send(&answer, client);
            }
        }));
    }
}

async fn serve_tcp(asked: Rc<Asked>, listener: Rc<dyn TcpListener>) {
    let mut tasks = Tasks::default();
    loop {
        let client = match poll_fn(|cx| listener.poll_accept(cx)).await {
            Ok((client, _)) => client,
            Err(Errno::ECONNABORTED) => continue,
            Err(_) => return,
        };
        if tasks.has_room() {
            let executor = asked.engine.os.executor();
            let asked = Rc::clone(&asked);
            tasks.0.push(executor.spawn(async move {
                // Whoever closes in the middle of a message wants no answer.
                let _ = converse(&asked, &client).await;
            }));
        }
    }
}

/// Messages of a stream, each behind its length (RFC 1035, 4.2.2).
async fn converse(asked: &Asked, client: &Rc<dyn Handle>) -> os::Result<()> {
    let mut pending = Vec::new();
    loop {
        let length = match pending[..] {
            [high, low, ..] => usize::from(u16::from_be_bytes([high, low])) + 2,
            _ => usize::MAX,
        };
        if pending.len() < length {
            let more = ext::read_some(client, MESSAGE_BYTES).await?;
            if more.is_empty() || pending.len() > usize::from(u16::MAX) + 2 {
                return Ok(());
            }
            pending.extend(more);
            continue;
        }
        let message: Vec<u8> = pending.drain(..length).skip(2).collect();
        let Some(answer) = asked.answer(&message).await else {
            return Ok(());
        };
        let length = u16::try_from(answer.len()).map_err(|_| Errno::EMSGSIZE)?;
        ext::write_all(client, &length.to_be_bytes()).await?;
        ext::write_all(client, &answer).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut message = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        message.extend(emit_name(name));
        message.extend(kind.to_be_bytes());
        message.extend([0, 1]);
        // Something behind the question, as EDNS has.
        message.extend([0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0]);
        message
    }

    #[test]
    fn questions_and_answers() {
        let message = query("Web.net1", TYPE_A);
        let question = parse_question(&message).unwrap();
        assert_eq!(
            (question.name.as_str(), question.kind),
            ("web.net1", TYPE_A)
        );
        let reply = answer(&message, &question, 0, &[vec![172, 18, 0, 2]]);
        assert_eq!(reply[..12], [7, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert_eq!(reply[12..question.end], message[12..question.end]);
        let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4, 172, 18, 0, 2];
        assert_eq!(reply[question.end..], record);
        let failed = answer(&message, &question, SERVFAIL, &[]);
        assert_eq!((failed[3], failed.len()), (0x82, question.end));
    }

    #[test]
    fn what_is_no_question() {
        let mut reply = query("a", TYPE_A);
        reply[2] |= 0x80;
        let mut cut = query("a", TYPE_A);
        cut.truncate(15);
        let mut looped = query("a", TYPE_A);
        looped[12] = 0xc0;
        for wrong in [reply, cut, looped, vec![0; 5]] {
            assert_eq!(parse_question(&wrong), None);
        }
        for (name, expected) in [
            ("4.3.2.1.in-addr.arpa".to_string(), "1.2.3.4"),
            (format!("9.{}0.0.d.f.ip6.arpa", "0.".repeat(27)), "fd00::9"),
        ] {
            assert_eq!(reverse(&name), expected.parse().ok());
        }
        for wrong in ["x.in-addr.arpa", "1.0.ip6.arpa", "ip6.arpa"] {
            assert_eq!(reverse(wrong), None);
        }
    }
}
