//! Hosts: who gets which script, and Ignition once.

use std::io::{Read, Write};

use super::super::status::IgnitionStatus;
use super::super::status::Step;
use super::super::{Event, Phase};
use super::{Bake, CONFIG, INITRAMFS, KERNEL, ROOTFS, Running, Urls, beside, soon, status, worker};

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
    let urls = Urls::of(&script, at);
    let ticket = |url: &str| url.split('/').nth(2).unwrap().to_owned();
    let (secret, rootfs) = (ticket(&urls.kernel), ticket(&urls.rootfs));
    for ticket in [&secret, &rootfs] {
        assert_eq!(ticket.len(), 32, "{ticket}");
        assert!(
            ticket.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{ticket}"
        );
    }
    assert_ne!(secret, rootfs);
    let expected = format!(
        "#!ipxe\n\
         echo Booting Mini <OS> 1 as worker-0\n\
         kernel {at}/b/{secret}/{KERNEL} initrd=main console=ttyS0 ignition.firstboot quiet \
         ignition.platform.id=metal coreos.live.rootfs_url={at}/b/{rootfs}/{ROOTFS} \
         ignition.config.url={at}/b/{secret}/config.ign || goto failed\n\
         initrd --name main {at}/b/{secret}/{INITRAMFS} || goto failed\n\
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
        let (status, again) = running.get(path);
        let urls = Urls::of(&again, at);
        let again = again
            .replace(&ticket(&urls.kernel), &secret)
            .replace(&ticket(&urls.rootfs), &rootfs);
        assert_eq!((status, again), (200, expected.clone()), "{path}");
        assert_ne!(ticket(&urls.kernel), secret);
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
    let urls = Urls::of(&script, "http://boot.example:8080");
    let expected = format!(
        "coreos.inst.install_dev=/dev/vda \
         coreos.inst.ignition_url=http://boot.example:8080{} || ",
        urls.config()
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
fn a_config_goes_to_its_host_once() {
    let bake = Bake::new();
    let mut options = bake.options();
    options.hosts = vec![worker()];
    let running = Running::start(options.clone());
    let urls = running.boot(MAC);
    let path = urls.config();
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
    let is_delivered = |running: &Running| running.first().ignition == IgnitionStatus::Delivered;
    soon("the delivery", || is_delivered(&running));
    assert_eq!(running.get(path).0, 410);

    // No script gives another one, to itself or to anybody; each is told why, and the operator too.
    for from in [1, 9] {
        let (status, script) = running.get_from(from, &format!("/boot/{MAC}.ipxe"));
        assert_eq!(status, 200);
        assert_eq!(
            script,
            format!(
                "#!ipxe\necho {MAC} gets nothing here: this machine has its secrets already. Whoever runs \
                 coreos-bake serve lets it through with the key r, or with --repeat.\nsleep 10\nexit 1\n"
            )
        );
    }
    let refused = running.first().refused;
    let clients: Vec<String> = refused.iter().map(|r| r.client.to_string()).collect();
    assert_eq!(clients, ["127.0.0.1", "127.0.0.9"]);
    assert_eq!(running.first().boots, 1);

    // The operator lets one of them through, once.
    assert!(
        !running
            .board
            .allow("worker-0", "127.0.0.8".parse().unwrap())
    );
    assert!(
        running
            .board
            .allow("worker-0", "127.0.0.1".parse().unwrap())
    );
    assert!(
        running
            .get_from(9, &format!("/boot/{MAC}.ipxe"))
            .1
            .contains("gets nothing")
    );
    let again = running.boot(MAC);
    assert_eq!(running.first().ignition, IgnitionStatus::Ready);
    assert_eq!(running.get(path).0, 404);
    assert_eq!(running.get(again.config()), (200, CONFIG.to_owned()));
    soon("the delivery", || is_delivered(&running));
    assert!(
        running
            .get(&format!("/boot/{MAC}.ipxe"))
            .1
            .contains("gets nothing")
    );

    options.repeat = true;
    let repeating = Running::start(options);
    for from in [1, 9, 1] {
        let urls = repeating.boot_from(from, MAC);
        for _ in 0..3 {
            let answer = repeating.get_from(from, urls.config());
            assert_eq!(answer, (200, CONFIG.to_owned()));
        }
    }
}

#[test]
fn a_neighbour_gets_nothing_with_a_ticket() {
    let bake = Bake::new();
    let mut options = bake.options();
    let mut host = worker();
    host.overlay = Some(b"overlay".as_slice().into());
    host.target_disk = Some("/dev/vda".to_owned());
    options.hosts = vec![host];
    let running = Running::start(options);
    let urls = running.boot_from(2, MAC);
    let overlay = urls.overlay.clone().unwrap();
    let all = [
        &urls.kernel,
        &urls.initramfs,
        &overlay,
        &urls.rootfs,
        urls.config.as_ref().unwrap(),
    ];
    let before = running.first();
    for path in all {
        let (status, why) = running.get_from(9, path);
        assert_eq!(
            (status, &*why),
            (403, "this ticket belongs to another address\n"),
            "{path}"
        );
        // Neither does a browser on the machine itself.
        for header in [
            "Origin: null",
            "Referer: http://h/",
            "Sec-Fetch-Mode: no-cors",
            "User-Agent: Mozilla/5.0",
        ] {
            let line = format!("GET {path} HTTP/1.1\r\n{header}");
            assert_eq!(running.ask_from(2, &line).0, 403, "{header}");
            let line = format!("GET /boot/{MAC}.ipxe HTTP/1.1\r\n{header}");
            assert_eq!(running.ask_from(2, &line).0, 403, "{header}");
            let line = format!("POST {} HTTP/1.1\r\n{header}", urls.done);
            assert_eq!(running.ask_from(2, &line).0, 403, "{header}");
        }
        assert_eq!(
            running.ask_from(2, &format!("OPTIONS {path} HTTP/1.1")).0,
            405
        );
    }
    let after = running.first();
    assert_eq!(
        (after.phase, after.boots, after.client),
        (before.phase, 1, before.client)
    );
    assert_eq!(after.ignition, IgnitionStatus::Ready);
    assert_eq!(after.refused[0].times, 5);
    let told = running.events.lock().unwrap().iter().any(|event| {
        matches!(event, Event::Refused { host: Some(host), sentence, .. } if host == "worker-0"
            && sentence == "asked for the kernel of worker-0: this ticket belongs to another address")
    });
    assert!(told, "{:?}", running.events);
    // Its script has no URL in it.
    let script = running.get_from(9, &format!("/boot/{MAC}.ipxe")).1;
    assert!(
        script.contains("this machine boots from another address"),
        "{script}"
    );
    assert!(!script.contains("/b/"), "{script}");

    // The machine goes on, with another address once its initramfs runs.
    for path in [&urls.kernel, &urls.initramfs] {
        assert_eq!(running.get_from(2, path).0, 200);
    }
    assert_eq!(running.get_from(3, &urls.rootfs).0, 403);
    assert_eq!(running.get_from(2, &overlay), (200, "overlay".to_owned()));
    assert_eq!(
        running
            .ask_from(3, &format!("HEAD {} HTTP/1.1", urls.rootfs))
            .0,
        200
    );
    let done = format!("POST {} HTTP/1.1", urls.done);
    assert_eq!(running.ask_from(2, &done).0, 409);
    assert_eq!(running.get_from(3, &urls.rootfs).0, 200);
    assert_eq!(running.get_from(2, urls.config()).0, 403);
    assert_eq!(running.ask_from(3, &done).0, 409);
    assert_eq!(running.get_from(3, urls.config()), (200, CONFIG.to_owned()));
    assert_eq!(running.ask_from(9, &done).0, 403);
    assert_ne!(running.first().phase, Phase::Done);
    assert_eq!(running.ask_from(3, &done).0, 200);
    assert_eq!(running.first().phase, Phase::Done);
    assert_eq!(running.first().client, Some("127.0.0.3".parse().unwrap()));
    assert!(
        running
            .get_from(2, &format!("/boot/{MAC}.ipxe"))
            .1
            .contains("going on with its disk")
    );
}

#[test]
fn the_old_ways_are_gone() {
    let bake = Bake::new();
    let mut options = bake.options();
    options.hosts = vec![worker()];
    let running = Running::start(options);
    running.boot(MAC);
    for path in [
        format!("/ignition/{MAC}"),
        format!("/overlay/{MAC}"),
        format!("/done/{MAC}"),
        format!("/b/{}/config.ign", "0".repeat(32)),
        "/b/x/config.ign".to_owned(),
    ] {
        assert_eq!(running.get(&path).0, 404, "{path}");
    }
    let posted = running.ask(&format!("POST /done/{MAC} HTTP/1.1"));
    assert_eq!(posted.0, 405);
    // Files by their names are for everyone, and count for nobody.
    assert_eq!(running.get(&format!("/{KERNEL}?mac={MAC}")).0, 200);
    assert_eq!(running.first().phase, Phase::Script);
    assert_eq!(
        running.ask(&format!("HEAD /boot/{MAC}.ipxe HTTP/1.1")).0,
        405
    );
    assert_eq!(running.first().boots, 1);
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
    let file = bake.directory.path().join("large.ign");
    std::fs::write(&file, &large).unwrap();
    host.ignition = Some(file);
    options.hosts = vec![host];
    let running = Running::start(options);
    let urls = running.boot(MAC);
    let path = urls.config();
    let mut stream = running.connect();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let mut some = [0; 100];
    stream.read_exact(&mut some).unwrap();
    assert!(some.starts_with(b"HTTP/1.1 200"));
    let busy = running.ask_raw(&format!("GET {path} HTTP/1.0\r\n\r\n")).0;
    assert_eq!(status(&busy), 503);
    assert!(
        busy.to_ascii_lowercase().contains("retry-after: 1"),
        "{busy}"
    );
    drop(stream);
    soon("giving up", || {
        running.first().ignition == IgnitionStatus::Ready
    });
    let (status, config) = running.get(path);
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
    options.hosts[0].overlay = Some(b"overlay".as_slice().into());
    options.hosts[0].target_disk = Some("/dev/vda".to_owned());
    let running = Running::start(options);
    assert_eq!(running.first().phase, Phase::Waiting);
    let urls = running.boot(MAC);
    assert_eq!(running.first().phase, Phase::Script);
    running.get(&urls.kernel);
    assert_eq!(running.first().phase, Phase::Kernel);
    running.get(&urls.initramfs);
    assert_eq!(running.first().phase, Phase::Initramfs);

    // Half of the root file system, and then the rest.
    let half = |range: &str| {
        running.ask_raw(&format!(
            "GET {} HTTP/1.1\r\nHost: h\r\nRange: bytes={range}\r\nConnection: close\r\n\r\n",
            urls.rootfs
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
    // The end of it alone is not all of it.
    half("2500001-");
    let done = format!("POST {} HTTP/1.1", urls.done);
    assert_eq!(running.get(urls.config()).0, 200);
    assert_eq!(running.ask(&done).0, 409);
    half("2500000-");
    soon("the end", || step(Step::Rootfs).unwrap().ended.is_some());
    assert_eq!(step(Step::Rootfs).unwrap().bytes_sent, 5_000_011);

    assert_eq!(running.first().phase, Phase::Ignition);
    assert_eq!(running.ask(&done).0, 200);
    assert_eq!(running.first().phase, Phase::Done);
    assert_eq!(running.get(&urls.done).0, 405);
    let script = running.get(&format!("/boot/{MAC}.ipxe")).1;
    assert_eq!(
        script,
        "#!ipxe\necho this machine is done, going on with its disk\nexit\n"
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
fn guests_come_and_go() {
    let bake = Bake::new();
    let mut options = bake.options();
    options.hosts = vec![worker()];
    let running = Running::start(options);
    let machine = running.boot_from(2, "52:54:00:ff:ff:ff");
    assert_eq!(running.get_from(2, &machine.kernel).0, 200);
    let idle = running.boot_from(2, "52:54:00:ff:ff:fe");
    for number in 0..3000 {
        let mac = format!("5254{number:08x}");
        // Over the board itself: connections would take a minute.
        let from = [127, 0, 0, 9].into();
        assert!(running.board.asks(from, mac.parse().unwrap()).is_ok());
    }
    let hosts = running.board.status().hosts;
    assert_eq!(hosts.len(), 1025);
    assert_eq!(hosts[0].name, "worker-0");
    let last = &hosts[1024];
    assert_eq!(last.name, "52:54:00:00:0b:b7");
    // Whoever boots is not forgotten for those who only ask.
    assert!(hosts.iter().any(|host| host.name == "52:54:00:ff:ff:ff"));
    assert_eq!(running.get_from(2, &machine.rootfs).0, 200);
    assert!(!hosts.iter().any(|host| host.name == "52:54:00:ff:ff:fe"));
    assert_eq!(running.get_from(2, &idle.kernel).0, 404);
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
            &|hosts| hosts[1].ignition = Some(no_config.clone()),
            "no-config is no Ignition configuration: it has no ignition.version",
        ),
        (
            &|hosts| hosts[1].ignition = Some(no_json.clone()),
            "no-json: expected value at line 1 column 1",
        ),
        (
            &|hosts| hosts[1].ignition = Some("/nowhere.ign".into()),
            "checking host \"worker-1\": reading /nowhere.ign: No such file or directory (os error 2)",
        ),
    ] {
        let refusal = refusal(change);
        assert!(refusal.ends_with(sentence), "{refusal}\n{sentence}");
    }
}
