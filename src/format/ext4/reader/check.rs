//! The check of a whole file system.
