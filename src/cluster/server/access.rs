//! Which cluster, and as whom.

use std::path::PathBuf;

use anyhow::Result;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};

use crate::failure::{Failure, sentence};

/// What every pod has.
const POD_VARIABLE: &str = "KUBERNETES_SERVICE_HOST";

/// How to find the cluster, and as whom.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// A kubeconfig; `KUBECONFIG`, `~/.kube/config` or that of the pod without it.
    pub kubeconfig: Option<PathBuf>,
    /// A context in it; its current one without it.
    pub context: Option<String>,
}

/// The cluster that the user means: that of the kubeconfig, or in a pod without one, the pod's.
pub(super) async fn config(access: &Access) -> Result<Config> {
    let options = KubeConfigOptions {
        context: access.context.clone(),
        ..KubeConfigOptions::default()
    };
    let found = match &access.kubeconfig {
        Some(path) => match Kubeconfig::read_from(path) {
            Ok(file) => Config::from_custom_kubeconfig(file, &options).await,
            Err(error) => Err(error),
        },
        None => Config::from_kubeconfig(&options).await,
    };
    let is_named = access.kubeconfig.is_some() || access.context.is_some();
    let reason = match found {
        Ok(config) => return Ok(config),
        Err(_) if !is_named && std::env::var_os(POD_VARIABLE).is_some() => {
            match Config::incluster() {
                Ok(config) => return Ok(config),
                Err(error) => sentence(&error),
            }
        }
        // Their texts show lines of the file, which may have a token in them.
        Err(KubeconfigError::Parse(_)) => "the kubeconfig is not one, or is damaged".to_owned(),
        Err(error) => sentence(&error),
    };
    Err(Failure::new(
        format!("no cluster to talk to: {reason}"),
        "`oc login` makes a kubeconfig; --kubeconfig or KUBECONFIG names another",
    )
    .into())
}
