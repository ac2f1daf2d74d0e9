//! The facts behind help and manual pages.

/// Commands to paste, by the subcommand that they are of.
pub(super) const EXAMPLES: [(&str, &[Example]); 13] = [
    (
        "",
        &[
            (
                "Bake an image from a registry",
                "coreos-bake bake docker://quay.io/me/os:9.6 -o media --driver megaraid_sas",
            ),
            (
                "Have openshift-install install it",
                "coreos-bake prepare cluster --release 4.19 --bake media",
            ),
            (
                "Complete in this bash",
                "source <(coreos-bake completions bash)",
            ),
        ],
    ),
    (
        "bake",
        &[
            (
                "An ISO and a PXE set",
                "coreos-bake bake oci:./my-image -o media --driver megaraid_sas",
            ),
            (
                "Everything, quickly",
                "coreos-bake bake oci:./my-image -o media -f all --compression fast",
            ),
            (
                "An ISO that installs without a question",
                "coreos-bake bake oci:./my-image -o media -f iso \\\n    --dest-device /dev/sda --dest-ignition worker.ign",
            ),
            (
                "What would be made",
                "coreos-bake bake oci:./my-image -o media --dry-run",
            ),
        ],
    ),
    (
        "check",
        &[
            (
                "An image",
                "coreos-bake check oci:./my-image --driver megaraid_sas,mpt3sas",
            ),
            (
                "An ISO, for the devices of a server",
                "coreos-bake check media/my.iso --device @lspci.txt",
            ),
            (
                "What the cluster will build",
                "coreos-bake check --containerfile Containerfile --driver megaraid_sas",
            ),
            (
                "Why a stage fails",
                "coreos-bake check oci:./my-image --driver mydisk --explain live-initramfs",
            ),
        ],
    ),
    (
        "layer",
        &[
            (
                "Put a driver of the image where it is missing",
                "coreos-bake layer oci:./my-image --repair --driver megaraid_sas \\\n    -o docker://quay.io/me/os:fixed",
            ),
            (
                "Add a module",
                "coreos-bake layer oci:./my-image --add-driver vendor.ko -o oci:./os:vendor",
            ),
        ],
    ),
    (
        "inspect",
        &[
            ("An image", "coreos-bake inspect oci:./my-image"),
            (
                "A disk, for a program",
                "coreos-bake inspect media/my-metal.x86_64.raw --format json",
            ),
        ],
    ),
    (
        "verify",
        &[
            ("What was baked", "coreos-bake verify media"),
            (
                "A stick that an ISO was written to",
                "coreos-bake verify /dev/sdb --sums media/bake.json",
            ),
        ],
    ),
    (
        "prepare",
        &[
            (
                "After each step of openshift-install",
                "coreos-bake prepare cluster --release 4.19 --bake media",
            ),
            (
                "What would change",
                "coreos-bake prepare cluster --release 4.19 --bake media --dry-run",
            ),
            (
                "All steps of an installation over the network",
                "coreos-bake prepare cluster --release 4.19 --bake media --path upi-pxe \\\n    --url http://192.168.1.5:8080 --disk /dev/sda -o recipe",
            ),
            ("As it was before", "coreos-bake prepare cluster --undo"),
        ],
    ),
    (
        "hosts",
        &[
            (
                "An ISO for each machine",
                "coreos-bake hosts media hosts.yaml -f iso -o isos",
            ),
            (
                "A tree for a web server",
                "coreos-bake hosts media hosts.yaml --url http://192.168.1.5/coreos -o /srv/www",
            ),
        ],
    ),
    (
        "serve",
        &[
            (
                "Install the machines of an inventory",
                "coreos-bake serve media --hosts hosts.yaml --listen 192.168.1.5:8080",
            ),
            (
                "What dnsmasq needs to lead machines there",
                "coreos-bake serve media --url http://192.168.1.5:8080 --dnsmasq 192.168.1.0/24",
            ),
        ],
    ),
    (
        "cluster",
        &[
            (
                "Have the cluster build a pool's image",
                "coreos-bake cluster handoff worker --containerfile Containerfile --push-spec registry.example.com/ocp/os:any --push-secret os-push --driver megaraid_sas",
            ),
            (
                "How the pools are, and what to do",
                "coreos-bake cluster status",
            ),
            (
                "Build again, once the repository is back",
                "coreos-bake cluster retry worker",
            ),
            (
                "Whether builds can install RHEL packages",
                "coreos-bake cluster entitle",
            ),
            (
                "Back to the release's own image, and what that costs",
                "coreos-bake cluster revert worker --dry-run",
            ),
            (
                "Keep the logs of failed builds",
                "coreos-bake cluster status --save-logs logs",
            ),
            (
                "What somebody who runs it needs",
                "coreos-bake cluster status --print-rbac",
            ),
            (
                "Have the cluster's monitoring call somebody",
                "coreos-bake cluster alerts | oc apply -f -",
            ),
        ],
    ),
    (
        "cache",
        &[
            ("Where it is, and how large", "coreos-bake cache show"),
            (
                "Keep what was used last",
                "coreos-bake cache prune --size 1G",
            ),
        ],
    ),
    (
        "completions",
        &[
            (
                "In this bash, and in later ones",
                "source <(coreos-bake completions bash)\necho 'source <(coreos-bake completions bash)' >> ~/.bashrc",
            ),
            (
                "For every zsh",
                "coreos-bake completions zsh > /usr/share/zsh/site-functions/_coreos-bake",
            ),
            (
                "For every fish",
                "coreos-bake completions fish > ~/.config/fish/completions/coreos-bake.fish",
            ),
        ],
    ),
    (
        "man",
        &[(
            "Into your own manual",
            "coreos-bake man ~/.local/share/man/man1\nman coreos-bake-bake",
        )],
    ),
];

/// What a command does, and the command.
pub(super) type Example = (&'static str, &'static str);

/// What the program ends with.
///
/// A code that not every command ends with has an argument that those have.
pub(super) const EXIT_STATUS: [(&str, &str, &str); 6] = [
    ("0", "done; nothing is known to be missing", ""),
    (
        "1",
        "failed, or what was asked for was found to be missing",
        "",
    ),
    ("2", "the command line is not right; nothing was read", ""),
    (
        "3",
        "done, although a driver is missing (--allow-missing-driver)",
        "allow_missing_driver",
    ),
    ("3", "a pool needs somebody", "kubeconfig"),
    (
        "130",
        "interrupted; no output is half-written (129, 143: by SIGHUP, SIGTERM)",
        "",
    ),
];

/// What a command reads besides what it is given, if it has an argument.
pub(super) const FILES: [(&str, &str, &str); 5] = [
    (
        "kubeconfig",
        "~/.kube/config",
        "clusters, and who you are there",
    ),
    (
        "cache",
        "~/.cache/coreos-bake/blocks",
        "compressed blocks of earlier bakes",
    ),
    (
        "authfile",
        "$XDG_RUNTIME_DIR/containers/auth.json",
        "credentials of podman login",
    ),
    (
        "authfile",
        "~/.config/containers/auth.json",
        "credentials of podman login",
    ),
    (
        "authfile",
        "~/.docker/config.json",
        "credentials of docker login",
    ),
];

/// Variables that stand for no option, and the argument that a command has which they matter to.
pub(super) const VARIABLES: [(&str, &str, &str); 7] = [
    (
        "kubeconfig",
        "KUBECONFIG",
        "kubeconfigs, instead of that one",
    ),
    (
        "cache",
        "XDG_CACHE_HOME",
        "where the cache is, instead of ~/.cache",
    ),
    (
        "authfile",
        "REGISTRY_AUTH_FILE",
        "credentials for registries",
    ),
    (
        "authfile",
        "DOCKER_CONFIG",
        "directory of docker's credentials",
    ),
    (
        "authfile",
        "TMPDIR",
        "where images are kept while they are looked into",
    ),
    ("color", "NO_COLOR", "no colours, if it is set"),
    (
        "verbose",
        "COREOS_BAKE_LOG",
        "what is logged: warn, info, debug, trace",
    ),
];

/// Other programs' pages that are worth reading.
pub(super) const ELSEWHERE: [&str; 2] = ["coreos-installer(8)", "podman-login(1)"];
