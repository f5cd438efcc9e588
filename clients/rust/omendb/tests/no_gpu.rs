//! A GPU is asked for where there is none. Alone in its process, since the environment is changed.
use std::ops::ControlFlow;

use omendb::{Backend, ErrorKind, Index, Search};

#[test]
fn a_gpu_that_is_not_there_is_an_error_that_says_so() {
    std::env::set_var("OMEN_GPU_PLUGIN", "/nowhere/omendb_gpu.so");
    let index = Index::builder(2).threads(1).open().unwrap();
    let vectors = [[1.0_f32, 0.0], [0.0, 1.0], [0.5, 0.5]];
    index.add(&vectors).unwrap();
    let options = Search::new().backend(Backend::Cuda);
    let failed = [
        index.search_batch(&vectors, 2, &options).unwrap_err(),
        index.knn_exact(&vectors, 2, &options).unwrap_err(),
        index.search_with(&vectors[0], 2, &options).unwrap_err(),
        index.range(&vectors[0], 0.1, &options).unwrap_err(),
        index.recall(1, 1, &options).unwrap_err(),
        index.build_with(Backend::Cuda, |_| ControlFlow::Continue(())).unwrap_err(),
    ];
    for error in &failed {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().starts_with("backend cuda"), "{}", error);
    }
    for error in &failed[..2] {
        assert!(error.message().contains("no GPU"), "{}", error);
        assert!(error.message().contains("/nowhere/omendb_gpu.so"), "{}", error);
    }
    let nearest = index.knn_exact(&vectors, 1, &Search::new()).unwrap(); // auto goes on without
    assert_eq!(nearest.ids(), [0, 1, 2]);
}
