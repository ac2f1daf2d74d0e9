//! Where requests may go, and where secrets may.
//!
//! A registry names other servers: where tokens are given out, where blobs are, where uploads go.
//! What it names is not trusted more than itself:
//!
//! * From a registry with TLS nothing leads to a server without. From one without, only to this
//!   host, or anywhere if verification is off: the rule for registries themselves.
//! * Nothing leads to a link-local address, where clouds give out their machines' secrets, or to a
//!   loopback address, unless the registry itself is on such an address. Names are judged by the
//!   addresses that they have when a connection is made. Where a proxy looks names up, it judges.
//! * What proves who we are goes to the origin it is for: scheme, host and port. See `client`.
//!
//! Go's HTTP client, and so containers/image, drops credentials on redirects to another host, but
//! containers/image sends them to whatever address an upload is said to have (`docker_client.go`,
//! `makeRequestToResolvedURLOnce`, at df7e80d), and to a token server without TLS.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::auth::Environment;
use super::failure::{Failure, Forbidden};

/// The variables that name proxies (reqwest 0.13 `src/proxy.rs`).
const PROXY_VARIABLES: [&str; 6] = [
    "http_proxy",
    "HTTP_PROXY",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
];

/// What the registry names a server for; the beginning of a sentence about it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    Tokens,
    Redirect,
    Upload,
}

impl Purpose {
    fn phrase(self) -> &'static str {
        match self {
            Self::Tokens => "a token server",
            Self::Redirect => "a redirect to a server",
            Self::Upload => "an upload to a server",
        }
    }
}

/// Which servers may be asked on behalf of one registry.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// Whether the registry talks TLS.
    tls: bool,
    /// Whether servers without TLS may be elsewhere than on this host.
    plain_anywhere: bool,
    neighbours: Arc<Neighbours>,
}

/// Addresses that only servers on addresses of the same kind may send us to.
#[derive(Debug)]
pub(super) struct Neighbours {
    /// The registry's host, as it is in URLs.
    host: String,
    /// Hosts of proxies: the user has chosen them, wherever they are.
    proxies: Vec<String>,
    loopback: AtomicBool,
    link_local: AtomicBool,
}

impl Places {
    /// `base` is the registry's own address; `tls_verify` what the user says of it.
    pub(super) fn new(base: &Url, neighbours: &Arc<Neighbours>, tls_verify: bool) -> Self {
        Self {
            tls: base.scheme() == "https",
            plain_anywhere: !tls_verify,
            neighbours: Arc::clone(neighbours),
        }
    }

    /// Refuses a server that the registry names.
    pub(super) fn permit(&self, url: &Url, purpose: Purpose) -> Result<(), Failure> {
        let refuse = |what: String| Err(Failure::Answer(format!("{} {what}", purpose.phrase())));
        let Some(host) = url.host_str() else {
            return refuse("without a name".into());
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refuse(format!("with a password in its address ({host})"));
        }
        match url.scheme() {
            "https" => (),
            "http" if !self.tls && (self.plain_anywhere || is_this_host(host)) => (),
            "http" => return refuse(format!("without TLS ({})", origin(url))),
            other => return refuse(format!("of the unknown kind {other:?}")),
        }
        let here = is_this_host(host).then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let address = address(host).or(here);
        match address.and_then(|address| self.neighbours.objection(host, address)) {
            Some(kind) => refuse(format!("on the {kind} address {host}")),
            None => Ok(()),
        }
    }
}

impl Neighbours {
    /// Of the registry at `host`, which is as in a URL. `environment` names the proxies.
    pub(super) fn new(host: &str, environment: Environment<'_>) -> Arc<Self> {
        let here = address(host);
        Arc::new(Self {
            host: host.to_owned(),
            proxies: proxies(environment),
            loopback: AtomicBool::new(is_this_host(host)),
            link_local: AtomicBool::new(here.is_some_and(is_link_local)),
        })
    }

    /// Whether they are those of the registry at `host`.
    pub(super) fn is_of(&self, host: &str) -> bool {
        self.host == host
    }

    /// The kind of an address that `host` must not have.
    fn objection(&self, host: &str, address: IpAddr) -> Option<&'static str> {
        if host == self.host {
            None
        } else if is_link_local(address) && !self.link_local.load(Relaxed) {
            Some("link-local")
        } else if is_loopback(address) && !self.loopback.load(Relaxed) {
            Some("loopback")
        } else {
            None
        }
    }

    /// The addresses of a host that may be connected to.
    fn judge(&self, host: &str, found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Forbidden> {
        if host == self.host {
            let all = |kind: fn(IpAddr) -> bool| found.iter().all(|address| kind(address.ip()));
            self.loopback.fetch_or(all(is_loopback), Relaxed);
            self.link_local.fetch_or(all(is_link_local), Relaxed);
            return Ok(found);
        }
        if self.proxies.iter().any(|proxy| proxy == host) {
            return Ok(found);
        }
        match found.iter().find_map(|at| self.objection(host, at.ip())) {
            Some(kind) => Err(Forbidden(format!("a server on a {kind} address ({host})"))),
            None => Ok(found),
        }
    }
}

/// The hosts of the proxies that the HTTP library takes from the environment.
fn proxies(environment: Environment<'_>) -> Vec<String> {
    let values = PROXY_VARIABLES.iter().filter_map(|name| environment(name));
    let hosts = values.filter_map(|value| {
        let text = value.into_string().ok()?;
        let url = match text.contains("://") {
            true => Url::parse(&text),
            false => Url::parse(&format!("http://{text}")),
        };
        url.ok()?.host_str().map(str::to_owned)
    });
    hosts.collect()
}

/// Looks names up as the system does, and judges what they lead to.
pub(super) struct Resolver(pub(super) Arc<Neighbours>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let neighbours = Arc::clone(&self.0);
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            if found.is_empty() {
                return Err(io::Error::other("the name has no address").into());
            }
            let addresses = neighbours.judge(host, found)?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Whether a host, as URLs have it, is this one.
pub(super) fn is_this_host(host: &str) -> bool {
    host == "localhost" || address(host).is_some_and(is_loopback)
}

/// Whether two addresses belong to one server: same scheme, host and port.
pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.origin() == b.origin()
}

/// `scheme://host:port`, which is all of an address that is shown: the rest may have secrets in it.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn address(host: &str) -> Option<IpAddr> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    bare.unwrap_or(host).parse().ok()
}

/// What connects to this host; the unspecified address does, too.
fn is_loopback(address: IpAddr) -> bool {
    let address = address.to_canonical();
    address.is_loopback() || address.is_unspecified()
}

/// 169.254.0.0/16 and fe80::/10.
fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use reqwest::Url;

    use super::{Failure, Neighbours, Places, Purpose, is_this_host};

    #[test]
    fn this_host_has_many_names() {
        for (name, expected) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("localhost.example", false),
            ("quay.io", false),
            ("128.0.0.1", false),
            ("[2001:db8::1]", false),
        ] {
            assert_eq!(is_this_host(name), expected, "{name}");
        }
    }

    fn places(base: &str, tls_verify: bool) -> Places {
        let base = Url::parse(base).unwrap();
        let neighbours = Neighbours::new(base.host_str().unwrap(), &|_| None);
        Places::new(&base, &neighbours, tls_verify)
    }

    #[test]
    fn registries_do_not_send_us_anywhere() {
        for (base, url, expected) in [
            ("https://r.example", "https://auth.example/t", ""),
            ("https://r.example", "https://10.0.0.1/t", ""),
            ("https://r.example", "http://auth.example/t", "without TLS"),
            ("https://r.example", "http://r.example/t", "without TLS"),
            (
                "https://r.example",
                "https://169.254.169.254/",
                "link-local",
            ),
            ("https://r.example", "https://0xa9fea9fe/", "link-local"),
            ("https://r.example", "https://[fe80::1]/", "link-local"),
            (
                "https://r.example",
                "https://[::ffff:169.254.1.1]/",
                "link-local",
            ),
            ("https://r.example", "https://127.0.0.1/t", "loopback"),
            ("https://r.example", "https://0.0.0.0/t", "loopback"),
            ("https://r.example", "https://localhost/t", "loopback"),
            ("https://r.example", "https://[::1]:5000/t", "loopback"),
            ("https://r.example", "https://u:p@a.example/", "password"),
            ("https://r.example", "https://u@a.example/", "password"),
            ("https://r.example", "file:///etc/passwd", "without a name"),
            ("https://r.example", "ftp://a.example/", "unknown kind"),
            ("https://169.254.1.1", "https://169.254.1.1/t", ""),
            ("https://169.254.1.1", "https://169.254.1.2/t", ""),
            ("https://127.0.0.1", "https://localhost:1/t", ""),
            ("https://127.0.0.1", "http://localhost:1/t", "without TLS"),
            ("http://127.0.0.1", "http://localhost:1/t", ""),
            ("http://127.0.0.1", "http://auth.example/t", "without TLS"),
            ("http://localhost", "http://169.254.169.254/", "without TLS"),
        ] {
            let url = Url::parse(url).unwrap();
            match places(base, true).permit(&url, Purpose::Tokens) {
                Ok(()) => assert_eq!(expected, "", "{base} {url}"),
                Err(Failure::Answer(reason)) => assert!(
                    !expected.is_empty() && reason.contains(expected),
                    "{base} {url}: {reason}"
                ),
                Err(other) => panic!("{other:?}"),
            }
        }
        // Whoever turns verification off accepts plain HTTP, but not from a registry with TLS.
        let url = Url::parse("http://auth.example/t").unwrap();
        let judge = |base| places(base, false).permit(&url, Purpose::Tokens);
        assert!(judge("http://r.example").is_ok());
        assert!(judge("https://r.example").is_err());
    }

    #[test]
    fn names_are_judged_by_their_addresses() {
        let at = |address: &str| vec![SocketAddr::new(address.parse().unwrap(), 0)];
        let both = || [at("192.0.2.1"), at("169.254.169.254")].concat();
        let neighbours = Neighbours::new("r.example", &|name| {
            (name == "https_proxy").then(|| "Proxy.example:3128".into())
        });
        for (address, fine) in [
            ("192.0.2.1", true),
            ("169.254.169.254", false),
            ("fe80::1", false),
            ("127.0.0.1", false),
        ] {
            let judged = neighbours.judge("auth.example", at(address));
            assert_eq!(judged.is_ok(), fine, "{address}");
        }
        assert!(neighbours.judge("auth.example", both()).is_err());
        // The user has chosen the proxy.
        assert!(neighbours.judge("proxy.example", both()).is_ok());
        // A registry that is itself there may have neighbours there.
        assert!(neighbours.judge("r.example", both()).is_ok());
        assert!(neighbours.judge("auth.example", both()).is_err());
        assert!(neighbours.judge("r.example", at("127.0.0.1")).is_ok());
        assert!(neighbours.judge("auth.example", at("127.0.0.1")).is_ok());
        assert!(neighbours.judge("auth.example", at("169.254.1.1")).is_err());
    }
}
