//! What a configuration is, by Ignition's own binary and by what we say.

mod contents;
mod convert;
mod flatten;
mod ignition;
mod merge;
mod properties;
mod validate;
