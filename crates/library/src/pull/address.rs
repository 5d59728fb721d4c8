//! Which addresses a name may lead to. A name is looked up once for a connection, all that it leads to is judged, and
//! what was judged is connected to: a second look-up could say something else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use super::origin::AllowList;

/// The look-up of names for every connection of a pull.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) allowed: AllowList,
    /// The operator's own, wherever it is.
    pub(super) proxy: Option<ureq::Proxy>,
}

impl Guard {
    fn is_proxy(&self, uri: &Uri) -> bool {
        let proxy = self.proxy.as_ref();
        proxy.is_some_and(|proxy| proxy.uri().authority() == uri.authority())
    }
}

/// An address that is refused, on its way through the errors of the client.
#[derive(Debug, thiserror::Error)]
#[error("an address of this machine or its network")]
pub(super) struct Private;

impl Resolver for Guard {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let addresses = DefaultResolver::default().resolve(uri, config, timeout)?;
        if self.is_proxy(uri) {
            return Ok(addresses);
        }
        let is_refused = addresses
            .iter()
            .any(|address| !is_public(address.ip()) && !self.allowed.may_be_private(uri.host(), address.port()));
        if is_refused {
            return Err(ureq::Error::Other(Box::new(Private)));
        }
        Ok(addresses)
    }
}

/// Whether an address belongs to the world rather than to this machine, its network, or nobody.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// 198.18.0.0/15, set aside for benchmarks, counts as public: the transparent proxies that many use in China answer
/// every name with an address of it.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [first, second, third, _] = address.octets();
    let is_shared = first == 100 && (64..128).contains(&second);
    let is_assigned_by_protocol = (first, second, third) == (192, 0, 0);
    !(first == 0
        || first >= 224
        || is_shared
        || is_assigned_by_protocol
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, .., before_last, last] = address.segments();
    let embedded = |high: u16, low: u16| is_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    if let Some(address) = address.to_ipv4_mapped() {
        return is_public_v4(address);
    }
    match (first, second) {
        // Translated to version 4 on the way.
        (0x64, 0xff9b) => embedded(before_last, last),
        // Tunnels and examples, which no server of models is behind.
        (0x2001, 0 | 0x0db8) | (0x2002, _) => false,
        // The rest of what is routed in the world.
        _ => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(address: &str, expected: bool) {
        let parsed: IpAddr = address.parse().unwrap();
        assert_eq!(is_public(parsed), expected, "{address}");
    }

    #[test]
    fn addresses_of_the_world_are_public() {
        for address in [
            "1.1.1.1",
            "104.21.75.227",
            "198.18.0.7",
            "2606:4700::1111",
            "64:ff9b::101:101",
            "::ffff:8.8.8.8",
        ] {
            check(address, true);
        }
    }

    #[test]
    fn addresses_of_a_machine_a_network_or_nobody_are_not() {
        let version_4 = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.1.2.3",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "192.0.2.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
        ];
        let version_6 = [
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a00:1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::",
        ];
        for address in version_4.iter().chain(&version_6) {
            check(address, false);
        }
    }
}
