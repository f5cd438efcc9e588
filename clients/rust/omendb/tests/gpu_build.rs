//! Links by a GPU, which the plain device plays as a plugin where the C tests have made one; alone in its process, since
//! the environment is changed.
use std::ops::ControlFlow;
use std::path::Path;

use omendb::{Backend, Build, Index, Metric, Search};

#[test]
fn a_gpu_builds_what_is_found() {
    let folder = std::env::var("OMENDB_LIB_DIR").unwrap_or_default();
    let plugin = Path::new(&folder).join("libplain_device.so");
    if !plugin.exists() {
        eprintln!("left out: there is no {}", plugin.display());
        return;
    }
    std::env::set_var("OMEN_GPU_PLUGIN", &plugin);
    let index = Index::builder(64).metric(Metric::L2).open().unwrap();
    let mut state = 7_u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1_u32 << 24) as f32
    };
    let vectors: Vec<[f32; 64]> = (0..2000).map(|_| std::array::from_fn(|_| draw())).collect();
    index.add(&vectors).unwrap();
    let mut calls = 0;
    let how = Build::new().backend(Backend::Cuda).max_memory(256 << 20).again(true);
    let report = index
        .build_with(how, |progress| {
            calls += u32::from(progress.linked <= progress.total);
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(report.backend, Some(Backend::Cuda));
    assert_eq!((report.device.as_str(), report.reason.as_str()), ("cpu", "")); // as the plain device is called
    assert_eq!(report.rows, 2000);
    assert!(report.seconds > 0.0 && calls > 5);
    index.verify().unwrap();
    assert!(index.recall(100, 10, &Search::new()).unwrap().recall > 0.9);
    let report = index.build_with(Backend::Cpu, |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(report.backend, None); // nothing is left to do
}
