//! Vectors as the engine takes them: in the caller's own memory, of any of its element types, any stride apart.

use std::marker::PhantomData;
use std::os::raw::c_void;

use crate::error::{Error, ErrorKind, Result};
use crate::options::DType;

/// A half float (IEEE 754 binary16), as its bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct F16(pub u16);

/// A bfloat16 (the upper half of an f32), as its bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bf16(pub u16);

mod sealed {
    pub trait Sealed {}
}

/// What a vector's components may be: `f32`, [`F16`], [`Bf16`], `i8`, `u8`.
pub trait Element: sealed::Sealed + Copy + Send + Sync + 'static {
    /// The type's name in the engine.
    const DTYPE: DType;
}

macro_rules! element {
    ($($rust:ty => $dtype:ident),*) => {
        $(impl sealed::Sealed for $rust {}
        impl Element for $rust {
            const DTYPE: DType = DType::$dtype;
        })*
    };
}
element!(f32 => F32, F16 => F16, Bf16 => Bf16, i8 => I8, u8 => U8);

#[derive(Clone, Copy, Debug)]
enum Layout {
    /// Row after row; the dimension is the index's.
    Dense,
    /// Row after row of this dimension.
    Rows { count: usize, dimension: usize },
    /// Rows that begin `stride` components apart.
    Strided { count: usize, stride: usize },
}

/// Borrowed vectors, read where they lie.
///
/// They come from a flat slice (`&[f32]`, row after row), from a slice of arrays (`&[[f32; 3]]`), or, where rows are
/// part of something wider, from [`Vectors::strided`].
///
/// ```
/// use omendb::{Index, Metric, Vectors};
///
/// let index = Index::builder(2).metric(Metric::L2).open()?;
/// index.add(&[1.0_f32, 2.0, 3.0, 4.0])?; // two rows
/// index.add(&[[5.0_f32, 6.0], [7.0, 8.0]])?; // two more
/// let table = [9.0_f32, 10.0, -1.0, 11.0, 12.0, -1.0]; // rows of 3, of which a vector takes 2
/// index.add(Vectors::strided(&table, 2, 3))?;
/// assert_eq!(index.len()?, 6);
/// # Ok::<(), omendb::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Vectors<'a> {
    data: *const c_void,
    components: usize,
    component_bytes: usize,
    dtype: DType,
    layout: Layout,
    lent: PhantomData<&'a [u8]>,
}

// SAFETY: it is a `&'a [T]` of an element type, and those are Sync.
unsafe impl Send for Vectors<'_> {}
// SAFETY: as above.
unsafe impl Sync for Vectors<'_> {}

/// Vectors whose layout was found to fit an index.
pub(crate) struct Rows {
    pub data: *const c_void,
    pub count: usize,
    pub stride: usize, // in bytes, 0 where rows lie dense
    pub dtype: DType,
}

impl<'a> Vectors<'a> {
    fn with_layout<T: Element>(data: &'a [T], layout: Layout) -> Self {
        Self {
            data: data.as_ptr().cast(),
            components: data.len(),
            component_bytes: std::mem::size_of::<T>(),
            dtype: T::DTYPE,
            layout,
            lent: PhantomData,
        }
    }

    /// Row after row; how many there are follows from the index's dimension.
    pub fn dense<T: Element>(data: &'a [T]) -> Self {
        Self::with_layout(data, Layout::Dense)
    }

    /// `count` rows, each of which begins `stride` components after the one before it.
    pub fn strided<T: Element>(data: &'a [T], count: usize, stride: usize) -> Self {
        Self::with_layout(data, Layout::Strided { count, stride })
    }

    fn arrays<T: Element, const N: usize>(rows: &'a [[T; N]]) -> Self {
        // SAFETY: arrays lie one after the other without padding, so these are rows.len() * N components of one
        // allocation; the product cannot overflow, because they exist.
        let data = unsafe { std::slice::from_raw_parts(rows.as_ptr().cast::<T>(), rows.len() * N) };
        Self::with_layout(data, Layout::Rows { count: rows.len(), dimension: N })
    }

    /// How the rows lie when the index has this dimension. Nothing outside of the slice will be read.
    pub(crate) fn resolve(&self, dimension: usize) -> Result<Rows> {
        let (count, stride) = match self.layout {
            Layout::Dense => {
                if self.components % dimension != 0 {
                    return Err(Error::new(
                        ErrorKind::Dimension,
                        format!(
                            "{} components are no whole rows of dimension {}",
                            self.components, dimension
                        ),
                    ));
                }
                (self.components / dimension, 0)
            }
            Layout::Rows { count, dimension: own } => {
                if own != dimension {
                    return Err(Error::new(
                        ErrorKind::Dimension,
                        format!("vector has {} components; the index has dimension {}", own, dimension),
                    ));
                }
                (count, 0)
            }
            Layout::Strided { count, stride } => {
                self.check_strided(dimension, count, stride)?;
                (count, if count > 1 { stride * self.component_bytes } else { 0 })
            }
        };
        Ok(Rows { data: self.data, count, stride, dtype: self.dtype })
    }

    fn check_strided(&self, dimension: usize, count: usize, stride: usize) -> Result<()> {
        if count > 1 && stride < dimension {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("a stride of {} components is less than the dimension, {}", stride, dimension),
            ));
        }
        let needed = match count {
            0 => Some(0),
            _ => (count - 1).checked_mul(stride).and_then(|before| before.checked_add(dimension)),
        };
        match needed {
            Some(needed) if needed <= self.components => Ok(()),
            _ => Err(Error::new(
                ErrorKind::Dimension,
                format!(
                    "the slice has {} components, too few for {} rows of dimension {} that begin {} apart",
                    self.components, count, dimension, stride
                ),
            )),
        }
    }

    /// The one vector of a search.
    pub(crate) fn resolve_query(&self, dimension: usize) -> Result<Rows> {
        if matches!(self.layout, Layout::Dense) && self.components != dimension {
            return Err(Error::new(
                ErrorKind::Dimension,
                format!("query has {} components; the index has dimension {}", self.components, dimension),
            ));
        }
        let rows = self.resolve(dimension)?;
        if rows.count != 1 {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{} queries were given where one is searched; search_batch takes many", rows.count),
            ));
        }
        Ok(rows)
    }
}

impl<'a, T: Element> From<&'a [T]> for Vectors<'a> {
    fn from(data: &'a [T]) -> Self {
        Self::dense(data)
    }
}

impl<'a, T: Element> From<&'a Vec<T>> for Vectors<'a> {
    fn from(data: &'a Vec<T>) -> Self {
        Self::dense(data)
    }
}

impl<'a, T: Element, const N: usize> From<&'a [T; N]> for Vectors<'a> {
    fn from(data: &'a [T; N]) -> Self {
        Self::dense(data)
    }
}

impl<'a, T: Element, const N: usize> From<&'a [[T; N]]> for Vectors<'a> {
    fn from(rows: &'a [[T; N]]) -> Self {
        Self::arrays(rows)
    }
}

impl<'a, T: Element, const N: usize> From<&'a Vec<[T; N]>> for Vectors<'a> {
    fn from(rows: &'a Vec<[T; N]>) -> Self {
        Self::arrays(rows)
    }
}

impl<'a, T: Element, const N: usize, const M: usize> From<&'a [[T; N]; M]> for Vectors<'a> {
    fn from(rows: &'a [[T; N]; M]) -> Self {
        Self::arrays(rows)
    }
}
