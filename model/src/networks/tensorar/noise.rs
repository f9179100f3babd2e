//! Discrete tensor noising (§3.2.2, algorithm 2): training reads tensors whose later tokens are partly replaced, as the
//! true ones stand in the target too and would only be copied.

use burn::prelude::*;
use burn::tensor::module::embedding;
use burn::tensor::{Distribution, Int, s};
use serde::{Deserialize, Serialize};

/// What noise is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseKind {
    /// A token becomes any code with probability `β_j`: what reviews of the paper's second version describe.
    #[default]
    Categorical,
    /// A token becomes the code whose vector is nearest, by its angle, to `(1 - β_j) W[x] + β_j W[n]` with any code `n`
    /// (algorithm 2).
    Nearest,
    /// A token's vector gets a normal deviate of variance 0.1 in every component, wherever `β_j` is above 0 (§4.3,
    /// "Continuous noise").
    Gaussian,
}

/// How noise grows along a tensor: `β_j` at its element `j`, with `s = j / (k - 1)` or `j / k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseSchedule {
    /// `s`
    Linear,
    /// `sin(π s / 2)`
    Sine,
    /// `√s`
    Sqrt,
    /// Candidate A of the exponential: `s^(2 / k)`.
    ExponentialA,
    /// Candidate B: `1 - exp(-2 j / k)`, which has `k` in its exponent whatever `s` divides by.
    ExponentialB,
    /// Candidate C: `(1 - exp(-2 s)) / (1 - exp(-2))`.
    #[default]
    #[serde(rename = "exponential", alias = "exponential-c")]
    ExponentialC,
}

/// What the place in a tensor is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Denominator {
    /// The last place: the last element is nothing but noise.
    #[default]
    #[serde(rename = "k-1")]
    Last,
    /// The number of elements: something is left of the last one, as there is of a draft in decoding.
    #[serde(rename = "k")]
    Window,
}

/// The noise of training; decoding has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Noise {
    /// What it is.
    pub kind: NoiseKind,
    /// How it grows along a tensor.
    pub schedule: NoiseSchedule,
    /// What the schedule divides by.
    pub denominator: Denominator,
}

/// The variance of continuous noise (§4.3).
const VARIANCE: f64 = 0.1;

impl Noise {
    /// `β_j` for every element of a tensor of `k`: rising from 0, as the first token is settled, to at most 1.
    pub fn levels(&self, k: usize) -> Vec<f32> {
        let last = match self.denominator {
            Denominator::Last => k.saturating_sub(1).max(1),
            Denominator::Window => k,
        };
        let level = |j: usize| {
            let s = j as f64 / last as f64;
            match self.schedule {
                NoiseSchedule::Linear => s,
                NoiseSchedule::Sine => (std::f64::consts::FRAC_PI_2 * s).sin(),
                NoiseSchedule::Sqrt => s.sqrt(),
                NoiseSchedule::ExponentialA => s.powf(2.0 / k as f64),
                NoiseSchedule::ExponentialB => 1.0 - (-2.0 * j as f64 / k as f64).exp(),
                NoiseSchedule::ExponentialC => (1.0 - (-2.0 * s).exp()) / (1.0 - (-2.0f64).exp()),
            }
        };
        (0..k).map(level).map(|level| level as f32).collect()
    }

    /// The vectors of the tokens of tensors, `[batch, tensors, k]`, under this noise: `[batch, tensors, k, dim]`.
    pub fn embed(&self, tensors: Tensor<3, Int>, codes: &Codes) -> Tensor<4> {
        let levels = self.levels(tensors.dims()[2]);
        embed_noised(tensors, codes, self.kind, &levels)
    }
}

/// The vectors of the tokens of tensors, `[batch, tensors, k]`, under noise of the level `levels[j]` at element `j`:
/// `[batch, tensors, k, dim]`. The device's generator draws it, as it does for drop-out.
pub fn embed_noised(tensors: Tensor<3, Int>, codes: &Codes, kind: NoiseKind, levels: &[f32]) -> Tensor<4> {
    let shape = tensors.dims();
    let device = tensors.device();
    let level: Tensor<3> = Tensor::<1>::from_data(levels, &device).unsqueeze();
    match kind {
        NoiseKind::Categorical => {
            let replaced = Tensor::<3>::random(shape, Distribution::Default, &device).lower(level.expand(shape));
            codes.embed_tensors(tensors.mask_where(replaced, codes.draw(shape, &device)))
        }
        NoiseKind::Nearest => {
            let drawn = codes.draw(shape, &device);
            let element = |j: usize| {
                let [tokens, drawn] = [&tensors, &drawn].map(|x| x.clone().slice(s![.., .., j..j + 1]).squeeze_dim(2));
                let tokens = if levels[j] == 0.0 { tokens } else { codes.blend(tokens, drawn, levels[j]) };
                tokens.unsqueeze_dim(2)
            };
            codes.embed_tensors(Tensor::cat((0..shape[2]).map(element).collect(), 2))
        }
        NoiseKind::Gaussian => {
            let vectors = codes.embed_tensors(tensors);
            let normal = Distribution::Normal(0.0, VARIANCE.sqrt());
            let noise = Tensor::random(vectors.dims(), normal, (&device, vectors.dtype()));
            let noisy: Tensor<4> = level.greater_elem(0.0).float().cast(vectors.dtype()).unsqueeze_dim(3);
            vectors + noise * noisy
        }
    }
}

/// The vectors of a base model's codes: `W` of algorithm 2. Where tokens are factorised, a code's vector is the sum of
/// those of its factors, and `W` is never written out.
#[derive(Debug, Clone)]
pub struct Codes {
    /// Of the codes, or of their first factors: `[codes, dim]`. Rows beyond are not codes.
    pub first: Tensor<2>,
    /// Of their second factors, where they have one: `code = first + 2^bits · second`.
    pub second: Option<Tensor<2>>,
    /// Number of codes.
    pub count: usize,
}

/// The most numbers that a search for nearest codes compares at a time: 64 MiB of them.
const AT_ONCE: usize = 16 << 20;

impl Codes {
    /// Any codes: a tensor of the shape.
    fn draw(&self, shape: [usize; 3], device: &Device) -> Tensor<3, Int> {
        let any = Tensor::<3>::random(shape, Distribution::Uniform(0.0, self.count as f64), device);
        any.int().clamp_max(self.count as i64 - 1)
    }

    /// Tokens as their factors, `[batch, tokens]` each; the second is none where tokens are not factorised.
    pub fn factors(&self, tokens: Tensor<2, Int>) -> (Tensor<2, Int>, Option<Tensor<2, Int>>) {
        if self.second.is_none() {
            return (tokens, None);
        }
        let radix = self.first.dims()[0] as i64;
        (tokens.clone().remainder_scalar(radix), Some(tokens.div_scalar(radix)))
    }

    /// Tokens as vectors: `[batch, tokens]` to `[batch, tokens, dim]`.
    pub fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let (first, second) = self.factors(tokens);
        let vectors = embedding(self.first.clone(), first);
        match self.second.clone().zip(second) {
            Some((table, second)) => vectors + embedding(table, second),
            None => vectors,
        }
    }

    /// The tokens of tensors as vectors: `[batch, tensors, k]` to `[batch, tensors, k, dim]`.
    pub fn embed_tensors(&self, tensors: Tensor<3, Int>) -> Tensor<4> {
        let [batch, count, k] = tensors.dims();
        let vectors = self.embed(tensors.reshape([batch, count * k]));
        let dim = vectors.dims()[2];
        vectors.reshape([batch, count, k, dim])
    }

    /// The codes nearest to the vectors between those of `tokens` and `drawn`, at the share `level` of the way, `[rows,
    /// tokens]` each.
    fn blend(&self, tokens: Tensor<2, Int>, drawn: Tensor<2, Int>, level: f32) -> Tensor<2, Int> {
        let shape = tokens.dims();
        let between = self.embed(tokens) * (1.0 - level) + self.embed(drawn) * level;
        self.nearest(between.flatten(0, 1)).reshape(shape)
    }

    /// The codes whose vectors point most nearly the same way: `[rows, dim]` to `[rows]`.
    pub fn nearest(&self, vectors: Tensor<2>) -> Tensor<1, Int> {
        let vectors = vectors.detach();
        let first = self.first.clone().detach();
        let second = self.second.clone().map(Tensor::detach);
        let first = if second.is_none() { first.slice(s![..self.count, ..]) } else { first };
        let lengths = squares(&first, second.as_ref()).sqrt().clamp_min(1e-12).unsqueeze::<2>();
        let rows = vectors.dims()[0];
        let chunk = (AT_ONCE / self.count).max(1);
        let part = |from: usize| {
            let part = vectors.clone().slice(s![from..rows.min(from + chunk), ..]);
            // The length of `part` is the same for every code.
            let product = part.clone().matmul(first.clone().transpose());
            let product = match &second {
                Some(second) => every_sum(product, part.matmul(second.clone().transpose())),
                None => product,
            };
            (product / lengths.clone()).argmax(1).squeeze_dim(1)
        };
        Tensor::cat((0..rows).step_by(chunk).map(part).collect(), 0)
    }
}

/// Squared lengths of all codes' vectors: `[codes]`.
fn squares(first: &Tensor<2>, second: Option<&Tensor<2>>) -> Tensor<1> {
    let own = |table: &Tensor<2>| table.clone().square().sum_dim(1).transpose();
    let Some(second) = second else {
        return own(first).squeeze_dim(0);
    };
    let mixed: Tensor<2> = second.clone().matmul(first.clone().transpose()) * 2.0;
    let codes: usize = mixed.dims().iter().product();
    every_sum(own(first), own(second)).squeeze_dim::<1>(0) + mixed.reshape([codes])
}

/// For every row `a_i + b_j` at `i + length of a · j`: `[rows, a]` and `[rows, b]` to `[rows, a · b]`.
fn every_sum(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let ([rows, many], [_, more]) = (a.dims(), b.dims());
    let sums: Tensor<3> = a.unsqueeze_dim(1) + b.unsqueeze_dim(2);
    sums.reshape([rows, many * more])
}
