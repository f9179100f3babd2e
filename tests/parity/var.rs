//! VAR, `FoundationVision/VAR`.

use std::path::PathBuf;
use std::sync::Arc;

use andamento_model::boldness::Boldness;
use andamento_model::checkpoint::load;
use andamento_model::decode::{Decoding, Knobs};
use andamento_model::device::{DeviceChoice, choose};
use andamento_model::frame::Extent;
use andamento_model::lattice::{Grid, Lattice, Site, Token};
use andamento_model::library::{self, Card, Model};
use andamento_model::network::{Network, Prompt};
use andamento_model::networks;
use andamento_model::networks::var::{PRESETS, VAR_KEYS, Var, VarConfig, VarNetwork, visible};
use andamento_model::paint::{Event, Request, paint};
use andamento_model::picture::{Mask, Picture, Rect};
use andamento_model::plan::{Given, Plan};
use andamento_model::sample::{Guidance, Moment, Sampling, soft_weights};
use andamento_model::schedule::Schedule;
use andamento_model::seam::Seam;
use andamento_model::tokenizer::Tokenizer;
use andamento_model::tokenizers::var_vqvae::{MultiScaleQuantizer, QUANTIZER_KEYS, QuantizerAlone, VqVaeConfig};
use andamento_model::train::optimiser::Optimiser;
use andamento_model::train::run::{Settings, Trainer};
use andamento_model::train::var::{Course, Progressive, Pyramids, Stage, group, loss};
use andamento_tests::{Array, Golden, formula, goldens, json};
use burn::module::Module;
use burn::prelude::*;
use burn::tensor::Int;

use super::var_vqvae::{VqVaeCase, formula_tokens, tensor, tokens, weights};
use super::{LOGITS, PIXELS, assert_gradients, decode, floats, gradients, guided_logits, mixed, published, var_vqvae};

/// One network of a golden set: `var`, `var_shared` or `var_plainattn`.
struct VarCase {
    name: String,
    config: VarConfig,
    scales: Vec<Grid>,
    folder: PathBuf,
}

impl VarCase {
    /// The networks that have a golden file `{name}_{what}.safetensors`.
    fn with(what: &str) -> Vec<Self> {
        let folder = goldens("var");
        let sizes = json(&folder.join("config.json"));
        let tokenizer = var_vqvae::config(&folder);
        let size = |name: &str| sizes[name].as_u64().unwrap_or_else(|| panic!("the configuration has no {name}"));
        let case = |(name, model): (&String, &serde_json::Value)| {
            let flag = |name: &str| model[name].as_bool().unwrap_or_else(|| panic!("a model has no {name}"));
            let config = VarConfig {
                depth: model["depth"].as_u64().expect("depth") as usize,
                embed_dim: size("embed") as usize,
                num_heads: size("heads") as usize,
                num_classes: size("num_classes") as usize,
                vocab_size: tokenizer.vocab_size,
                Cvae: tokenizer.z_channels,
                patch_nums: tokenizer.v_patch_nums.clone(),
                shared_aln: flag("shared_aln"),
                attn_l2_norm: flag("attn_l2_norm"),
            };
            config.check().expect("the configuration is sound");
            Self { name: name.clone(), scales: config.scales(), config, folder: folder.clone() }
        };
        let cases = sizes["models"].as_object().expect("models").iter().map(case);
        let cases: Vec<Self> = cases.filter(|case| case.file(what).is_file()).collect();
        assert!(!cases.is_empty(), "the goldens hold no {what}");
        cases
    }

    fn file(&self, what: &str) -> PathBuf {
        self.folder.join(format!("{}_{what}.safetensors", self.name))
    }

    fn golden(&self, what: &str) -> Golden {
        Golden::read(&self.file(what))
    }

    fn weights(&self, device: &Device) -> Var {
        weights(Var::new(&self.config, device), &self.folder, &self.name, &VAR_KEYS)
    }

    fn quantizer(&self, device: &Device) -> MultiScaleQuantizer {
        let alone = QuantizerAlone::new(&var_vqvae::config(&self.folder), device);
        weights(alone, &self.folder, "vae", &QUANTIZER_KEYS).quantize
    }

    fn network(&self, device: &Device) -> VarNetwork {
        VarNetwork::new(self.weights(device), self.quantizer(device), self.config.clone(), device)
    }

    fn lattice(&self) -> Lattice {
        Lattice::of_scales(self.scales.clone())
    }

    fn plan(&self, given: &[Option<Token>]) -> Arc<Plan> {
        let order: Vec<u32> = (0..given.len() as u32).collect();
        Arc::new(Plan::new(self.lattice(), &order, given, Schedule::Scales, Given::InPlace).expect("plan"))
    }

    /// The class of a label of the goldens, where below 0 means none.
    fn class(&self, label: i32) -> u32 {
        if label < 0 { self.config.num_classes as u32 } else { label as u32 }
    }

    fn moment(&self, scale: usize) -> Moment {
        let (known, total) = (self.lattice().scale(scale).start as usize, self.lattice().len());
        Moment { known, total, scale, scales: self.scales.len(), factor: 0 }
    }

    /// `{name}_0`, `{name}_1`, … of one sample, one after the other.
    fn all_scales(&self, golden: &Golden, name: &str, sample: usize) -> Vec<f32> {
        let values = |scale| golden.get(&format!("{name}_{scale}")).at(sample).values;
        (0..self.scales.len()).flat_map(values).collect()
    }

    fn all_tokens(&self, golden: &Golden, name: &str, sample: usize) -> Vec<i32> {
        self.all_scales(golden, name, sample).into_iter().map(|token| token as i32).collect()
    }
}

fn guidance(golden: &Golden, run: &str) -> Guidance {
    Guidance::Scales { scale: golden.get(&format!("{run}cfg")).values[0] }
}

/// Samples in -1..1 as the published code returns them, 0..1.
fn img01(samples: Tensor<3>) -> Vec<f32> {
    floats((samples + 1.0) * 0.5)
}

fn labels(array: &Array, device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(array.ints().as_slice(), device)
}

fn argmax(row: &[f32]) -> i32 {
    let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(-1, |(code, _)| code as i32)
}

#[test]
fn var_teacher_forced_logits() {
    let device = Device::flex();
    for case in VarCase::with("forward") {
        let golden = case.golden("forward");
        let var = case.weights(&device);
        let inputs: Tensor<3> = tensor(golden.get("x_BLCv_wo_first_l"), &device);
        for (label, logits) in [("label", "logits"), ("label_null", "logits_null")] {
            let got = var.forward(labels(golden.get(label), &device), Some(inputs.clone()), 0.0, &case.scales);
            golden.get(logits).assert_close(&floats(got), LOGITS, &format!("{}: {logits}", case.name));
        }
    }
}

#[test]
fn var_blocks() {
    let device = Device::flex();
    for case in VarCase::with("forward") {
        let golden = case.golden("forward");
        let close = |name: String, got: &Tensor<3>| {
            golden.get(&name).assert_close(&floats(got.clone()), LOGITS, &format!("{}: {name}", case.name));
        };
        let var = case.weights(&device);
        let class = var.classes(labels(golden.get("label"), &device));
        let modulations = var.modulations(&class);
        let inputs = tensor(golden.get("x_BLCv_wo_first_l"), &device);
        let mut x = var.embed(class, Some(inputs), 0..case.scales.len(), &case.scales);
        close("block_0_in".into(), &x);
        let visible = visible(0..case.scales.len(), &case.scales);
        for (index, (block, modulation)) in var.blocks.iter().zip(&modulations.blocks).enumerate() {
            let attend = |[q, k, v]: [Tensor<4>; 3]| andamento_shaders::cached_attention(q, k, v, &visible);
            let output = block.forward(x, modulation, attend, |x| x);
            close(format!("block_{index}_attn_out"), &output.attention);
            close(format!("block_{index}_ffn_out"), &output.feed_forward);
            close(format!("block_{index}_out"), &output.stream);
            x = output.stream;
        }
        close("head_nm_out".into(), &var.before_head(x, &modulations));
    }
}

/// Golden logits of a sample with its class and without, of all samples with and then all without.
fn both_streams(raw: &Array, sample: usize) -> Array {
    let [with, without] = [sample, sample + raw.shape[0] / 2].map(|row| raw.at(row));
    Array { shape: [&[2], &with.shape[..]].concat(), values: [with.values, without.values].concat() }
}

/// Logits of both streams, scale by scale, as a whole run with these tokens goes: `[2, sites, vocab]` per scale.
fn streams(network: &mut dyn Network, case: &VarCase, class: u32, tokens: &[i32]) -> Vec<Tensor<3>> {
    network.begin(&Prompt { class, guided: true }, &case.lattice()).expect("begins");
    let scale = |scale| {
        let visit: Vec<Site> = case.lattice().scale(scale).map(Site).collect();
        let logits = network.predict(&visit).expect("predicts");
        let told: Vec<Token> = visit.iter().map(|site| tokens[site.index()] as Token).collect();
        network.tell(&visit, &told).expect("tells");
        logits
    };
    (0..case.scales.len()).map(scale).collect()
}

#[test]
fn var_greedy_generations() {
    let device = &Device::flex();
    for case in VarCase::with("generate") {
        let golden = case.golden("generate");
        let vae = VqVaeCase::read(device);
        let (mut network, tokenizer) = (case.network(device), vae.tokenizer(device));
        let runs: Vec<String> = golden.names().filter_map(|name| name.strip_suffix("cfg").map(Into::into)).collect();
        assert!(!runs.is_empty(), "the goldens hold no generation");
        let samples = golden.get("label").shape[0];
        for (run, sample) in runs.iter().flat_map(|run| (0..samples).map(move |sample| (run, sample))) {
            let what = format!("{} {run}", case.name);
            let label = if run == "null." { -1 } else { golden.get("label").ints()[sample] };
            let (class, guidance) = (case.class(label), guidance(&golden, run));
            let want = case.all_tokens(&golden, &format!("{run}idx"), sample);
            let plan = case.plan(&vec![None; want.len()]);

            if golden.names().any(|name| name == format!("{run}raw_logits_0")) {
                for (scale, logits) in streams(&mut network, &case, class, &want).into_iter().enumerate() {
                    let raw = both_streams(golden.get(&format!("{run}raw_logits_{scale}")), sample);
                    raw.assert_close(&floats(logits), LOGITS, &format!("{what}: logits of scale {scale}"));
                }
            }
            let logits = case.all_scales(&golden, &format!("{run}guided_logits"), sample);
            let logits = Array { shape: vec![want.len(), case.config.vocab_size], values: logits };
            let got = guided_logits(&mut network, &plan, class, guidance, &want);
            logits.assert_close(&got, LOGITS * (1.0 + guidance.strength()), &format!("{what}: guided logits"));
            assert_eq!(decode(&mut network, &plan, class, guidance), want, "{what}: tokens");

            let want: Vec<Token> = want.iter().map(|token| *token as Token).collect();
            let picture = tokenizer.decode(&case.lattice(), &want).expect("decodes");
            golden.get(&format!("{run}img01")).at(sample).assert_close(&img01(picture), PIXELS, &what);
        }
    }
}

/// The last scale of a run that is gone on with: all earlier scales are read in one pass.
#[test]
fn var_decodes_on_the_gpu_path() {
    let device = crate::gpu::device();
    let case = VarCase::with("generate").remove(0);
    let golden = case.golden("generate");
    let last = case.scales.len() - 1;
    let suffix = format!("raw_logits_{last}");
    let run = golden.names().find_map(|name| name.strip_suffix(&suffix)).expect("logits of both streams");
    let tokens: Vec<Token> = case.all_tokens(&golden, &format!("{run}idx"), 0).iter().map(|t| *t as Token).collect();
    let (class, lattice) = (case.class(golden.get("label").ints()[0]), case.lattice());
    let mut network = case.network(&device);
    network.begin(&Prompt { class, guided: true }, &lattice).expect("begins");
    let (earlier, visit): (Vec<Site>, Vec<Site>) = lattice.sites().partition(|site| lattice.scale_of(*site) < last);
    network.tell(&earlier, &tokens[..earlier.len()]).expect("tells");
    let logits = network.predict(&visit).expect("predicts");
    both_streams(golden.get(&format!("{run}{suffix}")), 0).assert_close(&floats(logits), LOGITS, "logits");
}

#[test]
fn var_reads_what_coarser_scales_add_up_to() {
    let device = Device::flex();
    for case in VarCase::with("generate") {
        let golden = case.golden("generate");
        let quantizer = case.quantizer(&device);
        let runs: Vec<&str> = golden.names().filter_map(|name| name.strip_suffix("f_hat_0")).collect();
        assert!(!runs.is_empty(), "the goldens hold no accumulated features");
        for run in runs {
            let tokens = tokens(&golden, &format!("{run}idx"), case.scales.len(), &device);
            for (scale, f_hat) in quantizer.accumulate(&tokens, &case.scales).into_iter().enumerate() {
                let what = |name: &str| format!("{run}{name}_{scale}");
                golden.get(&what("f_hat")).assert_close(&floats(f_hat.clone()), PIXELS, &what("f_hat"));
                let next = case.scales[(scale + 1).min(case.scales.len() - 1)];
                if golden.names().any(|name| name == what("next")) {
                    let got = quantizer.shrunk(f_hat, next);
                    golden.get(&what("next")).assert_close(&floats(got), PIXELS, &what("next"));
                }
            }
        }
    }
}

#[test]
fn var_smooth_mode() {
    let device = Device::flex();
    for case in VarCase::with("more_smooth") {
        let golden = case.golden("more_smooth");
        let (mut network, tokenizer) = (case.network(&device), VqVaeCase::read(&device).tokenizer(&device));
        let (guidance, vocab) = (guidance(&golden, ""), case.config.vocab_size);
        for sample in 0..golden.get("label").shape[0] {
            let class = case.class(golden.get("label").ints()[sample]);
            network.begin(&Prompt { class, guided: guidance.is_on() }, &case.lattice()).expect("begins");
            for scale in 0..case.scales.len() {
                let at = |name: &str| golden.get(&format!("{name}_{scale}")).at(sample);
                let visit: Vec<Site> = case.lattice().scale(scale).map(Site).collect();
                let logits = network.predict(&visit).expect("predicts");
                let logits = mixed(logits, guidance.scales(&case.moment(scale)));
                at("guided_logits").assert_close(&logits, LOGITS * (1.0 + guidance.strength()), "guided logits");

                let noise = at("gumbel").values;
                let rows = logits.chunks_exact(vocab).zip(noise.chunks_exact(vocab));
                let shares = rows.flat_map(|(logits, noise)| soft_weights(logits, noise, &case.moment(scale)));
                let shares: Vec<f32> = shares.collect();
                // The coldest mixture divides by 0.0135, and its error with it.
                at("soft").assert_close(&shares, 1e-3, "shares of the codes");

                let shares = TensorData::new(at("soft").values, [visit.len(), vocab]);
                network.soften(Tensor::from_data(shares, &device)).expect("has a smooth mode");
                let told: Vec<Token> = logits.chunks_exact(vocab).map(|row| argmax(row) as Token).collect();
                network.tell(&visit, &told).expect("tells");
                let f_hat = network.features().expect("features after softened steps");
                at("f_hat").assert_close(&floats(f_hat), PIXELS, "accumulated features");
            }
            let features = network.features().expect("features after softened steps");
            let picture = tokenizer.decode_features(features).expect("decodes");
            golden.get("img01").at(sample).assert_close(&img01(picture), PIXELS, "picture");
        }
    }
}

#[test]
fn var_runs_without_smooth_steps_have_no_features() {
    let device = Device::flex();
    for case in VarCase::with("generate") {
        let mut network = case.network(&device);
        let tokens = vec![0; case.lattice().len()];
        streams(&mut network, &case, 0, &tokens);
        assert!(network.features().is_none());
    }
}

#[test]
fn var_sampling_filters() {
    let golden = Golden::read(&goldens("var").join("sampling_filters.safetensors"));
    let published = |top_k: usize, top_p: f32| {
        let top_p = if top_p == 0.0 { 1.0 } else { top_p };
        Sampling { top_k, top_p, ..Sampling::default() }
    };
    let logits = golden.get("logits");
    let vocab = logits.shape[logits.shape.len() - 1];
    let cases: Vec<&str> = golden.names().filter_map(|name| name.strip_suffix(".filtered")).collect();
    assert!(!cases.is_empty(), "the goldens hold no filters");
    for case in cases {
        let of = |name: &str| golden.get(&format!("{case}.{name}"));
        let sampling = published(of("top_k").ints()[0] as usize, of("top_p").values[0]);
        let filtered: Vec<f32> = logits.values.chunks_exact(vocab).flat_map(|row| sampling.filtered(row, 0)).collect();
        assert_eq!(filtered, of("filtered").values, "{case}");
        let got: Vec<f32> = logits.values.chunks_exact(vocab).flat_map(|row| sampling.probabilities(row)).collect();
        of("probs").assert_close(&got, 1e-6, case);
    }
    // SPEC-var, §5: the recipe of the paper's numbers, on a codebook of the published size.
    let logits = golden.get("big.logits");
    let vocab = logits.shape[logits.shape.len() - 1];
    let got: Vec<f32> =
        logits.values.chunks_exact(vocab).flat_map(|row| published(900, 0.96).probabilities(row)).collect();
    golden.get("big.probs").assert_close(&got, 1e-6, "4096 codes");
    let keep: Vec<i32> = got.iter().map(|p| i32::from(*p > 0.0)).collect();
    assert_eq!(keep, golden.get("big.keep").ints());
}

#[test]
fn var_edits() {
    let device = Device::flex();
    for case in VarCase::with("edit") {
        let golden = case.golden("edit");
        let vae = VqVaeCase::read(&device);
        let (mut network, tokenizer) = (case.network(&device), vae.tokenizer(&device));
        let edits: Vec<String> =
            golden.names().filter_map(|name| name.strip_suffix("keep_mask").map(Into::into)).collect();
        assert!(!edits.is_empty(), "the goldens hold no edits");
        let source = golden.get("src_img");
        for (edit, sample) in edits.iter().flat_map(|edit| (0..source.shape[0]).map(move |sample| (edit, sample))) {
            let get = |name: &str| golden.get(&format!("{edit}{name}"));
            let picture = tokenizer.encode(tensor(&source.at(sample), &device)).expect("encodes");
            let tokens: Vec<i32> = picture.iter().map(|token| *token as i32).collect();
            assert_eq!(tokens, case.all_tokens(&golden, "src_idx", sample), "{edit}: tokens of the source");

            let mask = get("keep_mask");
            let mask = if mask.shape.len() == 3 { mask.at(sample) } else { mask.clone() };
            let finest: Vec<bool> = mask.values.iter().map(|keep| *keep == 0.0).collect();
            let masked = case.lattice().masked(&finest);
            let keep: Vec<f32> = masked.iter().map(|masked| if *masked { 0.0 } else { 1.0 }).collect();
            assert_eq!(keep, case.all_scales(&golden, &format!("{edit}keep"), sample), "{edit}: what is kept");

            let given: Vec<Option<Token>> =
                picture.iter().zip(&masked).map(|(token, masked)| (!masked).then_some(*token)).collect();
            let (class, guidance) = (case.class(get("label").ints()[sample]), guidance(&golden, edit));
            let mixed = case.all_tokens(&golden, &format!("{edit}mixed_idx"), sample);
            let got = decode(&mut network, &case.plan(&given), class, guidance);
            assert_eq!(got, mixed, "{edit}: tokens after editing");

            // What the network would have made of the kept sites as well, scale by scale.
            let logits = guided_logits(&mut network, &case.plan(&vec![None; mixed.len()]), class, guidance, &mixed);
            let made: Vec<i32> = logits.chunks_exact(case.config.vocab_size).map(argmax).collect();
            assert_eq!(made, case.all_tokens(&golden, &format!("{edit}pred_idx"), sample), "{edit}: predictions");

            let mixed: Vec<Token> = mixed.into_iter().map(|token| token as Token).collect();
            let picture = tokenizer.decode(&case.lattice(), &mixed).expect("decodes");
            get("img01").at(sample).assert_close(&img01(picture), PIXELS, &format!("{edit}: picture"));
        }
        for edit in &edits {
            let tokens = tokens(&golden, &format!("{edit}mixed_idx"), case.scales.len(), &device);
            for (scale, f_hat) in vae.model.quantize.accumulate(&tokens, &case.scales).into_iter().enumerate() {
                let want = golden.get(&format!("{edit}f_hat_{scale}"));
                want.assert_close(&floats(f_hat), PIXELS, &format!("{edit}: features after scale {scale}"));
            }
        }
    }
}

#[test]
fn var_resumes_where_it_stopped() {
    let device = Device::flex();
    for case in VarCase::with("generate") {
        let mut network = case.network(&device);
        let plan = case.plan(&vec![None; case.lattice().len()]);
        let guidance = Guidance::Scales { scale: 1.5 };
        let knobs = Knobs { class: 1, guidance, sampling: Sampling::default(), seed: 9 };
        let mut run = |earlier: &[andamento_model::decode::Step]| -> Vec<_> {
            let steps = Decoding::start(&mut network, plan.clone(), knobs, earlier).expect("starts");
            steps.map(|step| step.expect("decodes")).collect()
        };
        let whole = run(&[]);
        let tokens = |steps: &[andamento_model::decode::Step]| -> Vec<_> {
            steps.iter().flat_map(|step| step.made.iter().map(|made| (step.index, made.site, made.token))).collect()
        };
        for stop in 1..whole.len() {
            assert_eq!(tokens(&run(&whole[..stop])), tokens(&whole[stop..]), "{} resumed after {stop}", case.name);
        }
    }
}

/// A model of a golden set's sizes with fresh weights, put together by the registry.
fn fresh_model(case: &VarCase) -> Model {
    let vae = var_vqvae::config(&case.folder);
    let grid = case.scales[case.scales.len() - 1].rows;
    let card = serde_json::json!({
        "id": "var", "title": "VAR", "family": "VAR", "side": grid * vae.stride(), "grid": grid, "parameters": 0,
        "subjects": (0..case.config.num_classes).map(|class| class.to_string()).collect::<Vec<_>>(),
        "defaults": { "steps": case.scales.len(), "guidance": Guidance::Scales { scale: 1.5 } },
        "network": case.config,
        "tokenizer": { "kind": "VAR VQVAE", "config": vae },
    });
    let card = serde_json::from_value(card).expect("a card");
    library::random(card, choose(DeviceChoice::Cpu).expect("a processor")).expect("the registry builds it")
}

#[test]
fn var_edits_pictures_on_the_whole_path() {
    let case = VarCase::with("generate").remove(0);
    let mut model = fresh_model(&case);
    let side = model.card.side;
    let noise = |x: u32, y: u32| [x * 37 + y * 11, x * 5 + y * 91, x * y * 13].map(|value| (value % 256) as u8);
    let canvas = image::RgbImage::from_fn(2 * side, side + 3, |x, y| image::Rgb(noise(x, y)));
    let mut mask = Mask::new(2 * side, side + 3);
    mask.fill_rect(Rect::new(2, 2, side / 2, side / 2), 255);
    for smooth in [false, true] {
        let sampling = Sampling { smooth, ..Sampling::default() };
        let guidance = Guidance::Scales { scale: 1.5 };
        let request = Request {
            picture: Picture::new(canvas.clone().into()),
            mask: mask.clone(),
            frames: Vec::new(),
            extent: Extent::Trained,
            seam: Seam::default(),
            order: "scales".into(),
            order_seed: 0,
            path: Arc::default(),
            boldness: Boldness::default(),
            schedule: Schedule::Scales,
            knobs: Knobs { class: 1, guidance, sampling, seed: 3 },
        };
        for refused in [
            Request { order: "random".into(), ..request.clone() },
            Request { schedule: Schedule::Cosine { steps: 4 }, ..request.clone() },
        ] {
            assert!(paint(&mut model, &refused, &[]).is_err(), "it makes scales, nothing else");
        }
        let mut painting = paint(&mut model, &request, &[]).expect("starts");
        let to_make = painting.plan().masked();
        assert!(to_make > 0 && to_make < case.lattice().len(), "part of the tokens is given");
        let (mut made, mut done) = (0, None);
        while let Some(event) = painting.next() {
            match event.expect("goes on") {
                Event::Planned { .. } => {}
                Event::Step(step) => {
                    made += step.made.len();
                    assert_eq!(painting.preview().expect("a preview").dimensions(), (side, side));
                }
                Event::Done(picture) => done = Some(picture.to_rgb8()),
            }
        }
        assert_eq!(made, to_make, "every masked token once");
        let done = done.expect("ends");
        let changed = |(x, y, pixel): (u32, u32, &image::Rgb<u8>)| canvas.get_pixel(x, y) != pixel;
        let outside = |(x, y, _): &(u32, u32, &image::Rgb<u8>)| mask.get(*x, *y) == 0;
        assert!(!done.enumerate_pixels().filter(outside).any(changed), "pixels outside the mask");
        assert!(done.enumerate_pixels().any(changed), "nothing was painted");
    }
}

#[test]
fn var_makes_one_scale_after_the_other() {
    let device = Device::flex();
    for case in VarCase::with("generate") {
        let (mut network, lattice) = (case.network(&device), case.lattice());
        let prompt = Prompt { class: 0, guided: false };
        let scale = |scale: usize| -> Vec<Site> { lattice.scale(scale).map(Site).collect() };
        let zeros = |scale: usize| vec![0; lattice.scale(scale).len()];
        assert!(network.predict(&scale(0)).is_err(), "not begun");
        let side = case.scales[case.scales.len() - 1].rows;
        assert!(network.begin(&prompt, &Lattice::grid(side, side)).is_err(), "another lattice");
        let strange = Prompt { class: case.config.num_classes as u32 + 1, guided: false };
        assert!(network.begin(&strange, &lattice).is_err(), "another class");
        for visit in [scale(1), vec![]] {
            network.begin(&prompt, &lattice).expect("begins");
            assert!(network.predict(&visit).is_err(), "out of turn");
        }
        network.begin(&prompt, &lattice).expect("begins");
        assert!(network.tell(&scale(1), &zeros(1)).is_err(), "out of turn");
        network.begin(&prompt, &lattice).expect("begins");
        assert!(network.tell(&scale(0), &vec![case.config.vocab_size as Token; case.scales[0].len()]).is_err());
        network.begin(&prompt, &lattice).expect("begins");
        network.predict(&scale(0)).expect("predicts");
        network.tell(&scale(0), &zeros(0)).expect("tells");
        assert!(network.tell(&scale(0), &zeros(0)).is_err(), "told twice");
    }
}

/// A batch of the goldens as training sees it, with its first scales alone.
fn pyramids(case: &VarCase, golden: &Golden, scales: usize, device: &Device) -> Pyramids {
    let plain = Device::flex();
    let vae = VqVaeCase::read(&plain);
    let mut found = vae.model.encode(tensor(golden.get("img"), &plain), &case.scales);
    found.truncate(scales);
    let inputs = vae.model.quantize.var_input(&found, &case.scales);
    Pyramids {
        labels: labels(golden.get("label"), device),
        tokens: Tensor::from_inner(Tensor::cat(found, 1)),
        inputs: inputs.map(Tensor::from_inner),
    }
}

/// The goldens' optimiser, by the names of a training configuration.
fn golden_optimiser() -> Optimiser {
    let settings = serde_json::json!({
        "learning_rate": 5e-3, "curve": "lin0", "warm_up": 1, "warm_up_from": 0.1, "final_share": 0.1,
        "betas": [0.9, 0.95], "epsilon": 1e-8, "weight_decay": 0.05, "final_weight_decay": 0.01, "clip": 2.0,
    });
    serde_json::from_value(settings).expect("optimiser settings")
}

#[test]
fn var_losses_and_gradients() {
    let device = Device::flex().autodiff();
    for case in VarCase::with("train") {
        let golden = case.golden("train");
        let whole = Stage { scales: case.scales.len(), newest: 1.0 };
        let batch = pyramids(&case, &golden, whole.scales, &device);
        let var = case.weights(&device);
        let smoothed = loss(&var, batch.clone(), whole, &case.scales, 0.0, 0.1);
        golden.get("loss_ls0.1").assert_close(&floats(smoothed.clone()), 1e-5, "loss with smoothed labels");
        assert_norm(&gradients(&var, &smoothed), golden.get("grad_norm_ls0.1").values[0], "with smoothed labels");

        let loss = loss(&var, batch, whole, &case.scales, 0.0, 0.0);
        let want = golden.get("loss").values[0];
        let got = floats(loss.clone())[0];
        assert!((got - want).abs() < 1e-5, "{}: loss {got}, not {want}", case.name);
        let gradients = assert_gradients(&golden, "grad.", &var, &loss);
        assert_norm(&gradients, golden.get("grad_norm").values[0], &case.name);
    }
}

#[track_caller]
fn assert_norm(gradients: &Golden, want: f32, what: &str) {
    let squares = gradients.names().flat_map(|name| &gradients.get(name).values).map(|x| f64::from(*x).powi(2));
    let norm = squares.sum::<f64>().sqrt() as f32;
    assert!((norm - want).abs() < 1e-4 * want, "{what}: gradients of length {norm}, not {want}");
}

/// Three steps through the trainer of every run: losses, lengths of gradients, rates and weights.
#[test]
fn var_optimiser_steps() {
    let device = Device::flex().autodiff();
    for case in VarCase::with("train") {
        let golden = case.golden("train");
        let whole = Stage { scales: case.scales.len(), newest: 1.0 };
        let batch = pyramids(&case, &golden, whole.scales, &device);
        let settings = Settings::new(&golden_optimiser(), 10);
        let mut trainer = Trainer::start(case.weights(&device), settings, &group);
        for step in 0..3 {
            let value = |name: &str| golden.get(name).values[step];
            let near = |name: &str, got: f64| {
                let (want, what) = (f64::from(value(name)), format!("{}: {name} of step {step}", case.name));
                assert!((got - want).abs() < 2e-4 * want, "{what} is {got}, not {want}");
            };
            let loss = loss(&trainer.model, batch.clone(), whole, &case.scales, 0.0, 0.0);
            near("loss", f64::from(floats(loss.clone())[0]));
            near("wd", golden_optimiser().decay(step, 10));
            trainer.gather(loss);
            let updated = trainer.update().expect("a step");
            near("lr", updated.rate);
            near("grad_norm", updated.norm);
        }
        let after = published(&trainer.result());
        let compared = golden.names().filter_map(|name| Some((name, name.strip_prefix("after3.")?)));
        for (name, parameter) in compared {
            golden.get(name).assert_close(&after.get(parameter).values, AFTER, &format!("{}: {name}", case.name));
        }
    }
}

/// The tolerance of weights after three steps of at most 5e-3 each.
const AFTER: f32 = 1e-4;

/// Stages of progressive training: the first, and a second whose newest scale counts a quarter and then half.
#[test]
fn var_progressive_steps() {
    let device = Device::flex().autodiff();
    let case = VarCase::with("train").remove(0);
    let golden = case.golden("train");
    let mut trainer = Trainer::start(case.weights(&device), Settings::new(&golden_optimiser(), 10), &group);
    for (step, newest) in [1.0, 0.25, 0.5].into_iter().enumerate() {
        let stage = Stage { scales: golden.get("prog.si").ints()[step] as usize + 1, newest };
        let batch = pyramids(&case, &golden, stage.scales, &device);
        let loss = loss(&trainer.model, batch, stage, &case.scales, 0.0, 0.0);
        let near = |name: &str, got: f64| {
            let want = f64::from(golden.get(name).values[step]);
            assert!((got - want).abs() < 2e-4 * want, "{name} of step {step} is {got}, not {want}");
        };
        near("prog.loss", f64::from(floats(loss.clone())[0]));
        trainer.gather(loss);
        near("prog.grad_norm", trainer.update().expect("a step").norm);
    }
}

/// The stages that the published trainer goes through (`train.py`, `trainer.py`), and how much the newest scale counts.
#[test]
fn var_progressive_stages() {
    let progressive = Progressive { until: 0.8, first: 4, warm_up: Some(3.0) };
    let course = Course { steps: 50, warm_up: 2.4, scales: 10 };
    let (third, two) = (1.0 / 3.0, 2.0 / 3.0);
    let runs = [
        (5, 1.0, 7),
        (6, third, 1),
        (6, two, 1),
        (6, 1.0, 5),
        (7, third, 1),
        (7, two, 1),
        (7, 1.0, 6),
        (8, third, 1),
        (8, two, 1),
        (8, 1.0, 5),
        (9, third, 1),
        (9, two, 1),
        (9, 1.0, 6),
        (10, 1.0, 13),
    ];
    let want = runs.into_iter().flat_map(|(scales, newest, steps)| vec![Stage { scales, newest }; steps]);
    let got: Vec<Stage> = (0..course.steps).map(|step| progressive.stage(step, course)).collect();
    assert_eq!(got, want.collect::<Vec<_>>());
    // Without a warm-up of its own, a scale takes a 300th of training; the last counts fully at once.
    let usual = Progressive { warm_up: None, until: 0.5, ..progressive };
    let course = Course { steps: 600, warm_up: 12.0, scales: 10 };
    let stages: Vec<Stage> = (0..course.steps).map(|step| usual.stage(step, course)).collect();
    let lengths: Vec<usize> = stages.chunk_by(|a, b| a.scales == b.scales).map(<[Stage]>::len).collect();
    assert_eq!(lengths, [41, 58, 58, 57, 58, 328]);
    assert_eq!([stages[41].newest, stages[42].newest, stages[600 - 328].newest], [0.5, 1.0, 1.0]);
}

#[test]
fn var_rates_and_decays() {
    let golden = Golden::read(&goldens("var").join("schedules.safetensors"));
    let curves: Vec<&str> = golden.names().filter_map(|name| name.strip_suffix(".lr")).collect();
    assert!(curves.contains(&"lin0"), "the goldens hold no curves");
    for curve in curves {
        let settings = serde_json::json!({
            "learning_rate": 3e-4, "curve": curve, "warm_up": 4.6, "warm_up_from": 0.005, "final_share": 0.01,
            "weight_decay": 0.05, "final_weight_decay": 0.01,
        });
        let optimiser: Optimiser = serde_json::from_value(settings).expect("optimiser settings");
        let over = |of: &dyn Fn(usize) -> f64| -> Vec<f32> { (0..100).map(|step| of(step) as f32).collect() };
        let rates = over(&|step| optimiser.rate(step, 100));
        golden.get(&format!("{curve}.lr")).assert_close(&rates, 1e-9, &format!("{curve}: rates"));
        let decays = over(&|step| optimiser.decay(step, 100));
        golden.get(&format!("{curve}.wd")).assert_close(&decays, 1e-7, &format!("{curve}: decays"));
    }
}

#[test]
fn var_leaves_branches_out_in_training_only() {
    let device = Device::flex();
    for case in VarCase::with("forward").into_iter().filter(|case| case.config.depth > 1) {
        let golden = case.golden("forward");
        let var = case.weights(&device);
        let inputs: Tensor<3> = tensor(golden.get("x_BLCv_wo_first_l"), &device);
        let logits = |share: f64| {
            floats(var.forward(labels(golden.get("label"), &device), Some(inputs.clone()), share, &case.scales))
        };
        let whole = logits(0.0);
        // With a share of almost one the last block falls away for every picture.
        assert_ne!(logits(0.999_999), whole, "{}", case.name);
        assert!(logits(0.999_999).iter().all(|logit| logit.is_finite()), "{}", case.name);
    }
}

#[test]
fn var_published_sizes_are_whole() {
    for (name, depth) in PRESETS {
        let card = Card::published("VAR", name).expect("a card");
        let config: VarConfig = serde_json::from_value(card.network.clone()).expect("the family's configuration");
        config.check().expect("sound sizes");
        assert_eq!(config, VarConfig::published(depth));
        let vae: VqVaeConfig = serde_json::from_value(card.tokenizer.config.clone()).expect("the tokenizer's");
        vae.check().expect("sound sizes");
        assert_eq!(vae.v_patch_nums, config.patch_nums, "{name}: tokenizer and network work on the same scales");
        assert_eq!(card.side as usize, vae.stride() * card.grid, "{name}");
        assert_eq!(card.abilities().expect("known").scales, config.patch_nums.len(), "{name}");

        let lattice = Lattice::of_scales(config.scales());
        let order: Vec<u32> = (0..lattice.len() as u32).collect();
        let plan = Plan::new(lattice, &order, &vec![None; order.len()], Schedule::Scales, Given::InPlace);
        let (plan, family) = (plan.expect("plan"), networks::by_name("var").expect("the registry has it"));
        let cost = |step| (family.cost)(&card.network, &plan, step, 2).expect("a cost").operations;
        let costs: Vec<f64> = (0..plan.visits.len()).map(cost).collect();
        assert!(costs[0] > 0.0 && costs.is_sorted(), "{name}: finer scales cost more");
    }
}

/// Parameters by the structure of SPEC-var, §2.
fn parameters(config: &VarConfig) -> usize {
    let (c, v, h, z) = (config.embed_dim, config.vocab_size, config.num_heads, config.Cvae);
    let sites: usize = config.scales().iter().map(Grid::len).sum();
    let projection = 6 * c * c + 6 * c;
    let scale_mul = if config.attn_l2_norm { h } else { 0 };
    let block = 12 * c * c + 8 * c + scale_mul + if config.shared_aln { 6 * c } else { projection };
    let shared = if config.shared_aln { projection } else { 0 };
    let tables = config.scales()[0].len() + sites + config.num_classes + 1 + config.patch_nums.len();
    config.depth * block + shared + tables * c + (z + 1) * c + 2 * c * c + 2 * c + (c + 1) * v
}

#[test]
fn var_has_the_published_numbers_of_parameters() {
    for case in VarCase::with("forward") {
        let made = Var::new(&case.config, &Device::flex()).num_params();
        assert_eq!(made, parameters(&case.config), "{}", case.name);
    }
    let counts = PRESETS.map(|(name, depth)| (name, parameters(&VarConfig::published(depth))));
    let published = [
        ("d16", 310_283_520),
        ("d20", 600_917_136),
        ("d24", 1_033_399_360),
        ("d30", 2_010_020_356),
        ("d36", 2_353_893_904),
    ];
    assert_eq!(counts, published);
}

/// Two logits at almost the same height, in the gaps of the real-size goldens: rounding may choose either.
const NEAR_TIE: f32 = 1e-4;

#[test]
#[ignore = "the published d16 takes about 20 s and 2.7 GB"]
fn var_at_real_size() {
    let device = Device::flex();
    let config = VarConfig::published(16);
    let scales = config.scales();
    let golden = Golden::read(&goldens("real_size").join("var_d16.safetensors"));
    let file = formula::weights(&formula::published_keys("var_d16"));
    let var = load(Var::new(&config, &device), file, &VAR_KEYS, "var_d16").expect("the published keys load");
    let tokenizer = VqVaeConfig::published(&config.patch_nums);
    let mut keys = formula::published_keys("vae_ch160");
    keys.retain(|(name, _)| name.starts_with("quantize."));
    let quantizer = QuantizerAlone::new(&tokenizer, &device);
    let quantizer = load(quantizer, formula::weights(&keys), &QUANTIZER_KEYS, "vqvae").expect("the quantiser loads");
    let quantizer = quantizer.quantize;

    let inputs = quantizer.var_input(&formula_tokens(&tokenizer, &device), &scales);
    let logits = floats(var.forward(labels(golden.get("label"), &device), inputs, 0.0, &scales));
    let rows: Vec<&[f32]> = logits.chunks_exact(config.vocab_size).collect();
    let asked: Vec<f32> = golden.get("positions").ints().iter().flat_map(|at| rows[*at as usize].to_vec()).collect();
    let want = golden.get("logits_at_positions");
    let largest = want.values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    want.assert_close(&asked, LOGITS * largest, "logits");
    let gaps = &golden.get("top2_gap_all").values;
    for ((row, want), gap) in rows.iter().zip(golden.get("argmax_all").ints()).zip(gaps) {
        assert!(argmax(row) == want || *gap < NEAR_TIE, "the likeliest code");
    }

    let guidance = guidance(&golden, "gen.");
    let class = golden.get("label").ints()[0] as u32;
    let case = VarCase { name: "d16".into(), scales, config, folder: PathBuf::new() };
    let mut network = VarNetwork::new(var, quantizer.clone(), case.config.clone(), &device);
    let plan = case.plan(&vec![None; case.lattice().len()]);
    let want = case.all_tokens(&golden, "gen.idx", 0);
    let logits = guided_logits(&mut network, &plan, class, guidance, &want);
    let gaps: Vec<f32> =
        (0..case.scales.len()).flat_map(|scale| golden.get(&format!("gen.gap_{scale}")).values.clone()).collect();
    let rows = logits.chunks_exact(case.config.vocab_size);
    for (site, ((row, want), gap)) in rows.zip(&want).zip(gaps).enumerate() {
        assert!(argmax(row) == *want || gap < NEAR_TIE, "the likeliest code at site {site}");
    }
    let last = case.lattice().scale(case.scales.len() - 1).start as usize * case.config.vocab_size;
    let wanted = golden.get("gen.guided_logits_last_pos0");
    let largest = wanted.values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    wanted.assert_close(&logits[last..last + case.config.vocab_size], 2.0 * LOGITS * largest, "guided logits");
    let tokens = tokens(&golden, "gen.idx", case.scales.len(), &device);
    let f_hat = quantizer.accumulate(&tokens, &case.scales).pop().expect("a scale");
    golden.get("gen.f_hat").assert_close(&floats(f_hat), PIXELS, "accumulated features");
}
