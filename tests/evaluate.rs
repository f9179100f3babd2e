//! `andamento evaluate`: figures against closed forms, published definitions and goldens.

use std::cell::Cell;

use andamento_model::checkpoint::{Weights, export, load};
use andamento_model::device::{DeviceChoice, choose};
use andamento_model::evaluate::features::{Classifier, ClassifierConfig, Extractor, Reading, SceneClassifier, score};
use andamento_model::evaluate::frechet::Gaussian;
use andamento_model::evaluate::held_out::HeldOut;
use andamento_model::evaluate::inception::{Inception, InceptionV3, KEYS, resized};
use andamento_model::evaluate::likelihood::bits;
use andamento_model::evaluate::precision_recall::Manifolds;
use andamento_model::evaluate::similarity::{psnr, ssim};
use andamento_model::evaluate::{self, FRECHET, Figure, Report, Settings, Unit, card};
use andamento_model::lattice::{Grid, Lattice, Site, Token};
use andamento_model::library::{Card, Defaults, Model, TokenizerCard, random};
use andamento_model::network::{Network, Prompt, Spec};
use andamento_model::networks::randar::RandArNetwork;
use andamento_model::networks::rar::RarNetwork;
use andamento_model::networks::{self, Parts};
use andamento_model::sample::{Guidance, Sampling};
use andamento_model::train::scenes;
use andamento_model::{Error, Result};
use andamento_tests::{Golden, formula, goldens};
use burn::module::Module;
use burn::prelude::*;
use image::{Rgb, RgbImage};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use crate::folder::Folder;
use crate::parity::published;
use crate::parity::randar::RandArCase;
use crate::parity::rar::RarCase;

/// A picture without regularity.
fn noise(width: u32, height: u32, seed: u32) -> RgbImage {
    let byte = |x: u32, y: u32, channel: u32| {
        let hash = (x * 73 + y * 179 + channel * 283 + seed * 419).wrapping_mul(2_654_435_761);
        (hash >> 24) as u8
    };
    RgbImage::from_fn(width, height, |x, y| Rgb([0, 1, 2].map(|channel| byte(x, y, channel))))
}

fn assert_near(got: f64, want: f64, tolerance: f64, what: &str) {
    assert!((got - want).abs() <= tolerance, "{what}: {got} instead of {want}");
}

#[test]
fn psnr_is_what_the_squared_error_says() {
    let dark = RgbImage::from_pixel(16, 16, Rgb([100, 50, 20]));
    let light = RgbImage::from_pixel(16, 16, Rgb([105, 55, 25]));
    assert_near(psnr(&dark, &light), 20.0 * (255.0f64 / 5.0).log10(), 1e-9, "five levels apart");
    assert_eq!(psnr(&dark, &dark), f64::INFINITY);
}

/// SSIM as the paper writes it, window by window, without any shortcut.
fn ssim_by_definition(a: &RgbImage, b: &RgbImage) -> f64 {
    let weight = |x: u32, y: u32| (-((f64::from(x) - 5.0).powi(2) + (f64::from(y) - 5.0).powi(2)) / 4.5).exp();
    let window: Vec<(u32, u32)> = (0..11).flat_map(|y| (0..11).map(move |x| (x, y))).collect();
    let total: f64 = window.iter().map(|(x, y)| weight(*x, *y)).sum();
    let (mut sum, mut windows) = (0.0, 0.0);
    for channel in 0..3 {
        for (left, top) in (0..=a.height() - 11).flat_map(|top| (0..=a.width() - 11).map(move |left| (left, top))) {
            let mean = |of: &dyn Fn(f64, f64) -> f64| {
                let sample = |picture: &RgbImage, x: u32, y: u32| {
                    f64::from(picture.get_pixel(left + x, top + y).0[channel]) / 255.0
                };
                window.iter().map(|(x, y)| weight(*x, *y) * of(sample(a, *x, *y), sample(b, *x, *y))).sum::<f64>()
                    / total
            };
            let (mean_a, mean_b) = (mean(&|a, _| a), mean(&|_, b| b));
            let (var_a, var_b) = (mean(&|a, _| (a - mean_a).powi(2)), mean(&|_, b| (b - mean_b).powi(2)));
            let both = mean(&|a, b| (a - mean_a) * (b - mean_b));
            sum += (2.0 * mean_a * mean_b + 0.0001) * (2.0 * both + 0.0009)
                / ((mean_a.powi(2) + mean_b.powi(2) + 0.0001) * (var_a + var_b + 0.0009));
            windows += 1.0;
        }
    }
    sum / windows
}

#[test]
fn ssim_is_as_published() {
    let (a, b) = (noise(19, 14, 1), noise(19, 14, 2));
    assert_near(ssim(&a, &b).expect("fits"), ssim_by_definition(&a, &b), 1e-9, "noise");
    assert_near(ssim(&a, &a).expect("fits"), 1.0, 1e-12, "the same picture");
    assert_eq!(ssim(&a, &b), ssim(&b, &a), "symmetric");
    // Of plain pictures only the luminance is left: (2ab + C₁) / (a² + b² + C₁).
    let plain = |level: u8| RgbImage::from_pixel(12, 12, Rgb([level; 3]));
    let (dark, light) = (51.0 / 255.0, 204.0 / 255.0);
    let want = (2.0 * dark * light + 1e-4) / (dark * dark + light * light + 1e-4);
    assert_near(ssim(&plain(51), &plain(204)).expect("fits"), want, 1e-9, "plain pictures");
    assert_eq!(ssim(&noise(10, 30, 1), &noise(10, 30, 2)), None, "no window fits");
    let (scene, mut worse) = (scenes::scene(2, 7, 64), 1.0);
    for blur in [0.5, 1.0, 2.0] {
        let now = ssim(&scene, &image::imageops::blur(&scene, blur)).expect("fits");
        assert!(now < worse, "blurred by {blur}: {now}");
        worse = now;
    }
}

/// Four features around a mean, of covariance `2 (u uᵀ + v vᵀ) / 3`.
fn cross(mean: [f64; 2], u: [f64; 2], v: [f64; 2]) -> Vec<Vec<f64>> {
    let at = |by: [f64; 2], sign: f64| vec![mean[0] + sign * by[0], mean[1] + sign * by[1]];
    vec![at(u, 1.0), at(u, -1.0), at(v, 1.0), at(v, -1.0)]
}

#[test]
fn frechet_distance_of_gaussians_is_the_closed_form() {
    let gaussian = |features: &[Vec<f64>]| Gaussian::of(features).expect("enough");
    let plain = gaussian(&cross([0.0, 0.0], [3.0, 0.0], [0.0, 1.5]));
    assert_near(plain.covariance[(0, 0)], 6.0, 1e-12, "unbiased covariance");
    assert_near(plain.distance(&plain), 0.0, 1e-9, "the same");
    // Of axes that agree: |Δμ|² + Σ (σ₁ - σ₂)².
    let other = gaussian(&cross([1.0, -2.0], [1.0, 0.0], [0.0, 2.0]));
    let spread = |a: f64, b: f64| ((2.0 * a * a / 3.0).sqrt() - (2.0 * b * b / 3.0).sqrt()).powi(2);
    assert_near(plain.distance(&other), 5.0 + spread(3.0, 1.0) + spread(1.5, 2.0), 1e-9, "axes that agree");
    // Of any two in a plane: tr (AB)^½ = √(tr AB + 2 √det AB).
    let turned = gaussian(&cross([0.5, 0.5], [2.0, 1.0], [-0.3, 1.2]));
    let (a, b) = (&plain.covariance, &turned.covariance);
    let product = a * b;
    let root = (product.trace() + 2.0 * (a.determinant() * b.determinant()).sqrt()).sqrt();
    let want = 0.5 + a.trace() + b.trace() - 2.0 * root;
    assert_near(plain.distance(&turned), want, 1e-9, "axes that do not agree");
    assert_near(plain.distance(&turned), turned.distance(&plain), 1e-9, "symmetric");

    let refused = Gaussian::of(&cross([0.0; 2], [1.0; 2], [2.0; 2])[..2]).expect_err("two pictures, two features");
    assert!(refused.to_string().contains("2 pictures are too few"), "{refused}");
}

#[test]
fn precision_and_recall_tell_fidelity_from_diversity() {
    let line = |from: f64, step: f64| (0..12).map(|n| vec![from + step * f64::from(n), 0.0]).collect::<Vec<_>>();
    let real = line(0.0, 1.0);
    let same = Manifolds::of(&real, &line(0.25, 1.0));
    assert_eq!((same.precision, same.recall, same.coverage), (1.0, 1.0, 1.0));
    let far = Manifolds::of(&real, &line(1000.0, 1.0));
    assert_eq!(far, Manifolds { precision: 0.0, recall: 0.0, density: 0.0, coverage: 0.0 });
    // All of one kind: right, but of no variety. The balls of real pictures reach to the third neighbour.
    let one = Manifolds::of(&real, &line(5.25, 1e-6));
    assert_eq!((one.precision, one.recall), (1.0, 0.0));
    assert!(one.coverage < 0.7, "{}", one.coverage);
    // Of many kinds, one of twelve right.
    let wild: Vec<_> = (0..12).map(|n| vec![5.0, 100.0 * f64::from(n)]).collect();
    let wild = Manifolds::of(&real, &wild);
    assert_near(wild.precision, 1.0 / 12.0, 1e-12, "one of twelve");
    assert_eq!(wild.recall, 1.0);
}

#[test]
fn the_inception_score_counts_kinds() {
    let sure = |class: usize| Reading {
        features: vec![0.0],
        probabilities: (0..8).map(|of| if of == class { 1.0 } else { 0.0 }).collect(),
    };
    let all: Vec<_> = (0..8).map(sure).collect();
    assert_near(score(&all), 8.0, 1e-9, "all kinds alike");
    assert_near(score(&[sure(3), sure(3), sure(3)]), 1.0, 1e-9, "one kind");
    let unsure = Reading { features: vec![0.0], probabilities: vec![0.125; 8] };
    assert_near(score(&[unsure.clone(), unsure]), 1.0, 1e-9, "nothing is clear");
    assert_near(evaluate::perplexity(&[5, 5, 5, 5, 0, 0]), 4.0, 1e-9, "four codes alike");
    assert_near(evaluate::perplexity(&[7, 0]), 1.0, 1e-9, "one code");
}

const VOCAB: usize = 64;

/// A family's network of little size with fresh weights on 4 × 4 tokens.
fn fresh(family: &str, config: &Value) -> Box<dyn Network> {
    let (weights, device) = (Weights::Fresh, Device::flex());
    let tokenizer = json!({});
    let parts = Parts {
        config,
        weights: &weights,
        grid: Grid::new(4, 4),
        tokenizer: &tokenizer,
        tokenizer_weights: &weights,
        device: &device,
    };
    (networks::by_name(family).expect("registered").build)(&parts).expect("builds")
}

fn transformer() -> Value {
    json!({ "dim": 32, "n_layer": 2, "n_head": 2, "vocab_size": VOCAB, "num_classes": 3 })
}

fn some_tokens(count: usize, vocab: usize) -> Vec<Token> {
    (0..count).map(|site| ((site * 37 + 11) % vocab) as Token).collect()
}

#[test]
fn a_fresh_network_finds_every_code_equally_likely() {
    let open_magvit2 = json!({
        "dim": 32, "n_head": 2, "spatial_n_layer": 2, "factorized_n_layer": 1, "factorized_bits": [2, 4], "class_num": 3,
        "multiple_of": 32, "norm_eps": 1e-5, "rope_base": 10_000.0,
    });
    let tensorar =
        |base: &str, config: &Value| json!({ "base": { "family": base, "config": config }, "k": 3, "depth": 1 });
    let all = [
        ("RandAR", transformer(), "random"),
        ("RandAR", transformer(), "spiral-in"),
        ("LlamaGen", transformer(), "raster"),
        ("Open-MAGVIT2", open_magvit2.clone(), "raster"),
        ("TensorAR", tensorar("LlamaGen", &transformer()), "raster"),
        ("TensorAR", tensorar("Open-MAGVIT2", &open_magvit2), "raster"),
    ];
    for (family, config, order) in all {
        let bits = bits(fresh(family, &config).as_mut(), 1, order, &some_tokens(16, VOCAB), 5).expect("reads");
        assert_eq!(bits.len(), 16);
        assert!(bits.iter().all(|bits| (bits - 6.0).abs() < 1e-5), "{family}, {order}: {bits:?}");
    }
    let mut network = fresh("LlamaGen", &transformer());
    for (class, order, tokens) in [(1, "random", 16), (9, "raster", 16), (1, "raster", 15)] {
        bits(network.as_mut(), class, order, &some_tokens(tokens, VOCAB), 0).expect_err("refused");
    }
    bits(network.as_mut(), 1, "raster", &[VOCAB as Token; 16], 0).expect_err("a code that does not exist");
}

/// A network that is only told step by step, and counts the steps.
struct StepByStep<'a>(&'a mut dyn Network, Cell<usize>);

impl Network for StepByStep<'_> {
    fn spec(&self) -> &Spec {
        self.0.spec()
    }
    fn begin(&mut self, prompt: &Prompt, lattice: &Lattice) -> Result<()> {
        self.0.begin(prompt, lattice)
    }
    fn predict(&mut self, visit: &[Site]) -> Result<Tensor<3>> {
        self.1.set(self.1.get() + 1);
        self.0.predict(visit)
    }
    fn tell(&mut self, visit: &[Site], tokens: &[Token]) -> Result<()> {
        self.0.tell(visit, tokens)
    }
}

fn tiny_randar(device: &Device) -> (RandArNetwork, usize) {
    let case = RandArCase::read();
    let grid = case.grids[0];
    (case.network(Grid::new(grid, grid), device), grid)
}

fn tiny_rar(device: &Device) -> RarNetwork {
    RarCase::read().network(device)
}

#[test]
fn the_likelihood_step_by_step_is_that_of_the_whole() {
    let device = Device::flex();
    let mut randar = tiny_randar(&device).0;
    let mut rar = tiny_rar(&device);
    let mut llamagen = fresh("LlamaGen", &transformer());
    let networks: [(&mut dyn Network, &str); 5] = [
        (&mut randar, "random"),
        (&mut tiny_randar(&device).0, "z-curve"),
        (&mut rar, "raster"),
        (&mut tiny_rar(&device), "random"),
        (llamagen.as_mut(), "raster"),
    ];
    for (network, order) in networks {
        let spec = network.spec().clone();
        let tokens = some_tokens(spec.lattice.len(), spec.vocab);
        let whole = bits(network, 1, order, &tokens, 3).expect("reads");
        let mut slow = StepByStep(network, Cell::new(0));
        let steps = bits(&mut slow, 1, order, &tokens, 3).expect("reads");
        assert_eq!(slow.1.get(), tokens.len(), "a step per token");
        for (site, (whole, step)) in whole.iter().zip(&steps).enumerate() {
            assert_near(*step, *whole, 2e-4, &format!("{}, {order}, site {site}", spec.family));
        }
    }
}

#[test]
fn teacher_forced_logits_are_the_published_ones() {
    let device = Device::flex();
    let sites = |order: &[i32]| order.iter().map(|site| Site(*site as u32)).collect::<Vec<_>>();
    let values = |logits: Tensor<3>| logits.into_data().try_to_vec::<f32>().expect("f32");

    let (mut randar, grid) = tiny_randar(&device);
    let golden = Golden::read(&goldens("randar").join("randar_golden.safetensors"));
    let get = |name: &str| golden.get(&format!("g{grid}.{name}"));
    for (sample, class) in get("class_ids").ints().into_iter().enumerate() {
        let order = get("token_order").at(sample).ints();
        let tokens = get("token_ids").at(sample).ints();
        let told: Vec<Token> = order.iter().map(|site| tokens[*site as usize] as Token).collect();
        let logits = randar.teacher_forced(class as u32, &sites(&order), &told).expect("reads").expect("at once");
        get("tf.logits").at(sample).assert_close(&values(logits), 1e-4, "RandAR");
    }

    let mut rar = tiny_rar(&device);
    let vocab = rar.spec().vocab;
    let golden = Golden::read(&goldens("rar").join("rar_train.safetensors"));
    let mut compared = 0;
    for (sample, condition) in golden.get("condition").ints().into_iter().enumerate() {
        let class = (condition - (vocab as i32 + 1)) as u32;
        let order = golden.get("orders").at(sample).ints();
        let labels: Vec<Token> = golden.get("labels").at(sample).ints().iter().map(|token| *token as Token).collect();
        let logits = rar.teacher_forced(class, &sites(&order), &labels).expect("reads").expect("at once");
        let mut want = golden.get("logits").at(sample);
        // The last row predicts nothing.
        want.values.truncate(order.len() * vocab);
        want.assert_close(&values(logits), 1e-4, "RAR");
        compared += 1;
    }
    assert!(compared > 1);
}

#[test]
fn inception_has_the_published_sizes_and_keys() {
    let device = Device::flex();
    let network = InceptionV3::new(&device);
    // 21 785 568 of the features as everywhere, the statistics of 17 216 norms, and 1008 logits.
    assert_eq!(network.num_params(), 21_785_568 + 2 * 17_216 + 2048 * 1008 + 1008);
    let file = published(&network);
    for (name, shape) in [
        ("Conv2d_1a_3x3.conv.weight", &[32, 3, 3, 3][..]),
        ("Conv2d_4a_3x3.bn.running_var", &[192]),
        ("Mixed_5b.branch5x5_2.conv.weight", &[64, 48, 5, 5]),
        ("Mixed_5d.branch_pool.conv.weight", &[64, 288, 1, 1]),
        ("Mixed_6a.branch3x3dbl_3.bn.bias", &[96]),
        ("Mixed_6b.branch7x7_2.conv.weight", &[128, 128, 1, 7]),
        ("Mixed_6c.branch7x7dbl_2.conv.weight", &[160, 160, 7, 1]),
        ("Mixed_6e.branch7x7dbl_5.conv.weight", &[192, 192, 1, 7]),
        ("Mixed_7a.branch7x7x3_4.conv.weight", &[192, 192, 3, 3]),
        ("Mixed_7b.branch3x3_2b.conv.weight", &[384, 384, 3, 1]),
        ("Mixed_7c.branch3x3dbl_1.conv.weight", &[448, 2048, 1, 1]),
        ("Mixed_7c.branch_pool.bn.running_mean", &[192]),
        ("fc.weight", &[1008, 2048]),
        ("fc.bias", &[1008]),
    ] {
        assert_eq!(file.get(name).shape, shape, "{name}");
    }
    // Ninety-four convolutions with five tensors each, and two of the last layer.
    assert_eq!(file.names().count(), 94 * 5 + 2);
}

/// A safetensors file of Inception's keys with the goldens' formula, but for the statistics of norms
/// (`goldens/inception/reference.py`).
fn inception_weights(device: &Device) -> Vec<u8> {
    let fresh = published(&InceptionV3::new(device));
    let values = |name: &str| -> Vec<u8> {
        let shape = &fresh.get(name).shape;
        let drawn = || formula::uniform(name, shape.iter().product());
        let values: Vec<f32> = if name.ends_with("running_var") {
            drawn().map(|u| (0.4 + 0.2 * u) as f32).collect()
        } else if name.ends_with("running_mean") {
            drawn().map(|u| (0.1 * (2.0 * u - 1.0)) as f32).collect()
        } else {
            formula::values(name, shape).collect()
        };
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    };
    let tensors: Vec<_> = fresh.names().map(|name| (name, values(name))).collect();
    let views = tensors.iter().map(|(name, bytes)| {
        let shape = fresh.get(name).shape.clone();
        (*name, TensorView::new(Dtype::F32, shape, bytes).expect("as many bytes"))
    });
    safetensors::serialize(views, None).expect("each name once")
}

#[test]
fn inception_reads_as_published() {
    let (folder, device) = (Folder::new("inception"), Device::flex());
    let file = folder.0.join("inception.safetensors");
    let weights = inception_weights(&device);
    std::fs::write(&file, &weights).expect("writes");
    let network = load(InceptionV3::new(&device), weights, &KEYS, "formula").expect("loads");
    let golden = Golden::read(&goldens("inception").join("inception.safetensors"));
    let picture: Vec<f32> =
        formula::uniform("input.inception.img", 3 * 40 * 52).map(|u| (2.0 * u - 1.0) as f32).collect();
    let features = network.features(Tensor::from_data(TensorData::new(picture, [1, 3, 40, 52]), &device));
    let logits = network.logits(features.clone());
    let values = |x: Tensor<2>| x.into_data().try_to_vec::<f32>().expect("f32");
    golden.get("features").assert_close(&values(features), 1e-4, "features");
    golden.get("logits").assert_close(&values(logits), 1e-4, "logits");

    let inception = Inception::open(&file, &device).expect("opens");
    let reading = inception.read(&scenes::scene(0, 1, 48)).expect("reads");
    assert_eq!((reading.features.len(), reading.probabilities.len()), (2048, 1008));
    assert_near(reading.probabilities.iter().sum(), 1.0, 1e-4, "probabilities");

    let part = folder.0.join("part.safetensors");
    std::fs::write(&part, export(&tiny_classifier(), &KEYS).expect("exports")).expect("writes");
    let error = Inception::open(&part, &device).err().expect("another network").to_string();
    assert!(error.contains("part.safetensors") && error.contains("missing"), "{error}");
    let error = Inception::open(&folder.0.join("none.pth"), &device).err().expect("no file").to_string();
    assert!(error.contains("none.pth"), "{error}");
}

fn tiny_classifier() -> SceneClassifier {
    SceneClassifier::new(&ClassifierConfig { side: 16, width: 8, classes: 2 }, &Device::flex())
}

#[test]
fn pictures_are_resized_as_torch_does() {
    let device = Device::flex();
    let row = |samples: &[f32]| Tensor::<1>::from_floats(samples, &device).reshape([1, 1, 1, samples.len()]);
    let values = |x: Tensor<4>| x.into_data().try_to_vec::<f32>().expect("f32");
    // `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` of [0, 1, 2, 3] to 8 and to 2 columns.
    let up = values(resized(row(&[0.0, 1.0, 2.0, 3.0]), [1, 8]));
    let want = [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0];
    assert!(up.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6), "{up:?}");
    // Without anti-aliasing: only the nearest two of the six count.
    let down = values(resized(row(&[0.0, 10.0, 0.0, 0.0, 10.0, 0.0]), [1, 2]));
    assert_eq!(down, [10.0, 10.0]);
}

/// A model of little size on the scenes, with fresh weights.
fn tiny_model() -> Model {
    let tokenizer = json!({
        "ch": 32, "encoder_ch_mult": [1, 1, 1], "decoder_ch_mult": [1, 1, 1], "num_res_blocks": 1, "z_channels": 32,
        "codebook_size": VOCAB, "codebook_embed_dim": 4,
    });
    let sampling = Sampling::default();
    let card = Card {
        id: "tiny".into(),
        title: "Tiny".into(),
        family: "RandAR".into(),
        side: 16,
        grid: 4,
        parameters: 0,
        subjects: (0..scenes::CLASSES).map(scenes::class_name).collect(),
        defaults: Defaults { steps: 3, guidance: Guidance::linear(2.0), sampling },
        network: json!({ "dim": 32, "n_layer": 1, "n_head": 2, "vocab_size": VOCAB, "num_classes": scenes::CLASSES }),
        tokenizer: TokenizerCard { kind: "LlamaGen VQ".into(), config: tokenizer, weights: None },
    };
    random(card, choose(DeviceChoice::Cpu).expect("a processor")).expect("builds")
}

/// Features that are cheap: means of the colours of quarters, so that there are 12.
struct Colours;

impl Extractor for Colours {
    fn name(&self) -> String {
        "colours".into()
    }
    fn width(&self) -> usize {
        12
    }
    fn read(&self, picture: &RgbImage) -> Result<Reading> {
        let small = image::imageops::thumbnail(picture, 2, 2);
        let features: Vec<f64> = small.as_raw().iter().map(|byte| f64::from(*byte) / 255.0).collect();
        let sum: f64 = features.iter().map(|value| value + 1e-3).sum();
        let probabilities = features.iter().map(|value| (value + 1e-3) / sum).collect();
        Ok(Reading { features, probabilities })
    }
}

fn evaluated(settings: &Settings) -> Result<Report> {
    evaluate::model(&mut tiny_model(), &HeldOut::Scenes { seed: settings.seed }, &Colours, settings, &mut |_| {})
}

#[test]
fn a_generator_gets_every_figure_and_the_same_again() {
    let settings = Settings { pictures: 26, reference: 60, seed: 4, order: None };
    let mut model = tiny_model();
    let mut tasks = Vec::new();
    let data = HeldOut::Scenes { seed: settings.seed };
    let mut evaluate = |settings: &Settings| {
        evaluate::model(&mut model, &data, &Colours, settings, &mut |progress| {
            assert!(progress.done < progress.of);
            if tasks.last() != Some(&progress.task) {
                tasks.push(progress.task);
            }
        })
        .expect("evaluates")
    };
    let (once, again) = (evaluate(&settings), evaluate(&settings));
    assert_eq!(once, again, "another report of the same seed");
    assert_eq!(tasks[..5], ["held-out pictures", "reference", "samples", "holes", "likelihood"]);

    let report = json!(once);
    let named = |list: &str, name: &str| {
        let found = report[list].as_array().expect("a list").iter().find(|figure| figure["name"] == name);
        found.unwrap_or_else(|| panic!("no {name}: {report:#}")).clone()
    };
    for name in ["PSNR", "SSIM", "codes in use", "perplexity of the codes"] {
        assert!(named("tokenizer", name)["value"].is_number(), "{name}");
    }
    for name in ["Fréchet distance", "Inception score", "precision", "recall", "density", "coverage"] {
        let figure = named("generator", name);
        assert!(figure["value"].is_number() && figure["held_out"].is_number(), "{figure}");
    }
    let (of_samples, of_real) =
        (named("generator", "Fréchet distance"), &named("generator", "Fréchet distance")["held_out"]);
    assert!(of_samples["value"].as_f64() > of_real.as_f64(), "noise is farther from scenes than scenes");
    // Fresh weights: every code is as likely as the others, in every order.
    let orders: Vec<_> = once.generator.iter().filter(|figure| figure.unit == Unit::Bits).collect();
    assert_eq!(orders.len(), 10);
    assert!(orders.iter().all(|figure| (figure.value - 6.0).abs() < 1e-5), "{orders:?}");
    assert_eq!(orders[0].name, "bits per token, random");
}

/// A model of the same weights in raster order, and a RAR whose tables were merged, which has no other order.
#[test]
fn models_are_compared_under_the_same_conditions() {
    let settings = Settings { pictures: 13, reference: 13, seed: 4, order: None };
    let evaluated = |model: &mut Model, order| {
        let data = HeldOut::Scenes { seed: settings.seed };
        evaluate::model(model, &data, &Colours, &Settings { order, ..settings }, &mut |_| {})
    };
    let mut model = tiny_model();
    let card = model.card.clone();
    let rar = json!({
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "image_seq_len": 16,
        "codebook_size": VOCAB, "condition_num_classes": scenes::CLASSES, "merged": true, "scan": "raster",
    });
    let merged = Card { family: "RAR".into(), network: rar, ..card.clone() };
    let mut merged = random(merged, choose(DeviceChoice::Cpu).expect("a processor")).expect("builds");
    let refused = evaluated(&mut merged, Some("spiral-in")).expect_err("it has one order");
    assert!(refused.to_string().contains("merged"), "{refused}");
    let mut report = evaluated(&mut model, None).expect("evaluates");
    let raster = evaluated(&mut model, Some("raster")).expect("evaluates");
    report.compare(&card, &card, Some("raster"), raster);
    let only = evaluated(&mut merged, None).expect("evaluates");
    report.compare(&card, &merged.card, None, only);

    let [raster, rar] = &report.against[..] else { panic!("{:?}", report.against) };
    let bits = |figures: &[Figure]| figures.iter().filter(|figure| figure.unit == Unit::Bits).count();
    assert_eq!((bits(&report.generator), bits(&raster.generator), bits(&rar.generator)), (10, 10, 1));
    let rows = report.rows();
    let row = |name: &str| &rows.iter().find(|row| row.figure.name == name).expect("a row").values;
    assert!(row(FRECHET).iter().all(Option::is_some));
    assert_ne!(row(FRECHET)[0], row(FRECHET)[1], "another order makes other pictures");
    assert_eq!(row("bits per token, spiral-in").iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!((raster.claim.is_some(), rar.claim), (true, None));
    let [verdict] = &card::verdicts(&report)[..] else { panic!("one pair is the paper's") };
    let better = report.generator[0].value < raster.generator[0].value;
    assert_eq!(verdict.contains("that holds"), better, "{verdict}");
    let text = card::section(&report, "andamento evaluate tiny");
    let head = "| Generator | model | tiny@raster | tiny | real held-out pictures |\n|---|---|---|---|---|\n";
    assert!(text.contains(head) && text.contains(verdict.as_str()), "{text}");
    assert!(text.contains("| Tokenizer | model | real held-out pictures |\n|---|---|---|\n| PSNR |"), "{text}");
}

#[test]
fn too_few_pictures_are_refused_before_anything_is_computed() {
    let refused =
        |pictures: usize, reference: usize| match evaluated(&Settings { pictures, reference, seed: 0, order: None }) {
            Err(Error::Control { control, cause, remedy }) => (control, format!("{cause}. {remedy}")),
            other => panic!("{other:?}"),
        };
    let (control, text) = refused(12, 60);
    assert_eq!(control, "--pictures");
    assert!(text.contains("too few for the covariance of 12 features") && text.contains("13 or more"), "{text}");
    assert_eq!(refused(13, 12).0, "--reference");
    assert_eq!(refused(2, 60).0, "--pictures");
}

#[test]
fn held_out_folders_know_their_classes() {
    let folder = Folder::new("folder");
    let subjects = ["night".to_string(), "day".into()];
    for (class, name) in [("Day", "a.png"), ("Day", "b.png"), ("night", "c.png"), ("other", "d.png")] {
        std::fs::create_dir_all(folder.0.join(class)).expect("folder");
        noise(40, 24, 1).save(folder.0.join(class).join(name)).expect("picture");
    }
    std::fs::write(folder.0.join("day.txt"), "no picture").expect("text");
    let data = HeldOut::folder(&folder.0, &subjects, 0).expect("reads");
    let mut classes: Vec<_> = (0..4).map(|index| data.picture(index, 16).expect("opens")).collect();
    assert!(classes.iter().all(|(picture, _)| picture.dimensions() == (16, 16)));
    classes.sort_by_key(|(_, class)| *class);
    assert_eq!(classes.iter().map(|(_, class)| *class).collect::<Vec<_>>(), [None, Some(0), Some(1), Some(1)]);
    assert!(data.picture(4, 16).is_err());
    assert!(data.check(2).is_ok());
    let error = data.check(3).expect_err("four pictures, two sets of three").to_string();
    assert!(error.contains("--pictures 2"), "{error}");

    std::fs::write(folder.0.join("other/broken.png"), "no picture").expect("text");
    let data = HeldOut::folder(&folder.0, &subjects, 0).expect("reads");
    let broken: Vec<_> = (0..5).filter_map(|index| data.picture(index, 16).err()).collect();
    assert!(broken.len() == 1 && broken[0].to_string().contains("broken.png"), "{broken:?}");
    let empty = Folder::new("empty");
    assert!(HeldOut::folder(&empty.0, &subjects, 0).is_err());
    assert!(HeldOut::folder(&empty.0.join("none"), &subjects, 0).is_err());
}

#[test]
fn a_card_holds_its_figures_once() {
    let figure = |value| Figure { name: "precision".into(), unit: Unit::Share, value, held_out: Some(0.975) };
    let report = |value| Report {
        model: "tiny".into(),
        data: "held-out scenes".into(),
        features: Some("classifier".into()),
        device: "processor".into(),
        pictures: 96,
        reference: 1000,
        seed: 0,
        tokenizer: Vec::new(),
        generator: vec![figure(value)],
        against: Vec::new(),
    };
    let card = "# Tiny\n\nA model.\n";
    let first = card::with_figures(card, &report(0.5), "andamento evaluate tiny");
    assert!(first.starts_with(card) && first.contains("| precision | 50.0 % | 97.5 % |"), "{first}");
    assert!(first.contains("`andamento evaluate tiny`"), "{first}");
    let longer = format!("{first}\nLimits: none.\n");
    let second = card::with_figures(&longer, &report(0.25), "andamento evaluate tiny");
    assert_eq!(second, longer.replace("50.0 %", "25.0 %"), "the section alone changes");
}

#[test]
fn the_shipped_classifier_knows_the_scenes() {
    let device = Device::flex();
    let classifier = Classifier::bundled(&device).expect("loads");
    assert!((64..=128).contains(&classifier.width()));
    let data = HeldOut::Scenes { seed: 77 };
    let wrong = (0..4 * scenes::CLASSES).filter(|index| {
        let (picture, class) = data.picture(*index, 256).expect("a scene");
        Some(classifier.read(&picture).expect("reads").class() as u32) != class
    });
    let wrong = wrong.count();
    assert!(wrong <= 1, "{wrong} of {} held-out scenes are taken for others", 4 * scenes::CLASSES);
}
