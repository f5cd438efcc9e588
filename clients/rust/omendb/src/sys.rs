//! The declarations of `include/omendb.h`, written by hand and compared with it by a test (`header.rs`).
//!
//! What a call means is said in the header. The rest of the crate is a safe interface over these.
#![allow(non_camel_case_types)]

use std::mem::size_of;
use std::os::raw::{c_char, c_int, c_uint, c_void};
use std::ptr::{null, null_mut};

pub type omen_status = c_int;
pub type omen_index_t = *mut OmenIndex;
pub type omen_points_t = *mut OmenPoints;

/// An index, which only the library looks into.
#[repr(C)]
pub struct OmenIndex {
    _private: [u8; 0],
}

/// Points read back, which only the library looks into.
#[repr(C)]
pub struct OmenPoints {
    _private: [u8; 0],
}

pub const OMEN_OK: omen_status = 0;
pub const OMEN_E_NOT_FOUND: omen_status = -1;
pub const OMEN_E_STALE_MAP: omen_status = -2;
pub const OMEN_E_BUSY: omen_status = -3;
pub const OMEN_E_TIMEOUT: omen_status = -4;
pub const OMEN_E_CORRUPT: omen_status = -5;
pub const OMEN_E_NO_MEMORY: omen_status = -6;
pub const OMEN_E_INVALID: omen_status = -7;
pub const OMEN_E_DIMENSION: omen_status = -8;
pub const OMEN_E_NOT_FINITE: omen_status = -9;
pub const OMEN_E_ZERO_VECTOR: omen_status = -10;
pub const OMEN_E_DUPLICATE_ID: omen_status = -11;
pub const OMEN_E_EXISTS: omen_status = -12;
pub const OMEN_E_ID_RANGE: omen_status = -13;
pub const OMEN_E_ID_LENGTH: omen_status = -14;
pub const OMEN_E_ID_KIND: omen_status = -15;
pub const OMEN_E_K: omen_status = -16;
pub const OMEN_E_DTYPE: omen_status = -17;
pub const OMEN_E_FILTER: omen_status = -18;
pub const OMEN_E_FIELD_TYPE: omen_status = -19;
pub const OMEN_E_PAYLOAD: omen_status = -20;
pub const OMEN_E_FULL: omen_status = -21;
pub const OMEN_E_UNSUPPORTED: omen_status = -22;
pub const OMEN_E_READ_ONLY: omen_status = -23;
pub const OMEN_E_CLOSED: omen_status = -24;
pub const OMEN_E_CANCELLED: omen_status = -25;
pub const OMEN_E_INTERNAL: omen_status = -26;
pub const OMEN_E_IO: omen_status = -27;
pub const OMEN_E_DISK_FULL: omen_status = -28;
pub const OMEN_E_VERSION: omen_status = -29;
pub const OMEN_E_LOCKED: omen_status = -30;
pub const OMEN_E_CONFLICT: omen_status = -31;
pub const OMEN_E_OP_EXPIRED: omen_status = -32;
pub const OMEN_E_AUTH: omen_status = -33;
pub const OMEN_E_METHOD: omen_status = -34;
pub const OMEN_E_QUOTA: omen_status = -35;
pub type omen_metric = c_uint;
pub const OMEN_COSINE: omen_metric = 0;
pub const OMEN_L2: omen_metric = 1;
pub const OMEN_IP: omen_metric = 2;
pub type omen_dtype = c_uint;
pub const OMEN_F32: omen_dtype = 1;
pub const OMEN_F16: omen_dtype = 2;
pub const OMEN_BF16: omen_dtype = 3;
pub const OMEN_I8: omen_dtype = 4;
pub const OMEN_U8: omen_dtype = 5;
pub type omen_algorithm = c_uint;
pub const OMEN_HNSW: omen_algorithm = 0;
pub const OMEN_FLAT: omen_algorithm = 1;
pub type omen_quantization = c_uint;
pub const OMEN_QUANTIZE_INT8: omen_quantization = 0;
pub const OMEN_QUANTIZE_NONE: omen_quantization = 1;
pub type omen_durability = c_uint;
pub const OMEN_DURABLE_COMMIT: omen_durability = 0;
pub const OMEN_DURABLE_INTERVAL: omen_durability = 1;
pub const OMEN_WITH_VECTOR: c_int = 1;
pub const OMEN_WITH_PAYLOAD: c_int = 2;
pub const OMEN_WARN_UNINDEXED_FIELD: u32 = 1;
pub const OMEN_WARN_NOT_CALIBRATED: u32 = 2;
pub const OMEN_WARN_DEADLINE: u32 = 4;
pub type omen_field_type = c_uint;
pub const OMEN_FIELD_KEYWORD: omen_field_type = 1;
pub const OMEN_FIELD_INTEGER: omen_field_type = 2;
pub const OMEN_FIELD_FLOAT: omen_field_type = 3;
pub const OMEN_FIELD_BOOL: omen_field_type = 4;
pub const OMEN_FIELD_DATETIME: omen_field_type = 5;
pub const OMEN_FIELD_UUID: omen_field_type = 6;
pub type omen_backend = c_uint;
pub const OMEN_BACKEND_AUTO: omen_backend = 0;
pub const OMEN_BACKEND_CPU: omen_backend = 1;
pub const OMEN_BACKEND_CUDA: omen_backend = 2;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct omen_options {
    pub struct_size: usize,
    pub path: *const c_char,
    pub dimension: u32,
    pub metric: omen_metric,
    pub dtype: omen_dtype,
    pub algorithm: omen_algorithm,
    pub quantization: omen_quantization,
    pub m: u32,
    pub ef_construction: u32,
    pub ef_search: u32,
    pub target_recall: f64,
    pub threads: u32,
    pub seed: u64,
    pub max_memory: u64,
    pub id_max: u64,
    pub slots_max: u32,
    pub read_only: c_int,
    pub durability: omen_durability,
    pub interval_ms: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct omen_batch {
    pub struct_size: usize,
    pub count: usize,
    pub vectors: *const c_void,
    pub stride: usize,
    pub dtype: omen_dtype,
    pub ids: *const u64,
    pub text_ids: *const *const c_char,
    pub payloads: *const *const c_void,
    pub payload_bytes: *const usize,
    pub ids_out: *mut u64,
    pub if_versions: *const u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct omen_query_report {
    pub evaluations: u64,
    pub exact_distances: u64,
    pub tail: u64,
    pub strategy: u32,
    pub warnings: u32,
    pub matches: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct omen_query_options {
    pub struct_size: usize,
    pub k: u32,
    pub ef: u32,
    pub target_recall: f64,
    pub exact: c_int,
    pub filter: *const c_char,
    pub filter_map: *const c_void,
    pub filter_map_bytes: usize,
    pub oversample: u32,
    pub deadline_us: u64,
    pub threads: u32,
    pub dtype: omen_dtype,
    pub stride: usize,
    pub report: *mut omen_query_report,
    pub backend: omen_backend,
    pub stop: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
    pub context: *mut c_void,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct omen_recall {
    pub struct_size: usize,
    pub recall: f64,
    pub low: f64,
    pub high: f64,
    pub samples: u32,
    pub k: u32,
    pub evaluations: f64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct omen_build_stage {
    pub name: [c_char; 16],
    pub seconds: f64,
    pub memory: u64,
    pub read: u64,
}

pub const OMEN_BUILD_STAGES_MAX: usize = 16;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct omen_build_report {
    pub struct_size: usize,
    pub backend: omen_backend,
    pub rows: u64,
    pub seconds: f64,
    pub device: [c_char; 256],
    pub reason: [c_char; 256],
    pub memory: u64,
    pub stage_count: u32,
    pub stages: [omen_build_stage; OMEN_BUILD_STAGES_MAX],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct omen_build_options {
    pub struct_size: usize,
    pub backend: omen_backend,
    pub progress: Option<unsafe extern "C" fn(context: *mut c_void, linked: u64, total: u64) -> c_int>,
    pub context: *mut c_void,
    pub max_memory: u64,
    pub report: *mut omen_build_report,
    pub again: c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct omen_statistics {
    pub struct_size: usize,
    pub count: u64,
    pub rows: u64,
    pub deleted: u64,
    pub tail: u64,
    pub dimension: u32,
    pub m: u32,
    pub ef_construction: u32,
    pub ef_search: u32,
    pub threads: u32,
    pub metric: c_int,
    pub dtype: c_int,
    pub algorithm: c_int,
    pub quantization: c_int,
    pub code: *const c_char,
    pub kernel: *const c_char,
    pub bytes_links: u64,
    pub bytes_codes: u64,
    pub bytes_ids: u64,
    pub bytes_vectors: u64,
    pub bytes_payloads: u64,
    pub bytes_fields: u64,
    pub bytes_search: u64,
    pub bytes_other: u64,
    pub bytes_per_vector: f64,
    pub links_mean: f64,
    pub unreached: u64,
    pub drift: f64,
    pub recall: f64,
    pub open_seconds: f64,
    pub searches: u64,
    pub evaluations: u64,
    pub rerank_misses: u64,
}

extern "C" {
    pub fn omen_version() -> *const c_char;
    pub fn omen_strerror(status: omen_status) -> *const c_char;
    pub fn omen_error_message() -> *const c_char;
    pub fn omen_create(dimension: c_int) -> omen_index_t;
    pub fn omen_search(index: omen_index_t, query: *const f32, results: *mut c_int);
    pub fn omen_open(options: *const omen_options, out: *mut omen_index_t) -> omen_status;
    pub fn omen_options_of(index: omen_index_t, out: *mut omen_options) -> omen_status;
    pub fn omen_close(index: omen_index_t);
    pub fn omen_flush(index: omen_index_t) -> omen_status;
    pub fn omen_add(index: omen_index_t, batch: *const omen_batch) -> omen_status;
    pub fn omen_upsert(index: omen_index_t, batch: *const omen_batch) -> omen_status;
    pub fn omen_set_payloads(index: omen_index_t, batch: *const omen_batch) -> omen_status;
    pub fn omen_delete(
        index: omen_index_t,
        ids: *const u64,
        count: usize,
        deleted: *mut usize,
    ) -> omen_status;
    pub fn omen_delete_text(
        index: omen_index_t,
        ids: *const *const c_char,
        count: usize,
        deleted: *mut usize,
    ) -> omen_status;
    pub fn omen_delete_where(index: omen_index_t, filter: *const c_char, deleted: *mut usize) -> omen_status;
    pub fn omen_id_text(index: omen_index_t, key: u64, text: *mut c_char, capacity: usize) -> omen_status;
    pub fn omen_id_key(index: omen_index_t, text: *const c_char, key: *mut u64) -> omen_status;
    pub fn omen_contains(index: omen_index_t, id: u64) -> c_int;
    pub fn omen_get(
        index: omen_index_t,
        ids: *const u64,
        count: usize,
        with: c_int,
        out: *mut omen_points_t,
    ) -> omen_status;
    pub fn omen_scroll(
        index: omen_index_t,
        filter: *const c_char,
        with: c_int,
        limit: usize,
        cursor: *mut u64,
        out: *mut omen_points_t,
    ) -> omen_status;
    pub fn omen_points_count(points: omen_points_t) -> usize;
    pub fn omen_points_found(points: omen_points_t, i: usize) -> c_int;
    pub fn omen_points_id(points: omen_points_t, i: usize) -> u64;
    pub fn omen_points_distance(points: omen_points_t, i: usize) -> f32;
    pub fn omen_points_version(points: omen_points_t, i: usize) -> u64;
    pub fn omen_points_vector(points: omen_points_t, i: usize) -> *const c_void;
    pub fn omen_points_payload(points: omen_points_t, i: usize, bytes: *mut usize) -> *const c_void;
    pub fn omen_points_free(points: omen_points_t);
    pub fn omen_query(
        index: omen_index_t,
        vector: *const c_void,
        options: *const omen_query_options,
        ids: *mut u64,
        distances: *mut f32,
        found: *mut u32,
    ) -> omen_status;
    pub fn omen_query_batch(
        index: omen_index_t,
        vectors: *const c_void,
        count: usize,
        options: *const omen_query_options,
        ids: *mut u64,
        distances: *mut f32,
    ) -> omen_status;
    pub fn omen_knn_exact(
        index: omen_index_t,
        vectors: *const c_void,
        count: usize,
        options: *const omen_query_options,
        ids: *mut u64,
        distances: *mut f32,
    ) -> omen_status;
    pub fn omen_range(
        index: omen_index_t,
        vector: *const c_void,
        radius: f32,
        options: *const omen_query_options,
        out: *mut omen_points_t,
    ) -> omen_status;
    pub fn omen_count(index: omen_index_t, filter: *const c_char, count: *mut u64) -> omen_status;
    pub fn omen_field_index(index: omen_index_t, name: *const c_char, kind: omen_field_type) -> omen_status;
    pub fn omen_field_drop(index: omen_index_t, name: *const c_char) -> omen_status;
    pub fn omen_measure_recall(
        index: omen_index_t,
        samples: u32,
        options: *const omen_query_options,
        out: *mut omen_recall,
    ) -> omen_status;
    pub fn omen_calibrate(index: omen_index_t) -> omen_status;
    pub fn omen_build(index: omen_index_t, options: *const omen_build_options) -> omen_status;
    pub fn omen_compact(index: omen_index_t) -> omen_status;
    pub fn omen_copy(index: omen_index_t, path: *const c_char) -> omen_status;
    pub fn omen_verify(index: omen_index_t) -> omen_status;
    pub fn omen_set_ef(index: omen_index_t, ef: u32) -> omen_status;
    pub fn omen_stats(index: omen_index_t, out: *mut omen_statistics) -> omen_status;
}

// ---- what the header's _INIT macros say ----

impl Default for omen_options {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>(),
            path: null(),
            dimension: 0,
            metric: OMEN_COSINE,
            dtype: OMEN_F32,
            algorithm: OMEN_HNSW,
            quantization: OMEN_QUANTIZE_INT8,
            m: 16,
            ef_construction: 200,
            ef_search: 64,
            target_recall: 0.0,
            threads: 0,
            seed: 0,
            max_memory: 0,
            id_max: i64::MAX as u64,
            slots_max: 16_777_214,
            read_only: 0,
            durability: OMEN_DURABLE_COMMIT,
            interval_ms: 0,
        }
    }
}

impl Default for omen_batch {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>(),
            count: 0,
            vectors: null(),
            stride: 0,
            dtype: OMEN_F32,
            ids: null(),
            text_ids: null(),
            payloads: null(),
            payload_bytes: null(),
            ids_out: null_mut(),
            if_versions: null(),
        }
    }
}

impl Default for omen_query_options {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>(),
            k: 10,
            ef: 0,
            target_recall: 0.0,
            exact: 0,
            filter: null(),
            filter_map: null(),
            filter_map_bytes: 0,
            oversample: 0,
            deadline_us: 0,
            threads: 0,
            dtype: OMEN_F32,
            stride: 0,
            report: null_mut(),
            backend: OMEN_BACKEND_AUTO,
            stop: None,
            context: null_mut(),
        }
    }
}

impl Default for omen_build_options {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>(),
            backend: OMEN_BACKEND_AUTO,
            progress: None,
            context: null_mut(),
            max_memory: 0,
            report: null_mut(),
            again: 0,
        }
    }
}

impl Default for omen_build_report {
    fn default() -> Self {
        Self {
            struct_size: size_of::<Self>(),
            backend: OMEN_BACKEND_AUTO,
            rows: 0,
            seconds: 0.0,
            device: [0; 256],
            reason: [0; 256],
            memory: 0,
            stage_count: 0,
            stages: [omen_build_stage { name: [0; 16], seconds: 0.0, memory: 0, read: 0 }; OMEN_BUILD_STAGES_MAX],
        }
    }
}
