//! Indexes that lie in a folder: what comes back, who may open them, and what is refused.
use std::path::{Path, PathBuf};
use std::time::Duration;

use omendb::{
    Algorithm, Batch, Durability, ErrorKind, FieldType, IfVersion, Index, Metric, Search, Version, With,
};

/// A folder of a test's own, gone with the test. The index itself is to make it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{}", test, std::process::id()));
        std::fs::remove_dir_all(&path).ok();
        Self(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn open(folder: &Folder) -> Index {
    Index::builder(2).metric(Metric::L2).path(folder.path()).open().unwrap()
}

fn kind<T: std::fmt::Debug>(result: omendb::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

/// {"year": year}
fn year(year: u16) -> Vec<u8> {
    [&b"\x81\xa4year\xcd"[..], &year.to_be_bytes()].concat()
}

/// Rows (i, 0), whose payload is {"year": 2000 + i}.
fn fill(index: &Index, rows: u16) {
    let vectors: Vec<[f32; 2]> = (0..rows).map(|i| [f32::from(i), 0.0]).collect();
    let payloads: Vec<_> = (0..rows).map(|i| year(2000 + i)).collect();
    index.add(Batch::new(&vectors).payloads(&payloads)).unwrap();
}

#[test]
fn what_was_written_is_there_when_it_is_opened_again() {
    let folder = Folder::new("again");
    let index = open(&folder);
    index.field_index("year", FieldType::Integer).unwrap();
    fill(&index, 100);
    index.upsert(Batch::new(&[[0.0_f32, 7.0]]).ids(5_u64).payloads(&[year(1905)])).unwrap();
    index.set_payloads(6_u64, &[year(1906)]).unwrap();
    assert_eq!(index.delete(&[1, 2]).unwrap(), 2);
    assert_eq!(index.delete_where("year = 2003").unwrap(), 1);
    drop(index);

    let index = open(&folder);
    assert_eq!(index.len().unwrap(), 97);
    assert!(!index.contains(1) && !index.contains(2) && !index.contains(3));
    let points = index.get(&[5, 6], With::All).unwrap();
    assert_eq!(points.get(0).unwrap().vector_as::<f32>(), Some(&[0.0, 7.0][..]));
    assert_eq!(points.get(0).unwrap().payload(), Some(&year(1905)[..]));
    assert_eq!(points.get(1).unwrap().payload(), Some(&year(1906)[..]));
    let old = index.search_with(&[0.0_f32, 7.0], 10, &Search::new().filter("year < 2000")).unwrap();
    assert_eq!(old.iter().map(|hit| hit.id).collect::<Vec<_>>(), [5, 6]);
    assert!(!old.report().unindexed_field);
    assert_eq!(index.add(&[[1.0_f32, 1.0]]).unwrap(), [100]);
    index.verify().unwrap();
}

#[test]
fn text_ids_keep_their_keys() {
    let folder = Folder::new("texts");
    let index = open(&folder);
    let keys = index.add(Batch::new(&[[1.0_f32, 0.0], [0.0, 1.0]]).ids(&["north", "sør"])).unwrap();
    drop(index);
    let index = open(&folder);
    assert_eq!(index.id_text(keys[1]).unwrap(), "sør");
    assert_eq!(index.id_key("north").unwrap(), Some(keys[0]));
    assert_eq!(kind(index.add(Batch::new(&[[1.0_f32, 0.0]]).ids(9_u64))), ErrorKind::IdKind);
}

#[test]
fn the_file_says_what_the_index_is() {
    let folder = Folder::new("options");
    let options = Index::builder(3).metric(Metric::Ip).algorithm(Algorithm::Flat).path(folder.path());
    drop(options.open().unwrap());
    let index = Index::open(folder.path()).unwrap();
    assert_eq!((index.dimension(), index.metric()), (3, Metric::Ip));
    assert_eq!(index.stats().unwrap().algorithm, Algorithm::Flat);
    index.add(&[[1.0_f32, 2.0, 3.0]]).unwrap();
    drop(index);
    assert_eq!(kind(options.clone().metric(Metric::L2).open()), ErrorKind::Invalid);
    assert_eq!(kind(Index::builder(4).metric(Metric::Ip).path(folder.path()).open()), ErrorKind::Invalid);
    assert_eq!(options.open().unwrap().len().unwrap(), 1);
}

fn version(index: &Index, id: u64) -> Option<Version> {
    index.get(id, With::Ids).unwrap().get(0).map(|point| point.version().unwrap())
}

/// Point 1 becomes (0, to), if.
fn add(index: &Index, to: f32, version: impl Into<IfVersion>) -> omendb::Result<Vec<u64>> {
    index.add(Batch::new(&[[0.0, to]]).ids(1_u64).if_versions(&[version.into()]))
}

fn upsert(index: &Index, to: f32, version: impl Into<IfVersion>) -> omendb::Result<Vec<u64>> {
    index.upsert(Batch::new(&[[0.0, to]]).ids(1_u64).if_versions(&[version.into()]))
}

#[test]
fn a_write_under_a_condition_happens_to_the_version_that_was_read() {
    let folder = Folder::new("versions");
    let index = open(&folder);
    assert_eq!(version(&index, 1), None);
    add(&index, 1.0, IfVersion::Absent).unwrap();
    let first = version(&index, 1).unwrap();
    assert_eq!(kind(add(&index, 2.0, IfVersion::Absent)), ErrorKind::Conflict);
    assert_eq!(kind(add(&index, 2.0, IfVersion::Any)), ErrorKind::Exists);
    assert_eq!(version(&index, 1), Some(first), "what was refused has changed nothing");

    upsert(&index, 2.0, first).unwrap();
    let second = version(&index, 1).unwrap();
    assert_ne!(first, second);
    let late = upsert(&index, 3.0, first).unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Conflict);
    assert!(late.message().contains("row 0"), "{}", late);
    upsert(&index, 4.0, IfVersion::Any).unwrap();
    assert_ne!(version(&index, 1), Some(second));

    let points = index.get(1_u64, With::Vectors).unwrap();
    assert_eq!(points.get(0).unwrap().vector_as::<f32>(), Some(&[0.0, 4.0][..]));
    assert_eq!(index.delete(1_u64).unwrap(), 1);
    assert_eq!(kind(upsert(&index, 5.0, second)), ErrorKind::Conflict);
    upsert(&index, 5.0, IfVersion::Absent).unwrap();
    let last = version(&index, 1).unwrap();
    assert!(last != first && last != second, "no version comes twice");
    drop(index);
    assert_eq!(version(&open(&folder), 1), Some(last));
}

#[test]
fn one_row_in_conflict_stops_its_batch() {
    let folder = Folder::new("conflict");
    let index = open(&folder);
    fill(&index, 3);
    let rows = [[9.0_f32, 9.0]; 3];
    let ids = [0_u64, 1, 7];
    let batch = Batch::new(&rows).ids(&ids);
    let zero = version(&index, 0).unwrap();
    let wrong = [zero.into(), IfVersion::Absent, IfVersion::Absent];
    let error = index.upsert(batch.clone().if_versions(&wrong)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("row 1"), "{}", error);
    assert!(!index.contains(7));
    assert_eq!(version(&index, 0), Some(zero));
    index.upsert(batch.clone().if_versions(&[zero.into(), IfVersion::Any, IfVersion::Absent])).unwrap();
    assert!(index.contains(7));
    let few = index.upsert(batch.if_versions(&[IfVersion::Any])).unwrap_err();
    assert_eq!(few.message(), "the batch has 3 rows and 1 versions");
}

#[test]
fn payloads_are_replaced_under_a_condition() {
    let folder = Folder::new("payload-versions");
    let index = open(&folder);
    fill(&index, 2);
    let ids = [0, 1];
    let read = [version(&index, 0).unwrap(), version(&index, 1).unwrap()];
    index.set_payloads_if(&ids, &[year(1901), year(1902)], &read).unwrap();
    assert_eq!(index.count(Some("year < 1950")).unwrap(), 2);
    let late = index.set_payloads_if(&ids, &[year(1801), year(1802)], &read);
    assert_eq!(kind(late), ErrorKind::Conflict);
    assert_eq!(index.count(Some("year < 1850")).unwrap(), 0);
    let few = index.set_payloads_if(&ids, &[year(1801), year(1802)], &read[..1]).unwrap_err();
    assert_eq!(few.message(), "the batch has 2 rows and 1 versions");
    index.set_payloads_if(&ids, &[year(1801), year(1802)], &[IfVersion::Any; 2]).unwrap();
    assert_eq!(index.count(Some("year < 1850")).unwrap(), 2);
}

#[test]
fn of_writers_that_count_under_conditions_none_is_lost() {
    let folder = Folder::new("counting");
    let index = open(&folder);
    add(&index, 0.0, IfVersion::Absent).unwrap();
    let count_once = || loop {
        let points = index.get(1_u64, With::Vectors).unwrap();
        let read = points.get(0).unwrap();
        let row = [[0.0, read.vector_as::<f32>().unwrap()[1] + 1.0]];
        let change = Batch::new(&row).ids(1_u64).if_versions(&[read.version().unwrap()]);
        match index.upsert(change) {
            Ok(_) => return,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| (0..10).for_each(|_| count_once()));
        }
    });
    let points = index.get(1_u64, With::Vectors).unwrap();
    assert_eq!(points.get(0).unwrap().vector_as::<f32>(), Some(&[0.0, 30.0][..]));
}

#[test]
fn an_index_in_memory_has_no_versions() {
    let index = Index::builder(2).metric(Metric::L2).open().unwrap();
    fill(&index, 1);
    assert_eq!(index.get(0_u64, With::Ids).unwrap().get(0).unwrap().version(), None);
    assert_eq!(kind(upsert(&index, 1.0, IfVersion::Any)), ErrorKind::Unsupported);
    assert_eq!((Version::new(0), Version::new(u64::MAX)), (None, None));
    assert_eq!(Version::new(7).map(Version::get), Some(7));
}

#[test]
fn a_folder_is_open_once_in_a_process() {
    let folder = Folder::new("readers");
    let index = open(&folder);
    fill(&index, 10);
    assert_eq!(kind(Index::open(folder.path())), ErrorKind::Locked);
    drop(index);

    // One handle of a folder in a process; other processes have theirs.
    let reader = Index::builder(0).path(folder.path()).read_only(true).open().unwrap();
    assert_eq!(kind(Index::builder(0).path(folder.path()).read_only(true).open()), ErrorKind::Locked);
    assert_eq!(reader.len().unwrap(), 10);
    assert_eq!(reader.search(&[4.0_f32, 0.0], 1).unwrap()[0].id, 4);
    assert_eq!(kind(reader.add(&[[1.0_f32, 2.0]])), ErrorKind::ReadOnly);
    assert_eq!(kind(reader.delete(1_u64)), ErrorKind::ReadOnly);
    let refused = reader.delete_where("year > 0").unwrap_err();
    assert_eq!((refused.kind(), refused.deleted()), (ErrorKind::ReadOnly, 0));
    assert_eq!(reader.len().unwrap(), 10);
}

#[test]
fn reading_what_is_not_there_makes_no_folder() {
    let folder = Folder::new("nothing");
    assert_ne!(kind(Index::builder(2).path(folder.path()).read_only(true).open()), ErrorKind::Unsupported);
    assert_ne!(kind(Index::open(folder.path())), ErrorKind::Unsupported);
    assert!(!folder.path().exists());
}

#[test]
fn writes_of_an_interval_are_durable_after_flush() {
    let folder = Folder::new("interval");
    let durability = Durability::Interval(Duration::from_secs(3600));
    let index =
        Index::builder(2).metric(Metric::L2).path(folder.path()).durability(durability).open().unwrap();
    fill(&index, 10);
    index.flush().unwrap();
    // Another file with the same bytes: what a crash would leave.
    let crashed = Folder::new("interval-crashed");
    std::fs::create_dir_all(crashed.path()).unwrap();
    std::fs::copy(folder.path().join("data.mdb"), crashed.path().join("data.mdb")).unwrap();
    let reader = Index::builder(0).path(crashed.path()).read_only(true).open().unwrap();
    assert_eq!(reader.len().unwrap(), 10);
}

#[test]
fn a_copy_is_an_index_of_its_own() {
    let (folder, to) = (Folder::new("original"), Folder::new("copy"));
    let index = open(&folder);
    fill(&index, 20);
    index.copy(to.path()).unwrap();
    index.delete(&[0, 1, 2]).unwrap();
    let copy = open(&to);
    assert_eq!((index.len().unwrap(), copy.len().unwrap()), (17, 20));
    copy.add(&[[9.0_f32, 9.0]]).unwrap();
    copy.verify().unwrap();
    assert!(index.copy(to.path()).is_err(), "what is there is not written over");
    assert_eq!(copy.len().unwrap(), 21);
}

#[test]
fn an_index_in_memory_can_be_copied_to_a_folder() {
    let to = Folder::new("memory");
    let index = Index::builder(2).metric(Metric::L2).open().unwrap();
    fill(&index, 20);
    index.copy(to.path()).unwrap();
    assert_eq!(Index::open(to.path()).unwrap().len().unwrap(), 20);
}

#[test]
fn compaction_is_durable() {
    let folder = Folder::new("compact");
    let index = open(&folder);
    fill(&index, 1000);
    index.delete(&(0..900).collect::<Vec<u64>>()).unwrap();
    index.compact().unwrap();
    drop(index);
    let index = open(&folder);
    let stats = index.stats().unwrap();
    assert_eq!((stats.count, stats.rows), (100, 100));
    assert_eq!(index.search(&[950.0_f32, 0.0], 1).unwrap()[0].id, 950);
    index.verify().unwrap();
}

#[test]
fn damage_is_an_error_and_no_crash() {
    let folder = Folder::new("damage");
    fill(&open(&folder), 100);
    let file = folder.path().join("data.mdb");
    std::fs::write(&file, vec![0x5a; 8192]).unwrap();
    let error = Index::open(folder.path()).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid | ErrorKind::Version),
        "{:?}",
        error
    );
    assert_eq!(std::fs::read(&file).unwrap(), vec![0x5a; 8192]);
}

#[test]
fn a_path_that_is_a_file_is_refused() {
    let folder = Folder::new("file");
    std::fs::create_dir_all(folder.path()).unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let error = Index::builder(2).path(&file).open().unwrap_err();
    assert_ne!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains(file.to_str().unwrap()), "{}", error);
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}
