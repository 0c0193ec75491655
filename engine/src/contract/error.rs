//! Errors of a contract, and of the configuration beside it.

/// A [`Contract`](crate::Contract) that cannot be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContractError {
    /// Two channels of one kind have the same name, or the same hash.
    #[error(
        "the contract has the channels '{channel}' and '{twin}', which are the same: rename one"
    )]
    Duplicate {
        /// The later channel.
        channel: String,
        /// The earlier one.
        twin: String,
    },
    /// A name that is empty or too long.
    #[error("the channel name '{channel}' is empty or longer than {max} bytes")]
    BadName {
        /// The name.
        channel: String,
        /// The limit, in bytes.
        max: usize,
    },
    /// More channels than a frame can number.
    #[error("the contract has {count} channels; at most {max} are possible")]
    TooManyChannels {
        /// The number of channels.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// A size in a [`Config`](crate::Config) that a ring cannot have.
    #[error("{what} is {value}; it must be a power of two from {min} to {max}")]
    BadCapacity {
        /// The setting.
        what: &'static str,
        /// Its value, in bytes.
        value: usize,
        /// The minimum, in bytes.
        min: usize,
        /// The maximum, in bytes.
        max: usize,
    },
    /// The backend has no isolation, and [`Config::require_isolation`](crate::Config::require_isolation) is set.
    #[error(
        "isolation is required, and between processes that share memory by name there is none: use the sealed backend, which Linux has"
    )]
    NoIsolation,
    /// This platform has no sealed memory, and the library was built without the portable backend.
    #[error(
        "this platform has no sealed memory: build ringbridge with the feature 'portable', for processes that trust each other"
    )]
    NoBackend,
}
