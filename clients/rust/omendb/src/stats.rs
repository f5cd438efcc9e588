//! What an index tells about itself.

use std::mem::size_of;

use crate::error::{check, text_of, Error, ErrorKind, Result};
use crate::options::{Algorithm, DType, Metric, Quantization};
use crate::sys;

/// Bytes of memory, by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)] // the names say it
pub struct Bytes {
    pub links: u64,
    pub codes: u64,
    pub ids: u64,
    pub vectors: u64,
    pub payloads: u64,
    pub fields: u64,
    pub search: u64,
    pub other: u64,
}

/// An answer of [`Index::stats`](crate::Index::stats).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Live points.
    pub count: u64,
    /// Rows in use, the deleted ones too.
    pub rows: u64,
    /// Deleted rows waiting for compaction.
    pub deleted: u64,
    /// Rows not linked yet.
    pub tail: u64,
    /// Components of a vector.
    pub dimension: u32,
    /// Links a node: at most 2 m.
    pub m: u32,
    /// How far to look for a new vector's neighbours.
    pub ef_construction: u32,
    /// How far a search looks that does not say.
    pub ef_search: u32,
    /// Workers that link.
    pub threads: u32,
    /// What distances are.
    pub metric: Metric,
    /// How vectors are stored.
    pub dtype: DType,
    /// How neighbours are found.
    pub algorithm: Algorithm,
    /// What was asked for the graph to be walked on.
    pub quantization: Quantization,
    /// What the graph is walked on.
    pub code: String,
    /// The instruction set in use: "scalar", "avx2", "avx512", "neon".
    pub kernel: String,
    /// Memory, by part.
    pub bytes: Bytes,
    /// All but vectors and payloads, over `count`.
    pub bytes_per_vector: f64,
    /// Links of a live node.
    pub links_mean: f64,
    /// Live nodes that no walk reached at the last [`verify`](crate::Index::verify).
    pub unreached: u64,
    /// How far today's mean is from the code's: squared distance over the variance.
    pub drift: f64,
    /// Last measured, if ever.
    pub recall: Option<f64>,
    /// How long opening took.
    pub open_seconds: f64,
    /// Searches so far.
    pub searches: u64,
    /// Distances computed by them.
    pub evaluations: u64,
    /// Searches whose list was too short for its codes to be sure: a larger ef helps.
    pub rerank_misses: u64,
}

impl Stats {
    pub(crate) fn read(index: sys::omen_index_t) -> Result<Self> {
        // SAFETY: all zeros is a value of it: numbers and NULL pointers.
        let mut raw: sys::omen_statistics = unsafe { std::mem::zeroed() };
        raw.struct_size = size_of::<sys::omen_statistics>();
        // SAFETY: the library writes no more than struct_size bytes.
        check(unsafe { sys::omen_stats(index, &mut raw) })?;
        Ok(Self {
            count: raw.count,
            rows: raw.rows,
            deleted: raw.deleted,
            tail: raw.tail,
            dimension: raw.dimension,
            m: raw.m,
            ef_construction: raw.ef_construction,
            ef_search: raw.ef_search,
            threads: raw.threads,
            metric: known(Metric::from_raw(raw.metric as u32), "metric", raw.metric)?,
            dtype: known(DType::from_raw(raw.dtype as u32), "dtype", raw.dtype)?,
            algorithm: known(Algorithm::from_raw(raw.algorithm as u32), "algorithm", raw.algorithm)?,
            quantization: known(
                Quantization::from_raw(raw.quantization as u32),
                "quantization",
                raw.quantization,
            )?,
            code: text_of(raw.code),
            kernel: text_of(raw.kernel),
            bytes: Bytes {
                links: raw.bytes_links,
                codes: raw.bytes_codes,
                ids: raw.bytes_ids,
                vectors: raw.bytes_vectors,
                payloads: raw.bytes_payloads,
                fields: raw.bytes_fields,
                search: raw.bytes_search,
                other: raw.bytes_other,
            },
            bytes_per_vector: raw.bytes_per_vector,
            links_mean: raw.links_mean,
            unreached: raw.unreached,
            drift: raw.drift,
            recall: (raw.recall >= 0.0).then_some(raw.recall),
            open_seconds: raw.open_seconds,
            searches: raw.searches,
            evaluations: raw.evaluations,
            rerank_misses: raw.rerank_misses,
        })
    }
}

fn known<T>(value: Option<T>, what: &str, number: i32) -> Result<T> {
    value.ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            format!("the library has a {} {} that this crate does not know", what, number),
        )
    })
}
