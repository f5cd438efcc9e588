//! Searching: one query, many, everything within a radius, and how good the answers are.

use std::ffi::CString;
use std::mem::{size_of, zeroed};
use std::os::raw::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crate::error::{check, Error, ErrorKind, Result};
use crate::index::{filter_text, Backend, Index};
use crate::points::Points;
use crate::sys;
use crate::vectors::{Element, Rows, Vectors};

/// The most neighbours that one search gives.
pub const K_MAX: usize = 10_000;

/// How to search; the default is what the index was made for.
///
/// ```
/// use std::time::Duration;
/// use omendb::{Index, Search};
///
/// let index = Index::builder(2).open()?;
/// index.add(&[[1.0_f32, 0.0], [0.0, 1.0]])?;
/// let options = Search::new().target_recall(0.95).deadline(Duration::from_millis(50));
/// let hits = index.search_with(&[1.0_f32, 0.1], 1, &options)?;
/// assert_eq!(hits[0].id, 0);
/// # Ok::<(), omendb::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Search {
    ef: u32,
    target_recall: f64,
    exact: bool,
    filter: Option<Result<CString>>,
    filter_map: Option<Vec<u8>>,
    oversample: u32,
    deadline: Option<Duration>,
    threads: u32,
    backend: Backend,
    stop: Option<Arc<AtomicBool>>,
}

impl Search {
    /// The index's own choices.
    pub fn new() -> Self {
        Self::default()
    }

    /// How far to look, 1..=10000; more finds more and takes longer.
    pub fn ef(mut self, ef: u32) -> Self {
        self.ef = ef;
        self
    }

    /// 0.5..=0.9999: look as far as this recall needs. Wins over `ef`.
    pub fn target_recall(mut self, recall: f64) -> Self {
        self.target_recall = recall;
        self
    }

    /// Scan everything: recall 1.
    pub fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }

    /// Only points whose payload matches, as in `year >= 2020 and lang in ["no", "en"]`.
    pub fn filter(mut self, filter: &str) -> Self {
        self.filter = Some(filter_text(filter));
        self
    }

    /// The same as a msgpack map.
    pub fn filter_map(mut self, map: impl Into<Vec<u8>>) -> Self {
        self.filter_map = Some(map.into());
        self
    }

    /// How many candidates are reranked exactly; 0: chosen from k.
    pub fn oversample(mut self, candidates: u32) -> Self {
        self.oversample = candidates;
        self
    }

    /// When to stop with the best so far; [`Report::cut_by_deadline`] says whether that was so.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// [`Index::search_batch`], [`Index::knn_exact`] and [`Index::recall`] look at `stop` ten times a second, and when it is true end
    /// with [`ErrorKind::Cancelled`]. Another thread, or a signal's handler, sets it.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use std::sync::Arc;
    ///
    /// let stop = Arc::new(AtomicBool::new(false));
    /// let options = omendb::Search::new().exact(true).stop(Arc::clone(&stop));
    /// # let index = omendb::Index::builder(2).open()?;
    /// # index.add(&[[1.0_f32, 0.0], [0.0, 1.0]])?;
    /// let hits = index.search_batch(&[[1.0_f32, 0.1]], 1, &options)?; // elsewhere: stop.store(true, Ordering::Relaxed)
    /// # stop.store(true, Ordering::Relaxed);
    /// # Ok::<(), omendb::Error>(())
    /// ```
    pub fn stop(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Of a search of many queries; 0: one per core.
    pub fn threads(mut self, threads: u32) -> Self {
        self.threads = threads;
        self
    }

    /// Who searches a batch. With [`Backend::Cuda`] a GPU does, in a copy of the index that stays there for the next
    /// batch and sees what was written since; it takes k and `ef` up to 512, no `oversample` and no `deadline`. Anything but
    /// [`Index::search_batch`] and [`Index::knn_exact`] refuses it.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// The options in C; its pointers are into `self`.
    fn to_raw(&self, k: u32) -> Result<sys::omen_query_options> {
        let filter = match &self.filter {
            Some(Err(error)) => return Err(error.clone()),
            Some(Ok(filter)) => filter.as_ptr(),
            None => std::ptr::null(),
        };
        Ok(sys::omen_query_options {
            k,
            ef: self.ef,
            target_recall: self.target_recall,
            exact: self.exact.into(),
            filter,
            filter_map: self.filter_map.as_ref().map_or(std::ptr::null(), |map| map.as_ptr().cast()),
            filter_map_bytes: self.filter_map.as_ref().map_or(0, Vec::len),
            oversample: self.oversample,
            deadline_us: self.deadline.map_or(0, micros),
            threads: self.threads,
            backend: self.backend.to_raw(),
            stop: self.stop.as_ref().map(|_| is_stopped as unsafe extern "C" fn(*mut c_void) -> c_int),
            context: self.stop.as_ref().map_or(std::ptr::null_mut(), |stop| Arc::as_ptr(stop) as *mut c_void),
            ..Default::default()
        })
    }
}

unsafe extern "C" fn is_stopped(context: *mut c_void) -> c_int {
    // SAFETY: it is the `stop` of the call's options, which live until the call is over.
    unsafe { &*context.cast::<AtomicBool>() }.load(Ordering::Relaxed).into()
}

/// 0 would mean no deadline, so the shortest is one microsecond.
fn micros(deadline: Duration) -> u64 {
    u64::try_from(deadline.as_micros()).unwrap_or(u64::MAX).max(1)
}

/// One neighbour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Its id, or its key where ids are texts ([`Index::id_text`]).
    pub id: u64,
    /// How far it is, in the index's metric.
    pub distance: f32,
}

/// How a search was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// By the graph.
    Graph,
    /// By the graph, past the points that the filter refuses.
    FilteredGraph,
    /// By a scan of what there is.
    Exact,
    /// In a way that is newer than this crate.
    Other(u32),
}

/// What a search did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Distances computed on codes.
    pub evaluations: u64,
    /// Distances computed on the vectors themselves.
    pub exact_distances: u64,
    /// Rows not yet linked, which were scanned exactly.
    pub tail: u64,
    /// How it was done.
    pub strategy: Strategy,
    /// Rows that the filter lets through, if there was one.
    pub matches: Option<u64>,
    /// The filter named a field without an index: payloads were scanned.
    pub unindexed_field: bool,
    /// There was too little data to calibrate target_recall: a safe ef was used.
    pub not_calibrated: bool,
    /// The deadline cut the search: the hits are the best so far.
    pub cut_by_deadline: bool,
}

impl Report {
    fn of(raw: &sys::omen_query_report) -> Self {
        Self {
            evaluations: raw.evaluations,
            exact_distances: raw.exact_distances,
            tail: raw.tail,
            strategy: match raw.strategy {
                0 => Strategy::Graph,
                1 => Strategy::FilteredGraph,
                2 => Strategy::Exact,
                other => Strategy::Other(other),
            },
            matches: (raw.matches != u64::MAX).then_some(raw.matches),
            unindexed_field: raw.warnings & sys::OMEN_WARN_UNINDEXED_FIELD != 0,
            not_calibrated: raw.warnings & sys::OMEN_WARN_NOT_CALIBRATED != 0,
            cut_by_deadline: raw.warnings & sys::OMEN_WARN_DEADLINE != 0,
        }
    }
}

fn empty_report() -> sys::omen_query_report {
    // SAFETY: it is numbers.
    unsafe { zeroed() }
}

/// The neighbours of one query, nearest first; a slice of [`Hit`].
#[derive(Clone, Debug)]
pub struct Hits {
    hits: Vec<Hit>,
    report: Report,
}

impl Hits {
    /// What the search did.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The hits alone.
    pub fn into_vec(self) -> Vec<Hit> {
        self.hits
    }
}

impl std::ops::Deref for Hits {
    type Target = [Hit];

    fn deref(&self) -> &[Hit] {
        &self.hits
    }
}

impl IntoIterator for Hits {
    type Item = Hit;
    type IntoIter = std::vec::IntoIter<Hit>;

    fn into_iter(self) -> Self::IntoIter {
        self.hits.into_iter()
    }
}

impl<'h> IntoIterator for &'h Hits {
    type Item = &'h Hit;
    type IntoIter = std::slice::Iter<'h, Hit>;

    fn into_iter(self) -> Self::IntoIter {
        self.hits.iter()
    }
}

/// The neighbours of many queries, in two dense arrays.
#[derive(Clone, Debug)]
pub struct BatchHits {
    k: usize,
    ids: Vec<u64>,
    distances: Vec<f32>,
    report: Report,
}

impl BatchHits {
    /// How many queries there were.
    pub fn len(&self) -> usize {
        self.ids.len() / self.k
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The hits of one query, nearest first. Panics when there was no such query, as slices do.
    pub fn row(&self, query: usize) -> impl Iterator<Item = Hit> + '_ {
        let range = query * self.k..(query + 1) * self.k;
        self.ids[range.clone()]
            .iter()
            .zip(&self.distances[range])
            .take_while(|(&id, _)| id != u64::MAX)
            .map(|(&id, &distance)| Hit { id, distance })
    }

    /// All ids, k a query; u64::MAX where there are fewer hits.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// All distances, k a query; infinity where there are fewer hits.
    pub fn distances(&self) -> &[f32] {
        &self.distances
    }

    /// What the searches did, summed up.
    pub fn report(&self) -> &Report {
        &self.report
    }
}

/// A measured recall.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Recall {
    /// Mean over the samples.
    pub recall: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// Queries that were asked.
    pub samples: u32,
    /// Neighbours that were asked for.
    pub k: u32,
    /// Distances computed for one query, in the mean.
    pub evaluations: f64,
}

/// A call of C's that answers a batch.
type BatchCall = unsafe extern "C" fn(
    sys::omen_index_t,
    *const c_void,
    usize,
    *const sys::omen_query_options,
    *mut u64,
    *mut f32,
) -> sys::omen_status;

fn check_k(k: usize) -> Result<u32> {
    if (1..=K_MAX).contains(&k) {
        return Ok(k as u32);
    }
    Err(Error::new(ErrorKind::K, format!("k is {}; it is 1..{}", k, K_MAX)))
}

impl Index {
    /// The k nearest points. The query is of the index's element type, or `f32`.
    pub fn search<T: Element>(&self, query: &[T], k: usize) -> Result<Hits> {
        self.search_with(query, k, &Search::new())
    }

    /// The k nearest points, searched as `options` say.
    pub fn search_with<T: Element>(&self, query: &[T], k: usize, options: &Search) -> Result<Hits> {
        let k = check_k(k)? as usize;
        let (mut ids, mut distances) = (vec![0; k], vec![0.0; k]);
        let (found, report) = self.query(Vectors::dense(query), options, &mut ids, &mut distances)?;
        let hits = ids.into_iter().zip(distances).take(found);
        Ok(Hits { hits: hits.map(|(id, distance)| Hit { id, distance }).collect(), report })
    }

    /// Writes the nearest points into the caller's memory, as many as `ids` has room for, and says how many there are.
    ///
    /// ```
    /// # let index = omendb::Index::builder(2).open()?;
    /// # index.add(&[[1.0_f32, 0.0], [0.0, 1.0]])?;
    /// let (mut ids, mut distances) = ([0; 10], [0.0; 10]);
    /// let found = index.search_into(&[1.0_f32, 0.1], &Default::default(), &mut ids, &mut distances)?;
    /// assert_eq!(ids[..found], [0, 1]);
    /// # Ok::<(), omendb::Error>(())
    /// ```
    pub fn search_into<T: Element>(
        &self,
        query: &[T],
        options: &Search,
        ids: &mut [u64],
        distances: &mut [f32],
    ) -> Result<usize> {
        check_room(ids.len(), distances.len(), "distances")?;
        self.query(Vectors::dense(query), options, ids, distances).map(|(found, _)| found)
    }

    /// `ids` and `distances` are of one length, which is k.
    fn query(
        &self,
        query: Vectors<'_>,
        options: &Search,
        ids: &mut [u64],
        distances: &mut [f32],
    ) -> Result<(usize, Report)> {
        let rows = query.resolve_query(self.dimension())?;
        let mut report = empty_report();
        let mut raw = options.to_raw(check_k(ids.len())?)?;
        raw.dtype = rows.dtype.to_raw();
        raw.report = &mut report;
        let mut found = 0;
        // SAFETY: the query has the index's dimension; ids and distances have room for k.
        check(unsafe {
            sys::omen_query(self.raw(), rows.data, &raw, ids.as_mut_ptr(), distances.as_mut_ptr(), &mut found)
        })?;
        Ok((found as usize, Report::of(&report)))
    }

    /// The k nearest points of each query, searched in parallel.
    ///
    /// ```
    /// # let index = omendb::Index::builder(2).open()?;
    /// # index.add(&[[1.0_f32, 0.0], [0.0, 1.0]])?;
    /// let hits = index.search_batch(&[[1.0_f32, 0.1], [0.1, 1.0]], 1, &Default::default())?;
    /// assert_eq!(hits.ids(), [0, 1]);
    /// assert_eq!(hits.row(1).next().unwrap().id, 1);
    /// # Ok::<(), omendb::Error>(())
    /// ```
    pub fn search_batch<'a>(
        &self,
        queries: impl Into<Vectors<'a>>,
        k: usize,
        options: &Search,
    ) -> Result<BatchHits> {
        self.batch_hits(sys::omen_query_batch, queries.into(), k, options)
    }

    /// The k nearest points of each query, found by comparing every point: the truth to measure by, or the answer where
    /// there are few points. With [`Backend::Auto`] a GPU does it where there is one and the work is large enough.
    ///
    /// ```
    /// # let index = omendb::Index::builder(2).open()?;
    /// # index.add(&[[1.0_f32, 0.0], [0.0, 1.0]])?;
    /// let nearest = index.knn_exact(&[[1.0_f32, 0.1], [0.1, 1.0]], 1, &Default::default())?;
    /// assert_eq!(nearest.ids(), [0, 1]);
    /// # Ok::<(), omendb::Error>(())
    /// ```
    pub fn knn_exact<'a>(
        &self,
        queries: impl Into<Vectors<'a>>,
        k: usize,
        options: &Search,
    ) -> Result<BatchHits> {
        self.batch_hits(sys::omen_knn_exact, queries.into(), k, options)
    }

    fn batch_hits(
        &self,
        call: BatchCall,
        queries: Vectors<'_>,
        k: usize,
        options: &Search,
    ) -> Result<BatchHits> {
        let rows = queries.resolve(self.dimension())?;
        check_k(k)?;
        let room = product(rows.count, k)?;
        let (mut ids, mut distances) = (vec![0; room], vec![0.0; room]);
        let report = self.query_batch(call, &rows, options, (k, &mut ids, &mut distances))?;
        Ok(BatchHits { k, ids, distances, report })
    }

    /// Like [`search_batch`](Self::search_batch), into the caller's memory: k a query, row after row; u64::MAX and
    /// infinity where there are fewer hits.
    pub fn search_batch_into<'a>(
        &self,
        queries: impl Into<Vectors<'a>>,
        k: usize,
        options: &Search,
        ids: &mut [u64],
        distances: &mut [f32],
    ) -> Result<Report> {
        let rows = queries.into().resolve(self.dimension())?;
        check_k(k)?;
        let room = product(rows.count, k)?;
        check_room(room, ids.len(), "ids")?;
        check_room(room, distances.len(), "distances")?;
        self.query_batch(sys::omen_query_batch, &rows, options, (k, ids, distances))
    }

    /// The answer is k, and ids and distances with room for k a query.
    fn query_batch(
        &self,
        call: BatchCall,
        rows: &Rows,
        options: &Search,
        answer: (usize, &mut [u64], &mut [f32]),
    ) -> Result<Report> {
        let (k, ids, distances) = answer;
        let mut report = empty_report();
        let mut raw = options.to_raw(check_k(k)?)?;
        raw.dtype = rows.dtype.to_raw();
        raw.stride = rows.stride;
        raw.report = &mut report;
        // SAFETY: the rows were resolved to lie inside of their slice; ids and distances have room for count x k.
        check(unsafe {
            call(self.raw(), rows.data, rows.count, &raw, ids.as_mut_ptr(), distances.as_mut_ptr())
        })?;
        Ok(Report::of(&report))
    }

    /// Every point within `radius`, nearest first, at most 10000, with its distance.
    pub fn range<T: Element>(&self, query: &[T], radius: f32, options: &Search) -> Result<Points> {
        let rows = Vectors::dense(query).resolve_query(self.dimension())?;
        let mut raw = options.to_raw(sys::omen_query_options::default().k)?;
        raw.dtype = rows.dtype.to_raw();
        let mut points = std::ptr::null_mut();
        // SAFETY: the query has the index's dimension.
        check(unsafe { sys::omen_range(self.raw(), rows.data, radius, &raw, &mut points) })?;
        Points::from_raw(points, self)
    }

    /// Measures recall@k as `options` search, with rows of the index as queries.
    ///
    /// ```
    /// use omendb::{Index, Metric, Search};
    ///
    /// let index = Index::builder(1).metric(Metric::L2).open()?;
    /// index.add(&(0..2000).map(|i| i as f32).collect::<Vec<_>>())?;
    /// let recall = index.recall(100, 10, &Search::new())?;
    /// assert!(recall.low <= recall.recall && recall.recall <= recall.high);
    /// # Ok::<(), omendb::Error>(())
    /// ```
    pub fn recall(&self, samples: u32, k: usize, options: &Search) -> Result<Recall> {
        let options = options.to_raw(check_k(k)?)?;
        // SAFETY: it is numbers.
        let mut raw: sys::omen_recall = unsafe { zeroed() };
        raw.struct_size = size_of::<sys::omen_recall>();
        // SAFETY: the library writes no more than struct_size bytes.
        check(unsafe { sys::omen_measure_recall(self.raw(), samples, &options, &mut raw) })?;
        Ok(Recall {
            recall: raw.recall,
            low: raw.low,
            high: raw.high,
            samples: raw.samples,
            k: raw.k,
            evaluations: raw.evaluations,
        })
    }
}

fn product(count: usize, k: usize) -> Result<usize> {
    count.checked_mul(k).filter(|&room| room <= isize::MAX as usize / 8).ok_or_else(|| {
        Error::new(
            ErrorKind::NoMemory,
            format!("{} queries of {} hits are more than memory can hold", count, k),
        )
    })
}

fn check_room(wanted: usize, given: usize, what: &str) -> Result<()> {
    if wanted == given {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Invalid,
        format!("{} has room for {}; there are to be {}", what, given, wanted),
    ))
}
