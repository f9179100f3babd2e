//! LlamaGen's generator, `FoundationVision/LlamaGen`.

use std::path::PathBuf;
use std::sync::Arc;

use andamento_model::checkpoint::{LLAMAGEN_KEYS, load};
use andamento_model::decode::{Decoding, Knobs};
use andamento_model::lattice::{Grid, Lattice, Token};
use andamento_model::networks::llamagen::{Dropout, LlamaGenNetwork, PRESETS, Rope, TransformerConfig, Trunk};
use andamento_model::plan::{Given, Plan};
use andamento_model::sample::{Guidance, Sampling};
use andamento_model::schedule::Schedule;
use andamento_tests::{Array, Golden, goldens};
use burn::prelude::*;
use burn::tensor::Int;

use super::{
    LOGITS, assert_generation, assert_gradients, assert_raster_only, decode, floats, guided_logits, ints, transformer,
};

pub(super) struct LlamaGenCase {
    pub(super) golden: Golden,
    pub(super) config: TransformerConfig,
    pub(super) grids: Vec<usize>,
    folder: PathBuf,
}

impl LlamaGenCase {
    pub(super) fn read() -> Self {
        let folder = goldens("randar");
        let (config, grids) = transformer(&folder.join("llamagen_config.json"));
        Self { golden: Golden::read(&folder.join("llamagen_golden.safetensors")), config, grids, folder }
    }

    pub(super) fn weights(&self, device: &Device) -> Trunk {
        let file = self.folder.join("llamagen_tiny.safetensors");
        let bytes = std::fs::read(&file).expect("weights");
        load(Trunk::new(&self.config, device), bytes, &LLAMAGEN_KEYS, file).expect("the published layout loads")
    }

    pub(super) fn network(&self, grid: usize, device: &Device) -> LlamaGenNetwork {
        LlamaGenNetwork::new(self.weights(device), self.config.clone(), Grid::new(grid, grid), device)
    }

    pub(super) fn get(&self, grid: usize, name: &str) -> &Array {
        self.golden.get(&format!("g{grid}.{name}"))
    }

    fn has(&self, grid: usize, name: &str) -> bool {
        let wanted = format!("g{grid}.{name}");
        self.golden.names().any(|name| name == wanted)
    }

    fn rope(&self, grid: usize, device: &Device) -> Rope {
        Rope::new(grid, grid, self.config.head_dim(), self.config.rope_base, device)
    }

    /// What enters and leaves the blocks for the golden tokens, teacher forced.
    fn hidden(&self, weights: &Trunk, grid: usize, classes: &[i32], device: &Device) -> Vec<Tensor<3>> {
        let tokens = ints(self.get(grid, "token_ids"), device);
        let classes = Tensor::<1, Int>::from_data(classes, device);
        weights.hidden(classes, tokens, &self.rope(grid, device), Dropout::default())
    }

    fn plan(&self, grid: usize, given: &[Option<Token>]) -> Arc<Plan> {
        let raster: Vec<u32> = (0..(grid * grid) as u32).collect();
        let plan = Plan::new(Lattice::grid(grid, grid), &raster, given, Schedule::OneByOne, Given::InPlace);
        Arc::new(plan.expect("plan"))
    }
}

#[test]
fn llamagen_teacher_forced_logits() {
    let (case, device) = (LlamaGenCase::read(), Device::flex());
    let weights = case.weights(&device);
    for &grid in &case.grids {
        case.get(grid, "rope_freqs_cis").assert_close(
            &floats(case.rope(grid, &device).freqs_cis()),
            1e-5,
            "rotary table",
        );
        let classes = case.get(grid, "class_ids").ints();
        let hidden = case.hidden(&weights, grid, &classes, &device);
        assert_eq!(hidden.len(), 1 + case.config.n_layer);
        for (depth, state) in
            hidden.iter().enumerate().filter(|(depth, _)| case.has(grid, &format!("tf.hidden.{depth}")))
        {
            let what = format!("hidden state {depth}");
            case.get(grid, &format!("tf.hidden.{depth}")).assert_close(&floats(state.clone()), LOGITS, &what);
        }
        let logits = weights.logits(hidden[case.config.n_layer].clone());
        case.get(grid, "tf.logits").assert_close(&floats(logits), LOGITS, "logits");

        let null = vec![case.config.num_classes as i32; classes.len()];
        let hidden = case.hidden(&weights, grid, &null, &device);
        let logits = floats(weights.logits(hidden[case.config.n_layer].clone()));
        case.get(grid, "tf.logits_null_class").assert_close(&logits, LOGITS, "logits without the class");
    }
    assert!(case.grids.iter().any(|grid| case.has(*grid, "tf.hidden.0")), "the goldens hold no hidden states");
}

#[test]
fn llamagen_loss_and_gradients() {
    let (case, device) = (LlamaGenCase::read(), Device::flex().autodiff());
    let mut compared = 0;
    for &grid in &case.grids {
        let weights = case.weights(&device);
        let classes = case.get(grid, "class_ids").ints();
        let classes = Tensor::<1, Int>::from_data(classes.as_slice(), &device);
        let tokens = ints(case.get(grid, "token_ids"), &device);
        let loss = weights.loss(classes, tokens, &case.rope(grid, &device), Dropout::default());
        case.get(grid, "tf.loss").assert_close(&floats(loss.clone()), 1e-5, "loss");
        let prefix = format!("g{grid}.grad.");
        if case.golden.names().any(|name| name.starts_with(&prefix)) {
            let gradients = assert_gradients(&case.golden, &prefix, &weights, &loss);
            let squares = gradients.names().flat_map(|name| &gradients.get(name).values).map(|x| f64::from(*x).powi(2));
            let norm = squares.sum::<f64>().sqrt() as f32;
            case.get(grid, "tf.grad_global_norm").assert_close(&[norm], 1e-4 * norm, "norm of all gradients");
            compared += 1;
        }
    }
    assert!(compared > 0, "the goldens hold no gradients");
}

/// What a run's name says: `nocfg`, `cfg4` or `cfg4_interval8`.
pub(super) fn guidance(run: &str) -> Guidance {
    let Some(settings) = run.strip_prefix("cfg") else {
        assert_eq!(run, "nocfg", "a run without a name for its guidance");
        return Guidance::constant(1.0);
    };
    let (scale, until) = match settings.split_once("_interval") {
        Some((scale, until)) => (scale, Some(until.parse().expect("a token"))),
        None => (settings, None),
    };
    Guidance::Constant { scale: scale.parse().expect("a scale"), until }
}

/// Names `X` of `g{grid}.gen.X.indices`.
pub(super) fn runs(case: &LlamaGenCase, grid: usize) -> Vec<String> {
    let prefix = format!("g{grid}.gen.");
    let run = |name: &str| Some(name.strip_prefix(&prefix)?.strip_suffix(".indices")?.to_string());
    case.golden.names().filter_map(run).collect()
}

fn greedy_generations(case: &LlamaGenCase, grids: &[usize], device: &Device) -> usize {
    let mut compared = 0;
    for &grid in grids {
        let mut network = case.network(grid, device);
        let plan = case.plan(grid, &vec![None; grid * grid]);
        for run in runs(case, grid) {
            let want = case.get(grid, &format!("gen.{run}.indices"));
            let logits = case.get(grid, &format!("gen.{run}.logits"));
            let guidance = guidance(&run);
            for sample in 0..want.shape[0] {
                let class = case.get(grid, "class_ids").ints()[sample] as u32;
                let golden = (&want.at(sample), &logits.at(sample));
                assert_generation(&mut network, &plan, (class, guidance), golden, &format!("g{grid} {run}"));
                compared += 1;
            }
        }
    }
    compared
}

#[test]
fn llamagen_greedy_generations() {
    let case = LlamaGenCase::read();
    assert!(greedy_generations(&case, &case.grids, &Device::flex()) > 0, "the goldens hold no generation");
}

#[test]
fn llamagen_greedy_generations_on_the_gpu_path() {
    let case = LlamaGenCase::read();
    let device = crate::gpu::device();
    assert!(greedy_generations(&case, &case.grids[..1], &device) > 0, "the goldens hold no generation");
}

#[test]
fn llamagen_reads_given_tokens_at_their_own_places() {
    let (case, device) = (LlamaGenCase::read(), Device::flex());
    for &grid in &case.grids {
        let mut network = case.network(grid, &device);
        let classes = case.get(grid, "class_ids").ints();
        let tokens = case.get(grid, "token_ids");
        for (sample, class) in classes.iter().enumerate() {
            let tokens = tokens.at(sample).ints();
            // Every third token is to be made; the others are given and must be read between the predictions.
            let given: Vec<Option<Token>> =
                tokens.iter().enumerate().map(|(site, token)| (site % 3 != 1).then_some(*token as Token)).collect();
            let plan = case.plan(grid, &given);
            let got = guided_logits(&mut network, &plan, *class as u32, Guidance::constant(1.0), &tokens);
            let logits = case.get(grid, "tf.logits").at(sample);
            let made = (0..tokens.len()).filter(|site| given[*site].is_none());
            let want: Vec<f32> = made.flat_map(|site| logits.at(site).values).collect();
            let want = Array { shape: vec![want.len()], values: want };
            want.assert_close(&got, LOGITS, "logits between given tokens");
            let decoded = decode(&mut network, &plan, *class as u32, Guidance::constant(2.0));
            for (site, given) in given.iter().enumerate() {
                assert!(given.is_none_or(|token| decoded[site] == token as i32), "a given token was changed");
            }
        }
    }
}

#[test]
fn llamagen_resumes_where_it_stopped() {
    let (case, device) = (LlamaGenCase::read(), Device::flex());
    let grid = case.grids[0];
    let mut network = case.network(grid, &device);
    let plan = case.plan(grid, &vec![None; grid * grid]);
    let knobs = Knobs { class: 1, guidance: Guidance::constant(3.0), sampling: Sampling::default(), seed: 9 };
    let whole: Vec<_> = Decoding::start(&mut network, plan.clone(), knobs, &[])
        .expect("starts")
        .map(|step| step.expect("decodes"))
        .collect();
    for stop in [1, whole.len() / 2, whole.len() - 1] {
        let rest = Decoding::start(&mut network, plan.clone(), knobs, &whole[..stop]).expect("starts");
        let tokens = |step: &andamento_model::decode::Step| (step.index, step.made[0].site, step.made[0].token);
        let rest: Vec<_> = rest.map(|step| tokens(&step.expect("decodes"))).collect();
        assert_eq!(rest, whole[stop..].iter().map(tokens).collect::<Vec<_>>(), "resumed after {stop} steps");
    }
}

#[test]
fn llamagen_may_be_asked_twice_and_refuses_other_orders() {
    let (case, device) = (LlamaGenCase::read(), Device::flex());
    let grid = case.grids[0];
    assert_raster_only(&mut case.network(grid, &device), &Lattice::grid(grid, grid));
}

#[test]
fn llamagen_published_sizes_have_the_published_numbers_of_parameters() {
    let counts = PRESETS.map(|(name, config, _)| (name, Trunk::new(&config, &Device::flex()).num_params()));
    let published = [
        ("B-256", 110_888_448),
        ("B-384", 110_888_448),
        ("L-256", 342_910_976),
        ("L-384", 342_910_976),
        ("XL-384", 774_699_520),
        ("XXL-384", 1_410_972_672),
        ("3B-384", 3_096_659_200),
    ];
    assert_eq!(counts, published);
}
