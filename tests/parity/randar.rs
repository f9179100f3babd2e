//! RandAR, `ziqipang/RandAR`.

use std::path::PathBuf;
use std::sync::Arc;

use andamento_model::checkpoint::{RANDAR_KEYS, load};
use andamento_model::decode::{Decoding, Knobs, Step};
use andamento_model::lattice::{Grid, Lattice, Site, Token};
use andamento_model::network::{Network, Prompt};
use andamento_model::networks::llamagen::{Rope, TransformerConfig};
use andamento_model::networks::randar::{Dropout, PRESETS, RandAr, RandArNetwork, ntk_rope};
use andamento_model::order::by_name;
use andamento_model::plan::{Given, Plan};
use andamento_model::sample::{Guidance, Sampling};
use andamento_model::schedule::{Schedule, cosine};
use andamento_model::train::optimiser::{Group, Optimiser};
use andamento_model::train::run::{Settings, Trainer};
use andamento_tests::{Array, Golden, goldens, json};
use burn::prelude::*;
use burn::tensor::{DType, FloatDType, Int};

use super::{
    LOGITS, assert_generation, assert_gradients, decode, floats, gradients, guided_logits, ints, published, transformer,
};

pub(crate) struct RandArCase {
    golden: Golden,
    config: TransformerConfig,
    pub(crate) grids: Vec<usize>,
    folder: PathBuf,
}

impl RandArCase {
    pub(crate) fn read() -> Self {
        let folder = goldens("randar");
        let (config, grids) = transformer(&folder.join("randar_config.json"));
        Self { golden: Golden::read(&folder.join("randar_golden.safetensors")), config, grids, folder }
    }

    fn weights(&self, device: &Device) -> RandAr {
        let file = self.folder.join("randar_tiny.safetensors");
        let bytes = std::fs::read(&file).expect("weights");
        load(RandAr::new(&self.config, device), bytes, &RANDAR_KEYS, file).expect("the published layout loads")
    }

    pub(crate) fn network(&self, grid: Grid, device: &Device) -> RandArNetwork {
        RandArNetwork::new(self.weights(device), self.config.clone(), grid, device)
    }

    fn get(&self, grid: usize, name: &str) -> &Array {
        self.golden.get(&format!("g{grid}.{name}"))
    }

    fn rope(&self, rows: usize, cols: usize, device: &Device) -> Rope {
        Rope::new(rows, cols, self.config.head_dim(), self.config.rope_base, device)
    }

    /// The order that a sample's sequence follows.
    fn order(&self, grid: usize, name: &str, sample: usize) -> Vec<u32> {
        self.get(grid, name).at(sample).ints().iter().map(|site| *site as u32).collect()
    }

    /// Names `X` of `g{grid}.gen.X.indices_raster`.
    fn runs(&self, grid: usize) -> Vec<String> {
        let prefix = format!("g{grid}.gen.");
        let names = self.golden.names();
        let run = |name: &str| Some(name.strip_prefix(&prefix)?.strip_suffix(".indices_raster")?.to_string());
        names.filter_map(run).collect()
    }
}

fn teacher_forced(case: &RandArCase, prefix: &str, classes: Vec<i32>, rope: &Rope, device: &Device) -> [Vec<f32>; 2] {
    let tokens = ints(case.golden.get(&format!("{prefix}token_ids")), device);
    let order = ints(case.golden.get(&format!("{prefix}token_order")), device);
    let in_order = tokens.gather(1, order.clone());
    let classes = Tensor::<1, Int>::from_data(classes.as_slice(), device);
    let weights = case.weights(device);
    let hidden = weights.hidden(classes, in_order, order, rope, case.config.n_head, Dropout::default());
    let predictions = floats(weights.logits(RandAr::at_instructions(hidden.clone())));
    [predictions, floats(weights.logits(hidden))]
}

#[test]
fn randar_rope_and_instruction_tokens() {
    let (case, device) = (RandArCase::read(), Device::flex());
    for &grid in &case.grids {
        let rope = case.rope(grid, grid, &device);
        case.get(grid, "rope_freqs_cis").assert_close(&floats(rope.freqs_cis()), 1e-5, "rotary table");
        let rows = ints(case.get(grid, "token_order"), &device) + 1;
        let tokens = case.weights(&device).position_instruction_tokens(&rope, rows, case.config.n_head);
        case.get(grid, "pos_instruction_tokens").assert_close(&floats(tokens), 1e-5, "instruction tokens");
    }
}

#[test]
fn randar_teacher_forced_logits() {
    let (case, device) = (RandArCase::read(), Device::flex());
    for &grid in &case.grids {
        let rope = case.rope(grid, grid, &device);
        let prefix = format!("g{grid}.");
        let classes = case.get(grid, "class_ids").ints();
        let null = vec![case.config.num_classes as i32; classes.len()];
        let [predictions, everywhere] = teacher_forced(&case, &prefix, classes, &rope, &device);
        case.get(grid, "tf.logits").assert_close(&predictions, LOGITS, "logits");
        if case.golden.names().any(|name| name == format!("g{grid}.tf.logits_all_positions")) {
            case.get(grid, "tf.logits_all_positions").assert_close(&everywhere, LOGITS, "logits at every slot");
        }
        let [without_class, _] = teacher_forced(&case, &prefix, null, &rope, &device);
        case.get(grid, "tf.logits_null_class").assert_close(&without_class, LOGITS, "logits without the class");
    }
}

#[test]
fn randar_outpainting_uses_a_wider_table() {
    let (case, device) = (RandArCase::read(), Device::flex());
    for &grid in &case.grids {
        let prefix = format!("g{grid}.outpaint.");
        if !case.golden.names().any(|name| name.starts_with(&prefix)) {
            continue;
        }
        let rope = case.rope(grid, 2 * grid, &device);
        let table = floats(rope.freqs_cis().slice(burn::tensor::s![1.., .., ..]));
        case.get(grid, "outpaint.rope_rect_HxW").assert_close(&table, 1e-5, "wide rotary table");
        let classes = case.get(grid, "class_ids").ints();
        let [predictions, _] = teacher_forced(&case, &prefix, classes, &rope, &device);
        case.get(grid, "outpaint.tf.logits").assert_close(&predictions, LOGITS, "logits on the wide grid");
    }
}

/// What a run's name says: `seq` or `par8`, then `nocfg`, `cfg1to4`, `cfg3const` or `cfg4to1_is_off`.
fn settings(run: &str) -> (Schedule, Guidance) {
    let (steps, guidance) = run.split_once('_').expect("a run is named steps_guidance");
    let schedule = match steps.strip_prefix("par") {
        Some(steps) => Schedule::Cosine { steps: steps.parse().expect("steps") },
        None => Schedule::OneByOne,
    };
    let guidance = guidance.trim_end_matches("_is_off");
    let guidance = match guidance.strip_prefix("cfg") {
        None => Guidance::constant(1.0),
        Some(scales) => match scales.strip_suffix("const") {
            Some(scale) => Guidance::constant(scale.parse().expect("scale")),
            None => {
                let (start, end) = scales.split_once("to").expect("scales");
                Guidance::Linear { start: start.parse().expect("start"), end: end.parse().expect("end") }
            }
        },
    };
    (schedule, guidance)
}

fn greedy_generations(case: &RandArCase, grids: &[usize], device: &Device) -> usize {
    let mut compared = 0;
    for &grid in grids {
        let mut network = case.network(Grid::new(grid, grid), device);
        for run in case.runs(grid) {
            let (schedule, guidance) = settings(&run);
            let want = case.get(grid, &format!("gen.{run}.indices_raster"));
            let logits = case.get(grid, &format!("gen.{run}.logits_genorder"));
            for sample in 0..want.shape[0] {
                let class = case.get(grid, "class_ids").ints()[sample] as u32;
                let order = case.order(grid, "token_order", sample);
                let given = vec![None; order.len()];
                let plan = Plan::new(Lattice::grid(grid, grid), &order, &given, schedule, Given::First);
                let golden = (&want.at(sample), &logits.at(sample));
                let what = format!("g{grid} {run}");
                assert_generation(&mut network, &Arc::new(plan.expect("plan")), (class, guidance), golden, &what);
                compared += 1;
            }
        }
    }
    compared
}

#[test]
fn randar_greedy_generations() {
    let case = RandArCase::read();
    assert!(greedy_generations(&case, &case.grids, &Device::flex()) > 0, "the goldens hold no generation");
}

#[test]
fn randar_greedy_generations_on_the_gpu_path() {
    let case = RandArCase::read();
    let device = crate::gpu::device();
    assert!(greedy_generations(&case, &case.grids[..1], &device) > 0, "the goldens hold no generation");
}

#[test]
fn randar_inpainting() {
    let (case, device) = (RandArCase::read(), Device::flex());
    let mut compared = 0;
    for &grid in &case.grids {
        if !case.golden.names().any(|name| name.starts_with(&format!("g{grid}.inpaint."))) {
            continue;
        }
        let mut network = case.network(Grid::new(grid, grid), &device);
        let visible = case.get(grid, "inpaint.num_visible").ints()[0] as usize;
        let want = case.get(grid, "inpaint.cfg3_seq.indices_raster");
        for sample in 0..want.shape[0] {
            let class = case.get(grid, "class_ids").ints()[sample] as u32;
            let order = case.order(grid, "token_order", sample);
            let tokens = case.get(grid, "token_ids").at(sample).ints();
            let mut given = vec![None; grid * grid];
            order[..visible].iter().for_each(|site| given[*site as usize] = Some(tokens[*site as usize] as Token));
            let plan = Plan::new(Lattice::grid(grid, grid), &order, &given, Schedule::OneByOne, Given::First);
            let plan = Arc::new(plan.expect("plan"));
            let golden = (&want.at(sample), &case.get(grid, "inpaint.cfg3_seq.logits_genorder").at(sample));
            assert_generation(&mut network, &plan, (class, Guidance::constant(3.0)), golden, "inpainting");
            compared += 1;
        }
    }
    assert!(compared > 0, "the goldens hold no inpainting");
}

/// What a run of resolution extrapolation is called: `cfg` and its scale, `scg` and its scale where it has one, `seq`.
fn extrapolation_guidance(run: &str) -> Guidance {
    let scale = |kind: &str| run.split('_').find_map(|part| part.strip_prefix(kind)?.parse::<f32>().ok());
    let class = scale("cfg").expect("a scale of guidance");
    match scale("scg") {
        Some(context) => Guidance::Spatial { class: [class; 2], context: [context; 2], dropped: 0.5 },
        None => Guidance::constant(class),
    }
}

#[test]
fn randar_extrapolates_the_resolution() {
    let (case, device) = (RandArCase::read(), Device::flex());
    let mut compared = 0;
    for &grid in &case.grids {
        let prefix = format!("g{grid}.rx.");
        let runs = case.golden.names().filter_map(|name| name.strip_prefix(&prefix)?.strip_suffix(".indices_raster"));
        let mut network = case.network(Grid::new(grid, grid), &device);
        for run in runs {
            let guidance = extrapolation_guidance(run);
            let want = case.get(grid, &format!("rx.{run}.indices_raster"));
            let logits = case.get(grid, &format!("rx.{run}.logits_genorder"));
            for sample in 0..want.shape[0] {
                let class = case.get(grid, "class_ids").ints()[sample] as u32;
                let order = case.order(grid, "rx.token_order", sample);
                let lattice = Lattice::refined(Grid::new(grid, grid), 2);
                let given = vec![None; lattice.len()];
                let mut plan = Plan::new(lattice, &order, &given, Schedule::OneByOne, Given::First).expect("plan");
                if matches!(guidance, Guidance::Spatial { .. }) {
                    let kept = case.get(grid, &format!("rx.{run}.scg_keep_mask")).at(sample).ints();
                    let dropped = order.iter().zip(kept).filter(|(_, kept)| *kept == 0);
                    plan.dropped = dropped.map(|(site, _)| Site(*site)).collect();
                }
                let plan = Arc::new(plan);
                let got = decode(&mut network, &plan, class, guidance);
                // The published loop ends before its last group, which keeps the code 0; here it is one token.
                let (published, last) = order.split_at(order.len() - 1);
                let want = want.at(sample).ints();
                for site in published {
                    assert_eq!(got[*site as usize], want[*site as usize], "g{grid} {run}: token {site}");
                }
                let all = guided_logits(&mut network, &plan, class, guidance, &got);
                let vocab = case.config.vocab_size;
                let (of_published, of_last) = all.split_at(published.len() * vocab);
                let second_pass = &of_published[grid * grid * vocab..];
                logits.at(sample).assert_close(second_pass, LOGITS, &format!("g{grid} {run}: logits"));
                let best = (0..vocab).max_by(|a, b| of_last[*a].total_cmp(&of_last[*b])).expect("codes") as i32;
                assert_eq!(got[last[0] as usize], best, "g{grid} {run}: the last token is made as all others");
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "the goldens hold no resolution extrapolation");
}

#[test]
fn randar_extrapolation_has_its_own_rotary_table() {
    let (case, device) = (RandArCase::read(), Device::flex());
    let mut compared = 0;
    for &grid in &case.grids {
        let prefix = format!("g{grid}.rx.freqs_cis_ntk");
        for boundary in case.golden.names().filter_map(|name| name.strip_prefix(&prefix)) {
            let fine = Grid::new(2 * grid, 2 * grid);
            let (head_dim, base) = (case.config.head_dim(), case.config.rope_base);
            let rope = ntk_rope(fine, 2, boundary.parse().expect("a boundary"), head_dim, base, &device);
            let want = case.get(grid, &format!("rx.freqs_cis_ntk{boundary}"));
            want.assert_close(&floats(rope.freqs_cis()), 1e-5, "rotary table");
            compared += 1;
        }
    }
    assert!(compared > 0, "the goldens hold no rotary table of resolution extrapolation");
}

#[test]
fn randar_extrapolation_begins_with_an_ordinary_generation() {
    let (case, device) = (RandArCase::read(), Device::flex());
    let (guidance, schedule) = (Guidance::linear(4.0), Schedule::Cosine { steps: 9 });
    for &grid in &case.grids {
        let mut network = case.network(Grid::new(grid, grid), &device);
        let fine = Lattice::refined(Grid::new(grid, grid), 2);
        let order = by_name("hierarchical").expect("exists").arrange(fine.finest(), 6);
        let of_trained: Vec<u32> =
            order.iter().filter_map(|site| fine.coarse_site(Site(*site))).map(|site| site.0).collect();
        let mut run = |lattice: Lattice, order: &[u32]| {
            let given = vec![None; lattice.len()];
            let plan = Plan::new(lattice, order, &given, schedule, Given::First).expect("plan");
            decode(&mut network, &Arc::new(plan), 1, guidance)
        };
        let ordinary = run(Lattice::grid(grid, grid), &of_trained);
        let extrapolated = run(fine.clone(), &order);
        let coarse = fine.sites().filter(|site| fine.coarse_site(*site).is_some());
        let coarse: Vec<i32> = coarse.map(|site| extrapolated[site.index()]).collect();
        assert_eq!(coarse, ordinary, "the first pass on {grid} × {grid}");
    }
}

#[test]
fn randar_extrapolation_resumes_in_either_pass() {
    let (case, device) = (RandArCase::read(), Device::flex());
    let grid = case.grids[0];
    let mut network = case.network(Grid::new(grid, grid), &device);
    let lattice = Lattice::refined(Grid::new(grid, grid), 2);
    let order = by_name("hierarchical").expect("exists").arrange(lattice.finest(), 3);
    let given = vec![None; lattice.len()];
    let plan = Plan::new(lattice, &order, &given, Schedule::Cosine { steps: 3 * grid }, Given::First).expect("plan");
    let plan = Arc::new(plan.dropping(0.5, 4));
    assert_eq!(plan.dropped.len(), grid * grid / 2, "half of the first pass");
    let guidance = Guidance::Spatial { class: [1.0, 3.0], context: [1.0, 2.5], dropped: 0.5 };
    let knobs = Knobs { class: 1, guidance, sampling: Sampling::default(), seed: 9 };
    let steps = |earlier: &[Step], network: &mut RandArNetwork| -> Vec<Step> {
        let run = Decoding::start(network, plan.clone(), knobs, earlier).expect("starts");
        run.map(|step| step.expect("decodes")).collect()
    };
    let whole = steps(&[], &mut network);
    let first_pass = plan.visits.iter().filter(|visit| visit.total == grid * grid).count();
    for stop in [first_pass / 2, first_pass, (first_pass + whole.len()) / 2] {
        let rest = steps(&whole[..stop], &mut network);
        let tokens = |steps: &[Step]| -> Vec<_> {
            steps.iter().flat_map(|step| step.made.iter().map(|made| (step.index, made.site, made.token))).collect()
        };
        assert_eq!(tokens(&rest), tokens(&whole[stop..]), "resumed after {stop} steps");
    }
}

#[test]
fn randar_outpaints_through_the_one_loop() {
    let (case, device) = (RandArCase::read(), Device::flex());
    let mut compared = 0;
    for &grid in &case.grids {
        if !case.golden.names().any(|name| name == format!("g{grid}.outpaint.tf.logits")) {
            continue;
        }
        let mut network = case.network(Grid::new(grid, grid), &device);
        let want = case.get(grid, "outpaint.tf.logits");
        for sample in 0..want.shape[0] {
            let class = case.get(grid, "class_ids").ints()[sample] as u32;
            let order = case.order(grid, "outpaint.token_order", sample);
            let tokens = case.get(grid, "outpaint.token_ids").at(sample).ints();
            let (visible, masked) = order.split_at(grid * grid);
            let mut given = vec![None; order.len()];
            visible.iter().for_each(|site| given[*site as usize] = Some(tokens[*site as usize] as Token));
            let lattice = Lattice::grid(grid, 2 * grid);
            let plan = Plan::new(lattice, &order, &given, Schedule::OneByOne, Given::First).expect("plan");
            let got = guided_logits(&mut network, &plan, class, Guidance::constant(1.0), &tokens);
            let vocab = case.config.vocab_size;
            let want = &want.at(sample).values[visible.len() * vocab..];
            let want = Array { shape: vec![masked.len(), vocab], values: want.to_vec() };
            want.assert_close(&got, LOGITS, "logits beyond the trained size");
            compared += 1;
        }
    }
    assert!(compared > 0, "the goldens hold no outpainting");
}

/// The paper's outpainting, 256 × 1024 pixels: 16 × 64 tokens of which the left quarter is given. The first site of
/// every step has read all that came before, as in training, so its logits are those of the whole sequence at once.
fn outpaint_wide(case: &RandArCase, device: &Device, steps: usize) {
    let (rows, cols, side) = (16, 64, 16);
    let mut network = case.network(Grid::new(side, side), device);
    let code = |site: usize| ((site * 7919) % case.config.vocab_size) as i32;
    let tokens: Vec<i32> = (0..rows * cols).map(code).collect();
    let given: Vec<_> = (0..rows * cols).map(|site| (site % cols < side).then(|| code(site) as Token)).collect();
    let lattice = Lattice::grid(rows, cols);
    let order = by_name("random").expect("exists").arrange(lattice.finest(), 2);
    let plan = Plan::new(lattice, &order, &given, Schedule::Cosine { steps }, Given::First).expect("plan");
    let made = guided_logits(&mut network, &plan, 1, Guidance::constant(1.0), &tokens);

    let flex = Device::flex();
    let told = &plan.visits[0].told;
    let sequence: Vec<i32> =
        told.iter().chain(plan.visits.iter().flat_map(|visit| &visit.sites)).map(|site| site.0 as i32).collect();
    let in_order: Vec<i32> = sequence.iter().map(|site| code(*site as usize)).collect();
    let row = |values: &[i32]| Tensor::<1, Int>::from_data(values, &flex).unsqueeze::<2>();
    let classes = Tensor::<1, Int>::from_data([1], &flex);
    let (rope, weights) = (case.rope(rows, cols, &flex), case.weights(&flex));
    let n_head = case.config.n_head;
    let hidden = weights.hidden(classes, row(&in_order), row(&sequence), &rope, n_head, Dropout::default());
    let at_once = floats(weights.logits(RandAr::at_instructions(hidden)));

    let vocab = case.config.vocab_size;
    let mut first = 0;
    for visit in &plan.visits {
        let want = at_once[(told.len() + first) * vocab..][..vocab].to_vec();
        let want = Array { shape: vec![vocab], values: want };
        want.assert_close(&made[first * vocab..][..vocab], LOGITS, &format!("after {} tokens", visit.known));
        first += visit.sites.len();
    }
    assert_eq!(told.len() + first, rows * cols, "every token is given or made");
}

#[test]
fn randar_outpaints_far_beyond_the_trained_size() {
    outpaint_wide(&RandArCase::read(), &Device::flex(), 88);
}

#[test]
fn randar_outpaints_far_beyond_the_trained_size_on_the_gpu_path() {
    outpaint_wide(&RandArCase::read(), &crate::gpu::device(), 4);
}

/// The published loss on the golden batch of a grid.
fn loss(case: &RandArCase, grid: usize, weights: &RandAr, device: &Device) -> Tensor<1> {
    let order = ints(case.get(grid, "token_order"), device);
    let tokens = ints(case.get(grid, "token_ids"), device).gather(1, order.clone());
    let classes = Tensor::<1, Int>::from_data(case.get(grid, "class_ids").ints().as_slice(), device);
    let rope = case.rope(grid, grid, device);
    weights.loss(classes, tokens, order, &rope, case.config.n_head, Dropout::default())
}

#[test]
fn randar_loss_and_gradients() {
    let (case, device) = (RandArCase::read(), Device::flex().autodiff());
    let mut compared = 0;
    for &grid in &case.grids {
        let weights = case.weights(&device);
        let loss = loss(&case, grid, &weights, &device);
        case.get(grid, "tf.loss").assert_close(&floats(loss.clone()), 1e-5, "loss");
        let prefix = format!("g{grid}.grad.");
        let gradients = if case.golden.names().any(|name| name.starts_with(&prefix)) {
            compared += 1;
            assert_gradients(&case.golden, &prefix, &weights, &loss)
        } else {
            gradients(&weights, &loss)
        };
        let square = |name: &str| gradients.get(name).values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let squares: Vec<f64> = gradients.names().map(square).collect();
        let joint = [squares.iter().sum::<f64>().sqrt() as f32];
        case.get(grid, "tf.grad_global_norm").assert_close(&joint, 1e-4 * joint[0], "norm of all gradients");
        let sum = [squares.iter().map(|square| square.sqrt()).sum::<f64>() as f32];
        let skip = case.get(grid, "tf.grad_norm_sum_official_skip_metric_preclip");
        skip.assert_close(&sum, 1e-4 * sum[0], "sum of the gradients' norms");
    }
    assert!(compared > 0, "the goldens hold no gradients");
}

/// The published optimiser: AdamW with betas 0.9 and 0.95, decay 0.05 on matrices, clipped at 1.
fn published_optimiser() -> Optimiser {
    Optimiser { weight_decay: 0.05, clip: Some(1.0), ..Optimiser::adam(4e-4) }
}

fn by_dims(_path: &str, dims: usize) -> Group {
    Group::by_dims(dims)
}

#[test]
fn randar_optimiser_steps() {
    let (case, device) = (RandArCase::read(), Device::flex().autodiff());
    let mut compared = 0;
    for &grid in &case.grids {
        if !case.golden.names().any(|name| name == format!("g{grid}.adamw.losses")) {
            continue;
        }
        let want = case.get(grid, "adamw.losses");
        let settings = Settings::new(&published_optimiser(), want.values.len());
        let mut trainer = Trainer::start(case.weights(&device), settings, &by_dims);
        let mut losses = Vec::new();
        for step in 1..=want.values.len() {
            let loss = loss(&case, grid, &trainer.working(), &device);
            losses.extend(floats(loss.clone()));
            trainer.gather(loss);
            trainer.update().expect("a step");
            let got = published(&trainer.model);
            for name in case.golden.names() {
                let Some(parameter) = name.strip_prefix(&format!("g{grid}.adamw.step{step}.")) else { continue };
                // Small enough to tell whether a parameter is decayed: a step decays by 2e-5 of its value.
                case.golden.get(name).assert_close(&got.get(parameter).values, 5e-7, name);
                compared += 1;
            }
        }
        want.assert_close(&losses, 1e-5, "losses while training");
    }
    assert!(compared > 0, "the goldens hold no optimiser steps");
}

/// In f16 on the GPU path: the loss is that of f32 to f16's precision, and a step moves the f32 weights alike.
#[test]
fn randar_trains_in_half_precision() {
    let (case, plain) = (RandArCase::read(), crate::gpu::device());
    if !plain.supports_dtype(FloatDType::F16) {
        eprintln!("this adapter has no f16");
        return;
    }
    let device = plain.autodiff();
    let grid = case.grids[0];
    let settings = Settings { precision: FloatDType::F16, ..Settings::new(&published_optimiser(), 10) };
    let mut trainer = Trainer::start(case.weights(&device), settings, &by_dims);
    let loss = loss(&case, grid, &trainer.working(), &device);
    case.get(grid, "tf.loss").assert_close(&floats(loss.clone()), 2e-3, "loss in f16");
    trainer.gather(loss);
    let updated = trainer.update().expect("a step");
    let norm = case.get(grid, "tf.grad_global_norm").values[0];
    assert!(!updated.skipped && (updated.norm as f32 - norm).abs() < 0.01 * norm, "{updated:?}, published {norm}");
    assert_eq!(trainer.model.pos_instruct_embeddings.val().dtype(), DType::F32);
}

/// The rule by which steps are left out (`train_c2i.py`): after clipping, the sum of the norms of all gradients.
#[test]
fn randar_leaves_steps_out_by_the_published_rule() {
    let (case, device) = (RandArCase::read(), Device::flex().autodiff());
    let grid = case.grids[0];
    let [sum, joint] = ["tf.grad_norm_sum_official_skip_metric_preclip", "tf.grad_global_norm"]
        .map(|name| f64::from(case.get(grid, name).values[0]));
    let step = |clip: Option<f64>, skip: f64, skip_from: usize| {
        let optimiser = Optimiser { clip, skip: Some(skip), skip_from, ..published_optimiser() };
        let mut trainer = Trainer::start(case.weights(&device), Settings::new(&optimiser, 10), &by_dims);
        trainer.gather(loss(&case, grid, &trainer.working(), &device));
        let updated = trainer.update().expect("a step");
        let moved = published(&trainer.model).get("output.weight").values
            != published(&case.weights(&device)).get("output.weight").values;
        assert_eq!((moved, trainer.skipped() == 0, trainer.step()), (!updated.skipped, moved, 1));
        updated
    };
    let free = step(None, sum * 0.99, 0);
    assert!((free.norms - sum).abs() < 1e-4 * sum && (free.norm - joint).abs() < 1e-4 * joint, "{free:?}");
    assert!(free.skipped && !step(None, sum * 1.01, 0).skipped && !step(None, sum * 0.99, 1).skipped);
    // Clipped to a tenth, the sum is a tenth.
    let clipped = step(Some(joint / 10.0), sum / 10.0 * 1.01, 0);
    assert!((clipped.norms - sum / 10.0).abs() < 1e-4 * sum && !clipped.skipped, "{clipped:?}");
    assert!(step(Some(joint / 10.0), sum / 10.0 * 0.99, 0).skipped);
}

#[test]
fn randar_refuses_canvases_that_do_not_fit() {
    let case = RandArCase::read();
    let device = crate::gpu::device();
    // A cache of `2 streams × dim × (1 + 2 × tokens)` numbers beyond 128 MiB.
    let tokens = (128usize << 20) / (2 * case.config.dim * 4) / 2;
    let side = tokens.isqrt() + 1;
    let mut network = case.network(Grid::new(side, side), &device);
    let prompt = Prompt { class: 0, guided: true };
    network.begin(&prompt, &Lattice::grid(side, side)).expect("the network itself could");
    let refusal = network.predict(&[Site(0)]).expect_err("no adapter binds this").to_string();
    assert!(refusal.contains("canvas") && refusal.contains("RandAR") && refusal.contains("cpu"), "{refusal}");
}

#[test]
fn randar_bidirectional_features() {
    let (case, device) = (RandArCase::read(), Device::flex());
    let mut compared = 0;
    for &grid in &case.grids {
        let network = case.network(Grid::new(grid, grid), &device);
        for name in case.golden.names() {
            let Some(name) = name.strip_prefix(&format!("g{grid}.bidir.layer")) else { continue };
            let (block, reading) = name.split_once(".round").expect("layer and round");
            let block: usize = block.parse().expect("a layer");
            let reading: usize = reading.trim_end_matches("_genorder").parse().expect("a round");
            let want = case.get(grid, &format!("bidir.layer{name}"));
            for sample in 0..want.shape[0] {
                let class = case.get(grid, "class_ids").ints()[sample] as u32;
                let unsigned = |name: &str| -> Vec<u32> {
                    case.get(grid, name).at(sample).ints().iter().map(|value| *value as u32).collect()
                };
                let (order, tokens) = (unsigned("token_order"), unsigned("token_ids"));
                let readings = network.bidirectional_features(class, &tokens, &order, block).expect("features");
                let raster = floats(readings[reading - 1].clone());
                let dim = case.config.dim;
                let in_order: Vec<f32> =
                    order.iter().flat_map(|site| &raster[*site as usize * dim..][..dim]).copied().collect();
                want.at(sample).assert_close(&in_order, LOGITS, &format!("features after block {block}"));
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "the goldens hold no features");
}

#[test]
fn randar_refuses_features_that_do_not_exist() {
    let (case, device) = (RandArCase::read(), Device::flex());
    let grid = case.grids[0];
    let network = case.network(Grid::new(grid, grid), &device);
    let (tokens, order) = (vec![0; grid * grid], (0..(grid * grid) as u32).collect::<Vec<_>>());
    let classes = case.config.num_classes as u32;
    let features = |class, tokens: &[Token], order: &[u32], block| {
        network.bidirectional_features(class, tokens, order, block).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(features(classes, &tokens, &order, 0), Ok(()), "the null class may lead");
    let twice = [&order[1..], &[1]].concat();
    let refused = [
        features(classes + 1, &tokens, &order, 0),
        features(0, &vec![case.config.vocab_size as Token; grid * grid], &order, 0),
        features(0, &tokens[1..], &order, 0),
        features(0, &tokens, &order[1..], 0),
        features(0, &tokens, &twice, 0),
        features(0, &tokens, &order, case.config.n_layer),
    ];
    for (refusal, names) in refused.iter().zip(["class", "tokens", "tokens", "order", "order", "block"]) {
        assert!(refusal.as_ref().is_err_and(|refusal| refusal.contains(names)), "{refusal:?} should name the {names}");
    }
}

#[test]
fn a_network_resumes_where_it_stopped() {
    let (case, device) = (RandArCase::read(), Device::flex());
    let grid = case.grids[0];
    let mut network = case.network(Grid::new(grid, grid), &device);
    let order = by_name("random").expect("exists").arrange(Grid::new(grid, grid), 5);
    let plan = Plan::new(
        Lattice::grid(grid, grid),
        &order,
        &vec![None; grid * grid],
        Schedule::Cosine { steps: 6 },
        Given::First,
    );
    let plan = Arc::new(plan.expect("plan"));
    let knobs = Knobs { class: 1, guidance: Guidance::linear(3.0), sampling: Sampling::default(), seed: 9 };
    let whole: Vec<_> =
        Decoding::start(&mut network, plan.clone(), knobs, &[]).expect("starts").map(Result::unwrap).collect();
    for stop in [1, whole.len() / 2, whole.len() - 1] {
        let rest = Decoding::start(&mut network, plan.clone(), knobs, &whole[..stop]).expect("starts");
        let rest: Vec<_> = rest.map(Result::unwrap).collect();
        let tokens = |steps: &[Step]| -> Vec<_> {
            steps.iter().flat_map(|step| step.made.iter().map(|made| (step.index, made.site, made.token))).collect()
        };
        assert_eq!(tokens(&rest), tokens(&whole[stop..]), "resumed after {stop} steps");
    }
}

#[test]
fn sampling_filters() {
    let case = RandArCase::read();
    let logits = case.golden.get("sample.logits");
    let vocab = *logits.shape.last().expect("shape");
    let mut compared = 0;
    for name in case.golden.names().filter(|name| name.starts_with("sample.probs.")) {
        let setting = |letter: char| -> f32 {
            let part = name["sample.probs.".len()..].split('_').find(|part| part.starts_with(letter));
            part.and_then(|part| part[1..].parse().ok()).unwrap_or_else(|| panic!("{name} has no {letter}"))
        };
        let (temperature, top_k, top_p) = (setting('t'), setting('k') as usize, setting('p'));
        let sampling = Sampling { temperature, top_k, top_p, ..Sampling::default() };
        let got: Vec<f32> = logits.values.chunks_exact(vocab).flat_map(|row| sampling.probabilities(row)).collect();
        case.golden.get(name).assert_close(&got, 1e-6, name);
        compared += 1;
    }
    assert!(compared > 0, "the goldens hold no sampling");
}

#[test]
fn cosine_schedules() {
    let schedules = json(&goldens("randar").join("schedules.json"));
    for (name, want) in schedules.as_object().expect("an object") {
        let (sites, steps) = name.split_once('/').expect("sites/steps");
        let (sites, steps): (usize, usize) = (sites.parse().expect("sites"), steps.parse().expect("steps"));
        let want: Vec<usize> =
            want.as_array().expect("a list").iter().map(|count| count.as_u64().expect("a count") as usize).collect();
        assert_eq!(cosine(0, sites, steps), want, "{name}");
    }
}

#[test]
fn published_orders() {
    let orders = Golden::read(&goldens("randar").join("orders.safetensors"));
    let ours = |name: &str| match name {
        "zcurve" => "z-curve".to_string(),
        other => other.replace('_', "-"),
    };
    for name in orders.names() {
        let (order, side) = name.split_once('.').expect("name.side");
        let side: usize = side.parse().expect("side");
        let got = by_name(&ours(order)).expect("exists").arrange(Grid::new(side, side), 0);
        let got: Vec<i32> = got.iter().map(|site| *site as i32).collect();
        assert_eq!(got, orders.get(name).ints(), "{name}");
    }
}

#[test]
fn published_sizes_have_the_published_numbers_of_parameters() {
    let count = |config: &TransformerConfig| {
        let (d, f, v, c) = (config.dim, config.hidden_dim(), config.vocab_size, config.num_classes);
        config.n_layer * (4 * d * d + 3 * d * f + 2 * d) + (c + 1) * d + 2 * v * d + d + d
    };
    let counts: Vec<_> = PRESETS.iter().map(|size| (size.name, count(&size.config))).collect();
    let published = [
        ("L", 342_912_000),
        ("L-MaskGIT", 311_454_720),
        ("XL", 774_700_800),
        ("XL-384", 774_700_800),
        ("XXL", 1_410_974_208),
    ];
    assert_eq!(counts, published);
}
