//! What main makes memory of.
//!
//! | backing | memory | who may write it | passed on as | for |
//! | --- | --- | --- | --- | --- |
//! | `Sealed` | a `memfd`, sealed | its one writer, held to that by the kernel | a descriptor | untrusted renderers; Linux |
//! | `Named` | a segment with a name | whoever opens it | its name | processes that trust each other |
//!
//! Main chooses once, and passes its choice to whatever makes memory. Whoever opens memory learns from its
//! [`MemoryHandle`](super::handle::MemoryHandle) what it is. Nothing above [`memory`](super) looks.

#[cfg(feature = "portable")]
use crate::portable::segments::Segments;
#[cfg(feature = "portable")]
use crate::primitives::Arc;

#[derive(Clone, Debug)]
pub(crate) enum Backing {
    #[cfg(target_os = "linux")]
    Sealed,
    #[cfg(feature = "portable")]
    Named(Arc<Segments>),
}

#[cfg(test)]
impl Backing {
    /// One of each that there is here.
    pub(crate) fn all_for_test() -> Vec<Self> {
        vec![
            #[cfg(target_os = "linux")]
            Self::Sealed,
            #[cfg(feature = "portable")]
            Self::named_for_test(),
        ]
    }
}
