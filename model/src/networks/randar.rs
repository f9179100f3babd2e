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
//!
//! A lattice larger than the trained grid goes on counting positions (outpainting, §3.4.2). A refined lattice is
//! resolution extrapolation (§3.4.3; `RandAR/applications/resolution_extrapolation.py`): sites of the coarse grid are
//! predicted as on that grid, in a *first pass*; the first prediction of any other site begins the *second pass*, which
//! reads everything told so far once more with the angles of the refined grid. Where the published code leaves the last
//! group of sites ungenerated (`<` in its loop's condition), every site is made here.

use burn::module::{Module, Param};
use burn::prelude::*;
use burn::tensor::{DType, Int, s};

pub use super::llamagen::Dropout;
use super::llamagen::{
    KvCache, Rope, TransformerConfig, Trunk, causal_mask, drop, instruction_parameter, preset, recognise_transformer,
    transformer_role,
};
use super::{Family, Preset, configuration, to_value};
use crate::checkpoint::RANDAR_KEYS;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::recognise::Recognised;
use crate::kernels::{cross_entropy, rms_normed};
use crate::lattice::{Grid, Lattice, Site, Token};
use crate::network::{
    Abilities, Network, Orders, Pace, Prompt, Spec, check_class, check_tokens, check_visit, not_begun,
};
use crate::sample::{Guidance, Sampling};
use crate::tokenizer::to_codes;
use crate::{Error, Result};

/// A published size.
pub struct Published {
    /// Its name.
    pub name: &'static str,
    /// Its configuration.
    pub config: TransformerConfig,
    /// Tokens along each side of the picture.
    pub grid: usize,
    /// The kind of its tokenizer, and which of the published sizes.
    pub tokenizer: (&'static str, &'static str),
    /// Steps for a whole picture.
    pub steps: usize,
    /// The scale that guidance reaches, as published.
    pub guidance: f32,
}

/// The published sizes. Of these, XL-384 (appendix D) and XXL (table A) are in the paper alone; the others were released.
pub const PRESETS: [Published; 5] = [
    published("L", preset(1024, 24, 16), 16, 88, 3.4),
    Published {
        config: TransformerConfig { vocab_size: 1024, ..preset(1024, 24, 16) },
        tokenizer: ("MaskGIT-VQGAN", "ImageNet"),
        ..published("L-MaskGIT", preset(1024, 24, 16), 16, 88, 4.0)
    },
    published("XL", preset(1280, 36, 20), 16, 88, 4.0),
    published("XL-384", preset(1280, 36, 20), 24, 180, 4.0),
    published("XXL", preset(1536, 48, 24), 16, 88, 4.0),
];

/// A size on the codes of LlamaGen's tokenizer.
const fn published(
    name: &'static str,
    config: TransformerConfig,
    grid: usize,
    steps: usize,
    guidance: f32,
) -> Published {
    Published { name, config, grid, tokenizer: ("LlamaGen VQ", "VQ-16"), steps, guidance }
}

/// What RandAR can be asked to do.
pub const ABILITIES: Abilities =
    Abilities { orders: Orders::Any, pace: Pace::Free, smooth: Err("Only next-scale models mix codes"), scales: 1 };

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
        let preset = |size: &Published| Preset {
            name: size.name,
            config: to_value(&size.config),
            grid: size.grid,
            side: 16 * size.grid as u32,
            tokenizer: size.tokenizer,
            steps: size.steps,
            guidance: Guidance::linear(size.guidance),
            sampling: Sampling::default(),
        };
        PRESETS.iter().map(preset).collect()
    },
    cost: |config, plan, step, streams| {
        let config: TransformerConfig = configuration(config)?;
        let visit = &plan.visits[step];
        let asked = visit.sites.len();
        let visible = 1 + 2 * visit.known + asked;
        // The tokens of the visit before are fed again, interleaved with all but the first of their instructions.
        let fed = match step.checked_sub(1).map(|last| &plan.visits[last]) {
            Some(last) if last.total == visit.total => 2 * last.sites.len() - 1 + asked,
            _ => visible,
        };
        Ok(config.work(fed, asked, visible, streams).cost())
    },
    recognise,
};

/// RandAR by its tensors: LlamaGen's and one more.
fn recognise(manifest: &Manifest) -> Option<Recognised> {
    let (config, mut layout) = recognise_transformer(manifest)?;
    manifest.shape("pos_instruct_embeddings")?;
    layout.bare("pos_instruct_embeddings", &[1, config.dim]);
    let published = PRESETS.iter().find(|published| published.config == config);
    // Each token and its position instruction, and the class.
    let role = transformer_role(&config, 16, 2 * 16 * 16 + 1);
    Some(Recognised {
        family: FAMILY.name,
        size: published.map_or_else(|| format!("{}x{}", config.dim, config.n_layer), |published| published.name.into()),
        layout,
        leftovers: RANDAR_KEYS.leftovers,
        licence: "MIT",
        role,
        config: to_value(&config),
    })
}

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

    /// The loss of training (§3.2): mean cross entropy of the image tokens at their instruction tokens, in nats, `[1]`. The
    /// arguments are those of [`RandAr::hidden`].
    pub fn loss(
        &self,
        classes: Tensor<1, Int>,
        tokens: Tensor<2, Int>,
        order: Tensor<2, Int>,
        rope: &Rope,
        n_head: usize,
        dropout: Dropout,
    ) -> Tensor<1> {
        let hidden = self.hidden(classes, tokens.clone(), order, rope, n_head, dropout);
        cross_entropy(self.logits(Self::at_instructions(hidden)).cast(DType::F32), tokens)
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
        self.trunk.output.forward(rms_normed(&self.trunk.norm, hidden))
    }
}

/// How many of the highest rotary frequencies count the sites of a refined grid as they are (`ntk_boundary`, published
/// default); the others see them squeezed into the coarse grid.
pub const NTK_BOUNDARY: usize = 2;

/// The rotary table of a lattice refined by `factor` (`resolution_extrapolation.py`). Frequencies below `boundary` are
/// *extrapolated*: positions 0, 1, 2, … The others are *interpolated*: as many positions, evenly spread from 0 to the last
/// of the coarse grid.
pub fn ntk_rope(grid: Grid, factor: usize, boundary: usize, head_dim: usize, base: f64, device: &Device) -> Rope {
    let position = |frequency: usize, at: usize, length: usize| {
        let last = (length / factor) as f32 - 1.0;
        if frequency < boundary { at as f32 } else { at as f32 * last / (length as f32 - 1.0) }
    };
    Rope::with_positions(grid.rows, grid.cols, head_dim, base, position, device)
}

/// The most bytes of a storage buffer that every adapter binds (wgpu's default limit).
const LARGEST_BINDING: usize = 128 << 20;

/// One slot of the sequence.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Class,
    Instruction(Site),
    Image(Site, Token),
}

/// One of the sequences that run side by side.
#[derive(Debug, Clone, Copy)]
struct Stream {
    class: u32,
    /// Whether the run's dropped image tokens are zero in it.
    drops: bool,
}

/// One reading of the sequence: its streams, its angles, and what of it is in the cache.
struct Pass {
    /// Whether it knows only the coarse grid of a refined lattice.
    first: bool,
    streams: Vec<Stream>,
    rope: Rope,
    /// The position-instruction tokens of all rows of `rope`: `[1 + sites, dim]`.
    instructions: Tensor<2>,
    /// One per block that is run.
    cache: Vec<KvCache>,
    /// Slots whose keys and values in the cache are final.
    settled: usize,
    /// Slots that come next, not yet in the cache.
    pending: Vec<Slot>,
    /// The visit that was predicted last and not yet told.
    asked: Vec<Site>,
}

/// What is remembered between calls.
struct Run {
    lattice: Lattice,
    prompt: Prompt,
    /// Whether a site's image token is hidden from the stream of spatial contextual guidance.
    dropped: Vec<bool>,
    /// Everything told, in sequence.
    told: Vec<(Site, Token)>,
    /// Begins with the first prediction.
    pass: Option<Pass>,
}

impl Run {
    /// The row of the rotary table for a slot of a pass.
    fn row(&self, slot: &Slot, first: bool) -> i32 {
        match slot {
            Slot::Class => 0,
            Slot::Instruction(site) | Slot::Image(site, _) => {
                let coarse = self.lattice.coarse_site(*site).filter(|_| first);
                coarse.unwrap_or(*site).0 as i32 + 1
            }
        }
    }
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

    /// Features of a picture from bidirectional context (§3.4.4, appendix E): the sequence is read twice, and the hidden
    /// states at the instruction tokens of the second reading know all of it.
    ///
    /// `tokens` is in raster order, `order` a permutation of the trained grid's sites, `class` the class or the number of
    /// classes for none (the paper leaves it open what leads the sequence), and `block` the block, from 0, whose output is
    /// returned; the paper takes the 24th of 36. Returns both readings, each `[sites, dim]` in raster order; the first
    /// knows only what comes earlier in the order, and is there to be compared. Pieces of two pictures correspond where
    /// the dot product of their rows is largest.
    ///
    /// # Errors
    /// If the class, a token, the order or the block does not exist.
    pub fn bidirectional_features(
        &self,
        class: u32,
        tokens: &[Token],
        order: &[u32],
        block: usize,
    ) -> Result<[Tensor<2>; 2]> {
        let lattice = self.spec.lattice.clone();
        let (grid, blocks) = (lattice.finest(), self.config.n_layer);
        check_class(class, &self.spec)?;
        check_tokens(&lattice.sites().collect::<Vec<_>>(), tokens, self.spec.vocab)?;
        if block >= blocks {
            let cause = format!("block {block} does not exist; this model has the blocks 0 to {}", blocks - 1);
            return Err(Error::control("features", cause, "Choose one of them"));
        }
        // Where each site comes in the order, which is where its row is found.
        let mut raster = vec![None; grid.len()];
        for (index, site) in order.iter().enumerate() {
            raster.get_mut(*site as usize).ok_or_else(|| not_an_order(grid))?.replace(index as i32);
        }
        let raster: Option<Vec<i32>> = raster.into_iter().collect();
        let raster = raster.filter(|_| order.len() == grid.len()).ok_or_else(|| not_an_order(grid))?;
        let raster = Tensor::<1, Int>::from_data(raster.as_slice(), &self.device);

        let told = order.iter().map(|site| (Site(*site), tokens[*site as usize])).collect();
        let run = Run { lattice, prompt: Prompt { class, guided: false }, dropped: Vec::new(), told, pass: None };
        let mut pass = self.pass(&run, false, 1 + 4 * grid.len(), block + 1)?;
        let first = std::mem::take(&mut pass.pending);
        let second = first[1..].to_vec();
        let once = self.feed(&first, &run, &mut pass).slice(s![.., 1.., ..]);
        pass.settled = first.len();
        let twice = self.feed(&second, &run, &mut pass);
        Ok([once, twice].map(|hidden| {
            let pairs: Tensor<3> = hidden.reshape([grid.len(), 2, self.config.dim]);
            pairs.slice(s![.., 0..1, ..]).reshape([grid.len(), self.config.dim]).select(0, raster.clone())
        }))
    }

    /// An empty pass through `blocks` blocks over everything told, with room for `capacity` slots.
    fn pass(&self, run: &Run, first: bool, capacity: usize, blocks: usize) -> Result<Pass> {
        let classes = run.prompt.streams(self.config.num_classes);
        let mut streams: Vec<Stream> = classes.into_iter().map(|class| Stream { class, drops: false }).collect();
        if let Some(last) = streams.last().copied().filter(|_| !first && !run.dropped.is_empty()) {
            streams.push(Stream { drops: true, ..last });
        }
        let capacity = capacity.next_multiple_of(8);
        let bytes = streams.len() * self.config.dim * capacity * size_of::<f32>();
        if bytes > LARGEST_BINDING && self.device != Device::flex() {
            let cause = format!(
                "{} tokens in {} streams need {} MiB in one piece with RandAR of width {}; graphics adapters bind {} MiB",
                run.lattice.len(),
                streams.len(),
                bytes >> 20,
                self.config.dim,
                LARGEST_BINDING >> 20
            );
            return Err(Error::control("canvas", cause, "Choose a smaller canvas or model, or --device cpu"));
        }
        let (fine, coarse) = (run.lattice.finest(), run.lattice.coarse());
        let (head_dim, base) = (self.config.head_dim(), self.config.rope_base);
        let rope = match run.lattice.refinement() {
            factor if factor > 1 && !first => ntk_rope(fine, factor, NTK_BOUNDARY, head_dim, base, &self.device),
            _ => Rope::new(coarse.rows, coarse.cols, head_dim, base, &self.device),
        };
        let rows = Tensor::<1, Int>::arange(0..rope.rows() as i64, &self.device).unsqueeze();
        let instructions = self.weights.position_instruction_tokens(&rope, rows, self.config.n_head).squeeze_dim(0);
        let cache = || self.config.cache(streams.len(), capacity, &self.device);
        let cache = (0..blocks).map(|_| cache()).collect();
        let seen = |site: &Site| !first || run.lattice.coarse_site(*site).is_some();
        let told = run.told.iter().filter(|(site, _)| seen(site));
        let told = told.flat_map(|(site, token)| [Slot::Instruction(*site), Slot::Image(*site, *token)]);
        let pending = std::iter::once(Slot::Class).chain(told).collect();
        Ok(Pass { first, streams, rope, instructions, cache, settled: 0, pending, asked: Vec::new() })
    }

    /// The embeddings of slots: `[streams, slots, dim]`.
    fn embed(&self, slots: &[Slot], run: &Run, pass: &Pass) -> Tensor<3> {
        // Each kind is embedded in one go, then the rows are put into the order of the slots.
        let (mut rows, mut tokens, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for slot in slots {
            match slot {
                Slot::Class => {}
                Slot::Instruction(_) => rows.push(run.row(slot, pass.first)),
                Slot::Image(site, token) => {
                    tokens.push(*token as i32);
                    let dropped = run.dropped.get(site.index()).is_some_and(|dropped| *dropped);
                    kept.push(if dropped { 0.0f32 } else { 1.0 });
                }
            }
        }
        let classes = slots.iter().filter(|slot| matches!(slot, Slot::Class)).count();
        let mut next = [0, classes, classes + rows.len()];
        let place = slots.iter().map(|slot| {
            let kind = match slot {
                Slot::Class => 0,
                Slot::Instruction(_) => 1,
                Slot::Image(..) => 2,
            };
            next[kind] += 1;
            next[kind] as i32 - 1
        });
        let place: Vec<i32> = place.collect();

        let (streams, dim) = (pass.streams.len(), self.config.dim);
        let for_all = |embedded: Tensor<3>| {
            let [_, slots, _] = embedded.dims();
            embedded.expand([streams, slots, dim])
        };
        let trunk = &self.weights.trunk;
        let mut parts = Vec::new();
        if classes > 0 {
            let of_streams: Vec<u32> = pass.streams.iter().map(|stream| stream.class).collect();
            let of_streams = Tensor::<1, Int>::from_data(of_streams.as_slice(), &self.device).reshape([streams, 1]);
            parts.push(trunk.cls_embedding.embedding_table.forward(of_streams));
        }
        if !rows.is_empty() {
            let at = Tensor::<1, Int>::from_data(rows.as_slice(), &self.device);
            parts.push(for_all(pass.instructions.clone().select(0, at).unsqueeze()));
        }
        if !tokens.is_empty() {
            let codes = Tensor::<1, Int>::from_data(tokens.as_slice(), &self.device).unsqueeze();
            let embedded = trunk.tok_embeddings.forward(codes);
            parts.push(if pass.streams.iter().any(|stream| stream.drops) {
                let kept = Tensor::<1>::from_data(kept.as_slice(), &self.device).reshape([1, tokens.len(), 1]);
                let seen =
                    |stream: &Stream| if stream.drops { embedded.clone() * kept.clone() } else { embedded.clone() };
                Tensor::cat(pass.streams.iter().map(seen).collect(), 0)
            } else {
                for_all(embedded)
            });
        }
        Tensor::cat(parts, 1).select(1, Tensor::from_data(place.as_slice(), &self.device))
    }

    /// Runs slots through as many blocks as there are caches, writing them from `pass.settled` on. Hidden states
    /// `[streams, slots, dim]`.
    fn feed(&self, slots: &[Slot], run: &Run, pass: &mut Pass) -> Tensor<3> {
        let rows: Vec<i32> = slots.iter().map(|slot| run.row(slot, pass.first)).collect();
        let angles = pass.rope.at(Tensor::<1, Int>::from_data(rows.as_slice(), &self.device).unsqueeze());
        let mut x = self.embed(slots, run, pass);
        for (layer, cache) in self.weights.trunk.layers.iter().zip(&mut pass.cache) {
            x = layer.forward_cached(x, &angles, pass.settled, cache);
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
        let factor = lattice.refinement();
        if !grid.rows.is_multiple_of(factor) || !grid.cols.is_multiple_of(factor) {
            let cause = format!("{} × {} tokens are not {factor} times a coarser grid", grid.rows, grid.cols);
            return Err(Error::control("canvas", cause, "Choose a multiple of the trained size"));
        }
        let (prompt, lattice) = (*prompt, lattice.clone());
        self.run = Some(Run { lattice, prompt, dropped: Vec::new(), told: Vec::new(), pass: None });
        Ok(())
    }

    fn drop_context(&mut self, sites: &[Site]) -> Result<()> {
        let run = self.run.as_mut().ok_or_else(not_begun)?;
        check_visit(sites, &run.lattice)?;
        run.dropped = vec![false; run.lattice.len()];
        sites.iter().for_each(|site| run.dropped[site.index()] = true);
        Ok(())
    }

    fn teacher_forced(&mut self, class: u32, order: &[Site], tokens: &[Token]) -> Result<Option<Tensor<3>>> {
        check_class(class, &self.spec)?;
        let grid = self.spec.lattice.finest();
        let rope = Rope::new(grid.rows, grid.cols, self.config.head_dim(), self.config.rope_base, &self.device);
        let classes = Tensor::from_data([class], &self.device);
        let order: Vec<Token> = order.iter().map(|site| site.0).collect();
        let [order, tokens] = [&order, tokens].map(|row| to_codes(row, &self.device));
        let hidden = self.weights.hidden(classes, tokens, order, &rope, self.config.n_head, Dropout::default());
        Ok(Some(self.weights.logits(RandAr::at_instructions(hidden))))
    }

    fn predict(&mut self, visit: &[Site]) -> Result<Tensor<3>> {
        let mut run = self.run.take().ok_or_else(not_begun)?;
        check_visit(visit, &run.lattice)?;
        let coarse = run.lattice.refinement() > 1 && visit.iter().all(|site| run.lattice.coarse_site(*site).is_some());
        let pass = run.pass.take().filter(|pass| !pass.first || coarse);
        let mut pass = match pass {
            Some(pass) => pass,
            None => {
                let grid = if coarse { run.lattice.coarse() } else { run.lattice.finest() };
                self.pass(&run, coarse, 1 + 2 * grid.len(), self.config.n_layer)?
            }
        };
        if !pass.asked.is_empty() {
            // The last prediction was not used: its first instruction token is in the cache, but nobody follows it.
            pass.settled -= 1;
            pass.asked.clear();
        }
        let mut slots = std::mem::take(&mut pass.pending);
        let known = slots.len();
        slots.extend(visit.iter().map(|site| Slot::Instruction(*site)));
        let hidden = self.feed(&slots, &run, &mut pass);
        // Up to the first instruction token the cache is final; the others are compact now, interleaved later.
        pass.settled += known + 1;
        pass.asked = visit.to_vec();
        run.pass = Some(pass);
        self.run = Some(run);
        let asked = hidden.slice(s![.., known.., ..]);
        Ok(self.weights.trunk.predictions(asked))
    }

    fn tell(&mut self, visit: &[Site], tokens: &[Token]) -> Result<()> {
        let run = self.run.as_mut().ok_or_else(not_begun)?;
        check_visit(visit, &run.lattice)?;
        check_tokens(visit, tokens, self.spec.vocab)?;
        run.told.extend(visit.iter().copied().zip(tokens.iter().copied()));
        let Some(pass) = &mut run.pass else { return Ok(()) };
        let asked = std::mem::take(&mut pass.asked);
        if !asked.is_empty() && asked != visit {
            return Err(Error::control("decoding", "told other sites than were predicted", "Start the run again"));
        }
        for (index, (site, token)) in visit.iter().zip(tokens).enumerate() {
            if pass.first && run.lattice.coarse_site(*site).is_none() {
                continue;
            }
            let instruction_settled = index == 0 && !asked.is_empty();
            if !instruction_settled {
                pass.pending.push(Slot::Instruction(*site));
            }
            pass.pending.push(Slot::Image(*site, *token));
        }
        Ok(())
    }
}

fn not_an_order(grid: Grid) -> Error {
    let cause = format!("it does not visit each of the {} tokens exactly once", grid.len());
    Error::control("order", cause, "Choose another order")
}
