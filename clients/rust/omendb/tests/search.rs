//! Searching, upkeep, threads, and closures that panic on the other side of C.
use std::ops::ControlFlow;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use omendb::{Backend, Batch, Build, ErrorKind, Index, Metric, Search, Strategy, Vectors};

const DIMENSION: usize = 8;

/// Numbers from 0 to 1, the same ones every time.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u64 << 24) as f32
    })
    .take(count)
    .collect()
}

/// An index and its vectors; of each the payload is {"i": its id modulo 100}.
fn filled(rows: usize) -> (Index, Vec<f32>) {
    let index = Index::builder(DIMENSION as u32).metric(Metric::L2).open().unwrap();
    let vectors = numbers(rows * DIMENSION);
    let payloads: Vec<_> = (0..rows).map(|i| [0x81, 0xa1, b'i', (i % 100) as u8]).collect();
    index.add(Batch::new(&vectors).payloads(&payloads)).unwrap();
    (index, vectors)
}

fn kind<T: std::fmt::Debug>(result: omendb::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// The k nearest, found the long way.
fn nearest(vectors: &[f32], query: &[f32], k: usize) -> Vec<(u64, f32)> {
    let distance = |row: &[f32]| row.iter().zip(query).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
    let mut all: Vec<(u64, f32)> = (0..).zip(vectors.chunks(DIMENSION).map(distance)).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1));
    all.truncate(k);
    all
}

#[test]
fn exact_search_finds_what_the_long_way_finds() {
    let (index, vectors) = filled(500);
    let query = numbers(3 * DIMENSION)[DIMENSION..2 * DIMENSION].to_vec();
    let hits = index.search_with(&query, 10, &Search::new().exact(true)).unwrap();
    let expected = nearest(&vectors, &query, 10);
    assert_eq!(
        hits.iter().map(|hit| hit.id).collect::<Vec<_>>(),
        expected.iter().map(|e| e.0).collect::<Vec<_>>()
    );
    for (hit, (_, distance)) in hits.iter().zip(&expected) {
        assert!((hit.distance - distance).abs() < 1e-5);
    }
    assert_eq!(hits.report().strategy, Strategy::Exact);
    assert_eq!(hits.report().matches, None);
    assert_eq!(hits.into_vec().len(), 10);
}

#[test]
fn every_way_to_search_finds_the_same() {
    let (index, vectors) = filled(2000);
    index.build().unwrap();
    let options = Search::new().ef(300).threads(1);
    let queries = &vectors[..5 * DIMENSION];
    let many = index.search_batch(queries, 4, &options).unwrap();
    let (mut ids, mut distances) = ([0; 20], [0.0; 20]);
    index.search_batch_into(queries, 4, &options, &mut ids, &mut distances).unwrap();
    assert_eq!((many.ids(), many.distances()), (&ids[..], &distances[..]));
    assert_eq!((many.len(), many.is_empty()), (5, false));
    assert!(many.report().evaluations > 0);

    let strided = Vectors::strided(queries, 3, 2 * DIMENSION); // every second query
    let second = index.search_batch(strided, 4, &options).unwrap();
    for (row, query) in queries.chunks(DIMENSION).enumerate() {
        let one = index.search_with(query, 4, &options).unwrap();
        assert_eq!(many.row(row).collect::<Vec<_>>(), one[..]);
        assert_eq!((one[0].id, one[0].distance), (row as u64, 0.0));
        if row % 2 == 0 {
            assert_eq!(second.row(row / 2).collect::<Vec<_>>(), one[..]);
        }
        let (mut ids, mut distances) = ([0; 4], [0.0; 4]);
        assert_eq!(index.search_into(query, &options, &mut ids, &mut distances).unwrap(), 4);
        assert!(one.iter().map(|hit| hit.id).eq(ids));
    }
}

#[test]
fn knn_exact_is_an_exact_search_of_a_batch() {
    let (index, vectors) = filled(700);
    let queries = &vectors[..6 * DIMENSION];
    let exact = index.search_batch(queries, 5, &Search::new().exact(true)).unwrap();
    for options in [Search::new(), Search::new().ef(1).backend(Backend::Cpu)] {
        let nearest = index.knn_exact(queries, 5, &options).unwrap();
        assert_eq!((nearest.ids(), nearest.distances()), (exact.ids(), exact.distances()));
        assert_eq!(nearest.report().strategy, Strategy::Exact);
    }
    let filtered = index.knn_exact(queries, 9, &Search::new().filter("i == 7")).unwrap();
    assert!(
        (0..6).all(|row| filtered.row(row).count() == 7 && filtered.row(row).all(|hit| hit.id % 100 == 7))
    );
    assert_eq!(kind(index.knn_exact(queries, 0, &Search::new())), ErrorKind::K);
    assert_eq!(kind(index.knn_exact(&queries[1..], 5, &Search::new())), ErrorKind::Dimension);
}

#[test]
fn fewer_points_than_k_are_fewer_hits() {
    let (index, _) = filled(3);
    assert_eq!(index.search(&[0.0_f32; DIMENSION], 10).unwrap().len(), 3);
    let many = index.search_batch(&[[0.0_f32; DIMENSION]; 2], 10, &Search::new()).unwrap();
    assert_eq!((many.row(0).count(), many.row(1).count()), (3, 3));
    assert_eq!((many.ids()[3], many.distances()[3]), (u64::MAX, f32::INFINITY));
    let none = index.search_batch(&[0.0_f32; 0], 10, &Search::new()).unwrap();
    assert!(none.is_empty());
}

#[test]
fn filters_are_kept_to() {
    let (index, _) = filled(1000);
    let hits = index.search_with(&[0.5_f32; DIMENSION], 20, &Search::new().filter("i < 2")).unwrap();
    assert_eq!(hits.len(), 20);
    assert!(hits.iter().all(|hit| hit.id % 100 < 2));
    assert_eq!(hits.report().matches, Some(20));
    assert!(hits.report().unindexed_field);
    let map = b"\x81\xa1i\x07"; // {"i": 7}
    let hits = index.search_with(&[0.5_f32; DIMENSION], 20, &Search::new().filter_map(&map[..])).unwrap();
    assert!(hits.len() == 10 && hits.iter().all(|hit| hit.id % 100 == 7));
    let error = index.search_with(&[0.5_f32; DIMENSION], 1, &Search::new().filter("i <")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Filter);
    assert_eq!(
        kind(index.search_with(&[0.5_f32; DIMENSION], 1, &Search::new().filter("i\0"))),
        ErrorKind::Filter
    );
}

#[test]
fn range_gives_all_within_the_radius() {
    let (index, vectors) = filled(500);
    let query = [0.5_f32; DIMENSION];
    let expected: Vec<u64> =
        nearest(&vectors, &query, 500).into_iter().filter(|&(_, d)| d <= 0.4).map(|(id, _)| id).collect();
    let points = index.range(&query, 0.4, &Search::new().exact(true)).unwrap();
    assert!(!expected.is_empty());
    assert_eq!(points.iter().map(|point| point.id()).collect::<Vec<_>>(), expected);
    assert!(points.iter().all(|point| point.distance() <= 0.4));
    assert_eq!(kind(index.range(&query, f32::NAN, &Search::new())), ErrorKind::Invalid);
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let (index, _) = filled(10);
    let query = [0.5_f32; DIMENSION];
    assert_eq!(kind(index.search(&query, 0)), ErrorKind::K);
    assert_eq!(kind(index.search(&query, 10_001)), ErrorKind::K);
    assert_eq!(kind(index.search(&query[1..], 1)), ErrorKind::Dimension);
    assert_eq!(kind(index.search(&[0.5_f32; 2 * DIMENSION], 1)), ErrorKind::Dimension);
    assert_eq!(kind(index.search(&[f32::NAN; DIMENSION], 1)), ErrorKind::NotFinite);
    assert_eq!(kind(index.search_with(&query, 1, &Search::new().ef(10_001))), ErrorKind::Invalid);
    assert_eq!(kind(index.search_with(&query, 1, &Search::new().target_recall(2.0))), ErrorKind::Invalid);
    let (mut ids, mut distances) = ([0; 3], [0.0; 2]);
    assert_eq!(kind(index.search_into(&query, &Search::new(), &mut ids, &mut distances)), ErrorKind::Invalid);
    assert_eq!(
        kind(index.search_batch_into(&query, 4, &Search::new(), &mut ids, &mut distances)),
        ErrorKind::Invalid
    );
}

#[test]
fn recall_is_measured_and_calibrated() {
    let (index, _) = filled(3000);
    index.flush().unwrap();
    index.calibrate().unwrap();
    let recall = index.recall(50, 5, &Search::new().target_recall(0.9)).unwrap();
    assert_eq!((recall.samples, recall.k), (50, 5));
    assert!(recall.recall > 0.8 && recall.low <= recall.recall && recall.recall <= recall.high);
    assert_eq!(index.recall(50, 5, &Search::new().exact(true)).unwrap().recall, 1.0);
    assert!(index.stats().unwrap().recall.is_some());
    let hits = index
        .search_with(&[0.5_f32; DIMENSION], 5, &Search::new().deadline(Duration::from_secs(60)))
        .unwrap();
    assert!(!hits.report().cut_by_deadline);
}

/// More than can be done before it is looked for the first time.
#[test]
fn what_takes_long_ends_when_it_is_told_to_stop() {
    let (index, _) = filled(20_000);
    let queries = numbers(200_000 * DIMENSION);
    let stop = Arc::new(AtomicBool::new(true));
    let options = Search::new().exact(true).stop(Arc::clone(&stop));
    assert_eq!(kind(index.search_batch(&queries, 1, &options)), ErrorKind::Cancelled);
    assert_eq!(
        kind(index.knn_exact(&queries, 1, &options.clone().backend(Backend::Cpu))),
        ErrorKind::Cancelled
    );
    assert_eq!(kind(index.recall(20_000, 1, &options)), ErrorKind::Cancelled);
    stop.store(false, Ordering::Relaxed);
    assert_eq!(index.search_batch(&queries[..10 * DIMENSION], 1, &options).unwrap().len(), 10);
}

#[test]
fn compaction_drops_what_was_deleted() {
    let (index, _) = filled(1000);
    assert_eq!(index.delete_where("i < 10").unwrap(), 100);
    index.compact().unwrap();
    index.verify().unwrap();
    let stats = index.stats().unwrap();
    assert_eq!((stats.count, stats.rows, stats.deleted), (900, 900, 0));
}

#[test]
fn progress_is_reported_and_can_stop_the_wait() {
    let (index, _) = filled(2000);
    let mut last = None;
    index
        .build_with(Backend::Cpu, |progress| {
            last = Some(progress);
            ControlFlow::Continue(())
        })
        .unwrap();
    let last = last.unwrap();
    assert_eq!((last.linked, last.total), (2000, 2000));
    assert_eq!(kind(index.build_with(Backend::Auto, |_| ControlFlow::Break(()))), ErrorKind::Cancelled);
    index.build().unwrap();
}

#[test]
fn a_build_tells_its_stages() {
    let (index, _) = filled(2000);
    let how = Build::new().backend(Backend::Cpu).again(true);
    let report = index.build_with(how, |_| ControlFlow::Continue(())).unwrap();
    let stage = |name: &str| report.stages.iter().find(|stage| stage.name == name).unwrap();
    assert_eq!(report.rows, 2000);
    assert_eq!(report.stages.last().unwrap().name, "install");
    assert_eq!(report.stages.iter().map(|stage| stage.memory).max(), Some(report.memory));
    assert!(stage("leaves").read >= 2000 * DIMENSION as u64);
    assert!(report.stages.iter().map(|stage| stage.seconds).sum::<f64>() <= report.seconds);
    let nothing = index.build_with(Backend::Cpu, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!((nothing.memory, nothing.stages.len()), (0, 0));
}

#[test]
fn panic_in_progress_comes_out_of_build_and_leaves_the_index_whole() {
    let (index, _) = filled(2000);
    let result = catch_unwind(AssertUnwindSafe(|| index.build_with(Backend::Auto, |_| panic!("enough"))));
    assert_eq!(result.unwrap_err().downcast_ref::<&str>(), Some(&"enough"));
    index.build().unwrap();
    index.verify().unwrap();
    assert_eq!(index.search(&[0.5_f32; DIMENSION], 3).unwrap().len(), 3);
}

#[test]
fn threads_share_an_index() {
    let (index, vectors) = filled(500);
    std::thread::scope(|scope| {
        let index = &index;
        for writer in 0..2_u64 {
            let vectors = &vectors;
            scope.spawn(move || {
                for (id, row) in (0..200).zip(vectors.chunks(DIMENSION)) {
                    index.add(Batch::new(row).ids(10_000 * (writer + 1) + id)).unwrap();
                }
            });
        }
        for query in vectors.chunks(DIMENSION).take(2) {
            scope.spawn(move || {
                for _ in 0..200 {
                    assert_eq!(index.search(query, 1).unwrap()[0].distance, 0.0);
                }
            });
        }
    });
    assert_eq!(index.len().unwrap(), 900);
}

#[test]
fn errors_of_one_thread_do_not_show_in_another() {
    let (index, _) = filled(10);
    let here = index.search(&[f32::NAN; DIMENSION], 1).unwrap_err();
    let there =
        std::thread::scope(|scope| scope.spawn(|| index.delete_where("i <").unwrap_err()).join().unwrap());
    assert_eq!((here.kind(), there.kind()), (ErrorKind::NotFinite, ErrorKind::Filter));
    assert_ne!(here.message(), there.message());
}

#[test]
fn what_crosses_threads_may() {
    fn crosses<T: Send + Sync>() {}
    crosses::<Index>();
    crosses::<omendb::Points>();
    crosses::<Batch<'_>>();
    crosses::<Search>();
    crosses::<omendb::Error>();
}
