//! The index itself: opening, writing, ids, upkeep. Searches are in `search.rs`, reading back in `points.rs`.

use std::any::Any;
use std::ffi::{CStr, CString};
use std::fmt;
use std::ops::ControlFlow;
use std::os::raw::{c_char, c_int, c_void};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::Path;
use std::ptr::NonNull;

use crate::batch::{raw_versions, Batch, IdList, Ids, IfVersion, Payload, RawPayloads, Texts};
use crate::error::{check, text_of, Error, ErrorKind, Result};
use crate::options::{path_text, Builder, DType, Metric};
use crate::stats::Stats;
use crate::sys;

/// Longest text id, with its NUL.
const ID_TEXT_ROOM: usize = 256;

/// An index of vectors. Every method may be called from any thread; searches do not wait for writers.
///
/// ```
/// use omendb::{Index, Metric};
///
/// let index = Index::builder(2).metric(Metric::L2).open()?;
/// index.add(&[[0.0_f32, 0.0], [3.0, 4.0]])?;
/// let hits = index.search(&[3.0_f32, 3.0], 1)?;
/// assert_eq!((hits[0].id, hits[0].distance), (1, 1.0));
/// # Ok::<(), omendb::Error>(())
/// ```
pub struct Index {
    raw: NonNull<sys::OmenIndex>,
    dimension: u32,
    metric: Metric,
    dtype: DType,
}

// SAFETY: the library allows every call from any thread at any time, but for omen_close; and that is made by drop,
// which owns the index.
unsafe impl Send for Index {}
// SAFETY: as above.
unsafe impl Sync for Index {}

impl Drop for Index {
    fn drop(&mut self) {
        // SAFETY: the handle is valid, and nobody can use it any more.
        unsafe { sys::omen_close(self.raw.as_ptr()) }
    }
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("dimension", &self.dimension)
            .field("metric", &self.metric)
            .field("dtype", &self.dtype)
            .finish_non_exhaustive()
    }
}

/// How far a build is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Rows that are linked into the graph.
    pub linked: u64,
    /// Rows in all.
    pub total: u64,
}

/// What a field of the payloads holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FieldType {
    /// Texts, compared as a whole.
    Keyword,
    /// Whole numbers.
    Integer,
    /// Numbers.
    Float,
    /// True or false.
    Bool,
    /// Points in time.
    DateTime,
    /// UUIDs.
    Uuid,
}

/// What does the work: links new vectors ([`Index::build_with`]), or searches a batch
/// ([`Search::backend`](crate::Search::backend)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// The engine chooses.
    #[default]
    Auto,
    /// This machine's processor.
    Cpu,
    /// A GPU, or [`ErrorKind::Unsupported`] and why not.
    Cuda,
}

impl Backend {
    pub(crate) fn to_raw(self) -> sys::omen_backend {
        match self {
            Self::Auto => sys::OMEN_BACKEND_AUTO,
            Self::Cpu => sys::OMEN_BACKEND_CPU,
            Self::Cuda => sys::OMEN_BACKEND_CUDA,
        }
    }
}

/// How [`Index::build_with`] is to go; a [`Backend`] alone will do as well.
#[derive(Clone, Copy, Debug, Default)]
pub struct Build {
    backend: Backend,
    max_memory: u64,
    again: bool,
}

impl Build {
    /// The engine chooses.
    pub fn new() -> Self {
        Self::default()
    }

    /// Who makes links where many vectors have none.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Whether links that are there are made anew, all at once.
    pub fn again(mut self, again: bool) -> Self {
        self.again = again;
        self
    }

    /// Bytes that links made at once may take beside the index. With less than they need vectors are linked one by one.
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.max_memory = bytes;
        self
    }
}

impl From<Backend> for Build {
    fn from(backend: Backend) -> Self {
        Self::new().backend(backend)
    }
}

/// A stage of a build.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BuildStage {
    /// As docs/internals/bulk.md calls it.
    pub name: String,
    /// In how long.
    pub seconds: f64,
    /// Bytes held beside the index at most, those that earlier stages left included.
    pub memory: u64,
    /// Bytes of vectors, codes and copies of them, each as often as it was read; a GPU's own not included.
    pub read: u64,
}

impl BuildStage {
    fn of(raw: &sys::omen_build_stage) -> Self {
        Self { name: text_of(raw.name.as_ptr()), seconds: raw.seconds, memory: raw.memory, read: raw.read }
    }
}

/// What came of a build.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BuildReport {
    /// Who made links at once. None: nobody, for all were made, or were made one by one.
    pub backend: Option<Backend>,
    /// Vectors that were built at once.
    pub rows: u64,
    /// In how long.
    pub seconds: f64,
    /// What the GPU is called that built, or was to; empty otherwise.
    pub device: String,
    /// With [`Backend::Auto`] why no GPU built, or why nothing was built at once; else empty.
    pub reason: String,
    /// Bytes that the build held beside the index at most; no more than `max_memory`.
    pub memory: u64,
    /// Of what was built at once, in their order.
    pub stages: Vec<BuildStage>,
}

impl BuildReport {
    fn of(raw: &sys::omen_build_report) -> Self {
        Self {
            backend: match raw.backend {
                sys::OMEN_BACKEND_CPU => Some(Backend::Cpu),
                sys::OMEN_BACKEND_CUDA => Some(Backend::Cuda),
                _ => None,
            },
            rows: raw.rows,
            seconds: raw.seconds,
            device: text_of(raw.device.as_ptr()),
            reason: text_of(raw.reason.as_ptr()),
            memory: raw.memory,
            stages: raw.stages[..raw.stage_count as usize].iter().map(BuildStage::of).collect(),
        }
    }
}

type WriteCall = unsafe extern "C" fn(sys::omen_index_t, *const sys::omen_batch) -> sys::omen_status;

impl Index {
    /// Begins to make an index of vectors with this many components.
    pub fn builder(dimension: u32) -> Builder {
        Builder::new(dimension)
    }

    /// Opens an index that lies in a folder, as it was made.
    pub fn open(path: impl AsRef<Path>) -> Result<Index> {
        Builder::new(0).path(path).open()
    }

    /// Takes ownership of a handle that omen_open gave.
    pub(crate) fn from_raw(raw: sys::omen_index_t) -> Result<Self> {
        let raw = NonNull::new(raw)
            .ok_or_else(|| Error::new(ErrorKind::Internal, "omen_open succeeded without an index"))?;
        let mut index = Self { raw, dimension: 0, metric: Metric::Cosine, dtype: DType::F32 };
        let stats = index.stats()?; // an index that lies on disk knows better than the options
        index.dimension = stats.dimension;
        index.metric = stats.metric;
        index.dtype = stats.dtype;
        Ok(index)
    }

    pub(crate) fn raw(&self) -> sys::omen_index_t {
        self.raw.as_ptr()
    }

    /// Components of a vector.
    pub fn dimension(&self) -> usize {
        self.dimension as usize
    }

    /// What distances are.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// How vectors are stored and given back.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    // ---- writing ----

    /// Adds points and gives their ids: those of the batch, the numbers that the index chose, or, where ids are texts,
    /// their keys. An id that is there already is an error ([`ErrorKind::Exists`]).
    pub fn add<'a>(&self, batch: impl Into<Batch<'a>>) -> Result<Vec<u64>> {
        self.write(&batch.into(), sys::omen_add)
    }

    /// Adds points, or replaces the vector and payload of those that are there.
    pub fn upsert<'a>(&self, batch: impl Into<Batch<'a>>) -> Result<Vec<u64>> {
        self.write(&batch.into(), sys::omen_upsert)
    }

    fn write(&self, batch: &Batch<'_>, call: WriteCall) -> Result<Vec<u64>> {
        let rows = batch.vectors.resolve(self.dimension())?;
        if let Some(payloads) = &batch.payloads {
            check_count(rows.count, payloads.len(), "payloads")?;
        }
        let if_versions = batch.if_versions.as_deref();
        if let Some(versions) = if_versions {
            check_count(rows.count, versions.len(), "versions")?;
        }
        let payloads = batch.payloads.as_ref().map(|all| RawPayloads::of(all.iter().copied()));
        let mut ids_out = vec![0; rows.count];
        let mut raw = sys::omen_batch {
            count: rows.count,
            vectors: rows.data,
            stride: rows.stride,
            dtype: rows.dtype.to_raw(),
            ids_out: ids_out.as_mut_ptr(),
            if_versions: if_versions.map_or(std::ptr::null(), <[u64]>::as_ptr),
            ..Default::default()
        };
        self.call_with(&mut raw, batch.ids.as_ref(), payloads.as_ref(), call)?;
        Ok(ids_out)
    }

    /// Replaces payloads only. An unknown id is an error, and then none is replaced.
    ///
    /// ```
    /// let index = omendb::Index::builder(2).open()?;
    /// index.add(&[[1.0_f32, 0.0], [0.0, 1.0]])?;
    /// index.set_payloads(&[1_u64], &[b"\x81\xa3hot\xc3"])?; // {"hot": true}
    /// assert_eq!(index.count(Some("hot = true"))?, 1);
    /// # Ok::<(), omendb::Error>(())
    /// ```
    pub fn set_payloads<'a, P: Payload>(&self, ids: impl Into<Ids<'a>>, payloads: &[P]) -> Result<()> {
        self.replace_payloads(&ids.into(), payloads, None)
    }

    /// The same, if every point is as it must be: as [`Batch::if_versions`].
    pub fn set_payloads_if<'a, P, V>(
        &self,
        ids: impl Into<Ids<'a>>,
        payloads: &[P],
        versions: &[V],
    ) -> Result<()>
    where
        P: Payload,
        V: Copy + Into<IfVersion>,
    {
        self.replace_payloads(&ids.into(), payloads, Some(&raw_versions(versions)))
    }

    fn replace_payloads<P: Payload>(
        &self,
        ids: &Ids<'_>,
        payloads: &[P],
        if_versions: Option<&[u64]>,
    ) -> Result<()> {
        check_count(ids.len(), payloads.len(), "payloads")?;
        let payloads = RawPayloads::of(payloads.iter().map(Payload::bytes));
        let mut raw = sys::omen_batch { count: ids.len(), ..Default::default() };
        if let Some(versions) = if_versions {
            check_count(ids.len(), versions.len(), "versions")?;
            raw.if_versions = versions.as_ptr();
        }
        self.call_with(&mut raw, Some(ids), Some(&payloads), sys::omen_set_payloads)
    }

    /// Puts ids and payloads into `raw`, all of `raw.count`, and makes the call while they live.
    fn call_with(
        &self,
        raw: &mut sys::omen_batch,
        ids: Option<&Ids<'_>>,
        payloads: Option<&RawPayloads>,
        call: WriteCall,
    ) -> Result<()> {
        let texts;
        if let Some(ids) = ids {
            check_count(raw.count, ids.len(), "ids")?;
            match &ids.0 {
                IdList::Integers(ids) => raw.ids = ids.as_ptr(),
                IdList::Texts(ids) => {
                    texts = ids.pointers()?;
                    raw.text_ids = texts.as_ptr();
                }
            }
        }
        if let Some(payloads) = payloads {
            raw.payloads = payloads.bytes.as_ptr();
            raw.payload_bytes = payloads.lengths.as_ptr();
        }
        // SAFETY: every array has raw.count entries, vectors were resolved to lie inside of their slice, and all of
        // it is borrowed until the call is over.
        check(unsafe { call(self.raw(), raw) })
    }

    /// Deletes points. Unknown ids are skipped; the answer is how many were there.
    pub fn delete<'a>(&self, ids: impl Into<Ids<'a>>) -> Result<usize> {
        let mut deleted = 0;
        // SAFETY: pointers and counts belong together and live until the call is over.
        check(match &ids.into().0 {
            IdList::Integers(ids) => unsafe {
                sys::omen_delete(self.raw(), ids.as_ptr(), ids.len(), &mut deleted)
            },
            IdList::Texts(texts) => {
                let texts = texts.pointers()?;
                unsafe { sys::omen_delete_text(self.raw(), texts.as_ptr(), texts.len(), &mut deleted) }
            }
        })?;
        Ok(deleted)
    }

    /// Deletes the points that match a filter when the call begins, and says how many there were. In the order of writing
    /// and a million (2^20) points at a time: each such part is deleted whole or not at all, and durable before the
    /// next one. After a failure [`Error::deleted`] says how many points are gone.
    pub fn delete_where(&self, filter: &str) -> Result<usize> {
        let filter = filter_text(filter)?;
        let mut deleted = 0;
        // SAFETY: the filter lives until the call is over.
        match check(unsafe { sys::omen_delete_where(self.raw(), filter.as_ptr(), &mut deleted) }) {
            Ok(()) => Ok(deleted),
            Err(error) => Err(error.with_deleted(deleted)),
        }
    }

    // ---- ids ----

    /// Whether there is a point with this integer id or key.
    pub fn contains(&self, id: u64) -> bool {
        // SAFETY: the handle is valid.
        unsafe { sys::omen_contains(self.raw(), id) != 0 }
    }

    /// The text id that a key stands for.
    pub fn id_text(&self, key: u64) -> Result<String> {
        let mut text = [0 as c_char; ID_TEXT_ROOM];
        // SAFETY: the library writes at most text.len() bytes, the NUL among them.
        check(unsafe { sys::omen_id_text(self.raw(), key, text.as_mut_ptr(), text.len()) })?;
        // SAFETY: as above.
        Ok(unsafe { CStr::from_ptr(text.as_ptr()) }.to_string_lossy().into_owned())
    }

    /// The key of a text id, where the index knows that text.
    pub fn id_key(&self, text: &str) -> Result<Option<u64>> {
        let text = c_text(text, ErrorKind::IdLength, "text id")?;
        self.key_of(text.as_ptr())
    }

    fn key_of(&self, text: *const c_char) -> Result<Option<u64>> {
        let mut key = 0;
        // SAFETY: the text is NUL-terminated and lives until the call is over.
        match check(unsafe { sys::omen_id_key(self.raw(), text, &mut key) }) {
            Ok(()) => Ok(Some(key)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The keys of texts; u64::MAX, which is never an id, for the unknown.
    pub(crate) fn keys_of(&self, texts: &Texts) -> Result<Vec<u64>> {
        texts.pointers()?.into_iter().map(|text| Ok(self.key_of(text)?.unwrap_or(u64::MAX))).collect()
    }

    // ---- counting ----

    /// How many points match a filter; all of them without one.
    pub fn count(&self, filter: Option<&str>) -> Result<u64> {
        let filter = filter.map(filter_text).transpose()?;
        let mut count = 0;
        // SAFETY: the filter is NULL or lives until the call is over.
        check(unsafe { sys::omen_count(self.raw(), pointer_of(&filter), &mut count) })?;
        Ok(count)
    }

    /// How many points there are.
    pub fn len(&self) -> Result<u64> {
        self.count(None)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    // ---- upkeep ----

    /// From now on filters on `name` (dots reach into nested maps) use an index.
    pub fn field_index(&self, name: &str, field_type: FieldType) -> Result<()> {
        let name = c_text(name, ErrorKind::Invalid, "field name")?;
        let raw = match field_type {
            FieldType::Keyword => sys::OMEN_FIELD_KEYWORD,
            FieldType::Integer => sys::OMEN_FIELD_INTEGER,
            FieldType::Float => sys::OMEN_FIELD_FLOAT,
            FieldType::Bool => sys::OMEN_FIELD_BOOL,
            FieldType::DateTime => sys::OMEN_FIELD_DATETIME,
            FieldType::Uuid => sys::OMEN_FIELD_UUID,
        };
        // SAFETY: the name lives until the call is over.
        check(unsafe { sys::omen_field_index(self.raw(), name.as_ptr(), raw) })
    }

    /// Gives the index of a field up; its values may be of any type again. An error of kind `NotFound` where it has none.
    pub fn field_drop(&self, name: &str) -> Result<()> {
        let name = c_text(name, ErrorKind::Invalid, "field name")?;
        // SAFETY: the name lives until the call is over.
        check(unsafe { sys::omen_field_drop(self.raw(), name.as_ptr()) })
    }

    /// Waits until every vector is linked into the graph. (They are found before that, too.)
    pub fn build(&self) -> Result<()> {
        // SAFETY: the handle is valid, and options may be NULL.
        check(unsafe { sys::omen_build(self.raw(), std::ptr::null()) })
    }

    /// Like [`build`](Self::build), and calls `progress` now and then. When it breaks, the wait ends with
    /// [`ErrorKind::Cancelled`], and linking itself goes on. When it panics, so does this call.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use omendb::{Backend, Index};
    ///
    /// let index = Index::builder(1).metric(omendb::Metric::L2).open()?;
    /// index.add(&(0..1000).map(|i| i as f32).collect::<Vec<_>>())?;
    /// index.build_with(Backend::Auto, |progress| {
    ///     println!("{} of {}", progress.linked, progress.total);
    ///     ControlFlow::Continue(())
    /// })?;
    /// # Ok::<(), omendb::Error>(())
    /// ```
    pub fn build_with<F>(&self, how: impl Into<Build>, mut progress: F) -> Result<BuildReport>
    where
        F: FnMut(Progress) -> ControlFlow<()> + Send,
    {
        let mut watch = Watch { progress: &mut progress, panic: None };
        let how = how.into();
        let mut report = sys::omen_build_report::default();
        let raw = sys::omen_build_options {
            backend: how.backend.to_raw(),
            max_memory: how.max_memory,
            report: &mut report,
            again: how.again.into(),
            progress: Some(report_progress),
            context: (&mut watch as *mut Watch<'_>).cast(),
            ..Default::default()
        };
        // SAFETY: `watch` outlives the call, is not touched here during it, and the closure may go to other threads.
        let done = check(unsafe { sys::omen_build(self.raw(), &raw) });
        match watch.panic {
            Some(panic) => resume_unwind(panic),
            None => done.map(|()| BuildReport::of(&report)),
        }
    }

    /// Waits until every vector is linked; with a path, makes everything durable.
    pub fn flush(&self) -> Result<()> {
        // SAFETY: the handle is valid.
        check(unsafe { sys::omen_flush(self.raw()) })
    }

    /// Rewrites the index without its deleted rows. Searches go on, writers wait.
    pub fn compact(&self) -> Result<()> {
        // SAFETY: the handle is valid.
        check(unsafe { sys::omen_compact(self.raw()) })
    }

    /// Writes a copy of the index to a folder.
    pub fn copy(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path_text(path.as_ref())?;
        // SAFETY: the path lives until the call is over.
        check(unsafe { sys::omen_copy(self.raw(), path.as_ptr()) })
    }

    /// Checks every invariant; [`ErrorKind::Corrupt`] with the first that fails.
    pub fn verify(&self) -> Result<()> {
        // SAFETY: the handle is valid.
        check(unsafe { sys::omen_verify(self.raw()) })
    }

    /// Changes how far a search looks that does not say; from then on it is used instead of a default target_recall.
    pub fn set_ef(&self, ef: u32) -> Result<()> {
        // SAFETY: the handle is valid.
        check(unsafe { sys::omen_set_ef(self.raw(), ef) })
    }

    /// Learns how far a search must look for each target_recall. It is done by itself, too.
    pub fn calibrate(&self) -> Result<()> {
        // SAFETY: the handle is valid.
        check(unsafe { sys::omen_calibrate(self.raw()) })
    }

    /// What the index is made of: counts, bytes, the instruction set.
    pub fn stats(&self) -> Result<Stats> {
        Stats::read(self.raw())
    }
}

/// The library's version, as "0.1.0".
pub fn version() -> String {
    // SAFETY: static text.
    crate::error::text_of(unsafe { sys::omen_version() })
}

/// A closure on its way through C, and the panic that may come back.
struct Watch<'f> {
    progress: &'f mut (dyn FnMut(Progress) -> ControlFlow<()> + Send),
    panic: Option<Box<dyn Any + Send>>,
}

unsafe extern "C" fn report_progress(context: *mut c_void, linked: u64, total: u64) -> c_int {
    // SAFETY: it is the Watch of build_with, which waits for the call to be over; the library reports one at a time.
    let watch = unsafe { &mut *context.cast::<Watch<'_>>() };
    if watch.panic.is_some() {
        return 1;
    }
    match catch_unwind(AssertUnwindSafe(|| (watch.progress)(Progress { linked, total }))) {
        Ok(ControlFlow::Continue(())) => 0,
        Ok(ControlFlow::Break(())) => 1,
        Err(panic) => {
            watch.panic = Some(panic);
            1
        }
    }
}

fn check_count(rows: usize, count: usize, what: &str) -> Result<()> {
    if rows == count {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Invalid, format!("the batch has {} rows and {} {}", rows, count, what)))
}

fn c_text(text: &str, kind: ErrorKind, what: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(kind, format!("{} {:?} has a NUL in it", what, text)))
}

pub(crate) fn filter_text(filter: &str) -> Result<CString> {
    c_text(filter, ErrorKind::Filter, "filter")
}

pub(crate) fn pointer_of(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr())
}
