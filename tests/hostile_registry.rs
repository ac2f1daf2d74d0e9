//! Registries that attack: they flood, drip, redirect, lie about lengths and ask for secrets.
//!
//! Each case runs in a process of its own, so that its memory can be measured, with a short
//! patience. What has to come of all of them: an end in time, a little memory, and no secret with
//! a server that it is not for. The program itself meets a few with the patience that users have.

#[path = "hostile_registry/cases.rs"]
mod cases;
#[path = "registry/layout.rs"]
#[allow(dead_code, reason = "each test program uses its own part")]
mod layout;
#[path = "hostile_registry/server.rs"]
mod server;

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use bake_format::progress::Silent;
use bake_tree::Content;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coreos_bake::testing::image::{
    Access, Digest, Image, NewLayer, Patience, Target, hint, open, write,
};
use serde_json::json;
use tempfile::TempDir;
use tokio_rustls::rustls::ServerConfig;

use cases::{Case, Login, Step, Wants, World};
use server::{Act, LARGE_BYTES, Request, Server};

const USER: &str = "builder";
const PASSWORD: &str = "hunter2-and-more";
const REFRESH: &str = "refresh-me-not";
const ACCESS: &str = "access-7f3a";

/// The most memory that a registry may cost us, in KiB.
const MEMORY_KIB_MAX: u64 = 64 << 10;

/// How long the program may take, whatever a registry does.
const END_MAX: Duration = Duration::from_secs(120);

/// How many processes run at once.
const AT_ONCE: usize = 16;

/// An image with one layer, an index with it, and what requests for them are answered with.
struct Served {
    config: Vec<u8>,
    layer: Vec<u8>,
    manifest: Vec<u8>,
    index: Vec<u8>,
}

fn digest(bytes: &[u8]) -> String {
    Digest::sha256(bytes).to_string()
}

impl Served {
    fn new() -> Self {
        let layer: Vec<u8> = (0..300_000u32).map(|i| (i >> 8) as u8 ^ i as u8).collect();
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        });
        let config = config.to_string().into_bytes();
        let part = |kind: &str, bytes: &[u8]| {
            let media_type = format!("application/vnd.oci.image.{kind}");
            json!({"mediaType": media_type, "digest": digest(bytes), "size": bytes.len()})
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": part("config.v1+json", &config),
            "layers": [part("layer.v1.tar", &layer)],
        });
        let manifest = manifest.to_string().into_bytes();
        let mut member = part("manifest.v1+json", &manifest);
        member["platform"] = json!({"architecture": "amd64", "os": "linux"});
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [member],
        });
        Self {
            config,
            layer,
            manifest,
            index: index.to_string().into_bytes(),
        }
    }

    fn step(&self, request: &Request) -> Option<Step> {
        let target = request.target.as_str();
        let is = |bytes: &[u8]| target.ends_with(&digest(bytes));
        Some(match request.method.as_str() {
            _ if target == "/v2/" => Step::Ping,
            _ if target.starts_with("/token") => Step::Token,
            "HEAD" => Step::Head,
            "POST" => Step::Start,
            "PUT" if target.contains("/manifests/") => Step::PutManifest,
            "PUT" => Step::Put,
            _ if target.contains("/tags/") => Step::Tags,
            _ if target.contains("/manifests/sha256:") => Step::Member,
            _ if target.contains("/manifests/") => Step::Manifest,
            _ if is(&self.config) => Step::Config,
            _ if is(&self.layer) => Step::Layer,
            _ => return None,
        })
    }

    /// What a good registry answers.
    fn good(&self, step: Step, request: &Request, push: bool) -> Act {
        let bytes = |bytes: &[u8]| Act::Reply(200, Vec::new(), bytes.to_vec());
        match step {
            Step::Ping => Act::json("{}"),
            Step::Token => Act::json(json!({"token": ACCESS})),
            Step::Manifest if push => Act::Stored,
            Step::Manifest if request.target.ends_with("/gone") => Act::status(404),
            Step::Manifest if request.target.ends_with("/index") => bytes(&self.index),
            Step::Manifest | Step::Member => bytes(&self.manifest),
            Step::Tags => Act::json(json!({"tags": ["1"]})),
            Step::Config => bytes(&self.config),
            Step::Layer => bytes(&self.layer),
            Step::Head => Act::status(404),
            Step::Start => Act::redirect(202, "/upload"),
            Step::Put | Step::PutManifest => Act::status(201),
        }
    }
}

fn basic() -> String {
    STANDARD.encode(format!("{USER}:{PASSWORD}"))
}

/// The answer of the registry of a case.
fn answer(case: &Case, world: &World, served: &Served, request: &Request) -> Act {
    let Some(step) = served.step(request) else {
        return match request.target.as_str() {
            "/v2/loop" => Act::redirect(307, "/v2/loop"),
            _ => Act::status(404),
        };
    };
    if step == case.step {
        return (case.act)(world);
    }
    let (challenge, wanted) = match &case.wants {
        Wants::Nothing => return served.good(step, request, case.push),
        Wants::Basic => ("Basic realm=\"x\"".to_owned(), format!("Basic {}", basic())),
        Wants::Token(realm) => (
            format!("Bearer realm=\"{}\",service=\"s\"", world.fill(realm)),
            format!("Bearer {ACCESS}"),
        ),
    };
    let known = step == Step::Token || request.header("authorization") == Some(&wanted);
    if step == Step::Ping || !known {
        let challenge = format!("www-authenticate: {challenge}");
        return Act::Reply(401, vec![challenge], Vec::new());
    }
    served.good(step, request, case.push)
}

/// What another server answers: it gives tokens out and takes uploads.
fn neighbour(request: &Request) -> Act {
    match request.target.as_str() {
        target if target.starts_with("/token") => Act::json(json!({"access_token": ACCESS})),
        target if target.starts_with("/upload") => Act::status(201),
        _ => Act::status(404),
    }
}

/// What all cases share.
struct Stage {
    directory: TempDir,
    tls: Arc<ServerConfig>,
    served: Arc<Served>,
    layout: layout::Layout,
}

/// Missing tools skip at home and fail in CI.
fn stage() -> Option<&'static Stage> {
    static STAGE: OnceLock<Option<Stage>> = OnceLock::new();
    let made = STAGE.get_or_init(|| {
        if Command::new("openssl").arg("version").output().is_err() {
            assert!(
                std::env::var_os("REQUIRE_TOOLS").is_none(),
                "openssl is not installed"
            );
            println!("skipped: openssl is not installed");
            return None;
        }
        let directory = TempDir::new().unwrap();
        Some(Stage {
            tls: server::tls(directory.path()),
            served: Arc::new(Served::new()),
            layout: layout::Layout::new(1000),
            directory,
        })
    });
    made.as_ref()
}

/// A registry and its two neighbours, ready for one case.
struct Played {
    case: Arc<Case>,
    registry: Server,
    neighbours: [Server; 2],
    authfile: PathBuf,
}

impl Played {
    fn new(stage: &Stage, case: Case) -> Self {
        let [registry, plain, other] = ["127.0.0.1", "127.0.0.2", "127.0.0.2"].map(Server::bind);
        let plain = Server::start(plain, None, neighbour);
        let other = Server::start(other, Some(Arc::clone(&stage.tls)), neighbour);
        let host = registry.local_addr().unwrap().to_string();
        let scheme = if case.tls { "https" } else { "http" };
        let world = World {
            registry: format!("{scheme}://{host}"),
            plain: plain.url(),
            tls: other.url(),
        };
        let (case, served) = (Arc::new(case), Arc::clone(&stage.served));
        let played = Arc::clone(&case);
        let tls = case.tls.then(|| Arc::clone(&stage.tls));
        let registry = Server::start(registry, tls, move |request| {
            answer(&played, &world, &served, request)
        });
        let entry = match case.login {
            Login::Password => json!({"auth": basic()}),
            Login::Identity => json!({"identitytoken": REFRESH}),
        };
        let authfile = json!({"auths": {host.as_str(): entry}});
        let port = registry.address.port();
        let path = stage.directory.path().join(format!("auth-{port}.json"));
        fs::write(&path, authfile.to_string()).unwrap();
        Self {
            case,
            registry,
            neighbours: [plain, other],
            authfile: path,
        }
    }

    fn image(&self) -> String {
        let tag = match self.case.step {
            Step::Member => "index",
            Step::Tags if self.case.name.contains(" Tags") => "gone",
            _ => "1",
        };
        format!("docker://{}/a/os:{tag}", self.registry.address)
    }

    /// Whether certificates are to be checked: nobody trusts those here.
    fn tls_verify(&self) -> bool {
        !self.case.tls && !self.case.name.contains("TLS/")
    }

    /// No secret is where it should not be.
    fn judge_secrets(&self, said: &str) {
        let name = &self.case.name;
        for secret in [PASSWORD, REFRESH, ACCESS, &basic()] {
            for neighbour in &self.neighbours {
                let heard = neighbour.heard();
                assert!(
                    self.case.trusted || !heard.contains(secret),
                    "{name}: {secret} went to {}: {heard}",
                    neighbour.url()
                );
                // Access tokens are for the registry alone.
                assert!(!heard.contains(ACCESS), "{name}: {heard}");
            }
            let overheard = self.registry.overheard();
            assert!(!overheard.contains(secret), "{name}: {overheard}");
            assert!(!said.contains(secret), "{name}: {secret} is shown: {said}");
        }
    }
}

/// Runs a program to its end, or for so long; its messages, and its peak of memory in KiB.
fn watch(command: &mut Command, most: Duration) -> (Option<bool>, String, u64) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pipes: [Box<dyn Read + Send>; 2] = [
        Box::new(child.stdout.take().unwrap()),
        Box::new(child.stderr.take().unwrap()),
    ];
    let readers = pipes.map(|mut pipe| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        })
    });
    let (begun, mut peak) = (Instant::now(), 0);
    let success = loop {
        peak = peak.max(peak_kib(&child.id().to_string()));
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status.success());
        }
        if begun.elapsed() > most || peak > 8 * MEMORY_KIB_MAX {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        thread::sleep(Duration::from_millis(10));
    };
    let said = readers.map(|reader| reader.join().unwrap()).concat();
    (success, said, peak)
}

/// The most memory a process has ever had, in KiB; nothing if it has ended.
fn peak_kib(process: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0)
}

/// Run in a process of its own for each case; does nothing by itself.
#[test]
fn child_meets_a_registry() {
    let variable = |name: &str| std::env::var(format!("HOSTILE_{name}"));
    let Ok(image) = variable("IMAGE") else {
        return;
    };
    let mut access = Access::new(std::env::temp_dir());
    access.authfile = Some(variable("AUTHFILE").unwrap().into());
    access.tls_verify = variable("TLS_VERIFY").unwrap() == "true";
    access.arch = Some("amd64".into());
    access.patience = Patience {
        attempts: 3,
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(4),
        fruitless: Duration::from_secs(4),
        // Longer than the rest, so that a loaded machine is not taken for a silent server.
        silence: Duration::from_secs(8),
        answer: Duration::from_secs(2),
        storing: Duration::from_secs(2),
        window: Duration::from_secs(2),
        least_bytes: 64 << 10,
    };
    let base = variable("BASE").ok().map(|base| {
        let base = open(&base.parse().unwrap(), &access).unwrap();
        let length = variable("BYTES").unwrap().parse().unwrap();
        (base, new_layer(length))
    });
    let before = peak_kib("self");
    let outcome = match base {
        Some((base, layer)) => push(&base, layer, &image, &access),
        None => pull(&image, &access),
    };
    println!("peak {} KiB", peak_kib("self").saturating_sub(before));
    match outcome {
        Ok(()) => println!("fine"),
        Err(error) => println!(
            "error: {error:#}\n{}",
            error.chain().find_map(hint).unwrap_or_default()
        ),
    }
}

fn pull(image: &str, access: &Access) -> anyhow::Result<()> {
    let image = open(&image.parse()?, access)?;
    for index in 0..image.layers.len() {
        io::copy(&mut image.layer(index)?, &mut io::sink())?;
    }
    Ok(())
}

fn push(base: &Image, layer: NewLayer, image: &str, access: &Access) -> anyhow::Result<()> {
    let derived = base.derive(layer)?;
    let target: Target = image.parse()?;
    write(base, &derived, &target, access, false, &Silent).map(drop)
}

/// Bytes that do not have to be a tar: nobody looks into what is sent.
fn new_layer(length: usize) -> NewLayer {
    let blob = vec![7; length];
    NewLayer {
        digest: Digest::sha256(&blob),
        diff_id: Digest::sha256(&blob),
        blob: Content::bytes(blob),
        created_by: "a test".into(),
    }
}

fn play(stage: &Stage, case: Case) {
    let played = Played::new(stage, case);
    let case = &played.case;
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child_meets_a_registry", "--nocapture"])
        .env("HOME", stage.directory.path())
        .env("HOSTILE_IMAGE", played.image())
        .env("HOSTILE_AUTHFILE", &played.authfile)
        .env("HOSTILE_TLS_VERIFY", played.tls_verify().to_string());
    if case.push {
        let base = format!("oci:{}", stage.layout.path().display());
        let large = case.name.starts_with("large upload");
        let length = if large { LARGE_BYTES } else { 1000 };
        command.env("HOSTILE_BASE", base);
        command.env("HOSTILE_BYTES", length.to_string());
    }
    let (success, said, _) = watch(&mut command, END_MAX);
    let name = &case.name;
    assert_eq!(success, Some(true), "{name} did not end: {said}");
    let line = |start: &str| said.lines().find_map(|line| line.strip_prefix(start));
    let peak = line("peak ").and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    let peak = peak.unwrap_or_else(|| panic!("{name}: {said}"));
    assert!(peak < MEMORY_KIB_MAX, "{name} cost {peak} KiB");
    match case.told {
        "" => assert!(line("fine").is_some(), "{name}: {said}"),
        told => {
            let error = line("error: ").unwrap_or_else(|| panic!("{name} went well: {said}"));
            assert!(error.contains(told), "{name}: {error}");
        }
    }
    played.judge_secrets(&said);
}

#[test]
fn hostile_registries_get_neither_time_nor_memory_nor_secrets() {
    let Some(stage) = stage() else {
        return;
    };
    let only = std::env::var("HOSTILE_ONLY").unwrap_or_default();
    let cases: VecDeque<Case> = cases::all()
        .into_iter()
        .filter(|case| case.name.contains(&only))
        .collect();
    let count = cases.len();
    let (begun, cases, failed) = (Instant::now(), Mutex::new(cases), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(case) = cases.lock().unwrap().pop_front() else {
                        return;
                    };
                    let played = catch_unwind(AssertUnwindSafe(|| play(stage, case)));
                    if let Err(reason) = played {
                        let reason = reason.downcast::<String>();
                        failed.lock().unwrap().push(*reason.unwrap_or_default());
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    println!("{count} cases in {:?}", begun.elapsed());
    assert!(
        failed.is_empty(),
        "{} of {count} cases:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

/// The program with the patience that users have.
#[test]
fn the_program_ends_in_time() {
    let Some(stage) = stage() else {
        return;
    };
    let wanted = [
        ("flood Token 200+tls", "a token that is malformed"),
        ("flood Layer 500", "in 6 attempts"),
        ("drip Manifest+tls", "is too slow with"),
        ("drip Layer", "is too slow with"),
    ];
    thread::scope(|scope| {
        for (name, told) in wanted {
            scope.spawn(move || {
                let case = cases::all().into_iter().find(|case| case.name == name);
                let played = Played::new(stage, case.expect("there is such a case"));
                let begun = Instant::now();
                let mut command = Command::new(env!("CARGO_BIN_EXE_coreos-bake"));
                command
                    .args(["inspect", &played.image(), "--authfile"])
                    .arg(&played.authfile)
                    .args(["--tls-verify", &played.tls_verify().to_string()])
                    .env("HOME", stage.directory.path())
                    .env("COREOS_BAKE_LOG", "trace");
                let (success, said, peak) = watch(&mut command, END_MAX);
                println!("{name}: {:?}, {peak} KiB", begun.elapsed());
                assert_eq!(success, Some(false), "{name}: {said}");
                assert!(said.contains(told), "{name}: {said}");
                assert!(peak < MEMORY_KIB_MAX, "{name} cost {peak} KiB");
                played.judge_secrets(&said);
            });
        }
    });
}
