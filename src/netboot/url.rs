//! URLs that machines fetch from while they boot.
//!
//! They end up in scripts, kernel command lines and configurations of boot loaders, which have quotes of
//! their own or none. So what any of them could misread is refused.

/// Longest URL. A kernel's whole command line has 2048 bytes on x86.
const MAX_BYTES: usize = 1024;

/// What machines fetch the root file system by: coreos/fedora-coreos-config
/// `overlay.d/05core/usr/lib/dracut/modules.d/35coreos-live/coreos-livepxe-rootfs.sh`@5cfd8ff7e04b.
const ROOTFS_SCHEMES: [&str; 3] = ["http", "https", "tftp"];

/// What URLs have besides letters and digits (RFC 3986, "reserved" and "unreserved", and `%`), without the
/// quote. Without `{`, nothing is left that iPXE expands.
const URL_MARKS: &str = ":/?#[]@!$&()*+,;=-._~%";

/// Why a text is not such a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("URL {url:?} {problem}")]
pub struct UrlError {
    /// The URL, without what could be a password.
    url: String,
    /// What is wrong with it.
    problem: &'static str,
    hint: &'static str,
}

impl UrlError {
    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        self.hint
    }
}

/// Checks a URL that names of files are put behind.
///
/// # Errors
/// Another scheme than http and https, a password, a query, characters that not all boot loaders take.
pub fn check_base(url: &str) -> Result<(), UrlError> {
    let wrong = |problem| UrlError {
        problem,
        ..UrlError::of(
            url,
            "give --url like http://192.168.1.5:8080 or https://web.example.com/coreos",
        )
    };
    let rest = rest(url, &["http", "https"], "is neither http nor https").map_err(wrong)?;
    let (authority, path) = split(rest);
    if rest.contains('@') {
        return Err(wrong(
            "has a password in it, which all machines and logs would show",
        ));
    }
    if rest.contains(['?', '#']) {
        return Err(wrong(
            "has a query or fragment, and file names are put behind it",
        ));
    }
    check_authority(authority).map_err(wrong)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._+=,/~%".contains(c);
    if !path.chars().all(plain) {
        return Err(wrong(
            "has a character in its path that not all boot loaders take",
        ));
    }
    Ok(())
}

/// Checks the URL of a root file system, which becomes a kernel argument.
///
/// # Errors
/// Another scheme than http, https and tftp; no host; white space, and other characters that URLs don't have.
pub fn check_rootfs(url: &str) -> Result<(), UrlError> {
    let wrong = |problem| UrlError {
        problem,
        ..UrlError::of(
            url,
            "give --rootfs-url like http://192.168.1.5:8080/my-live-rootfs.x86_64.img",
        )
    };
    let rest = rest(
        url,
        &ROOTFS_SCHEMES,
        "is neither http, https nor tftp, which live systems fetch by",
    );
    let (authority, _) = split(rest.map_err(wrong)?);
    if url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(wrong("becomes a kernel argument, and can't have spaces"));
    }
    if !url
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || URL_MARKS.contains(c))
    {
        return Err(wrong("has a character that URLs don't have"));
    }
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    check_authority(host).map_err(wrong)
}

impl UrlError {
    fn of(url: &str, hint: &'static str) -> Self {
        // What is in front of an @ could be a password.
        let shown = match url.rsplit_once('@') {
            Some((_, rest)) => format!("…@{rest}"),
            None => url.to_owned(),
        };
        Self {
            url: shown.chars().take(MAX_BYTES).collect(),
            problem: "",
            hint,
        }
    }
}

/// What is behind the scheme.
fn rest<'a>(url: &'a str, schemes: &[&str], other: &'static str) -> Result<&'a str, &'static str> {
    if url.len() > MAX_BYTES {
        return Err("is too long");
    }
    match url.split_once("://") {
        None => Err("is not complete: it has no scheme"),
        Some((scheme, rest)) if schemes.contains(&scheme) => Ok(rest),
        Some(_) => Err(other),
    }
}

/// Authority and path.
fn split(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find('/').unwrap_or(rest.len()))
}

fn check_authority(authority: &str) -> Result<(), &'static str> {
    let (host, port) = match authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
        Some((host, port)) => {
            let is_digit = |c: char| c.is_ascii_hexdigit() || ":.".contains(c);
            if !host.contains(':') || !host.chars().all(is_digit) {
                return Err("has no IPv6 address in its brackets");
            }
            (host, port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            if !host
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
            {
                return Err("has no host name or address in it");
            }
            (host, port)
        }
    };
    if host.is_empty() || host.starts_with(['-', '.']) {
        return Err("has no host");
    }
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|n| n > 0) && !port.starts_with('+');
    if !port.is_empty() && !port.strip_prefix(':').is_some_and(is_port) {
        return Err("has no port number behind its colon");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{check_base, check_rootfs};

    #[test]
    fn base_urls_are_what_names_can_be_put_behind() {
        for url in [
            "http://192.168.1.5:8080",
            "https://web.example.com/core_os/a~b%20c",
            "http://[fd00::5]:8080/x",
        ] {
            assert_eq!(check_base(url), Ok(()), "{url}");
        }
        for (url, problem) in [
            ("", "it has no scheme"),
            ("192.0.2.1", "it has no scheme"),
            ("ftp://h/", "is neither http nor https"),
            ("http://", "has no host"),
            ("http://h:x", "has no port number"),
            ("http://h:0", "has no port number"),
            ("http://[h]", "has no IPv6 address"),
            ("http://h/a b", "not all boot loaders take"),
            ("http://h/${x}", "not all boot loaders take"),
            ("http://h/?a", "has a query or fragment"),
            ("http://u:secret@h", "has a password in it"),
        ] {
            let error = check_base(url).unwrap_err().to_string();
            assert!(error.contains(problem), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(check_base(&format!("http://h/{}", "a".repeat(1024))).is_err());
    }

    #[test]
    fn root_file_systems_are_fetched_by_three_protocols() {
        for url in [
            "http://h/r.img",
            "https://h/r.img?x=1",
            "tftp://h/r.img",
            "http://u:p@h:80/r",
        ] {
            assert_eq!(check_rootfs(url), Ok(()), "{url}");
        }
        for url in [
            "ftp://h/r.img",
            "r.img",
            "http:///r.img",
            "http://h/a b",
            "nfs:h:/r",
            "http://h/\u{1}",
            "http://h/${net0/mac}.img",
            "http://h/a\"b",
            "http://h/ü",
        ] {
            assert!(check_rootfs(url).is_err(), "{url}");
        }
    }
}
