//! The command line that the ostree-ext crate carries, as a program.

fn main() -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(ostree_ext::cli::run_from_iter(std::env::args_os()))
}
