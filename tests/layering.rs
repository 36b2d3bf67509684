//! The dependency table, held by a test: every arrow goes from a program to a library, libraries and
//! programs do not import their own kind, pure libraries do no I/O, `unsafe` lives in named modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Our packages and what each may depend on. Changing this table is the one change worth discussing first.
const TABLE: &[(&str, &[&str])] = &[
    // Libraries: no arrow between them.
    ("dns-engine", &[]),
    ("dns-transport", &[]),
    ("traffic-map", &[]),
    ("route-token", &[]),
    ("rtsp", &[]),
    ("mdc", &[]),
    ("distribution", &[]),
    ("service", &[]),
    // But one: the shell of both name servers joins the library that knows messages to the one that knows sockets, as
    // quinn joins quinn-proto and quinn-udp, which ignore each other.
    ("nameserver", &["dns-engine", "dns-transport", "service"]),
    // Programs: libraries only.
    (
        "nameserver-l1",
        &[
            "dns-engine",
            "nameserver",
            "traffic-map",
            "route-token",
            "distribution",
            "service",
        ],
    ),
    (
        "nameserver-l2",
        &[
            "dns-engine",
            "nameserver",
            "traffic-map",
            "route-token",
            "distribution",
            "service",
        ],
    ),
    ("mapmaker", &["traffic-map", "distribution", "service"]),
    (
        "media-edge",
        &["traffic-map", "rtsp", "mdc", "distribution", "service"],
    ),
    ("player", &["rtsp", "mdc", "service"]),
];

/// What stands beside the product and may start all of it.
const MAY_USE_ANYTHING: &[&str] = &[
    "bench",
    "conformance",
    "demo",
    "fuzz",
    "signpost-tests",
    "xtask",
];

/// Libraries that take bytes, time and randomness as arguments.
const PURE: &[&str] = &["dns-engine", "traffic-map", "route-token", "rtsp", "mdc"];

/// Outside crates that would bring a socket, a runtime or a clock into a pure library.
const IMPURE_CRATES: &[&str] = &[
    "tokio",
    "socket2",
    "libc",
    "quinn",
    "axum",
    "rand",
    "hickory-resolver",
    "tracing-subscriber",
];

/// The only modules with `unsafe`: batched socket I/O, AF_XDP; of the bench, batches as well, io_uring, and the counting
/// allocator.
const UNSAFE_MODULES: &[&str] = &[
    "crates/dns-transport/src/batch.rs",
    "crates/dns-transport/src/control.rs",
    "crates/dns-transport/src/xdp/bpf.rs",
    "crates/dns-transport/src/xdp/interface.rs",
    "crates/dns-transport/src/xdp/memory.rs",
    "crates/dns-transport/src/xdp/socket.rs",
    "dev/bench/src/allocations.rs",
    "dev/bench/src/mmsg.rs",
    "dev/bench/src/past/batch.rs",
    "dev/bench/src/past/uring.rs",
];

#[test]
fn every_arrow_goes_from_a_program_to_a_library() {
    let packages = packages();
    let ours: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    let allowed: BTreeMap<&str, &[&str]> = TABLE.iter().copied().collect();
    for (name, manifest) in &packages {
        if MAY_USE_ANYTHING.contains(&name.as_str()) {
            continue;
        }
        let allowed = allowed
            .get(name.as_str())
            .unwrap_or_else(|| panic!("package `{name}` is not in the layering table"));
        for dependency in dependencies(manifest).intersection(&ours) {
            assert!(
                allowed.contains(dependency),
                "`{name}` depends on `{dependency}`, which the layering table does not allow"
            );
        }
    }
}

#[test]
fn the_table_names_only_packages_that_exist() {
    let packages = packages();
    for (name, allowed) in TABLE {
        for name in std::iter::once(name).chain(*allowed) {
            assert!(
                packages.contains_key(*name),
                "the table names `{name}`, which is gone"
            );
        }
    }
}

#[test]
fn pure_libraries_depend_on_no_crate_that_does_io() {
    let packages = packages();
    for name in PURE {
        let dependencies = normal_dependencies(&packages[*name]);
        for impure in IMPURE_CRATES {
            assert!(
                !dependencies.contains(*impure),
                "pure library `{name}` depends on `{impure}`"
            );
        }
    }
}

#[test]
fn pure_libraries_carry_the_purity_lints() {
    for name in PURE {
        let lints = fs::read_to_string(root().join("crates").join(name).join("clippy.toml"))
            .unwrap_or_else(|error| panic!("`{name}` has no clippy.toml: {error}"));
        for wanted in [
            "std::net::UdpSocket",
            "std::fs::File",
            "std::time::Instant",
            "SystemTime",
        ] {
            assert!(
                lints.contains(wanted),
                "`{name}`'s clippy.toml does not forbid {wanted}"
            );
        }
    }
}

#[test]
fn unsafe_code_lives_in_the_named_modules_only() {
    for file in rust_files(&root()) {
        let relative = file.strip_prefix(root()).expect("below the root");
        let relative = relative.to_string_lossy().replace('\\', "/");
        // Test files may hold a counting allocator; this file names the word.
        if UNSAFE_MODULES.contains(&relative.as_str()) || relative.contains("tests/") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("source is readable");
        let line = text.lines().position(|line| {
            let code = line.split("//").next().unwrap_or("");
            ["unsafe {", "unsafe fn", "unsafe impl"]
                .iter()
                .any(|word| code.contains(word))
        });
        if let Some(line) = line {
            panic!(
                "{relative}:{}: `unsafe` outside {UNSAFE_MODULES:?}",
                line + 1
            );
        }
    }
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let text = fs::read_to_string(root().join("Cargo.toml")).expect("root manifest");
    let table = text
        .split("[workspace.dependencies]")
        .nth(1)
        .expect("dependency table");
    let table = table.split("\n[").next().expect("its end");
    // Our own crates stand in one block under one comment, so do the test-only crates.
    for line in table
        .lines()
        .filter(|line| line.contains('=') && !line.contains("path ="))
    {
        assert!(line.contains(" # "), "no reason given: {line}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is below the root")
        .to_path_buf()
}

/// Name → manifest of every package of ours.
fn packages() -> BTreeMap<String, toml::Table> {
    let mut packages = BTreeMap::new();
    for manifest in manifests(&root()) {
        let text = fs::read_to_string(&manifest).expect("manifest is readable");
        let table: toml::Table = text.parse().expect("manifest is TOML");
        if let Some(package) = table.get("package").and_then(|package| package.as_table()) {
            let name = package["name"].as_str().expect("package name").to_owned();
            packages.insert(name, table);
        }
    }
    packages
}

/// All dependencies of a manifest, those of tests included.
fn dependencies(manifest: &toml::Table) -> BTreeSet<&str> {
    let mut found = normal_dependencies(manifest);
    found.extend(section(manifest, "dev-dependencies"));
    found
}

fn normal_dependencies(manifest: &toml::Table) -> BTreeSet<&str> {
    let mut found = section(manifest, "dependencies");
    found.extend(section(manifest, "build-dependencies"));
    found
}

fn section<'a>(manifest: &'a toml::Table, name: &str) -> BTreeSet<&'a str> {
    let table = manifest.get(name).and_then(|section| section.as_table());
    table
        .map(|table| table.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

fn manifests(folder: &Path) -> Vec<PathBuf> {
    walk(folder, &|path| {
        path.file_name().is_some_and(|name| name == "Cargo.toml")
    })
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    walk(folder, &|path| {
        path.extension().is_some_and(|extension| extension == "rs")
    })
}

fn walk(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("folder is readable") {
        let path = entry.expect("entry is readable").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                found.extend(walk(&path, wanted));
            }
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
    found
}
