//! Names to addresses, as a program of the machine finds them: `/etc/hosts`, then the name servers of
//! `/etc/resolv.conf` (RFC 1035).

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use futures_util::future::{Either, select};
use os::{Os, OsExt, View};

/// Nanoseconds a name server has, and how often it is asked (`resolv.conf(5)`).
const PATIENCE_NS: u64 = 5_000_000_000;
const ATTEMPTS: usize = 2;
/// The largest message taken.
const MESSAGE_BYTES: usize = 4096;
const TYPE_A: u16 = 1;
const NAME_ERROR: u8 = 3;

async fn text(os: &Rc<dyn Os>, path: &str) -> String {
    let bytes = os.read_file(View::Host, path.as_bytes()).await;
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

/// Addresses in `/etc/hosts`.
pub(super) async fn from_hosts(os: &Rc<dyn Os>, host: &str) -> Vec<IpAddr> {
    hosts(&text(os, "/etc/hosts").await, host)
}

fn hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    lines
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next()?.parse().ok()?;
            words
                .any(|name| name.eq_ignore_ascii_case(host))
                .then_some(address)
        })
        .collect()
}

/// Addresses of a host; the error is Go's.
pub(super) async fn lookup(os: &Rc<dyn Os>, host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let mut known = from_hosts(os, host).await;
    if !known.is_empty() {
        // As Go sorts them: IPv6 first, where there is any.
        order::sort_by_key(&mut known, IpAddr::is_ipv4);
        return Ok(known);
    }
    let resolv = text(os, "/etc/resolv.conf").await;
    let servers = resolv.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok())?
    });
    let mut why = "no such host".to_string();
    for server in servers {
        let server = SocketAddr::new(server, 53);
        match ask(os, server, host).await {
            Ok(found) if !found.is_empty() => return Ok(found),
            Ok(_) => return Err(format!("lookup {host} on {server}: no such host")),
            Err(error) => why = format!("on {server}: {error}"),
        }
    }
    Err(format!("lookup {host}: {why}").replace(": on ", " on "))
}

async fn ask(os: &Rc<dyn Os>, server: SocketAddr, host: &str) -> Result<Vec<IpAddr>, String> {
    let question = question(os.rng().next_u64() as u16, host).ok_or("no such host")?;
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let failed = |error: os::Errno| error.go_description();
    let mut buf = vec![0; MESSAGE_BYTES];
    for _ in 0..ATTEMPTS {
        let socket = os.udp_bind(View::Host, any).map_err(failed)?;
        socket.send(&question, server).map_err(failed)?;
        let patience = os.clock().sleep(PATIENCE_NS);
        let received = poll_fn(|cx| socket.poll_receive(cx, &mut buf));
        match select(std::pin::pin!(received), std::pin::pin!(patience)).await {
            Either::Left((Ok((count, _)), _)) => match addresses(&question, &buf[..count]) {
                Some(found) => return Ok(found),
                None => return Err("server misbehaving".to_string()),
            },
            Either::Left((Err(error), _)) => return Err(failed(error)),
            Either::Right(_) => {}
        }
    }
    Err("i/o timeout".to_string())
}

/// A question for the addresses of a name.
fn question(id: u16, host: &str) -> Option<Vec<u8>> {
    let mut message = id.to_be_bytes().to_vec();
    // One question; recursion is wanted.
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in host.trim_end_matches('.').split('.') {
        if label.is_empty() || label.len() > 63 {
            return None;
        }
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(TYPE_A.to_be_bytes());
    message.extend([0, 1]);
    Some(message)
}

/// The addresses in an answer to a question; `None` if it is none.
fn addresses(question: &[u8], answer: &[u8]) -> Option<Vec<IpAddr>> {
    let is_answer =
        answer.len() >= question.len() && answer[..2] == question[..2] && answer[2] & 0x80 != 0;
    if !is_answer || answer[12..question.len()] != question[12..] {
        return None;
    }
    match answer[3] & 0x0f {
        0 => {}
        NAME_ERROR => return Some(Vec::new()),
        _ => return None,
    }
    let word = |at: usize| Some(u16::from_be_bytes([*answer.get(at)?, *answer.get(at + 1)?]));
    let (mut at, mut found) = (question.len(), Vec::new());
    for _ in 0..word(6)? {
        at = skip_name(answer, at)?;
        let (kind, length) = (word(at)?, usize::from(word(at + 8)?));
        let data = answer.get(at + 10..at + 10 + length)?;
        if let (TYPE_A, [a, b, c, d]) = (kind, data) {
            found.push(IpAddr::V4(Ipv4Addr::new(*a, *b, *c, *d)));
        }
        at += 10 + length;
    }
    Some(found)
}

/// Where what is behind a name begins.
fn skip_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_hosts() {
        let text = "127.0.0.1\tlocalhost # not reg\n::1 localhost ip6-localhost\n10.0.0.2 reg Reg.local\nx reg\n";
        let found = |host| hosts(text, host).len();
        assert_eq!((found("localhost"), found("reg.LOCAL")), (2, 1));
        assert_eq!((found("reg"), found("nothing"), found("not")), (1, 0, 0));
    }

    #[test]
    fn answers() {
        let asked = question(7, "reg.example").unwrap();
        let mut answer = asked.clone();
        answer[2] = 0x81;
        answer[3] = 0x80;
        answer[7] = 2;
        // An alias and its address.
        answer.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12]);
        answer.extend([1, b'a', 0, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 2]);
        let expected: IpAddr = "10.0.0.2".parse().unwrap();
        assert_eq!(addresses(&asked, &answer), Some(vec![expected]));
        let mut none = answer.clone();
        none[3] = 0x83;
        assert_eq!(addresses(&asked, &none), Some(vec![]));
        assert_eq!(addresses(&asked, &asked), None);
        for end in 0..answer.len() {
            assert_eq!(addresses(&asked, &answer[..end]), None, "{end}");
        }
        assert_eq!(question(1, "a..b"), None);
    }
}
