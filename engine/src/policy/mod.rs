//! The allow-list and the limits of one renderer. Everything is denied by default.
//!
//! ```text
//!   Policy  ──welcome──▶ an honest renderer's own call fails
//!      └──▶ main checks each frame: a forbidden one is a violation, one over the quota waits
//! ```
//!
//! - [`allow_list`]: the policy itself. [`quota`]: token buckets of frames and bytes.
//! - `file`: policies as TOML, with the feature `policy-file`.

mod allow_list;
#[cfg(all(feature = "policy-file", not(loom)))]
pub(crate) mod file;
pub(crate) mod quota;

pub use allow_list::{OnViolation, Policy};
