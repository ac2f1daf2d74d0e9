//! Whole imports of small images made here, and what referees say of the result.

mod fixture;
mod hostile;
mod import;
mod referee;
