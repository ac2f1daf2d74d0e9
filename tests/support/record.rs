//! Records of bakes, as `coreos-bake bake` writes them.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test program uses its own part"
)]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// One of an image in a registry, with a driver that is there at each stage.
pub fn sample() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/bake.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The same with another driver, if there is one at all.
pub fn sample_with(driver: Option<&str>) -> Value {
    let mut record = sample();
    match driver {
        Some(driver) => {
            for verdict in record["drivers"].as_array_mut().unwrap() {
                verdict["driver"] = driver.into();
            }
        }
        None => record["drivers"] = Value::Array(Vec::new()),
    }
    record
}

/// Makes a directory that a record is in.
pub fn write(directory: &Path, record: &Value) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("bake.json"), record.to_string()).unwrap();
}

/// Whether a record is what `docs/bake.schema.json` says, by a validator of other people's. None without one.
pub fn is_valid(record: &Path) -> Option<bool> {
    let python = |script: &str, arguments: &[&Path]| {
        let mut command = Command::new("python3");
        command.args(["-c", script]).args(arguments);
        command.output().is_ok_and(|output| output.status.success())
    };
    if !python("import jsonschema", &[]) {
        let required = std::env::var_os("REQUIRE_TOOLS").is_some();
        assert!(!required, "python3-jsonschema is not installed");
        return None;
    }
    let script = "import json, jsonschema, sys\n\
                  record, schema = (json.load(open(path)) for path in sys.argv[1:])\n\
                  jsonschema.Draft202012Validator.check_schema(schema)\n\
                  jsonschema.Draft202012Validator(schema).validate(record)\n";
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/bake.schema.json");
    Some(python(script, &[record, Path::new(schema)]))
}
