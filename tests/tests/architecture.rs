//! The arrows between the crates, and other absences.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};

/// What each crate may use of the others.
const ARROWS: &[(&str, &[&str])] = &[
    ("hatchery-control", &[]),
    ("hatchery-cli", &["hatchery-control"]),
    ("hatchery-core", &[]),
    ("hatchery-sys", &[]),
    ("hatchery-net", &["hatchery-core", "hatchery-sys"]),
    ("hatchery-master", &["hatchery-control", "hatchery-core", "hatchery-sys", "hatchery-net"]),
    ("hatchery-worker", &["hatchery-core", "hatchery-sys", "hatchery-net"]),
    ("hatchery-http", &["hatchery-core", "hatchery-sys", "hatchery-net", "hatchery-worker"]),
    (
        "hatchery",
        &[
            "hatchery-control",
            "hatchery-core",
            "hatchery-sys",
            "hatchery-net",
            "hatchery-master",
            "hatchery-worker",
            "hatchery-http",
        ],
    ),
];

fn metadata() -> Metadata {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    MetadataCommand::new().manifest_path(manifest).exec().expect("cargo metadata")
}

fn package<'a>(metadata: &'a Metadata, name: &str) -> &'a Package {
    let found = metadata.workspace_packages().into_iter().find(|package| package.name.as_str() == name);
    found.unwrap_or_else(|| panic!("there is no crate {name}"))
}

/// Everything that a package needs to be built, itself included.
fn reached(metadata: &Metadata, from: &Package) -> BTreeSet<String> {
    let graph = metadata.resolve.as_ref().expect("a resolved graph");
    let nodes: BTreeMap<&PackageId, _> = graph.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut reached = BTreeSet::new();
    let mut next = vec![&from.id];
    while let Some(id) = next.pop() {
        if reached.insert(id) {
            let normal = nodes[id]
                .deps
                .iter()
                .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
            next.extend(normal.map(|dep| &dep.pkg));
        }
    }
    reached.into_iter().map(|id| metadata[id].name.to_string()).collect()
}

#[test]
fn every_crate_uses_only_what_lies_below_it() {
    let metadata = metadata();
    for (name, allowed) in ARROWS {
        for dependency in &package(&metadata, name).dependencies {
            let other = dependency.name.as_str();
            let is_ours = other == "hatchery" || other.starts_with("hatchery-");
            let is_for_tests = dependency.kind == DependencyKind::Development;
            assert!(!is_ours || is_for_tests || allowed.contains(&other), "{name} must not use {other}");
        }
    }
}

#[test]
fn every_crate_stands_in_the_table() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        let is_library = package.manifest_path.as_str().contains("/crates/");
        let stands = ARROWS.iter().any(|(name, _)| package.name.as_str() == *name);
        assert_eq!(is_library, stands, "{}", package.name);
    }
}

#[test]
fn nothing_that_the_master_reaches_depends_on_tokio() {
    let metadata = metadata();
    let reached = reached(&metadata, package(&metadata, "hatchery-master"));
    assert!(reached.contains("nix"), "the graph is there: {reached:?}");
    let asynchronous: Vec<_> = reached.iter().filter(|name| name.contains("tokio") || name.as_str() == "mio").collect();
    assert!(asynchronous.is_empty(), "{asynchronous:?}");
}

#[test]
fn the_core_depends_on_nothing() {
    let metadata = metadata();
    let reached = reached(&metadata, package(&metadata, "hatchery-core"));
    assert_eq!(reached, BTreeSet::from(["hatchery-core".to_owned()]));
}

#[test]
fn only_sys_may_be_unsafe() {
    let metadata = metadata();
    for (name, _) in ARROWS {
        let package = package(&metadata, name);
        let roots = package.targets.iter().filter(|target| target.is_lib()).map(|target| &target.src_path);
        for root in roots {
            let source = fs::read_to_string(root).expect("a crate root");
            let forbids = source.contains("#![forbid(unsafe_code)]");
            assert_eq!(forbids, *name != "hatchery-sys", "{name}");
        }
    }
}

#[test]
fn every_unsafe_block_says_why_it_is_safe() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/hatchery-sys/src");
    let mut files = vec![sources];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
            continue;
        }
        let source = fs::read_to_string(&path).expect("a source file");
        let blocks = source.matches("unsafe {").count();
        let reasons = source.matches("// SAFETY:").count();
        assert!(reasons >= blocks, "{}: {blocks} blocks, {reasons} reasons", path.display());
    }
}
