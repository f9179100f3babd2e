//! Agreement with the published code of every family, on the goldens.

use std::path::Path;
use std::sync::Arc;

use andamento_model::checkpoint::RANDAR_KEYS;
use andamento_model::decode::{Decoding, Knobs};
use andamento_model::lattice::{Lattice, Site, Token};
use andamento_model::network::{Network, Prompt};
use andamento_model::networks::llamagen::TransformerConfig;
use andamento_model::plan::Plan;
use andamento_model::sample::{Guidance, Moment, Sampling};
use andamento_tests::{Array, Golden, json};
use burn::module::{Module, ModuleMapper, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot, SafetensorsStore};
use burn::tensor::Int;
use serde_json::Value;

mod formula;
mod llamagen;
mod llamagen_vq;
mod maskgit_vqgan;
mod open_magvit2;
pub(crate) mod randar;
pub(crate) mod rar;
mod tensorar;
mod var;
mod var_vqvae;
mod vqgan;

/// The tolerance of logits, absolute (the goldens' READMEs).
pub(crate) const LOGITS: f32 = 1e-4;
/// The tolerance of pixels and features, absolute.
pub(crate) const PIXELS: f32 = 1e-4;

/// The sizes of a transformer of LlamaGen's make, and the sides of the grids on which its goldens are.
fn transformer(config: &Path) -> (TransformerConfig, Vec<usize>) {
    let sizes = &json(config)["config"];
    let number = |value: &Value, name: &str| value.as_u64().unwrap_or_else(|| panic!("{name} is no size")) as usize;
    let size = |name: &str| number(&sizes[name], name);
    let config = TransformerConfig {
        dim: size("dim"),
        n_layer: size("n_layer"),
        n_head: size("n_head"),
        vocab_size: size("vocab_size"),
        num_classes: size("num_classes"),
        multiple_of: size("multiple_of"),
        norm_eps: 1e-5,
        rope_base: 10_000.0,
    };
    let grids = sizes["grids"].as_array().expect("grids").iter().map(|grid| number(grid, "a grid")).collect();
    (config, grids)
}

pub(crate) fn ints(array: &Array, device: &Device) -> Tensor<2, Int> {
    let rows = array.shape[0];
    let values = array.ints();
    Tensor::<1, Int>::from_data(values.as_slice(), device).reshape([rows, values.len() / rows])
}

pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().expect("f32")
}

pub(crate) const GREEDY: Sampling =
    Sampling { temperature: 1.0, top_k: 1, top_p: 1.0, second_temperature: None, smooth: false };

/// Decodes greedily through the one loop; tokens in raster order.
pub(crate) fn decode(network: &mut dyn Network, plan: &Arc<Plan>, class: u32, guidance: Guidance) -> Vec<i32> {
    decode_with(network, plan, class, guidance, GREEDY)
}

/// Decodes through the one loop; tokens in raster order.
pub(crate) fn decode_with(
    network: &mut dyn Network,
    plan: &Arc<Plan>,
    class: u32,
    guidance: Guidance,
    sampling: Sampling,
) -> Vec<i32> {
    let mut tokens = vec![-1; plan.lattice.len()];
    plan.given_tokens().for_each(|(site, token)| tokens[site.index()] = token as i32);
    let knobs = Knobs { class, guidance, sampling, seed: 0 };
    for step in Decoding::start(network, plan.clone(), knobs, &[]).expect("starts") {
        for made in step.expect("decodes").made {
            assert_eq!(std::mem::replace(&mut tokens[made.site.index()], made.token as i32), -1, "made twice");
        }
    }
    tokens
}

/// Checks a golden greedy generation: the logits on its way, and that the loop makes its tokens.
#[track_caller]
pub(crate) fn assert_generation(
    network: &mut dyn Network,
    plan: &Arc<Plan>,
    (class, guidance): (u32, Guidance),
    (tokens, logits): (&Array, &Array),
    what: &str,
) {
    let tokens = tokens.ints();
    let got = guided_logits(network, plan, class, guidance, &tokens);
    logits.assert_close(&got, LOGITS, &format!("{what}: logits"));
    assert_eq!(decode(network, plan, class, guidance), tokens, "{what}: tokens");
}

/// Follows a plan with the golden tokens; the guided logits of each made token in generation order.
pub(crate) fn guided_logits(
    network: &mut dyn Network,
    plan: &Plan,
    class: u32,
    guidance: Guidance,
    tokens: &[i32],
) -> Vec<f32> {
    network.begin(&Prompt { class, guided: guidance.is_on() }, &plan.lattice).expect("begins");
    if !plan.dropped.is_empty() {
        network.drop_context(&plan.dropped).expect("drops");
    }
    let told = |sites: &[Site]| -> Vec<Token> { sites.iter().map(|site| tokens[site.index()] as Token).collect() };
    let mut all = Vec::new();
    for visit in &plan.visits {
        if !visit.told.is_empty() {
            network.tell(&visit.told, &told(&visit.told)).expect("prefill");
        }
        let logits = network.predict(&visit.sites).expect("predicts");
        let scale = plan.lattice.scale_of(visit.sites[0]);
        let (known, total, scales) = (visit.known, visit.total, plan.lattice.scales().len());
        all.extend(mixed(logits, guidance.scales(&Moment { known, total, scale, scales, factor: 0 })));
        network.tell(&visit.sites, &told(&visit.sites)).expect("tells");
    }
    all
}

/// Logits `[streams, sites, codes]` as the sampler gets them: those of the class, or the streams mixed at the scales of
/// class and context.
pub(crate) fn mixed(logits: Tensor<3>, [of_class, of_context]: [f32; 2]) -> Vec<f32> {
    let streams = logits.dims()[0];
    let values = floats(logits);
    let streams: Vec<&[f32]> = values.chunks_exact(values.len() / streams).collect();
    match streams[..] {
        [c] => c.to_vec(),
        [c, u] => c.iter().zip(u).map(|(c, u)| u + (c - u) * of_class).collect(),
        [c, u, d] => {
            let triples = c.iter().zip(u).zip(d);
            triples.map(|((c, u), d)| d + of_class * (c - u) + of_context * (u - d)).collect()
        }
        _ => panic!("{} streams", streams.len()),
    }
}

/// A module's parameters under the published keys, which are the names of its fields but for RandAR's trunk, and in the
/// published orientation.
pub(crate) fn published(module: &impl ModuleSnapshot) -> Golden {
    let (trunk, nothing) = RANDAR_KEYS.to_published.expect("a key map");
    let mut store = SafetensorsStore::from_bytes(None).with_to_adapter(BurnToPyTorchAdapter).skip_enum_variants(true);
    store = store.with_key_remapping(trunk, nothing);
    module.save_into(&mut store).expect("saves");
    Golden::from_bytes(&store.get_bytes().expect("bytes"), "a module of ours")
}

/// Puts gradients in the place of parameters: zero where a loss does not depend on one.
struct InPlaceOfParameters(GradientsParams);

impl ModuleMapper for InPlaceOfParameters {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let gradient = self.0.get::<D>(param.id).unwrap_or_else(|| param.val().inner().zeros_like());
        Param::initialized(param.id, gradient)
    }
}

/// The gradients of a loss under the published keys.
pub(crate) fn gradients<M: Module>(module: &M, loss: &Tensor<1>) -> Golden {
    let gradients = GradientsParams::from_grads(loss.backward(), module);
    published(&module.clone().map(&mut InPlaceOfParameters(gradients)))
}

/// Compares the gradients of a loss with the golden arrays named `prefix` and a published key, each within 1e-4 of its
/// largest value (the goldens' READMEs). Returns all gradients under the published keys.
pub(crate) fn assert_gradients<M: Module>(golden: &Golden, prefix: &str, module: &M, loss: &Tensor<1>) -> Golden {
    let gradients = gradients(module, loss);
    let mut compared = 0;
    for name in golden.names() {
        let Some(parameter) = name.strip_prefix(prefix) else { continue };
        let want = golden.get(name);
        let largest = want.values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        want.assert_close(&gradients.get(parameter).values, 1e-4 * largest, name);
        compared += 1;
    }
    assert!(compared > 0, "the goldens hold no gradients named {prefix}");
    gradients
}

/// Checks what every network in raster order owes: a prediction may be asked for twice, and other sites, several sites
/// and codes that do not exist are refused without harm.
pub(crate) fn assert_raster_only(network: &mut dyn Network, lattice: &Lattice) {
    let vocab = network.spec().vocab as Token;
    network.begin(&Prompt { class: 0, guided: true }, lattice).expect("begins");
    for site in 0..3 {
        let visit = [Site(site)];
        let once = floats(network.predict(&visit).expect("predicts"));
        let once = Array { shape: vec![once.len()], values: once };
        network.predict(&[Site(site + 1)]).expect_err("a site was skipped");
        network.predict(&[Site(site), Site(site + 1)]).expect_err("two sites at once");
        network.tell(&[Site(site + 1)], &[0]).expect_err("told of a later site");
        network.tell(&visit, &[vocab]).expect_err("a code that does not exist");
        let again = floats(network.predict(&visit).expect("predicts again"));
        once.assert_close(&again, 1e-5, "the same prediction, asked twice");
        network.tell(&visit, &[vocab - 1]).expect("tells");
    }
    network.predict(&[Site(0)]).expect_err("a site that is settled");
}
