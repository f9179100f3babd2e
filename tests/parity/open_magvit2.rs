//! Open-MAGVIT2's generator and tokenizer, `TencentARC/SEED-Voken`.

use std::sync::Arc;

use andamento_model::checkpoint::{OPEN_MAGVIT2_KEYS, load};
use andamento_model::lattice::{Grid, Lattice, Site, Token};
use andamento_model::network::{Network, Prompt};
use andamento_model::networks::llamagen::{Dropout, Rope};
use andamento_model::networks::open_magvit2::{OpenMagvit2, OpenMagvit2Config, OpenMagvit2Network, PRESETS};
use andamento_model::plan::{Given, Plan};
use andamento_model::sample::{Guidance, Sampling};
use andamento_model::schedule::Schedule;
use andamento_model::tokenizer::Tokenizer;
use andamento_model::tokenizers::open_magvit2_lfq::{LfqConfig, LfqModel, OpenMagvit2Lfq, codes, quantised};
use andamento_tests::{Array, Golden, goldens, json};
use burn::prelude::*;
use burn::tensor::Int;
use burn::tensor::activation::log_softmax;

use super::{LOGITS, PIXELS, assert_gradients, assert_raster_only, decode_with, floats, ints, mixed};

/// A number or a list of numbers of the golden configuration.
fn sizes(name: &str) -> Vec<usize> {
    let config = json(&goldens("open_magvit2").join("config.json"));
    let values = match &config[name] {
        serde_json::Value::Array(values) => values.clone(),
        value => vec![value.clone()],
    };
    values.iter().map(|value| value.as_u64().unwrap_or_else(|| panic!("no size {name}")) as usize).collect()
}

pub(super) struct MagvitCase {
    pub(super) golden: Golden,
    pub(super) config: OpenMagvit2Config,
    pub(super) side: usize,
}

impl MagvitCase {
    pub(super) fn read() -> Self {
        let size = |name| sizes(name)[0];
        let bits = sizes("bits");
        let config = OpenMagvit2Config {
            dim: size("dim"),
            n_head: size("heads"),
            spatial_n_layer: size("sp"),
            factorized_n_layer: size("fa"),
            factorized_bits: [bits[0], bits[1]],
            class_num: size("ncls"),
            multiple_of: size("multiple_of"),
            norm_eps: 1e-5,
            rope_base: 10_000.0,
        };
        config.check().expect("possible sizes");
        let golden = Golden::read(&goldens("open_magvit2").join("gpt.safetensors"));
        Self { golden, config, side: size("grid") }
    }

    pub(super) fn weights(&self, device: &Device) -> OpenMagvit2 {
        let file = goldens("open_magvit2").join("gpt_weights.safetensors");
        let bytes = std::fs::read(&file).expect("weights");
        let fresh = OpenMagvit2::new(&self.config, device);
        load(fresh, bytes, &OPEN_MAGVIT2_KEYS, file).expect("the published layout loads")
    }

    pub(super) fn network(&self, device: &Device) -> OpenMagvit2Network {
        OpenMagvit2Network::new(self.weights(device), self.config.clone(), Grid::new(self.side, self.side), device)
    }

    /// The codes of two golden arrays of factors.
    pub(super) fn codes(&self, pre: &str, post: &str) -> Array {
        let (pre, post) = (self.golden.get(pre), self.golden.get(post));
        let radix = (1 << self.config.factorized_bits[0]) as f32;
        let values = pre.values.iter().zip(&post.values).map(|(pre, post)| pre + radix * post).collect();
        Array { shape: pre.shape.clone(), values }
    }

    fn rope(&self, device: &Device) -> Rope {
        Rope::new(self.side, self.side, self.config.spatial().head_dim(), self.config.rope_base, device)
    }

    /// Logits of both factors of the golden tokens, teacher forced.
    pub(super) fn logits(&self, weights: &OpenMagvit2, device: &Device) -> [Tensor<3>; 2] {
        let classes = Tensor::<1, Int>::from_data(self.golden.get("label").ints().as_slice(), device);
        let codes = ints(&self.codes("idx_pre", "idx_post"), device);
        weights.forward(classes, codes, &self.rope(device), Dropout::default())
    }

    fn plan(&self, given: &[Option<Token>]) -> Arc<Plan> {
        let raster: Vec<u32> = (0..(self.side * self.side) as u32).collect();
        let lattice = Lattice::grid(self.side, self.side);
        Arc::new(Plan::new(lattice, &raster, given, Schedule::OneByOne, Given::InPlace).expect("plan"))
    }
}

#[test]
fn open_magvit2_teacher_forced_logits() {
    let (case, device) = (MagvitCase::read(), Device::flex());
    case.golden.get("freqs_cis").assert_close(&floats(case.rope(&device).freqs_cis()), 1e-5, "rotary table");
    let [pre, post] = case.logits(&case.weights(&device), &device);
    case.golden.get("logits_pre").assert_close(&floats(pre), LOGITS, "logits of the first factor");
    case.golden.get("logits_post").assert_close(&floats(post), LOGITS, "logits of the second factor");
}

#[test]
fn open_magvit2_losses_and_gradients() {
    let (case, device) = (MagvitCase::read(), Device::flex().autodiff());
    let weights = case.weights(&device);
    let [pre, post] = case.logits(&weights, &device);
    let loss = |logits: Tensor<3>, factor: &str| {
        let targets = ints(case.golden.get(&format!("idx_{factor}")), &device);
        let loss = log_softmax(logits, 2).gather(2, targets.unsqueeze_dim(2)).mean().neg();
        case.golden.get(&format!("loss_{factor}")).assert_close(&floats(loss.clone()), 1e-5, factor);
        loss
    };
    assert_gradients(&case.golden, "grad.", &weights, &(loss(pre, "pre") + loss(post, "post")));
}

/// The generations: names `X` of `X.cfg`.
fn runs(golden: &Golden) -> Vec<String> {
    golden.names().filter_map(|name| Some(name.strip_suffix(".cfg")?.to_string())).collect()
}

/// Compares the golden generations of these runs on a device; returns how many there were.
fn greedy_generations(case: &MagvitCase, runs: &[String], device: &Device) -> usize {
    let mut network = case.network(device);
    let sites = case.side * case.side;
    let plan = case.plan(&vec![None; sites]);
    let labels = case.golden.get("label").ints();
    let mut compared = 0;
    for run in runs {
        let get = |name: &str| case.golden.get(&format!("{run}.{name}"));
        let pair = |name: &str| [get(name).values[0], get(name).values[1]];
        let (scales, temperatures) = (pair("cfg"), pair("temperature"));
        let guidance = Guidance::Factors { scales };
        let codes = case.codes(&format!("{run}.pre"), &format!("{run}.post"));
        for (sample, label) in labels.iter().enumerate() {
            let prompt = Prompt { class: *label as u32, guided: guidance.is_on() };
            network.begin(&prompt, &plan.lattice).expect("begins");
            for (site, code) in codes.at(sample).ints().into_iter().enumerate() {
                let visit = [Site(site as u32)];
                let pre = code as Token % (1 << case.config.factorized_bits[0]);
                let first = network.predict(&visit).expect("predicts");
                let second = network.refine(&visit, &[pre]).expect("refines").expect("a second factor");
                assert!(network.refine(&visit, &[pre]).expect("refines").is_none(), "there is no third factor");
                for (logits, index, name) in [(first, 0, "probs_pre"), (second, 1, "probs_post")] {
                    let sampling = Sampling { temperature: temperatures[index], ..Sampling::default() };
                    let got = sampling.probabilities(&mixed(logits, [scales[index], 1.0]));
                    get(name).at(sample).at(site).assert_close(&got, 1e-5, &format!("{run}.{name} at {site}"));
                }
                network.tell(&visit, &[code as Token]).expect("tells");
            }
            let greedy = Sampling {
                temperature: temperatures[0],
                second_temperature: Some(temperatures[1]),
                top_k: 1,
                ..Sampling::default()
            };
            let tokens = decode_with(&mut network, &plan, *label as u32, guidance, greedy);
            assert_eq!(tokens, codes.at(sample).ints(), "{run}: tokens");
            compared += 1;
        }
    }
    compared
}

#[test]
fn open_magvit2_greedy_generations() {
    let case = MagvitCase::read();
    let runs = runs(&case.golden);
    assert!(greedy_generations(&case, &runs, &Device::flex()) > 0, "the goldens hold no generation");
}

#[test]
fn open_magvit2_greedy_generations_on_the_gpu_path() {
    let case = MagvitCase::read();
    let guided: Vec<_> =
        runs(&case.golden).into_iter().filter(|run| case.golden.get(&format!("{run}.cfg")).values[0] > 1.0).collect();
    assert!(greedy_generations(&case, &guided, &crate::gpu::device()) > 0, "the goldens hold no guided generation");
}

#[test]
fn open_magvit2_reads_given_tokens_at_their_own_places() {
    let (case, device) = (MagvitCase::read(), Device::flex());
    let mut network = case.network(&device);
    let labels = case.golden.get("label").ints();
    let codes = case.codes("idx_pre", "idx_post");
    for (sample, label) in labels.iter().enumerate() {
        let codes = codes.at(sample).ints();
        // Every other pair of tokens is given.
        let given: Vec<Option<Token>> =
            codes.iter().enumerate().map(|(site, code)| (site % 4 < 2).then_some(*code as Token)).collect();
        let plan = case.plan(&given);
        network.begin(&Prompt { class: *label as u32, guided: false }, &plan.lattice).expect("begins");
        let told = |sites: &[Site]| -> Vec<Token> { sites.iter().map(|site| codes[site.index()] as Token).collect() };
        for visit in &plan.visits {
            if !visit.told.is_empty() {
                network.tell(&visit.told, &told(&visit.told)).expect("tells");
            }
            let site = visit.sites[0].index();
            let want = case.golden.get("logits_pre").at(sample).at(site);
            let got = network.predict(&visit.sites).expect("predicts");
            want.assert_close(&floats(got), LOGITS, "the first factor");
            let pre = case.golden.get("idx_pre").at(sample).ints()[site] as Token;
            let got = network.refine(&visit.sites, &[pre]).expect("refines").expect("a second factor");
            let want = case.golden.get("logits_post").at(sample).at(site);
            want.assert_close(&floats(got), LOGITS, "the second factor");
            network.tell(&visit.sites, &told(&visit.sites)).expect("tells");
        }
    }
}

#[test]
fn open_magvit2_may_be_asked_twice_and_refuses_other_orders() {
    let (case, device) = (MagvitCase::read(), Device::flex());
    assert_raster_only(&mut case.network(&device), &Lattice::grid(case.side, case.side));
}

#[test]
fn open_magvit2_tokenizer() {
    let (folder, device) = (goldens("open_magvit2"), Device::flex());
    let golden = Golden::read(&folder.join("tokenizer.safetensors"));
    let size = |name| sizes(name)[0];
    let config = LfqConfig {
        ch: size("ch"),
        ch_mult: sizes("ch_mult"),
        num_res_blocks: size("nres"),
        z_channels: size("total_bits"),
    };
    config.check().expect("possible sizes");
    let file = folder.join("tokenizer_weights.safetensors");
    let bytes = std::fs::read(&file).expect("weights");
    let fresh = LfqModel::new(&config, &device);
    let model = load(fresh, bytes, &OPEN_MAGVIT2_KEYS, file).expect("the published layout loads");

    let image = golden.get("img");
    let pixels = Tensor::<4>::from_data(TensorData::new(image.values.clone(), image.shape.clone()), &device);
    let features = model.encoder.forward(pixels.clone());
    let [_, bits, rows, cols] = features.dims();
    golden.get("z").assert_close(&floats(features.clone()), PIXELS, "features");
    let full = golden.get("idx_full").ints();
    let int_values = |codes: Tensor<2, Int>| codes.into_data().convert::<i32>().try_to_vec::<i32>().expect("codes");
    assert_eq!(int_values(codes(features)), full, "codes");
    assert_eq!(int_values(model.encode(pixels.clone())), full, "codes of pictures");
    let radix = 1 << sizes("bits")[0];
    assert_eq!(full.iter().map(|code| code % radix).collect::<Vec<_>>(), golden.get("idx_pre").ints(), "first factors");
    assert_eq!(
        full.iter().map(|code| code / radix).collect::<Vec<_>>(),
        golden.get("idx_post").ints(),
        "second factors"
    );

    let random = [golden.get("rnd_pre").ints(), golden.get("rnd_post").ints()];
    let random: Vec<i32> = random[0].iter().zip(&random[1]).map(|(pre, post)| pre + radix * post).collect();
    for (codes, map, picture) in [(&full, "quant", "rec"), (&random, "rnd_quant", "rnd_dec")] {
        let batch = golden.get(map).shape[0];
        let codes = Tensor::<1, Int>::from_data(codes.as_slice(), &device).reshape([batch, rows * cols]);
        golden.get(map).assert_close(&floats(quantised(codes.clone(), bits, rows, cols)), 0.0, "quantised map");
        golden.get(picture).assert_close(&floats(model.decode(codes, rows, cols)), PIXELS, "decoder");
    }

    let tokenizer = OpenMagvit2Lfq::new(model, config.stride(), config.codes(), &device);
    assert_eq!((tokenizer.codes(), tokenizer.stride()), (config.codes(), image.shape[2] / rows));
    let tokens =
        tokenizer.encode(pixels.slice(burn::tensor::s![0..1, .., .., ..]).squeeze_dim::<3>(0)).expect("encodes");
    let first: Vec<Token> = full[..rows * cols].iter().map(|code| *code as Token).collect();
    assert_eq!(tokens, first, "tokens of one picture");
    let lattice = Lattice::grid(rows, cols);
    let decoded = tokenizer.decode(&lattice, &tokens).expect("decodes");
    golden.get("rec").at(0).assert_close(&floats(decoded), PIXELS, "one picture");
    tokenizer.decode(&lattice, &tokens[1..]).expect_err("a token is missing");
    tokenizer.decode(&Lattice::grid(1, 1), &tokens[..1]).expect_err("one token has no spread");
}

#[test]
fn open_magvit2_published_sizes_have_the_published_numbers_of_parameters() {
    let device = Device::flex();
    let millions = |count: usize| (count as f64 / 1e4).round() / 100.0;
    let counts = PRESETS.map(|(name, config)| (name, millions(OpenMagvit2::new(&config, &device).num_params())));
    assert_eq!(counts, [("B", 343.57), ("L", 804.36), ("XL", 1486.68)]);
    assert_eq!(millions(LfqModel::new(&LfqConfig::published(), &device).num_params()), 115.13);
}
