//! Published checkpoints are imported with their values; hostile ones are refused, within bounds of time and memory.

mod hostile;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use andamento_model::Error;
use andamento_model::checkpoint::import::{Options, import};
use andamento_model::checkpoint::manifest::{Entry, Manifest};
use andamento_model::checkpoint::recognise::{Role, recognise};
use andamento_model::checkpoint::{Report, TENSORAR_KEYS, Weights, export};
use andamento_model::device::{DeviceChoice, choose};
use andamento_model::library::imported::{Record, Shelf};
use andamento_model::library::{MODELS, all, find};
use andamento_model::network::{Network, Prompt};
use andamento_model::networks::FAMILIES;
use andamento_model::networks::llamagen::{TransformerConfig, Trunk};
use andamento_model::networks::tensorar::base::BaseConfig;
use andamento_model::networks::tensorar::noise::Noise;
use andamento_model::networks::tensorar::{TensorAr, TensorArConfig};
use andamento_model::tokenizers::{TOKENIZERS, by_name};
use andamento_tests::{goldens, json};
use burn::module::Module;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::folder::Folder;

/// The goal for files below 1 MiB.
const PEAK: u64 = 256 << 20;
/// The goal is 2 s; slow machines under load are given more, for this is there to catch what hangs.
const PATIENCE: Duration = Duration::from_secs(30);

impl Folder {
    fn shelf(&self) -> Shelf {
        Shelf::open(Some(&self.0)).expect("a shelf")
    }
}

fn imported(file: &Path, shelf: &Shelf, averaged: bool) -> Result<Vec<Record>, String> {
    let options = Options { averaged, date: "2026-01-01".into() };
    import(file, shelf, &options, &mut |_| ()).map_err(|error| error.to_string())
}

/// The tensors of a file: type, shape and values of each.
type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<f32>)>;

/// Every tensor of a safetensors file: type, shape and values, halves as they are.
fn tensors(file: &Path) -> Tensors {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let all = SafeTensors::deserialize(&bytes).expect("safetensors");
    let tensors = all.iter().map(|(name, view)| {
        let halves = || view.data().as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes));
        let values = match view.dtype() {
            Dtype::F32 => view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Dtype::BF16 => halves().map(|half| f32::from_bits(u32::from(half) << 16)).collect(),
            _ => Vec::new(),
        };
        (name.to_string(), (view.dtype(), view.shape().to_vec(), values))
    });
    tensors.collect()
}

/// To the nearest number of 8 bits of precision, ties to even.
fn bfloat16(value: f32) -> f32 {
    let bits = value.to_bits();
    f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
}

/// The golden folders: those of the families, or one that holds everything.
fn folders() -> Vec<PathBuf> {
    let root = goldens("");
    let inner = std::fs::read_dir(&root).expect("goldens").filter_map(|entry| Some(entry.ok()?.path()));
    let mut folders: Vec<_> = inner.filter(|path| path.is_dir()).collect();
    folders.push(root);
    folders.sort();
    folders
}

fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).expect("a folder").filter_map(|entry| Some(entry.ok()?.path()));
    let ends = |path: &PathBuf| path.extension().is_some_and(|ending| endings.iter().any(|other| ending == *other));
    let mut files: Vec<_> = files.filter(ends).collect();
    files.sort();
    files
}

/// What a golden folder says about the values: files of the same names and shapes, `loader.expected.*` among them.
fn expected(folder: &Path) -> Vec<Tensors> {
    let mut all = Vec::new();
    for file in files(folder, &["safetensors"]) {
        let tensors = tensors(&file);
        let loader: BTreeMap<_, _> = tensors
            .iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix("loader.expected.")?.to_string(), tensor.clone())))
            .collect();
        all.extend([tensors, loader]);
    }
    all
}

#[test]
fn every_loader_file_of_the_goldens_is_imported_with_its_values() {
    let mut compared = 0;
    for folder in folders() {
        let expected = expected(&folder);
        for file in files(&folder, &["pt", "pth", "bin", "ckpt"]) {
            let library = Folder::new("goldens");
            let shelf = library.shelf();
            let records = imported(&file, &shelf, false).unwrap_or_else(|error| panic!("{error}"));
            assert!(!records.is_empty(), "{}: nothing was imported", file.display());
            for record in records {
                shelf.verify(&record, &mut |_| ()).expect("whole");
                let got = tensors(&shelf.weights(&record));
                let same = |other: &&Tensors| {
                    got.iter()
                        .all(|(name, (_, shape, _))| other.get(name).is_some_and(|(_, wanted, _)| wanted == shape))
                };
                let candidates: Vec<_> = expected.iter().filter(same).collect();
                if candidates.is_empty() {
                    continue;
                }
                let agrees = candidates.iter().any(|wanted| {
                    got.iter().all(|(name, (dtype, _, values))| match dtype {
                        Dtype::BF16 => wanted[name].2.iter().map(|value| bfloat16(*value)).eq(values.iter().copied()),
                        _ => wanted[name].2 == *values,
                    })
                });
                assert!(agrees, "{}: {} has other values", file.display(), record.id);
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "no golden folder has a loader file with expected values");
}

#[test]
fn safetensors_with_published_keys_are_imported_unchanged() {
    let mut compared = 0;
    for folder in folders() {
        for file in files(&folder, &["safetensors"]) {
            let library = Folder::new("flat");
            let shelf = library.shelf();
            let Ok(records) = imported(&file, &shelf, false) else { continue };
            let source = tensors(&file);
            for record in records {
                for (name, tensor) in tensors(&shelf.weights(&record)) {
                    assert_eq!(source[&name], tensor, "{}: {name}", file.display());
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "no golden folder has weights");
}

#[test]
fn averaged_weights_are_taken_where_asked_for() {
    let library = Folder::new("averaged");
    let shelf = library.shelf();
    let mut compared = 0;
    for folder in folders() {
        for file in files(&folder, &["pt", "pth", "ckpt"]) {
            let (Ok(plain), Ok(mean)) = (imported(&file, &shelf, false), imported(&file, &shelf, true)) else {
                continue;
            };
            for (plain, mean) in plain.iter().zip(&mean) {
                assert!(mean.origin.averaged && !plain.origin.averaged, "{}", file.display());
                assert_eq!(plain.config, mean.config, "{}", file.display());
                let (plain, mean) = (tensors(&shelf.weights(plain)), tensors(&shelf.weights(mean)));
                // The goldens' averages are halves of the weights or the weights themselves (README).
                for (name, (_, _, values)) in &plain {
                    let halves: Vec<f32> = values.iter().map(|value| value / 2.0).collect();
                    assert!(mean[name].2 == halves || mean[name].2 == *values, "{}: {name}", file.display());
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "no golden file has averaged weights");
    let file = library.write("plain.pth", hostile::saved(&hostile::llamagen(1), "FloatStorage", &1f32.to_le_bytes()));
    let error = imported(&file, &shelf, true).expect_err("it has none");
    assert!(error.contains("no averaged weights"), "{error}");
}

#[test]
fn open_magvit2_keeps_averaged_weights_beside_the_others() {
    let library = Folder::new("model-ema");
    let weights = tensors(&goldens("open_magvit2").join("tokenizer_weights.safetensors"));
    let mut data = Vec::new();
    for (name, (_, shape, values)) in &weights {
        let bytes = |factor: f32| values.iter().flat_map(|value| (value * factor).to_le_bytes()).collect::<Vec<u8>>();
        data.push((format!("state_dict.{name}"), shape.clone(), bytes(1.0)));
        // `modules/ema.py`: the name without its dots.
        data.push((format!("state_dict.model_ema.{}", name.replace('.', "")), shape.clone(), bytes(0.5)));
    }
    data.push(("state_dict.model_ema.decay".into(), vec![], 1f32.to_le_bytes().into()));
    data.push(("state_dict.loss.discriminator.main.0.weight".into(), vec![1], 1f32.to_le_bytes().into()));
    let views = data.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor"))
    });
    let file = library.write("imagenet.ckpt", safetensors::serialize(views, None).expect("a file"));
    for (averaged, factor) in [(false, 1.0), (true, 0.5)] {
        let shelf = library.shelf();
        let [record] = &imported(&file, &shelf, averaged).expect("imported")[..] else { panic!("one") };
        assert_eq!((record.family.as_str(), record.origin.averaged), ("Open-MAGVIT2 LFQ", averaged));
        for (name, (_, _, values)) in tensors(&shelf.weights(record)) {
            let wanted: Vec<f32> = weights[&name].2.iter().map(|value| value * factor).collect();
            assert_eq!(values, wanted, "{name}");
        }
    }
}

/// A published listing: name, sometimes a type, and a shape per line; lines of other kinds are headings.
fn listing(text: &str) -> Manifest {
    let entry = |line: &str| {
        let name = line.split_whitespace().next()?.to_string();
        let shape = line.split(['[', '(']).nth(1)?.trim_end_matches([']', ')']);
        let shape: Option<Vec<usize>> =
            shape.split([',', ' ']).filter(|n| !n.is_empty()).map(|n| n.parse().ok()).collect();
        Some((name, Entry { dtype: Dtype::F32, shape: shape? }))
    };
    Manifest { file: String::new(), tensors: text.lines().filter_map(entry).collect(), levels: None }
}

#[test]
fn published_listings_are_recognised_tensor_for_tensor() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/keys");
    let mut texts = Vec::new();
    for file in files(&folder, &["txt"]) {
        let text = std::fs::read_to_string(&file).expect("a listing");
        // The tokenizers of LlamaGen stand in one file, each below its heading, with weights only.
        texts.extend(text.split("=====").map(|part| (file.clone(), part.to_string())));
    }
    let mut found = Vec::new();
    for (file, text) in texts {
        let manifest = listing(&text);
        let Some(known) = recognise(&manifest) else {
            assert!(text.starts_with("RandAR L"), "{}: not recognised", file.display());
            continue;
        };
        let mut networks = FAMILIES.iter().flat_map(|family| (family.presets)()).map(|preset| preset.config);
        let mut tokenizers = TOKENIZERS.iter().flat_map(|kind| (kind.presets)()).map(|(_, config)| config);
        let preset = networks.any(|config| config == known.config) || tokenizers.any(|config| config == known.config);
        assert!(preset, "{} {} is no published size: {}", known.family, known.size, known.config);
        let leftover = |name: &str| known.leftovers.iter().any(|left| name.contains(left));
        let weights_only = known.family == "LlamaGen VQ";
        let listed = |name: &str| !weights_only || name.ends_with(".weight");
        for (name, shape) in known.layout.0.iter().filter(|(name, _)| listed(name)) {
            assert_eq!(manifest.tensors.get(name).map(|entry| &entry.shape), Some(shape), "{}: {name}", known.family);
        }
        for name in manifest.tensors.keys().filter(|name| !leftover(name)) {
            assert!(known.layout.0.contains_key(name), "{}: {name} is left over", known.family);
        }
        found.push(format!("{} {}: {}", known.family, known.size, known.layout.parameters()));
    }
    found.sort();
    // Parameters as the specifications count them, without buffers.
    let wanted = [
        "LlamaGen VQ 16: 71883403",
        "LlamaGen VQ 8: 70109835",
        "MaskGIT-VQGAN 16: 54515587",
        "Open-MAGVIT2 B: 343570432",
        "Open-MAGVIT2 LFQ 16-18: 115127829",
        "RAR B: 260923648",
        "VAR VQVAE ch160v4096z32: 108948355",
        "VAR d16: 310283520",
        "VAR d36: 2353893904",
    ];
    assert_eq!(found, wanted);
}

#[test]
fn a_generator_says_which_tokenizer_it_lacks_until_that_is_imported() {
    let library = Folder::new("pair");
    let shelf = library.shelf();
    let folder = goldens("var");
    let [generator] = &imported(&folder.join("var.pth"), &shelf, false).expect("imported")[..] else { panic!("one") };
    let Role::Generator { codes, grid, .. } = &generator.role else { panic!("a generator") };
    let config = json(&folder.join("config.json"));
    assert_eq!(config["V"], *codes);
    assert_eq!(config["patch_nums"].as_array().and_then(|sides| sides.last()), Some(&(*grid).into()));
    let error = shelf.tokenizer(generator).expect_err("none yet").to_string();
    assert!(error.contains("vae_ch160v4096z32.pth") && error.contains(&generator.id), "{error}");
    let [tokenizer] = &imported(&folder.join("vae.pth"), &shelf, false).expect("imported")[..] else { panic!("one") };
    assert_eq!(shelf.tokenizer(generator).expect("found").id, tokenizer.id);
    assert_eq!(shelf.records().expect("listed").len(), 2);
    shelf.remove(&tokenizer.id).expect("removed");
    shelf.tokenizer(generator).expect_err("none again");
}

#[test]
fn every_pair_of_the_goldens_loads() {
    let library = Folder::new("pairs");
    let shelf = library.shelf();
    for file in folders().iter().flat_map(|folder| files(folder, &["pt", "pth", "bin", "ckpt", "safetensors"])) {
        // Files of expected values are no checkpoints.
        let _records = imported(&file, &shelf, false);
    }
    let cpu = || choose(DeviceChoice::Cpu).expect("a processor");
    let mut families = BTreeSet::new();
    for entry in all(&shelf).expect("listed") {
        let card = entry.card().expect("a card");
        if let Err(error) = entry.load(cpu(), Report::new(|_| ())) {
            // The weights do not say how many heads a small LlamaGen has, nor the grid of any; what is refused is refused
            // in words, and never for a tensor.
            println!("{}: {error}", card.id);
            assert!(matches!(error, Error::Control { .. }), "{}: {error}", card.id);
            continue;
        }
        families.insert(card.family);
    }
    println!("{families:?}");
    for record in shelf.records().expect("listed") {
        let Role::Tokenizer { .. } = record.role else { continue };
        let weights = Weights::Imported { path: shelf.weights(&record), report: Report::new(|_| ()) };
        let build = by_name(&record.family).expect("a kind").build;
        build(&record.config, &weights, &cpu().device).unwrap_or_else(|error| panic!("{}: {error}", record.id));
    }
    assert!(families.len() > 1, "only {families:?} could be loaded");
}

#[test]
fn tensorar_is_recognised_around_its_base_model() {
    let library = Folder::new("tensorar");
    let shelf = library.shelf();
    let device = choose(DeviceChoice::Cpu).expect("a processor").device;
    let base = TransformerConfig {
        dim: 128,
        n_layer: 2,
        n_head: 2,
        vocab_size: 32,
        num_classes: 5,
        multiple_of: 128,
        norm_eps: 1e-5,
        rope_base: 1e4,
    };
    let config = TensorArConfig { base: BaseConfig::LlamaGen(base.clone()), k: 3, depth: 1, noise: Noise::default() };
    config.check().expect("sizes");
    let module = TensorAr::new(Trunk::new(&base, &device), &config, &device);
    let file = library.write("tensorar.bin", export(&module, &TENSORAR_KEYS).expect("exported"));
    let [record] = &imported(&file, &shelf, false).expect("imported")[..] else { panic!("one") };
    assert_eq!(record.family, "TensorAR");
    assert_eq!(serde_json::from_value::<TensorArConfig>(record.config.clone()).expect("sizes"), config);
    assert_eq!(record.parameters, module.num_params() as u64);
}

#[test]
fn what_was_changed_in_the_library_is_found() {
    let library = Folder::new("verify");
    let shelf = library.shelf();
    let file = library.write("model.pth", hostile::saved(&hostile::llamagen(2), "FloatStorage", &1f32.to_le_bytes()));
    let records = imported(&file, &shelf, false).expect("imported");
    assert_eq!(imported(&file, &shelf, false).expect("again"), records, "a second import makes no second model");
    let weights = shelf.weights(&records[0]);
    let mut bytes = std::fs::read(&weights).expect("weights");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).expect("changed");
    let error = shelf.verify(&records[0], &mut |_| ()).expect_err("changed").to_string();
    assert!(error.contains("SHA-256"), "{error}");
    shelf.find("nobody").expect_err("there is none");
}

#[test]
fn nothing_is_left_of_an_import_that_fails() {
    let library = Folder::new("failed");
    let shelf = library.shelf();
    let file = library.write("nan.pth", hostile::saved(&hostile::llamagen(2), "BFloat16Storage", &[0xc0, 0x7f]));
    imported(&file, &shelf, false).expect_err("values that are not numbers");
    assert_eq!(std::fs::read_dir(shelf.folder()).expect("the folder").count(), 0);
}

#[test]
fn an_imported_pair_loads_and_predicts_as_the_bundled_one_does() {
    let library = Folder::new("load");
    let shelf = library.shelf();
    let bundled = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/models");
    let weights = |model: &str| bundled.join(model).join("weights.safetensors");
    let [generator] = &imported(&weights("scenes-randar"), &shelf, false).expect("imported")[..] else { panic!("one") };
    assert!(find(&generator.id, &shelf).is_err(), "it has no tokenizer yet");
    imported(&weights("scenes-vq"), &shelf, false).expect("imported");
    let entry = find(&generator.id, &shelf).expect("a pair");
    let read = Arc::new(AtomicU64::new(0));
    let report = Report::new({
        let read = read.clone();
        move |bytes| read.store(bytes, Ordering::Relaxed)
    });
    let cpu = || choose(DeviceChoice::Cpu).expect("a processor");
    let sentence = entry.needs().expect("imported").on(&cpu()).expect("it fits");
    assert!(sentence.contains("fits") && sentence.contains("weights"), "{sentence}");
    let mut model = entry.load(cpu(), report).expect("loads");
    assert!(read.load(Ordering::Relaxed) >= 2 * generator.parameters, "loading reports what it read");
    let mut own = MODELS[0].load(cpu()).expect("loads");
    assert_eq!(entry.card().expect("a card").network["n_head"], own.card.network["n_head"]);
    let lattice = own.lattice();
    assert_eq!(model.lattice(), lattice);
    let site = lattice.sites().next().expect("a site");
    let predict = |network: &mut dyn Network| {
        network.begin(&Prompt { class: 1, guided: false }, &lattice).expect("begins");
        network.predict(&[site]).expect("predicts").into_data().try_to_vec::<f32>().expect("f32")
    };
    let logits = predict(&mut *model.network);
    assert_eq!(logits, predict(&mut *own.network));
    assert!(logits.iter().any(|logit| *logit != 0.0), "weights were read");
}

/// What a process of its own says about a file: the outcome and its peak of memory in bytes.
fn in_a_process(file: &Path, library: &Path) -> (String, u64, Duration) {
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.args(["--exact", "checkpoints::the_process_of_its_own", "--ignored", "--nocapture"]);
    command.env("ANDAMENTO_IMPORT", file).env("ANDAMENTO_HOME", library).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = Instant::now();
    let mut child = command.spawn().expect("starts");
    while child.try_wait().expect("waits").is_none() {
        if started.elapsed() > PATIENCE {
            child.kill().expect("killed");
            panic!("{}: not decided within {PATIENCE:?}", file.display());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let took = started.elapsed();
    let output = child.wait_with_output().expect("output");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {} {said} {errors}", file.display(), output.status);
    let peak = said.lines().find_map(|line| line.strip_prefix("peak ")?.parse().ok()).unwrap_or(0);
    (said, peak, took)
}

#[test]
#[ignore = "the test of hostile files starts it in a process of its own"]
fn the_process_of_its_own() {
    let file = std::env::var_os("ANDAMENTO_IMPORT").expect("a file");
    let shelf = Shelf::open(None).expect("a shelf");
    match imported(Path::new(&file), &shelf, false) {
        Ok(records) => println!("\nimported {}", records.len()),
        Err(error) => println!("\nrefused {error}"),
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok());
    println!("peak {}", peak.unwrap_or(0u64) * 1024);
}

#[test]
fn hostile_files_are_refused_within_bounds_of_time_and_memory() {
    let folder = Folder::new("hostile");
    let (mut worst, mut wrong) = ((0, Duration::ZERO), Vec::new());
    for hostile::Hostile { name, bytes, says } in hostile::hostile() {
        let file = folder.write(name, &bytes);
        let (said, peak, took) = in_a_process(&file, &folder.0);
        println!("{name}: {} bytes, {:.1} MiB, {took:?}", bytes.len(), peak as f64 / f64::from(1 << 20));
        let refusal = said.lines().find_map(|line| line.strip_prefix("refused ")).unwrap_or_default();
        if !refusal.contains(says) || !refusal.contains(name) {
            wrong.push(format!("{name}: “{refusal}” does not say “{says}”"));
        }
        assert!(refusal.len() < 1000, "{name}: {} bytes are no sentence", refusal.len());
        if bytes.len() < 1 << 20 {
            assert!(peak < PEAK, "{name}: {peak} bytes of memory at the peak");
            worst = (worst.0.max(peak), worst.1.max(took));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("worst: {:.1} MiB, {:?}", worst.0 as f64 / f64::from(1 << 20), worst.1);
    let models = std::fs::read_dir(folder.shelf().folder()).map_or(0, Iterator::count);
    assert_eq!(models, 0, "something of a refused file is in the library");
}

/// Pseudo-random numbers, the same in every run (splitmix64).
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[test]
fn damaged_copies_of_published_files_are_decided_without_a_crash() {
    let folder = Folder::new("damaged");
    let shelf = folder.shelf();
    let mut refused = 0;
    for golden in folders().iter().flat_map(|folder| files(folder, &["pt", "pth", "bin", "ckpt"])) {
        let whole = std::fs::read(&golden).expect("golden");
        let mut state = whole.len() as u64;
        for round in 0..24 {
            let mut bytes = whole.clone();
            if round % 3 == 0 {
                bytes.truncate(random(&mut state) as usize % whole.len());
            } else {
                // The beginning and the end hold the pickle and the directory.
                let reach = if round % 3 == 1 { 4096 } else { whole.len() };
                for _ in 0..3 {
                    let at = random(&mut state) as usize % reach.min(whole.len());
                    let at = if round % 2 == 0 { at } else { whole.len() - 1 - at };
                    bytes[at] = random(&mut state) as u8;
                }
            }
            let file = folder.write("damaged.pth", &bytes);
            refused += usize::from(imported(&file, &shelf, false).is_err());
        }
    }
    assert!(refused > 0, "no damage was noticed");
}
