//! Agreement with `matchpathcon`, which asks libselinux, and the edges it cannot be asked about.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::{FileKind, Policy};
use crate::tree::{Content, Meta, Node, Tree};
use bake_referee::{have, is_there};

/// Where Debian's selinux-policy-default keeps its texts.
const DEBIAN_POLICY: &str = "/etc/selinux/default/contexts/files/file_contexts";

/// Most paths of the running system that are compared; libselinux needs 0.2 ms for each.
const SYSTEM_PATHS: usize = 6000;

/// An administrators' tool, which ordinary users do not have on their path.
fn matchpathcon() -> Command {
    let mut command = Command::new("matchpathcon");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command
}

fn have_matchpathcon() -> bool {
    have("matchpathcon")
}

const SUFFIXES: [&str; 5] = ["", ".homedirs", ".local", ".subs", ".subs_dist"];

fn policy(texts: &[String; 5]) -> Policy {
    let [base, rest @ ..] = texts;
    let [homedirs, local, subs, dist] = rest.each_ref().map(|text| Some(text.as_str()));
    Policy::parse(base, homedirs, local, subs, dist).unwrap()
}

fn ours(policy: &Policy, path: &[u8], kind: FileKind) -> String {
    match policy.try_label(path, kind).unwrap() {
        Some(context) => String::from_utf8(context.to_vec()).unwrap(),
        None => "<<none>>".to_owned(),
    }
}

/// Contexts of `paths` by libselinux; their kinds are those of the files unless given.
fn theirs(file_contexts: &Path, paths: &[&str], kind: Option<FileKind>) -> Vec<String> {
    let kind = kind.map(|kind| match kind {
        FileKind::Regular => "file",
        FileKind::Directory => "dir",
        FileKind::Symlink => "lnk_file",
        FileKind::CharDevice => "chr_file",
        FileKind::BlockDevice => "blk_file",
        FileKind::Fifo => "pipe",
        FileKind::Socket => "sock_file",
    });
    let mut contexts = Vec::new();
    for some in paths.chunks(1000) {
        let mut command = matchpathcon();
        command.args(["-n", "-f"]).arg(file_contexts);
        if let Some(kind) = kind {
            command.args(["-m", kind]);
        }
        let output = command.args(some).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let lines = String::from_utf8(output.stdout).unwrap();
        contexts.extend(lines.lines().map(str::to_owned));
    }
    assert_eq!(contexts.len(), paths.len());
    contexts
}

/// What the specs are about, the specs and aliases, and paths to look up.
const EDGES: &[(&str, [&str; 5], &[&str])] = &[
    (
        "later specs win, exact ones beat all, across the three files",
        [
            "/a/b u:r:exact\n/.* u:r:any\n/a/.* u:r:a\n/a/b.? u:r:b\n",
            "/a/c u:r:home\n/h(/.*)? u:r:h\n",
            "/h/x(/.*)? u:r:hx\n/a/.*d u:r:d\n",
            "",
            "",
        ],
        &[
            "/", "/a", "/a/", "/a/b", "/a/bb", "/a/c", "/h", "/hh", "/h/x", "/h/xx", "/a/b/d",
        ],
    ),
    (
        "kinds",
        [
            "/k/.* u:r:any\n/k/.*d -d u:r:dir\n/k/.*d -- u:r:file\n/k/l -l u:r:link\n/k/l -b u:r:blk\n\
             /k/p -p u:r:pipe\n/k/s -s u:r:sock\n/k/c -c u:r:chr\n",
            "",
            "",
            "",
            "",
        ],
        &["/k/d", "/k/l", "/k/p", "/k/s", "/k/c", "/k/x"],
    ),
    (
        "no label is an answer, too",
        [
            "/.* u:r:any\n/n <<none>>\n/m(/.*)? <<none>>\n/m/x.* u:r:x\n",
            "",
            "",
            "",
            "",
        ],
        &["/n", "/m", "/m/y", "/m/xy", "/o"],
    ),
    (
        "aliases: the last line first, the administrator's before the distribution's, each once",
        [
            "/.* u:r:any\n/usr/lib(/.*)? u:r:lib\n/usr/sd(/.*)? u:r:sd\n/etc/f u:r:f\n/new/.* u:r:new\n",
            "",
            "",
            "/loc /lib\n/usr/lib/moved /new\n",
            "# comment\n/lib /usr/lib\n/lib/sd\t/usr/sd rest is ignored\n/all /\n/half\n/twice /lib\n",
        ],
        &[
            "/lib",
            "/lib/x",
            "/libx",
            "/lib/sd",
            "/lib/sd/x",
            "/loc/x",
            "/loc/sd/x",
            "/all",
            "/all/etc/f",
            "/half/x",
            "/twice/x",
            "/usr/lib/moved/x",
            "//lib///x//",
        ],
    ),
    (
        "alternatives outside of groups are anchored on one side only",
        [
            "/.* u:r:any\n/a/b|/a/c u:r:one\n/x|y u:r:two\n",
            "",
            "",
            "",
            "",
        ],
        &[
            "/a/b", "/a/bb", "/a/c", "/a/x/a/c", "/a/d", "/a", "/x/z", "/z/y", "/a/z/y", "/z/yy",
        ],
    ),
    (
        "what PCRE takes literally and regex does not",
        [
            "/.* u:r:any\n/1/[a&&b]x? u:r:1\n/2/[[]x? u:r:2\n/3/a{,3} u:r:3\n/4/x?%{USERID} u:r:4\n\
             /5/x?[%--]c u:r:5\n/6/x?[a~~b] u:r:6\n/7/x?\\<a u:r:7\n/8/[]a]+ u:r:8\n/9/[^]a]x? u:r:9\n\
             /10/x?[\\]a-] u:r:10\n/11/[[:digit:][:^lower:]]x? u:r:11\n/12/[[:]x?] u:r:12\n/13/x?#a u:r:13\n",
            "",
            "",
            "",
            "",
        ],
        &[
            "/1/a",
            "/1/&",
            "/1/b",
            "/2/[",
            "/2/x",
            "/3/aa",
            "/3/a{,3}",
            "/4/%{USERID}",
            "/5/-c",
            "/5/.c",
            "/6/~",
            "/7/<a",
            "/7/a",
            "/8/]a]",
            "/9/b",
            "/9/]",
            "/10/]",
            "/10/-",
            "/10/b",
            "/11/5",
            "/11/a",
            "/11/A",
            "/12/[x]",
            "/12/:]",
            "/13/#a",
        ],
    ),
    (
        "quantifiers after a literal beginning",
        [
            "/.* u:r:any\n/ab? u:r:1\n/cd* u:r:2\n/ef{2} u:r:3\n/gh\\.+ u:r:4\n/ij\\d u:r:5\n/k.l u:r:6\n\
             /m[^/]*n u:r:7\n/(o/)?p u:r:8\n/usr/(.*/)?q u:r:9\n",
            "",
            "",
            "",
            "",
        ],
        &[
            "/a",
            "/ab",
            "/abb",
            "/c",
            "/cdd",
            "/ef",
            "/eff",
            "/gh.",
            "/gh",
            "/ij5",
            "/ijd",
            "/k/l",
            "/kl",
            "/mxn",
            "/mx/n",
            "/p",
            "/o/p",
            "/usr/q",
            "/usr/a/b/q",
            "/usrq",
            "/usr/aq",
        ],
    ),
    (
        "fields",
        [
            "\n  # /a u:r:no\n \t/a\x0b u:r:a\r\n/b\t--\tu:r:b trailing text \n#\n   \n/c u:r:c",
            "",
            "",
            "",
            "",
        ],
        &["/a", "/b", "/c", "/d"],
    ),
];

const KINDS: [FileKind; 7] = [
    FileKind::Regular,
    FileKind::Directory,
    FileKind::Symlink,
    FileKind::CharDevice,
    FileKind::BlockDevice,
    FileKind::Fifo,
    FileKind::Socket,
];

#[test]
fn edges_agree_with_libselinux() {
    if !have_matchpathcon() {
        return;
    }
    for (about, texts, paths) in EDGES {
        let texts = texts.map(str::to_owned);
        let directory = tempfile::tempdir().unwrap();
        for (suffix, text) in SUFFIXES.iter().zip(&texts) {
            fs::write(directory.path().join(format!("fc{suffix}")), text).unwrap();
        }
        let policy = policy(&texts);
        for kind in KINDS {
            let theirs = theirs(&directory.path().join("fc"), paths, Some(kind));
            for (path, expected) in paths.iter().zip(theirs) {
                let got = ours(&policy, path.as_bytes(), kind);
                assert_eq!(got, expected, "{path} as {kind:?}: {about}");
            }
        }
    }
}

/// Paths below `directory` with the kinds of what they name, as far as an ordinary user sees them.
fn walk(directory: &Path, found: &mut Vec<(PathBuf, FileKind)>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let path = entry.path();
        if kind.is_dir() {
            walk(&path, found);
        }
        let kind = match kind {
            _ if kind.is_dir() => FileKind::Directory,
            _ if kind.is_symlink() => FileKind::Symlink,
            _ if kind.is_char_device() => FileKind::CharDevice,
            _ if kind.is_block_device() => FileKind::BlockDevice,
            _ if kind.is_fifo() => FileKind::Fifo,
            _ if kind.is_socket() => FileKind::Socket,
            _ => FileKind::Regular,
        };
        found.push((path, kind));
    }
}

#[test]
fn this_system_agrees_with_libselinux() {
    let policy_is_there = Path::new(DEBIAN_POLICY).exists();
    if !have_matchpathcon() || !is_there("selinux-policy-default", policy_is_there) {
        return;
    }
    let mut found = Vec::new();
    for top in ["/etc", "/usr", "/var", "/boot"] {
        walk(Path::new(top), &mut found);
    }
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let step = found.len().div_ceil(SYSTEM_PATHS).max(1);
    let policy =
        policy(&SUFFIXES.map(|suffix| {
            fs::read_to_string(format!("{DEBIAN_POLICY}{suffix}")).unwrap_or_default()
        }));
    for kind in KINDS {
        let paths: Vec<&str> = found
            .iter()
            .step_by(step)
            .filter(|(_, is)| *is == kind)
            .filter_map(|(path, _)| path.to_str())
            .filter(|path| !path.contains('\n'))
            .collect();
        let theirs = theirs(Path::new(DEBIAN_POLICY), &paths, Some(kind));
        for (path, expected) in paths.iter().zip(theirs) {
            assert_eq!(ours(&policy, path.as_bytes(), kind), expected, "{path}");
        }
    }
}

#[test]
fn unusable_expressions_matter_only_where_they_might_have_won() {
    let policy = Policy::parse(
        "/.* u:r:any\n/a/(?=b).* u:r:look\n/a/x.* u:r:x\n/b/a++ u:r:possessive\n/c/*+ u:r:nothing\n\
         /d/y/z u:r:exact\n/d/[a u:r:open\n/e/(a u:r:paren\n/f/.*\\1 u:r:back\n/g/a{99999999} u:r:big\n",
        None,
        None,
        None,
        None,
    )
    .unwrap();
    let label = |path: &str| policy.try_label(path.as_bytes(), FileKind::Regular);
    assert_eq!(label("/z").unwrap().as_deref(), Some(&b"u:r:any"[..]));
    assert_eq!(label("/a/x").unwrap().as_deref(), Some(&b"u:r:x"[..]));
    assert_eq!(label("/d/y/z").unwrap().as_deref(), Some(&b"u:r:exact"[..]));
    assert_eq!(
        policy.label(b"/a/x", FileKind::Regular).as_deref(),
        Some(&b"u:r:x"[..])
    );
    policy.check().unwrap();
    let error = label("/a/b").unwrap_err();
    assert_eq!(error.place, "file_contexts line 2");
    assert_eq!(error.regex, "/a/(?=b).*");
    assert_eq!(
        error.to_string(),
        "file_contexts line 2: unusable regular expression \"/a/(?=b).*\": \
         it uses an extended group, (?…)"
    );
    let reasons = [
        ("/b/a", "it uses a possessive quantifier"),
        ("/c/", "it uses a possessive quantifier"),
        ("/d/x", "a class is not closed"),
        ("/e/a", "unclosed group"),
        ("/f/a", r"it uses \1"),
        ("/g/a", "it is too large when compiled"),
    ];
    for (path, reason) in reasons {
        assert_eq!(label(path).unwrap_err().reason, reason, "{path}");
    }
    // Whichever was met first, the first in the policy is named.
    for path in ["/c/", "/a/b", "/b/a"] {
        assert_eq!(policy.label(path.as_bytes(), FileKind::Regular), None);
    }
    assert_eq!(policy.check().unwrap_err(), error);
}

#[test]
fn broken_lines_name_their_place() {
    let cases = [
        (
            "/a u:r:t\n/b\n",
            "parsing file_contexts line 2: \"/b\" has no context",
        ),
        (
            "/a -x u:r:t\n",
            "parsing file_contexts line 1: \"-x\" is no file type",
        ),
        (
            "/a b c d\n",
            "parsing file_contexts line 1: \"b\" is no file type",
        ),
    ];
    for (text, expected) in cases {
        let error = Policy::parse(text, None, None, None, None).unwrap_err();
        assert_eq!(format!("{error:#}"), expected);
    }
    let error = Policy::parse("/ u:r:t", Some("/"), None, None, None).unwrap_err();
    assert!(format!("{error:#}").starts_with("parsing file_contexts.homedirs line 1"));
}

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::new(Meta::root(0o755));
    for (path, text) in files {
        let (directory, name) = path.rsplit_once('/').unwrap();
        let directory = tree.make_directories(directory, &Meta::root(0o755));
        let content = Content::bytes(text.as_bytes());
        tree.create(directory, name, Meta::root(0o644), Node::File(content));
    }
    tree
}

#[test]
fn policies_are_found_in_trees() {
    const ON: &str = "# x\nSELINUX=Enforcing\nSELINUXTYPE=targeted \n";
    const FILES: &str = "usr/etc/selinux/targeted/contexts/files/file_contexts";
    let local = format!("{FILES}.local");
    let read = |files: &[(&str, &str)]| Policy::from_tree(&tree(files), "usr/etc");

    for (about, files) in [
        ("no configuration", &[] as &[(&str, &str)]),
        (
            "disabled",
            &[(
                "usr/etc/selinux/config",
                "SELINUX=disabled\nSELINUXTYPE=targeted\n",
            )],
        ),
        ("nothing installed", &[("usr/etc/selinux/config", ON)]),
        ("not below usr/etc", &[("etc/selinux/config", ON)]),
    ] {
        assert!(read(files).unwrap().is_none(), "{about}");
    }

    let config = ("usr/etc/selinux/config", ON);
    let policy = read(&[config, (FILES, "/.* u:r:a\n"), (&local, "/x u:r:x\n")])
        .unwrap()
        .unwrap();
    assert_eq!(ours(&policy, b"/x", FileKind::Regular), "u:r:x");
    assert_eq!(ours(&policy, b"/y", FileKind::from(&Node::Fifo)), "u:r:a");

    let errors = [
        (
            vec![config, (&local, "/.* u:r:a\n")],
            "SELinux policy \"targeted\" of the tree has no usr/etc/selinux/targeted/contexts/files/file_contexts",
        ),
        (
            vec![config, (FILES, "/x u:r:a\n")],
            "SELinux policy usr/etc/selinux/targeted gives no label to /",
        ),
        (
            vec![("usr/etc/selinux/config", "SELINUX=permissive\n")],
            "usr/etc/selinux/config names no SELINUXTYPE",
        ),
        (
            vec![(
                "usr/etc/selinux/config",
                "SELINUX=permissive\nSELINUXTYPE=../x\n",
            )],
            "usr/etc/selinux/config: SELINUXTYPE \"../x\" is not the name of a directory",
        ),
    ];
    for (files, expected) in errors {
        assert_eq!(format!("{:#}", read(&files).unwrap_err()), expected);
    }
}

#[test]
fn contexts_are_shared_between_specs_and_threads() {
    let policy = Policy::parse("/a.* u:r:t\n/b[0-9]+ u:r:t\n", None, None, None, None).unwrap();
    let labels: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| policy.label(b"/b12", FileKind::Fifo).unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let other = policy.label(b"/a", FileKind::Fifo).unwrap();
    assert!(labels.iter().all(|label| Arc::ptr_eq(label, &other)));
}
