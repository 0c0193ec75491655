//! Access control: the token, and the names of this server.
//!
//! Every process of this machine and every page in this user's browser can reach a port of the loopback device. The token
//! stops other processes: only the reader of the printed address has it. It is in that address's fragment, which browsers
//! do not send. (They would send a cookie to servers on other ports.) Two headers of the browser stop other pages. `Host`
//! is the name by which the browser reached this server, and `Origin` the page that asks.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, HeaderName, header, uri::Authority};
use constant_time_eq::constant_time_eq;

/// The WebSocket protocol that a page requests, before its token.
pub(super) const PROTOCOL: &str = "ringbridge";

/// 256 random bits, as hexadecimal digits.
#[derive(Clone)]
pub(super) struct Token(String);

impl Token {
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Returns the token itself, for the address that is printed once.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares in constant time.
    fn is(&self, other: &str) -> bool {
        constant_time_eq(self.0.as_bytes(), other.as_bytes())
    }
}

/// The rules for requests.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) token: Token,
    pub(super) port: u16,
    /// This server listens on the loopback device only.
    pub(super) loopback: bool,
}

/// The reason for refusing a request. Its sender learns only the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this server does not go by that name: use the address that renderer-proc printed")]
    Host,
    #[error("another site's page may not talk to this renderer")]
    Origin,
    #[error("the token is missing or wrong: use the address that renderer-proc printed")]
    Token,
}

impl Door {
    /// Checks that a request names this server, and returns the name. For every request.
    pub(super) fn check_host<'a>(&self, headers: &'a HeaderMap) -> Result<&'a str, Refusal> {
        let (host, address, port) = own_host(headers).ok_or(Refusal::Host)?;
        let is_ours = address.is_loopback() || !self.loopback;
        if is_ours && port == self.port { Ok(host) } else { Err(Refusal::Host) }
    }

    /// Checks that a request is of this server's own page and has the token. For a page's socket.
    pub(super) fn check_page(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = self.check_host(headers)?;
        let origin = only(headers, header::ORIGIN).ok_or(Refusal::Origin)?;
        if origin.strip_prefix("http://").is_none_or(|origin| !origin.eq_ignore_ascii_case(host)) {
            return Err(Refusal::Origin);
        }
        let protocols = only(headers, header::SEC_WEBSOCKET_PROTOCOL).ok_or(Refusal::Token)?;
        match protocols.split_once(',') {
            Some((PROTOCOL, token)) if self.token.is(token.trim()) => Ok(()),
            _ => Err(Refusal::Token),
        }
    }
}

/// Returns the `Host` of a request, its address and its port, unless it is a name that can be rebound. An address cannot,
/// and no name server resolves `localhost`.
pub fn own_host(headers: &HeaderMap) -> Option<(&str, IpAddr, u16)> {
    let host = only(headers, header::HOST)?;
    let authority: Authority = host.parse().ok()?;
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let address = match name.parse() {
        Err(_) if name.eq_ignore_ascii_case("localhost") => Ipv4Addr::LOCALHOST.into(),
        address => address.ok()?,
    };
    (!host.contains('@')).then_some((host, address, authority.port_u16().unwrap_or(80)))
}

/// Returns the value of a header that occurs once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn door(loopback: bool) -> Door {
        Door { token: Token("0123".to_owned()), port: 4000, loopback }
    }

    fn headers(of: &[(HeaderName, &str)]) -> HeaderMap {
        of.iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn host(host: &str, loopback: bool) -> bool {
        door(loopback).check_host(&headers(&[(header::HOST, host)])).is_ok()
    }

    #[test]
    fn tokens_are_long_and_no_two_are_alike() {
        let (one, other) = (Token::new().unwrap(), Token::new().unwrap());
        assert_eq!(one.as_str().len(), 64);
        assert!(one.is(one.as_str()) && !one.is(other.as_str()));
        assert!(!one.is("") && !one.is(&one.as_str()[..63]));
    }

    #[test]
    fn a_host_is_an_address_or_localhost_with_the_right_port() {
        let loopback = "127.0.0.1:4000 127.3.2.1:4000 localhost:4000 LOCALHOST:4000 [::1]:4000";
        for good in loopback.split(' ') {
            assert!(host(good, true), "{good}");
        }
        let foreign = "evil.example:4000 127.0.0.1.evil.example:4000 127.0.0.1 127.0.0.1:4001 \
                       192.168.0.7:4000 x@127.0.0.1:4000 localhost.:4000  :4000 [::1:4000";
        for bad in foreign.split(' ') {
            assert!(!host(bad, true), "{bad}");
        }
        // A server for other machines has other addresses too, but no other name.
        assert!(host("192.168.0.7:4000", false) && host("127.0.0.1:4000", false));
        assert!(!host("evil.example:4000", false));
    }

    #[test]
    fn a_request_without_a_host_or_with_two_is_refused() {
        let mut two = headers(&[(header::HOST, "127.0.0.1:4000")]);
        two.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(door(true).check_host(&two), Err(Refusal::Host));
        assert_eq!(door(true).check_host(&HeaderMap::new()), Err(Refusal::Host));
    }
}
