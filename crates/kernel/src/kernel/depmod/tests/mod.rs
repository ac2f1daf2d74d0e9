//! Agreement with depmod: over a distribution's kernel, over trees made by hand, and where depmod
//! has nothing to say.

mod distribution;
mod handmade;
mod refusal;
mod scratch;
