//! Agreement with the published code of every family, on the goldens.

use std::sync::Arc;

use andamento_model::decode::{Decoding, Knobs};
use andamento_model::lattice::{Site, Token};
use andamento_model::network::{Network, Prompt};
use andamento_model::plan::Plan;
use andamento_model::sample::{Guidance, Moment, Sampling};
use andamento_tests::Array;
use burn::prelude::*;
use burn::tensor::Int;

mod llamagen_vq;
mod randar;

/// The tolerance of logits, absolute (the goldens' READMEs).
pub(crate) const LOGITS: f32 = 1e-4;
/// The tolerance of pixels and features, absolute.
pub(crate) const PIXELS: f32 = 1e-4;

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
    let mut tokens = vec![-1; plan.lattice.len()];
    plan.given_tokens().for_each(|(site, token)| tokens[site.index()] = token as i32);
    let knobs = Knobs { class, guidance, sampling: GREEDY, seed: 0 };
    for step in Decoding::start(network, plan.clone(), knobs, &[]).expect("starts") {
        for made in step.expect("decodes").made {
            assert_eq!(std::mem::replace(&mut tokens[made.site.index()], made.token as i32), -1, "made twice");
        }
    }
    tokens
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
        let [_, sites, vocab] = logits.dims();
        let scale = plan.lattice.scale_of(visit.sites[0]);
        let (known, total, scales) = (visit.known, visit.total, plan.lattice.scales().len());
        let [of_class, of_context] = guidance.scales(&Moment { known, total, scale, scales, factor: 0 });
        let values = floats(logits);
        let streams: Vec<&[f32]> = values.chunks_exact(sites * vocab).collect();
        match streams[..] {
            [c] => all.extend_from_slice(c),
            [c, u] => all.extend(c.iter().zip(u).map(|(c, u)| u + (c - u) * of_class)),
            [c, u, d] => {
                let pairs = c.iter().zip(u).zip(d);
                all.extend(pairs.map(|((c, u), d)| d + of_class * (c - u) + of_context * (u - d)));
            }
            _ => panic!("{} streams", streams.len()),
        }
        network.tell(&visit.sites, &told(&visit.sites)).expect("tells");
    }
    all
}
