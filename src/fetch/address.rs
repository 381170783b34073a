//! Which addresses are anybody's business, and names that lead only there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::FetchError;

/// Resolves names for whoever connects, who goes to the very addresses that were looked at here:
/// a name that says something else the next time it is asked (DNS rebinding) gains nothing.
#[derive(Debug)]
pub(super) struct Guard {
    pub(super) private: bool,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let private = self.private;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            // The same words as for a private address: whoever may not reach a name does not learn
            // whether it is there.
            let found: Vec<SocketAddr> = found.map_err(|_| FetchError::Address)?.collect();
            // One bad address is enough: a name that mixes them is an attempt.
            if found.is_empty() || (!private && found.iter().any(|a| !is_public(a.ip()))) {
                return Err(FetchError::Address.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public internet (RFC 6890 and its registries).
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    !(ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 198 && (b == 18 || b == 19))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99))
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let low = Ipv4Addr::from(((u32::from(s[6])) << 16) | u32::from(s[7]));
    // Addresses that carry an IPv4 address are judged by it.
    if ip.to_ipv4_mapped().is_some() || (s[0] == 0x64 && s[1] == 0xff9b && s[2..6] == [0; 4]) {
        return is_public_v4(low);
    }
    if s[0] == 0x2002 {
        return is_public_v4(Ipv4Addr::from((u32::from(s[1]) << 16) | u32::from(s[2])));
    }
    // What is left of the global unicast block, without Teredo, benchmarking and documentation.
    (s[0] & 0xe000) == 0x2000
        && !(s[0] == 0x2001 && s[1] < 0x200)
        && !(s[0] == 0x2001 && s[1] == 0xdb8)
        && !(s[0] == 0x3fff && s[1] < 0x1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "::",
            "::1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "::127.0.0.1",
            "64:ff9b:1::1",
            "100::1",
            "0.1.2.3",
            "100.127.255.255",
            "192.0.0.170",
            "192.88.99.1",
            "198.51.100.1",
            "203.0.113.1",
            "239.255.255.255",
            "240.0.0.1",
            "fd00:ec2::254",
            "fec0::1",
            "ff0e::1",
            "::ffff:169.254.169.254",
            "::ffff:0.0.0.0",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "2002:c0a8:101::1",
            "2001:10::1",
            "3fff::1",
            "5f00::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "93.184.216.34",
            "2606:4700::1",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_resolves_to_nothing() {
        let resolve = async |private, name: &str| {
            let found = Guard { private }.resolve(name.parse().unwrap()).await;
            found.map(Iterator::count).map_err(|why| why.to_string())
        };
        let refused = Err(FetchError::Address.to_string());
        assert_eq!(resolve(false, "localhost").await, refused);
        assert_eq!(resolve(false, "nothing.invalid").await, refused);
        assert!(resolve(true, "localhost").await.unwrap() > 0);
    }
}
