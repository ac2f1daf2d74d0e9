//! The table of what a configuration may hold: every key, since which spec, of which type, and how
//! lists are merged. Reading, checking, merging and converting are all driven by it.

use super::rules;
use super::shape::{Field, Join, Key, Kind, Rule, Shape};

const fn field(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        since: 0,
        empty_until: None,
    }
}

const fn text(name: &'static str) -> Field {
    field(name, Kind::Text)
}

const fn int(name: &'static str) -> Field {
    field(name, Kind::Int)
}

const fn flag(name: &'static str) -> Field {
    field(name, Kind::Bool)
}

const fn one(name: &'static str, shape: &'static Shape) -> Field {
    field(name, Kind::Object(shape))
}

const fn many(name: &'static str, shape: &'static Shape) -> Field {
    field(name, Kind::Objects(shape, Join::Keyed))
}

const fn texts(name: &'static str) -> Field {
    field(name, Kind::Texts(Join::Keyed))
}

const fn options(name: &'static str) -> Field {
    field(name, Kind::Texts(Join::Append))
}

const fn group(fields: &'static [Field]) -> Shape {
    Shape {
        key: Key::None,
        rule: None,
        fields,
    }
}

const fn entry(key: &'static str, rule: Option<Rule>, fields: &'static [Field]) -> Shape {
    Shape {
        key: Key::Text(key),
        rule,
        fields,
    }
}

const fn ruled(rule: Rule, fields: &'static [Field]) -> Shape {
    Shape {
        key: Key::None,
        rule: Some(rule),
        fields,
    }
}

pub(super) static CONFIG: Shape = ruled(
    rules::systemd::paths_of_units,
    &[
        one("ignition", &IGNITION),
        one("kernelArguments", &KERNEL_ARGUMENTS).since(3),
        one("passwd", &PASSWD),
        one("storage", &STORAGE),
        one("systemd", &SYSTEMD),
    ],
);

static IGNITION: Shape = group(&[
    text("version"),
    one("config", &IGNITION_CONFIG),
    one("proxy", &PROXY).since(1),
    one("security", &SECURITY),
    one("timeouts", &TIMEOUTS),
]);

static IGNITION_CONFIG: Shape = ruled(
    rules::resources::configs,
    &[many("merge", &REFERENCE), one("replace", &REFERENCE)],
);

static PROXY: Shape = ruled(
    rules::resources::proxy,
    &[text("httpProxy"), text("httpsProxy"), texts("noProxy")],
);

static SECURITY: Shape = group(&[one("tls", &TLS)]);

static TLS: Shape = ruled(
    rules::resources::authorities,
    &[many("certificateAuthorities", &AUTHORITY)],
);

static TIMEOUTS: Shape = group(&[int("httpResponseHeaders"), int("httpTotal")]);

/// What a file's contents come from.
pub(super) static RESOURCE: Shape = entry(
    "source",
    Some(rules::resources::contents),
    &[
        text("source"),
        text("compression"),
        field("httpHeaders", Kind::Objects(&HTTP_HEADER, Join::Keyed)).since(1),
        one("verification", &VERIFICATION),
    ],
);

/// Where another configuration comes from; spec 3.0.0 had less for it than for files.
static REFERENCE: Shape = entry(
    "source",
    Some(rules::resources::reference),
    &[
        text("source"),
        text("compression").since(1),
        field("httpHeaders", Kind::Objects(&HTTP_HEADER, Join::Keyed)).since(1),
        one("verification", &VERIFICATION),
    ],
);

/// Where a certificate comes from; in spec 3.0.0 the source was no option.
static AUTHORITY: Shape = entry(
    "source",
    Some(rules::resources::reference),
    &[
        text("source").empty_until(0),
        text("compression").since(1),
        field("httpHeaders", Kind::Objects(&HTTP_HEADER, Join::Keyed)).since(1),
        one("verification", &VERIFICATION),
    ],
);

/// An entry of `httpHeaders`; the only list from which a child can take away.
pub(super) static HTTP_HEADER: Shape = entry(
    "name",
    Some(rules::resources::header),
    &[text("name"), text("value")],
);

static VERIFICATION: Shape = ruled(rules::resources::verification, &[text("hash")]);

static KERNEL_ARGUMENTS: Shape = group(&[
    field("shouldExist", Kind::Texts(Join::Shared)),
    field("shouldNotExist", Kind::Texts(Join::Shared)),
]);

static PASSWD: Shape = group(&[many("groups", &GROUP), many("users", &USER)]);

static GROUP: Shape = entry(
    "name",
    Some(rules::systemd::account),
    &[
        text("name"),
        int("gid"),
        text("passwordHash"),
        flag("shouldExist").since(2),
        flag("system"),
    ],
);

static USER: Shape = entry(
    "name",
    Some(rules::systemd::account),
    &[
        text("name"),
        text("gecos"),
        texts("groups"),
        text("homeDir"),
        flag("noCreateHome"),
        flag("noLogInit"),
        flag("noUserGroup"),
        text("passwordHash"),
        text("primaryGroup"),
        texts("sshAuthorizedKeys"),
        text("shell"),
        flag("shouldExist").since(2),
        flag("system"),
        int("uid"),
    ],
);

static SYSTEMD: Shape = group(&[many("units", &UNIT)]);

static UNIT: Shape = entry(
    "name",
    Some(rules::systemd::unit),
    &[
        text("name"),
        text("contents"),
        many("dropins", &DROPIN),
        flag("enabled"),
        flag("mask"),
    ],
);

static DROPIN: Shape = entry(
    "name",
    Some(rules::systemd::dropin),
    &[text("name"), text("contents")],
);

static STORAGE: Shape = ruled(
    rules::nodes::storage,
    &[
        field("directories", Kind::Objects(&DIRECTORY, Join::Shared)),
        many("disks", &DISK),
        field("files", Kind::Objects(&FILE, Join::Shared)),
        many("filesystems", &FILESYSTEM),
        field("links", Kind::Objects(&LINK, Join::Shared)),
        many("luks", &LUKS).since(2),
        many("raid", &RAID),
    ],
);

static FILE: Shape = entry(
    "path",
    Some(rules::nodes::file),
    &[
        text("path"),
        flag("overwrite"),
        one("user", &OWNER),
        one("group", &OWNER),
        field("append", Kind::Objects(&RESOURCE, Join::Append)),
        one("contents", &RESOURCE),
        int("mode"),
    ],
);

static DIRECTORY: Shape = entry(
    "path",
    Some(rules::nodes::directory),
    &[
        text("path"),
        flag("overwrite"),
        one("user", &OWNER),
        one("group", &OWNER),
        int("mode"),
    ],
);

static LINK: Shape = entry(
    "path",
    Some(rules::nodes::link),
    &[
        text("path"),
        flag("overwrite"),
        one("user", &OWNER),
        one("group", &OWNER),
        flag("hard"),
        text("target").empty_until(2),
    ],
);

static OWNER: Shape = ruled(rules::nodes::owner, &[int("id"), text("name")]);

static DISK: Shape = entry(
    "device",
    Some(rules::disks::disk),
    &[
        text("device"),
        many("partitions", &PARTITION),
        flag("wipeTable"),
    ],
);

static PARTITION: Shape = Shape {
    key: Key::Partition,
    rule: Some(rules::disks::partition),
    fields: &[
        text("guid"),
        text("label"),
        int("number"),
        flag("resize").since(2),
        flag("shouldExist"),
        int("sizeMiB"),
        int("startMiB"),
        text("typeGuid"),
        flag("wipePartitionEntry"),
    ],
};

static FILESYSTEM: Shape = entry(
    "device",
    Some(rules::disks::filesystem),
    &[
        text("device"),
        text("format"),
        text("label"),
        options("mountOptions").since(1),
        options("options"),
        text("path"),
        text("uuid"),
        flag("wipeFilesystem"),
    ],
);

static RAID: Shape = entry(
    "name",
    Some(rules::disks::raid),
    &[
        text("name"),
        texts("devices"),
        text("level").empty_until(2),
        options("options"),
        int("spares"),
    ],
);

static LUKS: Shape = entry(
    "name",
    Some(rules::luks::volume),
    &[
        text("name"),
        one("cex", &CEX).since(5),
        one("clevis", &CLEVIS),
        text("device"),
        flag("discard").since(4),
        one("keyFile", &RESOURCE),
        text("label"),
        texts("openOptions").since(4),
        options("options"),
        text("uuid"),
        flag("wipeVolume"),
    ],
);

static CEX: Shape = group(&[flag("enabled")]);

static CLEVIS: Shape = group(&[
    one("custom", &CLEVIS_CUSTOM),
    many("tang", &TANG),
    int("threshold"),
    flag("tpm2"),
]);

static CLEVIS_CUSTOM: Shape = ruled(
    rules::luks::custom,
    &[
        text("config").empty_until(2),
        flag("needsNetwork"),
        text("pin").empty_until(2),
    ],
);

static TANG: Shape = entry(
    "url",
    Some(rules::luks::tang),
    &[
        text("advertisement").since(4),
        text("thumbprint"),
        text("url"),
    ],
);
