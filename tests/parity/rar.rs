//! RAR, `bytedance/1d-tokenizer`.

use std::path::PathBuf;
use std::sync::Arc;

use andamento_model::checkpoint::{RAR_KEYS, Weights, export, load};
use andamento_model::decode::{Decoding, Knobs, Step};
use andamento_model::lattice::{Grid, Lattice, Site, Token};
use andamento_model::network::{Network, Prompt};
use andamento_model::networks::rar::{Attention, Dropout, PRESETS, Rar, RarConfig, RarNetwork, Scan};
use andamento_model::networks::{self, Parts};
use andamento_model::order::by_name;
use andamento_model::plan::{Given, Plan};
use andamento_model::sample::{Guidance, Moment, Sampling};
use andamento_model::schedule::Schedule;
use andamento_model::tokenizers;
use andamento_model::train::optimiser::Optimiser;
use andamento_model::train::rar::{Options, group};
use andamento_model::train::run::{Settings, Trainer};
use andamento_tests::{Array, Golden, formula, goldens, json};
use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot, SafetensorsStore};
use burn::tensor::{Int, s};
use serde_json::Value;

use super::{GREEDY, LOGITS, floats, ints};

pub(crate) struct RarCase {
    sizes: Value,
    pub(super) config: RarConfig,
    folder: PathBuf,
}

impl RarCase {
    pub(crate) fn read() -> Self {
        let folder = goldens("rar");
        let sizes = json(&folder.join("config.json"));
        let size =
            |name: &str| sizes[name].as_u64().unwrap_or_else(|| panic!("the configuration has no {name}")) as usize;
        let config = RarConfig {
            hidden_size: size("hidden"),
            num_hidden_layers: size("depth"),
            num_attention_heads: size("heads"),
            intermediate_size: size("inter"),
            image_seq_len: size("seq"),
            codebook_size: size("V"),
            condition_num_classes: size("ncls"),
            scan: Scan::Raster,
            merged: false,
        };
        Self { sizes, config, folder }
    }

    pub(super) fn golden(&self, name: &str) -> Golden {
        Golden::read(&self.folder.join(name))
    }

    pub(super) fn weights(&self, device: &Device) -> Rar {
        let file = self.folder.join("rar_weights.safetensors");
        let bytes = std::fs::read(&file).expect("weights");
        load(Rar::new(&self.config, device), bytes, &RAR_KEYS, file).expect("the published layout loads")
    }

    /// The network on one row of tokens: it knows nothing of rows and columns.
    pub(crate) fn network(&self, device: &Device) -> RarNetwork {
        let grid = Grid::new(1, self.config.image_seq_len);
        RarNetwork::new(self.weights(device), self.config.clone(), grid, device).expect("the grid fits")
    }

    fn lattice(&self) -> Lattice {
        Lattice::grid(1, self.config.image_seq_len)
    }

    /// The published settings, by name.
    fn schedules(&self) -> Vec<(String, Guidance, f32)> {
        let schedules = self.sizes["schedules"].as_array().expect("schedules");
        let schedule = |schedule: &Value| {
            let number = |name: &str| schedule[name].as_f64().unwrap_or_else(|| panic!("no {name}")) as f32;
            let guidance =
                Guidance::PowerCosine { scale: number("guidance_scale"), power: number("guidance_scale_pow") };
            (schedule["name"].as_str().expect("a name").to_string(), guidance, number("temperature"))
        };
        schedules.iter().map(schedule).collect()
    }
}

fn line(array: &Array, device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(array.ints().as_slice(), device)
}

fn sites(order: &[i32]) -> Vec<Site> {
    order.iter().map(|site| Site(*site as u32)).collect()
}

/// Asks for the sites of an order one by one and tells the golden tokens; the logits of each step, one row per stream.
fn follow(network: &mut RarNetwork, prompt: Prompt, order: &[Site], tokens: &[i32]) -> Vec<Vec<f32>> {
    let lattice = network.spec().lattice.clone();
    network.begin(&prompt, &lattice).expect("begins");
    let step = |(site, token): (&Site, &i32)| {
        let logits = floats(network.predict(&[*site]).expect("predicts"));
        network.tell(&[*site], &[*token as Token]).expect("tells");
        logits
    };
    order.iter().zip(tokens).map(step).collect()
}

#[test]
fn rar_whole_sequences() {
    let (case, device) = (RarCase::read(), Device::flex());
    let golden = case.golden("rar_forward.safetensors");
    let (weights, sites) = (case.weights(&device), case.config.image_seq_len);
    let tokens = ints(golden.get("input_ids"), &device);
    let classes = line(golden.get("label"), &device);
    let check = |name: &str, got: Tensor<3>| golden.get(name).assert_close(&floats(got), LOGITS, name);

    let mut x = weights.embed(classes.clone(), tokens.clone(), weights.fused_positions(sites));
    check("raster.block_0_in", x.clone());
    let slots = x.dims()[1];
    check("raster.cond_token", weights.class_and_index(classes.clone(), slots));
    let conditions = weights.conditions(classes.clone(), slots);
    let mask = Tensor::<2>::full([slots, slots], -1e30, &device).triu(1).unsqueeze();
    for (index, block) in weights.blocks.iter().enumerate() {
        let attention = |attn: &Attention, x| {
            let attended = attn.forward(x, &mask, Dropout::default());
            check(&format!("raster.block_{index}_attn_out"), attended.clone());
            attended
        };
        x = block.forward(x, &block.modulation(conditions.clone()), attention, Dropout::default());
        check(&format!("raster.block_{index}_out"), x.clone());
    }

    let logits = |classes: &Tensor<1, Int>, tokens: &Tensor<2, Int>, positions: &Tensor<3>| {
        weights.forward(classes.clone(), tokens.clone(), positions.clone(), Dropout::default())
    };
    let raster = weights.fused_positions(sites);
    check("raster.logits", logits(&classes, &tokens, &raster));
    let order = ints(golden.get("orders"), &device);
    let positions = weights.positions(order.clone());
    let permuted = tokens.clone().gather(1, order);
    assert_eq!(ints_of(permuted.clone()), golden.get("perm.labels").ints(), "tokens in the order");
    check("perm.logits", logits(&classes, &permuted, &positions));
    let null = classes.full_like(case.config.condition_num_classes as i32);
    check("perm.logits_none", logits(&null, &permuted, &positions));

    let prefix = ints(golden.get("sampling_perm.ids"), &device);
    check("sampling_perm.logits", logits(&classes, &prefix, &positions));
    let mut compared = 0;
    for name in golden.names() {
        let length = name.strip_prefix("sampling.len").and_then(|name| name.strip_suffix(".logits"));
        let Some(length) = length.and_then(|length| length.parse::<usize>().ok()) else { continue };
        check(name, logits(&classes, &tokens.clone().slice(s![.., ..length]), &raster));
        compared += 1;
    }
    assert!(compared > 0, "the goldens hold no unfinished sequence");
}

fn ints_of<const D: usize>(tensor: Tensor<D, Int>) -> Vec<i32> {
    tensor.into_data().convert::<i32>().try_to_vec::<i32>().expect("integers")
}

#[test]
fn rar_position_tables_merge_in_raster_order() {
    let (case, device) = (RarCase::read(), Device::flex());
    let (weights, sites) = (case.weights(&device), case.config.image_seq_len);
    let raster = Tensor::<1, Int>::arange(0..sites as i64, &device).unsqueeze();
    assert_eq!(floats(weights.fused_positions(sites)), floats(weights.positions(raster)));
}

/// Every scan order that training may anneal to: one table does what two did, in whole sequences and step by step, and the
/// file that holds one is recognised.
#[test]
fn rar_position_tables_merge_for_every_scan_order() {
    let (case, device) = (RarCase::read(), Device::flex());
    let golden = case.golden("rar_forward.safetensors");
    let (tokens, classes) = (ints(golden.get("input_ids"), &device), line(golden.get("label"), &device));
    let batch = tokens.dims()[0];
    let grid = Grid::new(4, case.config.image_seq_len / 4);
    for scan in Scan::ALL {
        let order = scan.arrange(grid).expect("a scan order");
        let indices: Vec<i32> = order.iter().map(|site| *site as i32).collect();
        let indices = Tensor::<1, Int>::from_data(indices.as_slice(), &device).unsqueeze::<2>().repeat_dim(0, batch);
        let logits = |weights: &Rar| {
            let tokens = tokens.clone().gather(1, indices.clone());
            weights.forward(classes.clone(), tokens, weights.positions(indices.clone()), Dropout::default())
        };
        let two = case.weights(&device);
        let one = two.clone().merge(&order);
        let want = floats(logits(&two));
        let want = Array { shape: vec![want.len()], values: want };
        want.assert_close(&floats(logits(&one)), 1e-5, scan.name());

        // A merged network makes the same steps, and knows no other order.
        let merged = RarConfig { scan, merged: true, ..case.config.clone() };
        let sites = sites(&ints_of(indices.clone().slice(s![0..1, ..])));
        let told = ints_of(tokens.clone().gather(1, indices.clone()).slice(s![0..1, ..]));
        let prompt = Prompt { class: golden.get("label").ints()[0] as u32, guided: true };
        let steps = |weights, config: &RarConfig| {
            let mut network = RarNetwork::new(weights, config.clone(), grid, &device).expect("the grid fits");
            let orders = network.spec().abilities.orders;
            (follow(&mut network, prompt, &sites, &told).concat(), orders)
        };
        let ((want, _), (got, orders)) = (steps(two, &case.config), steps(one.clone(), &merged));
        Array { shape: vec![want.len()], values: want }.assert_close(&got, 1e-5, scan.name());
        assert_eq!(orders.native(), scan.name());
        let others = Scan::ALL.into_iter().filter(|other| *other != scan);
        assert!(others.into_iter().all(|other| orders.allow(other.name()).is_err()), "{}", scan.name());

        let bytes = export(&one, &RAR_KEYS).expect("exports");
        let again = load(Rar::new(&merged, &device), bytes, &RAR_KEYS, "merged").expect("its own layout loads");
        assert!(again.target_aware_pos_embed.is_none());
    }
}

fn greedy_generations(case: &RarCase, schedules: &[(String, Guidance, f32)], device: &Device) {
    let golden = case.golden("rar_generate.safetensors");
    let mut network = case.network(device);
    let (total, vocab) = (case.config.image_seq_len, case.config.codebook_size);
    let order: Vec<Site> = case.lattice().sites().collect();
    for (name, guidance, temperature) in schedules {
        let get = |part: &str| golden.get(&format!("{name}.{part}"));
        let (ids, raw, probs) = (get("ids"), get("step_logits_raw"), get("step_probs"));
        let batch = ids.shape[0];
        let sampling = Sampling { temperature: *temperature, ..Sampling::default() };
        for sample in 0..batch {
            let class = golden.get("label").ints()[sample] as u32;
            let tokens = ids.at(sample).ints();
            let steps = follow(&mut network, Prompt { class, guided: guidance.is_on() }, &order, &tokens);
            let stream = |index: usize| -> Vec<f32> {
                steps.iter().flat_map(|step| step[index * vocab..(index + 1) * vocab].iter().copied()).collect()
            };
            raw.at(sample).assert_close(&stream(0), LOGITS, &format!("{name}: logits"));
            let guided = if guidance.is_on() {
                raw.at(batch + sample).assert_close(&stream(1), LOGITS, &format!("{name}: logits without the class"));
                let at = |known| guidance.scale(&Moment { known, total, ..Moment::default() });
                let scales = (0..total).flat_map(|known| vec![at(known); vocab]);
                let pairs = stream(0).into_iter().zip(stream(1)).zip(scales);
                pairs.map(|((with, without), scale)| without + scale * (with - without)).collect()
            } else {
                stream(0)
            };
            let got: Vec<f32> = guided.chunks_exact(vocab).flat_map(|row| sampling.probabilities(row)).collect();
            probs.at(sample).assert_close(&got, LOGITS, &format!("{name}: probabilities"));

            let order: Vec<u32> = (0..total as u32).collect();
            let plan = Plan::new(case.lattice(), &order, &vec![None; total], Schedule::OneByOne, Given::InPlace);
            let plan = Arc::new(plan.expect("plan"));
            let knobs = Knobs {
                class,
                guidance: *guidance,
                sampling: Sampling { temperature: *temperature, ..GREEDY },
                seed: 0,
            };
            let steps = Decoding::start(&mut network, plan, knobs, &[]).expect("starts");
            let made: Vec<i32> =
                steps.flat_map(|step| step.expect("decodes").made).map(|made| made.token as i32).collect();
            assert_eq!(made, tokens, "{name}: tokens");
        }
    }
}

#[test]
fn rar_greedy_generations() {
    let case = RarCase::read();
    greedy_generations(&case, &case.schedules(), &Device::flex());
}

#[test]
fn rar_greedy_generations_on_the_gpu_path() {
    let case = RarCase::read();
    let guided = case.schedules().into_iter().find(|(_, guidance, _)| guidance.is_on()).expect("a guided schedule");
    greedy_generations(&case, &[guided], &crate::gpu::device());
}

#[test]
fn rar_guidance() {
    let case = RarCase::read();
    let golden = case.golden("rar_generate.safetensors");
    let mut compared = 0;
    for (name, guidance, _) in case.schedules().iter().filter(|(_, guidance, _)| guidance.is_on()) {
        for name in [format!("{name}.cfg_scale"), format!("table256.{name}.cfg_scale")] {
            let table = golden.get(&name);
            let total = table.shape[0];
            let at = |known| guidance.scale(&Moment { known, total, ..Moment::default() });
            let largest = table.values.iter().copied().fold(0.0, f32::max);
            table.assert_close(&(0..total).map(at).collect::<Vec<_>>(), 1e-6 * largest, &name);
            compared += 1;
        }
    }
    assert!(compared > 0, "the goldens hold no guidance");
}

#[test]
fn rar_cached_steps_follow_any_order() {
    let (case, device) = (RarCase::read(), Device::flex());
    let golden = case.golden("rar_forward.safetensors");
    let mut network = case.network(&device);
    let (logits, none) = (golden.get("perm.logits"), golden.get("perm.logits_none"));
    let row = case.config.codebook_size;
    for sample in 0..logits.shape[0] {
        let order = sites(&golden.get("orders").at(sample).ints());
        let tokens = golden.get("perm.labels").at(sample).ints();
        let prompt = Prompt { class: golden.get("label").ints()[sample] as u32, guided: true };
        let steps = follow(&mut network, prompt, &order, &tokens);
        for (step, got) in steps.iter().enumerate() {
            let what = format!("step {step}");
            logits.at(sample).at(step).assert_close(&got[..row], LOGITS, &what);
            none.at(sample).at(step).assert_close(&got[row..], LOGITS, &what);
        }

        // Tokens that are told in one go are read in one pass, and a prediction that nobody used leaves no trace.
        let lattice = case.lattice();
        network.begin(&prompt, &lattice).expect("begins");
        let given = order.len() / 2;
        let told: Vec<Token> = tokens[..given].iter().map(|token| *token as Token).collect();
        network.tell(&order[..given], &told).expect("tells");
        for unused in &order[given..] {
            network.predict(&[*unused]).expect("predicts");
        }
        let got = floats(network.predict(&order[given..given + 1]).expect("predicts"));
        logits.at(sample).at(given).assert_close(&got[..row], LOGITS, "after given tokens");
        none.at(sample).at(given).assert_close(&got[row..], LOGITS, "after given tokens");
    }
}

#[test]
fn rar_reads_given_tokens_at_their_own_places() {
    let (case, device) = (RarCase::read(), Device::flex());
    let golden = case.golden("rar_forward.safetensors");
    let mut network = case.network(&device);
    let (total, row) = (case.config.image_seq_len, case.config.codebook_size);
    let order: Vec<u32> = (0..total as u32).collect();
    let logits = golden.get("raster.logits");
    for sample in 0..logits.shape[0] {
        let tokens: Vec<Token> =
            golden.get("input_ids").at(sample).ints().iter().map(|token| *token as Token).collect();
        let given: Vec<Option<Token>> =
            tokens.iter().enumerate().map(|(site, token)| (site % 3 != 1).then_some(*token)).collect();
        let when = network.spec().abilities.orders.given("raster");
        let plan = Plan::new(case.lattice(), &order, &given, Schedule::OneByOne, when).expect("plan");
        let class = golden.get("label").ints()[sample] as u32;
        network.begin(&Prompt { class, guided: false }, &plan.lattice).expect("begins");
        let token = |sites: &[Site]| -> Vec<Token> { sites.iter().map(|site| tokens[site.index()]).collect() };
        for visit in &plan.visits {
            if !visit.told.is_empty() {
                network.tell(&visit.told, &token(&visit.told)).expect("tells");
            }
            let got = floats(network.predict(&visit.sites).expect("predicts"));
            let site = visit.sites[0].index();
            logits.at(sample).at(site).assert_close(&got[..row], LOGITS, &format!("site {site}"));
            network.tell(&visit.sites, &token(&visit.sites)).expect("tells");
        }
    }
}

#[test]
fn rar_resumes_where_it_stopped() {
    let (case, device) = (RarCase::read(), Device::flex());
    let mut network = case.network(&device);
    let sites = case.config.image_seq_len;
    let order = by_name("random").expect("exists").arrange(Grid::new(1, sites), 5);
    let plan = Plan::new(case.lattice(), &order, &vec![None; sites], Schedule::OneByOne, Given::First).expect("plan");
    let plan = Arc::new(plan);
    let guidance = Guidance::PowerCosine { scale: 4.0, power: 1.0 };
    let knobs = Knobs { class: 1, guidance, sampling: Sampling::default(), seed: 9 };
    let mut run = |earlier: &[Step]| -> Vec<Step> {
        let steps = Decoding::start(&mut network, plan.clone(), knobs, earlier).expect("starts");
        steps.map(|step| step.expect("decodes")).collect()
    };
    let tokens = |steps: &[Step]| -> Vec<_> {
        steps.iter().flat_map(|step| step.made.iter().map(|made| (step.index, made.site, made.token))).collect()
    };
    let whole = run(&[]);
    for stop in [1, sites / 2, sites - 1] {
        assert_eq!(tokens(&run(&whole[..stop])), tokens(&whole[stop..]), "resumed after {stop} steps");
    }
}

#[test]
fn rar_refuses_what_it_cannot_do() {
    let (case, device) = (RarCase::read(), Device::flex());
    let mut network = case.network(&device);
    let prompt = Prompt { class: 0, guided: false };
    assert!(network.predict(&[Site(0)]).is_err(), "predicted before it began");
    assert!(network.begin(&prompt, &Lattice::grid(1, case.config.image_seq_len + 1)).is_err(), "another size");
    network.begin(&prompt, &case.lattice()).expect("begins");
    assert!(network.predict(&[Site(0), Site(1)]).is_err(), "two tokens at once");
    assert!(network.predict(&[Site(case.config.image_seq_len as u32)]).is_err(), "outside the grid");
    assert!(network.tell(&[Site(0)], &[case.config.codebook_size as Token]).is_err(), "no such code");
    network.predict(&[Site(0)]).expect("predicts");
    assert!(network.tell(&[Site(1)], &[0]).is_err(), "another site");
    network.tell(&[Site(0)], &[0]).expect("the site that was asked for");
}

#[test]
fn rar_is_built_through_the_registry() {
    let (case, device) = (RarCase::read(), Device::flex());
    let family = networks::by_name("RAR").expect("registered");
    let config = serde_json::to_value(&case.config).expect("sizes");
    let build = |cols| {
        let grid = Grid::new(1, cols);
        let (weights, tokenizer) = (Weights::Fresh, Value::Null);
        let parts = Parts {
            config: &config,
            weights: &weights,
            grid,
            tokenizer: &tokenizer,
            tokenizer_weights: &weights,
            device: &device,
        };
        (family.build)(&parts)
    };
    let network = build(case.config.image_seq_len).expect("builds");
    assert_eq!(network.spec().lattice, case.lattice());
    assert!(build(case.config.image_seq_len + 1).is_err(), "a grid of another size");

    let abilities = (family.abilities)(&config).expect("abilities");
    assert!(abilities.check_course("raster", Schedule::OneByOne).is_ok());
    assert!(abilities.check_course("raster", Schedule::Cosine { steps: 8 }).is_err(), "several tokens at once");
    assert!(abilities.orders.experimental("raster").is_none() && abilities.orders.experimental("random").is_some());
    for preset in (family.presets)() {
        let sizes: RarConfig = serde_json::from_value(preset.config).expect("a configuration");
        sizes.check().expect("sizes that can be had");
        assert_eq!(sizes.image_seq_len, preset.grid * preset.grid, "{}", preset.name);
        let tokenizer = tokenizers::by_name(preset.tokenizer.0).expect("registered");
        let published = (tokenizer.presets)();
        let (_, codes) = published.iter().find(|(name, _)| *name == preset.tokenizer.1).expect("a published size");
        assert_eq!(codes["codebook_size"], sizes.codebook_size, "{}", preset.name);
    }
}

/// Replaces every parameter by its gradient.
struct Gradients(GradientsParams);

impl ModuleMapper for Gradients {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let gradient = self.0.remove::<D>(param.id);
        let gradient = gradient.unwrap_or_else(|| param.val().inner().zeros_like());
        Param::initialized(param.id, gradient)
    }
}

#[test]
fn rar_loss_and_gradients() {
    let (case, device) = (RarCase::read(), Device::flex().autodiff());
    let golden = case.golden("rar_train.safetensors");
    let weights = case.weights(&device);
    let order = ints(golden.get("orders"), &device);
    let tokens = ints(golden.get("input_ids"), &device);
    let classes = line(golden.get("condition"), &device) - (case.config.codebook_size as i32 + 1);

    let raster = weights.fused_positions(case.config.image_seq_len);
    let raster_loss = weights.loss(line(golden.get("label"), &device), tokens.clone(), raster, Dropout::default());
    golden.get("raster_loss").assert_close(&floats(raster_loss), 1e-5, "loss in raster order");

    let tokens = tokens.gather(1, order.clone());
    assert_eq!(ints_of(tokens.clone()), golden.get("labels").ints(), "labels");
    let positions = weights.positions(order);
    let logits = weights.forward(classes.clone(), tokens.clone(), positions.clone(), Dropout::default());
    let loss = weights.loss(classes, tokens.clone(), positions, Dropout::default());
    golden.get("logits").assert_close(&floats(logits.clone()), LOGITS, "logits");
    let [_, sites] = tokens.dims();
    let guesses: Tensor<2, Int> = logits.slice(s![.., ..sites, ..]).argmax(2).squeeze_dim(2);
    let correct = guesses.equal(tokens).float().mean();
    golden.get("correct_tokens").assert_close(&floats(correct), 1e-6, "share of right guesses");
    assert!((floats(loss.clone())[0] - golden.get("loss").values[0]).abs() < 1e-5, "loss");

    let mut gradients = Gradients(GradientsParams::from_grads(loss.backward(), &weights));
    let gradients = published(weights.map(&mut gradients));
    let squares: f64 = gradients.names().flat_map(|name| &gradients.get(name).values).map(|x| f64::from(x * x)).sum();
    let norm = golden.get("grad_norm").values[0];
    assert!((squares.sqrt() as f32 - norm).abs() < 1e-4 * norm, "norm of all gradients");
    let mut compared = 0;
    for name in golden.names().filter(|name| name.starts_with("grad.")) {
        let (got, want) = (gradients.get(&name["grad.".len()..]), golden.get(name));
        let largest = want.values.iter().map(|x| x.abs()).fold(0.0, f32::max);
        want.assert_close(&corner(&got.values, &got.shape, &want.shape), (1e-4 * largest).max(1e-7), name);
        if name.ends_with("pos_embed") {
            assert!(got.values[want.values.len()..].iter().all(|x| *x == 0.0), "{name}: gradients of unused rows");
        }
        compared += 1;
    }
    assert_eq!(compared, gradients.names().count(), "every parameter has its gradient in the goldens");
}

/// The optimiser of `rar.yaml`: a learning rate that warms up from nothing and falls along half a cosine, and decay that
/// spares most parameters by their names.
fn optimiser(learning_rate: f64, warm_up: usize, end: f64) -> Optimiser {
    let settings = serde_json::json!({
        "learning_rate": learning_rate, "curve": "cosine", "final_share": end / learning_rate, "warm_up": warm_up,
        "betas": [0.9, 0.96], "weight_decay": 0.03, "clip": 1.0,
    });
    serde_json::from_value(settings).expect("settings")
}

#[test]
fn rar_schedules_of_training() {
    let golden = RarCase::read().golden("rar_train.safetensors");
    let rates = golden.get("schedule.lr_200_warm50");
    let steps = rates.values.len();
    let settings = optimiser(4e-4, 50, 1e-5);
    let got: Vec<f32> = (0..steps).map(|step| settings.rate(step, steps) as f32).collect();
    rates.assert_close(&got, 1e-9, "learning rate");

    let ratios = golden.get("schedule.random_ratio_100_150");
    let steps = ratios.values.len();
    let options = Options { anneal_start: 0.5, anneal_end: 0.75, ..Options::default() };
    let got: Vec<f32> = (0..steps).map(|step| options.randomness(step, steps) as f32).collect();
    ratios.assert_close(&got, 1e-6, "probability of a random order");
}

#[test]
fn rar_decays_what_the_published_code_decays() {
    let case = RarCase::read();
    let listed = case.sizes["weight_decayed_params"].as_array().expect("a list");
    let listed: Vec<&str> = listed.iter().map(|name| name.as_str().expect("a name")).collect();
    let golden = case.golden("rar_weights.safetensors");
    for name in golden.names() {
        let path = name.replace("adaLN_modulation.1", "ada_ln_modulation");
        let dims = golden.get(name).shape.len();
        assert_eq!(group(&path, dims).decay, listed.contains(&name), "{name}");
    }
}

/// Three steps by the trainer that every recipe uses, on one batch in permuted orders. The first has a learning rate of 0.
#[test]
fn rar_optimiser_steps() {
    let (case, device) = (RarCase::read(), Device::flex().autodiff());
    let golden = case.golden("rar_train.safetensors");
    let order = ints(golden.get("orders"), &device);
    let tokens = ints(golden.get("labels"), &device);
    let classes = line(golden.get("condition"), &device) - (case.config.codebook_size as i32 + 1);
    let settings = Settings::new(&optimiser(4e-3, 1, 1e-4), 10);
    let mut trainer = Trainer::start(case.weights(&device), settings, &group);
    for step in 0..golden.get("loss").values.len() {
        let model = trainer.working();
        let positions = model.positions(order.clone());
        let loss = model.loss(classes.clone(), tokens.clone(), positions, Dropout::default());
        let want = |name: &str| golden.get(name).values[step];
        assert!((floats(loss.clone())[0] - want("loss")).abs() < 1e-5, "loss of step {step}");
        trainer.gather(loss);
        let updated = trainer.update().expect("a step");
        assert!((updated.norm as f32 - want("grad_norm")).abs() < 1e-4 * want("grad_norm"), "norm of step {step}");
        assert!((updated.rate as f32 - want("lr")).abs() < 1e-9, "learning rate of step {step}");
    }
    let after = published(trainer.model.valid());
    let mut compared = 0;
    for name in golden.names() {
        let Some(parameter) = name.strip_prefix("after3.") else { continue };
        // Adam makes whole steps of gradients that are little but rounding, which those of this one are.
        if !parameter.ends_with("k_norm.bias") {
            let (want, got) = (golden.get(name), &after.get(parameter).values);
            // A step is the learning rate of 4e-3 times the gradient in its own root mean square: where the gradient is a
            // thousandth of the largest or less, rounding of 1e-7 of the largest is 1e-4 of a step or more.
            want.assert_close(got, 2e-4, name);
            let slopes = &golden.get(&format!("grad.{parameter}")).values;
            let least = 1e-3 * slopes.iter().map(|slope| slope.abs()).fold(0.0, f32::max);
            let steep = want.values.iter().zip(got).zip(slopes).filter(|(_, slope)| slope.abs() > least);
            let (steep_want, steep_got): (Vec<f32>, Vec<f32>) = steep.map(|((want, got), _)| (*want, *got)).unzip();
            let steep_want = Array { shape: vec![steep_want.len()], values: steep_want };
            steep_want.assert_close(&steep_got, 1e-5, &format!("{name}, where gradients are steep"));
            let errors = want.values.iter().zip(got).map(|(want, got)| f64::from((want - got).abs()));
            // Decay alone changes the parameters by ten times as much.
            let mean = errors.sum::<f64>() / got.len() as f64;
            assert!(mean < 2e-6, "{name}: off by {mean} in the mean");
        }
        compared += 1;
    }
    assert!(compared > 0, "the goldens hold no parameters after three steps");
}

/// The first entries along every axis: the goldens keep no more of some gradients.
fn corner(values: &[f32], shape: &[usize], kept: &[usize]) -> Vec<f32> {
    let ([_, shape @ ..], [count, kept @ ..]) = (shape, kept) else { return values.to_vec() };
    let parts = values.chunks_exact(shape.iter().product()).take(*count);
    parts.flat_map(|part| corner(part, shape, kept)).collect()
}

/// A module's tensors by their published names.
fn published(module: Rar) -> Golden {
    let (ours, theirs) = RAR_KEYS.to_published.expect("a key map");
    let mut store = SafetensorsStore::from_bytes(None)
        .with_to_adapter(BurnToPyTorchAdapter)
        .with_key_remapping(ours, theirs)
        .skip_enum_variants(true);
    module.save_into(&mut store).expect("collects");
    Golden::from_bytes(&store.get_bytes().expect("bytes"), "a module of ours")
}

#[test]
fn rar_starts_as_published() {
    let (case, device) = (RarCase::read(), Device::flex());
    let weights = published(Rar::new(&case.config, &device));
    let trained = case.golden("rar_weights.safetensors");
    assert!(weights.names().eq(trained.names()), "other names than published");
    for name in weights.names() {
        let (fresh, shape) = (weights.get(name), &trained.get(name).shape);
        assert_eq!(fresh.shape, *shape, "{name}");
        let zero = name.contains("adaLN_modulation") || name == "cls_token" || name.ends_with("bias");
        let one = !zero && shape.len() == 1;
        let mean = fresh.values.iter().sum::<f32>() / fresh.values.len() as f32;
        let spread = (fresh.values.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / fresh.values.len() as f32).sqrt();
        let (want_mean, want_spread) = (if one { 1.0 } else { 0.0 }, if zero || one { 0.0 } else { 0.02 });
        assert!((mean - want_mean).abs() < 2e-3, "{name}: mean {mean}");
        assert!((spread - want_spread).abs() < 2e-3, "{name}: standard deviation {spread}");
    }
}

#[test]
fn published_rar_sizes_have_the_published_numbers_of_parameters() {
    let count = |config: &RarConfig| {
        let (d, f, n, v) = (config.hidden_size, config.intermediate_size, config.image_seq_len, config.codebook_size);
        let block = 10 * d * d + 2 * d * f + 4 * d + 10 * d + 4 * config.head_dim() + d + f;
        let tables = d + 2 * (n + 1024) * d + (n + 100) * d + (v + 1 + config.condition_num_classes + 1) * d;
        config.num_hidden_layers * block + tables + 2 * d * d + 2 * d + v * d + v
    };
    let counts: Vec<_> = PRESETS.iter().map(|(name, config, ..)| (*name, count(config))).collect();
    assert_eq!(counts[0], ("S", 133_344_256), "about the 133 M of the paper");
    let published = [("B", 260_923_648), ("L", 461_668_352), ("XL", 955_425_024), ("XXL", 1_498_520_704)];
    assert_eq!(counts[1..], published);
}

/// RAR-B with the formula's weights: about 2 GB.
fn real_size(device: &Device) -> (Rar, RarConfig) {
    let (_, config, ..) = PRESETS.iter().find(|(name, ..)| *name == "B").expect("RAR-B").clone();
    let bytes = formula::weights(&formula::published_keys("rar_b"));
    let weights = load(Rar::new(&config, device), bytes, &RAR_KEYS, "rar_b").expect("the published layout loads");
    (weights, config)
}

/// Where the best and the second-best logit are this close, rounding may swap them.
const TIE: f32 = 1e-3;

fn compare_real_size(golden: &Golden, prefix: &str, logits: Tensor<3>) {
    let [_, rows, vocab] = logits.dims();
    let logits = floats(logits);
    let want = golden.get(&format!("{prefix}.logits"));
    let largest = want.values.iter().map(|x| x.abs()).fold(0.0, f32::max);
    for (index, row) in golden.get("positions").ints().iter().enumerate() {
        let got = &logits[*row as usize * vocab..(*row as usize + 1) * vocab];
        want.at(index).assert_close(got, LOGITS * largest, &format!("{prefix}: logits of row {row}"));
    }
    let argmax = golden.get(&format!("{prefix}.argmax")).ints();
    assert_eq!(argmax.len(), rows);
    for (row, best) in logits.chunks_exact(vocab).zip(argmax) {
        let best = row[best as usize];
        assert!(row.iter().all(|logit| *logit <= best + TIE), "{prefix}: another best code");
    }
}

#[test]
#[ignore = "RAR-B at its published size takes about 10 s and 2.2 GB"]
fn rar_at_real_size() {
    let device = Device::flex();
    let golden = Golden::read(&goldens("real_size").join("rar_b.safetensors"));
    let (weights, config) = real_size(&device);
    let (sites, vocab) = (config.image_seq_len, config.codebook_size);
    let ids = formula::integers("input.rar.ids", sites, vocab);
    let keys: Vec<f64> = formula::uniform("input.rar.perm", sites).collect();
    let mut order: Vec<i32> = (0..sites as i32).collect();
    order.sort_by(|a, b| keys[*a as usize].total_cmp(&keys[*b as usize]));
    assert_eq!(order, golden.get("perm").ints(), "the order");

    const CLASS: i32 = 207;
    let classes = || Tensor::<1, Int>::from_data([CLASS], &device);
    let tokens = Tensor::<1, Int>::from_data(ids.as_slice(), &device).unsqueeze::<2>();
    let raster = weights.fused_positions(sites);
    let logits = weights.forward(classes(), tokens.clone(), raster, Dropout::default());
    compare_real_size(&golden, "raster", logits);
    let order = Tensor::<1, Int>::from_data(order.as_slice(), &device).unsqueeze::<2>();
    let tokens = tokens.gather(1, order.clone());
    assert_eq!(ints_of(tokens.clone()), golden.get("perm.labels").ints());
    let logits = weights.forward(classes(), tokens, weights.positions(order), Dropout::default());
    compare_real_size(&golden, "perm", logits);

    let made = golden.get("gen24.ids").ints();
    let total = made.len();
    let mut network = RarNetwork::new(weights, config, Grid::new(16, 16), &device).expect("the grid fits");
    let order: Vec<Site> = (0..total as u32).map(Site).collect();
    let steps = follow(&mut network, Prompt { class: CLASS as u32, guided: true }, &order, &made);
    let guidance = Guidance::PowerCosine { scale: 16.0, power: 2.75 };
    let mut last = Vec::new();
    for (known, (step, token)) in steps.iter().zip(&made).enumerate() {
        let scale = guidance.scale(&Moment { known, total, ..Moment::default() });
        let (with, without) = step.split_at(vocab);
        let guided: Vec<f32> = with.iter().zip(without).map(|(c, u)| u + scale * (c - u)).collect();
        let best = guided[*token as usize];
        assert!(guided.iter().all(|logit| *logit <= best + TIE), "step {known}: another best code");
        last = Sampling::default().probabilities(&guided);
    }
    golden.get("gen24.probs_step23").assert_close(&last, LOGITS, "probabilities of the last step");
}
