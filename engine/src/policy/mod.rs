//! The allow-list and the limits of one renderer. Everything is denied by default.
//!
//! Main enforces it, and tells the renderer. So an honest renderer gets an error from its own call, and a frame
//! that a dishonest one sends anyway is a violation.
//!
//! - [`allow_list`]: the policy itself. [`quota`]: token buckets of frames and bytes.
//! - `file`: policies as TOML, with the feature `policy-file`.

mod allow_list;
#[cfg(all(feature = "policy-file", not(loom)))]
pub(crate) mod file;
pub(crate) mod quota;

pub use allow_list::{OnViolation, Policy};
