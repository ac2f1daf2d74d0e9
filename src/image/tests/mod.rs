//! Whole images, made here in temporary directories, good ones and broken ones.

mod archives;
mod exports;
mod fixture;
mod layers;
mod layouts;
