//! What hostile registries do, and what has to come of it.

use crate::server::Act;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Ping,
    Token,
    /// By tag.
    Manifest,
    /// By digest, named by the index that the tag `index` leads to.
    Member,
    /// Asked for when the tag `gone` is not there.
    Tags,
    Config,
    Layer,
    /// Whether a blob is there already.
    Head,
    Start,
    Put,
    PutManifest,
}

/// What proves who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Password,
    Identity,
}

/// How the registry wants to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wants {
    Nothing,
    Basic,
    /// A token of this token server. `SELF`, `PLAIN` and `TLS` stand for the registry and for two
    /// other servers.
    Token(&'static str),
}

/// Where an act is played: the addresses of the servers.
pub(crate) struct World {
    pub(crate) registry: String,
    /// Another server, without TLS.
    pub(crate) plain: String,
    /// Another server, with TLS.
    pub(crate) tls: String,
}

impl World {
    pub(crate) fn fill(&self, text: &str) -> String {
        text.replace("SELF", &self.registry)
            .replace("PLAIN", &self.plain)
            .replace("TLS", &self.tls)
    }
}

pub(crate) type Play = Box<dyn Fn(&World) -> Act + Send + Sync>;

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) push: bool,
    /// Whether the registry talks TLS.
    pub(crate) tls: bool,
    pub(crate) login: Login,
    pub(crate) wants: Wants,
    pub(crate) step: Step,
    pub(crate) act: Play,
    /// What the error has in it; everything goes well if it is empty.
    pub(crate) told: &'static str,
    /// Whether the other server with TLS is meant to get the secrets.
    pub(crate) trusted: bool,
}

const PULL: [Step; 7] = [
    Step::Ping,
    Step::Token,
    Step::Manifest,
    Step::Member,
    Step::Tags,
    Step::Config,
    Step::Layer,
];

const PUSH: [Step; 4] = [Step::Head, Step::Start, Step::Put, Step::PutManifest];

impl Case {
    fn new(name: String, step: Step, act: impl Fn(&World) -> Act + Send + Sync + 'static) -> Self {
        Self {
            name,
            push: PUSH.contains(&step),
            tls: false,
            login: Login::Password,
            wants: match step {
                Step::Ping => Wants::Basic,
                _ => Wants::Token("SELF/token"),
            },
            step,
            act: Box::new(act),
            told: " ",
            trusted: false,
        }
    }

    fn told(mut self, told: &'static str) -> Self {
        self.told = told;
        self
    }
}

/// All cases, each without and with TLS where nothing else is said.
pub(crate) fn all() -> Vec<Case> {
    let twice: [fn() -> Vec<Case>; 5] = [floods, drips, lies, redirects, secrets];
    let twice = twice.into_iter().flat_map(|make| {
        [false, true].into_iter().flat_map(move |tls| {
            make().into_iter().map(move |case| Case {
                name: format!("{}{}", case.name, if tls { "+tls" } else { "" }),
                tls,
                ..case
            })
        })
    });
    twice.chain(realms()).collect()
}

/// What a step's success would be; floods and drips begin with it.
fn good(step: Step) -> u16 {
    match step {
        Step::Start => 202,
        Step::Put | Step::PutManifest => 201,
        _ => 200,
    }
}

fn floods() -> Vec<Case> {
    let mut cases = Vec::new();
    for step in PULL.into_iter().chain(PUSH) {
        for status in [good(step), 401, 404, 500] {
            let name = format!("flood {step:?} {status}");
            let case = Case::new(name, step, move |_| Act::Flood(status, Vec::new()));
            // What the body of these says does not matter.
            let fine = match step {
                Step::Ping => status != 500,
                Step::Head => matches!(status, 200 | 404),
                Step::Put | Step::PutManifest => status == 201,
                _ => false,
            };
            cases.push(case.told(if fine { "" } else { " " }));
        }
    }
    for step in [Step::Manifest, Step::Layer, Step::Put] {
        let name = |what: &str| format!("flood of {what} {step:?}");
        cases.push(Case::new(name("headers"), step, |_| Act::FloodHead));
        cases.push(Case::new(name("announcements"), step, |_| {
            Act::FloodInformational
        }));
    }
    cases
}

fn drips() -> Vec<Case> {
    let mut cases = Vec::new();
    for step in PULL.into_iter().chain(PUSH) {
        let status = good(step);
        let name = format!("drip {step:?}");
        let case = Case::new(name, step, move |_| Act::Drip(status, Vec::new()));
        cases.push(case.told(match step {
            // Answers to HEAD have no body, and without tags the hint is another.
            Step::Head => "",
            Step::Tags => "has no manifest of",
            _ => "is too slow with",
        }));
        if step != Step::Tags {
            let name = format!("drip of a head {step:?}");
            let case = Case::new(name, step, |_| Act::DripHead);
            cases.push(case.told("is too slow with"));
            let case = Case::new(format!("silence {step:?}"), step, |_| Act::Silence);
            cases.push(case.told("is too slow with"));
        }
    }
    for status in [401, 404, 500] {
        cases.push(Case::new(
            format!("drip Layer {status}"),
            Step::Layer,
            move |_| Act::Drip(status, Vec::new()),
        ));
    }
    let case = Case::new("large upload not taken".into(), Step::Put, |_| {
        Act::NotTaken
    });
    cases.push(case.told("0 bytes were taken in"));
    let case = Case::new("large upload sipped".into(), Step::Put, |_| Act::Sip);
    cases.push(case.told("bytes were taken in"));
    cases
}

fn lies() -> Vec<Case> {
    let raw = |text: &'static str| {
        move |_: &World| {
            let mut bytes = format!("HTTP/1.1 200 x\r\n{text}\r\n\r\n").into_bytes();
            bytes.extend([b'a'; 2000]);
            Act::Raw(bytes)
        }
    };
    let mut cases = Vec::new();
    for step in [Step::Token, Step::Manifest, Step::Config, Step::Layer] {
        for length in [
            "content-length: 9",
            "content-length: 9223372036854775807",
            "content-length: 18446744073709551616",
            "content-length: -1",
            "content-length: 5\r\ncontent-length: 6",
            "transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\nffffffffffffffff\r\n",
            "transfer-encoding: chunked\r\n\r\n-5\r\n",
            "content-encoding: gzip\r\ncontent-length: 2000",
        ] {
            let name = format!("lie {step:?} {}", length.replace("\r\n", " "));
            cases.push(Case::new(name, step, raw(length)));
        }
    }
    let long = Case::new("lie Layer too long".into(), Step::Layer, |_| {
        Act::Flood(200, vec!["content-range: bytes 7-8/9".into()])
    });
    cases.push(long.told("has the digest"));
    let length = "content-length: 9223372036854775807";
    let early = Case::new("lie Layer found early".into(), Step::Layer, raw(length));
    cases.push(early.told("has 9223372036854775807 bytes, where"));
    let elsewhere = Case::new("lie Layer part".into(), Step::Layer, |_| {
        Act::Reply(
            206,
            vec!["content-range: bytes 7-8/9".into()],
            b"aa".to_vec(),
        )
    });
    cases.push(elsewhere.told("the bytes from 7 on, where those from 0 on"));
    cases
}

fn redirects() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |step: Step, status: u16, to: &'static str, told: &'static str| {
        let name = format!("redirect {step:?} {status} {to}");
        let act = move |world: &World| Act::redirect(status, world.fill(to));
        cases.push(Case::new(name, step, act).told(told));
    };
    for step in [Step::Ping, Step::Manifest, Step::Layer] {
        add(step, 302, "SELF/v2/loop", "more than 10 redirects");
        add(
            step,
            302,
            "file:///etc/passwd",
            "a redirect to a server without a name",
        );
        add(step, 302, "gopher://127.0.0.2/", "of the unknown kind");
        add(step, 307, "https://169.254.169.254/latest", "link-local");
        add(step, 307, "https://[fe80::1]/", "link-local");
        add(step, 307, "https://user:pw@127.0.0.2/", "with a password");
        add(step, 307, "http://10.255.255.1/", "without TLS");
        add(step, 302, "", " ");
        add(step, 302, "http://[", "malformed");
    }
    // The other servers have nothing.
    for to in ["PLAIN/x", "TLS/x"] {
        add(Step::Manifest, 307, to, " ");
        add(Step::Layer, 307, to, " ");
        add(Step::Layer, 303, to, " ");
        for status in [302, 307, 308] {
            add(
                Step::Token,
                status,
                to,
                "redirect of a request with secrets",
            );
        }
        add(Step::Start, 307, to, "redirect of a request with secrets");
        add(
            Step::PutManifest,
            307,
            to,
            "redirect of a request with secrets",
        );
        add(Step::Put, 307, to, "HTTP status 307");
    }
    add(Step::Token, 302, "SELF/v2/loop", "more than 10 redirects");
    add(
        Step::Start,
        302,
        "SELF/v2/loop",
        "redirect of a request with",
    );
    add(Step::Put, 308, "SELF/v2/loop", "HTTP status 308");
    // Where uploads go.
    for (to, told) in [
        ("file:///tmp/x", "an upload to a server without a name"),
        ("https://169.254.169.254/", "link-local"),
        ("http://10.255.255.1/", "without TLS"),
        ("TLS/upload", ""),
    ] {
        let case = Case::new(format!("upload to {to}"), Step::Start, move |world| {
            Act::redirect(202, world.fill(to))
        });
        cases.push(case.told(told));
    }
    let case = Case::new("upload nowhere".into(), Step::Start, |_| Act::status(202));
    cases.push(case.told("no address to go on with"));
    cases
}

fn secrets() -> Vec<Case> {
    let mut cases = Vec::new();
    for (wants, login) in [
        (Wants::Basic, Login::Password),
        (Wants::Token("SELF/token"), Login::Password),
        (Wants::Token("SELF/token"), Login::Identity),
        (Wants::Nothing, Login::Password),
    ] {
        for step in [Step::Manifest, Step::Layer] {
            let name = format!("401 for ever {step:?} {wants:?} {login:?}");
            let mut case = Case::new(name, step, |_| Act::status(401)).told("refuses");
            (case.wants, case.login) = (wants.clone(), login);
            cases.push(case);
        }
    }
    // A token server that sends the refresh token on.
    for to in ["PLAIN/x", "TLS/x"] {
        for status in [302, 307, 308] {
            let name = format!("identity token {status} {to}");
            let act = move |world: &World| Act::redirect(status, world.fill(to));
            let mut case = Case::new(name, Step::Token, act);
            case = case.told("redirect of a request with secrets");
            case.login = Login::Identity;
            cases.push(case);
        }
    }
    for token in [
        "{}",
        "[]",
        "",
        r#"{"token":"a\nb: c"}"#,
        r#"{"token":""}"#,
        r#"{"token":7}"#,
    ] {
        let name = format!("odd token {token}");
        let case = Case::new(name, Step::Token, move |_| Act::json(token));
        cases.push(case.told("a token that is malformed"));
    }
    cases
}

/// Where tokens are said to be given out.
fn realms() -> Vec<Case> {
    let mut cases = Vec::new();
    for (tls, realm, told) in [
        (true, "PLAIN/token", "a token server without TLS"),
        (
            true,
            "http://localhost:1/token",
            "a token server without TLS",
        ),
        (true, "TLS/token", ""),
        (false, "PLAIN/token", ""),
        (
            false,
            "http://10.255.255.1/token",
            "a token server without TLS",
        ),
        (true, "https://169.254.169.254/token", "link-local"),
        (true, "https://2852039166/token", "link-local"),
        (true, "https://[::ffff:169.254.169.254]/", "link-local"),
        (true, "https://[fe80::1]/token", "link-local"),
        (true, "file:///etc/passwd", "a token server without a name"),
        (true, "/token", "malformed"),
        (true, "", "malformed"),
        (true, "https://a:b@127.0.0.2/", "with a password"),
    ] {
        for login in [Login::Password, Login::Identity] {
            let name = format!("realm {realm:?} tls={tls} {login:?}");
            // The step that no registry is asked for: everything is as it should be.
            let mut case = Case::new(name, Step::Tags, |_| Act::status(404)).told(told);
            (case.tls, case.login) = (tls, login);
            case.wants = Wants::Token(realm);
            case.trusted = told.is_empty();
            cases.push(case);
        }
    }
    cases
}
