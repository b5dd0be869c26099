//! `cargo xtask images`: the stock images, built from Debian packages.
//!
//! ```text
//! recipe ─ packages (apt) ─ unpack (deb) ─ prune, fixups, bytecode ─ tree
//!        ─ minus the base's tree ─ eStargz layer ─ manifest, index ─ static registry
//! ```
//!
//! The result is `target/images/v2`, a registry as plain files (`oci::static_path` has the
//! layout), with `sources.json` beside it: the Debian packages in every image and the source
//! packages they come from. The same packages give the same bytes: `--check` builds again from
//! nothing and compares. Beside the images lies the repository that `apt` in them installs from (`packages`).

pub mod apt;
mod deb;
mod elf;
mod estargz;
mod extra_fixups;
mod extras;
mod fixups;
mod golang;
mod hello;
mod npm;
mod packages;
mod php;
mod pyc;
mod pypi;
mod recipe;
mod registry;
mod remote;
mod samples;
mod seed;
mod server_fixups;
mod servers;
mod sizes;
mod tree;
mod zip;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, bail};
use oci::{CatalogImage, Descriptor, Digest, History, ImageConfig, Manifest, MediaType, RootFs};
use serde::{Deserialize, Serialize};

use apt::{Apt, PackageFile};
use deb::Package;
use recipe::{BUILT_FROM, Recipe};
use registry::Registry;
use sizes::{Line, megabytes, print_sizes};
use tree::{EPOCH_TEXT, Tree};

const USAGE: &str = "\
usage: cargo xtask images [options]
  --update            fetch new package lists first
  --only NAME         build this repository (and its bases) only; may be repeated
  --all               build the large images too; once built, they are kept up to date
  --check             build everything a second time from the same packages, compare digests
  --sizes             print the sizes of what is built
  --unpack NAME DIR   write the root file system of a built image to DIR
  --out DIR           build below DIR instead of target/images
";

/// Every source text a layer's bytes depend on: when one changes, layers are built anew.
const SOURCES: &[&str] = &[
    include_str!("mod.rs"),
    include_str!("deb.rs"),
    include_str!("estargz.rs"),
    include_str!("../estargz.rs"),
    include_str!("fixups.rs"),
    include_str!("hello.rs"),
    include_str!("pyc.rs"),
    include_str!("recipe.rs"),
    include_str!("tree.rs"),
    include_str!("zip.rs"),
    include_str!("files/apt-conf"),
    include_str!("files/apt-sources"),
    include_str!("files/dpkg-cfg"),
    include_str!("files/node-bash.bashrc"),
    include_str!("files/node-bashrc"),
    include_str!("files/node-first-pages"),
    include_str!("files/node-motd"),
    include_str!("files/node-profile"),
    include_str!("files/node-vimrc"),
    include_str!("files/pip.conf"),
    include_str!("files/standin-package-manager"),
];

/// What the servers' layers depend on besides.
const SERVER_SOURCES: &[&str] = &[
    include_str!("seed.rs"),
    include_str!("server_fixups.rs"),
    include_str!("servers.rs"),
];

/// The image that machines run.
const NODE: &str = "drydock/node";

/// Runs the command.
pub fn run(args: &[String]) -> anyhow::Result<()> {
    let mut options = Options {
        out: default_out(),
        ..Options::default()
    };
    let mut args = args.iter();
    let mut action = Action::Build;
    while let Some(arg) = args.next() {
        let mut value = || {
            args.next()
                .cloned()
                .with_context(|| format!("{arg} needs a value"))
        };
        match arg.as_str() {
            "--update" => options.update = true,
            "--all" => options.all = true,
            "--only" => options.only.push(value()?),
            "--out" => options.out = PathBuf::from(value()?),
            "--check" => action = Action::Check,
            "--sizes" => action = Action::Sizes,
            "--unpack" => action = Action::Unpack(value()?, PathBuf::from(value()?)),
            "-h" | "--help" => {
                print!("{USAGE}");
                return Ok(());
            }
            _ => bail!("unknown option {arg:?}\n{USAGE}"),
        }
    }
    match action {
        Action::Build => build(&options),
        Action::Check => check(&options),
        Action::Sizes => {
            let path = options.out.join("report.json");
            let text = std::fs::read_to_string(&path).with_context(|| {
                format!("no {}; run `cargo xtask images` first", path.display())
            })?;
            print_sizes(&serde_json::from_str::<Vec<Line>>(&text)?);
            Ok(())
        }
        Action::Unpack(name, dir) => {
            let tree = registry::read_image(&options.out, &name)?;
            if dir
                .read_dir()
                .is_ok_and(|mut entries| entries.next().is_some())
            {
                bail!("{} is not empty", dir.display());
            }
            tree.unpack(&dir)?;
            println!("{name} unpacked to {}", dir.display());
            Ok(())
        }
    }
}

/// Builds those of these images that are missing. One that is there is used as it is, even if its recipe has
/// changed since: for measurements, which are not about images.
pub fn ensure(names: &[&str]) -> anyhow::Result<()> {
    let made = registry::repositories(&default_out());
    let missing: Vec<String> = names
        .iter()
        .filter(|name| !made.contains(**name))
        .flat_map(|name| ["--only".to_owned(), (*name).to_owned()])
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    run(&missing)
}

/// An image as a tree on the disk, below `target/images/trees`: made when it is missing or when the
/// image has changed since. For tests and benchmarks that need a program of it.
pub fn tree(name: &str) -> anyhow::Result<PathBuf> {
    let out = default_out();
    let dir = out.join("trees").join(name);
    let stamp = out.join("trees").join(format!("{name}.stamp"));
    let tree = registry::read_image(&out, name)?;
    let index = std::fs::read(out.join("report.json")).unwrap_or_default();
    if dir.is_dir() && std::fs::read(&stamp).is_ok_and(|known| known == index) {
        return Ok(dir);
    }
    if dir.exists() {
        std::fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    std::fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    tree.unpack(&dir)?;
    std::fs::write(&stamp, index).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(dir)
}

enum Action {
    Build,
    Check,
    Sizes,
    Unpack(String, PathBuf),
}

#[derive(Clone, Debug, Default)]
struct Options {
    out: PathBuf,
    update: bool,
    all: bool,
    only: Vec<String>,
}

/// `target/images` of the checkout, wherever cargo builds to: other commands look for it there.
pub fn default_out() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/images")
}

/// What apt resolved for every recipe, kept so that a second run asks nobody.
#[derive(Default, Serialize, Deserialize)]
struct Resolved {
    key: String,
    recipes: BTreeMap<String, Vec<(String, u64, String)>>,
}

/// A built layer without its bytes.
#[derive(Clone, Serialize, Deserialize)]
struct LayerRecord {
    descriptor: Descriptor,
    diff_id: Digest,
    raw_size: u64,
    prefetch_size: u64,
    entries: usize,
    packages: Vec<PackageRecord>,
}

/// Where a package's source is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct PackageRecord {
    package: String,
    version: String,
    architecture: String,
    source: String,
    source_version: String,
}

fn sources_digest(sources: &[&str]) -> Digest {
    let mut hasher = oci::Hasher::new();
    for source in sources {
        hasher.update(source.as_bytes());
        hasher.update(&[0]);
    }
    hasher.finish()
}

fn build(options: &Options) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut builder = Builder::new(options, &options.out, true)?;
    builder.build_all()?;
    let lines = builder.finish()?;
    packages::publish(&builder, options)?;
    if builder.built > 0 {
        print_sizes(&lines);
    }
    let seconds = start.elapsed().as_secs();
    match builder.built {
        0 => println!("images: up to date"),
        built => println!("images: {built} layers built in {seconds} s"),
    }
    Ok(())
}

fn check(options: &Options) -> anyhow::Result<()> {
    build(options)?;
    let second = options.out.join("check");
    let _ = std::fs::remove_dir_all(&second);
    println!("images: building a second time from the same packages");
    let mut tags = Vec::new();
    for (out, cached) in [(&options.out, true), (&second, false)] {
        let mut builder = Builder::new(options, out, cached)?;
        builder.build_all()?;
        builder.finish()?;
        tags.push(builder.registry.tags());
    }
    let differing: Vec<String> = tags[0]
        .iter()
        .filter(|(name, digest)| tags[1].get(*name) != Some(digest))
        .map(|(name, digest)| format!("{name}: {digest} and {:?}", tags[1].get(name)))
        .collect();
    if !differing.is_empty() || tags[0].len() != tags[1].len() {
        bail!(
            "a second build gave other digests:\n  {}",
            differing.join("\n  ")
        );
    }
    std::fs::remove_dir_all(&second)?;
    println!(
        "images: {} tags have the same digests in a second build",
        tags[0].len()
    );
    Ok(())
}

struct Builder {
    recipes: Vec<Recipe>,
    wanted: Vec<usize>,
    /// Whether recipes were named: what else is there stays as it is.
    partial: bool,
    /// Package files per recipe, the base's included.
    closures: Vec<Vec<PackageFile>>,
    apt_root: PathBuf,
    apt: Option<Apt>,
    out: PathBuf,
    use_cache: bool,
    sources: Digest,
    packages: BTreeMap<String, Package>,
    /// Whole root file systems, made only when a layer on top has to be built.
    trees: BTreeMap<usize, Tree>,
    layers: BTreeMap<usize, LayerRecord>,
    keys: BTreeMap<usize, Digest>,
    registry: Registry,
    built: usize,
}

impl Builder {
    fn new(options: &Options, out: &Path, use_cache: bool) -> anyhow::Result<Builder> {
        std::fs::create_dir_all(out.join("cache"))?;
        let recipes = recipe::all();
        let made = registry::repositories(&options.out);
        let extra = |recipe: &Recipe| options.all || made.contains(recipe.repository);
        let wanted = wanted(&recipes, &options.only, extra)?;
        let mut builder = Builder {
            wanted,
            partial: !options.only.is_empty(),
            closures: Vec::new(),
            apt_root: default_out().join("apt"),
            apt: None,
            out: out.to_path_buf(),
            use_cache,
            sources: sources_digest(SOURCES),
            packages: BTreeMap::new(),
            trees: BTreeMap::new(),
            layers: BTreeMap::new(),
            keys: BTreeMap::new(),
            registry: Registry::new(out),
            built: 0,
            recipes,
        };
        builder.resolve(options.update)?;
        Ok(builder)
    }

    /// All packages named by a recipe and its bases.
    fn package_names(&self, index: usize) -> anyhow::Result<Vec<&'static str>> {
        let recipe = &self.recipes[index];
        let mut names = match recipe::base_index(&self.recipes, recipe)? {
            Some(base) => self.package_names(base)?,
            None => Vec::new(),
        };
        names.extend(&recipe.packages);
        Ok(names)
    }

    fn resolve(&mut self, update: bool) -> anyhow::Result<()> {
        let names: Vec<Vec<&str>> = (0..self.recipes.len())
            .map(|index| self.package_names(index))
            .collect::<anyhow::Result<_>>()?;
        let key = Digest::of(format!("{names:?}").as_bytes()).to_string();
        // Beside the packages, not the output: a check resolves to what the first build used.
        let path = self.apt_root.join("resolved.json");
        let kept: Resolved = std::fs::read(&path)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .filter(|resolved: &Resolved| resolved.key == key && !update)
            .unwrap_or_default();
        let mut resolved = Resolved {
            key,
            recipes: kept.recipes,
        };
        for (index, names) in names.iter().enumerate() {
            if !self.wanted.contains(&index) {
                self.closures.push(Vec::new());
                continue;
            }
            let id = names.join(" ");
            let known = resolved.recipes.get(&id).map(|files| {
                files
                    .iter()
                    .map(|(file, size, hash)| PackageFile {
                        file: file.clone(),
                        size: *size,
                        hash: hash.clone(),
                    })
                    .collect::<Vec<_>>()
            });
            let files = match known {
                Some(files) => files,
                None if names.is_empty() => Vec::new(),
                None => self.apt(update)?.closure(names)?,
            };
            let plain = files
                .iter()
                .map(|f| (f.file.clone(), f.size, f.hash.clone()))
                .collect();
            resolved.recipes.insert(id, plain);
            self.closures.push(files);
        }
        registry::write_if_changed(&path, &serde_json::to_vec_pretty(&resolved)?)
    }

    fn apt(&mut self, update: bool) -> anyhow::Result<&Apt> {
        if self.apt.is_none() {
            self.apt = Some(Apt::open(&self.apt_root, update)?);
        }
        self.apt.as_ref().context("no apt root")
    }

    /// Identifies what a layer's bytes depend on.
    fn key(&mut self, index: usize) -> anyhow::Result<Digest> {
        if let Some(key) = self.keys.get(&index) {
            return Ok(*key);
        }
        let base = match recipe::base_index(&self.recipes, &self.recipes[index])? {
            Some(base) => self.key(base)?.to_string(),
            None => String::new(),
        };
        let recipe = &self.recipes[index];
        let name = format!("{}:{}", recipe.repository, recipe.variant);
        let mut text = format!("{} {base} {name} {:?}", self.sources, self.closures[index]);
        if recipe.server {
            text.push_str(&sources_digest(SERVER_SOURCES).to_string());
            text.push_str(&sources_digest(servers::FILES).to_string());
        }
        if recipe.extra {
            text.push_str(&sources_digest(extras::FILES).to_string());
        }
        if recipe.npm {
            text.push_str(&npm::itself()?.to_string());
        }
        if recipe.repository == NODE {
            let samples = samples::FILES
                .iter()
                .flat_map(|(path, text)| [*path, *text]);
            text.push_str(&sources_digest(&samples.collect::<Vec<_>>()).to_string());
        }
        let key = Digest::of(text.as_bytes());
        self.keys.insert(index, key);
        Ok(key)
    }

    fn build_all(&mut self) -> anyhow::Result<()> {
        for index in self.wanted.clone() {
            let recipe = &self.recipes[index];
            let name = format!("{}:{}", recipe.repository, recipe.variant);
            if recipe.has_layer() {
                self.layer(index)
                    .with_context(|| format!("building {name}"))?;
            }
        }
        Ok(())
    }

    fn layer(&mut self, index: usize) -> anyhow::Result<LayerRecord> {
        if let Some(layer) = self.layers.get(&index) {
            return Ok(layer.clone());
        }
        let key = self.key(index)?.hex();
        let cache = self.out.join(format!("cache/{key}.json"));
        let cached = std::fs::read(&cache)
            .ok()
            .filter(|_| self.use_cache)
            .and_then(|bytes| serde_json::from_slice::<LayerRecord>(&bytes).ok())
            .filter(|record| self.registry.has(&record.descriptor));
        let record = match cached {
            Some(record) => record,
            None => {
                let record = self.build_layer(index)?;
                registry::write_if_changed(&cache, &serde_json::to_vec(&record)?)?;
                record
            }
        };
        self.registry.keep(record.descriptor.digest);
        self.layers.insert(index, record.clone());
        Ok(record)
    }

    fn build_layer(&mut self, index: usize) -> anyhow::Result<LayerRecord> {
        let start = Instant::now();
        let base = recipe::base_index(&self.recipes, &self.recipes[index])?;
        self.ensure_tree(index)?;
        let nothing = Tree::new();
        let lower = base
            .and_then(|base| self.trees.get(&base))
            .unwrap_or(&nothing);
        let tree = self.trees.get(&index).context("the tree was not made")?;
        let recipe = &self.recipes[index];
        let layer = estargz::write(&tree.layer_over(lower), &(recipe.prefetch)(tree))?;
        println!(
            "  {:<26} {:>6} files {:>7} compressed  {:>5.1} s",
            format!("{}:{}", recipe.repository, recipe.variant),
            layer.entries,
            megabytes(layer.descriptor.size),
            start.elapsed().as_secs_f32()
        );
        self.registry.put(&layer.blob)?;
        self.built += 1;
        let below: BTreeSet<&PackageFile> = base
            .map(|base| self.closures[base].iter().collect())
            .unwrap_or_default();
        let mut packages: Vec<PackageRecord> = self.closures[index]
            .iter()
            .filter(|file| !below.contains(file))
            .filter_map(|file| self.packages.get(&file.file))
            .filter(|package| !recipe.leaves_out(&package.name))
            .map(|package| PackageRecord {
                package: package.name.clone(),
                version: package.version.clone(),
                architecture: package.architecture.clone(),
                source: package.source.0.clone(),
                source_version: package.source.1.clone(),
            })
            .collect();
        packages.sort();
        Ok(LayerRecord {
            descriptor: layer.descriptor,
            diff_id: layer.diff_id,
            raw_size: layer.raw_size,
            prefetch_size: layer.prefetch_size,
            entries: layer.entries,
            packages,
        })
    }

    /// Whether a package of the closure is not in the image: the recipe that brought it says so.
    fn leaves_out(
        &self,
        index: usize,
        package: &Package,
        file: &PackageFile,
    ) -> anyhow::Result<bool> {
        let recipe = &self.recipes[index];
        match recipe::base_index(&self.recipes, recipe)? {
            Some(base) if self.closures[base].contains(file) => {
                self.leaves_out(base, package, file)
            }
            _ => Ok(recipe.leaves_out(&package.name)),
        }
    }

    /// Makes the whole root file system of a recipe, its base's first.
    fn ensure_tree(&mut self, index: usize) -> anyhow::Result<()> {
        if self.trees.contains_key(&index) {
            return Ok(());
        }
        let base = recipe::base_index(&self.recipes, &self.recipes[index])?;
        let mut tree = Tree::new();
        let mut below = BTreeSet::new();
        if let Some(base) = base {
            self.ensure_tree(base)?;
            tree = self.trees.get(&base).cloned().unwrap_or_default();
            below = self.closures[base].iter().cloned().collect();
        }
        self.read_packages(index)?;
        let recipe = self.recipes[index].clone();
        if recipe.merged_usr && base.is_none() {
            fixups::merged_usr(&mut tree);
        }
        let used = |package: &&Package| !recipe.leaves_out(&package.name);
        for file in self.closures[index]
            .iter()
            .filter(|file| !below.contains(file))
        {
            let package = self
                .packages
                .get(&file.file)
                .context("a package was not read")?;
            if used(&package) {
                let mut files = package.files.clone();
                fixups::prune(&mut files);
                tree.merge(&files);
            }
        }
        if recipe.npm {
            // Beside the packages, not the output, as those are.
            npm::install(&mut tree, &default_out())?;
        }
        (recipe.fixup)(&mut tree)?;
        if let Some(identity) = &recipe.identity {
            identity.apply(&mut tree)?;
        }
        if recipe.python_bytecode {
            println!(
                "  {}: compiling the library under qemu-user",
                recipe.repository
            );
            pyc::compile(&mut tree, &self.out.join("scratch"))?;
        }
        if let Some(seed) = &recipe.seed {
            println!(
                "  {}: making /{} in a machine",
                recipe.repository, seed.path
            );
            self.publish_node()?;
            seed::grow(&mut tree, seed, &self.out, &self.out.join("scratch"))?;
        }
        if recipe.dpkg_records && !recipe.packages.is_empty() {
            let (mut packages, mut left_out) = (Vec::new(), BTreeSet::new());
            for file in &self.closures[index] {
                let package = self.packages.get(&file.file);
                let package = package.context("a package was not read")?;
                if self.leaves_out(index, package, file)? {
                    left_out.insert(package.name.as_str());
                } else {
                    packages.push(package);
                }
            }
            deb::write_dpkg_records(&mut tree, &packages, &left_out);
        }
        if recipe.repository == NODE {
            fixups::node_records(&mut tree);
        }
        tree.clamp_times(tree::EPOCH);
        if recipe.go_cache {
            println!(
                "  {}: compiling the library under qemu-user",
                recipe.repository
            );
            golang::compile_library(&mut tree, &self.out.join("scratch"))?;
        }
        let unmet = elf::unmet(&tree);
        if !unmet.is_empty() {
            bail!(
                "programs of the image lack what they load:\n  {}",
                unmet.join("\n  ")
            );
        }
        self.trees.insert(index, tree);
        Ok(())
    }

    /// Whether a repository is among those to build.
    fn wants(&self, repository: &str) -> bool {
        let mut wanted = self.wanted.iter();
        wanted.any(|index| self.recipes[*index].repository == repository)
    }

    /// Downloads and reads what is not in memory yet, several packages at a time.
    fn read_packages(&mut self, index: usize) -> anyhow::Result<()> {
        let missing: Vec<PackageFile> = self.closures[index]
            .iter()
            .filter(|file| !self.packages.contains_key(&file.file))
            .cloned()
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names = self.package_names(index)?;
        let apt = self.apt(false)?;
        let have = |file: &PackageFile| {
            std::fs::metadata(apt.path(file)).is_ok_and(|metadata| metadata.len() == file.size)
        };
        let to_fetch: u64 = missing
            .iter()
            .filter(|file| !have(file))
            .map(|file| file.size)
            .sum();
        if to_fetch > 0 {
            println!("  apt: downloading {} of packages", megabytes(to_fetch));
            apt.download(&names)?;
            if let Some(file) = missing.iter().find(|file| !have(file)) {
                bail!(
                    "{} is no longer on the mirror; run again with --update",
                    file.file
                );
            }
        }
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
                scope.spawn(|| {
                    while let Some(file) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let package = Package::read(&apt.path(file));
                        let mut done = done.lock().unwrap_or_else(|poison| poison.into_inner());
                        done.push((file.file.clone(), package));
                    }
                });
            }
        });
        for (file, package) in done
            .into_inner()
            .unwrap_or_else(|poison| poison.into_inner())
        {
            self.packages.insert(file, package?);
        }
        Ok(())
    }

    /// Writes manifests, tags, the catalogue and the list of sources.
    fn finish(&mut self) -> anyhow::Result<Vec<Line>> {
        let mut lines = Vec::new();
        let mut catalog: BTreeMap<&str, CatalogImage> = BTreeMap::new();
        let mut sources: BTreeMap<String, Vec<PackageRecord>> = BTreeMap::new();
        for index in self.wanted.clone() {
            let recipe = self.recipes[index].clone();
            let layers = self.layer_chain(index)?;
            self.publish(index)?;
            let name = recipe.repository.trim_start_matches("library/");
            let compressed = layers.iter().map(|(_, layer)| layer.descriptor.size).sum();
            let entry = catalog
                .entry(recipe.repository)
                .or_insert_with(|| CatalogImage {
                    name: name.to_string(),
                    description: recipe.description.clone(),
                    stands_in_for: recipe
                        .identity
                        .as_ref()
                        .map(|_| format!("docker.io/{}", recipe.repository)),
                    tags: Vec::new(),
                    size: compressed,
                });
            entry
                .tags
                .extend(recipe.tags.iter().chain(&recipe.stand_in_tags).cloned());
            entry.tags.sort();
            let own = layers.iter().find(|(of, _)| *of == index);
            let own = own.map_or(0, |(_, layer)| layer.descriptor.size);
            lines.push(Line {
                image: format!("{name}:{}", recipe.variant),
                layers: layers.len(),
                entries: layers.iter().map(|(_, layer)| layer.entries).sum(),
                raw: layers.iter().map(|(_, layer)| layer.raw_size).sum(),
                prefetch: layers.iter().map(|(_, layer)| layer.prefetch_size).sum(),
                tags: recipe.tags.len() + recipe.stand_in_tags.len(),
                compressed,
                own,
            });
            let list = sources.entry(recipe.repository.to_string()).or_default();
            list.extend(
                layers
                    .iter()
                    .flat_map(|(_, layer)| layer.packages.iter().cloned()),
            );
            list.sort();
            list.dedup();
        }
        let partial = self.partial;
        self.registry
            .finish(catalog.into_values().collect(), partial)?;
        if partial {
            return Ok(lines);
        }
        self.forget_old_layers()?;
        let sources = serde_json::json!({
            "comment": "Debian packages in each image, and the Debian source packages they were \
                        built from. Sources are in Debian's archive and, for every version ever \
                        published, in its snapshot archive.",
            "distribution": BUILT_FROM,
            "images": sources,
        });
        let sources = serde_json::to_vec_pretty(&sources)?;
        registry::write_if_changed(&self.out.join("v2/sources.json"), &sources)?;
        let report = serde_json::to_vec_pretty(&lines)?;
        registry::write_if_changed(&self.out.join("report.json"), &report)?;
        Ok(lines)
    }

    /// Removes records of layers that no recipe makes any more.
    fn forget_old_layers(&self) -> anyhow::Result<()> {
        let current: BTreeSet<String> = self.keys.values().map(|key| key.hex()).collect();
        for entry in std::fs::read_dir(self.out.join("cache"))? {
            let path = entry?.path();
            let stem = path
                .file_stem()
                .map(|stem| stem.to_string_lossy().into_owned());
            if !stem.is_some_and(|stem| current.contains(&stem)) {
                std::fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// The machine that makes an image's files boots from the node's image.
    fn publish_node(&mut self) -> anyhow::Result<()> {
        let node = |recipe: &Recipe| recipe.repository == NODE;
        let node = self.recipes.iter().position(node);
        self.publish(node.context("no recipe for the node")?)
    }

    /// Writes an image's manifests and tags.
    fn publish(&mut self, index: usize) -> anyhow::Result<()> {
        let recipe = self.recipes[index].clone();
        let layers = self.layer_chain(index)?;
        let tagged = recipe.tags.iter().map(|tag| (tag, false));
        let stand_ins = recipe.stand_in_tags.iter().map(|tag| (tag, true));
        for (tag, stand_in) in tagged.chain(stand_ins) {
            let stands_in_for = stand_in.then(|| format!("docker.io/{}:{tag}", recipe.repository));
            let config = image_config(&recipe, &layers, stands_in_for);
            let config = self.registry.put_json(MediaType::CONFIG, &config)?;
            let descriptors = layers.iter().map(|(_, l)| l.descriptor.clone()).collect();
            let manifest = Manifest::new(config, descriptors);
            self.registry.tag(recipe.repository, tag, &manifest)?;
        }
        Ok(())
    }

    /// The layers of an image, base first, with the recipe each comes from.
    fn layer_chain(&mut self, index: usize) -> anyhow::Result<Vec<(usize, LayerRecord)>> {
        let mut layers = match recipe::base_index(&self.recipes, &self.recipes[index])? {
            Some(base) => self.layer_chain(base)?,
            None => Vec::new(),
        };
        // The index says which recipe a layer comes from; its history entry names the step.
        if self.recipes[index].has_layer() {
            layers.push((index, self.layer(index)?));
        }
        Ok(layers)
    }
}

fn image_config(
    recipe: &Recipe,
    layers: &[(usize, LayerRecord)],
    stands_in_for: Option<String>,
) -> ImageConfig {
    let recipes = recipe::all();
    let mut config = recipe.config.clone();
    let mut description = recipe.description.clone();
    if let (Some(name), None) = (&stands_in_for, &recipe.identity) {
        description = format!("Stand-in for {name}. {description}");
    }
    let mut label = |key: &str, value: String| config.labels.insert(key.to_string(), value);
    label("org.opencontainers.image.description", description);
    label("dev.drydock.built-from", BUILT_FROM.to_string());
    if let Some(name) = stands_in_for {
        label("dev.drydock.stands-in-for", name);
    }
    let step = |created_by: String, empty_layer: bool| History {
        created: Some(EPOCH_TEXT.to_string()),
        created_by: Some(created_by),
        empty_layer,
        ..History::default()
    };
    let mut history: Vec<History> = layers
        .iter()
        .map(|(index, _)| step(recipes[*index].created_by.clone(), false))
        .collect();
    let command = serde_json::to_string(&config.cmd).unwrap_or_default();
    history.push(step(format!("CMD {command}"), true));
    ImageConfig {
        created: Some(EPOCH_TEXT.to_string()),
        author: Some("Drydock".to_string()),
        architecture: "riscv64".to_string(),
        os: "linux".to_string(),
        config,
        rootfs: RootFs {
            diff_ids: layers.iter().map(|(_, layer)| layer.diff_id).collect(),
            ..RootFs::default()
        },
        history,
        ..ImageConfig::default()
    }
}

/// The recipes to build: the named ones with their bases; or all, of the extra ones those that
/// `extra` picks.
fn wanted(
    recipes: &[Recipe],
    only: &[String],
    extra: impl Fn(&Recipe) -> bool,
) -> anyhow::Result<Vec<usize>> {
    // The machine that makes an image's files boots from the node's image.
    let node = recipes.iter().position(|r| r.repository == NODE);
    let mut wanted = BTreeSet::new();
    let mut want = |index: usize| -> anyhow::Result<()> {
        let mut next = Some(index);
        while let Some(index) = next {
            wanted.insert(index);
            wanted.extend(node.filter(|_| recipes[index].seed.is_some()));
            next = recipe::base_index(recipes, &recipes[index])?;
        }
        Ok(())
    };
    for name in only {
        let found: Vec<usize> = (0..recipes.len())
            .filter(|&i| {
                let repository = recipes[i].repository;
                repository == name || repository.rsplit('/').next() == Some(name)
            })
            .collect();
        if found.is_empty() {
            bail!("no recipe for {name}");
        }
        for index in found {
            want(index)?;
        }
    }
    if only.is_empty() {
        for (index, recipe) in recipes.iter().enumerate() {
            if !recipe.extra || extra(recipe) {
                want(index)?;
            }
        }
    }
    Ok(wanted.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds one recipe's layer twice and compares; without the package, a tree of its shape.
    fn twice(repository: &str, make: impl Fn() -> Tree) {
        let recipe = recipe::all()
            .into_iter()
            .find(|r| r.repository == repository)
            .unwrap();
        let layer = || {
            let mut tree = make();
            (recipe.fixup)(&mut tree).unwrap();
            tree.clamp_times(tree::EPOCH);
            assert_eq!(elf::unmet(&tree), Vec::<String>::new());
            estargz::write(&tree, &[]).unwrap()
        };
        let (first, second) = (layer(), layer());
        assert_eq!(first.descriptor, second.descriptor);
        assert_eq!(first.diff_id, second.diff_id);
    }

    #[test]
    fn hello_world_is_deterministic() {
        twice("library/hello-world", Tree::new);
    }

    #[test]
    fn busybox_is_deterministic() {
        let archives = default_out().join("apt/cache/archives");
        let package = std::fs::read_dir(archives).ok().and_then(|entries| {
            entries
                .filter_map(Result::ok)
                .map(|entry| entry.path())
                .find(|path| path.to_string_lossy().contains("/busybox-static_"))
        });
        twice("library/busybox", || match &package {
            Some(path) => Package::read(path).unwrap().files,
            None => {
                // Before the first download: a program with the table the applets are read from.
                let mut tree = Tree::new();
                let program = "x\0[\0[[\0ash\0cat\0ls\0sh\0wget\0zcat\0\0";
                tree.file("usr/bin/busybox", 0o755, program);
                tree
            }
        });
    }

    #[test]
    fn a_built_image_reads_back() {
        let root = std::env::temp_dir().join(format!("xtask-images-{}", std::process::id()));
        let mut lower = Tree::new();
        lower.dir("etc", 0o755);
        lower.file("etc/gone", 0o644, "x");
        let mut upper = lower.clone();
        upper.remove("etc/gone");
        upper.file("etc/here", 0o600, "y");
        let mut registry = Registry::new(&root);
        let mut descriptors = Vec::new();
        for tree in [lower.layer_over(&Tree::new()), upper.layer_over(&lower)] {
            let layer = estargz::write(&tree, &[]).unwrap();
            registry.put(&layer.blob).unwrap();
            descriptors.push(layer.descriptor);
        }
        let config = registry
            .put_json(MediaType::CONFIG, &ImageConfig::default())
            .unwrap();
        registry
            .tag("library/x", "1", &Manifest::new(config, descriptors))
            .unwrap();
        registry.finish(Vec::new(), false).unwrap();
        let tree = registry::read_image(&root, "x:1").unwrap();
        assert!(!tree.contains("etc/gone"));
        assert_eq!(tree.get("etc/here"), upper.get("etc/here"));
        std::fs::remove_dir_all(&root).unwrap();
    }
}
