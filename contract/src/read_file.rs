//! Why a file was not read.

use std::{error::Error, fmt};

/// How long a file may be, in bytes.
pub const FILE_LEN_MAX: usize = 1 << 20;

ringbridge::payload! {
    /// The error of [`READ_FILE`](crate::READ_FILE). It travels as a value, so the caller can match on
    /// it. It does not say where main's folder is, or what is outside.
    pub enum ReadFileError: u32 {
        /// Main serves no folder.
        NoFolder = 0,
        /// The path is absolute, or leads out of the folder.
        Outside = 1,
        /// There is nothing at that path.
        NotFound = 2,
        /// It is a folder, a device or a pipe.
        NotAFile = 3,
        /// It is longer than [`FILE_LEN_MAX`].
        TooLarge = 4,
        /// The operating system refused.
        Unreadable = 5,
        /// Too many files are waiting to be read: try again.
        Busy = 6,
    }
}

impl ReadFileError {
    /// A short name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoFolder => "no-folder",
            Self::Outside => "outside",
            Self::NotFound => "not-found",
            Self::NotAFile => "not-a-file",
            Self::TooLarge => "too-large",
            Self::Unreadable => "unreadable",
            Self::Busy => "busy",
        }
    }
}

impl fmt::Display for ReadFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoFolder => "main serves no folder; start it with --files DIR",
            Self::Outside => "the path is absolute or leads out of the folder that main serves",
            Self::NotFound => "there is no such file in the folder that main serves",
            Self::NotAFile => "it is not a regular file",
            Self::TooLarge => return write!(f, "it is longer than {FILE_LEN_MAX} bytes"),
            Self::Unreadable => "main cannot read it",
            Self::Busy => "main is busy reading other files; try again",
        })
    }
}

impl Error for ReadFileError {}

#[cfg(test)]
mod tests {
    use ringbridge::Payload;

    use super::*;

    #[test]
    fn an_error_travels_as_itself() {
        let bytes = ReadFileError::TooLarge.encode(<[u8]>::to_vec).unwrap();
        assert_eq!(ReadFileError::decode_owned(&bytes), Ok(ReadFileError::TooLarge));
        assert!(ReadFileError::decode_owned(&99_u32.to_ne_bytes()).is_err());
    }
}
