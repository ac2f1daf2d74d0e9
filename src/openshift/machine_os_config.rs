//! MachineOSConfigs, with which the cluster itself builds a pool's image, seeded with one that is
//! built already, so that the machines are installed from it.
//!
//! Source: openshift/machine-config-operator main 7ff337a, `pkg/controller/bootstrap/bootstrap.go` and
//! `pkg/controller/build`; API `machineconfiguration.openshift.io/v1`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::image_reference::{OsImage, OsImageError, PushSpec};
use super::pull_secret::{PullSecret, PullSecretError};

/// Longest Containerfile, in characters (`machineosconfigs` definition, `containerFile[].content`).
pub const CONTAINERFILE_MAX_CHARS: usize = 4096;

/// Longest name of a secret (RFC 1123 subdomain).
const NAME_MAX: usize = 253;

const NAMESPACE: &str = "openshift-machine-config-operator";

/// Annotation with the image that a pool is installed with.
pub(super) const PRE_BUILT: &str = "machineconfiguration.openshift.io/pre-built-image";

/// What the cluster needs for building the pools' images later.
#[derive(Clone, Debug, PartialEq)]
pub struct Seed {
    /// What is put on top of the release's image; the same as was built outside.
    pub containerfile: String,
    /// Where builds are pushed to.
    pub push_spec: PushSpec,
    /// The credentials for that.
    pub push_secret: PushSecret,
    /// The name of the secret with credentials for the images of `FROM`, if the cluster's own pull
    /// secret doesn't have them.
    pub base_pull_secret: Option<String>,
}

/// The secret with which builds are pushed.
#[derive(Clone, PartialEq)]
pub struct PushSecret {
    /// Its name.
    pub name: String,
    /// Its content, in the format of pull secrets; without it, somebody else makes the secret.
    pub content: Option<Vec<u8>>,
}

impl std::fmt::Debug for PushSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushSecret")
            .field("name", &self.name)
            .field("content", &self.content.as_ref().map(|_| "…"))
            .finish()
    }
}

/// What is wrong with a seed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// Longer than the cluster takes.
    #[error(
        "the Containerfile has {0} characters, and {CONTAINERFILE_MAX_CHARS} are taken by the cluster"
    )]
    TooLong(usize),
    /// Nothing that the cluster could build.
    #[error("the Containerfile {0}")]
    Containerfile(&'static str),
    /// Not what a secret is called.
    #[error("{0:?} is no name of a secret")]
    SecretName(String),
    /// Its content can't be used.
    #[error("the push secret can't be used: {0}")]
    SecretContent(PullSecretError),
    /// The image's name.
    #[error(transparent)]
    Image(#[from] OsImageError),
}

impl Seed {
    /// The MachineOSConfig of a pool whose nodes are installed from `image`.
    pub fn object(&self, pool: &str, image: &OsImage) -> Result<Value, SeedError> {
        self.check()?;
        image.check_for_builds()?;
        let mut spec = json!({
            "machineConfigPool": { "name": pool },
            "imageBuilder": { "imageBuilderType": "Job" },
            "renderedImagePushSpec": self.push_spec.to_string(),
            "renderedImagePushSecret": { "name": self.push_secret.name },
            "containerFile": [
                // Of all architectures, this is the only one that is ever used.
                { "containerfileArch": "NoArch", "content": self.containerfile },
            ],
        });
        if let Some(name) = &self.base_pull_secret {
            spec["baseImagePullSecret"] = json!({ "name": name });
        }
        Ok(json!({
            "apiVersion": "machineconfiguration.openshift.io/v1",
            "kind": "MachineOSConfig",
            "metadata": {
                "name": pool,
                "annotations": { PRE_BUILT: image.to_string() },
            },
            "spec": spec,
        }))
    }

    /// The Secret with which builds are pushed, if its content is given.
    pub fn secret(&self) -> Result<Option<Value>, SeedError> {
        self.check()?;
        Ok(self.push_secret.content.as_ref().map(|content| {
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": { "name": self.push_secret.name, "namespace": NAMESPACE },
                "type": "kubernetes.io/dockerconfigjson",
                "data": { ".dockerconfigjson": STANDARD.encode(content) },
            })
        }))
    }

    fn check(&self) -> Result<(), SeedError> {
        let chars = self.containerfile.chars().count();
        if chars > CONTAINERFILE_MAX_CHARS {
            return Err(SeedError::TooLong(chars));
        }
        if self.containerfile.trim().is_empty() {
            return Err(SeedError::Containerfile("is empty"));
        }
        if self.containerfile.contains('\0') {
            return Err(SeedError::Containerfile("has a NUL in it"));
        }
        let names = [Some(&self.push_secret.name), self.base_pull_secret.as_ref()];
        if let Some(name) = names.into_iter().flatten().find(|name| !is_subdomain(name)) {
            return Err(SeedError::SecretName(name.clone()));
        }
        if let Some(content) = &self.push_secret.content {
            PullSecret::parse(content).map_err(SeedError::SecretContent)?;
        }
        Ok(())
    }
}

/// An RFC 1123 subdomain.
pub(crate) fn is_subdomain(text: &str) -> bool {
    let is_inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= NAME_MAX && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str =
        "quay.io/me/os@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn seed(change: impl FnOnce(&mut Seed)) -> Result<Value, SeedError> {
        let mut seed = Seed {
            containerfile: "FROM configs AS final\n".to_owned(),
            push_spec: "quay.io/me/os:built".parse().unwrap(),
            push_secret: PushSecret {
                name: "push".to_owned(),
                content: None,
            },
            base_pull_secret: None,
        };
        change(&mut seed);
        seed.object("worker", &IMAGE.parse().unwrap())
    }

    #[test]
    fn it_is_called_like_its_pool_and_names_the_image() {
        let object = seed(|_| ()).unwrap();
        assert_eq!(object["metadata"]["name"], "worker");
        assert_eq!(object["spec"]["machineConfigPool"]["name"], "worker");
        assert_eq!(object["metadata"]["annotations"][PRE_BUILT], IMAGE);
        assert!(object["spec"].get("baseImagePullSecret").is_none());
        let files = object["spec"]["containerFile"].as_array().unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0]["containerfileArch"], "NoArch");
        let more = seed(|s| s.base_pull_secret = Some("pull".to_owned())).unwrap();
        assert_eq!(more["spec"]["baseImagePullSecret"]["name"], "pull");
    }

    #[test]
    fn the_containerfile_has_its_limit_in_characters() {
        let of = |text: String| seed(|s| s.containerfile = text);
        assert!(of("ü".repeat(CONTAINERFILE_MAX_CHARS)).is_ok());
        assert_eq!(
            of("ü".repeat(CONTAINERFILE_MAX_CHARS + 1)),
            Err(SeedError::TooLong(4097))
        );
        for bad in ["", " \n", "FROM a\0"] {
            let error = of(bad.to_owned()).unwrap_err();
            assert!(matches!(error, SeedError::Containerfile(_)), "{bad:?}");
        }
    }

    #[test]
    fn secrets_have_names_and_credentials() {
        for bad in ["", "A", "a_b", "-a", "a..b", &"a".repeat(254)] {
            let push = seed(|s| s.push_secret.name = bad.to_owned());
            assert_eq!(push, Err(SeedError::SecretName(bad.to_owned())));
            let pull = seed(|s| s.base_pull_secret = Some(bad.to_owned()));
            assert_eq!(pull, Err(SeedError::SecretName(bad.to_owned())));
        }
        let error = seed(|s| s.push_secret.content = Some(b"{}".to_vec())).unwrap_err();
        assert!(matches!(error, SeedError::SecretContent(_)));
    }

    #[test]
    fn the_secret_is_not_shown() {
        let secret = PushSecret {
            name: "push".to_owned(),
            content: Some(b"hunter2".to_vec()),
        };
        assert_eq!(
            format!("{secret:?}"),
            "PushSecret { name: \"push\", content: Some(\"…\") }"
        );
    }
}
