//! A way to the cluster's own registry where it has no route: its port, forwarded by the API.
//!
//! Truth: cluster-image-registry-operator pkg/defaults/defaults.go@01e141d2 (namespace, label, port); kubernetes
//! staging/src/k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go@25d732ce (one connection for each
//! WebSocket). From Kubernetes 1.35 on, the API asks for `create` besides `get` (kubernetes pull request 134577).

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::Portforwarder;
use kube::{Api, Client, Config};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::super::kinds::{Kind, REGISTRY_NAMESPACE};
use super::super::names::SERVICE_AUTHORITIES;
use super::{ANSWER_MAX, JSON, Server};
use crate::failure::{Failure, sentence};
use crate::foreign::visible;

/// The cluster's own registry, by the name that nodes have for it.
pub const OWN_REGISTRY: &str = "image-registry.openshift-image-registry.svc";
/// What its pods have.
const SELECTOR: &str = "docker-registry=default";
/// Where its pods listen.
const PORT: u16 = 5000;
/// The key of what has the authorities that sign certificates of services.
const AUTHORITIES_KEY: &str = "service-ca.crt";

/// Whether an image, or a place for images, is in the cluster's own registry.
pub fn is_in_own_registry(name: &str) -> bool {
    name.split(['/', ':']).next() == Some(OWN_REGISTRY)
}

/// A port of this host that leads to a cluster's own registry, as long as this lives.
pub struct Tunnel {
    /// On the loopback address.
    pub address: SocketAddr,
    /// Who signs the registry's certificate, in PEM.
    pub authorities: Vec<u8>,
    // The other end hears that it is dropped.
    _open: oneshot::Sender<()>,
}

impl Server {
    /// Opens a way to the cluster's own registry.
    ///
    /// # Errors
    /// No pod of the registry that is ready; an API that forwards no port; missing rights.
    pub async fn registry_tunnel(&self) -> Result<Tunnel> {
        let name = SERVICE_AUTHORITIES;
        let authorities: Option<ConfigMap> = self.get(Kind::REGISTRY_CONFIG_MAP, name).await?;
        let data = authorities.and_then(|map| map.data?.remove(AUTHORITIES_KEY));
        let data = data.filter(|pem| !pem.trim().is_empty());
        let authorities = data.with_context(|| {
            format!("ConfigMap {name} in {REGISTRY_NAMESPACE} has no {AUTHORITIES_KEY}: who signs the registry's certificate is not known")
        })?;
        let pods = self.list::<Pod>(Kind::REGISTRY_POD, Some(SELECTOR), JSON);
        let pods = pods.await?.items;
        let ready = pods.iter().filter(|pod| is_ready(pod));
        let names = ready.filter_map(|pod| pod.metadata.name.as_deref());
        let Some(pod) = names.min() else {
            return Err(Failure::new(
                format!("no pod of the registry is ready in {REGISTRY_NAMESPACE}"),
                format!("`oc get pods -n {REGISTRY_NAMESPACE} -l {SELECTOR}` tells why"),
            )
            .into());
        };
        Ok(Tunnel {
            authorities: authorities.into_bytes(),
            ..Tunnel::open(self.config.clone(), pod.to_owned()).await?
        })
    }
}

impl Tunnel {
    /// Has a thread of its own, so that it works while the caller reads through it.
    async fn open(config: Config, pod: String) -> Result<Self> {
        let (open, closed) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("starting a tunnel")?;
        let dig = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = closed => (),
                    () = forward(config, &pod, tell) => (),
                }
            });
        };
        let thread = thread::Builder::new().name("tunnel".into());
        thread.spawn(dig).context("starting a tunnel")?;
        let address = told.await.context("starting a tunnel")??;
        Ok(Self {
            address,
            authorities: Vec::new(),
            _open: open,
        })
    }
}

/// Whether the pod takes requests.
fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let is_leaving = pod.metadata.deletion_timestamp.is_some();
    let mut conditions = conditions.into_iter().flatten();
    !is_leaving && conditions.any(|is| is.type_ == "Ready" && is.status == "True")
}

/// Forwards connections for ever, and says where they are taken once a first one has come through.
async fn forward(config: Config, pod: &str, tell: oneshot::Sender<Result<SocketAddr>>) {
    let started = async {
        let client = Client::try_from(config).context("preparing to talk to the cluster")?;
        let pods: Api<Pod> = Api::namespaced(client, REGISTRY_NAMESPACE);
        let first = timeout(ANSWER_MAX, connect(&pods, pod)).await;
        let first = first.context("the API has not answered")??;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("opening a port on this host")?;
        let address = listener
            .local_addr()
            .context("opening a port on this host")?;
        anyhow::Ok((pods, first, listener, address))
    };
    let (pods, mut first, listener) = match started.await {
        Ok((pods, first, listener, address)) => {
            // The caller may be gone; then so are we, soon.
            let _ = tell.send(Ok(address));
            (pods, Some(first), listener)
        }
        Err(error) => {
            let pod = visible(pod);
            let why = sentence(&*error);
            let _ = tell.send(Err(anyhow::anyhow!(
                "the cluster's API forwards no port of pod {pod} in {REGISTRY_NAMESPACE}: {why}"
            )));
            return;
        }
    };
    while let Ok((near, _)) = listener.accept().await {
        let (pods, pod, first) = (pods.clone(), pod.to_owned(), first.take());
        // What goes wrong here, the client sees as a connection that ends, and asks again.
        tokio::spawn(async move {
            let far = match first {
                Some(first) => first,
                None => connect(&pods, &pod).await?,
            };
            join(near, far).await
        });
    }
}

async fn connect(pods: &Api<Pod>, pod: &str) -> Result<Portforwarder> {
    let forwarder = pods.portforward(pod, &[PORT]).await;
    forwarder.map_err(|error| match error {
        // Whose name tells nothing.
        kube::Error::Service(error) => anyhow::anyhow!("{}", sentence(&*error)),
        error => error.into(),
    })
}

async fn join(mut near: TcpStream, mut far: Portforwarder) -> Result<()> {
    let mut stream = far.take_stream(PORT).context("no stream")?;
    copy_bidirectional(&mut near, &mut stream).await?;
    Ok(())
}
