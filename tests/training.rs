//! Training: data, configurations, checkpoints, and that every recipe learns.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use andamento_model::device::{ChosenDevice, DeviceChoice, choose};
use andamento_model::library::folder::Trained;
use andamento_model::train::data::Data;
use andamento_model::train::data::crops;
use andamento_model::train::data::pictures::Pictures;
use andamento_model::train::data::prefetch::Prefetch;
use andamento_model::train::metrics::Metrics;
use andamento_model::train::optimiser::{Curve, Group, Optimiser};
use andamento_model::train::run::{self, Settings, Trainer};
use andamento_model::train::{Event, Outcome, Run, scenes, train, usual_folder};
use andamento_model::{Error, Result};
use burn::module::Module;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::FloatDType;
use image::RgbImage;
use safetensors::SafeTensors;

use crate::folder::Folder;
use crate::recipes::{MULTI_SCALE_VQ, RANDAR, TINY, VAR, VQ, pictures, tiny};

impl Folder {
    /// Carries out a configuration on the processor, and what it noted.
    fn train(&self, config: &str) -> Result<(Outcome, Vec<String>)> {
        self.train_on(config, choose(DeviceChoice::Cpu).expect("the processor"), &|| false)
    }

    fn train_on(
        &self,
        config: &str,
        device: ChosenDevice,
        enough: &dyn Fn() -> bool,
    ) -> Result<(Outcome, Vec<String>)> {
        let config = self.0.join(config);
        let mut notes = Vec::new();
        let mut report = |event: Event| {
            if let Event::Note(text) = event {
                notes.push(text);
            }
        };
        let folder = usual_folder(&config);
        let mut run = Run { tokens: folder.clone(), folder, device, report: &mut report, enough, aside: None };
        let outcome = train(&config, &mut run)?;
        Ok((outcome, notes))
    }

    /// A column of a run's table.
    fn column(&self, run: &str, name: &str) -> Vec<f64> {
        let text = fs::read_to_string(self.0.join(run).join("andamento-run").join("metrics.csv")).expect("a table");
        let mut lines = text.lines().map(|line| line.split(',').map(str::to_string).collect::<Vec<_>>());
        let place = lines.next().expect("a header").iter().position(|of| of == name).expect("the column");
        lines.map(|line| line[place].parse().expect("a number")).collect()
    }
}

/// Coarse scales first, and branches left out.
const STAGES: &str = "
[method]
drop_path = 0.3
progressive = { until = 0.8, first = 0, warm_up = 3.0 }
";

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn every_recipe_learns_from_a_folder_of_24_pictures() {
    let place = Folder::new("recipes");
    pictures(&place.0);
    for (folder, batch, rest) in TINY {
        place.write(&format!("{folder}/train.toml"), tiny(folder, *batch, rest));
        let (outcome, notes) = place.train(&format!("{folder}/train.toml")).expect("it trains");
        assert_eq!(outcome, Outcome::Finished, "{folder}");
        assert!(notes.iter().any(|note| note.contains("broken.png")), "{folder} names the broken file: {notes:?}");
        let losses = place.column(folder, "loss");
        let (first, last) = (mean(&losses[..5]), mean(&losses[45..]));
        assert!(losses.len() == 50 && last < 0.97 * first, "{folder}: the loss went from {first} to {last}");
        let plot = fs::read_to_string(place.0.join(folder).join("andamento-run").join("metrics.svg")).expect("a plot");
        assert!(plot.contains("polyline") && !plot.contains("href"), "{folder}: the plot stands alone");
    }
}

/// What the output folder says, and that a sheet comes from it; a tokenizer by reference serves as a copied one does.
#[test]
fn a_trained_generator_opens_by_its_folder() {
    let place = Folder::new("opens");
    pictures(&place.0);
    for (folder, batch, rest) in &TINY[..2] {
        let text = tiny(folder, *batch, rest).replace("../vq/model\"", "../vq/model\"\ncopy = false");
        let text = text.replace("steps = 50", "steps = 2").replace("sheet_every = 0", "");
        place.write(&format!("{folder}/train.toml"), &text);
        place.train(&format!("{folder}/train.toml")).expect("it trains");
    }
    assert!(place.0.join("randar/andamento-run/sheets/step-000002.png").is_file(), "a contact sheet");
    let folder = place.0.join("randar/model");
    let by_reference = Trained::open(&folder).expect("opens");
    assert_eq!(by_reference.card.subjects, ["forest", "lake", "town"]);
    assert_eq!(by_reference.card.network["num_classes"], 3);
    assert_eq!(by_reference.card.network["vocab_size"], 32);
    assert!(by_reference.card.parameters > 10_000 && !folder.join(Trained::TOKENIZER).exists());
    let text = fs::read_to_string(place.0.join("randar/train.toml")).expect("text");
    place.write("randar/train.toml", text.replace("copy = false", "copy = true"));
    place.train("randar/train.toml").expect("nothing is left to train");
    assert_eq!(by_reference.hash, Trained::open(&folder).expect("opens").hash);
}

/// The weights are those that were named, to the last bit of the file, and no code is put elsewhere for being idle.
#[test]
fn training_may_begin_with_trained_weights() {
    let place = Folder::new("init");
    pictures(&place.0);
    let short = |recipe: &str, batch, rest: &str| tiny(recipe, batch, rest).replace("steps = 50", "steps = 12");
    for (recipe, batch, rest) in [("vq", 2, VQ), ("llamagen", 4, RANDAR)] {
        let text = short(recipe, batch, rest);
        place.write(&format!("{recipe}/train.toml"), &text);
        place.train(&format!("{recipe}/train.toml")).expect("it trains");
        let still = text.replace("steps = 12", "steps = 1").replace("= 3e-3", "= 1e-9");
        let init = |folder: &str| format!("init = \"../{folder}/model\"\n{still}");
        place.write("again/train.toml", init(recipe));
        place.train("again/train.toml").expect("it trains");
        let [first, again] =
            [recipe, "again"].map(|of| fs::read(place.0.join(of).join("model/weights.safetensors")).expect("weights"));
        assert!(first == again, "{recipe}: the weights are others");
        fs::remove_dir_all(place.0.join("again")).expect("removed");
        let other = init(recipe).replace("z_channels = 32", "z_channels = 64").replace("n_layer = 2", "n_layer = 1");
        for (text, names) in [(other, "other sizes"), (init("nowhere"), "nowhere")] {
            place.write("again/train.toml", &text);
            let error = place.train("again/train.toml").expect_err("it does not fit").to_string();
            assert!(error.contains(names) && error.contains("config.json"), "{error}");
        }
        fs::remove_dir_all(place.0.join("again")).expect("removed");
    }
}

/// Pictures keep their codes: of all tensors those alone change that make pixels of codes.
#[test]
fn a_decoder_is_trained_alone() {
    let place = Folder::new("decoder");
    pictures(&place.0);
    let keeps = |line: &&str| !line.contains("restart_after");
    for (recipe, rest) in [("vq", VQ), ("multi-scale-vq", MULTI_SCALE_VQ)] {
        let text = tiny(recipe, 2, rest).replace("steps = 50", "steps = 6");
        place.write(&format!("{recipe}/train.toml"), &text);
        place.train(&format!("{recipe}/train.toml")).expect("it trains");
        let alone = text.lines().filter(keeps).collect::<Vec<_>>().join("\n");
        let alone = alone.replace("[method.vqgan]", "[method.vqgan]\ndecoder_only = true");
        place.write("alone/train.toml", format!("init = \"../{recipe}/model\"\n{alone}"));
        place.train("alone/train.toml").expect("it trains");
        let files =
            [recipe, "alone"].map(|of| fs::read(place.0.join(of).join("model/weights.safetensors")).expect("a file"));
        let [before, after] = files.each_ref().map(|file| SafeTensors::deserialize(file).expect("tensors"));
        for (name, tensor) in before.tensors() {
            let same = tensor.data() == after.tensor(&name).expect("the same names").data();
            let decodes = name.starts_with("decoder.") || name.starts_with("post_quant_conv.");
            // How often codes are taken is counted, not trained.
            assert!(same || decodes || name.ends_with("ema_vocab_hit_SV"), "{recipe}: {name} has changed");
            let ends = ["decoder.conv_in.weight", "decoder.conv_out.weight", "post_quant_conv.weight"];
            assert!(!same || !ends.contains(&name.as_str()), "{recipe}: {name} is as it was");
        }
        let restarting = format!(
            "init = \"../{recipe}/model\"\n{}",
            alone.replace("decoder_only", "restart_after = 9\ndecoder_only")
        );
        for (text, names) in [(alone, "init"), (restarting, "restart_after")] {
            fs::remove_dir_all(place.0.join("alone")).expect("removed");
            place.write("alone/train.toml", &text);
            let error = place.train("alone/train.toml").expect_err(names).to_string();
            assert!(error.contains(names), "{error}");
        }
        fs::remove_dir_all(place.0.join("alone")).expect("removed");
    }
}

/// Stopped after every fourth step and started again.
#[test]
fn a_run_in_pieces_makes_every_step_once() {
    let place = Folder::new("pieces");
    pictures(&place.0);
    for run in ["whole", "pieces"] {
        let extra = "ema = 0.9\naccumulate = 2\n";
        let vq = format!("{extra}{}", tiny("vq", 2, VQ).replace("steps = 50", "steps = 14"));
        let multi = format!("{extra}{}", tiny("multi-scale-vq", 2, MULTI_SCALE_VQ).replace("steps = 50", "steps = 14"));
        let randar = format!("{extra}{}", tiny("randar", 3, RANDAR).replace("steps = 50", "steps = 14"));
        place.write(&format!("{run}-vq/train.toml"), &vq);
        place.write(&format!("{run}-multi/train.toml"), &multi);
        place.write(&format!("{run}-randar/train.toml"), randar.replace("../vq/", "../whole-vq/"));
        let var = format!("{extra}{}{STAGES}", tiny("var", 3, VAR).replace("steps = 50", "steps = 14"));
        place.write(&format!("{run}-var/train.toml"), var.replace("../multi-scale-vq/", "../whole-multi/"));
    }
    let device = || choose(DeviceChoice::Cpu).expect("the processor");
    for kind in ["vq", "multi", "randar", "var"] {
        place.train(&format!("whole-{kind}/train.toml")).expect("it trains");
        let mut pauses = 0;
        loop {
            let steps = AtomicUsize::new(0);
            let enough = || steps.fetch_add(1, Ordering::Relaxed) == 3;
            let config = format!("pieces-{kind}/train.toml");
            match place.train_on(&config, device(), &enough).expect("it trains").0 {
                Outcome::Finished => break,
                Outcome::Paused(what) => assert!(what.contains("of 14") || what.contains("tokenised"), "{what}"),
            }
            pauses += 1;
        }
        assert!(pauses >= 3, "{pauses} pauses");
        // The same figures to the last bit are asked for in `tests/cli.rs`: in this process other tests draw from the same
        // generator of the device.
        let steps = ["whole", "pieces"].map(|run| place.column(&format!("{run}-{kind}"), "step"));
        assert_eq!(steps[0], (1..=14).map(f64::from).collect::<Vec<_>>(), "{kind}");
        assert_eq!(steps[0], steps[1], "{kind}: other steps");
    }
    // The tokens were made once, and not again when the run went on.
    let tokens = |path: &Path| fs::read_dir(path).expect("a folder").flatten().filter(is_tokens).count();
    assert_eq!(tokens(&place.0.join("pieces-randar").join("andamento-run")), 1);
}

fn is_tokens(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with("tokens-")
}

#[test]
fn all_runs_go_in_sequence_and_finished_ones_are_skipped() {
    let place = Folder::new("all");
    pictures(&place.0);
    for (folder, batch, rest) in &TINY[..2] {
        let text = tiny(folder, *batch, rest).replace("steps = 50", "steps = 3");
        place.write(&format!("{folder}/train.toml"), &text);
    }
    place.write("train.toml", "recipe = \"all\"\nruns = [\"vq/train.toml\", \"randar/train.toml\"]");
    let device = || choose(DeviceChoice::Cpu).expect("the processor");
    let steps = AtomicUsize::new(0);
    let after = |count: usize| move |steps: &AtomicUsize| steps.fetch_add(1, Ordering::Relaxed) >= count;
    let (outcome, _) = place.train_on("train.toml", device(), &|| after(2)(&steps)).expect("it trains");
    assert_eq!(outcome, Outcome::Paused("what remains: vq (step 2 of 3), randar (not begun)".into()));
    let (outcome, _) = place.train("train.toml").expect("it goes on");
    assert_eq!(outcome, Outcome::Finished);
    let (outcome, notes) = place.train("train.toml").expect("nothing is left");
    assert_eq!((outcome, notes), (Outcome::Finished, vec!["vq: finished".into(), "randar: finished".into()]));
}

#[test]
fn another_tokenizer_is_refused_for_a_run_that_has_begun() {
    let place = Folder::new("basis");
    pictures(&place.0);
    let short = |recipe: &str, batch, rest: &str| tiny(recipe, batch, rest).replace("steps = 50", "steps = 2");
    place.write("vq/train.toml", short("vq", 2, VQ));
    place.write("randar/train.toml", short("randar", 2, RANDAR));
    place.train("vq/train.toml").expect("it trains");
    place.train("randar/train.toml").expect("it trains");
    place.write("vq/train.toml", short("vq", 2, VQ).replace("steps = 2", "steps = 4"));
    place.train("vq/train.toml").expect("it goes on");
    let error = place.train("randar/train.toml").expect_err("other tokens").to_string();
    assert!(error.contains("another tokenizer") && error.contains("start anew"), "{error}");
}

#[test]
fn configurations_that_mean_nothing_are_refused_with_their_remedy() {
    let place = Folder::new("refused");
    pictures(&place.0);
    let good = tiny("vq", 2, VQ);
    let cases = [
        (good.replace("seed = 3", "sead = 3"), "sead"),
        (good.replace("recipe = \"vq\"", "recipe = \"vqq\""), "Choose one of"),
        (good.replace("steps = 50", "steps = 0"), "steps is 0"),
        (good.replace("ch = 32", "ch = 32\nhc = 1"), "hc"),
        (good.replace("folder = \"../pictures\"", ""), "needs folder"),
        (good.replace("../pictures", "../nowhere"), "nowhere"),
        (good.replace("learning_rate = 3e-3", "learning_rate = 3e-3\ncurve = \"zigzag\""), "zigzag"),
        (good.replace("clip = 1.0", "clip = 0.0"), "clip"),
        (good.replace("seed = 3", "seed = 3\nprecision = \"f16\""), "precision = \"auto\""),
        (good.replace("seed = 3", "seed = 3\nema = 1.0"), "0.9999"),
        (tiny("randar", 2, RANDAR).replace("../vq/model", "../none"), "Train the tokenizer first"),
        (tiny("randar", 2, RANDAR).replace("folder = \"../vq", "# \"../vq"), "folder"),
    ];
    for (text, names) in cases {
        place.write("wrong/train.toml", &text);
        let error = place.train("wrong/train.toml").expect_err(names).to_string();
        assert!(error.contains(names), "“{error}” does not name {names}");
    }
    let error = place.train("wrong/missing.toml").expect_err("no file");
    assert!(matches!(error, Error::File { .. }), "{error}");
}

fn data(text: &str) -> Data {
    serde_json::from_str(text).expect("data settings")
}

#[test]
fn pictures_do_not_depend_on_the_number_of_threads() {
    let place = Folder::new("threads");
    pictures(&place.0);
    let folder = r#"{"source": "folder", "folder": "pictures", "side": 16, "augment": "random-crop"}"#;
    for settings in [folder, r#"{"source": "scenes", "side": 16, "augment": "flip"}"#] {
        let pictures = Arc::new(Pictures::open(&data(settings), &place.0).expect("opens"));
        let batches = |threads| {
            let pictures = pictures.clone();
            let mut ahead = Prefetch::start(5, threads, move |number| pictures.batch(1, number, 3, 12));
            (0..12).map(|_| ahead.next().expect("a batch")).collect::<Vec<_>>()
        };
        let one = batches(1);
        assert_eq!(one, batches(4));
        assert!(one.windows(2).all(|two| two[0] != two[1]), "the same batch twice");
        assert!(one.iter().all(|batch| batch.classes.len() == 3), "a broken file is replaced");
    }
    let pictures = Pictures::open(&data(folder), &place.0).expect("opens");
    assert_eq!((pictures.count(), pictures.classes.len()), (Some(25), 3));
    for epoch in 0..3 {
        let seen: BTreeSet<_> = (0..25).map(|n| pictures.nth(9, 25 * epoch + n)).collect();
        assert_eq!(seen.len(), 25, "each picture once per epoch");
    }
    let sequence = |seed, epoch: u64| (0..25).map(|n| pictures.nth(seed, 25 * epoch + n)).collect::<Vec<_>>();
    assert!(sequence(9, 0) != sequence(9, 1) && sequence(9, 0) != sequence(8, 0), "sequences repeat");
}

#[test]
fn scenes_without_end_are_mixed_and_new() {
    let pictures = Pictures::open(&data(r#"{"source": "scenes", "side": 16, "augment": "flip"}"#), Path::new("."));
    let pictures = pictures.expect("opens");
    let sequence = |seed| (0..480).map(|n| pictures.nth(seed, n)).collect::<Vec<_>>();
    let (one, other) = (sequence(1), sequence(2));
    let all: BTreeSet<_> = one.iter().chain(&other).collect();
    assert_eq!(all.len(), 2 * 480, "a scene comes twice, or in runs of two seeds");
    for round in one.chunks(scenes::CLASSES) {
        let classes: BTreeSet<_> = round.iter().map(|index| pictures.class(*index)).collect();
        assert_eq!(classes.len(), scenes::CLASSES, "each class once in a round");
    }
    for batch in one.chunks(scenes::LIGHTS.len()) {
        let classes = batch.iter().map(|index| pictures.class(*index));
        let (places, lights): (BTreeSet<_>, BTreeSet<_>) =
            classes.map(|class| (class / scenes::LIGHTS.len(), class % scenes::LIGHTS.len())).unzip();
        assert_eq!((places.len(), lights.len()), (4, 4), "a batch of four shows a place or a light twice");
    }
}

#[test]
fn a_prefetch_that_fails_ends() {
    let mut ahead = Prefetch::start(0, 2, |number| if number < 3 { number } else { panic!("on purpose") });
    let taken: Vec<_> = std::iter::from_fn(|| ahead.next()).take(8).collect();
    assert!(taken.len() <= 3 && taken.iter().copied().eq(0..taken.len()), "{taken:?}");
}

#[test]
fn crops_are_the_published_ones() {
    // Red tells the column, green the row.
    let ramp = RgbImage::from_fn(150, 110, |x, y| image::Rgb([x as u8, y as u8, 0]));
    let centre = crops::centre(ramp.clone(), 110);
    assert_eq!(centre.get_pixel(0, 0).0, [20, 0, 0], "(150 - 110) / 2 columns are cut");
    // Twice as long or longer: halved by boxes first.
    let small = crops::centre(ramp.clone(), 50);
    assert_eq!(small.dimensions(), (50, 50));
    assert!((i16::from(small.get_pixel(25, 25).0[0]) - 75).abs() <= 2, "the centre stays the centre");
    let square = crops::centre(ramp, 110);
    let ten = crops::ten(&square, 100);
    let corners: Vec<_> = ten.iter().map(|crop| crop.get_pixel(0, 0).0).collect();
    assert_eq!(corners[..5], [[20, 0, 0], [30, 0, 0], [20, 10, 0], [30, 10, 0], [25, 5, 0]]);
    assert_eq!(corners[5], [119, 0, 0], "then their mirror images");
    let settings = |augment: &str| data(&format!(r#"{{"source": "scenes", "side": 256, "augment": "{augment}"}}"#));
    assert_eq!(["none", "flip", "ten-crop"].map(|augment| settings(augment).views()), [1, 2, 10]);
}

#[test]
fn the_table_of_a_resumed_run_has_every_step_once() {
    let place = Folder::new("table");
    for (resume, until) in [(0, 7), (4, 9)] {
        let mut metrics = Metrics::open(&place.0, resume).expect("opens");
        for step in resume + 1..=until {
            metrics.add(step, &[("loss", 1.0 / step as f64), ("rate", resume as f64)]).expect("a row");
        }
    }
    let path = place.0.join("metrics.csv");
    // A row that was cut off is no row.
    let text = fs::read_to_string(&path).expect("text") + "10,0.0";
    fs::write(&path, text).expect("written");
    Metrics::open(&place.0, 9).expect("opens");
    let text = fs::read_to_string(&path).expect("text");
    let rows: Vec<Vec<f64>> = text
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(|value| value.parse().expect("a number")).collect())
        .collect();
    assert_eq!(rows.iter().map(|row| row[0] as usize).collect::<Vec<_>>(), (1..=9).collect::<Vec<_>>());
    assert!(rows[3][2] == 0.0 && rows[4][2] == 4.0, "rows after the checkpoint are those of the resumed run");
}

#[test]
fn a_checkpoint_is_whole_or_is_not_there() {
    let written = |text: &'static str| {
        move |path: &Path| {
            fs::write(path.join("a"), text).expect("written");
            Ok(())
        }
    };
    let place = Folder::new("checkpoint");
    let folder = run::Folder::open(&place.0).expect("opens");
    assert_eq!(folder.newest().expect("reads"), None);
    folder.save(3, written("3")).expect("saved");
    let torn = folder.save(5, |path| {
        fs::write(path.join("a"), "5").expect("written");
        Err(Error::control("disk", "full", "Free some space"))
    });
    assert!(torn.is_err());
    let newest = |folder: &run::Folder| fs::read_to_string(folder.newest().expect("reads").expect("one").join("a"));
    assert_eq!(newest(&folder).expect("whole"), "3");
    folder.save(7, written("7")).expect("saved");
    assert_eq!(newest(&folder).expect("whole"), "7");
    assert_eq!(fs::read_dir(&place.0).expect("reads").count(), 1, "older ones are gone");
    assert_eq!(run::Folder::step(&place.0).expect("reads"), 7);
}

#[test]
fn learning_rates_run_as_published() {
    let rate = |curve, step: usize| {
        let optimiser =
            Optimiser { curve, final_share: 0.1, hold: 0.5, warm_up: 10.0, warm_up_from: 0.2, ..Optimiser::adam(2.0) };
        optimiser.rate(step, 110) / 2.0
    };
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    near(rate(Curve::Constant, 0), 0.2);
    near(rate(Curve::Constant, 5), 0.6);
    near(rate(Curve::Constant, 109), 1.0);
    near(rate(Curve::Cosine, 10), 1.0);
    near(rate(Curve::Cosine, 60), 0.55);
    near(rate(Curve::Linear, 59), 1.0);
    near(rate(Curve::Linear, 85), 0.55);
    near(rate(Curve::Cos, 109), 0.1);
    near(rate(Curve::Straight, 109), 0.1);
    near(rate("lin0.8".parse().expect("a curve"), 109), 0.1);
    assert!("lin2".parse::<Curve>().is_err());
    let decay = Optimiser { weight_decay: 0.05, final_weight_decay: Some(0.01), ..Optimiser::adam(1.0) };
    near(decay.decay(0, 101), 0.05);
    near(decay.decay(50, 101), 0.03);
    near(decay.decay(100, 101), 0.01);
}

/// `y = w x` towards 3 x, with `x` of 1.
fn line(device: &Device) -> Linear {
    let initializer = Initializer::Constant { value: 0.3 };
    LinearConfig::new(2, 1).with_bias(false).with_initializer(initializer).init(device)
}

fn distance(model: &Linear, device: &Device, rows: &[[f32; 2]]) -> Tensor<1> {
    let x = Tensor::<1>::from_data(rows.concat().as_slice(), device).reshape([rows.len(), 2]);
    let kind = model.weight.val().dtype();
    let error = (model.forward(x.clone().cast(kind)).cast(FloatDType::F32) - x.sum_dim(1) * 3.0).square();
    error.mean()
}

fn weights(model: &Linear) -> Vec<f32> {
    model.weight.val().into_data().try_to_vec().expect("f32")
}

fn whatever(_path: &str, _dims: usize) -> Group {
    Group { decay: false, rate: 1.0 }
}

#[test]
fn gathered_losses_are_one_and_the_average_follows() {
    let device = Device::flex().autodiff();
    let rows = [[1.0, 2.0], [0.5, -1.0]];
    let settings = |accumulate| Settings { accumulate, ema: Some(0.9), ..Settings::new(&Optimiser::adam(0.1), 10) };
    let mut at_once = Trainer::start(line(&device), settings(1), &whatever);
    let mut apart = Trainer::start(line(&device), settings(2), &whatever);
    let mut average = weights(&at_once.model);
    for _ in 0..3 {
        at_once.gather(distance(&at_once.working(), &device, &rows));
        let norm = at_once.update().expect("a step").norm;
        let model = apart.working();
        rows.iter().for_each(|row| apart.gather(distance(&model, &device, &[*row])));
        assert!((apart.update().expect("a step").norm - norm).abs() < 1e-5 * norm);
        average.iter_mut().zip(weights(&at_once.model)).for_each(|(held, new)| *held = 0.9 * *held + 0.1 * new);
    }
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(close(&weights(&at_once.model), &weights(&apart.model)));
    assert!(close(&weights(&at_once.result()), &average), "the average of the weights is exported");
    assert!(!close(&weights(&at_once.model), &average));
}

#[test]
fn a_group_has_its_own_rate_and_decay() {
    let device = Device::flex().autodiff();
    let step = |group: Group| {
        let optimiser = Optimiser { weight_decay: 0.5, ..Optimiser::adam(0.01) };
        let mut trainer = Trainer::start(line(&device), Settings::new(&optimiser, 10), &move |_, _| group);
        let before = weights(&trainer.model)[0];
        trainer.gather(distance(&trainer.working(), &device, &[[1.0, 2.0]]));
        trainer.update().expect("a step");
        (before, weights(&trainer.model)[0])
    };
    // Adam's first step is as long as the rate.
    let (before, after) = step(Group { decay: false, rate: 1.0 });
    assert!((after - before - 0.01).abs() < 1e-6, "{before} {after}");
    let (before, after) = step(Group { decay: false, rate: 0.1 });
    assert!((after - before - 0.001).abs() < 1e-6, "{before} {after}");
    let (before, after) = step(Group { decay: true, rate: 1.0 });
    assert!((after - before * (1.0 - 0.01 * 0.5) - 0.01).abs() < 1e-6, "{before} {after}");
}

#[test]
fn gradients_that_are_no_numbers_end_the_run() {
    let device = Device::flex().autodiff();
    let mut trainer = Trainer::start(line(&device), Settings::new(&Optimiser::adam(0.1), 10), &whatever);
    trainer.gather(distance(&trainer.working(), &device, &[[f32::INFINITY, 1.0]]));
    let error = trainer.update().expect_err("infinite").to_string();
    assert!(error.contains("step 0") && error.contains("learning_rate"), "{error}");
}

/// f16 on the software adapter: master weights stay f32, the loss is scaled, an overflow leaves a step out.
#[test]
fn half_precision_trains_on_a_gpu() {
    let plain = crate::gpu::device();
    if !plain.supports_dtype(FloatDType::F16) {
        return;
    }
    let device = plain.autodiff();
    let settings = |precision| Settings { precision, ..Settings::new(&Optimiser::adam(0.1), 100) };
    let run = |precision| {
        let mut trainer = Trainer::start(line(&device), settings(precision), &whatever);
        let mut skipped = 0;
        let mut losses = Vec::new();
        for _ in 0..20 {
            let loss = distance(&trainer.working(), &device, &[[1.0, 2.0], [0.5, -1.0]]);
            losses.push(loss.clone().into_scalar::<f32>());
            trainer.gather(loss);
            skipped += usize::from(trainer.update().expect("a step").skipped);
        }
        assert_eq!((trainer.skipped(), trainer.model.weight.val().dtype()), (skipped, FloatDType::F32.into()));
        (losses, skipped)
    };
    let (single, _) = run(FloatDType::F32);
    let (half, skipped) = run(FloatDType::F16);
    assert!(skipped > 0 && skipped < 10, "a scale of 65536 overflows at first: {skipped} left out");
    for (single, half) in single.iter().zip(&half[skipped..]) {
        assert!((single - half).abs() < 0.02 * single.max(0.1), "f32 {single}, f16 {half}");
    }
}

#[test]
fn a_checkpoint_holds_all_that_decides_the_next_steps() {
    let place = Folder::new("trainer");
    let device = Device::flex().autodiff();
    let settings = || Settings { ema: Some(0.5), ..Settings::new(&Optimiser::adam(0.1), 20) };
    let step = |trainer: &mut Trainer<Linear>| {
        trainer.gather(distance(&trainer.working(), &device, &[[1.0, 2.0]]));
        trainer.update().expect("a step");
    };
    let mut trainer = Trainer::start(line(&device), settings(), &whatever);
    trainer.counters = vec![4, 2];
    (0..3).for_each(|_| step(&mut trainer));
    trainer.save(&place.0, "line").expect("saved");
    device.seed(77);
    let mut again = Trainer::start(LinearConfig::new(2, 1).with_bias(false).init(&device), settings(), &whatever);
    again.load(&place.0, "line", &whatever).expect("loaded");
    assert_eq!((again.step(), again.counters.as_slice()), (3, [4, 2].as_slice()));
    (0..3).for_each(|_| {
        step(&mut trainer);
        step(&mut again);
    });
    assert_eq!(weights(&trainer.model), weights(&again.model));
    assert_eq!(weights(&trainer.result()), weights(&again.result()));
    assert!(trainer.model.num_params() == 2);
}
