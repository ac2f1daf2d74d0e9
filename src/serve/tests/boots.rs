//! Hosts: who gets which script, and Ignition once.

use std::io::{Read, Write};

use super::super::{Event, Ignition, IgnitionStatus, Phase, Step};
use super::{Bake, CONFIG, INITRAMFS, KERNEL, ROOTFS, Running, beside, soon, status, worker};

const MAC: &str = "52:54:00:00:00:01";

#[test]
fn a_script_for_the_host() {
    let bake = Bake::new();
    let mut options = bake.options();
    options.hosts = vec![worker()];
    let running = Running::start(options);
    let (status, script) = running.get("/boot.ipxe?mac=52-54-00-00-00-01");
    assert_eq!(status, 200);
    let at = &running.url;
    let expected = format!(
        "#!ipxe\n\
         echo Booting Mini <OS> 1 as worker-0\n\
         kernel {at}/{KERNEL}?mac={MAC} initrd=main console=ttyS0 ignition.firstboot quiet \
         ignition.platform.id=metal coreos.live.rootfs_url={at}/{ROOTFS}?mac={MAC} \
         ignition.config.url={at}/ignition/{MAC} || goto failed\n\
         initrd --name main {at}/{INITRAMFS}?mac={MAC} || goto failed\n\
         boot || goto failed\n\
         :failed\n\
         echo worker-0 could not boot Mini <OS> 1 from {at}\n\
         sleep 10\n\
         exit 1\n"
    );
    assert_eq!(script, expected);
    for path in [
        "/boot.ipxe?mac=52%3A54%3a00:00:00:01",
        "/boot/5254.0000.0001.ipxe",
        "/boot/01-52-54-00-00-00-01.ipxe",
        "/boot/525400000001.ipxe",
    ] {
        assert_eq!(running.get(path), (200, expected.clone()), "{path}");
    }
}

#[test]
fn an_installed_host_takes_its_config_to_disk() {
    let bake = Bake::new();
    let mut options = bake.options();
    let mut host = worker();
    host.target_disk = Some("/dev/vda".to_owned());
    options.hosts = vec![host];
    options.url = Some("http://boot.example:8080/".to_owned());
    let running = Running::start(options);
    let script = running.get("/boot/525400000001.ipxe").1;
    let expected = format!(
        "coreos.inst.install_dev=/dev/vda \
         coreos.inst.ignition_url=http://boot.example:8080/ignition/{MAC} || "
    );
    assert!(script.contains(&expected), "{script}");
    assert!(!script.contains("ignition.config.url"), "{script}");
    assert!(!script.contains("127.0.0.1"), "{script}");
}

#[test]
fn unknown_hosts() {
    let bake = Bake::new();
    let mut options = bake.options();
    options.hosts = vec![worker()];
    let open = Running::start(options.clone());
    let (status, script) = open.get("/boot/525400000009.ipxe");
    assert_eq!(status, 200);
    assert!(script.contains("kernel http"), "{script}");
    assert!(!script.contains("ignition.config.url"), "{script}");
    assert_eq!(open.board.status().hosts.len(), 2);

    options.strict = true;
    let strict = Running::start(options);
    let (status, script) = strict.get("/boot/525400000009.ipxe");
    assert_eq!(status, 200);
    assert_eq!(
        script,
        "#!ipxe\necho 52:54:00:00:00:09 is not among the hosts of this server\nsleep 10\nexit 1\n"
    );
    assert_eq!(strict.board.status().hosts.len(), 1);
    assert!(strict.events.lock().unwrap().iter().any(|event| matches!(
        event,
        Event::Refused { sentence, .. } if sentence.contains("52:54:00:00:00:09")
    )));
    for running in [open, strict] {
        assert_eq!(running.get("/ignition/525400000009").0, 404);
        assert_eq!(running.get("/boot/nonsense.ipxe").0, 400);
        assert_eq!(running.get("/boot.ipxe?mac=$%7Bnet0/mac%7D").0, 400);
        let (status, script) = running.get("/boot.ipxe");
        assert_eq!(status, 200);
        assert!(script.contains("chain --replace boot.ipxe?mac=${netX/mac:hexhyp}"));
    }
}

#[test]
fn a_host_header_cannot_write_the_script() {
    let bake = Bake::new();
    let running = Running::start(bake.options());
    for host in ["a b", "${net0/ip}", "h||shell", "h/x", "", &"h".repeat(300)] {
        let request = format!(
            "GET /boot/525400000009.ipxe HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(status(&running.ask_raw(&request).0), 400, "{host}");
    }
}

#[test]
fn ignition_once_per_boot() {
    let bake = Bake::new();
    let mut options = bake.options();
    options.hosts = vec![worker()];
    let running = Running::start(options.clone());
    let path = format!("/ignition/{MAC}");
    assert_eq!(running.ask(&format!("HEAD {path} HTTP/1.1")).0, 405);

    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let (head, body) = running.ask_raw(&request);
    assert_eq!((status(&head), body.as_slice()), (200, CONFIG.as_bytes()));
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains("content-type: application/vnd.coreos.ignition+json\r\n"),
        "{head}"
    );
    assert!(
        head.contains(&format!("content-length: {}\r\n", CONFIG.len())),
        "{head}"
    );
    assert!(head.contains("cache-control: no-store"), "{head}");
    soon("the delivery", || {
        running.first().ignition == IgnitionStatus::Delivered
    });
    let (status, why) = running.get(&path);
    assert_eq!(status, 410, "{why}");
    assert_eq!(running.get("/ignition/52-54-00-00-00-01").0, 410);

    // Only its own boot gives it another one.
    running.get("/boot/525400000002.ipxe");
    assert_eq!(running.get(&path).0, 410);
    running.get(&format!("/boot/{MAC}.ipxe"));
    assert_eq!(running.get(&path), (200, CONFIG.to_owned()));
    soon("the delivery", || {
        running.first().ignition == IgnitionStatus::Delivered
    });
    assert_eq!(running.get(&path).0, 410);

    options.repeat = true;
    let repeating = Running::start(options);
    for _ in 0..3 {
        assert_eq!(repeating.get(&path), (200, CONFIG.to_owned()));
    }
}

#[test]
fn a_config_beside_the_bake_is_for_its_host_only() {
    let bake = Bake::new();
    let path = beside(&bake, "config.json", CONFIG.as_bytes());
    let mut options = bake.options();
    options.hosts = vec![worker()];
    options.hosts[0].ignition = Some(Ignition::File(path.clone()));
    let running = Running::start(options);
    assert_eq!(running.get("/config.json").0, 404);
    // As editors do it.
    let new = beside(&bake, "new", CONFIG.as_bytes());
    std::fs::rename(new, path).unwrap();
    assert_eq!(running.get("/config.json").0, 404);
    assert_eq!(
        running.get(&format!("/ignition/{MAC}")),
        (200, CONFIG.to_owned())
    );
}

#[test]
fn a_broken_connection_does_not_use_the_config_up() {
    let bake = Bake::new();
    let mut options = bake.options();
    let mut host = worker();
    // More than the kernel's buffers take.
    let large = format!(
        r#"{{"ignition":{{"version":"3.4.0"}},"x":"{}"}}"#,
        "x".repeat(40 << 20)
    );
    host.ignition = Some(Ignition::Bytes(large.clone().into_bytes()));
    options.hosts = vec![host];
    let running = Running::start(options);
    let path = format!("/ignition/{MAC}");
    let mut stream = running.connect();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut some = [0; 100];
    stream.read_exact(&mut some).unwrap();
    assert!(some.starts_with(b"HTTP/1.1 200"));
    assert_eq!(running.get(&path).0, 503);
    drop(stream);
    soon("giving up", || {
        running.first().ignition == IgnitionStatus::Ready
    });
    let (status, config) = running.get(&path);
    assert_eq!(status, 200);
    assert!(config == large);
}

#[test]
fn a_boot_is_followed() {
    let bake = Bake::new();
    let mut options = bake.options();
    let mut other = worker();
    other.name = "worker-1".to_owned();
    other.macs = vec!["52:54:00:00:00:02".parse().unwrap()];
    options.hosts = vec![worker(), other];
    let running = Running::start(options);
    assert_eq!(running.first().phase, Phase::Waiting);
    running.get(&format!("/boot/{MAC}.ipxe"));
    assert_eq!(running.first().phase, Phase::Script);
    running.get(&format!("/{KERNEL}"));
    assert_eq!(running.first().phase, Phase::Kernel);
    running.get(&format!("/{INITRAMFS}?mac={MAC}"));
    assert_eq!(running.first().phase, Phase::Initramfs);

    // Half of the root file system, and then the rest.
    let half = |range: &str| {
        running.ask_raw(&format!(
            "GET /{ROOTFS}?mac={MAC} HTTP/1.1\r\nHost: h\r\nRange: bytes={range}\r\nConnection: close\r\n\r\n"
        ))
    };
    half("0-2499999");
    let step = |step: Step| running.first().steps.into_iter().find(|s| s.step == step);
    let rootfs = step(Step::Rootfs).unwrap();
    assert_eq!(
        (rootfs.bytes_sent, rootfs.bytes_total),
        (2_500_000, 5_000_011)
    );
    assert_eq!(rootfs.ended, None);
    half("2500000-");
    soon("the end", || step(Step::Rootfs).unwrap().ended.is_some());
    assert_eq!(step(Step::Rootfs).unwrap().bytes_sent, 5_000_011);

    running.get(&format!("/ignition/{MAC}"));
    assert_eq!(running.first().phase, Phase::Ignition);
    assert_eq!(running.ask(&format!("POST /done/{MAC} HTTP/1.1")).0, 200);
    assert_eq!(running.first().phase, Phase::Done);
    assert_eq!(running.get(&format!("/done/{MAC}")).0, 405);
    assert_eq!(running.ask("POST /done/525400000009 HTTP/1.1").0, 404);
    let script = running.get(&format!("/boot/{MAC}.ipxe")).1;
    assert_eq!(
        script,
        "#!ipxe\necho worker-0 is done, going on with its disk\nexit\n"
    );

    let status = running.board.status();
    assert_eq!(status.hosts[0].boots, 1);
    assert_eq!(status.hosts[1].phase, Phase::Waiting);
    let phases: Vec<Phase> = running
        .events
        .lock()
        .unwrap()
        .iter()
        .filter_map(|event| match event {
            Event::Host(host) => Some(host.phase),
            _ => None,
        })
        .collect();
    assert!(phases.is_sorted());
}

#[test]
fn hosts_that_cannot_be_told_apart_are_refused() {
    let bake = Bake::new();
    let refusal = |change: &dyn Fn(&mut Vec<super::Host>)| {
        let mut options = bake.options();
        options.hosts = vec![worker(), worker()];
        options.hosts[1].name = "worker-1".to_owned();
        options.hosts[1].macs = vec!["52:54:00:00:00:02".parse().unwrap()];
        change(&mut options.hosts);
        Bake::refusal(options)
    };
    let no_config = beside(&bake, "no-config", b"{}");
    let no_json = beside(&bake, "no-json", b"ignition:");
    for (change, sentence) in [
        (
            &(|hosts: &mut Vec<super::Host>| hosts[1].macs = hosts[0].macs.clone())
                as &dyn Fn(&mut Vec<super::Host>),
            "hosts \"worker-0\" and \"worker-1\" both have hardware address 52:54:00:00:00:01",
        ),
        (
            &|hosts| {
                let mac = hosts[1].macs[0];
                hosts[1].macs.push(mac);
            },
            "hosts \"worker-1\" and \"worker-1\" both have hardware address 52:54:00:00:00:02",
        ),
        (
            &|hosts| hosts[1].name = "worker-0".to_owned(),
            "two hosts are called \"worker-0\"",
        ),
        (
            &|hosts| hosts[1].macs.clear(),
            "host \"worker-1\" has no hardware address",
        ),
        (
            &|hosts| hosts[1].macs = vec!["ffffffffffff".parse().unwrap()],
            "host \"worker-1\" has ff:ff:ff:ff:ff:ff, which is not the address of one card",
        ),
        (
            &|hosts| hosts[1].kargs = vec!["a ${b}".to_owned()],
            "checking host \"worker-1\": \"${b}\" can't be a kernel argument: boot loaders take $ for something else",
        ),
        (
            &|hosts| hosts[1].kargs = vec!["a || shell".to_owned()],
            "checking host \"worker-1\": \"||\" can't be a kernel argument: boot loaders take | for something else",
        ),
        (
            &|hosts| hosts[1].name = "two words".to_owned(),
            "checking host \"two words\": \"two words\" is not one kernel argument: it has white space in it",
        ),
        (
            &|hosts| hosts[1].ignition = Some(Ignition::File(no_config.clone())),
            "no-config is no Ignition configuration: it has no ignition.version",
        ),
        (
            &|hosts| hosts[1].ignition = Some(Ignition::File(no_json.clone())),
            "no-json: expected value at line 1 column 1",
        ),
        (
            &|hosts| hosts[1].ignition = Some(Ignition::File("/nowhere.ign".into())),
            "looking at /nowhere.ign: No such file or directory (os error 2)",
        ),
    ] {
        let refusal = refusal(change);
        assert!(refusal.ends_with(sentence), "{refusal}\n{sentence}");
    }
}
