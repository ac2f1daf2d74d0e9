//! Debian's `docker-registry` on this host, filled by skopeo.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its own part"
)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use coreos_bake::testing::image::{Access, Patience};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const USER: &str = "builder";
pub const PASSWORD: &str = "pass:word";

/// Missing tools skip at home and fail in CI.
pub fn have(tools: &[(&str, &str)]) -> bool {
    tools.iter().all(|(tool, flag)| {
        let found = Command::new(tool).arg(flag).output().is_ok();
        assert!(
            found || std::env::var_os("REQUIRE_TOOLS").is_none(),
            "{tool} is not installed"
        );
        if !found {
            println!("skipped: {tool} is not installed");
        }
        found
    })
}

pub fn have_registry() -> bool {
    have(&[
        ("docker-registry", "--version"),
        ("htpasswd", "-V"),
        ("skopeo", "--version"),
    ])
}

pub fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    output.stdout
}

/// A running registry with one user, which goes away with this value.
pub struct Registry {
    process: Child,
    pub address: String,
    credentials: String,
    directory: TempDir,
}

impl Registry {
    /// With `tls`, its certificate is signed by the authority in `ca.crt` of its directory.
    pub fn start(tls: bool) -> Self {
        Self::start_for(USER, PASSWORD, tls)
    }

    /// With another user than the usual one.
    pub fn start_for(user: &str, password: &str, tls: bool) -> Self {
        let directory = TempDir::new().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        let users = run("htpasswd", &["-Bbn", user, password]);
        fs::write(path("users"), users).unwrap();
        let mut config = json!({
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": path("storage")}},
            "auth": {"htpasswd": {"realm": "test", "path": path("users")}},
            "http": {"addr": "127.0.0.1:0"},
        });
        if tls {
            let (key, certificate) = (path("key"), path("certificate"));
            let (ca_key, ca) = (path("ca.key"), path("ca.crt"));
            let fixed = [
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
            ];
            let own = ["/CN=test CA", "-keyout", &ca_key, "-out", &ca];
            run("openssl", &[&fixed[..], &own].concat());
            let signed = [
                "/CN=test",
                "-CA",
                &ca,
                "-CAkey",
                &ca_key,
                "-keyout",
                &key,
                "-out",
                &certificate,
                "-addext",
                "subjectAltName=IP:127.0.0.1,DNS:image-registry.openshift-image-registry.svc",
                "-addext",
                "basicConstraints=CA:FALSE",
            ];
            run("openssl", &[&fixed[..], &signed].concat());
            config["http"]["tls"] = json!({"certificate": certificate, "key": key});
        }
        // JSON is YAML.
        fs::write(path("config.yml"), config.to_string()).unwrap();
        let mut process = Command::new("docker-registry")
            .args(["serve", &path("config.yml")])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = log
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let rest = line.split_once("listening on ")?.1;
                Some(rest.split(['"', ',']).next()?.to_owned())
            })
            .expect("the registry says where it listens");
        std::thread::spawn(move || log.for_each(drop));
        Self {
            process,
            address,
            credentials: format!("{user}:{password}"),
            directory,
        }
    }

    /// Copies everything in a layout to the repository `name`.
    pub fn push(&self, layout: &Path, name: &str) {
        let source = format!("oci:{}", layout.display());
        let target = format!("docker://{}/{name}", self.address);
        run(
            "skopeo",
            &[
                "copy",
                "--all",
                "--dest-tls-verify=false",
                "--dest-creds",
                &self.credentials,
                &source,
                &target,
            ],
        );
    }

    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// Access with credentials for `host`.
    pub fn access(&self, host: &str, user: &str, password: &str) -> Access {
        use base64::Engine;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.access_with(&json!({"auths": {host: {"auth": auth}}}))
    }

    pub fn access_with(&self, authfile: &Value) -> Access {
        let file = tempfile::Builder::new()
            .suffix(".json")
            .tempfile_in(self.scratch())
            .unwrap();
        let (mut file, path) = file.keep().unwrap();
        file.write_all(authfile.to_string().as_bytes()).unwrap();
        let mut access = Access::new(self.scratch());
        access.authfile = Some(path);
        access.patience = Patience {
            attempts: 4,
            first_pause: Duration::from_millis(1),
            longest_pause: Duration::from_millis(8),
            silence: Duration::from_secs(20),
            ..Patience::default()
        };
        access
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
