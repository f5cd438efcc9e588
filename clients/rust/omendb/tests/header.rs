//! `src/sys.rs` says what `include/omendb.h` says. A C program that is compiled against the header prints the layouts,
//! numbers and defaults; the calls are compared by their text.
//!
//! The crate as it is published lies without the header; then there is nothing to compare with.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::mem::{size_of, MaybeUninit};
use std::path::{Path, PathBuf};
use std::process::Command;

use omendb::sys;

fn header() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../include/omendb.h");
    path.exists().then_some(path)
}

/// Lines "NAME VALUE" on our side, and the C statements that print the same.
#[derive(Default)]
struct Comparison {
    rust: BTreeMap<String, String>,
    c: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{:02x}", byte)).collect()
}

/// Size of a struct; offset, size and default bytes of every field.
macro_rules! compare_struct {
    ($to:expr, $name:ident = $init:ident : $($field:ident)*) => {{
        compare_struct!($to, $name: $($field)*);
        compare_default!($to, $name = $init: $($field)*);
    }};
    ($to:expr, $name:ident : $($field:ident)*) => {{
        let name = stringify!($name);
        $to.rust.insert(format!("sizeof({})", name), size_of::<sys::$name>().to_string());
        writeln!($to.c, "printf(\"sizeof({0}) %zu\\n\", sizeof({0}));", name).unwrap();
        let place = MaybeUninit::<sys::$name>::uninit();
        let start = place.as_ptr();
        let mut end = 0;
        $(
            // SAFETY: only the address of a field is taken.
            let field = unsafe { std::ptr::addr_of!((*start).$field) };
            let (offset, size) = (field as usize - start as usize, size_of_pointed(field));
            assert!(offset >= end, "{}.{} overlaps", name, stringify!($field));
            end = offset + size;
            let field = stringify!($field);
            $to.rust.insert(format!("{}.{}", name, field), format!("{}+{}", offset, size));
            writeln!($to.c, "printf(\"{0}.{1} %zu+%zu\\n\", offsetof({0}, {1}), sizeof(((({0} *)0)->{1})));", name, field)
                .unwrap();
        )*
        assert!(size_of::<sys::$name>() < end + 8, "{} has a field that is not listed here", name);
    }};
}

macro_rules! compare_default {
    ($to:expr, $name:ident = $init:ident : $($field:ident)*) => {{
        let value = sys::$name::default();
        writeln!($to.c, "{{ {} value = {};", stringify!($name), stringify!($init)).unwrap();
        $(
            // SAFETY: a field has no padding inside, it is a number or a pointer.
            let bytes = unsafe {
                std::slice::from_raw_parts(std::ptr::addr_of!(value.$field).cast::<u8>(), size_of_val(&value.$field))
            };
            let line = format!("{}.{}", stringify!($init), stringify!($field));
            writeln!($to.c, "show(\"{}\", &value.{}, sizeof value.{2});", line, stringify!($field), stringify!($field))
                .unwrap();
            $to.rust.insert(line, hex(bytes));
        )*
        writeln!($to.c, "}}").unwrap();
    }};
}

macro_rules! compare_numbers {
    ($to:expr, $($name:ident)*) => {$(
        $to.rust.insert(stringify!($name).to_string(), i64::from(sys::$name).to_string());
        writeln!($to.c, "printf(\"{0} %lld\\n\", (long long){0});", stringify!($name)).unwrap();
    )*};
}

fn size_of_pointed<T>(_: *const T) -> usize {
    size_of::<T>()
}

fn size_of_val<T>(_: &T) -> usize {
    size_of::<T>()
}

fn compare_structs(to: &mut Comparison) {
    compare_struct!(to, omen_options = OMEN_OPTIONS_INIT:
        struct_size path dimension metric dtype algorithm quantization m ef_construction ef_search target_recall
        threads seed max_memory id_max slots_max read_only durability interval_ms);
    compare_struct!(to, omen_batch = OMEN_BATCH_INIT:
        struct_size count vectors stride dtype ids text_ids payloads payload_bytes ids_out if_versions);
    compare_struct!(to, omen_query_report: evaluations exact_distances tail strategy warnings matches);
    compare_struct!(to, omen_query_options = OMEN_QUERY_OPTIONS_INIT:
        struct_size k ef target_recall exact filter filter_map filter_map_bytes oversample deadline_us threads dtype
        stride report backend stop context);
    compare_struct!(to, omen_recall: struct_size recall low high samples k evaluations);
    compare_struct!(to, omen_build_options = OMEN_BUILD_OPTIONS_INIT:
        struct_size backend progress context max_memory report again);
    compare_struct!(to, omen_build_stage: name seconds memory read);
    compare_struct!(to, omen_build_report:
        struct_size backend rows seconds device reason memory stage_count stages);
    compare_struct!(to, omen_statistics:
        struct_size count rows deleted tail dimension m ef_construction ef_search threads metric dtype algorithm
        quantization code kernel bytes_links bytes_codes bytes_ids bytes_vectors bytes_payloads bytes_fields
        bytes_search bytes_other bytes_per_vector links_mean unreached drift recall open_seconds searches evaluations
        rerank_misses);
}

fn compare_all_numbers(to: &mut Comparison) {
    compare_numbers!(to,
        OMEN_OK OMEN_E_NOT_FOUND OMEN_E_STALE_MAP OMEN_E_BUSY OMEN_E_TIMEOUT OMEN_E_CORRUPT OMEN_E_NO_MEMORY
        OMEN_E_INVALID OMEN_E_DIMENSION OMEN_E_NOT_FINITE OMEN_E_ZERO_VECTOR OMEN_E_DUPLICATE_ID OMEN_E_EXISTS
        OMEN_E_ID_RANGE OMEN_E_ID_LENGTH OMEN_E_ID_KIND OMEN_E_K OMEN_E_DTYPE OMEN_E_FILTER OMEN_E_FIELD_TYPE
        OMEN_E_PAYLOAD OMEN_E_FULL OMEN_E_UNSUPPORTED OMEN_E_READ_ONLY OMEN_E_CLOSED OMEN_E_CANCELLED OMEN_E_INTERNAL
        OMEN_E_IO OMEN_E_DISK_FULL OMEN_E_VERSION OMEN_E_LOCKED OMEN_E_CONFLICT
        OMEN_E_OP_EXPIRED OMEN_E_AUTH OMEN_E_METHOD OMEN_E_QUOTA
        OMEN_COSINE OMEN_L2 OMEN_IP OMEN_F32 OMEN_F16 OMEN_BF16 OMEN_I8 OMEN_U8 OMEN_HNSW OMEN_FLAT
        OMEN_QUANTIZE_INT8 OMEN_QUANTIZE_NONE OMEN_DURABLE_COMMIT OMEN_DURABLE_INTERVAL OMEN_WITH_VECTOR OMEN_WITH_PAYLOAD
        OMEN_WARN_UNINDEXED_FIELD OMEN_WARN_NOT_CALIBRATED OMEN_WARN_DEADLINE
        OMEN_FIELD_KEYWORD OMEN_FIELD_INTEGER OMEN_FIELD_FLOAT OMEN_FIELD_BOOL OMEN_FIELD_DATETIME OMEN_FIELD_UUID
        OMEN_BACKEND_AUTO OMEN_BACKEND_CPU OMEN_BACKEND_CUDA);
}

fn run_c(header: &Path, statements: &str) -> BTreeMap<String, String> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let (source, program) = (folder.join("layout.c"), folder.join("layout"));
    let text = format!(
        "#include <omendb.h>\n#include <stdio.h>\n\
         static void show(const char *name, const void *at, size_t size)\n{{\n\
         printf(\"%s \", name);\nfor (size_t i = 0; i < size; i++) printf(\"%02x\", ((const unsigned char *)at)[i]);\n\
         printf(\"\\n\");\n}}\nint main(void)\n{{\n{}return 0;\n}}\n",
        statements
    );
    std::fs::write(&source, text).unwrap();
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let compiled = Command::new(&compiler)
        .args(["-std=c11", "-Wall", "-Werror", "-I"])
        .arg(header.parent().unwrap())
        .arg(&source)
        .arg("-o")
        .arg(&program)
        .status()
        .unwrap_or_else(|error| panic!("{}: {}", compiler, error));
    assert!(compiled.success());
    let shown = String::from_utf8(Command::new(&program).output().unwrap().stdout).unwrap();
    shown
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

#[test]
fn structs_numbers_and_defaults_are_those_of_the_header() {
    let header = match header() {
        Some(header) => header,
        None => return,
    };
    let mut comparison = Comparison::default();
    compare_structs(&mut comparison);
    compare_all_numbers(&mut comparison);
    assert_eq!(comparison.rust, run_c(&header, &comparison.c));
    let text = std::fs::read_to_string(&header).unwrap();
    for name in words(&text).filter(|word| word.starts_with("OMEN_") && is_enumerator(&text, word)) {
        assert!(comparison.rust.contains_key(name), "{} is in the header and not compared", name);
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn is_enumerator(text: &str, name: &str) -> bool {
    text.contains(&format!(" {} = ", name))
}

/// The text without comments and preprocessor lines.
fn bare(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        out.push_str(before);
        rest = after.split_once("*/").unwrap().1;
    }
    out.push_str(rest);
    out.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")
}

/// "const char *const *" as "*const *const c_char".
fn rust_type(c: &str) -> String {
    let (mut is_const, mut made) = (false, String::new());
    for token in c.replace('*', " * ").split_whitespace() {
        match token {
            "const" => is_const = true,
            "*" => {
                made = format!("{} {}", if is_const { "*const" } else { "*mut" }, made);
                is_const = false;
            }
            "int" | "char" | "void" => made = format!("c_{}", token),
            "float" => made = "f32".into(),
            "double" => made = "f64".into(),
            "size_t" => made = "usize".into(),
            "uint32_t" => made = "u32".into(),
            "uint64_t" => made = "u64".into(),
            other => made = other.into(),
        }
    }
    made
}

/// Name to types of the header's calls: what comes out, then what goes in.
fn calls_of_header(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut calls = BTreeMap::new();
    for declaration in
        bare(text).split(';').filter_map(|part| Some(part.split_once("OMEN_API ")?.1.to_string()))
    {
        let (front, arguments) = declaration.split_once('(').unwrap();
        let name = words(front).last().unwrap().to_string();
        let mut types = vec![rust_type(&front[..front.len() - name.len()])];
        for argument in
            arguments.trim_end_matches(')').split(',').filter(|argument| argument.trim() != "void")
        {
            let argument = argument.trim();
            let own = words(argument).last().unwrap();
            types.push(rust_type(&argument[..argument.len() - own.len()]));
        }
        calls.insert(name, types);
    }
    calls
}

/// The same of sys.rs.
fn calls_of_sys() -> BTreeMap<String, Vec<String>> {
    let text = include_str!("../src/sys.rs");
    let block = text.split_once("extern \"C\" {").unwrap().1.split_once("\n}").unwrap().0;
    let mut calls = BTreeMap::new();
    for declaration in block.split(';').filter_map(|part| Some(part.split_once("pub fn ")?.1)) {
        let (name, rest) = declaration.split_once('(').unwrap();
        let (arguments, out) = rest.rsplit_once(')').unwrap();
        let mut types = vec![out.trim().strip_prefix("-> ").unwrap_or("c_void").to_string()];
        for argument in arguments.split(',').filter(|argument| !argument.trim().is_empty()) {
            types.push(argument.split_once(':').unwrap().1.trim().to_string());
        }
        calls.insert(name.to_string(), types);
    }
    calls
}

#[test]
fn calls_are_those_of_the_header() {
    let header = match header() {
        Some(header) => header,
        None => return,
    };
    let calls = calls_of_header(&std::fs::read_to_string(header).unwrap());
    assert!(calls.len() > 30);
    assert_eq!(calls_of_sys(), calls);
}

/// Struct to its fields, each as "name: type", as the header has them. Function pointers are only named.
fn fields_of_header(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut structs = BTreeMap::new();
    for part in bare(text).split("typedef struct ").skip(1) {
        let body = match part.split_once('{') {
            Some((name, body)) if !name.contains(';') => body.split_once('}').unwrap().0,
            _ => continue, // a handle
        };
        let mut fields = Vec::new();
        for declaration in body.split(';').map(str::trim).filter(|declaration| !declaration.is_empty()) {
            if let Some((_, rest)) = declaration.split_once("(*") {
                fields.push(rest.split_once(')').unwrap().0.to_string());
                continue;
            }
            if let Some((declaration, size)) = declaration.split_once('[') {
                let name = words(declaration).last().unwrap();
                let made = rust_type(declaration.strip_suffix(name).unwrap());
                fields.push(format!("{}: [{}; {}]", name, made, size.trim_end_matches(']')));
                continue;
            }
            let names: Vec<&str> = declaration.split(',').collect();
            let first = words(names[0]).last().unwrap();
            let made = rust_type(&names[0][..names[0].trim_end().len() - first.len()]);
            fields.extend(names.iter().map(|name| format!("{}: {}", words(name).last().unwrap(), made)));
        }
        structs.insert(words(part).next().unwrap().to_string(), fields);
    }
    structs
}

/// The same of sys.rs.
fn fields_of_sys() -> BTreeMap<String, Vec<String>> {
    let text = include_str!("../src/sys.rs");
    let mut structs = BTreeMap::new();
    for part in text.split("pub struct ").skip(1) {
        let (name, body) = part.split_once(" {").unwrap();
        let fields =
            body.split_once("\n}").unwrap().0.lines().filter_map(|line| line.trim().strip_prefix("pub "));
        let fields = fields.map(|field| {
            let field = field.trim_end_matches(',');
            field.split_once(": Option<").map_or(field, |(function, _)| function).to_string()
        });
        if name.starts_with("omen_") {
            structs.insert(name.to_string(), fields.collect());
        }
    }
    structs
}

#[test]
fn fields_have_the_types_of_the_header() {
    let header = match header() {
        Some(header) => header,
        None => return,
    };
    let structs = fields_of_header(&std::fs::read_to_string(header).unwrap());
    assert!(structs.len() > 6);
    assert_eq!(fields_of_sys(), structs);
}
