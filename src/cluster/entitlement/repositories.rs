//! Files of `/etc/yum.repos.d`, and what of them would not work in a build.
//!
//! A build has three directories of its own ([`super`]), and the rest of the base image; a file that a host
//! has elsewhere is not there. Format: dnf.conf(5).

use std::collections::BTreeSet;

use super::{CERTIFICATE, KEY};
use crate::foreign::visible;

/// Where builds have the entitlement.
const ENTITLEMENT_DIRECTORY: &str = "/etc/pki/entitlement/";
/// Where builds have keys that packages are signed by.
const KEYS_DIRECTORY: &str = "/etc/pki/rpm-gpg/";
/// Where every image has certificates of authorities.
const AUTHORITIES: [&str; 2] = ["/etc/pki/tls/", "/etc/pki/ca-trust/"];
/// Red Hat's content, which takes an entitlement.
const RED_HAT: &str = "cdn.redhat.com";

/// Whether packages of these repositories take an entitlement.
pub(super) fn is_entitled(text: &str) -> bool {
    settings(text).any(|setting| match setting.name {
        "sslclientcert" => setting.value.starts_with(ENTITLEMENT_DIRECTORY),
        _ => setting.value.contains(RED_HAT),
    })
}

/// The text as it works in a build, and remarks about what doesn't. `keys` are those that builds will
/// have, or none if they have the image's.
///
/// Hosts call their entitlement by its serial number, and clusters call theirs `entitlement.pem`
/// (insights-operator pkg/ocm/sca/sca.go@1a3bd690de); so the paths are changed.
pub(super) fn in_builds(file: &str, text: &str, keys: &BTreeSet<&str>) -> (String, Vec<String>) {
    let file = visible(file);
    let mut remarks = BTreeSet::new();
    let mut renamed = 0;
    let mut out = String::with_capacity(text.len());
    let mut begun = String::new();
    for line in text.split_inclusive('\n') {
        let Some(setting) = setting(line, &mut begun) else {
            out += line;
            continue;
        };
        let value = setting.value;
        let called = match setting.name {
            "sslclientcert" => Some(CERTIFICATE),
            "sslclientkey" => Some(KEY),
            _ => None,
        };
        if let Some(called) = called.filter(|_| value.starts_with(ENTITLEMENT_DIRECTORY)) {
            renamed += 1;
            let end = if line.ends_with('\n') { "\n" } else { "" };
            out += &format!("{} = {ENTITLEMENT_DIRECTORY}{called}{end}", setting.name);
            continue;
        }
        out += line;
        if let Some(remark) = remark(&setting, keys) {
            remarks.insert(format!("{file}: {remark}"));
        }
    }
    if renamed > 0 {
        remarks.insert(format!(
            "{file}: builds have the entitlement as {CERTIFICATE} and {KEY}; {renamed} lines name those now"
        ));
    }
    (out, remarks.into_iter().collect())
}

fn remark(setting: &Setting<'_>, keys: &BTreeSet<&str>) -> Option<String> {
    let Setting { name, value } = setting;
    let elsewhere = |path: &str| {
        format!(
            "{name} is {}, which a build has only if the image has it",
            visible(path)
        )
    };
    match *name {
        "sslclientcert" | "sslclientkey" => value.starts_with('/').then(|| elsewhere(value)),
        "sslcacert" => {
            let is_there = AUTHORITIES.iter().any(|place| value.starts_with(place));
            (value.starts_with('/') && !is_there).then(|| elsewhere(value))
        }
        "gpgkey" => {
            let mut urls = value.split([' ', '\t', ',']);
            urls.find_map(|url| {
                let path = url.strip_prefix("file://")?;
                match path.strip_prefix(KEYS_DIRECTORY) {
                    None => Some(elsewhere(path)),
                    Some(_) if keys.is_empty() => None,
                    Some(key) => (!keys.contains(key)).then(|| {
                        format!(
                            "gpgkey is {}, which is not among the keys that builds are given",
                            visible(path)
                        )
                    }),
                }
            })
        }
        "password" | "proxy_password" => Some(UNPROTECTED.to_owned()),
        _ => {
            let place = value.split_once("://").map_or("", |(_, rest)| rest);
            let host = place.split('/').next().unwrap_or_default();
            host.contains('@').then(|| UNPROTECTED.to_owned())
        }
    }
}

const UNPROTECTED: &str =
    "it has a password, and everybody who may read ConfigMaps of the namespace can read it";

/// A line that sets something.
struct Setting<'a> {
    name: &'static str,
    value: &'a str,
}

/// Settings that matter here; `*` is any other.
const NAMES: [&str; 7] = [
    "sslclientcert",
    "sslclientkey",
    "sslcacert",
    "gpgkey",
    "password",
    "proxy_password",
    "*",
];

fn settings(text: &str) -> impl Iterator<Item = Setting<'_>> {
    let mut begun = String::new();
    text.lines()
        .filter_map(move |line| setting(line, &mut begun))
}

/// What a line sets. A line that begins with a blank goes on with what was `begun`.
fn setting<'a>(line: &'a str, begun: &mut String) -> Option<Setting<'a>> {
    let text = line.trim();
    if text.is_empty() || text.starts_with(['#', ';', '[']) {
        return None;
    }
    let value = match line.starts_with([' ', '\t']) {
        true => text,
        false => {
            let (name, value) = text.split_once('=')?;
            *begun = name.trim().to_ascii_lowercase();
            value.trim()
        }
    };
    let known = NAMES.iter().find(|known| **known == *begun);
    let name = known.copied().unwrap_or("*");
    Some(Setting { name, value })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{in_builds, is_entitled};

    /// As subscription-manager 1.29 writes it on a host.
    const HOST: &str = "\
[rhel-9-for-x86_64-baseos-rpms]
name = Red Hat Enterprise Linux 9 for x86_64 - BaseOS (RPMs)
baseurl = https://cdn.redhat.com/content/dist/rhel9/$releasever/x86_64/baseos/os
enabled = 1
gpgcheck = 1
gpgkey = file:///etc/pki/rpm-gpg/RPM-GPG-KEY-redhat-release
sslverify = 1
sslcacert = /etc/rhsm/ca/redhat-uep.pem
sslclientkey = /etc/pki/entitlement/4653723971430838710-key.pem
sslclientcert = /etc/pki/entitlement/4653723971430838710.pem
";

    #[test]
    fn a_hosts_repository_names_what_builds_have() {
        let (text, remarks) = in_builds("redhat.repo", HOST, &BTreeSet::new());
        assert!(text.contains("\nsslclientkey = /etc/pki/entitlement/entitlement-key.pem\n"));
        assert!(text.ends_with("\nsslclientcert = /etc/pki/entitlement/entitlement.pem\n"));
        assert!(!text.contains("4653723971430838710"));
        assert_eq!(text.lines().count(), HOST.lines().count());
        assert_eq!(
            remarks,
            [
                "redhat.repo: builds have the entitlement as entitlement.pem and entitlement-key.pem; 2 lines name those now",
                "redhat.repo: sslcacert is /etc/rhsm/ca/redhat-uep.pem, which a build has only if the image has it",
            ]
        );
        assert!(is_entitled(HOST) && is_entitled(&text));
        let (again, _) = in_builds("redhat.repo", &text, &BTreeSet::new());
        assert_eq!(again, text);
    }

    #[test]
    fn what_a_build_would_not_find_is_said() {
        let remarks = |text: &str| in_builds("a.repo", text, &BTreeSet::from(["ACME"])).1;
        for (text, expected) in [
            ("[a]\ngpgkey=file:///etc/pki/rpm-gpg/ACME\n", ""),
            ("[a]\ngpgkey=file:///etc/pki/rpm-gpg/OTHER\n", "RPM"),
            (
                "[a]\ngpgkey=file:///etc/pki/rpm-gpg/ACME\n  file:///root/OTHER\n",
                "/root/OTHER",
            ),
            ("[a]\ngpgkey=https://example.com/key\n", ""),
            ("[a]\nsslcacert=/etc/pki/tls/certs/ca-bundle.crt\n", ""),
            ("[a]\nSSLClientCert = /root/me.pem\n", "/root/me.pem"),
            ("[a]\n# sslclientcert=/root/me.pem\n", ""),
            ("[a]\npassword=SECRET\n", "password"),
            ("[a]\nbaseurl=https://me:SECRET@example.com/\n", "password"),
            ("[a]\nbaseurl=https://example.com/a@b\n", ""),
        ] {
            let said = remarks(text).join("\n");
            let expected = expected.replace("RPM", "not among the keys");
            assert!(said.contains(&expected), "{text}: {said}");
            assert_eq!(said.is_empty(), expected.is_empty(), "{text}: {said}");
            assert!(!said.contains("SECRET"), "{said}");
        }
        assert!(!is_entitled("[a]\nbaseurl=https://example.com\n"));
        assert!(!is_entitled("[a]\n#baseurl=https://cdn.redhat.com\n"));
    }
}
