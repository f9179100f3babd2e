//! RandAR: decoder-only generation in random orders (Pang et al., arXiv 2412.01827).
//!
//! Published code: `ziqipang/RandAR`, `RandAR/model/randar_gpt.py`. The trunk is LlamaGen's. One learnable vector,
//! turned by the rotary angles of a site, becomes that site's *position-instruction token* (§3.2); it stands before the
//! site's image token in the sequence and is where the prediction for the site is read:
//!
//! ```text
//! [class]  P(π₀) x(π₀)  P(π₁) x(π₁)  …
//! ```
//!
//! Parallel decoding (§3.3) asks for several sites at once by feeding their instruction tokens compactly; once their
//! image tokens are known the sequence is re-interleaved, and the cache rewritten, by the next call.

use burn::module::{Module, Param};
use burn::prelude::*;
use burn::tensor::{Int, s};

pub use super::llamagen::Dropout;
use super::llamagen::{KvCache, Rope, TransformerConfig, Trunk, causal_mask, drop, instruction_parameter, preset};
use super::{Family, Preset, configuration, to_value};
use crate::checkpoint::RANDAR_KEYS;
use crate::lattice::{Grid, Lattice, Site, Token};
use crate::network::{
    Abilities, Network, Orders, Pace, Prompt, Spec, check_class, check_tokens, check_visit, not_begun,
};
use crate::sample::{Guidance, Sampling};
use crate::{Error, Result};

/// The published sizes: RandAR-L (0.3 B), -XL (0.7 B) and -XXL (1.4 B; the paper's table A, never released).
pub const PRESETS: [(&str, TransformerConfig); 3] =
    [("L", preset(1024, 24, 16)), ("XL", preset(1280, 36, 20)), ("XXL", preset(1536, 48, 24))];

/// What RandAR can be asked to do.
pub const ABILITIES: Abilities =
    Abilities { orders: Orders::Any, pace: Pace::Free, smooth: Err("Only next-scale models mix codes") };

/// RandAR for the registry.
pub const FAMILY: Family = Family {
    name: "RandAR",
    paper: "RandAR: Decoder-only Autoregressive Visual Generation in Random Orders (arXiv 2412.01827)",
    abilities: |_| Ok(ABILITIES),
    build: |parts| {
        let config: TransformerConfig = configuration(parts.config)?;
        config.check()?;
        let weights = parts.weights.fill(RandAr::new(&config, parts.device), &RANDAR_KEYS)?;
        Ok(Box::new(RandArNetwork::new(weights, config, parts.grid, parts.device)))
    },
    presets: || {
        let published = PRESETS.iter().map(|(name, config)| Preset {
            name,
            config: to_value(config),
            grid: 16,
            side: 256,
            tokenizer: ("LlamaGen VQ", "VQ-16"),
            steps: 88,
            guidance: Guidance::linear(4.0),
            sampling: Sampling::default(),
        });
        published.collect()
    },
    cost: |config, plan, step, streams| {
        let config: TransformerConfig = configuration(config)?;
        let asked = plan.visits[step].sites.len();
        // The tokens of the visit before are fed again, interleaved with all but the first of their instructions.
        let fed = match step.checked_sub(1) {
            None => 1 + 2 * plan.visits[step].told.len() + asked,
            Some(last) => 2 * plan.visits[last].sites.len() - 1 + asked,
        };
        Ok(config.work(fed, asked, 1 + 2 * plan.visits[step].known + asked, streams).cost())
    },
};

/// The network's weights.
#[derive(Module, Debug)]
pub struct RandAr {
    /// What it shares with LlamaGen.
    pub trunk: Trunk,
    /// The vector shared by all position-instruction tokens: `[1, dim]`. The only addition to LlamaGen.
    pub pos_instruct_embeddings: Param<Tensor<2>>,
}

impl RandAr {
    /// Fresh weights.
    pub fn new(config: &TransformerConfig, device: &Device) -> Self {
        Self { trunk: Trunk::new(config, device), pos_instruct_embeddings: instruction_parameter(config.dim, device) }
    }

    /// Position-instruction tokens for rows of the rotary table (site + 1), `[batch, sites]`: the shared vector seen as
    /// heads, each turned by the site's angles. `[batch, sites, dim]`
    pub fn position_instruction_tokens(&self, rope: &Rope, rows: Tensor<2, Int>, n_head: usize) -> Tensor<3> {
        let [batch, sites] = rows.dims();
        let dim = self.pos_instruct_embeddings.dims()[1];
        let shared: Tensor<4> = self.pos_instruct_embeddings.val().reshape([1, n_head, 1, dim / n_head]);
        let shared = shared.expand([batch, n_head, sites, dim / n_head]);
        rope.at(rows).rotate(shared).swap_dims(1, 2).reshape([batch, sites, dim])
    }

    /// A whole sequence at once, as in training (`randar_gpt.py`, `forward`).
    ///
    /// `classes` is `[batch]`, `tokens` and `order` are `[batch, sites]` in generation order, `order` holding raster
    /// indices. Returns the last block's output at every slot, `[batch, 1 + 2 * sites, dim]`.
    pub fn hidden(
        &self,
        classes: Tensor<1, Int>,
        tokens: Tensor<2, Int>,
        order: Tensor<2, Int>,
        rope: &Rope,
        n_head: usize,
        dropout: Dropout,
    ) -> Tensor<3> {
        let [batch, sites] = order.dims();
        let device = order.device();
        let dim = self.pos_instruct_embeddings.dims()[1];
        let slots = 1 + 2 * sites;

        let class = self.trunk.cls_embedding.embedding_table.forward(classes.reshape([batch, 1]));
        let images = drop(self.trunk.tok_embeddings.forward(tokens), dropout.token);
        let rows = order + 1;
        let instructions = self.position_instruction_tokens(rope, rows.clone(), n_head);
        let pairs: Tensor<4> = Tensor::stack(vec![instructions, images], 2);
        let mut x = Tensor::cat(vec![class, pairs.reshape([batch, 2 * sites, dim])], 1);

        let rows: Tensor<3, Int> = Tensor::stack(vec![rows.clone(), rows], 2);
        let class_row = Tensor::<2, Int>::zeros([batch, 1], &device);
        let angles = rope.at(Tensor::cat(vec![class_row, rows.reshape([batch, 2 * sites])], 1));
        let mask = causal_mask(slots, &device);
        for layer in &self.trunk.layers {
            x = layer.forward(x, &angles, &mask, &|x| drop(x, dropout.residual));
        }
        x
    }

    /// Of hidden states at every slot, those of the instruction tokens, in generation order: `[batch, sites, dim]`.
    pub fn at_instructions(hidden: Tensor<3>) -> Tensor<3> {
        let [batch, slots, dim] = hidden.dims();
        let sites = (slots - 1) / 2;
        let pairs: Tensor<4> = hidden.slice(s![.., 1.., ..]).reshape([batch, sites, 2, dim]);
        pairs.slice(s![.., .., 0..1, ..]).reshape([batch, sites, dim])
    }

    /// The last norm and the head: `[batch, slots, dim]` to logits `[batch, slots, vocab]`.
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.trunk.output.forward(self.trunk.norm.forward(hidden))
    }
}

/// One slot of the sequence.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Class,
    Instruction(Site),
    Image(Site, Token),
}

/// What is remembered between calls.
struct Run {
    lattice: Lattice,
    prompt: Prompt,
    rope: Rope,
    cache: Vec<KvCache>,
    /// Slots whose keys and values in the cache are final.
    settled: usize,
    /// Slots that come next, not yet in the cache.
    pending: Vec<Slot>,
    /// The visit that was predicted last and not yet told.
    asked: Vec<Site>,
}

/// RandAR behind the seam.
pub struct RandArNetwork {
    weights: RandAr,
    config: TransformerConfig,
    spec: Spec,
    device: Device,
    run: Option<Run>,
}

impl RandArNetwork {
    /// Wraps weights whose picture is `grid` tokens in training.
    pub fn new(weights: RandAr, config: TransformerConfig, grid: Grid, device: &Device) -> Self {
        let spec = Spec {
            family: "RandAR",
            classes: config.num_classes,
            vocab: config.vocab_size,
            lattice: Lattice::grid(grid.rows, grid.cols),
            parameters: weights.num_params(),
            abilities: ABILITIES,
        };
        Self { weights, config, spec, device: device.clone(), run: None }
    }

    /// The embeddings of slots, the same for every stream but for the class: `[streams, slots, dim]`.
    fn embed(&self, slots: &[Slot], run: &Run) -> Tensor<3> {
        // Each kind is embedded in one go, then the rows are put into the order of the slots.
        let (mut sites, mut tokens, mut place) = (Vec::new(), Vec::new(), Vec::new());
        let instructions = slots.iter().filter(|slot| matches!(slot, Slot::Instruction(_))).count();
        for slot in slots {
            place.push(match slot {
                Slot::Class => 0,
                Slot::Instruction(site) => {
                    sites.push(site.0 as i32 + 1);
                    sites.len() as i32
                }
                Slot::Image(_, token) => {
                    tokens.push(*token as i32);
                    (instructions + tokens.len()) as i32
                }
            });
        }
        let classes = run.prompt.streams(self.config.num_classes);
        let (streams, dim) = (classes.len(), self.config.dim);
        let classes = Tensor::<1, Int>::from_data(classes.as_slice(), &self.device).reshape([streams, 1]);
        let trunk = &self.weights.trunk;
        let mut parts = vec![trunk.cls_embedding.embedding_table.forward(classes)];
        if !sites.is_empty() {
            let rows = Tensor::<1, Int>::from_data(sites.as_slice(), &self.device).unsqueeze();
            let embedded = self.weights.position_instruction_tokens(&run.rope, rows, self.config.n_head);
            parts.push(embedded.expand([streams, sites.len(), dim]));
        }
        if !tokens.is_empty() {
            let codes = Tensor::<1, Int>::from_data(tokens.as_slice(), &self.device).unsqueeze();
            parts.push(trunk.tok_embeddings.forward(codes).expand([streams, tokens.len(), dim]));
        }
        Tensor::cat(parts, 1).select(1, Tensor::from_data(place.as_slice(), &self.device))
    }

    /// Runs slots through the blocks, writing the cache from `run.settled` on. Hidden states `[streams, slots, dim]`.
    fn feed(&self, slots: &[Slot], run: &mut Run) -> Tensor<3> {
        let rows: Vec<i32> = slots
            .iter()
            .map(|slot| match slot {
                Slot::Class => 0,
                Slot::Instruction(site) | Slot::Image(site, _) => site.0 as i32 + 1,
            })
            .collect();
        let angles = run.rope.at(Tensor::<1, Int>::from_data(rows.as_slice(), &self.device).unsqueeze());
        let mut x = self.embed(slots, run);
        for (layer, cache) in self.weights.trunk.layers.iter().zip(&mut run.cache) {
            x = layer.forward_cached(x, &angles, run.settled, cache);
        }
        x
    }
}

impl Network for RandArNetwork {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn begin(&mut self, prompt: &Prompt, lattice: &Lattice) -> Result<()> {
        check_class(prompt.class, &self.spec)?;
        let [grid] = lattice.scales() else {
            return Err(Error::control("model", "RandAR works on one grid of tokens", "Choose a VQ tokenizer"));
        };
        let capacity = (1 + 2 * grid.len()).next_multiple_of(8);
        let streams = if prompt.guided { 2 } else { 1 };
        let cache = || self.config.cache(streams, capacity, &self.device);
        self.run = Some(Run {
            lattice: lattice.clone(),
            prompt: *prompt,
            rope: Rope::new(grid.rows, grid.cols, self.config.head_dim(), self.config.rope_base, &self.device),
            cache: (0..self.config.n_layer).map(|_| cache()).collect(),
            settled: 0,
            pending: vec![Slot::Class],
            asked: Vec::new(),
        });
        Ok(())
    }

    fn predict(&mut self, visit: &[Site]) -> Result<Tensor<3>> {
        let mut run = self.run.take().ok_or_else(not_begun)?;
        check_visit(visit, &run.lattice)?;
        if !run.asked.is_empty() {
            // The last prediction was not used: its first instruction token is in the cache, but nobody follows it.
            run.settled -= 1;
            run.asked.clear();
        }
        let mut slots = std::mem::take(&mut run.pending);
        let known = slots.len();
        slots.extend(visit.iter().map(|site| Slot::Instruction(*site)));
        let hidden = self.feed(&slots, &mut run);
        // Up to the first instruction token the cache is final; the others are compact now, interleaved later.
        run.settled += known + 1;
        run.asked = visit.to_vec();
        self.run = Some(run);
        let asked = hidden.slice(s![.., known.., ..]);
        Ok(self.weights.logits(asked))
    }

    fn tell(&mut self, visit: &[Site], tokens: &[Token]) -> Result<()> {
        let vocab = self.spec.vocab;
        let run = self.run.as_mut().ok_or_else(not_begun)?;
        check_visit(visit, &run.lattice)?;
        check_tokens(visit, tokens, vocab)?;
        let asked = std::mem::take(&mut run.asked);
        if !asked.is_empty() && asked != visit {
            return Err(Error::control("decoding", "told other sites than were predicted", "Start the run again"));
        }
        for (index, (site, token)) in visit.iter().zip(tokens).enumerate() {
            let instruction_settled = index == 0 && !asked.is_empty();
            if !instruction_settled {
                run.pending.push(Slot::Instruction(*site));
            }
            run.pending.push(Slot::Image(*site, *token));
        }
        Ok(())
    }
}
