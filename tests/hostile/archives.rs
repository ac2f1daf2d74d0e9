//! Layouts in tar archives, odd as archives.

use std::fs;
use std::path::Path;

use super::case::Case;
use super::case::Verdict::{self, Accepted, Refused, Warned};
use super::image::Image;
use super::tar::{SIZE, Tar, header, put, seal};

/// The files of the base's layout, by their names in an archive.
fn members(layout: &Path) -> Vec<(String, Vec<u8>)> {
    Image::tiny().write(layout);
    let mut members = Vec::new();
    for name in ["oci-layout", "index.json"] {
        members.push((name.to_owned(), fs::read(layout.join(name)).unwrap()));
    }
    let blobs = fs::read_dir(layout.join("blobs/sha256")).unwrap();
    let mut blobs: Vec<_> = blobs.map(|entry| entry.unwrap().path()).collect();
    blobs.sort();
    for path in blobs {
        let name = path.file_name().unwrap().to_str().unwrap();
        members.push((format!("blobs/sha256/{name}"), fs::read(&path).unwrap()));
    }
    fs::remove_dir_all(layout).unwrap();
    members
}

/// An archive that is composed of the base's files.
fn archive(
    name: &str,
    verdict: Verdict,
    compose: impl Fn(&[(String, Vec<u8>)]) -> Vec<u8> + Send + Sync + 'static,
) -> Case {
    Case::written(name, verdict, move |directory| {
        let path = directory.join("image.tar");
        let members = members(&directory.join("layout"));
        fs::write(&path, compose(&members)).unwrap();
        format!("oci-archive:{}", path.display())
    })
}

fn put_all(tar: Tar, members: &[(String, Vec<u8>)]) -> Tar {
    members
        .iter()
        .fold(tar, |tar, (name, bytes)| tar.entry(b'0', name, "", bytes))
}

fn whole(members: &[(String, Vec<u8>)]) -> Tar {
    put_all(Tar::new(), members)
}

pub(crate) fn cases() -> Vec<Case> {
    let zeros = [0; 512];
    let odd = |kind: u8, path: &str, size: &[u8]| {
        let mut header = header(kind, path, 0);
        put(&mut header, SIZE, size);
        seal(&mut header);
        header
    };
    vec![
        archive("archive", Accepted(&[]), |m| whole(m).end()),
        archive("archive without an end mark", Accepted(&[]), |m| whole(m).0),
        archive(
            "archive with an end mark of one record",
            Accepted(&[]),
            move |m| whole(m).bytes(&zeros).0,
        ),
        archive("archive and a MiB of zeros", Accepted(&[]), |m| {
            whole(m).bytes(&vec![0; 1 << 20]).0
        }),
        archive(
            "archive and junk",
            Warned("goes on behind the end of its archive", &[]),
            |m| [whole(m).end(), b"junk".to_vec()].concat(),
        ),
        archive(
            "index.json behind the end mark of the archive",
            Warned("goes on behind the end of its archive", &[]),
            |m| [whole(m).end(), Tar::new().file("index.json", "{}").0].concat(),
        ),
        archive(
            "blobs behind the end mark of the archive",
            Refused("is missing"),
            |m| [whole(&m[..2]).end(), whole(&m[2..]).end()].concat(),
        ),
        archive(
            "record of zeros among members",
            Refused("a single record of zeros stands at byte"),
            move |m| put_all(whole(&m[..2]).bytes(&zeros), &m[2..]).end(),
        ),
        archive(
            "archive without oci-layout",
            Warned("has no file oci-layout", &[]),
            |m| whole(&m[1..]).end(),
        ),
        archive(
            "archive without index.json",
            Refused("there is no index.json in it"),
            |m| whole(&m[2..]).end(),
        ),
        archive(
            "archive of Docker",
            Refused("there is no index.json in it"),
            |m| whole(&m[2..]).file("manifest.json", "[]").end(),
        ),
        archive("archive that is cut", Refused("cut off"), |m| {
            whole(m).0[..2700].to_vec()
        }),
        archive(
            "archive that is cut in a header",
            Refused("cut off in the header"),
            |m| whole(m).0[..1124].to_vec(),
        ),
        archive(
            "archive with a damaged header",
            Refused("is damaged"),
            |m| {
                let mut bytes = whole(m).end();
                bytes[1024] ^= 1;
                bytes
            },
        ),
        archive(
            "archive of nothing",
            Refused("there is no index.json in it"),
            |_| Vec::new(),
        ),
        archive(
            "archive of zeros",
            Refused("there is no index.json in it"),
            |_| vec![0; 10_240],
        ),
        archive(
            "archive of text",
            Refused("it is not a tar archive"),
            |_| vec![b'x'; 10_240],
        ),
        archive(
            "archive in gzip",
            Refused("it is compressed with gzip"),
            |_| [&[0x1f, 0x8b, 8][..], &[0; 600]].concat(),
        ),
        archive("index.json twice", Accepted(&[]), |m| {
            put_all(Tar::new().file("index.json", "{}"), m).end()
        }),
        archive(
            "index.json twice, the last one of nonsense",
            Refused("malformed"),
            |m| whole(m).file("index.json", "{").end(),
        ),
        archive(
            "index.json, then a symlink",
            Refused("its member index.json is not a regular file"),
            |m| whole(m).symlink("index.json", "/etc/passwd").end(),
        ),
        archive(
            "index.json that is a directory of the archive",
            Refused("its member index.json is not a regular file"),
            |m| whole(&m[2..]).dir("index.json").end(),
        ),
        archive(
            "blob that is a hard link",
            Refused("is not a regular file"),
            |m| whole(&m[..3]).link(&m[3].0, &m[2].0).end(),
        ),
        archive(
            "blob that is a FIFO of the archive",
            Refused("is not a regular file"),
            |m| whole(&m[..3]).entry(b'6', &m[3].0, "", b"").end(),
        ),
        archive("members that lead upwards", Accepted(&[]), |m| {
            whole(m)
                .file("../../sentinel", "x")
                .file("/tmp/x", "x")
                .end()
        }),
        archive("members with dots", Accepted(&[]), |m| {
            m.iter()
                .fold(Tar::new(), |tar, (name, bytes)| {
                    tar.entry(b'0', &format!("./{name}"), "", bytes)
                })
                .end()
        }),
        archive(
            "member of 2^62 bytes",
            Refused("cut off in the member"),
            move |m| {
                whole(m)
                    .raw(&odd(b'0', "x", b"\x80\0\0\0\x40\0\0\0\0\0\0\0"), b"")
                    .end()
            },
        ),
        archive("member of -1 byte", Refused("header at byte"), move |m| {
            whole(m).raw(&odd(b'0', "x", b"-1"), b"").end()
        }),
        archive(
            "directory of the archive with content",
            Refused("claims 512 bytes"),
            move |m| {
                let hidden = Tar::new().file("index.json", "{}");
                put_all(
                    Tar::new().raw(&odd(b'5', "blobs/", b"0001000"), &hidden.0[..512]),
                    m,
                )
                .end()
            },
        ),
        archive(
            "PAX header of 2 MiB in an archive",
            Refused("more than 1048576"),
            |m| {
                Tar::new()
                    .entry(b'x', "pax", "", &vec![b'x'; 2 << 20])
                    .bytes(&whole(m).0)
                    .end()
            },
        ),
        archive(
            "PAX record of nonsense in an archive",
            Refused("malformed"),
            |m| Tar::new().pax_text("99 path=x\n").bytes(&whole(m).0).end(),
        ),
        archive("PAX names in an archive", Accepted(&[]), |m| {
            m.iter()
                .fold(Tar::new(), |tar, (name, bytes)| {
                    tar.pax(&[("path", name.as_bytes())])
                        .entry(b'0', "x", "", bytes)
                })
                .end()
        }),
        archive(
            "PAX size in an archive",
            Refused("cut off in the member"),
            |m| {
                Tar::new()
                    .pax(&[("size", b"99999999")])
                    .bytes(&whole(m).0)
                    .end()
            },
        ),
    ]
}
