//! What commands show of the sample on a screen of 80 columns and on one of 120.

#[path = "support/screen.rs"]
mod screen;
mod support;

use support::Workshop;

/// Instructions of a Containerfile, which are printed to be pasted.
fn is_pasted(line: &str) -> bool {
    line.starts_with("    ") || line.starts_with("FROM ")
}

#[test]
fn images_and_media() {
    let Some(workshop) = Workshop::new() else {
        return;
    };
    let home = workshop.path("");
    let places = [(home.clone(), "HOME/")];
    let look = |name: &str, arguments: &str| {
        // Times are on standard error, which `tests/screens.rs` can't compare either.
        let line = format!("cd {} && ./coreos-bake {arguments} 2> log", home.display());
        screen::look(name, &line, &places, is_pasted);
    };
    look("check", "check oci:layered.oci --driver megaraid_sas");
    look(
        "check-missing",
        "check oci:forgot.oci --driver megaraid_sas",
    );
    look(
        "check-verbose",
        "check -v oci:layered.oci --driver megaraid_sas",
    );
    look(
        "check-explain",
        "check oci:layered.oci --driver megaraid_sas --explain live-root --explain pivot",
    );
    look(
        "layer",
        "layer oci:forgot.oci --repair --driver megaraid_sas -o oci:new:tag --force",
    );
    look(
        "layer-nothing",
        "layer oci:layered.oci --repair --driver megaraid_sas -o oci:new:other",
    );
    look("inspect-image", "inspect oci:layered.oci");
    let media = "-f iso,pxe,metal --compression fast --no-cache";
    look(
        "bake-dry-run",
        &format!("bake oci:layered.oci --driver megaraid_sas -o media {media} --dry-run"),
    );
    look(
        "bake",
        &format!("bake oci:layered.oci --driver megaraid_sas -o media {media} --force"),
    );
    look("inspect-iso", "inspect media/*live-iso*.iso");
    look("inspect-disk", "inspect media/*metal*.raw");
    look(
        "check-iso",
        "check media/*live-iso*.iso --driver megaraid_sas --for agent --for ipi",
    );
}
