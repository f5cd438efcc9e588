//! Points read back: copies that stay as they were, whatever becomes of the index.

use std::ffi::CString;
use std::fmt;
use std::ptr::{null_mut, NonNull};
use std::slice::from_raw_parts;

use crate::batch::{IdList, Ids, Version};
use crate::error::{check, Error, ErrorKind, Result};
use crate::index::{filter_text, pointer_of, Index};
use crate::options::DType;
use crate::sys;
use crate::vectors::{Bf16, Element, F16};

/// What to read back besides ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum With {
    /// Nothing else.
    Ids,
    /// Vectors.
    Vectors,
    /// Payloads.
    Payloads,
    /// Vectors and payloads.
    All,
}

impl With {
    fn to_raw(self) -> i32 {
        match self {
            With::Ids => 0,
            With::Vectors => sys::OMEN_WITH_VECTOR,
            With::Payloads => sys::OMEN_WITH_PAYLOAD,
            With::All => sys::OMEN_WITH_VECTOR | sys::OMEN_WITH_PAYLOAD,
        }
    }
}

/// A list of points, which may outlive the index. What its points lend does not outlive the list:
///
/// ```compile_fail
/// # let index = omendb::Index::builder(1).open().unwrap();
/// let payload = {
///     let points = index.get(1_u64, omendb::With::All).unwrap();
///     points.get(0).unwrap().payload()
/// }; // `points` does not live long enough
/// println!("{:?}", payload);
/// ```
pub struct Points {
    raw: NonNull<sys::OmenPoints>,
    count: usize,
    dimension: usize,
    dtype: DType,
}

// SAFETY: the list does not change after it was made, and any thread may free it.
unsafe impl Send for Points {}
// SAFETY: as above.
unsafe impl Sync for Points {}

impl Drop for Points {
    fn drop(&mut self) {
        // SAFETY: the list is valid, and what borrowed from it is gone.
        unsafe { sys::omen_points_free(self.raw.as_ptr()) }
    }
}

impl fmt::Debug for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Points {
    /// Takes ownership of a list that the library gave.
    pub(crate) fn from_raw(raw: sys::omen_points_t, index: &Index) -> Result<Self> {
        let raw = NonNull::new(raw)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "a call succeeded without its points"))?;
        // SAFETY: the list is valid.
        let count = unsafe { sys::omen_points_count(raw.as_ptr()) };
        Ok(Self { raw, count, dimension: index.dimension(), dtype: index.dtype() })
    }

    /// How many points there are, those that were not found among them.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The i-th point; nothing beyond the end, or where no point had the id that was asked for.
    pub fn get(&self, i: usize) -> Option<Point<'_>> {
        // SAFETY: the library answers 0 beyond the end.
        let found = unsafe { sys::omen_points_found(self.raw.as_ptr(), i) } != 0;
        found.then_some(Point { points: self, i })
    }

    /// The points that were found, in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter { points: self, next: 0 }
    }
}

impl<'p> IntoIterator for &'p Points {
    type Item = Point<'p>;
    type IntoIter = Iter<'p>;

    fn into_iter(self) -> Iter<'p> {
        self.iter()
    }
}

/// The found points of a list.
#[derive(Clone, Debug)]
pub struct Iter<'p> {
    points: &'p Points,
    next: usize,
}

impl<'p> Iterator for Iter<'p> {
    type Item = Point<'p>;

    fn next(&mut self) -> Option<Point<'p>> {
        while self.next < self.points.count {
            let i = self.next;
            self.next += 1;
            if let Some(point) = self.points.get(i) {
                return Some(point);
            }
        }
        None
    }
}

/// A stored vector, in the index's element type.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs)] // the names say it
pub enum Vector<'p> {
    F32(&'p [f32]),
    F16(&'p [F16]),
    Bf16(&'p [Bf16]),
    I8(&'p [i8]),
    U8(&'p [u8]),
}

/// One point of a list.
#[derive(Clone, Copy)]
pub struct Point<'p> {
    points: &'p Points,
    i: usize,
}

impl<'p> Point<'p> {
    fn raw(&self) -> sys::omen_points_t {
        self.points.raw.as_ptr()
    }

    /// Its id, or its key where ids are texts ([`Index::id_text`]).
    pub fn id(&self) -> u64 {
        // SAFETY: the list lives as long as `self`.
        unsafe { sys::omen_points_id(self.raw(), self.i) }
    }

    /// How far it is from the query of [`Index::range`]; else 0.
    pub fn distance(&self) -> f32 {
        // SAFETY: as above.
        unsafe { sys::omen_points_distance(self.raw(), self.i) }
    }

    /// Its version, for [`Batch::if_versions`](crate::Batch::if_versions). An index in memory has none.
    pub fn version(&self) -> Option<Version> {
        // SAFETY: as above.
        Version::new(unsafe { sys::omen_points_version(self.raw(), self.i) })
    }

    /// Its vector, where vectors were asked for.
    pub fn vector(&self) -> Option<Vector<'p>> {
        Some(match self.points.dtype {
            DType::F32 => Vector::F32(self.vector_as()?),
            DType::F16 => Vector::F16(self.vector_as()?),
            DType::Bf16 => Vector::Bf16(self.vector_as()?),
            DType::I8 => Vector::I8(self.vector_as()?),
            DType::U8 => Vector::U8(self.vector_as()?),
        })
    }

    /// Its vector, where vectors were asked for and the index has this element type.
    pub fn vector_as<T: Element>(&self) -> Option<&'p [T]> {
        if T::DTYPE != self.points.dtype {
            return None;
        }
        // SAFETY: the list lives as long as 'p.
        let data = unsafe { sys::omen_points_vector(self.raw(), self.i) }.cast::<T>();
        if data.is_null() {
            return None;
        }
        assert!(
            data as usize % std::mem::align_of::<T>() == 0,
            "the library gave a vector that is not aligned"
        );
        // SAFETY: the library gives `dimension` components of the index's element type, which is T, and leaves them
        // alone until the list is freed.
        Some(unsafe { from_raw_parts(data, self.points.dimension) })
    }

    /// Its payload, a msgpack map, where payloads were asked for and it has one.
    pub fn payload(&self) -> Option<&'p [u8]> {
        let mut bytes = 0;
        // SAFETY: the list lives as long as 'p.
        let data = unsafe { sys::omen_points_payload(self.raw(), self.i, &mut bytes) };
        // SAFETY: the library gives that many bytes and leaves them alone until the list is freed.
        (!data.is_null()).then(|| unsafe { from_raw_parts(data.cast(), bytes) })
    }
}

impl fmt::Debug for Point<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Point")
            .field("id", &self.id())
            .field("distance", &self.distance())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

/// Pages of points, in the order of writing; made by [`Index::scroll`].
#[derive(Debug)]
pub struct Scroll<'i> {
    index: &'i Index,
    filter: Option<CString>,
    with: With,
    limit: usize,
    cursor: u64,
}

/// What the cursor is at the end.
const CURSOR_END: u64 = u64::MAX;

impl Iterator for Scroll<'_> {
    type Item = Result<Points>;

    fn next(&mut self) -> Option<Result<Points>> {
        while self.cursor != CURSOR_END {
            match self.page() {
                Ok(points) if points.is_empty() => continue,
                Ok(points) => return Some(Ok(points)),
                Err(error) => {
                    self.cursor = CURSOR_END;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl std::iter::FusedIterator for Scroll<'_> {}

impl Scroll<'_> {
    fn page(&mut self) -> Result<Points> {
        let (filter, mut points) = (pointer_of(&self.filter), null_mut());
        // SAFETY: the filter is NULL or lives as long as `self`.
        check(unsafe {
            sys::omen_scroll(
                self.index.raw(),
                filter,
                self.with.to_raw(),
                self.limit,
                &mut self.cursor,
                &mut points,
            )
        })?;
        Points::from_raw(points, self.index)
    }
}

impl Index {
    /// The points with these ids, in their order. Where there is none, [`Points::get`] has nothing.
    ///
    /// ```
    /// use omendb::{Index, With};
    ///
    /// let index = Index::builder(2).metric(omendb::Metric::L2).open()?;
    /// index.add(&[[1.0_f32, 0.0], [0.0, 1.0]])?;
    /// let points = index.get(&[1, 7], With::Vectors)?;
    /// assert_eq!(points.get(0).unwrap().vector_as::<f32>(), Some(&[0.0, 1.0][..]));
    /// assert!(points.get(1).is_none());
    /// # Ok::<(), omendb::Error>(())
    /// ```
    pub fn get<'a>(&self, ids: impl Into<Ids<'a>>, with: With) -> Result<Points> {
        let keys;
        let ids = ids.into();
        let ids = match &ids.0 {
            IdList::Integers(ids) => &ids[..],
            IdList::Texts(texts) => {
                keys = self.keys_of(texts)?;
                &keys[..]
            }
        };
        let mut points = null_mut();
        // SAFETY: pointer and count belong together and live until the call is over.
        check(unsafe { sys::omen_get(self.raw(), ids.as_ptr(), ids.len(), with.to_raw(), &mut points) })?;
        Points::from_raw(points, self)
    }

    /// All points that match a filter, `limit` a page, in the order of writing.
    ///
    /// ```
    /// use omendb::{Index, With};
    ///
    /// let index = Index::builder(1).metric(omendb::Metric::L2).open()?;
    /// index.add(&(0..25).map(|i| i as f32).collect::<Vec<_>>())?;
    /// let mut ids = Vec::new();
    /// for page in index.scroll(None, With::Ids, 10)? {
    ///     ids.extend(page?.iter().map(|point| point.id()));
    /// }
    /// assert_eq!(ids, (0..25).collect::<Vec<_>>());
    /// # Ok::<(), omendb::Error>(())
    /// ```
    pub fn scroll(&self, filter: Option<&str>, with: With, limit: usize) -> Result<Scroll<'_>> {
        if limit == 0 {
            return Err(Error::new(ErrorKind::Invalid, "limit is 0; a page has at least one point"));
        }
        let filter = filter.map(filter_text).transpose()?;
        Ok(Scroll { index: self, filter, with, limit, cursor: 0 })
    }
}
