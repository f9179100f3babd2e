//! TensorAR. No code was published: these are tests of self-consistency, on the published base models' goldens.

use std::collections::BTreeMap;
use std::sync::Arc;

use andamento_model::checkpoint::manifest::{Entry, Manifest};
use andamento_model::checkpoint::recognise::recognise;
use andamento_model::checkpoint::{TENSORAR_KEYS, Weights, export, load};
use andamento_model::decode::{Decoding, Knobs, Step};
use andamento_model::lattice::{Grid, Lattice, Site, Token};
use andamento_model::ledger::revisions;
use andamento_model::network::{Network, Prompt};
use andamento_model::networks::llamagen::{Dropout, Trunk};
use andamento_model::networks::open_magvit2::OpenMagvit2;
use andamento_model::networks::rar::Rar;
use andamento_model::networks::tensorar::base::{Base, BaseConfig};
use andamento_model::networks::tensorar::noise::{Denominator, Noise, NoiseKind, NoiseSchedule, embed_noised};
use andamento_model::networks::tensorar::{FAMILY, MAX_DEPTH, MAX_K, TensorAr, TensorArConfig, TensorArNetwork};
use andamento_model::networks::{Parts, by_name};
use andamento_model::plan::{Given, Plan};
use andamento_model::sample::{Guidance, Sampling};
use andamento_model::schedule::Schedule;
use andamento_model::train::optimiser::{Group, Optimiser};
use andamento_model::train::run::{Settings, Trainer};
use andamento_tests::Array;
use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Distribution, FloatDType, Int, s};

use super::llamagen::{LlamaGenCase, guidance, runs};
use super::open_magvit2::MagvitCase;
use super::rar::RarCase;
use super::{GREEDY, LOGITS, floats, ints, published};

/// A base model with the golden weights.
struct Case<B: Base> {
    base: B,
    base_config: B::Config,
    config: BaseConfig,
    grid: Grid,
    classes: Vec<i32>,
    /// Of some pictures, `[pictures, sites]`.
    tokens: Array,
}

/// LlamaGen on one of the golden grids.
fn on_llamagen(grid: usize, device: &Device) -> Case<Trunk> {
    let case = LlamaGenCase::read();
    Case {
        base: case.weights(device),
        base_config: case.config.clone(),
        config: BaseConfig::LlamaGen(case.config.clone()),
        grid: Grid::new(grid, grid),
        classes: case.get(grid, "class_ids").ints(),
        tokens: case.get(grid, "token_ids").clone(),
    }
}

fn on_open_magvit2(device: &Device) -> Case<OpenMagvit2> {
    let case = MagvitCase::read();
    Case {
        base: case.weights(device),
        base_config: case.config.clone(),
        config: BaseConfig::OpenMagvit2(case.config.clone()),
        grid: Grid::new(case.side, case.side),
        classes: case.golden.get("label").ints(),
        tokens: case.codes("idx_pre", "idx_post"),
    }
}

/// RAR knows nothing of rows and columns: on one row of tokens.
fn on_rar(device: &Device) -> Case<Rar> {
    let case = RarCase::read();
    let golden = case.golden("rar_forward.safetensors");
    Case {
        base: case.weights(device),
        base_config: case.config.clone(),
        config: BaseConfig::Rar(case.config.clone()),
        grid: Grid::new(1, case.config.image_seq_len),
        classes: golden.get("label").ints(),
        tokens: golden.get("input_ids").clone(),
    }
}

/// The smallest golden grid, for what does not depend on it.
fn small_llamagen(device: &Device) -> Case<Trunk> {
    on_llamagen(LlamaGenCase::read().grids[0], device)
}

/// Opens gates.
struct Open;

impl ModuleMapper for Open {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        // Gates are the only vectors that start at zero.
        if D == 1 && param.val().abs().sum().into_scalar::<f32>() == 0.0 {
            let learns = param.val().is_require_grad();
            return param.map(|gate| gate.random_like(Distribution::Uniform(0.5, 1.0)).set_require_grad(learns));
        }
        param
    }
}

impl<B: Base + 'static> Case<B> {
    fn config(&self, k: usize, depth: usize) -> TensorArConfig {
        let config = TensorArConfig { base: self.config.clone(), k, depth, noise: Noise::default() };
        config.check().expect("possible sizes");
        config
    }

    /// A fresh model around the base model: its gates are zero.
    fn closed(&self, k: usize, depth: usize) -> TensorAr<B> {
        let device = self.base.devices()[0].clone();
        TensorAr::new(self.base.clone(), &self.config(k, depth), &device)
    }

    /// The same with open gates.
    fn open(&self, k: usize, depth: usize) -> TensorAr<B> {
        let model = self.closed(k, depth);
        TensorAr {
            base: model.base,
            input_encoder: model.input_encoder.map(&mut Open),
            output_decoder: model.output_decoder.map(&mut Open),
        }
    }

    fn network(&self, weights: TensorAr<B>, depth: usize, device: &Device) -> TensorArNetwork<B> {
        let config = self.config(weights.k(), depth);
        TensorArNetwork::new(weights, config, self.base_config.clone(), self.grid, device).expect("the grid fits")
    }

    fn plan(&self, k: usize, given: impl Fn(usize) -> Option<Token>) -> Arc<Plan> {
        let raster: Vec<u32> = (0..self.grid.len() as u32).collect();
        let given: Vec<Option<Token>> = (0..self.grid.len()).map(given).collect();
        let lattice = Lattice::grid(self.grid.rows, self.grid.cols);
        let schedule = Schedule::Windows { width: k };
        Arc::new(Plan::new(lattice, &raster, &given, schedule, Given::InPlace).expect("plan"))
    }

    fn classes(&self, device: &Device) -> Tensor<1, Int> {
        Tensor::from_data(self.classes.as_slice(), device)
    }

    /// The logits of whole pictures, for each factor: `[batch, sites, k, codes]`.
    fn logits(
        &self,
        model: &TensorAr<B>,
        tokens: Tensor<2, Int>,
        embed: impl FnOnce(Tensor<3, Int>) -> Tensor<4>,
    ) -> Vec<Tensor<4>> {
        let classes = self.classes(&tokens.device());
        let conditions = model.base.conditions(&self.base_config, classes.clone(), self.grid);
        let hidden = model.hidden(classes, tokens.clone(), &conditions, embed, Dropout::default());
        model.logits(hidden, tokens, &conditions, 0.0)
    }

    /// The same without noise.
    fn clean_logits(&self, model: &TensorAr<B>, tokens: Tensor<2, Int>) -> Vec<Tensor<4>> {
        let codes = model.base.codes();
        self.logits(model, tokens, |tensors| codes.embed_tensors(tensors))
    }
}

/// Steps of a run through the one loop.
fn steps(network: &mut dyn Network, plan: &Arc<Plan>, knobs: Knobs, earlier: &[Step]) -> Vec<Step> {
    let run = Decoding::start(network, plan.clone(), knobs, earlier).expect("starts");
    run.map(|step| step.expect("decodes")).collect()
}

/// The tokens of a finished run, in raster order.
fn picture(plan: &Plan, steps: &[Step]) -> Vec<i32> {
    let mut tokens = vec![-1; plan.lattice.len()];
    plan.given_tokens().for_each(|(site, token)| tokens[site.index()] = token as i32);
    steps.iter().flat_map(|step| &step.made).for_each(|made| tokens[made.site.index()] = made.token as i32);
    tokens
}

fn array(values: Vec<f32>) -> Array {
    Array { shape: vec![values.len()], values }
}

/// (a) With closed gates the first token of every tensor is the base model's, at any `k` and depth.
#[test]
fn tensorar_with_closed_gates_makes_the_base_models_pictures() {
    let (golden, device) = (LlamaGenCase::read(), Device::flex());
    let sizes = (1..=6).chain([MAX_K]).flat_map(|k| [1, 2, 4].map(|depth| (k, depth)));
    let mut compared = 0;
    for (grid, (k, depth)) in golden.grids.iter().flat_map(|grid| sizes.clone().map(move |size| (*grid, size))) {
        let case = on_llamagen(grid, &device);
        let mut network = case.network(case.closed(k, depth), depth, &device);
        let plan = case.plan(k, |_| None);
        for run in runs(&golden, grid) {
            let want = golden.get(grid, &format!("gen.{run}.indices"));
            for sample in 0..want.shape[0] {
                let class = case.classes[sample] as u32;
                let knobs = Knobs { class, guidance: guidance(&run), sampling: GREEDY, seed: 0 };
                let made = picture(&plan, &steps(&mut network, &plan, knobs, &[]));
                assert_eq!(made, want.at(sample).ints(), "g{grid} {run}, k = {k}, depth {depth}");
                compared += 1;
            }
        }
    }
    assert!(compared > 0, "the goldens hold no generation");
}

/// Pictures of a base model behind the seam and of TensorAR around it, as drawn and guided.
fn makes_the_same<B: Base + 'static>(case: &Case<B>, base: &mut dyn Network, guidance: Guidance, device: &Device) {
    let raster: Vec<u32> = (0..case.grid.len() as u32).collect();
    let given: Vec<Option<Token>> = raster.iter().map(|site| (site % 7 == 2).then_some(1)).collect();
    let knobs = |class: &i32| Knobs { class: *class as u32, guidance, sampling: GREEDY, seed: 0 };
    let lattice = Lattice::grid(case.grid.rows, case.grid.cols);
    let alone = Plan::new(lattice, &raster, &given, Schedule::OneByOne, Given::InPlace).expect("plan");
    let alone = Arc::new(alone);
    for class in &case.classes {
        let want = picture(&alone, &steps(base, &alone, knobs(class), &[]));
        for (k, depth) in [(1, 1), (2, 4), (5, 2)] {
            let plan = case.plan(k, |site| given[site]);
            let mut network = case.network(case.closed(k, depth), depth, device);
            let made = picture(&plan, &steps(&mut network, &plan, knobs(class), &[]));
            assert_eq!(made, want, "k = {k}, depth {depth}");
        }
    }
}

#[test]
fn tensorar_with_closed_gates_makes_the_pictures_of_every_base_model() {
    let device = Device::flex();
    let guidance = Guidance::PowerCosine { scale: 4.0, power: 1.5 };
    makes_the_same(&on_rar(&device), &mut RarCase::read().network(&device), guidance, &device);
    let guidance = Guidance::Factors { scales: [1.9, 2.0] };
    makes_the_same(&on_open_magvit2(&device), &mut MagvitCase::read().network(&device), guidance, &device);
}

#[test]
fn tensorar_with_closed_gates_has_the_base_models_logits() {
    let (golden, device) = (LlamaGenCase::read(), Device::flex());
    for &grid in &golden.grids {
        let case = on_llamagen(grid, &device);
        for (k, depth) in [(1, 1), (2, 4), (5, 2)] {
            let model = case.closed(k, depth);
            let tokens = ints(&case.tokens, &device);
            let logits = case.clean_logits(&model, tokens.clone());
            let [logits] = logits.as_slice() else { panic!("one factor") };
            let first = logits.clone().slice(s![.., .., 0..1, ..]);
            golden.get(grid, "tf.logits").assert_close(&floats(first), LOGITS, "logits of first tokens");
            if k == 1 {
                let loss = model.loss(vec![logits.clone()], tokens, 1.0);
                golden.get(grid, "tf.loss").assert_close(&floats(loss), 1e-5, "loss");
            }
        }
    }

    let case = on_rar(&device);
    let golden = RarCase::read().golden("rar_forward.safetensors");
    for (k, depth) in [(1, 1), (4, 2)] {
        let logits = case.clean_logits(&case.closed(k, depth), ints(&case.tokens, &device)).remove(0);
        for (sample, site) in (0..case.classes.len()).flat_map(|b| (0..case.grid.len()).map(move |site| (b, site))) {
            let first = floats(logits.clone().slice(s![sample..sample + 1, site..site + 1, 0..1, ..]));
            let want = golden.get("raster.logits").at(sample).at(site);
            want.assert_close(&first, LOGITS, &format!("k = {k}, site {site}"));
        }
    }

    let (golden, case) = (MagvitCase::read(), on_open_magvit2(&device));
    let base = golden.logits(&case.base, &device);
    for (k, depth) in [(1, 1), (3, 2)] {
        let logits = case.clean_logits(&case.closed(k, depth), ints(&case.tokens, &device));
        assert_eq!(logits.len(), base.len());
        for (logits, base) in logits.into_iter().zip(&base) {
            let first = floats(logits.slice(s![.., .., 0..1, ..]));
            array(floats(base.clone())).assert_close(&first, LOGITS, "logits of first tokens, factor by factor");
        }
    }
}

/// (b) Tensors of one token are the base model's, whatever the gates are.
#[test]
fn tensorar_of_one_token_is_its_base_model() {
    let (golden, device) = (LlamaGenCase::read(), Device::flex());
    let case = small_llamagen(&device);
    let logits = case.clean_logits(&case.open(1, 2), ints(&case.tokens, &device));
    golden.get(golden.grids[0], "tf.logits").assert_close(&floats(logits[0].clone()), LOGITS, "logits");
}

/// The logits of pictures and of the same with other tokens from site `from` on: whether they differ at each tensor.
fn differs<B: Base + 'static>(
    case: &Case<B>,
    model: &TensorAr<B>,
    from: usize,
    embed: impl Fn(Tensor<3, Int>) -> Tensor<4>,
) -> Vec<bool> {
    let (device, vocab) = (case.base.devices()[0].clone(), model.base.codes().count);
    let mut other = case.tokens.clone();
    let sites = case.grid.len();
    let later = other.values.iter_mut().enumerate().filter(|(place, _)| place % sites >= from);
    later.for_each(|(_, token)| *token = (*token + 1.0) % vocab as f32);
    // The first factors alone: those of the second read the true first ones.
    let logits = [&case.tokens, &other].map(|tokens| case.logits(model, ints(tokens, &device), &embed).remove(0));
    let [batch, sites, k, codes] = logits[0].dims();
    let [one, two] = logits.map(floats);
    let at = |tensor: usize| {
        let mut places =
            (0..batch).flat_map(|b| (0..k * codes).map(move |place| (b * sites + tensor) * k * codes + place));
        places.any(|place| one[place] != two[place])
    };
    (0..sites).map(at).collect()
}

fn tokens_are_read_in_time<B: Base + 'static>(case: &Case<B>) {
    let codes = case.base.codes();
    for k in [2, 3, 5] {
        let (model, sites) = (case.open(k, 2), case.grid.len());
        for from in [k, sites / 2, sites - 1] {
            // Tensor t is predicted from tensors up to t - 1, which end with token t + k - 2.
            let clean = differs(case, &model, from, |tensors| codes.embed_tensors(tensors));
            let want: Vec<bool> = (0..sites).map(|tensor| tensor + k - 1 > from).collect();
            assert_eq!(clean, want, "k = {k}, tokens from {from} on");
            // Where noise has replaced all but the first tokens, only those are read.
            let noised = differs(case, &model, from, |tensors| {
                let first = tensors.clone().slice(s![.., .., 0..1]);
                let noise = tensors.slice(s![.., .., 1..]).zeros_like();
                codes.embed_tensors(Tensor::cat(vec![first, noise], 2))
            });
            let want: Vec<bool> = (0..sites).map(|tensor| tensor > from).collect();
            assert_eq!(noised, want, "k = {k}, noised, tokens from {from} on");
        }
    }
}

/// (c) No tensor is predicted from tokens that are not yet made, nor from drafts that noise has replaced.
#[test]
fn tensorar_reads_no_token_too_early() {
    let device = Device::flex();
    tokens_are_read_in_time(&small_llamagen(&device));
    tokens_are_read_in_time(&on_rar(&device));
    tokens_are_read_in_time(&on_open_magvit2(&device));
}

/// What lies beyond the picture does not count; where a draft stands does, and every place gets logits of its own.
#[test]
fn tensorar_knows_the_places_within_the_picture() {
    let device = Device::flex();
    let case = small_llamagen(&device);
    let (k, sites) = (3, case.grid.len());
    let (model, codes) = (case.open(k, 2), case.base.codes());
    let tokens = ints(&case.tokens, &device);
    let logits = |embed: &dyn Fn(Tensor<3, Int>) -> Tensor<4>| case.logits(&model, tokens.clone(), embed).remove(0);
    let clean = logits(&|tensors| codes.embed_tensors(tensors));
    let beyond: Vec<f32> = (0..(sites - 1) * k).map(|i| if i / k + i % k >= sites { 9.0 } else { 0.0 }).collect();
    assert!(beyond.contains(&9.0));
    let beyond: Tensor<4> = Tensor::<1>::from_data(beyond.as_slice(), &device).reshape([1, sites - 1, k, 1]);
    let changed = logits(&|tensors| codes.embed_tensors(tensors) + beyond.clone());
    assert_eq!(floats(clean.clone()), floats(changed), "what lies beyond the picture is read");

    let largest = |difference: Tensor<4>| difference.abs().max().into_scalar::<f32>();
    let turned = logits(&|tensors| {
        let vectors = codes.embed_tensors(tensors);
        let place = |j: usize| vectors.clone().slice(s![.., .., j..j + 1, ..]);
        Tensor::cat(vec![place(0), place(2), place(1)], 2)
    });
    assert!(largest(turned - clean.clone()) > 1e-3, "drafts may change places unseen");
    let [first, second] = [0, 1].map(|j| clean.clone().slice(s![.., .., j..j + 1, ..]));
    assert!(largest(first - second) > 1e-3, "two places have the same logits");
}

/// Any token, but the same for the same step and site.
fn draft(step: usize, site: Site, vocab: usize) -> Token {
    ((7 * step + 13 * site.index() + 5) % vocab) as Token
}

/// Follows a plan with drafts that differ from step to step, and compares every prediction with that of the whole matrix of
/// tensors at once.
fn decoding_is_the_training_forward<B: Base + 'static>(
    case: &Case<B>,
    k: usize,
    given: impl Fn(usize) -> Option<Token>,
    device: &Device,
) {
    let (sites, vocab, class) = (case.grid.len(), case.base.codes().count, case.classes[0]);
    let model = case.open(k, 2);
    let plan = case.plan(k, &given);
    let mut network = case.network(model.clone(), 2, device);
    network.begin(&Prompt { class: class as u32, guided: true }, &plan.lattice).expect("begins");
    // The matrix as it should be: what was told at the tensor's own step, or the given tokens.
    let mut matrix: Vec<i32> = (0..sites * k).map(|i| given(i / k + i % k).map_or(0, |token| token as i32)).collect();
    let mut predicted = Vec::new();
    for (step, visit) in plan.visits.iter().enumerate() {
        let token = |site: &Site| given(site.index()).unwrap_or_else(|| draft(step, *site, vocab));
        if !visit.told.is_empty() {
            network.tell(&visit.told, &visit.told.iter().map(token).collect::<Vec<_>>()).expect("tells");
        }
        let mut logits = vec![network.predict(&visit.sites).expect("predicts")];
        let tokens: Vec<Token> = visit.sites.iter().map(token).collect();
        let radix = logits[0].dims()[2] as Token;
        let first: Vec<Token> = tokens.iter().map(|token| token % radix).collect();
        logits.extend(network.refine(&visit.sites, &first).expect("refines"));
        assert!(network.refine(&visit.sites, &tokens).expect("refines").is_none(), "a factor too many");
        network.tell(&visit.sites, &tokens).expect("tells");
        let tensor = visit.sites[0].index();
        tokens.iter().enumerate().for_each(|(j, token)| matrix[tensor * k + j] = *token as i32);
        predicted.push((tensor, tokens, logits));
    }

    let tensors: Tensor<3, Int> = Tensor::<1, Int>::from_data(matrix.as_slice(), device).reshape([1, sites, k]);
    let read = tensors.clone().slice(s![.., ..sites - 1, ..]);
    let vectors = model.base.codes().embed_tensors(read);
    // Only the shape of these tokens counts: what is read comes from the matrix.
    let shape = Tensor::<2, Int>::zeros([2, sites], device);
    let classes = Tensor::<1, Int>::from_data([class, network.spec().classes as i32].as_slice(), device);
    let conditions = model.base.conditions(&case.base_config, classes.clone(), case.grid);
    let hidden = model.hidden(classes, shape, &conditions, |_| vectors.repeat_dim(0, 2), Dropout::default());
    assert!(!predicted.is_empty());
    for (tensor, tokens, logits) in predicted {
        let hidden = hidden.clone().slice(s![.., tensor..tensor + 1, ..tokens.len(), ..]).squeeze_dim::<3>(1);
        let tokens: Vec<i32> = tokens.iter().map(|token| *token as i32).collect();
        let tokens = Tensor::<1, Int>::from_data(tokens.as_slice(), device).unsqueeze::<2>().repeat_dim(0, 2);
        let (first, second) = model.base.codes().factors(tokens);
        let first = second.map(|_| first);
        let (first, second) = model.base.logits(hidden, first, &conditions, 0.0);
        let want: Vec<_> = [Some(first), second].into_iter().flatten().collect();
        assert_eq!(want.len(), logits.len(), "factors");
        for (want, got) in want.into_iter().zip(logits) {
            assert_eq!(want.dims(), got.dims());
            array(floats(want)).assert_close(&floats(got), LOGITS, &format!("k = {k}, tensor {tensor}"));
        }
    }
}

/// (d) Decoding with caches says what the training forward says of the same tensors, also around given tokens, with all of
/// them read in one pass, and where tensors leave the picture.
#[test]
fn tensorar_decodes_as_it_was_trained() {
    let device = Device::flex();
    let (llamagen, magvit) = (small_llamagen(&device), on_open_magvit2(&device));
    let sites = llamagen.grid.len();
    for k in [1, 2, 3, 5, MAX_K] {
        decoding_is_the_training_forward(&llamagen, k, |_| None, &device);
        // A hole, islands in it, and given tokens at the end.
        let hole = |site: usize| (sites / 4..3 * sites / 4).contains(&site) && site % 5 != 1;
        decoding_is_the_training_forward(&llamagen, k, |site| (!hole(site)).then_some(3), &device);
        decoding_is_the_training_forward(&llamagen, k, |site| (site + 1 < sites).then_some(2), &device);
        decoding_is_the_training_forward(&llamagen, k, |site| (site > 0).then_some(1), &device);
        // Two holes far apart: the tensors between them are given as a whole.
        let between = 2..sites - 2;
        decoding_is_the_training_forward(&llamagen, k, |site| between.contains(&site).then_some(4), &device);
    }
    let rar = on_rar(&device);
    for k in [1, 4] {
        let given = |site: usize| (site % 7 < 3).then_some(site as Token % 5);
        decoding_is_the_training_forward(&rar, k, |_| None, &device);
        decoding_is_the_training_forward(&rar, k, given, &device);
        decoding_is_the_training_forward(&magvit, k, |_| None, &device);
        decoding_is_the_training_forward(&magvit, k, given, &device);
    }
}

#[test]
fn tensorar_decodes_alike_on_the_gpu_path() {
    let devices = [Device::flex(), crate::gpu::device()];
    let case = small_llamagen(&devices[0]);
    let (model, sites) = (case.open(3, 1), case.grid.len() as u32);
    // Every shape is compiled first: the end of a picture has the most behind the fewest steps.
    let [given, end] = [0..sites - 2, sites - 2..sites].map(|range| range.map(Site).collect::<Vec<_>>());
    let tokens: Vec<Token> = given.iter().map(|site| draft(0, *site, model.base.codes().count)).collect();
    let [want, got] = devices.map(|device| {
        let mut network = case.network(model.clone().to_device(&device), 1, &device);
        let lattice = network.spec().lattice.clone();
        network.begin(&Prompt { class: 1, guided: true }, &lattice).expect("begins");
        network.tell(&given, &tokens).expect("tells");
        // What the last window but one reads of the end is told as a draft.
        let window: Vec<Site> = (sites - 3..sites).map(Site).collect();
        network.tell(&window, &[1, 2, 3]).expect("tells");
        let first = floats(network.predict(&end).expect("predicts"));
        network.tell(&end, &[4, 5]).expect("tells");
        [first, floats(network.predict(&end[1..]).expect("predicts"))].concat()
    });
    array(want).assert_close(&got, LOGITS, "logits");
}

/// (e) Schedules rise from 0 to at most 1, with the values of their formulas.
#[test]
fn tensorar_noise_grows_along_a_tensor() {
    use NoiseSchedule::*;
    for schedule in [Linear, Sine, Sqrt, ExponentialA, ExponentialB, ExponentialC] {
        for denominator in [Denominator::Last, Denominator::Window] {
            let noise = Noise { schedule, denominator, ..Noise::default() };
            for k in 1..=MAX_K {
                let levels = noise.levels(k);
                assert_eq!((levels.len(), levels[0]), (k, 0.0), "{schedule:?}");
                assert!(levels.windows(2).all(|pair| pair[0] < pair[1]), "{schedule:?}: {levels:?}");
                let whole = levels[k - 1] == 1.0;
                assert_eq!(whole, k > 1 && schedule != ExponentialB && denominator == Denominator::Last);
            }
        }
        let want = match schedule {
            Linear => [0.0, 0.333, 0.667, 1.0],
            Sine => [0.0, 0.5, 0.866, 1.0],
            Sqrt | ExponentialA => [0.0, 0.577, 0.816, 1.0],
            ExponentialB => [0.0, 0.393, 0.632, 0.777],
            ExponentialC => [0.0, 0.563, 0.852, 1.0],
        };
        let levels = Noise { schedule, ..Noise::default() }.levels(4);
        array(want.to_vec()).assert_close(&levels, 5e-4, &format!("{schedule:?}"));
    }
    let wide = |schedule| Noise { schedule, ..Noise::default() }.levels(8)[1];
    assert!((wide(ExponentialA) - (1.0f32 / 7.0).powf(0.25)).abs() < 1e-6, "A depends on k");
    let halves = Noise { denominator: Denominator::Window, schedule: Linear, ..Noise::default() }.levels(2);
    assert_eq!(halves, [0.0, 0.5]);
}

fn codes_of(tokens: Tensor<4>, case: &Case<impl Base>) -> Vec<i32> {
    let dim = tokens.dims()[3];
    let rows = tokens.dims().iter().product::<usize>() / dim;
    let nearest = case.base.codes().nearest(tokens.reshape([rows, dim]));
    nearest.into_data().convert::<i32>().try_to_vec::<i32>().expect("codes")
}

/// (e) Discrete noise replaces a graded share of tokens by any code; nothing at level 0.
fn noise_replaces_tokens(case: &Case<impl Base>, device: &Device) {
    const PLACES: usize = 4096;
    let (codes, vocab) = (case.base.codes(), case.base.codes().count);
    let own = 3 % vocab as i32;
    let tensors = Tensor::<3, Int>::full([1, PLACES, 3], own, device);
    for kind in [NoiseKind::Categorical, NoiseKind::Nearest] {
        let same = embed_noised(tensors.clone(), &codes, kind, &[0.0; 3]);
        assert_eq!(floats(same), floats(codes.embed_tensors(tensors.clone())), "{kind:?}: level 0 changes nothing");
        let noised = codes_of(embed_noised(tensors.clone(), &codes, kind, &[0.0, 0.5, 1.0]), case);
        let at = |j: usize| noised.iter().skip(j).step_by(3).copied().collect::<Vec<_>>();
        assert!(at(0).iter().all(|code| *code == own), "{kind:?}: the first token");
        let kept = |j: usize| at(j).iter().filter(|code| **code == own).count() as f64 / PLACES as f64;
        let chance = 1.0 / vocab as f64;
        // Five standard deviations.
        let slack = 5.0 * (chance * (1.0 - chance) / PLACES as f64).sqrt();
        assert!((kept(2) - chance).abs() < slack, "{kind:?}: {} of full noise is the token", kept(2));
        if kind == NoiseKind::Categorical {
            assert!((kept(1) - 0.5 - 0.5 * chance).abs() < 0.05, "half of the tokens are replaced, not {}", kept(1));
        }
        let mut seen = vec![0usize; vocab];
        at(2).iter().for_each(|code| seen[*code as usize] += 1);
        let most = PLACES as f64 * chance;
        assert!(
            seen.iter().all(|count| (*count as f64) < most + 6.0 * most.sqrt() + 6.0),
            "{kind:?}: a code too often"
        );
        assert!(seen.iter().filter(|count| **count > 0).count() > vocab.min(PLACES) / 2, "{kind:?}: too few codes");
    }
    let vectors = codes.embed_tensors(tensors.clone());
    let [_, _, _, dim] = vectors.dims();
    let moved = embed_noised(tensors, &codes, NoiseKind::Gaussian, &[0.0, 0.1, 1.0]) - vectors;
    let variance = |j: usize| {
        let part = floats(moved.clone().slice(s![.., .., j..j + 1, ..]));
        part.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / (PLACES * dim) as f64
    };
    assert_eq!(variance(0), 0.0, "the first token is never noised");
    assert!([1, 2].iter().all(|j| (variance(*j) - 0.1).abs() < 0.005), "the paper's variance is 0.1");
}

#[test]
fn tensorar_noise_replaces_tokens() {
    let device = Device::flex();
    noise_replaces_tokens(&small_llamagen(&device), &device);
    noise_replaces_tokens(&on_rar(&device), &device);
    noise_replaces_tokens(&on_open_magvit2(&device), &device);
}

fn nearest_codes_are_nearest(case: &Case<impl Base>, device: &Device) {
    let codes = case.base.codes();
    let every: Vec<i32> = (0..codes.count as i32).collect();
    let every = Tensor::<1, Int>::from_data(every.as_slice(), device).unsqueeze::<2>();
    let table = codes.embed(every).squeeze_dim::<2>(0);
    let own = codes.nearest(table.clone()).into_data().convert::<i32>().try_to_vec::<i32>().expect("codes");
    assert!(own.into_iter().eq(0..codes.count as i32), "a code is nearest to itself");

    let vectors = Tensor::<2>::random([50, table.dims()[1]], Distribution::Normal(0.0, 1.0), device);
    let found = codes.nearest(vectors.clone()).into_data().convert::<i32>().try_to_vec::<i32>().expect("codes");
    let (dim, table) = (table.dims()[1], floats(table));
    let cosine = |a: &[f32], b: &[f32]| {
        let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    for (vector, found) in floats(vectors).chunks_exact(dim).zip(found) {
        let best = table.chunks_exact(dim).map(|row| cosine(vector, row)).fold(f64::MIN, f64::max);
        let ours = cosine(vector, &table[found as usize * dim..][..dim]);
        assert!(best - ours < 1e-5, "a code at {ours}, the nearest is at {best}");
    }
}

#[test]
fn tensorar_nearest_codes_are_nearest_by_their_angle() {
    let device = Device::flex();
    nearest_codes_are_nearest(&small_llamagen(&device), &device);
    nearest_codes_are_nearest(&on_rar(&device), &device);
    nearest_codes_are_nearest(&on_open_magvit2(&device), &device);
}

fn gradients_flow<B: Base + 'static>(case: &Case<B>, device: &Device) {
    let tokens = ints(&case.tokens, device);
    for (gates, model) in [("closed", case.closed(3, 2)), ("open", case.open(3, 2))] {
        let codes = model.base.codes();
        let logits = case.logits(&model, tokens.clone(), |tensors| Noise::default().embed(tensors, &codes));
        let gradients = GradientsParams::from_grads(model.loss(logits, tokens.clone(), 1.0).backward(), &model);
        let size = |param: &Param<Tensor<1>>| {
            let gradient = gradients.get::<1>(param.id).expect("a gradient");
            gradient.abs().max().into_scalar::<f32>()
        };
        assert!(size(&model.input_encoder.gate) > 1e-6, "{gates}: nothing reaches the input encoder's gate");
        assert!(size(&model.output_decoder.gate) > 1e-6, "{gates}: nothing reaches the output decoder's gate");
        let inside = size(&model.input_encoder.query);
        assert_eq!(inside > 0.0, gates == "open", "{gates}: behind its gate the encoder got {inside}");
    }
}

/// (f) At the start gradients reach the gates, and through open gates everything behind them.
#[test]
fn tensorar_gradients_reach_its_gates() {
    let device = Device::flex().autodiff();
    gradients_flow(&small_llamagen(&device), &device);
    gradients_flow(&on_rar(&device), &device);
    gradients_flow(&on_open_magvit2(&device), &device);
}

fn half_precision<B: Base + 'static>(case: &Case<B>, device: &Device) {
    let tokens = ints(&case.tokens, device);
    let whole = case.open(4, 1);
    let run = |precision| {
        let settings = Settings { precision, ..Settings::new(&Optimiser::adam(1e-3), 10) };
        let mut trainer = Trainer::start(whole.clone(), settings, &|_: &str, dims: usize| Group::by_dims(dims));
        let model = trainer.working();
        let codes = model.base.codes();
        for kind in [NoiseKind::Categorical, NoiseKind::Nearest, NoiseKind::Gaussian] {
            let noisy = embed_noised(model.tensors(tokens.clone()), &codes, kind, &[0.0, 0.4, 0.7, 1.0]);
            assert_eq!(noisy.dtype(), DType::from(precision), "{kind:?}");
        }
        let loss = model.loss(case.clean_logits(&model, tokens.clone()), tokens.clone(), 1.0);
        trainer.gather(loss.clone());
        (floats(loss)[0], trainer.update().expect("a step").norm)
    };
    let ((loss, norm), (half_loss, half_norm)) = (run(FloatDType::F32), run(FloatDType::F16));
    assert!((loss - half_loss).abs() < 2e-3 * loss, "loss {loss}, in f16 {half_loss}");
    assert!((norm - half_norm).abs() < 0.02 * norm, "norm of all gradients {norm}, in f16 {half_norm}");
}

/// In f16 on the GPU path the loss and its gradients are those of f32 to f16's precision, on LlamaGen and on RAR.
#[test]
#[ignore = "takes two minutes: software compiles and runs it in half precision"]
fn tensorar_trains_in_half_precision() {
    let plain = crate::gpu::device();
    if !plain.supports_dtype(FloatDType::F16) {
        eprintln!("this adapter has no f16");
        return;
    }
    let device = plain.autodiff();
    half_precision(&small_llamagen(&device), &device);
    half_precision(&on_rar(&device), &device);
}

#[test]
fn tensorar_loss_counts_the_tokens_within_the_picture() {
    let device = Device::flex();
    let case = small_llamagen(&device);
    let k = 3;
    let model = case.open(k, 1);
    let tokens = ints(&case.tokens, &device);
    let logits = case.clean_logits(&model, tokens.clone());
    let [batch, sites, _, vocab] = logits[0].dims();
    let log_p = floats(log_softmax(logits[0].clone(), 3));
    let truth = case.tokens.ints();
    for first in [1.0, 2.5] {
        let (mut sum, mut count) = (0.0, 0.0);
        for (b, t, j) in (0..batch).flat_map(|b| (0..sites).flat_map(move |t| (0..k).map(move |j| (b, t, j)))) {
            if t + j < sites {
                let weight = if j == 0 { f64::from(first) } else { 1.0 };
                let token = truth[b * sites + t + j] as usize;
                sum -= weight * f64::from(log_p[((b * sites + t) * k + j) * vocab + token]);
                count += weight;
            }
        }
        let loss = floats(model.loss(logits.clone(), tokens.clone(), first));
        array(vec![(sum / count) as f32]).assert_close(&loss, 1e-5, "loss");
    }
}

/// What a step of a run made, without probabilities.
fn made(steps: &[Step]) -> Vec<(usize, Site, Token)> {
    steps.iter().flat_map(|step| step.made.iter().map(|made| (step.index, made.site, made.token))).collect()
}

fn resumes_and_keeps_given_tokens<B: Base + 'static>(case: &Case<B>, guidance: Guidance, device: &Device) {
    let sites = case.grid.len();
    let knobs = Knobs { class: 1, guidance, sampling: Sampling::default(), seed: 9 };
    for k in [1, 3, 4] {
        let mut network = case.network(case.open(k, 1), 1, device);
        for hole in [0..sites, sites / 3..2 * sites / 3] {
            let given =
                |site: usize| (!hole.contains(&site) || site == hole.start + k + 1).then_some(site as Token % 7);
            let plan = case.plan(k, given);
            let whole = steps(&mut network, &plan, knobs, &[]);
            assert!(whole.iter().flat_map(|step| &step.made).all(|made| given(made.site.index()).is_none()));
            for stop in [1, k, whole.len() / 2, whole.len() - 1] {
                let rest = steps(&mut network, &plan, knobs, &whole[..stop]);
                assert_eq!(made(&rest), made(&whole[stop..]), "k = {k}: resumed after {stop} steps");
            }
            for site in (0..sites).filter(|site| given(*site).is_none()) {
                let history = revisions(&whole, Site(site as u32));
                assert_eq!(history.len(), k.min(site + 1), "k = {k}: token {site}");
                // Its last step is the one that it comes first in.
                let (last, token) = history[history.len() - 1];
                assert_eq!(plan.visits[last].sites[0].index(), site);
                assert_eq!(picture(&plan, &whole)[site], token.token as i32);
                assert!(history.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0), "k = {k}: a step was left out");
            }
        }
    }
}

#[test]
fn tensorar_resumes_and_keeps_given_tokens_and_tells_revisions() {
    let device = Device::flex();
    resumes_and_keeps_given_tokens(&small_llamagen(&device), Guidance::constant(3.0), &device);
    let guidance = Guidance::PowerCosine { scale: 4.0, power: 1.5 };
    resumes_and_keeps_given_tokens(&on_rar(&device), guidance, &device);
    resumes_and_keeps_given_tokens(&on_open_magvit2(&device), Guidance::Factors { scales: [1.9, 2.0] }, &device);
}

#[test]
fn tensorar_may_be_asked_twice_and_refuses_what_is_not_the_next_tensor() {
    let device = Device::flex();
    let case = small_llamagen(&device);
    let mut network = case.network(case.open(3, 1), 1, &device);
    let tensor = |first: u32| [0, 1, 2].map(|j| Site(first + j));
    network.predict(&tensor(0)).expect_err("not begun");
    let lattice = Lattice::grid(case.grid.rows, case.grid.cols);
    network.begin(&Prompt { class: 0, guided: true }, &lattice).expect("begins");
    for first in 0..3 {
        let once = array(floats(network.predict(&tensor(first)).expect("predicts")));
        network.predict(&tensor(first + 1)).expect_err("a tensor was skipped");
        network.predict(&tensor(first)[..2]).expect_err("half a tensor");
        network.tell(&tensor(first + 1), &[0; 3]).expect_err("told of another tensor");
        network.tell(&tensor(first), &[0, 0, network.spec().vocab as Token]).expect_err("a code that does not exist");
        network.refine(&tensor(first + 1), &[0; 3]).expect_err("refines another tensor");
        let again = floats(network.predict(&tensor(first)).expect("predicts again"));
        once.assert_close(&again, 1e-5, "the same prediction, asked twice");
        network.tell(&tensor(first), &[first, 1, 2]).expect("tells");
    }
    network.predict(&tensor(1)).expect_err("a tensor that others were read behind");
    network.tell(&tensor(0), &[0; 3]).expect_err("told of tokens that were read");
    network.predict(&[Site(5), Site(4), Site(3)]).expect_err("backwards");
    network.begin(&Prompt { class: 99_999, guided: false }, &lattice).expect_err("a class that does not exist");
    let scales = Lattice::of_scales(vec![Grid::new(1, 1), Grid::new(2, 2)]);
    network.begin(&Prompt { class: 0, guided: false }, &scales).expect_err("scales");
}

#[test]
fn tensorar_files_hold_the_published_keys_behind_base() {
    let device = Device::flex();
    let case = small_llamagen(&device);
    let model = case.open(3, 2);
    let keys: Vec<String> = published(&model).names().map(String::from).collect();
    let base = published(&case.base);
    assert!(base.names().all(|key| keys.contains(&format!("base.{key}"))), "a key of the base model is missing");
    for key in ["input_encoder.query", "input_encoder.layers.1.attention.wq.weight", "output_decoder.gate"] {
        assert!(keys.iter().any(|there| there == key), "no {key} in {keys:?}");
    }
    let bytes = export(&model, &TENSORAR_KEYS).expect("exports");
    let loaded = load(case.closed(3, 2), bytes, &TENSORAR_KEYS, "a file of ours").expect("loads");
    let tokens = ints(&case.tokens, &device);
    let [want, got] = [&model, &loaded].map(|model| floats(case.clean_logits(model, tokens.clone()).remove(0)));
    // Files hold f16.
    array(want).assert_close(&got, 0.05, "logits after a file");
}

/// A file of ours is known by its tensors, base model included.
fn is_recognised<B: Base + 'static>(case: &Case<B>) {
    let bytes = export(&case.open(3, 2), &TENSORAR_KEYS).expect("exports");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let shapes = file.iter().map(|(name, view)| (name.to_string(), view.shape().to_vec()));
    let shapes: BTreeMap<String, Vec<usize>> = shapes.collect();
    let entry = |shape: &Vec<usize>| Entry { dtype: safetensors::Dtype::F16, shape: shape.clone() };
    let tensors = shapes.iter().map(|(name, shape)| (name.clone(), entry(shape))).collect();
    let manifest = Manifest { file: "tensorar.safetensors".into(), tensors, levels: None };
    let known = recognise(&manifest).expect("is recognised");
    assert_eq!(known.family, "TensorAR");
    assert_eq!(known.layout.0, shapes);
    let want = serde_json::to_value(case.config(3, 2)).expect("writes");
    assert_eq!((&known.config["k"], &known.config["depth"]), (&want["k"], &want["depth"]));
    assert_eq!(known.config["base"]["family"], want["base"]["family"]);
    (FAMILY.abilities)(&known.config).expect("a configuration");

    let mut base = manifest;
    base.tensors.retain(|name, _| name.starts_with("base."));
    assert!(recognise(&base).is_none(), "half a model");
}

#[test]
fn tensorar_is_recognised_by_its_tensors() {
    let device = Device::flex();
    is_recognised(&small_llamagen(&device));
    is_recognised(&on_rar(&device));
    is_recognised(&on_open_magvit2(&device));
}

#[test]
fn tensorar_stands_in_the_registry() {
    let device = Device::flex();
    let family = by_name("tensorar").expect("is registered");
    let config = serde_json::to_value(small_llamagen(&device).config(4, 2)).expect("writes");
    assert_eq!(config["base"]["family"], "LlamaGen");
    let refused = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut config = config.clone();
        change(&mut config);
        let parts = Parts {
            config: &config,
            weights: &Weights::Fresh,
            grid: Grid::new(4, 4),
            tokenizer: &serde_json::Value::Null,
            tokenizer_weights: &Weights::Fresh,
            device: &device,
        };
        (family.build)(&parts).err().map(|error| error.to_string())
    };
    assert_eq!(refused(&|_| ()), None);
    assert!(refused(&|config| config["k"] = 0.into()).is_some_and(|why| why.contains("k is 0")));
    assert!(refused(&|config| config["k"] = (MAX_K + 1).into()).is_some());
    assert!(refused(&|config| config["depth"] = (MAX_DEPTH + 1).into()).is_some());
    assert!(refused(&|config| config["base"]["family"] = "VAR".into()).is_some());
    assert!(refused(&|config| config["base"]["config"]["n_head"] = 0.into()).is_some());
    assert!(refused(&|config| config["noise"]["schedule"] = "loud".into()).is_some());
    for schedule in ["linear", "sine", "sqrt", "exponential", "exponential-a", "exponential-b", "exponential-c"] {
        assert_eq!(refused(&|config| config["noise"]["schedule"] = schedule.into()), None);
    }

    let abilities = (family.abilities)(&config).expect("abilities");
    assert_eq!(abilities.schedule(Some(9)), Schedule::Windows { width: 4 });
    abilities.check_course("raster", Schedule::Windows { width: 4 }).expect("its own course");
    abilities.check_course("random", Schedule::Windows { width: 4 }).expect_err("another order");
    abilities.check_course("raster", Schedule::OneByOne).expect_err("another pace");
    let mut broken = config.clone();
    broken["k"] = 0.into();
    (family.abilities)(&broken).expect_err("a size that cannot be");
}

/// Table 3 in millions of parameters. Its Open-MAGVIT2-L and LlamaGen-XXL do not agree with its other rows.
#[test]
fn tensorar_published_sizes_have_the_published_numbers_of_parameters() {
    let device = Device::flex();
    let mut counted = Vec::new();
    for preset in (FAMILY.presets)() {
        let config: TensorArConfig = serde_json::from_value(preset.config.clone()).expect("a configuration");
        config.check().expect("possible sizes");
        let count = match &config.base {
            BaseConfig::LlamaGen(base) => TensorAr::new(Trunk::new(base, &device), &config, &device).num_params(),
            BaseConfig::Rar(base) => TensorAr::new(Rar::new(base, &device), &config, &device).num_params(),
            BaseConfig::OpenMagvit2(base) => {
                TensorAr::new(OpenMagvit2::new(base, &device), &config, &device).num_params()
            }
        };
        counted.push((preset.name, count as f64 / 1e6, preset.grid));
    }
    let published = [
        ("LlamaGen-B-256", 139.0, 16),
        ("LlamaGen-L-256", 393.0, 16),
        ("LlamaGen-L-384", 393.0, 24),
        ("LlamaGen-XL-384", 853.0, 24),
        ("RAR-B", 289.0, 16),
        ("RAR-L", 511.0, 16),
        ("Open-MAGVIT2-B", 393.0, 16),
    ];
    // The table adds up rounded numbers.
    let agree = |want: &(&str, f64, usize)| {
        counted.iter().any(|(name, count, grid)| (*name, *grid) == (want.0, want.2) && (count - want.1).abs() < 1.5)
    };
    assert!(published.iter().all(agree), "{counted:?}");
}

#[test]
fn tensorar_costs_what_it_does() {
    let device = Device::flex();
    let case = small_llamagen(&device);
    let cost = |k: usize, step: usize| {
        let config = serde_json::to_value(case.config(k, 2)).expect("writes");
        (FAMILY.cost)(&config, &case.plan(k, |_| None), step, 2).expect("a cost")
    };
    let base = by_name("LlamaGen").expect("is registered");
    let config = serde_json::to_value(&case.base_config).expect("writes");
    for step in [0, 1, 5] {
        let alone = (base.cost)(&config, &case.plan(1, |_| None), step, 2).expect("a cost");
        assert_eq!(cost(1, step).operations, alone.operations, "k = 1 costs what the base model does");
        assert!(cost(2, step).operations > alone.operations && cost(4, step).operations > cost(2, step).operations);
        assert!(cost(2, step).bytes > alone.bytes);
    }
}
