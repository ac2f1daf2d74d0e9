//! The table of what a configuration may hold: every key, since which spec, of which type, and how
//! lists are merged. Reading, checking, merging and converting are all driven by it.

use serde_json::{Map, Value};

use super::rules::{self, Rule};
use super::version::Version;

/// An object of the configuration.
pub(super) struct Shape {
    /// What tells one entry of a list of these from another.
    pub(super) key: Key,
    /// What must hold beyond the types.
    pub(super) rule: Option<Rule>,
    pub(super) fields: &'static [Field],
}

/// A key of an object.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The spec that brought it, by minor number.
    pub(super) since: u8,
    /// Up to this spec an absent text meant the empty text, which counts as set when merging.
    pub(super) empty_until: Option<u8>,
}

/// What is behind a key.
pub(super) enum Kind {
    Text,
    Int,
    Bool,
    Object(&'static Shape),
    Texts(Join),
    Objects(&'static Shape, Join),
}

/// How two lists become one.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Join {
    /// The parent's entries, then the child's; the same twice is allowed.
    Append,
    /// Entries with the same key become one.
    Keyed,
    /// Like `Keyed`, and all lists of the object that say this share their keys.
    Shared,
}

/// What tells entries of a list apart.
pub(super) enum Key {
    /// Not in lists.
    None,
    /// The text under this name.
    Text(&'static str),
    /// A partition's number, or its label if it has none.
    Partition,
}

impl Shape {
    /// The field of that name, if the version knows it.
    pub(super) fn field(&self, name: &str, version: Version) -> Option<&'static Field> {
        self.any_field(name).filter(|f| f.since <= version.minor())
    }

    /// The field of that name in whichever version.
    pub(super) fn any_field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|f| f.name == name)
    }

    /// The key of an entry; an absent one counts as empty, as in Ignition.
    pub(super) fn key_of(&self, entry: &Value) -> String {
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        match self.key {
            Key::None => String::new(),
            Key::Text(name) => text(name).unwrap_or_default().to_string(),
            Key::Partition => {
                let number = entry.get("number").and_then(Value::as_i64).unwrap_or(0);
                match (number, text("label")) {
                    (0, Some(label)) => format!("label:{label}"),
                    (0, None) => String::new(),
                    (number, _) => format!("number:{number}"),
                }
            }
        }
    }
}

impl Field {
    const fn since(mut self, minor: u8) -> Self {
        self.since = minor;
        self
    }

    const fn empty_until(mut self, minor: u8) -> Self {
        self.empty_until = Some(minor);
        self
    }

    /// How it is merged, and the shape of its entries, if it is a list.
    pub(super) fn list(&self) -> Option<(Option<&'static Shape>, Join)> {
        match self.kind {
            Kind::Texts(join) => Some((None, join)),
            Kind::Objects(shape, join) => Some((Some(shape), join)),
            _ => None,
        }
    }
}

/// The key of an entry of a list whose entries have that shape, or are texts.
pub(super) fn key_of(shape: Option<&Shape>, entry: &Value) -> String {
    match shape {
        Some(shape) => shape.key_of(entry),
        None => entry.as_str().unwrap_or_default().to_string(),
    }
}

/// The object behind a value; null counts as an empty one, as in Ignition.
pub(super) fn object(value: &Value) -> Option<&Map<String, Value>> {
    static EMPTY: std::sync::OnceLock<Map<String, Value>> = std::sync::OnceLock::new();
    match value {
        Value::Object(map) => Some(map),
        Value::Null => Some(EMPTY.get_or_init(Map::new)),
        _ => None,
    }
}

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
