//! What `cluster` says of a cluster at moments that a real one went through.

#[path = "cluster/many.rs"]
mod many;
#[path = "cluster/moments.rs"]
mod moments;
#[path = "cluster/refused.rs"]
mod refused;
#[path = "cluster/retry.rs"]
mod retry;
#[path = "cluster/screens.rs"]
mod screens;
#[path = "support/story/mod.rs"]
mod story;
mod support;
#[path = "cluster/watch.rs"]
mod watch;
