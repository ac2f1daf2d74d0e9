//! The `coreos-bake` program: parse, run, say what went wrong.

use std::process::ExitCode;

fn main() -> ExitCode {
    coreos_bake::cli::main()
}
