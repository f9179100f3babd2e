//! Which model a state dict is, from names and shapes alone, and what must be in it.
//!
//! One function per family looks for a name that no other family has, reads the sizes off the shapes and lists every
//! tensor that a model of these sizes has. What shapes do not say (the heads of LlamaGen's attention, the resolution it
//! was trained on) follows from the published sizes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::manifest::Manifest;

/// What a state dict is.
#[derive(Debug, Clone)]
pub struct Recognised {
    /// The family's name in the registries.
    pub family: &'static str,
    /// The published size's name, or the sizes themselves.
    pub size: String,
    /// The sizes, as the family's configuration reads them.
    pub config: Value,
    /// Every tensor of a model of these sizes.
    pub layout: Layout,
    /// What published files carry beside the weights: names that contain one of these are left out.
    pub leftovers: &'static [&'static str],
    /// The licence under which the weights were published.
    pub licence: &'static str,
    /// Whether it generates or tokenizes, and how the two fit.
    pub role: Role,
}

/// A generator's or a tokenizer's side of their common tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Role {
    /// Makes tokens.
    Generator {
        /// The families of tokenizers that it may have been trained with, the likeliest first.
        tokenizers: Vec<String>,
        /// The file in which the likeliest was published.
        published_in: String,
        /// Number of codes.
        codes: usize,
        /// Number of classes, without the null class of guidance.
        classes: usize,
        /// Tokens along each side of a picture, finest scale.
        grid: usize,
        /// Numbers that the cache of keys and values holds for one stream.
        cache: u64,
        /// Numbers of the largest intermediate results of one stream.
        activations: u64,
    },
    /// Turns pictures into tokens and back.
    Tokenizer {
        /// Number of codes.
        codes: usize,
        /// Pixels along each side of a token.
        stride: usize,
        /// Numbers of the largest intermediate results for every pixel.
        per_pixel: u64,
    },
}

/// The names and shapes of a model's tensors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layout(pub BTreeMap<String, Vec<usize>>);

impl Recognised {
    /// Takes the resolution from the name of a published file where the tensors leave it open: LlamaGen's B and L exist
    /// for 256 and for 384 pixels (`c2i_B_256.pt`, `c2i_B_384.pt`), with the same tensors.
    pub(crate) fn named(mut self, file: &str) -> Self {
        if let (Role::Generator { grid, .. }, "LlamaGen") = (&mut self.role, self.family) {
            match (file.contains("256"), file.contains("384")) {
                (true, false) => *grid = 16,
                (false, true) => *grid = 24,
                _ => {}
            }
        }
        self
    }
}

impl Layout {
    fn bare(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.0.insert(name.into(), shape.to_vec());
    }

    fn bias(&mut self, name: &str, width: usize) {
        self.bare(format!("{name}.bias"), &[width]);
    }

    /// A weight without a bias.
    fn weight(&mut self, name: &str, shape: &[usize]) {
        self.bare(format!("{name}.weight"), shape);
    }

    fn linear(&mut self, name: &str, outputs: usize, inputs: usize) {
        self.weight(name, &[outputs, inputs]);
        self.bias(name, outputs);
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.weight(name, &[width]);
        self.bias(name, width);
    }

    fn conv(&mut self, name: &str, outputs: usize, inputs: usize, side: usize) {
        self.weight(name, &[outputs, inputs, side, side]);
        self.bias(name, outputs);
    }

    /// Two norms and two 3 × 3 convolutions.
    fn res_block(&mut self, name: &str, inputs: usize, outputs: usize, bias: bool) {
        self.norm(&format!("{name}.norm1"), inputs);
        self.norm(&format!("{name}.norm2"), outputs);
        for (conv, inputs) in [("conv1", inputs), ("conv2", outputs)] {
            self.weight(&format!("{name}.{conv}"), &[outputs, inputs, 3, 3]);
            if bias {
                self.bias(&format!("{name}.{conv}"), outputs);
            }
        }
    }

    /// LlamaGen's block.
    fn llama_block(&mut self, name: &str, dim: usize, hidden: usize) {
        self.weight(&format!("{name}.attention.wqkv"), &[3 * dim, dim]);
        self.weight(&format!("{name}.attention.wo"), &[dim, dim]);
        self.weight(&format!("{name}.feed_forward.w1"), &[hidden, dim]);
        self.weight(&format!("{name}.feed_forward.w3"), &[hidden, dim]);
        self.weight(&format!("{name}.feed_forward.w2"), &[dim, hidden]);
        self.weight(&format!("{name}.attention_norm"), &[dim]);
        self.weight(&format!("{name}.ffn_norm"), &[dim]);
    }

    /// Number of parameters.
    pub fn parameters(&self) -> u64 {
        self.0.values().map(|shape| shape.iter().product::<usize>() as u64).sum()
    }
}

/// Every recogniser.
const RECOGNISERS: [fn(&Manifest) -> Option<Recognised>; 8] =
    [llamagen, rar, var, open_magvit2, llamagen_vq, maskgit_vqgan, var_vqvae, open_magvit2_lfq];

/// Which model a state dict is, if it is one that Andamento runs.
pub fn recognise(manifest: &Manifest) -> Option<Recognised> {
    RECOGNISERS.iter().find_map(|recogniser| recogniser(manifest))
}

const LLAMAGEN_VQ_16: (&str, &str) = ("LlamaGen VQ", "vq_ds16_c2i.pt");
const MASKGIT: (&str, &str) = ("MaskGIT-VQGAN", "maskgit-vqgan-imagenet-f16-256.bin");
const VAR_VQVAE: (&str, &str) = ("VAR VQVAE", "vae_ch160v4096z32.pth");
const LFQ: (&str, &str) = ("Open-MAGVIT2 LFQ", "imagenet_256_L.ckpt");

/// The attention heads of LlamaGen's and Open-MAGVIT2's widths, which no shape tells. Other widths get heads of 64
/// numbers, which is what nearly all published ones have, or 4 heads where that does not divide.
fn heads(dim: usize) -> usize {
    match dim {
        3200 => 32,
        2560 => 40,
        _ if dim.is_multiple_of(64) && dim >= 128 => dim / 64,
        _ => 4,
    }
}

/// What the width of SwiGLU was rounded up to (`gpt.py`, `find_multiple`).
fn multiple_of(dim: usize, hidden: usize) -> Option<usize> {
    (0..9).rev().map(|power| 1 << power).find(|of| (2 * 4 * dim / 3).div_ceil(*of) * of == hidden)
}

/// LlamaGen (class-conditional) and RandAR, whose one addition is `pos_instruct_embeddings`.
fn llamagen(manifest: &Manifest) -> Option<Recognised> {
    let [vocab, dim] = *manifest.shape("tok_embeddings.weight")? else { return None };
    let layers = manifest.count("layers.");
    let hidden = manifest.axis("layers.0.feed_forward.w1.weight", 0)?;
    let classes = manifest.axis("cls_embedding.embedding_table.weight", 0)?.checked_sub(1)?;
    let multiple_of = multiple_of(dim, hidden)?;
    let mut layout = Layout::default();
    layout.weight("tok_embeddings", &[vocab, dim]);
    layout.weight("cls_embedding.embedding_table", &[classes + 1, dim]);
    (0..layers).for_each(|layer| layout.llama_block(&format!("layers.{layer}"), dim, hidden));
    layout.weight("norm", &[dim]);
    layout.weight("output", &[vocab, dim]);
    let randar = manifest.tensors.contains_key("pos_instruct_embeddings");
    if randar {
        layout.bare("pos_instruct_embeddings", &[1, dim]);
    }
    let size = match (dim, layers) {
        (768, 12) => "b".into(),
        (1024, 24) => "l".into(),
        (1280, 36) => "xl".into(),
        (1536, 48) => "xxl".into(),
        (3200, 24) => "3b".into(),
        _ => format!("{dim}x{layers}"),
    };
    // No shape tells the resolution. From XL on, LlamaGen's class-conditional models were published for 384 pixels only.
    let grid = if !randar && dim >= 1280 { 24 } else { 16 };
    let tokens = (grid * grid) as u64;
    // With 1024 codes RandAR was published for MaskGIT's tokenizer.
    let tokenizers = if vocab == 1024 { [MASKGIT, LLAMAGEN_VQ_16] } else { [LLAMAGEN_VQ_16, MASKGIT] };
    let sequence = if randar { 2 * tokens + 1 } else { tokens + 1 };
    Some(Recognised {
        family: if randar { "RandAR" } else { "LlamaGen" },
        size,
        config: json!({
            "dim": dim, "n_layer": layers, "n_head": heads(dim), "vocab_size": vocab, "num_classes": classes,
            "multiple_of": multiple_of,
        }),
        layout,
        // Caches are saved with a state dict that was taken after generation; older files hold the rotary table.
        leftovers: &["kv_cache", "freqs_cis"],
        licence: "MIT",
        role: Role::Generator {
            tokenizers: tokenizers.map(|(family, _)| family.into()).into(),
            published_in: tokenizers[0].1.into(),
            codes: vocab,
            classes,
            grid,
            cache: 2 * layers as u64 * sequence * dim as u64,
            activations: sequence * (4 * dim + 2 * hidden) as u64 + tokens * vocab as u64,
        },
    })
}

/// RAR: every size is in the shapes (`rar.py`).
fn rar(manifest: &Manifest) -> Option<Recognised> {
    let dim = manifest.axis("timesteps_embeddings", 2)?;
    let depth = manifest.count("blocks.");
    let head = manifest.axis("blocks.0.attn.q_norm.weight", 0).filter(|head| *head > 0)?;
    let hidden = manifest.axis("blocks.0.mlp.fc1.weight", 0)?;
    let codes = manifest.axis("lm_head.weight", 0)?;
    let classes = manifest.axis("embeddings.weight", 0)?.checked_sub(codes + 2)?;
    let tokens = manifest.axis("pos_embed", 1)?.checked_sub(1024)?;
    let mut layout = Layout::default();
    layout.bare("cls_token", &[1, 1, dim]);
    layout.bare("pos_embed", &[1, tokens + 1024, dim]);
    layout.bare("target_aware_pos_embed", &[1, tokens + 1024, dim]);
    layout.bare("timesteps_embeddings", &[1, tokens + 100, dim]);
    layout.weight("embeddings", &[codes + classes + 2, dim]);
    for block in (0..depth).map(|block| format!("blocks.{block}")) {
        layout.norm(&format!("{block}.norm1"), dim);
        layout.norm(&format!("{block}.norm2"), dim);
        layout.linear(&format!("{block}.attn.qkv"), 3 * dim, dim);
        layout.norm(&format!("{block}.attn.q_norm"), head);
        layout.norm(&format!("{block}.attn.k_norm"), head);
        layout.linear(&format!("{block}.attn.proj"), dim, dim);
        layout.linear(&format!("{block}.mlp.fc1"), hidden, dim);
        layout.linear(&format!("{block}.mlp.fc2"), dim, hidden);
        layout.linear(&format!("{block}.adaLN_modulation.1"), 6 * dim, dim);
    }
    layout.linear("adaln_before_head.adaLN_modulation.1", 2 * dim, dim);
    layout.linear("lm_head", codes, dim);
    let size = match (dim, depth) {
        (768, 24) => "b".into(),
        (1024, 24) => "l".into(),
        (1280, 32) => "xl".into(),
        (1408, 40) => "xxl".into(),
        _ => format!("{dim}x{depth}"),
    };
    Some(Recognised {
        family: "RAR",
        size,
        config: json!({
            "hidden_size": dim, "num_hidden_layers": depth, "num_attention_heads": dim / head,
            "intermediate_size": hidden, "image_seq_len": tokens, "codebook_size": codes,
            "condition_num_classes": classes,
        }),
        layout,
        leftovers: &["attn_mask"],
        licence: "Apache-2.0",
        role: Role::Generator {
            tokenizers: vec![MASKGIT.0.into()],
            published_in: MASKGIT.1.into(),
            codes,
            classes,
            grid: tokens.isqrt(),
            cache: (2 * depth * (tokens + 2) * dim) as u64,
            // The modulations of all positions are computed once, before the first token.
            activations: ((tokens + 2) * (6 * depth * dim + 2 * hidden) + codes) as u64,
        },
    })
}

/// VAR: AdaLN of its own per block or shared, with or without cosine attention (`var.py`).
fn var(manifest: &Manifest) -> Option<Recognised> {
    let [1, tokens, dim] = *manifest.shape("pos_1LC")? else { return None };
    let scales = manifest.axis("lvl_embed.weight", 0)?;
    let depth = manifest.count("blocks.");
    let codes = manifest.axis("head.weight", 0)?;
    let code = manifest.axis("word_embed.weight", 1)?;
    let classes = manifest.axis("class_emb.weight", 0)?.checked_sub(1)?;
    let hidden = manifest.axis("blocks.0.ffn.fc1.weight", 0)?;
    let shared = manifest.tensors.contains_key("shared_ada_lin.1.weight");
    let cosine = manifest.axis("blocks.0.attn.scale_mul_1H11", 1);
    let heads = cosine.unwrap_or(if dim.is_multiple_of(64) { dim / 64 } else { depth });
    let sides = patch_nums(manifest.levels.as_deref(), tokens, scales)?;
    let mut layout = Layout::default();
    layout.bare("pos_start", &[1, sides.first()?.pow(2), dim]);
    layout.bare("pos_1LC", &[1, tokens, dim]);
    layout.linear("word_embed", dim, code);
    layout.weight("class_emb", &[classes + 1, dim]);
    layout.weight("lvl_embed", &[scales, dim]);
    if shared {
        layout.linear("shared_ada_lin.1", 6 * dim, dim);
    }
    for block in (0..depth).map(|block| format!("blocks.{block}")) {
        if shared {
            layout.bare(format!("{block}.ada_gss"), &[1, 1, 6, dim]);
        } else {
            layout.linear(&format!("{block}.ada_lin.1"), 6 * dim, dim);
        }
        if let Some(heads) = cosine {
            layout.bare(format!("{block}.attn.scale_mul_1H11"), &[1, heads, 1, 1]);
        }
        layout.bare(format!("{block}.attn.q_bias"), &[dim]);
        layout.bare(format!("{block}.attn.v_bias"), &[dim]);
        layout.weight(&format!("{block}.attn.mat_qkv"), &[3 * dim, dim]);
        layout.linear(&format!("{block}.attn.proj"), dim, dim);
        layout.linear(&format!("{block}.ffn.fc1"), hidden, dim);
        layout.linear(&format!("{block}.ffn.fc2"), dim, hidden);
    }
    layout.linear("head_nm.ada_lin.1", 2 * dim, dim);
    layout.linear("head", codes, dim);
    let grid = *sides.last()?;
    Some(Recognised {
        family: "VAR",
        size: if dim == 64 * depth { format!("d{depth}") } else { format!("{dim}x{depth}") },
        config: json!({
            "depth": depth, "embed_dim": dim, "num_heads": heads, "num_classes": classes, "vocab_size": codes,
            "Cvae": code, "patch_nums": sides, "shared_aln": shared, "attn_l2_norm": cosine.is_some(),
        }),
        layout,
        // Tables that follow from the sizes: scales, the mask of training, and a bias that is always zero.
        leftovers: &["lvl_1L", "attn_bias_for_masking", "zero_k_bias"],
        licence: "MIT",
        role: Role::Generator {
            tokenizers: vec![VAR_VQVAE.0.into()],
            published_in: VAR_VQVAE.1.into(),
            codes,
            classes,
            grid,
            cache: (2 * depth * tokens * dim) as u64,
            activations: (grid * grid * (8 * dim + 2 * hidden + codes + heads * tokens)) as u64,
        },
    })
}

/// The sides of the scales: the roots of the run lengths of `lvl_1L`, or of the published list of as many scales and
/// tokens where a file leaves that table out.
fn patch_nums(levels: Option<&[i64]>, tokens: usize, scales: usize) -> Option<Vec<usize>> {
    const PUBLISHED: [[usize; 10]; 2] = [[1, 2, 3, 4, 5, 6, 8, 10, 13, 16], [1, 2, 3, 4, 6, 9, 13, 18, 24, 32]];
    let sides: Vec<usize> = match levels {
        Some(levels) => levels.chunk_by(|a, b| a == b).map(|run| run.len().isqrt()).collect(),
        None => {
            PUBLISHED.into_iter().find(|sides| sides.iter().map(|side| side * side).sum::<usize>() == tokens)?.into()
        }
    };
    let fits = sides.len() == scales && sides.iter().map(|side| side * side).sum::<usize>() == tokens;
    fits.then_some(sides)
}

/// Open-MAGVIT2's generator: two factors per token (`gpt.py`).
fn open_magvit2(manifest: &Manifest) -> Option<Recognised> {
    let [first, dim] = *manifest.shape("pre_emb.weight")? else { return None };
    let second = manifest.axis("post_emb.weight", 0)?;
    let [spatial, factorized] = ["spatial_blocks.", "factorized_blocks."].map(|blocks| manifest.count(blocks));
    let hidden = manifest.axis("spatial_blocks.0.feed_forward.w1.weight", 0)?;
    let classes = manifest.axis("class_emb.embedding_table.weight", 0)?.checked_sub(1)?;
    let multiple_of = multiple_of(dim, hidden)?;
    if !first.is_power_of_two() || !second.is_power_of_two() {
        return None;
    }
    let mut layout = Layout::default();
    layout.weight("pre_emb", &[first, dim]);
    layout.weight("post_emb", &[second, dim]);
    layout.weight("class_emb.embedding_table", &[classes + 1, dim]);
    (0..spatial).for_each(|block| layout.llama_block(&format!("spatial_blocks.{block}"), dim, hidden));
    (0..factorized).for_each(|block| layout.llama_block(&format!("factorized_blocks.{block}"), dim, hidden));
    layout.weight("norm", &[dim]);
    layout.weight("head.0", &[first, dim]);
    layout.weight("head.1", &[second, dim]);
    let size = match (dim, spatial) {
        (1024, 24) => "b".into(),
        (1280, 36) => "l".into(),
        (1536, 48) => "xl".into(),
        _ => format!("{dim}x{spatial}"),
    };
    let tokens = 256;
    Some(Recognised {
        family: "Open-MAGVIT2",
        size,
        config: json!({
            "dim": dim, "n_head": heads(dim), "spatial_n_layer": spatial, "factorized_n_layer": factorized,
            "factorized_bits": [first.ilog2(), second.ilog2()], "class_num": classes, "multiple_of": multiple_of,
            "norm_eps": 1e-5, "rope_base": 10_000.0,
        }),
        layout,
        leftovers: &["kv_cache", "freqs_cis"],
        licence: "Apache-2.0",
        role: Role::Generator {
            tokenizers: vec![LFQ.0.into()],
            published_in: LFQ.1.into(),
            codes: first.checked_mul(second)?,
            classes,
            grid: 16,
            cache: (2 * spatial * (tokens + 1) * dim) as u64,
            activations: (tokens * (4 * dim + 2 * hidden) + first + second) as u64,
        },
    })
}

/// How a convolutional tokenizer's levels read off its shapes: channels of level 0 and the others as multiples of it.
fn levels(manifest: &Manifest, channels: usize, before: &str, within: &str) -> Option<Vec<usize>> {
    let count = Some(manifest.count(before)).filter(|count| (1..=8).contains(count))?;
    let level = |index: usize| {
        let width = manifest.axis(&format!("{before}{index}.{within}.weight"), 0)?;
        (channels > 0 && width.is_multiple_of(channels)).then(|| width / channels)
    };
    (0..count).map(level).collect()
}

/// LlamaGen's tokenizer, 16 or 8 pixels per token (`vq_model.py`).
fn llamagen_vq(manifest: &Manifest) -> Option<Recognised> {
    let ch = manifest.axis("encoder.conv_in.weight", 0)?;
    let encoder = levels(manifest, ch, "encoder.conv_blocks.", "res.0.conv1")?;
    let mut decoder = levels(manifest, ch, "decoder.conv_blocks.", "res.0.conv1")?;
    decoder.reverse();
    let blocks = manifest.count("encoder.conv_blocks.0.res.");
    let [codes, code] = *manifest.shape("quantize.embedding.weight")? else { return None };
    let z = manifest.axis("quant_conv.weight", 1)?;
    let mut layout = Layout::default();
    let attention = |layout: &mut Layout, name: &str, width: usize| {
        layout.norm(&format!("{name}.norm"), width);
        ["q", "k", "v", "proj_out"].iter().for_each(|part| layout.conv(&format!("{name}.{part}"), width, width, 1));
    };
    let block = |layout: &mut Layout, name: &str, inputs: usize, outputs: usize| {
        layout.res_block(name, inputs, outputs, true);
        if inputs != outputs {
            layout.conv(&format!("{name}.nin_shortcut"), outputs, inputs, 1);
        }
    };
    let mid = |layout: &mut Layout, name: &str, width: usize| {
        block(layout, &format!("{name}.mid.0"), width, width);
        attention(layout, &format!("{name}.mid.1"), width);
        block(layout, &format!("{name}.mid.2"), width, width);
    };
    let deepest = encoder.len() - 1;
    let mut width = ch;
    layout.conv("encoder.conv_in", ch, 3, 3);
    for (level, mult) in encoder.iter().enumerate() {
        let name = format!("encoder.conv_blocks.{level}");
        for index in 0..blocks {
            block(&mut layout, &format!("{name}.res.{index}"), width, ch * mult);
            width = ch * mult;
            if level == deepest {
                attention(&mut layout, &format!("{name}.attn.{index}"), width);
            }
        }
        if level < deepest {
            layout.conv(&format!("{name}.downsample.conv"), width, width, 3);
        }
    }
    mid(&mut layout, "encoder", width);
    layout.norm("encoder.norm_out", width);
    layout.conv("encoder.conv_out", z, width, 3);
    layout.weight("quantize.embedding", &[codes, code]);
    layout.conv("quant_conv", code, z, 1);
    layout.conv("post_quant_conv", z, code, 1);
    width = ch * decoder.last()?;
    layout.conv("decoder.conv_in", width, z, 3);
    mid(&mut layout, "decoder", width);
    for (index, mult) in decoder.iter().rev().enumerate() {
        let name = format!("decoder.conv_blocks.{index}");
        for part in 0..=blocks {
            block(&mut layout, &format!("{name}.res.{part}"), width, ch * mult);
            width = ch * mult;
            if index == 0 {
                attention(&mut layout, &format!("{name}.attn.{part}"), width);
            }
        }
        if index + 1 < decoder.len() {
            layout.conv(&format!("{name}.upsample.conv"), width, width, 3);
        }
    }
    layout.norm("decoder.norm_out", width);
    layout.conv("decoder.conv_out", 3, width, 3);
    let stride = 1 << (decoder.len() - 1);
    Some(Recognised {
        family: "LlamaGen VQ",
        size: if ch == 128 { stride.to_string() } else { format!("{stride}-ch{ch}") },
        config: json!({
            "ch": ch, "encoder_ch_mult": encoder, "decoder_ch_mult": decoder, "num_res_blocks": blocks, "z_channels": z,
            "codebook_size": codes, "codebook_embed_dim": code,
        }),
        layout,
        // A counter of training.
        leftovers: &["codebook_used"],
        licence: "MIT",
        role: Role::Tokenizer { codes, stride, per_pixel: 4 * ch as u64 },
    })
}

/// MaskGIT's tokenizer as RAR and RandAR use it (`maskgit_vqgan.py`): no attention, and shortcuts from width to width.
fn maskgit_vqgan(manifest: &Manifest) -> Option<Recognised> {
    manifest.shape("decoder.up.0.block.0.conv1.weight")?;
    manifest.shape("encoder.mid.0.conv1.weight")?;
    let ch = manifest.axis("encoder.conv_in.weight", 0)?;
    let mults = levels(manifest, ch, "encoder.down.", "block.0.conv1")?;
    let blocks = manifest.count("encoder.down.0.block.");
    let [codes, z] = *manifest.shape("quantize.embedding.weight")? else { return None };
    let mut layout = Layout::default();
    let block = |layout: &mut Layout, name: &str, inputs: usize, outputs: usize| {
        layout.res_block(name, inputs, outputs, false);
        if inputs != outputs {
            layout.weight(&format!("{name}.nin_shortcut"), &[outputs, outputs, 1, 1]);
        }
    };
    let mut width = ch;
    layout.weight("encoder.conv_in", &[ch, 3, 3, 3]);
    for (level, mult) in mults.iter().enumerate() {
        for index in 0..blocks {
            block(&mut layout, &format!("encoder.down.{level}.block.{index}"), width, ch * mult);
            width = ch * mult;
        }
    }
    for part in ["encoder", "decoder"] {
        (0..blocks).for_each(|index| block(&mut layout, &format!("{part}.mid.{index}"), width, width));
    }
    layout.norm("encoder.norm_out", width);
    layout.conv("encoder.conv_out", z, width, 1);
    layout.weight("quantize.embedding", &[codes, z]);
    layout.conv("decoder.conv_in", width, z, 3);
    for (level, mult) in mults.iter().enumerate().rev() {
        for index in 0..blocks {
            block(&mut layout, &format!("decoder.up.{level}.block.{index}"), width, ch * mult);
            width = ch * mult;
        }
        if level > 0 {
            layout.conv(&format!("decoder.up.{level}.upsample_conv"), width, width, 3);
        }
    }
    layout.norm("decoder.norm_out", width);
    layout.conv("decoder.conv_out", 3, width, 3);
    let stride = 1 << (mults.len() - 1);
    Some(Recognised {
        family: "MaskGIT-VQGAN",
        size: if ch == 128 { stride.to_string() } else { format!("{stride}-ch{ch}") },
        config: json!({
            "hidden_channels": ch, "channel_mult": mults, "num_res_blocks": blocks, "z_channels": z,
            "codebook_size": codes,
        }),
        layout,
        leftovers: &[],
        licence: "Apache-2.0",
        role: Role::Tokenizer { codes, stride, per_pixel: 4 * ch as u64 },
    })
}

/// VAR's multi-scale tokenizer (`basic_vae.py`, `quant.py`): attention after each block of the last level, and φ.
fn var_vqvae(manifest: &Manifest) -> Option<Recognised> {
    let shared = Some(manifest.count("quantize.quant_resi.qresi_ls.")).filter(|shared| *shared > 0)?;
    let ch = manifest.axis("encoder.conv_in.weight", 0)?;
    let mults = levels(manifest, ch, "encoder.down.", "block.0.conv1")?;
    let blocks = manifest.count("encoder.down.0.block.");
    let [codes, z] = *manifest.shape("quantize.embedding.weight")? else { return None };
    let mut layout = Layout::default();
    let attention = |layout: &mut Layout, name: &str, width: usize| {
        layout.norm(&format!("{name}.norm"), width);
        layout.conv(&format!("{name}.qkv"), 3 * width, width, 1);
        layout.conv(&format!("{name}.proj_out"), width, width, 1);
    };
    let block = |layout: &mut Layout, name: &str, inputs: usize, outputs: usize| {
        layout.res_block(name, inputs, outputs, true);
        if inputs != outputs {
            layout.conv(&format!("{name}.nin_shortcut"), outputs, inputs, 1);
        }
    };
    let mid = |layout: &mut Layout, name: &str, width: usize| {
        block(layout, &format!("{name}.mid.block_1"), width, width);
        attention(layout, &format!("{name}.mid.attn_1"), width);
        block(layout, &format!("{name}.mid.block_2"), width, width);
    };
    let last = mults.len() - 1;
    let mut width = ch;
    layout.conv("encoder.conv_in", ch, 3, 3);
    for (level, mult) in mults.iter().enumerate() {
        let name = format!("encoder.down.{level}");
        for index in 0..blocks {
            block(&mut layout, &format!("{name}.block.{index}"), width, ch * mult);
            width = ch * mult;
            if level == last {
                attention(&mut layout, &format!("{name}.attn.{index}"), width);
            }
        }
        if level < last {
            layout.conv(&format!("{name}.downsample.conv"), width, width, 3);
        }
    }
    mid(&mut layout, "encoder", width);
    layout.norm("encoder.norm_out", width);
    layout.conv("encoder.conv_out", z, width, 3);
    layout.conv("quant_conv", z, z, 3);
    layout.conv("post_quant_conv", z, z, 3);
    layout.weight("quantize.embedding", &[codes, z]);
    (0..shared).for_each(|index| layout.conv(&format!("quantize.quant_resi.qresi_ls.{index}"), z, z, 3));
    layout.conv("decoder.conv_in", width, z, 3);
    mid(&mut layout, "decoder", width);
    for (level, mult) in mults.iter().enumerate().rev() {
        let name = format!("decoder.up.{level}");
        for index in 0..=blocks {
            block(&mut layout, &format!("{name}.block.{index}"), width, ch * mult);
            width = ch * mult;
            if level == last {
                attention(&mut layout, &format!("{name}.attn.{index}"), width);
            }
        }
        if level > 0 {
            layout.conv(&format!("{name}.upsample.conv"), width, width, 3);
        }
    }
    layout.norm("decoder.norm_out", width);
    layout.conv("decoder.conv_out", 3, width, 3);
    // The scales are the generator's; a tokenizer on its own gets those of 256 pixels.
    let scales = manifest.axis("quantize.ema_vocab_hit_SV", 0).unwrap_or(10);
    let sides = if scales == 10 { vec![1, 2, 3, 4, 5, 6, 8, 10, 13, 16] } else { (1..=scales.min(64)).collect() };
    let stride = 1 << last;
    Some(Recognised {
        family: "VAR VQVAE",
        size: format!("ch{ch}v{codes}z{z}"),
        config: json!({
            "ch": ch, "ch_mult": mults, "num_res_blocks": blocks, "z_channels": z, "vocab_size": codes,
            "share_quant_resi": shared, "v_patch_nums": sides,
        }),
        layout,
        // Statistics of training.
        leftovers: &["ema_vocab_hit_SV"],
        licence: "MIT",
        role: Role::Tokenizer { codes, stride, per_pixel: 4 * ch as u64 },
    })
}

/// Open-MAGVIT2's tokenizer, whose codes are the signs of its channels (`improved_model.py`).
fn open_magvit2_lfq(manifest: &Manifest) -> Option<Recognised> {
    manifest.shape("decoder.adaptive.0.gamma.weight")?;
    let ch = manifest.axis("encoder.conv_in.weight", 0)?;
    let mults = levels(manifest, ch, "encoder.down.", "block.0.conv1")?;
    let blocks = manifest.count("encoder.down.0.block.");
    let z = Some(manifest.axis("encoder.conv_out.weight", 0)?).filter(|bits| (1..=24).contains(bits))?;
    let mut layout = Layout::default();
    let block = |layout: &mut Layout, name: &str, inputs: usize, outputs: usize| {
        layout.res_block(name, inputs, outputs, false);
        if inputs != outputs {
            layout.weight(&format!("{name}.nin_shortcut"), &[outputs, inputs, 1, 1]);
        }
    };
    let mut width = ch;
    layout.weight("encoder.conv_in", &[ch, 3, 3, 3]);
    for (level, mult) in mults.iter().enumerate() {
        for index in 0..blocks {
            block(&mut layout, &format!("encoder.down.{level}.block.{index}"), width, ch * mult);
            width = ch * mult;
        }
        if level + 1 < mults.len() {
            layout.conv(&format!("encoder.down.{level}.downsample"), width, width, 3);
        }
    }
    for part in ["encoder", "decoder"] {
        (0..blocks).for_each(|index| block(&mut layout, &format!("{part}.mid_block.{index}"), width, width));
    }
    layout.norm("encoder.norm_out", width);
    layout.conv("encoder.conv_out", z, width, 1);
    layout.conv("decoder.conv_in", width, z, 3);
    for (level, mult) in mults.iter().enumerate().rev() {
        layout.linear(&format!("decoder.adaptive.{level}.gamma"), width, z);
        layout.linear(&format!("decoder.adaptive.{level}.beta"), width, z);
        for index in 0..blocks {
            block(&mut layout, &format!("decoder.up.{level}.block.{index}"), width, ch * mult);
            width = ch * mult;
        }
        if level > 0 {
            layout.conv(&format!("decoder.up.{level}.upsample.conv1"), 4 * width, width, 3);
        }
    }
    layout.norm("decoder.norm_out", width);
    layout.conv("decoder.conv_out", 3, width, 3);
    let stride = 1 << (mults.len() - 1);
    Some(Recognised {
        family: "Open-MAGVIT2 LFQ",
        size: if ch == 128 { format!("{stride}-{z}") } else { format!("{stride}-{z}-ch{ch}") },
        config: json!({ "ch": ch, "ch_mult": mults, "num_res_blocks": blocks, "z_channels": z }),
        layout,
        // The averaged copy (see `manifest::StateDict`), and what the losses of training had learned.
        leftovers: &["model_ema.", "loss."],
        licence: "Apache-2.0",
        role: Role::Tokenizer { codes: 1 << z, stride, per_pixel: 4 * ch as u64 },
    })
}
