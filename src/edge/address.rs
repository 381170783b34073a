//! The client's address, also when it comes through proxies.
//!
//! A proxy adds the address it sees at the right end of `Forwarded` (RFC 7239) or
//! `X-Forwarded-For`; everything left of it was written by whoever came before, and is believed
//! only as far as those are proxies of ours as well.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client whose request came from `peer`.
///
/// Only a peer in `trusted` is believed, and only as far as the hops it names are trusted too. Our
/// proxies write one of the two headers and hand on what a client wrote in the other: when the two
/// name different clients there is no telling which, and the proxy itself is what is known.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(peer, trusted) {
        return peer;
    }
    let forwarded = hops(headers, &header::FORWARDED, forwarded);
    let x_forwarded_for = hops(headers, &X_FORWARDED_FOR, x_forwarded_for);
    let first_untrusted = |hops: Option<Vec<Hop>>| {
        let mut address = peer;
        for hop in hops?.into_iter().rev() {
            // Unknown, or hidden on purpose (RFC 7239 §6.2, §6.3): nothing is known beyond.
            let Some(hop) = hop else { break };
            address = hop;
            if !is_trusted(address, trusted) {
                break;
            }
        }
        Some(address)
    };
    match (first_untrusted(forwarded), first_untrusted(x_forwarded_for)) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => peer,
    }
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// A hop: its address, when it says one.
type Hop = Option<IpAddr>;

/// The hops that a header names, from left to right over all its lines; nothing when it is not
/// there.
fn hops(headers: &HeaderMap, name: &HeaderName, read: fn(&str) -> Vec<Hop>) -> Option<Vec<Hop>> {
    let mut found = None;
    for line in headers.get_all(name) {
        let found: &mut Vec<_> = found.get_or_insert_default();
        found.extend(line.to_str().map_or_else(|_| vec![None], read));
    }
    found
}

/// A line of `X-Forwarded-For`.
fn x_forwarded_for(line: &str) -> Vec<Hop> {
    line.split(',').map(|hop| node(hop.trim())).collect()
}

/// A line of `Forwarded`. An open quote would swallow what the proxy has added behind it.
fn forwarded(line: &str) -> Vec<Hop> {
    if !line.matches('"').count().is_multiple_of(2) {
        return vec![None];
    }
    split(line, ',').map(for_parameter).collect()
}

/// The parts between separators that stand outside of quotes.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == separator && !quoted
    })
}

/// `for=192.0.2.43;proto=https`, `For="[2001:db8::17]:4711"` (RFC 7239 §4).
fn for_parameter(element: &str) -> Option<IpAddr> {
    let mut named = split(element, ';').filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then_some(value)
    });
    let value = named.next()?;
    // RFC 7239 §4: a parameter stands once in an element.
    if named.next().is_some() {
        return None;
    }
    match value.strip_prefix('"') {
        Some(quoted) => node(quoted.strip_suffix('"')?),
        None => node(value),
    }
}

/// `192.0.2.43`, `192.0.2.43:4711`, `[2001:db8::17]`, `[2001:db8::17]:4711` (RFC 7239 §6), and the
/// bare `2001:db8::17` of `X-Forwarded-For`.
fn node(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address: Option<IpAddr> = bare.unwrap_or(text).parse().ok();
    address
        .or_else(|| {
            text.parse()
                .ok()
                .map(|with_port: SocketAddr| with_port.ip())
        })
        .map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn seen(lines: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        client_address(address("10.0.0.1"), &headers, &trusted).to_string()
    }

    #[test]
    fn the_last_address_that_is_no_proxy_of_ours() {
        for (lines, wanted) in [
            (&[][..], "10.0.0.1"),
            (&[("x-forwarded-for", "192.0.2.1")], "192.0.2.1"),
            (&[("x-forwarded-for", "1.1.1.1, 192.0.2.1")], "192.0.2.1"),
            (&[("x-forwarded-for", "192.0.2.1, 10.0.0.2")], "192.0.2.1"),
            (&[("x-forwarded-for", "192.0.2.1:4711")], "192.0.2.1"),
            (&[("x-forwarded-for", "2001:db8::1")], "2001:db8::1"),
            (&[("x-forwarded-for", "::ffff:192.0.2.1")], "192.0.2.1"),
            (
                &[("x-forwarded-for", "192.0.2.1,junk,10.0.0.2")],
                "10.0.0.2",
            ),
            (&[("x-forwarded-for", "")], "10.0.0.1"),
            (
                &[
                    ("x-forwarded-for", "1.1.1.1"),
                    ("x-forwarded-for", "192.0.2.1"),
                ],
                "192.0.2.1",
            ),
            (&[("forwarded", "for=192.0.2.1")], "192.0.2.1"),
            (
                &[("forwarded", "for=1.1.1.1, For=192.0.2.1;proto=https")],
                "192.0.2.1",
            ),
            (
                &[("forwarded", "by=10.0.0.1;for=\"[2001:db8::17]:4711\"")],
                "2001:db8::17",
            ),
            (
                &[("forwarded", "for=\"192.0.2.1:80\", for=\"[fd00::1]\"")],
                "192.0.2.1",
            ),
            (&[("forwarded", "for=192.0.2.1, for=unknown")], "10.0.0.1"),
            (
                &[("forwarded", "for=192.0.2.1, for=_hidden, for=10.0.0.9")],
                "10.0.0.9",
            ),
            (
                &[("forwarded", "host=\"a,for=1.1.1.1\";for=192.0.2.1")],
                "192.0.2.1",
            ),
            (&[("forwarded", "for=1.1.1.1;for=192.0.2.1")], "10.0.0.1"),
            (
                &[("forwarded", "for=1.1.1.1;x=\", for=192.0.2.1")],
                "10.0.0.1",
            ),
            // Which of the two the proxy wrote is not known.
            (
                &[
                    ("forwarded", "for=1.1.1.1"),
                    ("x-forwarded-for", "192.0.2.1"),
                ],
                "10.0.0.1",
            ),
            (
                &[
                    ("forwarded", "for=192.0.2.1"),
                    ("x-forwarded-for", "192.0.2.1"),
                ],
                "192.0.2.1",
            ),
        ] {
            assert_eq!(seen(lines), wanted, "{lines:?}");
        }
    }

    proptest! {
        /// Whatever a stranger sends, a server without proxies sees the peer.
        #[test]
        fn without_proxies_nothing_is_believed(written in "[ -~]{0,60}", peer: [u8; 4]) {
            let mut headers = HeaderMap::new();
            headers.insert("forwarded", written.parse().unwrap());
            headers.insert("x-forwarded-for", written.parse().unwrap());
            let peer = IpAddr::from(peer);
            prop_assert_eq!(client_address(peer, &headers, &[]), peer);
            let elsewhere = ["198.51.100.7/32".parse().unwrap()];
            prop_assume!(peer != address("198.51.100.7"));
            prop_assert_eq!(client_address(peer, &headers, &elsewhere), peer);
        }

        /// Whatever a client writes into both headers, a proxy that appends the client's address
        /// to one of them leaves two possibilities: that address, or the proxy's own.
        #[test]
        fn no_client_behind_a_proxy_passes_for_another(
            forwarded in prop::option::of("(for=[0-9.:\"\\[\\];, ]{0,20}|[ -~]{0,40})"),
            x_forwarded_for in prop::option::of("([0-9a-f.:, \\[\\]]{0,40}|[ -~]{0,40})"),
            client in 1u8..=254,
            appends_to_forwarded: bool,
            on_a_line_of_its_own: bool,
        ) {
            let client = IpAddr::from([192, 0, 2, client]);
            let (to, mine) = if appends_to_forwarded {
                ("forwarded", format!("for=\"{client}:4711\""))
            } else {
                ("x-forwarded-for", client.to_string())
            };
            let mut headers = HeaderMap::new();
            for (name, written) in
                [("forwarded", forwarded), ("x-forwarded-for", x_forwarded_for)]
            {
                let written = written.into_iter();
                let lines: Vec<_> = match (name == to, on_a_line_of_its_own) {
                    (false, _) => written.collect(),
                    (true, true) => written.chain([mine.clone()]).collect(),
                    (true, false) => {
                        vec![written.map(|w| w + ", ").collect::<String>() + &mine]
                    }
                };
                for line in lines {
                    headers.append(name, line.parse().unwrap());
                }
            }
            let proxy = address("10.0.0.1");
            let found = client_address(proxy, &headers, &["10.0.0.1/32".parse().unwrap()]);
            prop_assert!(found == client || found == proxy, "{found}");
        }
    }
}
