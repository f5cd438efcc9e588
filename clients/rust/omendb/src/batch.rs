//! What is written at once: vectors, their ids, their payloads.

use std::borrow::Cow;
use std::os::raw::{c_char, c_void};

use crate::error::{Error, ErrorKind, Result};
use crate::vectors::{Element, Vectors};

/// Ids of points: integers or texts. An index has one kind; its first write decides.
///
/// Made from `u64`, `&str`, and slices, arrays and vectors of `u64`, `&str` or `String`. Integers are borrowed.
#[derive(Clone, Debug)]
pub struct Ids<'a>(pub(crate) IdList<'a>);

#[derive(Clone, Debug)]
pub(crate) enum IdList<'a> {
    Integers(Cow<'a, [u64]>),
    Texts(Texts),
}

/// Texts one after the other, each with a NUL behind it, as C reads them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    bytes: Vec<u8>,
    starts: Vec<usize>,
    with_nul: Option<usize>,
}

impl Texts {
    fn of<S: AsRef<str>>(texts: &[S]) -> Self {
        let mut made = Self::default();
        made.starts.reserve(texts.len());
        for (row, text) in texts.iter().enumerate() {
            let text = text.as_ref().as_bytes();
            if made.with_nul.is_none() && text.contains(&0) {
                made.with_nul = Some(row);
            }
            made.starts.push(made.bytes.len());
            made.bytes.extend_from_slice(text);
            made.bytes.push(0);
        }
        made
    }

    /// Pointers to the texts, valid as long as `self`.
    pub(crate) fn pointers(&self) -> Result<Vec<*const c_char>> {
        if let Some(row) = self.with_nul {
            return Err(Error::new(ErrorKind::IdLength, format!("row {}: its text id has a NUL in it", row)));
        }
        Ok(self.starts.iter().map(|&start| self.bytes[start..].as_ptr().cast()).collect())
    }
}

impl Ids<'_> {
    /// How many ids there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            IdList::Integers(ids) => ids.len(),
            IdList::Texts(texts) => texts.starts.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

macro_rules! integer_ids {
    ($(($($generics:tt)*) $from:ty;)*) => {
        $(impl<'a, $($generics)*> From<&'a $from> for Ids<'a> {
            fn from(ids: &'a $from) -> Self {
                Self(IdList::Integers(Cow::Borrowed(&ids[..])))
            }
        })*
    };
}
integer_ids! {
    () [u64];
    () Vec<u64>;
    (const N: usize) [u64; N];
}

macro_rules! text_ids {
    ($(($($generics:tt)*) $from:ty;)*) => {
        $(impl<'a, $($generics)*> From<&'a $from> for Ids<'a> {
            fn from(ids: &'a $from) -> Self {
                Self(IdList::Texts(Texts::of(&ids[..])))
            }
        })*
    };
}
text_ids! {
    () [&str];
    () [String];
    () Vec<&str>;
    () Vec<String>;
    (const N: usize) [&str; N];
    (const N: usize) [String; N];
}

impl From<u64> for Ids<'_> {
    fn from(id: u64) -> Self {
        Self(IdList::Integers(Cow::Owned(vec![id])))
    }
}

impl From<&str> for Ids<'_> {
    fn from(id: &str) -> Self {
        Self(IdList::Texts(Texts::of(&[id])))
    }
}

/// A payload: the bytes of one msgpack map, or none.
pub trait Payload {
    /// The bytes, where there are any.
    fn bytes(&self) -> Option<&[u8]>;
}

impl Payload for [u8] {
    fn bytes(&self) -> Option<&[u8]> {
        Some(self)
    }
}

impl Payload for Vec<u8> {
    fn bytes(&self) -> Option<&[u8]> {
        Some(self)
    }
}

impl<const N: usize> Payload for [u8; N] {
    fn bytes(&self) -> Option<&[u8]> {
        Some(self)
    }
}

impl<P: Payload + ?Sized> Payload for &P {
    fn bytes(&self) -> Option<&[u8]> {
        (**self).bytes()
    }
}

impl<P: Payload> Payload for Option<P> {
    fn bytes(&self) -> Option<&[u8]> {
        self.as_ref().and_then(Payload::bytes)
    }
}

/// Payloads as C takes them; the pointers are into memory that somebody else keeps.
pub(crate) struct RawPayloads {
    pub bytes: Vec<*const c_void>,
    pub lengths: Vec<usize>,
}

impl RawPayloads {
    pub(crate) fn of<'p>(payloads: impl Iterator<Item = Option<&'p [u8]>>) -> Self {
        let (bytes, lengths) = payloads
            .map(|payload| payload.map_or((std::ptr::null(), 0), |p| (p.as_ptr().cast(), p.len())))
            .unzip();
        Self { bytes, lengths }
    }
}

/// The version of a point of an index that lies in a folder. It changes with every write to the point, and no version
/// comes twice. Under [`Durability::Interval`](crate::Durability::Interval) those of writes that a crash took away are
/// given again: ask anew after one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version(u64);

impl Version {
    /// A version that was kept as a number. Nothing for 0 and `u64::MAX`, which no point ever has.
    pub fn new(number: u64) -> Option<Self> {
        (number != NOT_THERE && number != ANY).then_some(Self(number))
    }

    /// The number, to be kept somewhere else.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// What must be so for a row to be written, and with it its whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IfVersion {
    /// Nothing: the point may be there or not.
    Any,
    /// The point is not there.
    Absent,
    /// The point is there and was not written since it had this version.
    Is(Version),
}

// What C has for them.
const NOT_THERE: u64 = 0;
const ANY: u64 = u64::MAX;

impl IfVersion {
    pub(crate) fn to_raw(self) -> u64 {
        match self {
            Self::Any => ANY,
            Self::Absent => NOT_THERE,
            Self::Is(version) => version.0,
        }
    }
}

impl From<Version> for IfVersion {
    fn from(version: Version) -> Self {
        Self::Is(version)
    }
}

/// Conditions as C takes them.
pub(crate) fn raw_versions<V: Copy + Into<IfVersion>>(versions: &[V]) -> Vec<u64> {
    versions.iter().map(|&version| version.into().to_raw()).collect()
}

/// Rows to be written together: all of them, or, if anything is wrong with one, none.
///
/// ```
/// use omendb::{Batch, Index};
///
/// let index = Index::builder(2).open()?;
/// let payload = b"\x81\xa4year\xcd\x07\xe4"; // {"year": 2020}
/// index.add(Batch::new(&[[1.0_f32, 0.0], [0.0, 1.0]]).ids(&["left", "right"]).payloads(&[Some(payload), None]))?;
/// assert_eq!(index.count(Some("year >= 2000"))?, 1);
/// # Ok::<(), omendb::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    pub(crate) vectors: Vectors<'a>,
    pub(crate) ids: Option<Ids<'a>>,
    pub(crate) payloads: Option<Vec<Option<&'a [u8]>>>,
    pub(crate) if_versions: Option<Vec<u64>>,
}

impl<'a> Batch<'a> {
    /// Vectors without payloads, which the index numbers on.
    pub fn new(vectors: impl Into<Vectors<'a>>) -> Self {
        Self { vectors: vectors.into(), ids: None, payloads: None, if_versions: None }
    }

    /// One id a row.
    pub fn ids(mut self, ids: impl Into<Ids<'a>>) -> Self {
        self.ids = Some(ids.into());
        self
    }

    /// One payload a row, borrowed: `Vec<u8>`, `&[u8]`, or an `Option` of either.
    pub fn payloads<P: Payload>(mut self, payloads: &'a [P]) -> Self {
        self.payloads = Some(payloads.iter().map(Payload::bytes).collect());
        self
    }

    /// One condition a row: the batch is written if all of them hold, and else it is an error that names the first row
    /// whose does not ([`ErrorKind::Conflict`]). Takes [`Version`]s too. Only of an index that lies in a folder.
    ///
    /// ```
    /// use omendb::{Batch, ErrorKind, IfVersion, Index, With};
    ///
    /// # let folder = std::env::temp_dir().join(format!("omendb-if-versions-{}", std::process::id()));
    /// let index = Index::builder(2).path(&folder).open()?;
    /// index.add(Batch::new(&[[1.0_f32, 0.0]]).ids(7_u64).if_versions(&[IfVersion::Absent]))?;
    ///
    /// let read = index.get(7_u64, With::Vectors)?; // and then changed by who read it
    /// let version = read.get(0).and_then(|point| point.version()).expect("it is there");
    /// let change = Batch::new(&[[1.0_f32, 1.0]]).ids(7_u64).if_versions(&[version]);
    /// index.upsert(&change)?;
    /// assert_eq!(index.upsert(&change).unwrap_err().kind(), ErrorKind::Conflict); // it has another one now
    /// # drop(index);
    /// # std::fs::remove_dir_all(&folder).ok();
    /// # Ok::<(), omendb::Error>(())
    /// ```
    pub fn if_versions<V: Copy + Into<IfVersion>>(mut self, versions: &[V]) -> Self {
        self.if_versions = Some(raw_versions(versions));
        self
    }
}

impl<'a> From<Vectors<'a>> for Batch<'a> {
    fn from(vectors: Vectors<'a>) -> Self {
        Self::new(vectors)
    }
}

impl<'a> From<&Batch<'a>> for Batch<'a> {
    fn from(batch: &Batch<'a>) -> Self {
        batch.clone()
    }
}

macro_rules! batches {
    ($(($($generics:tt)*) $from:ty;)*) => {
        $(impl<'a, T: Element, $($generics)*> From<&'a $from> for Batch<'a> {
            fn from(vectors: &'a $from) -> Self {
                Self::new(vectors)
            }
        })*
    };
}
batches! {
    () [T];
    () Vec<T>;
    (const N: usize) [T; N];
    (const N: usize) [[T; N]];
    (const N: usize) Vec<[T; N]>;
    (const N: usize, const M: usize) [[T; N]; M];
}
