//! Writing and reading back: element types, layouts, ids, payloads, and what is refused.
use omendb::{
    Algorithm, Batch, Bf16, DType, Element, ErrorKind, FieldType, Ids, Index, Metric, Vector, Vectors, With,
    F16,
};

/// {"year": year}
fn year(year: u16) -> Vec<u8> {
    [&b"\x81\xa4year\xcd"[..], &year.to_be_bytes()].concat()
}

fn l2(dimension: u32) -> Index {
    Index::builder(dimension).metric(Metric::L2).open().unwrap()
}

fn stored(index: &Index, id: u64) -> Vec<f32> {
    let points = index.get(id, With::Vectors).unwrap();
    points.get(0).unwrap().vector_as::<f32>().unwrap().to_vec()
}

fn kind<T: std::fmt::Debug>(result: omendb::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

#[test]
fn index_numbers_rows_and_gives_them_back() {
    let index = l2(2);
    assert_eq!(index.add(&[1.0_f32, 2.0, 3.0, 4.0]).unwrap(), [0, 1]);
    assert_eq!(index.add(&[[5.0_f32, 6.0]]).unwrap(), [2]);
    assert_eq!(stored(&index, 1), [3.0, 4.0]);
    assert_eq!(stored(&index, 2), [5.0, 6.0]);
    assert_eq!(index.len().unwrap(), 3);
    assert!(index.contains(2) && !index.contains(3));
}

#[test]
fn every_source_stores_the_same() {
    let flat = vec![1.0_f32, 2.0, 3.0, 4.0];
    let rows = vec![[1.0_f32, 2.0], [3.0, 4.0]];
    let wide = [1.0_f32, 2.0, -1.0, 3.0, 4.0];
    let batches: Vec<Batch<'_>> = vec![
        (&flat).into(),
        flat[..].into(),
        (&rows).into(),
        rows[..].into(),
        Vectors::dense(&flat).into(),
        Vectors::strided(&wide, 2, 3).into(),
        Vectors::strided(&flat, 2, 2).into(),
    ];
    for batch in batches {
        let index = l2(2);
        assert_eq!(index.add(&batch).unwrap(), [0, 1]);
        assert_eq!((stored(&index, 0), stored(&index, 1)), (vec![1.0, 2.0], vec![3.0, 4.0]));
    }
}

fn check_element<T: Element + PartialEq + std::fmt::Debug>(
    rows: [[T; 2]; 2],
    wrap: impl Fn(&[T]) -> Vector<'_>,
) {
    let index = Index::builder(2).metric(Metric::L2).dtype(T::DTYPE).open().unwrap();
    assert_eq!(index.dtype(), T::DTYPE);
    index.add(&rows).unwrap();
    let points = index.get(&[0, 1], With::Vectors).unwrap();
    for (point, row) in points.iter().zip(&rows) {
        assert_eq!(point.vector(), Some(wrap(row)));
        assert_eq!(point.vector_as::<T>(), Some(&row[..]));
    }
    for (row, id) in rows.iter().zip(0..) {
        let hits = index.search(row, 1).unwrap();
        assert_eq!((hits[0].id, hits[0].distance), (id, 0.0));
    }
}

#[test]
fn every_element_type_comes_back_as_it_went_in() {
    check_element([[1.5_f32, 2.0], [3.0, 4.0]], |row| Vector::F32(row));
    check_element([[F16(0x3c00), F16(0)], [F16(0x4000), F16(0x3c00)]], |row| Vector::F16(row));
    check_element([[Bf16(0x3f80), Bf16(0)], [Bf16(0x4000), Bf16(0x3f80)]], |row| Vector::Bf16(row));
    check_element([[-7_i8, 1], [100, -128]], |row| Vector::I8(row));
    check_element([[7_u8, 1], [200, 255]], |row| Vector::U8(row));
}

#[test]
fn another_element_type_than_the_index_has_is_refused_or_converted() {
    let bytes = Index::builder(2).metric(Metric::L2).dtype(DType::U8).open().unwrap();
    assert_eq!(kind(bytes.add(&[[1_i8, 2]])), ErrorKind::DType);
    assert_eq!(kind(bytes.add(&[[1.0_f32, 2.0]])), ErrorKind::DType);
    bytes.add(&[[1_u8, 2]]).unwrap();
    assert_eq!(bytes.search(&[1.0_f32, 2.0], 1).unwrap()[0].distance, 0.0);
    assert_eq!(bytes.search(&[1_i8, 2], 1).unwrap()[0].distance, 0.0);

    let halves = Index::builder(1).metric(Metric::L2).dtype(DType::F16).open().unwrap();
    halves.add(&[2.0_f32]).unwrap();
    let points = halves.get(0_u64, With::Vectors).unwrap();
    assert_eq!(points.get(0).unwrap().vector_as::<F16>(), Some(&[F16(0x4000)][..]));
    assert_eq!(points.get(0).unwrap().vector_as::<f32>(), None);

    let floats = Index::builder(1).metric(Metric::L2).open().unwrap();
    floats.add(&[F16(0x4000)]).unwrap();
    floats.add(&[3_u8]).unwrap();
    let points = floats.get(&[0, 1], With::Vectors).unwrap();
    assert_eq!(points.get(0).unwrap().vector_as::<f32>(), Some(&[2.0][..]));
    assert_eq!(points.get(1).unwrap().vector_as::<f32>(), Some(&[3.0][..]));
}

#[test]
fn vectors_that_do_not_fit_are_refused_and_nothing_is_written() {
    let index = l2(2);
    assert_eq!(kind(index.add(&[1.0_f32, 2.0, 3.0])), ErrorKind::Dimension);
    assert_eq!(kind(index.add(&[[1.0_f32, 2.0, 3.0]])), ErrorKind::Dimension);
    assert_eq!(kind(index.add(Vectors::strided(&[1.0_f32; 5], 2, 4))), ErrorKind::Dimension);
    assert_eq!(
        kind(index.add(Vectors::strided(&[1.0_f32; 5], usize::MAX, usize::MAX))),
        ErrorKind::Dimension
    );
    assert_eq!(kind(index.add(Vectors::strided(&[1.0_f32; 5], 2, 1))), ErrorKind::Invalid);
    let error = index.add(&[[1.0_f32, 2.0], [1.0, f32::INFINITY]]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFinite);
    assert!(error.message().contains("row 1"), "{}", error);
    assert!(index.is_empty().unwrap());
    assert_eq!(index.add(&[0.0_f32; 0]).unwrap(), []);
}

#[test]
fn integer_ids_are_taken_and_checked() {
    let index = l2(1);
    assert_eq!(index.add(Batch::new(&[1.0_f32, 2.0]).ids(&[7, 3])).unwrap(), [7, 3]);
    assert_eq!(index.add(&[3.0_f32]).unwrap(), [8]);
    assert_eq!(kind(index.add(Batch::new(&[1.0_f32]).ids(7_u64))), ErrorKind::Exists);
    assert_eq!(kind(index.add(Batch::new(&[1.0_f32, 2.0]).ids(&[5, 5]))), ErrorKind::DuplicateId);
    assert_eq!(kind(index.add(Batch::new(&[1.0_f32]).ids(u64::MAX))), ErrorKind::IdRange);
    assert_eq!(kind(index.add(Batch::new(&[1.0_f32]).ids("seven"))), ErrorKind::IdKind);
    let error = index.add(Batch::new(&[1.0_f32, 2.0]).ids(&[9])).unwrap_err();
    assert_eq!(error.message(), "the batch has 2 rows and 1 ids");
    assert_eq!(index.upsert(Batch::new(&[9.0_f32]).ids(7_u64)).unwrap(), [7]);
    assert_eq!(stored(&index, 7), [9.0]);
    assert_eq!(index.delete(&[7, 100, 3]).unwrap(), 2);
    assert_eq!(index.len().unwrap(), 1);
}

#[test]
fn text_ids_have_keys() {
    let index = l2(1);
    let names = vec!["north".to_string(), "sør".to_string()];
    let keys = index.add(Batch::new(&[1.0_f32, 2.0]).ids(&names)).unwrap();
    assert_eq!(index.id_text(keys[1]).unwrap(), "sør");
    assert_eq!(index.id_key("north").unwrap(), Some(keys[0]));
    assert_eq!(index.id_key("east").unwrap(), None);
    assert_eq!(kind(index.id_text(99)), ErrorKind::NotFound);
    assert_eq!(kind(index.add(Batch::new(&[1.0_f32]).ids(""))), ErrorKind::IdLength);
    let error = index.add(Batch::new(&[1.0_f32, 2.0]).ids(&["fine", "a\0b"])).unwrap_err();
    assert_eq!((error.kind(), error.message()), (ErrorKind::IdLength, "row 1: its text id has a NUL in it"));

    let points = index.get(&["sør", "east"], With::Vectors).unwrap();
    assert_eq!(points.get(0).unwrap().vector_as::<f32>(), Some(&[2.0][..]));
    assert!(points.get(1).is_none());
    assert_eq!(points.iter().count(), 1);
    assert_eq!(index.delete(&["sør", "east"]).unwrap(), 1);
}

#[test]
fn ids_can_be_counted() {
    assert_eq!(Ids::from(&[1, 2, 3]).len(), 3);
    assert_eq!(Ids::from("one").len(), 1);
    assert!(Ids::from(&Vec::<String>::new()).is_empty());
}

#[test]
fn payloads_are_kept_filtered_and_replaced() {
    let index = l2(1);
    let vectors: Vec<f32> = (0..4).map(|i| i as f32).collect();
    let payloads = [Some(year(1999)), None, Some(year(2010)), Some(year(2020))];
    index.add(Batch::new(&vectors).payloads(&payloads)).unwrap();
    index.field_index("year", FieldType::Integer).unwrap();
    assert_eq!(index.count(Some("year >= 2000")).unwrap(), 2);

    let points = index.get(&[0, 1, 2], With::Payloads).unwrap();
    assert_eq!(points.get(0).unwrap().payload(), Some(&year(1999)[..]));
    assert_eq!(points.get(1).unwrap().payload(), None);
    assert!(points.get(2).unwrap().vector().is_none());

    index.set_payloads(&[1, 0], &[year(2030), year(2031)]).unwrap();
    assert_eq!(index.count(Some("year >= 2000")).unwrap(), 4);
    assert_eq!(kind(index.set_payloads(&[1, 77], &[year(1), year(2)])), ErrorKind::NotFound);
    assert_eq!(index.count(Some("year < 2000")).unwrap(), 0);
    assert_eq!(index.delete_where("year >= 2030").unwrap(), 2);
    assert_eq!(index.len().unwrap(), 2);

    assert_eq!(kind(index.add(Batch::new(&[1.0_f32]).payloads(&[b"\x93"]))), ErrorKind::Payload);
    assert_eq!(kind(index.add(Batch::new(&[1.0_f32]).payloads(&[Vec::new()]))), ErrorKind::Payload);
    assert_eq!(kind(index.add(Batch::new(&[1.0_f32]).payloads(&[year(1), year(2)]))), ErrorKind::Invalid);
    assert_eq!(kind(index.field_index("year", FieldType::Bool)), ErrorKind::Exists);
    index.field_drop("year").unwrap();
    assert_eq!(kind(index.field_drop("year")), ErrorKind::NotFound);
    assert_eq!(kind(index.field_drop("ye\0ar")), ErrorKind::Invalid);
    index.field_index("year", FieldType::Integer).unwrap();
    let text = b"\x81\xa4year\xa3old"; // {"year": "old"}
    assert_eq!(kind(index.add(Batch::new(&[1.0_f32]).payloads(&[text]))), ErrorKind::FieldType);
}

#[test]
fn scroll_gives_every_point_once_and_ends() {
    let index = l2(1);
    let vectors: Vec<f32> = (0..25).map(|i| i as f32).collect();
    let payloads: Vec<_> = (0..25).map(|i| year(2000 + i)).collect();
    index.add(Batch::new(&vectors).payloads(&payloads)).unwrap();
    for (limit, filter, expected) in
        [(7, None, 0..25), (1, Some("year >= 2020"), 20..25), (1000, None, 0..25)]
    {
        let mut scroll = index.scroll(filter, With::All, limit).unwrap();
        let pages: Vec<_> = scroll.by_ref().map(Result::unwrap).collect();
        assert!(pages.iter().all(|page| page.len() <= limit && !page.is_empty()));
        let ids: Vec<u64> = pages.iter().flatten().map(|point| point.id()).collect();
        assert_eq!(ids, expected.collect::<Vec<_>>());
        assert!(scroll.next().is_none());
    }
    let mut wrong = index.scroll(Some("year >="), With::Ids, 10).unwrap();
    assert_eq!(kind(wrong.next().unwrap()), ErrorKind::Filter);
    assert!(wrong.next().is_none());
    assert_eq!(kind(index.scroll(None, With::Ids, 0)), ErrorKind::Invalid);
}

#[test]
fn points_outlive_their_index() {
    let index = l2(2);
    index.add(Batch::new(&[[1.0_f32, 2.0]]).payloads(&[year(2000)])).unwrap();
    let points = index.get(0_u64, With::All).unwrap();
    drop(index);
    let point = std::thread::spawn(move || {
        let point = points.get(0).unwrap();
        (point.vector_as::<f32>().unwrap().to_vec(), point.payload().unwrap().to_vec())
    });
    assert_eq!(point.join().unwrap(), (vec![1.0, 2.0], year(2000)));
}

#[test]
fn options_reach_the_engine() {
    let index = Index::builder(4)
        .metric(Metric::Ip)
        .dtype(DType::I8)
        .algorithm(Algorithm::Flat)
        .m(8)
        .ef_construction(50)
        .ef_search(33)
        .threads(1)
        .seed(9)
        .id_max(100)
        .open()
        .unwrap();
    let stats = index.stats().unwrap();
    assert_eq!((index.dimension(), index.metric(), index.dtype()), (4, Metric::Ip, DType::I8));
    assert_eq!((stats.m, stats.ef_construction, stats.ef_search, stats.threads), (8, 50, 33, 1));
    assert_eq!((stats.algorithm, stats.recall), (Algorithm::Flat, None));
    assert!(!stats.kernel.is_empty());
    index.set_ef(44).unwrap();
    assert_eq!(index.stats().unwrap().ef_search, 44);
    assert_eq!(kind(index.add(Batch::new(&[[1_i8; 4]]).ids(101_u64))), ErrorKind::IdRange);
    assert_eq!(kind(index.set_ef(0)), ErrorKind::Invalid);
    assert_eq!(kind(Index::builder(0).open()), ErrorKind::Dimension);
    assert_eq!(kind(Index::builder(2).m(1).open()), ErrorKind::Invalid);
    assert_eq!(kind(Index::builder(2).path("a\0b").open()), ErrorKind::Invalid);
    assert_eq!(omendb::version(), env!("CARGO_PKG_VERSION"));
}

#[test]
fn kinds_have_the_numbers_of_c() {
    assert_eq!(ErrorKind::NotFound.status(), -1);
    assert_eq!(ErrorKind::Conflict.status(), -31);
    assert_eq!(ErrorKind::Other(-99).status(), -99);
}
