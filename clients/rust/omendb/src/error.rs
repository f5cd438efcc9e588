//! What went wrong: a kind to match on, and a message that says which row, field or option it was.

use std::ffi::CStr;
use std::fmt;
use std::os::raw::c_char;

use crate::sys;

/// The result of a call into the engine.
pub type Result<T> = std::result::Result<T, Error>;

/// A call that failed, and so changed nothing (unless its documentation says otherwise).
///
/// ```
/// use omendb::{ErrorKind, Index};
///
/// let index = Index::builder(3).open()?;
/// let error = index.add(&[[1.0_f32, f32::NAN, 0.0]]).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotFinite);
/// assert!(error.to_string().contains("component 1"));
/// # Ok::<(), omendb::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    deleted: usize,
}

impl Error {
    /// What to match on.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What exactly was wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// How many points were deleted, durably, before [`Index::delete_where`](crate::Index::delete_where) failed; 0 of any
    /// other call.
    pub fn deleted(&self) -> usize {
        self.deleted
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), deleted: 0 }
    }

    pub(crate) fn with_deleted(self, deleted: usize) -> Self {
        Self { deleted, ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:ident,)*) => {
        /// The kinds of errors; their numbers ([`ErrorKind::status`]) are frozen and the same in C.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $name,)*
            /// A status that is newer than this crate.
            Other(i32),
        }

        impl ErrorKind {
            /// The number that the C interface has for it.
            pub fn status(self) -> i32 {
                match self {
                    $(Self::$name => sys::$status,)*
                    Self::Other(status) => status,
                }
            }

            pub(crate) fn from_status(status: i32) -> Self {
                match status {
                    $(sys::$status => Self::$name,)*
                    other => Self::Other(other),
                }
            }
        }
    };
}

kinds! {
    /// No such id or key.
    NotFound = OMEN_E_NOT_FOUND,
    /// Another map of the shards is in force by now.
    StaleMap = OMEN_E_STALE_MAP,
    /// A queue is full; later it may not be.
    Busy = OMEN_E_BUSY,
    /// The deadline passed.
    Timeout = OMEN_E_TIMEOUT,
    /// Stored bytes fail their checksum, or an invariant does not hold.
    Corrupt = OMEN_E_CORRUPT,
    /// `max_memory` is reached, or the machine has no more.
    NoMemory = OMEN_E_NO_MEMORY,
    /// An argument that makes no sense.
    Invalid = OMEN_E_INVALID,
    /// A vector of another dimension than the index.
    Dimension = OMEN_E_DIMENSION,
    /// A component is NaN or infinite.
    NotFinite = OMEN_E_NOT_FINITE,
    /// A vector of zeros, which has no direction, in a cosine index.
    ZeroVector = OMEN_E_ZERO_VECTOR,
    /// An id twice in one batch.
    DuplicateId = OMEN_E_DUPLICATE_ID,
    /// An id that is there already was added.
    Exists = OMEN_E_EXISTS,
    /// An id above the largest that the index takes.
    IdRange = OMEN_E_ID_RANGE,
    /// A text id that is empty, too long, or not text.
    IdLength = OMEN_E_ID_LENGTH,
    /// Integer ids for an index of text ids, or the other way round.
    IdKind = OMEN_E_ID_KIND,
    /// A `k` out of 1..=10000.
    K = OMEN_E_K,
    /// An element type that the index does not take.
    DType = OMEN_E_DTYPE,
    /// A filter that cannot be read.
    Filter = OMEN_E_FILTER,
    /// A value that does not fit the type of its field's index.
    FieldType = OMEN_E_FIELD_TYPE,
    /// A payload that is no msgpack map, or too large.
    Payload = OMEN_E_PAYLOAD,
    /// `slots_max` is reached.
    Full = OMEN_E_FULL,
    /// Not in this version.
    Unsupported = OMEN_E_UNSUPPORTED,
    /// The index was opened to be read only.
    ReadOnly = OMEN_E_READ_ONLY,
    /// The index is closed.
    Closed = OMEN_E_CLOSED,
    /// The progress closure stopped the wait, or [`Search::stop`](crate::Search::stop) was true.
    Cancelled = OMEN_E_CANCELLED,
    /// A mistake of the engine's.
    Internal = OMEN_E_INTERNAL,
    /// A file could not be read or written.
    Io = OMEN_E_IO,
    /// No room is left on the disk.
    DiskFull = OMEN_E_DISK_FULL,
    /// Files of a version that this library does not read.
    Version = OMEN_E_VERSION,
    /// Another process holds the index.
    Locked = OMEN_E_LOCKED,
    /// A point has another version than a conditional write asks for ([`Batch::if_versions`](crate::Batch::if_versions)).
    Conflict = OMEN_E_CONFLICT,
    /// Of a server: an operation's id is too old to know whether it was done.
    OpExpired = OMEN_E_OP_EXPIRED,
    /// Of a server: no key, an unknown one, or one that may not do this.
    Auth = OMEN_E_AUTH,
    /// Of a server: no such method.
    Method = OMEN_E_METHOD,
    /// Of a server: the collection is at its quota; nothing was changed.
    Quota = OMEN_E_QUOTA,
}

/// The text at `text`, or nothing where it is NULL or not UTF-8 (a message cut in the middle of a letter is mended).
pub(crate) fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the library gives NUL-terminated texts, valid until this thread's next call.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// To be called right after the call that gave `status`, on the same thread: that is where the message lies.
pub(crate) fn check(status: sys::omen_status) -> Result<()> {
    if status == sys::OMEN_OK {
        return Ok(());
    }
    // SAFETY: both only read static or thread-local text.
    let mut message = text_of(unsafe { sys::omen_error_message() });
    if message.is_empty() {
        message = text_of(unsafe { sys::omen_strerror(status) });
    }
    Err(Error::new(ErrorKind::from_status(status), message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delete_that_failed_on_the_way_says_how_many_points_are_gone() {
        let error = Error::new(ErrorKind::DiskFull, "no room");
        assert_eq!(error.deleted(), 0);
        let partial = error.with_deleted(1 << 20);
        assert_eq!(
            (partial.kind(), partial.message(), partial.deleted()),
            (ErrorKind::DiskFull, "no room", 1 << 20)
        );
    }
}
