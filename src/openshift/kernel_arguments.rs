//! Kernel arguments of a pool, and whether a node reboots for them at its first boot in the cluster.
//!
//! The machine-config operator gives every pool arguments of its own. Their MachineConfig,
//! `97-POOL-generated-kubelet`, sorts before ours, so they come first in the pool's list. At its first
//! boot a node compares that list with those of its arguments that are in the list, one by one and in
//! order, and reboots if they differ, even if it runs the pool's image already.
//!
//! Source: openshift/machine-config-operator, the newest commit of each release's branch on 2026-08-21
//! (release-4.12 1d4cfff, 4.13 a57ca29, 4.14 00b2e0b, 4.15 1ffa834, 4.16 7327bb2, 4.17 3bdd678, 4.18
//! f313997, 4.19 1a6905d, 4.20 afed099, 4.21 db84d83, 4.22 9027c94, 5.0 d20efd9; main 7ff337a):
//! `pkg/controller/kubelet-config/helpers.go` `updateMachineConfigwithCgroup` has the arguments,
//! `kubelet_config_nodes.go` says when they are given, `pkg/controller/common/helpers.go`
//! `MergeMachineConfigs` has the order, `pkg/daemon/daemon.go` `RunFirstbootCompleteMachineconfig` the
//! comparison. The arguments of main were also seen in pools that its code rendered.

use super::release::Release;

/// What the first boot of a node in the cluster does about kernel arguments, if the node runs the
/// pool's image already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstBoot {
    /// The pool has no arguments: nothing to reboot for.
    NoArguments,
    /// The node reboots unless the media have installed all of these, in this order.
    Compares(Vec<String>),
    /// The node doesn't look at the arguments that it has, so it reboots whatever the media install.
    Reboots,
}

/// The arguments that the operator gives to every pool of a release, in their order, if the cluster
/// says nothing else of cgroups (`cgroupMode` of `nodes.config.openshift.io`). Patch releases of 4.16
/// from before 2024-07-24 have `psi=1`.
fn of_operator(release: Release) -> &'static [&'static str] {
    match release.minor() {
        // Only clusters with a feature set or a latency profile get any.
        (4, ..=12) => &[],
        (4, 13) => &[
            "systemd.unified_cgroup_hierarchy=0",
            "systemd.legacy_systemd_cgroup_controller=1",
        ],
        (4, 14 | 15) => &[
            "systemd.unified_cgroup_hierarchy=1",
            "cgroup_no_v1=\"all\"",
            "psi=1",
        ],
        (4, 16..=20) => &[
            "systemd.unified_cgroup_hierarchy=1",
            "cgroup_no_v1=\"all\"",
            "psi=0",
        ],
        _ => &["systemd.unified_cgroup_hierarchy=1", "cgroup_no_v1=\"all\""],
    }
}

impl FirstBoot {
    /// What it does in a pool whose MachineConfigs have these arguments of ours.
    pub fn of(release: Release, ours: &[String]) -> Self {
        let operators = of_operator(release).iter().map(|&text| text.to_owned());
        let all: Vec<String> = operators.chain(ours.iter().cloned()).collect();
        match (all.is_empty(), release.compares_kernel_arguments()) {
            (true, _) => Self::NoArguments,
            (false, true) => Self::Compares(all),
            (false, false) => Self::Reboots,
        }
    }
}
