//! Releases, names and requests on both sides of each edge.

mod boot_images;
mod names;
mod refused;
mod release;
mod request;
