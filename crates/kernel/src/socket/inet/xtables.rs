//! What `iptables` and `ip6tables` ask of a socket (`IPT_SO_…`, `IP6T_SO_…`), and where a connection was meant
//! to go before its address was translated (`SO_ORIGINAL_DST`).
//!
//! These options carry whole tables, so they read and write the caller's memory themselves.

use std::net::IpAddr;
use std::rc::Rc;

use abi::{Errno, Result};
use net::Endpoint;
use net::netfilter::xtables::{Counters, Info, best_revision};
use net::netfilter::{TableName, conntrack::Tuple};
use vfs::Capability;

use super::super::consts as c;
use super::options::{IPPROTO_IP, IPPROTO_IPV6};
use super::{InetSocket, TCP, UDP, emit_address};
use crate::kernel::Kernel;
use crate::task::Task;

/// Setting: a table, counters. Getting: about a table, its entries.
const REPLACE_OR_INFO: u32 = 64;
const COUNTERS_OR_ENTRIES: u32 = 65;
const ORIGINAL_DST: u32 = 80;

/// Bytes of a table's name, of `struct ipt_getinfo`, and of what is before the entries when a table is got
/// and when it is set.
const NAME: usize = 32;
const INFO: usize = 84;
const GET_HEAD: usize = 40;
const SET_HEAD: usize = 96;
/// Bytes of `struct xt_get_revision`, and of packets and bytes together.
const REVISION: usize = 30;
const COUNTER: usize = 16;
/// Largest table that is taken.
const PIECE_MAX: usize = 8 << 20;

fn u32_at(raw: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([raw[at], raw[at + 1], raw[at + 2], raw[at + 3]])
}

fn table_name(raw: &[u8]) -> Result<TableName> {
    let end = raw
        .iter()
        .position(|&byte| byte == 0)
        .ok_or(Errno::EINVAL)?;
    TableName::parse(std::str::from_utf8(&raw[..end]).map_err(|_| Errno::ENOENT)?)
}

impl InetSocket {
    /// The options of this socket's family are in `level`.
    fn is_own_level(&self, level: u32) -> bool {
        match self.family {
            c::AF_INET6 => level == IPPROTO_IPV6,
            _ => level == IPPROTO_IP,
        }
    }

    fn is_v6(&self) -> bool {
        self.family == c::AF_INET6
    }

    fn check_tables(&self, k: &Kernel, t: &Task) -> Result<()> {
        if k.capable_in(t, &self.net.owner, Capability::NetAdmin) {
            Ok(())
        } else {
            Err(Errno::EPERM)
        }
    }

    /// `getsockopt(2)`; `None` when it is not one of these. Lengths are at `len`.
    pub fn get_tables(
        &self,
        k: &Rc<Kernel>,
        t: &Rc<Task>,
        (level, name): (u32, u32),
        (value, len): (u64, u64),
    ) -> Option<Result<()>> {
        // IPv6 numbers its revisions apart.
        let revisions = if self.is_v6() { 68 } else { 66 };
        if !self.is_own_level(level) {
            return None;
        }
        Some(match name {
            REPLACE_OR_INFO => self.get_info(k, t, value, len),
            COUNTERS_OR_ENTRIES => self.get_entries(k, t, value, len),
            ORIGINAL_DST => self.get_original(t, value, len),
            _ if name == revisions => self.get_revision(k, t, value, len, false),
            _ if name == revisions + 1 => self.get_revision(k, t, value, len, true),
            _ => return None,
        })
    }

    fn get_info(&self, k: &Kernel, t: &Task, value: u64, len: u64) -> Result<()> {
        self.check_tables(k, t)?;
        if t.read_u32(len)? as usize != INFO {
            return Err(Errno::EINVAL);
        }
        let mut raw: [u8; INFO] = t.read_bytes(value)?;
        let (info, _) = self.piece(table_name(&raw[..NAME])?)?;
        let numbers = [info.hooks]
            .into_iter()
            .chain(info.begins)
            .chain(info.policies)
            .chain([info.entries, info.size]);
        for (place, number) in raw[NAME..].chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        t.write_memory(value, &raw)
    }

    fn piece(&self, name: TableName) -> Result<(Info, Vec<u8>)> {
        self.with(|network| {
            let tables = network.space_mut(self.net.id)?.tables_mut(self.is_v6());
            Ok(tables.piece(name, self.is_v6()))
        })
    }

    fn get_entries(&self, k: &Kernel, t: &Task, value: u64, len: u64) -> Result<()> {
        self.check_tables(k, t)?;
        let room = t.read_u32(len)? as usize;
        let raw: [u8; GET_HEAD] = t.read_bytes(value)?;
        let size = u32_at(&raw, NAME) as usize;
        if room != size + GET_HEAD {
            return Err(Errno::EINVAL);
        }
        let (info, piece) = self.piece(table_name(&raw[..NAME])?)?;
        // It has changed since its size was asked for.
        if info.size as usize != size {
            return Err(Errno::EAGAIN);
        }
        t.write_memory(value + GET_HEAD as u64, &piece)
    }

    fn get_revision(
        &self,
        k: &Kernel,
        t: &Task,
        value: u64,
        len: u64,
        is_target: bool,
    ) -> Result<()> {
        self.check_tables(k, t)?;
        if t.read_u32(len)? as usize != REVISION {
            return Err(Errno::EINVAL);
        }
        let raw: [u8; REVISION] = t.read_bytes(value)?;
        let named = &raw[..REVISION - 1];
        let end = named.iter().position(|&byte| byte == 0).unwrap_or(0);
        let name = std::str::from_utf8(&named[..end]).map_err(|_| Errno::ENOENT)?;
        best_revision(name, raw[REVISION - 1], is_target, self.is_v6()).map(|_| ())
    }

    /// Where the peer wanted to go.
    fn get_original(&self, t: &Task, value: u64, len: u64) -> Result<()> {
        let original = self.read(|network| {
            let socket = network.get(self.id)?;
            let (local, remote) = socket.local.zip(socket.remote).ok_or(Errno::ENOENT)?;
            let proto = match self.kind {
                net::socket::Kind::Tcp => TCP,
                net::socket::Kind::Udp => UDP,
                _ => return Err(Errno::ENOPROTOOPT),
            };
            let answer = Tuple {
                proto: proto as u8,
                src: local.ip,
                src_port: local.port,
                dst: remote.ip,
                dst_port: remote.port,
            };
            let conntrack = &network.space(self.net.id)?.conntrack;
            let original = conntrack.original_of(&answer).ok_or(Errno::ENOENT)?;
            Ok(Endpoint::new(original.dst, original.dst_port))
        })?;
        let family = match original.ip {
            IpAddr::V4(_) => c::AF_INET,
            IpAddr::V6(_) => c::AF_INET6,
        };
        let address = emit_address(original, family, 0);
        if (t.read_u32(len)? as usize) < address.bytes().len() {
            return Err(Errno::EINVAL);
        }
        t.write_memory(value, address.bytes())?;
        t.write_u32(len, address.bytes().len() as u32)
    }

    /// `setsockopt(2)`; `None` when it is not one of these.
    pub fn set_tables(
        &self,
        k: &Rc<Kernel>,
        t: &Rc<Task>,
        (level, name): (u32, u32),
        (value, len): (u64, usize),
    ) -> Option<Result<()>> {
        if !self.is_own_level(level) {
            return None;
        }
        Some(match name {
            REPLACE_OR_INFO => self.replace(k, t, value, len),
            COUNTERS_OR_ENTRIES => self.add_counters(k, t, value, len),
            _ => return None,
        })
    }

    fn replace(&self, k: &Kernel, t: &Task, value: u64, len: usize) -> Result<()> {
        self.check_tables(k, t)?;
        let raw: [u8; SET_HEAD] = t.read_bytes(value)?;
        let name = table_name(&raw[..NAME])?;
        let five = |at: usize| [0, 4, 8, 12, 16].map(|step| u32_at(&raw, at + step));
        let info = Info {
            hooks: u32_at(&raw, 32),
            entries: u32_at(&raw, 36),
            size: u32_at(&raw, 40),
            begins: five(44),
            policies: five(64),
        };
        let size = info.size as usize;
        if len != SET_HEAD + size {
            return Err(Errno::ENOPROTOOPT);
        }
        if size > PIECE_MAX {
            return Err(Errno::ENOMEM);
        }
        let (expected, old_at) = (u32_at(&raw, 84), &raw[88..96]);
        let old_at = u64::from_le_bytes(old_at.try_into().unwrap_or_default());
        let mut piece = vec![0; size];
        t.read_memory(value + SET_HEAD as u64, &mut piece)?;
        let old = self.with(|network| {
            let tables = network.space_mut(self.net.id)?.tables_mut(self.is_v6());
            // Somebody else has changed it meanwhile.
            if tables.entries(name) != expected as usize {
                return Err(Errno::EAGAIN);
            }
            tables.replace(name, self.is_v6(), &info, &piece)
        })?;
        let raw: Vec<u8> = old
            .iter()
            .flat_map(|(packets, bytes)| [packets.to_le_bytes(), bytes.to_le_bytes()])
            .flatten()
            .collect();
        // The table is in place: what the caller's memory cannot take is lost (__do_replace).
        let _ = t.write_memory(old_at, &raw);
        Ok(())
    }

    fn add_counters(&self, k: &Kernel, t: &Task, value: u64, len: usize) -> Result<()> {
        self.check_tables(k, t)?;
        let raw: [u8; GET_HEAD] = t.read_bytes(value)?;
        let name = table_name(&raw[..NAME])?;
        let count = u32_at(&raw, NAME) as usize;
        if count > PIECE_MAX / COUNTER || len != GET_HEAD + count * COUNTER {
            return Err(Errno::EINVAL);
        }
        let mut raw = vec![0; count * COUNTER];
        t.read_memory(value + GET_HEAD as u64, &mut raw)?;
        let word = |raw: &[u8]| u64::from_le_bytes(raw.try_into().unwrap_or_default());
        let counters: Vec<Counters> = raw
            .chunks_exact(COUNTER)
            .map(|raw| (word(&raw[..8]), word(&raw[8..])))
            .collect();
        self.with(|network| {
            let tables = network.space_mut(self.net.id)?.tables_mut(self.is_v6());
            tables.add_counters(name, &counters)
        })
    }
}
