// clients/rust/omendb/build.rs -- finds libomendb: OMENDB_LIB_DIR, else this checkout's build/lib, else pkg-config.
//
// Programs of this package (tests, examples) get the folder as their rpath. A crate that depends on this one finds it
// in its own build script as DEP_OMENDB_LIB_DIR.
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const NAME: &str = "libomendb.so";

fn main() {
    println!("cargo:rerun-if-env-changed=OMENDB_LIB_DIR");
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-lib=dylib=omendb");
    if env::var_os("DOCS_RS").is_some() {
        return; // documentation needs no library
    }
    match given().or_else(checkout).or_else(pkg_config) {
        Some(folder) => {
            let folder = folder.display();
            println!("cargo:rustc-link-search=native={}", folder);
            println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder);
            println!("cargo:lib_dir={}", folder);
        }
        None => println!(
            "cargo:warning={} was not found by OMENDB_LIB_DIR, in a checkout's build/lib, or by pkg-config; \
             the linker's own folders are tried",
            NAME
        ),
    }
}

/// The folder that the user names. What is not there is an error and not a reason to look elsewhere.
fn given() -> Option<PathBuf> {
    let folder = PathBuf::from(env::var_os("OMENDB_LIB_DIR").filter(|value| !value.is_empty())?);
    if !folder.join(NAME).exists() {
        panic!("OMENDB_LIB_DIR is {}, and there is no {} in it", folder.display(), NAME);
    }
    Some(folder)
}

/// In a checkout, what was built from it: an installed library may be older than the header that this crate mirrors.
fn checkout() -> Option<PathBuf> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR")?);
    let root = package.join("../../..").canonicalize().ok()?;
    let folder = root.join("build/lib");
    (root.join("include/omendb.h").exists() && folder.join(NAME).exists()).then_some(folder)
}

fn pkg_config() -> Option<PathBuf> {
    let program = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let done = Command::new(program).args(["--variable=libdir", "omendb"]).output().ok()?;
    let folder = String::from_utf8(done.stdout).ok()?;
    let folder = Path::new(folder.trim());
    (done.status.success() && folder.join(NAME).exists()).then(|| folder.to_path_buf())
}
