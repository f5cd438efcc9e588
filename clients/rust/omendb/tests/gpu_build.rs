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
    let index = Index::builder(32).metric(Metric::L2).open().unwrap();
    let vectors: Vec<[f32; 32]> = (0..2000)
        .map(|i| {
            let mut row = [0.0; 32];
            for (j, x) in row.iter_mut().enumerate() {
                *x = ((i * 37 + j * j * 11) as f32 * 0.013).sin();
            }
            row
        })
        .collect();
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
