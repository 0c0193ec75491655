//! The error of `read-file`.

/// The maximum length of a file that main serves, in bytes.
pub const FILE_LEN_MAX: usize = 1 << 20;

ringbridge::payload! {
    /// The error of [`READ_FILE`](crate::READ_FILE). It travels as a value, so the caller can match on it. It does not
    /// reveal the path of main's folder, or the files outside it. Programs get its name in kebab case.
    #[derive(serde::Serialize, thiserror::Error)]
    #[serde(rename_all = "kebab-case")]
    pub enum ReadFileError: u32 {
        /// Main serves no folder.
        #[error("main serves no folder; start it with --files DIR")]
        NoFolder = 0,
        /// The path is absolute, or leads out of the folder.
        #[error("the path is absolute or leads out of the folder that main serves")]
        Outside = 1,
        /// The path names nothing.
        #[error("there is no such file in the folder that main serves")]
        NotFound = 2,
        /// The path names a folder, a device or a pipe.
        #[error("it is not a regular file")]
        NotAFile = 3,
        /// The file is longer than [`FILE_LEN_MAX`].
        #[error("it is longer than {max} bytes", max = FILE_LEN_MAX)]
        TooLarge = 4,
        /// The operating system refused.
        #[error("main cannot read it")]
        Unreadable = 5,
        /// Too many files are waiting to be read.
        #[error("main is busy reading other files; try again")]
        Busy = 6,
    }
}
