#![doc = include_str!("../README.md")]
#![warn(missing_docs, rust_2018_idioms)]
#![deny(unsafe_op_in_unsafe_fn)]

mod batch;
mod error;
mod index;
mod options;
mod points;
mod search;
mod stats;
#[allow(missing_docs)]
#[doc(hidden)]
pub mod sys;
mod vectors;

pub use batch::{Batch, Ids, IfVersion, Payload, Version};
pub use error::{Error, ErrorKind, Result};
pub use index::{version, Backend, Build, BuildReport, BuildStage, FieldType, Index, Progress};
pub use options::{Algorithm, Builder, DType, Durability, Metric, Quantization};
pub use points::{Iter, Point, Points, Scroll, Vector, With};
pub use search::{BatchHits, Hit, Hits, Recall, Report, Search, Strategy, K_MAX};
pub use stats::{Bytes, Stats};
pub use vectors::{Bf16, Element, Vectors, F16};
