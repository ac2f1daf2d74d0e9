//! Which formats make up a medium: the live system, the ISO, the PXE set.

mod bake;
mod compression;
mod customize;
mod drivers;
mod iso;
mod live;
mod medium;
mod menu;
mod pxe;
mod record;
mod source;
mod staging;

pub use bake::{Baked, Format, Plan, Request};
pub use compression::Choice;
pub use customize::Customization;
pub use drivers::{Presence, Stage, check as check_drivers, repair};
pub use medium::{LiveRoot, Medium};
pub use record::Artifact;
pub use source::{ReadOptions, Source};
pub use staging::{Staging, abandon};
