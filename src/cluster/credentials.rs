//! Whether a secret will do for a build.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use secrecy::SecretString;
use serde_json::Value;

use crate::openshift::{PullSecret, PushSpec};

/// What is so of a secret that a build needs. Nothing of its content is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// There is no such secret.
    Absent,
    /// It is not one that builds take.
    Unusable(String),
    /// It has nothing for the registry that is pushed to.
    NotFor,
    /// It has what is needed, as far as can be seen.
    Fit,
}

/// The types of secrets that builds take, and the keys with the credentials in them.
///
/// Truth: machine-config-operator pkg/controller/build/buildrequest/buildrequestopts.go@12e4d183a has each secret
/// checked by pkg/secrets (ValidateKubernetesImageRegistrySecret). That those two types pass is what its users
/// publish; its text was not read.
const TYPES: [(&str, &str); 2] = [
    ("kubernetes.io/dockerconfigjson", ".dockerconfigjson"),
    ("kubernetes.io/dockercfg", ".dockercfg"),
];

/// The key of a secret that has its credentials.
pub(super) fn key(secret: &Secret) -> Option<&'static str> {
    let kind = secret.type_.as_deref().unwrap_or_default();
    let (_, key) = TYPES.iter().find(|(name, _)| *name == kind)?;
    Some(key)
}

/// The credentials of a secret, as an authfile has them (containers-auth.json(5)).
fn authfile(secret: &Secret) -> Option<Vec<u8>> {
    let key = key(secret)?;
    let data = &secret.data.as_ref()?.get(key)?.0;
    // The older type has the entries without a frame.
    Some(match key {
        ".dockercfg" => [b"{\"auths\":", &**data, b"}"].concat(),
        _ => data.clone(),
    })
}

/// User and password that a secret has for the registry at `host`, as base64 of `USER:PASSWORD`.
pub(super) fn login(secret: &Secret, host: &str) -> Option<SecretString> {
    let content: Value = serde_json::from_slice(&authfile(secret)?).ok()?;
    let entry = &content["auths"][host];
    let text = |key: &str| entry[key].as_str().filter(|text| !text.is_empty());
    let plain = || Some(STANDARD.encode(format!("{}:{}", text("username")?, text("password")?)));
    let auth = text("auth").map(str::to_owned).or_else(plain)?;
    Some(auth.into())
}

/// Judges a secret; `place` is where it is to push to, if that is what it is for.
pub(super) fn credentials(secret: Option<&Secret>, place: Option<&PushSpec>) -> Credentials {
    let Some(secret) = secret else {
        return Credentials::Absent;
    };
    let Some(key) = key(secret) else {
        let kind = secret.type_.as_deref().unwrap_or_default();
        return Credentials::Unusable(format!("it is of type {kind:?}"));
    };
    let Some(content) = authfile(secret) else {
        return Credentials::Unusable(format!("it has no key {key}"));
    };
    match PullSecret::parse(&content) {
        Err(error) => Credentials::Unusable(error.to_string()),
        Ok(secret) => match place {
            Some(place) if secret.entry_for_push(place).is_none() => Credentials::NotFor,
            _ => Credentials::Fit,
        },
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn judged(kind: &str, key: &str, content: &str) -> Credentials {
        let secret = Secret {
            type_: Some(kind.to_owned()),
            data: Some([(key.to_owned(), ByteString(content.into()))].into()),
            ..Secret::default()
        };
        let place = "quay.example.com/me/os:any".parse().unwrap();
        credentials(Some(&secret), Some(&place))
    }

    #[test]
    fn secrets_of_both_kinds_are_read() {
        let entry = r#"{"quay.example.com":{"auth":"bWU6c2VjcmV0"}}"#;
        let framed = format!(r#"{{"auths":{entry}}}"#);
        let [new, old] = TYPES;
        assert_eq!(judged(new.0, new.1, &framed), Credentials::Fit);
        assert_eq!(judged(old.0, old.1, entry), Credentials::Fit);
        let other = framed.replace("quay.example.com", "other.example.com");
        assert_eq!(judged(new.0, new.1, &other), Credentials::NotFor);
        for (kind, key, content) in [
            ("Opaque", new.1, &*framed),
            (new.0, "config.json", &framed),
            (new.0, new.1, entry),
            (new.0, new.1, "secret"),
        ] {
            let judged = judged(kind, key, content);
            let Credentials::Unusable(why) = judged else {
                panic!("{kind} {key} {content}: {judged:?}");
            };
            assert!(!why.contains("secret\"") && !why.contains("bWU6"), "{why}");
        }
        assert_eq!(credentials(None, None), Credentials::Absent);
    }
}
