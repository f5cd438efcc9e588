//! How an index is made.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::time::Duration;

use crate::error::{check, Error, ErrorKind, Result};
use crate::index::Index;
use crate::sys;

/// How near two vectors are. Smaller is nearer, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Metric {
    /// 1 - cos(q, x)
    Cosine,
    /// The squared distance.
    L2,
    /// 1 - <q, x>
    Ip,
}

/// How vectors are stored and given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// `f32`
    F32,
    /// [`F16`](crate::F16)
    F16,
    /// [`Bf16`](crate::Bf16)
    Bf16,
    /// `i8`
    I8,
    /// `u8`
    U8,
}

/// How nearest neighbours are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// A graph.
    Hnsw,
    /// Exact search of everything.
    Flat,
}

/// What the graph is walked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Quantization {
    /// Codes of 8 bits a component; every answer is reranked from the vectors themselves.
    Int8,
    /// The vectors themselves.
    None,
}

/// When a write to an index with a path is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// When it returns.
    Commit,
    /// Within this time, or after [`Index::flush`].
    Interval(Duration),
}

impl Durability {
    /// The number and the milliseconds; 0 of these would be the engine's own choice.
    fn to_raw(self) -> (sys::omen_durability, u32) {
        match self {
            Self::Commit => (sys::OMEN_DURABLE_COMMIT, 0),
            Self::Interval(time) => {
                (sys::OMEN_DURABLE_INTERVAL, u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1))
            }
        }
    }
}

macro_rules! numbers {
    ($($name:ident: $($variant:ident = $number:ident),*;)*) => {
        $(impl $name {
            pub(crate) fn to_raw(self) -> u32 {
                match self { $(Self::$variant => sys::$number,)* }
            }

            #[allow(dead_code)]
            pub(crate) fn from_raw(number: u32) -> Option<Self> {
                match number {
                    $(sys::$number => Some(Self::$variant),)*
                    _ => None,
                }
            }
        })*
    };
}
numbers! {
    Metric: Cosine = OMEN_COSINE, L2 = OMEN_L2, Ip = OMEN_IP;
    DType: F32 = OMEN_F32, F16 = OMEN_F16, Bf16 = OMEN_BF16, I8 = OMEN_I8, U8 = OMEN_U8;
    Algorithm: Hnsw = OMEN_HNSW, Flat = OMEN_FLAT;
    Quantization: Int8 = OMEN_QUANTIZE_INT8, None = OMEN_QUANTIZE_NONE;
}

/// The options of an index that is about to be opened; begun by [`Index::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing is opened before open()"]
pub struct Builder {
    path: Option<PathBuf>,
    options: Options,
}

/// The numbers of `omen_options`, without its pointer.
#[derive(Clone, Debug)]
struct Options {
    dimension: u32,
    metric: Metric,
    dtype: DType,
    algorithm: Algorithm,
    quantization: Quantization,
    m: Option<u32>,
    ef_construction: Option<u32>,
    ef_search: Option<u32>,
    target_recall: f64,
    threads: u32,
    seed: u64,
    max_memory: u64,
    id_max: Option<u64>,
    slots_max: Option<u32>,
    read_only: bool,
    durability: Durability,
}

impl Builder {
    pub(crate) fn new(dimension: u32) -> Self {
        Self {
            path: None,
            options: Options {
                dimension,
                metric: Metric::Cosine,
                dtype: DType::F32,
                algorithm: Algorithm::Hnsw,
                quantization: Quantization::Int8,
                m: None,
                ef_construction: None,
                ef_search: None,
                target_recall: 0.0,
                threads: 0,
                seed: 0,
                max_memory: 0,
                id_max: None,
                slots_max: None,
                read_only: false,
                durability: Durability::Commit,
            },
        }
    }

    /// Cosine, unless this says otherwise.
    pub fn metric(mut self, metric: Metric) -> Self {
        self.options.metric = metric;
        self
    }

    /// How vectors are stored and given back; `f32` unless this says otherwise.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.options.dtype = dtype;
        self
    }

    /// A folder to keep the index in, made when it is missing; without one the index is in memory only.
    ///
    /// What an index is (dimension, metric, element type, ...) is kept there, and opening it as something else is
    /// [`ErrorKind::Invalid`]. [`Index::open`] takes everything from the folder.
    pub fn path(mut self, path: impl AsRef<Path>) -> Self {
        self.path = Some(path.as_ref().to_path_buf());
        self
    }

    /// When writes are on disk; with a path. When they return, unless this says otherwise.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.options.durability = durability;
        self
    }

    /// Refuse to write. Any number of processes may read a path, beside the one that writes.
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.options.read_only = read_only;
        self
    }

    /// A graph unless this says otherwise.
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.options.algorithm = algorithm;
        self
    }

    /// What the graph is walked on.
    pub fn quantization(mut self, quantization: Quantization) -> Self {
        self.options.quantization = quantization;
        self
    }

    /// 2..=64; a node of the graph has at most 2 m links.
    pub fn m(mut self, m: u32) -> Self {
        self.options.m = Some(m);
        self
    }

    /// 8..=10000; how far to look for the neighbours of a new vector.
    pub fn ef_construction(mut self, ef: u32) -> Self {
        self.options.ef_construction = Some(ef);
        self
    }

    /// 1..=10000; how far a search looks that does not say.
    pub fn ef_search(mut self, ef: u32) -> Self {
        self.options.ef_search = Some(ef);
        self
    }

    /// 0.5..=0.9999; searches that do not say look as far as this recall needs.
    pub fn target_recall(mut self, recall: f64) -> Self {
        self.options.target_recall = recall;
        self
    }

    /// Workers that link new vectors. 0: one per core; 1: the same graph every time.
    pub fn threads(mut self, threads: u32) -> Self {
        self.options.threads = threads;
        self
    }

    /// Where random numbers begin.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = seed;
        self
    }

    /// In bytes; past it, adding answers [`ErrorKind::NoMemory`]. 0: no limit.
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.options.max_memory = bytes;
        self
    }

    /// The largest id that is accepted.
    pub fn id_max(mut self, id: u64) -> Self {
        self.options.id_max = Some(id);
        self
    }

    /// The most rows, the deleted ones included.
    pub fn slots_max(mut self, rows: u32) -> Self {
        self.options.slots_max = Some(rows);
        self
    }

    /// Opens the index.
    pub fn open(&self) -> Result<Index> {
        let path = self.path.as_deref().map(path_text).transpose()?;
        let mut raw = self.options.to_raw();
        raw.path = path.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
        let mut index = null_mut();
        // SAFETY: `raw` and the path it points to live until the call is over.
        check(unsafe { sys::omen_open(&raw, &mut index) })?;
        Index::from_raw(index)
    }
}

impl Options {
    fn to_raw(&self) -> sys::omen_options {
        let default = sys::omen_options::default();
        let (durability, interval_ms) = self.durability.to_raw();
        sys::omen_options {
            dimension: self.dimension,
            metric: self.metric.to_raw(),
            dtype: self.dtype.to_raw(),
            algorithm: self.algorithm.to_raw(),
            quantization: self.quantization.to_raw(),
            m: self.m.unwrap_or(default.m),
            ef_construction: self.ef_construction.unwrap_or(default.ef_construction),
            ef_search: self.ef_search.unwrap_or(default.ef_search),
            target_recall: self.target_recall,
            threads: self.threads,
            seed: self.seed,
            max_memory: self.max_memory,
            id_max: self.id_max.unwrap_or(default.id_max),
            slots_max: self.slots_max.unwrap_or(default.slots_max),
            read_only: self.read_only.into(),
            durability,
            interval_ms,
            ..default
        }
    }
}

pub(crate) fn path_text(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new(ErrorKind::Invalid, format!("path {:?} has a NUL in it", path)))
}
