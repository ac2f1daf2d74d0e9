//! Certificates of entitlements, and their keys.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;

use crate::support::{have, run};

/// Certificates and their keys, made once: the stories are of 2026-11-30.
pub(crate) struct Papers {
    directory: TempDir,
}

impl Papers {
    pub(crate) fn none() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn new() -> Self {
        let papers = Self::none();
        papers.make("valid", "rsa:2048", "20261001000000Z", "20270401000000Z");
        papers.make("newer", "ec", "20261101000000Z", "20270501000000Z");
        papers.make("expired", "ec", "20251001000000Z", "20261101120000Z");
        papers.make("future", "ec", "20270101000000Z", "20280101000000Z");
        papers
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// `NAME.pem` and `NAME-key.pem`.
    pub(crate) fn make(&self, name: &str, kind: &str, from: &str, until: &str) {
        let directory = self.directory.path();
        let config = "[req]\ndistinguished_name = dn\n[dn]\n[ca]\ndefault_ca = here\n[here]\ndatabase = index\n\
                      new_certs_dir = .\nrand_serial = yes\nunique_subject = no\ndefault_md = sha256\npolicy = any\n\
                      [any]\norganizationName = optional\ncommonName = supplied\n";
        fs::write(directory.join("config"), config).unwrap();
        fs::write(directory.join("index"), "").unwrap();
        let openssl = |arguments: &[&str]| {
            let mut openssl = Command::new("openssl");
            run(openssl.current_dir(directory).args(arguments));
        };
        let (key, certificate) = (format!("{name}-key.pem"), format!("{name}.pem"));
        let subject = format!("/O=7654321/CN={name}");
        let mut request = vec![
            "req", "-new", "-config", "config", "-nodes", "-newkey", kind,
        ];
        if kind == "ec" {
            request.extend(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        }
        request.extend(["-subj", &subject, "-keyout", &key, "-out", "request"]);
        openssl(&request);
        openssl(&[
            "ca",
            "-batch",
            "-config",
            "config",
            "-selfsign",
            "-notext",
            "-keyfile",
            &key,
            "-in",
            "request",
            "-out",
            &certificate,
            "-startdate",
            from,
            "-enddate",
            until,
        ]);
    }

    /// Fails if something of a private key is in `said`, as it is in the file or encoded once more.
    pub(crate) fn refuse_keys_in(&self, said: &str) {
        let squeezed: String = said.split_whitespace().collect();
        for name in ["valid", "newer", "expired", "future"] {
            let key = self.text(&format!("{name}-key.pem"));
            let mut lines = key.lines().filter(|line| !line.starts_with('-'));
            let line = lines.find(|line| line.len() > 40).unwrap();
            assert!(!squeezed.contains(line), "{name}: {said}");
            let encoded = STANDARD.encode(&key);
            assert!(!squeezed.contains(&encoded[60..120]), "{name}: {said}");
        }
        assert!(!said.contains("PRIVATE KEY"), "{said}");
    }
}

pub(crate) fn papers() -> Option<&'static Papers> {
    static PAPERS: OnceLock<Papers> = OnceLock::new();
    have("openssl").then(|| PAPERS.get_or_init(Papers::new))
}
