//! Sockets by name: listen, connect, send, receive; and ping.

use std::net::IpAddr;

use abi::Errno;
use net::socket::Kind;
use net::{Endpoint, NsId, SocketId};

use super::show::port;
use super::{Reply, World};

fn endpoint(text: &str) -> Endpoint {
    let address: std::net::SocketAddr = text.parse().expect("address:port");
    Endpoint::new(address.ip(), address.port())
}

fn shown(endpoint: Endpoint) -> String {
    format!("{}:{}", endpoint.ip, port(endpoint.port))
}

impl World {
    fn socket(&self, name: &str) -> Result<(String, SocketId), Errno> {
        self.sockets.get(name).cloned().ok_or(Errno::EBADF)
    }

    fn keep(&mut self, name: &str, machine: &str, id: SocketId) {
        self.sockets
            .insert(name.to_string(), (machine.to_string(), id));
    }

    pub fn talk(&mut self, machine: &str, ns: NsId, words: &[&str]) -> Reply {
        let now = self.now;
        let network = &mut self.machines.get_mut(machine).unwrap().network;
        let v6 = |endpoint: &Endpoint| endpoint.ip.is_ipv6();
        match words[0] {
            "listen" => {
                let at = endpoint(words[2]);
                let id = network.socket(ns, Kind::Tcp, v6(&at))?;
                network.set_options(id, |options| options.reuse_address = true)?;
                network.bind(id, at, None)?;
                let backlog = words.get(3).map_or(5, |word| word.parse().unwrap());
                network.listen(id, backlog)?;
                self.keep(words[1], machine, id);
            }
            "connect" => {
                let to = endpoint(words[2]);
                let id = network.socket(ns, Kind::Tcp, v6(&to))?;
                let outcome = network.connect_stream(id, to, None, true);
                self.keep(words[1], machine, id);
                if outcome != Err(Errno::EINPROGRESS) {
                    outcome?;
                }
                self.settle();
                return self.connected(words[1]);
            }
            "udp" => {
                let at = endpoint(words[2]);
                let id = network.socket(ns, Kind::Udp, v6(&at))?;
                network.bind(id, at, None)?;
                self.keep(words[1], machine, id);
            }
            "accept" => {
                let id = network.accept(self.sockets.get(words[1]).ok_or(Errno::EBADF)?.1)?;
                let peer = network.get(id)?.remote.unwrap();
                self.keep(words[2], machine, id);
                return Ok(format!("from {}", shown(peer)));
            }
            "connected" => return self.connected(words[1]),
            _ => return self.talk_named(words),
        }
        let _ = now;
        Ok(String::new())
    }

    /// What became of a connection.
    fn connected(&mut self, name: &str) -> Reply {
        let (machine, id) = self.socket(name)?;
        let network = &mut self.machines.get_mut(&machine).unwrap().network;
        if let Some(errno) = network.take_error(id) {
            return Err(errno);
        }
        let info = network.stream_info(id)?;
        let local = network.get(id)?.local.unwrap();
        Ok(format!("{} from {}", info.state, shown(local)))
    }

    fn talk_named(&mut self, words: &[&str]) -> Reply {
        let (machine, id) = self.socket(words[1])?;
        let now = self.now;
        let network = self.machines.get_mut(&machine).unwrap().network.at(now);
        match words[0] {
            "send" => {
                network.send_stream(id, words[2].as_bytes())?;
            }
            "recv" => {
                let mut buf = [0; 1000];
                let count = network.receive_stream(id, &mut buf, false)?;
                let text = String::from_utf8_lossy(&buf[..count]).to_string();
                return Ok(if count == 0 { "end".to_string() } else { text });
            }
            "sendto" => {
                let to = endpoint(words[2]);
                let data = match words[3].strip_prefix("bytes=") {
                    Some(count) => vec![b'x'; count.parse().unwrap()],
                    None => words[3].as_bytes().to_vec(),
                };
                network.send_datagram(id, &data, Some((to, None)))?;
            }
            "udp-connect" => network.connect_datagrams(id, endpoint(words[2]), None)?,
            "recvfrom" => {
                let arrival = network.receive_datagram(id, false)?.unwrap();
                let data = if arrival.data.len() > 40 {
                    format!("{} bytes", arrival.data.len())
                } else {
                    String::from_utf8_lossy(&arrival.data).to_string()
                };
                return Ok(format!("{data} from {}", shown(arrival.from)));
            }
            "shutdown" => {
                let how = (words[2] != "write", words[2] != "read");
                network.shutdown_stream(id, how.0, how.1)?;
            }
            "state" => return Ok(network.stream_info(id)?.state.to_string()),
            "ready" => return Ok(format!("{:?}", network.ready(id))),
            "option" => network.set_options(id, |options| match words[2] {
                "linger0" => options.linger_s = Some(0),
                "keepalive" => options.keep_alive = true,
                "broadcast" => options.broadcast = true,
                other => panic!("no option {other}"),
            })?,
            "close" => {
                network.close(id);
                self.sockets.remove(words[1]);
            }
            other => panic!("no command {other}"),
        }
        Ok(String::new())
    }

    /// `transfer FROM TO BYTES`: sends that much one way, checks every byte, and tells how it went.
    pub fn transfer(&mut self, words: &[&str]) -> Reply {
        let total: usize = words[3].parse().unwrap();
        let ((from, sender), (to, receiver)) = (self.socket(words[1])?, self.socket(words[2])?);
        let (mut sent, mut got) = (0usize, 0usize);
        let byte = |at: usize| (at * 7 + at / 251) as u8;
        let start = self.now;
        let mut buf = vec![0; 60_000];
        while got < total {
            let network = self.machines.get_mut(&from).unwrap().network.at(self.now);
            while sent < total {
                let data: Vec<u8> = (sent..total.min(sent + 10_000)).map(byte).collect();
                match network.send_stream(sender, &data) {
                    Ok(count) => sent += count,
                    Err(Errno::EAGAIN) => break,
                    Err(errno) => return Err(errno),
                }
            }
            let network = self.machines.get_mut(&to).unwrap().network.at(self.now);
            loop {
                match network.receive_stream(receiver, &mut buf, false) {
                    Ok(0) => return Err(Errno::EPIPE),
                    Ok(count) => {
                        let right = buf[..count]
                            .iter()
                            .enumerate()
                            .all(|(at, &found)| found == byte(got + at));
                        assert!(right, "bytes {got}.. are wrong");
                        got += count;
                    }
                    Err(Errno::EAGAIN) => break,
                    Err(errno) => return Err(errno),
                }
            }
            if got < total {
                self.advance(1_000_000);
            }
            if self.now.since(start) > 600_000_000_000 {
                return Ok(format!("stuck at {got}"));
            }
        }
        let seconds = self.now.since(start) / 1_000_000_000;
        Ok(format!(
            "{got} bytes are right, in {seconds} to {} s",
            seconds + 1
        ))
    }

    /// `ping TARGET [-c COUNT] [-s SIZE] [-t TTL]`.
    pub fn ping(&mut self, machine: &str, ns: NsId, words: &[&str]) -> Reply {
        let target: IpAddr = words[0].parse().unwrap();
        let option = |name: &str, default: usize| {
            let at = words.iter().position(|word| *word == name);
            at.map_or(default, |at| words[at + 1].parse().unwrap())
        };
        let (count, size, ttl) = (option("-c", 1), option("-s", 56), option("-t", 0));
        let network = &mut self.machines.get_mut(machine).unwrap().network;
        let id = network.socket(ns, Kind::Ping, target.is_ipv6())?;
        network.set_options(id, |options| {
            options.receive_errors = true;
            options.ttl = (ttl > 0).then_some(ttl as u8);
        })?;
        let mut text = String::new();
        for sequence in 1..=count {
            let mut message = vec![if target.is_ipv4() { 8 } else { 128 }, 0, 0, 0, 0, 0, 0];
            message.push(sequence as u8);
            message.resize(8 + size, 0x55);
            let network = self.machines.get_mut(machine).unwrap().network.at(self.now);
            if let Err(errno) =
                network.send_datagram(id, &message, Some((Endpoint::new(target, 0), None)))
            {
                text += &format!("ping: sendmsg: {}\n", super::describe(errno));
                continue;
            }
            self.advance(1_000_000_000);
            text += &self.ping_answer(machine, id, sequence);
        }
        self.machines.get_mut(machine).unwrap().network.close(id);
        Ok(text)
    }

    fn ping_answer(&mut self, machine: &str, id: SocketId, sequence: usize) -> String {
        let network = &mut self.machines.get_mut(machine).unwrap().network;
        if let Some(error) = network.take_queued_error(id) {
            network.take_error(id);
            let what = match (error.origin, error.kind, error.code) {
                (2, 3, 0) => "Destination Net Unreachable".to_string(),
                (2, 3, 1) => "Destination Host Unreachable".to_string(),
                (2, 3, 3) => "Destination Port Unreachable".to_string(),
                (2, 3, 4) => format!("Frag needed and DF set (mtu = {})", error.info),
                (2, 3, 13) => "Packet filtered".to_string(),
                (2, 11, _) => "Time to live exceeded".to_string(),
                other => format!("{other:?}"),
            };
            return format!("From {} icmp_seq={sequence} {what}\n", error.offender);
        }
        match network.receive_datagram(id, false) {
            Ok(Some(arrival)) => format!(
                "{} bytes from {}: icmp_seq={} ttl={}\n",
                arrival.data.len(),
                arrival.from.ip,
                arrival.data[7],
                arrival.ttl
            ),
            Ok(None) => "end\n".to_string(),
            Err(Errno::EAGAIN) => format!("no answer yet for icmp_seq={sequence}\n"),
            Err(errno) => format!("{}\n", super::describe(errno)),
        }
    }

    /// Echoes with growing time to live until the target answers.
    pub fn traceroute(&mut self, machine: &str, ns: NsId, target: &str) -> Reply {
        let mut text = String::new();
        for ttl in 1..=8 {
            let ttl_text = ttl.to_string();
            let answer = self.ping(machine, ns, &[target, "-t", &ttl_text])?;
            let from = answer
                .split_whitespace()
                .skip_while(|word| !word.eq_ignore_ascii_case("from"))
                .nth(1)
                .unwrap_or("*")
                .trim_end_matches(':')
                .to_string();
            text += &format!("{ttl} {from}\n");
            if from == target {
                break;
            }
        }
        Ok(text)
    }
}
