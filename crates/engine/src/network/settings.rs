//! What `/etc/docker/daemon.json` says of networks.

use serde::Deserialize;

use super::subnet::{Subnet, parse_prefix};

/// A pool of subnets for networks of which none is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AddressPool {
    /// What is cut into subnets.
    pub base: String,
    /// The length of their prefixes.
    pub size: u8,
}

/// See the module's comment.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct NetworkSettings {
    /// Address and prefix of `docker0`.
    pub bip: String,
    /// Where containers on it get their addresses.
    pub fixed_cidr: String,
    /// Its subnet of IPv6.
    pub fixed_cidr_v6: String,
    /// It has IPv6.
    pub ipv6: bool,
    /// The default route of its containers.
    pub default_gateway: String,
    /// Its containers may talk to each other.
    pub icc: bool,
    /// Its containers' packets leave with the host's address.
    pub ip_masq: bool,
    /// The largest packet of networks.
    pub mtu: u32,
    /// Where ports are published that name no address.
    pub ip: String,
    /// Name servers of containers.
    pub dns: Vec<String>,
    /// Their options.
    pub dns_opts: Vec<String>,
    /// Their search list.
    pub dns_search: Vec<String>,
    /// In place of Docker's pools.
    pub default_address_pools: Vec<AddressPool>,
    /// What `host-gateway` stands for.
    pub host_gateway_ip: String,
}

/// What of `daemon.json` is followed here.
pub(crate) const FOLLOWED: &str = "bip default-address-pools dns dns-opts dns-search fixed-cidr fixed-cidr-v6 \
                                   host-gateway-ip icc ip ip-masq ipv6 mtu";

impl Default for NetworkSettings {
    fn default() -> NetworkSettings {
        NetworkSettings {
            bip: String::new(),
            fixed_cidr: String::new(),
            fixed_cidr_v6: String::new(),
            ipv6: false,
            default_gateway: String::new(),
            icc: true,
            ip_masq: true,
            mtu: 1500,
            ip: String::new(),
            dns: Vec::new(),
            dns_opts: Vec::new(),
            dns_search: Vec::new(),
            default_address_pools: Vec::new(),
            host_gateway_ip: String::new(),
        }
    }
}

impl NetworkSettings {
    /// Why a daemon cannot be started so.
    pub(crate) fn check(&self) -> Result<(), String> {
        let one = [&self.ip, &self.default_gateway, &self.host_gateway_ip];
        for text in self.dns.iter().chain(one).filter(|text| !text.is_empty()) {
            if text.parse::<std::net::IpAddr>().is_err() {
                return Err(format!("invalid IP address: {text}"));
            }
        }
        for text in [&self.bip, &self.fixed_cidr, &self.fixed_cidr_v6] {
            if !text.is_empty() && parse_prefix(text).is_none() {
                return Err(format!("invalid CIDR address: {text}"));
            }
        }
        for pool in &self.default_address_pools {
            let base = Subnet::parse(&pool.base).ok_or_else(|| {
                format!(
                    "invalid base pool \"{0}\": invalid CIDR address: {0}",
                    pool.base
                )
            })?;
            if pool.size < base.prefix || pool.size > if base.is_v6() { 128 } else { 32 } {
                return Err(format!("invalid pools size: {}", pool.size));
            }
        }
        Ok(())
    }

    /// The pools, and what they are cut into.
    pub(crate) fn pools(&self) -> Vec<(Subnet, u8)> {
        let own = self.default_address_pools.iter();
        let own: Vec<(Subnet, u8)> = own
            .filter_map(|pool| Some((Subnet::parse(&pool.base)?, pool.size)))
            .collect();
        match own.is_empty() {
            true => super::subnet::default_pools(),
            false => own,
        }
    }
}
